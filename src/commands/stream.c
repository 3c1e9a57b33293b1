// SPDX-License-Identifier: BSD-3-Clause
//
// stream: commands on a stream's entries. Reading that may block is in stream_read.c, consumer
// groups in stream_group.c and stream_pending.c, XINFO in stream_info.c.
//
// XADD with an id that does not fit changes nothing, not even that an empty stream appears.
#include "base/assert.h"
#include "base/mem.h"
#include "commands/families.h"
#include "commands/stream_arg.h"
#include "commands/stream_effect.h"
#include "engine/settings.h"

#define TRIM_NODES_DEFAULT   100     // LIMIT of ~ trimming, in full nodes
#define TRIM_ENTRIES_DEFAULT 10000   // the same where nodes are not limited by entries
#define TRIM_ENTRIES_MAX     1000000 // no default goes beyond

static struct slice key_of(const struct ctx *ctx)
{
    return ctx->argv[1];
}

// --- arguments of XADD and XTRIM -----------------------------------------------------------------

struct options {
    struct stream_id id;
    bool has_id, has_seq, is_nomkstream;
    bool has_trim, has_limit;
    struct stream_trim trim;
    int64_t limit;
};

// MAXLEN or MINID at *i, with the sign and the threshold behind it; *i then is at the last of them.
static bool parse_strategy(struct ctx *ctx, int *i, bool is_by_id, struct options *o)
{
    if (o->has_trim)
        return stream_fail(ctx,
                           "ERR syntax error, MAXLEN and MINID options at the same time are not "
                           "compatible");
    o->has_trim = true;
    o->trim.is_by_id = is_by_id;
    bool has_more = ctx->argc - *i > 2;
    o->trim.is_approximate = has_more && slice_eq(ctx->argv[*i + 1], SLICE("~"));
    if (has_more && (o->trim.is_approximate || slice_eq(ctx->argv[*i + 1], SLICE("=")))) ++*i;
    ++*i;
    if (is_by_id) return stream_arg_id(ctx, *i, &o->trim.min_id);
    int64_t len;
    if (!ctx_arg_i64(ctx, *i, &len, NULL)) return false;
    if (len < 0) return stream_fail(ctx, "ERR The MAXLEN argument must be >= 0.");
    o->trim.max_len = (uint64_t)len;
    return true;
}

static bool parse_limit(struct ctx *ctx, int arg, struct options *o)
{
    if (!ctx_arg_i64(ctx, arg, &o->limit, NULL)) return false;
    if (o->limit < 0) return stream_fail(ctx, "ERR The LIMIT argument must be >= 0.");
    o->has_limit = true;
    return true;
}

static bool check_trim(struct ctx *ctx, bool is_xadd, struct options *o)
{
    if (o->limit && !o->has_trim)
        return stream_fail(ctx,
                           "ERR syntax error, LIMIT cannot be used without specifying a trimming "
                           "strategy");
    if (!is_xadd && !o->has_trim)
        return stream_fail(ctx, "ERR syntax error, XTRIM must be called with a trimming strategy");
    if (o->has_limit && !o->trim.is_approximate)
        return stream_fail(ctx,
                           "ERR syntax error, LIMIT cannot be used without the special ~ option");
    if (!o->has_limit && o->trim.is_approximate) {
        int64_t entries = ctx->settings->limits.stream_node_max_entries;
        o->limit = entries > TRIM_ENTRIES_MAX ? TRIM_ENTRIES_MAX : TRIM_NODES_DEFAULT * entries;
        if (o->limit <= 0) o->limit = TRIM_ENTRIES_DEFAULT;
        if (o->limit > TRIM_ENTRIES_MAX) o->limit = TRIM_ENTRIES_MAX;
    }
    o->trim.limit = (uint64_t)o->limit;
    return true;
}

// Reads the options, and (XADD) the id, whose place it returns; 0 if something is wrong, which then
// is replied.
static int parse_options(struct ctx *ctx, bool is_xadd, struct options *o)
{
    int i = 2;
    *o = (struct options){.has_seq = true};
    for (; i < ctx->argc; i++) {
        bool has_more = i + 1 < ctx->argc, is_good = true;
        if (is_xadd && slice_eq(ctx->argv[i], SLICE("*"))) {
            break;
        } else if (has_more && ctx_arg_is(ctx, i, "maxlen")) {
            is_good = parse_strategy(ctx, &i, false, o);
        } else if (has_more && ctx_arg_is(ctx, i, "minid")) {
            is_good = parse_strategy(ctx, &i, true, o);
        } else if (has_more && ctx_arg_is(ctx, i, "limit")) {
            is_good = parse_limit(ctx, ++i, o);
        } else if (is_xadd && ctx_arg_is(ctx, i, "nomkstream")) {
            o->is_nomkstream = true;
        } else if (is_xadd) {
            o->has_id = stream_parse_id(ctx->argv[i], 0, &o->id, &o->has_seq);
            if (o->has_id) break;
            stream_arg_id(ctx, i, &o->id); // replies the error
            return 0;
        } else {
            is_good = stream_fail(ctx, ERR_SYNTAX);
        }
        if (!is_good) return 0;
    }
    return check_trim(ctx, is_xadd, o) ? i : 0;
}

// --- XADD ----------------------------------------------------------------------------------------

// The id of a new entry behind `last`; false if the one that is asked for, or can be made, does not
// come behind it.
static bool choose_id(const struct ctx *ctx, const struct options *o, struct stream_id last,
                      struct stream_id *id)
{
    if (o->has_id && o->has_seq) {
        *id = o->id;
        return stream_id_cmp(*id, last) > 0;
    }
    uint64_t ms = o->has_id ? o->id.ms : (uint64_t)ctx->now_ms;
    if (ms > last.ms) {
        *id = (struct stream_id){ms, 0};
        return true;
    }
    if (o->has_id && (ms < last.ms || last.seq == UINT64_MAX)) return false;
    *id = last; // the clock stood still or went back: go on counting
    return stream_id_step(id);
}

static bool check_new_entry(struct ctx *ctx, const struct options *o, int first_pair,
                            struct stream_id last, struct stream_id *id)
{
    if (last.ms == UINT64_MAX && last.seq == UINT64_MAX)
        return stream_fail(ctx,
                           "ERR The stream has exhausted the last possible ID, unable to add more "
                           "items");
    if (!choose_id(ctx, o, last, id))
        return stream_fail(
            ctx, "ERR The ID specified in XADD is equal or smaller than the target stream "
                 "top item");
    size_t bytes = 0;
    for (int i = first_pair; i < ctx->argc; i++) bytes += ctx->argv[i].len;
    if (bytes > STREAM_MAX_ITEM_BYTES)
        return stream_fail(ctx, "ERR Elements are too large to be stored");
    return true;
}

// The entry with the id that it got; and, if it was trimmed, the length that the stream has now:
// what goes in whole nodes hangs on how these came about.
static void say_added(struct ctx *ctx, const struct stream *s, bool was_trimmed,
                      struct stream_id id, int first_pair)
{
    struct effect_draft d;
    effect_begin(&d, ctx, "XADD", key_of(ctx));
    if (was_trimmed) {
        effect_add(&d, SLICE("MAXLEN"));
        effect_add_int(&d, (int64_t)s->len);
    }
    stream_effect_add_id(&d, id);
    effect_add_args(&d, ctx, first_pair);
    effect_end(&d);
}

static void xadd(struct ctx *ctx)
{
    struct slice key = key_of(ctx);
    struct options o;
    struct entry *e;
    struct stream_id id;
    int first_pair = parse_options(ctx, true, &o) + 1, items = ctx->argc - first_pair;
    if (first_pair == 1) return;
    if (items < 2 || items % 2) {
        ctx_wrong_arity(ctx);
        return;
    }
    if (o.has_id && o.has_seq && stream_id_is_zero(o.id)) {
        reply_error(ctx->reply, "ERR The ID specified in XADD must be greater than 0-0");
        return;
    }
    if (!ctx_write_as(ctx, key, TYPE_STREAM, &e)) return;
    if (!e && o.is_nomkstream) {
        reply_null(ctx->reply);
        return;
    }
    struct stream_id last = e ? stream_of(e->value)->last_id : STREAM_ID_MIN;
    if (!check_new_entry(ctx, &o, first_pair, last, &id)) return;
    if (!e) e = ctx_set_value(ctx, key, NULL, TYPE_STREAM, stream_new(), EXPIRE_NONE);

    struct stream *s = stream_of(e->value);
    stream_append(s, id, ctx->argv + first_pair, (uint32_t)items / 2, &ctx->settings->limits);
    uint64_t trimmed = o.has_trim ? stream_trim(s, &o.trim) : 0;
    say_added(ctx, s, trimmed, id, first_pair);
    ctx_commit(ctx, key, EVENT_STREAM, "xadd");
    if (trimmed) ctx_commit(ctx, key, EVENT_STREAM, "xtrim");
    stream_reply_id(ctx->reply, id);
}

// --- taking out ----------------------------------------------------------------------------------

static void xtrim(struct ctx *ctx)
{
    struct slice key = key_of(ctx);
    struct options o;
    struct entry *e;
    if (!parse_options(ctx, false, &o) || !ctx_write_as(ctx, key, TYPE_STREAM, &e)) return;
    uint64_t trimmed = e ? stream_trim(stream_of(e->value), &o.trim) : 0;
    if (trimmed) {
        struct effect_draft d;
        effect_begin(&d, ctx, "XTRIM", key);
        effect_add(&d, SLICE("MAXLEN"));
        effect_add_int(&d, (int64_t)stream_len(e->value));
        effect_end(&d);
        ctx_commit(ctx, key, EVENT_STREAM, "xtrim");
    }
    reply_int(ctx->reply, (int64_t)trimmed);
}

static void xdel(struct ctx *ctx)
{
    struct slice key = key_of(ctx);
    struct entry *e;
    if (!ctx_write_as(ctx, key, TYPE_STREAM, &e)) return;
    if (!e) {
        reply_int(ctx->reply, 0);
        return;
    }
    struct stream_id *ids = stream_arg_ids(ctx, 2);
    if (!ids) return;
    uint64_t removed = stream_remove(stream_of(e->value), ids, (size_t)ctx->argc - 2);
    mem_free(ids);
    if (removed) ctx_commit(ctx, key, EVENT_STREAM, "xdel");
    reply_int(ctx->reply, (int64_t)removed);
}

// --- reading -------------------------------------------------------------------------------------

static void xlen(struct ctx *ctx)
{
    struct entry *e;
    if (!ctx_read_as(ctx, key_of(ctx), TYPE_STREAM, &e)) return;
    reply_int(ctx->reply, e ? (int64_t)stream_len(e->value) : 0);
}

// COUNT, which may be said several times; -1: all.
static bool parse_count(struct ctx *ctx, int first, int64_t *count)
{
    *count = -1;
    for (int i = first; i < ctx->argc; i += 2) {
        if (i + 1 == ctx->argc || !ctx_arg_is(ctx, i, "count")) return stream_fail(ctx, ERR_SYNTAX);
        if (!ctx_arg_i64(ctx, i + 1, count, NULL)) return false;
        if (*count < 0) *count = 0;
    }
    return true;
}

static void range(struct ctx *ctx, bool is_reverse)
{
    struct stream_id start, end;
    struct entry *e;
    int64_t count;
    if (!stream_arg_start(ctx, is_reverse ? 3 : 2, &start)) return;
    if (!stream_arg_end(ctx, is_reverse ? 2 : 3, &end)) return;
    if (!parse_count(ctx, 4, &count)) return;
    if (!ctx_read_as(ctx, key_of(ctx), TYPE_STREAM, &e)) return;
    if (!e)
        reply_array(ctx->reply, 0);
    else if (count == 0)
        reply_null_array(ctx->reply);
    else
        stream_reply_range(ctx->reply, stream_of(e->value), start, end,
                           count < 0 ? 0 : (uint64_t)count, is_reverse);
}

static void xrange(struct ctx *ctx)
{
    range(ctx, false);
}

static void xrevrange(struct ctx *ctx)
{
    range(ctx, true);
}

// --- XSETID --------------------------------------------------------------------------------------

struct setid {
    struct stream_id last_id, max_deleted_id;
    int64_t entries_added; // -1: not said
};

static bool parse_setid(struct ctx *ctx, struct setid *to)
{
    *to = (struct setid){.entries_added = -1};
    if (!stream_arg_id(ctx, 2, &to->last_id)) return false;
    for (int i = 3; i < ctx->argc; i += 2) {
        bool has_more = i + 1 < ctx->argc;
        if (has_more && ctx_arg_is(ctx, i, "entriesadded")) {
            if (!ctx_arg_i64(ctx, i + 1, &to->entries_added, NULL)) return false;
            if (to->entries_added < 0)
                return stream_fail(ctx, "ERR entries_added must be positive");
        } else if (has_more && ctx_arg_is(ctx, i, "maxdeletedid")) {
            if (!stream_arg_id(ctx, i + 1, &to->max_deleted_id)) return false;
            if (stream_id_cmp(to->last_id, to->max_deleted_id) < 0)
                return stream_fail(ctx,
                                   "ERR The ID specified in XSETID is smaller than the provided "
                                   "max_deleted_entry_id");
        } else {
            return stream_fail(ctx, ERR_SYNTAX);
        }
    }
    return true;
}

static bool check_setid(struct ctx *ctx, const struct stream *s, const struct setid *to)
{
    struct stream_id last;
    if (stream_id_cmp(to->last_id, s->max_deleted_id) < 0)
        return stream_fail(ctx, "ERR The ID specified in XSETID is smaller than current "
                                "max_deleted_entry_id");
    if (!stream_last_entry(s, &last)) return true;
    if (stream_id_cmp(to->last_id, last) < 0)
        return stream_fail(ctx,
                           "ERR The ID specified in XSETID is smaller than the target stream top "
                           "item");
    if (to->entries_added != -1 && s->len > (uint64_t)to->entries_added)
        return stream_fail(ctx,
                           "ERR The entries_added specified in XSETID is smaller than the target "
                           "stream length");
    return true;
}

static void xsetid(struct ctx *ctx)
{
    struct slice key = key_of(ctx);
    struct setid to;
    struct entry *e;
    if (!parse_setid(ctx, &to) || !ctx_write_as(ctx, key, TYPE_STREAM, &e)) return;
    if (!e) {
        reply_error(ctx->reply, ERR_NO_SUCH_KEY);
        return;
    }
    struct stream *s = stream_of(e->value);
    if (!check_setid(ctx, s, &to)) return;
    s->last_id = to.last_id;
    if (to.entries_added != -1) s->entries_added = (uint64_t)to.entries_added;
    if (!stream_id_is_zero(to.max_deleted_id)) s->max_deleted_id = to.max_deleted_id;
    ctx_commit_beside(ctx, key, EVENT_STREAM, "xsetid");
    reply_ok(ctx->reply);
}

// --- declarations --------------------------------------------------------------------------------

// clang-format off
const struct command commands_stream[] = {
    {.name = "xadd", .handler = xadd, .arity = -5, .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
     .acl = ACL_STREAM, .keys = {KEYS(1, 1, 1, KEY_RW | KEY_UPDATE)}, .group = "stream",
     .since = "5.0.0",
     .complexity = "O(1) to add an entry, O(N) with N the number of entries that trimming removes",
     .summary = "Adds an entry to the end of a stream. Creates the key if it is missing.",
     .args = "key [NOMKSTREAM] "
             "[<MAXLEN | MINID> [= | ~] threshold [LIMIT count]] <* | id> (field value)...",
     .history = "6.2.0: Added the `NOMKSTREAM` option, `MINID` trimming and the `LIMIT` option.\n"
                "7.0.0: Ids may be given as `<ms>-*`.",
     .tips = "nondeterministic_output"},

    {.name = "xlen", .handler = xlen, .arity = 2, .flags = CMD_READONLY | CMD_FAST,
     .acl = ACL_STREAM, .keys = {KEYS(1, 1, 1, KEY_RO)}, .group = "stream", .since = "5.0.0",
     .complexity = "O(1)", .summary = "Returns the number of a stream's entries.", .args = "key"},

    {.name = "xrange", .handler = xrange, .arity = -4, .flags = CMD_READONLY, .acl = ACL_STREAM,
     .keys = {KEYS(1, 1, 1, KEY_RO | KEY_ACCESS)}, .group = "stream", .since = "5.0.0",
     .complexity = "O(N) with N the number of returned entries",
     .summary = "Returns the entries of a stream whose ids lie in an interval.",
     .args = "key start end [COUNT count]", .history = "6.2.0: Intervals may be exclusive."},

    {.name = "xrevrange", .handler = xrevrange, .arity = -4, .flags = CMD_READONLY,
     .acl = ACL_STREAM, .keys = {KEYS(1, 1, 1, KEY_RO | KEY_ACCESS)}, .group = "stream",
     .since = "5.0.0", .complexity = "O(N) with N the number of returned entries",
     .summary = "Returns the entries of a stream whose ids lie in an interval, the last first.",
     .args = "key end start [COUNT count]", .history = "6.2.0: Intervals may be exclusive."},

    {.name = "xdel", .handler = xdel, .arity = -3, .flags = CMD_WRITE | CMD_FAST,
     .acl = ACL_STREAM, .keys = {KEYS(1, 1, 1, KEY_RW | KEY_DELETE)}, .group = "stream",
     .since = "5.0.0", .complexity = "O(1) for each entry",
     .summary = "Removes entries from a stream and returns how many there were.",
     .args = "key id..."},

    {.name = "xtrim", .handler = xtrim, .arity = -4, .flags = CMD_WRITE, .acl = ACL_STREAM,
     .keys = {KEYS(1, 1, 1, KEY_RW | KEY_DELETE)}, .group = "stream", .since = "5.0.0",
     .complexity = "O(N) with N the number of removed entries; whole nodes go at once",
     .summary = "Removes entries from the beginning of a stream.",
     .args = "key (<MAXLEN | MINID> [= | ~] threshold [LIMIT count])",
     .history = "6.2.0: Added `MINID` trimming and the `LIMIT` option.",
     .tips = "nondeterministic_output"},

    {.name = "xsetid", .handler = xsetid, .arity = -3,
     .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST, .acl = ACL_STREAM,
     .keys = {KEYS(1, 1, 1, KEY_RW | KEY_UPDATE)}, .group = "stream", .since = "5.0.0",
     .complexity = "O(1)", .summary = "Sets what a stream knows of its past; for replication.",
     .args = "key last-id [ENTRIESADDED entries_added:integer] [MAXDELETEDID max_deleted_entry_id]",
     .history = "7.0.0: Added the `ENTRIESADDED` and `MAXDELETEDID` options."},

    {0},
};
// clang-format on
