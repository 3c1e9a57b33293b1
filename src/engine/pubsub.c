// SPDX-License-Identifier: BSD-3-Clause
#include "engine/pubsub.h"

#include "base/glob.h"
#include "base/mem.h"
#include "base/stat.h"
#include "engine/engine.h"
#include "engine/host.h"
#include "engine/settings.h"

struct pubsub {
    uint32_t shard_count;
    struct names kinds[PUBSUB_KINDS]; // each with a struct tally
    stat_u64 counts[PUBSUB_KINDS];    // of those names
};

// Subscribers of one channel or pattern. total == sum of at[], and never 0 once it was changed.
struct tally {
    uint64_t total;
    uint32_t at[]; // by home shard
};

static struct tally *tally_of(const struct name *name)
{
    return (struct tally *)name->data;
}

struct pubsub *pubsub_new(uint32_t shard_count)
{
    struct pubsub *p = mem_calloc(sizeof *p);
    uint32_t bytes = (uint32_t)(sizeof(struct tally) + shard_count * sizeof(uint32_t));
    p->shard_count = shard_count;
    for (int kind = 0; kind < PUBSUB_KINDS; kind++) names_init(&p->kinds[kind], bytes);
    return p;
}

void pubsub_free(struct pubsub *p)
{
    if (!p) return;
    for (int kind = 0; kind < PUBSUB_KINDS; kind++) names_free(&p->kinds[kind]);
    mem_free(p);
}

void pubsub_change(struct pubsub *p, enum pubsub_kind kind, struct slice name, uint32_t home,
                   int delta)
{
    struct names *names = &p->kinds[kind];
    struct name *found = names_find(names, name);
    ASSERT(home < p->shard_count);
    if (!found) found = names_add(names, name);
    struct tally *tally = tally_of(found);
    ASSERT(delta > 0 || tally->at[home] >= (uint32_t)-delta);
    tally->at[home] += (uint32_t)delta;
    tally->total += (uint64_t)(int64_t)delta;
    if (!tally->total) names_remove(names, found);
    stat_set(&p->counts[kind], names_count(names));
}

void pubsub_forget(struct pubsub *p, const struct subscriptions *s, uint32_t home)
{
    for (int kind = 0; kind < PUBSUB_KINDS; kind++)
        for (const struct name *n = s->kinds[kind].first; n; n = n->next)
            pubsub_change(p, (enum pubsub_kind)kind, name_bytes(n), home, -1);
}

uint64_t pubsub_subscribers(const struct pubsub *p, enum pubsub_kind kind, struct slice name)
{
    const struct name *found = names_find(&p->kinds[kind], name);
    return found ? tally_of(found)->total : 0;
}

const struct names *pubsub_names(const struct pubsub *p, enum pubsub_kind kind)
{
    return &p->kinds[kind];
}

uint64_t pubsub_count(const struct pubsub *p, enum pubsub_kind kind)
{
    return stat_get(&p->counts[kind]);
}

bool pubsub_is_idle(const struct pubsub *p)
{
    return !names_count(&p->kinds[PUBSUB_CHANNEL]) && !names_count(&p->kinds[PUBSUB_PATTERN]);
}

void pubsub_validate(const struct pubsub *p)
{
    for (int kind = 0; kind < PUBSUB_KINDS; kind++) {
        names_validate(&p->kinds[kind]);
        ASSERT(stat_get(&p->counts[kind]) == names_count(&p->kinds[kind]));
        for (const struct name *name = p->kinds[kind].first; name; name = name->next) {
            uint64_t sum = 0;
            for (uint32_t i = 0; i < p->shard_count; i++) sum += tally_of(name)->at[i];
            ASSERT(sum && sum == tally_of(name)->total);
        }
    }
}

// --- publishing ----------------------------------------------------------------------------------

struct receivers {
    uint64_t count;
    bool has[SETTINGS_THREADS_MAX]; // by shard; the first shard_count are set
};

static void add_receivers(const struct pubsub *p, const struct name *name, struct receivers *r)
{
    const struct tally *tally = tally_of(name);
    r->count += tally->total;
    for (uint32_t i = 0; i < p->shard_count; i++) r->has[i] |= tally->at[i] != 0;
}

static void find_receivers(const struct pubsub *p, enum pubsub_kind kind, struct slice channel,
                           struct receivers *r)
{
    const struct name *found = names_find(&p->kinds[kind], channel);
    r->count = 0;
    memset(r->has, 0, p->shard_count * sizeof r->has[0]);
    if (found) add_receivers(p, found, r);
    if (kind != PUBSUB_CHANNEL) return;
    const struct name *pattern = p->kinds[PUBSUB_PATTERN].first;
    for (; pattern; pattern = pattern->next)
        if (glob_match(name_bytes(pattern), channel)) add_receivers(p, pattern, r);
}

uint64_t ctx_publish(struct ctx *ctx, enum pubsub_kind kind, struct slice channel,
                     struct slice message)
{
    const struct pubsub *p = ctx->engine->pubsub[ctx->space->shard];
    const struct publication publication = {kind, channel, message};
    struct receivers receivers;
    uint32_t shards[SETTINGS_THREADS_MAX], count = 0;
    find_receivers(p, kind, channel, &receivers);
    if (!receivers.count || !ctx->engine->host->publish) return receivers.count;
    for (uint32_t i = 0; i < p->shard_count; i++)
        if (receivers.has[i]) shards[count++] = i;
    ctx->engine->host->publish(ctx, &publication, shards, count);
    return receivers.count;
}
