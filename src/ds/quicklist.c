// SPDX-License-Identifier: BSD-3-Clause
//
// The invariants, as quicklist_validate checks them: every node has elements, every block nodes;
// the sums in blocks and quicklist are right.
#include "ds/quicklist.h"

#include "base/assert.h"
#include "base/mem.h"

#ifndef QUICKLIST_BLOCK_NODES // tests make it small
#define QUICKLIST_BLOCK_NODES 128u
#define QUICKLIST_PACK_FROM   32u // shorter lists (of so many nodes) are not worth packing …
#define QUICKLIST_DEPTH       4u  // … nor are nodes nearer than this to an end
#endif
#define BLOCK_NODES_MIN 4u
#define END_BYTES_MIN   1024u // room that an end begins with; it doubles until the node is full …
#define END_FULL_FROM   8u    // … or has all it needs at once, in lists of so many nodes

struct quicklist_block {
    struct quicklist_block *prev, *next;
    uint64_t elements;
    uint32_t used, cap; // nodes
    struct listnode nodes[];
};

struct quicklist {
    struct quicklist_block *head, *tail; // NULL: empty
    uint64_t count, nodes;
};

// --- blocks --------------------------------------------------------------------------------------

static inline struct listnode *node_at(struct quicklist_at at)
{
    return &at.block->nodes[at.i];
}

static struct quicklist_at next_of(struct quicklist_at at)
{
    if (at.i + 1 < at.block->used) return (struct quicklist_at){at.block, at.i + 1};
    return (struct quicklist_at){at.block->next, 0};
}

static struct quicklist_at prev_of(struct quicklist_at at)
{
    if (at.i > 0) return (struct quicklist_at){at.block, at.i - 1};
    struct quicklist_block *b = at.block->prev;
    return (struct quicklist_at){b, b ? b->used - 1 : 0};
}

static inline struct quicklist_at end_node(const struct quicklist *ql, bool at_head)
{
    struct quicklist_block *b = at_head ? ql->head : ql->tail;
    return (struct quicklist_at){b, b && !at_head ? b->used - 1 : 0};
}

static struct quicklist_block *block_new(uint32_t cap)
{
    struct quicklist_block *b = mem_alloc(sizeof *b + cap * sizeof b->nodes[0]);
    *b = (struct quicklist_block){.cap = cap};
    return b;
}

// Lets the neighbours, or the ends, point to b.
static void link_block(struct quicklist *ql, struct quicklist_block *b)
{
    *(b->prev ? &b->prev->next : &ql->head) = b;
    *(b->next ? &b->next->prev : &ql->tail) = b;
}

static void unlink_block(struct quicklist *ql, struct quicklist_block *b)
{
    *(b->prev ? &b->prev->next : &ql->head) = b->next;
    *(b->next ? &b->next->prev : &ql->tail) = b->prev;
    mem_free(b);
}

// Moves the nodes from number `from` on to the end of the block `to`, which has room.
static void move_nodes(struct quicklist_block *b, uint32_t from, struct quicklist_block *to)
{
    uint32_t n = b->used - from;
    for (uint32_t i = from; i < b->used; i++) {
        to->elements += b->nodes[i].count;
        b->elements -= b->nodes[i].count;
    }
    memcpy(to->nodes + to->used, b->nodes + from, n * sizeof b->nodes[0]);
    to->used += n;
    b->used = from;
}

// Makes room for a node in the full block where one is to stand; returns where that place is then.
// A push at an end leaves its full block behind and begins a new one.
static struct quicklist_at grow_block(struct quicklist *ql, struct quicklist_at at)
{
    struct quicklist_block *b = at.block, *more;
    if (b->cap < QUICKLIST_BLOCK_NODES) {
        uint32_t cap = MIN(b->cap * 2, QUICKLIST_BLOCK_NODES);
        b = mem_realloc(b, sizeof *b + cap * sizeof b->nodes[0]);
        b->cap = cap;
        link_block(ql, b);
        return (struct quicklist_at){b, at.i};
    }
    more = block_new(QUICKLIST_BLOCK_NODES);
    if (at.i == 0) {
        more->prev = b->prev;
        more->next = b;
        link_block(ql, more);
        return (struct quicklist_at){more, 0};
    }
    more->prev = b;
    more->next = b->next;
    link_block(ql, more);
    if (at.i == b->used) return (struct quicklist_at){more, 0};
    move_nodes(b, b->used / 2, more);
    if (at.i <= b->used) return at;
    return (struct quicklist_at){more, at.i - b->used};
}

// Puts a node where `at` is (its index may be the end of its block); returns its place.
static struct quicklist_at insert_node(struct quicklist *ql, struct quicklist_at at,
                                       struct listnode n)
{
    if (!at.block) { // the first, or behind the last
        at = (struct quicklist_at){ql->tail, ql->tail ? ql->tail->used : 0};
        if (!at.block) {
            at.block = block_new(BLOCK_NODES_MIN);
            link_block(ql, at.block);
        }
    }
    if (at.block->used == at.block->cap) at = grow_block(ql, at);
    struct quicklist_block *b = at.block;
    memmove(b->nodes + at.i + 1, b->nodes + at.i, (b->used - at.i) * sizeof n);
    b->nodes[at.i] = n;
    b->used++;
    b->elements += n.count;
    ql->count += n.count;
    ql->nodes++;
    return at;
}

// Takes a node out without freeing what it holds; returns where the next one is.
static struct quicklist_at take_node(struct quicklist *ql, struct quicklist_at at)
{
    struct quicklist_block *b = at.block, *next = b->next;
    uint32_t count = b->nodes[at.i].count;
    ql->nodes--;
    ql->count -= count;
    b->elements -= count;
    b->used--;
    memmove(b->nodes + at.i, b->nodes + at.i + 1, (b->used - at.i) * sizeof b->nodes[0]);
    if (b->used == 0) {
        unlink_block(ql, b);
        return (struct quicklist_at){next, 0};
    }
    if (next && b->used < b->cap / 4 && b->used + next->used <= b->cap / 2) {
        move_nodes(next, 0, b);
        unlink_block(ql, next);
    }
    if (at.i < b->used) return at;
    return (struct quicklist_at){b->next, 0};
}

static struct quicklist_at drop_node(struct quicklist *ql, struct quicklist_at at)
{
    listnode_free(node_at(at));
    return take_node(ql, at);
}

// The node's number of elements changed by `change`.
static inline void note_change(struct quicklist *ql, struct quicklist_at at, int64_t change)
{
    at.block->elements += (uint64_t)change;
    ql->count += (uint64_t)change;
}

// The node that holds element number *index, which becomes its number in there.
static struct quicklist_at find_node(const struct quicklist *ql, uint64_t *index)
{
    uint64_t left = *index, behind = ql->count - left;
    ASSERT_SLOW(left < ql->count);
    struct quicklist_block *b = ql->head;
    if (left < ql->count / 2) {
        for (; left >= b->elements; b = b->next) left -= b->elements;
    } else {
        for (b = ql->tail; behind > b->elements; b = b->prev) behind -= b->elements;
        left = b->elements - behind;
    }
    struct quicklist_at at = {b, 0};
    for (; left >= b->nodes[at.i].count; at.i++) left -= b->nodes[at.i].count;
    *index = left;
    return at;
}

// --- packing -------------------------------------------------------------------------------------

static bool is_near_end(struct quicklist_at at, uint32_t depth)
{
    struct quicklist_at before = at, behind = at;
    for (uint32_t i = 0; i < depth; i++) {
        before = prev_of(before);
        behind = next_of(behind);
        if (!before.block || !behind.block) return true;
    }
    return false;
}

static inline uint32_t depth_of(const struct quicklist_limits *limits)
{
    return MAX(limits->depth, QUICKLIST_DEPTH);
}

// The node will not be changed for a while.
static void settle(struct quicklist *ql, struct quicklist_at at,
                   const struct quicklist_limits *limits)
{
    if (!prev_of(at).block || !next_of(at).block) return; // an end keeps its room
    if (ql->nodes < QUICKLIST_PACK_FROM || is_near_end(at, depth_of(limits)))
        listnode_close(node_at(at));
    else
        listnode_pack(node_at(at));
}

// An end has become the second node: gives its room back, and packs the one that is deep enough
// now.
static void settle_behind_end(struct quicklist *ql, bool at_head,
                              const struct quicklist_limits *limits)
{
    struct quicklist_at at = end_node(ql, at_head);
    for (uint32_t i = 0; i <= depth_of(limits) && at.block; i++) {
        if (i == 1) settle(ql, at, limits);
        if (i == depth_of(limits)) settle(ql, at, limits);
        at = at_head ? next_of(at) : prev_of(at);
    }
}

static void add_end(struct quicklist *ql, bool at_head, struct listnode n,
                    const struct quicklist_limits *limits)
{
    insert_node(ql, (struct quicklist_at){at_head ? ql->head : NULL, 0}, n);
    settle_behind_end(ql, at_head, limits);
}

// --- pushing and popping -------------------------------------------------------------------------

void quicklist_push(struct quicklist *ql, bool at_head, struct slice s,
                    const struct quicklist_limits *limits)
{
    struct quicklist_at at = end_node(ql, at_head);
    if (UNLIKELY(!at.block || !listnode_fits(node_at(at), s, &limits->node))) {
        if (listnode_is_big(s, &limits->node)) {
            add_end(ql, at_head, listnode_of_plain(s), limits);
            return;
        }
        size_t cap = ql->nodes < END_FULL_FROM ? END_BYTES_MIN : limits->node.bytes;
        cap = MAX(MIN(cap, limits->node.bytes), s.len + LISTPACK_EMPTY_BYTES + LISTPACK_ITEM_EXTRA);
        add_end(ql, at_head, listnode_of(listpack_new(cap), 0), limits);
        at = end_node(ql, at_head);
    }
    listnode_push(node_at(at), at_head, s, ql->nodes > 1, &limits->node);
    note_change(ql, at, 1);
}

void quicklist_pop(struct quicklist *ql, bool at_head)
{
    struct quicklist_at at = end_node(ql, at_head);
    struct listnode *n = node_at(at);
    if (n->count == 1) {
        drop_node(ql, at);
        return;
    }
    if (UNLIKELY(listnode_kind(n) == NODE_PACKED)) listnode_open(n);
    listnode_pop(n, at_head);
    note_change(ql, at, -1);
}

// --- changing inside -----------------------------------------------------------------------------

static void insert_in_node(struct quicklist *ql, struct quicklist_at at, uint64_t index,
                           struct slice s)
{
    struct listnode *n = node_at(at);
    struct listpack *lp = listnode_open(n);
    uint32_t position = listpack_seek(lp, (int64_t)index);
    listnode_put(n, listpack_insert(lp, &position, s));
    n->count++;
    note_change(ql, at, 1);
}

// Cuts a node before its element number `index`, neither the first nor past the last; returns where
// the second half is.
static struct quicklist_at split_node(struct quicklist *ql, struct quicklist_at at, uint64_t index)
{
    struct listnode half = listnode_split(node_at(at), (uint32_t)index);
    note_change(ql, at, -(int64_t)half.count);
    at.i++;
    return insert_node(ql, at, half);
}

// Puts s between the node at `at` (block NULL: the end) and the one before it.
static void insert_between(struct quicklist *ql, struct quicklist_at at, struct slice s,
                           const struct quicklist_limits *limits)
{
    struct quicklist_at before = at.block ? prev_of(at) : end_node(ql, false);
    if (before.block && listnode_fits(node_at(before), s, &limits->node)) {
        insert_in_node(ql, before, node_at(before)->count, s);
        settle(ql, before, limits);
    } else if (at.block && listnode_fits(node_at(at), s, &limits->node)) {
        insert_in_node(ql, at, 0, s);
        settle(ql, at, limits);
    } else if (listnode_is_big(s, &limits->node)) {
        insert_node(ql, at, listnode_of_plain(s));
    } else {
        struct listpack *lp = listpack_append(listpack_new(0), s);
        insert_node(ql, at, listnode_of(lp, 1));
    }
}

void quicklist_insert(struct quicklist *ql, uint64_t index, struct slice s,
                      const struct quicklist_limits *limits)
{
    if (index == 0 || index == ql->count) {
        quicklist_push(ql, index == 0 && ql->count, s, limits);
        return;
    }
    struct quicklist_at at = find_node(ql, &index);
    struct listnode *n = node_at(at);
    if (listnode_kind(n) == NODE_PACKED) listnode_open(n);
    if (listnode_fits(n, s, &limits->node)) {
        insert_in_node(ql, at, index, s);
        settle(ql, at, limits);
    } else {
        if (index) at = split_node(ql, at, index);
        insert_between(ql, at, s, limits);
    }
}

void quicklist_set(struct quicklist *ql, uint64_t index, struct slice s,
                   const struct quicklist_limits *limits)
{
    uint64_t within = index;
    struct quicklist_at at = find_node(ql, &within);
    struct listnode *n = node_at(at);
    bool is_plain = listnode_kind(n) == NODE_PLAIN;
    if (is_plain && listnode_is_big(s, &limits->node)) {
        listnode_free(n);
        *n = listnode_of_plain(s);
        return;
    }
    if (!is_plain) {
        struct listpack *lp = listnode_open(n);
        uint32_t bytes = (uint32_t)listpack_bytes(lp);
        uint32_t position = listpack_seek(lp, (int64_t)within), next = listpack_next(lp, position);
        uint32_t gone = (next ? next : bytes - 1) - position;
        if (bytes - gone + listpack_item_bytes(s) <= limits->node.bytes) {
            listnode_put(n, listpack_replace(lp, position, s));
            settle(ql, at, limits);
            return;
        }
    }
    quicklist_insert(ql, index, s, limits);
    quicklist_remove(ql, index + 1, 1, limits);
}

// Joins the node with the next if both together are at most half full.
static bool join_next(struct quicklist *ql, struct quicklist_at at,
                      const struct quicklist_limits *limits)
{
    struct quicklist_at next = next_of(at);
    if (!next.block) return false;
    struct listnode *a = node_at(at), *b = node_at(next);
    if (listnode_kind(a) != NODE_LISTPACK || listnode_kind(b) != NODE_LISTPACK) return false;
    size_t a_bytes = listpack_bytes(listnode_listpack(a)),
           b_bytes = listpack_bytes(listnode_listpack(b));
    if (a->count + b->count > limits->node.elements / 2) return false;
    if (a_bytes + b_bytes > limits->node.bytes / 2) return false;
    struct listnode gone = *b;
    take_node(ql, next);
    note_change(ql, at, gone.count);
    listnode_join(a, &gone);
    return true;
}

static void remove_in_node(struct quicklist *ql, struct quicklist_at at, uint64_t index,
                           uint32_t count)
{
    struct listnode *n = node_at(at);
    struct listpack *lp = listnode_open(n);
    uint32_t position = listpack_seek(lp, (int64_t)index);
    listnode_put(n, listpack_delete(lp, position, count));
    n->count -= count;
    note_change(ql, at, -(int64_t)count);
}

void quicklist_remove(struct quicklist *ql, uint64_t index, uint64_t count,
                      const struct quicklist_limits *limits)
{
    ASSERT(index + count <= ql->count);
    if (!count) return;
    uint64_t within = index;
    struct quicklist_at at = find_node(ql, &within);
    while (count) {
        uint32_t n = (uint32_t)MIN(count, node_at(at)->count - within);
        count -= n;
        if (n == node_at(at)->count) {
            at = drop_node(ql, at);
        } else {
            remove_in_node(ql, at, within, n);
            settle(ql, at, limits);
            at = next_of(at);
        }
        within = 0;
    }
    if (!ql->count) return;
    within = MIN(index, ql->count - 1);
    at = find_node(ql, &within);
    join_next(ql, at, limits);
    if ((at = prev_of(at)).block) join_next(ql, at, limits);
}

// --- removing by value ---------------------------------------------------------------------------

uint64_t quicklist_remove_equal(struct quicklist *ql, struct slice s, uint64_t max, bool from_tail,
                                const struct quicklist_limits *limits)
{
    uint64_t removed = 0;
    struct quicklist_at at = end_node(ql, !from_tail), before, next;
    for (; at.block && removed < max; at = next) {
        before = prev_of(at);
        next = from_tail ? before : next_of(at);
        if (!listnode_has(node_at(at), s)) continue;
        uint64_t n = listnode_remove_equal(node_at(at), s, max - removed, from_tail);
        removed += n;
        if (n == node_at(at)->count) {
            at = drop_node(ql, at);
            if (!from_tail) next = at;
            continue;
        }
        node_at(at)->count -= (uint32_t)n;
        note_change(ql, at, -(int64_t)n);
        // Joining with nodes that were looked at already.
        struct quicklist_at first = from_tail ? at : before;
        bool is_joined = first.block && join_next(ql, first, limits);
        if (is_joined) at = first;
        if (!from_tail) next = next_of(at);
        settle(ql, at, limits);
    }
    return removed;
}

// --- reading -------------------------------------------------------------------------------------

// Puts the cursor into the node at c->node: before element number `index`, or, to go back, behind
// it; UINT32_MAX: the last.
static void enter_node(struct quicklist_cursor *c, uint32_t index, bool is_reverse)
{
    const struct listnode *n = node_at(c->node);
    c->lp = NULL;
    c->packed.packed = NULL;
    c->at = 1;
    if (index == UINT32_MAX) index = n->count - 1;
    if (listnode_kind(n) == NODE_LISTPACK) {
        c->lp = listnode_listpack(n);
        c->at = listpack_seek(c->lp, index);
    } else if (listnode_kind(n) == NODE_PACKED) {
        packed_seek(&c->packed, listnode_memory(n), index + is_reverse);
    }
}

void quicklist_seek(struct quicklist_cursor *c, const struct quicklist *ql, uint64_t index,
                    bool is_reverse)
{
    c->node = find_node(ql, &index);
    enter_node(c, (uint32_t)index, is_reverse);
}

static struct item take_plain(struct quicklist_cursor *c)
{
    c->at = 0;
    return item_of(listnode_plain(node_at(c->node)));
}

bool quicklist_next(struct quicklist_cursor *c, struct item *out)
{
    for (;;) {
        if (LIKELY(c->lp && c->at)) {
            c->at = listpack_get(c->lp, c->at, out);
            return true;
        }
        if (c->packed.packed) {
            if (packed_next(&c->packed, out)) return true;
        } else if (!c->lp && c->at) {
            *out = take_plain(c);
            return true;
        }
        struct quicklist_at next = next_of(c->node);
        if (!next.block) return false;
        c->node = next;
        enter_node(c, 0, false);
    }
}

bool quicklist_prev(struct quicklist_cursor *c, struct item *out)
{
    for (;;) {
        if (LIKELY(c->lp && c->at)) {
            listpack_get(c->lp, c->at, out);
            c->at = listpack_prev(c->lp, c->at);
            return true;
        }
        if (c->packed.packed) {
            if (packed_prev(&c->packed, out)) return true;
        } else if (!c->lp && c->at) {
            *out = take_plain(c);
            return true;
        }
        struct quicklist_at before = prev_of(c->node);
        if (!before.block) return false;
        c->node = before;
        enter_node(c, UINT32_MAX, true);
    }
}

// --- whole nodes ---------------------------------------------------------------------------------

struct quicklist_at quicklist_first_node(const struct quicklist *ql)
{
    return end_node(ql, true);
}

struct quicklist_at quicklist_next_node(struct quicklist_at at)
{
    return next_of(at);
}

const struct listpack *quicklist_node_listpack(struct quicklist_at at, struct listpack **scratch,
                                               struct slice *plain)
{
    const struct listnode *n = node_at(at);
    mem_free(*scratch);
    *scratch = NULL;
    switch (listnode_kind(n)) {
    case NODE_PLAIN: *plain = listnode_plain(n); return NULL;
    case NODE_PACKED: return *scratch = packed_unpack(listnode_memory(n));
    default: return listnode_listpack(n);
    }
}

void quicklist_append_listpack(struct quicklist *ql, struct listpack *lp,
                               const struct quicklist_limits *limits)
{
    ASSERT(!listpack_is_empty(lp));
    add_end(ql, false, listnode_of(lp, listpack_count(lp)), limits);
}

void quicklist_append_plain(struct quicklist *ql, struct slice s,
                            const struct quicklist_limits *limits)
{
    add_end(ql, false, listnode_of_plain(s), limits);
}

struct listpack *quicklist_take_listpack(struct quicklist *ql, size_t max_bytes,
                                         uint64_t max_elements)
{
    if (ql->nodes != 1 || ql->count > max_elements) return NULL;
    struct listnode *n = node_at(end_node(ql, true));
    if (listnode_kind(n) != NODE_LISTPACK || listpack_bytes(listnode_listpack(n)) > max_bytes)
        return NULL;
    struct listpack *lp = listpack_shrink(listnode_open(n));
    mem_free(ql->head);
    mem_free(ql);
    return lp;
}

// --- the whole -----------------------------------------------------------------------------------

struct quicklist *quicklist_new(void)
{
    return mem_calloc(sizeof(struct quicklist));
}

bool quicklist_drain(struct quicklist *ql, uint32_t budget)
{
    while (ql->tail && budget-- > 0) drop_node(ql, end_node(ql, false));
    if (ql->tail) return false;
    mem_free(ql);
    return true;
}

void quicklist_free(struct quicklist *ql)
{
    while (!quicklist_drain(ql, UINT32_MAX))
        ;
}

struct quicklist *quicklist_copy(const struct quicklist *ql)
{
    struct quicklist *copy = quicklist_new();
    for (struct quicklist_at at = end_node(ql, true); at.block; at = next_of(at))
        insert_node(copy, (struct quicklist_at){0}, listnode_copy(node_at(at)));
    return copy;
}

uint64_t quicklist_count(const struct quicklist *ql)
{
    return ql->count;
}

uint64_t quicklist_nodes(const struct quicklist *ql)
{
    return ql->nodes;
}

size_t quicklist_bytes(const struct quicklist *ql)
{
    size_t bytes = mem_usable_bytes(ql);
    for (const struct quicklist_block *b = ql->head; b; b = b->next) {
        bytes += mem_usable_bytes(b);
        for (uint32_t i = 0; i < b->used; i++)
            bytes += mem_usable_bytes(listnode_memory(&b->nodes[i]));
    }
    return bytes;
}

void quicklist_validate(const struct quicklist *ql)
{
    uint64_t count = 0, nodes = 0;
    const struct quicklist_block *before = NULL;
    for (const struct quicklist_block *b = ql->head; b; before = b, b = b->next) {
        uint64_t elements = 0;
        ASSERT(b->prev == before && b->used > 0 && b->used <= b->cap);
        for (uint32_t i = 0; i < b->used; i++) {
            listnode_validate(&b->nodes[i]);
            elements += b->nodes[i].count;
        }
        ASSERT(b->elements == elements);
        count += elements;
        nodes += b->used;
    }
    ASSERT(ql->tail == before);
    ASSERT(ql->count == count && ql->nodes == nodes);
}
