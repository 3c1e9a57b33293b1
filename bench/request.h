// SPDX-License-Identifier: BSD-3-Clause
//
// Requests made from a text template, and batches of them ready to send.
//
// A template is a command as one would type it: words, quotes around a word with spaces, and
// placeholders anywhere inside a word:
//
//     __key__       the key prefix and a random number:     key:000000123456
//     __nextkey__   the key prefix and the next number in order
//     __rand__      a random number alone, twelve digits
//     __seq__       the next number in order, twelve digits
//     __rank__      a random number alone, five digits of which the first is not 0, since servers
//                   refuse integers with leading zeros
//     __again__     the request's last __rank__ once more: `ZRANGE z __rank__0 __again__9`
//     __data__      the value, --value bytes
//
// Each kind of number has as many digits always, so a request never changes its length: a batch is
// rendered once, and before each send only the digits are overwritten, at offsets known beforehand.
#ifndef BENCH_REQUEST_H
#define BENCH_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { REQUEST_MAX_WORDS = 256, REQUEST_MAX_PATCHES = 256 };

enum number_kind { NUMBER_RANDOM, NUMBER_SEQUENCE, NUMBER_RANK, NUMBER_AGAIN };

struct patch {
    uint32_t offset; // of the first digit
    enum number_kind kind;
};

// One rendered command. Owns `bytes`.
struct request {
    char *bytes;
    size_t len_bytes;
    struct patch patches[REQUEST_MAX_PATCHES];
    unsigned patch_count;
};

struct request_options {
    const char *key_prefix;
    size_t value_bytes;
};

// Renders `text` into *request. Returns NULL, or what is wrong with the text.
const char *request_compile(struct request *request, const char *text,
                            const struct request_options *options);

// `size` requests behind one another, the first being requests[phase], the next requests[phase + 1]
// and so on in rotation. Owns its arrays.
struct batch {
    char *bytes;
    struct patch *patches;
    size_t *end_bytes;   // [i]: bytes of the first i + 1 requests
    unsigned *end_patch; // [i]: patches of the first i + 1 requests
    unsigned size;
};

void batch_build(struct batch *batch, const struct request *requests, unsigned request_count,
                 unsigned phase, unsigned size);

// Where a batch's numbers come from.
struct numbers {
    uint64_t random_state;
    uint64_t random_range; // random numbers are in [0, random_range)
    uint64_t next;         // the next number in order
    uint64_t rank;         // the last __rank__
};

// Puts fresh numbers into the first `count` requests and returns their length in bytes.
size_t batch_refresh(struct batch *batch, unsigned count, struct numbers *numbers);

// Zeroed memory; ends the program when there is none.
void *bench_alloc(size_t count, size_t size);

#endif
