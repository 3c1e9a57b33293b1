// SPDX-License-Identifier: BSD-3-Clause
//
// proof_keys: evaluates key specifications over arguments of which some are known to be a literal,
// some to be one of KEYS, some are not known, and of which there may be more than are seen:
//
//     redis.call('zunionstore', KEYS[1], 2, KEYS[2], k, 'weights', unpack(w))
//                 literal       key    lit. key   other literal   tail: anything
//
// The answer is yes only if at every position where a key may stand there is a key, whatever the
// unknown ones turn out to be. An argument that is a key may have any value, a keyword or a number
// included: it proves nothing but that it is a key. What specifications cannot say (a command with
// get_keys or with a span of its own) is a no, and so is a command without keys unless it is known
// to reach no keyspace at all.
#include "script/proof_keys.h"

#include "base/assert.h"

static const struct argument *argument_at(const struct arguments *a, size_t i)
{
    return i < a->count ? &a->list[i] : NULL;
}

// Is what may stand there a key, or certainly nothing?
static bool is_key_or_absent(const struct arguments *a, size_t i)
{
    if (i < a->count) return a->list[i].kind == ARGUMENT_KEY;
    return a->tail != TAIL_OTHER;
}

// From `first` on, are those of every `step` keys up to `last`, included?
static bool are_keys(const struct arguments *a, size_t first, size_t last, size_t step)
{
    for (size_t i = first; i <= last && i < a->count; i += step)
        if (!is_key_or_absent(a, i)) return false;
    return last < a->count || a->tail != TAIL_OTHER;
}

static bool is_literal(const struct argument *arg, const char *text)
{
    return arg && arg->kind == ARGUMENT_LITERAL && slice_is(arg->text, text);
}

// A literal number of keys; more digits than any call has arguments are none.
static bool parse_count(const struct argument *arg, size_t *count)
{
    if (!arg || arg->kind != ARGUMENT_LITERAL) return false;
    if (arg->text.len < 1 || arg->text.len > 3) return false;
    *count = 0;
    for (size_t i = 0; i < arg->text.len; i++) {
        char c = arg->text.ptr[i];
        if (c < '0' || c > '9') return false;
        *count = *count * 10 + (size_t)(c - '0');
    }
    return true;
}

// Keys up to the end of the arguments, or to some before it.
static bool open_range_is_declared(const struct key_spec *s, const struct arguments *a,
                                   size_t begin)
{
    size_t step = s->step > 0 ? (size_t)s->step : 1;
    if (s->limit > 1) { // the number of keys depends on the number of arguments
        if (a->tail != TAIL_NONE || begin >= a->count) return false;
        // A rest: the handler and this would disagree on where the keys begin.
        if ((a->count - begin) % (size_t)s->limit) return false;
        size_t keys = (a->count - begin) / (size_t)s->limit;
        return s->last == -1 && step == 1 && (keys == 0 || are_keys(a, begin, begin + keys - 1, 1));
    }
    // With a tail nobody knows which of the last ones are no keys: all must be.
    size_t behind = a->tail == TAIL_NONE ? (size_t)-s->last : 1;
    if (a->count < begin + behind) return a->tail != TAIL_OTHER;
    return are_keys(a, begin, a->count - behind, step) && a->tail != TAIL_OTHER;
}

static bool counted_range_is_declared(const struct key_spec *s, const struct arguments *a,
                                      size_t begin)
{
    if (s->keynum < 0 || s->first < 0 || s->step > 1) return false;
    size_t count, first = begin + (size_t)s->first;
    // Nothing but keys from there on: then it does not matter how many.
    if (are_keys(a, first, SIZE_MAX - 1, 1)) return true;
    if (!parse_count(argument_at(a, begin + (size_t)s->keynum), &count)) return false;
    return count == 0 || are_keys(a, first, first + count - 1, 1);
}

// The position behind a keyword. Everything before it must be known, for an unknown argument may be
// that keyword.
static bool find_behind_keyword(const struct key_spec *s, const struct arguments *a, size_t *begin)
{
    if (s->begin <= 0) return false;
    for (size_t i = (size_t)s->begin; i < a->count; i++) {
        if (a->list[i].kind != ARGUMENT_LITERAL) return false;
        *begin = i + 1;
        if (is_literal(&a->list[i], s->keyword)) return true;
    }
    return false;
}

static bool spec_is_declared(const struct key_spec *s, const struct arguments *a)
{
    size_t begin = s->begin > 0 ? (size_t)s->begin : 0;
    if (s->flags & KEY_NOT_KEY) return true;
    if (s->flags & KEY_INCOMPLETE) return false;
    if (s->keyword && !find_behind_keyword(s, a, &begin)) return false;
    if (!begin) return false;
    if (s->is_keynum) return counted_range_is_declared(s, a, begin);
    if (s->last < 0) return open_range_is_declared(s, a, begin);
    return are_keys(a, begin, begin + (size_t)s->last, s->step > 0 ? (size_t)s->step : 1);
}

// The command that the first arguments name, if that is certain.
static const struct command *find_command(const struct command_table *table,
                                          const struct arguments *a)
{
    if (a->count < 1 || a->list[0].kind != ARGUMENT_LITERAL) return NULL;
    const struct command *c = command_find(table, a->list[0].text);
    if (!c || !c->subcommands) return c;
    if (a->count < 2 || a->list[1].kind != ARGUMENT_LITERAL) return NULL;
    return command_find_sub(c, a->list[1].text);
}

// Keyless, and no business of any keyspace. Not so PUBLISH: a connection's other messages start
// from its home, and keep their order with a script's only if that stops all shards.
static bool is_harmless(const struct command *c)
{
    static const char *const names[] = {"ping", "echo", "time"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (!c->parent && slice_is(slice_of(c->name), names[i])) return true;
    return false;
}

static bool spans_only_its_keys(const struct command *c)
{
    if (c->flags & (CMD_NOSCRIPT | CMD_SESSION)) return false;
    if (c->span_of || !command_has_keys(c)) return false;
    // BITFIELD's own look at its arguments decides only how its one key is used.
    if (c->get_keys && strcmp(c->name, "bitfield") != 0) return false;
    return c->span == SPAN_KEYS || c->span == SPAN_SUM || c->span == SPAN_POSITION ||
           c->span == SPAN_ALL_OK || c->span == SPAN_GATHER;
}

bool proof_keys_are_declared(const struct command_table *table, const struct arguments *a)
{
    const struct command *c = find_command(table, a);
    if (!c) return false;
    if (is_harmless(c)) return true;
    if (!spans_only_its_keys(c)) return false;
    for (int i = 0; i < KEY_SPECS_MAX && c->keys[i].flags; i++)
        if (!spec_is_declared(&c->keys[i], a)) return false;
    return true;
}
