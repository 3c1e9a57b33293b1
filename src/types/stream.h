// SPDX-License-Identifier: BSD-3-Clause
//
// stream: a stream value (ENC_STREAM): entries in the order of their ids, in compact nodes of up to
// stream-node-max-entries entries or stream-node-max-bytes bytes (types/stream_node.h), and the
// consumer groups with what is pending.
//
//   stream --nodes-->  first id -> node, node, … tail      (ds/idtree.h)
//          --groups--> by name: group --pending-->   id -> nack <-+
//                                     --consumers--> by name: consumer --pending--> id
//
//   len == the live entries of all nodes;  tail == the last node, the only one with room to grow
//   a nack is in its group's tree, which owns it, and in its consumer's
//   first_id == the first live entry's id, 0-0 if there is none
//   last_id >= every id there is or was
//
// A node ends where Redis would end it, so that trimming by whole nodes (~) leaves as many entries:
// for the last node, what its entries would take as a listpack is counted along.
#pragma once
#include "base/slice.h"
#include "ds/idtree.h"
#include "types/value.h"

struct buf;
struct rdb_reader;
struct stream_node;
struct stream_mark;

#define STREAM_NEVER          (-1)       // active_ms of a consumer that never got anything
#define STREAM_UNKNOWN_COUNT  (-1)       // entries_read
#define STREAM_MAX_ITEM_BYTES (1u << 30) // of an entry's fields and values together

// Groups or consumers in the order of their names, each beginning with its name.
struct stream_names {
    struct slice **items; // owned, as is what they point to
    uint32_t count, cap;
};

struct stream_consumer {
    struct slice name;     // behind this struct
    struct idtree pending; // id -> struct stream_nack *, which the group owns
    int64_t seen_ms;       // when it last asked for something, Unix ms
    int64_t active_ms;     // when it last got something, or STREAM_NEVER
};

// An entry that was delivered and is not acknowledged.
struct stream_nack {
    int64_t delivered_ms; // the last time, Unix ms
    uint64_t count;       // of deliveries
    struct stream_consumer *consumer;
};

struct stream_group {
    struct slice name;             // behind this struct
    struct stream_id last_id;      // the last delivered
    int64_t entries_read;          // how many were added up to last_id, or STREAM_UNKNOWN_COUNT
    struct idtree pending;         // id -> struct stream_nack *, owned
    struct stream_names consumers; // struct stream_consumer
};

struct stream {
    struct idtree nodes; // first id -> struct stream_node *, owned
    uint64_t len;        // entries
    struct stream_id first_id, last_id, max_deleted_id;
    uint64_t entries_added;   // ever
    size_t node_bytes;        // of all nodes, usable
    struct stream_node *tail; // NULL: there is no node
    struct stream_id tail_first;
    uint32_t tail_cap;            // bytes of data that the tail has room for
    uint32_t tail_listpack_bytes; // of the tail's entries in Redis's form, without their two
                                  // counts; 0: not known
    struct stream_names groups;   // struct stream_group
};

static inline struct stream *stream_of(struct value v)
{
    return value_object(v);
}

// The next id and the one before; false (and *id as it was) if there is none.
static inline bool stream_id_step(struct stream_id *id)
{
    if (id->ms == UINT64_MAX && id->seq == UINT64_MAX) return false;
    if (!++id->seq) id->ms++;
    return true;
}

static inline bool stream_id_step_back(struct stream_id *id)
{
    if (stream_id_is_zero(*id)) return false;
    if (!id->seq--) id->ms--;
    return true;
}

struct value stream_new(void); // empty, last id 0-0
uint64_t stream_len(struct value v);

// --- entries -------------------------------------------------------------------------------------

// Adds an entry; id > last_id; `pairs`: field_count times field and value, together at most
// STREAM_MAX_ITEM_BYTES.
void stream_append(struct stream *s, struct stream_id id, const struct slice *pairs,
                   uint32_t field_count, const struct value_limits *limits);
bool stream_has(const struct stream *s, struct stream_id id);
// Takes out those of the entries that are there; returns how many.
uint64_t stream_remove(struct stream *s, const struct stream_id *ids, size_t count);

struct stream_trim {
    bool is_by_id, is_approximate; // approximate: only whole nodes go
    uint64_t max_len;
    struct stream_id min_id;
    uint64_t limit; // take out no more than that many entries; 0: as many as it takes
};
// Returns how many entries went.
uint64_t stream_trim(struct stream *s, const struct stream_trim *how);

// The last entry's id; false if there is no entry.
bool stream_last_entry(const struct stream *s, struct stream_id *id);
// Nodes that Redis's radix tree of the same nodes would have; estimated where there are many.
uint64_t stream_radix_nodes(const struct stream *s);

// A field or a value: its bytes in two pieces, one behind the other; or, head.ptr NULL, an integer.
struct stream_item {
    struct slice head, tail;
    int64_t integer;
};

struct stream_entry {
    struct stream_id id;
    uint32_t field_count;
    uint32_t left; // pairs that stream_entry_next has not yet read
    bool has_own_fields;
    const unsigned char *at;    // the next item
    const unsigned char *first; // the same pair of the node's first entry, which lends its fields
};

// Walks the entries with start <= id <= end, from either side. The stream must not change (its
// groups may). Free it at the end.
struct stream_iter {
    struct stream_entry entry; // where it stands
    struct idtree_cursor node; // leaf NULL: at the end
    struct stream_id start, end;
    const unsigned char *next; // forwards: behind the entry's head, or the next entry; NULL: the
                               // node has not been begun
    struct stream_mark *marks; // backwards: the node's entries that are left; owned
    uint32_t mark_count, mark_cap;
    bool is_reverse;
};
void stream_iter_init(struct stream_iter *it, const struct stream *s, struct stream_id start,
                      struct stream_id end, bool is_reverse);
bool stream_iter_next(struct stream_iter *it);
void stream_iter_free(struct stream_iter *it);
// Reads the next of the entry's pairs; call it at most field_count times.
void stream_entry_next(struct stream_entry *e, struct stream_item *field,
                       struct stream_item *value);

// --- groups (types/stream_group.c) ---------------------------------------------------------------

// NULL if there is none.
struct stream_group *stream_group_find(const struct stream *s, struct slice name);
// NULL if there is one already.
struct stream_group *stream_group_create(struct stream *s, struct slice name, struct stream_id last,
                                         int64_t entries_read);
void stream_group_destroy(struct stream *s, struct stream_group *g);
struct stream_consumer *stream_consumer_find(const struct stream_group *g, struct slice name);
struct stream_consumer *stream_consumer_create(struct stream_group *g, struct slice name,
                                               int64_t now_ms);
// Frees what is pending for it, too; returns how much that was.
uint64_t stream_consumer_destroy(struct stream_group *g, struct stream_consumer *c);

static inline struct stream_group *stream_group_at(const struct stream *s, uint32_t i)
{
    return (struct stream_group *)s->groups.items[i];
}

static inline struct stream_consumer *stream_consumer_at(const struct stream_group *g, uint32_t i)
{
    return (struct stream_consumer *)g->consumers.items[i];
}

static inline struct stream_nack *stream_nack_at(const struct idtree_cursor *c)
{
    return (struct stream_nack *)(uintptr_t)*idtree_word(c);
}

// What is pending under this id, or NULL.
struct stream_nack *stream_group_pending(const struct stream_group *g, struct stream_id id);
// Makes the entry pending for the consumer, whosever it was, and returns its nack; a new one has
// count 0 and delivered_ms 0.
struct stream_nack *stream_group_assign(struct stream_group *g, struct stream_id id,
                                        struct stream_consumer *c);
// It is no longer pending; false if it was not.
bool stream_group_release(struct stream_group *g, struct stream_id id);
// The entry `id` is being delivered: moves last_id and entries_read on; true if that changed them.
bool stream_group_advance(const struct stream *s, struct stream_group *g, struct stream_id id);
// How many entries up to `id` were ever added, or STREAM_UNKNOWN_COUNT.
int64_t stream_entries_up_to(const struct stream *s, struct stream_id id);
// Entries that the group has not yet read; false if that cannot be said.
bool stream_group_lag(const struct stream *s, const struct stream_group *g, int64_t *lag);

// What stream.c needs of them.
void stream_groups_copy(const struct stream *from, struct stream *to);
size_t stream_groups_bytes(const struct stream *s);
uint64_t stream_groups_parts(const struct stream *s);
bool stream_groups_drain(struct stream *s, int64_t *budget);
void stream_groups_validate(const struct stream *s);

// --- RDB (types/stream_rdb.c) --------------------------------------------------------------------

// The value's part of an RDB file (type RDB_STREAM_LISTPACKS_2), written with types/rdb_io.h.
void stream_save(struct buf *out, struct value v, bool is_compressed);
// The same in pieces: a node of entries, a group's or a consumer's head, or what is pending in it.
struct stream_saver {
    const struct stream *stream;
    bool is_compressed;
    uint8_t stage;            // enum stage of stream_rdb.c
    uint32_t group, consumer; // the ones at hand
    struct idtree_cursor at;  // the node or pending entry that is next
    char *bytes;              // owned: room for a node's listpack
    size_t bytes_cap;
};
void stream_saver_begin(struct stream_saver *s, struct value v, bool is_compressed);
// Appends the next piece and adds to *spent what that cost, in bytes; false if there is none. The
// stream must not change in between.
bool stream_saver_next(struct stream_saver *s, struct buf *out, size_t *spent);
void stream_saver_end(struct stream_saver *s);
// Passes over a stream of this layout without looking at what is in it; false: there is none.
bool stream_skip(struct rdb_reader *in, int rdb_type);
// Reads it back; rdb_type: which of the three stream layouts (15, 19, 21). False if the bytes are
// not what they should be: then nothing is left behind.
bool stream_load(struct rdb_reader *in, int rdb_type, const struct value_limits *limits,
                 struct value *out);

// For stream_rdb.c: adds a node, now owned, whose live entries follow all there are; len and the
// ids are the caller's to set.
void stream_add_node(struct stream *s, struct stream_id first, struct stream_node *n);
void stream_find_first_id(struct stream *s); // sets first_id

// --- as for every type (types/value.h) -----------------------------------------------------------

void stream_free(struct value v);
struct value stream_copy(struct value v);
size_t stream_memory_bytes(struct value v);
uint64_t stream_parts(struct value v);
bool stream_drain(struct value *v, uint32_t budget);
void stream_validate(struct value v);
