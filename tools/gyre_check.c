// SPDX-License-Identifier: BSD-3-Clause
//
// gyre-check [--cut | --cut-damaged] PATH ...: store/check.h as a program.
#include <stdio.h>
#include <string.h>

#include "store/check.h"

static const char usage[] =
    "gyre-check [--cut | --cut-damaged] PATH ...\n"
    "\n"
    "Verifies data of Gyre (or Redis) that no server is using: a data directory, an append-only\n"
    "directory, a log, or an RDB file. Says what is wrong, where, and what can be done.\n"
    "\n"
    "  --cut          cuts off what a power cut left behind the last good frame of a log\n"
    "  --cut-damaged  the same with what had been synced and cannot be read: these data are lost\n"
    "\n"
    "Before a file is cut it is copied to NAME.before-cut.\n"
    "Exit status: 0 all is good (now), 1 something is damaged or torn, 2 something cannot be "
    "read.\n";

int main(int argc, char **argv)
{
    struct check_options options = {CHECK_CUT_NOTHING};
    struct buf report = {0};
    int at = 1, status = CHECK_GOOD;
    for (; at < argc && argv[at][0] == '-'; at++) {
        bool is_cut = strcmp(argv[at], "--cut") == 0;
        if (!is_cut && strcmp(argv[at], "--cut-damaged") != 0) break;
        options.cut = is_cut ? CHECK_CUT_TORN : CHECK_CUT_DAMAGED;
    }
    if (at == argc || (argv[at][0] == '-' && strcmp(argv[at], "--help") != 0)) {
        fputs(usage, stderr);
        return CHECK_UNREADABLE;
    }
    if (strcmp(argv[at], "--help") == 0) {
        fputs(usage, stdout);
        return CHECK_GOOD;
    }
    for (; at < argc; at++) {
        enum check_result result = check_path(argv[at], &options, &report);
        status = result > (enum check_result)status ? (int)result : status;
        fwrite(report.ptr, 1, report.len, stdout);
        report.len = 0;
    }
    puts(status == CHECK_GOOD      ? "All is good."
         : status == CHECK_DAMAGED ? "Something is wrong: see above."
                                   : "Not everything could be read: see above.");
    buf_free(&report);
    return status;
}
