// SPDX-License-Identifier: BSD-3-Clause
#include "engine/command_docs.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "base/buf.h"
#include "commands/families.h"

// The tree as text: name:type#spec{members}, with TOKEN= in front and ?, *, ** (token each time)
// behind.
static void print(struct buf *out, const struct command_arg *a)
{
    for (int i = 0; i < a->arg_count; i++) {
        const struct command_arg *x = &a->args[i];
        if (i) buf_append_char(out, ' ');
        if (x->token) buf_printf(out, "%s=", x->token);
        buf_printf(out, "%s:%s", x->name, command_docs_type_name(x->type));
        if (x->key_spec >= 0) buf_printf(out, "#%d", x->key_spec);
        if (x->arg_count) {
            buf_append_char(out, '{');
            print(out, x);
            buf_append_char(out, '}');
        }
        buf_printf(out, "%s%s%s", x->is_optional ? "?" : "", x->is_multiple ? "*" : "",
                   x->is_multiple_token ? "*" : "");
    }
}

static char *tree_of(const char *args)
{
    static char text[1024];
    struct command c = {
        .name = "x", .args = args, .keys = {KEYS(1, 1, 1, KEY_RW), KEYS(2, 2, 1, KEY_RO)}};
    struct command_arg *root = command_docs_parse(&c);
    if (!root) return "wrong";
    struct buf out = {0};
    print(&out, root);
    snprintf(text, sizeof text, "%.*s", SLICE_ARG(buf_slice(&out)));
    buf_free(&out);
    command_docs_free(root);
    return text;
}

#define TREE(args, expected) cr_assert_str_eq(tree_of(args), expected, "%s", args)

Test(command_docs, words_are_arguments_with_the_type_of_their_name)
{
    TREE("", "");
    TREE("message", "message:string");
    TREE("key seconds value", "key:key#0 seconds:integer value:string");
    TREE("key newkey", "key:key#0 newkey:key#1");
    TREE("destination-db", "destination-db:integer");
    TREE("start:integer ip:port", "start:integer ip:port:string");
    TREE("a:key b:key c:key", "a:key#0 b:key#1 c:key#1");
}

Test(command_docs, tokens_belong_to_the_argument_behind_them)
{
    TREE("COUNT count", "COUNT=count:integer");
    TREE("[LEN] [MINMATCHLEN len]", "LEN=len:pure-token? MINMATCHLEN=len:integer?");
    TREE("GET GET x", "GET=get:pure-token GET=x:string");
    TREE("[LIMIT offset count]", "LIMIT=offset_count:block{offset:integer count:integer}?");
    TREE("<* | id>", "auto-id_id:oneof{*=auto-id:pure-token id:string}");
}

Test(command_docs, brackets_say_which_are_optional_or_exclude_each_other)
{
    TREE("[NX | XX]", "nx_xx:oneof{NX=nx:pure-token XX=xx:pure-token}?");
    TREE("[<NX | XX>]", "nx_xx:oneof{NX=nx:pure-token XX=xx:pure-token}?");
    TREE("<EX seconds | KEEPTTL>",
         "seconds_keepttl:oneof{EX=seconds:integer KEEPTTL=keepttl:pure-token}");
    TREE("[TYPE <A | B>]", "TYPE=a_b:oneof{A=a:pure-token B=b:pure-token}?");
    TREE("[protover [AUTH username password] [SETNAME clientname]]",
         "protover_username_password_clientname:block{protover:integer "
         "AUTH=username_password:block{username:string password:string}? "
         "SETNAME=clientname:string?}?");
    TREE("<BYRADIUS radius <M | KM> | BYBOX width height>",
         "radius_m_km_width_height:oneof{BYRADIUS=radius_m_km:block{radius:double "
         "m_km:oneof{M=m:pure-token KM=km:pure-token}} "
         "BYBOX=width_height:block{width:double height:double}}");
}

Test(command_docs, dots_and_repetitions_say_what_is_multiple)
{
    TREE("key...", "key:key#0*");
    TREE("key ...", "key:key#0*");
    TREE("key [key ...]", "key:key#0*");
    TREE("[event ...]", "event:string?*");
    TREE("[name [name ...]]", "name:string?*");
    TREE("(key value)...", "key_value:block{key:key#0 value:string}*");
    TREE("key value [key value ...]", "key_value:block{key:key#0 value:string}*");
    TREE("[PREFIX prefix [PREFIX prefix ...]]", "PREFIX=prefix:string?**");
    TREE("[WEIGHTS weight [weight ...]]", "WEIGHTS=weight:integer?*");
    TREE("STREAMS key [key ...] id [id ...]", "STREAMS=key:key#0* id:string*");
    TREE("[ID client-id...]", "ID=client-id:integer?*");
}

Test(command_docs, nonsense_is_refused_without_leaking)
{
    const char *wrong[] = {"[a",
                           "a]",
                           "<a | >",
                           "()",
                           "...",
                           "a | b",
                           "[a>",
                           "[]",
                           "<a b",
                           "a (b",
                           "(((((((((((a)))))))))))"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        cr_assert_str_eq(tree_of(wrong[i]), "wrong", "%s: %s", wrong[i], tree_of(wrong[i]));
}

static void check_declaration(const struct command *c)
{
    struct command_arg *args = command_docs_parse(c);
    cr_expect(args, "%s: %s", c->name, c->args);
    cr_expect(c->summary && c->since && c->group, "%s", c->name);
    cr_expect(c->handler || c->subcommands, "%s", c->name);
    command_docs_free(args);
    for (const struct command *s = c->subcommands; s && s->name; s++) check_declaration(s);
}

Test(command_docs, every_declaration_can_be_read)
{
    for (const struct command *const *family = commands_all; *family; family++)
        for (const struct command *c = *family; c->name; c++) check_declaration(c);
}
