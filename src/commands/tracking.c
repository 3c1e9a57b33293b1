// SPDX-License-Identifier: BSD-3-Clause
//
// tracking: CLIENT TRACKING and what belongs to it: CACHING, GETREDIR, TRACKINGINFO.
//
// TRACKING concerns all shards: with BCAST each has a copy of who listens to which prefix, and the
// connection to redirect to may live on any of them. So every shard runs client_tracking, which
// replies nothing: it parses the command as all others do, takes the prefixes into its copy, and if
// it is the home of REDIRECT's connection says so in session->redirect_found. Then
// client_tracking_conclude, at home, parses once more, knowing whether that was found, changes the
// session and replies. If it was not found, the prefixes are taken back.
#include "commands/tracking.h"

#include <stdlib.h>

#include "base/mem.h"
#include "engine/host.h"
#include "engine/tracking.h"

#define ERR_NO_REDIRECT  "ERR The client ID you want redirect to does not exist"
#define ERR_ONE_REDIRECT "ERR A client can only redirect to a single other client"
#define ERR_PREFIX       "ERR PREFIX option requires BCAST mode to be enabled"
#define ERR_OPT_BCAST    "ERR OPTIN and OPTOUT are not compatible with BCAST"
#define ERR_OPT_BOTH     "ERR You can't specify both OPTIN mode and OPTOUT mode"
#define ERR_SWITCH(what)                                                                           \
    "ERR You can't switch " what " before disabling tracking for this client, and then "           \
    "re-enabling it with a different mode."
#define ERR_CACHING                                                                                \
    "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or "     \
    "OPTOUT mode enabled"
#define ERR_CACHING_MODE(word, mode)                                                               \
    "ERR CLIENT CACHING " word " is only valid when tracking is enabled in " mode " mode."

// --- what is asked for ---------------------------------------------------------------------------

struct wish {
    struct ctx *ctx;
    struct reply *errors; // NULL: nobody wants to know
    bool (*has_client)(struct ctx *ctx, uint64_t id);
    bool is_on;
    uint32_t modes;         // of enum tracking_flag
    uint64_t redirect;      // 0: none
    struct slice *prefixes; // owned
    uint32_t prefix_count;
};

static bool fail(const struct wish *w, const char *error)
{
    if (w->errors) reply_error(w->errors, error);
    return false;
}

static bool parse_redirect(struct wish *w, int arg)
{
    int64_t id;
    if (w->redirect) return fail(w, ERR_ONE_REDIRECT);
    if (!num_parse_i64(w->ctx->argv[arg], &id)) return fail(w, ERR_NOT_INTEGER);
    if (id <= 0 || !w->has_client(w->ctx, (uint64_t)id)) return fail(w, ERR_NO_REDIRECT);
    w->redirect = (uint64_t)id;
    return true;
}

static uint32_t mode_of(const struct ctx *ctx, int arg)
{
    static const struct {
        const char *word;
        uint32_t mode;
    } modes[] = {{"BCAST", TRACKING_BCAST},
                 {"OPTIN", TRACKING_OPTIN},
                 {"OPTOUT", TRACKING_OPTOUT},
                 {"NOLOOP", TRACKING_NOLOOP}};
    for (size_t i = 0; i < ARRAY_LEN(modes); i++)
        if (ctx_arg_is(ctx, arg, modes[i].word)) return modes[i].mode;
    return 0;
}

static bool parse_options(struct wish *w)
{
    const struct ctx *ctx = w->ctx;
    for (int i = 3; i < ctx->argc; i++) {
        bool has_value = i + 1 < ctx->argc;
        uint32_t mode = mode_of(ctx, i);
        if (mode) {
            w->modes |= mode;
        } else if (has_value && ctx_arg_is(ctx, i, "REDIRECT")) {
            if (!parse_redirect(w, ++i)) return false;
        } else if (has_value && ctx_arg_is(ctx, i, "PREFIX")) {
            w->prefixes[w->prefix_count++] = ctx->argv[++i];
        } else {
            return fail(w, ERR_SYNTAX);
        }
    }
    return true;
}

// --- does it fit? --------------------------------------------------------------------------------

static bool overlaps(struct slice a, struct slice b)
{
    return memcmp(a.ptr, b.ptr, MIN(a.len, b.len)) == 0;
}

static int by_bytes(const void *a, const void *b)
{
    return slice_cmp(*(const struct slice *)a, *(const struct slice *)b);
}

// The session's prefixes in the order of their bytes; the caller frees the list.
static struct slice *own_prefixes(const struct session *s, size_t *count)
{
    size_t n = 0;
    *count = s->tracking_prefixes ? names_count(s->tracking_prefixes) : 0;
    struct slice *list = mem_alloc((*count + 1) * sizeof list[0]);
    if (*count)
        for (const struct name *p = s->tracking_prefixes->first; p; p = p->next)
            list[n++] = name_bytes(p);
    qsort(list, n, sizeof list[0], by_bytes);
    return list;
}

// Of `list`, the first that overlaps with the prefix; NULL: none does.
static const struct slice *find_overlap(struct slice prefix, const struct slice *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (overlaps(prefix, list[i])) return &list[i];
    return NULL;
}

static bool check_prefixes(const struct wish *w)
{
    size_t own_count;
    struct slice *own = own_prefixes(w->ctx->session, &own_count);
    const struct slice *hit = NULL, *prefix = w->prefixes;
    const char *kind = "";
    for (uint32_t i = 0; i < w->prefix_count && !hit; i++) {
        prefix = &w->prefixes[i];
        kind = "an existing";
        hit = find_overlap(*prefix, own, own_count);
        if (hit) break;
        kind = "another provided";
        hit = find_overlap(*prefix, prefix + 1, w->prefix_count - i - 1);
    }
    if (hit && w->errors)
        reply_errorf(w->errors,
                     "ERR Prefix '%.*s' overlaps with %s prefix '%.*s'. Prefixes for a single "
                     "client must not overlap.",
                     SLICE_ARG(*prefix), kind, SLICE_ARG(*hit));
    mem_free(own);
    return !hit;
}

static bool check_modes(const struct wish *w)
{
    uint32_t now = w->ctx->session->tracking, next = w->modes;
    uint32_t opt = TRACKING_OPTIN | TRACKING_OPTOUT;
    if (!(next & TRACKING_BCAST) && w->prefix_count) return fail(w, ERR_PREFIX);
    if (now && (now & TRACKING_BCAST) != (next & TRACKING_BCAST))
        return fail(w, ERR_SWITCH("BCAST mode on/off"));
    if ((next & TRACKING_BCAST) && (next & opt)) return fail(w, ERR_OPT_BCAST);
    if ((next & opt) == opt) return fail(w, ERR_OPT_BOTH);
    if ((next & opt) && (now & opt) && (next & opt) != (now & opt))
        return fail(w, ERR_SWITCH("OPTIN/OPTOUT mode"));
    return true;
}

// Fills in the rest of the wish; wish_free in any case.
static bool parse_wish(struct wish *w)
{
    w->prefixes = mem_alloc((size_t)w->ctx->argc * sizeof w->prefixes[0]);
    if (!parse_options(w)) return false;
    w->is_on = ctx_arg_is(w->ctx, 2, "ON");
    if (!w->is_on) return ctx_arg_is(w->ctx, 2, "OFF") || fail(w, ERR_SYNTAX);
    if (!check_modes(w)) return false;
    if (!(w->modes & TRACKING_BCAST)) return true;
    if (!check_prefixes(w)) return false;
    if (!w->prefix_count) w->prefixes[w->prefix_count++] = SLICE(""); // every key
    return true;
}

static void wish_free(struct wish *w)
{
    mem_free(w->prefixes);
}

// --- TRACKING ------------------------------------------------------------------------------------

// On every shard: says where the connection is, if it is here.
static bool seek_client(struct ctx *ctx, uint64_t id)
{
    const struct host *host = ctx->engine->host;
    struct session *found = host->find_session       ? host->find_session(ctx, id)
                            : id == ctx->session->id ? ctx->session
                                                     : NULL;
    if (found) {
        found->is_pinned = true;
        // Relaxed: one shard at most writes it; the end of its part publishes it.
        atomic_store_explicit(&ctx->session->redirect_found, ctx->space->shard + 1,
                              memory_order_relaxed);
    }
    return true;
}

static bool was_found(struct ctx *ctx, uint64_t id)
{
    (void)id;
    return atomic_load_explicit(&ctx->session->redirect_found, memory_order_relaxed) != 0;
}

static bool is_assumed(struct ctx *ctx, uint64_t id)
{
    (void)ctx, (void)id;
    return true;
}

void client_tracking(struct ctx *ctx)
{
    struct session *s = ctx->session;
    struct tracking *t = ctx->engine->tracking[ctx->space->shard];
    struct wish w = {.ctx = ctx, .has_client = seek_client};
    if (parse_wish(&w)) {
        if (!w.is_on && s->tracking_prefixes) tracking_drop_prefixes(t, s->id);
        for (uint32_t i = 0; i < w.prefix_count && w.is_on; i++)
            tracking_add_prefix(t, w.prefixes[i], TRACKER(s->id, s->home));
    }
    wish_free(&w);
}

static void add_own_prefix(struct session *s, struct slice prefix)
{
    if (!s->tracking_prefixes) {
        s->tracking_prefixes = mem_alloc(sizeof *s->tracking_prefixes);
        names_init(s->tracking_prefixes, 0);
    }
    if (!names_find(s->tracking_prefixes, prefix)) names_add(s->tracking_prefixes, prefix);
}

static void turn_on(struct ctx *ctx, const struct wish *w)
{
    struct session *s = ctx->session;
    // Relaxed: see tracking_is_used.
    if (!s->tracking) atomic_fetch_add_explicit(&ctx->engine->trackers, 1, memory_order_relaxed);
    s->tracking = (s->tracking & ~(uint32_t)TRACKING_MODES) | TRACKING_ON | w->modes;
    s->redirect_id = w->redirect;
    if (w->redirect)
        s->redirect_home = atomic_load_explicit(&s->redirect_found, memory_order_relaxed) - 1;
    s->is_redirect_broken = false;
    for (uint32_t i = 0; i < w->prefix_count; i++) add_own_prefix(s, w->prefixes[i]);
}

// The other shards took the wish for granted, and it was not: their copies are set right.
static void take_back(struct ctx *ctx)
{
    struct wish w = {.ctx = ctx, .has_client = is_assumed};
    bool was_taken = parse_wish(&w) && w.prefix_count;
    if (was_taken) tracking_sync_prefixes(ctx);
    wish_free(&w);
}

void client_tracking_conclude(struct ctx *ctx)
{
    struct wish w = {.ctx = ctx, .errors = ctx->reply, .has_client = was_found};
    if (!parse_wish(&w)) {
        take_back(ctx);
    } else {
        if (w.is_on)
            turn_on(ctx, &w);
        else
            tracking_stop(ctx->engine, ctx->session);
        reply_ok(ctx->reply);
    }
    atomic_store_explicit(&ctx->session->redirect_found, 0, memory_order_relaxed);
    wish_free(&w);
}

// --- CACHING, GETREDIR, TRACKINGINFO -------------------------------------------------------------

void client_caching(struct ctx *ctx)
{
    struct session *s = ctx->session;
    bool is_yes = ctx_arg_is(ctx, 2, "YES");
    uint32_t wanted = is_yes ? TRACKING_OPTIN : TRACKING_OPTOUT;
    if (!s->tracking) {
        reply_error(ctx->reply, ERR_CACHING);
    } else if (!is_yes && !ctx_arg_is(ctx, 2, "NO")) {
        reply_error(ctx->reply, ERR_SYNTAX);
    } else if (!(s->tracking & wanted)) {
        reply_error(ctx->reply,
                    is_yes ? ERR_CACHING_MODE("YES", "OPTIN") : ERR_CACHING_MODE("NO", "OPTOUT"));
    } else {
        s->tracking |= ctx->flags & CTX_IN_EXEC ? TRACKING_CACHING_EXEC : TRACKING_CACHING;
        reply_ok(ctx->reply);
    }
}

void client_getredir(struct ctx *ctx)
{
    const struct session *s = ctx->session;
    reply_int(ctx->reply, s->tracking ? (int64_t)s->redirect_id : -1);
}

static size_t flag_names(const struct ctx *ctx, const char *names[7])
{
    const struct session *s = ctx->session;
    uint32_t t = s->tracking;
    bool has_spoken = (t & (TRACKING_CACHING | TRACKING_CACHING_EXEC)) || ctx->flags & CTX_CACHING;
    size_t n = 0;
    names[n++] = t ? "on" : "off";
    if (t & TRACKING_BCAST) names[n++] = "bcast";
    if (t & TRACKING_OPTIN) names[n++] = "optin";
    if (t & TRACKING_OPTIN && has_spoken) names[n++] = "caching-yes";
    if (t & TRACKING_OPTOUT) names[n++] = "optout";
    if (t & TRACKING_OPTOUT && has_spoken) names[n++] = "caching-no";
    if (t & TRACKING_NOLOOP) names[n++] = "noloop";
    if (s->is_redirect_broken) names[n++] = "broken_redirect";
    return n;
}

void client_trackinginfo(struct ctx *ctx)
{
    const char *names[7];
    size_t count = flag_names(ctx, names);
    reply_map(ctx->reply, 3);
    reply_bulk_text(ctx->reply, "flags");
    reply_set(ctx->reply, count);
    for (size_t i = 0; i < count; i++) reply_bulk_text(ctx->reply, names[i]);
    reply_bulk_text(ctx->reply, "redirect");
    client_getredir(ctx);
    struct slice *prefixes = own_prefixes(ctx->session, &count);
    reply_bulk_text(ctx->reply, "prefixes");
    reply_array(ctx->reply, count);
    for (size_t i = 0; i < count; i++) reply_bulk(ctx->reply, prefixes[i]);
    mem_free(prefixes);
}
