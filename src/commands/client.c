// SPDX-License-Identifier: BSD-3-Clause
//
// client: the CLIENT family. Most of it reads or changes the caller's own session and runs at home.
// LIST and KILL concern everybody's: every shard does its part for the connections that live there,
// and the parts are joined (LIST) or added up (KILL, whose old form then makes OK or an error of
// the sum).
//
// A line of CLIENT LIST has the fields of Redis 7.4 in its order. TRACKING and what belongs to it
// stand in tracking.c.
#include <stdlib.h>

#include "base/mem.h"
#include "commands/families.h"
#include "commands/tracking.h"
#include "engine/ctx.h"
#include "engine/engine.h"
#include "engine/host.h"
#include "engine/tracking.h"

// --- which clients -------------------------------------------------------------------------------

enum client_type { CLIENT_ANY, CLIENT_NORMAL, CLIENT_REPLICA, CLIENT_PUBSUB, CLIENT_MASTER };

struct filter {               // what a client must fulfil, all of it
    struct slice addr, laddr; // ptr NULL: any
    enum client_type type;
    uint64_t id;       // 0: any
    int64_t min_age_s; // 0: any
    bool skips_caller;
};

// Replies the error and returns false if there is no such type.
static bool parse_type(struct ctx *ctx, int arg, enum client_type *type)
{
    static const struct {
        const char *name;
        enum client_type type;
    } names[] = {
        {"normal", CLIENT_NORMAL}, {"slave", CLIENT_REPLICA}, {"replica", CLIENT_REPLICA},
        {"pubsub", CLIENT_PUBSUB}, {"master", CLIENT_MASTER},
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (!ctx_arg_is(ctx, arg, names[i].name)) continue;
        *type = names[i].type;
        return true;
    }
    reply_errorf(ctx->reply, "ERR Unknown client type '%.*s'", SLICE_ARG(ctx->argv[arg]));
    return false;
}

static bool has_type(const struct session *s, enum client_type type) // nobody is a replica yet
{
    return type == CLIENT_ANY || type == (s->subscriptions ? CLIENT_PUBSUB : CLIENT_NORMAL);
}

static bool matches(const struct ctx *ctx, const struct filter *f, const struct session *s)
{
    return (!f->addr.ptr || slice_eq(f->addr, slice_of(s->peer))) &&
           (!f->laddr.ptr || slice_eq(f->laddr, slice_of(s->local))) && has_type(s, f->type) &&
           (!f->id || f->id == s->id) &&
           (!f->min_age_s || ctx->now_ms / 1000 - s->created_ms / 1000 >= f->min_age_s) &&
           !(f->skips_caller && s->id == ctx->session->id);
}

// --- what a client looks like --------------------------------------------------------------------

// The letters of CLIENT LIST, in Redis's order; tracking's only mean something while it is on.
static void describe_flags(const struct session *s, char out[16])
{
    const struct {
        bool is_set;
        char letter;
    } flags[] = {
        {s->is_monitor, 'O'},
        {s->subscriptions != NULL, 'P'},
        {s->is_in_multi, 'x'},
        {s->is_blocked, 'b'},
        {s->tracking != 0, 't'},
        {s->is_redirect_broken, 'R'},
        {(s->tracking & TRACKING_BCAST) != 0, 'B'},
        {s->is_in_multi && s->is_multi_dirty, 'd'},
        {s->is_closing, 'c'},
        {s->is_unix_socket, 'U'},
        {s->is_no_evict, 'e'},
        {s->is_no_touch, 'T'},
    };
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(flags); i++)
        if (flags[i].is_set) out[n++] = flags[i].letter;
    if (!n) out[n++] = 'N';
    out[n] = '\0';
}

static unsigned long long subscriptions_of(const struct session *s, enum pubsub_kind kind)
{
    return (unsigned long long)subscriptions_count(s->subscriptions, kind);
}

static const char *or_empty(const char *text)
{
    return text ? text : "";
}

static void describe(struct ctx *ctx, struct session *s, struct buf *out)
{
    struct session_io io = {0};
    char flags[16];
    ctx->engine->host->session_io(s, &io);
    describe_flags(s, flags);
    const struct command *last = s->id == ctx->session->id ? ctx->cmd : s->last_command;
    int64_t age_ms = MAX(ctx->now_ms - s->created_ms, 0);
    int64_t idle_ms = MAX(ctx->now_ms - s->active_ms, 0);
    buf_printf(out, "id=%llu addr=%s laddr=%s fd=%d name=%s age=%lld idle=%lld flags=%s db=%u",
               (unsigned long long)s->id, s->peer, s->local, s->fd, or_empty(s->name),
               (long long)age_ms / 1000, (long long)idle_ms / 1000, flags, s->db);
    buf_printf(out, " sub=%llu psub=%llu ssub=%llu multi=%lld watch=%u",
               subscriptions_of(s, PUBSUB_CHANNEL), subscriptions_of(s, PUBSUB_PATTERN),
               subscriptions_of(s, PUBSUB_SHARD_CHANNEL),
               s->is_in_multi ? (long long)s->multi_count : -1LL, s->watch_count);
    buf_printf(out, " qbuf=%llu qbuf-free=%llu argv-mem=%llu multi-mem=0 rbs=0 rbp=0 obl=0",
               (unsigned long long)io.query_bytes, (unsigned long long)io.query_free_bytes,
               (unsigned long long)io.argv_bytes);
    buf_printf(out, " oll=%llu omem=%llu tot-mem=%llu events=r cmd=%s user=default redir=%lld",
               (unsigned long long)io.reply_chunks, (unsigned long long)io.reply_bytes,
               (unsigned long long)io.total_bytes, last ? last->full_name : "NULL",
               s->tracking ? (long long)s->redirect_id : -1LL);
    buf_printf(out, " resp=%u lib-name=%s lib-ver=%s\n", s->resp, or_empty(s->lib_name),
               or_empty(s->lib_ver));
}

static void info(struct ctx *ctx)
{
    struct buf out = {0};
    describe(ctx, ctx->session, &out);
    reply_verbatim(ctx->reply, "txt", buf_slice(&out));
    buf_free(&out);
}

// --- LIST ----------------------------------------------------------------------------------------

struct wanted_id {
    uint64_t id;
    int place; // among the arguments
    struct session *session;
};

struct listing {
    struct ctx *ctx;
    const struct filter *filter;
    struct wanted_id *ids; // sorted by id; NULL: everybody
    int id_count;
    struct buf out;
};

static int by_id(const void *a, const void *b)
{
    const struct wanted_id *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

static int by_place(const void *a, const void *b)
{
    const struct wanted_id *x = a, *y = b;
    return x->place < y->place ? -1 : x->place > y->place;
}

static void list_one(struct session *s, void *arg)
{
    struct listing *l = arg;
    if (matches(l->ctx, l->filter, s)) describe(l->ctx, s, &l->out);
}

static void find_one(struct session *s, void *arg)
{
    struct listing *l = arg;
    struct wanted_id key = {.id = s->id};
    struct wanted_id *first = bsearch(&key, l->ids, (size_t)l->id_count, sizeof key, by_id);
    if (!first) return;
    while (first > l->ids && first[-1].id == s->id) first--;
    for (; first < l->ids + l->id_count && first->id == s->id; first++) first->session = s;
}

static bool parse_ids(struct ctx *ctx, struct wanted_id *ids)
{
    for (int i = 3; i < ctx->argc; i++) {
        int64_t id;
        if (!ctx_arg_i64(ctx, i, &id, "ERR Invalid client ID")) return false;
        ids[i - 3] = (struct wanted_id){.id = (uint64_t)id, .place = i};
    }
    return true;
}

// LIST ID: one line for each id given, in their order.
static void list_ids(struct ctx *ctx)
{
    struct listing l = {.ctx = ctx, .id_count = ctx->argc - 3};
    l.ids = mem_calloc((size_t)l.id_count * sizeof l.ids[0]);
    if (parse_ids(ctx, l.ids)) {
        qsort(l.ids, (size_t)l.id_count, sizeof l.ids[0], by_id);
        ctx->engine->host->each_session(ctx, find_one, &l);
        qsort(l.ids, (size_t)l.id_count, sizeof l.ids[0], by_place);
        for (int i = 0; i < l.id_count; i++)
            if (l.ids[i].session) describe(ctx, l.ids[i].session, &l.out);
        reply_verbatim(ctx->reply, "txt", buf_slice(&l.out));
    }
    buf_free(&l.out);
    mem_free(l.ids);
}

static void list(struct ctx *ctx)
{
    struct filter f = {0};
    if (ctx->argc > 3 && ctx_arg_is(ctx, 2, "ID")) {
        list_ids(ctx);
        return;
    }
    if (ctx->argc == 4 && ctx_arg_is(ctx, 2, "TYPE")) {
        if (!parse_type(ctx, 3, &f.type)) return;
    } else if (ctx->argc != 2) {
        reply_error(ctx->reply, ERR_SYNTAX);
        return;
    }
    struct listing l = {.ctx = ctx, .filter = &f};
    ctx->engine->host->each_session(ctx, list_one, &l);
    reply_verbatim(ctx->reply, "txt", buf_slice(&l.out));
    buf_free(&l.out);
}

// --- KILL ----------------------------------------------------------------------------------------

struct victims {
    struct ctx *ctx;
    const struct filter *filter;
    struct session **list; // owned
    size_t count, cap;
};

static void mark_victim(struct session *s, void *arg)
{
    struct victims *v = arg;
    if (!matches(v->ctx, v->filter, s)) return;
    if (v->count == v->cap) {
        v->cap = MAX(16, v->cap * 2);
        v->list = mem_realloc(v->list, v->cap * sizeof v->list[0]);
    }
    v->list[v->count++] = s;
}

static bool parse_skipme(struct ctx *ctx, int arg, bool *skips)
{
    *skips = ctx_arg_is(ctx, arg, "yes");
    if (*skips || ctx_arg_is(ctx, arg, "no")) return true;
    reply_error(ctx->reply, ERR_SYNTAX);
    return false;
}

static bool parse_max_age(struct ctx *ctx, int arg, int64_t *age_s)
{
    if (!ctx_arg_i64(ctx, arg, age_s, "ERR maxage is not an integer or out of range")) return false;
    if (*age_s > 0) return true;
    reply_error(ctx->reply, "ERR maxage should be greater than 0");
    return false;
}

static bool parse_user(struct ctx *ctx, int arg)
{
    if (slice_eq(ctx->argv[arg], SLICE("default"))) return true;
    reply_errorf(ctx->reply, "ERR No such user '%.*s'", SLICE_ARG(ctx->argv[arg]));
    return false;
}

// The option at `arg` with its value behind it.
static bool parse_kill_option(struct ctx *ctx, int arg, struct filter *f)
{
    int value = arg + 1;
    if (value < ctx->argc) {
        if (ctx_arg_is(ctx, arg, "ID")) {
            int64_t id;
            if (!ctx_arg_range(ctx, value, 1, INT64_MAX, &id,
                               "ERR client-id should be greater than 0"))
                return false;
            f->id = (uint64_t)id;
            return true;
        }
        if (ctx_arg_is(ctx, arg, "TYPE")) return parse_type(ctx, value, &f->type);
        if (ctx_arg_is(ctx, arg, "USER")) return parse_user(ctx, value);
        if (ctx_arg_is(ctx, arg, "SKIPME")) return parse_skipme(ctx, value, &f->skips_caller);
        if (ctx_arg_is(ctx, arg, "MAXAGE")) return parse_max_age(ctx, value, &f->min_age_s);
        struct slice *address = ctx_arg_is(ctx, arg, "ADDR")    ? &f->addr
                                : ctx_arg_is(ctx, arg, "LADDR") ? &f->laddr
                                                                : NULL;
        if (address) {
            *address = ctx->argv[value];
            return true;
        }
    }
    reply_error(ctx->reply, ERR_SYNTAX);
    return false;
}

static bool is_old_kill(const struct ctx *ctx)
{
    return ctx->argc == 3;
}

static void finish_kill(struct ctx *ctx, int64_t killed)
{
    if (!is_old_kill(ctx))
        reply_int(ctx->reply, killed);
    else if (killed)
        reply_ok(ctx->reply);
    else
        reply_error(ctx->reply, "ERR No such client");
}

static void kill_clients(struct ctx *ctx)
{
    struct filter f = {.skips_caller = !is_old_kill(ctx)}; // the old form may hit the caller
    if (is_old_kill(ctx)) f.addr = ctx->argv[2];
    for (int i = 2; i < ctx->argc && !is_old_kill(ctx); i += 2)
        if (!parse_kill_option(ctx, i, &f)) return;
    struct victims v = {.ctx = ctx, .filter = &f};
    ctx->engine->host->each_session(ctx, mark_victim, &v);
    for (size_t i = 0; i < v.count; i++) ctx->engine->host->kill_session(ctx, v.list[i]);
    mem_free(v.list);
    if (ctx->flags & CTX_IS_PART)
        reply_int(ctx->reply, (int64_t)v.count);
    else
        finish_kill(ctx, (int64_t)v.count);
}

// --- PAUSE, UNPAUSE, UNBLOCK ---------------------------------------------------------------------

static void pause_clients(struct ctx *ctx)
{
    enum host_pause mode = PAUSE_ALL;
    int64_t ms;
    if (ctx->argc > 4) {
        ctx_unknown_subcommand(ctx);
        return;
    }
    if (ctx_arg_is(ctx, 3, "WRITE")) {
        mode = PAUSE_WRITE;
    } else if (ctx->argc == 4 && !ctx_arg_is(ctx, 3, "ALL")) {
        reply_error(ctx->reply, "ERR CLIENT PAUSE mode must be WRITE or ALL");
        return;
    }
    if (!ctx_arg_i64(ctx, 2, &ms, "ERR timeout is not an integer or out of range")) return;
    if (ms < 0) {
        reply_error(ctx->reply, ERR_TIMEOUT_NEG);
        return;
    }
    if (ms > INT64_MAX - ctx->now_ms) {
        reply_error(ctx->reply, ERR_TIMEOUT_RANGE);
        return;
    }
    ctx->engine->host->pause(ctx, mode, ctx->now_ms + ms);
    reply_ok(ctx->reply);
}

static void unpause(struct ctx *ctx)
{
    ctx->engine->host->pause(ctx, PAUSE_ALL, 0);
    reply_ok(ctx->reply);
}

// Each shard looks for the client among its own.
static void unblock(struct ctx *ctx)
{
    const struct host *host = ctx->engine->host;
    bool is_error = ctx_arg_is(ctx, 3, "ERROR");
    int64_t id;
    if (ctx->argc > 4) {
        ctx_unknown_subcommand(ctx);
        return;
    }
    if (ctx->argc == 4 && !is_error && !ctx_arg_is(ctx, 3, "TIMEOUT")) {
        reply_error(ctx->reply, "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
        return;
    }
    if (!ctx_arg_i64(ctx, 2, &id, NULL)) return;
    struct session *s = host->find_session ? host->find_session(ctx, (uint64_t)id) : NULL;
    bool is_done = s && s->is_blocked && host->unblock_session(ctx, s, is_error);
    reply_int(ctx->reply, is_done);
}

// --- the caller's own session --------------------------------------------------------------------

static void id(struct ctx *ctx)
{
    reply_int(ctx->reply, (int64_t)ctx->session->id);
}

static void getname(struct ctx *ctx)
{
    if (ctx->session->name)
        reply_bulk_text(ctx->reply, ctx->session->name);
    else
        reply_null(ctx->reply);
}

static void setname(struct ctx *ctx)
{
    if (!session_text_is_valid(ctx->argv[2])) {
        reply_error(ctx->reply, ERR_CLIENT_NAME);
        return;
    }
    session_set_text(&ctx->session->name, ctx->argv[2]);
    reply_ok(ctx->reply);
}

static void setinfo(struct ctx *ctx)
{
    char **field = ctx_arg_is(ctx, 2, "LIB-NAME")  ? &ctx->session->lib_name
                   : ctx_arg_is(ctx, 2, "LIB-VER") ? &ctx->session->lib_ver
                                                   : NULL;
    if (!field) {
        reply_errorf(ctx->reply, "ERR Unrecognized option '%.*s'", SLICE_ARG(ctx->argv[2]));
        return;
    }
    if (!session_text_is_valid(ctx->argv[3])) {
        reply_errorf(ctx->reply, "ERR %.*s cannot contain spaces, newlines or special characters.",
                     SLICE_ARG(ctx->argv[2]));
        return;
    }
    session_set_text(field, ctx->argv[3]);
    reply_ok(ctx->reply);
}

static void set_reply_mode(struct ctx *ctx)
{
    struct session *s = ctx->session;
    if (ctx_arg_is(ctx, 2, "ON")) {
        s->reply_mode = REPLY_ON;
        reply_ok(ctx->reply);
    } else if (ctx_arg_is(ctx, 2, "OFF")) {
        s->reply_mode = REPLY_OFF;
    } else if (ctx_arg_is(ctx, 2, "SKIP")) {
        if (s->reply_mode != REPLY_OFF) s->reply_mode = REPLY_SKIP_NEXT;
    } else {
        reply_error(ctx->reply, ERR_SYNTAX);
    }
}

static void set_switch(struct ctx *ctx, bool *is_on)
{
    bool on = ctx_arg_is(ctx, 2, "ON");
    if (!on && !ctx_arg_is(ctx, 2, "OFF")) {
        reply_error(ctx->reply, ERR_SYNTAX);
        return;
    }
    *is_on = on;
    reply_ok(ctx->reply);
}

static void no_evict(struct ctx *ctx)
{
    set_switch(ctx, &ctx->session->is_no_evict);
}

static void no_touch(struct ctx *ctx)
{
    set_switch(ctx, &ctx->session->is_no_touch);
}

// --- help ----------------------------------------------------------------------------------------

static const char *const help_lines[] = {
    "CACHING (YES|NO)",
    "    In OPTIN and OPTOUT mode: are the keys of the next command tracked?",
    "GETREDIR",
    "    The ID of the client that gets this one's invalidation messages.",
    "GETNAME",
    "    The connection's name.",
    "ID",
    "    The connection's ID.",
    "INFO",
    "    What CLIENT LIST says of this connection.",
    "KILL <ip:port>",
    "    Close the connection that comes from there.",
    "KILL <option> <value> [<option> <value> [...]]",
    "    Close all connections that fulfil every option:",
    "    * ADDR (<ip:port>|<unixsocket>:0)",
    "      It comes from there.",
    "    * LADDR (<ip:port>|<unixsocket>:0)",
    "      It came in there.",
    "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
    "      It is of this kind.",
    "    * USER <username>",
    "      This user logged in.",
    "    * SKIPME (YES|NO)",
    "      Spare this connection? (Yes, unless told.)",
    "    * ID <client-id>",
    "      It has this ID.",
    "    * MAXAGE <seconds>",
    "      It is at least that old.",
    "LIST [options ...]",
    "    One line for every connection, or for some:",
    "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
    "      Those of this kind.",
    "    * ID <client-id> [<client-id> ...]",
    "      Those with these IDs.",
    "UNPAUSE",
    "    End a pause.",
    "PAUSE <timeout> [WRITE|ALL]",
    "    Hold back all commands, or those that write, for <timeout> milliseconds.",
    "REPLY (ON|OFF|SKIP)",
    "    Send replies on this connection, do not, or leave out the next.",
    "SETNAME <name>",
    "    Name the connection.",
    "SETINFO <option> <value>",
    "    Say which client library this is:",
    "    * LIB-NAME <name>",
    "    * LIB-VER <version>",
    "UNBLOCK <clientid> [TIMEOUT|ERROR]",
    "    Let a client that is blocked go on.",
    "TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]]",
    "         [OPTIN] [OPTOUT] [NOLOOP]",
    "    Tell this client when keys change that it has read.",
    "TRACKINGINFO",
    "    How TRACKING is set for this connection.",
    "NO-EVICT (ON|OFF)",
    "    Keep this connection when clients must go for want of memory.",
    "NO-TOUCH (ON|OFF)",
    "    Let this connection read keys without making them look used.",
    NULL,
};

static void help(struct ctx *ctx)
{
    ctx_reply_help(ctx, help_lines);
}

// --- declarations --------------------------------------------------------------------------------

#define OWN         (CMD_SESSION | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE)
#define EVERYONE    (CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE)
#define ALL_CLIENTS "O(N) with N the number of connections"

static const struct command subcommands[] = {
    {.name = "caching",
     .handler = client_caching,
     .arity = 3,
     .flags = OWN,
     .acl = ACL_CONNECTION,
     .group = "connection",
     .since = "6.0.0",
     .complexity = "O(1)",
     .summary = "Says whether the next command's keys are tracked.",
     .args = "<YES | NO>"},
    {.name = "getname",
     .handler = getname,
     .arity = 2,
     .flags = OWN,
     .acl = ACL_CONNECTION,
     .group = "connection",
     .since = "2.6.9",
     .complexity = "O(1)",
     .summary = "Returns the connection's name."},
    {.name = "getredir",
     .handler = client_getredir,
     .arity = 2,
     .flags = OWN,
     .acl = ACL_CONNECTION,
     .group = "connection",
     .since = "6.0.0",
     .complexity = "O(1)",
     .summary = "Returns the ID of the client that gets this one's invalidation messages."},
    {.name = "help",
     .handler = help,
     .arity = 2,
     .flags = CMD_LOADING | CMD_STALE,
     .acl = ACL_CONNECTION,
     .group = "connection",
     .since = "5.0.0",
     .complexity = "O(1)",
     .summary = "Says what the subcommands are."},
    {.name = "id",
     .handler = id,
     .arity = 2,
     .flags = OWN,
     .acl = ACL_CONNECTION,
     .group = "connection",
     .since = "5.0.0",
     .complexity = "O(1)",
     .summary = "Returns the connection's ID, which no other ever has."},
    {.name = "info",
     .handler = info,
     .arity = 2,
     .flags = OWN,
     .acl = ACL_CONNECTION,
     .group = "connection",
     .since = "6.2.0",
     .complexity = "O(1)",
     .summary = "Returns this connection's line of CLIENT LIST.",
     .tips = "nondeterministic_output"},
    {.name = "kill",
     .handler = kill_clients,
     .arity = -3,
     .flags = EVERYONE | CMD_MEETS,
     .acl = ACL_CONNECTION,
     .span = SPAN_SUM,
     .finish = finish_kill,
     .group = "connection",
     .since = "2.4.0",
     .complexity = ALL_CLIENTS,
     .summary = "Closes connections.",
     .args = "<ip:port | <[ID client-id] | [TYPE <NORMAL | MASTER | SLAVE | REPLICA | PUBSUB>] | "
             "[USER username] | [ADDR ip:port] | [LADDR ip:port] | [SKIPME <YES | NO>] | "
             "[MAXAGE maxage]>...>",
     .history = "2.8.12: Added the form with options, `ID` among them.\n"
                "3.2.0: Added the type `master`.\n"
                "5.0.0: `replica` is the new name of the type `slave`, which is still understood.\n"
                "6.2.0: Added the `LADDR` option.\n7.4.0: Added the `MAXAGE` option."},
    {.name = "list",
     .handler = list,
     .arity = -2,
     .flags = EVERYONE,
     .acl = ACL_CONNECTION,
     .span = SPAN_TEXT,
     .group = "connection",
     .since = "2.4.0",
     .complexity = ALL_CLIENTS,
     .summary = "Returns a line for every connection.",
     .tips = "nondeterministic_output",
     .args = "[TYPE <NORMAL | MASTER | REPLICA | PUBSUB>] [ID client-id...]",
     .history = "2.8.12: Added the field `id`.\n5.0.0: Added the `TYPE` option.\n"
                "6.0.0: Added the field `user`.\n"
                "6.2.0: Added the `ID` option and the fields `argv-mem`, `tot-mem`, `laddr` and "
                "`redir`.\n"
                "7.0.0: Added the fields `resp`, `multi-mem`, `rbs`, `rbp`.\n"
                "7.0.3: Added the field `ssub`.\n7.2.0: Added the fields `lib-name`, `lib-ver`.\n"
                "7.4.0: Added the field `watch`."},
    {.name = "no-evict",
     .handler = no_evict,
     .arity = 3,
     .flags = OWN | CMD_ADMIN,
     .acl = ACL_CONNECTION,
     .group = "connection",
     .since = "7.0.0",
     .complexity = "O(1)",
     .summary = "Keeps the connection when clients must go for want of memory.",
     .args = "<ON | OFF>"},
    {.name = "no-touch",
     .handler = no_touch,
     .arity = 3,
     .flags = OWN,
     .acl = ACL_CONNECTION,
     .group = "connection",
     .since = "7.2.0",
     .complexity = "O(1)",
     .summary = "Lets the connection read keys without making them look used.",
     .args = "<ON | OFF>"},
    {.name = "pause",
     .handler = pause_clients,
     .arity = -3,
     .flags = EVERYONE,
     .acl = ACL_CONNECTION,
     .span = SPAN_ALL_OK,
     .group = "connection",
     .since = "2.9.50",
     .complexity = "O(1)",
     .summary = "Holds back all commands, or those that write, for some time.",
     .args = "timeout:integer [<WRITE | ALL>]",
     .history = "6.2.0: Added the mode, and `WRITE`."},
    {.name = "reply",
     .handler = set_reply_mode,
     .arity = 3,
     .flags = OWN,
     .acl = ACL_CONNECTION,
     .group = "connection",
     .since = "3.2.0",
     .complexity = "O(1)",
     .summary = "Says whether this connection gets replies.",
     .args = "<ON | OFF | SKIP>"},
    {.name = "setinfo",
     .handler = setinfo,
     .arity = 4,
     .flags = OWN,
     .acl = ACL_CONNECTION,
     .group = "connection",
     .since = "7.2.0",
     .complexity = "O(1)",
     .summary = "Says which client library the connection belongs to.",
     .tips = "request_policy:all_nodes response_policy:all_succeeded",
     .args = "<LIB-NAME libname | LIB-VER libver>"},
    {.name = "setname",
     .handler = setname,
     .arity = 3,
     .flags = OWN,
     .acl = ACL_CONNECTION,
     .group = "connection",
     .since = "2.6.9",
     .complexity = "O(1)",
     .summary = "Names the connection.",
     .args = "connection-name"},
    {.name = "tracking",
     .handler = client_tracking,
     .conclude = client_tracking_conclude,
     .span = SPAN_SESSION,
     .arity = -3,
     .flags = OWN,
     .acl = ACL_CONNECTION,
     .group = "connection",
     .since = "6.0.0",
     .complexity = "O(1), more with some options",
     .summary = "Tells this client when keys change that it has read.",
     .args = "<ON | OFF> [REDIRECT client-id] [PREFIX prefix [PREFIX prefix ...]] [BCAST] [OPTIN] "
             "[OPTOUT] [NOLOOP]"},
    {.name = "trackinginfo",
     .handler = client_trackinginfo,
     .arity = 2,
     .flags = OWN,
     .acl = ACL_CONNECTION,
     .group = "connection",
     .since = "6.2.0",
     .complexity = "O(1)",
     .summary = "Returns how TRACKING is set for this connection."},
    {.name = "unblock",
     .handler = unblock,
     .arity = -3,
     .flags = EVERYONE | CMD_MEETS,
     .acl = ACL_CONNECTION,
     .span = SPAN_SUM,
     .group = "connection",
     .since = "5.0.0",
     .complexity = "O(log N) with N the number of connections",
     .summary = "Lets a client that is blocked by a command go on.",
     .args = "client-id [<TIMEOUT | ERROR>]"},
    {.name = "unpause",
     .handler = unpause,
     .arity = 2,
     .flags = EVERYONE,
     .acl = ACL_CONNECTION,
     .span = SPAN_ALL_OK,
     .group = "connection",
     .since = "6.2.0",
     .complexity = "O(N) with N the number of connections held back",
     .summary = "Ends a pause."},
    {0},
};

const struct command commands_client[] = {
    {.name = "client",
     .arity = -2,
     .subcommands = subcommands,
     .group = "connection",
     .since = "2.4.0",
     .complexity = "See the subcommands.",
     .summary = "Shows and changes connections."},
    {0},
};
