// SPDX-License-Identifier: BSD-3-Clause
#include "base/log.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 2048 // longer messages are cut

static char log_path[1024];                    // set before threads start
static _Atomic int log_level_now = LOG_NOTICE; // relaxed: a line more or less at a change is fine

void log_open(const char *path)
{
    snprintf(log_path, sizeof log_path, "%s", path);
}

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&log_level_now, (int)level, memory_order_relaxed);
}

enum log_level log_get_level(void)
{
    return (enum log_level)atomic_load_explicit(&log_level_now, memory_order_relaxed);
}

int log_raw_fd(void)
{
    if (!log_path[0]) return STDOUT_FILENO;
    int fd = open(log_path, O_APPEND | O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
    return fd < 0 ? STDOUT_FILENO : fd;
}

void log_write(enum log_level level, const char *format, ...)
{
    if (level < log_get_level()) return;
    char line[LINE_MAX_BYTES];
    struct timeval tv;
    struct tm tm;
    gettimeofday(&tv, NULL);
    localtime_r(&tv.tv_sec, &tm);
    int n = snprintf(line, sizeof line, "%d:M ", (int)getpid());
    n += (int)strftime(line + n, sizeof line - (size_t)n, "%d %b %Y %H:%M:%S", &tm);
    n += snprintf(line + n, sizeof line - (size_t)n, ".%03d %c ", (int)(tv.tv_usec / 1000),
                  ".-*#"[level < LOG_NOTHING ? level : LOG_WARNING]);
    va_list args;
    va_start(args, format);
    int m = vsnprintf(line + n, sizeof line - (size_t)n - 1, format, args);
    va_end(args);
    n += m < (int)sizeof line - n - 1 ? m : (int)sizeof line - n - 2;
    line[n++] = '\n';
    int fd = log_raw_fd();
    ssize_t ignored = write(fd, line, (size_t)n);
    (void)ignored;
    if (fd != STDOUT_FILENO) close(fd);
}
