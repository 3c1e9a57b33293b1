// SPDX-License-Identifier: BSD-3-Clause
//
// settings: one immutable snapshot of everything that code reads from the configuration, in plain
// typed fields. A change (CONFIG SET) makes a new snapshot and publishes it (engine->settings); who
// holds the old one keeps reading a consistent whole. What the directives are called, how they are
// parsed and what ranges they have is the business of server/config*.c, which fills these fields;
// the engine knows the fields only.
//
// A field is named after its directive, with _ for -. Integers are int64_t, sizes in bytes
// uint64_t, strings owned and never NULL ("" where nothing is set). Only settings.c and
// server/config*.c change a field.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "types/value.h"

#define SETTINGS_BIND_MAX        16 // addresses that bind accepts, as in Redis
#define SETTINGS_SAVE_MAX        64 // save points; more make no sense
#define SETTINGS_PERCENTILES_MAX 32 // of latency-tracking-info-percentiles
#define SETTINGS_THREADS_MAX     256

enum io_kind { IO_AUTO, IO_URING, IO_POLL };

// enable-debug-command and its kin: LOCAL means over a Unix socket or from a loopback address.
enum access { ACCESS_NO, ACCESS_YES, ACCESS_LOCAL };

enum supervised { SUPERVISED_NO, SUPERVISED_AUTO, SUPERVISED_SYSTEMD, SUPERVISED_UPSTART };

enum maxmemory_policy {
    POLICY_NOEVICTION,
    POLICY_VOLATILE_LRU,
    POLICY_VOLATILE_LFU,
    POLICY_VOLATILE_RANDOM,
    POLICY_VOLATILE_TTL,
    POLICY_ALLKEYS_LRU,
    POLICY_ALLKEYS_LFU,
    POLICY_ALLKEYS_RANDOM,
};

enum appendfsync { FSYNC_NO, FSYNC_ALWAYS, FSYNC_EVERYSEC };

enum sanitize_payload { SANITIZE_NO, SANITIZE_YES, SANITIZE_CLIENTS };

// shutdown-on-sigterm, shutdown-on-sigint: a set of these.
enum stop_flag {
    STOP_SAVE = 1u << 0,
    STOP_NOSAVE = 1u << 1,
    STOP_NOW = 1u << 2,
    STOP_FORCE = 1u << 3,
};

// notify-keyspace-events: the classes are enum event_class (engine/ctx.h) at the same bits; above
// them stand the two channels to notify, and the class of module keys, which is a name only.
enum notify_flag {
    NOTIFY_MODULE = 1u << 16,   // d
    NOTIFY_KEYSPACE = 1u << 17, // K
    NOTIFY_KEYEVENT = 1u << 18, // E
};

enum output_class { OUTPUT_NORMAL, OUTPUT_REPLICA, OUTPUT_PUBSUB, OUTPUT_CLASSES };

struct output_limit {
    uint64_t hard, soft;  // bytes; 0: no limit
    int64_t soft_seconds; // for which `soft` may be exceeded
};

struct save_point {
    int64_t seconds, changes;
};

struct settings {
    uint64_t version; // a copy's is one more: no two that follow each other have the same
    // --- network ---
    char *bind[SETTINGS_BIND_MAX]; // as written: "-::1" may fail, "*" all of IPv4, "-::*" of IPv6
    uint32_t bind_count;           // 0: listen on no TCP address
    int64_t port;                  // 0: no TCP
    char *unixsocket;              // path; "": none
    int64_t unixsocketperm;        // mode bits; 0: leave what the umask gives
    int64_t tcp_backlog;
    int64_t tcp_keepalive; // seconds; 0: off
    int64_t timeout_s;     // `timeout`: seconds a client may idle; 0: forever
    int64_t maxclients;
    bool protected_mode;
    uint64_t proto_max_bulk_len;
    uint64_t client_query_buffer_limit;
    struct output_limit client_output_buffer_limit[OUTPUT_CLASSES];
    // Bytes for all clients' buffers; < 0: percent of maxmemory; 0: no limit.
    int64_t maxmemory_clients;

    // --- process ---
    int64_t threads; // workers, one shard each; 0: one per core (config_load puts the number in)
    int64_t io;      // enum io_kind
    int64_t uring_level; // hidden: highest rung of io/ring.h's ladder to use
    int64_t databases;
    char *dir;        // absolute after config_load
    char *logfile;    // "": standard output
    int64_t loglevel; // enum log_level (base/log.h)
    bool daemonize;
    char *pidfile;
    int64_t supervised; // enum supervised
    bool crash_log_enabled;
    int64_t shutdown_timeout;                        // seconds to wait for replicas
    int64_t shutdown_on_sigterm, shutdown_on_sigint; // enum stop_flag; 0: the default
    int64_t hz;
    bool dynamic_hz;

    // --- access ---
    char *requirepass; // secret: never to a log or an error text
    int64_t enable_debug_command, enable_protected_configs, enable_module_command; // enum access
    int64_t acllog_max_len;
    bool hide_user_data_from_log;

    // --- memory and expiry ---
    uint64_t maxmemory;       // bytes; 0: no limit
    int64_t maxmemory_policy; // enum maxmemory_policy
    int64_t maxmemory_samples;
    int64_t maxmemory_eviction_tenacity;    // 0 … 100
    int64_t lfu_log_factor, lfu_decay_time; // decay in minutes
    int64_t active_expire_effort;           // 1 … 10
    bool lazyfree_lazy_eviction, lazyfree_lazy_expire, lazyfree_lazy_server_del;
    bool lazyfree_lazy_user_del, lazyfree_lazy_user_flush;

    // --- watching the server ---
    int64_t slowlog_log_slower_than; // microseconds; -1: never
    int64_t slowlog_max_len;
    int64_t latency_monitor_threshold; // milliseconds; 0: off
    bool latency_tracking;
    double latency_tracking_info_percentiles[SETTINGS_PERCENTILES_MAX];
    uint32_t latency_tracking_info_percentiles_count;
    int64_t notify_keyspace_events; // enum event_class | enum notify_flag
    int64_t tracking_table_max_keys;
    int64_t busy_reply_threshold; // milliseconds a script may run before others are answered BUSY

    // --- encodings ---
    struct value_limits limits;
    int64_t sanitize_dump_payload; // enum sanitize_payload

    // --- durability (nothing reads these yet) ---
    struct save_point save[SETTINGS_SAVE_MAX];
    uint32_t save_count;
    char *dbfilename;
    uint64_t snapshot_rate_limit; // bytes a second of BGSAVE and BGREWRITEAOF; 0: none
    bool rdbcompression, rdbchecksum, rdb_del_sync_files, stop_writes_on_bgsave_error;
    bool appendonly;
    char *appendfilename, *appenddirname;
    int64_t appendfsync; // enum appendfsync
    bool no_appendfsync_on_rewrite, aof_load_truncated, aof_use_rdb_preamble, aof_timestamp_enabled;
    int64_t auto_aof_rewrite_percentage;
    uint64_t auto_aof_rewrite_min_size;

    // --- replication (nothing reads these yet) ---
    char *masterauth, *masteruser; // masterauth is secret
    char *replica_announce_ip;
    int64_t replica_announce_port;
    bool replica_announced, replica_serve_stale_data, replica_read_only, replica_ignore_maxmemory;
    bool replica_lazy_flush;
    int64_t replica_priority;
    uint64_t repl_backlog_size;
    int64_t repl_backlog_ttl, repl_timeout, repl_ping_replica_period; // seconds
    bool repl_disable_tcp_nodelay, repl_diskless_sync;
    int64_t repl_diskless_sync_delay, repl_diskless_sync_max_replicas;
    int64_t min_replicas_to_write, min_replicas_max_lag;

    // Texts of the directives that are accepted and shown but have no meaning here; by index in the
    // configuration's table, which alone knows them. Owned; NULL entries stand for the default.
    char **inert;
    uint32_t inert_count;
};

// A new snapshot with every default, owned by the caller. `threads` is 0, `dir` ".".
struct settings *settings_default(void);
// A deep copy, owned by the caller.
struct settings *settings_copy(const struct settings *s);
// NULL is fine.
void settings_free(struct settings *s);
