// SPDX-License-Identifier: BSD-3-Clause
//
// gyre: a Redis-compatible database inside your process: no sockets, no threads, no files. Commands
// go in as arguments or as the bytes that a client would send; replies come out as RESP. Unit
// tests, fuzzers and micro-benchmarks drive the very engine that gyre-server runs, with a clock of
// their own.
//
//     struct gyre *g = gyre_open(NULL);
//     const char *set[] = {"SET", "greeting", "hello"}, *get[] = {"GET", "greeting"};
//     char *reply;
//     size_t len;
//     gyre_execute(g, 3, set, NULL, NULL, NULL);
//     gyre_execute(g, 2, get, NULL, &reply, &len);    // "$5\r\nhello\r\n"
//     gyre_free(reply);
//     gyre_close(g);
//
// A handle is one database with one client session, which remembers what a connection does: SELECT,
// HELLO (RESP2 or RESP3), AUTH, CLIENT SETNAME, CLIENT REPLY. It is not thread-safe: one thread at
// a time. Several handles are independent of one another, each with its own data.
//
// What needs a server is harmless here: SHUTDOWN and CONFIG REWRITE answer an error, CLIENT PAUSE
// and MONITOR have no effect, CONFIG GET and SET know a handful of directives. DEBUG is refused
// unless it is allowed.
//
// Link with libgyre and what it needs: mimalloc, libxxhash, libmd, pthread, libm.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct gyre;

// All zero: as a server with no configuration. Copied by gyre_open.
struct gyre_options {
    unsigned databases;    // that SELECT can choose; 0: 16
    const char *password;  // requirepass: AUTH first; NULL or "": none
    size_t max_bulk_bytes; // proto-max-bulk-len: of an argument; 0: 512 MiB; at least 1 MiB
    uint64_t seed;         // of RANDOMKEY and everything else that is random; 0: a new one
    // Unix time in milliseconds; NULL: the system's clock. Called once before every command.
    // Commands may be given any times, but expiry expects that they do not run backwards.
    int64_t (*now_ms)(void *arg);
    void *now_arg;
    bool is_debug_allowed; // DEBUG, with all that it can do: sleep, crash, fill the memory
};

// Returned beside 0 and -errno: the replies are complete, and a server would close the connection
// now (QUIT, CLIENT KILL of oneself, a protocol error). The session is a new connection's again;
// the data stays.
#define GYRE_CLOSED 1

// A new, empty database; gyre_close frees it. NULL: the options make no sense. `options` may be
// NULL. The order of KEYS and SCAN is the same in every run.
struct gyre *gyre_open(const struct gyre_options *options);
// NULL is fine.
void gyre_close(struct gyre *g);

// Executes one command: argv[0] is its name, lens[i] the bytes of argv[i] (lens NULL: texts that
// end with NUL). Nothing of the arguments is kept. *reply is exactly one RESP value of *reply_len
// bytes, or empty (CLIENT REPLY OFF); never NULL, a NUL stands behind it, the caller frees it with
// gyre_free. Both may be NULL: the reply is dropped.
//
// 0 (also if the reply is an error), GYRE_CLOSED, or -EINVAL if argc < 1: nothing was done then.
int gyre_execute(struct gyre *g, int argc, const char *const *argv, const size_t *lens,
                 char **reply, size_t *reply_len);

// Feeds bytes of a request stream, as if received from a socket: RESP or inline commands, any
// number of them, cut anywhere. What is not a whole request yet is kept for the next call.
// *replies: those of all requests that were completed, one after the other, as in gyre_execute.
//
// 0, or GYRE_CLOSED: what stands behind the request that closed the connection is dropped, as is
// what was kept.
int gyre_feed(struct gyre *g, const char *bytes, size_t len, char **replies, size_t *replies_len);

// Frees a reply. NULL is fine.
void gyre_free(char *reply);

// Stops the clock at this time (Unix ms), instead of whatever it was; call again to move it.
void gyre_set_now_ms(struct gyre *g, int64_t now_ms);

// Housekeeping, which a server does between commands: removes keys that are due and frees what was
// emptied or unlinked, in at most `budget` steps. True: there is more to do. Without it, keys
// expire when they are looked at.
bool gyre_cron(struct gyre *g, unsigned budget);

// Walks all databases and asserts their invariants (aborts if one is violated). Takes time in
// proportion to the data.
void gyre_validate(const struct gyre *g);

// Number of keys in one database, expired ones not yet removed included.
size_t gyre_key_count(const struct gyre *g, unsigned database);

#ifdef __cplusplus
}
#endif
