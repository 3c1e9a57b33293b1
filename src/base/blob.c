// SPDX-License-Identifier: BSD-3-Clause
#include "base/blob.h"

#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

struct blob *blob_new(size_t cap)
{
    struct blob *b = mem_alloc(sizeof *b + cap);
    atomic_init(&b->refs, 1);
    b->len = 0;
    b->cap = cap;
    return b;
}

struct blob *blob_ref(struct blob *b)
{
    // Relaxed: the caller has a reference already, so nothing can be freed meanwhile.
    atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    return b;
}

void blob_unref(struct blob *b)
{
    // Release: what this owner read is read before the last one frees. Acquire: the last sees it
    // so.
    if (atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) == 1) mem_free(b);
}

bool blob_is_shared(const struct blob *b)
{
    // Acquire: a former owner's reads are done before the bytes change.
    return atomic_load_explicit(&b->refs, memory_order_acquire) > 1;
}

struct blob *blob_own(struct blob *b, size_t cap)
{
    if (!blob_is_shared(b)) {
        if (b->cap >= cap) return b;
        b = mem_realloc(b, sizeof *b + cap);
        b->cap = cap;
        return b;
    }
    struct blob *own = blob_new(cap);
    own->len = MIN(b->len, cap);
    memcpy(own->data, b->data, own->len);
    blob_unref(b);
    return own;
}
