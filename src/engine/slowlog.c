// SPDX-License-Identifier: BSD-3-Clause
//
// Two histories that all shards write and any connection may read, each behind a mutex of its own.
//
// The slow log is a list, newest first, cut at its old end. An entry keeps its arguments in one
// allocation, shortened as Redis shortens them, so that a slow command never costs more than a few
// KiB:
//
//     | argv pointers | arg_lens | bytes of all arguments |
//
// The latency monitor keeps a ring of samples per event: at most one a second, the worst of that
// second. There are as many events as the code has names for, so a list will do.
#include "engine/slowlog.h"

#include <pthread.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "engine/redact.h"

// --- slow log ------------------------------------------------------------------------------------

struct kept {
    struct slowlog_entry entry;
    struct kept *newer;
};

struct slowlog { // all guarded by `lock`
    pthread_mutex_t lock;
    struct kept *newest, *oldest;
    uint64_t len, next_id;
};

struct slowlog *slowlog_new(void)
{
    struct slowlog *log = mem_calloc(sizeof *log);
    pthread_mutex_init(&log->lock, NULL);
    return log;
}

static void drop_oldest(struct slowlog *log)
{
    struct kept *k = log->oldest;
    log->oldest = k->newer;
    if (log->oldest)
        log->oldest->entry.next = NULL;
    else
        log->newest = NULL;
    log->len--;
    mem_free(k->entry.argv);
    mem_free(k->entry.client_name);
    mem_free(k);
}

void slowlog_free(struct slowlog *log)
{
    if (!log) return;
    while (log->oldest) drop_oldest(log);
    pthread_mutex_destroy(&log->lock);
    mem_free(log);
}

// What is kept of an argument: its length, and in `note` what stands behind the kept bytes.
struct cut {
    struct slice bytes;
    char note[48];
    size_t note_len;
};

static struct cut cut_arg(int argc, const struct slice *argv, int i)
{
    struct cut c = {.bytes = {"", 0}};
    if (argc > SLOWLOG_MAX_ARGS && i == SLOWLOG_MAX_ARGS - 1) {
        c.note_len = (size_t)snprintf(c.note, sizeof c.note, "... (%d more arguments)",
                                      argc - SLOWLOG_MAX_ARGS + 1);
        return c;
    }
    c.bytes = redact_arg(argc, argv, i);
    if (c.bytes.len > SLOWLOG_MAX_BYTES) {
        c.note_len = (size_t)snprintf(c.note, sizeof c.note, "... (%zu more bytes)",
                                      c.bytes.len - SLOWLOG_MAX_BYTES);
        c.bytes.len = SLOWLOG_MAX_BYTES;
    }
    return c;
}

static void copy_args(struct slowlog_entry *e, int argc, const struct slice *argv)
{
    struct cut cuts[SLOWLOG_MAX_ARGS];
    size_t bytes = 0;
    e->argc = MIN(argc, SLOWLOG_MAX_ARGS);
    for (int i = 0; i < e->argc; i++) {
        cuts[i] = cut_arg(argc, argv, i);
        bytes += cuts[i].bytes.len + cuts[i].note_len;
    }
    size_t table = (size_t)e->argc * (sizeof *e->argv + sizeof *e->arg_lens);
    e->argv = mem_alloc(table + bytes);
    e->arg_lens = (size_t *)(e->argv + e->argc);
    char *to = (char *)e->argv + table;
    for (int i = 0; i < e->argc; i++) {
        const struct cut *c = &cuts[i];
        e->argv[i] = to;
        e->arg_lens[i] = c->bytes.len + c->note_len;
        memcpy(to, c->bytes.ptr, c->bytes.len);
        memcpy(to + c->bytes.len, c->note, c->note_len);
        to += e->arg_lens[i];
    }
}

void slowlog_add(struct slowlog *log, const struct session *session, int argc,
                 const struct slice *argv, uint64_t duration_us, int64_t time_s, uint64_t max_len)
{
    if (max_len == 0) return;
    struct kept *k = mem_calloc(sizeof *k);
    struct slowlog_entry *e = &k->entry;
    e->time_s = time_s;
    e->duration_us = duration_us;
    copy_args(e, argc, argv);
    if (session) snprintf(e->peer, sizeof e->peer, "%s", session->peer);
    e->client_name = mem_strdup(session && session->name ? session->name : "");

    pthread_mutex_lock(&log->lock);
    e->id = log->next_id++;
    if (log->newest) {
        e->next = &log->newest->entry;
        log->newest->newer = k;
    } else {
        log->oldest = k;
    }
    log->newest = k;
    log->len++;
    while (log->len > max_len) drop_oldest(log);
    pthread_mutex_unlock(&log->lock);
}

uint64_t slowlog_len(struct slowlog *log)
{
    pthread_mutex_lock(&log->lock);
    uint64_t len = log->len;
    pthread_mutex_unlock(&log->lock);
    return len;
}

void slowlog_trim(struct slowlog *log, uint64_t max_len)
{
    pthread_mutex_lock(&log->lock);
    while (log->len > max_len) drop_oldest(log);
    pthread_mutex_unlock(&log->lock);
}

void slowlog_reset(struct slowlog *log)
{
    pthread_mutex_lock(&log->lock);
    while (log->oldest) drop_oldest(log);
    pthread_mutex_unlock(&log->lock);
}

void slowlog_each(struct slowlog *log, int64_t count,
                  void (*visit)(const struct slowlog_entry *e, void *arg), void *arg)
{
    pthread_mutex_lock(&log->lock);
    const struct slowlog_entry *e = log->newest ? &log->newest->entry : NULL;
    for (int64_t n = 0; e && (count < 0 || n < count); n++, e = e->next) visit(e, arg);
    pthread_mutex_unlock(&log->lock);
}

// --- latency monitor -----------------------------------------------------------------------------

struct history {
    struct history *next;
    char *event; // owned
    uint32_t max_ms;
    int first, count; // the ring's oldest sample, and how many there are
    struct latency_sample ring[LATENCY_HISTORY];
};

struct latency_monitor { // all guarded by `lock`
    pthread_mutex_t lock;
    struct history *first; // in the order of their first sample
};

struct latency_monitor *latency_new(void)
{
    struct latency_monitor *m = mem_calloc(sizeof *m);
    pthread_mutex_init(&m->lock, NULL);
    return m;
}

void latency_free(struct latency_monitor *m)
{
    if (!m) return;
    latency_reset(m, NULL);
    pthread_mutex_destroy(&m->lock);
    mem_free(m);
}

static struct history *find_or_add(struct latency_monitor *m, const char *event)
{
    struct history **at = &m->first;
    for (; *at; at = &(*at)->next)
        if (strcmp((*at)->event, event) == 0) return *at;
    *at = mem_calloc(sizeof **at);
    (*at)->event = mem_strdup(event);
    return *at;
}

static void add_sample(struct history *h, int32_t now_s, uint32_t latency_ms)
{
    if (h->count) {
        struct latency_sample *last = &h->ring[(h->first + h->count - 1) % LATENCY_HISTORY];
        if (last->time_s == now_s) { // one sample a second: its worst
            last->latency_ms = MAX(last->latency_ms, latency_ms);
            return;
        }
    }
    if (h->count < LATENCY_HISTORY)
        h->count++;
    else
        h->first = (h->first + 1) % LATENCY_HISTORY;
    h->ring[(h->first + h->count - 1) % LATENCY_HISTORY] =
        (struct latency_sample){now_s, latency_ms};
}

void latency_add(struct latency_monitor *m, const char *event, int64_t now_s, uint32_t latency_ms,
                 uint64_t threshold_ms)
{
    if (threshold_ms == 0 || latency_ms < threshold_ms) return;
    pthread_mutex_lock(&m->lock);
    struct history *h = find_or_add(m, event);
    h->max_ms = MAX(h->max_ms, latency_ms);
    add_sample(h, (int32_t)now_s, latency_ms);
    pthread_mutex_unlock(&m->lock);
}

int latency_reset(struct latency_monitor *m, const char *event)
{
    int removed = 0;
    pthread_mutex_lock(&m->lock);
    for (struct history **at = &m->first; *at;) {
        struct history *h = *at;
        if (event && strcmp(h->event, event) != 0) {
            at = &h->next;
            continue;
        }
        *at = h->next;
        mem_free(h->event);
        mem_free(h);
        removed++;
    }
    pthread_mutex_unlock(&m->lock);
    return removed;
}

void latency_each(struct latency_monitor *m,
                  void (*visit)(const char *event, const struct latency_sample *samples, int count,
                                uint32_t max_ms, void *arg),
                  void *arg)
{
    struct latency_sample samples[LATENCY_HISTORY];
    pthread_mutex_lock(&m->lock);
    for (const struct history *h = m->first; h; h = h->next) {
        for (int i = 0; i < h->count; i++) samples[i] = h->ring[(h->first + i) % LATENCY_HISTORY];
        visit(h->event, samples, h->count, h->max_ms, arg);
    }
    pthread_mutex_unlock(&m->lock);
}
