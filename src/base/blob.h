// SPDX-License-Identifier: BSD-3-Clause
//
// blob: a big string that may have several owners at once: the keyspace, and replies that are being
// sent from it without a copy. Bytes may change only while there is one owner (blob_is_shared), so
// whoever changes one first makes it his own. References travel between threads; bytes do not
// change under them.
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct blob {
    _Atomic unsigned refs;
    size_t len, cap; // bytes used, bytes of room in data
    char data[];
};

// One reference, owned by the caller; len is 0.
struct blob *blob_new(size_t cap);
// Adds an owner; any thread that has one. Returns b.
struct blob *blob_ref(struct blob *b);
void blob_unref(struct blob *b);
bool blob_is_shared(const struct blob *b);
// Consumes the caller's reference and returns a blob that is the caller's alone, with room for at
// least `cap` bytes, holding the same bytes (cut at cap).
struct blob *blob_own(struct blob *b, size_t cap);
