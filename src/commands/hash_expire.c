// SPDX-License-Identifier: BSD-3-Clause
//
// hash_expire: when fields of hashes die, and the commands that get or set fields and their expiry
// at once. All times are kept as Unix milliseconds. A field whose time is over when it is set is
// removed at once, as HDEL would do it; with the last field goes the key.
//
// The fields stand at the end of the arguments, behind FIELDS and their number, and most commands
// answer an array with an integer for each of them:
//
//   -2 no such field (or key) · -1 it has no expiry · 0 the condition does not hold · 1 done · 2
//   removed
//
// Order of checks: the key's type, the time, the options, FIELDS and the number; HSETEX alone reads
// all its arguments before it looks at the key.
#include "commands/families.h"
#include "commands/hash.h"
#include "engine/settings.h"

#define EXPIRE_MAX_MS (((int64_t)1 << 46) - 1) // Redis's limit: the year 4199

#define ERR_NO_FIELDS        "ERR Mandatory argument FIELDS is missing or not at the right position"
#define ERR_FIELDS_NUMBER    "ERR The `numfields` parameter must match the number of arguments"
#define ERR_FIELDS_POSITIVE  "ERR Number of fields must be a positive integer"
#define ERR_FIELDS_POSITIVE2 "ERR Parameter `numFields` should be greater than 0"

enum outcome { NO_FIELD = -2, NO_EXPIRY = -1, NOT_MET = 0, DONE = 1, REMOVED = 2 };

static inline struct slice key_of(const struct ctx *ctx)
{
    return ctx->argv[1];
}

// --- arguments -----------------------------------------------------------------------------------

// Which arguments name fields: from `first` on all. False if a reply has been given. `at`: where
// FIELDS must stand.
static bool parse_fields(struct ctx *ctx, int at, const char *range_error, int *first)
{
    int64_t n;
    if (!ctx_arg_is(ctx, at, "FIELDS")) {
        reply_error(ctx->reply, ERR_NO_FIELDS);
        return false;
    }
    if (at + 1 >= ctx->argc) {
        ctx_wrong_arity(ctx);
        return false;
    }
    if (!ctx_arg_range(ctx, at + 1, 1, INT64_MAX, &n, range_error)) return false;
    *first = at + 2;
    if (n == ctx->argc - *first) return true;
    reply_error(ctx->reply, ERR_FIELDS_NUMBER);
    return false;
}

struct time_unit {
    const char *word; // of the option that says it
    int64_t unit_ms;
    bool is_relative; // to now
};

static const struct time_unit time_units[] = {
    {"EX", 1000, true}, {"PX", 1, true}, {"EXAT", 1000, false}, {"PXAT", 1, false}};
enum { EX, PX, EXAT, PXAT };

static const struct time_unit *time_unit_of(const struct ctx *ctx, int arg)
{
    for (size_t i = 0; i < ARRAY_LEN(time_units); i++)
        if (ctx_arg_is(ctx, arg, time_units[i].word)) return &time_units[i];
    return NULL;
}

// The argument as Unix ms.
static bool parse_time(struct ctx *ctx, int arg, const struct time_unit *unit, int64_t *at_ms)
{
    int64_t t, base_ms = unit->is_relative ? ctx->now_ms : 0;
    if (!ctx_arg_i64(ctx, arg, &t, NULL)) return false;
    if (t < 0) {
        reply_error(ctx->reply, "ERR invalid expire time, must be >= 0");
        return false;
    }
    *at_ms = 0;
    if (t <= EXPIRE_MAX_MS / unit->unit_ms) *at_ms = t * unit->unit_ms + base_ms;
    if (t <= EXPIRE_MAX_MS / unit->unit_ms && *at_ms <= EXPIRE_MAX_MS) return true;
    reply_errorf(ctx->reply, "ERR invalid expire time in '%s' command", ctx->cmd->full_name);
    return false;
}

// --- HEXPIRE and its kin -------------------------------------------------------------------------

enum condition { IF_ALWAYS, IF_NONE, IF_ANY, IF_GREATER, IF_LESS };

static enum condition condition_of(const struct ctx *ctx, int arg)
{
    static const char *const words[] = {"NX", "XX", "GT", "LT"}; // in the order of enum condition
    for (unsigned i = 0; i < ARRAY_LEN(words); i++)
        if (ctx_arg_is(ctx, arg, words[i])) return (enum condition)(i + 1);
    return IF_ALWAYS;
}

// present_ms: -1 if there is no expiry, which counts as one that never comes.
static bool condition_holds(enum condition condition, int64_t present_ms, int64_t at_ms)
{
    bool has_expiry = present_ms >= 0;
    switch (condition) {
    case IF_NONE: return !has_expiry;
    case IF_ANY: return has_expiry;
    case IF_GREATER: return has_expiry && at_ms > present_ms;
    case IF_LESS: return !has_expiry || at_ms < present_ms;
    default: return true;
    }
}

// A field that is given this expiry goes at once. When that is done again nothing does.
static bool is_over(const struct ctx *ctx, int64_t at_ms)
{
    return at_ms <= hash_now_ms(ctx);
}

// What giving fields an expiry does: removes some, or has them expire at an absolute time. If that
// is now to come, conditions are judged again, on the same fields. `fields_at`: what stands behind
// the time: conditions, FIELDS, their number, fields.
static void begin_saying(struct effect_draft *d, struct ctx *ctx, int64_t at_ms, int fields_at)
{
    if (is_over(ctx, at_ms)) {
        effect_begin(d, ctx, "HDEL", key_of(ctx));
        return;
    }
    effect_begin(d, ctx, "HPEXPIREAT", key_of(ctx));
    effect_add_int(d, at_ms);
    effect_add_args(d, ctx, fields_at);
}

// Gives a field that is there an expiry, or removes it if the time is over.
static enum outcome set_expiry(const struct ctx *ctx, struct entry *e, struct slice field,
                               int64_t at_ms, struct effect_draft *said)
{
    if (is_over(ctx, at_ms)) {
        hash_remove(&e->value, field, HASH_NEVER_DUE);
        effect_add(said, field);
        return REMOVED;
    }
    hash_set_expiry(&e->value, field, at_ms);
    return DONE;
}

// Fields were given this expiry.
static void commit_expiry(struct ctx *ctx, struct entry *e, int64_t at_ms)
{
    ctx_field_expiry_changed(ctx, key_of(ctx), e);
    if (is_over(ctx, at_ms))
        ctx_commit_removal(ctx, key_of(ctx), e, EVENT_HASH, "hdel", !hash_len(e->value));
    else
        ctx_commit(ctx, key_of(ctx), EVENT_HASH, "hexpire");
}

static void expire_at(struct ctx *ctx, const struct time_unit *unit)
{
    struct entry *e;
    int64_t at_ms;
    int first;
    struct effect_draft said;
    if (!ctx_write_as(ctx, key_of(ctx), TYPE_HASH, &e)) return;
    if (!parse_time(ctx, 2, unit, &at_ms)) return;
    enum condition condition = condition_of(ctx, 3);
    int fields_at = condition == IF_ALWAYS ? 3 : 4;
    if (!parse_fields(ctx, fields_at, ERR_FIELDS_POSITIVE2, &first)) return;

    e = hash_without_due(ctx, key_of(ctx), e, first, ctx->argc, 1);
    bool is_changed = false;
    reply_array(ctx->reply, (size_t)(ctx->argc - first));
    begin_saying(&said, ctx, at_ms, 3);
    for (int i = first; i < ctx->argc; i++) {
        int64_t present_ms = e ? hash_expiry(e->value, ctx->argv[i], hash_now_ms(ctx)) : -2;
        enum outcome outcome = NO_FIELD;
        if (present_ms >= -1)
            outcome = condition_holds(condition, present_ms, at_ms)
                          ? set_expiry(ctx, e, ctx->argv[i], at_ms, &said)
                          : NOT_MET;
        is_changed |= outcome > 0;
        reply_int(ctx->reply, outcome);
    }
    if (!is_changed) {
        effect_drop(&said);
        return;
    }
    effect_end(&said);
    commit_expiry(ctx, e, at_ms);
}

static void hexpire(struct ctx *ctx)
{
    expire_at(ctx, &time_units[EX]);
}

static void hpexpire(struct ctx *ctx)
{
    expire_at(ctx, &time_units[PX]);
}

static void hexpireat(struct ctx *ctx)
{
    expire_at(ctx, &time_units[EXAT]);
}

static void hpexpireat(struct ctx *ctx)
{
    expire_at(ctx, &time_units[PXAT]);
}

// Takes the expiry of a field away.
static enum outcome take_expiry(const struct ctx *ctx, struct entry *e, struct slice field)
{
    int64_t at_ms = e ? hash_expiry(e->value, field, hash_now_ms(ctx)) : -2;
    if (at_ms < 0) return (enum outcome)at_ms;
    hash_set_expiry(&e->value, field, -1);
    return DONE;
}

static void commit_persist(struct ctx *ctx, struct entry *e)
{
    ctx_field_expiry_changed(ctx, key_of(ctx), e);
    ctx_commit(ctx, key_of(ctx), EVENT_HASH, "hpersist");
}

static void hpersist(struct ctx *ctx)
{
    struct entry *e;
    int first;
    if (!ctx_write_as(ctx, key_of(ctx), TYPE_HASH, &e)) return;
    if (!parse_fields(ctx, 2, ERR_FIELDS_POSITIVE, &first)) return;
    e = hash_without_due(ctx, key_of(ctx), e, first, ctx->argc, 1);
    bool is_changed = false;
    reply_array(ctx->reply, (size_t)(ctx->argc - first));
    for (int i = first; i < ctx->argc; i++) {
        enum outcome outcome = take_expiry(ctx, e, ctx->argv[i]);
        is_changed |= outcome == DONE;
        reply_int(ctx->reply, outcome);
    }
    if (is_changed) commit_persist(ctx, e);
}

// --- asking --------------------------------------------------------------------------------------

// The fields' expiries less the base, in units, rounded up: 0 is left in the last millisecond only.
static void reply_expiries(struct ctx *ctx, const struct time_unit *unit)
{
    struct entry *e;
    int first;
    int64_t base_ms = unit->is_relative ? ctx->now_ms : 0;
    if (!ctx_read_as(ctx, key_of(ctx), TYPE_HASH, &e)) return;
    if (!parse_fields(ctx, 2, ERR_FIELDS_POSITIVE, &first)) return;
    e = hash_without_due(ctx, key_of(ctx), e, first, ctx->argc, 1);
    reply_array(ctx->reply, (size_t)(ctx->argc - first));
    for (int i = first; i < ctx->argc; i++) {
        int64_t at_ms = e ? hash_expiry(e->value, ctx->argv[i], hash_now_ms(ctx)) : -2;
        if (at_ms >= 0) at_ms = (at_ms - base_ms + unit->unit_ms - 1) / unit->unit_ms;
        reply_int(ctx->reply, at_ms);
    }
}

static void httl(struct ctx *ctx)
{
    reply_expiries(ctx, &time_units[EX]);
}

static void hpttl(struct ctx *ctx)
{
    reply_expiries(ctx, &time_units[PX]);
}

static void hexpiretime(struct ctx *ctx)
{
    reply_expiries(ctx, &time_units[EXAT]);
}

static void hpexpiretime(struct ctx *ctx)
{
    reply_expiries(ctx, &time_units[PXAT]);
}

// --- HGETDEL, HGETEX -----------------------------------------------------------------------------

// Replies with the field's value; false (and a null) if there is none.
static bool reply_field(struct ctx *ctx, const struct entry *e, struct slice field)
{
    struct item value;
    bool is_there = e && hash_get(e->value, field, hash_now_ms(ctx), &value);
    if (is_there)
        hash_reply_item(ctx->reply, &value);
    else
        reply_null(ctx->reply);
    return is_there;
}

static void hgetdel(struct ctx *ctx)
{
    struct entry *e;
    int first;
    if (!ctx_read_as(ctx, key_of(ctx), TYPE_HASH, &e)) return;
    if (!parse_fields(ctx, 2, ERR_FIELDS_POSITIVE, &first)) return;
    e = hash_without_due(ctx, key_of(ctx), e, first, ctx->argc, 1);
    bool is_changed = false;
    reply_array(ctx->reply, (size_t)(ctx->argc - first));
    for (int i = first; i < ctx->argc; i++) {
        if (!reply_field(ctx, e, ctx->argv[i])) continue;
        hash_remove(&e->value, ctx->argv[i], HASH_NEVER_DUE);
        is_changed = true;
    }
    if (!is_changed) return;
    ctx_field_expiry_changed(ctx, key_of(ctx), e);
    ctx_commit_removal(ctx, key_of(ctx), e, EVENT_HASH, "hdel", !hash_len(e->value));
}

enum expiry_kind { EXPIRY_NONE, EXPIRY_TIME, EXPIRY_KEEP, EXPIRY_PERSIST };

struct expiry {
    enum expiry_kind kind;
    int64_t at_ms; // EXPIRY_TIME
};

// Reads HGETEX's option, if there is one; *fields_at: where FIELDS must stand then.
static bool parse_getex(struct ctx *ctx, struct expiry *x, int *fields_at)
{
    const struct time_unit *unit = time_unit_of(ctx, 2);
    *x = (struct expiry){.kind = EXPIRY_NONE};
    *fields_at = 2;
    if (unit) {
        x->kind = EXPIRY_TIME;
        *fields_at = 4;
        return parse_time(ctx, 3, unit, &x->at_ms);
    }
    if (!ctx_arg_is(ctx, 2, "PERSIST")) return true;
    x->kind = EXPIRY_PERSIST;
    *fields_at = 3;
    return true;
}

static void hgetex(struct ctx *ctx)
{
    struct entry *e;
    struct expiry x;
    int fields_at, first;
    struct effect_draft said = {0};
    if (!ctx_read_as(ctx, key_of(ctx), TYPE_HASH, &e)) return;
    if (!parse_getex(ctx, &x, &fields_at)) return;
    if (!parse_fields(ctx, fields_at, ERR_FIELDS_POSITIVE, &first)) return;
    e = hash_without_due(ctx, key_of(ctx), e, first, ctx->argc, 1);
    bool is_changed = false;
    reply_array(ctx->reply, (size_t)(ctx->argc - first));
    if (x.kind == EXPIRY_TIME) begin_saying(&said, ctx, x.at_ms, fields_at);
    for (int i = first; i < ctx->argc; i++) {
        if (!reply_field(ctx, e, ctx->argv[i]) || x.kind == EXPIRY_NONE) continue;
        if (x.kind == EXPIRY_TIME)
            is_changed |= set_expiry(ctx, e, ctx->argv[i], x.at_ms, &said) > 0;
        else
            is_changed |= take_expiry(ctx, e, ctx->argv[i]) == DONE;
    }
    if (!is_changed) {
        effect_drop(&said);
        return;
    }
    effect_end(&said);
    if (x.kind == EXPIRY_TIME)
        commit_expiry(ctx, e, x.at_ms);
    else
        commit_persist(ctx, e);
}

// --- HSETEX --------------------------------------------------------------------------------------

enum presence { WHATEVER, IF_NO_FIELD, IF_ALL_FIELDS }; // nothing, FNX, FXX

struct setex {
    struct expiry expiry;
    enum presence presence;
    int first; // argument: field, value, field, value …
};

static bool parse_presence(struct ctx *ctx, int arg, struct setex *s)
{
    if (s->presence != WHATEVER) {
        reply_error(ctx->reply, "ERR Only one of FXX or FNX arguments can be specified");
        return false;
    }
    s->presence = ctx_arg_is(ctx, arg, "FNX") ? IF_NO_FIELD : IF_ALL_FIELDS;
    return true;
}

// The option at *arg, which is KEEPTTL (unit NULL) or a time; that is the last argument read then.
static bool parse_expiry(struct ctx *ctx, int *arg, const struct time_unit *unit, struct expiry *x)
{
    if (x->kind != EXPIRY_NONE) {
        reply_error(ctx->reply,
                    "ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified");
        return false;
    }
    x->kind = unit ? EXPIRY_TIME : EXPIRY_KEEP;
    if (!unit) return true;
    if (++*arg < ctx->argc) return parse_time(ctx, *arg, unit, &x->at_ms);
    reply_error(ctx->reply, "ERR missing expire time");
    return false;
}

// FIELDS stands at `at`.
static bool parse_pairs(struct ctx *ctx, int at, struct setex *s)
{
    int64_t n, rest = ctx->argc - at - 2;
    if (rest < 2) {
        ctx_wrong_arity(ctx);
        return false;
    }
    if (!ctx_arg_range(ctx, at + 1, 1, INT32_MAX, &n, "ERR invalid number of fields")) return false;
    s->first = at + 2;
    if (rest == 2 * n) return true;
    ctx_wrong_arity(ctx);
    return false;
}

static bool parse_setex(struct ctx *ctx, struct setex *s)
{
    *s = (struct setex){.first = 0};
    for (int i = 2; i < ctx->argc; i++) {
        const struct time_unit *unit = time_unit_of(ctx, i);
        if (ctx_arg_is(ctx, i, "FIELDS")) return parse_pairs(ctx, i, s);
        if (unit || ctx_arg_is(ctx, i, "KEEPTTL")) {
            if (!parse_expiry(ctx, &i, unit, &s->expiry)) return false;
        } else if (ctx_arg_is(ctx, i, "FNX") || ctx_arg_is(ctx, i, "FXX")) {
            if (!parse_presence(ctx, i, s)) return false;
        } else {
            reply_errorf(ctx->reply, "ERR unknown argument: %.*s", SLICE_ARG(ctx->argv[i]));
            return false;
        }
    }
    ctx_wrong_arity(ctx); // no FIELDS
    return false;
}

static bool presence_holds(const struct ctx *ctx, const struct entry *e, const struct setex *s)
{
    struct item value;
    for (int i = s->first; i < ctx->argc && s->presence != WHATEVER; i += 2) {
        bool is_there = e && hash_get(e->value, ctx->argv[i], hash_now_ms(ctx), &value);
        if (is_there == (s->presence == IF_NO_FIELD)) return false;
    }
    return true;
}

static void set_fields(struct ctx *ctx, struct entry *e, const struct setex *s)
{
    const struct value_limits *limits = &ctx->settings->limits;
    bool has_expiry = s->expiry.kind == EXPIRY_TIME && !is_over(ctx, s->expiry.at_ms);
    for (int i = s->first; i < ctx->argc; i += 2) {
        struct slice field = ctx->argv[i], value = ctx->argv[i + 1];
        if (s->expiry.kind == EXPIRY_KEEP)
            hash_put(&e->value, field, value, hash_now_ms(ctx), limits);
        else
            hash_set(&e->value, field, value, hash_now_ms(ctx), limits);
        if (has_expiry) hash_set_expiry(&e->value, field, s->expiry.at_ms);
    }
    ctx_field_expiry_changed(ctx, key_of(ctx), e);
    ctx_commit(ctx, key_of(ctx), EVENT_HASH, "hset");
}

// Fields were set with an expiry.
static void say_set(struct ctx *ctx, const struct setex *s)
{
    struct effect_draft d;
    bool is_removal = is_over(ctx, s->expiry.at_ms);
    effect_begin(&d, ctx, is_removal ? "HDEL" : "HSETEX", key_of(ctx));
    if (!is_removal) {
        effect_add(&d, SLICE("PXAT"));
        effect_add_int(&d, s->expiry.at_ms);
        effect_add_args(&d, ctx, s->first - 2); // FIELDS and their number
    }
    for (int i = s->first; i < ctx->argc && is_removal; i += 2) effect_add(&d, ctx->argv[i]);
    effect_end(&d);
}

static void hsetex(struct ctx *ctx)
{
    struct slice key = key_of(ctx);
    struct setex s;
    struct entry *e;
    if (!parse_setex(ctx, &s)) return;
    if (!ctx_write_as(ctx, key, TYPE_HASH, &e)) return;
    e = hash_without_due(ctx, key, e, s.first, ctx->argc, 2);
    if (!presence_holds(ctx, e, &s)) {
        reply_int(ctx->reply, 0);
        return;
    }
    if (!e) e = ctx_set_value(ctx, key, NULL, TYPE_HASH, hash_new(), EXPIRE_NONE);
    set_fields(ctx, e, &s);
    if (s.expiry.kind == EXPIRY_TIME) {
        say_set(ctx, &s);
        for (int i = s.first; i < ctx->argc && is_over(ctx, s.expiry.at_ms); i += 2)
            hash_remove(&e->value, ctx->argv[i], HASH_NEVER_DUE);
        commit_expiry(ctx, e, s.expiry.at_ms);
    }
    reply_int(ctx->reply, 1);
}

// --- declarations --------------------------------------------------------------------------------

#define FIELDS_ARGS    "FIELDS numfields:integer field..."
#define CONDITION_ARGS "[NX | XX | GT | LT] " FIELDS_ARGS
#define TIME_ARGS                                                                                  \
    "EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds"
#define PER_FIELD "O(N) with N the number of fields that are named"

// clang-format off
const struct command commands_hash_expire[] = {
    {.name = "hexpire", .handler = hexpire, .arity = -6,
     .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST, .acl = ACL_HASH,
     .keys = {KEYS(1, 1, 1, KEY_RW | KEY_UPDATE)}, .group = "hash", .since = "7.4.0",
     .complexity = PER_FIELD, .summary = "Lets fields of a hash expire after some seconds.",
     .args = "key seconds " CONDITION_ARGS},

    {.name = "hpexpire", .handler = hpexpire, .arity = -6,
     .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST, .acl = ACL_HASH,
     .keys = {KEYS(1, 1, 1, KEY_RW | KEY_UPDATE)}, .group = "hash", .since = "7.4.0",
     .complexity = PER_FIELD, .summary = "Lets fields of a hash expire after some milliseconds.",
     .args = "key milliseconds " CONDITION_ARGS},

    {.name = "hexpireat", .handler = hexpireat, .arity = -6,
     .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST, .acl = ACL_HASH,
     .keys = {KEYS(1, 1, 1, KEY_RW | KEY_UPDATE)}, .group = "hash", .since = "7.4.0",
     .complexity = PER_FIELD,
     .summary = "Lets fields of a hash expire at a Unix time in seconds.",
     .args = "key unix-time-seconds " CONDITION_ARGS},

    {.name = "hpexpireat", .handler = hpexpireat, .arity = -6,
     .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST, .acl = ACL_HASH,
     .keys = {KEYS(1, 1, 1, KEY_RW | KEY_UPDATE)}, .group = "hash", .since = "7.4.0",
     .complexity = PER_FIELD,
     .summary = "Lets fields of a hash expire at a Unix time in milliseconds.",
     .args = "key unix-time-milliseconds " CONDITION_ARGS},

    {.name = "httl", .handler = httl, .arity = -5, .flags = CMD_READONLY | CMD_FAST,
     .acl = ACL_HASH, .keys = {KEYS(1, 1, 1, KEY_RO | KEY_ACCESS)}, .group = "hash",
     .since = "7.4.0", .complexity = PER_FIELD,
     .summary = "Returns the seconds that fields of a hash have left to live.",
     .args = "key " FIELDS_ARGS, .tips = "nondeterministic_output"},

    {.name = "hpttl", .handler = hpttl, .arity = -5, .flags = CMD_READONLY | CMD_FAST,
     .acl = ACL_HASH, .keys = {KEYS(1, 1, 1, KEY_RO | KEY_ACCESS)}, .group = "hash",
     .since = "7.4.0", .complexity = PER_FIELD,
     .summary = "Returns the milliseconds that fields of a hash have left to live.",
     .args = "key " FIELDS_ARGS, .tips = "nondeterministic_output"},

    {.name = "hexpiretime", .handler = hexpiretime, .arity = -5, .flags = CMD_READONLY | CMD_FAST,
     .acl = ACL_HASH, .keys = {KEYS(1, 1, 1, KEY_RO | KEY_ACCESS)}, .group = "hash",
     .since = "7.4.0", .complexity = PER_FIELD,
     .summary = "Returns the Unix times in seconds at which fields of a hash expire.",
     .args = "key " FIELDS_ARGS},

    {.name = "hpexpiretime", .handler = hpexpiretime, .arity = -5,
     .flags = CMD_READONLY | CMD_FAST, .acl = ACL_HASH,
     .keys = {KEYS(1, 1, 1, KEY_RO | KEY_ACCESS)}, .group = "hash", .since = "7.4.0",
     .complexity = PER_FIELD,
     .summary = "Returns the Unix times in milliseconds at which fields of a hash expire.",
     .args = "key " FIELDS_ARGS},

    {.name = "hpersist", .handler = hpersist, .arity = -5, .flags = CMD_WRITE | CMD_FAST,
     .acl = ACL_HASH, .keys = {KEYS(1, 1, 1, KEY_RW | KEY_UPDATE)}, .group = "hash",
     .since = "7.4.0", .complexity = PER_FIELD,
     .summary = "Removes the expiry of fields of a hash.", .args = "key " FIELDS_ARGS},

    {.name = "hgetdel", .handler = hgetdel, .arity = -5, .flags = CMD_WRITE | CMD_FAST,
     .acl = ACL_HASH, .keys = {KEYS(1, 1, 1, KEY_RW | KEY_ACCESS | KEY_DELETE)}, .group = "hash",
     .since = "8.0.0", .complexity = PER_FIELD,
     .summary = "Returns the values of fields of a hash and removes the fields.",
     .args = "key FIELDS (numfields:integer field...)"},

    {.name = "hgetex", .handler = hgetex, .arity = -5, .flags = CMD_WRITE | CMD_FAST,
     .acl = ACL_HASH, .keys = {KEYS(1, 1, 1, KEY_RW | KEY_ACCESS | KEY_UPDATE)}, .group = "hash",
     .since = "8.0.0", .complexity = PER_FIELD,
     .summary = "Returns the values of fields of a hash and sets or removes their expiry.",
     .args = "key [" TIME_ARGS " | PERSIST] FIELDS (numfields:integer field...)"},

    {.name = "hsetex", .handler = hsetex, .arity = -6,
     .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST, .acl = ACL_HASH,
     .keys = {KEYS(1, 1, 1, KEY_RW | KEY_UPDATE)}, .group = "hash", .since = "8.0.0",
     .complexity = "O(N) with N the number of fields that are set",
     .summary = "Sets fields of a hash, and when they expire.",
     .args = "key [FNX | FXX] [" TIME_ARGS " | KEEPTTL] "
             "FIELDS (numfields:integer (field value)...)"},

    {0},
};
// clang-format on
