# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# Shared by tools/run and tools/test: what they say, what they install, how they build. Sourced, with the
# repository's top as the working directory. All that is said goes to standard error.

PACKAGES_BUILD=(gcc libc6-dev meson ninja-build pkg-config liburing-dev libmimalloc-dev libxxhash-dev
    libmd-dev liblzf-dev liblua5.1-0-dev lua-cjson-dev lua-bitop-dev)
PACKAGES_TEST=(libcriterion-dev libhiredis-dev redis-server redis-tools python3 python3-redis
    python3-hiredis python3-venv python3-celery python3-rq python3-channels-redis util-linux procps
    clang-14 libclang-rt-14-dev llvm-14 clang-format-14 shellcheck git ca-certificates)

say() {
    printf '%s\n' "$*" >&2
}

die() {
    say "$(basename "$0"): $*"
    exit 1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "this needs root or sudo: $*"
    fi
}

# again COMMAND [arguments]: up to three times, for a download may fail.
again() {
    local pause
    for pause in 10 30; do
        "$@" && return
        say "$1 failed; again in $pause s"
        sleep "$pause"
    done
    "$@"
}

# Those of the packages that are not installed, one a line.
missing_packages() {
    local package
    for package in "$@"; do
        case $(dpkg-query -W -f '${db:Status-Status} ' "$package" 2>/dev/null) in
        *'installed '*) ;;
        *) printf '%s\n' "$package" ;;
        esac
    done
}

# apt_get COMMAND [arguments]: whatever it asks is answered with the default.
apt_get() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Retries=3 "$@"
}

fetch_and_install() {
    apt_get update -qq >&2 || say "apt-get update failed; trying with the lists that are there"
    apt_get install -y -qq --no-install-recommends "$@" </dev/null >/dev/null
}

# Installs packages so that no service of theirs starts, then or at the next boot: Debian's redis-server
# would take port 6379.
install_packages() {
    local policy=/usr/sbin/policy-rc.d has_policy=yes status=0
    say "Installing: $*"
    if [ ! -e $policy ]; then
        has_policy=no
        printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null
        as_root chmod 755 $policy
    fi
    again fetch_and_install "$@" || status=$?
    [ $has_policy = yes ] || as_root rm -f $policy
    case " $* " in
    *' redis-server '*) # another policy may have let it start
        [ $has_policy = no ] || as_root service redis-server stop >/dev/null 2>&1 || true
        ! command -v systemctl >/dev/null ||
            as_root systemctl disable --quiet redis-server.service >/dev/null 2>&1 || true
        ;;
    esac
    [ $status = 0 ] || die "apt-get install failed (status $status)"
}

# Installs what is missing of these packages; quick when nothing is.
need_packages() {
    local missing
    command -v dpkg-query >/dev/null || die "no dpkg-query here: on anything but Debian install by hand: $*"
    # One call tells in the usual case that all is there.
    if [ "$(dpkg-query -W -f '${db:Status-Status}\n' "$@" 2>/dev/null | grep -cx installed)" -ge $# ]; then
        return
    fi
    mapfile -t missing < <(missing_packages "$@")
    [ ${#missing[@]} = 0 ] || install_packages "${missing[@]}"
}

# The Go compiler: whatever `go` is there (1.18 or later), else Debian's.
need_go() {
    command -v go >/dev/null || need_packages golang-go
}

# configure FOLDER [meson options]: sets the build folder up, unless that was done with these very options.
configure() {
    local folder=$1 wanted
    shift
    wanted="${CC:-} $*"
    if [ -e "$folder/build.ninja" ] && [ "$(cat "$folder/.options" 2>/dev/null)" = "$wanted" ]; then
        return
    fi
    say "Configuring $folder"
    mkdir -p build
    # A folder that somebody else has set up is changed, not thrown away; another compiler needs a new one.
    if [ -z "${CC-}" ] && [ -e "$folder/build.ninja" ]; then
        set -- --reconfigure "$@"
    else
        rm -rf "$folder"
    fi
    if ! meson setup "$folder" "$@" >"$folder.log" 2>&1; then
        cat "$folder.log" >&2
        say "meson setup $folder failed"
        return 1
    fi
    printf '%s\n' "$wanted" >"$folder/.options"
}

# build FOLDER [targets]: compiles; shows the compiler's words only when there is something to do.
build() {
    local folder=$1
    shift
    if ninja -C "$folder" -n "$@" 2>/dev/null | grep -q 'no work to do'; then
        return
    fi
    say "Building $folder"
    ninja -C "$folder" --quiet "$@" >&2
}
