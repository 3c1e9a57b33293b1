// SPDX-License-Identifier: BSD-3-Clause
//
// A resumable checker of RESP2 and RESP3 replies: it counts whole replies, error replies and nils,
// and refuses whatever is not well-formed. It keeps no reply, so a reply of many megabytes costs no
// memory, and it never looks at a byte twice except at those of a line cut by the end of a read.
#ifndef BENCH_REPLY_H
#define BENCH_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    REPLY_LINE_MAX = 1024,   // longest type line: an error message or a simple string
    REPLY_SAMPLE_BYTES = 160 // of the first error reply, kept for the report
};

// Where one connection's reply stream stands. All zero: between two replies.
// Invariant: skip_bytes > 0 only inside a bulk, whose element is still counted in `pending`.
struct reply_parser {
    uint64_t pending;    // elements still to come in the current reply; 0 between replies
    uint64_t skip_bytes; // bytes still to come of the current bulk, its final CRLF included
};

struct reply_counts {
    uint64_t replies;
    uint64_t errors;     // replies that are an error (top level)
    uint64_t nils;       // replies that are a nil (top level)
    uint64_t unexpected; // replies, errors and nils aside, of another type than `expected`
    char expected;       // type byte that every reply should have; 0: any
    char first_error[REPLY_SAMPLE_BYTES];
};

// Reads `len` bytes that follow those consumed before. Returns how many were consumed (the rest, an
// incomplete line shorter than REPLY_LINE_MAX, must come again in front of the next bytes), or -1
// when the stream is malformed.
ssize_t reply_parse(struct reply_parser *parser, struct reply_counts *counts, const char *bytes,
                    size_t len);

#endif
