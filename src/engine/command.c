// SPDX-License-Identifier: BSD-3-Clause
//
// command: the command table. It is built once, out of the families' declarations, and never
// changes.
//
//   all:  | top-level commands, in order | subcommands of A | {0} | subcommands of B | {0} ...
//
// Every declaration is copied there, so that the copy can carry what only the table knows: its id
// (dense, sentinels have none), its parent and its full name, the ACL categories and the flag that
// follow from the rest of it. A container's `subcommands` points into the same array.
//
// Looking a name up is on the path of every request, so it is one multiplication and, nearly
// always, one probe. A name is read as two words, its first and its last eight bytes (they overlap,
// and neither read leaves the name), with bit 5 of every byte set. Together with the length they
// are the hash's input and the comparison at once: what equals a letter under that bit is that
// letter in one of its cases, so for a name of up to 16 letters there is nothing left to compare.
// The few with a '-', '_' or digit, or longer, are compared in full.
#include "engine/command.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/num.h"

#define NAME_MAX_BYTES 32 // longer names are unknown without looking
#define WORDS_COVER    16 // bytes that the two words hold
#define LOAD_FACTOR    4  // slots per command, at least: few collisions in a table of some KiB
#define MULTIPLIERS    32 // candidates among which the one with the fewest collisions is kept

struct slot {
    uint64_t head, tail;  // the name's words
    uint32_t len;         // 0: free
    uint32_t is_doubtful; // equal words do not mean equal names
    const struct command *command;
};

struct command_table {
    struct slot *slots; // owned; a power of two of them
    uint32_t mask;
    uint32_t shift; // 64 - log2(number of slots)
    uint64_t multiplier;
    struct command *all;          // owned, see above
    const struct command **by_id; // owned
    uint32_t count, top_count;
};

// --- names ---------------------------------------------------------------------------------------

static inline uint64_t load8(const char *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline uint32_t load4(const char *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

#define CASE_BITS 0x2020202020202020u

struct words {
    uint64_t head, tail;
};

static inline struct words words_of(struct slice s)
{
    const unsigned char *p = (const unsigned char *)s.ptr;
    if (s.len >= 8)
        return (struct words){load8(s.ptr) | CASE_BITS, load8(s.ptr + s.len - 8) | CASE_BITS};
    if (s.len >= 4) {
        uint64_t both = load4(s.ptr) | (uint64_t)load4(s.ptr + s.len - 4) << 32;
        return (struct words){both | CASE_BITS, 0};
    }
    // 1 to 3 bytes: first, middle, last.
    uint32_t few = p[0] | (uint32_t)p[s.len / 2] << 8 | (uint32_t)p[s.len - 1] << 16;
    return (struct words){few | CASE_BITS, 0};
}

static inline uint32_t slot_index(const struct command_table *t, struct words w, size_t len)
{
    uint64_t mixed = w.head ^ (w.tail << 29 | w.tail >> 35) ^ (uint64_t)len << 56;
    return (uint32_t)(mixed * t->multiplier >> t->shift);
}

// What command_find does when the first probe did not settle it; i: where that was.
static __attribute__((noinline)) const struct command *
find_slowly(const struct command_table *t, struct slice name, struct words w, uint32_t i)
{
    for (; t->slots[i].len; i = (i + 1) & t->mask) {
        const struct slot *s = &t->slots[i];
        if (s->head == w.head && s->tail == w.tail && s->len == name.len &&
            (!s->is_doubtful || slice_is(name, s->command->name)))
            return s->command;
    }
    return NULL;
}

const struct command *command_find(const struct command_table *t, struct slice name)
{
    if (UNLIKELY(name.len - 1 >= NAME_MAX_BYTES)) return NULL;
    struct words w = words_of(name);
    uint32_t i = slot_index(t, w, name.len);
    const struct slot *s = &t->slots[i];
    if (LIKELY(s->head == w.head && s->tail == w.tail && s->len == name.len && !s->is_doubtful))
        return s->command;
    return find_slowly(t, name, w, i);
}

const struct command *command_find_sub(const struct command *container, struct slice name)
{
    for (const struct command *s = container->subcommands; s && s->name; s++)
        if (slice_is(name, s->name)) return s;
    return NULL;
}

const struct command *command_find_full(const struct command_table *t, struct slice full_name)
{
    const char *bar = full_name.len ? memchr(full_name.ptr, '|', full_name.len) : NULL;
    if (!bar) return command_find(t, full_name);
    size_t len = (size_t)(bar - full_name.ptr);
    const struct command *c = command_find(t, (struct slice){full_name.ptr, len});
    return c ? command_find_sub(c, (struct slice){bar + 1, full_name.len - len - 1}) : NULL;
}

// --- building ------------------------------------------------------------------------------------

static uint32_t array_len(const struct command *commands)
{
    uint32_t n = 0;
    while (commands && commands[n].name) n++;
    return n;
}

// Categories that follow from the flags, as Redis adds them; scripts do not count as reads.
static uint32_t implied_acl(const struct command *c)
{
    uint32_t acl = c->acl;
    if (c->flags & CMD_WRITE) acl |= ACL_WRITE;
    if ((c->flags & CMD_READONLY) && !(acl & ACL_SCRIPTING)) acl |= ACL_READ;
    if (c->flags & CMD_ADMIN) acl |= ACL_ADMIN | ACL_DANGEROUS;
    if (c->flags & CMD_PUBSUB) acl |= ACL_PUBSUB;
    if (c->flags & CMD_FAST) acl |= ACL_FAST;
    if (c->flags & CMD_BLOCKING) acl |= ACL_BLOCKING;
    if (!(acl & ACL_FAST)) acl |= ACL_SLOW;
    return acl;
}

static bool is_plain_range(const struct key_spec *s)
{
    return s->begin > 0 && !s->keyword && !s->is_keynum;
}

struct command_range command_range(const struct command *c)
{
    struct command_range r = {0};
    bool is_only = c->keys[0].flags && !c->keys[1].flags;
    int previous_last = 0;
    for (int i = 0; i < KEY_SPECS_MAX && c->keys[i].flags; i++) {
        const struct key_spec *s = &c->keys[i];
        if (s->flags & KEY_INCOMPLETE) r.is_partial = true;
        // Several ranges are one only if they follow each other, key by key.
        bool follows = !previous_last || previous_last == s->begin - 1;
        bool fits = is_plain_range(s) && (is_only || (s->step == 1 && follows));
        if (!fits) {
            r.is_partial = true;
            continue;
        }
        if (!r.first) r.first = s->begin;
        r.step = s->step;
        r.last = s->last < 0 ? s->last : s->begin + s->last;
        previous_last = r.last;
    }
    return r;
}

static char *join_name(const struct command *parent, const char *name)
{
    if (!parent) return mem_strdup(name);
    size_t parent_len = strlen(parent->name), len = strlen(name);
    char *full = mem_alloc(parent_len + len + 2);
    memcpy(full, parent->name, parent_len);
    full[parent_len] = '|';
    memcpy(full + parent_len + 1, name, len + 1);
    return full;
}

static void adopt(struct command_table *t, struct command *to, const struct command *from,
                  const struct command *parent)
{
    *to = *from;
    to->parent = parent;
    to->full_name = join_name(parent, from->name);
    to->id = (uint16_t)t->count;
    to->acl = implied_acl(from);
    if (command_range(from).is_partial) to->flags |= CMD_MOVABLE_KEYS;
    t->by_id[t->count++] = to;
}

static void count_all(const struct command *const *families, uint32_t *top, uint32_t *places)
{
    for (*top = *places = 0; *families; families++) {
        for (const struct command *c = *families; c->name; c++) {
            ++*top;
            *places += 1 + (c->subcommands ? array_len(c->subcommands) + 1 : 0);
        }
    }
}

static void copy_all(struct command_table *t, const struct command *const *families)
{
    struct command *to = t->all;
    for (; *families; families++)
        for (const struct command *c = *families; c->name; c++) adopt(t, to++, c, NULL);
    for (uint32_t i = 0; i < t->top_count; i++) {
        struct command *container = &t->all[i];
        const struct command *from = container->subcommands;
        if (!from) continue;
        container->subcommands = to;
        for (; from->name; from++) adopt(t, to++, from, container);
        to++; // the sentinel
    }
}

static bool is_doubtful(struct slice name)
{
    size_t letters = 0;
    while (letters < name.len && name.ptr[letters] >= 'a' && name.ptr[letters] <= 'z') letters++;
    return letters < name.len || name.len > WORDS_COVER;
}

// Puts every name into the slots; returns how many stand elsewhere than where their hash says.
static uint32_t fill_slots(struct command_table *t)
{
    uint32_t displaced = 0;
    memset(t->slots, 0, (t->mask + 1) * sizeof *t->slots);
    for (uint32_t n = 0; n < t->top_count; n++) {
        const struct command *c = &t->all[n];
        struct slice name = slice_of(c->name);
        ASSERT(name.len && name.len <= NAME_MAX_BYTES);
        struct words w = words_of(name);
        uint32_t i = slot_index(t, w, name.len);
        bool is_displaced = t->slots[i].len;
        for (; t->slots[i].len; i = (i + 1) & t->mask)
            ASSERT(!slice_is(name, t->slots[i].command->name)); // declared twice
        t->slots[i] = (struct slot){w.head, w.tail, (uint32_t)name.len, is_doubtful(name), c};
        displaced += is_displaced;
    }
    return displaced;
}

static void choose_multiplier(struct command_table *t)
{
    uint64_t candidate = 0x9e3779b97f4a7c15u, best = 0;
    uint32_t fewest = UINT32_MAX;
    for (int i = 0; i < MULTIPLIERS && fewest; i++, candidate *= 0xd1342543de82ef95u) {
        t->multiplier = candidate;
        uint32_t displaced = fill_slots(t);
        if (displaced >= fewest) continue;
        fewest = displaced;
        best = candidate;
    }
    t->multiplier = best;
    fill_slots(t);
}

struct command_table *command_table_new(const struct command *const *families)
{
    struct command_table *t = mem_calloc(sizeof *t);
    uint32_t places;
    count_all(families, &t->top_count, &places);
    ASSERT(places < UINT16_MAX);
    t->all = mem_calloc((places + 1) * sizeof *t->all);
    t->by_id = mem_calloc((places + 1) * sizeof *t->by_id);
    copy_all(t, families);

    unsigned bits = 4;
    while (1u << bits < t->top_count * LOAD_FACTOR) bits++;
    t->mask = (1u << bits) - 1;
    t->shift = 64 - bits;
    t->slots = mem_alloc_aligned((t->mask + 1) * sizeof *t->slots, 64);
    choose_multiplier(t);
    return t;
}

void command_table_free(struct command_table *t)
{
    if (!t) return;
    for (uint32_t i = 0; i < t->count; i++) mem_free((char *)t->by_id[i]->full_name);
    mem_free(t->slots);
    mem_free(t->by_id);
    mem_free(t->all);
    mem_free(t);
}

uint32_t command_count(const struct command_table *t)
{
    return t->count;
}

const struct command *command_at(const struct command_table *t, uint32_t id)
{
    ASSERT(id < t->count);
    return t->by_id[id];
}

uint32_t command_top_count(const struct command_table *t)
{
    return t->top_count;
}

const struct command *command_top(const struct command_table *t, uint32_t index)
{
    ASSERT(index < t->top_count);
    return &t->all[index];
}

bool command_arity_fits(const struct command *c, int argc)
{
    return c->arity >= 0 ? argc == c->arity : argc >= -c->arity;
}

// --- keys ----------------------------------------------------------------------------------------

// The positions that one specification yields: first, first + step ... <= last.
struct range {
    int64_t first, last, step;
};

enum spec_outcome { SPEC_FOUND, SPEC_ABSENT, SPEC_INVALID };

// The position behind the keyword, searched forwards from `begin`, or backwards from the end if
// that is negative; 0 if it is not there. The first position is never a keyword's, nor, going
// forwards, is the last.
static int behind_keyword(const struct key_spec *s, int argc, const struct slice *argv)
{
    if (s->begin > 0) {
        for (int i = s->begin; i < argc - 1; i++)
            if (slice_is(argv[i], s->keyword)) return i + 1;
        return 0;
    }
    for (int i = argc + s->begin; i > 1; i--)
        if (slice_is(argv[i], s->keyword)) return i + 1;
    return 0;
}

static enum spec_outcome locate(const struct key_spec *s, int argc, const struct slice *argv,
                                struct range *r)
{
    if (!s->keyword && s->begin <= 0) return SPEC_INVALID;
    int64_t begin = s->keyword ? behind_keyword(s, argc, argv) : s->begin;
    if (!begin) return SPEC_ABSENT;
    r->step = s->step > 0 ? s->step : 1;
    if (s->is_keynum) {
        int64_t n;
        if (begin + s->keynum >= argc || !num_parse_i64(argv[begin + s->keynum], &n) || n < 0)
            return SPEC_INVALID;
        r->first = begin + s->first;
        r->last = r->first + (MIN(n, argc) - 1) * r->step;
        return r->last < argc ? SPEC_FOUND : SPEC_INVALID;
    }
    r->first = begin;
    if (s->last >= 0)
        r->last = begin + s->last;
    else if (s->limit <= 1)
        r->last = argc + s->last;
    else
        r->last = begin + (argc - begin) / s->limit + s->last;
    return SPEC_FOUND;
}

// SET reads its key only with GET; its specification must assume so, this looks.
static uint16_t variable_flags(int argc, const struct slice *argv, uint16_t flags)
{
    for (int i = 3; i < argc; i++)
        if (slice_is(argv[i], "get")) return flags & (uint16_t)~KEY_VARIABLE_FLAGS;
    return KEY_OW | KEY_UPDATE;
}

int command_keys(const struct command *c, int argc, const struct slice *argv, int *positions,
                 uint16_t *flags_out, int max)
{
    if (c->get_keys) return c->get_keys(c, argc, argv, positions, flags_out, max);
    int n = 0;
    for (int i = 0; i < KEY_SPECS_MAX && c->keys[i].flags; i++) {
        const struct key_spec *s = &c->keys[i];
        if (s->flags & KEY_NOT_KEY) continue;
        struct range r;
        enum spec_outcome outcome = locate(s, argc, argv, &r);
        if (outcome == SPEC_INVALID) return -1;
        if (outcome == SPEC_ABSENT) continue;
        uint16_t flags = s->flags;
        if (flags_out && (flags & KEY_VARIABLE_FLAGS)) flags = variable_flags(argc, argv, flags);
        for (int64_t at = r.first; at <= r.last && at < argc; at += r.step, n++) {
            if (n >= max) continue;
            positions[n] = (int)at;
            if (flags_out) flags_out[n] = flags;
        }
        if (s->flags & KEY_INCOMPLETE) return -1;
    }
    return n;
}

int command_first_key(const struct command *c, int argc, const struct slice *argv)
{
    const struct key_spec *s = &c->keys[0];
    if (LIKELY(s->flags && is_plain_range(s) && !(s->flags & KEY_NOT_KEY)))
        return s->begin < argc ? s->begin : 0;
    int position;
    return command_keys(c, argc, argv, &position, NULL, 1) > 0 ? position : 0;
}

bool command_has_keys(const struct command *c)
{
    if (c->get_keys) return true;
    for (int i = 0; i < KEY_SPECS_MAX && c->keys[i].flags; i++)
        if (!(c->keys[i].flags & KEY_NOT_KEY)) return true;
    return false;
}
