// SPDX-License-Identifier: BSD-3-Clause
//
// The expected replies and errors were asked of redis-server 7.0.15.
#include "server/config.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "server/config_table.h"
#include "server/config_value.h"
#include "server/config_words.h"

// --- helpers -------------------------------------------------------------------------------------

static struct config config;

static void setup(void)
{
    config_init(&config);
}

static void teardown(void)
{
    config_free(&config);
}

TestSuite(config, .init = setup, .fini = teardown);

#define TEXT(s) ((struct slice){(s), strlen(s)})

static void load(const char *text)
{
    struct buf error = {0};
    cr_assert(config_load_text(&config, "test.conf", TEXT(text), &error), "%.*s",
              SLICE_ARG(buf_slice(&error)));
}

// The message with which `text` is refused.
static const char *load_error(const char *text)
{
    static char message[2048];
    struct buf error = {0};
    config_free(&config);
    config_init(&config);
    cr_assert_not(config_load_text(&config, "test.conf", TEXT(text), &error), "accepted: %s", text);
    snprintf(message, sizeof message, "%.*s", SLICE_ARG(buf_slice(&error)));
    buf_free(&error);
    return message;
}

static void assert_reason(const char *text, const char *reason)
{
    const char *message = load_error(text), *last = message + strlen(message) - 1;
    while (last > message && last[-1] != '\n') last--;
    cr_assert_eq(strncmp(last, reason, strlen(reason)), 0, "%s: %s", text, message);
    cr_assert_eq(strlen(last), strlen(reason) + 1, "%s: %s", text, message);
}

static enum config_result load_argv(const char *const *argv, struct buf *error)
{
    int argc = 0;
    while (argv[argc]) argc++;
    return config_load(&config, argc, (char *const *)argv, error);
}

#define LOAD(...)                                                                                  \
    load_argv((const char *const[]){"gyre-server", __VA_ARGS__ __VA_OPT__(, ) NULL}, &error)

static void append_pair(void *arg, struct slice name, struct slice value)
{
    buf_printf(arg, "%.*s=%.*s;", SLICE_ARG(name), SLICE_ARG(value));
}

static const char *get_all(struct slice *patterns, int count)
{
    static char text[65536];
    struct buf out = {0};
    config_get(&config, patterns, count, append_pair, &out);
    snprintf(text, sizeof text, "%.*s", SLICE_ARG(buf_slice(&out)));
    buf_free(&out);
    return text;
}

static const char *get(const char *pattern)
{
    struct slice one = TEXT(pattern);
    return get_all(&one, 1);
}

// "OK", or the error of CONFIG SET with these names and values.
static const char *set_argv(const char *const *words)
{
    static char error[512];
    struct slice pairs[16];
    int n = 0;
    for (; words[n]; n++) pairs[n] = TEXT(words[n]);
    struct settings *next = config_set(&config, pairs, n, false, error, sizeof error);
    if (!next) return error;
    settings_free(config_publish(&config, next));
    return "OK";
}

#define SET(...)          set_argv((const char *const[]){__VA_ARGS__, NULL})
#define FAILED(name, why) "ERR CONFIG SET failed (possibly related to argument '" name "') - " why

static const char *rewrite(const char *old_text)
{
    static char text[65536];
    struct buf out = {0};
    mem_free(config.settings->dir); // which is always written
    config.settings->dir = mem_strdup(config.initial->dir);
    config_rewrite_text(&config, TEXT(old_text), &out);
    snprintf(text, sizeof text, "%.*s", SLICE_ARG(buf_slice(&out)));
    buf_free(&out);
    return text;
}

static void assert_file(const char *path, const char *expected)
{
    char text[4096] = "";
    FILE *f = fopen(path, "r");
    cr_assert(f != NULL);
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = '\0';
    cr_assert_str_eq(text, expected);
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    cr_assert(f != NULL);
    fputs(text, f);
    fclose(f);
}

// --- words ---------------------------------------------------------------------------------------

static void assert_words(const char *line, const char *joined)
{
    struct words w;
    struct buf out = {0};
    bool is_good = config_words_split(TEXT(line), &w);
    for (int i = 0; is_good && i < w.count; i++)
        buf_printf(&out, "%s<%.*s>", i ? " " : "", SLICE_ARG(w.at[i]));
    if (!is_good) buf_append_text(&out, "unbalanced");
    cr_assert(slice_eq(buf_slice(&out), TEXT(joined)), "%s: %.*s", line,
              SLICE_ARG(buf_slice(&out)));
    config_words_free(&w);
    buf_free(&out);
}

Test(words, are_cut_and_unquoted_as_redis_does)
{
    assert_words("", "");
    assert_words("  port \t 6379 ", "<port> <6379>");
    assert_words("a \"b c\" ''", "<a> <b c> <>");
    assert_words("\"\\x41\\n\\t\\q\\\"\" x", "<A\n\tq\"> <x>");
    assert_words("'it\\'s \\n'", "<it's \\n>");
    assert_words("a\"b\" c", "<ab> <c>");
    assert_words("\"\\xZZ\"", "<xZZ>");
    assert_words("a \"b", "unbalanced");
    assert_words("\"a\"b", "unbalanced");
    assert_words("'a", "unbalanced");
    assert_words("\"a\\", "unbalanced");
}

// --- the table
// -------------------------------------------------------------------------------------

Test(config, every_default_is_written_in_a_form_that_loads_as_the_same)
{
    for (uint32_t i = 0; i < config_table_count(); i++) {
        const struct directive *d = &config_table[i];
        struct buf line = {0}, error = {0};
        struct config again;
        config_value_lines(d, config.settings, true, &line);
        config_init(&again);
        cr_assert(config_load_text(&again, "x", buf_slice(&line), &error), "%.*s%.*s",
                  SLICE_ARG(buf_slice(&line)), SLICE_ARG(buf_slice(&error)));
        struct buf a = {0}, b = {0};
        config_value_format(d, config.settings, &a);
        config_value_format(d, again.settings, &b);
        cr_assert(slice_eq(buf_slice(&a), buf_slice(&b)), "%s", d->name);
        config_free(&again);
        buf_free(&line), buf_free(&error), buf_free(&a), buf_free(&b);
    }
}

Test(config, names_and_aliases_are_unique)
{
    for (uint32_t i = 0; i < config_table_count(); i++) {
        const struct directive *d = &config_table[i];
        bool is_alias;
        cr_assert_eq(config_table_find(slice_of(d->name), &is_alias), d, "%s", d->name);
        cr_assert_not(is_alias);
        if (!d->alias) continue;
        cr_assert_eq(config_table_find(slice_of(d->alias), &is_alias), d, "%s", d->alias);
        cr_assert(is_alias);
    }
}

// A string that copy forgets would be freed twice, or shared.
Test(config, a_copy_owns_every_string)
{
    for (uint32_t i = 0; i < config_table_count(); i++) {
        const struct directive *d = &config_table[i];
        if (d->kind != KIND_STRING || (d->flags & DIR_INERT)) continue;
        struct settings *copy = settings_copy(config.settings);
        char **mine = (char **)((char *)config.settings + d->offset);
        char **copied = (char **)((char *)copy + d->offset);
        cr_assert_neq(*mine, *copied, "%s", d->name);
        cr_assert_str_eq(*mine, *copied, "%s", d->name);
        settings_free(copy);
    }
}

Test(config, inert_directives_are_copied_too)
{
    load("io-threads 4");
    struct settings *copy = settings_copy(config.settings);
    settings_free(config_publish(&config, copy));
    cr_assert_str_eq(get("io-threads"), "io-threads=4;");
    cr_assert_str_eq(get("io-threads-do-reads"), "io-threads-do-reads=no;");
}

// --- loading
// ---------------------------------------------------------------------------------------

Test(config, loads_a_file_with_comments_quotes_and_crlf)
{
    load("# a comment\r\n\r\n  PORT 7000\r\n\tmaxmemory 1gb\nrequirepass \"a b\\x21\"\n"
         "unixsocket ''\nslave-priority 5\nbind 127.0.0.1 -::1");
    cr_assert_eq(config.settings->port, 7000);
    cr_assert_eq(config.settings->maxmemory, 1ull << 30);
    cr_assert_str_eq(config.settings->requirepass, "a b!");
    cr_assert_eq(config.settings->replica_priority, 5);
    cr_assert_eq(config.settings->bind_count, 2);
    cr_assert_str_eq(config.settings->bind[1], "-::1");
}

Test(config, an_error_names_file_line_and_reason)
{
    cr_assert_str_eq(load_error("port 1\n\n  timeout x \n"),
                     "\n*** FATAL CONFIG FILE ERROR (Gyre) ***\n"
                     "Reading the configuration file 'test.conf', at line 3\n"
                     ">>> 'timeout x'\n"
                     "argument couldn't be parsed into an integer\n");
}

Test(config, reasons_are_redis_s)
{
    assert_reason("nonsense 1", "Bad directive or wrong number of arguments");
    assert_reason("include", "Bad directive or wrong number of arguments");
    assert_reason("port", "wrong number of arguments");
    assert_reason("port 1 2", "wrong number of arguments");
    assert_reason("timeout 5 # seconds", "wrong number of arguments");
    assert_reason("port 65536", "argument must be between 0 and 65535 inclusive");
    assert_reason("timeout \"5", "Unbalanced quotes in configuration line");
    assert_reason("daemonize maybe", "argument must be 'yes' or 'no'");
    assert_reason("maxmemory 1.5gb", "argument must be a memory value");
    assert_reason("unixsocketperm 888", "argument couldn't be parsed as an octal number");
    assert_reason("supervised x",
                  "argument(s) must be one of the following: upstart, systemd, auto, no");
    assert_reason("save 10", "Invalid save parameters");
    assert_reason("save \"100 10\" \"5 6\"", "Invalid save parameters");
    assert_reason("appendfilename a/b", "appendfilename can't be a path, just a filename");
    assert_reason("appenddirname ''", "appenddirname can't be empty");
    assert_reason("dir /does/not/exist", "No such file or directory");
    assert_reason("notify-keyspace-events Q",
                  "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.");
    assert_reason("bind 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17",
                  "Too many bind addresses specified.");
    assert_reason("client-output-buffer-limit normal 1 2",
                  "Wrong number of arguments in buffer limit configuration.");
}

Test(config, what_would_be_dangerous_to_ignore_is_an_error)
{
    assert_reason("tls-port 6380", "'tls-port' is not supported yet: '0' is all that works here");
    assert_reason("cluster-enabled yes",
                  "'cluster-enabled' is not supported yet: 'no' is all that works here");
    assert_reason("aclfile /etc/x", "'aclfile' is not supported yet: '' is all that works here");
    assert_reason("replicaof 127.0.0.1 6379",
                  "'replicaof' is not supported yet: this server cannot be a replica");
    assert_reason("rename-command CONFIG \"\"", "'rename-command' is not supported yet");
    assert_reason("loadmodule /x.so a", "'loadmodule' is not supported yet");
    assert_reason("sentinel monitor m 127.0.0.1 6379 2", "'sentinel' is not supported yet");
    assert_reason("user alice on >secret ~* &* +@all",
                  "'user' is not supported yet, except a default user with all rights");
    assert_reason("user default on nopass ~* resetchannels +@all",
                  "'user' is not supported yet, except a default user with all rights");
    assert_reason("user default on #00 ~* &* +@all",
                  "A password stands in 'user default' only: set it with 'requirepass'");
}

Test(config, what_is_harmless_is_accepted)
{
    load("user default on nopass sanitize-payload ~* &* +@all\nreplicaof no one\ntls-port 0\n"
         "cluster-enabled no\naclfile \"\"");
    cr_assert_str_eq(get("aclfile"), "aclfile=;");
    load("user default on #0123 ~* &* +@all\nrequirepass x");
}

Test(config, what_has_no_meaning_leaves_one_note_each)
{
    load("io-threads 4\nport 5\nio-threads 5\nlua-replicate-commands yes\nsave \"\"");
    cr_assert_eq(config.note_count, 2);
    cr_assert_str_eq(config.notes[0],
                     "test.conf:1: 'io-threads' has no meaning here: 'threads' says "
                     "how many cores work");
    cr_assert_str_eq(config.notes[1],
                     "test.conf:4: 'lua-replicate-commands' has no meaning any more");
}

Test(config, secrets_are_in_no_message)
{
    static const char *const lines[] = {
        "requirepass s3cret extra",       "  \"requirepass\" s3cret extra",
        "requirepass \"s3cret",           "REQUIREPASS s3cret extra",
        "masterauth s3cret extra",        "user x >s3cret",
        "tls-key-file-pass s3cret extra", "sentinel auth-pass m s3cret",
        "requirepass\ts3cret\t1",         "user default on >s3cret ~* &* +@all",
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        cr_assert_null(strstr(load_error(lines[i]), "s3cret"), "%s", lines[i]);
    cr_assert_str_eq(set_argv((const char *const[]){"requirepass", "s3cret", "port", "x", NULL}),
                     FAILED("port", "argument couldn't be parsed into an integer"));
}

Test(config, lines_of_save_add_up_but_the_first_replaces_the_default)
{
    load("");
    cr_assert_str_eq(get("save"), "save=3600 1 300 100 60 10000;");
    load("save 100 10\nsave 5 6 7 8");
    cr_assert_str_eq(get("save"), "save=100 10 5 6 7 8;");
    load("save \"\"");
    cr_assert_str_eq(get("save"), "save=;");
    load("save \"7 0\"");
    cr_assert_str_eq(get("save"), "save=7 0;");
}

Test(config, includes_files_and_patterns_and_gives_up_on_circles)
{
    char dir[] = "/tmp/gyre-config-XXXXXX", a[64], b[64], text[256];
    cr_assert(mkdtemp(dir) != NULL);
    snprintf(a, sizeof a, "%s/a.conf", dir);
    snprintf(b, sizeof b, "%s/b.conf", dir);
    write_file(b, "port 7001\n");
    snprintf(text, sizeof text, "port 1\ninclude %s/b*.conf\ninclude %s/none*\n", dir, dir);
    load(text);
    cr_assert_eq(config.settings->port, 7001);
    snprintf(text, sizeof text, "dir %s\ninclude b.conf\ninclude %s", dir, b);
    load(text);

    write_file(b, "\nbad\n");
    snprintf(text, sizeof text, "include %s", b);
    const char *message = load_error(text);
    cr_assert(strstr(message, "b.conf', at line 2\n>>> 'bad'\nBad directive"), "%s", message);
    cr_assert_null(strstr(message, "include"), "reported once: %s", message);

    write_file(a, text);
    snprintf(text, sizeof text, "include %s", a);
    write_file(b, text);
    assert_reason(text, "includes are nested too deeply");
    unlink(a), unlink(b);
    message = load_error(text);
    cr_assert(strstr(message, "can't open config file '"), "%s", message);
    rmdir(dir);
}

// --- the command line
// --------------------------------------------------------------------------------

Test(config, options_follow_the_file_and_take_several_values)
{
    char path[] = "/tmp/gyre-config-XXXXXX";
    struct buf error = {0};
    close(mkstemp(path));
    write_file(path, "port 7000\ntimeout 5\nsave 1 1\n");
    cr_assert_eq(LOAD(path, "--port", "7001", "--bind", "127.0.0.1", "::1", "--save", "60", "2",
                      "--requirepass", "--x", "--maxmemory 1kb", "--loglevel", "debug"),
                 CONFIG_LOADED, "%.*s", SLICE_ARG(buf_slice(&error)));
    unlink(path);
    cr_assert_eq(config.settings->port, 7001);
    cr_assert_eq(config.settings->timeout_s, 5);
    cr_assert_str_eq(get("bind"), "bind=127.0.0.1 ::1;");
    cr_assert_str_eq(get("save"), "save=1 1 60 2;");
    cr_assert_str_eq(config.settings->requirepass, "--x");
    cr_assert_eq(config.settings->maxmemory, 1024);
    cr_assert_str_eq(config.path, path);
}

Test(config, save_without_a_value_means_none)
{
    struct buf error = {0};
    cr_assert_eq(LOAD("--save", "--port", "7001"), CONFIG_LOADED);
    cr_assert_str_eq(get("save"), "save=;");
    cr_assert_eq(config.settings->port, 7001);
    config_free(&config), config_init(&config);
    cr_assert_eq(LOAD("--save"), CONFIG_LOADED);
    cr_assert_str_eq(get("save"), "save=;");
    config_free(&config), config_init(&config);
    cr_assert_eq(LOAD("--save", ""), CONFIG_LOADED);
    cr_assert_str_eq(get("save"), "save=;");
}

Test(config, the_last_bind_counts)
{
    struct buf error = {0};
    cr_assert_eq(LOAD("--bind", "127.0.0.1", "--bind", "::1"), CONFIG_LOADED);
    cr_assert_str_eq(get("bind"), "bind=::1;");
}

Test(config, help_and_version_are_told_apart)
{
    struct buf error = {0};
    cr_assert_eq(LOAD("-v"), CONFIG_SHOW_VERSION);
    cr_assert_eq(LOAD("--version"), CONFIG_SHOW_VERSION);
    cr_assert_eq(LOAD("-h"), CONFIG_SHOW_HELP);
    cr_assert_eq(LOAD("--help"), CONFIG_SHOW_HELP);
    cr_assert(strstr(config_usage(), "gyre-server"));
    cr_assert_eq(LOAD(), CONFIG_LOADED);
    cr_assert_null(config.path);
}

static void assert_bad(enum config_result result, struct buf *error, const char *expected)
{
    cr_assert_eq(result, CONFIG_BAD);
    cr_assert(slice_eq(buf_slice(error), TEXT(expected)), "%.*s", SLICE_ARG(buf_slice(error)));
    error->len = 0;
    config_free(&config), config_init(&config);
}

#define ON_COMMAND_LINE "\n*** FATAL CONFIG FILE ERROR (Gyre) ***\nReading the command line\n"

Test(config, a_bad_command_line_is_explained)
{
    struct buf error = {0};
    assert_bad(LOAD("/no/such.conf"), &error,
               "Fatal error, can't open config file '/no/such.conf': No such file or directory\n");
    assert_bad(LOAD("--port"), &error, ON_COMMAND_LINE ">>> 'port'\nwrong number of arguments\n");
    assert_bad(LOAD("--port", "1", "x y"), &error,
               ON_COMMAND_LINE ">>> 'port \"1\" \"x y\"'\nwrong number of arguments\n");
    assert_bad(LOAD("--port=1"), &error,
               ON_COMMAND_LINE ">>> 'port=1'\nBad directive or wrong number of arguments\n");
    assert_bad(LOAD("-p", "1"), &error,
               ON_COMMAND_LINE ">>> '\"-p\" \"1\"'\nBad directive or wrong number of arguments\n");
    buf_free(&error);
}

Test(config, threads_and_dir_are_filled_in)
{
    cr_assert_geq(config.settings->threads, 1);
    cr_assert_eq(config.settings->dir[0], '/');
}

// --- CONFIG GET
// --------------------------------------------------------------------------------------

Test(config, get_takes_patterns_without_repeating_itself)
{
    struct slice patterns[] = {TEXT("PORT"), TEXT("port"), TEXT("por*"), TEXT("nosuch"),
                               TEXT("HZ")};
    cr_assert_str_eq(get_all(patterns, 5), "PORT=6379;HZ=10;");
    cr_assert_str_eq(get("p[ao]rt"), "port=6379;");
    cr_assert_str_eq(get("P?RT"), "port=6379;");
    cr_assert_str_eq(get("*-priority"), "replica-priority=100;slave-priority=100;");
    cr_assert_str_eq(get("slave-priority"), "slave-priority=100;");
    cr_assert_str_eq(get(""), "");
}

Test(config, get_hides_what_is_hidden_from_patterns)
{
    cr_assert_null(strstr(get("*"), "uring-level"));
    cr_assert_str_eq(get("uring-level"), "uring-level=3;");
    cr_assert_str_eq(get("key-load-delay"), "key-load-delay=0;");
}

Test(config, get_prints_values_as_redis_does)
{
    cr_assert_str_eq(get("client-output-buffer-limit"),
                     "client-output-buffer-limit=normal 0 0 0 slave 268435456 67108864 60 "
                     "pubsub 33554432 8388608 60;");
    cr_assert_str_eq(get("latency-tracking-info-percentiles"),
                     "latency-tracking-info-percentiles=50 99 99.9;");
    cr_assert_str_eq(get("oom-score-adj-values"), "oom-score-adj-values=0 200 800;");
    cr_assert_str_eq(get("bind"), "bind=* -::*;");
    cr_assert_str_eq(get("unixsocketperm"), "unixsocketperm=0;");
    load("unixsocketperm 770");
    cr_assert_str_eq(get("unixsocketperm"), "unixsocketperm=770;");
    cr_assert_eq(config.settings->unixsocketperm, 0770);
}

// --- CONFIG SET
// --------------------------------------------------------------------------------------

Test(config, set_changes_all_or_nothing)
{
    cr_assert_str_eq(SET("timeout", "5", "maxclients", "0"),
                     FAILED("maxclients", "argument must be between 1 and 4294967295 inclusive"));
    cr_assert_eq(config.settings->timeout_s, 0);
    cr_assert_str_eq(SET("timeout", "5", "maxclients", "77"), "OK");
    cr_assert_eq(config.settings->timeout_s, 5);
    cr_assert_eq(config.settings->maxclients, 77);
}

Test(config, set_checks_names_before_values)
{
    cr_assert_str_eq(SET("nosuch", "1"),
                     "ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'");
    cr_assert_str_eq(SET("databases", "5"), FAILED("databases", "can't set immutable config"));
    cr_assert_str_eq(SET("timeout", "x", "databases", "3"),
                     FAILED("databases", "can't set immutable config"));
    cr_assert_str_eq(SET("nosuch", "5", "databases", "5"),
                     "ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'");
    cr_assert_str_eq(SET("timeout", "5", "TIMEOUT", "6"), FAILED("TIMEOUT", "duplicate parameter"));
    cr_assert_str_eq(SET("replica-priority", "5", "slave-priority", "6"), "OK");
    cr_assert_eq(config.settings->replica_priority, 6);
    cr_assert_str_eq(SET("dir", "/tmp"), FAILED("dir", "can't set protected config"));
}

Test(config, protected_directives_open_to_whom_they_should)
{
    struct slice pair[] = {TEXT("dbfilename"), TEXT("x.rdb")};
    char error[256];
    load("enable-protected-configs local");
    cr_assert_null(config_set(&config, pair, 2, false, error, sizeof error));
    struct settings *next = config_set(&config, pair, 2, true, error, sizeof error);
    cr_assert(next != NULL);
    cr_assert_str_eq(next->dbfilename, "x.rdb");
    settings_free(next);
    load("enable-protected-configs yes");
    cr_assert_str_eq(SET("dbfilename", "a/b"),
                     FAILED("dbfilename", "dbfilename can't be a path, just a filename"));
    cr_assert_str_eq(SET("dir", "/etc/passwd"), FAILED("dir", "Not a directory"));
    cr_assert_str_eq(SET("dir", ""), FAILED("dir", "No such file or directory"));
    cr_assert_str_eq(SET("dir", "/usr/"), "OK");
    cr_assert_str_eq(get("dir"), "dir=/usr;");
    cr_assert_str_eq(SET("dir", "bin/.."), "OK");
    cr_assert_str_eq(get("dir"), "dir=/usr;");
}

Test(config, set_refuses_in_redis_s_words)
{
#define REFUSES(name, value, why) cr_assert_str_eq(SET(name, value), FAILED(name, why))
    REFUSES("timeout", "007", "argument couldn't be parsed into an integer");
    REFUSES("timeout", "", "argument couldn't be parsed into an integer");
    REFUSES("list-max-listpack-size", "3000000000",
            "argument must be between -2147483648 and 2147483647 inclusive");
    REFUSES("proto-max-bulk-len", "5",
            "argument must be between 1048576 and 9223372036854775807 inclusive");
    REFUSES("maxmemory", "1 kb", "argument must be a memory value");
    REFUSES("maxmemory", "-1", "argument must be a memory value");
    REFUSES("maxmemory-clients", "150%", "percentage argument must be less or equal to 100");
    REFUSES("maxmemory-clients", "%", "argument must be a memory or percent value");
    REFUSES("appendfsync", "x", "argument(s) must be one of the following: everysec, always, no");
    REFUSES("maxmemory-policy", "x",
            "argument(s) must be one of the following: volatile-lru, volatile-lfu, "
            "volatile-random, volatile-ttl, allkeys-lru, allkeys-lfu, allkeys-random, noeviction");
    REFUSES("shutdown-on-sigterm", "save nosave",
            "shutdown options SAVE and NOSAVE can't be used simultaneously");
    REFUSES("shutdown-on-sigterm", "",
            "argument(s) must be one of the following: default, save, nosave, now, force");
    REFUSES("client-output-buffer-limit", "master 1 2 3",
            "Invalid client class specified in buffer limit configuration.");
    REFUSES("client-output-buffer-limit", "normal 1 2 -3",
            "Error in hard, soft or soft_seconds setting in buffer limit configuration.");
    REFUSES("latency-tracking-info-percentiles", "101",
            "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]");
    REFUSES("latency-tracking-info-percentiles", "99 x",
            "Invalid latency-tracking-info-percentiles parameters");
    REFUSES("oom-score-adj-values", "1 2 3000",
            "Invalid oom-score-adj-values, elements must be between -2000 and 2000.");
    REFUSES("oom-score-adj-values", "1 2", "wrong number of arguments");
    REFUSES("save", "0 10", "Invalid save parameters");
    REFUSES("save", "1  2", "Invalid save parameters");
    REFUSES("repl-diskless-load", "x",
            "argument(s) must be one of the following: disabled, on-empty-db, swapdb");
    REFUSES("tls-port", "1", "'tls-port' is not supported yet: '0' is all that works here");
}

Test(config, set_takes_what_redis_takes)
{
    static const char *const cases[][3] = {
        {"maxmemory", "kb", "0"},
        {"maxmemory", "007", "7"},
        {"maxmemory", "10k", "10000"},
        {"maxmemory", "1GB", "1073741824"},
        {"maxmemory", "99999999999999999999", "18446744073709551615"},
        {"maxmemory-clients", "50%", "50%"},
        {"maxmemory-clients", "5mb", "5242880"},
        {"appendonly", "YES", "yes"},
        {"appendfsync", "ALWAYS", "always"},
        {"hz", "1000", "500"},
        {"hz", "0", "1"},
        {"repl-backlog-size", "1", "16384"},
        {"shutdown-on-sigterm", "force now nosave", "nosave now force"},
        {"shutdown-on-sigterm", "default now", "now"},
        {"shutdown-on-sigterm", "default", "default"},
        {"notify-keyspace-events", "KEA", "AKE"},
        {"notify-keyspace-events", "g$lshzxetd", "A"},
        {"notify-keyspace-events", "g$lshzxet", "g$lshzxet"},
        {"notify-keyspace-events", "AKEmn", "AKEm"},
        {"notify-keyspace-events", "Kxn", "xnK"},
        {"notify-keyspace-events", "", ""},
        {"latency-tracking-info-percentiles", "0.001 1e1 99.999999", "0.001 10 99.999999"},
        {"latency-tracking-info-percentiles", "", ""},
        {"save", "10 0", "10 0"},
        {"save", "", ""},
        {"client-output-buffer-limit", "SLAVE 1kb 2kb 60 normal 5gb 1 2",
         "normal 5368709120 1 2 slave 1024 2048 60 pubsub 33554432 8388608 60"},
        {"client-output-buffer-limit", "",
         "normal 5368709120 1 2 slave 1024 2048 60 pubsub 33554432 8388608 60"},
        {"bind", "127.0.0.1 ::1", "127.0.0.1 ::1"},
        {"bind", "", ""},
        {"activedefrag", "yes", "yes"},
        {"loglevel", "nothing", "nothing"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char expected[256];
        cr_assert_str_eq(SET(cases[i][0], cases[i][1]), "OK", "%s %s", cases[i][0], cases[i][1]);
        snprintf(expected, sizeof expected, "%s=%s;", cases[i][0], cases[i][2]);
        cr_assert_str_eq(get(cases[i][0]), expected);
    }
}

// --- CONFIG REWRITE
// ----------------------------------------------------------------------------------

Test(config, rewrite_changes_nothing_where_nothing_changed)
{
    const char *text =
        "# hi\n\nport   6379\nSAVE 60  1\nsave 5 6\n  hz 10\nunknown \"\nslave-priority 7\n"
        "client-output-buffer-limit normal 0 0 0\n# end\ntimeout 0\n";
    load("save 60 1\nsave 5 6\nreplica-priority 7");
    cr_assert_str_eq(rewrite(text), text);
}

Test(config, rewrite_puts_changes_where_the_old_lines_are)
{
    load("requirepass \"a\\\"b\"\nmaxmemory 1gb\nport 7001\nslave-priority 5\nbind 127.0.0.1 -::1\n"
         "tcp-keepalive 100\nnotify-keyspace-events KEAn\nsave 1 2 3 4");
    cr_assert_str_eq(rewrite("# hi\r\nmaxmemory 5000\r\nPORT 1\n# mid\nslave-priority 50\n"
                             "include x.conf\nslave-priority 60\nsave \"\"\ntimeout 0"),
                     "# hi\r\nmaxmemory 1gb\r\nport 7001\n# mid\nreplica-priority 5\n"
                     "include x.conf\nsave 1 2\nsave 3 4\ntimeout 0\n"
                     "\n# Generated by CONFIG REWRITE\n"
                     "bind 127.0.0.1 -::1\ntcp-keepalive 100\nrequirepass \"a\\\"b\"\n"
                     "notify-keyspace-events \"AKEn\"\n");
}

Test(config, rewrite_writes_one_marker_only)
{
    const char *marked = "# Generated by CONFIG REWRITE\nport 7001\n";
    load("port 7001");
    cr_assert_str_eq(rewrite(""), marked);
    cr_assert_str_eq(rewrite(marked), marked);
    load("timeout 5");
    cr_assert_str_eq(rewrite(marked), "# Generated by CONFIG REWRITE\nport 7001\ntimeout 5\n");
}

Test(config, rewrite_removes_duplicates_even_of_what_is_right)
{
    cr_assert_str_eq(rewrite("hz 10\nhz 10\n"), "hz 10\n");
    load("save \"\"\nclient-output-buffer-limit pubsub 1mb 2 3");
    cr_assert_str_eq(rewrite("save 1 2\nhz 10\nsave 3 4\n"),
                     "save \"\"\nhz 10\n\n# Generated by CONFIG REWRITE\n"
                     "client-output-buffer-limit pubsub 1mb 2 3\n");
}

Test(config, rewrite_needs_a_file)
{
    char error[256];
    cr_assert_not(config_rewrite(&config, error, sizeof error));
    cr_assert_str_eq(error, "ERR The server is running without a config file");
}

Test(config, rewrite_replaces_the_file_and_keeps_its_mode_and_its_link)
{
    char dir[] = "/tmp/gyre-config-XXXXXX", file[64], link[64], expected[128], text[256];
    char message[256];
    struct buf error = {0};
    struct stat st;
    cr_assert(mkdtemp(dir) != NULL);
    snprintf(file, sizeof file, "%s/real.conf", dir);
    snprintf(link, sizeof link, "%s/link.conf", dir);
    snprintf(text, sizeof text, "dir %s\nport 5\n", dir);
    write_file(file, text);
    cr_assert_eq(chmod(file, 0640), 0);
    cr_assert_eq(symlink("real.conf", link), 0);
    cr_assert_eq(LOAD(link), CONFIG_LOADED);
    cr_assert_str_eq(SET("port", "6"), "OK");
    cr_assert(config_rewrite(&config, message, sizeof message), "%s", message);
    snprintf(expected, sizeof expected, "dir %s\nport 6\n", dir);
    assert_file(file, expected);
    cr_assert_eq(stat(file, &st), 0);
    cr_assert_eq(st.st_mode & 0777, 0640);
    cr_assert_eq(lstat(link, &st), 0);
    cr_assert(S_ISLNK(st.st_mode));
    unlink(link), unlink(file);
    cr_assert_eq(rmdir(dir), 0, "no temporary file is left: %s", strerror(errno));
}

Test(config, rewrite_says_why_it_cannot)
{
    char message[256];
    config.path = mem_strdup("/proc/nowhere/x.conf");
    cr_assert_not(config_rewrite(&config, message, sizeof message));
    cr_assert_str_eq(message, "ERR Rewriting config file: No such file or directory");
}
