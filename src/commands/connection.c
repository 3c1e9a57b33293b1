// SPDX-License-Identifier: BSD-3-Clause
//
// connection: HELLO, AUTH, PING, ECHO, QUIT, RESET and SELECT: who a connection is and how it is
// spoken to. What they change lies in the session, so all but PING and ECHO run at home
// (CMD_SESSION).
//
// There is one user, "default", whose password is requirepass; without one, he may enter with any.
#include "commands/families.h"
#include "engine/ctx.h"
#include "engine/engine.h"
#include "engine/host.h"
#include "engine/settings.h"
#include "engine/tracking.h"
#include "engine/version.h"

#define ERR_NO_PASSWORD                                                                            \
    "ERR AUTH <password> called without any password configured for the default user. Are you "    \
    "sure your configuration is correct?"
#define ERR_HELLO_NOAUTH                                                                           \
    "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH " \
    "<user> <pass> option can be used to authenticate the client and select the RESP protocol "    \
    "version at the same time"

// --- authentication ------------------------------------------------------------------------------

// Compares in a time that depends on `given` only, so that it tells nothing of the secret.
static bool is_secret(struct slice given, struct slice secret)
{
    unsigned difference = given.len != secret.len;
    for (size_t i = 0; i < given.len; i++)
        difference |= (unsigned char)(given.ptr[i] ^ (secret.len ? secret.ptr[i % secret.len] : 0));
    return difference == 0;
}

// Replies the error and returns false if that is not the user's password.
static bool authenticate(struct ctx *ctx, struct slice user, struct slice password)
{
    struct slice secret = slice_of(ctx->settings->requirepass);
    bool is_known = slice_eq(user, SLICE("default"));
    bool is_right = !secret.len || is_secret(password, secret);
    if (!is_known || !is_right) {
        reply_error(ctx->reply, ERR_WRONGPASS);
        return false;
    }
    ctx->session->is_authenticated = true;
    return true;
}

static void auth(struct ctx *ctx)
{
    if (ctx->argc > 3) {
        reply_error(ctx->reply, ERR_SYNTAX);
        return;
    }
    bool has_user = ctx->argc == 3;
    if (!has_user && !*ctx->settings->requirepass) {
        reply_error(ctx->reply, ERR_NO_PASSWORD);
        return;
    }
    struct slice user = has_user ? ctx->argv[1] : SLICE("default");
    if (authenticate(ctx, user, ctx->argv[ctx->argc - 1])) reply_ok(ctx->reply);
}

// --- HELLO ---------------------------------------------------------------------------------------

struct hello {
    int64_t version;          // 0: as it is
    const struct slice *auth; // user and password, NULL: none
    const struct slice *name; // NULL: none
};

static bool parse_hello(struct ctx *ctx, struct hello *h)
{
    if (ctx->argc > 1) {
        if (!ctx_arg_i64(ctx, 1, &h->version,
                         "ERR Protocol version is not an integer or out of range"))
            return false;
        if (h->version < 2 || h->version > 3) {
            reply_error(ctx->reply, ERR_NOPROTO);
            return false;
        }
    }
    for (int i = 2; i < ctx->argc; i++) {
        int more = ctx->argc - 1 - i;
        if (ctx_arg_is(ctx, i, "AUTH") && more >= 2) {
            h->auth = &ctx->argv[i + 1];
            i += 2;
        } else if (ctx_arg_is(ctx, i, "SETNAME") && more >= 1) {
            h->name = &ctx->argv[++i];
        } else {
            reply_errorf(ctx->reply, "ERR Syntax error in HELLO option '%.*s'",
                         SLICE_ARG(ctx->argv[i]));
            return false;
        }
    }
    return true;
}

static void reply_hello(struct ctx *ctx)
{
    struct reply *r = ctx->reply;
    reply_map(r, 7);
    reply_bulk_text(r, "server");
    reply_bulk_text(r, "redis");
    reply_bulk_text(r, "version");
    reply_bulk_text(r, REDIS_VERSION);
    reply_bulk_text(r, "proto");
    reply_int(r, ctx->session->resp);
    reply_bulk_text(r, "id");
    reply_int(r, (int64_t)ctx->session->id);
    reply_bulk_text(r, "mode");
    reply_bulk_text(r, "standalone");
    reply_bulk_text(r, "role");
    reply_bulk_text(r, "master");
    reply_bulk_text(r, "modules");
    reply_array(r, 0);
}

static void hello(struct ctx *ctx)
{
    struct session *s = ctx->session;
    struct hello h = {0};
    if (!parse_hello(ctx, &h)) return;
    if (h.auth && !authenticate(ctx, h.auth[0], h.auth[1])) return;
    if (!s->is_authenticated) {
        reply_error(ctx->reply, ERR_HELLO_NOAUTH);
        return;
    }
    if (h.name && !session_text_is_valid(*h.name)) {
        reply_error(ctx->reply, ERR_CLIENT_NAME);
        return;
    }
    if (h.name) session_set_text(&s->name, *h.name);
    if (h.version) s->resp = ctx->reply->resp = (uint8_t)h.version;
    reply_hello(ctx);
}

// --- the rest ------------------------------------------------------------------------------------

static void reply_pong_push(struct ctx *ctx)
{
    reply_array(ctx->reply, 2);
    reply_bulk_text(ctx->reply, "pong");
    reply_bulk(ctx->reply, ctx->argc == 2 ? ctx->argv[1] : SLICE(""));
}

// A RESP2 connection with subscriptions reads nothing but pushes, so its PONG looks like one.
static void ping(struct ctx *ctx)
{
    bool is_subscriber = ctx->session->subscriptions && ctx->session->resp == 2;
    if (ctx->argc > 2)
        ctx_wrong_arity(ctx);
    else if (is_subscriber)
        reply_pong_push(ctx);
    else if (ctx->argc == 2)
        reply_bulk(ctx->reply, ctx->argv[1]);
    else
        reply_simple(ctx->reply, "PONG");
}

static void echo(struct ctx *ctx)
{
    reply_bulk(ctx->reply, ctx->argv[1]);
}

static void quit(struct ctx *ctx)
{
    ctx->session->is_closing = true;
    reply_ok(ctx->reply);
}

static void reset(struct ctx *ctx)
{
    const struct host *host = ctx->engine->host;
    if (ctx->session->is_monitor) host->monitor(ctx, false);
    if (ctx->session->subscriptions) host->unsubscribe_all(ctx);
    if (ctx->session->tracking) tracking_end(ctx);
    session_reset(ctx->session, *ctx->settings->requirepass != '\0');
    ctx->reply->resp = ctx->session->resp;
    reply_simple(ctx->reply, "RESET");
}

static void select_db(struct ctx *ctx)
{
    int64_t index;
    if (!ctx_arg_range(ctx, 1, INT32_MIN, INT32_MAX, &index, NULL)) return;
    if (index < 0 || index >= ctx->settings->databases) {
        reply_error(ctx->reply, ERR_DB_RANGE);
        return;
    }
    ctx->session->db = (uint32_t)index;
    reply_ok(ctx->reply);
}

// --- declarations --------------------------------------------------------------------------------

#define BEFORE_AUTH                                                                                \
    (CMD_SESSION | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_FAST | CMD_NO_AUTH | CMD_ALLOW_BUSY)

const struct command commands_connection[] = {
    {.name = "hello",
     .handler = hello,
     .arity = -1,
     .flags = BEFORE_AUTH,
     .acl = ACL_CONNECTION,
     .group = "connection",
     .since = "6.0.0",
     .complexity = "O(1)",
     .summary = "Says what the server is and chooses the protocol version; may log in and name the "
                "connection, too.",
     .args = "[protover:integer [AUTH username password] [SETNAME clientname]]",
     .history = "6.2.0: The protocol version may be left out: nothing but the reply then."},

    {.name = "auth",
     .handler = auth,
     .arity = -2,
     .flags = BEFORE_AUTH,
     .acl = ACL_CONNECTION,
     .group = "connection",
     .since = "1.0.0",
     .complexity = "O(N) with N the number of the user's passwords",
     .summary = "Logs the connection in.",
     .args = "[username] password",
     .history = "6.0.0: Takes a user name, too."},

    {.name = "ping",
     .handler = ping,
     .arity = -1,
     .flags = CMD_SUBSCRIBER | CMD_FAST,
     .acl = ACL_CONNECTION,
     .group = "connection",
     .since = "1.0.0",
     .complexity = "O(1)",
     .summary = "Answers PONG, or the message it was given.",
     .args = "[message]",
     .tips = "request_policy:all_shards response_policy:all_succeeded"},

    {.name = "echo",
     .handler = echo,
     .arity = 2,
     .flags = CMD_LOADING | CMD_STALE | CMD_FAST,
     .acl = ACL_CONNECTION,
     .group = "connection",
     .since = "1.0.0",
     .complexity = "O(1)",
     .summary = "Answers the message it was given.",
     .args = "message"},

    {.name = "quit",
     .handler = quit,
     .arity = -1,
     .flags = CMD_SUBSCRIBER | BEFORE_AUTH,
     .acl = ACL_CONNECTION,
     .group = "connection",
     .since = "1.0.0",
     .complexity = "O(1)",
     .summary = "Closes the connection once all replies are sent.",
     .deprecated = "7.2.0: closing the connection"},

    {.name = "reset",
     .handler = reset,
     .arity = 1,
     .flags = CMD_SUBSCRIBER | BEFORE_AUTH,
     .acl = ACL_CONNECTION,
     .group = "connection",
     .since = "6.2.0",
     .complexity = "O(1)",
     .summary = "Brings the connection back to the state of a new one."},

    {.name = "select",
     .handler = select_db,
     .arity = 2,
     .flags = CMD_SESSION | CMD_LOADING | CMD_STALE | CMD_FAST,
     .acl = ACL_CONNECTION,
     .group = "connection",
     .since = "1.0.0",
     .complexity = "O(1)",
     .summary = "Chooses the database that this connection's commands work on.",
     .args = "index"},

    {0},
};
