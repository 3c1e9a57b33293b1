// SPDX-License-Identifier: BSD-3-Clause
//
// What a connection reads when a key changed that it tracks:
//
//     RESP3                  >2 $10 invalidate  *1 $3 key        all keys: _ in place of the array
//     RESP2, redirected to   *3 $7 message $20 __redis__:invalidate  *1 $3 key        (all: $-1)
//
// RESP2 cannot be told anything between replies, so there the invalidations are redirected to
// another connection, which must be a subscriber (of whatever). That one may live on another
// shard: then they are forwarded. It does not move (session->is_pinned), so if it is not where it
// was, it has gone; the connection that redirected to it hears of that, if it speaks RESP3:
//
//     >2 $21 tracking-redir-broken :7
//
// All of this is written by client_push_begin and _end behind whatever the connection has under
// way: the read that made it remember a key has been answered before.
//
// And it comes in time: a connection that speaks after a change was confirmed hears of the change
// before it gets a reply. So invalidations wait for no operation in an inbox (which may be parked):
// each worker has a door of its own for them, which they enter before the change is confirmed, and
// which the worker looks into before it runs a command of a connection that tracks. The mail that
// goes with each only wakes the worker.
#include "server/invalidate.h"

#include "base/buf.h"
#include "base/jitter.h"
#include "base/mem.h"
#include "engine/settings.h"
#include "server/client.h"
#include "server/server.h"
#include "shard/message.h"

#define CHANNEL "__redis__:invalidate"

// --- writing to a connection ---------------------------------------------------------------------

// Appends an array of keys, the same bytes in RESP2 and RESP3.
static void put_keys(struct buf *to, const struct slice *keys, size_t count)
{
    buf_printf(to, "*%zu\r\n", count);
    for (size_t i = 0; i < count; i++) {
        buf_printf(to, "$%zu\r\n", keys[i].len);
        buf_append(to, keys[i].ptr, keys[i].len);
        buf_append(to, "\r\n", 2);
    }
}

// One that does not read is killed at the flush rather than fed any longer.
static void check_limit(struct client *c)
{
    enum output_class class = c->session.subscriptions ? OUTPUT_PUBSUB : OUTPUT_NORMAL;
    const struct output_limit *limit =
        &shard_settings(&c->worker->shard)->client_output_buffer_limit[class];
    if (LIKELY(!limit->hard || output_bytes(c) <= limit->hard)) return;
    c->is_over_limit = true;
    output_mark_dirty(c);
}

// keys: what put_keys made; ptr NULL: all keys.
static void write_keys(struct client *c, struct slice keys, bool is_redirected)
{
    bool is_message = c->session.resp == 2;
    if (c->is_over_limit) return;
    if (is_message && !(is_redirected && c->session.subscriptions)) return; // it could not tell
    struct reply *r = client_push_begin(c);
    reply_push(r, is_message ? 3 : 2);
    reply_bulk_text(r, is_message ? "message" : "invalidate");
    if (is_message) reply_bulk_text(r, CHANNEL);
    if (keys.ptr)
        reply_raw(r, keys.ptr, keys.len);
    else
        reply_null(r);
    client_push_end(c);
    check_limit(c);
}

static void write_broken(struct client *c)
{
    c->session.is_redirect_broken = true;
    if (c->session.resp == 2 || c->is_over_limit) return;
    struct reply *r = client_push_begin(c);
    reply_push(r, 2);
    reply_bulk_text(r, "tracking-redir-broken");
    reply_int(r, (int64_t)c->session.redirect_id);
    client_push_end(c);
}

// --- redirection to another shard ----------------------------------------------------------------

// There: what to tell. Back: that nobody was there.
struct forward {
    struct message message;
    uint64_t tracker, redirect; // ids
    uint32_t home;              // of the tracker
    bool is_flush;
    struct buf keys;
};

static void free_forward(struct message *m)
{
    struct forward *f = CONTAINER_OF(m, struct forward, message);
    buf_free(&f->keys);
    mem_free(f);
}

static void deliver_broken(struct shard *s, struct message *m)
{
    struct forward *f = CONTAINER_OF(m, struct forward, message);
    struct client *c = client_ids_find(&worker_of(s)->ids, f->tracker);
    if (c && c->session.tracking && c->session.redirect_id == f->redirect) write_broken(c);
}

static void deliver_forward(struct shard *s, struct message *m)
{
    struct forward *f = CONTAINER_OF(m, struct forward, message);
    struct client *c = client_ids_find(&worker_of(s)->ids, f->redirect);
    if (c) {
        write_keys(c, f->is_flush ? (struct slice){0} : buf_slice(&f->keys), true);
        return;
    }
    struct forward *back = mem_calloc(sizeof *back);
    back->message = (struct message){.deliver = deliver_broken, .free = free_forward};
    back->tracker = f->tracker;
    back->redirect = f->redirect;
    shard_send(s, &back->message, &f->home, 1);
}

static void forward_keys(struct shard *s, const struct client *c, struct slice keys)
{
    struct forward *f = mem_calloc(sizeof *f);
    f->message = (struct message){.deliver = deliver_forward, .free = free_forward};
    f->tracker = c->session.id;
    f->redirect = c->session.redirect_id;
    f->home = s->id;
    f->is_flush = !keys.ptr;
    if (keys.ptr) buf_append(&f->keys, keys.ptr, keys.len);
    shard_send(s, &f->message, &c->session.redirect_home, 1);
}

static void tell(struct shard *s, struct client *c, struct slice keys)
{
    const struct session *session = &c->session;
    if (!session->redirect_id) {
        write_keys(c, keys, false);
    } else if (session->redirect_home != s->id) {
        forward_keys(s, c, keys);
    } else {
        struct client *to = client_ids_find(&worker_of(s)->ids, session->redirect_id);
        if (to)
            write_keys(to, keys, true);
        else
            write_broken(c);
    }
}

// --- invalidations -------------------------------------------------------------------------------

struct parcel {
    _Atomic uint32_t refs;
    struct invalidation *inv; // owned
};

// Stands in a door until the worker takes it out, and is freed by its mail, which arrives later.
struct envelope {
    struct mail mail;
    struct envelope *next; // in the door
    struct parcel *parcel; // one reference
};

static void tell_all(struct shard *s)
{
    for (struct client *c = worker_of(s)->clients, *next; c; c = next) {
        next = c->next;
        if (c->session.tracking) tell(s, c, (struct slice){0});
    }
}

// Those of the trackers that live here. mode: TRACKING_BCAST or 0, in which they must be for this.
// cause: who is not told of his own changes if he has said so; 0: everybody is told.
static void tell_trackers(struct shard *s, const struct trackers *t, struct slice keys,
                          uint32_t mode, uint64_t cause)
{
    for (uint32_t i = 0; i < t->count; i++) {
        if (TRACKER_HOME(t->list[i]) != s->id) continue;
        struct client *c = client_ids_find(&worker_of(s)->ids, TRACKER_ID(t->list[i]));
        if (!c || !c->session.tracking || (c->session.tracking & TRACKING_BCAST) != mode) continue;
        if (c->session.id == cause && (c->session.tracking & TRACKING_NOLOOP)) continue;
        tell(s, c, keys);
    }
}

static void deliver(struct shard *s, const struct invalidation *inv)
{
    struct buf text = {0};
    for (const struct tracked_key *k = inv->keys; k; k = k->next) {
        if (k->fate == KEYS_FLUSHED) {
            tell_all(s);
            continue;
        }
        struct slice key = {k->bytes, k->len};
        text.len = 0;
        put_keys(&text, &key, 1);
        tell_trackers(s, &k->trackers, buf_slice(&text), 0,
                      k->fate == KEY_EVICTED ? 0 : inv->cause);
    }
    for (uint32_t i = 0; i < inv->broadcast_count; i++) {
        const struct broadcast *b = &inv->broadcasts[i];
        text.len = 0;
        put_keys(&text, b->keys, b->key_count);
        tell_trackers(s, &b->trackers, buf_slice(&text), TRACKING_BCAST, inv->cause);
    }
    buf_free(&text);
}

static void unref(struct parcel *p)
{
    jitter();
    // Release, acquire: whatever the others read of it comes before it is freed.
    if (atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) > 1) return;
    invalidation_free(p->inv);
    mem_free(p);
}

void invalidate_take(struct worker *w)
{
    // Relaxed: most often there is nothing. Who posted something and then answered has been
    // synchronised with by whoever speaks of it.
    if (LIKELY(!atomic_load_explicit(&w->invalidations, memory_order_relaxed))) return;
    // Acquire: the envelopes are complete.
    struct envelope *e = atomic_exchange_explicit(&w->invalidations, NULL, memory_order_acquire);
    struct envelope *oldest = NULL;
    while (e) { // the newest came first
        struct envelope *next = e->next;
        e->next = oldest;
        oldest = e;
        e = next;
    }
    for (; oldest; oldest = oldest->next) {
        deliver(&w->shard, oldest->parcel->inv);
        unref(oldest->parcel);
    }
}

static void deliver_envelope(struct shard *s, struct mail *mail)
{
    invalidate_take(worker_of(s));
    mem_free(CONTAINER_OF(mail, struct envelope, mail));
}

static void post(struct worker *from, struct worker *to, struct parcel *p)
{
    struct envelope *e = mem_alloc(sizeof *e);
    *e = (struct envelope){.mail.deliver = deliver_envelope, .parcel = p};
    e->next = atomic_load_explicit(&to->invalidations, memory_order_relaxed); // see the exchange
    jitter();
    // Release: pairs with the acquire in invalidate_take.
    while (!atomic_compare_exchange_weak_explicit(&to->invalidations, &e->next, e,
                                                  memory_order_release, memory_order_relaxed)) {
    }
    shard_post(&from->shard, &to->shard, &e->mail);
}

static void add_homes(bool *is_home, const struct trackers *t)
{
    for (uint32_t i = 0; i < t->count; i++) is_home[TRACKER_HOME(t->list[i])] = true;
}

void invalidate_send(struct worker *from, struct invalidation *inv)
{
    uint32_t count = from->server->worker_count;
    bool is_home[SETTINGS_THREADS_MAX] = {false};
    for (const struct tracked_key *k = inv->keys; k; k = k->next) {
        if (k->fate == KEYS_FLUSHED) memset(is_home, true, count);
        add_homes(is_home, &k->trackers);
    }
    for (uint32_t i = 0; i < inv->broadcast_count; i++)
        add_homes(is_home, &inv->broadcasts[i].trackers);
    struct parcel *p = mem_alloc(sizeof *p);
    p->inv = inv;
    atomic_init(&p->refs, 1);
    for (uint32_t i = 0; i < count; i++) {
        if (!is_home[i] || i == from->id) continue;
        // Relaxed: this thread holds a reference of its own.
        atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
        post(from, from->server->workers[i], p);
    }
    if (is_home[from->id]) deliver(&from->shard, inv);
    unref(p);
}

// --- prefixes ------------------------------------------------------------------------------------

// A session's prefixes as they are now, on their way to every shard's copy.
struct prefix_sync {
    struct message message;
    uint64_t tracker;
    struct names prefixes; // owned; only read
};

static void deliver_sync(struct shard *s, struct message *m)
{
    const struct prefix_sync *p = CONTAINER_OF(m, struct prefix_sync, message);
    tracking_set_prefixes(s->engine->tracking[s->id], &p->prefixes, p->tracker);
}

static void free_sync(struct message *m)
{
    struct prefix_sync *p = CONTAINER_OF(m, struct prefix_sync, message);
    names_free(&p->prefixes);
    mem_free(p);
}

void invalidate_sync_prefixes(struct worker *home, const struct session *s)
{
    uint32_t all[SETTINGS_THREADS_MAX], count = home->server->worker_count;
    struct prefix_sync *p = mem_calloc(sizeof *p);
    p->message = (struct message){.deliver = deliver_sync, .free = free_sync};
    p->tracker = TRACKER(s->id, home->id);
    names_init(&p->prefixes, 0);
    const struct name *first = s->tracking_prefixes ? s->tracking_prefixes->first : NULL;
    for (const struct name *n = first; n; n = n->next) names_add(&p->prefixes, name_bytes(n));
    for (uint32_t i = 0; i < count; i++) all[i] = i;
    shard_send(&home->shard, &p->message, all, count);
}

void invalidate_leave(struct client *c)
{
    struct worker *w = c->worker;
    if (tracking_stop(w->shard.engine, &c->session)) invalidate_sync_prefixes(w, &c->session);
}
