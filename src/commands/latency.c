// SPDX-License-Identifier: BSD-3-Clause
//
// LATENCY. Two sources: the monitor's events, shared by all shards behind a lock
// (engine/slowlog.h), and the latency histogram that each shard keeps of each command
// (engine/stats.h), which any thread may read. So everything runs at home; CMD_SESSION, so that
// what the connection sent before is counted.
#include <math.h>
#include <stdio.h>

#include "base/mem.h"
#include "commands/families.h"
#include "engine/ctx.h"
#include "engine/engine.h"
#include "engine/settings.h"

// --- events --------------------------------------------------------------------------------------

struct listing {
    struct reply *reply;
    size_t count;
};

static void reply_latest(const char *event, const struct latency_sample *samples, int count,
                         uint32_t max_ms, void *arg)
{
    struct listing *l = arg;
    const struct latency_sample *last = &samples[count - 1];
    l->count++;
    reply_array(l->reply, 4);
    reply_bulk_text(l->reply, event);
    reply_int(l->reply, last->time_s);
    reply_int(l->reply, last->latency_ms);
    reply_int(l->reply, max_ms);
}

static void latest(struct ctx *ctx)
{
    struct listing l = {.reply = ctx->reply};
    struct reply_mark mark = reply_open(ctx->reply);
    latency_each(ctx->engine->latency, reply_latest, &l);
    reply_close_array(ctx->reply, mark, l.count);
}

// A copy of one event's history.
struct found {
    struct slice event;
    struct latency_sample samples[LATENCY_HISTORY];
    int count;
    uint32_t max_ms;
};

static void copy_if_wanted(const char *event, const struct latency_sample *samples, int count,
                           uint32_t max_ms, void *arg)
{
    struct found *f = arg;
    if (!slice_eq(f->event, slice_of(event))) return;
    memcpy(f->samples, samples, (size_t)count * sizeof *samples);
    f->count = count;
    f->max_ms = max_ms;
}

static void history(struct ctx *ctx)
{
    struct found f = {.event = ctx->argv[2]};
    latency_each(ctx->engine->latency, copy_if_wanted, &f);
    reply_array(ctx->reply, (size_t)f.count);
    for (int i = 0; i < f.count; i++) {
        reply_array(ctx->reply, 2);
        reply_int(ctx->reply, f.samples[i].time_s);
        reply_int(ctx->reply, f.samples[i].latency_ms);
    }
}

static void reset(struct ctx *ctx)
{
    int removed = 0;
    if (ctx->argc == 2) removed = latency_reset(ctx->engine->latency, NULL);
    for (int i = 2; i < ctx->argc; i++) {
        char *event = mem_strndup(ctx->argv[i].ptr, ctx->argv[i].len);
        removed += latency_reset(ctx->engine->latency, event);
        mem_free(event);
    }
    reply_int(ctx->reply, removed);
}

// --- graph ---------------------------------------------------------------------------------------
//
// A column a sample, GRAPH_ROWS rows of three heights each ("_", "o", "#", filled with "|" below),
// the age of the sample written downwards under it. A history longer than GRAPH_COLUMNS goes on in
// a second band.

#define GRAPH_ROWS    4
#define GRAPH_COLUMNS 80
#define AGE_TEXT      24

static void format_age(char out[AGE_TEXT], int64_t seconds)
{
    if (seconds < 60)
        snprintf(out, AGE_TEXT, "%llds", (long long)seconds);
    else if (seconds < 3600)
        snprintf(out, AGE_TEXT, "%lldm", (long long)(seconds / 60));
    else if (seconds < 86400)
        snprintf(out, AGE_TEXT, "%lldh", (long long)(seconds / 3600));
    else
        snprintf(out, AGE_TEXT, "%lldd", (long long)(seconds / 86400));
}

static void draw_bars(struct buf *out, const struct latency_sample *s, int count, uint32_t low,
                      uint32_t high)
{
    static const char heights[] = "_o#";
    const int per_row = (int)sizeof heights - 1, steps = GRAPH_ROWS * per_row;
    uint32_t range = high > low ? high - low : 1;
    for (int row = GRAPH_ROWS - 1; row >= 0; row--) {
        for (int i = 0; i < count; i++) {
            int step = (int)((uint64_t)(s[i].latency_ms - low) * (uint64_t)steps / range);
            int in_row = MIN(step, steps - 1) - row * per_row;
            buf_append_char(out, in_row < 0 ? ' ' : in_row < per_row ? heights[in_row] : '|');
        }
        buf_append_char(out, '\n');
    }
}

static void draw_ages(struct buf *out, const struct latency_sample *s, int count, int64_t now_s)
{
    char ages[GRAPH_COLUMNS][AGE_TEXT];
    size_t longest = 0;
    for (int i = 0; i < count; i++) {
        format_age(ages[i], now_s - s[i].time_s);
        longest = MAX(longest, strlen(ages[i]));
        buf_append_char(out, ' ');
    }
    buf_append_char(out, '\n');
    for (size_t line = 0; line < longest; line++) {
        for (int i = 0; i < count; i++)
            buf_append_char(out, line < strlen(ages[i]) ? ages[i][line] : ' ');
        buf_append_char(out, '\n');
    }
}

static void draw_graph(struct buf *out, const struct found *f, int64_t now_s)
{
    uint32_t low = UINT32_MAX, high = 0;
    for (int i = 0; i < f->count; i++) {
        low = MIN(low, f->samples[i].latency_ms);
        high = MAX(high, f->samples[i].latency_ms);
    }
    buf_printf(out, "%.*s - high %u ms, low %u ms (all time high %u ms)\n", SLICE_ARG(f->event),
               high, low, f->max_ms);
    for (int i = 0; i < GRAPH_COLUMNS; i++) buf_append_char(out, '-');
    buf_append_char(out, '\n');
    for (int from = 0; from < f->count; from += GRAPH_COLUMNS) {
        int count = MIN(f->count - from, GRAPH_COLUMNS);
        if (from) buf_append_char(out, '\n');
        draw_bars(out, f->samples + from, count, low, high);
        draw_ages(out, f->samples + from, count, now_s);
    }
}

static void graph(struct ctx *ctx)
{
    struct found f = {.event = ctx->argv[2]};
    latency_each(ctx->engine->latency, copy_if_wanted, &f);
    if (f.count == 0) {
        reply_errorf(ctx->reply, "ERR No samples available for event '%.*s'", SLICE_ARG(f.event));
        return;
    }
    struct buf text = {0};
    draw_graph(&text, &f, ctx->now_ms / 1000);
    reply_verbatim(ctx->reply, "txt", buf_slice(&text));
    buf_free(&text);
}

// --- doctor --------------------------------------------------------------------------------------

struct diagnosis {
    struct buf *out;
    int events;
    bool has_slow_commands, has_expiry;
};

static void describe_event(const char *event, const struct latency_sample *samples, int count,
                           uint32_t max_ms, void *arg)
{
    struct diagnosis *d = arg;
    double sum = 0, deviation = 0;
    for (int i = 0; i < count; i++) sum += samples[i].latency_ms;
    double average = sum / count;
    for (int i = 0; i < count; i++) deviation += fabs(samples[i].latency_ms - average);
    double seconds = samples[count - 1].time_s - samples[0].time_s;
    buf_printf(d->out,
               "%d. %s: %d spikes of %.0f ms on average (mean deviation %.0f ms), one every %.1f "
               "seconds; the worst ever took %u ms.\n",
               ++d->events, event, count, average, deviation / count,
               count > 1 ? seconds / (count - 1) : 0, max_ms);
    if (strstr(event, "command")) d->has_slow_commands = true;
    if (strstr(event, "expire")) d->has_expiry = true;
}

static void advise(const struct diagnosis *d, const struct settings *s)
{
    buf_append_text(d->out, "\nWhat to look at:\n");
    if (d->has_slow_commands) {
        buf_append_text(d->out, "- SLOWLOG GET shows which commands took long, and for whom. A "
                                "command holds up its own shard only; INFO shards shows which "
                                "one is busy.\n");
        if (s->slowlog_log_slower_than < 0 ||
            s->slowlog_log_slower_than / 1000 > s->latency_monitor_threshold)
            buf_printf(d->out,
                       "- The slow log misses some of them: "
                       "CONFIG SET slowlog-log-slower-than %lld.\n",
                       (long long)s->latency_monitor_threshold * 1000);
    }
    if (d->has_expiry)
        buf_append_text(d->out, "- Many keys expire at the same time: spread their TTLs.\n");
    buf_append_text(d->out, "- If commands are quick and clients still wait, the cause is outside: "
                            "processor shortage, swapping, or the network.\n");
}

static void doctor(struct ctx *ctx)
{
    struct buf text = {0};
    struct diagnosis d = {.out = &text};
    latency_each(ctx->engine->latency, describe_event, &d);
    if (d.events)
        advise(&d, ctx->settings);
    else if (ctx->settings->latency_monitor_threshold == 0)
        buf_append_text(&text, "The latency monitor is off. CONFIG SET latency-monitor-threshold "
                               "<milliseconds> turns it on.\n");
    else
        buf_append_text(&text, "No latency spike was seen since the monitor was turned on.\n");
    reply_verbatim(ctx->reply, "txt", buf_slice(&text));
    buf_free(&text);
}

// --- histogram -----------------------------------------------------------------------------------
//
// Cumulative counts at the powers of two of nanoseconds, a power left out where nothing was added
// to the one before. Redis's histogram has two significant digits, so its bounds lie a 128th above
// the powers of two; the keys of the map are those bounds in whole microseconds: 1, 2, 4, 8, 16,
// 33, 66, 132 …

static int64_t shown_bound_us(unsigned octave)
{
    return (int64_t)(((UINT64_C(1) << octave) + (UINT64_C(1) << (octave - 7)) - 1) / 1000);
}

static void reply_distribution(struct reply *reply, const uint64_t *counts)
{
    struct reply_mark mark = reply_open(reply);
    size_t pairs = 0;
    uint64_t seen = 0;
    for (unsigned b = 0, octave = 10; b < STATS_HISTOGRAM_BUCKETS; octave++) {
        uint64_t before = seen;
        unsigned end = 1 + 4 * (octave - 10); // first bucket above 2^octave ns
        for (; b < end && b < STATS_HISTOGRAM_BUCKETS; b++) seen += counts[b];
        if (seen == before) continue;
        reply_int(reply, shown_bound_us(octave));
        reply_int(reply, (int64_t)seen);
        pairs++;
    }
    reply_close_map(reply, mark, pairs);
}

static void reply_histogram(struct ctx *ctx, const struct command *c, size_t *shown)
{
    uint64_t counts[STATS_HISTOGRAM_BUCKETS] = {0}, calls = 0;
    for (uint32_t i = 0; i < ctx->engine->shard_count; i++)
        calls += stats_histogram_add(&ctx->engine->stats[i]->commands[c->id], counts);
    if (!calls) return;
    ++*shown;
    reply_bulk_text(ctx->reply, c->full_name);
    reply_map(ctx->reply, 2);
    reply_bulk_text(ctx->reply, "calls");
    reply_int(ctx->reply, (int64_t)calls);
    reply_bulk_text(ctx->reply, "histogram_usec");
    reply_distribution(ctx->reply, counts);
}

static void reply_with_subcommands(struct ctx *ctx, const struct command *c, size_t *shown)
{
    reply_histogram(ctx, c, shown);
    for (const struct command *s = c->subcommands; s && s->name; s++)
        reply_histogram(ctx, s, shown);
}

static void histogram(struct ctx *ctx)
{
    const struct command_table *table = ctx->engine->table;
    size_t shown = 0;
    struct reply_mark mark = reply_open(ctx->reply);
    for (uint32_t i = 0; ctx->argc == 2 && i < command_top_count(table); i++)
        reply_with_subcommands(ctx, command_top(table, i), &shown);
    for (int i = 2; i < ctx->argc; i++) {
        const struct command *c = command_find_full(table, ctx->argv[i]);
        if (c) reply_with_subcommands(ctx, c, &shown);
    }
    reply_close_map(ctx->reply, mark, shown);
}

static void help(struct ctx *ctx)
{
    static const char *const lines[] = {
        "DOCTOR",
        "    Explain the latency events seen so far in words.",
        "GRAPH <event>",
        "    Draw the history of an event in ASCII.",
        "HISTORY <event>",
        "    Show the samples of an event as pairs of unix time and milliseconds.",
        "LATEST",
        "    Show the newest sample and the maximum of every event.",
        "RESET [<event> ...]",
        "    Forget the history of these events, or of all.",
        "HISTOGRAM [COMMAND ...]",
        "    Show the cumulative distribution of the durations of these commands, or of all.",
        NULL,
    };
    ctx_reply_help(ctx, lines);
}

#define ADMIN   (CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_SESSION)
#define SPECIAL "nondeterministic_output request_policy:all_nodes response_policy:special"

static const struct command subcommands[] = {
    {.name = "doctor",
     .handler = doctor,
     .arity = 2,
     .flags = ADMIN,
     .group = "server",
     .since = "2.8.13",
     .complexity = "O(1)",
     .tips = SPECIAL,
     .summary = "Explains in words what the latency monitor saw."},
    {.name = "graph",
     .handler = graph,
     .arity = 3,
     .flags = ADMIN,
     .group = "server",
     .since = "2.8.13",
     .complexity = "O(1)",
     .tips = SPECIAL,
     .args = "event",
     .summary = "Draws the latency history of an event."},
    {.name = "histogram",
     .handler = histogram,
     .arity = -2,
     .flags = ADMIN,
     .group = "server",
     .since = "7.0.0",
     .tips = SPECIAL,
     .args = "[command:string ...]",
     .complexity = "O(N), N being the number of commands that are shown",
     .summary = "Returns the cumulative distribution of commands' durations."},
    {.name = "history",
     .handler = history,
     .arity = 3,
     .flags = ADMIN,
     .group = "server",
     .since = "2.8.13",
     .complexity = "O(1)",
     .tips = SPECIAL,
     .args = "event",
     .summary = "Returns the latency samples of an event with their times."},
    {.name = "latest",
     .handler = latest,
     .arity = 2,
     .flags = ADMIN,
     .group = "server",
     .since = "2.8.13",
     .complexity = "O(1)",
     .tips = SPECIAL,
     .summary = "Returns the newest latency sample of every event."},
    {.name = "reset",
     .handler = reset,
     .arity = -2,
     .flags = ADMIN,
     .group = "server",
     .since = "2.8.13",
     .complexity = "O(1)",
     .args = "[event ...]",
     .tips = "request_policy:all_nodes response_policy:all_succeeded",
     .summary = "Forgets the latency samples of some events, or of all."},
    {.name = "help",
     .handler = help,
     .arity = 2,
     .flags = CMD_LOADING | CMD_STALE,
     .group = "server",
     .since = "2.8.13",
     .complexity = "O(1)",
     .summary = "Describes the subcommands."},
    {0},
};

const struct command commands_latency[] = {
    {.name = "latency",
     .arity = -2,
     .subcommands = subcommands,
     .group = "server",
     .since = "2.8.13",
     .complexity = "Depends on the subcommand.",
     .summary = "Commands about latency."},
    {0},
};
