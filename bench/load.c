// SPDX-License-Identifier: BSD-3-Clause
//
// gyre-load: a load generator of redis-benchmark's kind that costs less per operation, so that one
// core of it can saturate one core of a fast server. This file holds options, tests and the report;
// worker.c does the work, request.c makes the requests, reply.c checks the replies; subscribers.c
// is the other end of PUBLISH.
//
// It prints one line of name=value pairs on standard output, and why it failed on standard error.
// Status: 0 measured (error replies are counted, not fatal), 1 failed, 2 wrong usage.
//
// It bounds itself: loopback addresses only, and a limit on time, connections and memory whatever
// it is asked for, so that a forgotten run ends by itself.
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "subscribers.h"
#include "worker.h"

enum {
    COMMANDS_MAX = 16, // in rotation: MULTI, ten commands, EXEC and some room
    THREADS_MAX = 64,
    CONNECTIONS_MAX = 20000,
    PIPELINE_MAX = 10000,
    VALUE_BYTES_MAX = 16 << 20,
    BATCH_BYTES_MAX = 64 << 20, // per phase of the rotation and thread
    SECONDS_MAX = 600,
    SECONDS_DEFAULT = 5,
};

static const uint64_t numbers_max = 1000000000000u; // twelve digits

struct options {
    const char *host, *test, *key_prefix, *channel;
    const char *commands[COMMANDS_MAX];
    unsigned command_count;
    unsigned port, threads, connections, pipeline, idle;
    uint64_t ops, keys, seed;
    size_t value_bytes;
    double seconds;
    bool is_fill;
};

// The named tests. Those of redis-benchmark's names send what it sends.
struct test {
    const char *name;
    char expected; // type byte of a proper reply; 0: any
    const char *commands[2];
};

#define TEN_PAIRS                                                                                  \
    " __key__ __data__ __key__ __data__ __key__ __data__ __key__ __data__ "                        \
    "__key__ __data__ __key__ __data__ __key__ __data__ __key__ __data__ "                         \
    "__key__ __data__ __key__ __data__"

static const struct test tests[] = {
    {"ping", '+', {"PING"}},
    {"set", '+', {"SET __key__ __data__"}},
    {"get", '$', {"GET __key__"}},
    {"mixed", 0, {"SET __key__ __data__", "GET __key__"}},
    {"incr", ':', {"INCR counter:__rand__"}},
    {"lpush", ':', {"LPUSH mylist __data__"}},
    {"rpush", ':', {"RPUSH mylist __data__"}},
    {"lpop", '$', {"LPOP mylist"}},
    {"rpop", '$', {"RPOP mylist"}},
    {"sadd", ':', {"SADD myset element:__rand__"}},
    {"hset", ':', {"HSET myhash element:__rand__ __data__"}},
    {"spop", '$', {"SPOP myset"}},
    {"zadd", ':', {"ZADD myzset 0 element:__rand__"}},
    {"zpopmin", '*', {"ZPOPMIN myzset"}},
    {"lrange_100", '*', {"LRANGE mylist 0 99"}},
    {"lrange_300", '*', {"LRANGE mylist 0 299"}},
    {"lrange_500", '*', {"LRANGE mylist 0 499"}},
    {"lrange_600", '*', {"LRANGE mylist 0 599"}},
    {"mset", '+', {"MSET" TEN_PAIRS}},
    {"del", ':', {"DEL __key__"}},
    {"exists", ':', {"EXISTS __key__"}},
    {"fill", '+', {"SET __nextkey__ __data__"}},
};

static _Noreturn void usage_error(const char *what, const char *detail)
{
    fprintf(stderr, "gyre-load: %s%s%s (try --help)\n", what, detail ? ": " : "",
            detail ? detail : "");
    exit(2);
}

static _Noreturn void print_help(void)
{
    puts("usage: gyre-load --port P [options]\n"
         "  --host H          a loopback address (127.0.0.1)\n"
         "  --threads T       generator threads (1)\n"
         "  --connections C   over all threads (50)\n"
         "  --pipeline N      requests sent at once on a connection (1)\n"
         "  --ops N           stop after N requests; with --seconds, whichever comes first\n"
         "  --seconds S       stop after S seconds (5, or 600 with --ops), or at SIGTERM\n"
         "  --test NAME       see below (set)\n"
         "  --command TEXT    send this instead; several are sent in rotation. Placeholders:\n"
         "                    __key__ __nextkey__ __rand__ __seq__ __rank__ __again__ __data__;\n"
         "                    quotes as in a shell\n"
         "  --fill            SET every key once, in order\n"
         "  --idle N          open N connections, hold them idle for --seconds, report\n"
         "  --subscribe CH    with --idle: they subscribe and count messages of --value bytes,\n"
         "                    until --seconds or SIGTERM and half a second's silence\n"
         "  --keys K          random numbers are below K (1000000)\n"
         "  --value BYTES     size of __data__ (64)\n"
         "  --key-prefix P    (key:), so that keys have 16 bytes\n"
         "  --seed N          of the random numbers (1)\n"
         "tests:");
    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++) printf(" %s", tests[i].name);
    puts("");
    exit(0);
}

static uint64_t parse_number(const char *name, const char *text, uint64_t min, uint64_t max)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno || end == text || *end || *text == '-' || value < min || value > max) {
        fprintf(stderr, "gyre-load: --%s takes a number from %llu to %llu, not '%s'\n", name,
                (unsigned long long)min, (unsigned long long)max, text);
        exit(2);
    }
    return value;
}

static double parse_seconds(const char *text)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value > 0) || value > SECONDS_MAX)
        usage_error("--seconds takes a number above 0, at most 600", text);
    return value;
}

static void take_option(struct options *o, const char *name, const char *value)
{
    if (!strcmp(name, "host"))
        o->host = value;
    else if (!strcmp(name, "port"))
        o->port = (unsigned)parse_number(name, value, 1, 65535);
    else if (!strcmp(name, "threads"))
        o->threads = (unsigned)parse_number(name, value, 1, THREADS_MAX);
    else if (!strcmp(name, "connections"))
        o->connections = (unsigned)parse_number(name, value, 1, CONNECTIONS_MAX);
    else if (!strcmp(name, "pipeline"))
        o->pipeline = (unsigned)parse_number(name, value, 1, PIPELINE_MAX);
    else if (!strcmp(name, "ops"))
        o->ops = parse_number(name, value, 1, numbers_max);
    else if (!strcmp(name, "seconds"))
        o->seconds = parse_seconds(value);
    else if (!strcmp(name, "test"))
        o->test = value;
    else if (!strcmp(name, "keys"))
        o->keys = parse_number(name, value, 1, numbers_max);
    else if (!strcmp(name, "value"))
        o->value_bytes = parse_number(name, value, 0, VALUE_BYTES_MAX);
    else if (!strcmp(name, "key-prefix"))
        o->key_prefix = value;
    else if (!strcmp(name, "seed"))
        o->seed = parse_number(name, value, 0, UINT64_MAX);
    else if (!strcmp(name, "idle"))
        o->idle = (unsigned)parse_number(name, value, 1, CONNECTIONS_MAX);
    else if (!strcmp(name, "subscribe"))
        o->channel = value;
    else if (!strcmp(name, "command") && o->command_count < COMMANDS_MAX)
        o->commands[o->command_count++] = value;
    else if (!strcmp(name, "fill"))
        o->is_fill = true;
    else if (!strcmp(name, "help"))
        print_help();
    else
        usage_error("too many", name);
}

static struct options parse_options(int argc, char **argv)
{
    static const struct option known[] = {
        {"host", required_argument, NULL, 0},
        {"port", required_argument, NULL, 0},
        {"threads", required_argument, NULL, 0},
        {"connections", required_argument, NULL, 0},
        {"pipeline", required_argument, NULL, 0},
        {"ops", required_argument, NULL, 0},
        {"seconds", required_argument, NULL, 0},
        {"test", required_argument, NULL, 0},
        {"keys", required_argument, NULL, 0},
        {"value", required_argument, NULL, 0},
        {"key-prefix", required_argument, NULL, 0},
        {"seed", required_argument, NULL, 0},
        {"idle", required_argument, NULL, 0},
        {"subscribe", required_argument, NULL, 0},
        {"command", required_argument, NULL, 0},
        {"fill", no_argument, NULL, 0},
        {"help", no_argument, NULL, 0},
        {NULL, 0, NULL, 0},
    };
    struct options o = {.host = "127.0.0.1",
                        .test = "set",
                        .key_prefix = "key:",
                        .threads = 1,
                        .connections = 50,
                        .pipeline = 1,
                        .keys = 1000000,
                        .value_bytes = 64,
                        .seed = 1};
    int index, result;
    while ((result = getopt_long(argc, argv, "", known, &index)) == 0)
        take_option(&o, known[index].name, optarg);
    if (result != -1) exit(2); // getopt has said why
    if (optind < argc) usage_error("unexpected argument", argv[optind]);
    if (o.port == 0) usage_error("--port is missing", NULL);
    if (o.channel && !o.idle) usage_error("--subscribe needs --idle", NULL);
    if (o.threads > o.connections) o.threads = o.connections;
    return o;
}

static struct sockaddr_in loopback_address(const struct options *o)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)o->port)};
    const char *host = strcmp(o->host, "localhost") == 0 ? "127.0.0.1" : o->host;
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1 ||
        ntohl(address.sin_addr.s_addr) >> 24 != 127)
        usage_error("only loopback addresses (127.x.x.x) are allowed", o->host);
    return address;
}

// Fills in the commands of the named test, unless --command gave some. Returns the expected type.
static char choose_commands(struct options *o)
{
    if (o->is_fill) o->test = "fill";
    if (o->command_count > 0) {
        o->test = "command";
        return 0;
    }
    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++) {
        if (strcmp(tests[i].name, o->test) != 0) continue;
        for (unsigned k = 0; k < 2 && tests[i].commands[k]; k++)
            o->commands[o->command_count++] = tests[i].commands[k];
        return tests[i].expected;
    }
    usage_error("no such test", o->test);
}

// Settles how long to run: by count, by time, or both.
static void choose_end(struct options *o)
{
    if (o->is_fill) o->ops = o->keys;
    if (o->seconds == 0) o->seconds = o->ops ? SECONDS_MAX : SECONDS_DEFAULT;
    if (o->ops == 0) o->ops = UINT64_MAX;
}

static void raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static void compile_requests(const struct options *o, struct request *requests)
{
    struct request_options how = {.key_prefix = o->key_prefix, .value_bytes = o->value_bytes};
    size_t bytes = 0;
    for (unsigned i = 0; i < o->command_count; i++) {
        const char *problem = request_compile(&requests[i], o->commands[i], &how);
        if (problem) usage_error(problem, o->commands[i]);
        if (requests[i].len_bytes > bytes) bytes = requests[i].len_bytes;
    }
    if (bytes * o->pipeline > BATCH_BYTES_MAX)
        usage_error("the pipeline times the request exceeds 64 MiB", NULL);
}

// This thread's share of `total`: the first ones take one more where it does not divide.
static uint64_t share_of(uint64_t total, unsigned threads, unsigned index)
{
    return total / threads + (index < total % threads ? 1 : 0);
}

static void run_workers(const struct options *o, struct worker_plan *plan, struct worker *workers)
{
    pthread_t threads[THREADS_MAX];
    pthread_barrier_t all_connected;
    uint64_t next = 0;
    pthread_barrier_init(&all_connected, NULL, o->threads);
    plan->all_connected = &all_connected;
    for (unsigned i = 0; i < o->threads; i++) {
        uint64_t ops = o->ops == UINT64_MAX ? UINT64_MAX : share_of(o->ops, o->threads, i);
        workers[i].plan = plan;
        workers[i].connection_count = (unsigned)share_of(o->connections, o->threads, i);
        workers[i].ops = ops;
        workers[i].numbers = (struct numbers){
            .random_state = (o->seed * THREADS_MAX + i) * 0x2545f4914f6cdd1du,
            .random_range = o->keys,
            .next = next,
        };
        // Unlimited runs get ranges of their own too, far enough apart not to meet.
        next += ops == UINT64_MAX ? numbers_max / THREADS_MAX : ops;
        if (pthread_create(&threads[i], NULL, worker_run, &workers[i]) != 0)
            usage_error("cannot start a thread", NULL);
    }
    for (unsigned i = 0; i < o->threads; i++) pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&all_connected);
}

static void add_counts(struct reply_counts *into, const struct reply_counts *from)
{
    if (into->errors == 0) memcpy(into->first_error, from->first_error, sizeof into->first_error);
    into->replies += from->replies;
    into->errors += from->errors;
    into->nils += from->nils;
    into->unexpected += from->unexpected;
}

static double cpu_seconds_used(void)
{
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (double)used.tv_sec + (double)used.tv_nsec / 1e9;
}

static double quantile_us(const struct histogram *h, double quantile)
{
    return (double)histogram_quantile_ns(h, quantile) / 1e3;
}

static void report(const struct options *o, const struct worker *workers, double cpu_seconds)
{
    struct reply_counts counts = {0};
    struct histogram *latency = bench_alloc(1, sizeof *latency);
    uint64_t start_ns = UINT64_MAX, end_ns = 0;
    for (unsigned i = 0; i < o->threads; i++) {
        add_counts(&counts, &workers[i].counts);
        histogram_merge(latency, &workers[i].latency);
        if (workers[i].start_ns < start_ns) start_ns = workers[i].start_ns;
        if (workers[i].end_ns > end_ns) end_ns = workers[i].end_ns;
    }
    double seconds = (double)(end_ns - start_ns) / 1e9;
    printf("test=%s threads=%u connections=%u pipeline=%u ops=%llu seconds=%.3f ops_per_s=%.0f "
           "p50_us=%.1f p99_us=%.1f p999_us=%.1f max_us=%.1f errors=%llu nils=%llu "
           "unexpected=%llu generator_cpu=%.2f\n",
           o->test, o->threads, o->connections, o->pipeline, (unsigned long long)counts.replies,
           seconds, (double)counts.replies / seconds, quantile_us(latency, 0.5),
           quantile_us(latency, 0.99), quantile_us(latency, 0.999), (double)latency->max_ns / 1e3,
           (unsigned long long)counts.errors, (unsigned long long)counts.nils,
           (unsigned long long)counts.unexpected, cpu_seconds / seconds);
    if (counts.errors)
        fprintf(stderr, "gyre-load: %llu error replies, the first: %s\n",
                (unsigned long long)counts.errors, counts.first_error);
    if (counts.unexpected)
        fprintf(stderr, "gyre-load: %llu replies of an unexpected type\n",
                (unsigned long long)counts.unexpected);
    free(latency);
}

// SIGTERM ends the run as the deadline does, with a report. Threads started later block it, too.
static int open_stop_fd(void)
{
    sigset_t ending;
    sigemptyset(&ending);
    sigaddset(&ending, SIGTERM);
    sigprocmask(SIG_BLOCK, &ending, NULL);
    int fd = signalfd(-1, &ending, SFD_CLOEXEC);
    if (fd < 0) usage_error("signalfd", strerror(errno));
    return fd;
}

static void measure(struct options *o, struct worker_plan *plan)
{
    struct request *requests = bench_alloc(COMMANDS_MAX, sizeof *requests);
    struct worker *workers = bench_alloc(o->threads, sizeof *workers);
    plan->expected = choose_commands(o);
    choose_end(o);
    compile_requests(o, requests);
    plan->requests = requests;
    plan->request_count = o->command_count;
    plan->pipeline = o->pipeline;
    plan->seconds = o->seconds;
    plan->stop_fd = open_stop_fd();
    double cpu_before = cpu_seconds_used();
    run_workers(o, plan, workers);
    report(o, workers, cpu_seconds_used() - cpu_before);
    close(plan->stop_fd);
    for (unsigned i = 0; i < o->command_count; i++) free(requests[i].bytes);
    free(workers);
    free(requests);
}

// One PING there and back: a server may place a connection only when it first speaks.
static void say_hello(int fd)
{
    static const char ping[] = "*1\r\n$4\r\nPING\r\n", pong[] = "+PONG\r\n";
    char answer[sizeof pong - 1];
    struct timeval patience = {.tv_sec = 10};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (send(fd, ping, sizeof ping - 1, MSG_NOSIGNAL) != (ssize_t)(sizeof ping - 1) ||
        recv(fd, answer, sizeof answer, MSG_WAITALL) != (ssize_t)sizeof answer ||
        memcmp(answer, pong, sizeof answer) != 0) {
        fputs("gyre-load: an idle connection got no +PONG to its PING\n", stderr);
        exit(1);
    }
}

// Holds idle connections; says when all are open, and at the end how many are still alive.
static void hold_idle(const struct options *o, const struct worker_plan *plan)
{
    int *fds = bench_alloc(o->idle, sizeof *fds);
    unsigned alive = 0;
    double seconds = o->seconds > 0 ? o->seconds : SECONDS_DEFAULT;
    for (unsigned i = 0; i < o->idle; i++) {
        fds[i] = worker_connect(&plan->address);
        say_hello(fds[i]);
    }
    printf("idle_open=%u\n", o->idle);
    fflush(stdout);
    poll(NULL, 0, (int)(seconds * 1000));
    for (unsigned i = 0; i < o->idle; i++) {
        char byte;
        alive += recv(fds[i], &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
        close(fds[i]);
    }
    printf("idle_alive=%u\n", alive);
    free(fds);
}

static void hold_subscribers(const struct options *o, const struct worker_plan *plan)
{
    struct subscribers_plan what = {.address = plan->address,
                                    .channel = o->channel,
                                    .count = o->idle,
                                    .value_bytes = o->value_bytes,
                                    .seconds = o->seconds > 0 ? o->seconds : SECONDS_DEFAULT};
    subscribers_run(&what);
}

int main(int argc, char **argv)
{
    struct options o = parse_options(argc, argv);
    struct worker_plan plan = {.address = loopback_address(&o)};
    raise_file_limit();
    if (o.channel)
        hold_subscribers(&o, &plan);
    else if (o.idle)
        hold_idle(&o, &plan);
    else
        measure(&o, &plan);
    return 0;
}
