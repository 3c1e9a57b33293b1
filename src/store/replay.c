// SPDX-License-Identifier: BSD-3-Clause
//
// Reading an effect finds its command, hashes its first key and fetches the line of the table where
// that must be; when the batch is full, it runs, and what the lines name is fetched some items
// ahead: entries, values, and the lines of the tables of big values.
//
//   read:  ... 61 62 63 | bucket of each
//   run:   0 1 2 3 4 ...  member of +3, value of +6, entry of +12
//
// Fetching ahead changes nothing: whatever a command in between does to what was fetched, the
// command that runs looks everything up anew.
#include "store/replay.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/crash_slot.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/engine.h"
#include "engine/settings.h"

#define FETCH_ENTRIES 12 // items ahead of the one that runs
#define FETCH_VALUES  6
#define FETCH_MEMBERS 3
#define WARNINGS_MAX  20 // that are told one by one
#define SHOWN_BYTES   64 // of a name, at most, in a message

void replay_init(struct replay *p, struct engine *e, const struct settings *settings,
                 struct keyspace *const *spaces, uint32_t count, struct crew_member *member)
{
    *p = (struct replay){.settings = settings_copy(settings), .member = member};
    p->settings->notify_keyspace_events = 0;
    p->settings->maxmemory = 0; // what fitted once is not refused now
    session_init(&p->session, 0);
    p->session.is_authenticated = true;
    reply_init(&p->reply, 2);
    p->ctx = (struct ctx){.flags = CTX_REPLAY,
                          .reply = &p->reply,
                          .engine = e,
                          .settings = p->settings,
                          .session = &p->session,
                          .spaces = spaces,
                          .space_count = count,
                          .space = spaces[0]};
}

void replay_free(struct replay *p)
{
    for (uint32_t i = 0; i < REPLAY_BATCH; i++) effect_reader_free(&p->items[i].words);
    reply_free(&p->reply);
    session_free(&p->session);
    settings_free(p->settings);
}

// --- messages ------------------------------------------------------------------------------------

static bool fail_at(struct replay *p, const struct replay_origin *o, const char *what,
                    struct slice name)
{
    dir_fail(&p->error, "'%s', %s %" PRIu64 ": %s: '%.*s'", o->path, o->counts, o->number, what,
             (int)MIN(name.len, SHOWN_BYTES), name.ptr);
    return false;
}

// The first line of the reply.
static char *take_reply(struct replay *p)
{
    size_t len;
    char *text = reply_flatten(&p->reply, &len);
    char *line = mem_strndup(text, strcspn(text, "\r\n"));
    mem_free(text);
    return line;
}

// The command has replied an error.
static bool judge_error(struct replay *p, const struct replay_item *item)
{
    const struct replay_origin *o = &item->origin;
    char *line = take_reply(p);
    p->reply.error_count = 0;
    if (!o->is_tolerant) {
        dir_fail(&p->error, "'%s', %s %" PRIu64 ": '%s' cannot be done again: %.200s", o->path,
                 o->counts, o->number, item->command->full_name, line);
    } else if (p->warnings++ < WARNINGS_MAX) {
        log_write(LOG_WARNING, "'%s', %s %" PRIu64 ": '%s' replied %.200s", o->path, o->counts,
                  o->number, item->command->full_name, line);
    }
    mem_free(line);
    return o->is_tolerant;
}

// --- running -------------------------------------------------------------------------------------

// Inlined by force: gcc takes a function that only prefetches for one without effect.
#define FETCH static inline __attribute__((always_inline)) void

FETCH fetch_entry(const struct replay_item *item)
{
    const char *entry = item->keys ? dict_peek(item->keys, item->hash) : NULL;
    if (!entry) return;
    __builtin_prefetch(entry);
    __builtin_prefetch(entry + 64);
}

// The value of a key that is no string, if it is the one whose entry was fetched.
static inline const struct entry *peek_value(const struct replay_item *item)
{
    if (!item->keys || (item->command->acl & ACL_STRING)) return NULL;
    const struct entry *e = dict_peek(item->keys, item->hash);
    return e && e->type != TYPE_STRING ? e : NULL;
}

FETCH fetch_value(const struct replay_item *item)
{
    const struct entry *e = peek_value(item);
    if (e) __builtin_prefetch(value_object(e->value));
}

FETCH fetch_member(const struct replay_item *item)
{
    int member = item->command->member;
    const struct entry *e = member && member < item->words.argc ? peek_value(item) : NULL;
    const struct dict *table = e ? value_table(e->value) : NULL;
    if (table) dict_prefetch_bucket(table, value_member_hash(e->type, item->words.argv[member]));
}

static bool run(struct replay *p, const struct replay_item *item)
{
    struct ctx *ctx = &p->ctx;
    ctx->cmd = item->command;
    ctx->argv = item->words.argv;
    ctx->argc = item->words.argc;
    ctx->db = p->session.db = item->words.db;
    ctx->first_key = item->first_key;
    ctx->first_hash = item->hash;
    ctx->cmd->handler(ctx);
    p->commands++;
    if (UNLIKELY(p->reply.error_count) && !judge_error(p, item)) return false;
    reply_clear(&p->reply);
    return true;
}

bool replay_flush(struct replay *p)
{
    uint32_t count = p->count;
    const struct replay_item *items = p->items;
    bool is_good = true;
    p->ctx.now_ms = clock_unix_ms();
    crash_slot_set(&p->ctx);
    for (uint32_t i = 0; i < MIN(count, FETCH_ENTRIES); i++) fetch_entry(&items[i]);
    for (uint32_t i = 0; i < MIN(count, FETCH_VALUES); i++) fetch_value(&items[i]);
    for (uint32_t i = 0; i < count && is_good; i++) {
        if (i + FETCH_ENTRIES < count) fetch_entry(&items[i + FETCH_ENTRIES]);
        if (i + FETCH_VALUES < count) fetch_value(&items[i + FETCH_VALUES]);
        if (i + FETCH_MEMBERS < count) fetch_member(&items[i + FETCH_MEMBERS]);
        is_good = run(p, &items[i]);
    }
    crash_slot_set(NULL);
    p->count = 0;
    if (!is_good || !p->member || crew_breathe(p->member)) return is_good;
    dir_fail(&p->error, "it was given up"); // somebody else says why
    return false;
}

// --- reading -------------------------------------------------------------------------------------

static const struct command *find_command(const struct engine *e, const struct effect_reader *r)
{
    const struct command *c = command_find(e->table, r->argv[0]);
    if (c && c->subcommands && r->argc > 1) c = command_find_sub(c, r->argv[1]);
    return c && c->handler ? c : NULL;
}

// Does an effect of it stand in the logs of all shards, each of which is to do its part?
static bool is_everywhere(const struct command *c)
{
    return !command_has_keys(c) && (c->acl & ACL_KEYSPACE);
}

// Fetches what the first look-up will need.
static inline void prepare(struct replay *p, struct replay_item *item)
{
    const struct ctx *ctx = &p->ctx;
    struct effect_reader *words = &item->words;
    int first = command_first_key(item->command, words->argc, words->argv);
    item->keys = NULL;
    item->first_key = NULL;
    if (!first) return;
    struct slice key = words->argv[first];
    const struct keyspace *space =
        ctx->space_count == 1 ? ctx->space : ctx->spaces[engine_shard_of(ctx->engine, key)];
    item->hash = hash_bytes(key);
    item->first_key = key.ptr;
    item->keys = &space->dbs[words->db].keys;
    dict_prefetch_bucket(item->keys, item->hash);
}

static bool may_run(struct replay *p, const struct replay_item *item)
{
    const struct effect_reader *words = &item->words;
    struct slice name = words->argv[0];
    const struct command *c = item->command;
    if (!c) return fail_at(p, &item->origin, "an unknown command", name);
    if (!command_arity_fits(c, words->argc))
        return fail_at(p, &item->origin, "a wrong number of arguments", name);
    if (words->db >= p->ctx.space->db_count) {
        dir_fail(&p->error,
                 "'%s', %s %" PRIu64 ": a command in database %" PRIu32 ", but there are %" PRIu32
                 " (see `databases` in the configuration)",
                 item->origin.path, item->origin.counts, item->origin.number, words->db,
                 p->ctx.space->db_count);
        return false;
    }
    return true;
}

// The item behind the batch is complete.
static bool take(struct replay *p, struct replay_item *item)
{
    prepare(p, item);
    return ++p->count < REPLAY_BATCH || replay_flush(p);
}

enum replay_step replay_effects(struct replay *p, struct slice *left,
                                const struct replay_origin *origin, bool stops)
{
    for (;;) {
        struct replay_item *item = &p->items[p->count];
        struct slice before = *left;
        item->words.left = *left;
        item->origin = *origin;
        if (!effect_next(&item->words)) break;
        *left = item->words.left;
        item->command = find_command(p->ctx.engine, &item->words);
        if (!may_run(p, item)) return REPLAY_FAILED;
        // PFCOUNT is one that reads, and keeps what it has found in the value.
        if (UNLIKELY(!(item->command->flags & (CMD_WRITE | CMD_READONLY)))) {
            fail_at(p, origin, "a command that writes nothing", item->words.argv[0]);
            return REPLAY_FAILED;
        }
        if (UNLIKELY(stops && is_everywhere(item->command))) {
            *left = before;
            return replay_flush(p) ? REPLAY_STOP : REPLAY_FAILED;
        }
        if (!take(p, item)) return REPLAY_FAILED;
    }
    if (!left->len) return REPLAY_DONE;
    dir_fail(&p->error, "'%s', %s %" PRIu64 ": its effects make no sense", origin->path,
             origin->counts, origin->number);
    return REPLAY_FAILED;
}

// Only what may change data can be of use; and nobody may have the server stop with a log.
static bool is_of_use(const struct command *c)
{
    bool is_script = c->acl & ACL_SCRIPTING;
    bool touches_data = c->flags & (CMD_WRITE | CMD_READONLY | CMD_MAY_REPLICATE);
    return (is_script || touches_data) && !(c->flags & CMD_ADMIN);
}

bool replay_command(struct replay *p, uint32_t db, int argc, const struct slice *argv,
                    const struct replay_origin *origin)
{
    struct replay_item *item = &p->items[p->count];
    struct effect_reader *words = &item->words;
    if (argc > words->cap) {
        words->cap = argc;
        words->argv = mem_realloc(words->argv, (size_t)argc * sizeof words->argv[0]);
    }
    memcpy(words->argv, argv, (size_t)argc * sizeof argv[0]);
    words->argc = argc;
    words->db = db;
    item->origin = *origin;
    item->command = find_command(p->ctx.engine, words);
    if (!may_run(p, item)) return false;
    if (LIKELY(is_of_use(item->command))) return take(p, item);
    if (p->warnings++ < WARNINGS_MAX)
        log_write(LOG_WARNING, "'%s', %s %" PRIu64 ": '%s' is passed over: it changes no data",
                  origin->path, origin->counts, origin->number, item->command->full_name);
    return true;
}
