// SPDX-License-Identifier: BSD-3-Clause
#include "fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "commands/families.h"
#include "shard/execute.h"
#include "shard/merge.h"

#define WORDS_MAX 32

// --- the world -----------------------------------------------------------------------------------

static struct world *world_of(struct shard *s)
{
    return s->owner;
}

static void count_flush(struct shard *s)
{
    world_of(s)->flush_calls++;
}

static void count_cron(struct shard *s)
{
    enum { RARELY_MS = 3600000 };
    world_of(s)->cron_calls++;
    if (world_of(s)->is_cron_rare) s->next_cron_ms = shard_now_ms(s) + RARELY_MS;
}

// Where shards have threads of their own, a job's own thread looks whether it is done: it must be
// woken.
static bool is_light(const struct operation *op)
{
    const struct job *j = op->owner;
    return j->w->is_done_light;
}

static const struct shard_hooks hooks = {
    .flush = count_flush, .cron = count_cron, .is_light = is_light};

static void each_session(struct ctx *ctx, void (*visit)(struct session *s, void *arg), void *arg)
{
    struct world *w = ctx->engine->host->owner;
    visit(&w->sessions[ctx->space->shard], arg);
}

static void session_io(struct session *s, struct session_io *out)
{
    (void)s;
    *out = (struct session_io){0};
}

void world_open_ring(struct world *w, uint32_t shard)
{
    char why[256];
    struct ring_options options = {
        .kind = RING_POLL, .entries = 16, .recv_buffers = 2, .recv_buffer_bytes = 4096};
    struct ring *ring = ring_open(&options, why, sizeof why);
    cr_assert_not_null(ring, "%s", why);
    w->shards[shard]->ring = ring;
}

void world_close_ring(struct world *w, uint32_t shard)
{
    ring_close(w->shards[shard]->ring);
}

static void find_tag(struct world *w, uint32_t shard)
{
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(w->tags[shard], sizeof w->tags[shard], "{t%u}", i % 1000);
        if (engine_shard_of(w->engine, slice_of(w->tags[shard])) == shard) return;
    }
    cr_assert(false, "no tag for shard %u", shard);
}

struct world *world_new(uint32_t shard_count)
{
    size_t memory_before = mem_used_bytes();
    struct world *w = mem_calloc(sizeof *w);
    w->memory_before = memory_before;
    clock_calibrate();
    w->settings = settings_default();
    w->host = (struct host){.owner = w, .each_session = each_session, .session_io = session_io};
    w->engine = engine_new(commands_all, w->settings, shard_count, &w->host);
    w->group = (struct shard_group){w->engine, shard_count, w->shards};
    for (uint32_t i = 0; i < shard_count; i++) {
        session_init(&w->sessions[i], i + 1);
        w->sessions[i].is_authenticated = true;
        w->shards[i] = mem_alloc_aligned(sizeof *w->shards[i], 64);
        shard_init(w->shards[i], &w->group, i, NULL, &hooks, w);
        world_open_ring(w, i);
        find_tag(w, i);
    }
    return w;
}

void world_free(struct world *w)
{
    for (uint32_t i = 0; i < w->group.count; i++) {
        struct shard *s = w->shards[i];
        for (uint32_t d = 0; d < s->space->db_count; d++) db_validate(&s->space->dbs[d]);
        cr_assert(!inbox_has_parts(&s->inbox) && !inbox_has_mail(&s->inbox) && !s->local_mail);
        world_close_ring(w, i);
        shard_destroy(s);
        session_free(&w->sessions[i]);
        mem_free(s);
    }
    engine_free(w->engine);
    settings_free(w->settings);
    size_t memory_before = w->memory_before;
    mem_free(w);
    cr_assert_eq(mem_used_bytes(), memory_before, "memory was left behind");
}

static bool is_asleep(const struct shard *s)
{
    return atomic_load(&s->inbox.rest) != REST_AWAKE;
}

static void wake_up(struct shard *s)
{
    if (!is_asleep(s)) return;
    inbox_wake_up(&s->inbox);
    ring_take(s->ring);
}

void world_turn(struct world *w, uint32_t shard)
{
    wake_up(w->shards[shard]);
    shard_tick(w->shards[shard], 0);
}

bool world_sleep(struct world *w, uint32_t shard)
{
    struct shard *s = w->shards[shard];
    bool has_parts = s->backlog.first || inbox_has_parts(&s->inbox);
    if (is_asleep(s) || (has_parts && !s->is_parked) || inbox_has_mail(&s->inbox)) return false;
    if (s->local_mail || s->taken_mail || s->travelling || s->sleeper_count) return false;
    inbox_fall_asleep(&s->inbox);
    return true;
}

static bool is_settled(const struct world *w)
{
    for (uint32_t i = 0; i < w->group.count; i++) {
        struct shard *s = w->shards[i];
        if (s->in_flight || s->backlog.first || s->is_parked || inbox_has_parts(&s->inbox) ||
            inbox_has_mail(&s->inbox) || s->local_mail || s->taken_mail)
            return false;
    }
    return true;
}

void world_settle(struct world *w)
{
    enum { TURNS = 10000 };
    for (int i = 0; i < TURNS && !is_settled(w); i++)
        for (uint32_t s = 0; s < w->group.count; s++) world_turn(w, s);
    cr_assert(is_settled(w), "the shards wait for each other");
}

// --- jobs ----------------------------------------------------------------------------------------

struct job *job_new(struct world *w, uint32_t home)
{
    struct job *j = mem_calloc(sizeof *j);
    j->w = w;
    j->home = home;
    j->resp = 2;
    return j;
}

// Copies a word behind `to`, a key's mark replaced by its shard's tag; returns its end.
static char *expand(const struct world *w, char *to, const char *word, size_t len)
{
    if (len >= 2 && word[0] == '@') {
        const char *tag = w->tags[word[1] - '0'];
        memcpy(to, tag, strlen(tag));
        to += strlen(tag);
        word += 2;
        len -= 2;
    }
    memcpy(to, word, len);
    return to + len;
}

enum route job_add(struct job *j, const char *line)
{
    cr_assert_lt(j->count, JOB_CALLS_MAX);
    struct piece *p = &j->calls[j->count].piece;
    char *to = mem_alloc(strlen(line) + WORDS_MAX * sizeof j->w->tags[0]);
    j->text[j->count] = to;
    *p = (struct piece){.argv = mem_calloc(WORDS_MAX * sizeof p->argv[0])};
    while (*line) {
        size_t len = strcspn(line, " ");
        char *begin = to;
        cr_assert_lt(p->argc, WORDS_MAX);
        to = expand(j->w, to, line, len);
        p->argv[p->argc++] = (struct slice){begin, (size_t)(to - begin)};
        line += len + (line[len] == ' ');
    }
    p->cmd = engine_admit(j->w->engine, &j->w->sessions[j->home], j->w->settings, p->argc, p->argv);
    fanout_route(j->w->engine, j->home, &j->calls[j->count]);
    return j->calls[j->count++].route;
}

static struct ctx job_ctx(struct job *j, struct shard *s, struct reply *reply)
{
    struct ctx ctx = shard_ctx(s);
    ctx.session = &j->w->sessions[j->home];
    ctx.db = j->db;
    ctx.reply = reply;
    return ctx;
}

static void job_done(struct operation *op)
{
    struct job *j = op->owner;
    struct reply out;
    reply_init(&out, j->resp);
    struct ctx ctx = job_ctx(j, j->w->shards[j->home], &out);
    cr_assert(op->is_done && !j->is_done);
    merge_replies(op, &ctx);
    reply_validate(&out);
    j->reply = reply_flatten(&out, &j->reply_len);
    j->is_done = true;
    j->op = NULL;
    reply_free(&out);
    operation_free(&j->w->shards[j->home]->pool, op);
}

struct operation *job_build(struct job *j)
{
    struct reply shape;
    reply_init(&shape, j->resp);
    struct shard *s = j->w->shards[j->home];
    struct ctx ctx = job_ctx(j, s, &shape);
    j->op = fanout_operation(s, &ctx, j->calls, j->count);
    j->op->owner = j;
    j->op->done = job_done;
    return j->op;
}

static bool is_all_home(const struct job *j)
{
    for (uint32_t i = 0; i < j->count; i++) {
        const struct call *c = &j->calls[i];
        if (c->route != ROUTE_HOME && !(c->route == ROUTE_ONE && c->shard == j->home)) return false;
    }
    return true;
}

// As the server's dispatch does it.
static void run_in_place(struct job *j, struct shard *s)
{
    struct reply out;
    reply_init(&out, j->resp);
    struct ctx ctx = job_ctx(j, s, &out);
    for (uint32_t i = 0; i + 1 < j->count; i++) j->calls[i].piece.next = &j->calls[i + 1].piece;
    shard_execute(s, &ctx, &j->calls[0].piece, false);
    j->reply = reply_flatten(&out, &j->reply_len);
    j->is_done = j->was_in_place = true;
    reply_free(&out);
}

// That, too: all on one other shard, which sleeps.
static struct shard *take_place(struct job *j)
{
    for (uint32_t i = 0; i < j->count; i++) {
        const struct call *c = &j->calls[i];
        if (c->route != ROUTE_ONE || c->shard != j->calls[0].shard) return NULL;
        if (!piece_is_light(&c->piece)) return NULL;
    }
    return shard_take_place(j->w->shards[j->home], j->calls[0].shard, true);
}

static bool run_on_the_spot(struct job *j)
{
    struct shard *s = j->w->shards[j->home], *other;
    shard_enter_travelling(s); // so that the order of calls is that of entry
    if (is_all_home(j) && shard_may_run_in_place(s)) {
        run_in_place(j, s);
    } else if ((other = take_place(j))) {
        run_in_place(j, other);
        shard_give_place_back(s, other);
    }
    return j->is_done;
}

void job_enter(struct job *j, bool is_in_place_wanted)
{
    struct shard *s = j->w->shards[j->home];
    wake_up(s); // it has read them
    if (is_in_place_wanted && run_on_the_spot(j)) return;
    struct operation *op = job_build(j);
    if (op->part_count) {
        shard_submit(s, op);
        cr_assert(!j->is_done); // never inside the call
    } else {
        op->is_done = true;
        job_done(op);
    }
}

void job_free(struct job *j)
{
    cr_assert_null(j->op);
    for (uint32_t i = 0; i < j->count; i++) {
        mem_free(j->calls[i].piece.argv);
        mem_free(j->text[i]);
    }
    mem_free(j->reply);
    mem_free(j);
}

struct job *job_start(struct world *w, uint32_t home, const char *line)
{
    struct job *j = job_new(w, home);
    job_add(j, line);
    job_enter(j, true);
    shard_enter_travelling(w->shards[home]);
    return j;
}

// "$2\r\nab\r\n" -> "$2 ab"
static char *flatten(const char *reply, size_t len)
{
    char *out = mem_alloc(len + 1), *to = out;
    for (size_t i = 0; i < len; i++) {
        bool is_break = reply[i] == '\r' && i + 1 < len && reply[i + 1] == '\n';
        *to++ = is_break ? ' ' : reply[i];
        i += is_break;
    }
    to[to > out ? -1 : 0] = '\0';
    return out;
}

void job_check(struct world *w, const char *const *lines, uint32_t count, const char *want,
               const char *file, int line)
{
    struct job *j = job_new(w, 0);
    for (uint32_t i = 0; i < count; i++) job_add(j, lines[i]);
    job_enter(j, true);
    world_settle(w);
    cr_assert(j->is_done);
    char *got = flatten(j->reply, j->reply_len);
    cr_assert(strcmp(got, want) == 0, "%s:%d: %s\n  want %s\n  got  %s", file, line, lines[0], want,
              got);
    mem_free(got);
    job_free(j);
}
