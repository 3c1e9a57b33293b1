// SPDX-License-Identifier: BSD-3-Clause
#include "engine/subscriptions.h"

#include "base/mem.h"
#include "engine/session.h"

void subscriptions_free(struct subscriptions *s)
{
    if (!s) return;
    for (int kind = 0; kind < PUBSUB_KINDS; kind++) names_free(&s->kinds[kind]);
    mem_free(s);
}

uint64_t subscriptions_count(const struct subscriptions *s, enum pubsub_kind kind)
{
    return s ? names_count(&s->kinds[kind]) : 0;
}

bool subscriptions_have(const struct subscriptions *s, enum pubsub_kind kind, struct slice name)
{
    return s && names_find(&s->kinds[kind], name);
}

void session_subscribe(struct session *s, enum pubsub_kind kind, struct slice name)
{
    if (!s->subscriptions) {
        s->subscriptions = mem_alloc(sizeof *s->subscriptions);
        for (int i = 0; i < PUBSUB_KINDS; i++) names_init(&s->subscriptions->kinds[i], 0);
    }
    struct names *names = &s->subscriptions->kinds[kind];
    if (!names_find(names, name)) names_add(names, name);
}

void session_unsubscribe(struct session *s, enum pubsub_kind kind, struct slice name)
{
    if (!s->subscriptions) return;
    struct names *names = &s->subscriptions->kinds[kind];
    struct name *found = names_find(names, name);
    if (!found) return;
    names_remove(names, found);
    if (names_count(names)) return;
    for (int i = 0; i < PUBSUB_KINDS; i++)
        if (names_count(&s->subscriptions->kinds[i])) return;
    subscriptions_free(s->subscriptions);
    s->subscriptions = NULL;
}
