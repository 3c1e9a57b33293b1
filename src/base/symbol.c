// SPDX-License-Identifier: BSD-3-Clause
//
// An ELF file lists its symbols in a section of type SYMTAB, whose sh_link names the section of
// their names. Addresses there are those of the file; the loader adds one bias to all of them.
#include "base/symbol.h"

#include <fcntl.h>
#include <link.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

// Written once by symbol_init.
static struct {
    uintptr_t bias, begin, end; // of the program in memory
    const ElfW(Sym) * symbols;
    size_t symbol_count;
    const char *names;
    size_t names_size;
} program;

// The first object is the program itself.
static int note_program(struct dl_phdr_info *info, size_t size, void *arg)
{
    (void)size, (void)arg;
    program.bias = info->dlpi_addr;
    program.begin = UINTPTR_MAX;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type != PT_LOAD) continue;
        uintptr_t begin = info->dlpi_addr + p->p_vaddr;
        if (begin < program.begin) program.begin = begin;
        if (begin + p->p_memsz > program.end) program.end = begin + p->p_memsz;
    }
    return 1;
}

static const char *map_program(size_t *size)
{
    struct stat st;
    void *image = MAP_FAILED;
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return NULL;
    if (fstat(fd, &st) == 0 && st.st_size >= (off_t)sizeof(ElfW(Ehdr)))
        image = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    *size = (size_t)st.st_size;
    return image == MAP_FAILED ? NULL : image;
}

static bool is_inside(size_t size, uint64_t offset, uint64_t len)
{
    return offset <= size && len <= size - offset;
}

static bool find_table(const char *image, size_t size)
{
    const ElfW(Ehdr) *header = (const void *)image;
    const ElfW(Shdr) *sections = (const void *)(image + header->e_shoff);
    if (memcmp(header->e_ident, ELFMAG, SELFMAG) != 0) return false;
    if (!is_inside(size, header->e_shoff, (uint64_t)header->e_shnum * sizeof *sections))
        return false;
    for (size_t i = 0; i < header->e_shnum; i++) {
        const ElfW(Shdr) *s = &sections[i];
        if (s->sh_type != SHT_SYMTAB || s->sh_link >= header->e_shnum) continue;
        const ElfW(Shdr) *names = &sections[s->sh_link];
        if (!is_inside(size, s->sh_offset, s->sh_size)) return false;
        if (!is_inside(size, names->sh_offset, names->sh_size)) return false;
        program.symbols = (const void *)(image + s->sh_offset);
        program.symbol_count = s->sh_size / sizeof *program.symbols;
        program.names = image + names->sh_offset;
        program.names_size = names->sh_size;
        return true;
    }
    return false;
}

void symbol_init(void)
{
    size_t size;
    if (program.end) return;
    dl_iterate_phdr(note_program, NULL);
    const char *image = map_program(&size);
    if (image && !find_table(image, size)) munmap((void *)image, size);
}

bool symbol_find(const void *address, struct symbol *out)
{
    uintptr_t at = (uintptr_t)address;
    if (at < program.begin || at >= program.end) return false;
    *out = (struct symbol){.file_offset = at - program.bias};
    for (size_t i = 0; i < program.symbol_count; i++) {
        const ElfW(Sym) *s = &program.symbols[i];
        if ((s->st_info & 0xf) != STT_FUNC || out->file_offset < s->st_value) continue;
        if (out->file_offset - s->st_value >= s->st_size || s->st_name >= program.names_size)
            continue;
        out->name = program.names + s->st_name;
        out->offset = out->file_offset - s->st_value;
        break;
    }
    return true;
}
