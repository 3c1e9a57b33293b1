// SPDX-License-Identifier: BSD-3-Clause
//
// Rendering: words are split first, placeholders are replaced inside each word, and the words
// become a RESP array of bulk strings. Digits are left as zeros and their offsets kept as patches.
#include "request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    NUMBER_DIGITS = 12,
    RANK_DIGITS = 5,
    RANK_MIN = 10000, // the smallest of five digits, and how many there are
    RANK_COUNT = 90000,
    HEADER_BYTES = 32,         // room for "*N\r\n" or "$N\r\n"
    WORDS_BYTES_MAX = 64 << 20 // one rendered command
};

// A growing string; owned by whoever holds it.
struct text {
    char *bytes;
    size_t len, room;
};

struct word {
    size_t start, len;
    unsigned first_patch, end_patch;
};

// What the renderer is working on: all words' contents end to end, and where each one lies.
struct rendering {
    const struct request_options *options;
    struct request *request;
    struct text contents;
    struct word words[REQUEST_MAX_WORDS];
    unsigned word_count;
};

void *bench_alloc(size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size ? size : 1);
    if (!memory) {
        fputs("gyre-load: out of memory\n", stderr);
        exit(1);
    }
    return memory;
}

static void text_append(struct text *text, const char *bytes, size_t len)
{
    if (text->len + len > text->room) {
        size_t room = (text->len + len) * 2 + 64;
        char *grown = bench_alloc(room, 1);
        if (text->len) memcpy(grown, text->bytes, text->len);
        free(text->bytes);
        text->bytes = grown;
        text->room = room;
    }
    if (len) memcpy(text->bytes + text->len, bytes, len);
    text->len += len;
}

static void append_value(struct text *text, size_t value_bytes)
{
    static const char pattern[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    for (size_t i = 0; i < value_bytes; i++)
        text_append(text, &pattern[i % (sizeof pattern - 1)], 1);
}

static const char *append_number(struct rendering *r, enum number_kind kind)
{
    struct request *request = r->request;
    if (request->patch_count == REQUEST_MAX_PATCHES) return "too many placeholders";
    request->patches[request->patch_count++] =
        (struct patch){.offset = (uint32_t)r->contents.len, .kind = kind};
    bool is_rank = kind == NUMBER_RANK || kind == NUMBER_AGAIN;
    text_append(&r->contents, "000000000000", is_rank ? RANK_DIGITS : NUMBER_DIGITS);
    return NULL;
}

// Replaces the placeholder at `p`, if one starts there; *taken is its length, 0 if there is none.
static const char *append_placeholder(struct rendering *r, const char *p, size_t *taken)
{
    static const struct {
        const char *name;
        bool has_prefix, has_number;
        enum number_kind number;
    } kinds[] = {
        {"__key__", true, true, NUMBER_RANDOM},
        {"__nextkey__", true, true, NUMBER_SEQUENCE},
        {"__rand__", false, true, NUMBER_RANDOM},
        {"__seq__", false, true, NUMBER_SEQUENCE},
        {"__rank__", false, true, NUMBER_RANK},
        {"__again__", false, true, NUMBER_AGAIN},
        {"__data__", false, false, 0},
    };
    *taken = 0;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        size_t len = strlen(kinds[i].name);
        if (strncmp(p, kinds[i].name, len) != 0) continue;
        *taken = len;
        if (kinds[i].has_prefix)
            text_append(&r->contents, r->options->key_prefix, strlen(r->options->key_prefix));
        if (kinds[i].has_number) return append_number(r, kinds[i].number);
        append_value(&r->contents, r->options->value_bytes);
        return NULL;
    }
    return NULL;
}

// Renders one word and moves *cursor behind it. A quote opens at any place and hides spaces.
static const char *render_word(struct rendering *r, const char **cursor)
{
    const char *p = *cursor, *problem;
    char quote = 0;
    if (r->word_count == REQUEST_MAX_WORDS) return "too many words";
    struct word *word = &r->words[r->word_count++];
    *word = (struct word){.start = r->contents.len, .first_patch = r->request->patch_count};
    while (*p && (quote || *p != ' ')) {
        size_t taken;
        if ((problem = append_placeholder(r, p, &taken)) != NULL) return problem;
        if (taken) {
            p += taken;
        } else if (quote ? *p == quote : *p == '"' || *p == '\'') {
            quote = quote ? 0 : *p;
            p++;
        } else {
            text_append(&r->contents, p++, 1);
        }
        if (r->contents.len > WORDS_BYTES_MAX) return "command too long";
    }
    word->len = r->contents.len - word->start;
    word->end_patch = r->request->patch_count;
    *cursor = p;
    return quote ? "a quote is not closed" : NULL;
}

// Writes the RESP form, and turns each patch's offset from one in `contents` into one in it.
static void encode_words(struct rendering *r)
{
    struct text out = {0};
    char header[HEADER_BYTES];
    text_append(&out, header, (size_t)snprintf(header, sizeof header, "*%u\r\n", r->word_count));
    for (unsigned i = 0; i < r->word_count; i++) {
        const struct word *word = &r->words[i];
        int len = snprintf(header, sizeof header, "$%zu\r\n", word->len);
        text_append(&out, header, (size_t)len);
        for (unsigned k = word->first_patch; k < word->end_patch; k++)
            r->request->patches[k].offset += (uint32_t)(out.len - word->start);
        text_append(&out, r->contents.bytes + word->start, word->len);
        text_append(&out, "\r\n", 2);
    }
    r->request->bytes = out.bytes;
    r->request->len_bytes = out.len;
}

const char *request_compile(struct request *request, const char *text,
                            const struct request_options *options)
{
    struct rendering *r = bench_alloc(1, sizeof *r);
    const char *problem = NULL, *p = text;
    *request = (struct request){0};
    r->options = options;
    r->request = request;
    for (;;) {
        while (*p == ' ') p++;
        if (!*p || (problem = render_word(r, &p)) != NULL) break;
    }
    if (!problem && r->word_count == 0) problem = "an empty command";
    if (!problem) encode_words(r);
    free(r->contents.bytes);
    free(r);
    return problem;
}

void batch_build(struct batch *batch, const struct request *requests, unsigned request_count,
                 unsigned phase, unsigned size)
{
    size_t bytes = 0;
    unsigned patches = 0;
    for (unsigned i = 0; i < size; i++) {
        const struct request *request = &requests[(phase + i) % request_count];
        bytes += request->len_bytes;
        patches += request->patch_count;
    }
    batch->bytes = bench_alloc(bytes, 1);
    batch->patches = bench_alloc(patches, sizeof *batch->patches);
    batch->end_bytes = bench_alloc(size, sizeof *batch->end_bytes);
    batch->end_patch = bench_alloc(size, sizeof *batch->end_patch);
    batch->size = size;
    bytes = 0;
    patches = 0;
    for (unsigned i = 0; i < size; i++) {
        const struct request *request = &requests[(phase + i) % request_count];
        memcpy(batch->bytes + bytes, request->bytes, request->len_bytes);
        for (unsigned k = 0; k < request->patch_count; k++) {
            batch->patches[patches] = request->patches[k];
            batch->patches[patches++].offset += (uint32_t)bytes;
        }
        bytes += request->len_bytes;
        batch->end_bytes[i] = bytes;
        batch->end_patch[i] = patches;
    }
}

// Twelve decimal digits, from a number below 10^12.
static void write_digits(char *at, uint64_t number)
{
    uint32_t halves[2] = {(uint32_t)(number / 1000000), (uint32_t)(number % 1000000)};
    for (int half = 0; half < 2; half++) {
        uint32_t rest = halves[half];
        for (int i = 5; i >= 0; i--) {
            at[half * 6 + i] = (char)('0' + rest % 10);
            rest /= 10;
        }
    }
}

static void write_rank(char *at, uint64_t rank)
{
    for (int i = RANK_DIGITS - 1; i >= 0; i--, rank /= 10) at[i] = (char)('0' + rank % 10);
}

// SplitMix64, and its product with the range instead of a division.
static uint64_t next_random(struct numbers *numbers, uint64_t range)
{
    uint64_t z = numbers->random_state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return (uint64_t)(((unsigned __int128)z * range) >> 64);
}

size_t batch_refresh(struct batch *batch, unsigned count, struct numbers *numbers)
{
    unsigned end = batch->end_patch[count - 1];
    for (unsigned i = 0; i < end; i++) {
        const struct patch *patch = &batch->patches[i];
        char *at = batch->bytes + patch->offset;
        switch (patch->kind) {
        case NUMBER_RANDOM: write_digits(at, next_random(numbers, numbers->random_range)); break;
        case NUMBER_SEQUENCE: write_digits(at, numbers->next++); break;
        case NUMBER_RANK:
            numbers->rank = RANK_MIN + next_random(numbers, RANK_COUNT); // fall through
        case NUMBER_AGAIN: write_rank(at, numbers->rank); break;
        }
    }
    return batch->end_bytes[count - 1];
}
