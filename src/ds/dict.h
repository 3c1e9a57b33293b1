// SPDX-License-Identifier: BSD-3-Clause
//
// dict: a hash table of pointers that grows and shrinks by one bucket at a time (linear hashing:
// Litwin, 1980), so that no insertion ever pays for a rehash and no second table exists.
//
//   bucket (64 bytes, one cache line)
//   +------+-----------------+--------+--------+-- ... --+--------+
//   | used | 7 tags (8 bits) | slot 0 | slot 1 |         | slot 6 |
//   +------+-----------------+--------+--------+-- ... --+--------+
//   used: bits 0-6 say which slots hold an item; bit 7: slot 6 points to an overflow array instead
//   tag:  hash bits 56-63
//   slot: bits 0-47 the item's address, bits 48-63 hash bits DICT_KEPT_BIT.. (+16)
//
// A probe touches the bucket's line and, when tag and kept hash bits agree, the item. The kept bits
// also tell on which side of a split an item goes, so splitting does not touch items (except in
// tables too small for it to matter, or beyond 2^26 buckets).
//
// Addressing: with L = level and S = split (0 <= S < 2^L), buckets 0 .. 2^L + S - 1 exist. An item
// lies in bucket hash mod 2^(L+1) if that exists, else in hash mod 2^L. Growing splits bucket S
// into S and S + 2^L; shrinking merges them back.
//
// Items are the owner's; the table stores addresses below 2^48. The hash of an item must not
// change. Not safe for concurrent use.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "base/assert.h"

#define DICT_BUCKET_SLOTS 7
#define DICT_KEPT_BIT     10 // lowest of the 16 hash bits kept beside an address
#define DICT_SEGMENT_BITS 12 // buckets per segment: 4096 * 64 bytes = 256 KiB
#define DICT_SEGMENT      (1u << DICT_SEGMENT_BITS)

struct dict_bucket {
    uint8_t used;
    uint8_t tags[DICT_BUCKET_SLOTS];
    uint64_t slots[DICT_BUCKET_SLOTS];
} __attribute__((aligned(64)));

// What does not fit a bucket: `cap` slots, then `cap` tags.
struct dict_overflow {
    uint32_t count, cap;
    uint64_t slots[];
};

// The hash of an item, needed only where the kept bits do not reach.
typedef uint64_t (*dict_hash_fn)(const void *item);

struct dict {
    struct dict_bucket **segments; // owned; the first is shorter than a segment in small tables
    uint64_t count;                // items
    uint64_t buckets;              // 2^level + split; 0 until the first insertion
    uint64_t mask;                 // 2^level - 1
    uint32_t segment_cap;          // length of `segments`
    uint32_t first_cap;            // buckets that the first segment has room for
    dict_hash_fn hash;
};

void dict_init(struct dict *d, dict_hash_fn hash);
// Gives an empty table the size that `count` items will want, so that it need not grow to it.
void dict_reserve(struct dict *d, uint64_t count);
// Gives back what was reserved for items that did not come.
void dict_trim(struct dict *d);
// Frees the table; the items are the owner's.
void dict_free(struct dict *d);

#define DICT_ADDRESS(slot) ((void *)(uintptr_t)((slot)&0xffffffffffffu))

static inline uint64_t dict_bucket_index(const struct dict *d, uint64_t hash)
{
    uint64_t i = hash & (d->mask * 2 + 1);
    return i < d->buckets ? i : hash & d->mask;
}

static inline struct dict_bucket *dict_bucket_at(const struct dict *d, uint64_t index)
{
    return &d->segments[index >> DICT_SEGMENT_BITS][index & (DICT_SEGMENT - 1)];
}

static inline uint64_t dict_pack(const void *item, uint64_t hash)
{
    return (uint64_t)(uintptr_t)item | (hash >> DICT_KEPT_BIT) << 48;
}

// First stage of a batch of look-ups: brings the bucket's line in. Inlined by force: gcc 12 leaves
// out calls of functions that only prefetch.
static inline __attribute__((always_inline)) void dict_prefetch_bucket(const struct dict *d,
                                                                       uint64_t hash)
{
    if (d->buckets) __builtin_prefetch(dict_bucket_at(d, dict_bucket_index(d, hash)));
}

// Second stage: what the bucket, which is here, cannot hold itself.
static inline __attribute__((always_inline)) void dict_prefetch_overflow(const struct dict *d,
                                                                         uint64_t hash)
{
    if (!d->buckets) return;
    const struct dict_bucket *b = dict_bucket_at(d, dict_bucket_index(d, hash));
    if (b->used & 0x80) __builtin_prefetch(DICT_ADDRESS(b->slots[DICT_BUCKET_SLOTS - 1]));
}

// Does `item` have the key that is looked for?
typedef bool (*dict_match_fn)(const void *item, const void *key);

// The slots of a bucket whose tag and kept bits agree with the hash, one bit each.
static inline unsigned dict_bucket_candidates(const struct dict_bucket *b, uint64_t hash)
{
#if defined(__SSE2__)
    __m128i tags = _mm_loadl_epi64((const __m128i *)b);
    __m128i equal = _mm_cmpeq_epi8(tags, _mm_set1_epi8((char)(hash >> 56)));
    unsigned found = (unsigned)_mm_movemask_epi8(equal) >> 1;
#else
    uint64_t tags;
    __builtin_memcpy(&tags, b, 8);
    // The high bit of every byte that equals the tag (exact: no carries between bytes) ...
    uint64_t x = tags ^ ((hash >> 56) * 0x0101010101010101u);
    uint64_t zero = ~(((x & 0x7f7f7f7f7f7f7f7fu) + 0x7f7f7f7f7f7f7f7fu) | x | 0x7f7f7f7f7f7f7f7fu);
    // ... gathered: those of bytes 1 to 7 become bits 0 to 6.
    unsigned found = (unsigned)(((zero >> 15) * 0x40810204081u) >> 42);
#endif
    unsigned limit = b->used & 0x80 ? 0x3f : 0x7f;
    return found & b->used & limit;
}

// Second stage: the item that a look-up of this hash will most likely compare with, not read (for
// the caller to prefetch), or NULL.
static inline void *dict_peek(const struct dict *d, uint64_t hash)
{
    if (!d->buckets) return NULL;
    const struct dict_bucket *b = dict_bucket_at(d, dict_bucket_index(d, hash));
    unsigned c = dict_bucket_candidates(b, hash);
    return c ? DICT_ADDRESS(b->slots[__builtin_ctz(c)]) : NULL;
}

void *dict_find_overflow(const struct dict_bucket *b, uint64_t hash, dict_match_fn match,
                         const void *key);

// The item with this key, or NULL. Inline so that `match` is, too.
static inline __attribute__((always_inline)) void *dict_find(const struct dict *d, uint64_t hash,
                                                             dict_match_fn match, const void *key)
{
    if (UNLIKELY(!d->buckets)) return NULL;
    const struct dict_bucket *b = dict_bucket_at(d, dict_bucket_index(d, hash));
    uint16_t kept = (uint16_t)(hash >> DICT_KEPT_BIT);
    for (unsigned c = dict_bucket_candidates(b, hash); c; c &= c - 1) {
        uint64_t slot = b->slots[__builtin_ctz(c)];
        if (slot >> 48 == kept && LIKELY(match(DICT_ADDRESS(slot), key))) return DICT_ADDRESS(slot);
    }
    if (UNLIKELY(b->used & 0x80)) return dict_find_overflow(b, hash, match, key);
    return NULL;
}

// Adds an item whose key is not in the table; grows it by a bucket when it is due.
void dict_insert(struct dict *d, uint64_t hash, void *item);
// Takes out the item at this address; false if it is not there. Shrinks by a bucket when it is due.
bool dict_remove(struct dict *d, uint64_t hash, const void *item);
// The item moved: puts `to` where `from` was. `from` is compared, not read.
void dict_replace(struct dict *d, uint64_t hash, const void *from, void *to);

// SCAN: calls visit for every item of the bucket(s) at `cursor` and returns the next cursor, 0 at
// the end. What is in the table from beginning to end of a full iteration is visited at least once,
// whatever grows or shrinks in between (reverse-binary cursors, as Redis's). The table must not
// change during a call.
typedef void (*dict_visit_fn)(void *item, void *arg);
uint64_t dict_scan(const struct dict *d, uint64_t cursor, dict_visit_fn visit, void *arg);

// Walks all items: returns the one at the position (*bucket, *at), which starts at (0, 0), and
// moves that on; NULL at the end. The items that come next are fetched ahead. The table must not
// change.
void *dict_next(const struct dict *d, uint64_t *bucket, uint32_t *at);

// A random item, uniform among all; NULL when empty. `random` yields 64 random bits.
void *dict_random(const struct dict *d, uint64_t (*random)(void *arg), void *arg);

// Bytes that the table itself occupies, overflow arrays included (estimated from a few hundred
// buckets).
size_t dict_table_bytes(const struct dict *d);
// How many buckets hold n items, n = 0 .. len-1 (the last: or more); for DEBUG HTSTATS and tests.
void dict_histogram(const struct dict *d, uint64_t *histogram, size_t len);
// Asserts the invariants; for tests.
void dict_validate(const struct dict *d);

// Takes items out one bucket at a time, for freeing a big table in slices: calls visit for each
// item of the last bucket and removes that bucket. False when the table is empty.
bool dict_drain_bucket(struct dict *d, dict_visit_fn visit, void *arg);
