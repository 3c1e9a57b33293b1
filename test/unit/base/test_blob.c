// SPDX-License-Identifier: BSD-3-Clause
#include "base/blob.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>

#include "base/mem.h"

static struct blob *blob_of(const char *text, size_t cap)
{
    struct blob *b = blob_new(cap);
    b->len = strlen(text);
    memcpy(b->data, text, b->len);
    return b;
}

Test(blob, a_new_one_is_empty_and_its_maker_s_alone)
{
    size_t before = mem_used_bytes();
    struct blob *b = blob_new(100);
    cr_assert_eq(b->len, 0);
    cr_assert_geq(b->cap, 100);
    cr_assert_not(blob_is_shared(b));
    blob_unref(b);
    cr_assert_eq(mem_used_bytes(), before);
}

Test(blob, the_last_owner_frees_it)
{
    size_t before = mem_used_bytes();
    struct blob *b = blob_new(10);
    cr_assert_eq(blob_ref(b), b);
    cr_assert(blob_is_shared(b));
    blob_unref(b);
    cr_assert_not(blob_is_shared(b));
    cr_assert_gt(mem_used_bytes(), before);
    blob_unref(b);
    cr_assert_eq(mem_used_bytes(), before);
}

Test(blob, owning_an_unshared_one_copies_nothing_while_there_is_room)
{
    struct blob *b = blob_of("hello", 100), *own = blob_own(b, 50);
    cr_assert_eq(own, b);
    cr_assert_eq(own->len, 5);
    own = blob_own(own, 100000);
    cr_assert_geq(own->cap, 100000);
    cr_assert_eq(own->len, 5);
    cr_assert_eq(memcmp(own->data, "hello", 5), 0);
    blob_unref(own);
}

Test(blob, owning_a_shared_one_leaves_the_other_owner_its_bytes)
{
    struct blob *b = blob_of("hello", 5), *other = blob_ref(b), *own = blob_own(b, 50);
    cr_assert_neq(own, other);
    cr_assert_not(blob_is_shared(other));
    memcpy(own->data, "HELLO", 5);
    cr_assert_eq(memcmp(other->data, "hello", 5), 0);
    blob_unref(own);
    own = blob_own(blob_ref(other), 3);
    cr_assert_eq(own->len, 3, "cut at the room asked for");
    cr_assert_eq(memcmp(own->data, "hel", 3), 0);
    blob_unref(own);
    blob_unref(other);
}

static void *share_and_drop(void *arg)
{
    struct blob *b = arg;
    for (int i = 0; i < 100000; i++) {
        blob_ref(b);
        cr_assert_eq(b->data[0], 'x');
        blob_unref(b);
    }
    blob_unref(b);
    return NULL;
}

Test(blob, references_may_be_counted_by_many_threads)
{
    pthread_t threads[4];
    struct blob *b = blob_of("x", 1);
    for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, share_and_drop, blob_ref(b));
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    cr_assert_not(blob_is_shared(b));
    blob_unref(b);
}
