// SPDX-License-Identifier: BSD-3-Clause
#include "ds/listnode.h"

#include "base/assert.h"
#include "base/mem.h"

#define ROOM_BYTES_MIN 1024u // memory that a listpack is given which must grow, if it may be so big

struct plain { // an element that stands alone
    size_t len;
    char data[];
};

// --- nodes ---------------------------------------------------------------------------------------

struct slice listnode_plain(const struct listnode *n)
{
    const struct plain *p = listnode_memory(n);
    return (struct slice){p->data, p->len};
}

static struct listnode node_of(void *memory, enum listnode_kind kind, uint32_t count)
{
    return (struct listnode){.word = (uintptr_t)memory | kind, .count = count};
}

struct listnode listnode_of(struct listpack *lp, uint32_t count)
{
    return node_of(lp, NODE_LISTPACK, count);
}

struct listnode listnode_of_plain(struct slice s)
{
    struct plain *p = mem_alloc(sizeof *p + s.len);
    p->len = s.len;
    memcpy(p->data, s.ptr, s.len);
    return node_of(p, NODE_PLAIN, 1);
}

void listnode_free(struct listnode *n)
{
    mem_free(listnode_memory(n));
}

struct listnode listnode_copy(const struct listnode *n)
{
    switch (listnode_kind(n)) {
    case NODE_PLAIN: return listnode_of_plain(listnode_plain(n));
    case NODE_PACKED: return node_of(packed_copy(listnode_memory(n)), NODE_PACKED, n->count);
    default: return node_of(listpack_copy(listnode_listpack(n)), NODE_LISTPACK, n->count);
    }
}

struct listpack *listnode_open(struct listnode *n)
{
    char *memory = listnode_memory(n);
    if (listnode_kind(n) == NODE_PACKED) {
        struct listpack *lp = packed_unpack(listnode_memory(n));
        listnode_free(n);
        *n = node_of(lp, NODE_LISTPACK, n->count);
    } else if (n->offset) {
        memmove(memory, memory + n->offset, listpack_bytes(listnode_listpack(n)));
        n->offset = 0;
    }
    return listnode_memory(n);
}

void listnode_put(struct listnode *n, struct listpack *lp)
{
    *n = node_of(lp, NODE_LISTPACK, n->count);
}

void listnode_close(struct listnode *n)
{
    if (listnode_kind(n) != NODE_LISTPACK) return;
    size_t usable = mem_usable_bytes(listnode_memory(n));
    size_t bytes = listpack_bytes(listnode_listpack(n));
    if (usable > mem_good_bytes(bytes)) listnode_put(n, listpack_shrink(listnode_open(n)));
}

void listnode_pack(struct listnode *n)
{
    if (listnode_kind(n) != NODE_LISTPACK) return;
    struct packed *p = packed_new(listnode_listpack(n));
    if (!p) return;
    listnode_free(n);
    *n = node_of(p, NODE_PACKED, n->count);
}

// --- room at the ends ----------------------------------------------------------------------------

bool listnode_is_big(struct slice s, const struct listnode_limits *limits)
{
    return s.len + LISTPACK_ITEM_EXTRA + LISTPACK_EMPTY_BYTES > limits->bytes;
}

bool listnode_fits(const struct listnode *n, struct slice s, const struct listnode_limits *limits)
{
    return listnode_kind(n) == NODE_LISTPACK && n->count < limits->elements &&
           listpack_bytes(listnode_listpack(n)) + s.len + LISTPACK_ITEM_EXTRA <= limits->bytes;
}

// Makes room for `need` bytes before or behind the listpack, and for more to come. `is_one_sided`:
// nothing will be wanted on the other side.
static void make_room(struct listnode *n, bool at_head, size_t need, bool is_one_sided,
                      const struct listnode_limits *limits)
{
    struct listpack *lp = listnode_listpack(n);
    char *memory = listnode_memory(n);
    size_t bytes = listpack_bytes(lp), cap = mem_usable_bytes(memory);
    size_t full = MAX((size_t)limits->bytes, bytes + need), want = cap;
    if (cap < bytes + need || (cap - bytes < cap / 8 && cap < full)) {
        want = MIN(MAX(cap * 2, (size_t)ROOM_BYTES_MIN), full);
        want = MAX(want, bytes + need);
    }
    size_t free_bytes = want - bytes;
    size_t room = is_one_sided ? free_bytes : need + (free_bytes - need) / 2;
    size_t offset = at_head ? room : free_bytes - room;
    if (want == cap) {
        memmove(memory + offset, lp, bytes);
    } else {
        char *more = mem_alloc(want);
        memcpy(more + offset, lp, bytes);
        mem_free(memory);
        n->word = (uintptr_t)more | NODE_LISTPACK;
    }
    n->offset = (uint32_t)offset;
}

void listnode_push(struct listnode *n, bool at_head, struct slice s, bool is_one_sided,
                   const struct listnode_limits *limits)
{
    size_t need = s.len + LISTPACK_ITEM_EXTRA, bytes = listpack_bytes(listnode_listpack(n));
    size_t room = n->offset;
    if (!at_head) room = mem_usable_bytes(listnode_memory(n)) - n->offset - bytes;
    if (UNLIKELY(room < need)) make_room(n, at_head, need, is_one_sided, limits);
    char *lp = (char *)listnode_listpack(n);
    uint32_t added;
    if (at_head) {
        added = listpack_put_before(lp + LISTPACK_HEADER_BYTES, s);
        n->offset -= added;
        lp -= added;
    } else {
        added = listpack_put(lp + bytes - 1, s);
    }
    listpack_put_frame((struct listpack *)lp, (uint32_t)bytes + added, ++n->count);
}

void listnode_pop(struct listnode *n, bool at_head)
{
    struct listpack *lp = listnode_listpack(n);
    uint32_t bytes = (uint32_t)listpack_bytes(lp), gone;
    ASSERT(n->count > 1);
    n->count--;
    if (at_head) {
        gone = listpack_next(lp, LISTPACK_HEADER_BYTES) - LISTPACK_HEADER_BYTES;
        n->offset += gone;
        lp = listnode_listpack(n);
    } else {
        gone = bytes - 1 - listpack_last(lp);
    }
    listpack_put_frame(lp, bytes - gone, n->count);
}

struct listnode listnode_split(struct listnode *n, uint32_t index)
{
    struct listpack *lp = listnode_open(n);
    uint32_t cut = listpack_seek(lp, index), bytes = (uint32_t)listpack_bytes(lp);
    uint32_t count = n->count - index, rest = bytes - cut + LISTPACK_HEADER_BYTES;
    struct listpack *half = listpack_new(rest);
    memcpy((char *)half + LISTPACK_HEADER_BYTES, (char *)lp + cut, bytes - cut);
    listpack_put_frame(half, rest, count);
    listpack_put_frame(lp, cut + 1, index);
    n->count = index;
    listnode_put(n, listpack_shrink(lp));
    return listnode_of(half, count);
}

void listnode_join(struct listnode *a, struct listnode *b)
{
    const char *more = (const char *)listnode_listpack(b);
    size_t a_bytes = listpack_bytes(listnode_listpack(a));
    size_t b_bytes = listpack_bytes(listnode_listpack(b));
    size_t bytes = a_bytes + b_bytes - LISTPACK_EMPTY_BYTES;
    char *lp = mem_realloc(listnode_open(a), bytes);
    memcpy(lp + a_bytes - 1, more + LISTPACK_HEADER_BYTES, b_bytes - LISTPACK_HEADER_BYTES);
    a->count += b->count;
    listpack_put_frame((struct listpack *)lp, (uint32_t)bytes, a->count);
    listnode_put(a, (struct listpack *)lp);
    listnode_free(b);
}

// --- by value ------------------------------------------------------------------------------------

static bool item_is(const struct item *i, struct slice s)
{
    int64_t v;
    if (i->ptr) return i->len == s.len && memcmp(i->ptr, s.ptr, s.len) == 0;
    return num_parse_i64(s, &v) && v == i->integer;
}

bool listnode_has(const struct listnode *n, struct slice s)
{
    struct packed_cursor c;
    struct item i;
    switch (listnode_kind(n)) {
    case NODE_PLAIN: return slice_eq(listnode_plain(n), s);
    case NODE_PACKED:
        for (packed_seek(&c, listnode_memory(n), 0); packed_next(&c, &i);)
            if (item_is(&i, s)) return true;
        return false;
    default: {
        const struct listpack *lp = listnode_listpack(n);
        return listpack_find(lp, listpack_first(lp), s, 0) != 0;
    }
    }
}

uint64_t listnode_remove_equal(struct listnode *n, struct slice s, uint64_t max, bool from_tail)
{
    uint64_t removed = 0;
    if (listnode_kind(n) == NODE_PLAIN) return 1;
    struct listpack *lp = listnode_open(n);
    uint32_t position = from_tail ? listpack_last(lp) : listpack_first(lp);
    while (position && removed < max) {
        uint32_t before = from_tail ? listpack_prev(lp, position) : 0;
        if (!from_tail) position = listpack_find(lp, position, s, 0);
        if (position && (!from_tail || listpack_equals(lp, position, s))) {
            lp = listpack_delete(lp, position, 1);
            removed++;
        }
        position = from_tail ? before : position ? listpack_at(lp, position) : 0;
    }
    listnode_put(n, lp);
    return removed;
}

// --- for tests -----------------------------------------------------------------------------------

void listnode_validate(const struct listnode *n)
{
    ASSERT(n->count > 0);
    ASSERT(n->offset == 0 || listnode_kind(n) == NODE_LISTPACK);
    switch (listnode_kind(n)) {
    case NODE_PLAIN: ASSERT(n->count == 1); break;
    case NODE_PACKED:
        packed_validate(listnode_memory(n));
        ASSERT(packed_count(listnode_memory(n)) == n->count);
        break;
    default:
        listpack_validate(listnode_listpack(n));
        ASSERT(listpack_count(listnode_listpack(n)) == n->count);
        ASSERT(n->offset + listpack_bytes(listnode_listpack(n)) <=
               mem_usable_bytes(listnode_memory(n)));
    }
}
