// SPDX-License-Identifier: BSD-3-Clause
//
// set_algebra: intersections, unions and differences of sets, counted, replied or stored.
//
// All of them walk over some sets and ask others for what they find there, a batch at a time
// (types/set_probe.h). What comes out goes to a sink: counted, written to the reply, or put into a
// new set. Nothing is copied on the way there: the sets do not change before the walk is over.
//
// A missing key is an empty set. Every key is looked up, and its type checked, before anything is
// done.
#include <stdlib.h>

#include "base/assert.h"
#include "base/mem.h"
#include "commands/families.h"
#include "commands/set.h"
#include "engine/ctx.h"
#include "engine/settings.h"
#include "types/set_probe.h"

// --- what goes in --------------------------------------------------------------------------------

struct inputs {
    struct value *sets; // owned; of a missing key: empty
    size_t count;
    uint64_t members; // of all of them
};

// False: a key is of another type, which has been replied. Else inputs_free.
static bool inputs_read(struct inputs *in, struct ctx *ctx, int first, int count)
{
    *in = (struct inputs){.sets = mem_alloc((size_t)count * sizeof in->sets[0])};
    for (int i = 0; i < count; i++) {
        struct entry *e;
        if (!ctx_read_as(ctx, ctx->argv[first + i], TYPE_SET, &e)) {
            mem_free(in->sets);
            return false;
        }
        struct value v = e ? e->value : set_new();
        in->sets[in->count++] = v;
        in->members += set_len(v);
    }
    return true;
}

static void inputs_free(struct inputs *in)
{
    mem_free(in->sets);
}

static int by_size(const void *a, const void *b)
{
    uint64_t x = set_len(*(const struct value *)a), y = set_len(*(const struct value *)b);
    return x < y ? -1 : x > y;
}

static int by_size_descending(const void *a, const void *b)
{
    return by_size(b, a);
}

static bool is_same(struct value a, struct value b)
{
    return a.word == b.word;
}

// --- what comes out ------------------------------------------------------------------------------

enum sink_kind { SINK_COUNT, SINK_REPLY, SINK_STORE };

struct sink {
    enum sink_kind kind;
    struct ctx *ctx;
    uint64_t count, limit; // members that came out; enough of them
    struct reply_mark mark;
    struct value set; // SINK_STORE: owned until sink_store
};

static void sink_open(struct sink *s, struct ctx *ctx, enum sink_kind kind)
{
    *s = (struct sink){.kind = kind, .ctx = ctx, .limit = UINT64_MAX, .set = set_new()};
    if (kind == SINK_REPLY) s->mark = reply_open(ctx->reply);
}

// A member that has not come out yet.
static inline void sink_put(struct sink *s, const struct item *member)
{
    s->count++;
    if (s->kind == SINK_REPLY)
        set_reply_member(s->ctx->reply, member);
    else if (s->kind == SINK_STORE)
        set_add_new(&s->set, member, &s->ctx->settings->limits);
}

// The set takes the place of whatever is at the key, argument 1.
static void sink_store(struct sink *s, const char *event)
{
    struct ctx *ctx = s->ctx;
    struct slice key = ctx->argv[1];
    struct entry *e = ctx_write(ctx, key);
    uint64_t len = set_len(s->set);
    if (len) {
        ctx_set_value(ctx, key, e, TYPE_SET, s->set, EXPIRE_NONE);
        ctx_commit(ctx, key, EVENT_SET, event);
    } else {
        set_free(s->set);
        if (e) {
            ctx_delete(ctx, key, e);
            ctx_commit(ctx, key, EVENT_GENERIC, "del");
        }
    }
    reply_int(ctx->reply, (int64_t)len);
}

static void sink_close(struct sink *s, const char *event)
{
    switch (s->kind) {
    case SINK_COUNT: reply_int(s->ctx->reply, (int64_t)s->count); break;
    case SINK_REPLY: reply_close_set(s->ctx->reply, s->mark, s->count); break;
    case SINK_STORE: sink_store(s, event); break;
    }
}

// --- walks ---------------------------------------------------------------------------------------

// Some members of a set that is walked over.
struct batch {
    struct item members[SET_BATCH];
    uint32_t count;
};

static bool batch_fill(struct batch *b, struct set_iter *it)
{
    for (b->count = 0; b->count < SET_BATCH; b->count++)
        if (!set_iter_next(it, &b->members[b->count])) break;
    return b->count;
}

// Keeps of the batch what is in the set, or (!is_in) what is not.
static void batch_filter(struct batch *b, const struct set_probe *set, bool is_in)
{
    if (!b->count) return;
    uint32_t found = set_probe_has(set, b->members, b->count), kept = 0;
    for (uint32_t i = 0; i < b->count; i++)
        if ((found >> i & 1) == is_in) b->members[kept++] = b->members[i];
    b->count = kept;
}

static void batch_put(const struct batch *b, struct sink *out)
{
    for (uint32_t i = 0; i < b->count && out->count < out->limit; i++)
        sink_put(out, &b->members[i]);
}

// Puts the members of `from` that are (is_in) in all, or in none, of the other sets.
static void walk(struct value from, const struct value *others, size_t count, bool is_in,
                 struct sink *out)
{
    struct set_probe few[4], *probes = count <= ARRAY_LEN(few) ? few : NULL;
    struct set_iter it;
    struct batch b;
    if (!probes) probes = mem_alloc(count * sizeof *probes);
    for (size_t i = 0; i < count; i++) set_probe_init(&probes[i], others[i], set_len(from));
    set_iter_init(&it, from);
    while (out->count < out->limit && batch_fill(&b, &it)) {
        for (size_t i = 0; i < count; i++) batch_filter(&b, &probes[i], is_in);
        batch_put(&b, out);
    }
    for (size_t i = 0; i < count; i++) set_probe_free(&probes[i]);
    if (probes != few) mem_free(probes);
}

static void add_all(struct value *to, struct value from, const struct value_limits *limits)
{
    struct set_iter it;
    struct item member;
    for (set_iter_init(&it, from); set_iter_next(&it, &member);) set_add_item(to, &member, limits);
}

// --- SINTER --------------------------------------------------------------------------------------

// From the smallest set: no member of it is looked for longer than until one of the others lacks
// it.
static void intersect(struct inputs *in, struct sink *out)
{
    qsort(in->sets, in->count, sizeof in->sets[0], by_size);
    size_t others = 0; // that are not the smallest once more
    for (size_t i = 1; i < in->count; i++)
        if (!is_same(in->sets[i], in->sets[0])) in->sets[++others] = in->sets[i];
    if (set_len(in->sets[0])) walk(in->sets[0], in->sets + 1, others, true, out);
}

static void sinter(struct ctx *ctx)
{
    struct inputs in;
    struct sink out;
    if (!inputs_read(&in, ctx, 1, ctx->argc - 1)) return;
    sink_open(&out, ctx, SINK_REPLY);
    intersect(&in, &out);
    sink_close(&out, NULL);
    inputs_free(&in);
}

static void sinterstore(struct ctx *ctx)
{
    struct inputs in;
    struct sink out;
    if (!inputs_read(&in, ctx, 2, ctx->argc - 2)) return;
    sink_open(&out, ctx, SINK_STORE);
    intersect(&in, &out);
    sink_close(&out, "sinterstore");
    inputs_free(&in);
}

static bool parse_limit(struct ctx *ctx, int first, uint64_t *limit)
{
    int64_t n = 0;
    for (int i = first; i < ctx->argc; i += 2) {
        if (!ctx_arg_is(ctx, i, "LIMIT") || i + 1 == ctx->argc) {
            reply_error(ctx->reply, ERR_SYNTAX);
            return false;
        }
        if (!ctx_arg_range(ctx, i + 1, 0, INT64_MAX, &n, "ERR LIMIT can't be negative"))
            return false;
    }
    *limit = n ? (uint64_t)n : UINT64_MAX;
    return true;
}

static void sintercard(struct ctx *ctx)
{
    struct inputs in;
    struct sink out;
    int64_t keys;
    uint64_t limit;
    if (!ctx_arg_range(ctx, 1, 1, INT64_MAX, &keys, "ERR numkeys should be greater than 0")) return;
    if (keys > ctx->argc - 2) {
        reply_error(ctx->reply, "ERR Number of keys can't be greater than number of args");
        return;
    }
    if (!parse_limit(ctx, 2 + (int)keys, &limit)) return;
    if (!inputs_read(&in, ctx, 2, (int)keys)) return;
    sink_open(&out, ctx, SINK_COUNT);
    out.limit = limit;
    intersect(&in, &out);
    sink_close(&out, NULL);
    inputs_free(&in);
}

// --- SUNION --------------------------------------------------------------------------------------

// A few sets are joined without a search in what is built: each gives what is in none of those
// before it. (Intsets are not, so that their union comes out in order, as Redis's.)
#define UNION_WALK_MAX 4

static bool is_joined_by_walks(const struct inputs *in)
{
    if (in->count > UNION_WALK_MAX) return false;
    for (size_t i = 0; i < in->count; i++)
        if (value_encoding(in->sets[i]) != ENC_INTSET) return true;
    return false;
}

static void join_by_walks(const struct inputs *in, struct sink *out)
{
    for (size_t i = 0; i < in->count; i++) walk(in->sets[i], in->sets, i, false, out);
}

static struct value join(const struct inputs *in, const struct value_limits *limits)
{
    struct value all = set_new();
    for (size_t i = 0; i < in->count; i++) add_all(&all, in->sets[i], limits);
    return all;
}

static void sunion(struct ctx *ctx)
{
    struct inputs in;
    struct sink out;
    if (!inputs_read(&in, ctx, 1, ctx->argc - 1)) return;
    if (is_joined_by_walks(&in)) {
        // The biggest first: what is looked for in it are the fewer.
        qsort(in.sets, in.count, sizeof in.sets[0], by_size_descending);
        sink_open(&out, ctx, SINK_REPLY);
        join_by_walks(&in, &out);
        sink_close(&out, NULL);
    } else {
        struct value all = join(&in, &ctx->settings->limits);
        set_reply_members(ctx->reply, all);
        set_free(all);
    }
    inputs_free(&in);
}

static void sunionstore(struct ctx *ctx)
{
    struct inputs in;
    struct sink out;
    if (!inputs_read(&in, ctx, 2, ctx->argc - 2)) return;
    sink_open(&out, ctx, SINK_STORE);
    if (is_joined_by_walks(&in))
        join_by_walks(&in, &out);
    else
        out.set = join(&in, &ctx->settings->limits);
    sink_close(&out, "sunionstore");
    inputs_free(&in);
}

// --- SDIFF ---------------------------------------------------------------------------------------

// Two ways, as in Redis. One asks every other set for each member of the first: at worst first *
// sets look-ups, but on the average it hears a yes half-way. The other builds a copy of the first
// and takes the others' members out of it: as many steps as there are members.
static bool is_cheaper_to_ask(const struct inputs *in)
{
    return set_len(in->sets[0]) * in->count / 2 <= in->members;
}

// What the first set has and the others do not, as a new set.
static struct value subtract(const struct inputs *in, const struct value_limits *limits)
{
    struct value rest = set_new();
    struct set_iter it;
    struct item member;
    add_all(&rest, in->sets[0], limits);
    for (size_t i = 1; i < in->count && set_len(rest); i++)
        for (set_iter_init(&it, in->sets[i]); set_iter_next(&it, &member);)
            set_remove_item(&rest, &member);
    return rest;
}

static void differ(struct inputs *in, struct sink *out)
{
    for (size_t i = 1; i < in->count; i++)
        if (is_same(in->sets[0], in->sets[i])) return;
    if (is_cheaper_to_ask(in)) {
        // The biggest set is the likeliest to say yes.
        qsort(in->sets + 1, in->count - 1, sizeof in->sets[0], by_size_descending);
        walk(in->sets[0], in->sets + 1, in->count - 1, false, out);
        return;
    }
    struct value rest = subtract(in, &out->ctx->settings->limits);
    if (out->kind == SINK_STORE) {
        out->set = rest;
        return;
    }
    walk(rest, NULL, 0, false, out);
    set_free(rest);
}

static void sdiff(struct ctx *ctx)
{
    struct inputs in;
    struct sink out;
    if (!inputs_read(&in, ctx, 1, ctx->argc - 1)) return;
    sink_open(&out, ctx, SINK_REPLY);
    differ(&in, &out);
    sink_close(&out, NULL);
    inputs_free(&in);
}

static void sdiffstore(struct ctx *ctx)
{
    struct inputs in;
    struct sink out;
    if (!inputs_read(&in, ctx, 2, ctx->argc - 2)) return;
    sink_open(&out, ctx, SINK_STORE);
    differ(&in, &out);
    sink_close(&out, "sdiffstore");
    inputs_free(&in);
}

// --- declarations --------------------------------------------------------------------------------

#define INTER_COMPLEXITY                                                                           \
    "O(N*M) at worst, with N the number of members of the smallest set and M the number of sets"
#define SUM_COMPLEXITY "O(N) with N the number of members of all sets"
#define SOURCES        KEYS(2, -1, 1, KEY_RO | KEY_ACCESS)

// clang-format off
const struct command commands_set_algebra[] = {
    {.name = "sinter", .handler = sinter, .arity = -2, .flags = CMD_READONLY, .acl = ACL_SET,
     .keys = {KEYS(1, -1, 1, KEY_RO | KEY_ACCESS)}, .group = "set", .since = "1.0.0",
     .complexity = INTER_COMPLEXITY, .summary = "Returns the members that several sets share.",
     .args = "key...", .tips = "nondeterministic_output_order"},

    {.name = "sintercard", .handler = sintercard, .arity = -3, .flags = CMD_READONLY,
     .acl = ACL_SET,
     .keys = {{.flags = KEY_RO | KEY_ACCESS, .begin = 1, .is_keynum = true, .keynum = 0,
               .first = 1, .step = 1}},
     .group = "set", .since = "7.0.0", .complexity = INTER_COMPLEXITY,
     .summary = "Returns how many members several sets share.",
     .args = "numkeys key... [LIMIT limit]"},

    {.name = "sunion", .handler = sunion, .arity = -2, .flags = CMD_READONLY, .acl = ACL_SET,
     .span = SPAN_GATHER, .keys = {KEYS(1, -1, 1, KEY_RO | KEY_ACCESS)}, .group = "set",
     .since = "1.0.0", .complexity = SUM_COMPLEXITY,
     .summary = "Returns what is a member of at least one of several sets.", .args = "key...",
     .tips = "nondeterministic_output_order"},

    {.name = "sdiff", .handler = sdiff, .arity = -2, .flags = CMD_READONLY, .acl = ACL_SET,
     .span = SPAN_GATHER, .keys = {KEYS(1, -1, 1, KEY_RO | KEY_ACCESS)}, .group = "set",
     .since = "1.0.0", .complexity = SUM_COMPLEXITY,
     .summary = "Returns the members of the first set that are in none of the others.",
     .args = "key...", .tips = "nondeterministic_output_order"},

    {.name = "sinterstore", .handler = sinterstore, .arity = -3, .flags = CMD_WRITE | CMD_DENYOOM,
     .acl = ACL_SET, .keys = {KEYS(1, 1, 1, KEY_RW | KEY_UPDATE), SOURCES}, .group = "set",
     .since = "1.0.0", .complexity = INTER_COMPLEXITY,
     .summary = "Stores the members that several sets share as a set at a key.",
     .args = "destination key..."},

    {.name = "sunionstore", .handler = sunionstore, .arity = -3, .flags = CMD_WRITE | CMD_DENYOOM,
     .acl = ACL_SET, .keys = {KEYS(1, 1, 1, KEY_OW | KEY_UPDATE), SOURCES}, .group = "set",
     .since = "1.0.0", .complexity = SUM_COMPLEXITY,
     .summary = "Stores what is a member of at least one of several sets as a set at a key.",
     .args = "destination key..."},

    {.name = "sdiffstore", .handler = sdiffstore, .arity = -3, .flags = CMD_WRITE | CMD_DENYOOM,
     .acl = ACL_SET, .keys = {KEYS(1, 1, 1, KEY_OW | KEY_UPDATE), SOURCES}, .group = "set",
     .since = "1.0.0", .complexity = SUM_COMPLEXITY,
     .summary = "Stores the members of the first set that are in none of the others as a set at a "
                "key.",
     .args = "destination key..."},

    {0},
};
// clang-format on
