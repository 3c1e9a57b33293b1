// SPDX-License-Identifier: BSD-3-Clause
//
// Whom the line goes to, and which commands are shown at all, is the business of the server layer.
// As in Redis those with CMD_SKIP_MONITOR or CMD_ADMIN are not shown, nor is what was refused
// before it ran; the database is the one that is selected after the command.
#include "engine/monitor.h"

#include <stdint.h>

#include "engine/redact.h"

void monitor_format(struct buf *out, int64_t now_us, uint32_t db, const char *peer, int argc,
                    const struct slice *argv)
{
    buf_printf(out, "%lld.%06lld [%u ", (long long)(now_us / 1000000),
               (long long)(now_us % 1000000), db);
    size_t len = strlen(peer);
    if (peer[0] == '/') { // a Unix socket is shown by its path alone
        buf_append_text(out, "unix:");
        if (len > 2 && strcmp(peer + len - 2, ":0") == 0) len -= 2;
    }
    buf_append(out, peer, len);
    buf_append_char(out, ']');
    for (int i = 0; i < argc; i++) {
        buf_append_char(out, ' ');
        buf_append_quoted(out, redact_arg(argc, argv, i));
    }
}
