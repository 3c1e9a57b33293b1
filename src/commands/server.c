// SPDX-License-Identifier: BSD-3-Clause
//
// The small commands of the server itself: TIME, ROLE, LOLWUT, MONITOR, SHUTDOWN.
//
// There are no replicas: ROLE is always a master without any.
#include <limits.h>
#include <math.h>
#include <stdio.h>

#include "base/clock.h"
#include "commands/families.h"
#include "engine/ctx.h"
#include "engine/engine.h"
#include "engine/host.h"
#include "engine/settings.h"
#include "engine/version.h"

static void time_(struct ctx *ctx)
{
    int64_t us = clock_unix_us(); // finer than ctx->now_ms
    reply_array(ctx->reply, 2);
    reply_bulk_int(ctx->reply, us / 1000000);
    reply_bulk_int(ctx->reply, us % 1000000);
}

static void role(struct ctx *ctx)
{
    reply_array(ctx->reply, 3);
    reply_bulk_text(ctx->reply, "master");
    reply_int(ctx->reply, 0);
    reply_array(ctx->reply, 0);
}

// --- LOLWUT --------------------------------------------------------------------------------------
//
// A gyre: a spiral with as many arms as there are shards, each arm with gaps of its own. Drawn in
// Braille, whose characters are 2 x 4 dots: U+2800 + a bit for each dot.

#define ART_COLUMNS_MAX 160
#define ART_ROWS_MAX    80

struct canvas {
    int columns, rows; // characters
    uint8_t dots[ART_ROWS_MAX][ART_COLUMNS_MAX];
};

static void put_dot(struct canvas *c, int x, int y)
{
    static const uint8_t bits[4][2] = {{0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}};
    if (x < 0 || y < 0 || x >= c->columns * 2 || y >= c->rows * 4) return;
    c->dots[y / 4][x / 2] |= bits[y % 4][x % 2];
}

static void draw_arm(struct canvas *c, struct random *r, double turn, double turns)
{
    double cx = c->columns, cy = c->rows * 2, reach = MIN(cx, cy) - 1;
    uint64_t gap = 20 + random_below(r, 60), n = random_below(r, gap);
    for (double t = 0.02; t < 1; t += 0.3 / (reach * turns * 6.3), n++) {
        if (n % gap < gap / 5) continue;
        double angle = (turn + t * turns) * 2 * M_PI;
        double x = cx + t * reach * cos(angle), y = cy + t * reach * sin(angle);
        put_dot(c, (int)lround(x), (int)lround(y));
    }
}

static void append_canvas(struct buf *out, const struct canvas *c)
{
    for (int y = 0; y < c->rows; y++) {
        for (int x = 0; x < c->columns; x++) {
            unsigned dots = c->dots[y][x];
            char utf8[3] = {(char)0xe2, (char)(0xa0 | dots >> 6), (char)(0x80 | (dots & 0x3f))};
            buf_append(out, utf8, sizeof utf8);
        }
        buf_append_char(out, '\n');
    }
}

// LOLWUT [VERSION v [columns [rows [turns]]]]: every version shows the same art, but as in Redis
// only 5 and 6 look at the sizes.
static bool parse_art(struct ctx *ctx, int64_t sizes[3])
{
    static const int64_t highest[3] = {ART_COLUMNS_MAX, ART_ROWS_MAX, 50};
    int64_t version;
    if (ctx->argc < 3 || !ctx_arg_is(ctx, 1, "version")) return true;
    if (!ctx_arg_range(ctx, 2, LONG_MIN, LONG_MAX, &version, ERR_NOT_INTEGER)) return false;
    if (version != 5 && version != 6) return true;
    for (int i = 0, arg = 3; i < 3 && arg < ctx->argc; i++, arg++) {
        if (!ctx_arg_i64(ctx, arg, &sizes[i], NULL)) return false;
        sizes[i] = MAX(1, MIN(sizes[i], highest[i]));
    }
    return true;
}

static void lolwut(struct ctx *ctx)
{
    int64_t sizes[3] = {50, 25, 4};
    if (!parse_art(ctx, sizes)) return;
    struct canvas canvas = {.columns = (int)sizes[0], .rows = (int)sizes[1]};
    struct random random;
    random_seed(&random, (uint64_t)ctx->now_ms);
    uint32_t arms = ctx->engine->shard_count;
    for (uint32_t i = 0; i < arms; i++)
        draw_arm(&canvas, &random, (double)i / arms, (double)sizes[2]);
    struct buf text = {0};
    append_canvas(&text, &canvas);
    buf_append_text(&text, "\nThe widening gyre, one arm a shard. Redis ver. " REDIS_VERSION
                           ", Gyre ver. " GYRE_VERSION "\n");
    reply_verbatim(ctx->reply, "txt", buf_slice(&text));
    buf_free(&text);
}

// --- MONITOR, SHUTDOWN ---------------------------------------------------------------------------

static void monitor(struct ctx *ctx)
{
    if (ctx->flags & CTX_IN_EXEC) {
        reply_error(ctx->reply, "ERR MONITOR isn't allowed for DENY BLOCKING client");
        return;
    }
    ctx->engine->host->monitor(ctx, true);
    reply_ok(ctx->reply);
}

// The enum stop_flag set of the arguments; -1 if they make no sense.
static int parse_shutdown(const struct ctx *ctx, bool *is_abort)
{
    int flags = 0;
    *is_abort = false;
    for (int i = 1; i < ctx->argc; i++) {
        if (ctx_arg_is(ctx, i, "nosave"))
            flags |= STOP_NOSAVE;
        else if (ctx_arg_is(ctx, i, "save"))
            flags |= STOP_SAVE;
        else if (ctx_arg_is(ctx, i, "now"))
            flags |= STOP_NOW;
        else if (ctx_arg_is(ctx, i, "force"))
            flags |= STOP_FORCE;
        else if (ctx_arg_is(ctx, i, "abort"))
            *is_abort = true;
        else
            return -1;
    }
    bool is_both = (flags & STOP_SAVE) && (flags & STOP_NOSAVE);
    return is_both || (*is_abort && flags) ? -1 : flags;
}

// The one command that answers nothing when it succeeds: the connection ends, and that is how
// clients know.
static void shutdown_(struct ctx *ctx)
{
    const struct host *host = ctx->engine->host;
    char error[256] = ERR_SHUTDOWN;
    bool is_abort;
    int flags = parse_shutdown(ctx, &is_abort);
    if (flags < 0) {
        reply_error(ctx->reply, ERR_SYNTAX);
    } else if (is_abort) {
        if (host->abort_shutdown(ctx))
            reply_ok(ctx->reply);
        else
            reply_error(ctx->reply, "ERR No shutdown in progress.");
    } else if (!host->shutdown(ctx, flags, error, sizeof error)) {
        reply_error(ctx->reply, error);
    }
}

const struct command commands_server[] = {
    {.name = "time",
     .handler = time_,
     .arity = 1,
     .flags = CMD_LOADING | CMD_STALE | CMD_FAST,
     .group = "server",
     .since = "2.6.0",
     .complexity = "O(1)",
     .tips = "nondeterministic_output",
     .summary = "Returns the server's time."},
    {.name = "role",
     .handler = role,
     .arity = 1,
     .acl = ACL_ADMIN | ACL_DANGEROUS,
     .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_FAST,
     .group = "server",
     .since = "2.8.12",
     .complexity = "O(1)",
     .summary = "Returns the server's role in replication."},
    {.name = "lolwut",
     .handler = lolwut,
     .arity = -1,
     .flags = CMD_READONLY | CMD_FAST,
     .acl = ACL_READ,
     .group = "server",
     .since = "5.0.0",
     .args = "[VERSION version:integer]",
     .summary = "Draws a picture and shows the version."},
    // CMD_SESSION, both: the connection becomes another kind of connection, or ends; what it sent
    // before comes first.
    {.name = "monitor",
     .handler = monitor,
     .arity = 1,
     .group = "server",
     .since = "1.0.0",
     .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_SESSION,
     .summary = "Sends this connection every command that the server executes."},
    {.name = "shutdown",
     .handler = shutdown_,
     .arity = -1,
     .group = "server",
     .since = "1.0.0",
     .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_NO_MULTI | CMD_ALLOW_BUSY |
              CMD_SESSION,
     .complexity = "O(N), N being the number of keys, if it saves; else O(1)",
     .args = "[<NOSAVE | SAVE>] [NOW] [FORCE] [ABORT]",
     .history = "7.0.0: Added `NOW`, `FORCE` and `ABORT`.",
     .summary = "Saves the data where it is to be saved, and stops the server."},
    {0},
};
