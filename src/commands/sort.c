// SPDX-License-Identifier: BSD-3-Clause
//
// sort: SORT and SORT_RO, the elements of a list, set or sorted set in an order, and what other
// keys say of them.
//
// The elements are collected once, as an array of what they are and what they are compared by:
//
//   parse -> collect (from the value) -> weigh (numbers, or texts to compare) -> order -> answer
//
// Only the part of the array that LIMIT asks for is put in order: a quicksort that does not descend
// into what lies outside, so LIMIT 0 10 of a million elements costs about as much as looking at
// them. No two elements are equal to it, in the end their places in the array decide; so it is
// stable, and equal elements are no worst case.
//
// With BY and GET patterns a command reaches keys that its arguments do not name: then all shards
// meet (reaches_other_keys). Looking such a key up may remove it when it has expired, but never
// moves or changes another: what was found stays where it is until the answer is out.
//
// Numbers are read as C's strtod reads them, and without STORE texts are compared as C's strcoll
// compares them in the C locale, up to a NUL: it is what Redis does.
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/mem.h"
#include "commands/families.h"
#include "engine/ctx.h"
#include "engine/effect.h"
#include "engine/settings.h"
#include "types/hash.h"
#include "types/list.h"
#include "types/set.h"
#include "types/zset.h"

#define ARENA_CHUNK_BYTES (64 * 1024 - 64)
#define INSERTION_MAX     16 // up to so many elements an insertion sort is faster
#define NUMBER_TEXT_BYTES 128

// --- memory for bytes that do not stay where they are --------------------------------------------

struct chunk {
    struct chunk *next;
    size_t len, cap;
    char bytes[];
};

static const char *keep(struct chunk **arena, struct slice s)
{
    struct chunk *c = *arena;
    if (!c || c->cap - c->len < s.len) {
        size_t cap = MAX(s.len, (size_t)ARENA_CHUNK_BYTES);
        c = mem_alloc(sizeof *c + cap);
        *c = (struct chunk){.next = *arena, .cap = cap};
        *arena = c;
    }
    char *to = c->bytes + c->len;
    memcpy(to, s.ptr, s.len);
    c->len += s.len;
    return to;
}

static void arena_free(struct chunk *arena)
{
    while (arena) {
        struct chunk *next = arena->next;
        mem_free(arena);
        arena = next;
    }
}

// --- what is asked for ---------------------------------------------------------------------------

// Where to look for an element: its own bytes (#), the string at prefix + element + postfix, or a
// field of the hash there.
struct pattern {
    enum { PATTERN_SELF, PATTERN_NOTHING, PATTERN_STRING, PATTERN_FIELD } kind;
    struct slice prefix, postfix, field;
};

// An element and what it is compared by.
struct element {
    const char *ptr; // NULL: an integer
    union {
        size_t len;
        int64_t integer;
    };
    union {
        double score;
        const char *text; // ALPHA; NULL: BY found none
    };
    uint32_t text_len; // texts are compared up to 4 GiB
    uint32_t index;    // the place in which it was collected
};

struct sorter {
    struct ctx *ctx;
    int by;             // position of the BY pattern; 0: none
    struct slice store; // ptr NULL: not given
    int64_t limit_start, limit_count;
    bool is_descending, is_alpha, is_unsorted;
    uint32_t get_count;
    struct pattern *gets;      // owned
    struct element *elements;  // owned
    uint64_t count;            // elements …
    uint64_t start, end;       // … of which those from start up to but not with end are answered
    struct chunk *arena;       // owned
    struct buf key;            // owned; the key that was last looked up
    char number[NUM_I64_TEXT]; // integers are printed here, see look_up
    char other_number[NUM_I64_TEXT];
};

static struct pattern parse_pattern(struct slice s)
{
    if (slice_eq(s, SLICE("#"))) return (struct pattern){.kind = PATTERN_SELF};
    const char *star = memchr(s.ptr, '*', s.len), *end = s.ptr + s.len;
    if (!star) return (struct pattern){.kind = PATTERN_NOTHING};
    struct pattern p = {.kind = PATTERN_STRING,
                        .prefix = {s.ptr, (size_t)(star - s.ptr)},
                        .postfix = {star + 1, (size_t)(end - star) - 1}};
    const char *arrow = memmem(p.postfix.ptr, p.postfix.len, "->", 2);
    if (arrow && arrow + 2 < end) {
        p.kind = PATTERN_FIELD;
        p.postfix.len = (size_t)(arrow - p.postfix.ptr);
        p.field = (struct slice){arrow + 2, (size_t)(end - arrow) - 2};
    }
    return p;
}

static bool has_star(struct slice s)
{
    return memchr(s.ptr, '*', s.len) != NULL;
}

// How many arguments the option at i takes behind itself; -1: it is none, or they are missing.
static int option_args(int argc, const struct slice *argv, int i, bool is_read_only)
{
    static const struct {
        const char *name;
        int args;
    } options[] = {{"asc", 0}, {"desc", 0}, {"alpha", 0}, {"limit", 2},
                   {"by", 1},  {"get", 1},  {"store", 1}};
    size_t count = ARRAY_LEN(options) - is_read_only;
    for (size_t n = 0; n < count; n++)
        if (slice_is(argv[i], options[n].name))
            return i + options[n].args < argc ? options[n].args : -1;
    return -1;
}

static bool parse_limit(struct sorter *s, int i)
{
    return ctx_arg_i64(s->ctx, i + 1, &s->limit_start, NULL) &&
           ctx_arg_i64(s->ctx, i + 2, &s->limit_count, NULL);
}

static bool parse(struct sorter *s, bool is_read_only)
{
    struct ctx *ctx = s->ctx;
    s->gets = mem_alloc((size_t)ctx->argc * sizeof s->gets[0]);
    for (int i = 2, args; i < ctx->argc; i += 1 + args) {
        args = option_args(ctx->argc, ctx->argv, i, is_read_only);
        if (args < 0) {
            reply_error(ctx->reply, ERR_SYNTAX);
            return false;
        }
        if (ctx_arg_is(ctx, i, "asc"))
            s->is_descending = false;
        else if (ctx_arg_is(ctx, i, "desc"))
            s->is_descending = true;
        else if (ctx_arg_is(ctx, i, "alpha"))
            s->is_alpha = true;
        else if (ctx_arg_is(ctx, i, "store"))
            s->store = ctx->argv[i + 1];
        else if (ctx_arg_is(ctx, i, "get"))
            s->gets[s->get_count++] = parse_pattern(ctx->argv[i + 1]);
        else if (ctx_arg_is(ctx, i, "by"))
            s->by = i + 1;
        else if (!parse_limit(s, i))
            return false;
        if (s->by == i + 1 && !has_star(ctx->argv[s->by])) s->is_unsorted = true;
    }
    return true;
}

// --- looking up ----------------------------------------------------------------------------------

static struct slice element_slice(const struct element *e, char *number)
{
    if (e->ptr) return (struct slice){e->ptr, e->len};
    return (struct slice){number, num_format_i64(number, e->integer)};
}

// What the pattern finds for an element. Integers are printed into s->number; else the bytes stay.
static bool look_up(struct sorter *s, const struct pattern *p, const struct element *of,
                    struct slice *out)
{
    if (p->kind == PATTERN_NOTHING) return false;
    struct slice element = element_slice(of, s->number);
    if (p->kind == PATTERN_SELF) {
        *out = element;
        return true;
    }
    s->key.len = 0;
    buf_append(&s->key, p->prefix.ptr, p->prefix.len);
    buf_append(&s->key, element.ptr, element.len);
    buf_append(&s->key, p->postfix.ptr, p->postfix.len);
    const struct entry *e = ctx_read(s->ctx, buf_slice(&s->key));
    if (!e) return false;
    if (p->kind == PATTERN_STRING) {
        if (e->type == TYPE_STRING) *out = entry_string(e, s->number);
        return e->type == TYPE_STRING;
    }
    struct item value;
    if (e->type != TYPE_HASH || !hash_get(e->value, p->field, s->ctx->now_ms, &value)) return false;
    *out = item_slice(&value, s->number);
    return true;
}

// --- collecting ----------------------------------------------------------------------------------

static void add_element(struct sorter *s, const struct item *i, bool is_lasting)
{
    struct element *e = &s->elements[s->count];
    *e = (struct element){.ptr = i->ptr, .index = (uint32_t)s->count};
    s->count++;
    if (!i->ptr) {
        e->integer = i->integer;
        return;
    }
    e->len = i->len;
    if (!is_lasting) e->ptr = keep(&s->arena, (struct slice){i->ptr, i->len});
}

static uint64_t value_len(const struct entry *e)
{
    if (!e) return 0;
    if (e->type == TYPE_LIST) return list_len(e->value);
    return e->type == TYPE_SET ? set_len(e->value) : zset_len(e->value);
}

// LIMIT's part of `len` elements. As Redis: a negative count is all, a negative start 0.
static void set_bounds(struct sorter *s, uint64_t len)
{
    s->start = MIN((uint64_t)MAX(s->limit_start, 0), len);
    uint64_t rest = len - s->start;
    s->end = s->start + (s->limit_count < 0 ? rest : MIN((uint64_t)s->limit_count, rest));
}

// From `first` on (in the value's own order, or from its end), at most `count` elements.
static void collect_list(struct sorter *s, struct value v, uint64_t first, uint64_t count,
                         bool is_reverse)
{
    struct list_iter it;
    struct item i;
    list_iter_init(&it, v, is_reverse ? -1 - (int64_t)first : (int64_t)first, is_reverse);
    while (count-- && list_iter_next(&it, &i)) add_element(s, &i, false);
}

static void collect_zset(struct sorter *s, struct value v, uint64_t first, uint64_t count,
                         bool is_reverse)
{
    struct zset_iter it;
    struct item i;
    double score;
    zset_iter_init(&it, v, is_reverse ? zset_len(v) - 1 - first : first, is_reverse);
    while (count-- && zset_iter_next(&it, &i, &score)) add_element(s, &i, false);
}

static void collect_set(struct sorter *s, struct value v)
{
    struct set_iter it;
    struct item i;
    set_iter_init(&it, v);
    while (set_iter_next(&it, &i)) add_element(s, &i, true);
}

// All elements, or, where nothing is to be sorted and the value has an order, only those asked for.
static void collect(struct sorter *s, const struct entry *e)
{
    uint64_t len = value_len(e);
    set_bounds(s, len);
    bool is_part = s->is_unsorted && e && e->type != TYPE_SET;
    uint64_t first = is_part ? s->start : 0, count = is_part ? s->end - s->start : len;
    if (!count) {
        s->end = s->start;
        return;
    }
    s->elements = mem_alloc(count * sizeof s->elements[0]);
    if (e->type == TYPE_LIST)
        collect_list(s, e->value, first, count, is_part && s->is_descending);
    else if (e->type == TYPE_SET)
        collect_set(s, e->value);
    else
        collect_zset(s, e->value, first, count, is_part && s->is_descending);
    if (is_part) {
        s->start = 0;
        s->end = s->count;
    }
}

// --- weighing ------------------------------------------------------------------------------------

static bool parse_weight(struct slice text, double *out)
{
    int64_t integer;
    if (num_parse_i64(text, &integer)) {
        *out = (double)integer;
        return true;
    }
    char room[NUMBER_TEXT_BYTES], *copy = room, *end;
    if (text.len >= sizeof room) copy = mem_alloc(text.len + 1);
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    errno = 0;
    *out = strtod(copy, &end);
    bool is_good = !*end && errno != ERANGE && !isnan(*out);
    if (copy != room) mem_free(copy);
    return is_good;
}

static void weigh_text(struct sorter *s, struct element *e, struct slice text, bool is_lasting)
{
    size_t len = s->store.ptr ? text.len : strnlen(text.ptr, text.len);
    e->text_len = (uint32_t)MIN(len, UINT32_MAX);
    e->text = is_lasting ? text.ptr : keep(&s->arena, (struct slice){text.ptr, e->text_len});
}

// False: a weight is not a number.
static bool weigh(struct sorter *s)
{
    struct pattern by = {.kind = PATTERN_SELF};
    if (s->by) by = parse_pattern(s->ctx->argv[s->by]);
    for (uint64_t i = 0; i < s->count; i++) {
        struct element *e = &s->elements[i];
        struct slice text;
        if (!s->by && !s->is_alpha && !e->ptr) {
            e->score = (double)e->integer;
        } else if (look_up(s, &by, e, &text)) {
            if (s->is_alpha)
                weigh_text(s, e, text, text.ptr != s->number && by.kind != PATTERN_FIELD);
            else if (!parse_weight(text, &e->score))
                return false;
        }
    }
    return true;
}

// --- ordering ------------------------------------------------------------------------------------

static int compare_texts(const struct element *a, const struct element *b)
{
    if (!a->text || !b->text) return (a->text != NULL) - (b->text != NULL);
    return slice_cmp((struct slice){a->text, a->text_len}, (struct slice){b->text, b->text_len});
}

static int compare_scores(struct sorter *s, const struct element *a, const struct element *b)
{
    if (a->score != b->score) return a->score < b->score ? -1 : 1;
    return slice_cmp(element_slice(a, s->number), element_slice(b, s->other_number));
}

static bool is_before(struct sorter *s, const struct element *a, const struct element *b)
{
    int c = s->is_alpha ? compare_texts(a, b) : compare_scores(s, a, b);
    if (c) return s->is_descending ? c > 0 : c < 0;
    return a->index < b->index;
}

static void insertion_sort(struct sorter *s, uint64_t from, uint64_t to)
{
    for (uint64_t i = from + 1; i < to; i++) {
        struct element e = s->elements[i];
        uint64_t at = i;
        for (; at > from && is_before(s, &e, &s->elements[at - 1]); at--)
            s->elements[at] = s->elements[at - 1];
        s->elements[at] = e;
    }
}

static struct element pick_pivot(struct sorter *s, uint64_t from, uint64_t to)
{
    struct element e[3];
    for (int i = 0; i < 3; i++)
        e[i] = s->elements[from + random_below(&s->ctx->space->random, to - from)];
    int low = is_before(s, &e[1], &e[0]), high = 1 - low;
    if (is_before(s, &e[2], &e[low])) return e[low];
    return is_before(s, &e[2], &e[high]) ? e[2] : e[high];
}

// Puts what is before the pivot (an element of the range) in front of what is not, and says where
// the second part begins; neither part is empty.
static uint64_t partition(struct sorter *s, uint64_t from, uint64_t to, const struct element *pivot)
{
    uint64_t i = from, j = to - 1;
    for (;; i++, j--) {
        while (is_before(s, &s->elements[i], pivot)) i++;
        while (is_before(s, pivot, &s->elements[j])) j--;
        if (i >= j) return MAX(i, from + 1);
        struct element swap = s->elements[i];
        s->elements[i] = s->elements[j];
        s->elements[j] = swap;
    }
}

static bool is_asked_for(const struct sorter *s, uint64_t from, uint64_t to)
{
    return from < s->end && to > s->start;
}

// The smaller part goes into the recursion, so that it is no deeper than the logarithm.
static void order(struct sorter *s, uint64_t from, uint64_t to)
{
    while (is_asked_for(s, from, to)) {
        if (to - from <= INSERTION_MAX) {
            insertion_sort(s, from, to);
            return;
        }
        struct element pivot = pick_pivot(s, from, to);
        uint64_t middle = partition(s, from, to, &pivot);
        if (middle - from < to - middle) {
            order(s, from, middle);
            from = middle;
        } else {
            order(s, middle, to);
            to = middle;
        }
    }
}

// --- answering -----------------------------------------------------------------------------------

static void reply_elements(struct sorter *s)
{
    struct reply *r = s->ctx->reply;
    uint64_t count = s->end - s->start;
    reply_array(r, s->get_count ? count * s->get_count : count);
    for (uint64_t i = s->start; i < s->end; i++) {
        const struct element *e = &s->elements[i];
        struct slice value;
        if (!s->get_count) reply_bulk(r, element_slice(e, s->number));
        for (uint32_t g = 0; g < s->get_count; g++) {
            if (look_up(s, &s->gets[g], e, &value))
                reply_bulk(r, value);
            else
                reply_null(r);
        }
    }
}

// What would be answered, as a list; nothing is an empty string.
static struct value list_of_elements(struct sorter *s)
{
    const struct value_limits *limits = &s->ctx->settings->limits;
    struct value list = list_new();
    for (uint64_t i = s->start; i < s->end; i++) {
        const struct element *e = &s->elements[i];
        if (!s->get_count) list_push(&list, false, element_slice(e, s->number), limits);
        for (uint32_t g = 0; g < s->get_count; g++) {
            struct slice value = SLICE("");
            look_up(s, &s->gets[g], e, &value);
            list_push(&list, false, value, limits);
        }
    }
    return list;
}

static void store_elements(struct sorter *s)
{
    struct ctx *ctx = s->ctx;
    struct value list = list_of_elements(s); // before the destination changes: GET may name it
    uint64_t len = list_len(list);
    struct entry *e = ctx_write(ctx, s->store);
    if (len) {
        ctx_set_value(ctx, s->store, e, TYPE_LIST, list, EXPIRE_NONE);
        effect_say_value(ctx, ctx->db, s->store);
        ctx_commit(ctx, s->store, EVENT_LIST, "sortstore");
    } else {
        list_free(list);
        if (e) {
            ctx_delete(ctx, s->store, e);
            effect_say_key(ctx, "DEL", s->store);
            ctx_commit(ctx, s->store, EVENT_GENERIC, "del");
        }
    }
    reply_int(ctx->reply, (int64_t)len);
}

// --- handlers ------------------------------------------------------------------------------------

static bool is_sortable(const struct entry *e)
{
    return !e || e->type == TYPE_LIST || e->type == TYPE_SET || e->type == TYPE_ZSET;
}

static void run(struct sorter *s)
{
    const struct entry *e = ctx_read(s->ctx, s->ctx->argv[1]);
    if (!is_sortable(e)) {
        reply_error(s->ctx->reply, ERR_WRONGTYPE);
        return;
    }
    // A set has no order of its own to be stored in.
    if (s->is_unsorted && s->store.ptr && e && e->type == TYPE_SET) {
        s->is_unsorted = false;
        s->is_alpha = true;
        s->by = 0;
    }
    collect(s, e);
    if (!s->is_unsorted) {
        if (!weigh(s)) {
            reply_error(s->ctx->reply, "ERR One or more scores can't be converted into double");
            return;
        }
        order(s, 0, s->count);
    }
    if (s->store.ptr)
        store_elements(s);
    else
        reply_elements(s);
}

static void sort_with(struct ctx *ctx, bool is_read_only)
{
    struct sorter s = {.ctx = ctx, .limit_count = -1};
    bool is_good = parse(&s, is_read_only);
    // Patterns lead to keys of any shard, and to fields that time hides: the same words might find
    // others. What is stored is told as it is.
    if (s.store.ptr) effect_say_nothing(ctx);
    if (is_good) run(&s);
    mem_free(s.gets);
    mem_free(s.elements);
    arena_free(s.arena);
    buf_free(&s.key);
}

static void sort(struct ctx *ctx)
{
    sort_with(ctx, false);
}

static void sort_ro(struct ctx *ctx)
{
    sort_with(ctx, true);
}

// --- keys ----------------------------------------------------------------------------------------

static enum command_span reaches_other_keys(const struct engine *e, int argc,
                                            const struct slice *argv)
{
    (void)e;
    for (int i = 2, args; i < argc; i += 1 + args) {
        args = option_args(argc, argv, i, false);
        if (args < 0) break; // an error, whatever the keys
        if (args == 1 && !slice_is(argv[i], "store") && has_star(argv[i + 1])) return SPAN_MEET_ALL;
    }
    return SPAN_KEYS;
}

static void put_key(int *positions, uint16_t *flags_out, int max, int n, int position,
                    uint16_t flags)
{
    if (n >= max) return;
    positions[n] = position;
    if (flags_out) flags_out[n] = flags;
}

static int sort_ro_keys(const struct command *c, int argc, const struct slice *argv, int *positions,
                        uint16_t *flags_out, int max)
{
    (void)c, (void)argc, (void)argv;
    put_key(positions, flags_out, max, 0, 1, KEY_RO | KEY_ACCESS);
    return 1;
}

// The last STORE counts.
static int sort_keys(const struct command *c, int argc, const struct slice *argv, int *positions,
                     uint16_t *flags_out, int max)
{
    int store = 0;
    (void)c;
    put_key(positions, flags_out, max, 0, 1, KEY_RO | KEY_ACCESS);
    for (int i = 2, args; i < argc; i += 1 + args) {
        args = MAX(option_args(argc, argv, i, false), 0);
        if (args && slice_is(argv[i], "store")) store = i + 1;
    }
    if (store) put_key(positions, flags_out, max, 1, store, KEY_OW | KEY_UPDATE);
    return 1 + (store != 0);
}

// --- declarations --------------------------------------------------------------------------------

#define SORT_ARGS                                                                                  \
    "key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC | DESC] [ALPHA]"
#define SORT_COMPLEXITY                                                                            \
    "O(N + M * log(M)) with N the number of elements and M that of those returned; O(N) if "       \
    "nothing is sorted"

// clang-format off
const struct command commands_sort[] = {
    {.name = "sort", .handler = sort, .arity = -2, .flags = CMD_WRITE | CMD_DENYOOM,
     .acl = ACL_SET | ACL_SORTEDSET | ACL_LIST | ACL_DANGEROUS,
     .keys = {KEYS(1, 1, 1, KEY_RO | KEY_ACCESS), {.flags = KEY_RO | KEY_ACCESS},
              {.flags = KEY_OW | KEY_UPDATE}},
     .span_of = reaches_other_keys, .get_keys = sort_keys, .group = "generic", .since = "1.0.0",
     .complexity = SORT_COMPLEXITY,
     .summary = "Sorts the elements of a list, a set or a sorted set, and may store the result.",
     .args = SORT_ARGS " [STORE destination]"},

    {.name = "sort_ro", .handler = sort_ro, .arity = -2, .flags = CMD_READONLY,
     .acl = ACL_SET | ACL_SORTEDSET | ACL_LIST | ACL_DANGEROUS,
     .keys = {KEYS(1, 1, 1, KEY_RO | KEY_ACCESS), {.flags = KEY_RO | KEY_ACCESS}},
     .span_of = reaches_other_keys, .get_keys = sort_ro_keys, .group = "generic", .since = "7.0.0",
     .complexity = SORT_COMPLEXITY,
     .summary = "Returns the elements of a list, a set or a sorted set sorted.", .args = SORT_ARGS},

    {0},
};
// clang-format on
