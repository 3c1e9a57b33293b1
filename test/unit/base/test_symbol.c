// SPDX-License-Identifier: BSD-3-Clause
#include "base/symbol.h"

#include <criterion/criterion.h>
#include <stdio.h>

static __attribute__((noinline)) int some_static_function(int x)
{
    __asm__ volatile("" : "+r"(x));
    return x;
}

Test(symbol, static_functions_have_names)
{
    struct symbol s;
    symbol_init();
    symbol_init(); // a second time does nothing
    cr_assert(symbol_find((char *)(uintptr_t)some_static_function + 1, &s));
    cr_assert_str_eq(s.name, "some_static_function");
    cr_assert_eq(s.offset, 1);
    cr_assert(symbol_find((void *)(uintptr_t)symbol_find, &s));
    cr_assert_str_eq(s.name, "symbol_find");
    cr_assert_eq(s.offset, 0);
}

Test(symbol, addresses_outside_the_program_are_not_found)
{
    struct symbol s;
    int on_stack = some_static_function(0);
    symbol_init();
    cr_assert_not(symbol_find(NULL, &s));
    cr_assert_not(symbol_find((void *)16, &s));
    cr_assert_not(symbol_find(&on_stack, &s));
}

Test(symbol, data_of_the_program_has_no_function)
{
    static int data;
    struct symbol s;
    symbol_init();
    cr_assert(symbol_find(&data, &s));
    cr_assert_null(s.name);
    cr_assert_neq(s.file_offset, 0);
}
