// SPDX-License-Identifier: BSD-3-Clause
#include "engine/command.h"

#include <criterion/criterion.h>
#include <ctype.h>
#include <stdio.h>

#include "base/assert.h"

static const struct command container_subs[] = {
    {.name = "list", .arity = -2, .flags = CMD_ADMIN},
    {.name = "id", .arity = 2, .acl = ACL_CONNECTION},
    {0},
};

static const struct command family_one[] = {
    {.name = "get",
     .arity = 2,
     .flags = CMD_READONLY | CMD_FAST,
     .acl = ACL_STRING,
     .keys = {KEYS(1, 1, 1, KEY_RO | KEY_ACCESS)}},
    {.name = "set",
     .arity = -3,
     .flags = CMD_WRITE,
     .keys = {KEYS(1, 1, 1, KEY_RW | KEY_ACCESS | KEY_UPDATE | KEY_VARIABLE_FLAGS)}},
    {.name = "mset",
     .arity = -3,
     .flags = CMD_WRITE,
     .keys = {KEYS(1, -1, 2, KEY_OW | KEY_UPDATE)}},
    {.name = "rename", .arity = 3, .keys = {KEYS(1, 1, 1, KEY_RW), KEYS(2, 2, 1, KEY_OW)}},
    {.name = "client", .arity = -2, .subcommands = container_subs},
    {0},
};

static const struct command family_two[] = {
    {.name = "blpop", .arity = -3, .flags = CMD_BLOCKING, .keys = {KEYS(1, -2, 1, KEY_RW)}},
    {.name = "eval",
     .arity = -3,
     .acl = ACL_SCRIPTING,
     .flags = CMD_READONLY,
     .keys = {{.flags = KEY_RW, .begin = 2, .is_keynum = true, .first = 1, .step = 1}}},
    {.name = "zunionstore",
     .arity = -4,
     .keys = {KEYS(1, 1, 1, KEY_OW),
              {.flags = KEY_RO, .begin = 2, .is_keynum = true, .first = 1, .step = 1}}},
    {.name = "xread",
     .arity = -4,
     .keys =
         {{.flags = KEY_RO, .begin = 1, .keyword = "STREAMS", .last = -1, .step = 1, .limit = 2}}},
    {.name = "migrate",
     .arity = -6,
     .keys = {KEYS(3, 3, 1, KEY_RW),
              {.flags = KEY_RW | KEY_INCOMPLETE,
               .begin = -2,
               .keyword = "KEYS",
               .last = -1,
               .step = 1}}},
    {.name = "sort", .arity = -2, .keys = {KEYS(1, 1, 1, KEY_RO), {.flags = KEY_RO, .step = 1}}},
    {.name = "spublish", .arity = 3, .keys = {KEYS(1, 1, 1, KEY_NOT_KEY)}},
    {.name = "zrevrangebyscore", .arity = -4},
    {.name = "zremrangebyscore", .arity = -4},
    {.name = "georadiusbymember_ro", .arity = -4},
    {.name = "georadiusbymember", .arity = -4},
    {.name = "georadiusbymemb_x_ro", .arity = -4}, // first and last eight bytes as above
    {.name = "restore-asking", .arity = -4},
    {.name = "ttl", .arity = 2},
    {0},
};

static const struct command *const families[] = {family_one, family_two, NULL};

#define TEXTS(...) ((const char *[]){__VA_ARGS__})
#define ARGS(...)                                                                                  \
    (int)ARRAY_LEN(TEXTS(__VA_ARGS__)), slices(TEXTS(__VA_ARGS__), ARRAY_LEN(TEXTS(__VA_ARGS__)))

static struct slice args[32];

static const struct slice *slices(const char **texts, size_t n)
{
    for (size_t i = 0; i < n; i++) args[i] = slice_of(texts[i]);
    return args;
}

// The keys of a command line as "1 3 5", or "invalid".
static const char *keys_of(struct command_table *t, int argc, const struct slice *argv)
{
    static char text[128];
    int at[8], n = command_keys(command_find(t, argv[0]), argc, argv, at, NULL, 8);
    if (n < 0) return "invalid";
    size_t len = 0;
    text[0] = 0;
    for (int i = 0; i < n && i < 8; i++)
        len += (size_t)snprintf(text + len, sizeof text - len, i ? " %d" : "%d", at[i]);
    return text;
}

Test(command, names_are_found_in_any_case)
{
    struct command_table *t = command_table_new(families);
    for (uint32_t i = 0; i < command_top_count(t); i++) {
        const struct command *c = command_top(t, i);
        char name[40];
        size_t len = strlen(c->name);
        for (size_t k = 0; k < len; k++)
            name[k] = k % 2 ? (char)toupper((unsigned char)c->name[k]) : c->name[k];
        cr_assert_eq(command_find(t, (struct slice){name, len}), c);
        cr_assert_eq(command_find(t, slice_of(c->name)), c);
    }
    command_table_free(t);
}

Test(command, names_that_only_resemble_one_are_unknown)
{
    struct command_table *t = command_table_new(families);
    const char *unknown[] = {"",
                             "ge",
                             "gett",
                             "g\x05t",
                             "sets",
                             "tt",
                             "tttt",
                             "TL",
                             "zremrangebyscorf",
                             "restore\rasking",
                             "restore-askin",
                             "georadiusbymember_",
                             "georadiusbymember_xo",
                             "georadiusbymembxr_ro",
                             "a-name-that-is-longer-than-any-command-could-ever-be"};
    for (size_t i = 0; i < ARRAY_LEN(unknown); i++)
        cr_assert_null(command_find(t, slice_of(unknown[i])), "%s", unknown[i]);
    cr_assert_null(command_find(t, (struct slice){"get\0", 4}));
    // One wrong bit anywhere makes another name, unless it is the bit of the case.
    for (uint32_t i = 0; i < command_top_count(t); i++) {
        const struct command *c = command_top(t, i);
        char name[40];
        size_t len = strlen(c->name);
        for (size_t bit = 0; bit < len * 8; bit++) {
            memcpy(name, c->name, len);
            name[bit / 8] ^= 1 << bit % 8;
            const struct command *found = command_find(t, (struct slice){name, len});
            cr_assert(!found || slice_is((struct slice){name, len}, found->name));
        }
    }
    command_table_free(t);
}

Test(command, subcommands_know_their_parent_and_full_name)
{
    struct command_table *t = command_table_new(families);
    const struct command *client = command_find(t, SLICE("Client"));
    const struct command *list = command_find_sub(client, SLICE("LIST"));
    cr_assert_str_eq(list->full_name, "client|list");
    cr_assert_eq(list->parent, client);
    cr_assert_eq(command_find_full(t, SLICE("CLIENT|list")), list);
    cr_assert_eq(command_find_full(t, SLICE("get")), command_find(t, SLICE("get")));
    cr_assert_null(command_find_full(t, SLICE("get|list")));
    cr_assert_null(command_find_full(t, SLICE("client|")));
    cr_assert_null(command_find_full(t, SLICE("|list")));
    cr_assert_null(command_find_sub(client, SLICE("lis")));
    command_table_free(t);
}

Test(command, ids_are_dense_and_lead_back)
{
    struct command_table *t = command_table_new(families);
    cr_assert_eq(command_count(t), command_top_count(t) + 2);
    for (uint32_t i = 0; i < command_count(t); i++) {
        cr_assert_eq(command_at(t, i)->id, i);
        cr_assert_not_null(command_at(t, i)->name);
    }
    command_table_free(t);
}

Test(command, categories_follow_from_flags)
{
    struct command_table *t = command_table_new(families);
    cr_assert_eq(command_find(t, SLICE("get"))->acl, ACL_STRING | ACL_READ | ACL_FAST);
    cr_assert_eq(command_find(t, SLICE("set"))->acl, ACL_WRITE | ACL_SLOW);
    cr_assert_eq(command_find(t, SLICE("blpop"))->acl, ACL_BLOCKING | ACL_SLOW);
    cr_assert_eq(command_find(t, SLICE("eval"))->acl, ACL_SCRIPTING | ACL_SLOW);
    cr_assert_eq(command_find_full(t, SLICE("client|list"))->acl,
                 ACL_ADMIN | ACL_DANGEROUS | ACL_SLOW);
    command_table_free(t);
}

Test(command, keys_are_found_by_their_specification)
{
    struct command_table *t = command_table_new(families);
    cr_assert_str_eq(keys_of(t, ARGS("get", "a")), "1");
    cr_assert_str_eq(keys_of(t, ARGS("rename", "a", "b")), "1 2");
    cr_assert_str_eq(keys_of(t, ARGS("mset", "a", "1", "b", "2")), "1 3");
    cr_assert_str_eq(keys_of(t, ARGS("mset", "a", "1", "b")), "1 3");
    cr_assert_str_eq(keys_of(t, ARGS("blpop", "a", "b", "0")), "1 2");
    cr_assert_str_eq(keys_of(t, ARGS("eval", "x", "2", "a", "b", "c")), "3 4");
    cr_assert_str_eq(keys_of(t, ARGS("eval", "x", "0", "a")), "");
    cr_assert_str_eq(keys_of(t, ARGS("eval", "x", "3", "a", "b")), "invalid");
    cr_assert_str_eq(keys_of(t, ARGS("eval", "x", "9223372036854775807", "a", "b")), "invalid");
    cr_assert_str_eq(keys_of(t, ARGS("eval", "x", "-1", "a")), "invalid");
    cr_assert_str_eq(keys_of(t, ARGS("eval", "x", "y", "a")), "invalid");
    cr_assert_str_eq(keys_of(t, ARGS("eval", "x")), "invalid");
    cr_assert_str_eq(keys_of(t, ARGS("zunionstore", "d", "2", "a", "b", "weights")), "1 3 4");
    cr_assert_str_eq(keys_of(t, ARGS("xread", "count", "1", "streams", "a", "b", "0", "0")), "4 5");
    cr_assert_str_eq(keys_of(t, ARGS("xread", "streams", "streams", "0")), "2");
    cr_assert_str_eq(keys_of(t, ARGS("xread", "a", "b", "streams")), "");
    cr_assert_str_eq(keys_of(t, ARGS("sort", "a")), "invalid");
    cr_assert_str_eq(keys_of(t, ARGS("spublish", "a", "b")), "");
    cr_assert_str_eq(keys_of(t, ARGS("migrate", "h", "1", "k", "0", "9", "keys", "a")), "invalid");
    command_table_free(t);
}

Test(command, more_keys_than_room_are_counted_but_not_stored)
{
    struct command_table *t = command_table_new(families);
    int at[3] = {0, 0, -7};
    const struct command *mset = command_find(t, SLICE("mset"));
    int n = command_keys(mset, ARGS("mset", "a", "1", "b", "2", "c", "3"), at, NULL, 2);
    cr_assert_eq(n, 3);
    cr_assert_eq(at[1], 3);
    cr_assert_eq(at[2], -7);
    command_table_free(t);
}

Test(command, set_reads_its_key_only_with_get)
{
    struct command_table *t = command_table_new(families);
    const struct command *set = command_find(t, SLICE("set"));
    int at;
    uint16_t flags;
    command_keys(set, ARGS("set", "k", "get"), &at, &flags, 1);
    cr_assert_eq(flags, KEY_OW | KEY_UPDATE);
    command_keys(set, ARGS("set", "k", "v", "GET"), &at, &flags, 1);
    cr_assert_eq(flags, KEY_RW | KEY_ACCESS | KEY_UPDATE);
    command_table_free(t);
}

Test(command, the_first_key_is_found_without_the_others)
{
    struct command_table *t = command_table_new(families);
    const struct command *mset = command_find(t, SLICE("mset"));
    const struct command *eval = command_find(t, SLICE("eval"));
    const struct command *spublish = command_find(t, SLICE("spublish"));
    const struct command *client = command_find(t, SLICE("client"));
    cr_assert_eq(command_first_key(mset, ARGS("mset", "a", "1")), 1);
    cr_assert_eq(command_first_key(mset, ARGS("mset")), 0);
    cr_assert_eq(command_first_key(eval, ARGS("eval", "x", "1", "a")), 3);
    cr_assert_eq(command_first_key(eval, ARGS("eval", "x", "0")), 0);
    cr_assert_eq(command_first_key(spublish, ARGS("spublish", "a", "b")), 0);
    cr_assert_eq(command_first_key(client, ARGS("client", "id")), 0);
    command_table_free(t);
}

Test(command, the_old_triple_says_when_it_is_not_the_whole_truth)
{
    struct command_table *t = command_table_new(families);
    const struct {
        const char *name;
        int first, last, step;
        bool is_partial;
    } wanted[] = {
        {"get", 1, 1, 1, false},    {"mset", 1, -1, 2, false},  {"rename", 1, 2, 1, false},
        {"blpop", 1, -2, 1, false}, {"eval", 0, 0, 0, true},    {"zunionstore", 1, 1, 1, true},
        {"xread", 0, 0, 0, true},   {"migrate", 3, 3, 1, true}, {"sort", 1, 1, 1, true},
        {"ttl", 0, 0, 0, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
        const struct command *c = command_find(t, slice_of(wanted[i].name));
        struct command_range r = command_range(c);
        cr_assert_eq(r.first, wanted[i].first, "%s", c->name);
        cr_assert_eq(r.last, wanted[i].last, "%s", c->name);
        cr_assert_eq(r.step, wanted[i].step, "%s", c->name);
        cr_assert_eq(!!(c->flags & CMD_MOVABLE_KEYS), wanted[i].is_partial, "%s", c->name);
    }
    command_table_free(t);
}

Test(command, arity_is_exact_or_at_least)
{
    struct command_table *t = command_table_new(families);
    const struct command *get = command_find(t, SLICE("get"));
    const struct command *mset = command_find(t, SLICE("mset"));
    cr_assert(command_arity_fits(get, 2));
    cr_assert(!command_arity_fits(get, 1) && !command_arity_fits(get, 3));
    cr_assert(command_arity_fits(mset, 3) && command_arity_fits(mset, 9));
    cr_assert(!command_arity_fits(mset, 2));
    command_table_free(t);
}
