// SPDX-License-Identifier: BSD-3-Clause
//
// request: reads what clients send (RESP specification, "Sending commands to a Redis server", and
// "Inline commands"). A request is an array of bulk strings, or a line of words, for whoever types
// by hand:
//
//     *<arguments> CR LF  then for each argument  $<bytes> CR LF <that many bytes> CR LF
//     word word "word with \x41 \n escapes" 'word with \' only' LF     (CR LF too)
//
// Redis is lenient where this says CR LF: the line ends at the CR, one byte behind it is skipped
// whatever it is, and so are two bytes behind an argument. A NUL byte in a line hides its end, so
// that the line can only become too long. This parser does the same.
//
// Two ways in, which agree on every byte:
//
//   request_parse_fast   one complete ordinary request: some 30 instructions an argument, no state
//   request_parse        everything else: cut at any byte, inline, wrong, huge
//
// The connection keeps what has arrived of a request in one contiguous buffer that begins with the
// request's first byte. The buffer may grow and move between calls: the parser remembers offsets.
// It never looks at a byte twice, so that a request costs linear time however it was cut.
//
//     while there are bytes at p:
//         next = request_parse_fast(p, end, argv, MAX, &argc)
//         if next: execute argv; p = next; continue
//         switch request_parse(&parser, &limits, p, end - p):
//         case REQUEST_MORE:  keep [p, end) as the beginning of the buffer, receive behind it; from
//                             now on only request_parse, until REQUEST_DONE
//         case REQUEST_DONE:  execute parser.argc, parser.argv, parser.blobs (argc 0: nothing);
//                             p += parser.pos; request_parser_reset(&parser)
//         case REQUEST_BIG:   receive the argument into a blob, see request_parser_supply_blob
//         case REQUEST_ERROR: reply request_parser_error, close
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/blob.h"
#include "base/slice.h"

#define REQUEST_BIG_BYTES        (32 * 1024) // from this size on an argument may go into a blob
#define REQUEST_LINE_MAX         (64 * 1024) // bytes of an inline request or of a header line
#define REQUEST_ARGS_MAX         INT32_MAX
#define REQUEST_ANON_ARGS_MAX    10 // of a client that has yet to authenticate
#define REQUEST_ANON_BYTES_MAX   16384
#define REQUEST_FAST_DIGITS      6 // no limit is below: proto-max-bulk-len >= 1 MiB
#define REQUEST_ERROR_TEXT_BYTES 64

enum request_status {
    REQUEST_MORE, // more bytes are needed
    REQUEST_DONE, // a request is there
    REQUEST_BIG,  // an argument of bulk_len >= REQUEST_BIG_BYTES begins at pos, not all of it there
    REQUEST_ERROR, // no request; the stream cannot be followed any further
};

struct request_limits {
    size_t max_bulk_bytes; // proto-max-bulk-len
    bool is_anonymous;     // the client has yet to authenticate
};

// One in every connection: 64 bytes, and nothing else between requests. Owned by the connection.
//
// Invariant: before DONE, argv[i].ptr of i < argc is an offset into the buffer (NULL for blobs);
// afterwards it is an address. argc <= total, pos + seen <= the length of the buffer.
struct request_parser {
    struct slice *argv;  // owned; NULL between requests
    struct blob **blobs; // owned, references too; per argument, most NULL. NULL: no argument is one
    char *text;          // owned; the words of an inline request
    size_t pos;          // bytes parsed, from the buffer's beginning; at DONE: the request's length
    size_t bulk_len;     // of the argument that is being read
    uint32_t seen;       // bytes behind pos where the end of the line was searched for in vain
    uint32_t cap;        // of argv and blobs
    int32_t argc;        // arguments so far
    int32_t total;       // arguments announced
    uint8_t state;       // enum request_state in request.c
    uint8_t error;       // enum request_error in request.c
    char found;          // for "expected '$', got 'x'"
};

// Parses ONE complete request of 1 to max_args arguments lying wholly in [p, end); argv then points
// into it. Returns the byte behind it, or NULL when it is anything else (incomplete, inline, too
// long, too many arguments, malformed): nothing is consumed, request_parse decides. Knows no limits
// of anonymous clients: use request_parse alone for them.
const char *request_parse_fast(const char *p, const char *end, struct slice *argv, int max_args,
                               int *argc);

void request_parser_init(struct request_parser *p);
// Frees what the parser holds and makes it ready for the next request. Drops the blobs' references:
// who keeps a blob takes one. Also the way to free it.
void request_parser_reset(struct request_parser *p);
static inline bool request_parser_is_idle(const struct request_parser *p)
{
    return p->state == 0;
}

// Goes on parsing the request that begins at buf; [buf, buf + len) is all that has arrived of it,
// and what came behind it. After DONE, reset or repeat first; an ERROR is told again until then. At
// DONE, argv points into buf and text: valid until reset and while buf stays.
enum request_status request_parse(struct request_parser *p, const struct request_limits *limits,
                                  const char *buf, size_t len);

// Answers REQUEST_BIG: argument number argc is in this blob (blob->len == bulk_len), whose
// reference the parser takes over. The len - pos bytes of it that were in the buffer have been
// copied to the blob by the caller, who then cuts the buffer at pos: the first byte received behind
// the argument (its CR) comes to stand at buf[pos]. Optional: one may as well append to the buffer
// and call request_parse again.
void request_parser_supply_blob(struct request_parser *p, struct blob *blob);

// After DONE: the request, which began at `buf`, is not taken now. It will be told again, from
// wherever it begins then; blobs, whose bytes are in no buffer, stay with it.
void request_parser_repeat(struct request_parser *p, const char *buf);

// After REQUEST_MORE: how long the buffer must at least be for request_parse to get further: room
// to make. (Not more than there is already when a NUL byte hides the end of a line.)
size_t request_parser_wanted_bytes(const struct request_parser *p);

// The error reply's text ("ERR Protocol error: …") after REQUEST_ERROR; written to `out`.
void request_parser_error(const struct request_parser *p, char out[REQUEST_ERROR_TEXT_BYTES]);

// Bytes that the parser holds in memory of its own.
size_t request_parser_bytes(const struct request_parser *p);
