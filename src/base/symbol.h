// SPDX-License-Identifier: BSD-3-Clause
//
// symbol: names of the program's own functions for stack traces, static ones too (which dladdr and
// backtrace_symbols do not know). They come from the symbol table of /proc/self/exe, which
// symbol_init maps; after that a look-up reads nothing but this mapping, so a signal handler may do
// it.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct symbol {
    const char *name;      // NULL: no function is known there (stripped, or not a function)
    size_t offset;         // of the address in the function
    uintptr_t file_offset; // of the address in the program, as addr2line wants it
};

// Once, before other threads start. Without a symbol table (or /proc) no name is found, that is
// all.
void symbol_init(void);
// False if the address is not in the program itself (but in a shared library, or nowhere). Any
// thread, signal handlers.
bool symbol_find(const void *address, struct symbol *out);
