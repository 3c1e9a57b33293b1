// SPDX-License-Identifier: BSD-3-Clause
//
// btree: see btree.h for the shape. How it stays in shape:
//
// Going down notes the way (struct path: at each height a node and a place in it), and every change
// is made at the bottom first and carried up along the way.
//
//   insert   A full leaf first shares with a neighbour that has room, else it is split, which puts
//   a
//            new slot into its parent, which may be full in turn. At either end of the tree nothing
//            is split: a new node with the new key alone is put behind (before) the full one.
//   remove   A node that has become less than 3/8 full is merged with a neighbour if the two then
//            are at most 3/4 full, else they share evenly. A node on the tree's edge is let alone
//            unless it can be merged: that keeps popping from an end cheap. Neighbours always have
//            the same parent; only a node on an edge may have none.
//
// Inner nodes are told from leaves by their height alone, and moving keys between two nodes of one
// height moves the children and totals with them, so that splitting, sharing and merging are
// written once.
#include "ds/btree.h"

#include "base/assert.h"
#include "base/mem.h"

#define FETCH_BYTES 1024 // of a node that is gone to: all of it

// Where the key goes that is inserted: at an end of the tree nothing needs to be searched or split.
enum place { WITHIN, AT_BEGIN, AT_END };

struct step {
    struct btree_node *node;
    uint32_t index; // inner nodes: of the child that the way goes on to
};

// By height; the leaf is at[0], the root at[root->height].
struct path {
    struct step at[BTREE_HEIGHT_MAX];
};

// --- nodes ---------------------------------------------------------------------------------------

static struct btree_node **children(const struct btree_node *inner)
{
    return (struct btree_node **)(inner->keys + inner->cap);
}

static uint64_t *totals(const struct btree_node *inner)
{
    return (uint64_t *)(children(inner) + inner->cap);
}

static size_t node_size(uint32_t height, uint32_t cap)
{
    size_t slot = sizeof(struct btree_key);
    if (height) slot += sizeof(struct btree_node *) + sizeof(uint64_t);
    return sizeof(struct btree_node) + cap * slot;
}

static struct btree_node *node_new(struct btree *t, uint32_t height, uint32_t cap)
{
    struct btree_node *n = mem_alloc(node_size(height, cap));
    *n = (struct btree_node){.cap = (uint16_t)cap, .height = height};
    t->bytes += mem_usable_bytes(n);
    return n;
}

static void node_free(struct btree *t, struct btree_node *n)
{
    t->bytes -= mem_usable_bytes(n);
    mem_free(n);
}

static uint64_t node_total(const struct btree_node *n)
{
    if (!n->height) return n->count;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < n->count; i++) sum += totals(n)[i];
    return sum;
}

// Copies n slots from one node to another of the same height, or within one.
static void slots_copy(struct btree_node *to, uint32_t at, const struct btree_node *from,
                       uint32_t first, uint32_t n)
{
    memmove(to->keys + at, from->keys + first, n * sizeof *to->keys);
    if (!to->height) return;
    memmove(children(to) + at, children(from) + first, n * sizeof *children(to));
    memmove(totals(to) + at, totals(from) + first, n * sizeof *totals(to));
}

static void slots_open(struct btree_node *n, uint32_t at)
{
    slots_copy(n, at + 1, n, at, n->count - at);
    n->count++;
}

static void slots_close(struct btree_node *n, uint32_t at, uint32_t count)
{
    slots_copy(n, at, n, at + count, n->count - at - count);
    n->count = (uint16_t)(n->count - count);
}

static uint32_t node_max(const struct btree_node *n)
{
    return n->height ? BTREE_INNER_MAX : BTREE_LEAF_MAX;
}

static uint32_t node_min(const struct btree_node *n)
{
    return node_max(n) * 3 / 8;
}

// So many may two neighbours hold together and still be merged, so many may one hold and still be
// asked to share.
static uint32_t node_roomy(const struct btree_node *n)
{
    return node_max(n) * 3 / 4;
}

// --- searching -----------------------------------------------------------------------------------

// How many of n keys have a lower score (with_equal: or this one). Without a branch that could be
// guessed wrong.
static inline uint32_t below(const struct btree_key *keys, uint32_t n, double score,
                             bool with_equal)
{
    const struct btree_key *base = keys;
    if (!n) return 0;
    while (n > 1) {
        uint32_t half = n / 2;
        double s = base[half - 1].score;
        bool is_below = with_equal ? s <= score : s < score;
        base = is_below ? base + half : base;
        n -= half;
    }
    bool is_below = with_equal ? base->score <= score : base->score < score;
    return (uint32_t)(base - keys) + is_below;
}

// How many of the node's keys stand before (score, member), with_equal: or there.
static inline uint32_t below_member(const struct btree_node *n, double score, struct slice member,
                                    bool with_equal)
{
    uint32_t lo = below(n->keys, n->count, score, false);
    if (lo == n->count || n->keys[lo].score != score) return lo;
    uint32_t hi = lo + below(n->keys + lo, n->count - lo, score, true);
    while (lo < hi) {
        uint32_t middle = (lo + hi) / 2;
        int c = slice_cmp(btree_item_slice(n->keys[middle].item), member);
        if (c < 0 || (with_equal && c == 0))
            lo = middle + 1;
        else
            hi = middle;
    }
    return lo;
}

// Brings in a node's lines at once rather than one after the other as the search comes to them.
// Inlined by force: a call that does nothing but prefetch is optimised away (gcc 12).
static inline __attribute__((always_inline)) void fetch(const struct btree_node *n)
{
    for (size_t at = 0; at < FETCH_BYTES; at += 64) __builtin_prefetch((const char *)n + at);
}

// The child to go on to.
static inline struct btree_node *child_at(const struct btree_node *inner, uint32_t index)
{
    struct btree_node *child = children(inner)[index];
    fetch(child);
    return child;
}

// Is `key` before (score, member)? For a member that is not the key's.
static inline bool is_before(const struct btree_key *key, double score, struct slice member)
{
    if (key->score != score) return key->score < score;
    return slice_cmp(btree_item_slice(key->item), member) < 0;
}

// Notes the way to where (score, member) is or would be; returns the leaf's step.
static struct step *descend(const struct btree *t, struct path *p, double score,
                            struct slice member)
{
    struct btree_node *n = t->root;
    for (; n->height; n = child_at(n, p->at[n->height].index)) {
        uint32_t i = below_member(n, score, member, true);
        p->at[n->height] = (struct step){n, i ? i - 1 : 0};
    }
    p->at[0] = (struct step){n, below_member(n, score, member, false)};
    return &p->at[0];
}

static struct step *descend_to_item(const struct btree *t, struct path *p,
                                    const struct btree_item *item)
{
    struct step *s = descend(t, p, item->score, btree_item_slice(item));
    ASSERT(s->index < s->node->count && s->node->keys[s->index].item == item);
    return s;
}

// The way along an edge of the tree; the leaf's step is where a key beyond all others goes.
static void descend_edge(const struct btree *t, struct path *p, enum place place)
{
    struct btree_node *n = t->root;
    for (; n->height; n = child_at(n, p->at[n->height].index))
        p->at[n->height] = (struct step){n, place == AT_END ? n->count - 1u : 0};
    p->at[0] = (struct step){n, place == AT_END ? n->count : 0};
}

static struct step *descend_to_rank(const struct btree *t, struct path *p, uint64_t rank)
{
    struct btree_node *n = t->root;
    ASSERT(rank < t->count);
    for (; n->height; n = child_at(n, p->at[n->height].index)) {
        uint32_t i = 0;
        const uint64_t *total = totals(n);
        while (rank >= total[i]) rank -= total[i++];
        p->at[n->height] = (struct step){n, i};
    }
    p->at[0] = (struct step){n, (uint32_t)rank};
    return &p->at[0];
}

uint64_t btree_count_below(const struct btree *t, double score, bool with_equal)
{
    const struct btree_node *n = t->root;
    uint64_t rank = 0;
    if (!n) return 0;
    while (n->height) {
        uint32_t i = below(n->keys, n->count, score, with_equal);
        if (!i) return rank;
        for (uint32_t k = 0; k < i - 1; k++) rank += totals(n)[k];
        n = child_at(n, i - 1);
    }
    return rank + below(n->keys, n->count, score, with_equal);
}

uint64_t btree_count_below_member(const struct btree *t, double score, struct slice member,
                                  bool with_equal)
{
    const struct btree_node *n = t->root;
    uint64_t rank = 0;
    if (!n) return 0;
    while (n->height) {
        uint32_t i = below_member(n, score, member, with_equal);
        if (!i) return rank;
        for (uint32_t k = 0; k < i - 1; k++) rank += totals(n)[k];
        n = child_at(n, i - 1);
    }
    return rank + below_member(n, score, member, with_equal);
}

uint64_t btree_rank(const struct btree *t, const struct btree_item *item)
{
    return btree_count_below_member(t, item->score, btree_item_slice(item), false);
}

struct btree_node *btree_select(const struct btree *t, uint64_t rank, uint32_t *index)
{
    struct path p;
    struct step *s = descend_to_rank(t, &p, rank);
    *index = s->index;
    return s->node;
}

// --- what is shared by growing and shrinking -----------------------------------------------------

// The first key of the leaf on the way has changed: tells those above that repeat it.
static void update_first_keys(const struct btree *t, struct path *p, uint32_t height)
{
    for (uint32_t h = height; h < t->root->height; h++) {
        struct step *up = &p->at[h + 1];
        up->node->keys[up->index] = p->at[h].node->keys[0];
        if (up->index) return;
    }
}

// Brings the parent's slots `left` and left + 1 up to date.
static void update_pair(struct btree_node *parent, uint32_t left)
{
    for (uint32_t i = left; i <= left + 1; i++) {
        struct btree_node *child = children(parent)[i];
        parent->keys[i] = child->keys[0];
        totals(parent)[i] = node_total(child);
    }
}

// Lets the children `left` and left + 1 share their slots evenly.
static void share(struct btree_node *parent, uint32_t left)
{
    struct btree_node *a = children(parent)[left], *b = children(parent)[left + 1];
    uint32_t half = (a->count + b->count) / 2u;
    if (a->count > half) {
        uint32_t n = a->count - half;
        slots_copy(b, n, b, 0, b->count);
        slots_copy(b, 0, a, half, n);
        b->count = (uint16_t)(b->count + n);
    } else {
        uint32_t n = half - a->count;
        slots_copy(a, a->count, b, 0, n);
        slots_close(b, 0, n);
    }
    a->count = (uint16_t)half;
    update_pair(parent, left);
}

static void link_leaf(struct btree *t, struct btree_node *n, struct btree_node *prev,
                      struct btree_node *next)
{
    n->prev = prev;
    n->next = next;
    *(prev ? &prev->next : &t->first) = n;
    *(next ? &next->prev : &t->last) = n;
}

static void unlink_leaf(struct btree *t, struct btree_node *n)
{
    *(n->prev ? &n->prev->next : &t->first) = n->next;
    *(n->next ? &n->next->prev : &t->last) = n->prev;
}

// --- insertion -----------------------------------------------------------------------------------

static void grow_root(struct btree *t, struct path *p)
{
    struct btree_node *old = t->root;
    struct btree_node *root = node_new(t, old->height + 1, BTREE_INNER_MAX);
    ASSERT(root->height < BTREE_HEIGHT_MAX);
    root->count = 1;
    root->keys[0] = old->keys[0];
    children(root)[0] = old;
    totals(root)[0] = node_total(old);
    t->root = root;
    p->at[root->height] = (struct step){root, 0};
}

// The only leaf has less room than others at first.
static void grow_leaf(struct btree *t, struct path *p)
{
    struct btree_node *n = t->root;
    uint32_t cap = MIN(n->cap * 2u + 2, (uint32_t)BTREE_LEAF_MAX);
    t->bytes -= mem_usable_bytes(n);
    n = mem_realloc(n, node_size(0, cap));
    t->bytes += mem_usable_bytes(n);
    n->cap = (uint16_t)cap;
    t->root = t->first = t->last = n;
    p->at[0].node = n;
}

// Shares a full node's slots with a neighbour that has room; false if none has.
static bool share_full(struct path *p, uint32_t height)
{
    struct step *s = &p->at[height], *up = &p->at[height + 1];
    struct btree_node *parent = up->node;
    uint32_t left;
    if (up->index && children(parent)[up->index - 1]->count <= node_roomy(s->node))
        left = up->index - 1;
    else if (up->index + 1 < parent->count &&
             children(parent)[up->index + 1]->count <= node_roomy(s->node))
        left = up->index;
    else
        return false;
    struct btree_node *a = children(parent)[left], *b = children(parent)[left + 1];
    uint32_t at = s->index + (s->node == b ? a->count : 0);
    share(parent, left);
    // At the border the key goes to the left: see split.
    bool is_left = at <= a->count;
    *s = (struct step){is_left ? a : b, is_left ? at : at - a->count};
    up->index = is_left ? left : left + 1;
    return true;
}

static void make_room(struct btree *t, struct path *p, uint32_t height, enum place place);

// Puts a slot for a new node into the parent of `height`, at the place that the way has there.
static void insert_node(struct btree *t, struct path *p, struct btree_node *n, enum place place)
{
    uint32_t up_height = n->height + 1;
    struct step *up = &p->at[up_height];
    if (up->node->count == up->node->cap) make_room(t, p, up_height, place);
    slots_open(up->node, up->index);
    up->node->keys[up->index] = n->keys[0];
    children(up->node)[up->index] = n;
    totals(up->node)[up->index] = node_total(n);
}

// Splits a full node in two. What goes to the border goes to the left, so that a new node's slot
// always lands beside that of the one it was split from.
static void split(struct btree *t, struct path *p, uint32_t height)
{
    struct step *s = &p->at[height], *up = &p->at[height + 1];
    struct btree_node *left = s->node, *right = node_new(t, height, node_max(left));
    uint32_t half = left->count / 2u;
    slots_copy(right, 0, left, half, left->count - half);
    right->count = (uint16_t)(left->count - half);
    left->count = (uint16_t)half;
    if (!height) link_leaf(t, right, left, left->next);
    up->index++;
    insert_node(t, p, right, WITHIN);
    totals(up->node)[up->index - 1] = node_total(left);
    if (s->index > half)
        *s = (struct step){right, s->index - half};
    else
        up->index--;
}

// The node on the way at `height` is full: makes room at the place where a slot is to be inserted,
// and leads the way there. A new node may be empty then.
static void make_room(struct btree *t, struct path *p, uint32_t height, enum place place)
{
    if (height == t->root->height) grow_root(t, p);
    struct step *s = &p->at[height];
    if (place == WITHIN) {
        if (!share_full(p, height)) split(t, p, height);
        return;
    }
    struct btree_node *full = s->node, *n = node_new(t, height, node_max(full));
    bool is_end = place == AT_END;
    if (!height) link_leaf(t, n, is_end ? full : NULL, is_end ? NULL : full);
    n->keys[0] = full->keys[0]; // until it gets its own
    if (is_end) p->at[height + 1].index++;
    insert_node(t, p, n, place);
    *s = (struct step){n, 0};
}

static enum place place_of(const struct btree *t, double score, struct slice member)
{
    const struct btree_node *last = t->last;
    if (is_before(&last->keys[last->count - 1], score, member)) return AT_END;
    return is_before(&t->first->keys[0], score, member) ? WITHIN : AT_BEGIN;
}

void btree_insert(struct btree *t, struct btree_item *item)
{
    struct path p;
    if (!t->root) {
        t->root = t->first = t->last = node_new(t, 0, MIN(BTREE_LEAF_FIRST, BTREE_LEAF_MAX));
        p.at[0] = (struct step){t->root, 0};
    } else {
        struct slice member = btree_item_slice(item);
        enum place place = place_of(t, item->score, member);
        if (place == WITHIN)
            descend(t, &p, item->score, member);
        else
            descend_edge(t, &p, place);
        if (p.at[0].node->count == p.at[0].node->cap) {
            if (p.at[0].node->cap < BTREE_LEAF_MAX)
                grow_leaf(t, &p);
            else
                make_room(t, &p, 0, place);
        }
    }
    struct step *s = &p.at[0];
    slots_open(s->node, s->index);
    s->node->keys[s->index] = (struct btree_key){item->score, item};
    t->count++;
    for (uint32_t h = 1; h <= t->root->height; h++) totals(p.at[h].node)[p.at[h].index]++;
    if (s->index == 0) update_first_keys(t, &p, 0);
}

// --- removal -------------------------------------------------------------------------------------

static void merge(struct btree *t, struct btree_node *parent, uint32_t left)
{
    struct btree_node *a = children(parent)[left], *b = children(parent)[left + 1];
    slots_copy(a, a->count, b, 0, b->count);
    a->count = (uint16_t)(a->count + b->count);
    totals(parent)[left] += totals(parent)[left + 1];
    if (!b->height) unlink_leaf(t, b);
    node_free(t, b);
    slots_close(parent, left + 1, 1);
}

// Does the way from the root to `height` run along an edge of the tree?
static bool is_on_edge(const struct btree *t, const struct path *p, uint32_t height)
{
    bool is_first = true, is_last = true;
    for (uint32_t h = t->root->height; h > height; h--) {
        is_first = is_first && p->at[h].index == 0;
        is_last = is_last && p->at[h].index + 1u == p->at[h].node->count;
    }
    return is_first || is_last;
}

// The node on the way at `height`, not the root, has lost slots: puts it and its parent in order.
static void repair(struct btree *t, struct path *p, uint32_t height)
{
    struct step *up = &p->at[height + 1];
    struct btree_node *n = p->at[height].node, *parent = up->node;
    if (!n->count) {
        if (!height) unlink_leaf(t, n);
        node_free(t, n);
        slots_close(parent, up->index, 1);
        return;
    }
    parent->keys[up->index] = n->keys[0];
    if (n->count >= node_min(n) || parent->count < 2) return;
    uint32_t left = up->index ? up->index - 1 : 0;
    if (children(parent)[left]->count + children(parent)[left + 1]->count <= node_roomy(n))
        merge(t, parent, left);
    else if (!is_on_edge(t, p, height))
        share(parent, left);
}

// `count` keys were taken out of the leaf on the way.
static void removed_from_leaf(struct btree *t, struct path *p, uint32_t count)
{
    uint32_t height = t->root->height;
    t->count -= count;
    for (uint32_t h = 1; h <= height; h++) totals(p->at[h].node)[p->at[h].index] -= count;
    for (uint32_t h = 0; h < height; h++) repair(t, p, h);
    while (t->root->height && t->root->count == 1) {
        struct btree_node *root = t->root;
        t->root = children(root)[0];
        node_free(t, root);
    }
    if (!t->root->count) {
        node_free(t, t->root);
        t->root = t->first = t->last = NULL;
    }
}

static void remove_step(struct btree *t, struct path *p)
{
    slots_close(p->at[0].node, p->at[0].index, 1);
    removed_from_leaf(t, p, 1);
}

void btree_remove(struct btree *t, struct btree_item *item)
{
    struct path p;
    descend_to_item(t, &p, item);
    remove_step(t, &p);
}

// Leaf by leaf: going down again for each costs little beside the leaf's items.
void btree_remove_ranks(struct btree *t, uint64_t first, uint64_t count,
                        void (*removed)(void *arg, struct btree_item *item), void *arg)
{
    ASSERT(first + count <= t->count);
    while (count) {
        struct path p;
        struct step *s = descend_to_rank(t, &p, first);
        uint32_t n = s->node->count - s->index;
        if (n > count) n = (uint32_t)count;
        for (uint32_t i = 0; i < n; i++) removed(arg, s->node->keys[s->index + i].item);
        slots_close(s->node, s->index, n);
        removed_from_leaf(t, &p, n);
        count -= n;
    }
}

// --- changing a score ----------------------------------------------------------------------------

// Moves the leaf's key `from` to where it belongs with another score. Its new place lies within the
// leaf.
static void move_in_leaf(struct btree_node *n, uint32_t from, double score, struct slice member)
{
    struct btree_key key = {score, n->keys[from].item};
    uint32_t to = below_member(n, score, member, false); // the key itself still counts as it was
    if (to > from) {
        to--;
        memmove(n->keys + from, n->keys + from + 1, (to - from) * sizeof key);
    } else {
        memmove(n->keys + to + 1, n->keys + to, (from - to) * sizeof key);
    }
    n->keys[to] = key;
}

void btree_change(struct btree *t, struct btree_item *item, double score)
{
    struct path p;
    struct slice member = btree_item_slice(item);
    struct step *s = descend_to_item(t, &p, item);
    struct btree_node *n = s->node;
    // Not before what begins this leaf and not behind what ends it: then all above stays as it is.
    bool is_low = s->index
                      ? !is_before(&n->keys[0], score, member)
                      : n->prev && !is_before(&n->prev->keys[n->prev->count - 1], score, member);
    uint32_t end = n->count - 1u;
    bool is_high = s->index < end ? is_before(&n->keys[end], score, member)
                                  : n->next && is_before(&n->next->keys[0], score, member);
    if (is_low || is_high) {
        remove_step(t, &p);
        item->score = score;
        btree_insert(t, item);
        return;
    }
    move_in_leaf(n, s->index, score, member);
    item->score = score;
    update_first_keys(t, &p, 0);
}

// --- whole trees ---------------------------------------------------------------------------------

void btree_init(struct btree *t)
{
    *t = (struct btree){0};
}

void btree_free(struct btree *t)
{
    while (btree_drain_node(t)) {
    }
}

bool btree_drain_node(struct btree *t)
{
    struct btree_node *n = t->root, *parent = NULL;
    if (!n) return false;
    for (; n->height && n->count; n = children(n)[n->count - 1]) parent = n;
    node_free(t, n);
    if (parent)
        parent->count--;
    else
        *t = (struct btree){0};
    return t->root;
}

struct validation {
    const struct btree *tree;
    const struct btree_node *leaf; // the last one seen
    size_t bytes;
};

static void validate_order(const struct btree_key *a, const struct btree_key *b)
{
    ASSERT(is_before(a, b->score, btree_item_slice(b->item)));
}

static uint64_t validate_leaf(struct validation *v, const struct btree_node *n)
{
    ASSERT(n->prev == v->leaf && (v->leaf ? v->leaf->next : v->tree->first) == n);
    for (uint32_t i = 0; i < n->count; i++) {
        ASSERT(n->keys[i].score == n->keys[i].item->score);
        if (i) validate_order(&n->keys[i - 1], &n->keys[i]);
    }
    if (v->leaf) validate_order(&v->leaf->keys[v->leaf->count - 1], &n->keys[0]);
    v->leaf = n;
    return n->count;
}

static uint64_t validate_node(struct validation *v, const struct btree_node *n, bool is_first,
                              bool is_last)
{
    ASSERT(n->count > 0 && n->count <= n->cap && n->cap <= node_max(n));
    ASSERT(n == v->tree->root || n->cap == node_max(n));
    ASSERT(is_first || is_last || n->count >= node_min(n));
    v->bytes += mem_usable_bytes(n);
    if (!n->height) return validate_leaf(v, n);
    uint64_t total = 0;
    ASSERT(n != v->tree->root || n->count > 1);
    for (uint32_t i = 0; i < n->count; i++) {
        const struct btree_node *child = children(n)[i];
        ASSERT(child->height == n->height - 1);
        ASSERT(n->keys[i].item == child->keys[0].item && n->keys[i].score == child->keys[0].score);
        uint64_t below_child =
            validate_node(v, child, is_first && i == 0, is_last && i + 1u == n->count);
        ASSERT(totals(n)[i] == below_child);
        total += below_child;
    }
    return total;
}

void btree_validate(const struct btree *t)
{
    struct validation v = {.tree = t};
    ASSERT(!t->root == !t->count && !t->root == !t->first && !t->root == !t->last);
    if (t->root) ASSERT(validate_node(&v, t->root, true, true) == t->count);
    ASSERT(v.leaf == t->last && (!t->last || !t->last->next) && v.bytes == t->bytes);
}
