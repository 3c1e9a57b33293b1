// SPDX-License-Identifier: BSD-3-Clause
//
// The embedded engine: what server/input.c and server/dispatch.c do for a connection, reduced to
// one session, one keyspace and no waiting.
//
//     gyre_execute   argv ----------------------------------> execute -> replies
//     gyre_feed      bytes -> request_parse_fast / request_parse -^
//
// Between two calls of gyre_feed an unfinished request lies in one of two places, as the parser
// asks for it (engine/request.h):
//
//     input          the request from its first byte on
//     input + big    the same, but its present argument, which is big, is filled into a blob of
//                    its own; input ends where that argument begins
#include "gyre.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "commands/families.h"
#include "embed/embed_host.h"
#include "engine/engine.h"
#include "engine/request.h"

#define FAST_ARGS 64        // arguments of a request that takes the fast path
#define MIN_BULK  (1 << 20) // lowest proto-max-bulk-len, as in the server

struct gyre {
    struct embed embed;
    int64_t (*now_ms)(void *arg);
    void *now_arg;
    int64_t fixed_ms; // gyre_set_now_ms
    struct request_parser parser;
    struct buf input; // an unfinished request
    struct blob *big; // its argument that is being filled, bulk_len bytes in the end; owned
    struct reply replies;
    struct reply silent; // of a command whose reply may not be sent
};

// --- opening and closing -------------------------------------------------------------------------

static void calibrate(void)
{
    clock_calibrate();
}

static int64_t system_clock(void *arg)
{
    (void)arg;
    return clock_unix_ms();
}

static int64_t fixed_clock(void *arg)
{
    return ((struct gyre *)arg)->fixed_ms;
}

static void begin_session(struct gyre *g)
{
    struct embed *e = &g->embed;
    uint64_t id = atomic_fetch_add_explicit(&e->engine->next_session_id, 1, memory_order_relaxed);
    session_init(&e->session, id);
    e->session.is_authenticated = *e->settings->requirepass == '\0';
    memcpy(e->session.peer, "embedded:0", sizeof "embedded:0");
    memcpy(e->session.local, "embedded:0", sizeof "embedded:0");
    e->session.created_ms = e->session.active_ms = g->now_ms(g->now_arg);
}

static void apply_options(struct settings *s, const struct gyre_options *o)
{
    if (o->databases) s->databases = o->databases;
    if (o->max_bulk_bytes) s->proto_max_bulk_len = o->max_bulk_bytes;
    s->enable_debug_command = o->is_debug_allowed ? ACCESS_YES : ACCESS_NO;
    s->threads = 1;
    if (!o->password) return;
    mem_free(s->requirepass);
    s->requirepass = mem_strdup(o->password);
}

struct gyre *gyre_open(const struct gyre_options *options)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    static const struct gyre_options none;
    const struct gyre_options *o = options ? options : &none;
    if (o->databases > INT32_MAX || (o->max_bulk_bytes && o->max_bulk_bytes < MIN_BULK))
        return NULL;
    pthread_once(&once, calibrate);
    struct gyre *g = mem_calloc(sizeof *g);
    struct embed *e = &g->embed;
    e->settings = settings_default();
    apply_options(e->settings, o);
    embed_host_init(e);
    e->engine = engine_new(commands_all, e->settings, 1, &e->host);
    if (o->seed) random_seed(&e->engine->spaces[0]->random, o->seed);
    g->now_ms = o->now_ms ? o->now_ms : system_clock;
    g->now_arg = o->now_arg;
    request_parser_init(&g->parser);
    reply_init(&g->replies, 2);
    reply_init(&g->silent, 2);
    begin_session(g);
    return g;
}

// Forgets a request that has begun.
static void drop_input(struct gyre *g)
{
    request_parser_reset(&g->parser);
    buf_free(&g->input);
    g->input = (struct buf){0};
    if (g->big) blob_unref(g->big);
    g->big = NULL;
}

void gyre_close(struct gyre *g)
{
    if (!g) return;
    drop_input(g);
    session_free(&g->embed.session);
    reply_free(&g->replies);
    reply_free(&g->silent);
    engine_free(g->embed.engine);
    embed_host_settle(&g->embed);
    settings_free(g->embed.settings);
    mem_free(g);
}

// --- executing -----------------------------------------------------------------------------------

static void execute(struct gyre *g, int argc, struct slice *argv, struct blob **blobs)
{
    struct embed *e = &g->embed;
    struct session *s = &e->session;
    struct ctx ctx = {.argv = argv,
                      .argc = argc,
                      .blobs = blobs,
                      .db = s->db,
                      .session = s,
                      .flags = s->is_no_touch ? CTX_NO_TOUCH : 0,
                      .engine = e->engine,
                      .settings = e->settings,
                      .now_ms = g->now_ms(g->now_arg),
                      .spaces = e->engine->spaces,
                      .space_count = 1,
                      .space = e->engine->spaces[0]};
    ctx.cmd = engine_admit(e->engine, s, e->settings, argc, argv);
    s->active_ms = ctx.now_ms;
    s->commands++;
    if (ctx.cmd) s->last_command = ctx.cmd;
    // A command that changes the session decides itself whether it is answered; the others are
    // told.
    bool decides = ctx.cmd && (ctx.cmd->flags & CMD_SESSION);
    bool is_sent = decides ? s->reply_mode == REPLY_ON : session_step_reply(s);
    ctx.reply = is_sent ? &g->replies : &g->silent;
    ctx.reply->resp = s->resp;
    if (ctx.cmd)
        engine_execute(&ctx, 0);
    else
        engine_refuse(&ctx, 0);
    if (decides && session_step_reply(s) && !is_sent) reply_splice(&g->replies, &g->silent);
    reply_clear(&g->silent);
    embed_host_settle(e);
}

// Hands the replies over and begins a new session where the old one has ended.
static int finish(struct gyre *g, char **replies, size_t *len)
{
    size_t ignored;
    if (replies) {
        *replies = reply_flatten(&g->replies, len ? len : &ignored);
    } else if (len) {
        *len = reply_bytes(&g->replies);
    }
    reply_clear(&g->replies);
    if (!g->embed.session.is_closing) return 0;
    drop_input(g);
    session_free(&g->embed.session);
    begin_session(g);
    return GYRE_CLOSED;
}

int gyre_execute(struct gyre *g, int argc, const char *const *argv, const size_t *lens,
                 char **reply, size_t *reply_len)
{
    if (argc < 1) return -EINVAL;
    struct slice few[FAST_ARGS], *args = few;
    if (argc > FAST_ARGS) args = mem_alloc((size_t)argc * sizeof args[0]);
    for (int i = 0; i < argc; i++)
        args[i] = lens ? (struct slice){argv[i], lens[i]} : slice_of(argv[i]);
    execute(g, argc, args, NULL);
    if (args != few) mem_free(args);
    return finish(g, reply, reply_len);
}

// --- feeding -------------------------------------------------------------------------------------

// Executes the whole requests in [p, end); *status says what stands behind them. Returns the first
// byte that was not used up: the beginning of an unfinished request.
static const char *run_requests(struct gyre *g, const char *p, const char *end,
                                enum request_status *status)
{
    struct session *s = &g->embed.session;
    *status = REQUEST_MORE;
    while (p < end && !s->is_closing) {
        struct slice args[FAST_ARGS];
        int argc;
        const char *next = NULL;
        if (request_parser_is_idle(&g->parser) && s->is_authenticated)
            next = request_parse_fast(p, end, args, FAST_ARGS, &argc);
        if (next) {
            execute(g, argc, args, NULL);
            p = next;
            continue;
        }
        struct request_limits limits = {.max_bulk_bytes = g->embed.settings->proto_max_bulk_len,
                                        .is_anonymous = !s->is_authenticated};
        *status = request_parse(&g->parser, &limits, p, (size_t)(end - p));
        if (*status != REQUEST_DONE) return p;
        p += g->parser.pos;
        if (g->parser.argc) execute(g, g->parser.argc, g->parser.argv, g->parser.blobs);
        request_parser_reset(&g->parser);
        *status = REQUEST_MORE;
    }
    return p;
}

static void protocol_error(struct gyre *g)
{
    char text[REQUEST_ERROR_TEXT_BYTES];
    request_parser_error(&g->parser, text);
    g->replies.resp = g->embed.session.resp;
    reply_error(&g->replies, text);
    stats_count_error(g->embed.engine->stats[0], g->replies.error_code);
    g->embed.session.is_closing = true;
}

// The unfinished request in [p, end) is kept; of its big argument, what is there goes to the blob.
static void keep(struct gyre *g, const char *p, const char *end, bool is_big)
{
    const char *body = is_big ? p + g->parser.pos : end;
    struct buf kept = {0};
    buf_append(&kept, p, (size_t)(body - p)); // p may point into input
    if (is_big) {
        g->big = blob_new(g->parser.bulk_len);
        g->big->len = (size_t)(end - body);
        memcpy(g->big->data, body, g->big->len);
    }
    buf_free(&g->input);
    g->input = kept;
}

// Fills the big argument; returns how many bytes it took.
static size_t fill_big(struct gyre *g, const char *bytes, size_t len)
{
    struct blob *b = g->big;
    size_t taken = MIN(len, g->parser.bulk_len - b->len);
    memcpy(b->data + b->len, bytes, taken);
    b->len += taken;
    if (b->len < g->parser.bulk_len) return taken;
    request_parser_supply_blob(&g->parser, b);
    g->big = NULL;
    return taken;
}

int gyre_feed(struct gyre *g, const char *bytes, size_t len, char **replies, size_t *replies_len)
{
    if (g->big) {
        size_t taken = fill_big(g, bytes, len);
        bytes += taken;
        len -= taken;
    }
    // Without a beginning the bytes are parsed where they are; else behind that beginning.
    bool is_continued = g->input.len != 0;
    const char *p = bytes, *end = bytes + len;
    if (is_continued) {
        buf_append(&g->input, bytes, len);
        p = g->input.ptr;
        end = p + g->input.len;
    }
    if (len) {
        enum request_status status;
        const char *rest = run_requests(g, p, end, &status);
        if (status == REQUEST_ERROR)
            protocol_error(g);
        else if (rest > p || !is_continued || status == REQUEST_BIG)
            keep(g, rest, end, status == REQUEST_BIG);
    }
    return finish(g, replies, replies_len);
}

// --- the rest ------------------------------------------------------------------------------------

void gyre_free(char *reply)
{
    mem_free(reply);
}

void gyre_set_now_ms(struct gyre *g, int64_t now_ms)
{
    g->fixed_ms = now_ms;
    g->now_ms = fixed_clock;
    g->now_arg = g;
}

bool gyre_cron(struct gyre *g, unsigned budget)
{
    return engine_cron(g->embed.engine, 0, g->embed.settings, g->now_ms(g->now_arg), budget);
}

void gyre_validate(const struct gyre *g)
{
    const struct keyspace *ks = g->embed.engine->spaces[0];
    for (uint32_t i = 0; i < ks->db_count; i++) db_validate(&ks->dbs[i]);
}

size_t gyre_key_count(const struct gyre *g, unsigned database)
{
    const struct keyspace *ks = g->embed.engine->spaces[0];
    return database < ks->db_count ? ks->dbs[database].keys.count : 0;
}
