// SPDX-License-Identifier: BSD-3-Clause
#include "shard/fanout.h"

#include "base/hash.h"
#include "base/mem.h"
#include "commands/scan.h"
#include "engine/settings.h"

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
    default: return ROUTE_SPLIT;
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
        call->route = ROUTE_ONE;
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
    p->first_key = NULL;
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

static void set_add_call(const struct engine *e, const struct call *call, struct shard_set *set)
{
    if (call->route == ROUTE_HOME) return;
    if (call->route == ROUTE_ONE)
        set->has[call->shard] = true;
    else if (concerns_its_keys(e, &call->piece))
        set_add_keys(e, &call->piece, set);
    else
        for (uint32_t i = 0; i < e->shard_count; i++) set->has[i] = true;
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
    p->argv = operation_alloc(&s->pool, op, (size_t)argc * sizeof p->argv[0]);
    if (r->whole.blobs) p->blobs = operation_alloc(&s->pool, op, (size_t)argc * sizeof p->blobs[0]);
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

static void copy_args(struct shard *s, struct operation *op, struct piece *to,
                      const struct piece *from)
{
    *to = *from;
    to->next = NULL;
    to->argv = operation_alloc(&s->pool, op, (size_t)from->argc * sizeof to->argv[0]);
    memcpy(to->argv, from->argv, (size_t)from->argc * sizeof to->argv[0]);
}

static void add_request(struct shard *s, struct operation *op, const struct ctx *op_ctx,
                        struct request *r, const struct call *call, const struct shard_set *set)
{
    copy_args(s, op, &r->whole, &call->piece);
    if (call->route == ROUTE_HOME) {
        struct ctx ctx = *op_ctx;
        ctx.reply = &op->local;
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

struct operation *fanout_operation(struct shard *s, const struct ctx *op_ctx, struct call *calls,
                                   uint32_t count)
{
    struct shard_set set;
    set.count = 0;
    memset(set.has, 0, s->engine->shard_count * sizeof set.has[0]);
    struct operation *op = operation_new(&s->pool);
    op->kind = calls[0].route == ROUTE_MEETING ? OPERATION_MEETING : OPERATION_BATCH;
    op->home = s->id;
    op->session = op_ctx->session;
    op->db = op_ctx->db;
    op->ctx_flags = op_ctx->flags;
    op->resp = op_ctx->reply->resp;
    reply_init(&op->local, op->resp);
    for (uint32_t i = 0; i < count; i++) set_add_call(s->engine, &calls[i], &set);
    set_finish(s->engine, &set);
    uint32_t room = REPLY_ROOM_MIN + count * REPLY_ROOM_PIECE;
    operation_set_parts(&s->pool, op, set.shards, set.count, MIN(room, REPLY_ROOM_MAX));
    op->requests = operation_alloc(&s->pool, op, count * sizeof op->requests[0]);
    op->request_count = count;
    for (uint32_t i = 0; i < count; i++)
        add_request(s, op, op_ctx, &op->requests[i], &calls[i], &set);
    return op;
}
