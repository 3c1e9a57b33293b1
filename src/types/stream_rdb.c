// SPDX-License-Identifier: BSD-3-Clause
//
// Streams as Redis writes them (types/stream.h). Numbers are RDB lengths, ids 16 bytes big endian
// or, (a), two numbers; times 8 bytes little endian.
//
//   nodes     number of nodes, then for each: its first id as a string, its listpack as a string
//   stream    entries, last id (a); from type 19 on: first id (a), greatest deleted id (a),
//             entries ever added
//   groups    number of groups, then for each: name, last id (a), from type 19 on entries read
//     pending   number, then for each: id, time of delivery, number of deliveries
//     consumers number, then for each: name, time it was seen, in type 21 time it was active,
//               number of its pending ids, these ids
//
// A node's listpack begins with the master entry and goes on with the entries; [ ] is not there in
// an entry with flag 2, whose fields are the master's. Flag 1: deleted.
//
//   live, deleted, fields, field …, 0
//   flags, ms - first ms, seq - first seq, [fields,] ([field,] value) …, elements of this entry
//
// What is read is decoded entry by entry and appended to a node of our own, so that nothing that
// was not understood gets in.
#include <endian.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/mem.h"
#include "ds/listpack.h"
#include "types/rdb.h"
#include "types/rdb_io.h"
#include "types/stream_node.h"

#define ID_BYTES     16
#define FLAG_DELETED 1
#define FLAG_SAME    2
#define BACKLEN_MAX  5
#define COUNT_MAX    65535 // of elements that a listpack's header can tell

// --- writing -------------------------------------------------------------------------------------

// A listpack that is being written.
struct writer {
    struct buf bytes;
    uint32_t count; // elements
};

static unsigned char *put_backlen(unsigned char *p, uint32_t len)
{
    unsigned n = 1;
    while (n < BACKLEN_MAX && len >> 7 * n) n++;
    for (unsigned i = n; i-- > 0; len >>= 7) p[i] = (unsigned char)((len & 127) | (i ? 128u : 0u));
    return p + n;
}

static void put_item(struct writer *w, const struct stream_item *i)
{
    size_t own = i->head.ptr ? i->head.len + i->tail.len : 0;
    char *at = buf_reserve(&w->bytes, own + STREAM_ITEM_HEAD + BACKLEN_MAX);
    unsigned char *begin = (unsigned char *)at, *p = stream_node_put_item(begin, i);
    p = put_backlen(p, (uint32_t)(p - begin));
    w->bytes.len += (size_t)(p - begin);
    w->count++;
}

static void put_integer(struct writer *w, int64_t v)
{
    put_item(w, &(struct stream_item){.integer = v});
}

// The master entry; e: the node's first.
static void put_master(struct writer *w, const struct stream_node *n, struct stream_entry e)
{
    put_integer(w, n->live);
    put_integer(w, n->deleted);
    put_integer(w, e.field_count);
    while (e.left) {
        struct stream_item field, value;
        stream_entry_next(&e, &field, &value);
        put_item(w, &field);
    }
    put_integer(w, 0);
}

static void put_entry(struct writer *w, struct stream_id first, struct stream_entry *e,
                      bool is_deleted, bool is_same)
{
    int64_t fields = e->field_count;
    put_integer(w, (is_deleted ? FLAG_DELETED : 0) | (is_same ? FLAG_SAME : 0));
    put_integer(w, (int64_t)(e->id.ms - first.ms));
    put_integer(w, (int64_t)(e->id.seq - first.seq));
    if (!is_same) put_integer(w, fields);
    while (e->left) {
        struct stream_item field, value;
        stream_entry_next(e, &field, &value);
        if (!is_same) put_item(w, &field);
        put_item(w, &value);
    }
    put_integer(w, is_same ? fields + 3 : 2 * fields + 4);
}

// The node's listpack, in memory of the saver's.
static struct slice node_listpack(struct stream_saver *s, const struct stream_node *n,
                                  struct stream_id first)
{
    struct writer w = {.bytes = {.ptr = s->bytes, .cap = s->bytes_cap}};
    struct stream_id id = stream_node_before(first);
    struct stream_entry e;
    buf_reserve(&w.bytes, LISTPACK_HEADER_BYTES);
    w.bytes.len = LISTPACK_HEADER_BYTES;
    for (const unsigned char *p = n->data; p < n->data + n->used; p = stream_node_skip(&e)) {
        stream_node_read(n, p, &id, &e);
        if (p == n->data) put_master(&w, n, e);
        put_entry(&w, first, &e, *p & STREAM_DELETED, p == n->data || !e.has_own_fields);
    }
    buf_append_char(&w.bytes, (char)0xff);
    uint32_t total = htole32((uint32_t)w.bytes.len);
    uint16_t count = htole16((uint16_t)MIN(w.count, COUNT_MAX));
    memcpy(w.bytes.ptr, &total, sizeof total);
    memcpy(w.bytes.ptr + sizeof total, &count, sizeof count);
    s->bytes = w.bytes.ptr;
    s->bytes_cap = w.bytes.cap;
    return buf_slice(&w.bytes);
}

static void save_id(struct buf *out, struct stream_id id)
{
    rdb_put_length(out, id.ms);
    rdb_put_length(out, id.seq);
}

static void save_raw_id(struct buf *out, struct stream_id id)
{
    rdb_put_u64_be(out, id.ms);
    rdb_put_u64_be(out, id.seq);
}

static size_t save_node(struct stream_saver *s, struct buf *out)
{
    struct stream_id first = idtree_id(&s->at);
    uint64_t key[2] = {htobe64(first.ms), htobe64(first.seq)};
    const struct stream_node *n = (const struct stream_node *)(uintptr_t)*idtree_word(&s->at);
    struct slice listpack = node_listpack(s, n, first);
    rdb_put_string(out, (struct slice){(const char *)key, ID_BYTES}, false);
    rdb_put_string(out, listpack, s->is_compressed);
    return listpack.len;
}

static void save_stream(struct stream_saver *s, struct buf *out)
{
    rdb_put_length(out, s->stream->len);
    save_id(out, s->stream->last_id);
    save_id(out, s->stream->first_id);
    save_id(out, s->stream->max_deleted_id);
    rdb_put_length(out, s->stream->entries_added);
    rdb_put_length(out, s->stream->groups.count);
}

static void save_group(struct stream_saver *s, struct buf *out, const struct stream_group *g)
{
    rdb_put_string(out, g->name, s->is_compressed);
    save_id(out, g->last_id);
    rdb_put_length(out, (uint64_t)g->entries_read);
    rdb_put_length(out, g->pending.count);
}

static void save_pending(struct stream_saver *s, struct buf *out)
{
    const struct stream_nack *nack = stream_nack_at(&s->at);
    save_raw_id(out, idtree_id(&s->at));
    rdb_put_u64(out, (uint64_t)nack->delivered_ms);
    rdb_put_length(out, nack->count);
}

static void save_consumer(struct stream_saver *s, struct buf *out, const struct stream_consumer *c)
{
    rdb_put_string(out, c->name, s->is_compressed);
    rdb_put_u64(out, (uint64_t)c->seen_ms);
    rdb_put_length(out, c->pending.count);
}

// What stream_saver_next does next. Where a stage has nothing left the one behind it begins.
enum stage {
    STAGE_BEGIN,
    STAGE_NODES,            // at: the node
    STAGE_GROUP,            // the head of group number `group`
    STAGE_PENDING,          // at: what is pending in it
    STAGE_CONSUMER,         // the head of its consumer number `consumer`
    STAGE_CONSUMER_PENDING, // at: what is pending there
};

void stream_saver_begin(struct stream_saver *s, struct value v, bool is_compressed)
{
    *s = (struct stream_saver){.stream = stream_of(v), .is_compressed = is_compressed};
}

void stream_saver_end(struct stream_saver *s)
{
    mem_free(s->bytes);
    s->bytes = NULL;
}

static void saver_begin_group(struct stream_saver *s, struct buf *out)
{
    const struct stream_group *g = stream_group_at(s->stream, s->group);
    save_group(s, out, g);
    s->at = idtree_first(&g->pending);
    s->stage = STAGE_PENDING;
}

static void saver_begin_consumer(struct stream_saver *s, struct buf *out)
{
    const struct stream_group *g = stream_group_at(s->stream, s->group);
    const struct stream_consumer *c = stream_consumer_at(g, s->consumer);
    save_consumer(s, out, c);
    s->at = idtree_first(&c->pending);
    s->stage = STAGE_CONSUMER_PENDING;
}

// The tree that was walked is at its end, or the group has no more consumers.
static void saver_next_stage(struct stream_saver *s, struct buf *out)
{
    const struct stream_group *g;
    switch ((enum stage)s->stage) {
    case STAGE_BEGIN:
        rdb_put_length(out, s->stream->nodes.count);
        s->at = idtree_first(&s->stream->nodes);
        s->stage = STAGE_NODES;
        break;
    case STAGE_NODES:
        save_stream(s, out);
        s->stage = STAGE_GROUP;
        break;
    case STAGE_GROUP: saver_begin_group(s, out); break;
    case STAGE_PENDING:
        g = stream_group_at(s->stream, s->group);
        rdb_put_length(out, g->consumers.count);
        s->consumer = 0;
        s->stage = STAGE_CONSUMER;
        break;
    case STAGE_CONSUMER: saver_begin_consumer(s, out); break;
    case STAGE_CONSUMER_PENDING:
        s->consumer++;
        s->stage = STAGE_CONSUMER;
        break;
    }
    // All consumers of the group are done: on to the next group.
    if (s->stage != STAGE_CONSUMER) return;
    g = stream_group_at(s->stream, s->group);
    if (s->consumer < g->consumers.count) return;
    s->group++;
    s->stage = STAGE_GROUP;
}

bool stream_saver_next(struct stream_saver *s, struct buf *out, size_t *spent)
{
    enum { HEAD_COST = 32 }; // bytes, roughly, of all that is no node
    *spent += HEAD_COST;
    if (s->stage == STAGE_GROUP && s->group == s->stream->groups.count) return false;
    if (!s->at.leaf) {
        saver_next_stage(s, out);
        return true;
    }
    if (s->stage == STAGE_NODES)
        *spent += save_node(s, out);
    else if (s->stage == STAGE_PENDING)
        save_pending(s, out);
    else
        save_raw_id(out, idtree_id(&s->at));
    idtree_next(&s->at);
    return true;
}

void stream_save(struct buf *out, struct value v, bool is_compressed)
{
    struct stream_saver s;
    size_t spent = 0;
    stream_saver_begin(&s, v, is_compressed);
    while (stream_saver_next(&s, out, &spent)) continue;
    stream_saver_end(&s);
}

// --- reading a node ------------------------------------------------------------------------------

struct loader {
    struct rdb_reader *in;
    struct stream *stream;
    struct stream_id last_live;
    struct buf scratch; // of strings
    // The listpack that is being read.
    const struct listpack *listpack;
    uint32_t at;                     // the next element; 0: the end
    uint32_t count;                  // elements
    uint32_t fields_at, field_count; // the master entry's
    struct buf pairs; // struct slice: fields and values of the entry that is being read
    struct buf texts; // of those that are integers
    // The node that it becomes.
    struct stream_node *node;
    size_t cap;
};

static bool get_integer(struct loader *l, int64_t *out)
{
    struct item item;
    if (!l->at) return false;
    l->at = listpack_get(l->listpack, l->at, &item);
    *out = item.integer;
    return !item.ptr;
}

static bool skip_items(struct loader *l, int64_t count, uint64_t *integers)
{
    for (struct item item; count; count--) {
        if (!l->at) return false;
        l->at = listpack_get(l->listpack, l->at, &item);
        if (!item.ptr) ++*integers;
    }
    return true;
}

// The element at *at, as text, into the pairs; there is room for both.
static void add_text(struct loader *l, uint32_t *at)
{
    struct item item;
    *at = listpack_get(l->listpack, *at, &item);
    struct slice text = item_slice(&item, l->texts.ptr ? l->texts.ptr + l->texts.len : NULL);
    if (!item.ptr) l->texts.len += text.len;
    memcpy(l->pairs.ptr + l->pairs.len, &text, sizeof text);
    l->pairs.len += sizeof text;
}

// Reads the pairs of an entry, `fields` of them, with the master's fields if is_same.
static bool get_pairs(struct loader *l, int64_t fields, bool is_same)
{
    uint32_t values_at = l->at, fields_at = l->fields_at;
    uint64_t integers = is_same ? (uint64_t)fields : 0;
    if (!skip_items(l, is_same ? fields : 2 * fields, &integers)) return false;
    l->pairs.len = l->texts.len = 0;
    buf_reserve(&l->pairs, (size_t)fields * 2 * sizeof(struct slice));
    if (integers) buf_reserve(&l->texts, integers * NUM_I64_TEXT);
    for (int64_t i = 0; i < fields; i++) {
        add_text(l, is_same ? &fields_at : &values_at);
        add_text(l, &values_at);
    }
    return true;
}

static void append(struct loader *l, struct stream_id first, struct stream_id id, int64_t fields)
{
    const struct slice *pairs = (const struct slice *)(void *)l->pairs.ptr;
    size_t need = l->node->used + stream_node_room(pairs, (uint32_t)fields);
    if (need > l->cap) {
        l->cap = need + need / 2;
        l->node = mem_realloc(l->node, sizeof *l->node + l->cap);
    }
    stream_node_append(l->node, first, id, pairs, (uint32_t)fields);
}

static bool is_in_order(const struct loader *l, struct stream_id id, bool is_deleted)
{
    if (l->node->used && stream_id_cmp(id, l->node->last) <= 0) return false;
    return is_deleted || stream_id_cmp(id, l->last_live) > 0;
}

// Reads an entry; *first: of the node, set by its first entry.
static bool get_entry(struct loader *l, struct stream_id master, struct stream_id *first)
{
    int64_t flags, ms, seq, elements, fields = l->field_count;
    if (!get_integer(l, &flags) || flags < 0 || flags > (FLAG_DELETED | FLAG_SAME)) return false;
    if (!get_integer(l, &ms) || !get_integer(l, &seq)) return false;
    bool is_same = flags & FLAG_SAME, is_deleted = flags & FLAG_DELETED;
    if (!is_same && !get_integer(l, &fields)) return false;
    if (fields < 1 || fields > l->count || !get_pairs(l, fields, is_same)) return false;
    if (!get_integer(l, &elements)) return false;
    if (elements != (is_same ? fields + 3 : 2 * fields + 4)) return false;

    struct stream_id id = {master.ms + (uint64_t)ms, master.seq + (uint64_t)seq};
    if (stream_id_is_zero(id) || !is_in_order(l, id, is_deleted)) return false;
    uint32_t at = l->node->used;
    if (!at) *first = id;
    append(l, *first, id, fields);
    if (is_deleted)
        stream_node_delete(l->node, l->node->data + at);
    else
        l->last_live = id;
    return true;
}

static bool get_entries(struct loader *l, struct stream_id master, struct stream_id *first)
{
    int64_t live, deleted, fields, zero;
    uint64_t integers = 0;
    if (!get_integer(l, &live) || !get_integer(l, &deleted) || !get_integer(l, &fields))
        return false;
    if (live < 0 || deleted < 0 || fields < 1 || fields > l->count) return false;
    l->field_count = (uint32_t)fields;
    l->fields_at = l->at;
    if (!skip_items(l, fields, &integers) || !get_integer(l, &zero) || zero) return false;
    while (l->at)
        if (!get_entry(l, master, first)) return false;
    return l->node->used && l->node->live == live && l->node->deleted == deleted;
}

static bool load_node(struct loader *l)
{
    uint64_t key[2];
    struct slice id = rdb_get_string(l->in, &l->scratch);
    if (id.len != ID_BYTES) return false;
    memcpy(key, id.ptr, sizeof key);
    struct stream_id master = {be64toh(key[0]), be64toh(key[1])}, first = master;
    struct slice bytes = rdb_get_string(l->in, &l->scratch);
    if (l->in->is_bad || !listpack_is_valid(bytes.ptr, bytes.len, &l->count)) return false;
    l->listpack = (const struct listpack *)(const void *)bytes.ptr;
    l->at = listpack_first(l->listpack);
    l->cap = bytes.len;
    l->node = stream_node_new(l->cap);
    bool is_good = get_entries(l, master, &first);
    struct idtree_cursor last = idtree_last(&l->stream->nodes);
    if (is_good && last.leaf) is_good = stream_id_cmp(first, idtree_id(&last)) > 0;
    if (!is_good) {
        mem_free(l->node);
        return false;
    }
    l->stream->len += l->node->live;
    l->node = mem_realloc(l->node, sizeof *l->node + l->node->used);
    stream_add_node(l->stream, first, l->node);
    return true;
}

// --- reading the rest ----------------------------------------------------------------------------

static struct stream_id load_id(struct loader *l)
{
    uint64_t ms = rdb_get_length(l->in);
    return (struct stream_id){ms, rdb_get_length(l->in)};
}

static struct stream_id load_raw_id(struct loader *l)
{
    uint64_t ms = rdb_get_u64_be(l->in);
    return (struct stream_id){ms, rdb_get_u64_be(l->in)};
}

static bool load_entries(struct loader *l, int rdb_type)
{
    struct stream *s = l->stream;
    uint64_t nodes = rdb_get_length(l->in);
    for (uint64_t i = 0; i < nodes && !l->in->is_bad; i++)
        if (!load_node(l)) return false;
    uint64_t len = rdb_get_length(l->in);
    s->last_id = load_id(l);
    s->entries_added = len;
    if (rdb_type >= RDB_STREAM_LISTPACKS_2) {
        load_id(l); // the first: seen for ourselves
        s->max_deleted_id = load_id(l);
        s->entries_added = rdb_get_length(l->in);
    }
    stream_find_first_id(s);
    return !l->in->is_bad && len == s->len && stream_id_cmp(l->last_live, s->last_id) <= 0;
}

// What is pending has no consumer yet.
static bool load_pending(struct loader *l, struct stream_group *g)
{
    uint64_t pending = rdb_get_length(l->in);
    for (uint64_t i = 0; i < pending && !l->in->is_bad; i++) {
        struct stream_id id = load_raw_id(l);
        int64_t delivered_ms = (int64_t)rdb_get_u64(l->in);
        uint64_t count = rdb_get_length(l->in);
        bool is_new;
        if (l->in->is_bad) return false;
        uint64_t *word = idtree_insert(&g->pending, id, &is_new);
        if (!is_new) return false;
        struct stream_nack *nack = mem_alloc(sizeof *nack);
        *nack = (struct stream_nack){.delivered_ms = delivered_ms, .count = count};
        *word = (uintptr_t)nack;
    }
    return !l->in->is_bad;
}

static bool load_consumer(struct loader *l, struct stream_group *g, int rdb_type, uint64_t *pending)
{
    struct slice name = rdb_get_string(l->in, &l->scratch);
    if (l->in->is_bad) return false;
    struct stream_consumer *c = stream_consumer_create(g, name, 0);
    if (!c) return false;
    c->seen_ms = c->active_ms = (int64_t)rdb_get_u64(l->in);
    if (rdb_type >= RDB_STREAM_LISTPACKS_3) c->active_ms = (int64_t)rdb_get_u64(l->in);
    uint64_t count = rdb_get_length(l->in);
    for (uint64_t i = 0; i < count && !l->in->is_bad; i++) {
        struct stream_id id = load_raw_id(l);
        const struct stream_nack *nack = stream_group_pending(g, id);
        if (!nack || nack->consumer) return false;
        stream_group_assign(g, id, c);
    }
    *pending += count;
    return !l->in->is_bad;
}

static bool load_group(struct loader *l, int rdb_type)
{
    struct slice name = rdb_get_string(l->in, &l->scratch);
    if (l->in->is_bad) return false;
    struct stream_group *g = stream_group_create(l->stream, name, STREAM_ID_MIN, 0);
    if (!g) return false;
    g->last_id = load_id(l);
    g->entries_read = rdb_type >= RDB_STREAM_LISTPACKS_2
                          ? (int64_t)rdb_get_length(l->in)
                          : stream_entries_up_to(l->stream, g->last_id);
    if (g->entries_read < STREAM_UNKNOWN_COUNT || !load_pending(l, g)) return false;
    uint64_t pending = 0, consumers = rdb_get_length(l->in);
    for (uint64_t i = 0; i < consumers && !l->in->is_bad; i++)
        if (!load_consumer(l, g, rdb_type, &pending)) return false;
    return !l->in->is_bad && pending == g->pending.count;
}

static bool load_groups(struct loader *l, int rdb_type)
{
    uint64_t groups = rdb_get_length(l->in);
    for (uint64_t i = 0; i < groups && !l->in->is_bad; i++)
        if (!load_group(l, rdb_type)) return false;
    return !l->in->is_bad;
}

bool stream_load(struct rdb_reader *in, int rdb_type, const struct value_limits *limits,
                 struct value *out)
{
    (void)limits; // nodes stay as they are, as in Redis
    struct value v = stream_new();
    struct loader l = {.in = in, .stream = stream_of(v)};
    bool is_good = load_entries(&l, rdb_type) && load_groups(&l, rdb_type);
    buf_free(&l.scratch);
    buf_free(&l.pairs);
    buf_free(&l.texts);
    if (is_good)
        *out = v;
    else
        stream_free(v);
    return is_good;
}

// --- skipping ------------------------------------------------------------------------------------

// Over the ids that are pending and what is said of each: 16 + more bytes, then maybe a count.
static void skip_pending(struct rdb_reader *in, size_t more, bool has_count)
{
    for (uint64_t n = rdb_get_length(in); n && !in->is_bad; n--) {
        rdb_skip_bytes(in, ID_BYTES + more);
        if (has_count) rdb_get_length(in);
    }
}

static void skip_group(struct rdb_reader *in, int rdb_type)
{
    rdb_skip_string(in);
    rdb_skip_lengths(in, rdb_type >= RDB_STREAM_LISTPACKS_2 ? 3 : 2);
    skip_pending(in, sizeof(uint64_t), true);
    for (uint64_t n = rdb_get_length(in); n && !in->is_bad; n--) {
        rdb_skip_string(in);
        rdb_skip_bytes(in, (rdb_type >= RDB_STREAM_LISTPACKS_3 ? 2 : 1) * sizeof(uint64_t));
        skip_pending(in, 0, false);
    }
}

bool stream_skip(struct rdb_reader *in, int rdb_type)
{
    for (uint64_t n = rdb_get_length(in); n && !in->is_bad; n--) {
        rdb_skip_string(in);
        rdb_skip_string(in);
    }
    rdb_skip_lengths(in, rdb_type >= RDB_STREAM_LISTPACKS_2 ? 8 : 3);
    for (uint64_t n = rdb_get_length(in); n && !in->is_bad; n--) skip_group(in, rdb_type);
    return !in->is_bad;
}
