// SPDX-License-Identifier: BSD-3-Clause
#include "engine/protect.h"

#include <string.h>

#include "engine/session.h"
#include "engine/settings.h"

static bool is_local(const struct session *s)
{
    return s->is_unix_socket || strncmp(s->peer, "127.0.0.1:", 10) == 0 ||
           strncmp(s->peer, "[::1]:", 6) == 0;
}

const char *protect_refusal(const struct settings *settings, const struct session *session)
{
    if (settings->enable_debug_command == ACCESS_YES) return NULL;
    if (settings->enable_debug_command == ACCESS_LOCAL && is_local(session)) return NULL;
    return "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", "
           "you can run it from a local connection, otherwise you need to set this option in the "
           "configuration file, and then restart the server.";
}
