// SPDX-License-Identifier: BSD-3-Clause
#include "script/running.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/jitter.h"
#include "base/log.h"
#include "engine/effect.h"
#include "engine/engine.h"
#include "engine/host.h"
#include "engine/settings.h"

#define BUSY_INTERVAL_US 10000 // between two times that others are answered

void slow_list_init(struct slow_list *list)
{
    pthread_mutex_init(&list->mutex, NULL);
    list->first = NULL;
}

void slow_list_free(struct slow_list *list)
{
    pthread_mutex_destroy(&list->mutex);
}

void running_begin(struct running *r, struct ctx *ctx, const char *name, bool is_function)
{
    r->ctx = ctx;
    r->name = name;
    r->is_function = is_function;
    r->calls = r->looks = 0;
    r->begin_us = r->busy_us = 0;
    // Relaxed: nobody else looks before the script is in the list.
    atomic_store_explicit(&r->state, RUN_CLEAN, memory_order_relaxed);
}

static void publish(struct running *r)
{
    pthread_mutex_lock(&r->slow->mutex);
    r->is_slow = true;
    r->next = r->slow->first;
    r->slow->first = r;
    pthread_mutex_unlock(&r->slow->mutex);
    atomic_fetch_add(&r->ctx->engine->busy_scripts, 1);
}

static void withdraw(struct running *r)
{
    atomic_fetch_sub(&r->ctx->engine->busy_scripts, 1);
    pthread_mutex_lock(&r->slow->mutex);
    struct running **at = &r->slow->first;
    while (*at != r) at = &(*at)->next;
    *at = r->next;
    r->is_slow = false;
    pthread_mutex_unlock(&r->slow->mutex);
}

void running_end(struct running *r)
{
    if (UNLIKELY(r->is_slow)) withdraw(r);
    atomic_store_explicit(&r->state, RUN_IDLE, memory_order_relaxed);
    r->ctx = NULL;
}

static bool leave_clean(struct running *r, uint32_t to)
{
    uint32_t clean = RUN_CLEAN;
    jitter();
    return atomic_compare_exchange_strong(&r->state, &clean, to);
}

static void stop_if_asked(struct running *r, enum host_patience patience)
{
    if (patience == HOST_STOPS) leave_clean(r, RUN_KILLED);
    if (patience != HOST_STOPS_AT_ONCE) return;
    atomic_store(&r->state, RUN_KILLED);
    effect_void(r->ctx);
}

// The script has been running for too long: others are told so now and then.
static void be_slow(struct running *r, int64_t now_us)
{
    const struct host *host = r->ctx->engine->host;
    if (!r->is_slow) {
        log_write(LOG_WARNING,
                  "Slow script detected: still in execution after %lld milliseconds. "
                  "You can try killing the script using the %s command. Script name is: %s.",
                  (long long)(now_us - r->begin_us) / 1000,
                  r->is_function ? "FUNCTION KILL" : "SCRIPT KILL", r->name);
        publish(r);
    }
    if (now_us - r->busy_us < BUSY_INTERVAL_US) return;
    if (host && host->busy) stop_if_asked(r, host->busy(r->ctx));
    r->busy_us = clock_mono_us();
}

bool running_look(struct running *r)
{
    if (running_is_killed(r)) return false;
    if (UNLIKELY(r->looks_max && ++r->looks > r->looks_max)) {
        atomic_store_explicit(&r->state, RUN_KILLED, memory_order_relaxed);
        return false;
    }
    int64_t now_us = clock_mono_us(), threshold = r->ctx->settings->busy_reply_threshold;
    if (!r->begin_us) r->begin_us = now_us;
    if (threshold > 0 && now_us - r->begin_us >= threshold * 1000) be_slow(r, now_us);
    return !running_is_killed(r);
}

bool running_may_write(struct running *r)
{
    return leave_clean(r, RUN_DIRTY) ||
           atomic_load_explicit(&r->state, memory_order_relaxed) == RUN_DIRTY;
}

// --- others --------------------------------------------------------------------------------------

static enum kill_result kill_one(struct running *r, bool is_function)
{
    if (atomic_load(&r->state) == RUN_DIRTY) return KILL_DIRTY;
    if (r->is_function != is_function) return is_function ? KILL_IS_SCRIPT : KILL_IS_FUNCTION;
    if (!leave_clean(r, RUN_KILLED) && atomic_load(&r->state) == RUN_DIRTY) return KILL_DIRTY;
    log_write(LOG_NOTICE, "Lua script killed by user with %s.",
              is_function ? "FUNCTION KILL" : "SCRIPT KILL");
    return KILL_DONE;
}

// Done if any was killed.
enum kill_result running_kill(struct slow_list *list, bool is_function)
{
    enum kill_result result = KILL_NONE;
    pthread_mutex_lock(&list->mutex);
    for (struct running *r = list->first; r; r = r->next) {
        enum kill_result one = kill_one(r, is_function);
        if (result != KILL_DONE) result = one;
    }
    pthread_mutex_unlock(&list->mutex);
    return result;
}

enum slow_kind running_slow_kind(struct slow_list *list)
{
    pthread_mutex_lock(&list->mutex);
    const struct running *r = list->first;
    enum slow_kind kind = !r ? SLOW_NONE : r->is_function ? SLOW_FUNCTION : SLOW_SCRIPT;
    pthread_mutex_unlock(&list->mutex);
    return kind;
}

bool running_show(struct slow_list *list, void (*visit)(const struct slow_view *view, void *arg),
                  void *arg)
{
    pthread_mutex_lock(&list->mutex);
    const struct running *r = list->first;
    if (r) {
        struct slow_view view = {.name = r->name,
                                 .argc = r->ctx->argc,
                                 .argv = r->ctx->argv,
                                 .ms = (clock_mono_us() - r->begin_us) / 1000,
                                 .is_function = r->is_function};
        visit(&view, arg);
    }
    pthread_mutex_unlock(&list->mutex);
    return r != NULL;
}
