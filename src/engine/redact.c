// SPDX-License-Identifier: BSD-3-Clause
//
// The rules are Redis's, so that what a user greps for looks the same:
//
//     AUTH x y                 all that follows
//     HELLO n … AUTH u p …     the two arguments behind AUTH
//     CONFIG SET name value …  the values of passwords and of the replication user
//     ACL SETUSER x …          all that follows
//     MIGRATE … AUTH p         the argument behind it; two behind AUTH2
//
// This runs for each argument that is shown, which is rare, so it may look at the whole command
// again.
#include "engine/redact.h"

#include "base/assert.h"

#define MIGRATE_OPTIONS_AT 6

static bool is_secret_directive(struct slice name)
{
    static const char *const names[] = {
        "requirepass", "masterauth", "masteruser", "tls-key-file-pass", "tls-client-key-file-pass",
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (slice_is(name, names[i])) return true;
    return false;
}

// Does `arg` stand within `count` places behind the option `word`, looked for from `from` on?
static bool is_behind(const struct slice *argv, int arg, int from, const char *word, int count)
{
    for (int i = 1; i <= count && arg - i >= from; i++)
        if (slice_is(argv[arg - i], word)) return true;
    return false;
}

static bool is_secret(int argc, const struct slice *argv, int arg)
{
    struct slice name = argv[0];
    if (arg == 0 || argc < 2) return false;
    if (slice_is(name, "auth")) return true;
    if (slice_is(name, "hello")) return is_behind(argv, arg, 2, "auth", 2);
    if (slice_is(name, "config"))
        return slice_is(argv[1], "set") && arg >= 3 && arg % 2 == 1 &&
               is_secret_directive(argv[arg - 1]);
    if (slice_is(name, "acl")) return slice_is(argv[1], "setuser") && arg >= 2;
    if (slice_is(name, "migrate"))
        return is_behind(argv, arg, MIGRATE_OPTIONS_AT, "auth", 1) ||
               is_behind(argv, arg, MIGRATE_OPTIONS_AT, "auth2", 2);
    return false;
}

struct slice redact_arg(int argc, const struct slice *argv, int arg)
{
    return is_secret(argc, argv, arg) ? SLICE("(redacted)") : argv[arg];
}
