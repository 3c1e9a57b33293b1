// SPDX-License-Identifier: BSD-3-Clause
//
// Each directive here is a parser, a formatter (CONFIG GET) and, where one line in Redis's simple
// form does not do, a writer of lines (CONFIG REWRITE), tied together in a struct special at the
// end of its part. Parsers check everything before they change anything.
#include "server/config_special.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/num.h"
#include "engine/ctx.h" // enum event_class
#include "server/config_value.h"

// A word in a line, in quotes if it could be read as anything but one word.
static void append_word(struct buf *out, struct slice word)
{
    bool is_plain = word.len > 0;
    for (size_t i = 0; i < word.len; i++) {
        unsigned char c = (unsigned char)word.ptr[i];
        if (c <= ' ' || c >= 0x7f || c == '"' || c == '\'' || c == '\\') is_plain = false;
    }
    if (is_plain)
        buf_append(out, word.ptr, word.len);
    else
        buf_append_quoted(out, word);
}

static bool is_single_empty(const struct slice *argv, int argc)
{
    return argc == 1 && argv[0].len == 0;
}

// --- bind: up to 16 addresses; none: no TCP -----------------------------------------------------

static bool parse_bind(const struct directive *d, struct settings *s, const struct slice *argv,
                       int argc, bool is_appending, char *why)
{
    (void)d, (void)is_appending; // a later line replaces an earlier one
    if (argc > SETTINGS_BIND_MAX) return config_refuse(why, "Too many bind addresses specified.");
    if (is_single_empty(argv, argc)) argc = 0;
    for (uint32_t i = 0; i < s->bind_count; i++) mem_free(s->bind[i]);
    for (int i = 0; i < argc; i++) s->bind[i] = mem_strndup(argv[i].ptr, argv[i].len);
    s->bind_count = (uint32_t)argc;
    return true;
}

static void format_bind(const struct directive *d, const struct settings *s, struct buf *out)
{
    (void)d;
    for (uint32_t i = 0; i < s->bind_count; i++) buf_printf(out, "%s%s", i ? " " : "", s->bind[i]);
}

static void write_bind(const struct directive *d, const struct settings *s, bool is_whole,
                       struct buf *out)
{
    (void)is_whole;
    buf_append_text(out, d->name);
    for (uint32_t i = 0; i < s->bind_count; i++) {
        buf_append_char(out, ' ');
        append_word(out, slice_of(s->bind[i]));
    }
    buf_append_text(out, s->bind_count ? "\n" : " \"\"\n");
}

const struct special special_bind = {parse_bind, format_bind, write_bind};

// --- dir: an existing directory, kept as its absolute path --------------------------------------

static bool parse_dir(const struct directive *d, struct settings *s, const struct slice *argv,
                      int argc, bool is_appending, char *why)
{
    (void)d, (void)argc, (void)is_appending;
    char path[PATH_MAX];
    struct buf name = {0};
    struct stat st;
    int error = 0;
    bool is_relative = argv[0].len && argv[0].ptr[0] != '/'; // to the one before, as after a chdir
    buf_printf(&name, "%s%s%.*s", is_relative ? s->dir : "", is_relative ? "/" : "",
               SLICE_ARG(argv[0]));
    buf_append_char(&name, '\0');
    if (!realpath(name.ptr, path) || stat(path, &st) < 0)
        error = errno;
    else if (!S_ISDIR(st.st_mode))
        error = ENOTDIR;
    else if (access(path, X_OK) < 0)
        error = errno;
    buf_free(&name);
    if (error) return config_refuse(why, "%s", strerror(error));
    mem_free(s->dir);
    s->dir = mem_strdup(path);
    return true;
}

static void format_dir(const struct directive *d, const struct settings *s, struct buf *out)
{
    (void)d;
    buf_append_text(out, s->dir);
}

static void write_dir(const struct directive *d, const struct settings *s, bool is_whole,
                      struct buf *out)
{
    (void)is_whole;
    buf_printf(out, "%s ", d->name);
    buf_append_quoted(out, slice_of(s->dir));
    buf_append_char(out, '\n');
}

const struct special special_dir = {parse_dir, format_dir, write_dir};

// --- client-output-buffer-limit: groups of class, hard, soft, soft seconds ----------------------

static const char *const output_classes[OUTPUT_CLASSES] = {"normal", "slave", "pubsub"};

static int output_class(struct slice name)
{
    if (slice_is(name, "replica")) return OUTPUT_REPLICA;
    for (int i = 0; i < OUTPUT_CLASSES; i++)
        if (slice_is(name, output_classes[i])) return i;
    return -1;
}

static bool parse_output_limits(const struct directive *d, struct settings *s,
                                const struct slice *argv, int argc, bool is_appending, char *why)
{
    (void)d, (void)is_appending; // classes that are not named stay as they are
    struct output_limit limits[OUTPUT_CLASSES];
    memcpy(limits, s->client_output_buffer_limit, sizeof limits);
    if (argc % 4)
        return config_refuse(why, "Wrong number of arguments in buffer limit configuration.");
    for (int i = 0; i < argc; i += 4) {
        int class = output_class(argv[i]);
        if (class < 0)
            return config_refuse(why,
                                 "Invalid client class specified in buffer limit configuration.");
        struct output_limit *l = &limits[class];
        if (!config_parse_memory(argv[i + 1], &l->hard) ||
            !config_parse_memory(argv[i + 2], &l->soft) ||
            !config_parse_number(argv[i + 3], &l->soft_seconds) || l->soft_seconds < 0)
            return config_refuse(
                why, "Error in hard, soft or soft_seconds setting in buffer limit configuration.");
    }
    memcpy(s->client_output_buffer_limit, limits, sizeof limits);
    return true;
}

static void format_output_limits(const struct directive *d, const struct settings *s,
                                 struct buf *out)
{
    (void)d;
    for (int i = 0; i < OUTPUT_CLASSES; i++) {
        const struct output_limit *l = &s->client_output_buffer_limit[i];
        buf_printf(out, "%s%s %" PRIu64 " %" PRIu64 " %" PRId64, i ? " " : "", output_classes[i],
                   l->hard, l->soft, l->soft_seconds);
    }
}

static void write_output_limits(const struct directive *d, const struct settings *s, bool is_whole,
                                struct buf *out)
{
    struct settings *defaults = settings_default();
    for (int i = 0; i < OUTPUT_CLASSES; i++) {
        const struct output_limit *l = &s->client_output_buffer_limit[i];
        const struct output_limit *initial = &defaults->client_output_buffer_limit[i];
        bool is_default = l->hard == initial->hard && l->soft == initial->soft &&
                          l->soft_seconds == initial->soft_seconds;
        if (is_default && !is_whole) continue;
        buf_printf(out, "%s %s ", d->name, i == OUTPUT_REPLICA ? "replica" : output_classes[i]);
        config_format_memory(l->hard, out);
        buf_append_char(out, ' ');
        config_format_memory(l->soft, out);
        buf_printf(out, " %" PRId64 "\n", l->soft_seconds);
    }
    settings_free(defaults);
}

const struct special special_output_limits = {parse_output_limits, format_output_limits,
                                              write_output_limits};

// --- save: pairs of seconds and changes; "" for none --------------------------------------------
// The first line of a file replaces the default, those behind it add to it.

static bool parse_save(const struct directive *d, struct settings *s, const struct slice *argv,
                       int argc, bool is_appending, char *why)
{
    (void)d;
    if (is_single_empty(argv, argc)) argc = 0;
    uint32_t have = is_appending && argc ? s->save_count : 0;
    if (argc % 2 || have + (uint32_t)argc / 2 > SETTINGS_SAVE_MAX)
        return config_refuse(why, "Invalid save parameters");
    struct save_point points[SETTINGS_SAVE_MAX];
    for (int i = 0; i < argc; i += 2) {
        struct save_point *p = &points[i / 2];
        if (!config_parse_number(argv[i], &p->seconds) || p->seconds < 1 ||
            !config_parse_number(argv[i + 1], &p->changes) || p->changes < 0)
            return config_refuse(why, "Invalid save parameters");
    }
    memcpy(s->save + have, points, (size_t)argc / 2 * sizeof *points);
    s->save_count = have + (uint32_t)argc / 2;
    return true;
}

static void format_save(const struct directive *d, const struct settings *s, struct buf *out)
{
    (void)d;
    for (uint32_t i = 0; i < s->save_count; i++)
        buf_printf(out, "%s%" PRId64 " %" PRId64, i ? " " : "", s->save[i].seconds,
                   s->save[i].changes);
}

static void write_save(const struct directive *d, const struct settings *s, bool is_whole,
                       struct buf *out)
{
    (void)is_whole;
    for (uint32_t i = 0; i < s->save_count; i++)
        buf_printf(out, "%s %" PRId64 " %" PRId64 "\n", d->name, s->save[i].seconds,
                   s->save[i].changes);
    if (s->save_count == 0) buf_printf(out, "%s \"\"\n", d->name);
}

const struct special special_save = {parse_save, format_save, write_save};

// --- notify-keyspace-events: letters, in Redis's order; A stands for all classes but m and n ----

static const struct {
    char letter;
    uint32_t flag;
} event_letters[] = {
    {'g', EVENT_GENERIC}, {'$', EVENT_STRING},  {'l', EVENT_LIST},    {'s', EVENT_SET},
    {'h', EVENT_HASH},    {'z', EVENT_ZSET},    {'x', EVENT_EXPIRED}, {'e', EVENT_EVICTED},
    {'t', EVENT_STREAM},  {'d', NOTIFY_MODULE}, {'n', EVENT_NEW},
};

#define EVENTS_ALL                                                                                 \
    (EVENT_GENERIC | EVENT_STRING | EVENT_LIST | EVENT_SET | EVENT_HASH | EVENT_ZSET |             \
     EVENT_EXPIRED | EVENT_EVICTED | EVENT_STREAM | (uint32_t)NOTIFY_MODULE)

static uint32_t event_flag(char letter)
{
    if (letter == 'A') return EVENTS_ALL;
    if (letter == 'K') return NOTIFY_KEYSPACE;
    if (letter == 'E') return NOTIFY_KEYEVENT;
    if (letter == 'm') return EVENT_MISS;
    for (size_t i = 0; i < ARRAY_LEN(event_letters); i++)
        if (event_letters[i].letter == letter) return event_letters[i].flag;
    return 0;
}

static bool parse_notify(const struct directive *d, struct settings *s, const struct slice *argv,
                         int argc, bool is_appending, char *why)
{
    (void)d, (void)argc, (void)is_appending;
    uint32_t flags = 0;
    for (size_t i = 0; i < argv[0].len; i++) {
        uint32_t flag = event_flag(argv[0].ptr[i]);
        if (!flag)
            return config_refuse(why, "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.");
        flags |= flag;
    }
    s->notify_keyspace_events = flags;
    return true;
}

static void format_notify(const struct directive *d, const struct settings *s, struct buf *out)
{
    (void)d;
    uint32_t flags = (uint32_t)s->notify_keyspace_events;
    if ((flags & EVENTS_ALL) == EVENTS_ALL) {
        buf_append_char(out, 'A'); // and Redis does not show n then
    } else {
        for (size_t i = 0; i < ARRAY_LEN(event_letters); i++)
            if (flags & event_letters[i].flag) buf_append_char(out, event_letters[i].letter);
    }
    if (flags & NOTIFY_KEYSPACE) buf_append_char(out, 'K');
    if (flags & NOTIFY_KEYEVENT) buf_append_char(out, 'E');
    if (flags & EVENT_MISS) buf_append_char(out, 'm');
}

static void write_notify(const struct directive *d, const struct settings *s, bool is_whole,
                         struct buf *out)
{
    (void)is_whole;
    bool is_n_lost = (s->notify_keyspace_events & (int64_t)EVENTS_ALL) == (int64_t)EVENTS_ALL &&
                     (s->notify_keyspace_events & EVENT_NEW);
    buf_printf(out, "%s \"", d->name);
    format_notify(d, s, out);
    buf_append_text(out, is_n_lost ? "n\"\n" : "\"\n");
}

const struct special special_notify = {parse_notify, format_notify, write_notify};

// --- latency-tracking-info-percentiles ----------------------------------------------------------

static bool parse_percentiles(const struct directive *d, struct settings *s,
                              const struct slice *argv, int argc, bool is_appending, char *why)
{
    (void)is_appending;
    double values[SETTINGS_PERCENTILES_MAX];
    if (is_single_empty(argv, argc)) argc = 0;
    if (argc > SETTINGS_PERCENTILES_MAX)
        return config_refuse(why, "Invalid %s parameters", d->name);
    for (int i = 0; i < argc; i++) {
        if (!num_parse_double(argv[i], &values[i]))
            return config_refuse(why, "Invalid %s parameters", d->name);
        if (values[i] < 0 || values[i] > 100)
            return config_refuse(why, "%s parameters should sit between [0.0,100.0]", d->name);
    }
    memcpy(s->latency_tracking_info_percentiles, values, (size_t)argc * sizeof *values);
    s->latency_tracking_info_percentiles_count = (uint32_t)argc;
    return true;
}

static void format_percentiles(const struct directive *d, const struct settings *s, struct buf *out)
{
    (void)d;
    for (uint32_t i = 0; i < s->latency_tracking_info_percentiles_count; i++)
        buf_printf(out, "%s%.10g", i ? " " : "", s->latency_tracking_info_percentiles[i]);
}

const struct special special_percentiles = {parse_percentiles, format_percentiles, NULL};

// --- shutdown-on-sigterm, shutdown-on-sigint: a set of words ------------------------------------

static const struct choice stop_flags[] = {{"default", 0},          {"save", STOP_SAVE},
                                           {"nosave", STOP_NOSAVE}, {"now", STOP_NOW},
                                           {"force", STOP_FORCE},   {0}};

static bool parse_stop_flags(const struct directive *d, struct settings *s,
                             const struct slice *argv, int argc, bool is_appending, char *why)
{
    (void)is_appending;
    int64_t flags = 0;
    if (argc == 0) return config_refuse_choice(stop_flags, why);
    for (int i = 0; i < argc; i++) {
        const struct choice *c = stop_flags;
        while (c->name && !slice_is(argv[i], c->name)) c++;
        if (!c->name) return config_refuse_choice(stop_flags, why);
        flags |= c->value;
    }
    if ((flags & STOP_SAVE) && (flags & STOP_NOSAVE))
        return config_refuse(why, "shutdown options SAVE and NOSAVE can't be used simultaneously");
    *(int64_t *)((char *)s + d->offset) = flags;
    return true;
}

static void format_stop_flags(const struct directive *d, const struct settings *s, struct buf *out)
{
    int64_t flags = *(const int64_t *)((const char *)s + d->offset);
    if (!flags) buf_append_text(out, "default");
    const char *between = "";
    for (const struct choice *c = stop_flags; c->name; c++) {
        if (!(flags & c->value)) continue;
        buf_printf(out, "%s%s", between, c->name);
        between = " ";
    }
}

const struct special special_stop_flags = {parse_stop_flags, format_stop_flags, NULL};

// --- oom-score-adj-values: three numbers (inert) ------------------------------------------------

#define OOM_VALUES 3
#define OOM_LIMIT  2000

static bool parse_oom_values(const struct directive *d, struct settings *s,
                             const struct slice *argv, int argc, bool is_appending, char *why)
{
    (void)is_appending;
    if (argc != OOM_VALUES) return config_refuse(why, "wrong number of arguments");
    int64_t v[OOM_VALUES];
    for (int i = 0; i < OOM_VALUES; i++)
        if (!config_parse_number(argv[i], &v[i]) || v[i] < -OOM_LIMIT || v[i] > OOM_LIMIT)
            return config_refuse(why, "Invalid %s, elements must be between -%d and %d.", d->name,
                                 OOM_LIMIT, OOM_LIMIT);
    struct buf text = {0};
    buf_printf(&text, "%" PRId64 " %" PRId64 " %" PRId64, v[0], v[1], v[2]);
    config_inert_set(d, s, buf_slice(&text));
    buf_free(&text);
    return true;
}

const struct special special_oom_values = {parse_oom_values, NULL, NULL};

// --- replicaof: "no one" is all that works ------------------------------------------------------

static bool parse_replicaof(const struct directive *d, struct settings *s, const struct slice *argv,
                            int argc, bool is_appending, char *why)
{
    (void)s, (void)is_appending;
    if (argc != 2) return config_refuse(why, "wrong number of arguments");
    if (slice_is(argv[0], "no") && slice_is(argv[1], "one")) return true;
    return config_refuse(why, "'%s' is not supported yet: this server cannot be a replica",
                         d->name);
}

// A rewritten file loses the line: it said nothing.
static void write_no_line(const struct directive *d, const struct settings *s, bool is_whole,
                          struct buf *out)
{
    (void)d, (void)s, (void)is_whole, (void)out;
}

const struct special special_replicaof = {parse_replicaof, NULL, write_no_line};
