// SPDX-License-Identifier: BSD-3-Clause
#include "shard/shard.h"

#include <string.h>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/crash_slot.h"
#include "base/mem.h"
#include "engine/settings.h"
#include "shard/gather.h"

#define FETCH_BUCKETS 32 // pieces ahead of the one that is run;
#define FETCH_ENTRIES 16 // a core keeps some 10 to 16 misses in flight
#define FETCH_VALUES  8
#define FETCH_MEMBERS 5 // buckets of members' tables; the members themselves FETCH_ITEMS ahead
#define FETCH_ITEMS   2
#define CRON_BUDGET   2000 // expiries and frees a tick: a few hundred microseconds
#define SPIN_MAX_US   40
#define SPIN_START_US 8

// --- life ----------------------------------------------------------------------------------------

static void deliver_resume(struct shard *s, struct mail *mail);

void shard_init(struct shard *s, struct shard_group *group, uint32_t id, struct ring *ring,
                const struct shard_hooks *hooks, void *owner)
{
    memset(s, 0, sizeof *s);
    inbox_init(&s->inbox);
    s->id = id;
    s->group = group;
    s->engine = group->engine;
    s->space = group->engine->spaces[id];
    s->ring = ring;
    s->hooks = hooks;
    s->owner = owner;
    s->resume.deliver = deliver_resume;
    s->spin_us = SPIN_START_US;
    s->is_now_stale = true;
    atomic_init(&s->settings, NULL);
    shard_settings(s);
}

void shard_destroy(struct shard *s)
{
    ASSERT(!s->backlog && !s->parked && !s->in_flight);
    operation_pool_free(&s->pool);
    inbox_destroy(&s->inbox);
}

int64_t shard_read_clock(struct shard *s)
{
    s->is_now_stale = false;
    return s->now_ms = clock_unix_ms();
}

// --- mail ----------------------------------------------------------------------------------------

void shard_post(struct shard *from, struct shard *to, struct mail *mail)
{
    if (from == to) {
        mail->next = NULL;
        if (to->local_mail_tail)
            to->local_mail_tail->next = mail;
        else
            to->local_mail = mail;
        to->local_mail_tail = mail;
        return;
    }
    inbox_post(&to->inbox, mail);
    if (inbox_claim_wake(&to->inbox)) ring_wake(from ? from->ring : NULL, to->ring);
}

static void deliver_list(struct shard *s, struct mail *mail)
{
    while (mail) {
        struct mail *next = mail->next; // deliver may free the mail
        mail->deliver(s, mail);
        mail = next;
    }
}

static void deliver_mail(struct shard *s)
{
    deliver_list(s, inbox_take_mail(&s->inbox));
    while (s->local_mail) {
        struct mail *mail = s->local_mail;
        s->local_mail = s->local_mail_tail = NULL;
        deliver_list(s, mail);
    }
}

// --- execution -----------------------------------------------------------------------------------

struct ctx shard_ctx(struct shard *s)
{
    return (struct ctx){.engine = s->engine,
                        .settings = shard_settings(s),
                        .now_ms = shard_now_ms(s),
                        .spaces = &s->engine->spaces[s->id],
                        .space_count = 1,
                        .space = s->space};
}

// These two must be inlined: gcc takes a function that only prefetches for one without effect and
// drops its calls.
#define FETCH static inline __attribute__((always_inline)) void

// Brings in the line of the table where the piece's first key must be.
FETCH fetch_bucket(const struct dict *keys, const struct piece *p)
{
    if (p->first_key) dict_prefetch_bucket(keys, p->first_hash);
}

// Brings in the entry that this line names: header, key and the beginning of the value.
FETCH fetch_entry(const struct dict *keys, const struct piece *p)
{
    const char *entry = p->first_key ? dict_peek(keys, p->first_hash) : NULL;
    if (!entry) return;
    __builtin_prefetch(entry);
    __builtin_prefetch(entry + 64);
}

// Brings in what stands behind the entry's value word. Strings have nothing there.
FETCH fetch_value(const struct dict *keys, const struct piece *p)
{
    if (!p->first_key || !p->cmd || (p->cmd->acl & ACL_STRING)) return;
    const struct entry *e = dict_peek(keys, p->first_hash);
    if (e && e->type != TYPE_STRING) __builtin_prefetch(value_object(e->value));
}

// The table in which the piece will look for a member, or NULL. Its entry is looked up anew every
// time: a command in between may have changed it.
static inline const struct dict *member_table(const struct dict *keys, const struct piece *p,
                                              enum object_type *type)
{
    if (!p->first_key || !p->cmd || !p->cmd->member || p->cmd->member >= p->argc) return NULL;
    const struct entry *e = dict_peek(keys, p->first_hash);
    if (!e || e->type == TYPE_STRING) return NULL;
    *type = e->type;
    return value_table(e->value);
}

// Brings in the line of that table where the member must be.
FETCH fetch_member(const struct dict *keys, struct piece *p)
{
    enum object_type type;
    const struct dict *table = member_table(keys, p, &type);
    if (!table) return;
    p->member_hash = value_member_hash(type, p->argv[p->cmd->member]);
    dict_prefetch_bucket(table, p->member_hash);
}

// Brings in the member that this line names.
FETCH fetch_item(const struct dict *keys, const struct piece *p)
{
    enum object_type type;
    const struct dict *table = member_table(keys, p, &type);
    const void *item = table && p->member_hash ? dict_peek(table, p->member_hash) : NULL;
    if (item) __builtin_prefetch(item);
}

static void execute_piece(struct shard *s, struct ctx *ctx, struct piece *p)
{
    uint32_t flags = ctx->flags;
    ctx->cmd = p->cmd;
    ctx->argv = p->argv;
    ctx->argc = p->argc;
    ctx->blobs = p->blobs;
    ctx->first_key = p->first_key;
    ctx->first_hash = p->first_hash;
    ctx->flags = flags | p->ctx_flags;
    if (UNLIKELY(p->cmd == NULL))
        engine_refuse(ctx, s->id);
    else if (UNLIKELY(p->cmd->span == SPAN_GATHER && (p->ctx_flags & CTX_IS_PART)))
        gather_values(ctx, p);
    else
        p->ticks = engine_execute(ctx, s->id);
    ctx->flags = flags;
}

// Keys are fetched ahead of the command that is run, so that their cache misses overlap: buckets
// FETCH_BUCKETS pieces ahead, entries FETCH_ENTRIES ahead, when their buckets have come, and so on
// to the members of big values.
struct fetches {
    const struct dict *keys;
    struct piece *bucket, *entry, *value, *member, *item; // how far each of them has come
};

// The bounds of the loops are constants, and each stage a plain list walk: the compiler lays them
// out one behind the other.
static inline __attribute__((always_inline)) void fetch_first(struct fetches *f,
                                                              struct piece *first)
{
    f->bucket = f->entry = f->value = f->member = f->item = first;
    for (int i = 0; f->bucket && i < FETCH_BUCKETS; i++, f->bucket = f->bucket->next)
        fetch_bucket(f->keys, f->bucket);
    for (int i = 0; f->entry && i < FETCH_ENTRIES; i++, f->entry = f->entry->next)
        fetch_entry(f->keys, f->entry);
    for (int i = 0; f->value && i < FETCH_VALUES; i++, f->value = f->value->next)
        fetch_value(f->keys, f->value);
    for (int i = 0; f->member && i < FETCH_MEMBERS; i++, f->member = f->member->next)
        fetch_member(f->keys, f->member);
    for (int i = 0; f->item && i < FETCH_ITEMS; i++, f->item = f->item->next)
        fetch_item(f->keys, f->item);
}

#define FETCH_STEP(stage)                                                                          \
    do {                                                                                           \
        if (!f->stage) return;                                                                     \
        fetch_##stage(f->keys, f->stage);                                                          \
        f->stage = f->stage->next;                                                                 \
    } while (0)

// One piece was run: every stage goes on by one. The stage that is nearest ends last.
static inline __attribute__((always_inline)) void fetch_next(struct fetches *f)
{
    FETCH_STEP(item);
    FETCH_STEP(member);
    FETCH_STEP(value);
    FETCH_STEP(entry);
    FETCH_STEP(bucket);
}

void shard_execute(struct shard *s, struct ctx *ctx, struct piece *first, bool with_lengths)
{
    crash_slot_set(ctx); // what a crash report shows
    struct fetches fetches = {.keys = &ctx->space->dbs[ctx->db].keys};
    if (first->next) fetch_first(&fetches, first); // a single one gains nothing
    for (struct piece *p = first; p; p = p->next) {
        size_t before = with_lengths ? reply_bytes(ctx->reply) : 0;
        execute_piece(s, ctx, p);
        if (with_lengths) p->reply_bytes = reply_bytes(ctx->reply) - before;
        fetch_next(&fetches);
    }
    crash_slot_set(NULL);
}

static struct ctx operation_ctx(struct shard *s, struct part *part)
{
    struct operation *op = part->op;
    struct ctx ctx = shard_ctx(s);
    ctx.session = op->session;
    ctx.db = op->db;
    ctx.flags = op->ctx_flags | CTX_NOTE_LATER; // at home, in the order of the connection
    ctx.reply = &part->reply;
    return ctx;
}

static void deliver_finished(struct shard *s, struct mail *mail)
{
    struct operation *op = CONTAINER_OF(mail, struct operation, finished);
    s->in_flight--;
    op->is_done = true;
    op->done(op);
}

static void run_batch_part(struct shard *s, struct part *part)
{
    struct operation *op = part->op;
    struct ctx ctx = operation_ctx(s, part);
    shard_execute(s, &ctx, part->first, true);
    // Release: the replies are written before the home shard counts this part as finished. Acquire:
    // the last one passes the others' on.
    if (atomic_fetch_sub_explicit(&op->waiting, 1, memory_order_acq_rel) == 1)
        shard_post(s, s->group->shards[op->home], &op->finished);
}

// --- meetings ------------------------------------------------------------------------------------

static void deliver_resume(struct shard *s, struct mail *mail)
{
    (void)mail;
    ASSERT(s->parked);
    s->parked = NULL;
}

// The last to arrive runs the command as plain single-threaded code, then frees the others. The
// operation may be gone as soon as it is posted as finished: parked shards do not look at it again.
static void run_meeting(struct shard *s, struct part *part)
{
    struct operation *op = part->op;
    struct ctx ctx = operation_ctx(s, part);
    ctx.spaces = s->engine->spaces;
    ctx.space_count = s->engine->shard_count;
    ctx.reply = &op->parts[0].reply;
    shard_execute(s, &ctx, &op->requests[0].whole, true);
    op->requests[0].part = 0;
    for (uint32_t i = 0; i < op->part_count; i++)
        if (op->parts[i].shard != s->id) {
            struct shard *other = s->group->shards[op->parts[i].shard];
            shard_post(s, other, &other->resume);
        }
    stat_add(&s->engine->stats[s->id]->meetings, 1);
    shard_post(s, s->group->shards[op->home], &op->finished);
}

static void arrive_at_meeting(struct shard *s, struct part *part)
{
    // Parked first: once this shard has been counted, the meeting may be over and the operation
    // freed.
    s->parked = part->op;
    // Release: what this shard did to its keyspace before is seen by the runner. Acquire: the
    // runner sees it from all.
    if (atomic_fetch_sub_explicit(&part->op->waiting, 1, memory_order_acq_rel) > 1) return;
    s->parked = NULL;
    run_meeting(s, part);
}

// --- the inbox -----------------------------------------------------------------------------------

static void backlog_append(struct shard *s, struct part *list)
{
    if (!list) return;
    if (s->backlog_tail)
        s->backlog_tail->next = list;
    else
        s->backlog = list;
    while (list->next) list = list->next;
    s->backlog_tail = list;
}

static void run_backlog(struct shard *s)
{
    while (s->backlog && !s->parked) {
        struct part *part = s->backlog;
        s->backlog = part->next;
        if (!s->backlog) s->backlog_tail = NULL;
        if (part->op->kind == OPERATION_MEETING)
            arrive_at_meeting(s, part);
        else
            run_batch_part(s, part);
    }
}

static void run_inbox(struct shard *s)
{
    if (inbox_has_parts(&s->inbox)) {
        inbox_lock(&s->inbox);
        struct part *list = inbox_detach(&s->inbox);
        inbox_unlock(&s->inbox);
        backlog_append(s, list);
    }
    run_backlog(s);
}

bool shard_may_run_in_place(struct shard *s)
{
    if (LIKELY(s->group->count == 1)) return true;
    if (UNLIKELY(s->backlog || inbox_has_parts(&s->inbox))) run_inbox(s);
    return !s->parked && !s->backlog;
}

// The indivisible step. The home inbox is part of it if the home shard has work in the operation:
// what had entered it before runs first, and nobody can enter between that and the own part.
void shard_submit(struct shard *s, struct operation *op)
{
    struct shard **shards = s->group->shards;
    struct part *own = NULL, *before = NULL;
    op->home = s->id;
    op->finished.deliver = deliver_finished;
    s->in_flight++;
    for (uint32_t i = 0; i < op->part_count; i++) inbox_lock(&shards[op->parts[i].shard]->inbox);
    for (uint32_t i = 0; i < op->part_count; i++) {
        struct part *part = &op->parts[i];
        if (part->shard == s->id) {
            own = part;
            before = inbox_detach(&s->inbox);
        } else {
            inbox_push(&shards[part->shard]->inbox, part);
        }
    }
    // Once unlocked, the operation may be run and (without an own part) even be finished by others:
    // its parts are counted first. It is freed by this thread only, so reading it stays allowed.
    for (uint32_t i = op->part_count; i-- > 0;) inbox_unlock(&shards[op->parts[i].shard]->inbox);
    for (uint32_t i = 0; i < op->part_count; i++) {
        struct shard *other = shards[op->parts[i].shard];
        if (other != s && inbox_claim_wake(&other->inbox)) ring_wake(s->ring, other->ring);
    }
    stat_add(&s->forwarded, op->part_count - (own != NULL));
    backlog_append(s, before);
    if (own) {
        own->next = NULL;
        backlog_append(s, own);
    }
    run_backlog(s);
}

// --- the loop ------------------------------------------------------------------------------------

static bool has_work(struct shard *s)
{
    return (inbox_has_parts(&s->inbox) && !s->parked) || inbox_has_mail(&s->inbox) ||
           s->local_mail || (s->backlog && !s->parked);
}

// An answer is on its way: wait for it awake, a little, if that has paid off lately.
static bool spin_for_work(struct shard *s)
{
    int64_t end = clock_mono_us() + s->spin_us;
    do {
        for (int i = 0; i < 32; i++) {
            if (has_work(s)) {
                if (s->spin_us < SPIN_MAX_US) s->spin_us++;
                return true;
            }
            cpu_relax();
        }
    } while (clock_mono_us() < end);
    if (s->spin_us > 1) s->spin_us--;
    return false;
}

static int64_t wait_limit_us(struct shard *s, int64_t max_wait_us)
{
    // Relaxed: see engine_cron.
    bool is_off =
        s->parked || atomic_load_explicit(&s->engine->is_cron_paused, memory_order_relaxed);
    if (has_work(s) || (s->has_more_cron && !is_off)) return 0;
    int64_t due_ms = s->next_cron_ms;
    if (!is_off) due_ms = MIN(due_ms, keyspace_next_cron_ms(s->space));
    int64_t wait_us = MAX(due_ms - clock_unix_ms(), 0) * 1000;
    return max_wait_us >= 0 ? MIN(wait_us, max_wait_us) : wait_us;
}

static void wait_and_receive(struct shard *s, int64_t timeout_us)
{
    if (timeout_us != 0) {
        atomic_store(&s->inbox.is_asleep, true); // sequentially consistent, see inbox.h
        if (has_work(s)) timeout_us = 0;
    }
    s->is_now_stale = true;
    ring_run(s->ring, timeout_us);
    atomic_store_explicit(&s->inbox.is_asleep, false, memory_order_relaxed);
}

static void housekeeping(struct shard *s)
{
    int64_t now_ms = shard_now_ms(s);
    if (!s->parked) s->has_more_cron = engine_cron(s->engine, s->id, now_ms, CRON_BUDGET);
    if (now_ms < s->next_cron_ms && s->next_cron_ms - now_ms <= SHARD_CRON_MS) return;
    s->next_cron_ms = now_ms + SHARD_CRON_MS;
    if (s->hooks->cron) s->hooks->cron(s);
}

void shard_tick(struct shard *s, int64_t max_wait_us)
{
    if (s->hooks->flush) s->hooks->flush(s);
    int64_t timeout_us = wait_limit_us(s, max_wait_us);
    if (timeout_us && (s->in_flight || s->parked) && s->group->count > 1) {
        ring_run(s->ring, 0); // what was started goes out before the wait
        if (has_work(s) || spin_for_work(s)) timeout_us = 0;
    }
    wait_and_receive(s, timeout_us);
    deliver_mail(s);
    run_inbox(s);
    deliver_mail(s);
    housekeeping(s);
}
