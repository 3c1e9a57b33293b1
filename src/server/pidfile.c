// SPDX-License-Identifier: BSD-3-Clause
#include "server/pidfile.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

// NULL: none is wanted.
static const char *path_of(const struct settings *s)
{
    return s->pidfile[0] ? s->pidfile : s->daemonize ? "/var/run/gyre.pid" : NULL;
}

void pidfile_write(const struct settings *s)
{
    const char *path = path_of(s);
    FILE *f = path ? fopen(path, "w") : NULL;
    if (!f) {
        if (path) log_write(LOG_WARNING, "Failed to write PID file %s: %s", path, strerror(errno));
        return;
    }
    fprintf(f, "%d\n", (int)getpid());
    fclose(f);
}

void pidfile_remove(const struct settings *s)
{
    const char *path = path_of(s);
    if (path) unlink(path);
}
