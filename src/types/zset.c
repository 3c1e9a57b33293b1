// SPDX-License-Identifier: BSD-3-Clause
//
// zset: both representations of a sorted set, and the way from the small to the big one.
//
//   small   listpack: member, score, member, score … in order. Scores are integers where they can
//           be, else text of 17 digits, as Redis writes them.
//   big     table of items by member  ──┐
//                                        ├──> struct btree_item { score, len, member }
//           B+tree by (score, member)  ──┘
//
// Both sides of a big one point to the same items, one allocation each; the tree's keys repeat the
// score. A small one becomes big when a member too many or too long comes in; the way back is taken
// only where a whole value is built anew (zset_of_items).
#include "types/zset.h"

#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"

// For functions that only prefetch: gcc 12 leaves out calls of those as having no effect.
#define ALWAYS_INLINE inline __attribute__((always_inline))

// Integers beyond these are not stored as such: so does Redis.
#define INTEGER_SCORE_MAX ((double)(INT64_MAX / 2))

struct big {
    struct dict by_member;
    struct btree by_score;
    size_t item_bytes; // of all items, usable
};

static inline bool is_small(struct value v)
{
    return value_encoding(v) == ENC_LISTPACK;
}

static inline struct listpack *small_of(struct value v)
{
    return value_object(v);
}

_Static_assert(offsetof(struct big, by_member) == 0, "value_table relies on it");

static inline struct big *big_of(struct value v)
{
    return value_object(v);
}

// --- scores as text ------------------------------------------------------------------------------

// Is it an integer that a listpack stores as such?
static bool score_integer(double score, int64_t *out)
{
    if (!(score >= -INTEGER_SCORE_MAX && score <= INTEGER_SCORE_MAX)) return false;
    *out = (int64_t)score;
    return (double)*out == score;
}

size_t zset_format_score(char *out, double score)
{
    int64_t integer;
    if (score_integer(score, &integer)) return num_format_i64(out, integer);
    return num_format_double(out, ZSET_SCORE_TEXT, score);
}

#if LDBL_MANT_DIG == 64
// mantissa / 10^fraction, correctly rounded; false where that cannot be told. Both are exact in the
// 64 bits of a long double, so the quotient is the nearest one there; rounded again to 53 bits it
// is right but where the bits that go are within one of a half.
static bool divide(uint64_t mantissa, unsigned fraction, double *out)
{
    static const long double powers[] = {1e0L,  1e1L,  1e2L,  1e3L,  1e4L,  1e5L,  1e6L,
                                         1e7L,  1e8L,  1e9L,  1e10L, 1e11L, 1e12L, 1e13L,
                                         1e14L, 1e15L, 1e16L, 1e17L, 1e18L};
    long double quotient = (long double)mantissa / powers[fraction];
    uint64_t bits;
    memcpy(&bits, &quotient, sizeof bits);
    unsigned tail = bits & 0x7ff;
    if (tail >= 0x3ff && tail <= 0x401) return false;
    *out = (double)quotient;
    return true;
}
#else
static bool divide(uint64_t mantissa, unsigned fraction, double *out)
{
    *out = (double)mantissa;
    return fraction == 0 && mantissa < 1ull << 53;
}
#endif

// [-]digits[.digits], at most 18 of them.
static bool parse_plain(struct slice text, double *out)
{
    const char *p = text.ptr, *end = p + text.len, *point = NULL;
    bool is_negative = p < end && *p == '-';
    uint64_t mantissa = 0;
    unsigned digits = 0;
    for (p += is_negative; p < end; p++) {
        unsigned d = (unsigned)(*p - '0');
        if (d <= 9) {
            mantissa = mantissa * 10 + d;
            if (++digits > 18) return false;
        } else if (*p == '.' && !point) {
            point = p;
        } else {
            return false;
        }
    }
    if (!digits || !divide(mantissa, point ? (unsigned)(end - point - 1) : 0, out)) return false;
    if (is_negative) *out = -*out;
    return true;
}

bool zset_parse_score(struct slice text, double *out)
{
    return parse_plain(text, out) || num_parse_double(text, out);
}

static double item_score(const struct item *i)
{
    double score = 0;
    if (!i->ptr) return (double)i->integer;
    bool is_score = zset_parse_score((struct slice){i->ptr, i->len}, &score);
    ASSERT_SLOW(is_score);
    (void)is_score;
    return score;
}

// --- small ---------------------------------------------------------------------------------------

// Reads the pair at `at` (not 0); returns the position of the next, or 0.
static uint32_t small_get(const struct listpack *lp, uint32_t at, struct item *member,
                          double *score)
{
    struct item text;
    at = listpack_get(lp, at, member);
    ASSERT(at);
    at = listpack_get(lp, at, &text);
    *score = item_score(&text);
    return at;
}

static uint32_t small_find(const struct listpack *lp, struct slice member)
{
    return listpack_find(lp, listpack_first(lp), member, 1);
}

static double small_score(const struct listpack *lp, uint32_t at)
{
    struct item text;
    listpack_get(lp, listpack_next(lp, at), &text);
    return item_score(&text);
}

static uint32_t small_len(const struct listpack *lp)
{
    return listpack_count(lp) / 2;
}

static bool pair_is_before(const struct item *item, double item_score_, double score,
                           struct slice member)
{
    char scratch[NUM_I64_TEXT];
    if (item_score_ != score) return item_score_ < score;
    return slice_cmp(item_slice(item, scratch), member) < 0;
}

// The position of the first pair from `at` on that stands behind (score, member), 0 if none does.
static uint32_t small_place(const struct listpack *lp, uint32_t at, double score,
                            struct slice member)
{
    while (at) {
        struct item item;
        double s;
        uint32_t next = small_get(lp, at, &item, &s);
        if (!pair_is_before(&item, s, score, member)) break;
        at = next;
    }
    return at;
}

static uint32_t small_last(const struct listpack *lp)
{
    uint32_t at = listpack_last(lp);
    return at ? listpack_prev(lp, at) : 0;
}

static struct listpack *small_insert(struct listpack *lp, struct slice member, double score)
{
    char text[ZSET_SCORE_TEXT];
    int64_t integer;
    uint32_t last = small_last(lp), at = 0;
    // What comes in ascending order is put at the end at once.
    if (last && small_place(lp, last, score, member))
        at = small_place(lp, listpack_first(lp), score, member);
    lp = listpack_insert(lp, &at, member);
    at = listpack_next(lp, at);
    if (score_integer(score, &integer)) return listpack_insert_integer(lp, &at, integer);
    size_t len = num_format_double(text, sizeof text, score);
    return listpack_insert(lp, &at, (struct slice){text, len});
}

static struct listpack *small_put_score(struct listpack *lp, uint32_t at, double score)
{
    char text[ZSET_SCORE_TEXT];
    int64_t integer;
    at = listpack_next(lp, at);
    if (score_integer(score, &integer)) return listpack_replace_integer(lp, at, integer);
    size_t len = num_format_double(text, sizeof text, score);
    return listpack_replace(lp, at, (struct slice){text, len});
}

// May the pair at `at` have this score and stay where it is?
static bool small_fits(const struct listpack *lp, uint32_t at, double score, struct slice member)
{
    uint32_t before = listpack_prev(lp, at), behind = listpack_next(lp, listpack_next(lp, at));
    struct item item;
    double s;
    if (before) {
        small_get(lp, listpack_prev(lp, before), &item, &s);
        if (!pair_is_before(&item, s, score, member)) return false;
    }
    if (!behind) return true;
    small_get(lp, behind, &item, &s);
    return !pair_is_before(&item, s, score, member);
}

static struct listpack *small_change(struct listpack *lp, uint32_t at, double score,
                                     struct slice member)
{
    if (small_fits(lp, at, score, member)) return small_put_score(lp, at, score);
    return small_insert(listpack_delete(lp, at, 2), member, score);
}

static bool small_has_room(const struct listpack *lp, struct slice member,
                           const struct value_limits *limits)
{
    return (int64_t)small_len(lp) < limits->zset_max_listpack_entries &&
           member.len <= limits->zset_max_listpack_value &&
           listpack_bytes(lp) + listpack_item_bytes(member) + 2 * ZSET_SCORE_TEXT <
               LISTPACK_MAX_BYTES;
}

// --- big -----------------------------------------------------------------------------------------

static bool item_matches(const void *item, const void *member)
{
    const struct btree_item *i = item;
    const struct slice *m = member;
    return i->len == m->len && memcmp(i->bytes, m->ptr, m->len) == 0;
}

static uint64_t item_hash(const void *item)
{
    return hash_bytes(btree_item_slice(item));
}

struct btree_item *zset_item_new(struct slice member, double score)
{
    ASSERT(member.len <= UINT32_MAX);
    // Not sizeof: the bytes begin in what would be padding.
    struct btree_item *item = mem_alloc(offsetof(struct btree_item, bytes) + member.len);
    item->score = score;
    item->len = (uint32_t)member.len;
    memcpy(item->bytes, member.ptr, member.len);
    return item;
}

static struct big *big_new(void)
{
    struct big *b = mem_calloc(sizeof *b);
    dict_init(&b->by_member, item_hash);
    btree_init(&b->by_score);
    return b;
}

static struct btree_item *big_find(const struct big *b, struct slice member, uint64_t hash)
{
    return dict_find(&b->by_member, hash, item_matches, &member);
}

// Puts in an item whose member is not there.
static void big_put(struct big *b, struct btree_item *item, uint64_t hash)
{
    b->item_bytes += mem_usable_bytes(item);
    dict_insert(&b->by_member, hash, item);
    btree_insert(&b->by_score, item);
}

static void big_free_item(struct big *b, struct btree_item *item)
{
    b->item_bytes -= mem_usable_bytes(item);
    mem_free(item);
}

static struct value big_value(struct big *b)
{
    return value_of(b, ENC_SKIPLIST);
}

// Makes a small one big.
static void convert(struct value *v)
{
    struct listpack *lp = small_of(*v);
    struct big *b = big_new();
    uint32_t at = listpack_first(lp);
    while (at) {
        char scratch[NUM_I64_TEXT];
        struct item item;
        double score;
        at = small_get(lp, at, &item, &score);
        struct slice member = item_slice(&item, scratch);
        big_put(b, zset_item_new(member, score), hash_bytes(member));
    }
    mem_free(lp);
    *v = big_value(b);
}

static void on_removed(void *arg, struct btree_item *item)
{
    struct big *b = arg;
    dict_remove(&b->by_member, item_hash(item), item);
    big_free_item(b, item);
}

// --- both ----------------------------------------------------------------------------------------

struct value zset_new(void)
{
    return value_of(listpack_new(0), ENC_LISTPACK);
}

struct value zset_new_for(uint64_t len, size_t member_bytes, const struct value_limits *limits)
{
    bool fits = limits->zset_max_listpack_entries > 0 &&
                len <= (uint64_t)limits->zset_max_listpack_entries &&
                member_bytes <= limits->zset_max_listpack_value;
    return fits ? zset_new() : big_value(big_new());
}

uint64_t zset_len(struct value v)
{
    return is_small(v) ? small_len(small_of(v)) : big_of(v)->by_score.count;
}

bool zset_score(struct value v, struct slice member, double *score)
{
    if (is_small(v)) {
        uint32_t at = small_find(small_of(v), member);
        if (at) *score = small_score(small_of(v), at);
        return at;
    }
    const struct btree_item *item = big_find(big_of(v), member, hash_bytes(member));
    if (item) *score = item->score;
    return item;
}

// What becomes of a member that has score `had` when zset_add comes with *score and these flags.
static enum zset_outcome judge(double had, double *score, unsigned flags)
{
    if (flags & ZSET_NX) return ZSET_KEPT;
    if (flags & ZSET_INCR) {
        *score += had;
        if (isnan(*score)) return ZSET_NAN;
    }
    if ((flags & ZSET_GT && *score <= had) || (flags & ZSET_LT && *score >= had)) return ZSET_KEPT;
    return *score == had ? ZSET_SAME : ZSET_UPDATED;
}

static enum zset_outcome small_add(struct value *v, struct slice member, double *score,
                                   unsigned flags, const struct value_limits *limits)
{
    struct listpack *lp = small_of(*v);
    uint32_t at = small_find(lp, member);
    if (at) {
        enum zset_outcome outcome = judge(small_score(lp, at), score, flags);
        if (outcome == ZSET_UPDATED)
            *v = value_of(small_change(lp, at, *score, member), ENC_LISTPACK);
        return outcome;
    }
    if (flags & ZSET_XX) return ZSET_KEPT;
    if (small_has_room(lp, member, limits)) {
        *v = value_of(small_insert(lp, member, *score), ENC_LISTPACK);
    } else {
        convert(v);
        big_put(big_of(*v), zset_item_new(member, *score), hash_bytes(member));
    }
    return ZSET_ADDED;
}

enum zset_outcome zset_add(struct value *v, struct slice member, double *score, unsigned flags,
                           const struct value_limits *limits)
{
    if (is_small(*v)) return small_add(v, member, score, flags, limits);
    struct big *b = big_of(*v);
    uint64_t hash = hash_bytes(member);
    struct btree_item *item = big_find(b, member, hash);
    if (item) {
        enum zset_outcome outcome = judge(item->score, score, flags);
        if (outcome == ZSET_UPDATED) btree_change(&b->by_score, item, *score);
        return outcome;
    }
    if (flags & ZSET_XX) return ZSET_KEPT;
    big_put(b, zset_item_new(member, *score), hash);
    return ZSET_ADDED;
}

bool zset_set(struct value *v, struct slice member, double score, const struct value_limits *limits)
{
    return zset_add(v, member, &score, 0, limits) == ZSET_ADDED;
}

bool zset_remove(struct value *v, struct slice member)
{
    if (is_small(*v)) {
        struct listpack *lp = small_of(*v);
        uint32_t at = small_find(lp, member);
        if (at) *v = value_of(listpack_delete(lp, at, 2), ENC_LISTPACK);
        return at;
    }
    struct big *b = big_of(*v);
    uint64_t hash = hash_bytes(member);
    struct btree_item *item = big_find(b, member, hash);
    if (!item) return false;
    btree_remove(&b->by_score, item);
    dict_remove(&b->by_member, hash, item);
    big_free_item(b, item);
    return true;
}

int64_t zset_rank(struct value v, struct slice member, double *score)
{
    if (is_small(v)) {
        const struct listpack *lp = small_of(v);
        uint32_t at = small_find(lp, member);
        if (!at) return -1;
        *score = small_score(lp, at);
        return listpack_index(lp, at) / 2;
    }
    const struct btree_item *item = big_find(big_of(v), member, hash_bytes(member));
    if (!item) return -1;
    *score = item->score;
    return (int64_t)btree_rank(&big_of(v)->by_score, item);
}

uint64_t zset_count_below(struct value v, double score, bool with_equal)
{
    if (!is_small(v)) return btree_count_below(&big_of(v)->by_score, score, with_equal);
    const struct listpack *lp = small_of(v);
    uint64_t n = 0;
    for (uint32_t at = listpack_first(lp); at; n++) {
        struct item item;
        double s;
        at = small_get(lp, at, &item, &s);
        if (!(with_equal ? s <= score : s < score)) break;
    }
    return n;
}

uint64_t zset_count_below_lex(struct value v, struct slice member, bool with_equal)
{
    if (!is_small(v)) {
        const struct btree *t = &big_of(v)->by_score;
        if (!t->count) return 0;
        return btree_count_below_member(t, t->first->keys[0].score, member, with_equal);
    }
    const struct listpack *lp = small_of(v);
    uint64_t n = 0;
    for (uint32_t at = listpack_first(lp); at; n++) {
        char scratch[NUM_I64_TEXT];
        struct item item;
        listpack_get(lp, at, &item);
        int c = slice_cmp(item_slice(&item, scratch), member);
        if (!(with_equal ? c <= 0 : c < 0)) break;
        at = listpack_next(lp, listpack_next(lp, at));
    }
    return n;
}

// Who takes members off an end will come again: fetches the bucket of one that is a few places away
// from it (the item itself was fetched by the walk that replied those before it).
static ALWAYS_INLINE void fetch_bucket(const struct big *b, bool is_low)
{
    enum { AHEAD = 4 };
    const struct btree_node *leaf = is_low ? b->by_score.first : b->by_score.last;
    if (!leaf || leaf->count <= AHEAD) return;
    const struct btree_item *item = leaf->keys[is_low ? AHEAD : leaf->count - 1 - AHEAD].item;
    dict_prefetch_bucket(&b->by_member, item_hash(item));
}

void zset_remove_ranks(struct value *v, uint64_t first, uint64_t count)
{
    if (!count) return;
    if (!is_small(*v)) {
        struct big *b = big_of(*v);
        btree_remove_ranks(&b->by_score, first, count, on_removed, b);
        if (!first || first == b->by_score.count) fetch_bucket(b, !first);
        return;
    }
    struct listpack *lp = small_of(*v);
    uint32_t at = listpack_seek(lp, (int64_t)first * 2);
    *v = value_of(listpack_delete(lp, at, (uint32_t)count * 2), ENC_LISTPACK);
}

// --- walking -------------------------------------------------------------------------------------

void zset_iter_init(struct zset_iter *it, struct value v, uint64_t rank, bool is_reverse)
{
    *it = (struct zset_iter){.zset = v, .is_reverse = is_reverse};
    if (rank >= zset_len(v)) return;
    if (is_small(v))
        it->at = listpack_seek(small_of(v), (int64_t)rank * 2);
    else
        it->leaf = btree_select(&big_of(v)->by_score, rank, &it->at);
}

static bool small_next(struct zset_iter *it, struct item *member, double *score)
{
    const struct listpack *lp = small_of(it->zset);
    if (!it->at) return false;
    uint32_t at = it->at, next = small_get(lp, at, member, score);
    if (it->is_reverse) {
        uint32_t before = listpack_prev(lp, at);
        next = before ? listpack_prev(lp, before) : 0;
    }
    it->at = next;
    return true;
}

// Fetches the item that comes AHEAD places behind place i of a leaf, in the next leaf if need be.
static ALWAYS_INLINE void fetch_ahead(const struct btree_node *n, uint32_t i, bool is_reverse)
{
    enum { AHEAD = 12 }; // about as many as come out of memory at a time
    const struct btree_node *next = is_reverse ? n->prev : n->next;
    uint32_t left = is_reverse ? i : n->count - 1u - i; // in this leaf
    if (left < AHEAD) {
        if (!next || next->count < AHEAD) return;
        i = is_reverse ? next->count - (AHEAD - left) : AHEAD - left - 1;
        n = next;
    } else {
        i = is_reverse ? i - AHEAD : i + AHEAD;
    }
    __builtin_prefetch(n->keys[i].item);
}

bool zset_iter_next(struct zset_iter *it, struct item *member, double *score)
{
    if (is_small(it->zset)) return small_next(it, member, score);
    const struct btree_node *n = it->leaf;
    if (!n) return false;
    uint32_t i = it->at;
    fetch_ahead(n, i, it->is_reverse);
    *member = item_of(btree_item_slice(n->keys[i].item));
    *score = n->keys[i].score;
    if (!it->is_reverse) {
        it->at = i + 1;
        if (it->at < n->count) return true;
        it->leaf = n->next;
        it->at = 0;
    } else {
        it->at = i - 1;
        if (i) return true;
        it->leaf = n->prev;
        if (n->prev) it->at = n->prev->count - 1u;
    }
    return true;
}

struct visit {
    zset_visit_fn function;
    void *arg;
};

static void visit_item(void *item, void *arg)
{
    const struct btree_item *i = item;
    const struct visit *visit = arg;
    struct item member = item_of(btree_item_slice(i));
    visit->function(visit->arg, &member, i->score);
}

uint64_t zset_scan(struct value v, uint64_t cursor, zset_visit_fn visit, void *arg)
{
    if (!is_small(v)) {
        struct visit each = {visit, arg};
        return dict_scan(&big_of(v)->by_member, cursor, visit_item, &each);
    }
    const struct listpack *lp = small_of(v);
    for (uint32_t at = listpack_first(lp); at;) {
        struct item member;
        double score;
        at = small_get(lp, at, &member, &score);
        visit(arg, &member, score);
    }
    return 0;
}

// --- from and to other forms ---------------------------------------------------------------------

const struct listpack *zset_listpack(struct value v)
{
    return is_small(v) ? small_of(v) : NULL;
}

struct hashed {
    uint64_t hash;
    uint32_t at;
};

static int compare_hashed(const void *a, const void *b)
{
    uint64_t x = ((const struct hashed *)a)->hash, y = ((const struct hashed *)b)->hash;
    return x < y ? -1 : x > y;
}

// No two members are the same (or have the same 64-bit hash, which nobody will live to see).
static bool are_different(struct hashed *members, uint32_t count)
{
    qsort(members, count, sizeof *members, compare_hashed);
    for (uint32_t i = 1; i < count; i++)
        if (members[i].hash == members[i - 1].hash) return false;
    return true;
}

// Checks what came from outside: pairs, scores, order; *longest: the longest member's length.
static bool check_pairs(const struct listpack *lp, struct hashed *members, size_t *longest)
{
    char scratch[2][NUM_I64_TEXT];
    struct slice last = {0};
    double last_score = 0;
    uint32_t i = 0;
    for (uint32_t at = listpack_first(lp); at; i++) {
        struct item item, text;
        double score;
        at = listpack_get(lp, at, &item);
        if (!at) return false;
        at = listpack_get(lp, at, &text);
        if (!text.ptr)
            score = (double)text.integer;
        else if (!zset_parse_score((struct slice){text.ptr, text.len}, &score))
            return false;
        struct slice member = item_slice(&item, scratch[i & 1]);
        if (i && (score < last_score || (score == last_score && slice_cmp(last, member) >= 0)))
            return false;
        last = member;
        last_score = score;
        members[i] = (struct hashed){hash_bytes(member), at};
        *longest = MAX(*longest, member.len);
    }
    return true;
}

bool zset_of_listpack(struct listpack *lp, const struct value_limits *limits, struct value *out)
{
    uint32_t count = listpack_count(lp);
    size_t longest = 0;
    if (count % 2) return false;
    struct hashed *members = mem_alloc((count / 2 + 1) * sizeof *members);
    bool is_good = check_pairs(lp, members, &longest) && are_different(members, count / 2);
    mem_free(members);
    if (!is_good) return false;
    *out = value_of(lp, ENC_LISTPACK);
    bool fits = (int64_t)count / 2 <= limits->zset_max_listpack_entries &&
                longest <= limits->zset_max_listpack_value;
    if (!fits) convert(out);
    return true;
}

static int compare_keys(const void *a, const void *b)
{
    const struct btree_key *x = a, *y = b;
    if (x->score != y->score) return x->score < y->score ? -1 : 1;
    return slice_cmp(btree_item_slice(x->item), btree_item_slice(y->item));
}

void zset_sort_items(struct btree_key *items, size_t count)
{
    if (count) qsort(items, count, sizeof *items, compare_keys); // an empty array may be NULL
}

static struct value small_of_items(const struct btree_key *items, size_t count)
{
    struct listpack *lp = listpack_new(0);
    for (size_t i = 0; i < count; i++) {
        struct btree_item *item = items[i].item;
        lp = small_insert(lp, btree_item_slice(item), item->score);
        mem_free(item);
    }
    return value_of(lp, ENC_LISTPACK);
}

struct value zset_of_items(const struct btree_key *items, size_t count, struct dict *by_member,
                           const struct value_limits *limits)
{
    size_t longest = 0;
    for (size_t i = 0; i < count; i++) longest = MAX(longest, (size_t)items[i].item->len);
    struct value v = zset_new_for(count, longest, limits);
    if (is_small(v)) {
        zset_free(v);
        if (by_member) dict_free(by_member);
        return small_of_items(items, count);
    }
    struct big *b = big_of(v);
    if (by_member) {
        b->by_member = *by_member;
        b->by_member.hash = item_hash;
        dict_init(by_member, item_hash);
    }
    for (size_t i = 0; i < count; i++) {
        struct btree_item *item = items[i].item;
        if (!by_member) dict_insert(&b->by_member, item_hash(item), item);
        b->item_bytes += mem_usable_bytes(item);
        btree_insert(&b->by_score, item);
    }
    ASSERT(b->by_member.count == count);
    return v;
}

// --- as for every type ---------------------------------------------------------------------------

void zset_free(struct value v)
{
    while (!zset_drain(&v, UINT32_MAX)) {
    }
}

struct value zset_copy(struct value v)
{
    if (is_small(v)) return value_of(listpack_copy(small_of(v)), ENC_LISTPACK);
    struct big *b = big_new();
    for (const struct btree_node *n = big_of(v)->by_score.first; n; n = n->next)
        for (uint32_t i = 0; i < n->count; i++) {
            struct slice member = btree_item_slice(n->keys[i].item);
            big_put(b, zset_item_new(member, n->keys[i].score), hash_bytes(member));
        }
    return big_value(b);
}

size_t zset_memory_bytes(struct value v)
{
    if (is_small(v)) return mem_usable_bytes(small_of(v));
    const struct big *b = big_of(v);
    return mem_usable_bytes(b) + dict_table_bytes(&b->by_member) + b->by_score.bytes +
           b->item_bytes;
}

uint64_t zset_parts(struct value v)
{
    return is_small(v) ? 1 : big_of(v)->by_score.count;
}

static void drain_item(void *item, void *arg)
{
    uint32_t *freed = arg;
    mem_free(item);
    ++*freed;
}

bool zset_drain(struct value *v, uint32_t budget)
{
    if (is_small(*v)) {
        mem_free(small_of(*v));
        return true;
    }
    struct big *b = big_of(*v);
    uint32_t freed = 0;
    while (b->by_member.count) {
        if (freed >= budget) return false;
        dict_drain_bucket(&b->by_member, drain_item, &freed);
        freed++;
    }
    while (btree_drain_node(&b->by_score))
        if (++freed >= budget) return false;
    dict_free(&b->by_member);
    mem_free(b);
    return true;
}

static void small_validate(const struct listpack *lp)
{
    size_t longest = 0;
    listpack_validate(lp);
    uint32_t count = listpack_count(lp);
    ASSERT(count % 2 == 0);
    struct hashed *members = mem_alloc((count / 2 + 1) * sizeof *members);
    ASSERT(check_pairs(lp, members, &longest) && are_different(members, count / 2));
    mem_free(members);
}

void zset_validate(struct value v)
{
    if (is_small(v)) {
        small_validate(small_of(v));
        return;
    }
    const struct big *b = big_of(v);
    size_t item_bytes = 0;
    dict_validate(&b->by_member);
    btree_validate(&b->by_score);
    ASSERT(b->by_member.count == b->by_score.count);
    for (const struct btree_node *n = b->by_score.first; n; n = n->next)
        for (uint32_t i = 0; i < n->count; i++) {
            struct btree_item *item = n->keys[i].item;
            ASSERT(big_find(b, btree_item_slice(item), item_hash(item)) == item);
            item_bytes += mem_usable_bytes(item);
        }
    ASSERT(item_bytes == b->item_bytes);
}
