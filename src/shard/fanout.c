// SPDX-License-Identifier: BSD-3-Clause
#include "shard/fanout.h"

#include "base/hash.h"
#include "base/mem.h"
#include "commands/scan.h"
#include "engine/interest.h"
#include "engine/settings.h"
#include "shard/execute.h"
#include "shard/logging.h"

#define SHARDS_MAX       SETTINGS_THREADS_MAX
#define FEW_KEYS         64  // positions kept on the stack
#define REPLY_ROOM_MIN   256 // bytes lent to a part for its replies,
#define REPLY_ROOM_PIECE 96  // growing with the number of its pieces
#define REPLY_ROOM_MAX   4096

// --- routes --------------------------------------------------------------------------------------

// The common case: exactly one key, at a fixed place.
static bool has_one_key(const struct command *c)
{
    const struct key_spec *k = &c->keys[0];
    return k->flags && !k->keyword && !k->is_keynum && k->last == 0 && !c->keys[1].flags &&
           (!c->get_keys || (k->flags & KEY_VARIABLE_FLAGS)) && // those only tell the flags
           !(k->flags & KEY_NOT_KEY);
}

static void set_first_key(struct piece *p, struct slice key)
{
    p->first_key = key.ptr;
    p->first_hash = hash_bytes(key);
}

// The commands without keys.
static enum route route_keyless(const struct engine *e, struct call *call)
{
    const struct command *c = call->piece.cmd;
    switch (command_span_of(e, c, call->piece.argc, call->piece.argv)) {
    case SPAN_KEYS:
        return (c->flags & CMD_FAST) && !(c->flags & CMD_SESSION) ? ROUTE_HOME : ROUTE_QUIET;
    case SPAN_CURSOR:
        call->shard = scan_cursor_shard(call->piece.argv[1], e->shard_count);
        return scan_cursor_is_start(call->piece.argv[1]) ? ROUTE_MEETING : ROUTE_ONE;
    case SPAN_MEET_ALL: return ROUTE_MEETING;
    case SPAN_HOME: return ROUTE_ONE;
    case SPAN_SESSION:
        call->is_subscribing = e->shard_count > 1 && (c->flags & CMD_PUBSUB);
        call->is_quiet = !call->is_subscribing;
        if (e->shard_count == 1) return ROUTE_QUIET;
        // Who publishes between the instants at which two shards learn of a subscriber would leave
        // a gap in what that one reads: they meet.
        return c->flags & CMD_PUBSUB ? ROUTE_MEETING : ROUTE_SPLIT;
    default: return c->flags & CMD_MEETS ? ROUTE_MEETING : ROUTE_SPLIT;
    }
}

static int *key_positions(const struct piece *p, int *few, int *count)
{
    *count = command_keys(p->cmd, p->argc, p->argv, few, NULL, FEW_KEYS);
    if (*count <= FEW_KEYS) return few;
    int *many = mem_alloc((size_t)*count * sizeof many[0]);
    command_keys(p->cmd, p->argc, p->argv, many, NULL, *count);
    return many;
}

static void route_many_keys(const struct engine *e, uint32_t home, struct call *call)
{
    struct piece *p = &call->piece;
    int few[FEW_KEYS], count;
    int *positions = key_positions(p, few, &count);
    int step = p->cmd->keys[0].step;
    bool is_cut = count > 0 && step > 1 && (p->argc - positions[0]) % step; // MSET key value key
    if (count <= 0 || is_cut) { // the arguments do not fit: the handler finds the error
        if (positions != few) mem_free(positions);
        // No keys at all, of a command that may do without: EVAL, which finds its own.
        bool is_roaming =
            count == 0 && command_span_of(e, p->cmd, p->argc, p->argv) == SPAN_MEET_ALL;
        call->route = is_roaming ? ROUTE_MEETING : ROUTE_ONE;
        call->shard = home;
        return;
    }
    enum command_span span = command_span_of(e, p->cmd, p->argc, p->argv);
    set_first_key(p, p->argv[positions[0]]);
    call->route = span == SPAN_MEET_ALL ? ROUTE_MEETING : ROUTE_ONE;
    call->shard = engine_shard_of(e, p->argv[positions[0]]);
    for (int i = 1; i < count && call->route == ROUTE_ONE; i++)
        if (engine_shard_of(e, p->argv[positions[i]]) != call->shard)
            call->route = span == SPAN_KEYS ? ROUTE_MEETING : ROUTE_SPLIT;
    if (positions != few) mem_free(positions);
}

void fanout_route(const struct engine *e, uint32_t home, struct call *call)
{
    struct piece *p = &call->piece;
    call->shard = home;
    call->is_quiet = call->is_exec = call->is_subscribing = call->is_silent = false;
    call->may_block = p->cmd && p->cmd->serve;
    p->first_key = call->queued_key = NULL;
    if (UNLIKELY(!p->cmd)) {
        call->route = ROUTE_HOME;
    } else if (LIKELY(has_one_key(p->cmd))) {
        struct slice key = p->argv[p->cmd->keys[0].begin];
        set_first_key(p, key);
        call->route = ROUTE_ONE;
        call->shard = engine_shard_of(e, key);
    } else if (!command_has_keys(p->cmd)) {
        call->route = route_keyless(e, call);
    } else {
        route_many_keys(e, home, call);
    }
    if (call->route == ROUTE_QUIET && call->may_block) call->route = ROUTE_ONE; // WAIT
    if (call->route == ROUTE_QUIET) call->is_quiet = true;
    // With one shard there is nothing to split or to meet.
    if (e->shard_count == 1 && call->route > ROUTE_ONE) call->route = ROUTE_ONE;
}

// --- building ------------------------------------------------------------------------------------

// Which shards an operation concerns, in ascending order, and which part each of them is.
struct shard_set {
    uint32_t shards[SHARDS_MAX], count;
    uint32_t part_of[SHARDS_MAX]; // by shard
    bool has[SHARDS_MAX];
};

static void set_add_keys(const struct engine *e, const struct piece *p, struct shard_set *set)
{
    int few[FEW_KEYS], count;
    int *positions = key_positions(p, few, &count);
    for (int i = 0; i < count; i++) set->has[engine_shard_of(e, p->argv[positions[i]])] = true;
    if (positions != few) mem_free(positions);
}

static bool concerns_its_keys(const struct engine *e, const struct piece *p)
{
    return command_has_keys(p->cmd) &&
           command_span_of(e, p->cmd, p->argc, p->argv) != SPAN_MEET_ALL;
}

static void set_add_all(const struct engine *e, struct shard_set *set)
{
    for (uint32_t i = 0; i < e->shard_count; i++) set->has[i] = true;
}

static void set_add_call(const struct engine *e, const struct call *call, struct shard_set *set)
{
    if (call->route == ROUTE_HOME || call->route == ROUTE_QUIET) return;
    if (call->route == ROUTE_ONE)
        set->has[call->shard] = true;
    else if (concerns_its_keys(e, &call->piece))
        set_add_keys(e, &call->piece, set);
    else
        set_add_all(e, set);
}

static void set_finish(const struct engine *e, struct shard_set *set)
{
    for (uint32_t i = 0; i < e->shard_count; i++)
        if (set->has[i]) {
            set->part_of[i] = set->count;
            set->shards[set->count++] = i;
        }
}

// The arguments that go with each key: MSET's step is 2, all others' 1.
static int key_step(const struct command *c)
{
    return c->keys[0].step > 1 ? c->keys[0].step : 1;
}

static void count_keys(const struct engine *e, struct request *r, const int *positions,
                       uint32_t *keys_of)
{
    for (uint32_t i = 0; i < r->key_count; i++)
        keys_of[engine_shard_of(e, r->whole.argv[positions[i]])]++;
}

static void add_piece(struct shard *s, struct operation *op, struct request *r, uint32_t part,
                      int argc)
{
    struct piece *p = &r->pieces[r->piece_count];
    r->pieces_part[r->piece_count++] = part;
    *p = (struct piece){.cmd = r->whole.cmd, .argc = 0, .ctx_flags = CTX_IS_PART};
    p->argv = operation_room(&s->pool, op, (size_t)argc * sizeof p->argv[0]);
    if (r->whole.blobs) p->blobs = operation_room(&s->pool, op, (size_t)argc * sizeof p->blobs[0]);
    part_add(&op->parts[part], p);
}

static void piece_add_arg(struct piece *p, const struct request *r, int arg)
{
    if (p->blobs) p->blobs[p->argc] = r->whole.blobs[arg];
    p->argv[p->argc++] = r->whole.argv[arg];
}

// A command with keys on several shards: each gets the command's name and its own keys.
static void split_keys(struct shard *s, struct operation *op, struct request *r,
                       const struct shard_set *set)
{
    const struct engine *e = s->engine;
    uint32_t keys_of[SHARDS_MAX] = {0}, piece_of[SHARDS_MAX];
    int few[FEW_KEYS], count, step = key_step(r->whole.cmd);
    int *positions = key_positions(&r->whole, few, &count);
    r->key_count = (uint32_t)count;
    r->key_owner = operation_alloc(&s->pool, op, r->key_count * sizeof r->key_owner[0]);
    count_keys(e, r, positions, keys_of);
    for (uint32_t i = 0; i < set->count; i++) {
        uint32_t shard = set->shards[i];
        if (!keys_of[shard]) continue;
        piece_of[shard] = r->piece_count;
        add_piece(s, op, r, i, 1 + (int)keys_of[shard] * step);
        piece_add_arg(&r->pieces[piece_of[shard]], r, 0);
    }
    for (int i = 0; i < count; i++) {
        uint32_t owner = piece_of[engine_shard_of(e, r->whole.argv[positions[i]])];
        struct piece *p = &r->pieces[owner];
        r->key_owner[i] = owner;
        if (p->argc == 1) set_first_key(p, r->whole.argv[positions[i]]);
        for (int j = 0; j < step; j++) piece_add_arg(p, r, positions[i] + j);
    }
    if (positions != few) mem_free(positions);
}

// A command without keys: every shard gets all of it.
static void split_everywhere(struct shard *s, struct operation *op, struct request *r)
{
    for (uint32_t i = 0; i < op->part_count; i++) {
        add_piece(s, op, r, i, r->whole.argc);
        for (int a = 0; a < r->whole.argc; a++) piece_add_arg(&r->pieces[i], r, a);
    }
}

// What was queued lies in the operation's memory already.
static void copy_args(struct shard *s, struct operation *op, struct piece *to,
                      const struct piece *from)
{
    *to = *from;
    to->next = NULL;
    if (op->is_exec) return;
    to->argv = operation_room(&s->pool, op, (size_t)from->argc * sizeof to->argv[0]);
    memcpy(to->argv, from->argv, (size_t)from->argc * sizeof to->argv[0]);
}

static void add_request(struct shard *s, struct operation *op, const struct ctx *op_ctx,
                        struct request *r, const struct call *call, const struct shard_set *set)
{
    copy_args(s, op, &r->whole, &call->piece);
    if (call->route == ROUTE_HOME) {
        struct ctx ctx = *op_ctx;
        ctx.reply = &op->local;
        if (!op->local.head) operation_lend_room(&s->pool, op, &op->local, REPLY_ROOM_MIN);
        ctx.flags |= CTX_NOTE_LATER;
        shard_execute(s, &ctx, &r->whole, true);
        r->local_bytes = r->whole.reply_bytes;
    } else if (call->route == ROUTE_SPLIT) {
        r->pieces = operation_alloc(&s->pool, op, set->count * sizeof r->pieces[0]);
        r->pieces_part = operation_alloc(&s->pool, op, set->count * sizeof r->pieces_part[0]);
        if (command_has_keys(r->whole.cmd))
            split_keys(s, op, r, set);
        else
            split_everywhere(s, op, r);
    } else if (call->route == ROUTE_ONE) {
        r->piece_count = 1;
        r->part = set->part_of[call->shard];
        part_add(&op->parts[r->part], &r->whole);
    } else {
        r->piece_count = 1; // a meeting: its runner executes it
    }
}

static struct operation *init_operation(struct operation *op, struct shard *s,
                                        const struct ctx *op_ctx, enum operation_kind kind)
{
    op->kind = kind;
    op->home = s->id;
    op->session = op_ctx->session;
    op->db = op_ctx->db;
    op->ctx_flags = op_ctx->flags;
    op->resp = op_ctx->reply->resp;
    reply_init(&op->local, op->resp);
    return op;
}

static void set_init(const struct engine *e, struct shard_set *set)
{
    set->count = 0;
    memset(set->has, 0, e->shard_count * sizeof set->has[0]);
}

static void add_tx(struct shard *s, struct operation *op, struct log_tx *tx, uint32_t most)
{
    if (!op->txs) op->txs = operation_alloc(&s->pool, op, most * sizeof op->txs[0]);
    op->txs[op->tx_count++] = tx;
}

// What a split command writes on several shards is one unit for their logs.
static void log_as_one(struct shard *s, struct operation *op, struct request *r, uint32_t most)
{
    if (r->piece_count < 2 || !(r->whole.cmd->flags & CMD_WRITE)) return;
    struct log_tx *tx = logging_split(r->piece_count);
    for (uint32_t i = 0; i < r->piece_count; i++) {
        r->pieces[i].tx = tx;
        r->pieces[i].tx_part = i;
    }
    add_tx(s, op, tx, most);
}

// Scripts say of themselves that they might.
static bool may_write(const struct command *c)
{
    return c->flags & (CMD_WRITE | CMD_MAY_REPLICATE);
}

// So is what a transaction writes.
static void log_exec_as_one(struct shard *s, struct operation *op)
{
    uint32_t count = 0;
    bool writes = false;
    for (uint32_t i = 0; i < op->request_count; i++)
        writes |= op->requests[i].whole.cmd && may_write(op->requests[i].whole.cmd);
    for (uint32_t i = 0; i < op->part_count; i++) count += op->parts[i].last != NULL;
    if (!writes || count < 2) return;
    struct log_tx *tx = logging_split(count);
    count = 0;
    for (uint32_t i = 0; i < op->part_count; i++) {
        struct piece *last = op->parts[i].last;
        if (!last) continue;
        last->tx = tx;
        last->tx_part = count++;
    }
    add_tx(s, op, tx, 1);
}

// Small replies lie in the operation's own memory. A meeting's are all in the first part.
static void lend_rooms(struct shard *s, struct operation *op)
{
    bool is_meeting = op->kind == OPERATION_MEETING;
    for (uint32_t i = 0; i < (is_meeting ? 1 : op->part_count); i++) {
        uint32_t room = REPLY_ROOM_MIN + (is_meeting ? op->request_count * REPLY_ROOM_PIECE : 0);
        for (const struct piece *p = op->parts[i].first; p && room < REPLY_ROOM_MAX; p = p->next)
            room += REPLY_ROOM_PIECE;
        operation_lend_room(&s->pool, op, &op->parts[i].reply, MIN(room, REPLY_ROOM_MAX));
    }
}

static void add_requests(struct shard *s, struct operation *op, const struct ctx *op_ctx,
                         const struct call *calls, uint32_t count, struct shard_set *set)
{
    set_finish(s->engine, set);
    bool is_logged = s->space->effects && op->kind == OPERATION_BATCH && !op->is_exec;
    operation_set_parts(&s->pool, op, set->shards, set->count);
    op->requests = operation_alloc(&s->pool, op, count * sizeof op->requests[0]);
    op->request_count = count;
    op->is_whole = op->kind == OPERATION_MEETING;
    for (uint32_t i = 0; i < count; i++) {
        const struct command *cmd = calls[i].piece.cmd;
        add_request(s, op, op_ctx, &op->requests[i], &calls[i], set);
        bool is_split = op->requests[i].pieces != NULL;
        op->runs_scripts |= cmd && (cmd->acl & ACL_SCRIPTING);
        op->is_whole |= (is_split || op->is_exec) && cmd && !(cmd->flags & CMD_READONLY);
        if (UNLIKELY(is_logged) && is_split) log_as_one(s, op, &op->requests[i], count);
    }
    op->is_whole &= op->part_count > 1;
    if (op->part_count) lend_rooms(s, op);
}

struct operation *fanout_operation(struct shard *s, const struct ctx *op_ctx, struct call *calls,
                                   uint32_t count)
{
    struct shard_set set;
    set_init(s->engine, &set);
    struct operation *op =
        init_operation(operation_new(&s->pool), s, op_ctx,
                       calls[0].route == ROUTE_MEETING ? OPERATION_MEETING : OPERATION_BATCH);
    op->may_block = calls[0].may_block;
    if (calls[0].is_quiet || calls[0].is_subscribing) op->runner = s->id; // it changes the session
    if (op->may_block) op->ctx_flags |= CTX_MAY_BLOCK;
    for (uint32_t i = 0; i < count; i++) set_add_call(s->engine, &calls[i], &set);
    add_requests(s, op, op_ctx, calls, count, &set);
    return op;
}

// --- transactions --------------------------------------------------------------------------------

// Does it change what the commands behind it are to the server: their database, the version of
// their replies, the settings, who subscribes, whether what they read is tracked?
static bool changes_session(const struct call *call)
{
    static const char *const names[] = {"select", "hello", "client|caching", "config|set"};
    const struct command *c = call->piece.cmd;
    for (size_t i = 0; call->route == ROUTE_QUIET && i < ARRAY_LEN(names); i++)
        if (slice_is(slice_of(c->full_name), names[i])) return true;
    return c->span == SPAN_SESSION;
}

static bool follows_session(const struct transaction *t)
{
    for (uint32_t i = 0; t->is_quiet && i < t->count; i++)
        if (changes_session(&t->calls[i])) return true;
    return false;
}

static void exec_shards(const struct engine *e, const struct transaction *t, struct shard_set *set)
{
    set_init(e, set);
    for (uint32_t i = 0; i < t->count; i++) set_add_call(e, &t->calls[i], set);
    for (uint32_t i = 0; i < e->shard_count && t->watch; i++) set->has[i] |= t->watched_shards[i];
}

// May it serve who waits for keys of several shards?
static bool may_serve_spread(const struct engine *e, const struct transaction *t)
{
    // Relaxed: whoever waited before EXEC was sent is counted; others wait at the same time.
    if (LIKELY(!atomic_load_explicit(&e->spread_waiters, memory_order_relaxed))) return false;
    for (uint32_t i = 0; i < t->count; i++)
        if (may_write(t->calls[i].piece.cmd)) return true;
    return false;
}

static bool must_meet(const struct engine *e, const struct transaction *t)
{
    if (t->watch || follows_session(t)) return true;
    for (uint32_t i = 0; i < t->count; i++)
        if (t->calls[i].route == ROUTE_MEETING) return true;
    return may_serve_spread(e, t);
}

enum exec_route fanout_route_exec(const struct engine *e, uint32_t home,
                                  const struct transaction *t)
{
    struct shard_set set;
    if (e->shard_count == 1) return EXEC_HOME;
    exec_shards(e, t, &set);
    bool is_home = true;
    uint32_t count = 0;
    for (uint32_t i = 0; i < e->shard_count; i++) {
        count += set.has[i];
        is_home &= !set.has[i] || i == home;
    }
    if (is_home) return EXEC_HOME;
    if (count == 1 && !t->is_quiet) return EXEC_BATCH;
    return must_meet(e, t) ? EXEC_MEETING : EXEC_BATCH;
}

void fanout_route_queued(const struct engine *e, uint32_t home, struct transaction *t)
{
    t->is_quiet = false;
    for (uint32_t i = 0; i < t->count; i++) {
        struct call *call = &t->calls[i];
        if (LIKELY(call->is_routed)) continue;
        fanout_route(e, home, call);
        t->is_quiet |= call->is_quiet || call->is_subscribing;
    }
}

// A command that asks the server rather than the keyspace (INFO, CONFIG) runs in the home shard's
// part.
static void route_to_home(struct shard *s, struct call *call)
{
    if (call->route != ROUTE_QUIET) return;
    call->route = ROUTE_ONE;
    call->shard = s->id;
}

// Nobody who waits is served before the whole part is done.
static void mark_units(struct operation *op)
{
    for (uint32_t i = 0; i < op->part_count; i++)
        for (struct piece *p = op->parts[i].first; p; p = p->next) {
            p->ctx_flags |= CTX_IN_EXEC;
            if (p->next) p->ctx_flags |= CTX_UNIT_GOES_ON;
        }
}

struct operation *fanout_exec(struct shard *s, const struct ctx *op_ctx, struct transaction *t,
                              enum exec_route route)
{
    struct shard_set set;
    // Each command with what the one before has made of the session: one after the other.
    bool is_meeting = route == EXEC_MEETING || follows_session(t);
    struct operation *op = init_operation(t->op ? t->op : operation_new(&s->pool), s, op_ctx,
                                          is_meeting ? OPERATION_MEETING : OPERATION_BATCH);
    op->is_exec = true;
    op->exec = t->exec;
    op->ctx_flags |= CTX_IN_EXEC;
    op->watch = t->watch;
    // Relaxed: the connection holds one.
    if (t->watch) atomic_fetch_add_explicit(&t->watch->refs, 1, memory_order_relaxed);
    exec_shards(s->engine, t, &set);
    // Then nobody whom it serves needs another meeting, and those served are in their order.
    if (is_meeting && may_serve_spread(s->engine, t)) set_add_all(s->engine, &set);
    op->follows_session = follows_session(t);
    for (uint32_t i = 0; i < t->count && t->is_quiet && !is_meeting; i++)
        route_to_home(s, &t->calls[i]);
    if (t->is_quiet) {
        set.has[s->id] = true;
        op->runner = s->id;
    }
    for (uint32_t i = 0; i < t->count && is_meeting; i++) t->calls[i].route = ROUTE_MEETING;
    add_requests(s, op, op_ctx, t->calls, t->count, &set);
    if (!is_meeting) mark_units(op);
    if (!is_meeting && UNLIKELY(s->space->effects != NULL)) log_exec_as_one(s, op);
    return op;
}
