// SPDX-License-Identifier: BSD-3-Clause
//
// INFO. Its figures come from three places, all of which any thread may read: the counters that
// every shard publishes (engine/stats.h, keyspace_stats, each database's key counts), the settings,
// and what the server itself knows (host_info, shard_info). So it runs at home and stops nobody; a
// figure is that of the moment at which it was read, not of one instant for all. It is CMD_SESSION
// so that whatever this connection sent before is finished and counted, on whichever shard it ran.
//
// Fields are those of Redis 7, in its order, since programs parse them by name and people by place.
// What has no counterpart here (forks, replicas, defragmentation …) is there with the value of a
// Redis that never did it; what Gyre adds has names of its own (gyre_…) or a section of its own
// (Shards).
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "commands/digest.h"
#include "commands/families.h"
#include "commands/memory.h"
#include "engine/engine.h"
#include "engine/pubsub.h"
#include "engine/settings.h"
#include "engine/tracking.h"
#include "engine/version.h"
#include "script/scripting.h"

// Summed over all shards.
struct totals {
    uint64_t commands, errors, dirty, hits, misses, expired, expired_fields, evicted, pending_frees,
        frees;
};

struct info {
    struct ctx *ctx;
    const struct engine *engine;
    const struct settings *settings;
    struct buf *out;
    struct host_info host;
    struct memory_figures memory;
    struct totals totals;
};

#define U(value) (unsigned long long)(value)

// --- helpers -------------------------------------------------------------------------------------

static void put_u64(struct info *in, const char *name, uint64_t value)
{
    buf_printf(in->out, "%s:%llu\r\n", name, U(value));
}

static void put_i64(struct info *in, const char *name, int64_t value)
{
    buf_printf(in->out, "%s:%lld\r\n", name, (long long)value);
}

static void put_text(struct info *in, const char *name, const char *value)
{
    buf_printf(in->out, "%s:%s\r\n", name, value);
}

// "value" with two digits behind the point, `suffix` behind that.
static void put_fixed(struct info *in, const char *name, double value, const char *suffix)
{
    buf_printf(in->out, "%s:%.2f%s\r\n", name, value, suffix);
}

static void put_zeros(struct info *in, const char *const *names)
{
    for (; *names; names++) put_u64(in, *names, 0);
}

// name_human:1.50M
static void put_human(struct info *in, const char *name, uint64_t bytes)
{
    static const char units[] = "BKMGTPE";
    double value = (double)bytes;
    int unit = 0;
    for (; value >= 1024 && units[unit + 1]; unit++) value /= 1024;
    if (unit)
        buf_printf(in->out, "%s_human:%.2f%c\r\n", name, value, units[unit]);
    else
        buf_printf(in->out, "%s_human:%lluB\r\n", name, U(bytes));
}

// name:bytes, and name_human:1.50M behind it.
static void put_bytes(struct info *in, const char *name, uint64_t bytes)
{
    put_u64(in, name, bytes);
    put_human(in, name, bytes);
}

static struct totals gather_totals(const struct engine *e)
{
    struct totals t = {0};
    for (uint32_t i = 0; i < e->shard_count; i++) {
        const struct keyspace_stats *k = &e->spaces[i]->stats;
        t.commands += stat_get(&e->stats[i]->total_commands);
        t.errors += stat_get(&e->stats[i]->total_errors);
        t.dirty += stat_get(&k->dirty);
        t.hits += stat_get(&k->hits);
        t.misses += stat_get(&k->misses);
        t.expired += stat_get(&k->expired);
        t.expired_fields += stat_get(&k->expired_fields);
        t.evicted += stat_get(&k->evicted);
        t.pending_frees += stat_get(&k->garbage_pending);
        t.frees += stat_get(&k->garbage_freed);
    }
    return t;
}

// --- Server --------------------------------------------------------------------------------------

static const char *supervised_name(int64_t supervised)
{
    switch (supervised) {
    case SUPERVISED_SYSTEMD: return "systemd";
    case SUPERVISED_UPSTART: return "upstart";
    default: return "no";
    }
}

// listener0:name=tcp,bind=127.0.0.1,bind=-::1,port=6379
static void put_listeners(struct info *in)
{
    const struct settings *s = in->settings;
    int number = 0;
    if (in->host.tcp_port) {
        buf_printf(in->out, "listener%d:name=tcp", number++);
        for (uint32_t i = 0; i < s->bind_count; i++) buf_printf(in->out, ",bind=%s", s->bind[i]);
        buf_printf(in->out, ",port=%d\r\n", in->host.tcp_port);
    }
    if (s->unixsocket[0])
        buf_printf(in->out, "listener%d:name=unix,bind=%s\r\n", number, s->unixsocket);
}

static void put_build(struct info *in)
{
    struct utsname os;
    uname(&os);
    put_text(in, "redis_version", REDIS_VERSION);
    put_text(in, "gyre_version", GYRE_VERSION);
    put_text(in, "redis_git_sha1", "00000000");
    put_text(in, "redis_git_dirty", "0");
    buf_printf(in->out, "redis_build_id:%016llx\r\n",
               U(XXH3_64bits(GYRE_VERSION, sizeof GYRE_VERSION - 1)));
    put_text(in, "redis_mode", "standalone");
    buf_printf(in->out, "os:%s %s %s\r\n", os.sysname, os.release, os.machine);
    put_u64(in, "arch_bits", 8 * sizeof(void *));
    put_text(in, "monotonic_clock", "POSIX clock_gettime");
    put_text(in, "multiplexing_api", in->host.io_backend ? in->host.io_backend : "none");
    put_text(in, "atomicvar_api", "c11-builtin");
    buf_printf(in->out, "gcc_version:%d.%d.%d\r\n", __GNUC__, __GNUC_MINOR__, __GNUC_PATCHLEVEL__);
}

static void fill_server(struct info *in)
{
    int64_t now_us = clock_unix_us();
    int64_t uptime_s = MAX(0, (in->ctx->now_ms - in->engine->started_ms) / 1000);
    put_build(in);
    put_i64(in, "process_id", getpid());
    put_text(in, "process_supervised", supervised_name(in->settings->supervised));
    put_text(in, "run_id", in->engine->run_id);
    put_i64(in, "tcp_port", in->host.tcp_port);
    put_i64(in, "server_time_usec", now_us);
    put_i64(in, "uptime_in_seconds", uptime_s);
    put_i64(in, "uptime_in_days", uptime_s / 86400);
    put_i64(in, "hz", in->settings->hz);
    put_i64(in, "configured_hz", in->settings->hz);
    put_u64(in, "lru_clock", lru_clock(in->ctx->now_ms));
    put_text(in, "executable", in->host.executable);
    put_text(in, "config_file", in->host.config_file);
    put_u64(in, "io_threads_active", 0);
    put_u64(in, "gyre_threads", in->engine->shard_count);
    put_i64(in, "gyre_io_level", in->host.io_level);
    put_listeners(in);
}

// --- Clients -------------------------------------------------------------------------------------

static void fill_clients(struct info *in)
{
    // Relaxed: a figure of the moment.
    uint32_t subscribers = atomic_load_explicit(&in->engine->subscribers, memory_order_relaxed);
    uint32_t trackers = atomic_load_explicit(&in->engine->trackers, memory_order_relaxed);
    static const char *const zeros[] = {
        "watching_clients",    "clients_in_timeout_table",     "total_watched_keys",
        "total_blocking_keys", "total_blocking_keys_on_nokey", NULL};
    put_u64(in, "connected_clients", in->host.connected_clients);
    put_u64(in, "cluster_connections", 0);
    put_u64(in, "maxclients", in->host.max_clients);
    put_u64(in, "client_recent_max_input_buffer", in->host.recent_max_query);
    put_u64(in, "client_recent_max_output_buffer", in->host.recent_max_reply);
    put_u64(in, "blocked_clients", in->host.blocked_clients);
    put_u64(in, "tracking_clients", trackers);
    put_u64(in, "pubsub_clients", subscribers);
    put_zeros(in, zeros);
    put_u64(in, "gyre_monitors", in->host.monitors);
}

// --- Memory --------------------------------------------------------------------------------------

static const char *policy_name(int64_t policy)
{
    static const char *const names[] = {
        [POLICY_NOEVICTION] = "noeviction",     [POLICY_VOLATILE_LRU] = "volatile-lru",
        [POLICY_VOLATILE_LFU] = "volatile-lfu", [POLICY_VOLATILE_RANDOM] = "volatile-random",
        [POLICY_VOLATILE_TTL] = "volatile-ttl", [POLICY_ALLKEYS_LRU] = "allkeys-lru",
        [POLICY_ALLKEYS_LFU] = "allkeys-lfu",   [POLICY_ALLKEYS_RANDOM] = "allkeys-random",
    };
    return policy >= 0 && (size_t)policy < ARRAY_LEN(names) ? names[policy] : "noeviction";
}

static void put_usage(struct info *in)
{
    const struct memory_figures *m = &in->memory;
    uint64_t data = m->used > m->startup ? m->used - m->startup : 0;
    put_bytes(in, "used_memory", m->used);
    put_bytes(in, "used_memory_rss", m->resident);
    put_bytes(in, "used_memory_peak", m->peak);
    put_fixed(in, "used_memory_peak_perc", memory_ratio(m->used, m->peak) * 100, "%");
    put_u64(in, "used_memory_overhead", m->overhead);
    put_u64(in, "used_memory_startup", m->startup);
    put_u64(in, "used_memory_dataset", m->dataset);
    put_fixed(in, "used_memory_dataset_perc", MIN(100, memory_ratio(m->dataset, data) * 100), "%");
    put_u64(in, "allocator_allocated", m->used);
    put_u64(in, "allocator_active", m->resident);
    put_u64(in, "allocator_resident", m->resident);
    put_u64(in, "allocator_muzzy", 0);
    put_bytes(in, "total_system_memory",
              (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE));
}

// One Lua state a shard runs scripts and functions alike: it is shown as that of scripts.
static void put_scripts(struct info *in)
{
    struct scripting_info s;
    scripting_get_info(in->engine, &s);
    put_u64(in, "used_memory_lua", s.lua_bytes);
    put_u64(in, "used_memory_vm_eval", s.lua_bytes);
    put_human(in, "used_memory_lua", s.lua_bytes);
    put_u64(in, "used_memory_scripts_eval", s.script_bytes);
    put_u64(in, "number_of_cached_scripts", s.scripts);
    put_u64(in, "number_of_functions", s.functions);
    put_u64(in, "number_of_libraries", s.libraries);
    put_u64(in, "used_memory_vm_functions", 0);
    put_bytes(in, "used_memory_vm_total", s.lua_bytes);
    put_u64(in, "used_memory_functions", s.library_bytes);
    put_bytes(in, "used_memory_scripts", s.script_bytes + s.library_bytes);
}

static void put_fragmentation(struct info *in)
{
    const struct memory_figures *m = &in->memory;
    int64_t more = (int64_t)(m->resident - m->used);
    double ratio = memory_ratio(m->resident, m->used);
    put_fixed(in, "allocator_frag_ratio", ratio, "");
    put_i64(in, "allocator_frag_bytes", more);
    put_fixed(in, "allocator_rss_ratio", 1, "");
    put_i64(in, "allocator_rss_bytes", 0);
    put_fixed(in, "rss_overhead_ratio", 1, "");
    put_i64(in, "rss_overhead_bytes", 0);
    put_fixed(in, "mem_fragmentation_ratio", ratio, "");
    put_i64(in, "mem_fragmentation_bytes", more);
}

static void fill_memory(struct info *in)
{
    static const char *const before[] = {"mem_not_counted_for_evict", "mem_replication_backlog",
                                         "mem_total_replication_buffers", "mem_clients_slaves",
                                         NULL};
    static const char *const after[] = {"mem_cluster_links", "mem_aof_buffer", NULL};
    put_usage(in);
    put_scripts(in);
    put_bytes(in, "maxmemory", in->settings->maxmemory);
    put_text(in, "maxmemory_policy", policy_name(in->settings->maxmemory_policy));
    put_fragmentation(in);
    put_zeros(in, before);
    put_u64(in, "mem_clients_normal", in->memory.clients);
    put_zeros(in, after);
    put_text(in, "mem_allocator", mem_allocator_name());
    put_u64(in, "mem_overhead_db_hashtable_rehashing", 0);
    put_u64(in, "active_defrag_running", 0);
    put_u64(in, "lazyfree_pending_objects", in->totals.pending_frees);
    put_u64(in, "lazyfreed_objects", in->totals.frees);
}

// --- Persistence ---------------------------------------------------------------------------------

static void put_log(struct info *in, const struct persistence_info *p)
{
    put_u64(in, "aof_current_size", p->log_bytes);
    put_u64(in, "aof_base_size", p->log_base_bytes);
    put_u64(in, "aof_pending_rewrite", 0);
    put_u64(in, "aof_buffer_length", p->log_pending_bytes);
    put_u64(in, "aof_pending_bio_fsync", 0);
    put_u64(in, "aof_delayed_fsync", p->delayed_syncs);
}

static void put_loading(struct info *in, const struct persistence_info *p, int64_t now_s)
{
    uint64_t done = p->loading_done_bytes, total = MAX(p->loading_total_bytes, 1);
    int64_t elapsed_s = now_s - p->loading_began_s;
    uint64_t left = total - MIN(done, total);
    put_i64(in, "loading_start_time", p->loading_began_s);
    put_u64(in, "loading_total_bytes", p->loading_total_bytes);
    put_u64(in, "loading_rdb_used_mem", 0);
    put_u64(in, "loading_loaded_bytes", done);
    put_fixed(in, "loading_loaded_perc", (double)done * 100 / (double)total, "");
    put_u64(in, "loading_eta_seconds", done ? (uint64_t)elapsed_s * left / done : 1);
}

static void fill_persistence(struct info *in)
{
    static const char *const cow[] = {"async_loading", "current_cow_peak", "current_cow_size",
                                      "current_cow_size_age", NULL};
    const struct host *host = in->engine->host;
    struct persistence_info p = {.is_snapshot_ok = true,
                                 .last_save_s = in->engine->started_ms / 1000,
                                 .last_snapshot_s = -1,
                                 .is_rewrite_ok = true,
                                 .is_log_ok = true,
                                 .last_rewrite_s = -1,
                                 .changes = in->totals.dirty};
    if (host && host->persistence) host->persistence(in->ctx, &p);
    int64_t now_s = in->ctx->now_ms / 1000;
    put_u64(in, "loading", p.is_loading);
    put_zeros(in, cow);
    put_fixed(in, "current_fork_perc", 0, "");
    put_u64(in, "current_save_keys_processed", p.keys_done);
    put_u64(in, "current_save_keys_total", p.keys_total);
    put_u64(in, "rdb_changes_since_last_save", p.changes);
    put_u64(in, "rdb_bgsave_in_progress", p.is_saving);
    put_i64(in, "rdb_last_save_time", p.last_save_s);
    put_text(in, "rdb_last_bgsave_status", p.is_snapshot_ok ? "ok" : "err");
    put_i64(in, "rdb_last_bgsave_time_sec", p.last_snapshot_s);
    put_i64(in, "rdb_current_bgsave_time_sec", p.is_saving ? now_s - p.saving_since_s : -1);
    put_u64(in, "rdb_saves", p.snapshots);
    put_u64(in, "rdb_last_cow_size", 0); // nothing is copied: there is no fork
    put_u64(in, "rdb_last_load_keys_expired", p.keys_expired);
    put_u64(in, "rdb_last_load_keys_loaded", p.keys_loaded);
    put_u64(in, "aof_enabled", p.is_log_on);
    put_u64(in, "aof_rewrite_in_progress", p.is_rewriting);
    put_u64(in, "aof_rewrite_scheduled", p.is_rewrite_scheduled);
    put_i64(in, "aof_last_rewrite_time_sec", p.last_rewrite_s);
    put_i64(in, "aof_current_rewrite_time_sec", p.is_rewriting ? now_s - p.rewriting_since_s : -1);
    put_text(in, "aof_last_bgrewrite_status", p.is_rewrite_ok ? "ok" : "err");
    put_u64(in, "aof_rewrites", p.rewrites);
    put_u64(in, "aof_rewrites_consecutive_failures", p.rewrite_failures);
    put_text(in, "aof_last_write_status", p.is_log_ok ? "ok" : "err");
    put_u64(in, "aof_last_cow_size", 0);
    put_u64(in, "module_fork_in_progress", 0);
    put_u64(in, "module_fork_last_cow_size", 0);
    if (p.is_log_on) put_log(in, &p);
    if (p.is_loading) put_loading(in, &p, now_s);
}

// --- Stats ---------------------------------------------------------------------------------------

static void put_traffic(struct info *in)
{
    static const char *const zeros[] = {"sync_full", "sync_partial_ok", "sync_partial_err", NULL};
    put_u64(in, "total_connections_received", in->host.total_connections);
    put_u64(in, "total_commands_processed", in->totals.commands);
    put_u64(in, "instantaneous_ops_per_sec", in->host.ops_per_second);
    put_u64(in, "total_net_input_bytes", in->host.net_input_bytes);
    put_u64(in, "total_net_output_bytes", in->host.net_output_bytes);
    put_u64(in, "total_net_repl_input_bytes", 0);
    put_u64(in, "total_net_repl_output_bytes", 0);
    put_fixed(in, "instantaneous_input_kbps", in->host.input_kbps, "");
    put_fixed(in, "instantaneous_output_kbps", in->host.output_kbps, "");
    put_fixed(in, "instantaneous_input_repl_kbps", 0, "");
    put_fixed(in, "instantaneous_output_repl_kbps", 0, "");
    put_u64(in, "rejected_connections", in->host.rejected_connections);
    put_zeros(in, zeros);
    put_u64(in, "expired_subkeys", in->totals.expired_fields);
}

// INFO is answered while its shard is parked, too.
static void put_pubsub(struct info *in)
{
    const struct pubsub *p = in->engine->pubsub[in->ctx->space->shard];
    put_u64(in, "pubsub_channels", pubsub_count(p, PUBSUB_CHANNEL));
    put_u64(in, "pubsub_patterns", pubsub_count(p, PUBSUB_PATTERN));
    put_u64(in, "pubsubshard_channels", pubsub_count(p, PUBSUB_SHARD_CHANNEL));
}

static void put_tracking(struct info *in)
{
    uint64_t keys = 0, items = 0;
    for (uint32_t i = 0; i < in->engine->shard_count; i++) {
        keys += stat_get(&in->engine->tracking[i]->key_count);
        items += stat_get(&in->engine->tracking[i]->item_count);
    }
    put_u64(in, "tracking_total_keys", keys);
    put_u64(in, "tracking_total_items", items);
    put_u64(in, "tracking_total_prefixes",
            stat_get(&in->engine->tracking[0]->published_prefixes)); // all have the same
}

static void fill_stats(struct info *in)
{
    static const char *const eviction[] = {"total_eviction_exceeded_time",
                                           "current_eviction_exceeded_time", NULL};
    static const char *const middle[] = {"latest_fork_usec",
                                         "total_forks",
                                         "migrate_cached_sockets",
                                         "slave_expires_tracked_keys",
                                         "active_defrag_hits",
                                         "active_defrag_misses",
                                         "active_defrag_key_hits",
                                         "active_defrag_key_misses",
                                         "total_active_defrag_time",
                                         "current_active_defrag_time",
                                         NULL};
    static const char *const io[] = {"io_threaded_reads_processed", "io_threaded_writes_processed",
                                     "client_query_buffer_limit_disconnections", NULL};
    static const char *const last[] = {"reply_buffer_shrinks",
                                       "reply_buffer_expands",
                                       "acl_access_denied_auth",
                                       "acl_access_denied_cmd",
                                       "acl_access_denied_key",
                                       "acl_access_denied_channel",
                                       NULL};
    put_traffic(in);
    put_u64(in, "expired_keys", in->totals.expired);
    put_fixed(in, "expired_stale_perc", 0, "");
    put_u64(in, "expired_time_cap_reached_count", 0);
    put_u64(in, "expire_cycle_cpu_milliseconds", 0);
    put_u64(in, "evicted_keys", in->totals.evicted);
    put_u64(in, "evicted_clients", 0);
    put_u64(in, "evicted_scripts", script_cache_evicted(&scripting_of(in->engine)->cache));
    put_zeros(in, eviction);
    put_u64(in, "keyspace_hits", in->totals.hits);
    put_u64(in, "keyspace_misses", in->totals.misses);
    put_pubsub(in);
    put_zeros(in, middle);
    put_tracking(in);
    put_u64(in, "unexpected_error_replies", 0);
    put_u64(in, "total_error_replies", in->totals.errors);
    put_u64(in, "dump_payload_sanitizations", 0);
    put_u64(in, "total_reads_processed", in->host.reads_processed);
    put_u64(in, "total_writes_processed", in->host.writes_processed);
    put_zeros(in, io);
    put_u64(in, "client_output_buffer_limit_disconnections", in->host.over_output_limit);
    put_zeros(in, last);
    put_u64(in, "gyre_connection_handovers", in->host.handovers);
}

// --- Replication, CPU, Modules, Cluster ----------------------------------------------------------

// Two things make the id: this run, and how often DEBUG CHANGE-REPL-ID asked for another.
static void put_replid(struct info *in)
{
    char source[64], id[DIGEST_TEXT];
    uint32_t epoch = atomic_load_explicit(&in->engine->replid_epoch, memory_order_relaxed);
    snprintf(source, sizeof source, "%s:%u", in->engine->run_id, epoch);
    digest_of_text(source, id);
    put_text(in, "master_replid", id);
    put_text(in, "master_replid2", "0000000000000000000000000000000000000000");
}

static void fill_replication(struct info *in)
{
    put_text(in, "role", "master");
    put_u64(in, "connected_slaves", 0);
    put_text(in, "master_failover_state", "no-failover");
    put_replid(in);
    put_u64(in, "master_repl_offset", 0);
    put_i64(in, "second_repl_offset", -1);
    put_u64(in, "repl_backlog_active", 0);
    put_u64(in, "repl_backlog_size", in->settings->repl_backlog_size);
    put_u64(in, "repl_backlog_first_byte_offset", 0);
    put_u64(in, "repl_backlog_histlen", 0);
}

static void put_cpu(struct info *in, int who, const char *suffix)
{
    struct rusage r = {0};
    getrusage(who, &r);
    buf_printf(in->out, "used_cpu_sys%s:%ld.%06ld\r\nused_cpu_user%s:%ld.%06ld\r\n", suffix,
               (long)r.ru_stime.tv_sec, (long)r.ru_stime.tv_usec, suffix, (long)r.ru_utime.tv_sec,
               (long)r.ru_utime.tv_usec);
}

static void fill_cpu(struct info *in)
{
    put_cpu(in, RUSAGE_SELF, "");
    put_cpu(in, RUSAGE_CHILDREN, "_children");
    put_cpu(in, RUSAGE_THREAD, "_main_thread"); // there is none: of the shard that answers
}

static void fill_modules(struct info *in)
{
    (void)in;
}

static void fill_cluster(struct info *in)
{
    put_u64(in, "cluster_enabled", 0);
}

// --- Commandstats, Latencystats, Errorstats ------------------------------------------------------

static void fill_commandstats(struct info *in)
{
    const struct engine *e = in->engine;
    double per_us = clock_ticks_per_us();
    for (uint32_t id = 0; id < command_count(e->table); id++) {
        uint64_t calls = 0, ticks = 0, rejected = 0, failed = 0;
        for (uint32_t s = 0; s < e->shard_count; s++) {
            const struct command_stats *c = &e->stats[s]->commands[id];
            calls += stat_get(&c->calls);
            ticks += stat_get(&c->ticks);
            rejected += stat_get(&c->rejected);
            failed += stat_get(&c->failed);
        }
        if (!calls && !rejected && !failed) continue;
        uint64_t us = (uint64_t)((double)ticks / per_us);
        buf_printf(in->out,
                   "cmdstat_%s:calls=%llu,usec=%llu,usec_per_call=%.2f,rejected_calls=%llu,"
                   "failed_calls=%llu\r\n",
                   command_at(e->table, id)->full_name, U(calls), U(us),
                   calls ? (double)us / (double)calls : 0, U(rejected), U(failed));
    }
}

static void fill_latencystats(struct info *in)
{
    const struct engine *e = in->engine;
    const struct settings *s = in->settings;
    if (!s->latency_tracking) return;
    for (uint32_t id = 0; id < command_count(e->table); id++) {
        uint64_t counts[STATS_HISTOGRAM_BUCKETS] = {0}, total = 0;
        for (uint32_t i = 0; i < e->shard_count; i++)
            total += stats_histogram_add(&e->stats[i]->commands[id], counts);
        if (!total) continue;
        buf_printf(in->out, "latency_percentiles_usec_%s:", command_at(e->table, id)->full_name);
        for (uint32_t i = 0; i < s->latency_tracking_info_percentiles_count; i++) {
            double p = s->latency_tracking_info_percentiles[i];
            buf_printf(in->out, "%sp%g=%.3f", i ? "," : "", p,
                       stats_histogram_percentile_us(counts, total, p));
        }
        buf_append_text(in->out, "\r\n");
    }
}

struct error_total {
    const char *code; // in a shard's table, which keeps its names
    uint64_t count;
};

static int by_code(const void *a, const void *b)
{
    return strcmp(((const struct error_total *)a)->code, ((const struct error_total *)b)->code);
}

static void fill_errorstats(struct info *in)
{
    const struct engine *e = in->engine;
    struct error_total *all = mem_alloc(e->shard_count * STATS_ERROR_CODES * sizeof *all);
    size_t n = 0;
    for (uint32_t s = 0; s < e->shard_count; s++) {
        const struct shard_stats *stats = e->stats[s];
        // Acquire: pairs with the release in stats_count_error.
        uint64_t used = atomic_load_explicit(&stats->error_codes, memory_order_acquire);
        for (uint64_t i = 0; i < used; i++)
            all[n++] = (struct error_total){.code = stats->errors[i].code,
                                            .count = stat_get(&stats->errors[i].count)};
    }
    qsort(all, n, sizeof *all, by_code);
    for (size_t i = 0, next; i < n; i = next) {
        uint64_t count = 0;
        for (next = i; next < n && strcmp(all[next].code, all[i].code) == 0; next++)
            count += all[next].count;
        if (count) buf_printf(in->out, "errorstat_%s:count=%llu\r\n", all[i].code, U(count));
    }
    mem_free(all);
}

// --- Keyspace, Shards ----------------------------------------------------------------------------

static void fill_keyspace(struct info *in)
{
    const struct engine *e = in->engine;
    for (uint32_t db = 0; db < in->ctx->space->db_count; db++) {
        uint64_t keys = 0, expires = 0;
        double ttl_sum = 0;
        for (uint32_t s = 0; s < e->shard_count; s++) {
            const struct db *d = &e->spaces[s]->dbs[db];
            uint64_t n = stat_get(&d->expire_count);
            keys += stat_get(&d->key_count);
            expires += n;
            ttl_sum += (double)stat_get(&d->avg_ttl_ms) * (double)n;
        }
        if (!keys) continue;
        buf_printf(in->out, "db%u:keys=%llu,expires=%llu,avg_ttl=%llu\r\n", db, U(keys), U(expires),
                   U(expires ? ttl_sum / (double)expires : 0));
    }
}

// One line a shard. connections: those that live there; commands: those it executed; forwarded:
// those it sent to others; meetings: those it ran for itself and others; stand_ins: times that
// another thread did its work while it slept; inbox: messages waiting now; busy: percent of the
// time that its thread works.
static void fill_shards(struct info *in)
{
    struct shard_info s = {0};
    for (uint32_t i = 0; in->engine->host->shard_info(in->ctx, i, &s); i++)
        buf_printf(in->out,
                   "shard%u:keys=%llu,connections=%llu,commands=%llu,forwarded=%llu,meetings=%llu,"
                   "stand_ins=%llu,inbox=%llu,busy=%.1f\r\n",
                   i, U(s.keys), U(s.connections), U(s.commands), U(s.forwarded), U(s.meetings),
                   U(s.stand_ins), U(s.inbox_depth), (double)s.busy_permille / 10);
}

// --- INFO ----------------------------------------------------------------------------------------

static const struct section {
    const char *name, *title;
    void (*fill)(struct info *in);
    bool is_default;
} sections[] = {
    {"server", "Server", fill_server, true},
    {"clients", "Clients", fill_clients, true},
    {"memory", "Memory", fill_memory, true},
    {"persistence", "Persistence", fill_persistence, true},
    {"stats", "Stats", fill_stats, true},
    {"replication", "Replication", fill_replication, true},
    {"cpu", "CPU", fill_cpu, true},
    {"modules", "Modules", fill_modules, true},
    {"commandstats", "Commandstats", fill_commandstats, false},
    {"errorstats", "Errorstats", fill_errorstats, true},
    {"latencystats", "Latencystats", fill_latencystats, false},
    {"cluster", "Cluster", fill_cluster, true},
    {"keyspace", "Keyspace", fill_keyspace, true},
    {"shards", "Shards", fill_shards, true},
};

// A bit for each section that the arguments name.
static unsigned wanted_sections(const struct ctx *ctx)
{
    unsigned wanted = 0;
    for (int arg = 1; arg < ctx->argc || (arg == 1 && ctx->argc == 1); arg++) {
        bool is_default = ctx->argc == 1 || ctx_arg_is(ctx, arg, "default");
        bool is_all = ctx_arg_is(ctx, arg, "all") || ctx_arg_is(ctx, arg, "everything");
        for (unsigned i = 0; i < ARRAY_LEN(sections); i++)
            if (is_all || (is_default && sections[i].is_default) ||
                ctx_arg_is(ctx, arg, sections[i].name))
                wanted |= 1u << i;
        if (ctx_arg_is(ctx, arg, "module_list")) wanted |= 1u << 7; // another name of "modules"
    }
    return wanted;
}

static void info(struct ctx *ctx)
{
    struct buf text = {0};
    struct info in = {.ctx = ctx, .engine = ctx->engine, .settings = ctx->settings, .out = &text};
    unsigned wanted = wanted_sections(ctx);
    ctx->engine->host->info(ctx, &in.host);
    memory_gather(ctx, &in.host, &in.memory);
    in.totals = gather_totals(ctx->engine);
    for (unsigned i = 0; i < ARRAY_LEN(sections); i++) {
        if (!(wanted & 1u << i)) continue;
        if (text.len) buf_append_text(&text, "\r\n");
        buf_printf(&text, "# %s\r\n", sections[i].title);
        sections[i].fill(&in);
    }
    reply_verbatim(ctx->reply, "txt", buf_slice(&text));
    buf_free(&text);
}

const struct command commands_info[] = {
    {.name = "info",
     .handler = info,
     .arity = -1,
     .flags = CMD_LOADING | CMD_STALE | CMD_SESSION,
     .acl = ACL_DANGEROUS,
     .group = "server",
     .since = "1.0.0",
     .complexity = "O(1)",
     .args = "[section:string ...]",
     .history = "7.0.0: Several sections can be asked for at once.",
     .tips = "nondeterministic_output request_policy:all_shards response_policy:special",
     .summary = "Returns information and statistics about the server."},
    {0},
};
