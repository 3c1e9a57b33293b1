// SPDX-License-Identifier: BSD-3-Clause
//
// shard: one keyspace + one ring + one inbox, and the connections that live there. A value with a
// tick function: a thread is merely the loop that calls it.
//
// The order rule lives here (src/README.md): every operation takes effect at the instant it
// enters the inboxes it needs, and a shard executes what entered in the order in which it entered.
// Three ways in:
//
//   shard_may_run_in_place + shard_execute   at home, when nothing is waiting before it
//   shard_submit, a batch                    parts to several inboxes in one indivisible step
//   shard_submit, a meeting                  the same; each shard parks there, the last runs it
//
// Owned by its thread; other threads touch the inbox and the published counters only.
#pragma once
#include "base/stat.h"
#include "engine/engine.h"
#include "io/ring.h"
#include "shard/inbox.h"
#include "shard/operation.h"

struct catch_up_part;
struct shard;

// What lives on the shard besides the keyspace (the server's connections).
struct shard_hooks {
    void (*flush)(struct shard *shard);  // before every wait: send what was replied
    void (*cron)(struct shard *shard);   // every SHARD_CRON_MS
    void (*timers)(struct shard *shard); // when next_timer_ms has come; sets it anew
    // A big value is in the snapshot, or it is over: who waits for that (snapshot_must_wait) goes
    // on.
    void (*saved)(struct shard *shard);
    // Is telling this operation's owner that it is done a short matter, whichever thread does it?
    bool (*is_light)(const struct operation *op);
    // Has the peer of a connection that waits hung up, whether that was read or not? On any thread,
    // while the waiter is claimed. NULL: nobody does.
    bool (*has_hung_up)(const struct operation *op);
};

struct shard_group {
    struct engine *engine;
    uint32_t count;
    struct shard **shards;      // by id
    _Atomic uint64_t next_txid; // of transactions over several shards (logging.h)
};

#define SHARD_CRON_MS 100

struct shard {
    // Other threads' side.
    struct inbox inbox;
    // Held by this shard, see engine_settings; and by what it does inside of a command, which goes
    // by the first all the time.
    _Atomic(const struct settings *) settings, settings_inside;
    stat_u64 connections;       // published
    _Atomic bool is_delivering; // took mail, which may have been a connection, and is not done
    _Atomic uint32_t moving_in; // connections on their way here (handover.h)
    struct mail resume;         // posted by the runner of the meeting this shard is parked in

    // This thread's side, or that of one that stands in (shard_rouse).
    uint32_t id __attribute__((aligned(64)));
    struct shard_group *group;
    struct engine *engine;
    struct keyspace *space;
    struct ring *ring;
    const struct shard_hooks *hooks;
    void *owner;                // the server's worker
    struct inbox_queue backlog; // taken out of the inbox, not run yet
    bool is_parked;             // waits for a meeting to be over, which may be gone already
    bool is_inside;             // in shard_turn_inside: as if parked
    bool is_retrying;           // who waits for what is ready is served when all shards meet
    struct operation *travelling, *travelling_tail; // meetings of this turn, not entered yet
    uint32_t travelling_count;                      // their requests
    struct mail *local_mail, *local_mail_tail;      // to itself
    struct mail *taken_mail; // being delivered, or left by one that stood in; before what comes
    struct operation_pool pool;
    uint32_t in_flight; // operations submitted from here and not finished,
    uint32_t blocked;   // and those of them that wait for somebody to write: no answer is due
    // The log (logging.h).
    struct log *log;               // owned by who made it; NULL: none
    struct image *image;           // of which this shard makes its part (store/image.h), or NULL
    bool is_image_full;            // the writer must catch up first
    int64_t next_slice_us;         // monotonic: no more of it before, if there is something else
    uint64_t saved_count;          // of big values that hooks->saved knows of
    struct held *held, *held_tail; // what waits until it is safe
    struct ending *endings;        // of those whom the meeting that runs here has served
    struct log_record *meeting_record; // left by a meeting's runner, for when this shard goes on
    struct farewell_part *meeting_farewell;
    struct catch_up_part *catch_ups; // to be answered after a look at the connections (catch_up.h)
    struct shard *stand_in;          // whose thread has taken this one's place for now, or NULL
    struct shard **sleepers;         // those that this thread has claimed to wake; an array
    uint32_t sleeper_count;
    int64_t due_ms;      // Unix ms at which it wakes up by itself
    uint32_t spin_us;    // how long it pays to wait awake; adapts
    int64_t now_ms;      // Unix ms; see shard_now_ms
    uint64_t long_ticks; // of a command after which that is looked at again
    uint32_t heard;      // connections that sent something this millisecond
    int64_t cpu_us;      // that the thread had used when it began; 0: not looked at
    uint32_t batch;      // of completions that are worth waiting for (ring_wait)
    bool is_now_stale;
    bool has_more_cron; // housekeeping stopped at its budget
    int64_t swept_ms;   // the millisecond up to which that is done
    int64_t next_cron_ms;
    int64_t next_timer_ms; // Unix ms; INT64_MAX: none
};

void shard_init(struct shard *s, struct shard_group *group, uint32_t id, struct ring *ring,
                const struct shard_hooks *hooks, void *owner);
// What came when nobody ran any more, before shard_destroy: the last logs to be written tell the
// other shards, which may have gone.
void shard_discard_inbox(struct shard *s);
void shard_destroy(struct shard *s);

// One turn: flush, wait up to max_wait_us (-1: until something happens), run what came.
void shard_tick(struct shard *s, int64_t max_wait_us);

// A turn in the midst of a command that takes long: connections are read and written, mail is
// delivered, but nothing is executed on the keyspace, which is the command's, and the command's
// settings stay as they are. Whoever is at work up the stack is left alone (ring_recv.is_held). Not
// nested.
void shard_turn_inside(struct shard *s);

// Unix ms of this turn; read from the clock once after each wait.
int64_t shard_read_clock(struct shard *s);
static inline int64_t shard_now_ms(struct shard *s)
{
    return s->is_now_stale ? shard_read_clock(s) : s->now_ms;
}

// The settings that this shard goes by; valid until it renews them.
static inline const struct settings *shard_settings(const struct shard *s)
{
    // Relaxed: own writes.
    return atomic_load_explicit(__builtin_expect(s->is_inside, 0) ? &s->settings_inside
                                                                  : &s->settings,
                                memory_order_relaxed);
}

// From here on it goes by the newest. Only where nothing is at work that may still look at those
// before: where requests are read, where a command begins, where a turn does.
static inline const struct settings *shard_renew_settings(struct shard *s)
{
    return engine_settings(s->engine,
                           __builtin_expect(s->is_inside, 0) ? &s->settings_inside : &s->settings);
}

// A ctx for this shard's own keyspace, with the newest settings, to be completed with session, db,
// flags and reply.
struct ctx shard_ctx(struct shard *s);

// The keyspace is this shard's to touch: not while it is parked in a meeting, whose runner it
// belongs to, nor inside of a command that takes long.
static inline bool shard_has_keyspace(const struct shard *s)
{
    return !s->is_parked && !s->is_inside;
}

// True if a command whose keys are all here may run now, in place. Runs first what waits in the
// inbox.
bool shard_may_run_in_place(struct shard *s);

// Enters the operation into the inboxes of its parts, in one step; op->home is this shard. op->done
// is called in a later tick or later in this one, never inside this call.
void shard_submit(struct shard *s, struct operation *op);
// Operations that stop all shards wait for others of the same turn (perform.h). The turn has them
// enter; this is for those who submit outside of one.
void shard_enter_travelling(struct shard *s);
// As shard_submit from inside a command: nothing else runs before the caller is done. It has a part
// here, which comes next if what waits concerns only this shard.
void shard_enter(struct shard *s, struct operation *op);

// Has run(shard, arg) run on all shards at one instant in the order of operations.
void shard_enter_all(struct shard *from, void (*run)(struct shard *shard, void *arg), void *arg);

// Nothing waits to be run here, and shard_has_keyspace.
static inline bool shard_is_clear(struct shard *s)
{
    return shard_has_keyspace(s) && !s->backlog.first && !inbox_has_parts(&s->inbox);
}

// After something was put into another shard's inbox: sees to it that it is looked at, at the end
// of this thread's turn. Most often that means to wake it. But a shard that sleeps can be taken the
// place of: if there is little to do and nothing that takes long, this thread does it, and what
// must be sent is sent. So a hop to a shard that has nothing to do costs no thread's wake-up.
// What has entered the inbox comes to the end of the backlog.
void shard_take_inbox(struct shard *s);

// `from`: the calling thread's shard, or NULL.
void shard_rouse(struct shard *from, struct shard *other);
// Wakes all that this thread has yet to see to: it does something now that may take long.
void shard_wake_sleepers(struct shard *s);

// The place of another shard, if it sleeps and nothing keeps it from running commands now: they run
// there as at home, and are done when its place is given back. NULL: it is awake, has a snapshot to
// see to, or a log and these commands write.
struct shard *shard_take_place(struct shard *s, uint32_t id, bool writes);
void shard_give_place_back(struct shard *s, struct shard *other);

// Puts mail into another shard's (or the own) inbox and wakes it if need be. `from`: the calling
// thread's shard, or NULL.
void shard_post(struct shard *from, struct shard *to, struct mail *mail);
