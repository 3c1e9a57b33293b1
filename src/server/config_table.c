// SPDX-License-Identifier: BSD-3-Clause
//
// The table: every directive that a redis.conf of Redis 7.0, 7.2 or 7.4 may contain, and Gyre's own
// (threads, io, uring-level, snapshot-rate-limit). Its order is the order of CONFIG GET * and of
// what CONFIG REWRITE appends.
//
// Typed rows name a field of struct settings, whose default stands in engine/settings.c alone;
// INERT rows have no field: give such a directive a meaning by giving it a field and making its row
// a typed one. Words that stand in front of a line but are no settings (include, user, loadmodule
// …) are server/config_file.c's.
#include "server/config_table.h"

#include <limits.h>

#include "base/assert.h"
#include "base/log.h"
#include "io/ring.h"
#include "server/config_special.h"

// The offset of a field, which must be of this type.
#define FIELD(type, field)                                                                         \
    (offsetof(struct settings, field) + 0 * _Generic(((struct settings *)0)->field, type : 1))

#define BOOL(n, field, ...)                                                                        \
    {                                                                                              \
        .name = (n), .kind = KIND_BOOL, .offset = FIELD(bool, field), __VA_ARGS__                  \
    }
#define INT(n, field, min_, max_, ...)                                                             \
    {                                                                                              \
        .name = (n), .kind = KIND_INT, .offset = FIELD(int64_t, field), .min = (min_),             \
        .max = (max_), __VA_ARGS__                                                                 \
    }
#define MEMORY(n, field, min_, max_, ...)                                                          \
    {                                                                                              \
        .name = (n), .kind = KIND_MEMORY, .offset = FIELD(uint64_t, field), .min = (min_),         \
        .max = (max_), __VA_ARGS__                                                                 \
    }
#define STRING(n, field, ...)                                                                      \
    {                                                                                              \
        .name = (n), .kind = KIND_STRING, .offset = FIELD(char *, field), __VA_ARGS__              \
    }
#define ENUM(n, field, choices_, ...)                                                              \
    {                                                                                              \
        .name = (n), .kind = KIND_ENUM, .offset = FIELD(int64_t, field), .choices = (choices_),    \
        __VA_ARGS__                                                                                \
    }
#define SPECIAL(n, special_, ...)                                                                  \
    {                                                                                              \
        .name = (n), .kind = KIND_SPECIAL, .special = &(special_), __VA_ARGS__                     \
    }

// Without a meaning. The extra flags are an argument because .flags can be given once only.
#define INERT_BOOL(n, initial_, flags_, ...)                                                       \
    {                                                                                              \
        .name = (n), .kind = KIND_BOOL, .initial = (initial_), .flags = DIR_INERT | (flags_),      \
        __VA_ARGS__                                                                                \
    }
#define INERT_INT(n, initial_, min_, max_, flags_, ...)                                            \
    {                                                                                              \
        .name = (n), .kind = KIND_INT, .initial = (initial_), .min = (min_), .max = (max_),        \
        .flags = DIR_INERT | (flags_), __VA_ARGS__                                                 \
    }
#define INERT_MEMORY(n, initial_, min_, max_)                                                      \
    {                                                                                              \
        .name = (n), .kind = KIND_MEMORY, .initial = (initial_), .min = (min_), .max = (max_),     \
        .flags = DIR_INERT                                                                         \
    }
#define INERT_STRING(n, initial_, flags_, ...)                                                     \
    {                                                                                              \
        .name = (n), .kind = KIND_STRING, .initial = (initial_), .flags = DIR_INERT | (flags_),    \
        __VA_ARGS__                                                                                \
    }
#define INERT_ENUM(n, initial_, choices_, flags_)                                                  \
    {                                                                                              \
        .name = (n), .kind = KIND_ENUM, .initial = (initial_), .choices = (choices_),              \
        .flags = DIR_INERT | (flags_)                                                              \
    }

// The order of the choices is the order in which Redis lists them in its error.
static const struct choice io_kinds[] = {
    {"uring", IO_URING}, {"poll", IO_POLL}, {"auto", IO_AUTO}, {0}};
static const struct choice log_levels[] = {{"debug", LOG_DEBUG},     {"verbose", LOG_VERBOSE},
                                           {"notice", LOG_NOTICE},   {"warning", LOG_WARNING},
                                           {"nothing", LOG_NOTHING}, {0}};
static const struct choice accesses[] = {
    {"no", ACCESS_NO}, {"yes", ACCESS_YES}, {"local", ACCESS_LOCAL}, {0}};
static const struct choice supervisors[] = {{"upstart", SUPERVISED_UPSTART},
                                            {"systemd", SUPERVISED_SYSTEMD},
                                            {"auto", SUPERVISED_AUTO},
                                            {"no", SUPERVISED_NO},
                                            {0}};
static const struct choice policies[] = {{"volatile-lru", POLICY_VOLATILE_LRU},
                                         {"volatile-lfu", POLICY_VOLATILE_LFU},
                                         {"volatile-random", POLICY_VOLATILE_RANDOM},
                                         {"volatile-ttl", POLICY_VOLATILE_TTL},
                                         {"allkeys-lru", POLICY_ALLKEYS_LRU},
                                         {"allkeys-lfu", POLICY_ALLKEYS_LFU},
                                         {"allkeys-random", POLICY_ALLKEYS_RANDOM},
                                         {"noeviction", POLICY_NOEVICTION},
                                         {0}};
static const struct choice fsync_policies[] = {
    {"everysec", FSYNC_EVERYSEC}, {"always", FSYNC_ALWAYS}, {"no", FSYNC_NO}, {0}};
static const struct choice sanitizings[] = {
    {"no", SANITIZE_NO}, {"yes", SANITIZE_YES}, {"clients", SANITIZE_CLIENTS}, {0}};

// Of inert directives: the words only.
static const struct choice facilities[] = {
    {"user", 0},   {"local0", 1}, {"local1", 2}, {"local2", 3}, {"local3", 4},
    {"local4", 5}, {"local5", 6}, {"local6", 7}, {"local7", 8}, {0}};
static const struct choice channel_defaults[] = {{"allchannels", 0}, {"resetchannels", 1}, {0}};
static const struct choice diskless_loads[] = {
    {"disabled", 0}, {"on-empty-db", 1}, {"swapdb", 2}, {0}};
static const struct choice oom_adjusts[] = {
    {"no", 0}, {"yes", 1}, {"relative", 2}, {"absolute", 3}, {0}};
static const struct choice endpoint_types[] = {
    {"ip", 0}, {"hostname", 1}, {"unknown-endpoint", 2}, {0}};
static const struct choice error_behaviours[] = {
    {"ignore", 0}, {"panic", 1}, {"panic-on-replicas", 2}, {0}};
static const struct choice tls_auths[] = {{"no", 0}, {"yes", 1}, {"optional", 2}, {0}};

#define IMMUTABLE .flags = DIR_IMMUTABLE

const struct directive config_table[] = {
    // --- network ---
    SPECIAL("bind", special_bind, .flags = DIR_MULTI),
    INT("port", port, 0, 65535),
    BOOL("protected-mode", protected_mode),
    STRING("unixsocket", unixsocket, IMMUTABLE),
    {.name = "unixsocketperm",
     .kind = KIND_OCTAL,
     .offset = FIELD(int64_t, unixsocketperm),
     .max = 0777,
     IMMUTABLE},
    INT("tcp-backlog", tcp_backlog, 0, INT_MAX, IMMUTABLE),
    INT("tcp-keepalive", tcp_keepalive, 0, INT_MAX),
    INT("timeout", timeout_s, 0, INT_MAX),
    INT("maxclients", maxclients, 1, UINT_MAX),
    MEMORY("proto-max-bulk-len", proto_max_bulk_len, 1 << 20, LLONG_MAX),
    MEMORY("client-query-buffer-limit", client_query_buffer_limit, 1 << 20, LLONG_MAX),
    SPECIAL("client-output-buffer-limit", special_output_limits, .flags = DIR_MULTI),
    {.name = "maxmemory-clients",
     .kind = KIND_PERCENT,
     .max = LLONG_MAX,
     .offset = FIELD(int64_t, maxmemory_clients)},
    INERT_STRING("bind-source-addr", "", 0),
    INERT_INT("socket-mark-id", "0", 0, UINT_MAX, DIR_IMMUTABLE),
    INERT_INT("max-new-connections-per-cycle", "10", 1, 1000, 0),
    INERT_INT("max-new-tls-connections-per-cycle", "1", 1, 1000, 0),

    // --- process ---
    INT("threads", threads, 1, SETTINGS_THREADS_MAX, IMMUTABLE),
    ENUM("io", io, io_kinds, IMMUTABLE),
    INT("uring-level", uring_level, RING_LEVEL_PLAIN, RING_LEVEL_BEST,
        .flags = DIR_IMMUTABLE | DIR_HIDDEN),
    INT("databases", databases, 1, INT_MAX, IMMUTABLE),
    SPECIAL("dir", special_dir, .flags = DIR_PROTECTED),
    STRING("logfile", logfile, IMMUTABLE),
    ENUM("loglevel", loglevel, log_levels),
    BOOL("daemonize", daemonize, IMMUTABLE),
    STRING("pidfile", pidfile, IMMUTABLE),
    ENUM("supervised", supervised, supervisors, IMMUTABLE),
    BOOL("crash-log-enabled", crash_log_enabled),
    INT("shutdown-timeout", shutdown_timeout, 0, INT_MAX),
    SPECIAL("shutdown-on-sigterm", special_stop_flags, .flags = DIR_MULTI,
            .offset = FIELD(int64_t, shutdown_on_sigterm)),
    SPECIAL("shutdown-on-sigint", special_stop_flags, .flags = DIR_MULTI,
            .offset = FIELD(int64_t, shutdown_on_sigint)),
    INT("hz", hz, 0, INT_MAX),
    BOOL("dynamic-hz", dynamic_hz),
    INERT_INT("io-threads", "1", 1, 128, DIR_IMMUTABLE,
              .remark = "'threads' says how many cores work"),
    INERT_BOOL("io-threads-do-reads", "no", DIR_IMMUTABLE),
    INERT_BOOL("always-show-logo", "no", DIR_IMMUTABLE),
    INERT_BOOL("set-proc-title", "yes", DIR_IMMUTABLE),
    INERT_STRING("proc-title-template", "{title} {listen-addr} {server-mode}", 0),
    INERT_STRING("locale-collate", "", 0),
    INERT_BOOL("syslog-enabled", "no", DIR_IMMUTABLE, .remark = "see 'logfile'"),
    INERT_STRING("syslog-ident", "redis", DIR_IMMUTABLE),
    INERT_ENUM("syslog-facility", "local0", facilities, DIR_IMMUTABLE),
    INERT_BOOL("crash-memcheck-enabled", "yes", 0),
    INERT_STRING("ignore-warnings", "", 0),
    INERT_BOOL("disable-thp", "yes", DIR_IMMUTABLE),
    INERT_ENUM("oom-score-adj", "no", oom_adjusts, 0),
    SPECIAL("oom-score-adj-values", special_oom_values, .flags = DIR_INERT | DIR_MULTI,
            .initial = "0 200 800"),
    INERT_STRING("server-cpulist", "", DIR_IMMUTABLE, .alias = "server_cpulist"),
    INERT_STRING("bio-cpulist", "", DIR_IMMUTABLE, .alias = "bio_cpulist"),
    INERT_STRING("aof-rewrite-cpulist", "", DIR_IMMUTABLE, .alias = "aof_rewrite_cpulist"),
    INERT_STRING("bgsave-cpulist", "", DIR_IMMUTABLE, .alias = "bgsave_cpulist"),

    // --- access ---
    STRING("requirepass", requirepass, .flags = DIR_SECRET),
    ENUM("enable-protected-configs", enable_protected_configs, accesses, IMMUTABLE),
    ENUM("enable-debug-command", enable_debug_command, accesses, IMMUTABLE),
    ENUM("enable-module-command", enable_module_command, accesses, IMMUTABLE),
    INT("acllog-max-len", acllog_max_len, 0, LLONG_MAX),
    BOOL("hide-user-data-from-log", hide_user_data_from_log),
    INERT_STRING("aclfile", "", DIR_IMMUTABLE, .only = ""),
    INERT_ENUM("acl-pubsub-default", "resetchannels", channel_defaults, 0),

    // --- memory and expiry ---
    MEMORY("maxmemory", maxmemory, 0, ULLONG_MAX),
    ENUM("maxmemory-policy", maxmemory_policy, policies),
    INT("maxmemory-samples", maxmemory_samples, 1, INT_MAX),
    INT("maxmemory-eviction-tenacity", maxmemory_eviction_tenacity, 0, 100),
    INT("lfu-log-factor", lfu_log_factor, 0, INT_MAX),
    INT("lfu-decay-time", lfu_decay_time, 0, INT_MAX),
    INT("active-expire-effort", active_expire_effort, 1, 10),
    BOOL("lazyfree-lazy-eviction", lazyfree_lazy_eviction),
    BOOL("lazyfree-lazy-expire", lazyfree_lazy_expire),
    BOOL("lazyfree-lazy-server-del", lazyfree_lazy_server_del),
    BOOL("lazyfree-lazy-user-del", lazyfree_lazy_user_del),
    BOOL("lazyfree-lazy-user-flush", lazyfree_lazy_user_flush),
    INERT_BOOL("activerehashing", "yes", 0),
    INERT_BOOL("jemalloc-bg-thread", "yes", 0),
    INERT_BOOL("activedefrag", "no", 0),
    INERT_MEMORY("active-defrag-ignore-bytes", "104857600", 1, LLONG_MAX),
    INERT_INT("active-defrag-threshold-lower", "10", 0, 1000, 0),
    INERT_INT("active-defrag-threshold-upper", "100", 0, 1000, 0),
    INERT_INT("active-defrag-cycle-min", "1", 1, 99, 0),
    INERT_INT("active-defrag-cycle-max", "25", 1, 99, 0),
    INERT_INT("active-defrag-max-scan-fields", "1000", 1, LLONG_MAX, 0),

    // --- watching the server ---
    INT("slowlog-log-slower-than", slowlog_log_slower_than, -1, LLONG_MAX),
    INT("slowlog-max-len", slowlog_max_len, 0, LLONG_MAX),
    INT("latency-monitor-threshold", latency_monitor_threshold, 0, LLONG_MAX),
    BOOL("latency-tracking", latency_tracking),
    SPECIAL("latency-tracking-info-percentiles", special_percentiles, .flags = DIR_MULTI),
    SPECIAL("notify-keyspace-events", special_notify),
    INT("tracking-table-max-keys", tracking_table_max_keys, 0, LLONG_MAX),
    INT("busy-reply-threshold", busy_reply_threshold, 0, LLONG_MAX, .alias = "lua-time-limit"),

    // --- encodings ---
    INT("hash-max-listpack-entries", limits.hash_max_listpack_entries, 0, LLONG_MAX,
        .alias = "hash-max-ziplist-entries"),
    MEMORY("hash-max-listpack-value", limits.hash_max_listpack_value, 0, LLONG_MAX,
           .alias = "hash-max-ziplist-value"),
    INT("list-max-listpack-size", limits.list_max_listpack_size, INT_MIN, INT_MAX,
        .alias = "list-max-ziplist-size"),
    INT("list-compress-depth", limits.list_compress_depth, 0, INT_MAX),
    INT("set-max-intset-entries", limits.set_max_intset_entries, 0, LLONG_MAX),
    INT("set-max-listpack-entries", limits.set_max_listpack_entries, 0, LLONG_MAX),
    MEMORY("set-max-listpack-value", limits.set_max_listpack_value, 0, LLONG_MAX),
    INT("zset-max-listpack-entries", limits.zset_max_listpack_entries, 0, LLONG_MAX,
        .alias = "zset-max-ziplist-entries"),
    MEMORY("zset-max-listpack-value", limits.zset_max_listpack_value, 0, LLONG_MAX,
           .alias = "zset-max-ziplist-value"),
    MEMORY("hll-sparse-max-bytes", limits.hll_sparse_max_bytes, 0, LLONG_MAX),
    MEMORY("stream-node-max-bytes", limits.stream_node_max_bytes, 0, LLONG_MAX),
    INT("stream-node-max-entries", limits.stream_node_max_entries, 0, LLONG_MAX),
    ENUM("sanitize-dump-payload", sanitize_dump_payload, sanitizings),

    // --- durability ---
    SPECIAL("save", special_save, .flags = DIR_MULTI),
    STRING("dbfilename", dbfilename, .flags = DIR_PROTECTED | DIR_FILENAME),
    BOOL("rdbcompression", rdbcompression),
    BOOL("rdbchecksum", rdbchecksum, IMMUTABLE),
    MEMORY("snapshot-rate-limit", snapshot_rate_limit, 0, LLONG_MAX),
    BOOL("rdb-del-sync-files", rdb_del_sync_files),
    BOOL("stop-writes-on-bgsave-error", stop_writes_on_bgsave_error),
    BOOL("appendonly", appendonly),
    STRING("appendfilename", appendfilename, .flags = DIR_IMMUTABLE | DIR_FILENAME | DIR_NO_EMPTY),
    STRING("appenddirname", appenddirname, .flags = DIR_IMMUTABLE | DIR_FILENAME | DIR_NO_EMPTY),
    ENUM("appendfsync", appendfsync, fsync_policies),
    BOOL("no-appendfsync-on-rewrite", no_appendfsync_on_rewrite),
    BOOL("aof-load-truncated", aof_load_truncated),
    BOOL("aof-use-rdb-preamble", aof_use_rdb_preamble),
    BOOL("aof-timestamp-enabled", aof_timestamp_enabled),
    INT("auto-aof-rewrite-percentage", auto_aof_rewrite_percentage, 0, INT_MAX),
    MEMORY("auto-aof-rewrite-min-size", auto_aof_rewrite_min_size, 0, LLONG_MAX),
    INERT_BOOL("aof-rewrite-incremental-fsync", "yes", 0),
    INERT_BOOL("rdb-save-incremental-fsync", "yes", 0),
    INERT_BOOL("aof-disable-auto-gc", "no", 0),
    INERT_INT("key-load-delay", "0", INT_MIN, INT_MAX, DIR_HIDDEN),
    INERT_INT("rdb-key-save-delay", "0", INT_MIN, INT_MAX, DIR_HIDDEN),

    // --- replication ---
    SPECIAL("replicaof", special_replicaof, .alias = "slaveof",
            .flags = DIR_INERT | DIR_IMMUTABLE | DIR_MULTI, .initial = ""),
    STRING("masterauth", masterauth, .flags = DIR_SECRET),
    STRING("masteruser", masteruser, .flags = DIR_SECRET),
    STRING("replica-announce-ip", replica_announce_ip, .alias = "slave-announce-ip"),
    INT("replica-announce-port", replica_announce_port, 0, 65535, .alias = "slave-announce-port"),
    BOOL("replica-announced", replica_announced),
    BOOL("replica-serve-stale-data", replica_serve_stale_data, .alias = "slave-serve-stale-data"),
    BOOL("replica-read-only", replica_read_only, .alias = "slave-read-only"),
    BOOL("replica-ignore-maxmemory", replica_ignore_maxmemory, .alias = "slave-ignore-maxmemory"),
    BOOL("replica-lazy-flush", replica_lazy_flush, .alias = "slave-lazy-flush"),
    INT("replica-priority", replica_priority, 0, INT_MAX, .alias = "slave-priority"),
    MEMORY("repl-backlog-size", repl_backlog_size, 1, LLONG_MAX),
    INT("repl-backlog-ttl", repl_backlog_ttl, 0, LLONG_MAX),
    INT("repl-timeout", repl_timeout, 1, INT_MAX),
    INT("repl-ping-replica-period", repl_ping_replica_period, 1, INT_MAX,
        .alias = "repl-ping-slave-period"),
    BOOL("repl-disable-tcp-nodelay", repl_disable_tcp_nodelay),
    BOOL("repl-diskless-sync", repl_diskless_sync),
    INT("repl-diskless-sync-delay", repl_diskless_sync_delay, 0, INT_MAX),
    INT("repl-diskless-sync-max-replicas", repl_diskless_sync_max_replicas, 0, INT_MAX),
    INT("min-replicas-to-write", min_replicas_to_write, 0, INT_MAX, .alias = "min-slaves-to-write"),
    INT("min-replicas-max-lag", min_replicas_max_lag, 0, INT_MAX, .alias = "min-slaves-max-lag"),
    INERT_ENUM("repl-diskless-load", "disabled", diskless_loads, 0),
    INERT_BOOL("replica-ignore-disk-write-errors", "no", 0),
    INERT_ENUM("propagation-error-behavior", "ignore", error_behaviours, 0),

    // --- cluster ---
    INERT_BOOL("cluster-enabled", "no", DIR_IMMUTABLE, .only = "no"),
    INERT_STRING("cluster-config-file", "nodes.conf", DIR_IMMUTABLE),
    INERT_INT("cluster-port", "0", 0, 65535, DIR_IMMUTABLE),
    INERT_INT("cluster-node-timeout", "15000", 0, LLONG_MAX, 0),
    INERT_STRING("cluster-announce-ip", "", 0),
    INERT_STRING("cluster-announce-hostname", "", 0),
    INERT_STRING("cluster-announce-human-nodename", "", 0),
    INERT_INT("cluster-announce-port", "0", 0, 65535, 0),
    INERT_INT("cluster-announce-tls-port", "0", 0, 65535, 0),
    INERT_INT("cluster-announce-bus-port", "0", 0, 65535, 0),
    INERT_ENUM("cluster-preferred-endpoint-type", "ip", endpoint_types, 0),
    INERT_INT("cluster-migration-barrier", "1", 0, INT_MAX, 0),
    INERT_INT("cluster-replica-validity-factor", "10", 0, INT_MAX, 0,
              .alias = "cluster-slave-validity-factor"),
    INERT_BOOL("cluster-replica-no-failover", "no", 0, .alias = "cluster-slave-no-failover"),
    INERT_BOOL("cluster-require-full-coverage", "yes", 0),
    INERT_BOOL("cluster-allow-replica-migration", "yes", 0),
    INERT_BOOL("cluster-allow-reads-when-down", "no", 0),
    INERT_BOOL("cluster-allow-pubsubshard-when-down", "yes", 0),
    INERT_MEMORY("cluster-link-sendbuf-limit", "0", 0, ULLONG_MAX),

    // --- TLS ---
    INERT_INT("tls-port", "0", 0, 65535, 0, .only = "0"),
    INERT_BOOL("tls-replication", "no", 0),
    INERT_BOOL("tls-cluster", "no", 0),
    INERT_ENUM("tls-auth-clients", "yes", tls_auths, 0),
    INERT_STRING("tls-cert-file", "", 0),
    INERT_STRING("tls-key-file", "", 0),
    INERT_STRING("tls-key-file-pass", "", DIR_SECRET),
    INERT_STRING("tls-client-cert-file", "", 0),
    INERT_STRING("tls-client-key-file", "", 0),
    INERT_STRING("tls-client-key-file-pass", "", DIR_SECRET),
    INERT_STRING("tls-dh-params-file", "", 0),
    INERT_STRING("tls-ca-cert-file", "", 0),
    INERT_STRING("tls-ca-cert-dir", "", 0),
    INERT_STRING("tls-protocols", "", 0),
    INERT_STRING("tls-ciphers", "", 0),
    INERT_STRING("tls-ciphersuites", "", 0),
    INERT_BOOL("tls-prefer-server-ciphers", "no", 0),
    INERT_BOOL("tls-session-caching", "yes", 0),
    INERT_INT("tls-session-cache-size", "20480", 0, INT_MAX, 0),
    INERT_INT("tls-session-cache-timeout", "300", 0, INT_MAX, 0),
};

uint32_t config_table_count(void)
{
    return ARRAY_LEN(config_table);
}

const struct directive *config_table_find(struct slice name, bool *is_alias)
{
    for (uint32_t i = 0; i < ARRAY_LEN(config_table); i++) {
        const struct directive *d = &config_table[i];
        bool is_primary = slice_is(name, d->name);
        if (!is_primary && !(d->alias && slice_is(name, d->alias))) continue;
        if (is_alias) *is_alias = !is_primary;
        return d;
    }
    return NULL;
}
