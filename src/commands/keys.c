// SPDX-License-Identifier: BSD-3-Clause
//
// keys: commands on keys of any type: whether they exist, deleting, renaming, copying and moving
// them.
//
// A look-up may remove an expired key, and with it the entry that an earlier look-up returned. So a
// command with two keys looks both up and then asks for the entry again that it goes on with
// (ctx_peek: no expiry can fall in between, a command has one time).
//
// An overwritten destination is unlinked, not deleted, whatever lazyfree-lazy-server-del says:
// nobody can see the difference but the clients that would wait. The same goes for DEL.
#include "commands/batch.h"
#include "commands/families.h"
#include "engine/engine.h"
#include "engine/settings.h"

// --- many keys -----------------------------------------------------------------------------------

static void del(struct ctx *ctx)
{
    struct batch batch;
    int64_t deleted = 0;
    batch_start(&batch, ctx, 1, 1);
    for (int i; (i = batch_next(&batch));) {
        struct slice key = ctx->argv[i];
        struct entry *e = ctx_peek(ctx, key);
        if (!e) continue;
        ctx_delete(ctx, key, e);
        ctx_commit(ctx, key, EVENT_GENERIC, "del");
        deleted++;
    }
    reply_int(ctx->reply, deleted);
}

static void exists(struct ctx *ctx)
{
    struct batch batch;
    int64_t found = 0;
    batch_start(&batch, ctx, 1, 1);
    for (int i; (i = batch_next(&batch));) found += ctx_look(ctx, ctx->argv[i]) != NULL;
    reply_int(ctx->reply, found);
}

static void touch(struct ctx *ctx)
{
    struct batch batch;
    int64_t found = 0;
    ctx->flags &=
        ~(uint32_t)CTX_NO_TOUCH; // whoever says TOUCH means it, even after CLIENT NO-TOUCH
    batch_start(&batch, ctx, 1, 1);
    for (int i; (i = batch_next(&batch));) found += ctx_read(ctx, ctx->argv[i]) != NULL;
    reply_int(ctx->reply, found);
}

static void type(struct ctx *ctx)
{
    const struct entry *e = ctx_look(ctx, ctx->argv[1]);
    reply_simple(ctx->reply, e ? object_type_name(e->type) : "none");
}

// --- RENAME --------------------------------------------------------------------------------------

static void rename_key(struct ctx *ctx, bool is_nx)
{
    struct slice from = ctx->argv[1], to = ctx->argv[2];
    if (!ctx_write(ctx, from)) {
        reply_error(ctx->reply, ERR_NO_SUCH_KEY);
        return;
    }
    bool is_same = slice_eq(from, to);
    struct entry *there = is_same ? NULL : ctx_write(ctx, to);
    if (is_nx && (is_same || there)) {
        reply_int(ctx->reply, 0);
        return;
    }
    if (!is_same) {
        if (there) ctx_delete(ctx, to, there);
        ctx_move(ctx, from, ctx_peek(ctx, from), ctx->db, to);
        ctx_commit(ctx, from, EVENT_GENERIC, "rename_from");
        ctx_commit(ctx, to, EVENT_GENERIC, "rename_to");
    }
    if (is_nx)
        reply_int(ctx->reply, 1);
    else
        reply_ok(ctx->reply);
}

static void rename_(struct ctx *ctx) // not `rename`: the C library's
{
    rename_key(ctx, false);
}

static void renamenx(struct ctx *ctx)
{
    rename_key(ctx, true);
}

// --- COPY, MOVE ----------------------------------------------------------------------------------

// Reads a database index; replies the error and returns false if there is no such database.
static bool parse_db(struct ctx *ctx, int arg, uint32_t *db)
{
    int64_t index;
    if (!ctx_arg_range(ctx, arg, INT32_MIN, INT32_MAX, &index, NULL)) return false;
    if (index >= 0 && index < ctx->space->db_count) {
        *db = (uint32_t)index;
        return true;
    }
    reply_error(ctx->reply, ERR_DB_RANGE);
    return false;
}

static bool parse_copy(struct ctx *ctx, uint32_t *to_db, bool *is_replace)
{
    *to_db = ctx->db;
    *is_replace = false;
    for (int i = 3; i < ctx->argc; i++) {
        if (ctx_arg_is(ctx, i, "REPLACE")) {
            *is_replace = true;
        } else if (ctx_arg_is(ctx, i, "DB") && i + 1 < ctx->argc) {
            if (!parse_db(ctx, ++i, to_db)) return false;
        } else {
            reply_error(ctx->reply, ERR_SYNTAX);
            return false;
        }
    }
    return true;
}

static void unlink_in(struct ctx *ctx, uint32_t db, struct slice key, struct entry *e)
{
    uint32_t selected = ctx->db;
    ctx->db = db;
    ctx_delete(ctx, key, e);
    ctx->db = selected;
}

static void copy(struct ctx *ctx)
{
    struct slice from = ctx->argv[1], to = ctx->argv[2];
    uint32_t to_db;
    bool is_replace;
    if (!parse_copy(ctx, &to_db, &is_replace)) return;
    if (to_db == ctx->db && slice_eq(from, to)) {
        reply_error(ctx->reply, ERR_SAME_OBJECT);
        return;
    }
    struct entry *there = NULL;
    bool can_copy = ctx_read(ctx, from);
    if (can_copy) {
        there = ctx_peek_db(ctx, to_db, to);
        can_copy = !there || is_replace;
    }
    if (can_copy) {
        if (there) unlink_in(ctx, to_db, to, there);
        ctx_copy(ctx, ctx_peek(ctx, from), to_db, to);
        ctx_commit_db(ctx, to_db, to, EVENT_GENERIC, "copy_to");
    }
    reply_int(ctx->reply, can_copy);
}

static void move(struct ctx *ctx)
{
    struct slice key = ctx->argv[1];
    uint32_t to_db;
    if (!parse_db(ctx, 2, &to_db)) return;
    if (to_db == ctx->db) {
        reply_error(ctx->reply, ERR_SAME_OBJECT);
        return;
    }
    bool can_move = ctx_write(ctx, key) && !ctx_peek_db(ctx, to_db, key);
    if (can_move) {
        ctx_move(ctx, key, ctx_peek(ctx, key), to_db, key);
        ctx_commit(ctx, key, EVENT_GENERIC, "move_from");
        ctx_commit_db(ctx, to_db, key, EVENT_GENERIC, "move_to");
    }
    reply_int(ctx->reply, can_move);
}

// --- declarations --------------------------------------------------------------------------------

// clang-format off
const struct command commands_keys[] = {
    {.name = "del", .handler = del, .arity = -2, .flags = CMD_WRITE, .acl = ACL_KEYSPACE,
     .span = SPAN_SUM, .keys = {KEYS(1, -1, 1, KEY_RM | KEY_DELETE)}, .group = "generic",
     .since = "1.0.0", .complexity = "O(N) with N the number of keys; what is big is freed later",
     .summary = "Deletes one or more keys.", .args = "key...",
     .tips = "request_policy:multi_shard response_policy:agg_sum"},

    {.name = "unlink", .handler = del, .arity = -2, .flags = CMD_WRITE | CMD_FAST,
     .acl = ACL_KEYSPACE, .span = SPAN_SUM, .keys = {KEYS(1, -1, 1, KEY_RM | KEY_DELETE)},
     .group = "generic", .since = "4.0.0",
     .complexity = "O(N) with N the number of keys; what is big is freed later",
     .summary = "Deletes one or more keys and frees their values later.", .args = "key...",
     .tips = "request_policy:multi_shard response_policy:agg_sum"},

    {.name = "exists", .handler = exists, .arity = -2, .flags = CMD_READONLY | CMD_FAST,
     .acl = ACL_KEYSPACE, .span = SPAN_SUM, .keys = {KEYS(1, -1, 1, KEY_RO)}, .group = "generic",
     .since = "1.0.0", .complexity = "O(N) with N the number of keys",
     .summary = "Counts how many of the keys exist; one that is named twice counts twice.",
     .args = "key...", .history = "3.0.3: Accepts several keys.",
     .tips = "request_policy:multi_shard response_policy:agg_sum"},

    {.name = "touch", .handler = touch, .arity = -2, .flags = CMD_READONLY | CMD_FAST,
     .acl = ACL_KEYSPACE, .span = SPAN_SUM, .keys = {KEYS(1, -1, 1, KEY_RO)}, .group = "generic",
     .since = "3.2.1", .complexity = "O(N) with N the number of keys",
     .summary = "Marks keys as just used and counts how many of them exist.", .args = "key...",
     .tips = "request_policy:multi_shard response_policy:agg_sum"},

    {.name = "type", .handler = type, .arity = 2, .flags = CMD_READONLY | CMD_FAST,
     .acl = ACL_KEYSPACE, .keys = {KEYS(1, 1, 1, KEY_RO)}, .group = "generic", .since = "1.0.0",
     .complexity = "O(1)", .summary = "Returns the type of the value at a key.", .args = "key"},

    {.name = "rename", .handler = rename_, .arity = 3, .flags = CMD_WRITE, .acl = ACL_KEYSPACE,
     .keys = {KEYS(1, 1, 1, KEY_RW | KEY_ACCESS | KEY_DELETE), KEYS(2, 2, 1, KEY_OW | KEY_UPDATE)},
     .group = "generic", .since = "1.0.0", .complexity = "O(1)",
     .summary = "Gives a key another name, in place of the key that had it.",
     .args = "key newkey"},

    {.name = "renamenx", .handler = renamenx, .arity = 3, .flags = CMD_WRITE | CMD_FAST,
     .acl = ACL_KEYSPACE,
     .keys = {KEYS(1, 1, 1, KEY_RW | KEY_ACCESS | KEY_DELETE), KEYS(2, 2, 1, KEY_OW | KEY_INSERT)},
     .group = "generic", .since = "1.0.0", .complexity = "O(1)",
     .summary = "Gives a key another name if no key has it.", .args = "key newkey",
     .history = "3.2.0: Two equal names are no error any more."},

    {.name = "copy", .handler = copy, .arity = -3, .flags = CMD_WRITE | CMD_DENYOOM,
     .acl = ACL_KEYSPACE,
     .keys = {KEYS(1, 1, 1, KEY_RO | KEY_ACCESS), KEYS(2, 2, 1, KEY_OW | KEY_UPDATE)},
     .group = "generic", .since = "6.2.0",
     .complexity = "O(1) for strings, O(N) with N the number of elements for other values",
     .summary = "Copies the value and the expiry of a key to another.",
     .args = "source destination [DB destination-db] [REPLACE]"},

    {.name = "move", .handler = move, .arity = 3, .flags = CMD_WRITE | CMD_FAST,
     .acl = ACL_KEYSPACE, .keys = {KEYS(1, 1, 1, KEY_RW | KEY_ACCESS | KEY_UPDATE)},
     .group = "generic", .since = "1.0.0", .complexity = "O(1)",
     .summary = "Moves a key to another database.", .args = "key db"},

    {0},
};
// clang-format on
