// SPDX-License-Identifier: BSD-3-Clause
//
// What a subscriber reads of a message, in RESP2 (RESP3: > in place of the first *):
//
//     *3 $7 message                   $4 news  $5 hello
//     *4 $8 pmessage  $2 n*           $4 news  $5 hello
//     *3 $8 smessage                  $4 news  $5 hello
//     \_________ head ______________/ \_____ tail _____/
//
// The tail is the same for all, so it is encoded once, by the publisher, and lies in the message
// that travels to the shards; big ones lie in a blob that all connections link to instead of
// copying it. The head is short, and made once for all subscribers of one channel or pattern.
//
// A connection gets a message once for its channel and once for every pattern that matches, the
// channel first, the patterns in the order of their first subscriber here.
//
// One that does not read is cut off at its output limit while messages are being written, not only
// before a send: a burst within one turn must not fill the memory. It is killed at the flush, when
// nobody walks the lists of connections.
#include "server/subscribers.h"

#include "base/glob.h"
#include "base/mem.h"
#include "engine/settings.h"
#include "server/client.h"
#include "server/server.h"
#include "shard/message.h"

#define LINK_FROM_BYTES 2048 // tails from this size on are linked, not copied

// --- who -----------------------------------------------------------------------------------------

// The data of a name: its subscribers. Removal searches the array: tens of microseconds for a
// hundred thousand of them, so no index is worth its memory.
struct audience {
    struct client **clients; // owned; in the order of subscribing
    uint32_t count, cap;
};

static struct audience *audience_of(const struct name *name)
{
    return (struct audience *)name->data;
}

void subscribers_init(struct subscribers *s)
{
    for (int kind = 0; kind < PUBSUB_KINDS; kind++)
        names_init(&s->kinds[kind], sizeof(struct audience));
}

void subscribers_free(struct subscribers *s)
{
    for (int kind = 0; kind < PUBSUB_KINDS; kind++) {
        for (struct name *n = s->kinds[kind].first; n; n = n->next)
            mem_free(audience_of(n)->clients);
        names_free(&s->kinds[kind]);
    }
}

static void add(struct names *names, struct slice bytes, struct client *c)
{
    struct name *name = names_find(names, bytes);
    if (!name) name = names_add(names, bytes);
    struct audience *a = audience_of(name);
    if (a->count == a->cap) {
        a->cap = a->cap ? a->cap * 2 : 1;
        a->clients = mem_realloc(a->clients, a->cap * sizeof a->clients[0]);
    }
    a->clients[a->count++] = c;
}

static void take_out(struct names *names, struct slice bytes, const struct client *c)
{
    struct name *name = names_find(names, bytes);
    ASSERT(name);
    struct audience *a = audience_of(name);
    uint32_t i = 0;
    while (i < a->count && a->clients[i] != c) i++;
    ASSERT(i < a->count);
    a->count--;
    memmove(a->clients + i, a->clients + i + 1, (a->count - i) * sizeof a->clients[0]);
    if (a->count) return;
    mem_free(a->clients);
    names_remove(names, name);
}

void subscribers_change(struct client *c, enum pubsub_kind kind, struct slice name, bool on)
{
    struct names *names = &c->worker->subscribers.kinds[kind];
    if (on)
        add(names, name, c);
    else
        take_out(names, name, c);
}

// --- leaving -------------------------------------------------------------------------------------

// What a connection that has left was subscribed to, on its way to every shard's copy.
struct departure {
    struct message message;
    uint32_t home;
    struct subscriptions *subscriptions; // owned; only read
};

static void deliver_departure(struct shard *s, struct message *m)
{
    struct departure *d = CONTAINER_OF(m, struct departure, message);
    pubsub_forget(s->engine->pubsub[s->id], d->subscriptions, d->home);
}

static void free_departure(struct message *m)
{
    struct departure *d = CONTAINER_OF(m, struct departure, message);
    subscriptions_free(d->subscriptions);
    mem_free(d);
}

void subscribers_leave(struct client *c)
{
    struct subscriptions *mine = c->session.subscriptions;
    struct worker *w = c->worker;
    uint32_t all[SETTINGS_THREADS_MAX], count = w->server->worker_count;
    if (!mine) return;
    c->session.subscriptions = NULL;
    // Relaxed: a figure for INFO.
    atomic_fetch_sub_explicit(&w->shard.engine->subscribers, 1, memory_order_relaxed);
    for (int kind = 0; kind < PUBSUB_KINDS; kind++)
        for (struct name *n = mine->kinds[kind].first; n; n = n->next)
            take_out(&w->subscribers.kinds[kind], name_bytes(n), c);
    for (uint32_t i = 0; i < count; i++) all[i] = i;
    struct departure *d = mem_alloc(sizeof *d);
    *d = (struct departure){.message = {.deliver = deliver_departure, .free = free_departure},
                            .home = w->shard.id,
                            .subscriptions = mine};
    shard_send(&w->shard, &d->message, all, count);
}

// --- messages ------------------------------------------------------------------------------------

struct parcel {
    struct message message;
    enum pubsub_kind kind;
    struct slice channel; // within the tail
    struct slice tail;    // behind this struct, or the bytes of `blob`
    struct blob *blob;    // owned; NULL: the tail is short
};

static void free_parcel(struct message *m)
{
    struct parcel *p = CONTAINER_OF(m, struct parcel, message);
    if (p->blob) blob_unref(p->blob);
    mem_free(p);
}

static void push(struct client *c, struct slice head, const struct parcel *p)
{
    struct reply *r = client_push_begin(c);
    size_t copied = head.len + (p->blob ? 0 : p->tail.len);
    char *to = output_reserve_push(c, r, copied);
    memcpy(to, head.ptr, head.len);
    if (c->session.resp == 3) to[0] = '>';
    if (!p->blob) memcpy(to + head.len, p->tail.ptr, p->tail.len);
    r->pos = to + copied;
    if (p->blob) reply_link(r, p->blob);
    client_push_end(c);
}

static void push_to_all(struct shard *s, const struct name *name, struct slice head,
                        const struct parcel *p)
{
    const struct audience *a = audience_of(name);
    const struct output_limit *limit =
        &shard_settings(s)->client_output_buffer_limit[OUTPUT_PUBSUB];
    for (uint32_t i = 0; i < a->count; i++) {
        struct client *c = a->clients[i];
        if (c->is_dead || c->is_over_limit) continue;
        push(c, head, p);
        if (UNLIKELY(limit->hard && output_bytes(c) > limit->hard)) {
            c->is_over_limit = true;
            output_mark_dirty(c);
        }
    }
}

static void push_to_patterns(struct shard *s, const struct names *patterns, const struct parcel *p)
{
    for (const struct name *n = patterns->first; n; n = n->next) {
        struct slice pattern = name_bytes(n);
        if (!glob_match(pattern, p->channel)) continue;
        struct buf head = {0};
        buf_printf(&head, "*4\r\n$8\r\npmessage\r\n$%zu\r\n", pattern.len);
        buf_append(&head, pattern.ptr, pattern.len);
        buf_append_text(&head, "\r\n");
        push_to_all(s, n, buf_slice(&head), p);
        buf_free(&head);
    }
}

static void deliver_parcel(struct shard *s, struct message *m)
{
    struct parcel *p = CONTAINER_OF(m, struct parcel, message);
    const struct names *kinds = worker_of(s)->subscribers.kinds;
    struct slice head = p->kind == PUBSUB_CHANNEL ? SLICE("*3\r\n$7\r\nmessage\r\n")
                                                  : SLICE("*3\r\n$8\r\nsmessage\r\n");
    const struct name *name = names_find(&kinds[p->kind], p->channel);
    if (name) push_to_all(s, name, head, p);
    if (p->kind == PUBSUB_CHANNEL) push_to_patterns(s, &kinds[PUBSUB_PATTERN], p);
}

// Writes a bulk string and returns what stands behind it; *body: where its bytes are.
static char *put_bulk(char *to, struct slice bytes, const char **body)
{
    *to++ = '$';
    to += num_format_u64(to, bytes.len);
    memcpy(to, "\r\n", 2);
    *body = to + 2;
    if (bytes.len) memcpy(to + 2, bytes.ptr, bytes.len);
    to += 2 + bytes.len;
    memcpy(to, "\r\n", 2);
    return to + 2;
}

static struct parcel *wrap(const struct publication *publication)
{
    enum { AROUND = 2 * (NUM_I64_TEXT + 5) }; // what two bulk strings have beside their bytes
    size_t room = publication->channel.len + publication->message.len + AROUND;
    bool is_big = room >= LINK_FROM_BYTES;
    struct parcel *p = mem_alloc(sizeof *p + (is_big ? 0 : room));
    *p = (struct parcel){.message = {.deliver = deliver_parcel, .free = free_parcel},
                         .kind = publication->kind,
                         .channel = {.len = publication->channel.len},
                         .blob = is_big ? blob_new(room) : NULL};
    const char *unused;
    char *begin = is_big ? p->blob->data : (char *)(p + 1);
    char *end = put_bulk(begin, publication->channel, &p->channel.ptr);
    end = put_bulk(end, publication->message, &unused);
    p->tail = (struct slice){begin, (size_t)(end - begin)};
    if (is_big) p->blob->len = p->tail.len;
    return p;
}

void subscribers_publish(struct worker *from, const struct publication *publication,
                         const uint32_t *shards, uint32_t count)
{
    shard_send(&from->shard, &wrap(publication)->message, shards, count);
}
