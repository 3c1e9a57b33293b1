// SPDX-License-Identifier: BSD-3-Clause
//
// libFuzzer target: any bytes as a script, as a library, or as FUNCTION RESTORE's payload (given a
// right footer), in an embedded engine. Nothing that Lua code does may bring the process down, take
// more than its share of time (the hook's looks are counted), or leave what the next script finds:
// after each input the same script answers the same.
//
// Input: byte 0 chooses which, the text follows.
#include <stdint.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/crc64.h"
#include "base/mem.h"
#include "commands/families.h"
#include "embed/embed_host.h"
#include "engine/engine.h"
#include "script/scripting.h"

#define LOOKS_MAX   20 // of RUNNING_HOOK_COUNT instructions, or RUNNING_CALL_COUNT commands each
#define LIMIT_BYTES (16 << 20)

static struct embed embed;

// The engine lives on from input to input, and what it keeps lies in tables that LeakSanitizer
// cannot read (ds/dict.h: addresses beside hash bits).
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
    return 1;
}

static void start(void)
{
    clock_calibrate();
    embed.settings = settings_default();
    embed_host_init(&embed);
    embed.engine = engine_new(commands_all, embed.settings, 1, &embed.host);
    session_init(&embed.session, 1);
    embed.session.resp = 2;
    embed.session.is_authenticated = true;
    for (int i = 0; i < 2; i++) {
        struct lua_state *st =
            i ? scripting_function_state(embed.engine) : scripting_state(embed.engine, 0);
        st->memory.limit_bytes = LIMIT_BYTES;
        st->running.looks_max = LOOKS_MAX;
    }
}

// Runs the command; the reply's bytes are the caller's.
static char *run(int argc, struct slice *argv, size_t *len)
{
    struct engine *e = embed.engine;
    struct reply reply;
    reply_init(&reply, 2);
    struct ctx ctx = {.argv = argv,
                      .argc = argc,
                      .now_ms = 1700000000000,
                      .reply = &reply,
                      .engine = e,
                      .settings = embed.settings,
                      .session = &embed.session,
                      .spaces = e->spaces,
                      .space_count = 1,
                      .space = e->spaces[0]};
    ctx.cmd = engine_admit(e, &embed.session, embed.settings, argc, argv);
    if (ctx.cmd)
        engine_execute(&ctx, 0);
    else
        engine_refuse(&ctx, 0);
    reply_validate(&reply);
    char *text = reply_flatten(&reply, len);
    ASSERT(reply_skip(text, text + *len) == text + *len);
    reply_free(&reply);
    return text;
}

static void run_unread(int argc, struct slice *argv)
{
    size_t len;
    mem_free(run(argc, argv, &len));
}

// Does a script still find what every script finds, and nothing else?
static void check_next(void)
{
    static const char text[] =
        "return {tostring(rawget(_G, 'x')), #KEYS, #ARGV, ('ab'):upper(), type(redis.call), "
        "tostring(getmetatable('').x), redis.sha1hex(''), cjson.encode({1})}";
    static const char want[] =
        "*8\r\n$3\r\nnil\r\n:0\r\n:0\r\n$2\r\nAB\r\n$8\r\nfunction\r\n$3\r\nnil\r\n"
        "$40\r\nda39a3ee5e6b4b0d3255bfef95601890afd80709\r\n$3\r\n[1]\r\n";
    struct slice argv[] = {SLICE("EVAL"), SLICE(text), SLICE("0")};
    size_t len;
    char *got = run(3, argv, &len);
    ASSERT(len == sizeof want - 1 && memcmp(got, want, len) == 0);
    mem_free(got);
}

static void restore(struct slice text)
{
    struct buf payload = {0};
    buf_append(&payload, text.ptr, text.len);
    buf_append(&payload, "\x0a\0", 2);
    uint64_t checksum = crc64_add(0, payload.ptr, payload.len);
    buf_append(&payload, &checksum, sizeof checksum);
    struct slice argv[] = {SLICE("FUNCTION"), SLICE("RESTORE"), buf_slice(&payload),
                           SLICE("FLUSH")};
    run_unread(4, argv);
    buf_free(&payload);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!embed.engine) start();
    if (size < 1) return 0;
    struct slice text = {(const char *)data + 1, size - 1};
    struct slice eval[] = {SLICE("EVAL"), text, SLICE("1"), SLICE("k"), SLICE("v")};
    struct slice load[] = {SLICE("FUNCTION"), SLICE("LOAD"), SLICE("REPLACE"), text};
    struct slice call[] = {SLICE("FCALL"), SLICE("f"), SLICE("1"), SLICE("k"), SLICE("v")};
    struct slice flush[] = {SLICE("FLUSHALL")};
    switch (data[0] % 4) {
    case 0:
        run_unread(4, load);
        run_unread(5, call);
        break;
    case 1: restore(text); break;
    default: run_unread(5, eval);
    }
    check_next();
    run_unread(1, flush);
    return 0;
}
