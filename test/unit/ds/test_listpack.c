// SPDX-License-Identifier: BSD-3-Clause
#include "ds/listpack.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/random.h"

static struct slice text_at(const struct listpack *lp, uint32_t at, char *scratch)
{
    struct item i;
    listpack_get(lp, at, &i);
    return item_slice(&i, scratch);
}

static void expect(const struct listpack *lp, const char *const *want, uint32_t n)
{
    char scratch[NUM_I64_TEXT];
    uint32_t at = listpack_first(lp);
    listpack_validate(lp);
    cr_assert_eq(listpack_count(lp), n);
    for (uint32_t i = 0; i < n; i++, at = listpack_next(lp, at))
        cr_assert(at && slice_eq(text_at(lp, at, scratch), slice_of(want[i])), "element %u", i);
    cr_assert_eq(at, 0);
}

Test(listpack, bytes_are_those_that_redis_writes)
{
    // What redis-server 7.0 dumps for HSET h a 1 b xyz, without type, footer and LZF.
    static const unsigned char want[] = {20, 0,    0,   0, 4,    0,   0x81, 'a', 2, 1,
                                         1,  0x81, 'b', 2, 0x83, 'x', 'y',  'z', 4, 0xff};
    struct listpack *lp = listpack_new(0);
    lp = listpack_append(lp, SLICE("a"));
    lp = listpack_append(lp, SLICE("1"));
    lp = listpack_append(lp, SLICE("b"));
    lp = listpack_append(lp, SLICE("xyz"));
    cr_assert_eq(listpack_bytes(lp), sizeof want);
    cr_assert_arr_eq(lp, want, sizeof want);
    mem_free(lp);
}

Test(listpack, integers_of_every_size_read_back)
{
    static const int64_t edges[] = {0,          127,       128,      4095,    4096,
                                    32767,      32768,     8388607,  8388608, 2147483647,
                                    2147483648, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < sizeof edges / sizeof edges[0]; i++)
        for (int64_t sign = -1; sign <= 1; sign += 2) {
            int64_t v = edges[i] == INT64_MIN ? edges[i] : edges[i] * sign;
            char text[NUM_I64_TEXT];
            struct slice s = {text, num_format_i64(text, v)};
            struct listpack *a = listpack_append(listpack_new(0), s);
            struct listpack *b = listpack_append_integer(listpack_new(0), v);
            struct item item;
            listpack_validate(a);
            cr_assert_eq(listpack_get(a, listpack_first(a), &item), 0);
            cr_assert(!item.ptr && item.integer == v, "%lld", (long long)v);
            cr_assert_eq(listpack_bytes(a), listpack_bytes(b));
            cr_assert_arr_eq(a, b, listpack_bytes(a));
            cr_assert(listpack_equals(a, listpack_first(a), s));
            cr_assert_eq(listpack_bytes(a), LISTPACK_EMPTY_BYTES + listpack_item_bytes(s));
            mem_free(a);
            mem_free(b);
        }
}

Test(listpack, strings_of_every_length_class_read_back_from_both_ends)
{
    static const size_t lens[] = {0, 1, 63, 64, 126, 127, 4095, 4096, 16379, 16384, 2097160};
    for (size_t i = 0; i < sizeof lens / sizeof lens[0]; i++) {
        char *bytes = mem_alloc(lens[i] + 1);
        memset(bytes, 'x', lens[i]);
        struct slice s = {bytes, lens[i]};
        struct listpack *lp = listpack_append(listpack_new(0), SLICE("before"));
        lp = listpack_append(lp, s);
        lp = listpack_append(lp, SLICE("7"));
        listpack_validate(lp);
        uint32_t at = listpack_prev(lp, listpack_last(lp));
        cr_assert(listpack_equals(lp, at, s));
        cr_assert_eq(listpack_prev(lp, at), listpack_first(lp));
        cr_assert_eq(listpack_prev(lp, listpack_first(lp)), 0);
        cr_assert_eq(listpack_find(lp, listpack_first(lp), s, 0), at);
        mem_free(lp);
        mem_free(bytes);
    }
}

Test(listpack, what_looks_like_an_integer_but_is_not_canonical_stays_a_string)
{
    static const char *const texts[] = {
        "", "-", "+1", "01", "-0", " 1", "1 ", "1.0", "9223372036854775808"};
    struct listpack *lp = listpack_new(0);
    struct item i;
    for (size_t t = 0; t < sizeof texts / sizeof texts[0]; t++)
        lp = listpack_append(lp, slice_of(texts[t]));
    expect(lp, texts, sizeof texts / sizeof texts[0]);
    for (uint32_t at = listpack_first(lp); at;) {
        at = listpack_get(lp, at, &i);
        cr_assert(i.ptr);
    }
    mem_free(lp);
}

Test(listpack, find_skips_values)
{
    struct listpack *lp = listpack_new(0);
    lp = listpack_append(lp, SLICE("v"));
    lp = listpack_append(lp, SLICE("k"));
    lp = listpack_append(lp, SLICE("k"));
    lp = listpack_append(lp, SLICE("5"));
    uint32_t k = listpack_find(lp, listpack_first(lp), SLICE("k"), 1);
    cr_assert_eq(k, listpack_seek(lp, 2));
    cr_assert_eq(listpack_find(lp, listpack_first(lp), SLICE("5"), 1), 0);
    cr_assert_eq(listpack_find(lp, listpack_first(lp), SLICE("5"), 0), listpack_seek(lp, -1));
    cr_assert_eq(listpack_find(lp, 0, SLICE("5"), 0), 0);
    mem_free(lp);
}

// --- against a model -----------------------------------------------------------------------------

#define MODEL_MAX 300

struct model {
    struct listpack *lp;
    char *texts[MODEL_MAX];
    uint32_t count;
    struct random random;
};

static char *random_text(struct model *m)
{
    char text[300];
    uint64_t kind = random_below(&m->random, 4);
    int64_t shift = (int64_t)random_below(&m->random, 64);
    if (kind == 0)
        snprintf(text, sizeof text, "%lld", (long long)((int64_t)random_u64(&m->random) >> shift));
    else
        snprintf(text, sizeof text, "%0*d", (int)random_below(&m->random, kind == 1 ? 280 : 20), 7);
    return mem_strdup(text);
}

static void model_insert(struct model *m, uint32_t index, char *text)
{
    memmove(&m->texts[index + 1], &m->texts[index], (m->count - index) * sizeof m->texts[0]);
    m->texts[index] = text;
    m->count++;
}

static void model_delete(struct model *m, uint32_t index, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) mem_free(m->texts[index + i]);
    memmove(&m->texts[index], &m->texts[index + n], (m->count - index - n) * sizeof m->texts[0]);
    m->count -= n;
}

static void model_step(struct model *m)
{
    uint32_t index = m->count ? (uint32_t)random_below(&m->random, m->count) : 0;
    uint32_t at = m->count ? listpack_seek(m->lp, index) : 0;
    uint64_t what = random_below(&m->random, m->count < 20 ? 4 : 7);
    if (m->count > MODEL_MAX - 2) what = 6;
    char *text = what < 5 ? random_text(m) : NULL;
    if (what == 0) {
        m->lp = listpack_append(m->lp, slice_of(text));
        model_insert(m, m->count, text);
    } else if (what == 1) {
        m->lp = listpack_prepend(m->lp, slice_of(text));
        model_insert(m, 0, text);
    } else if (what < 4) {
        m->lp = listpack_insert(m->lp, &at, slice_of(text));
        cr_assert(listpack_equals(m->lp, at, slice_of(text)));
        model_insert(m, m->count ? index : 0, text);
    } else if (what == 4) {
        m->lp = listpack_replace(m->lp, at, slice_of(text));
        mem_free(m->texts[index]);
        m->texts[index] = text;
    } else {
        uint32_t n = 1 + (uint32_t)random_below(&m->random, what == 6 ? 60 : 3);
        uint32_t gone = n < m->count - index ? n : m->count - index;
        m->lp = listpack_delete(m->lp, at, n);
        model_delete(m, index, gone);
        cr_assert_eq(listpack_at(m->lp, at), index < m->count ? at : 0);
    }
    if (random_below(&m->random, 10) == 0) m->lp = listpack_shrink(m->lp);
}

Test(listpack, agrees_with_an_array_under_random_changes)
{
    struct model m = {.lp = listpack_new(0)};
    random_seed(&m.random, 42);
    for (int i = 0; i < 4000; i++) {
        model_step(&m);
        expect(m.lp, (const char *const *)m.texts, m.count);
        struct listpack *copy = listpack_copy(m.lp);
        cr_assert_arr_eq(copy, m.lp, listpack_bytes(m.lp));
        mem_free(copy);
        uint32_t back = listpack_last(m.lp);
        for (uint32_t n = m.count; n-- > 0; back = listpack_prev(m.lp, back)) {
            cr_assert_eq(back, listpack_seek(m.lp, (int64_t)n - (int64_t)m.count));
            cr_assert_eq(listpack_index(m.lp, back), n);
        }
        cr_assert_eq(back, 0);
    }
    model_delete(&m, 0, m.count);
    mem_free(m.lp);
}

// --- many, and bytes from outside ----------------------------------------------------------------

Test(listpack, more_elements_than_the_header_can_say_are_counted)
{
    enum { MANY = 70000 };
    struct listpack *lp = listpack_new(MANY * 4);
    for (int i = 0; i < MANY; i++) lp = listpack_append_integer(lp, i % 100);
    listpack_validate(lp);
    cr_assert_eq(listpack_count(lp), MANY);
    cr_assert_eq(listpack_seek(lp, MANY - 1), listpack_last(lp));
    cr_assert_eq(listpack_seek(lp, -MANY), listpack_first(lp));
    cr_assert_eq(listpack_seek(lp, MANY), 0);
    lp = listpack_delete(lp, listpack_first(lp), 60000);
    cr_assert_eq(listpack_count(lp), MANY - 60000);
    listpack_validate(lp);
    mem_free(lp);
}

Test(listpack, damaged_bytes_are_found)
{
    struct listpack *lp = listpack_new(0);
    uint32_t count;
    lp = listpack_append(lp, SLICE("some text"));
    lp = listpack_append(lp, SLICE("123456"));
    lp = listpack_append(lp, SLICE("x"));
    size_t len = listpack_bytes(lp);
    unsigned char *bytes = mem_alloc(len);
    memcpy(bytes, lp, len);
    cr_assert(listpack_is_valid(bytes, len, &count) && count == 3);
    for (size_t cut = 0; cut < len; cut++) cr_assert(!listpack_is_valid(bytes, cut, &count));
    for (size_t i = 0; i < len; i++)
        for (int bit = 0; bit < 8; bit++) {
            bytes[i] ^= (unsigned char)(1 << bit);
            if (listpack_is_valid(bytes, len, &count)) { // then reading it must be safe
                struct listpack *copy = listpack_from_bytes(bytes, len);
                listpack_validate(copy);
                mem_free(copy);
            }
            bytes[i] ^= (unsigned char)(1 << bit);
        }
    mem_free(bytes);
    mem_free(lp);
}

Test(listpack, what_was_written_in_a_longer_way_is_written_anew)
{
    // "5" as a string, and 3 in 16 bits.
    static const unsigned char odd[] = {14, 0, 0, 0, 2, 0, 0x81, '5', 2, 0xf1, 3, 0, 3, 0xff};
    uint32_t count;
    cr_assert(listpack_is_valid(odd, sizeof odd, &count));
    struct listpack *lp = listpack_from_bytes(odd, sizeof odd);
    expect(lp, (const char *const[]){"5", "3"}, 2);
    cr_assert_eq(listpack_find(lp, listpack_first(lp), SLICE("5"), 0), listpack_first(lp));
    cr_assert_eq(listpack_bytes(lp), LISTPACK_EMPTY_BYTES + 4);
    mem_free(lp);
}
