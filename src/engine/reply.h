// SPDX-License-Identifier: BSD-3-Clause
//
// reply: builds RESP2 and RESP3 replies straight into the chunks that are sent. Handlers say what
// they mean (a map, a null, a double); the protocol version decides the bytes.
//
// A reply is a list of chunks; the last one is being written (pos .. end). Big string values are
// linked in as blob references instead of being copied.
//
//   head                                                     tail
//   [chunk: len bytes] -> [chunk: a blob's bytes] -> ... -> [chunk: bytes .. pos, room .. end]
//   \________________ sealed_bytes __________________/
//
// The bytes of a reply are those of its chunks in order; where one ends and the next begins means
// nothing. Chunks can be taken off (reply_detach), sent, and given back (reply_recycle): a reply
// keeps one of them as a spare, so that one reply after another needs no allocation.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/blob.h"
#include "base/num.h"
#include "base/slice.h"

#define REPLY_CHUNK_BYTES 16320       // data bytes of an ordinary chunk: 16 KiB with header
#define REPLY_LINK_BYTES  (64 * 1024) // string values from this size on are linked, not copied
#define REPLY_COPY_BYTES  2048        // reply_splice copies chunks up to this size

enum reply_chunk_kind { CHUNK_HEAP, CHUNK_LENT, CHUNK_BLOB };

struct reply_chunk {
    struct reply_chunk *next;
    char *data;        // behind this header, or in the blob
    struct blob *blob; // CHUNK_BLOB: one reference, owned
    size_t len;        // bytes written; of the last chunk: not up to date, see reply_sync
    uint32_t cap;
    uint8_t kind; // CHUNK_LENT: memory of the reply's owner, not freed
};

struct reply {
    char *pos, *end;                 // room in the last chunk
    struct reply_chunk *head, *tail; // owned, NULL while nothing was written
    size_t sealed_bytes;             // in all chunks but the last
    uint8_t resp;                    // 2 or 3
    uint16_t error_count;            // errors since the owner last set it to 0
    char error_code[22];             // first word of the latest error
    struct reply_chunk *spare;       // kept for the next use; owned
};

void reply_init(struct reply *r, uint8_t resp);
void reply_free(struct reply *r);
// Drops all bytes; keeps a chunk as the spare. resp and the errors stay as they are.
void reply_clear(struct reply *r);
// Bytes in the reply.
size_t reply_bytes(const struct reply *r);
// Brings the last chunk's len up to date; call before walking the chunks.
void reply_sync(struct reply *r);
// Takes all chunks off the reply (with lens up to date); the caller owns the list.
struct reply_chunk *reply_detach(struct reply *r);
void reply_chunks_free(struct reply_chunk *list);
// As reply_chunks_free, but keeps one chunk of the list as r's spare if r has none.
void reply_recycle(struct reply *r, struct reply_chunk *list);
// Gives an empty reply a first chunk of the caller's own memory, both of which must stay until the
// chunk has left the reply and was freed (which frees neither) or recycled.
void reply_lend(struct reply *r, struct reply_chunk *chunk, char *data, uint32_t cap);
// An empty chunk, owned by the caller, and what it is for: the first one of an empty reply, which
// takes it over, where an ordinary one would be too big (a little to each of many connections).
struct reply_chunk *reply_chunk_new(uint32_t cap);
void reply_begin_with(struct reply *r, struct reply_chunk *chunk);
// Moves all of `from` behind what is in `to`, copying what is small and what lies in lent memory.
// `from` is empty afterwards. error_count and error_code of neither change: whoever executed the
// command has counted them.
void reply_splice(struct reply *to, struct reply *from);
// All bytes of the reply, copied to one piece of memory that the caller frees with mem_free.
char *reply_flatten(struct reply *r, size_t *len);
// Asserts the invariants; for tests.
void reply_validate(const struct reply *r);

// Room for n more bytes in one piece; the caller writes them and advances pos.
void reply_grow(struct reply *r, size_t n);
static inline char *reply_reserve(struct reply *r, size_t n)
{
    if (__builtin_expect((size_t)(r->end - r->pos) < n, 0)) reply_grow(r, n);
    return r->pos;
}
// Bytes that are RESP already.
void reply_raw(struct reply *r, const void *data, size_t len);
// The same bytes without a copy; takes a reference of its own.
void reply_link(struct reply *r, struct blob *blob);

// --- values ------------------------------------------------------------------------------------
// The four that every GET, SET and INCR needs are inline; reply.c has what they fall back on.

void reply_int_any(struct reply *r, int64_t value);       // reply_int, any value
void reply_bulk_any(struct reply *r, struct slice bytes); // reply_bulk, any length

static inline void reply_ok(struct reply *r)
{
    char *p = reply_reserve(r, 5);
    memcpy(p, "+OK\r\n", 5);
    r->pos = p + 5;
}

// $-1 / _
static inline void reply_null(struct reply *r)
{
    char *p = reply_reserve(r, 5);
    bool is_resp2 = r->resp == 2;
    memcpy(p, is_resp2 ? "$-1\r\n" : "_\r\n\0", 5);
    r->pos = p + (is_resp2 ? 5 : 3);
}

static inline void reply_int(struct reply *r, int64_t value)
{
    if ((uint64_t)value > 9) {
        reply_int_any(r, value);
        return;
    }
    char *p = reply_reserve(r, 4);
    memcpy(p, ":0\r\n", 4);
    p[1] = (char)('0' + value);
    r->pos = p + 4;
}

static inline void reply_bulk(struct reply *r, struct slice bytes)
{
    size_t len = bytes.len;
    if (len > 99) {
        reply_bulk_any(r, bytes);
        return;
    }
    char *p = reply_reserve(r, len + 7); // $ nn CR LF, CR LF
    *p++ = '$';
    if (len > 9) *p++ = (char)('0' + len / 10);
    *p++ = (char)('0' + len % 10);
    memcpy(p, "\r\n", 2);
    memcpy(p + 2, bytes.ptr, len);
    memcpy(p + 2 + len, "\r\n", 2);
    r->pos = p + 4 + len;
}

void reply_simple(struct reply *r, const char *text); // +text
// -text; the text begins with its code ("ERR …", "WRONGTYPE …"). Line breaks become spaces.
void reply_error(struct reply *r, const char *text);
void reply_errorf(struct reply *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
void reply_bulk_text(struct reply *r, const char *text);
void reply_bulk_int(struct reply *r, int64_t value); // an integer as a bulk string
// A bulk string; takes a reference of its own if it is big.
void reply_blob(struct reply *r, struct blob *blob);
void reply_null_array(struct reply *r);                                     // *-1 / _
void reply_bool(struct reply *r, bool value);                               // :1 / #t
void reply_double(struct reply *r, double value);                           // bulk / ,value
void reply_verbatim(struct reply *r, const char ext[3], struct slice text); // bulk / =
void reply_array(struct reply *r, size_t n);
void reply_map(struct reply *r, size_t pairs); // array of 2n / map
void reply_set(struct reply *r, size_t n);     // array / set
void reply_push(struct reply *r, size_t n);    // array / push

// An array whose length is known only afterwards: open, write the elements, close with their
// number. Opening writes nothing; closing puts the header where the array begins, moving at most a
// chunk's bytes. Marks nest: the last opened is closed first. No detach or splice in between.
struct reply_mark {
    struct reply_chunk *chunk; // the last when it was opened; NULL: there was none
    size_t offset;             // bytes in that chunk
};
struct reply_mark reply_open(struct reply *r);
void reply_close_array(struct reply *r, struct reply_mark mark, size_t n);
void reply_close_map(struct reply *r, struct reply_mark mark, size_t pairs);
void reply_close_set(struct reply *r, struct reply_mark mark, size_t n);

// --- reading replies (merging parts, tests, the embedded engine) --------------------------------

// The end of the RESP value that starts at p, or NULL if [p, end) does not hold all of it.
const char *reply_skip(const char *p, const char *end);
