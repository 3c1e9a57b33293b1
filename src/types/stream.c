// SPDX-License-Identifier: BSD-3-Clause
//
// stream: the entries; the groups are in stream_group.c, RDB in stream_rdb.c.
//
// The tail has slack, so that appending takes memory only now and then: it begins with the size of
// the node before it, grows by half, and is shrunk to what it holds when the next one begins.
//
// Taking out: an entry becomes a tombstone in its node; a node whose last entry goes is freed. Only
// exact trimming may leave a node of tombstones alone, as in Redis, until the next trimming.
#include "types/stream.h"

#include "base/assert.h"
#include "base/mem.h"
#include "types/stream_node.h"

#define TAIL_BEGIN_MAX                                                                             \
    (64u << 10)               // bytes that a tail has at the beginning, unless one entry
                              // needs more
#define RADIX_LOOK_MAX    256 // nodes that stream_radix_nodes looks at
#define ID_BYTES          16
#define NODE_LISTPACK_MAX (1u << 30) // bytes at which Redis ends a node, whatever the limits say

struct stream_mark {
    struct stream_id id;
    uint32_t at; // in the node's data
};

static struct stream_node *node_at(const struct idtree_cursor *c)
{
    return (struct stream_node *)(uintptr_t)*idtree_word(c);
}

struct value stream_new(void)
{
    return value_of(mem_calloc(sizeof(struct stream)), ENC_STREAM);
}

uint64_t stream_len(struct value v)
{
    return stream_of(v)->len;
}

// --- nodes ---------------------------------------------------------------------------------------

static void free_node(struct stream *s, struct stream_node *n)
{
    s->node_bytes -= mem_usable_bytes(n);
    mem_free(n);
}

// Moves the tail to a piece of memory with room for `cap` bytes of data.
static void resize_tail(struct stream *s, size_t cap)
{
    s->node_bytes -= mem_usable_bytes(s->tail);
    s->tail = mem_realloc(s->tail, sizeof *s->tail + cap);
    size_t usable = mem_usable_bytes(s->tail);
    s->node_bytes += usable;
    s->tail_cap = (uint32_t)MIN(usable - sizeof *s->tail, UINT32_MAX);
    struct idtree_cursor last = idtree_last(&s->nodes);
    *idtree_word(&last) = (uintptr_t)s->tail;
}

void stream_add_node(struct stream *s, struct stream_id first, struct stream_node *n)
{
    bool is_new;
    *idtree_insert(&s->nodes, first, &is_new) = (uintptr_t)n;
    ASSERT(is_new);
    size_t usable = mem_usable_bytes(n);
    s->node_bytes += usable;
    s->tail = n;
    s->tail_first = first;
    s->tail_cap = (uint32_t)MIN(usable - sizeof *n, UINT32_MAX);
    s->tail_listpack_bytes = 0;
}

// Takes out a node and all that is in it.
static void remove_node(struct stream *s, struct stream_id first)
{
    uint64_t word;
    ASSERT(idtree_remove(&s->nodes, first, &word));
    struct stream_node *n = (struct stream_node *)(uintptr_t)word;
    s->len -= n->live;
    bool is_tail = n == s->tail;
    free_node(s, n);
    if (!is_tail) return;
    struct idtree_cursor last = idtree_last(&s->nodes);
    s->tail = last.leaf ? node_at(&last) : NULL;
    if (!s->tail) return;
    s->tail_first = idtree_id(&last);
    s->tail_cap = s->tail->used;
    s->tail_listpack_bytes = 0;
}

// --- appending -----------------------------------------------------------------------------------

// Would Redis begin a new node for an entry of so many bytes?
static bool is_tail_full(struct stream *s, size_t item_bytes, const struct value_limits *limits)
{
    const struct stream_node *n = s->tail;
    if (!s->tail_listpack_bytes)
        s->tail_listpack_bytes = (uint32_t)stream_node_listpack_bytes(n, s->tail_first);
    uint64_t max = limits->stream_node_max_bytes;
    if (!max || max > NODE_LISTPACK_MAX) max = NODE_LISTPACK_MAX;
    uint64_t bytes = s->tail_listpack_bytes + stream_node_integer_bytes(n->live) +
                     stream_node_integer_bytes(n->deleted);
    if (bytes + item_bytes >= max) return true;
    int64_t entries = limits->stream_node_max_entries;
    return entries && (int64_t)n->live + n->deleted >= entries;
}

static void begin_tail(struct stream *s, struct stream_id first, size_t room)
{
    size_t cap = room;
    if (s->tail) {
        cap = MAX(room, MIN(s->tail->used, TAIL_BEGIN_MAX));
        if (s->tail_cap - s->tail->used >= 16) resize_tail(s, s->tail->used);
    }
    stream_add_node(s, first, stream_node_new(cap));
}

void stream_append(struct stream *s, struct stream_id id, const struct slice *pairs,
                   uint32_t field_count, const struct value_limits *limits)
{
    ASSERT(stream_id_cmp(id, s->last_id) > 0);
    size_t item_bytes = 0;
    for (size_t i = 0; i < (size_t)field_count * 2; i++) item_bytes += pairs[i].len;
    ASSERT(item_bytes <= STREAM_MAX_ITEM_BYTES);
    size_t room = stream_node_room(pairs, field_count);
    // After XSETID an id may be smaller than a tombstone's: nodes are in order within themselves.
    if (!s->tail || is_tail_full(s, item_bytes, limits) || stream_id_cmp(id, s->tail->last) < 0)
        begin_tail(s, id, room);
    else if (s->tail_cap - s->tail->used < room)
        resize_tail(s, s->tail->used + MAX(room, s->tail->used / 2));

    s->tail_listpack_bytes +=
        (uint32_t)stream_node_append(s->tail, s->tail_first, id, pairs, field_count);
    s->last_id = id;
    s->entries_added++;
    if (++s->len == 1) s->first_id = id;
}

// --- taking out ----------------------------------------------------------------------------------

// The node in which an entry with this id would be; leaf NULL if there is none.
static struct idtree_cursor node_of(const struct stream *s, struct stream_id id)
{
    return idtree_seek_back(&s->nodes, id);
}

bool stream_has(const struct stream *s, struct stream_id id)
{
    struct idtree_cursor c = node_of(s, id);
    return c.leaf && stream_node_find(node_at(&c), idtree_id(&c), id);
}

static bool remove_entry(struct stream *s, struct stream_id id)
{
    struct idtree_cursor c = node_of(s, id);
    if (!c.leaf) return false;
    struct stream_node *n = node_at(&c);
    unsigned char *p = stream_node_find(n, idtree_id(&c), id);
    if (!p) return false;
    if (n->live == 1) {
        remove_node(s, idtree_id(&c));
    } else {
        stream_node_delete(n, p);
        s->len--;
    }
    return true;
}

void stream_find_first_id(struct stream *s)
{
    struct stream_iter it;
    stream_iter_init(&it, s, STREAM_ID_MIN, STREAM_ID_MAX, false);
    s->first_id = stream_iter_next(&it) ? it.entry.id : STREAM_ID_MIN;
    stream_iter_free(&it);
}

uint64_t stream_remove(struct stream *s, const struct stream_id *ids, size_t count)
{
    uint64_t removed = 0;
    bool is_first_gone = false;
    for (size_t i = 0; i < count; i++) {
        if (!remove_entry(s, ids[i])) continue;
        removed++;
        if (stream_id_cmp(ids[i], s->first_id) == 0) is_first_gone = true;
        if (stream_id_cmp(ids[i], s->max_deleted_id) > 0) s->max_deleted_id = ids[i];
    }
    if (is_first_gone) stream_find_first_id(s);
    return removed;
}

// --- trimming ------------------------------------------------------------------------------------

static bool may_trim_node(const struct stream *s, const struct stream_trim *how,
                          const struct stream_node *n)
{
    if (how->is_by_id) return stream_id_cmp(n->last, how->min_id) < 0;
    return s->len - n->live >= how->max_len;
}

static bool may_trim_entry(const struct stream *s, const struct stream_trim *how,
                           struct stream_id id)
{
    return how->is_by_id ? stream_id_cmp(id, how->min_id) < 0 : s->len > how->max_len;
}

// Takes out entries from the beginning of a node that does not go as a whole.
static uint64_t trim_within(struct stream *s, const struct stream_trim *how, struct stream_node *n,
                            struct stream_id first)
{
    uint64_t removed = 0;
    struct stream_id id = stream_node_before(first);
    struct stream_entry e;
    for (unsigned char *p = n->data; p < n->data + n->used;) {
        stream_node_read(n, p, &id, &e);
        if (!may_trim_entry(s, how, id)) break;
        if (!(*p & STREAM_DELETED)) {
            stream_node_delete(n, p);
            s->len--;
            removed++;
        }
        p += stream_node_skip(&e) - p;
    }
    return removed;
}

uint64_t stream_trim(struct stream *s, const struct stream_trim *how)
{
    uint64_t removed = 0;
    for (struct idtree_cursor c; (c = idtree_first(&s->nodes)).leaf;) {
        struct stream_node *n = node_at(&c);
        if (!how->is_by_id && s->len <= how->max_len) break;
        if (how->limit && removed + n->live > how->limit) break;
        if (!may_trim_node(s, how, n)) {
            if (!how->is_approximate) removed += trim_within(s, how, n, idtree_id(&c));
            break;
        }
        removed += n->live;
        remove_node(s, idtree_id(&c));
    }
    if (removed || !s->len) stream_find_first_id(s);
    return removed;
}

// --- walking -------------------------------------------------------------------------------------

void stream_iter_init(struct stream_iter *it, const struct stream *s, struct stream_id start,
                      struct stream_id end, bool is_reverse)
{
    *it = (struct stream_iter){.start = start, .end = end, .is_reverse = is_reverse};
    if (stream_id_cmp(start, end) > 0) return;
    it->node = idtree_seek_back(&s->nodes, is_reverse ? end : start);
    if (!it->node.leaf && !is_reverse) it->node = idtree_first(&s->nodes);
}

void stream_iter_free(struct stream_iter *it)
{
    mem_free(it->marks);
}

// Goes to the beginning of the node it stands at; false: there is nothing in it for us.
static bool begin_node(struct stream_iter *it)
{
    const struct stream_node *n = node_at(&it->node);
    if (!n->live || stream_id_cmp(n->last, it->start) < 0) return false;
    it->entry.id = stream_node_before(idtree_id(&it->node));
    it->next = n->data;
    return true;
}

static bool next_forwards(struct stream_iter *it)
{
    for (; it->node.leaf; idtree_next(&it->node), it->next = NULL) {
        const struct stream_node *n = node_at(&it->node);
        if (it->next)
            it->next = stream_node_skip(&it->entry);
        else if (!begin_node(it))
            continue;
        for (; it->next < n->data + n->used; it->next = stream_node_skip(&it->entry)) {
            bool is_deleted = *it->next & STREAM_DELETED;
            struct stream_id id = it->entry.id;
            stream_node_read(n, it->next, &id, &it->entry);
            if (stream_id_cmp(id, it->end) > 0) {
                it->node.leaf = NULL;
                return false;
            }
            if (!is_deleted && stream_id_cmp(id, it->start) >= 0) return true;
        }
    }
    return false;
}

// Notes where the node's entries are that lie in the range.
static void mark_node(struct stream_iter *it)
{
    const struct stream_node *n = node_at(&it->node);
    if (n->live > it->mark_cap) {
        it->mark_cap = n->live;
        mem_free(it->marks);
        it->marks = mem_alloc(n->live * sizeof it->marks[0]);
    }
    struct stream_id id = stream_node_before(idtree_id(&it->node));
    struct stream_entry e;
    for (const unsigned char *p = n->data; p < n->data + n->used; p = stream_node_skip(&e)) {
        bool is_deleted = *p & STREAM_DELETED;
        stream_node_read(n, p, &id, &e);
        if (stream_id_cmp(id, it->end) > 0) return;
        if (is_deleted || stream_id_cmp(id, it->start) < 0) continue;
        it->marks[it->mark_count++] = (struct stream_mark){id, (uint32_t)(p - n->data)};
    }
}

static bool next_backwards(struct stream_iter *it)
{
    while (it->node.leaf) {
        const struct stream_node *n = node_at(&it->node);
        if (!it->next) mark_node(it);
        it->next = n->data;
        if (it->mark_count) {
            const struct stream_mark *mark = &it->marks[--it->mark_count];
            struct stream_id id = mark->id;
            stream_node_read(n, n->data + mark->at, &id, &it->entry);
            it->entry.id = mark->id;
            return true;
        }
        it->next = NULL;
        if (stream_id_cmp(idtree_id(&it->node), it->start) <= 0)
            it->node.leaf = NULL;
        else
            idtree_prev(&it->node);
    }
    return false;
}

bool stream_iter_next(struct stream_iter *it)
{
    return it->is_reverse ? next_backwards(it) : next_forwards(it);
}

// The last live entry of a node that has tombstones.
static struct stream_id last_live(const struct stream_node *n, struct stream_id first)
{
    struct stream_id id = stream_node_before(first), last = id;
    struct stream_entry e;
    for (const unsigned char *p = n->data; p < n->data + n->used; p = stream_node_skip(&e)) {
        bool is_deleted = *p & STREAM_DELETED;
        stream_node_read(n, p, &id, &e);
        if (!is_deleted) last = id;
    }
    return last;
}

bool stream_last_entry(const struct stream *s, struct stream_id *id)
{
    struct idtree_cursor c = idtree_last(&s->nodes);
    while (c.leaf && !node_at(&c)->live) idtree_prev(&c);
    if (!c.leaf) return false;
    const struct stream_node *n = node_at(&c);
    *id = n->deleted ? last_live(n, idtree_id(&c)) : n->last;
    return true;
}

// --- Redis's radix tree --------------------------------------------------------------------------

static unsigned char id_byte(struct stream_id id, unsigned i)
{
    return (unsigned char)((i < 8 ? id.ms : id.seq) >> 8 * (7 - i % 8));
}

static unsigned common_bytes(struct stream_id a, struct stream_id b)
{
    unsigned i = 0;
    while (i < ID_BYTES && id_byte(a, i) == id_byte(b, i)) i++;
    return i;
}

// In a radix tree of 16-byte keys in their order, with runs of single children pressed into one
// node, each key adds its leaf, and a node for the run that leads to it if that is not empty; where
// it leaves the key before it there is a node that branches, new unless an earlier key left there,
// which cuts the run that it lies in. `depths`: where the present key's branches are.
static uint64_t radix_step(unsigned common, unsigned depths[ID_BYTES], unsigned *count)
{
    uint64_t nodes = 1 + (common + 1 < ID_BYTES);
    unsigned run_end = ID_BYTES; // of the run below the new branch
    while (*count && depths[*count - 1] > common) run_end = depths[--*count];
    if (*count && depths[*count - 1] == common) return nodes;
    unsigned run_begin = *count ? depths[*count - 1] + 1 : 0;
    // The run run_begin … run_end becomes: run before, branch, run behind.
    nodes += 1 + (common > run_begin) + (run_end > common + 1);
    nodes -= run_end > run_begin;
    depths[(*count)++] = common;
    return nodes;
}

uint64_t stream_radix_nodes(const struct stream *s)
{
    uint64_t nodes = 1, seen = 0; // the root
    unsigned depths[ID_BYTES], count = 0;
    struct stream_id before = STREAM_ID_MIN;
    for (struct idtree_cursor c = idtree_first(&s->nodes); c.leaf && seen < RADIX_LOOK_MAX;
         idtree_next(&c), seen++) {
        struct stream_id id = idtree_id(&c);
        nodes += seen ? radix_step(common_bytes(before, id), depths, &count) : 1;
        before = id;
    }
    return seen < s->nodes.count ? nodes * (s->nodes.count / seen) : nodes;
}

// --- as for every type ---------------------------------------------------------------------------

struct drain {
    struct stream *stream;
    int64_t budget;
};

static void drain_node(uint64_t word, void *arg)
{
    struct drain *d = arg;
    free_node(d->stream, (struct stream_node *)(uintptr_t)word);
    d->budget--;
}

bool stream_drain(struct value *v, uint32_t budget)
{
    struct stream *s = stream_of(*v);
    struct drain d = {s, budget};
    while (d.budget > 0)
        if (!idtree_drain_leaf(&s->nodes, drain_node, &d)) break;
    s->tail = NULL;
    if (d.budget <= 0 || !stream_groups_drain(s, &d.budget)) return false;
    mem_free(s);
    return true;
}

void stream_free(struct value v)
{
    while (!stream_drain(&v, UINT32_MAX)) continue;
}

struct value stream_copy(struct value v)
{
    const struct stream *from = stream_of(v);
    struct value copy = stream_new();
    struct stream *to = stream_of(copy);
    for (struct idtree_cursor c = idtree_first(&from->nodes); c.leaf; idtree_next(&c)) {
        const struct stream_node *n = node_at(&c);
        struct stream_node *node = stream_node_new(n->used);
        memcpy(node, n, sizeof *n + n->used);
        stream_add_node(to, idtree_id(&c), node);
    }
    to->len = from->len;
    to->first_id = from->first_id;
    to->last_id = from->last_id;
    to->max_deleted_id = from->max_deleted_id;
    to->entries_added = from->entries_added;
    stream_groups_copy(from, to);
    return copy;
}

size_t stream_memory_bytes(struct value v)
{
    const struct stream *s = stream_of(v);
    return mem_usable_bytes(s) + s->nodes.bytes + s->node_bytes + stream_groups_bytes(s);
}

uint64_t stream_parts(struct value v)
{
    const struct stream *s = stream_of(v);
    return 1 + s->nodes.count + stream_groups_parts(s);
}

// *low: the last live entry before the node's, then in it.
static void validate_node(const struct stream_node *n, struct stream_id first,
                          struct stream_id *low)
{
    struct stream_id id = stream_node_before(first), before = id;
    struct stream_entry e;
    uint32_t live = 0, deleted = 0;
    const unsigned char *p = n->data;
    for (; p < n->data + n->used; p = stream_node_skip(&e), before = id) {
        bool is_deleted = *p & STREAM_DELETED;
        stream_node_read(n, p, &id, &e);
        ASSERT(stream_id_cmp(p == n->data ? first : before, id) == (p == n->data ? 0 : -1));
        if (is_deleted) {
            deleted++;
            continue;
        }
        live++;
        ASSERT(stream_id_cmp(*low, id) < 0);
        *low = id;
    }
    ASSERT(p == n->data + n->used && n->used);
    ASSERT(live == n->live && deleted == n->deleted);
    ASSERT(stream_id_cmp(id, n->last) == 0);
}

void stream_validate(struct value v)
{
    struct stream *s = stream_of(v);
    uint64_t len = 0;
    size_t bytes = 0;
    struct stream_id low = STREAM_ID_MIN, first = s->first_id;
    const struct stream_node *last = NULL;
    idtree_validate(&s->nodes);
    for (struct idtree_cursor c = idtree_first(&s->nodes); c.leaf; idtree_next(&c)) {
        last = node_at(&c);
        validate_node(last, idtree_id(&c), &low);
        len += last->live;
        bytes += mem_usable_bytes(last);
    }
    ASSERT(s->tail == last && len == s->len && bytes == s->node_bytes);
    ASSERT(stream_id_cmp(low, s->last_id) <= 0);
    if (last) {
        ASSERT(s->tail_cap >= last->used);
        ASSERT(!s->tail_listpack_bytes ||
               s->tail_listpack_bytes == stream_node_listpack_bytes(last, s->tail_first));
    }
    stream_find_first_id(s);
    ASSERT(stream_id_cmp(first, s->first_id) == 0);
    stream_groups_validate(s);
}
