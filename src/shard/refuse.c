// SPDX-License-Identifier: BSD-3-Clause
#include "shard/refuse.h"

#include "base/jitter.h"
#include "engine/command.h"
#include "shard/handover.h"
#include "shard/logging.h"
#include "shard/perform.h"

// --- what may be refused -------------------------------------------------------------------------

static bool is_refusable(const struct operation *op)
{
    if (op->meet || op->watch || op->follows_script) return false;
    for (uint32_t i = 0; i < op->request_count; i++) {
        const struct request *r = &op->requests[i];
        if (r->piece_count == 0) continue; // answered at home
        const struct command *c = r->whole.cmd;
        if (!c || r->whole.say || c->conclude || (c->flags & CMD_ALLOW_BUSY)) return false;
    }
    return true;
}

static bool are_refusable(const struct operation *first)
{
    for (const struct operation *op = first; op; op = op->with)
        if (!is_refusable(op)) return false;
    return true;
}

// Claims what is open. Returns what it is claimed for.
static const char *claim(struct operation *op, const char *wanted)
{
    const char *seen = NULL;
    jitter();
    // Release, acquire: the shards that share it agree, and find the text written.
    bool is_mine = atomic_compare_exchange_strong_explicit(
        &op->claim, &seen, wanted, memory_order_acq_rel, memory_order_acquire);
    return is_mine ? wanted : seen;
}

const char *refuse_before_begin(struct operation *op)
{
    const char *claimed = claim(op, OPERATION_BEGINS);
    return *claimed ? claimed : NULL;
}

// --- refusing ------------------------------------------------------------------------------------

void refuse_part(struct shard *s, struct part *part, const char *error)
{
    part->refused = error;
    for (const struct piece *p = part->first; p; p = p->next)
        if (p->tx) logging_skip(s, p->tx, p->tx_part);
    perform_finish(s, part);
}

void refuse_meeting(struct shard *s, struct operation *first, const char *error)
{
    for (uint32_t i = 0; i < first->part_count; i++) {
        struct shard *other = s->group->shards[first->parts[i].shard];
        if (!first->parts[i].is_parked) continue;
        if (other == s)
            s->is_parked = false;
        else
            shard_post(s, other, &other->resume);
    }
    for (struct operation *op = first, *next; op; op = next) { // gone as soon as it is posted
        next = op->with;
        op->parts[0].refused = error; // where a meeting's replies are
        shard_post(s, s->group->shards[op->home], &op->finished);
    }
}

static bool refuse_batch(struct shard *s, struct part *part, const char *error)
{
    if (!is_refusable(part->op)) return false;
    if (part->op->is_whole) error = claim(part->op, error);
    if (!*error) return false; // it has begun
    refuse_part(s, part, error);
    return true;
}

static bool refuse_arrival(struct shard *s, struct part *part, const char *error)
{
    if (!are_refusable(part->op)) return false;
    claim(part->op, error); // it has not begun without this shard
    perform_count_arrival(s, part->op);
    return true;
}

// True: it does not wait any more.
static bool refuse_item(struct shard *s, struct inbox_item *item, const char *error)
{
    if (inbox_item_is_handover(item)) { // a connection, which wants to be told so, too
        item->run(s, item);
        return true;
    }
    struct part *part = CONTAINER_OF(item, struct part, item);
    if (item->run == perform_part) return refuse_batch(s, part, error);
    if (item->run == perform_arrival) return refuse_arrival(s, part, error);
    return false;
}

void shard_refuse_backlog(struct shard *s, const char *error)
{
    struct inbox_item *item = inbox_queue_take(&s->backlog), *next;
    for (; item; item = next) {
        next = item->next;
        item->next = NULL;
        if (!refuse_item(s, item, error)) inbox_queue_append(&s->backlog, item);
    }
}
