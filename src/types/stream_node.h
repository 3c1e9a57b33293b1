// SPDX-License-Identifier: BSD-3-Clause
//
// stream_node: a run of a stream's entries in one piece of memory.
//
//   [ struct stream_node ][ entry | entry | … ]          bytes of data: used
//
//   entry  [ head ][ id ][ items ]
//   head   bit 0: deleted   bit 1: same fields as the first entry   bits 2-3: id form
//          bits 4-7: small
//   id     against the entry before it (the first: against the node's first id - 1):
//            NEXT  nothing          same ms, seq + 1
//            MS    [delta]          ms + small, or, small 0, + delta; seq 0
//            SEQ   delta            same ms, seq + delta
//            FULL  delta, seq       ms + delta; seq
//   items  same fields: a value for each field of the first entry
//          else: number of fields, then field, value, field, value …
//
// Numbers are varints (7 bits a byte, lowest first). An item is written as in a listpack
// (ds/listpack.h) without the length behind it, integers as such. Values of entries with the same
// fields may also refer to the first entry's value of the same field, since values in a stream are
// often alike:
//
//   11110101                         the same
//   11110110 ppppssss  suffix        its first p + 2 bytes, then s others
//   11110111 p s  suffix             its first p bytes, then s others
//
// So the usual entry is one byte and its values. What is deleted keeps its place and bytes; an
// entry is found by walking from the first, as in Redis, which keeps 100 entries in a node.
#pragma once
#include "types/stream.h"

#define STREAM_ITEM_HEAD 9 // bytes that an item takes besides its own, or an integer in all

struct stream_node {
    struct stream_id last; // id of the last entry, deleted or not
    uint32_t used;         // bytes
    uint32_t live, deleted;
    uint32_t field_count; // of the first entry
    unsigned char data[];
};

enum stream_head {
    STREAM_DELETED = 1u << 0,
    STREAM_SAME_FIELDS = 1u << 1,
};

// An empty node with room for `cap` bytes.
struct stream_node *stream_node_new(size_t cap);
// Bytes that an entry takes at most.
size_t stream_node_room(const struct slice *pairs, uint32_t field_count);
// Adds an entry behind the last; there is room. first: the node's first id (this one, if it is the
// first). Returns what a listpack of Redis's would have grown by.
size_t stream_node_append(struct stream_node *n, struct stream_id first, struct stream_id id,
                          const struct slice *pairs, uint32_t field_count);
// What Redis's listpack of these entries takes, without the counts of live and deleted entries.
size_t stream_node_listpack_bytes(const struct stream_node *n, struct stream_id first);
// Bytes of an integer element of a listpack.
size_t stream_node_integer_bytes(int64_t v);

// To walk all entries, deleted or not: *id begins as the id before the first; p: where an entry
// begins, n->data or what stream_node_skip returned. Fills e with the entry, *id with its id.
static inline struct stream_id stream_node_before(struct stream_id first)
{
    return (struct stream_id){first.ms, first.seq - 1}; // may wrap; so does what is added to it
}
void stream_node_read(const struct stream_node *n, const unsigned char *p, struct stream_id *id,
                      struct stream_entry *e);
// Where the entry behind e begins.
const unsigned char *stream_node_skip(const struct stream_entry *e);
// Where the entry with this id begins, or NULL if there is none or it is deleted.
unsigned char *stream_node_find(struct stream_node *n, struct stream_id first, struct stream_id id);
// Marks the entry that begins at p as deleted.
void stream_node_delete(struct stream_node *n, unsigned char *p);
// Writes an item as in a listpack, without the length behind it; at most its bytes and
// STREAM_ITEM_HEAD. Returns what is behind it.
unsigned char *stream_node_put_item(unsigned char *p, const struct stream_item *i);
