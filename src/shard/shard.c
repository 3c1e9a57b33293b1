// SPDX-License-Identifier: BSD-3-Clause
#include "shard/shard.h"

#include <string.h>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/mem.h"
#include "engine/settings.h"
#include "engine/snapshot.h"
#include "shard/catch_up.h"
#include "shard/execute.h"
#include "shard/handover.h"
#include "shard/logging.h"
#include "shard/perform.h"
#include "shard/serve.h"
#include "store/image.h"

#define CRON_BUDGET    2000 // expiries and frees a tick: a few hundred microseconds
#define SPIN_MAX_US    40
#define SPIN_START_US  8
#define LONG_US        500 // of a command: those behind it shall not count from a time before it
#define TRAVELLING_MAX 64  // requests that meet at once: others wait meanwhile
#define LIGHT_MAX      64  // mails, and items, that one who stands in sees to: its own work waits

// --- life ----------------------------------------------------------------------------------------

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
    s->resume = (struct mail){.deliver = perform_resumption, .is_light = true};
    s->sleepers = mem_calloc(group->count * sizeof s->sleepers[0]);
    s->spin_us = SPIN_START_US;
    s->long_ticks = (uint64_t)(clock_ticks_per_us() * LONG_US);
    s->is_now_stale = true;
    s->next_timer_ms = INT64_MAX;
    atomic_init(&s->settings, NULL);
    atomic_init(&s->settings_inside, NULL);
    shard_renew_settings(s);
}

void shard_destroy(struct shard *s)
{
    ASSERT(!s->backlog.first && !s->is_parked && !s->in_flight);
    operation_pool_free(&s->pool);
    mem_free(s->sleepers);
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
    shard_rouse(from, to);
}

// What comes in a turn inside of a delivery is delivered behind what was there before.
static void take_mail(struct shard *s, struct mail *list)
{
    struct mail **end = &s->taken_mail;
    while (UNLIKELY(*end != NULL)) end = &(*end)->next;
    *end = list;
}

static void deliver_first(struct shard *s)
{
    struct mail *mail = s->taken_mail;
    s->taken_mail = mail->next; // deliver may free the mail
    mail->deliver(s, mail);
}

static void deliver_list(struct shard *s, struct mail *list)
{
    take_mail(s, list);
    while (s->taken_mail) deliver_first(s);
}

static void deliver_finished(struct shard *s, struct mail *mail)
{
    struct operation *op = CONTAINER_OF(mail, struct operation, finished);
    if (op->waiter && op->may_block && !op->is_blocked) {
        op->is_early = true; // served by one shard before the mail of another said that it waits
        return;
    }
    s->in_flight--;
    s->blocked -= op->is_blocked;
    op->is_done = true;
    op->done(op);
}

// --- the inbox -----------------------------------------------------------------------------------

// Commands from another shard lie in the other core's cache. While a part is run, the next one's
// keys are on their way, and the commands of the one behind it. Inlined, or gcc drops them.
#define FETCH static inline __attribute__((always_inline)) void

FETCH fetch_keys(const struct shard *s, const struct inbox_item *item)
{
    enum { KEYS = 16 };
    if (!item || item->run != perform_part) return;
    const struct part *part = CONTAINER_OF(item, struct part, item);
    const struct dict *keys = &s->space->dbs[part->op->db].keys;
    const struct piece *p = part->first;
    for (int i = 0; p && i < KEYS; i++, p = p->next) {
        __builtin_prefetch(p->argv);
        if (p->first_key) dict_prefetch_bucket(keys, p->first_hash);
    }
}

FETCH fetch_requests(const struct inbox_item *item)
{
    enum { LINE = 64, LINES = 32 };
    if (!item || item->run != perform_part) return;
    const struct operation *op = CONTAINER_OF(item, struct part, item)->op;
    const char *p = (const char *)op->requests,
               *end = (const char *)(op->requests + op->request_count);
    for (int i = 0; p < end && i < LINES; i++, p += LINE) __builtin_prefetch(p);
}

static void run_backlog(struct shard *s)
{
    while (s->backlog.first && shard_has_keyspace(s)) {
        struct inbox_item *item = s->backlog.first;
        if (item->next) {
            fetch_requests(item->next->next);
            fetch_keys(s, item->next);
        }
        inbox_queue_pop(&s->backlog);
        item->run(s, item);
    }
}

void shard_take_inbox(struct shard *s)
{
    if (!inbox_has_parts(&s->inbox)) return;
    inbox_lock(&s->inbox);
    struct inbox_item *list = inbox_detach(&s->inbox);
    inbox_unlock(&s->inbox);
    inbox_queue_append(&s->backlog, list);
}

static void run_inbox(struct shard *s)
{
    shard_take_inbox(s);
    run_backlog(s);
}

bool shard_may_run_in_place(struct shard *s)
{
    if (UNLIKELY(s->backlog.first || inbox_has_parts(&s->inbox))) run_inbox(s);
    return shard_has_keyspace(s) && !s->backlog.first;
}

// --- submitting ----------------------------------------------------------------------------------

static void begin(struct shard *s, struct operation *op)
{
    op->home = s->id;
    op->finished = (struct mail){.deliver = deliver_finished, .is_light = true};
    s->in_flight++;
    for (uint32_t i = 0; i < op->part_count; i++)
        op->parts[i].item.run = op->kind == OPERATION_MEETING ? perform_arrival : perform_part;
}

static void lock_inboxes(struct shard *s, struct operation *op)
{
    for (uint32_t i = 0; i < op->part_count; i++)
        inbox_lock(&s->group->shards[op->parts[i].shard]->inbox);
}

// Transactions over several shards get their numbers in the order in which they enter.
static void number_transactions(struct shard *s, struct operation *op)
{
    if (op->kind == OPERATION_MEETING) op->txid = logging_next_txid(s);
    for (uint32_t i = 0; i < op->tx_count; i++) logging_number(s, op->txs[i]);
}

static void unlock_inboxes(struct shard *s, struct operation *op)
{
    // Once unlocked, the operation may be run and (without an own part) even be finished by others:
    // its parts are counted first. It is freed by this thread only, so reading it stays allowed.
    for (uint32_t i = op->part_count; i-- > 0;)
        inbox_unlock(&s->group->shards[op->parts[i].shard]->inbox);
    uint32_t others = 0;
    for (uint32_t i = 0; i < op->part_count; i++) {
        struct shard *other = s->group->shards[op->parts[i].shard];
        if (other == s) continue;
        others++;
        shard_rouse(s, other);
    }
    stat_add(&s->engine->stats[s->id]->forwarded, others);
}

// The indivisible step. The home inbox is part of it if the home shard has work in the operation:
// what had entered it before runs first, and nobody can enter between that and the own part.
static void submit(struct shard *s, struct operation *op)
{
    struct inbox_item *own = NULL, *before = NULL;
    lock_inboxes(s, op);
    number_transactions(s, op);
    for (uint32_t i = 0; i < op->part_count; i++) {
        struct part *part = &op->parts[i];
        if (part->shard == s->id) {
            own = &part->item;
            before = inbox_detach(&s->inbox);
        } else {
            inbox_push(&s->group->shards[part->shard]->inbox, &part->item);
        }
    }
    unlock_inboxes(s, op);
    inbox_queue_append(&s->backlog, before);
    if (own) {
        own->next = NULL;
        inbox_queue_append(&s->backlog, own);
    }
    run_backlog(s);
}

// Those of one turn that stop all shards stop them once (perform.h).
static bool may_travel(const struct shard *s, const struct operation *op)
{
    return op->kind == OPERATION_MEETING && op->part_count == s->group->count &&
           op->runner == RUNNER_ANY && !op->may_block && !op->changes_session;
}

// The first takes the others along.
void shard_enter_travelling(struct shard *s)
{
    struct operation *first = s->travelling;
    if (LIKELY(!first)) return;
    s->travelling = s->travelling_tail = NULL;
    s->travelling_count = 0;
    submit(s, first);
}

static void travel(struct shard *s, struct operation *op)
{
    if (s->travelling_tail)
        s->travelling_tail->with = op;
    else
        s->travelling = op;
    s->travelling_tail = op;
    s->travelling_count += op->request_count;
    if (s->travelling_count >= TRAVELLING_MAX) shard_enter_travelling(s);
}

void shard_submit(struct shard *s, struct operation *op)
{
    begin(s, op);
    if (may_travel(s, op)) {
        travel(s, op);
    } else {
        shard_enter_travelling(s); // one may be the same connection's
        submit(s, op);
    }
}

// Only what concerns this shard's keys alone, or connections that move in? Nobody can tell whether
// what enters now came before that.
static bool is_own(const struct inbox_item *list)
{
    for (const struct inbox_item *item = list; item; item = item->next) {
        bool is_single =
            item->run == perform_part && CONTAINER_OF(item, struct part, item)->op->part_count == 1;
        if (!is_single && !inbox_item_is_handover(item)) return false;
    }
    return true;
}

void shard_enter(struct shard *s, struct operation *op)
{
    struct inbox_item *own = NULL;
    begin(s, op);
    lock_inboxes(s, op);
    number_transactions(s, op);
    for (uint32_t i = 0; i < op->part_count; i++) {
        struct part *part = &op->parts[i];
        struct inbox *inbox = &s->group->shards[part->shard]->inbox;
        if (part->shard == s->id) {
            own = &part->item;
            inbox_queue_append(&s->backlog, inbox_detach(inbox));
        } else {
            inbox_push(inbox, &part->item);
        }
    }
    unlock_inboxes(s, op);
    own->next = NULL;
    struct inbox_item *before = is_own(s->backlog.first) ? inbox_queue_take(&s->backlog) : NULL;
    inbox_queue_append(&s->backlog, own);
    inbox_queue_append(&s->backlog, before);
}

struct summons_of_all {
    struct inbox_item item;
    void (*run)(struct shard *shard, void *arg);
    void *arg;
};

static void run_summons(struct shard *s, struct inbox_item *item)
{
    struct summons_of_all call = *CONTAINER_OF(item, struct summons_of_all, item);
    mem_free(CONTAINER_OF(item, struct summons_of_all, item));
    call.run(s, call.arg);
}

void shard_enter_all(struct shard *from, void (*run)(struct shard *shard, void *arg), void *arg)
{
    struct shard_group *g = from->group;
    for (uint32_t i = 0; i < g->count; i++) inbox_lock(&g->shards[i]->inbox);
    for (uint32_t i = 0; i < g->count; i++) {
        struct summons_of_all *call = mem_alloc(sizeof *call);
        *call = (struct summons_of_all){.item.run = run_summons, .run = run, .arg = arg};
        inbox_push(&g->shards[i]->inbox, &call->item);
    }
    for (uint32_t i = g->count; i-- > 0;) inbox_unlock(&g->shards[i]->inbox);
    for (uint32_t i = 0; i < g->count; i++)
        if (g->shards[i] != from) shard_rouse(from, g->shards[i]);
}

// --- the loop ------------------------------------------------------------------------------------

static void deliver_mail(struct shard *s)
{
    atomic_store_explicit(&s->is_delivering, true, memory_order_relaxed);
    deliver_list(s, inbox_take_mail(&s->inbox));
    while (s->local_mail) {
        struct mail *mail = s->local_mail;
        s->local_mail = s->local_mail_tail = NULL;
        deliver_list(s, mail);
    }
    // Release: what was delivered has happened for who sees this.
    atomic_store_explicit(&s->is_delivering, false, memory_order_release);
    shard_enter_travelling(s);
}

void shard_discard_inbox(struct shard *s)
{
    while (inbox_has_parts(&s->inbox) || s->backlog.first) run_inbox(s);
    deliver_mail(s);
}

static bool has_work(struct shard *s)
{
    return (!s->is_parked && (inbox_has_parts(&s->inbox) || s->backlog.first)) ||
           inbox_has_mail(&s->inbox) || s->local_mail || s->taken_mail || s->sleeper_count ||
           catch_up_is_due(s);
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

// When there is something to do by the clock.
static int64_t next_due_ms(struct shard *s, bool is_off)
{
    int64_t due_ms = s->next_cron_ms;
    if (UNLIKELY(s->image != NULL)) due_ms = MIN(due_ms, clock_unix_ms() + 1);
    due_ms = MIN(due_ms, s->next_timer_ms);
    if (!is_off) due_ms = MIN(due_ms, keyspace_next_cron_ms(s->space));
    if (s->log) due_ms = MIN(due_ms, log_next_ms(s->log));
    return due_ms;
}

static bool is_cron_off(const struct shard *s)
{
    // Relaxed: see engine_cron.
    return s->is_parked || atomic_load_explicit(&s->engine->is_cron_paused, memory_order_relaxed);
}

static int64_t wait_limit_us(struct shard *s, int64_t max_wait_us)
{
    bool is_off = is_cron_off(s);
    if (has_work(s) || (s->has_more_cron && !is_off)) return 0;
    if (UNLIKELY(s->image != NULL) && !s->is_parked && !s->is_image_full) return 0;
    s->due_ms = next_due_ms(s, is_off);
    int64_t wait_us = MAX(s->due_ms - clock_unix_ms(), 0) * 1000;
    return max_wait_us >= 0 ? MIN(wait_us, max_wait_us) : wait_us;
}

// True: something came.
static bool wait_and_receive(struct shard *s, int64_t timeout_us)
{
    if (timeout_us != 0) timeout_us = ring_prepare(s->ring, timeout_us);
    if (timeout_us != 0) {
        bool is_parked = s->is_parked;
        bool is_answer_due = is_parked || s->in_flight > s->blocked;
        uint32_t batch = is_answer_due ? 1 : s->batch;
        inbox_fall_asleep(&s->inbox); // from here on another may be at work on all but the inbox
        if ((is_parked || !inbox_has_parts(&s->inbox)) && !inbox_has_mail(&s->inbox))
            ring_wait(s->ring, timeout_us, batch);
        inbox_wake_up(&s->inbox);
        ring_take(s->ring);
    }
    s->is_now_stale = true;
    shard_renew_settings(s);
    int completions = ring_run(s->ring, 0);
    shard_enter_travelling(s);
    if (UNLIKELY(catch_up_is_due(s))) catch_up_note_turn(s, completions);
    return completions > 0 || inbox_has_parts(&s->inbox);
}

static void flush_log(struct shard *s)
{
    static const enum log_policy policies[] = {[FSYNC_NO] = LOG_SYNC_NO,
                                               [FSYNC_ALWAYS] = LOG_SYNC_ALWAYS,
                                               [FSYNC_EVERYSEC] = LOG_SYNC_EVERYSEC};
    log_flush(s->log, policies[shard_settings(s)->appendfsync], shard_now_ms(s));
}

static void send_out(struct shard *s)
{
    if (s->log) flush_log(s); // what it makes safe leaves with the rest
    if (s->hooks->flush) s->hooks->flush(s);
}

// --- standing in ---------------------------------------------------------------------------------

void shard_rouse(struct shard *from, struct shard *other)
{
    if (LIKELY(!inbox_claim(&other->inbox))) return;
    if (!from) {
        ring_wake(NULL, other->ring);
        return;
    }
    struct shard *here = from->stand_in ? from->stand_in : from;
    for (uint32_t i = 0; i < here->sleeper_count; i++)
        if (here->sleepers[i] == other) return; // claimed, awake, asleep and claimed again
    here->sleepers[here->sleeper_count++] = other;
}

static bool is_light_mail(const struct shard *s, const struct mail *mail)
{
    if (!mail->is_light) return false;
    if (mail->deliver != deliver_finished || !s->hooks->is_light) return true;
    return s->hooks->is_light(CONTAINER_OF(mail, struct operation, finished));
}

// Delivers what is light, up to the first that is not: nothing overtakes what the same sender has
// sent before. The rest is left for the shard's own thread, also if it is much.
static void deliver_light_mail(struct shard *s)
{
    atomic_store_explicit(&s->is_delivering, true, memory_order_relaxed);
    take_mail(s, inbox_take_mail(&s->inbox));
    take_mail(s, s->local_mail);
    s->local_mail = s->local_mail_tail = NULL;
    for (int i = 0; i < LIGHT_MAX && s->taken_mail && is_light_mail(s, s->taken_mail); i++)
        deliver_first(s);
    atomic_store_explicit(&s->is_delivering, s->taken_mail != NULL, memory_order_release);
}

// Few commands, and none that may take long or wants a thread of its own.
static bool is_light_item(const struct inbox_item *item)
{
    enum { PIECES = 8 };
    if (item->run == perform_arrival) return true;
    if (item->run != perform_part) return false;
    int count = 0;
    for (const struct piece *p = CONTAINER_OF(item, struct part, item)->first; p; p = p->next) {
        if (++count > PIECES || !piece_is_light(p)) return false;
    }
    return true;
}

static void run_light_items(struct shard *s)
{
    shard_take_inbox(s);
    for (int i = 0; i < LIGHT_MAX && s->backlog.first && !s->is_parked; i++) {
        if (!is_light_item(s->backlog.first)) return;
        struct inbox_item *item = inbox_queue_pop(&s->backlog);
        item->run(s, item);
    }
}

// The work of a turn but for waiting and what comes from there. True: nothing is left to do.
static bool do_turn_of(struct shard *s)
{
    if (UNLIKELY(s->image != NULL)) return false;
    deliver_light_mail(s);
    run_light_items(s);
    deliver_light_mail(s);
    send_out(s);
    return !has_work(s) && !s->travelling && !ring_has_started(s->ring) &&
           next_due_ms(s, is_cron_off(s)) >= s->due_ms;
}

static void begin_stand_in(struct shard *s, struct shard *other)
{
    stat_add(&s->engine->stats[other->id]->stand_ins, 1);
    other->stand_in = s;
    other->is_now_stale = true;
    ring_take(other->ring);
}

// False: it must be woken.
static bool end_stand_in(struct shard *other, bool is_done)
{
    other->stand_in = NULL;
    return !inbox_stand_down(&other->inbox, !is_done);
}

// False: it must be woken.
static bool stand_in(struct shard *s, struct shard *other)
{
    if (!inbox_stand_in(&other->inbox)) return true; // it is awake, or somebody else saw to it
    begin_stand_in(s, other);
    return end_stand_in(other, do_turn_of(other));
}

// What entered before runs before. What is written while there is a log waits for that one, but the
// caller's replies know their own shard's only.
static bool may_run_there(struct shard *other, bool writes)
{
    if (other->image || other->is_parked || (writes && other->space->effects)) return false;
    run_light_items(other);
    return !other->is_parked && !other->backlog.first;
}

struct shard *shard_take_place(struct shard *s, uint32_t id, bool writes)
{
    struct shard *other = s->group->shards[id];
    if (!shard_has_keyspace(s) || !inbox_claim(&other->inbox)) return NULL;
    if (!inbox_stand_in(&other->inbox)) return NULL; // it woke up
    begin_stand_in(s, other);
    if (may_run_there(other, writes)) return other;
    shard_give_place_back(s, other);
    return NULL;
}

void shard_give_place_back(struct shard *s, struct shard *other)
{
    if (!end_stand_in(other, do_turn_of(other))) ring_wake(s->ring, other->ring);
}

void shard_wake_sleepers(struct shard *s)
{
    while (s->sleeper_count) {
        struct shard *other = s->sleepers[--s->sleeper_count];
        // Not with this ring's next submission: that may come late.
        if (inbox_is_claimed(&other->inbox)) ring_wake(NULL, other->ring);
    }
}

// What is done for one may put something into the inbox of another; but this thread has its own
// work, too.
static void see_to_sleepers(struct shard *s)
{
    uint32_t left = s->is_inside ? 0 : s->group->count;
    while (s->sleeper_count) {
        struct shard *other = s->sleepers[--s->sleeper_count];
        if (left) {
            left--;
            if (stand_in(s, other)) continue;
        }
        if (inbox_is_claimed(&other->inbox)) ring_wake(s->ring, other->ring);
    }
}

// --- turns ---------------------------------------------------------------------------------------

static void note_saved(struct shard *s)
{
    const struct snapshot *snapshot = s->space->snapshot;
    uint64_t count = snapshot ? snapshot->finished_count : 0;
    if (count == s->saved_count && snapshot) return;
    s->saved_count = count;
    if (s->hooks->saved) s->hooks->saved(s);
}

// A slice of the snapshot, between commands: while these come all the time, one part in so many of
// it; half of it if some of them wait for that.
static void work_on_image(struct shard *s, bool is_busy)
{
    enum { BUCKETS = 16, SHARE = 6, SHARE_AWAITED = 2 }; // some tens of microseconds
    int64_t now_us = clock_mono_us();
    if (is_busy && now_us < s->next_slice_us) return;
    int64_t share = snapshot_is_awaited(s->space->snapshot) ? SHARE_AWAITED : SHARE;
    enum image_state state = image_work(s->image, s->space, BUCKETS);
    s->is_image_full = state == IMAGE_FULL;
    if (state == IMAGE_DONE) s->image = NULL;
    int64_t end_us = clock_mono_us();
    s->next_slice_us = end_us + (share - 1) * (end_us - now_us);
    note_saved(s);
}

// Where many connections speak at once and this thread has little time left, wake-ups cost too
// much, them as well as this thread: so a few of them are waited for, a small part of all, so that
// nobody waits for long (RING_BATCH_US at most). Judged by the last millisecond.
static void choose_batch(struct shard *s, bool is_next_ms)
{
    enum { PART = 8, MAX_BATCH = 8, BUSY_US = 500 };
    int64_t cpu_us = s->heard >= 2 * PART ? clock_thread_us() : 0;
    bool is_busy = is_next_ms && cpu_us && s->cpu_us && cpu_us - s->cpu_us > BUSY_US;
    s->batch = is_busy ? MIN(s->heard / PART, MAX_BATCH) : 1;
    s->cpu_us = cpu_us;
    s->heard = 0;
}

// What is due by the clock, which is nothing more in the same millisecond, and what is to be freed.
static void sweep(struct shard *s, int64_t now_ms)
{
    if (now_ms == s->swept_ms && !s->has_more_cron && !s->space->garbage) return;
    if (now_ms != s->swept_ms) choose_batch(s, now_ms == s->swept_ms + 1);
    s->swept_ms = now_ms;
    struct ctx ctx = shard_ctx(s);
    s->has_more_cron = engine_cron(s->engine, s->id, ctx.settings, now_ms, CRON_BUDGET);
    if (UNLIKELY(s->space->effects != NULL)) logging_end_unit(s, &ctx, NULL, 0);
    if (UNLIKELY(s->space->ready != NULL)) serve_ready(s, &ctx); // a stream that expired
}

static void housekeeping(struct shard *s, bool is_busy)
{
    int64_t now_ms = shard_now_ms(s);
    if (UNLIKELY(s->image != NULL) && !s->is_parked) work_on_image(s, is_busy);
    if (!s->is_parked) sweep(s, now_ms);
    if (now_ms >= s->next_timer_ms) s->hooks->timers(s);
    if (now_ms < s->next_cron_ms && s->next_cron_ms - now_ms <= SHARD_CRON_MS) return;
    s->next_cron_ms = now_ms + SHARD_CRON_MS;
    operation_pool_trim(&s->pool);
    if (s->hooks->cron) s->hooks->cron(s);
}

void shard_turn_inside(struct shard *s)
{
    enum { ROUNDS = 4 }; // a request is read, answered, and the answer is sent
    ASSERT(shard_has_keyspace(s));
    s->is_inside = true;
    shard_renew_settings(s);
    for (int i = 0; i < ROUNDS; i++) {
        if (s->sleeper_count) see_to_sleepers(s);
        if (s->hooks->flush) s->hooks->flush(s);
        s->is_now_stale = true;
        int callbacks = ring_run(s->ring, 0);
        shard_enter_travelling(s);
        if (catch_up_is_due(s)) catch_up_note_turn(s, callbacks);
        bool has_mail = inbox_has_mail(&s->inbox) || s->local_mail || s->taken_mail;
        deliver_mail(s);
        if (callbacks <= 0 && !has_mail) break;
    }
    atomic_store(&s->settings_inside, NULL);
    s->is_inside = false;
}

void shard_tick(struct shard *s, int64_t max_wait_us)
{
    enum { ROUNDS = 2 };
    send_out(s);
    if (s->sleeper_count) see_to_sleepers(s);
    int64_t timeout_us = wait_limit_us(s, max_wait_us);
    if (timeout_us && (s->in_flight > s->blocked || s->is_parked) && s->group->count > 1) {
        // What was started goes out before the wait, and what comes meanwhile is answered before
        // it.
        for (int i = 0; i < ROUNDS && ring_run(s->ring, 0) > 0; i++) send_out(s);
        shard_enter_travelling(s);
        timeout_us = wait_limit_us(s, max_wait_us);
        if (timeout_us && spin_for_work(s)) timeout_us = 0;
    }
    bool is_busy = wait_and_receive(s, timeout_us);
    deliver_mail(s);
    run_inbox(s);
    deliver_mail(s);
    if (s->sleeper_count) {
        see_to_sleepers(s);
        deliver_mail(s); // what was done for them may have been an answer's last part
    }
    housekeeping(s, is_busy);
}
