// SPDX-License-Identifier: BSD-3-Clause
#include "server/busy.h"

#include "base/crash_slot.h"
#include "base/mem.h"
#include "engine/errors.h"
#include "script/scripting.h"
#include "server/client.h"
#include "server/server.h"
#include "shard/refuse.h"

// --- answering -----------------------------------------------------------------------------------

static enum slow_kind slow_kind(const struct engine *e)
{
    return busy_is_on(e) ? running_slow_kind(&scripting_of(e)->slow) : SLOW_NONE;
}

const char *busy_text(const struct engine *e)
{
    enum slow_kind kind = slow_kind(e);
    return kind == SLOW_NONE ? NULL : kind == SLOW_SCRIPT ? ERR_BUSY_SCRIPT : ERR_BUSY_FUNCTION;
}

void busy_check(struct client *c, struct call *call)
{
    const struct command *cmd = call->piece.cmd;
    const struct shard *s = &c->worker->shard;
    if (!cmd || c->ops) return;
    if (cmd->transaction == TRANSACTION_WATCH) transaction_watch_blindly(c, call);
    if (cmd->flags & CMD_ALLOW_BUSY) return;
    if (c->session.is_in_multi && (cmd->flags & CMD_NO_MULTI)) return; // is told so
    switch (slow_kind(s->engine)) {
    case SLOW_NONE: return;
    case SLOW_SCRIPT:
        transaction_refuse(c, call, "-" ERR_BUSY_SCRIPT, "-" ERR_EXEC_ABORTED ERR_BUSY_SCRIPT);
        break;
    case SLOW_FUNCTION:
        transaction_refuse(c, call, "-" ERR_BUSY_FUNCTION, "-" ERR_EXEC_ABORTED ERR_BUSY_FUNCTION);
        break;
    }
    engine_count_refused(s->engine, s->id, cmd, "BUSY");
}

void busy_refuse_waiting(struct worker *w)
{
    shard_take_inbox(&w->shard);
    const char *text = busy_text(w->shard.engine); // after that: what came later runs as ever
    if (text) shard_refuse_backlog(&w->shard, text);
}

// --- the turn inside -----------------------------------------------------------------------------

enum host_patience busy_turn(struct ctx *ctx)
{
    struct server *server = ctx->engine->host->owner;
    struct worker *w = server->workers[ctx->space->shard];
    const void *work = crash_slot_get();
    busy_refuse_waiting(w);
    worker_turn_inside(w);
    crash_slot_set(work);
    return stop_patience(&server->stop);
}
