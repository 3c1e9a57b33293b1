// SPDX-License-Identifier: BSD-3-Clause
#include "ds/names.h"

#include <criterion/criterion.h>
#include <stdio.h>

static struct slice text_of(int i, char out[16])
{
    return (struct slice){out, (size_t)snprintf(out, 16, "name%d", i)};
}

Test(names, what_was_added_is_found_until_it_is_removed)
{
    struct names n;
    names_init(&n, 0);
    cr_assert_null(names_find(&n, SLICE("a")));
    struct name *a = names_add(&n, SLICE("a"));
    cr_assert_eq(names_find(&n, SLICE("a")), a);
    cr_assert(slice_eq(name_bytes(a), SLICE("a")));
    cr_assert_null(names_find(&n, SLICE("A")));
    names_remove(&n, a);
    names_validate(&n);
    cr_assert_null(names_find(&n, SLICE("a")));
    cr_assert_eq(names_count(&n), 0);
    names_free(&n);
}

Test(names, the_empty_name_is_a_name)
{
    struct names n;
    names_init(&n, 8);
    struct name *empty = names_add(&n, (struct slice){NULL, 0});
    cr_assert_eq(names_find(&n, SLICE("")), empty);
    names_validate(&n);
    names_free(&n);
}

Test(names, are_walked_in_the_order_of_adding)
{
    struct names n;
    char text[16];
    int expected = 0;
    names_init(&n, 0);
    for (int i = 0; i < 1000; i++) names_add(&n, text_of(i, text));
    for (int i = 0; i < 1000; i += 3) names_remove(&n, names_find(&n, text_of(i, text)));
    names_validate(&n);
    for (const struct name *name = n.first; name; name = name->next) {
        if (expected % 3 == 0) expected++;
        cr_assert(slice_eq(name_bytes(name), text_of(expected++, text)));
    }
    cr_assert_eq(expected, 999);
    names_free(&n);
}

Test(names, data_begins_as_zeros_and_keeps_what_is_written)
{
    struct names n;
    char text[16];
    names_init(&n, 3 * sizeof(uint64_t));
    for (int i = 0; i < 100; i++) {
        uint64_t *data = (uint64_t *)names_add(&n, text_of(i, text))->data;
        cr_assert(data[0] == 0 && data[1] == 0 && data[2] == 0);
        data[0] = data[2] = (uint64_t)i;
    }
    names_validate(&n);
    for (int i = 0; i < 100; i++) {
        const uint64_t *data = (const uint64_t *)names_find(&n, text_of(i, text))->data;
        cr_assert(data[0] == (uint64_t)i && data[1] == 0 && data[2] == (uint64_t)i);
    }
    names_free(&n);
}

Test(names, removing_first_middle_and_last_keeps_the_list_whole)
{
    static const char *const order[] = {"b", "a", "c"};
    struct names n;
    names_init(&n, 0);
    names_add(&n, SLICE("a"));
    names_add(&n, SLICE("b"));
    names_add(&n, SLICE("c"));
    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        names_remove(&n, names_find(&n, slice_of(order[i])));
        names_validate(&n);
    }
    cr_assert_null(n.first);
    cr_assert_null(n.last);
    names_free(&n);
}
