// SPDX-License-Identifier: BSD-3-Clause
#include "ds/idtree.h"

#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

struct idtree_leaf {
    uint32_t count, cap;
    struct idtree_leaf *prev, *next;
    struct stream_id ids[]; // cap of them, then as many words
};

struct inner {
    uint32_t count;
    struct stream_id ids[IDTREE_INNER_MAX];
    void *children[IDTREE_INNER_MAX];
};

// The way from the root to a leaf: the inner nodes, the root first, and which child was taken.
struct path {
    struct inner *nodes[IDTREE_HEIGHT_MAX];
    uint32_t at[IDTREE_HEIGHT_MAX];
};

static uint64_t *words_of(const struct idtree_leaf *l)
{
    return (uint64_t *)(uintptr_t)(l->ids + l->cap);
}

void idtree_init(struct idtree *t)
{
    *t = (struct idtree){0};
}

// --- nodes ---------------------------------------------------------------------------------------

static struct idtree_leaf *new_leaf(struct idtree *t, uint32_t cap)
{
    struct idtree_leaf *l = mem_alloc(sizeof *l + cap * (sizeof l->ids[0] + sizeof(uint64_t)));
    *l = (struct idtree_leaf){.cap = cap};
    t->bytes += mem_usable_bytes(l);
    return l;
}

static struct inner *new_inner(struct idtree *t)
{
    struct inner *n = mem_alloc(sizeof *n);
    n->count = 0;
    t->bytes += mem_usable_bytes(n);
    return n;
}

static void free_node(struct idtree *t, void *node)
{
    t->bytes -= mem_usable_bytes(node);
    mem_free(node);
}

static void link_behind(struct idtree_leaf *l, struct idtree_leaf *prev)
{
    l->prev = prev;
    l->next = prev->next;
    if (prev->next) prev->next->prev = l;
    prev->next = l;
}

static void unlink_leaf(struct idtree_leaf *l)
{
    if (l->prev) l->prev->next = l->next;
    if (l->next) l->next->prev = l->prev;
}

// The only leaf, with room for `cap` items.
static struct idtree_leaf *resize_only_leaf(struct idtree *t, struct idtree_leaf *l, uint32_t cap)
{
    struct idtree_leaf *to = new_leaf(t, cap);
    to->count = l->count;
    memcpy(to->ids, l->ids, l->count * sizeof l->ids[0]);
    memcpy(words_of(to), words_of(l), l->count * sizeof(uint64_t));
    free_node(t, l);
    t->root = to;
    return to;
}

static void insert_item(struct idtree_leaf *l, uint32_t at, struct stream_id id, uint64_t word)
{
    uint64_t *words = words_of(l);
    memmove(l->ids + at + 1, l->ids + at, (l->count - at) * sizeof l->ids[0]);
    memmove(words + at + 1, words + at, (l->count - at) * sizeof words[0]);
    l->ids[at] = id;
    words[at] = word;
    l->count++;
}

static void remove_item(struct idtree_leaf *l, uint32_t at)
{
    uint64_t *words = words_of(l);
    l->count--;
    memmove(l->ids + at, l->ids + at + 1, (l->count - at) * sizeof l->ids[0]);
    memmove(words + at, words + at + 1, (l->count - at) * sizeof words[0]);
}

// Moves the items from `from` on behind those of `to`.
static void move_items(struct idtree_leaf *to, struct idtree_leaf *l, uint32_t from)
{
    uint32_t n = l->count - from;
    memcpy(to->ids + to->count, l->ids + from, n * sizeof l->ids[0]);
    memcpy(words_of(to) + to->count, words_of(l) + from, n * sizeof(uint64_t));
    to->count += n;
    l->count = from;
}

static void insert_child(struct inner *n, uint32_t at, struct stream_id id, void *child)
{
    memmove(n->ids + at + 1, n->ids + at, (n->count - at) * sizeof n->ids[0]);
    memmove(n->children + at + 1, n->children + at, (n->count - at) * sizeof n->children[0]);
    n->ids[at] = id;
    n->children[at] = child;
    n->count++;
}

static void remove_child(struct inner *n, uint32_t at)
{
    n->count--;
    memmove(n->ids + at, n->ids + at + 1, (n->count - at) * sizeof n->ids[0]);
    memmove(n->children + at, n->children + at + 1, (n->count - at) * sizeof n->children[0]);
}

static void move_children(struct inner *to, struct inner *n, uint32_t from)
{
    uint32_t moved = n->count - from;
    memcpy(to->ids + to->count, n->ids + from, moved * sizeof n->ids[0]);
    memcpy(to->children + to->count, n->children + from, moved * sizeof n->children[0]);
    to->count += moved;
    n->count = from;
}

// --- looking -------------------------------------------------------------------------------------

// How many of the ids are below `id` (or_equal: or equal).
static uint32_t count_below(const struct stream_id *ids, uint32_t count, struct stream_id id,
                            bool or_equal)
{
    int limit = or_equal ? 1 : 0;                                         // below: cmp < limit
    if (count && stream_id_cmp(ids[count - 1], id) < limit) return count; // what streams do most
    uint32_t low = 0, high = count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (stream_id_cmp(ids[middle], id) < limit)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static uint32_t child_for(const struct inner *n, struct stream_id id)
{
    return count_below(n->ids + 1, n->count - 1, id, true);
}

// The leaf where `id` is or belongs; path: NULL or where the way goes.
static struct idtree_leaf *descend(const struct idtree *t, struct stream_id id, struct path *path)
{
    void *node = t->root;
    for (uint32_t level = 0; level < t->height; level++) {
        struct inner *n = node;
        uint32_t at = child_for(n, id);
        if (path) path->nodes[level] = n, path->at[level] = at;
        node = n->children[at];
    }
    return node;
}

static bool is_at(const struct idtree_leaf *l, uint32_t at, struct stream_id id)
{
    return at < l->count && l->ids[at].ms == id.ms && l->ids[at].seq == id.seq;
}

uint64_t *idtree_find(const struct idtree *t, struct stream_id id)
{
    const struct idtree_leaf *l = descend(t, id, NULL);
    if (!l) return NULL;
    uint32_t at = count_below(l->ids, l->count, id, false);
    return is_at(l, at, id) ? &words_of(l)[at] : NULL;
}

struct idtree_cursor idtree_seek(const struct idtree *t, struct stream_id id)
{
    struct idtree_cursor c = {.leaf = descend(t, id, NULL)};
    if (!c.leaf) return c;
    c.at = count_below(c.leaf->ids, c.leaf->count, id, false);
    if (c.at == c.leaf->count) c = (struct idtree_cursor){.leaf = c.leaf->next};
    return c;
}

struct idtree_cursor idtree_seek_back(const struct idtree *t, struct stream_id id)
{
    struct idtree_cursor c = {.leaf = descend(t, id, NULL)};
    if (!c.leaf) return c;
    c.at = count_below(c.leaf->ids, c.leaf->count, id, true);
    idtree_prev(&c);
    return c;
}

struct idtree_cursor idtree_first(const struct idtree *t)
{
    return (struct idtree_cursor){.leaf = descend(t, STREAM_ID_MIN, NULL)};
}

struct idtree_cursor idtree_last(const struct idtree *t)
{
    struct idtree_leaf *l = descend(t, STREAM_ID_MAX, NULL);
    return (struct idtree_cursor){.leaf = l, .at = l ? l->count - 1 : 0};
}

void idtree_next(struct idtree_cursor *c)
{
    if (++c->at == c->leaf->count) *c = (struct idtree_cursor){.leaf = c->leaf->next};
}

void idtree_prev(struct idtree_cursor *c)
{
    if (c->at) {
        c->at--;
        return;
    }
    c->leaf = c->leaf->prev;
    if (c->leaf) c->at = c->leaf->count - 1;
}

struct stream_id idtree_id(const struct idtree_cursor *c)
{
    return c->leaf->ids[c->at];
}

uint64_t *idtree_word(const struct idtree_cursor *c)
{
    return &words_of(c->leaf)[c->at];
}

// --- inserting -----------------------------------------------------------------------------------

// Puts a new node, which begins at `id`, behind the one that the path leads to at `level`.
static void add_node(struct idtree *t, struct path *path, uint32_t level, struct stream_id id,
                     void *node)
{
    while (level--) {
        struct inner *n = path->nodes[level];
        uint32_t at = path->at[level] + 1;
        if (n->count < IDTREE_INNER_MAX) {
            insert_child(n, at, id, node);
            return;
        }
        struct inner *right = new_inner(t);
        if (at < n->count) move_children(right, n, n->count / 2);
        if (at <= n->count && right->count)
            insert_child(n, at, id, node);
        else
            insert_child(right, at - n->count, id, node);
        id = right->ids[0];
        node = right;
    }
    struct inner *root = new_inner(t);
    insert_child(root, 0, STREAM_ID_MIN, t->root);
    insert_child(root, 1, id, node);
    t->root = root;
    t->height++;
    ASSERT(t->height <= IDTREE_HEIGHT_MAX);
}

// Makes room in a full leaf, where an item belongs at *at. Returns the leaf to put it into.
static struct idtree_leaf *split_leaf(struct idtree *t, struct path *path, struct idtree_leaf *l,
                                      uint32_t *at, struct stream_id id)
{
    struct idtree_leaf *right = new_leaf(t, IDTREE_LEAF_MAX);
    bool is_append = *at == l->count && !l->next;
    link_behind(right, l);
    if (!is_append) move_items(right, l, l->count / 2);
    add_node(t, path, t->height, is_append ? id : right->ids[0], right);
    if (*at <= l->count && !is_append) return l;
    *at -= l->count;
    return right;
}

uint64_t *idtree_insert(struct idtree *t, struct stream_id id, bool *is_new)
{
    struct path path;
    struct idtree_leaf *l = descend(t, id, &path);
    if (UNLIKELY(!l)) l = t->root = new_leaf(t, IDTREE_LEAF_FIRST);
    uint32_t at = count_below(l->ids, l->count, id, false);
    *is_new = !is_at(l, at, id);
    if (!*is_new) return &words_of(l)[at];
    if (UNLIKELY(l->count == l->cap)) {
        if (l->cap < IDTREE_LEAF_MAX)
            l = resize_only_leaf(t, l, MIN(l->cap * 2, IDTREE_LEAF_MAX));
        else
            l = split_leaf(t, &path, l, &at, id);
    }
    insert_item(l, at, id, 0);
    t->count++;
    return &words_of(l)[at];
}

// --- removing ------------------------------------------------------------------------------------

// A root with one child is none.
static void lower_root(struct idtree *t)
{
    while (t->height) {
        struct inner *root = t->root;
        if (root->count > 1) return;
        t->root = root->count ? root->children[0] : NULL;
        t->height = root->count ? t->height - 1 : 0;
        free_node(t, root);
    }
}

// May two neighbours, one of which has become small, be one node?
static bool fit_together(uint32_t a, uint32_t b, uint32_t max)
{
    return MIN(a, b) < max / 4 + 1 && a + b <= max * 3 / 4;
}

// The child at `at` of n (inner nodes) has become small: joins it with a neighbour if that may be.
static void join_inner(struct idtree *t, struct inner *n, uint32_t at)
{
    if (at) at--; // so that at and at + 1 are the neighbours
    if (at + 1 >= n->count) return;
    struct inner *left = n->children[at], *right = n->children[at + 1];
    if (!fit_together(left->count, right->count, IDTREE_INNER_MAX)) return;
    right->ids[0] = n->ids[at + 1];
    move_children(left, right, 0);
    free_node(t, right);
    remove_child(n, at + 1);
}

static void join_leaf(struct idtree *t, struct inner *n, uint32_t at)
{
    if (at) at--;
    if (at + 1 >= n->count) return;
    struct idtree_leaf *left = n->children[at], *right = n->children[at + 1];
    if (!fit_together(left->count, right->count, IDTREE_LEAF_MAX)) return;
    move_items(left, right, 0);
    unlink_leaf(right);
    free_node(t, right);
    remove_child(n, at + 1);
}

// The leaf at the end of the path is gone: so are the inner nodes that held nothing else.
static void drop_from_parents(struct idtree *t, struct path *path)
{
    uint32_t level = t->height;
    if (!level) t->root = NULL;
    while (level--) {
        struct inner *n = path->nodes[level];
        remove_child(n, path->at[level]);
        if (n->count) {
            if (level && n->count <= IDTREE_INNER_MAX / 4)
                join_inner(t, path->nodes[level - 1], path->at[level - 1]);
            break;
        }
        if (!level) {
            t->root = NULL;
            t->height = 0;
        }
        free_node(t, n);
    }
    if (t->root) lower_root(t);
}

static void shrink(struct idtree *t, struct path *path, struct idtree_leaf *l)
{
    if (!l->count) {
        unlink_leaf(l);
        free_node(t, l);
        drop_from_parents(t, path);
        return;
    }
    if (!t->height) {
        if (l->cap > IDTREE_LEAF_FIRST && l->count <= l->cap / 4)
            resize_only_leaf(t, l, MAX(l->cap / 2, IDTREE_LEAF_FIRST));
        return;
    }
    if (l->count > IDTREE_LEAF_MAX / 4) return;
    uint32_t parent = t->height - 1;
    join_leaf(t, path->nodes[parent], path->at[parent]);
    for (uint32_t level = parent; level; level--) {
        if (path->nodes[level]->count > IDTREE_INNER_MAX / 4) break;
        join_inner(t, path->nodes[level - 1], path->at[level - 1]);
    }
    lower_root(t);
}

bool idtree_remove(struct idtree *t, struct stream_id id, uint64_t *word)
{
    struct path path;
    struct idtree_leaf *l = descend(t, id, &path);
    if (!l) return false;
    uint32_t at = count_below(l->ids, l->count, id, false);
    if (!is_at(l, at, id)) return false;
    if (word) *word = words_of(l)[at];
    remove_item(l, at);
    t->count--;
    if (UNLIKELY(l->count <= l->cap / 4)) shrink(t, &path, l);
    return true;
}

bool idtree_drain_leaf(struct idtree *t, void (*visit)(uint64_t word, void *arg), void *arg)
{
    struct path path;
    struct idtree_leaf *l = descend(t, STREAM_ID_MAX, &path);
    if (!l) return false;
    const uint64_t *words = words_of(l);
    for (uint32_t i = 0; visit && i < l->count; i++) visit(words[i], arg);
    t->count -= l->count;
    unlink_leaf(l);
    free_node(t, l);
    drop_from_parents(t, &path);
    return true;
}

void idtree_free(struct idtree *t)
{
    while (idtree_drain_leaf(t, NULL, NULL)) continue;
}

// --- validation ----------------------------------------------------------------------------------

struct walk {
    uint64_t count;
    size_t bytes;
    const struct idtree_leaf *last;
};

static void validate_leaf(const struct idtree *t, const struct idtree_leaf *l, struct walk *w,
                          struct stream_id low)
{
    ASSERT(l->count && l->count <= l->cap && l->cap <= IDTREE_LEAF_MAX);
    ASSERT(!t->height || l->cap == IDTREE_LEAF_MAX);
    ASSERT(l->prev == w->last && (!w->last || w->last->next == l));
    ASSERT(stream_id_cmp(low, l->ids[0]) <= 0);
    ASSERT(!w->last || stream_id_cmp(w->last->ids[w->last->count - 1], l->ids[0]) < 0);
    for (uint32_t i = 1; i < l->count; i++) ASSERT(stream_id_cmp(l->ids[i - 1], l->ids[i]) < 0);
    w->last = l;
    w->count += l->count;
    w->bytes += mem_usable_bytes(l);
}

static void validate_node(const struct idtree *t, const void *node, uint32_t height, struct walk *w,
                          struct stream_id low)
{
    if (!height) {
        validate_leaf(t, node, w, low);
        return;
    }
    const struct inner *n = node;
    ASSERT(n->count && n->count <= IDTREE_INNER_MAX);
    w->bytes += mem_usable_bytes(n);
    for (uint32_t i = 0; i < n->count; i++) {
        if (i) {
            ASSERT(stream_id_cmp(low, n->ids[i]) < 0);
            low = n->ids[i];
            ASSERT(stream_id_cmp(w->last->ids[w->last->count - 1], low) < 0);
        }
        validate_node(t, n->children[i], height - 1, w, low);
    }
}

void idtree_validate(const struct idtree *t)
{
    struct walk w = {0};
    if (t->root) validate_node(t, t->root, t->height, &w, STREAM_ID_MIN);
    ASSERT(!t->height || ((const struct inner *)t->root)->count > 1);
    ASSERT(!w.last || !w.last->next);
    ASSERT(w.count == t->count && w.bytes == t->bytes);
}
