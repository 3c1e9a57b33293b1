// SPDX-License-Identifier: BSD-3-Clause
//
// What the three encodings have in common: which of them a set takes, and when it changes. The
// table is set_table.c.
//
// An empty set needs no memory: its word is an ENC_INTSET without an address. What the first member
// is decides what comes of it.
#include "types/set.h"

#include "base/assert.h"
#include "base/mem.h"
#include "ds/intset.h"
#include "types/set_table.h"

#define INTSET_MAX_ENTRIES (1 << 30) // whatever the settings say

static struct intset *ints_of(struct value v)
{
    return value_object(v); // NULL: empty
}

static struct listpack *pack_of(struct value v)
{
    return value_object(v);
}

static struct set_table *table_of(struct value v)
{
    return value_object(v);
}

// --- members -------------------------------------------------------------------------------------

struct value set_new(void)
{
    return value_of(NULL, ENC_INTSET);
}

uint64_t set_len(struct value v)
{
    if (!value_object(v)) return 0;
    switch (value_encoding(v)) {
    case ENC_INTSET: return intset_count(ints_of(v));
    case ENC_LISTPACK: return listpack_count(pack_of(v));
    default: return table_of(v)->dict.count;
    }
}

static inline uint32_t pack_find(const struct listpack *lp, const struct item *m)
{
    char digits[NUM_I64_TEXT];
    return listpack_find(lp, listpack_first(lp), item_slice(m, digits), 0);
}

bool set_has_item(struct value v, const struct item *member)
{
    struct set_needle n;
    int64_t integer;
    if (!value_object(v)) return false;
    switch (value_encoding(v)) {
    case ENC_INTSET: return set_member_integer(member, &integer) && intset_has(ints_of(v), integer);
    case ENC_LISTPACK: return pack_find(pack_of(v), member);
    default: set_needle_init(&n, member); return set_table_find(table_of(v), &n);
    }
}

bool set_has(struct value v, struct slice member)
{
    struct item m = item_of(member);
    return set_has_item(v, &m);
}

uint32_t set_has_batch(struct value v, const struct item *members, uint32_t count)
{
    ASSERT(count <= SET_BATCH);
    if (value_encoding(v) == ENC_HASHTABLE) return set_table_has_batch(table_of(v), members, count);
    uint32_t found = 0;
    for (uint32_t i = 0; i < count; i++) found |= (uint32_t)set_has_item(v, &members[i]) << i;
    return found;
}

// --- growing -------------------------------------------------------------------------------------

// The set becomes a table, whatever it was.
static struct set_table *convert_to_table(struct value *v)
{
    struct set_table *t = set_table_new();
    struct set_iter it;
    struct item m;
    for (set_iter_init(&it, *v); set_iter_next(&it, &m);) set_table_add(t, &m, true);
    mem_free(value_object(*v));
    *v = value_of(t, ENC_HASHTABLE);
    return t;
}

static size_t digits_of(int64_t integer)
{
    char digits[NUM_I64_TEXT];
    return num_format_i64(digits, integer);
}

// Does a listpack that has `count` members and `bytes` take one more?
static bool pack_takes(uint64_t count, size_t bytes, struct slice member,
                       const struct value_limits *limits)
{
    return (int64_t)count < limits->set_max_listpack_entries && count < UINT16_MAX &&
           member.len <= limits->set_max_listpack_value &&
           bytes + listpack_item_bytes(member) < LISTPACK_MAX_BYTES;
}

// May the intset (NULL: an empty one) become a listpack and take this member?
static bool ints_fit_pack(const struct intset *s, struct slice member,
                          const struct value_limits *limits)
{
    uint32_t count = s ? intset_count(s) : 0;
    if (!pack_takes(count, (size_t)count * (NUM_I64_TEXT + 2), member, limits)) return false;
    if (!count) return true;
    size_t lowest = digits_of(intset_at(s, 0)), highest = digits_of(intset_at(s, count - 1));
    return MAX(lowest, highest) <= limits->set_max_listpack_value;
}

static struct listpack *ints_to_pack(struct intset *s, struct slice member)
{
    uint32_t count = s ? intset_count(s) : 0;
    struct listpack *lp = listpack_new(LISTPACK_EMPTY_BYTES + listpack_item_bytes(member));
    for (uint32_t i = 0; i < count; i++) lp = listpack_append_integer(lp, intset_at(s, i));
    mem_free(s);
    return lp;
}

// A member that its intset cannot take: there are too many, or it is not an integer.
static void ints_add_other(struct value *v, const struct item *m, const struct value_limits *limits)
{
    char digits[NUM_I64_TEXT];
    struct slice member = item_slice(m, digits);
    struct intset *s = ints_of(*v);
    if (ints_fit_pack(s, member, limits)) {
        struct listpack *lp = ints_to_pack(s, member);
        *v = value_of(listpack_append(lp, member), ENC_LISTPACK);
    } else {
        set_table_add(convert_to_table(v), m, true);
    }
}

static bool ints_add(struct value *v, const struct item *m, const struct value_limits *limits)
{
    int64_t integer, max = MIN(limits->set_max_intset_entries, INTSET_MAX_ENTRIES);
    struct intset *s = ints_of(*v);
    if (!set_member_integer(m, &integer) || (!s && max < 1)) {
        ints_add_other(v, m, limits);
        return true;
    }
    bool is_new;
    if (!s) s = intset_new();
    s = intset_add(s, integer, &is_new);
    *v = value_of(s, ENC_INTSET);
    if (is_new && (int64_t)intset_count(s) > max) convert_to_table(v);
    return is_new;
}

static bool pack_add(struct value *v, const struct item *m, bool is_new,
                     const struct value_limits *limits)
{
    char digits[NUM_I64_TEXT];
    struct slice member = item_slice(m, digits);
    struct listpack *lp = pack_of(*v);
    if (!is_new && listpack_find(lp, listpack_first(lp), member, 0)) return false;
    if (pack_takes(listpack_count(lp), listpack_bytes(lp), member, limits))
        *v = value_of(listpack_append(lp, member), ENC_LISTPACK);
    else
        set_table_add(convert_to_table(v), m, true);
    return true;
}

static inline bool add(struct value *v, const struct item *m, bool is_new,
                       const struct value_limits *limits)
{
    switch (value_encoding(*v)) {
    case ENC_INTSET: return ints_add(v, m, limits);
    case ENC_LISTPACK: return pack_add(v, m, is_new, limits);
    default: return set_table_add(table_of(*v), m, is_new);
    }
}

bool set_add(struct value *v, struct slice member, const struct value_limits *limits)
{
    struct item m = item_of(member);
    return add(v, &m, false, limits);
}

bool set_add_item(struct value *v, const struct item *member, const struct value_limits *limits)
{
    return add(v, member, false, limits);
}

void set_add_new(struct value *v, const struct item *member, const struct value_limits *limits)
{
    add(v, member, true, limits);
}

// --- shrinking -----------------------------------------------------------------------------------

static bool ints_remove(struct value *v, const struct item *m)
{
    int64_t integer;
    bool was_there;
    struct intset *s = ints_of(*v);
    if (!s || !set_member_integer(m, &integer)) return false;
    *v = value_of(intset_remove(s, integer, &was_there), ENC_INTSET);
    return was_there;
}

static bool pack_remove(struct value *v, const struct item *m)
{
    struct listpack *lp = pack_of(*v);
    uint32_t at = pack_find(lp, m);
    if (at) *v = value_of(listpack_delete(lp, at, 1), ENC_LISTPACK);
    return at;
}

bool set_remove_item(struct value *v, const struct item *member)
{
    switch (value_encoding(*v)) {
    case ENC_INTSET: return ints_remove(v, member);
    case ENC_LISTPACK: return pack_remove(v, member);
    default: return set_table_remove(table_of(*v), member);
    }
}

bool set_remove(struct value *v, struct slice member)
{
    struct item m = item_of(member);
    return set_remove_item(v, &m);
}

// --- by chance -----------------------------------------------------------------------------------

void set_random(struct value v, struct random *random, struct item *out)
{
    uint64_t len = set_len(v);
    ASSERT(len);
    if (value_encoding(v) == ENC_HASHTABLE) {
        set_table_random(table_of(v), random, out);
        return;
    }
    uint32_t index = (uint32_t)random_below(random, len);
    if (value_encoding(v) == ENC_INTSET)
        *out = item_of_integer(intset_at(ints_of(v), index));
    else
        listpack_get(pack_of(v), listpack_seek(pack_of(v), index), out);
}

void set_pop(struct value *v, struct random *random, set_visit_fn taken, void *arg)
{
    if (value_encoding(*v) == ENC_HASHTABLE) {
        set_table_pop(table_of(*v), random, taken, arg);
        return;
    }
    struct item m;
    uint32_t count = (uint32_t)set_len(*v), index = (uint32_t)random_below(random, count);
    if (value_encoding(*v) == ENC_INTSET) {
        m = item_of_integer(intset_at(ints_of(*v), index));
        taken(arg, &m);
        *v = value_of(intset_delete(ints_of(*v), index, 1), ENC_INTSET);
    } else {
        uint32_t at = listpack_seek(pack_of(*v), index);
        listpack_get(pack_of(*v), at, &m);
        taken(arg, &m);
        *v = value_of(listpack_delete(pack_of(*v), at, 1), ENC_LISTPACK);
    }
}

static struct value keep(struct value rest, const struct item *m)
{
    bool is_new;
    if (value_encoding(rest) == ENC_LISTPACK)
        return value_of(listpack_append_item(pack_of(rest), m), ENC_LISTPACK);
    return value_of(intset_add(ints_of(rest), m->integer, &is_new), ENC_INTSET);
}

// Takes `count` out of an intset or a listpack in one walk; what remains is built anew.
static void pop_by_walk(struct value *v, uint64_t count, struct random *random, set_visit_fn taken,
                        void *arg)
{
    bool is_pack = value_encoding(*v) == ENC_LISTPACK;
    struct value rest =
        is_pack ? value_of(listpack_new(0), ENC_LISTPACK) : value_of(intset_new(), ENC_INTSET);
    struct set_iter it;
    struct item m;
    uint64_t left = set_len(*v);
    for (set_iter_init(&it, *v); set_iter_next(&it, &m); left--) {
        if (set_is_chosen(random, count, left)) {
            taken(arg, &m);
            count--;
        } else {
            rest = keep(rest, &m);
        }
    }
    set_free(*v);
    *v = rest;
}

void set_pop_many(struct value *v, uint64_t count, struct random *random, set_visit_fn taken,
                  void *arg)
{
    ASSERT(count <= set_len(*v));
    if (value_encoding(*v) == ENC_HASHTABLE)
        set_table_pop_many(table_of(*v), count, random, taken, arg);
    else if (count > 1)
        pop_by_walk(v, count, random, taken, arg);
    else if (count == 1)
        set_pop(v, random, taken, arg);
}

static void sample_by_walk(struct value v, uint64_t count, struct random *random,
                           set_visit_fn visit, void *arg)
{
    struct set_iter it;
    struct item m;
    uint64_t left = set_len(v);
    for (set_iter_init(&it, v); count && set_iter_next(&it, &m); left--) {
        if (!set_is_chosen(random, count, left)) continue;
        visit(arg, &m);
        count--;
    }
}

void set_sample(struct value v, uint64_t count, struct random *random, set_visit_fn visit,
                void *arg)
{
    enum { DEAR = 8 }; // drawing one costs about as much as walking over so many
    uint64_t len = set_len(v);
    ASSERT(count <= len);
    if (value_encoding(v) == ENC_HASHTABLE && count < len / DEAR)
        set_table_draw_different(table_of(v), count, random, visit, arg);
    else
        sample_by_walk(v, count, random, visit, arg);
}

// A listpack is read once; then each draw is an index.
static void draw_from_pack(const struct listpack *lp, uint64_t count, struct random *random,
                           set_visit_fn visit, void *arg)
{
    uint32_t len = listpack_count(lp), n = 0;
    struct item *members = mem_alloc(len * sizeof *members);
    for (uint32_t at = listpack_first(lp); at;) at = listpack_get(lp, at, &members[n++]);
    ASSERT(n == len);
    while (count-- > 0) visit(arg, &members[random_below(random, len)]);
    mem_free(members);
}

void set_draw(struct value v, uint64_t count, struct random *random, set_visit_fn visit, void *arg)
{
    if (value_encoding(v) == ENC_LISTPACK && count > 1) {
        draw_from_pack(pack_of(v), count, random, visit, arg);
        return;
    }
    struct item m;
    while (count-- > 0) {
        set_random(v, random, &m);
        visit(arg, &m);
    }
}

// --- walks ---------------------------------------------------------------------------------------

void set_iter_init(struct set_iter *it, struct value v)
{
    *it = (struct set_iter){.set = v};
    if (value_encoding(v) == ENC_LISTPACK) it->at = listpack_first(pack_of(v));
}

bool set_iter_next(struct set_iter *it, struct item *out)
{
    if (value_encoding(it->set) == ENC_HASHTABLE)
        return set_table_next(table_of(it->set), &it->bucket, &it->at, out);
    if (value_encoding(it->set) == ENC_LISTPACK) {
        if (!it->at) return false;
        it->at = listpack_get(pack_of(it->set), it->at, out);
        return true;
    }
    const struct intset *s = ints_of(it->set);
    if (!s || it->at == intset_count(s)) return false;
    *out = item_of_integer(intset_at(s, it->at++));
    return true;
}

uint64_t set_scan(struct value v, uint64_t cursor, set_visit_fn visit, void *arg)
{
    if (value_encoding(v) == ENC_HASHTABLE) return set_table_scan(table_of(v), cursor, visit, arg);
    struct set_iter it;
    struct item m;
    for (set_iter_init(&it, v); set_iter_next(&it, &m);) visit(arg, &m);
    return 0;
}

// --- dumps ---------------------------------------------------------------------------------------

const void *set_intset(struct value v, size_t *len)
{
    ASSERT(value_encoding(v) == ENC_INTSET && value_object(v));
    *len = intset_bytes(ints_of(v));
    return ints_of(v);
}

struct value set_of_intset(const void *bytes, size_t len)
{
    return value_of(intset_from_bytes(bytes, len), ENC_INTSET);
}

const struct listpack *set_listpack(struct value v)
{
    ASSERT(value_encoding(v) == ENC_LISTPACK);
    return pack_of(v);
}

struct value set_of_listpack(struct listpack *lp)
{
    return value_of(lp, ENC_LISTPACK);
}

void set_fit(struct value *v, const struct value_limits *limits)
{
    int64_t len = (int64_t)set_len(*v);
    enum object_encoding encoding = value_encoding(*v);
    if ((encoding == ENC_INTSET && len > limits->set_max_intset_entries) ||
        (encoding == ENC_LISTPACK && len > limits->set_max_listpack_entries))
        convert_to_table(v);
}

// --- as for every type ---------------------------------------------------------------------------

void set_free(struct value v)
{
    if (value_encoding(v) == ENC_HASHTABLE)
        set_table_free(table_of(v));
    else
        mem_free(value_object(v));
}

struct value set_copy(struct value v)
{
    if (!value_object(v)) return v;
    switch (value_encoding(v)) {
    case ENC_INTSET: return value_of(intset_copy(ints_of(v)), ENC_INTSET);
    case ENC_LISTPACK: return value_of(listpack_copy(pack_of(v)), ENC_LISTPACK);
    default: return value_of(set_table_copy(table_of(v)), ENC_HASHTABLE);
    }
}

size_t set_memory_bytes(struct value v)
{
    if (!value_object(v)) return 0;
    return value_encoding(v) == ENC_HASHTABLE ? set_table_memory_bytes(table_of(v))
                                              : mem_usable_bytes(value_object(v));
}

uint64_t set_parts(struct value v)
{
    return value_encoding(v) == ENC_HASHTABLE ? set_len(v) : 1;
}

bool set_drain(struct value *v, uint32_t budget)
{
    if (value_encoding(*v) == ENC_HASHTABLE && !set_table_drain(table_of(*v), budget)) return false;
    set_free(*v);
    return true;
}

void set_validate(struct value v)
{
    struct set_iter it;
    struct item m;
    if (!value_object(v)) return;
    switch (value_encoding(v)) {
    case ENC_INTSET: intset_validate(ints_of(v)); break;
    case ENC_LISTPACK:
        listpack_validate(pack_of(v));
        for (set_iter_init(&it, v); set_iter_next(&it, &m);) {
            uint32_t at = pack_find(pack_of(v), &m), next;
            next = listpack_get(pack_of(v), at, &m);
            ASSERT(next == it.at); // no other one before it
        }
        break;
    default: ASSERT(value_encoding(v) == ENC_HASHTABLE); set_table_validate(table_of(v));
    }
}

uint64_t set_member_hash(struct slice member)
{
    struct item item = item_of(member);
    struct set_needle n;
    set_needle_init(&n, &item);
    return n.hash;
}
