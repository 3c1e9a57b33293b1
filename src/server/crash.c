// SPDX-License-Identifier: BSD-3-Clause
//
// Everything here from crash_report on runs in a signal handler of a process whose memory may be in
// any state. So:
//
// - Only async-signal-safe calls, no allocation, no stdio, no locks. (Two exceptions, as usual:
//   backtrace, whose library crash_install has loaded beforehand, and backtrace_symbols_fd, for
//   addresses in shared libraries only.)
// - What may be bad memory (the command, its arguments) is read through the kernel, which answers
//   EFAULT where a plain read would fault again.
// - What matters most comes first: should the report itself crash, the kernel ends the process,
//   since the signal is blocked here, and what was written stays.
// - One thread reports; others that crash meanwhile wait for the end that is coming.
//
// The end is the signal itself once more, with its own siginfo, under the action that was there
// before (the default, or a sanitizer's): debuggers, core files and exit statuses see the crash as
// if nobody had looked.
//
// Secrets: arguments pass through redact_arg, and are left out altogether under
// hide-user-data-from-log, as are registers but for those that point to code and stack. No memory
// is dumped.
#include "server/crash.h"

#include <errno.h>
#include <execinfo.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <ucontext.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/crash_slot.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/symbol.h"
#include "engine/engine.h"
#include "engine/redact.h"
#include "engine/settings.h"
#include "engine/version.h"

#define STACK_BYTES (64 * 1024) // signal frame (AVX-512: 4 KiB), unwinder, the report's buffers
#define GUARD_BYTES 4096
#define FRAMES_MAX  64
#define ARGS_SHOWN  32 // arguments of the command
#define ARG_BYTES   64 // bytes of each
#define LINE_BYTES  512

static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};

// The handler's state, found through crash_slot_process.
struct crash {
    const struct engine *_Atomic engine; // relaxed: a report a moment after it was set may miss it
    _Atomic int reporter;                // thread that writes the report, 0: none
    struct sigaction before[ARRAY_LEN(signals)];
};

// --- writing -------------------------------------------------------------------------------------

struct out {
    int fd;
    size_t len;
    char line[LINE_BYTES];
};

static void out_flush(struct out *o)
{
    ssize_t ignored = write(o->fd, o->line, o->len);
    (void)ignored;
    o->len = 0;
}

static void out_char(struct out *o, char c)
{
    if (o->len == sizeof o->line) out_flush(o);
    o->line[o->len++] = c;
}

static void out_text(struct out *o, const char *text)
{
    while (*text) out_char(o, *text++);
}

static void out_line(struct out *o, const char *text)
{
    out_text(o, text);
    out_char(o, '\n');
    out_flush(o);
}

static void out_int(struct out *o, int64_t value)
{
    char digits[NUM_I64_TEXT];
    size_t n = num_format_i64(digits, value);
    for (size_t i = 0; i < n; i++) out_char(o, digits[i]);
}

static void out_hex(struct out *o, uint64_t value, int min_digits)
{
    int digits = 16;
    while (digits > min_digits && !(value >> (4 * (digits - 1)))) digits--;
    while (digits--) out_char(o, "0123456789abcdef"[value >> (4 * digits) & 15]);
}

static void out_address(struct out *o, const void *address)
{
    out_text(o, "0x");
    out_hex(o, (uintptr_t)address, 1);
}

static void out_quoted(struct out *o, const char *bytes, size_t len)
{
    out_char(o, '"');
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)bytes[i];
        if (c == '"' || c == '\\') out_char(o, '\\');
        if (c >= ' ' && c <= '~') {
            out_char(o, (char)c);
        } else {
            out_text(o, "\\x");
            out_hex(o, c, 2);
        }
    }
    out_char(o, '"');
}

// name:value, the form of INFO
static void out_field(struct out *o, const char *name, int64_t value)
{
    out_text(o, name);
    out_char(o, ':');
    out_int(o, value);
    out_line(o, "");
}

// --- reading what may not be there ---------------------------------------------------------------

static bool read_memory(void *to, const void *from, size_t len)
{
    struct iovec local = {to, len}, remote = {(void *)from, len};
    ssize_t n = process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
    if (n == (ssize_t)len) return true;
    if (n >= 0 || errno == EFAULT || !from) return false;
    memcpy(to, from, len); // the kernel forbids the call: have a try
    return true;
}

// A text of at most size - 1 bytes; byte by byte, since it may end right before memory that is not
// there.
static bool read_text(char *to, const char *from, size_t size)
{
    for (size_t i = 0; i + 1 < size; i++) {
        if (!read_memory(to + i, from + i, 1)) return false;
        if (!to[i]) return true;
    }
    to[size - 1] = '\0';
    return true;
}

// --- the processor -------------------------------------------------------------------------------

#if defined(__x86_64__)
static const struct {
    const char *name;
    int index;
} registers[] = {
    {"RIP", REG_RIP}, {"RSP", REG_RSP}, {"RBP", REG_RBP}, {"EFLAGS", REG_EFL},
    {"RAX", REG_RAX}, {"RBX", REG_RBX}, {"RCX", REG_RCX}, {"RDX", REG_RDX},
    {"RDI", REG_RDI}, {"RSI", REG_RSI}, {"R8", REG_R8},   {"R9", REG_R9},
    {"R10", REG_R10}, {"R11", REG_R11}, {"R12", REG_R12}, {"R13", REG_R13},
    {"R14", REG_R14}, {"R15", REG_R15}, {"ERR", REG_ERR}, {"TRAPNO", REG_TRAPNO},
};
#define REGISTER_COUNT ARRAY_LEN(registers)
#define REGISTERS_SAFE 3 // those at the head hold no data

static const char *register_name(size_t i, char scratch[8])
{
    (void)scratch;
    return registers[i].name;
}

static uint64_t register_value(const ucontext_t *uc, size_t i)
{
    return (uint64_t)uc->uc_mcontext.gregs[registers[i].index];
}

// A call to a bad address has no frame to unwind from: pretend that it has returned already.
static void leave_bad_call(ucontext_t *uc)
{
    greg_t *r = uc->uc_mcontext.gregs;
    uintptr_t back;
    if (!read_memory(&back, (void *)(uintptr_t)r[REG_RSP], sizeof back)) return;
    r[REG_RIP] = (greg_t)back;
    r[REG_RSP] += sizeof back;
}
#elif defined(__aarch64__)
#define REGISTER_COUNT 34 // PC, SP, PSTATE, X0 … X30
#define REGISTERS_SAFE 2

static const char *register_name(size_t i, char scratch[8])
{
    static const char *const special[] = {"PC", "SP", "PSTATE"};
    if (i < ARRAY_LEN(special)) return special[i];
    size_t n = num_format_i64(scratch + 1, (int64_t)(i - ARRAY_LEN(special)));
    scratch[0] = 'X';
    scratch[1 + n] = '\0';
    return scratch;
}

static uint64_t register_value(const ucontext_t *uc, size_t i)
{
    const mcontext_t *m = &uc->uc_mcontext;
    return i == 0 ? m->pc : i == 1 ? m->sp : i == 2 ? m->pstate : m->regs[i - 3];
}

static void leave_bad_call(ucontext_t *uc)
{
    uc->uc_mcontext.pc = uc->uc_mcontext.regs[30];
}
#else
#define REGISTER_COUNT 0
#define REGISTERS_SAFE 0

static const char *register_name(size_t i, char scratch[8])
{
    (void)i, (void)scratch;
    return "";
}

static uint64_t register_value(const ucontext_t *uc, size_t i)
{
    (void)uc, (void)i;
    return 0;
}

static void leave_bad_call(ucontext_t *uc)
{
    (void)uc;
}
#endif

static void *program_counter(const ucontext_t *uc)
{
    return REGISTER_COUNT ? (void *)(uintptr_t)register_value(uc, 0) : NULL;
}

// --- sections of the report ----------------------------------------------------------------------

// A return address stands behind its call, where the next function may begin already: the call
// itself is looked up.
static void report_frame(struct out *o, int number, void *address)
{
    struct symbol symbol;
    const char *call = (const char *)address - (number > 0);
    out_char(o, '#');
    out_int(o, number);
    out_text(o, number < 10 ? "  " : " ");
    if (!symbol_find(call, &symbol)) {
        out_flush(o);
        backtrace_symbols_fd(&address, 1, o->fd); // a shared library's, or nobody's
        return;
    }
    out_address(o, address);
    out_char(o, ' ');
    out_text(o, symbol.name ? symbol.name : "?");
    if (symbol.name) {
        out_text(o, "+0x");
        out_hex(o, symbol.offset, 1);
    }
    out_text(o, " (gyre-server+0x");
    out_hex(o, symbol.file_offset, 1);
    out_line(o, ")");
}

// The frames of this handler come first in what backtrace finds: the report begins at the one that
// was interrupted.
static void report_stack(struct out *o, ucontext_t *uc, const void *fault_address)
{
    void *frames[FRAMES_MAX];
    void *pc = program_counter(uc);
    ucontext_t as_it_was = *uc;
    bool is_bad_call = pc && pc == fault_address;
    if (is_bad_call) leave_bad_call(uc);
    int count = backtrace(frames, FRAMES_MAX), first = 0, number = 0;
    void *top = program_counter(uc);
    while (first < count && frames[first] != top) first++;
    out_line(o, "------ STACK TRACE ------");
    if (is_bad_call) report_frame(o, number++, pc);
    if (first == count) report_frame(o, number++, top); // unwinding did not get there: all it found
    for (int i = first == count ? 0 : first; i < count; i++) report_frame(o, number++, frames[i]);
    *uc = as_it_was;
}

static void report_registers(struct out *o, const ucontext_t *uc, bool hides_data)
{
    char scratch[8];
    size_t count = hides_data ? REGISTERS_SAFE : REGISTER_COUNT;
    out_line(o, "------ REGISTERS ------");
    for (size_t i = 0; i < count; i++) {
        out_text(o, register_name(i, scratch));
        out_text(o, ":0x");
        out_hex(o, register_value(uc, i), 16);
        out_char(o, i % 4 == 3 || i + 1 == count ? '\n' : ' ');
    }
    out_flush(o);
}

static void report_session(struct out *o, const struct session *from)
{
    struct session s;
    char name[ARG_BYTES];
    if (!read_memory(&s, from, sizeof s)) {
        out_line(o, "client: not readable");
        return;
    }
    s.peer[sizeof s.peer - 1] = '\0';
    out_text(o, "client: id=");
    out_int(o, (int64_t)s.id);
    out_text(o, " addr=");
    out_text(o, s.peer);
    if (s.name && read_text(name, s.name, sizeof name)) {
        out_text(o, " name=");
        out_text(o, name);
    }
    out_text(o, " resp=");
    out_int(o, s.resp);
    out_text(o, " commands=");
    out_int(o, (int64_t)s.commands);
    out_line(o, "");
}

static void report_arg(struct out *o, int arg, struct slice shown, size_t full_len, bool hides_data)
{
    out_text(o, "argv[");
    out_int(o, arg);
    out_text(o, "]: ");
    if (hides_data && arg) {
        out_int(o, (int64_t)full_len);
        out_text(o, " bytes");
    } else {
        out_quoted(o, shown.ptr, shown.len);
        if (full_len > ARG_BYTES) {
            out_text(o, " … of ");
            out_int(o, (int64_t)full_len);
            out_text(o, " bytes");
        }
    }
    out_line(o, "");
}

// Copies of the arguments, cut at ARG_BYTES: long enough for every word by which redact_arg
// decides.
static void report_args(struct out *o, const struct ctx *ctx, bool hides_data)
{
    char bytes[ARGS_SHOWN][ARG_BYTES];
    struct slice args[ARGS_SHOWN], cut[ARGS_SHOWN];
    int count = MIN(ctx->argc, ARGS_SHOWN), readable = 0;
    if (count < 1 || !read_memory(args, ctx->argv, (size_t)count * sizeof args[0])) {
        out_line(o, "arguments: not readable");
        return;
    }
    for (; readable < count; readable++) {
        cut[readable] = (struct slice){bytes[readable], MIN(args[readable].len, ARG_BYTES)};
        if (!read_memory(bytes[readable], args[readable].ptr, cut[readable].len)) break;
    }
    for (int i = 0; i < readable; i++) {
        struct slice shown = redact_arg(readable, cut, i);
        bool is_redacted = shown.ptr != cut[i].ptr;
        report_arg(o, i, shown, is_redacted ? 0 : args[i].len, hides_data);
    }
    if (readable < ctx->argc) {
        out_int(o, ctx->argc - readable);
        out_line(o, " more arguments, not shown");
    }
}

static void report_command(struct out *o, const struct ctx *ctx, bool hides_data)
{
    struct command cmd;
    char name[ARG_BYTES];
    out_line(o, "------ CURRENT COMMAND ------");
    if (ctx->cmd && read_memory(&cmd, ctx->cmd, sizeof cmd) &&
        read_text(name, cmd.full_name, sizeof name)) {
        out_text(o, "command: ");
        out_text(o, name);
        out_text(o, " in database ");
        out_int(o, ctx->db);
        out_line(o, ctx->flags & CTX_IS_PART ? ", one shard's part of it"
                    : ctx->space_count > 1   ? ", in a meeting of shards"
                                             : "");
    }
    report_session(o, ctx->session);
    report_args(o, ctx, hides_data);
}

static void report_system(struct out *o)
{
    struct utsname u;
    struct rusage usage;
    if (uname(&u) == 0) {
        out_text(o, "os:");
        out_text(o, u.sysname);
        out_char(o, ' ');
        out_text(o, u.release);
        out_char(o, ' ');
        out_line(o, u.machine);
    }
    if (getrusage(RUSAGE_SELF, &usage) == 0)
        out_field(o, "most_memory_resident_kib", usage.ru_maxrss);
}

static void report_server(struct out *o, const struct engine *from)
{
    struct engine e;
    out_line(o, "------ SERVER ------");
    out_field(o, "used_memory", (int64_t)mem_used_bytes());
    report_system(o);
    if (!from || !read_memory(&e, from, sizeof e)) return;
    int64_t keys = 0, expires = 0, commands = 0;
    for (uint32_t i = 0; i < e.shard_count; i++) {
        const struct keyspace *ks = e.spaces[i];
        commands += (int64_t)stat_get(&e.stats[i]->total_commands);
        for (uint32_t d = 0; d < ks->db_count; d++) {
            keys += (int64_t)stat_get(&ks->dbs[d].key_count);
            expires += (int64_t)stat_get(&ks->dbs[d].expire_count);
        }
    }
    out_field(o, "uptime_in_seconds", (clock_unix_ms() - e.started_ms) / 1000);
    out_field(o, "shards", e.shard_count);
    out_field(o, "total_commands_processed", commands);
    out_field(o, "keys", keys);
    out_field(o, "expires", expires);
}

// --- the report ----------------------------------------------------------------------------------

static const char *signal_name(int number)
{
    switch (number) {
    case SIGSEGV: return "SIGSEGV";
    case SIGBUS: return "SIGBUS";
    case SIGFPE: return "SIGFPE";
    case SIGILL: return "SIGILL";
    case SIGABRT: return "SIGABRT";
    }
    return "?";
}

static void report_signal(struct out *o, int number, const siginfo_t *info, pid_t thread)
{
    char name[16] = "";
    out_text(o, "Gyre " GYRE_VERSION " (as Redis " REDIS_VERSION ") crashed by signal: ");
    out_int(o, number);
    out_text(o, " (");
    out_text(o, signal_name(number));
    out_text(o, "), code ");
    out_int(o, info->si_code);
    out_line(o, "");
    out_text(o, "process ");
    out_int(o, getpid());
    out_text(o, ", thread ");
    out_int(o, thread);
    if (prctl(PR_GET_NAME, name) == 0) {
        out_text(o, " \"");
        out_text(o, name);
        out_char(o, '"');
    }
    out_text(o, ", Unix time ");
    out_int(o, clock_unix_ms() / 1000);
    out_line(o, "");
    if (info->si_code <= 0) {
        out_text(o, "sent by process ");
        out_int(o, info->si_pid);
    } else {
        out_text(o, "fault address: ");
        out_address(o, info->si_addr);
    }
    out_line(o, "");
}

static void crash_report(const struct crash *crash, int number, const siginfo_t *info,
                         ucontext_t *uc, pid_t thread)
{
    struct ctx ctx;
    const struct engine *engine = atomic_load_explicit(&crash->engine, memory_order_relaxed);
    const struct settings *settings = NULL;
    const void *work = crash_slot_get();
    bool is_executing = work && read_memory(&ctx, work, sizeof ctx);
    if (engine)
        settings = atomic_load_explicit(&engine->settings, memory_order_relaxed);
    else if (is_executing)
        settings = ctx.settings;
    if (settings && !settings->crash_log_enabled) return;
    bool hides_data = settings && settings->hide_user_data_from_log;
    struct out o = {.fd = log_raw_fd()};
    out_line(&o, "\n=== GYRE CRASH REPORT: please report this with all that follows ===");
    report_signal(&o, number, info, thread);
    report_stack(&o, uc, info->si_code > 0 ? info->si_addr : NULL);
    report_registers(&o, uc, hides_data);
    if (is_executing) report_command(&o, &ctx, hides_data);
    report_server(&o, engine ? engine : is_executing ? ctx.engine : NULL);
    out_line(&o, "=== GYRE CRASH REPORT: end; addr2line -fe gyre-server 0x… names the lines ===");
}

static void strike_again(struct crash *crash, int number, siginfo_t *info, pid_t thread)
{
    for (size_t i = 0; i < ARRAY_LEN(signals); i++)
        if (signals[i] == number) sigaction(number, &crash->before[i], NULL);
    // Pending until this handler returns; then it strikes where it struck before.
    if (syscall(SYS_rt_tgsigqueueinfo, getpid(), thread, number, info)) raise(number);
}

static void handle(int number, siginfo_t *info, void *context)
{
    struct crash *crash = crash_slot_process;
    pid_t thread = (pid_t)syscall(SYS_gettid);
    int nobody = 0;
    // Relaxed: the winner alone goes on.
    while (!atomic_compare_exchange_strong_explicit(&crash->reporter, &nobody, thread,
                                                    memory_order_relaxed, memory_order_relaxed)) {
        if (nobody == thread) break; // abort() raises anew once its handler has returned
        pause();
    }
    if (nobody != thread) crash_report(crash, number, info, context, thread);
    strike_again(crash, number, info, thread);
}

// --- installation --------------------------------------------------------------------------------

//     [ guard ][ stack ... ][ struct own_stack ]
struct own_stack {
    void *mapping;
    stack_t before; // a sanitizer's, which it wants to find again
};

#define MAPPING_BYTES (GUARD_BYTES + STACK_BYTES)
#define USABLE_BYTES  ((STACK_BYTES - sizeof(struct own_stack)) & ~(size_t)63)

void crash_thread_begin(void)
{
    char *mapping = mmap(NULL, MAPPING_BYTES, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapping == MAP_FAILED) return;
    mprotect(mapping, GUARD_BYTES, PROT_NONE);
    struct own_stack *own = (struct own_stack *)(mapping + MAPPING_BYTES) - 1;
    stack_t stack = {.ss_sp = mapping + GUARD_BYTES, .ss_size = USABLE_BYTES};
    own->mapping = mapping;
    if (sigaltstack(&stack, &own->before)) munmap(mapping, MAPPING_BYTES);
}

void crash_thread_end(void)
{
    stack_t stack;
    if (sigaltstack(NULL, &stack) || stack.ss_flags & SS_DISABLE) return;
    if (stack.ss_size != USABLE_BYTES) return; // not ours
    struct own_stack *own = (struct own_stack *)((char *)stack.ss_sp + STACK_BYTES) - 1;
    void *mapping = own->mapping;
    sigaltstack(&own->before, NULL);
    munmap(mapping, MAPPING_BYTES);
}

void crash_set_engine(const struct engine *engine)
{
    struct crash *crash = crash_slot_process;
    if (crash) atomic_store_explicit(&crash->engine, engine, memory_order_relaxed);
}

void crash_install(void)
{
    void *warm[1];
    if (crash_slot_process) return;
    struct crash *crash = mem_calloc(sizeof *crash); // for as long as the process lives
    crash_slot_process = crash;
    symbol_init();
    backtrace(warm, 1); // loads the unwinder's library now
    crash_thread_begin();
    struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < ARRAY_LEN(signals); i++)
        sigaction(signals[i], &action, &crash->before[i]);
}
