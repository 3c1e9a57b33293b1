// SPDX-License-Identifier: BSD-3-Clause
//
// Each test lets a child process die in a chosen way and reads what it left in its log.
#include "server/crash.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/crash_slot.h"
#include "base/log.h"
#include "engine/engine.h"
#include "engine/settings.h"

// A sanitizer reports (and exits) in its own way once the signal strikes again.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HAS_SANITIZER 1
#else
#define HAS_SANITIZER 0
#endif

#define REPORT_MAX 65536

// Runs `die` in a child; returns its log. *signal: what ended it.
static const char *report_of(void (*die)(void), int *signal_number)
{
    static char text[REPORT_MAX];
    char path[] = "/tmp/gyre-crash-XXXXXX";
    int status, fd = mkstemp(path);
    pid_t child = fork();
    if (child == 0) {
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        int null =
            open("/dev/null", O_WRONLY); // a sanitizer's report of the crash that was asked for
        dup2(null, STDERR_FILENO);
        log_open(path);
        crash_install();
        die();
        _exit(99);
    }
    waitpid(child, &status, 0);
    ssize_t n = read(fd, text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    close(fd);
    unlink(path);
    *signal_number = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    return text;
}

static void expect_signal(int got, int wanted)
{
    if (!HAS_SANITIZER) cr_assert_eq(got, wanted, "ended by signal %d", got);
}

static void expect_text(const char *report, const char *text)
{
    cr_assert(strstr(report, text), "no \"%s\" in\n%s", text, report);
}

static void expect_no_text(const char *report, const char *text)
{
    cr_assert_null(strstr(report, text), "\"%s\" in\n%s", text, report);
}

static __attribute__((noinline)) void write_to_nowhere(void)
{
    volatile uintptr_t nowhere = 16;
    *(volatile int *)nowhere = 1;
}

Test(crash, a_segfault_is_reported_with_stack_and_registers)
{
    int number;
    const char *report = report_of(write_to_nowhere, &number);
    expect_signal(number, SIGSEGV);
    expect_text(report, "crashed by signal: 11 (SIGSEGV)");
    expect_text(report, "fault address: 0x10\n");
    expect_text(report, "STACK TRACE ------\n#0  0x");
    expect_text(report, "write_to_nowhere+0x");
    expect_text(report, "report_of+0x");
    expect_text(report, "\nused_memory:");
    expect_text(report, "CRASH REPORT: end");
    expect_no_text(report, "CURRENT COMMAND");
#ifdef __x86_64__
    expect_text(report, "RIP:0x0000");
    expect_text(report, "R15:0x");
#endif
}

static void call_nowhere(void)
{
    void (*volatile nowhere)(void) = (void (*)(void))16;
    nowhere();
    log_write(LOG_DEBUG, "not reached, and so the call above is no tail call");
}

Test(crash, a_call_to_a_bad_address_shows_its_caller)
{
    int number;
    const char *report = report_of(call_nowhere, &number);
    expect_signal(number, SIGSEGV);
    expect_text(report, "call_nowhere+0x");
}

static void fail_assertion(void)
{
    volatile int two = 2;
    ASSERT(two == 3);
}

Test(crash, a_failed_assertion_is_reported)
{
    int number;
    const char *report = report_of(fail_assertion, &number);
    expect_signal(number, SIGABRT);
    expect_text(report, "'two == 3' is not true");
    expect_text(report, "crashed by signal: 6 (SIGABRT)");
    expect_text(report, "fail_assertion+0x");
}

static void send_signal(void)
{
    kill(getpid(), SIGILL);
    pause();
}

Test(crash, a_signal_that_was_sent_names_its_sender)
{
    int number;
    const char *report = report_of(send_signal, &number);
    expect_signal(number, SIGILL);
    expect_text(report, "crashed by signal: 4 (SIGILL)");
    expect_text(report, "sent by process ");
}

static int exhaust_stack(volatile int depth)
{
    volatile char frame[4096];
    frame[0] = (char)depth;
    return depth < 0 ? frame[0] : exhaust_stack(depth + 1) + frame[0];
}

static void *overflow(void *arg)
{
    crash_thread_begin();
    exhaust_stack(0);
    return arg;
}

static void overflow_in_thread(void)
{
    pthread_t thread;
    pthread_create(&thread, NULL, overflow, NULL);
    pthread_join(thread, NULL);
}

Test(crash, a_stack_overflow_in_a_thread_is_reported)
{
    int number;
    const char *report = report_of(overflow_in_thread, &number);
    expect_signal(number, SIGSEGV);
    expect_text(report, "exhaust_stack");
}

static void *begin_and_end(void *arg)
{
    crash_thread_begin();
    crash_thread_end();
    return arg;
}

Test(crash, threads_give_their_stacks_back)
{
    crash_install();
    for (int i = 0; i < 100; i++) {
        pthread_t thread;
        cr_assert_eq(pthread_create(&thread, NULL, begin_and_end, NULL), 0);
        pthread_join(thread, NULL);
    }
    crash_thread_end();
    crash_thread_end(); // nothing of ours is left: does nothing
}

// --- the current command -------------------------------------------------------------------------

static struct command config_set = {.name = "set", .full_name = "config|set"};
static char long_value[200];
static struct slice argv[] = {
    {"CONFIG", 6}, {"SET", 3},      {"requirepass", 11}, {"hunter2", 7},
    {"na\"me", 5}, {"\r\n\xff", 3}, {"long", 4},         {long_value, sizeof long_value},
};
static struct session session = {
    .id = 7, .peer = "127.0.0.1:5000", .name = "worker-bee", .resp = 3};
static struct settings settings = {.crash_log_enabled = true};
static struct ctx context = {.cmd = &config_set,
                             .argv = argv,
                             .argc = ARRAY_LEN(argv),
                             .db = 5,
                             .session = &session,
                             .settings = &settings,
                             .space_count = 1};

static void crash_in_command(void)
{
    memset(long_value, 'x', sizeof long_value);
    crash_slot_set(&context);
    write_to_nowhere();
}

Test(crash, the_command_is_shown_without_its_secrets)
{
    int number;
    const char *report = report_of(crash_in_command, &number);
    expect_text(report, "command: config|set in database 5\n");
    expect_text(report, "client: id=7 addr=127.0.0.1:5000 name=worker-bee resp=3");
    expect_text(report, "argv[2]: \"requirepass\"\nargv[3]: \"(redacted)\"\n");
    expect_text(report, "argv[4]: \"na\\\"me\"\nargv[5]: \"\\x0d\\x0a\\xff\"\n");
    expect_text(report, "xxxx\" … of 200 bytes\n");
    expect_no_text(report, "hunter2");
}

static void crash_in_hidden_command(void)
{
    settings.hide_user_data_from_log = true;
    crash_in_command();
}

Test(crash, user_data_can_be_hidden)
{
    int number;
    const char *report = report_of(crash_in_hidden_command, &number);
    expect_text(report, "argv[0]: \"CONFIG\"\nargv[1]: 3 bytes\n");
    expect_text(report, "argv[7]: 200 bytes\n");
    expect_no_text(report, "requirepass");
    expect_no_text(report, "R15:");
}

static void crash_silently(void)
{
    settings.crash_log_enabled = false;
    crash_in_command();
}

Test(crash, crash_log_enabled_no_keeps_silent)
{
    int number;
    const char *report = report_of(crash_silently, &number);
    expect_signal(number, SIGSEGV);
    cr_assert_str_empty(report);
}

static void crash_with_bad_arguments(void)
{
    argv[1].ptr = (const char *)32;
    crash_in_command();
}

static void crash_after_command(void)
{
    crash_slot_set(&context);
    crash_slot_set(NULL);
    write_to_nowhere();
}

Test(crash, a_command_that_is_over_is_not_shown)
{
    int number;
    const char *report = report_of(crash_after_command, &number);
    expect_text(report, "STACK TRACE");
    expect_no_text(report, "CURRENT COMMAND");
}

static void crash_with_freed_context(void)
{
    void *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(page, 4096);
    crash_slot_set(page);
    write_to_nowhere();
}

Test(crash, arguments_that_cannot_be_read_do_not_end_the_report)
{
    int number;
    const char *report = report_of(crash_with_bad_arguments, &number);
    expect_text(report, "argv[0]: \"CONFIG\"\n7 more arguments, not shown\n");
    expect_text(report, "CRASH REPORT: end");
    report = report_of(crash_with_freed_context, &number);
    expect_text(report, "STACK TRACE");
    expect_text(report, "CRASH REPORT: end");
}

static void *crash_together(void *arg)
{
    pthread_barrier_wait(arg);
    write_to_nowhere();
    return NULL;
}

static void crash_in_many_threads(void)
{
    pthread_t threads[8];
    pthread_barrier_t barrier;
    pthread_barrier_init(&barrier, NULL, ARRAY_LEN(threads));
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        pthread_create(&threads[i], NULL, crash_together, &barrier);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) pthread_join(threads[i], NULL);
}

Test(crash, threads_that_crash_together_leave_one_report)
{
    int number;
    const char *report = report_of(crash_in_many_threads, &number);
    expect_signal(number, SIGSEGV);
    const char *first = strstr(report, "crashed by signal");
    cr_assert_not_null(first);
    cr_assert_null(strstr(first + 1, "crashed by signal"), "%s", report);
    expect_text(report, "CRASH REPORT: end");
}
