// SPDX-License-Identifier: BSD-3-Clause
//
// MEMORY. USAGE goes to its key's shard; PURGE runs on every shard, since each thread's allocator
// holds back memory of its own; the rest read counters of the whole process, at home.
//
// What tables occupy is computed from the number of keys, which every shard publishes: the tables
// of other shards are not to be touched from here.
#include "commands/memory.h"

#include <stdio.h>

#include "base/mem.h"
#include "commands/families.h"
#include "engine/engine.h"

#define TABLE_BYTES_PER_KEY  12 // a bucket's 64 bytes over the 5 to 6 keys that it holds on average
#define EXPIRE_BYTES_PER_KEY 24 // timewheel_node and the pointer to it

// --- figures -------------------------------------------------------------------------------------

uint64_t memory_key_table(const struct ctx *ctx, uint32_t db)
{
    uint64_t keys = 0;
    for (uint32_t i = 0; i < ctx->engine->shard_count; i++)
        keys += stat_get(&ctx->engine->spaces[i]->dbs[db].key_count);
    return keys * TABLE_BYTES_PER_KEY;
}

uint64_t memory_expire_table(const struct ctx *ctx, uint32_t db)
{
    uint64_t keys = 0;
    for (uint32_t i = 0; i < ctx->engine->shard_count; i++)
        keys += stat_get(&ctx->engine->spaces[i]->dbs[db].expire_count);
    return keys * EXPIRE_BYTES_PER_KEY;
}

void memory_gather(struct ctx *ctx, const struct host_info *info, struct memory_figures *out)
{
    struct memory_figures m = {
        .used = mem_used_bytes(),
        .resident = mem_resident_bytes(),
        .startup = info->memory_startup_bytes,
        .clients = info->query_memory_bytes + info->reply_memory_bytes,
    };
    m.peak = MAX(info->memory_peak_bytes, m.used);
    for (uint32_t db = 0; db < ctx->space->db_count; db++) {
        m.key_tables += memory_key_table(ctx, db);
        m.expire_tables += memory_expire_table(ctx, db);
    }
    m.keys = m.key_tables / TABLE_BYTES_PER_KEY;
    m.overhead = m.startup + m.clients + m.key_tables + m.expire_tables;
    m.dataset = m.used > m.overhead ? m.used - m.overhead : 0;
    *out = m;
}

// --- USAGE, PURGE --------------------------------------------------------------------------------

static void usage(struct ctx *ctx)
{
    for (int i = 3; i < ctx->argc; i += 2) {
        int64_t samples;
        if (!ctx_arg_is(ctx, i, "samples") || i + 1 == ctx->argc) {
            reply_error(ctx->reply, ERR_SYNTAX);
            return;
        }
        // The number changes nothing: entry_memory_bytes knows what an entry occupies without
        // sampling.
        if (!ctx_arg_i64(ctx, i + 1, &samples, NULL)) return;
        if (samples < 0) {
            reply_error(ctx->reply, ERR_SYNTAX);
            return;
        }
    }
    const struct entry *e = ctx_peek(ctx, ctx->argv[2]);
    if (e)
        reply_int(ctx->reply, (int64_t)entry_memory_bytes(e));
    else
        reply_null(ctx->reply);
}

static void purge(struct ctx *ctx)
{
    mem_purge();
    reply_ok(ctx->reply);
}

// --- STATS ---------------------------------------------------------------------------------------

struct fields {
    struct reply *reply;
    size_t count;
};

static void add_int(struct fields *f, const char *name, uint64_t value)
{
    f->count++;
    reply_bulk_text(f->reply, name);
    reply_int(f->reply, (int64_t)value);
}

static void add_double(struct fields *f, const char *name, double value)
{
    f->count++;
    reply_bulk_text(f->reply, name);
    reply_double(f->reply, value);
}

static void add_databases(struct ctx *ctx, struct fields *f)
{
    for (uint32_t db = 0; db < ctx->space->db_count; db++) {
        uint64_t main_bytes = memory_key_table(ctx, db);
        if (!main_bytes) continue;
        char name[16];
        snprintf(name, sizeof name, "db.%u", db);
        f->count++;
        reply_bulk_text(f->reply, name);
        reply_map(f->reply, 2);
        reply_bulk_text(f->reply, "overhead.hashtable.main");
        reply_int(f->reply, (int64_t)main_bytes);
        reply_bulk_text(f->reply, "overhead.hashtable.expires");
        reply_int(f->reply, (int64_t)memory_expire_table(ctx, db));
    }
}

// What the allocator holds is known by the process's resident set only; so "active" is that, too.
static void add_allocator(struct fields *f, const struct memory_figures *m)
{
    add_int(f, "allocator.allocated", m->used);
    add_int(f, "allocator.active", m->resident);
    add_int(f, "allocator.resident", m->resident);
    add_int(f, "allocator.muzzy", 0);
    add_double(f, "allocator-fragmentation.ratio", memory_ratio(m->resident, m->used));
    add_int(f, "allocator-fragmentation.bytes", m->resident - m->used);
    add_double(f, "allocator-rss.ratio", 1);
    add_int(f, "allocator-rss.bytes", 0);
    add_double(f, "rss-overhead.ratio", 1);
    add_int(f, "rss-overhead.bytes", 0);
    add_double(f, "fragmentation", memory_ratio(m->resident, m->used));
    add_int(f, "fragmentation.bytes", m->resident - m->used);
}

static void stats(struct ctx *ctx)
{
    struct host_info info = {0};
    struct memory_figures m;
    ctx->engine->host->info(ctx, &info);
    memory_gather(ctx, &info, &m);
    struct fields f = {.reply = ctx->reply};
    struct reply_mark mark = reply_open(ctx->reply);
    uint64_t data = m.used > m.startup ? m.used - m.startup : 0;
    add_int(&f, "peak.allocated", m.peak);
    add_int(&f, "total.allocated", m.used);
    add_int(&f, "startup.allocated", m.startup);
    add_int(&f, "replication.backlog", 0);
    add_int(&f, "clients.slaves", 0);
    add_int(&f, "clients.normal", m.clients);
    add_int(&f, "cluster.links", 0);
    add_int(&f, "aof.buffer", 0);
    add_int(&f, "lua.caches", 0);
    add_int(&f, "functions.caches", 0);
    add_databases(ctx, &f);
    add_int(&f, "overhead.db.hashtable.lut", m.key_tables);
    add_int(&f, "overhead.db.hashtable.rehashing", 0);
    add_int(&f, "db.dict.rehashing.count", 0);
    add_int(&f, "overhead.total", m.overhead);
    add_int(&f, "keys.count", m.keys);
    add_int(&f, "keys.bytes-per-key", m.keys ? data / m.keys : 0);
    add_int(&f, "dataset.bytes", m.dataset);
    add_double(&f, "dataset.percentage", MIN(100, memory_ratio(m.dataset, data) * 100));
    add_double(&f, "peak.percentage", memory_ratio(m.used, m.peak) * 100);
    add_allocator(&f, &m);
    reply_close_map(ctx->reply, mark, f.count);
}

// --- DOCTOR, MALLOC-STATS ------------------------------------------------------------------------

#define DOCTOR_MIN_BYTES    (5u << 20)   // less data says nothing
#define DOCTOR_WASTE_BYTES  (10u << 20)  // small waste is not worth a word
#define DOCTOR_CLIENT_BYTES (200u << 10) // buffers per client

static void diagnose(struct buf *out, const struct memory_figures *m, const struct host_info *info)
{
    double fragmentation = memory_ratio(m->resident, m->used);
    if (m->peak > m->used + m->used / 2)
        buf_printf(out,
                   "- The peak was %.1f times of what is used now. Memory that was freed since may "
                   "still be held; MEMORY PURGE gives it back.\n",
                   memory_ratio(m->peak, m->used));
    if (fragmentation > 1.4 && m->resident > m->used + DOCTOR_WASTE_BYTES)
        buf_printf(out,
                   "- The process occupies %.2f times of what it uses: the allocator's pages are "
                   "partly empty, or the peak was long ago. MEMORY PURGE helps if it is the "
                   "second.\n",
                   fragmentation);
    if (m->used > m->resident + DOCTOR_WASTE_BYTES)
        buf_append_text(out, "- A part of the data set is swapped out. Expect high latency.\n");
    if (info->connected_clients && m->clients / info->connected_clients > DOCTOR_CLIENT_BYTES)
        buf_append_text(out, "- Clients hold more than 200 KiB of buffers on average: some read "
                             "their replies too slowly. CLIENT LIST shows which (omem).\n");
}

static void doctor(struct ctx *ctx)
{
    struct host_info info = {0};
    struct memory_figures m;
    struct buf text = {0};
    ctx->engine->host->info(ctx, &info);
    memory_gather(ctx, &info, &m);
    if (m.used < m.startup + DOCTOR_MIN_BYTES)
        buf_append_text(&text, "There is too little data in memory to say anything about it.\n");
    else
        diagnose(&text, &m, &info);
    if (text.len == 0) buf_append_text(&text, "No memory problem was found.\n");
    reply_verbatim(ctx->reply, "txt", buf_slice(&text));
    buf_free(&text);
}

static void append_line(const char *text, void *arg)
{
    buf_append_text(arg, text);
}

static void malloc_stats(struct ctx *ctx)
{
    struct buf text = {0};
    mem_print_stats(append_line, &text);
    reply_verbatim(ctx->reply, "txt", buf_slice(&text));
    buf_free(&text);
}

static void help(struct ctx *ctx)
{
    static const char *const lines[] = {
        "DOCTOR",
        "    Say what seems wrong with the use of memory.",
        "MALLOC-STATS",
        "    Show the statistics of the memory allocator.",
        "PURGE",
        "    Give memory that the allocator holds but does not need back to the system.",
        "STATS",
        "    Show where the memory of the server went.",
        "USAGE <key> [SAMPLES <count>]",
        "    Show how many bytes a key and its value occupy. <count> is accepted for",
        "    compatibility; nothing needs to be sampled.",
        NULL,
    };
    ctx_reply_help(ctx, lines);
}

// --- declarations --------------------------------------------------------------------------------

#define SPECIAL "nondeterministic_output request_policy:all_shards response_policy:special"

static const struct command subcommands[] = {
    {.name = "doctor",
     .handler = doctor,
     .arity = 2,
     .group = "server",
     .since = "4.0.0",
     .complexity = "O(1)",
     .tips = SPECIAL,
     .flags = CMD_SESSION, // after all that was sent before
     .summary = "Says what seems wrong with the use of memory."},
    {.name = "malloc-stats",
     .handler = malloc_stats,
     .arity = 2,
     .group = "server",
     .since = "4.0.0",
     .tips = SPECIAL,
     .complexity = "Depends on how much memory is allocated, could be slow",
     .summary = "Returns the statistics of the memory allocator."},
    {.name = "purge",
     .handler = purge,
     .arity = 2,
     .span = SPAN_ALL_OK,
     .group = "server",
     .since = "4.0.0",
     .tips = "request_policy:all_shards response_policy:all_succeeded",
     .complexity = "Depends on how much memory is allocated, could be slow",
     .summary = "Gives memory that the allocator holds back to the system."},
    {.name = "stats",
     .handler = stats,
     .arity = 2,
     .group = "server",
     .since = "4.0.0",
     .complexity = "O(1)",
     .tips = SPECIAL,
     .flags = CMD_SESSION, // after all that was sent before
     .summary = "Returns where the memory of the server went."},
    {.name = "usage",
     .handler = usage,
     .arity = -3,
     .flags = CMD_READONLY,
     .acl = ACL_READ,
     .keys = {KEYS(2, 2, 1, KEY_RO)},
     .group = "server",
     .since = "4.0.0",
     .complexity = "O(1)",
     .args = "key [SAMPLES count]",
     .summary = "Returns how many bytes a key and its value occupy."},
    {.name = "help",
     .handler = help,
     .arity = 2,
     .flags = CMD_LOADING | CMD_STALE,
     .group = "server",
     .since = "4.0.0",
     .complexity = "O(1)",
     .summary = "Describes the subcommands."},
    {0},
};

const struct command commands_memory[] = {
    {.name = "memory",
     .arity = -2,
     .subcommands = subcommands,
     .group = "server",
     .since = "4.0.0",
     .complexity = "Depends on the subcommand.",
     .summary = "Commands about memory."},
    {0},
};
