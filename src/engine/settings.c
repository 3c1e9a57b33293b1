// SPDX-License-Identifier: BSD-3-Clause
//
// Defaults, copying and freeing of snapshots. A new string field needs three things: its member in
// settings.h, its default in set_default_strings, and its line in string_fields, from which copy
// and free know what is owned (test_config.c finds out if the last is forgotten).
#include "engine/settings.h"

#include "base/assert.h"
#include "base/log.h"
#include "base/mem.h"

#define MB (1024 * 1024ull)

static const size_t string_fields[] = {
    offsetof(struct settings, unixsocket),
    offsetof(struct settings, dir),
    offsetof(struct settings, logfile),
    offsetof(struct settings, pidfile),
    offsetof(struct settings, requirepass),
    offsetof(struct settings, dbfilename),
    offsetof(struct settings, appendfilename),
    offsetof(struct settings, appenddirname),
    offsetof(struct settings, masterauth),
    offsetof(struct settings, masteruser),
    offsetof(struct settings, replica_announce_ip),
};

static char **string_at(struct settings *s, size_t field)
{
    return (char **)((char *)s + string_fields[field]);
}

static void set_default_strings(struct settings *s)
{
    s->unixsocket = mem_strdup("");
    s->dir = mem_strdup(".");
    s->logfile = mem_strdup("");
    s->pidfile = mem_strdup("");
    s->requirepass = mem_strdup("");
    s->dbfilename = mem_strdup("dump.rdb");
    s->appendfilename = mem_strdup("appendonly.aof");
    s->appenddirname = mem_strdup("appendonlydir");
    s->masterauth = mem_strdup("");
    s->masteruser = mem_strdup("");
    s->replica_announce_ip = mem_strdup("");
    s->bind[0] = mem_strdup("*");
    s->bind[1] = mem_strdup("-::*");
    s->bind_count = 2;
}

static void set_default_server(struct settings *s)
{
    s->port = 6379;
    s->tcp_backlog = 511;
    s->tcp_keepalive = 300;
    s->maxclients = 10000;
    s->protected_mode = true;
    s->proto_max_bulk_len = 512 * MB;
    s->client_query_buffer_limit = 1024 * MB;
    s->client_output_buffer_limit[OUTPUT_REPLICA] = (struct output_limit){256 * MB, 64 * MB, 60};
    s->client_output_buffer_limit[OUTPUT_PUBSUB] = (struct output_limit){32 * MB, 8 * MB, 60};
    s->uring_level = 3; // io/ring.h: RING_LEVEL_BEST
    s->databases = 16;
    s->loglevel = LOG_NOTICE;
    s->crash_log_enabled = true;
    s->shutdown_timeout = 10;
    s->hz = 10;
    s->dynamic_hz = true;
    s->acllog_max_len = 128;
    s->slowlog_log_slower_than = 10000;
    s->slowlog_max_len = 128;
    s->latency_tracking = true;
    s->latency_tracking_info_percentiles[0] = 50;
    s->latency_tracking_info_percentiles[1] = 99;
    s->latency_tracking_info_percentiles[2] = 99.9;
    s->latency_tracking_info_percentiles_count = 3;
    s->tracking_table_max_keys = 1000000;
    s->busy_reply_threshold = 5000;
}

static void set_default_data(struct settings *s)
{
    s->maxmemory_samples = 5;
    s->maxmemory_eviction_tenacity = 10;
    s->lfu_log_factor = 10;
    s->lfu_decay_time = 1;
    s->active_expire_effort = 1;
    s->limits.hash_max_listpack_entries = 512;
    s->limits.hash_max_listpack_value = 64;
    s->limits.list_max_listpack_size = -2;
    s->limits.set_max_intset_entries = 512;
    s->limits.set_max_listpack_entries = 128;
    s->limits.set_max_listpack_value = 64;
    s->limits.zset_max_listpack_entries = 128;
    s->limits.zset_max_listpack_value = 64;
    s->limits.hll_sparse_max_bytes = 3000;
    s->limits.stream_node_max_bytes = 4096;
    s->limits.stream_node_max_entries = 100;
}

static void set_default_durability(struct settings *s)
{
    s->save[0] = (struct save_point){3600, 1};
    s->save[1] = (struct save_point){300, 100};
    s->save[2] = (struct save_point){60, 10000};
    s->save_count = 3;
    s->rdbcompression = s->rdbchecksum = s->stop_writes_on_bgsave_error = true;
    s->appendfsync = FSYNC_EVERYSEC;
    s->aof_load_truncated = s->aof_use_rdb_preamble = true;
    s->auto_aof_rewrite_percentage = 100;
    s->auto_aof_rewrite_min_size = 64 * MB;
    s->replica_announced = s->replica_serve_stale_data = s->replica_read_only = true;
    s->replica_ignore_maxmemory = true;
    s->replica_priority = 100;
    s->repl_backlog_size = 1 * MB;
    s->repl_backlog_ttl = 3600;
    s->repl_timeout = 60;
    s->repl_ping_replica_period = 10;
    s->repl_diskless_sync = true;
    s->repl_diskless_sync_delay = 5;
    s->min_replicas_max_lag = 10;
}

struct settings *settings_default(void)
{
    struct settings *s = mem_calloc(sizeof *s);
    s->version = 1;
    set_default_strings(s);
    set_default_server(s);
    set_default_data(s);
    set_default_durability(s);
    return s;
}

struct settings *settings_copy(const struct settings *s)
{
    struct settings *copy = mem_alloc(sizeof *copy);
    *copy = *s;
    copy->version++;
    for (size_t i = 0; i < ARRAY_LEN(string_fields); i++)
        *string_at(copy, i) = mem_strdup(*string_at(copy, i));
    for (uint32_t i = 0; i < s->bind_count; i++) copy->bind[i] = mem_strdup(s->bind[i]);
    if (!s->inert) return copy;
    copy->inert = mem_calloc(s->inert_count * sizeof *copy->inert);
    for (uint32_t i = 0; i < s->inert_count; i++)
        if (s->inert[i]) copy->inert[i] = mem_strdup(s->inert[i]);
    return copy;
}

void settings_free(struct settings *s)
{
    if (!s) return;
    for (size_t i = 0; i < ARRAY_LEN(string_fields); i++) mem_free(*string_at(s, i));
    for (uint32_t i = 0; i < s->bind_count; i++) mem_free(s->bind[i]);
    for (uint32_t i = 0; i < s->inert_count; i++) mem_free(s->inert[i]);
    mem_free(s->inert);
    mem_free(s);
}
