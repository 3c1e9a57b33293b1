// SPDX-License-Identifier: BSD-3-Clause
//
// gyre-server [config file] [--option value …]: arguments become the configuration, the
// configuration a server, which runs until it is told to stop.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "engine/version.h"
#include "server/config.h"
#include "server/crash.h"
#include "server/server.h"

// maxclients is lowered to what the process may open, as Redis does.
static void fit_maxclients(struct config *config)
{
    struct settings *s = config->settings;
    int64_t possible = server_provide_descriptors(s->maxclients);
    if (possible >= s->maxclients) return;
    s->maxclients = possible;
    log_write(LOG_WARNING, "maxclients has been reduced to %lld by the limit of open files",
              (long long)possible);
}

static void become_daemon(void)
{
    if (fork() != 0) _exit(0);
    setsid();
    int fd = open("/dev/null", O_RDWR);
    if (fd < 0) return;
    dup2(fd, STDIN_FILENO);
    dup2(fd, STDOUT_FILENO);
    dup2(fd, STDERR_FILENO);
    if (fd > STDERR_FILENO) close(fd);
}

static int run(struct config *config)
{
    const struct settings *s = config->settings;
    uint64_t seed;
    if (s->dir[0] && chdir(s->dir)) {
        fprintf(stderr, "Can't chdir to '%s': %s\n", s->dir, strerror(errno));
        return 1;
    }
    if (s->daemonize) become_daemon();
    log_open(s->logfile);
    log_set_level((enum log_level)s->loglevel);
    random_secret(&seed, sizeof seed);
    hash_set_seed(seed);
    crash_install();
    fit_maxclients(config);
    return server_run(config);
}

// The exit status of what needs no server; -1: go on.
static int answer_without_server(enum config_result result, const struct buf *error)
{
    switch (result) {
    case CONFIG_LOADED: return -1;
    case CONFIG_SHOW_HELP: fputs(config_usage(), stdout); return 0;
    case CONFIG_SHOW_VERSION:
        printf("Gyre server v=%s redis=%s bits=64\n", GYRE_VERSION, REDIS_VERSION);
        return 0;
    case CONFIG_BAD: break;
    }
    fprintf(stderr, "%.*s", SLICE_ARG(buf_slice(error)));
    return 1;
}

int main(int argc, char **argv)
{
    struct config config;
    struct buf error = {0};
    mem_return_at_once();
    config_init(&config);
    int status = answer_without_server(config_load(&config, argc, argv, &error), &error);
    buf_free(&error);
    if (status < 0) status = run(&config);
    config_free(&config);
    return status;
}
