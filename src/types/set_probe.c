// SPDX-License-Identifier: BSD-3-Clause
//
// The index of a listpack is an open hash table, at most half full, of its elements' positions,
// hashed and compared in the forms that set_table.h gives members.
#include "types/set_probe.h"

#include "base/assert.h"
#include "base/mem.h"
#include "types/set_table.h"

#define QUESTIONS_MIN 16 // fewer are cheaper to answer by reading on
#define MEMBERS_MIN   8  // so is asking a shorter listpack

struct set_probe_slot {
    uint32_t hash; // upper bits
    uint32_t at;   // position in the listpack; 0: a free slot
};

static const struct listpack *pack_of(const struct set_probe *p)
{
    return value_object(p->set);
}

static void index_build(struct set_probe *p, uint32_t count)
{
    p->mask = 15;
    while (p->mask < count * 2) p->mask = p->mask * 2 + 1;
    p->index = mem_calloc((p->mask + 1) * sizeof p->index[0]);
    struct set_needle n;
    struct item m;
    for (uint32_t at = listpack_first(pack_of(p)), next; at; at = next) {
        next = listpack_get(pack_of(p), at, &m);
        set_needle_init(&n, &m);
        uint32_t i = (uint32_t)n.hash & p->mask;
        while (p->index[i].at) i = (i + 1) & p->mask;
        p->index[i] = (struct set_probe_slot){(uint32_t)(n.hash >> 32), at};
    }
}

static bool element_matches(const struct listpack *lp, uint32_t at, const struct set_needle *n)
{
    char digits[NUM_I64_TEXT];
    struct item m;
    listpack_get(lp, at, &m);
    if (n->inline_item) return !m.ptr && m.integer == set_inline_integer(n->inline_item);
    return slice_eq(item_slice(&m, digits), n->bytes);
}

static bool index_has(const struct set_probe *p, const struct item *member)
{
    struct set_needle n;
    set_needle_init(&n, member);
    uint32_t i = (uint32_t)n.hash & p->mask, hash = (uint32_t)(n.hash >> 32);
    for (; p->index[i].at; i = (i + 1) & p->mask)
        if (p->index[i].hash == hash && element_matches(pack_of(p), p->index[i].at, &n))
            return true;
    return false;
}

void set_probe_init(struct set_probe *p, struct value set, uint64_t questions)
{
    *p = (struct set_probe){.set = set};
    if (value_encoding(set) != ENC_LISTPACK || questions < QUESTIONS_MIN) return;
    uint64_t count = set_len(set);
    if (count >= MEMBERS_MIN && count < UINT32_MAX / 4) index_build(p, (uint32_t)count);
}

uint32_t set_probe_has(const struct set_probe *p, const struct item *members, uint32_t count)
{
    if (!p->index) return set_has_batch(p->set, members, count);
    uint32_t found = 0;
    ASSERT(count <= SET_BATCH);
    for (uint32_t i = 0; i < count; i++) found |= (uint32_t)index_has(p, &members[i]) << i;
    return found;
}

void set_probe_free(struct set_probe *p)
{
    mem_free(p->index);
}
