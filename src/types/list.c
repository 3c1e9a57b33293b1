// SPDX-License-Identifier: BSD-3-Clause
//
// When a list is a quicklist: a push looks at the listpack's bytes plus the bytes of all that is
// pushed (their text, without what storing it takes), as Redis does, so that OBJECT ENCODING says
// the same. An empty list is a listpack, whatever the limits.
#include "types/list.h"

#include "base/assert.h"
#include "base/mem.h"

#define NODE_BYTES_COUNTED                                                                         \
    8192 // list-max-listpack-size in elements: nodes do not exceed this anyway

static bool is_short(struct value v)
{
    return value_encoding(v) == ENC_LISTPACK;
}

static struct listpack *listpack_of(struct value v)
{
    ASSERT_SLOW(is_short(v));
    return value_object(v);
}

static struct quicklist *quicklist_of(struct value v)
{
    ASSERT_SLOW(value_encoding(v) == ENC_QUICKLIST);
    return value_object(v);
}

static struct quicklist_limits node_limits(const struct value_limits *l)
{
    int64_t size = l->list_max_listpack_size, depth = l->list_compress_depth;
    struct quicklist_limits out = {{NODE_BYTES_COUNTED, UINT32_MAX}, 0};
    if (size < 0)
        out.node.bytes = 4096u << (size < -5 ? 4 : -1 - size);
    else
        out.node.elements = size == 0 ? 1 : (uint32_t)MIN(size, (int64_t)UINT16_MAX);
    if (depth > 0) out.depth = (uint32_t)MIN(depth, (int64_t)UINT16_MAX);
    return out;
}

// --- encodings -----------------------------------------------------------------------------------

static void make_long(struct value *v, const struct quicklist_limits *limits)
{
    struct listpack *lp = listpack_of(*v);
    struct quicklist *ql = quicklist_new();
    if (listpack_is_empty(lp))
        mem_free(lp);
    else
        quicklist_append_listpack(ql, lp, limits);
    *v = value_of(ql, ENC_QUICKLIST);
}

// Before elements of so many bytes are added: a listpack that is too small for them becomes a
// quicklist.
static void make_room(struct value *v, uint64_t bytes, uint64_t elements,
                      const struct quicklist_limits *limits)
{
    if (!is_short(*v)) return;
    const struct listpack *lp = listpack_of(*v);
    if (listpack_bytes(lp) + bytes > limits->node.bytes ||
        (limits->node.elements != UINT32_MAX &&
         listpack_count(lp) + elements > limits->node.elements))
        make_long(v, limits);
}

// After elements were taken out, or replaced by shorter ones: a quicklist that is one node, at most
// half full, becomes a listpack. An empty one does, too: its owner deletes it next.
static void make_short(struct value *v, const struct quicklist_limits *limits)
{
    if (is_short(*v)) return;
    struct quicklist *ql = quicklist_of(*v);
    if (quicklist_nodes(ql) > 1) return;
    struct listpack *lp;
    if (quicklist_count(ql) == 0) {
        quicklist_free(ql);
        lp = listpack_new(0);
    } else {
        // With a limit of elements it is they who decide.
        bool is_counted = limits->node.elements != UINT32_MAX;
        lp = quicklist_take_listpack(ql, is_counted ? SIZE_MAX : limits->node.bytes / 2,
                                     limits->node.elements / 2);
    }
    if (lp) *v = value_of(lp, ENC_LISTPACK);
}

// --- changing ------------------------------------------------------------------------------------

struct value list_new(void)
{
    return value_of(listpack_new(0), ENC_LISTPACK);
}

uint64_t list_len(struct value v)
{
    return is_short(v) ? listpack_count(listpack_of(v)) : quicklist_count(quicklist_of(v));
}

static void push(struct value *v, bool at_head, struct slice s,
                 const struct quicklist_limits *limits)
{
    if (!is_short(*v)) {
        quicklist_push(quicklist_of(*v), at_head, s, limits);
        return;
    }
    struct listpack *lp = listpack_of(*v);
    *v = value_of(at_head ? listpack_prepend(lp, s) : listpack_append(lp, s), ENC_LISTPACK);
}

void list_push_many(struct value *v, bool at_head, const struct slice *s, size_t count,
                    const struct value_limits *limits)
{
    struct quicklist_limits nodes = node_limits(limits);
    if (is_short(*v)) {
        uint64_t bytes = 0;
        for (size_t i = 0; i < count; i++) bytes += s[i].len;
        make_room(v, bytes, count, &nodes);
    }
    for (size_t i = 0; i < count; i++) push(v, at_head, s[i], &nodes);
}

void list_push(struct value *v, bool at_head, struct slice s, const struct value_limits *limits)
{
    list_push_many(v, at_head, &s, 1, limits);
}

void list_pop(struct value *v, bool at_head, const struct value_limits *limits)
{
    if (is_short(*v)) {
        struct listpack *lp = listpack_of(*v);
        uint32_t at = at_head ? listpack_first(lp) : listpack_last(lp);
        *v = value_of(listpack_delete(lp, at, 1), ENC_LISTPACK);
        return;
    }
    quicklist_pop(quicklist_of(*v), at_head);
    if (UNLIKELY(quicklist_nodes(quicklist_of(*v)) <= 1)) {
        struct quicklist_limits nodes = node_limits(limits);
        make_short(v, &nodes);
    }
}

// False if there is no such element; else *index counts from the head.
static bool resolve(struct value v, int64_t *index)
{
    int64_t len = (int64_t)list_len(v);
    if (*index < 0) *index += len;
    return *index >= 0 && *index < len;
}

bool list_set(struct value *v, int64_t index, struct slice s, const struct value_limits *limits)
{
    struct quicklist_limits nodes = node_limits(limits);
    if (!resolve(*v, &index)) return false;
    make_room(v, s.len, 1, &nodes);
    if (is_short(*v)) {
        struct listpack *lp = listpack_of(*v);
        *v = value_of(listpack_replace(lp, listpack_seek(lp, index), s), ENC_LISTPACK);
    } else {
        quicklist_set(quicklist_of(*v), (uint64_t)index, s, &nodes);
        make_short(v, &nodes);
    }
    return true;
}

bool list_insert(struct value *v, struct slice pivot, bool is_after, struct slice s,
                 const struct value_limits *limits)
{
    struct quicklist_limits nodes = node_limits(limits);
    make_room(v, s.len, 1, &nodes);
    if (is_short(*v)) {
        struct listpack *lp = listpack_of(*v);
        uint32_t at = listpack_find(lp, listpack_first(lp), pivot, 0);
        if (!at) return false;
        if (is_after) at = listpack_next(lp, at);
        *v = value_of(listpack_insert(lp, &at, s), ENC_LISTPACK);
        return true;
    }
    struct list_search search;
    list_search_init(&search, *v, pivot, false, UINT64_MAX);
    if (!list_search_next(&search)) return false;
    quicklist_insert(quicklist_of(*v), (uint64_t)search.index + is_after, s, &nodes);
    return true;
}

static uint64_t remove_from_listpack(struct value *v, struct slice s, uint64_t max, bool from_tail)
{
    struct listpack *lp = listpack_of(*v);
    uint64_t removed = 0;
    uint32_t at = from_tail ? listpack_last(lp) : listpack_first(lp);
    while (at && removed < max) {
        uint32_t before = from_tail ? listpack_prev(lp, at) : 0;
        bool is_it = listpack_equals(lp, at, s);
        if (is_it) {
            lp = listpack_delete(lp, at, 1);
            removed++;
        }
        at = from_tail ? before : is_it ? listpack_at(lp, at) : listpack_next(lp, at);
    }
    *v = value_of(lp, ENC_LISTPACK);
    return removed;
}

uint64_t list_remove(struct value *v, struct slice s, int64_t count,
                     const struct value_limits *limits)
{
    struct quicklist_limits nodes = node_limits(limits);
    bool from_tail = count < 0;
    uint64_t max = from_tail ? 0 - (uint64_t)count : count ? (uint64_t)count : UINT64_MAX;
    if (is_short(*v)) return remove_from_listpack(v, s, max, from_tail);
    uint64_t removed = quicklist_remove_equal(quicklist_of(*v), s, max, from_tail, &nodes);
    if (removed) make_short(v, &nodes);
    return removed;
}

void list_remove_range(struct value *v, uint64_t start, uint64_t count,
                       const struct value_limits *limits)
{
    struct quicklist_limits nodes = node_limits(limits);
    ASSERT(start + count <= list_len(*v));
    if (!count) return;
    if (is_short(*v)) {
        struct listpack *lp = listpack_of(*v);
        uint32_t at = listpack_seek(lp, (int64_t)start);
        *v = value_of(listpack_delete(lp, at, (uint32_t)count), ENC_LISTPACK);
    } else {
        quicklist_remove(quicklist_of(*v), start, count, &nodes);
        make_short(v, &nodes);
    }
}

// --- reading -------------------------------------------------------------------------------------

void list_iter_init(struct list_iter *it, struct value v, int64_t index, bool is_reverse)
{
    it->left = 0;
    it->is_reverse = is_reverse;
    if (!resolve(v, &index)) return;
    it->left = is_reverse ? (uint64_t)index + 1 : list_len(v) - (uint64_t)index;
    it->lp = is_short(v) ? listpack_of(v) : NULL;
    if (it->lp)
        it->at = listpack_seek(it->lp, index);
    else
        quicklist_seek(&it->cursor, quicklist_of(v), (uint64_t)index, is_reverse);
}

bool list_iter_next(struct list_iter *it, struct item *out)
{
    if (!it->left) return false;
    it->left--;
    if (!it->lp)
        return it->is_reverse ? quicklist_prev(&it->cursor, out) : quicklist_next(&it->cursor, out);
    uint32_t next = listpack_get(it->lp, it->at, out);
    it->at = it->is_reverse ? listpack_prev(it->lp, it->at) : next;
    return true;
}

bool list_get(struct list_iter *scratch, struct value v, int64_t index, struct item *out)
{
    list_iter_init(scratch, v, index, false);
    return list_iter_next(scratch, out);
}

void list_search_init(struct list_search *search, struct value v, struct slice s, bool is_reverse,
                      uint64_t max)
{
    uint64_t len = list_len(v);
    search->wanted = s;
    search->is_integer = num_parse_i64(s, &search->integer);
    search->index = is_reverse ? (int64_t)len : -1;
    list_iter_init(&search->iter, v, is_reverse ? -1 : 0, is_reverse);
    search->iter.left = MIN(search->iter.left, max);
}

bool list_search_next(struct list_search *search)
{
    struct item i;
    int step = search->iter.is_reverse ? -1 : 1;
    struct slice s = search->wanted;
    while (list_iter_next(&search->iter, &i)) {
        search->index += step;
        if (i.ptr ? i.len == s.len && memcmp(i.ptr, s.ptr, s.len) == 0
                  : search->is_integer && i.integer == search->integer)
            return true;
    }
    return false;
}

// --- whole pieces --------------------------------------------------------------------------------

uint64_t list_piece_count(struct value v)
{
    if (is_short(v)) return !listpack_is_empty(listpack_of(v));
    return quicklist_nodes(quicklist_of(v));
}

void list_pieces_init(struct list_pieces *p, struct value v)
{
    *p = (struct list_pieces){.list = v, .is_done = list_piece_count(v) == 0};
    if (!p->is_done && !is_short(v)) p->at = quicklist_first_node(quicklist_of(v));
}

bool list_pieces_next(struct list_pieces *p, struct list_piece *out)
{
    const struct listpack *lp;
    struct slice plain = {NULL, 0};
    if (p->is_done) {
        list_pieces_free(p);
        return false;
    }
    if (is_short(p->list)) {
        lp = listpack_of(p->list);
        p->is_done = true;
    } else {
        lp = quicklist_node_listpack(p->at, &p->scratch, &plain);
        p->at = quicklist_next_node(p->at);
        p->is_done = !p->at.block;
    }
    *out = lp ? (struct list_piece){.bytes = lp, .len = listpack_bytes(lp)}
              : (struct list_piece){.is_plain = true, .bytes = plain.ptr, .len = plain.len};
    return true;
}

void list_pieces_free(struct list_pieces *p)
{
    mem_free(p->scratch);
    p->scratch = NULL;
    p->is_done = true;
}

void list_append_listpack(struct value *v, const void *bytes, size_t len,
                          const struct value_limits *limits)
{
    struct quicklist_limits nodes = node_limits(limits);
    if (len <= LISTPACK_EMPTY_BYTES) return;
    struct listpack *lp = listpack_from_bytes(bytes, len);
    bool was_empty = is_short(*v) && listpack_is_empty(listpack_of(*v));
    if (was_empty) {
        mem_free(listpack_of(*v));
        *v = value_of(lp, ENC_LISTPACK);
        make_room(v, 0, 0, &nodes);
    } else {
        if (is_short(*v)) make_long(v, &nodes);
        quicklist_append_listpack(quicklist_of(*v), lp, &nodes);
    }
}

void list_append_plain(struct value *v, struct slice s, const struct value_limits *limits)
{
    struct quicklist_limits nodes = node_limits(limits);
    if (is_short(*v)) make_long(v, &nodes);
    quicklist_append_plain(quicklist_of(*v), s, &nodes);
}

// --- as for every type ---------------------------------------------------------------------------

void list_free(struct value v)
{
    if (is_short(v))
        mem_free(listpack_of(v));
    else
        quicklist_free(quicklist_of(v));
}

struct value list_copy(struct value v)
{
    if (is_short(v)) return value_of(listpack_copy(listpack_of(v)), ENC_LISTPACK);
    return value_of(quicklist_copy(quicklist_of(v)), ENC_QUICKLIST);
}

size_t list_memory_bytes(struct value v)
{
    return is_short(v) ? mem_usable_bytes(listpack_of(v)) : quicklist_bytes(quicklist_of(v));
}

uint64_t list_parts(struct value v)
{
    return is_short(v) ? 1 : quicklist_nodes(quicklist_of(v)) + 1;
}

bool list_drain(struct value *v, uint32_t budget)
{
    if (!is_short(*v)) return quicklist_drain(quicklist_of(*v), budget);
    mem_free(listpack_of(*v));
    return true;
}

void list_validate(struct value v)
{
    if (is_short(v))
        listpack_validate(listpack_of(v));
    else
        quicklist_validate(quicklist_of(v));
}
