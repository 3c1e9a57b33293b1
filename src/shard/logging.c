// SPDX-License-Identifier: BSD-3-Clause
#include "shard/logging.h"

#include <string.h>

#include "base/jitter.h"
#include "base/mem.h"

// --- what waits for the log ----------------------------------------------------------------------

void logging_hold(struct shard *s, struct held *held, uint64_t seq)
{
    if (!s->held && logging_is_safe(s, seq)) {
        held->release(s, held);
        return;
    }
    held->seq = seq;
    held->next = NULL;
    if (s->held_tail)
        s->held_tail->next = held;
    else
        s->held = held;
    s->held_tail = held;
}

static void release_first(struct shard *s)
{
    struct held *held = s->held;
    s->held = held->next;
    if (!s->held) s->held_tail = NULL;
    held->release(s, held);
}

void logging_release(struct shard *s)
{
    while (s->held && logging_is_safe(s, s->held->seq)) release_first(s);
}

void logging_give_up(struct shard *s)
{
    while (s->held) release_first(s);
}

// --- records -------------------------------------------------------------------------------------

struct group {
    uint32_t shard;
    struct slice effects;
};

// The unit as it stands in the logs of these shards.
static struct log_record *new_record(uint64_t txid, const struct group *groups, uint32_t count)
{
    struct buf b = {0};
    if (count == 1) {
        log_put_local(&b, groups[0].effects.len);
        buf_append(&b, groups[0].effects.ptr, groups[0].effects.len);
    } else {
        log_put_transaction(&b, txid, count);
        for (uint32_t i = 0; i < count; i++) {
            log_put_group(&b, groups[i].shard, groups[i].effects.len);
            buf_append(&b, groups[i].effects.ptr, groups[i].effects.len);
        }
    }
    struct log_record *r = log_record_new(b.len, count);
    memcpy(r->bytes, b.ptr, b.len);
    buf_free(&b);
    return r;
}

struct verdict {
    struct mail mail;
};

static void deliver_verdict(struct shard *s, struct mail *mail)
{
    mem_free(CONTAINER_OF(mail, struct verdict, mail));
    if (s->log) log_look_again(s->log);
}

void logging_tell_decided(struct shard *s, const struct log_record *r)
{
    struct slice left = {r->bytes, r->len}, effects;
    struct log_unit unit;
    uint32_t shard;
    bool is_unit = log_unit_next(&left, &unit);
    ASSERT(is_unit && unit.kind == LOG_TRANSACTION);
    while (log_group_next(&unit.groups, &shard, &effects)) {
        if (shard == s->id) continue;
        struct verdict *v = mem_alloc(sizeof *v);
        *v = (struct verdict){.mail.deliver = deliver_verdict};
        shard_post(s, s->group->shards[shard], &v->mail);
    }
}

// --- split over shards ---------------------------------------------------------------------------

struct log_tx_part {
    struct mail mail; // to the shard, with the record for its slot
    struct log_tx *tx;
    uint32_t shard;
    struct log_slot *slot; // NULL: it changed nothing here
    struct buf effects;
};

struct log_tx {
    uint64_t id;
    _Atomic uint32_t waiting; // parts that have not run; release/acquire on the way down
    _Atomic uint32_t users;   // parts that look at this still
    uint32_t count;
    struct log_record *record;
    struct log_tx_part parts[];
};

struct log_tx *logging_split(uint32_t count)
{
    struct log_tx *tx = mem_calloc(sizeof *tx + count * sizeof tx->parts[0]);
    tx->count = count;
    atomic_init(&tx->waiting, count);
    atomic_init(&tx->users, count);
    for (uint32_t i = 0; i < count; i++) tx->parts[i].tx = tx;
    return tx;
}

uint64_t logging_next_txid(struct shard *s)
{
    // Relaxed: the locks of the inboxes order those that share a shard.
    return atomic_fetch_add_explicit(&s->group->next_txid, 1, memory_order_relaxed);
}

void logging_number(struct shard *s, struct log_tx *tx)
{
    tx->id = logging_next_txid(s);
}

static void leave(struct log_tx *tx)
{
    jitter();
    // Release, acquire: the others have done with it.
    if (atomic_fetch_sub_explicit(&tx->users, 1, memory_order_acq_rel) > 1) return;
    for (uint32_t i = 0; i < tx->count; i++) buf_free(&tx->parts[i].effects);
    mem_free(tx);
}

static void fill(struct shard *s, struct log_tx_part *part)
{
    log_fill(s->log, part->slot, part->tx->record);
    leave(part->tx);
}

static void deliver_fill(struct shard *s, struct mail *mail)
{
    fill(s, CONTAINER_OF(mail, struct log_tx_part, mail));
}

// All parts have run.
static void put_together(struct shard *s, struct log_tx *tx)
{
    struct group *groups = mem_alloc(tx->count * sizeof groups[0]);
    uint32_t count = 0, part_count = tx->count;
    for (uint32_t i = 0; i < part_count; i++)
        if (tx->parts[i].slot)
            groups[count++] = (struct group){tx->parts[i].shard, buf_slice(&tx->parts[i].effects)};
    if (count) tx->record = new_record(tx->id, groups, count);
    mem_free(groups);
    struct log_tx_part *own = NULL;
    for (uint32_t i = 0; i < part_count; i++) {
        struct log_tx_part *part = &tx->parts[i];
        if (!part->slot) {
            leave(tx); // one that still counts is behind it, or it was the last
        } else if (part->shard == s->id) {
            own = part;
        } else {
            part->mail = (struct mail){.deliver = deliver_fill};
            shard_post(s, s->group->shards[part->shard], &part->mail);
        }
    }
    if (own) fill(s, own);
}

static void end_part(struct shard *s, struct effects *e, struct log_tx *tx, uint32_t index)
{
    struct log_tx_part *part = &tx->parts[index];
    part->shard = s->id;
    if (e && effect_count(e)) {
        part->effects = e->bytes;
        e->bytes = (struct buf){0};
        part->slot = log_reserve(s->log);
    }
    jitter();
    if (atomic_fetch_sub_explicit(&tx->waiting, 1, memory_order_acq_rel) == 1) put_together(s, tx);
}

void logging_skip(struct shard *s, struct log_tx *tx, uint32_t part)
{
    end_part(s, NULL, tx, part);
}

void logging_end_unit(struct shard *s, struct ctx *ctx, struct log_tx *tx, uint32_t part)
{
    if (ctx->space_count > 1) return; // a meeting: see there
    // MULTI or the like, at home: what is there is of the meeting's runner, or of a slow script.
    if (!shard_has_keyspace(s)) return;
    struct effects *e = ctx->space->effects;
    if (UNLIKELY(tx != NULL))
        end_part(s, e, tx, part);
    else if (e && effect_count(e))
        log_append(s->log, buf_slice(&e->bytes));
    if (e) effect_clear(e);
}

// --- meetings ------------------------------------------------------------------------------------

// Mail that waits until several logs are safe.
struct farewell {
    _Atomic uint32_t waiting;
    struct ending *endings;
    struct farewell_part {
        struct held held;
        struct farewell *farewell;
    } parts[];
};

static void post_endings(struct shard *s, struct ending *e)
{
    while (e) {
        struct ending *next = e->next; // the mail may take it along
        shard_post(s, s->group->shards[e->shard], e->mail);
        e = next;
    }
}

static void release_farewell(struct shard *s, struct held *held)
{
    struct farewell *f = CONTAINER_OF(held, struct farewell_part, held)->farewell;
    jitter();
    if (atomic_fetch_sub_explicit(&f->waiting, 1, memory_order_acq_rel) > 1) return;
    post_endings(s, f->endings);
    mem_free(f);
}

static void append_record(struct shard *s, struct log_record *r, struct farewell_part *p)
{
    logging_hold(s, &p->held, log_append_record(s->log, r));
}

void logging_resume(struct shard *s)
{
    struct log_record *r = s->meeting_record;
    if (!r) return;
    s->meeting_record = NULL;
    append_record(s, r, s->meeting_farewell);
}

void logging_end_meeting(struct shard *s, struct ctx *ctx, uint64_t txid, struct ending *endings)
{
    struct group *groups = NULL;
    uint32_t count = 0;
    if (s->log) groups = mem_alloc(ctx->space_count * sizeof groups[0]);
    for (uint32_t i = 0; i < ctx->space_count && s->log; i++) {
        struct effects *e = ctx->spaces[i] ? ctx->spaces[i]->effects : NULL;
        if (e && effect_count(e)) groups[count++] = (struct group){i, buf_slice(&e->bytes)};
    }
    if (!count) {
        mem_free(groups);
        post_endings(s, endings);
        return;
    }
    struct log_record *r = new_record(txid, groups, count);
    struct farewell *f = mem_calloc(sizeof *f + count * sizeof f->parts[0]);
    struct farewell_part *own = NULL;
    f->endings = endings;
    atomic_init(&f->waiting, count);
    for (uint32_t i = 0; i < count; i++) {
        struct shard *other = s->group->shards[groups[i].shard];
        f->parts[i].farewell = f;
        f->parts[i].held.release = release_farewell;
        if (other == s) {
            own = &f->parts[i];
        } else { // parked: it looks at these when it goes on
            other->meeting_record = r;
            other->meeting_farewell = &f->parts[i];
        }
    }
    for (uint32_t i = 0; i < count; i++) effect_clear(ctx->spaces[groups[i].shard]->effects);
    mem_free(groups);
    if (own) append_record(s, r, own);
}
