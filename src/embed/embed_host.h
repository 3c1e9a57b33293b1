// SPDX-License-Identifier: BSD-3-Clause
//
// embed_host: what the admin commands find where there is no server: one session, a handful of
// directives, and friendly refusals. `owner` of the host is the struct embed below.
#pragma once
#include "engine/host.h"
#include "engine/settings.h"

struct embed {
    struct engine *engine;
    struct settings *settings; // in force; owned
    struct settings
        *retired; // the snapshot before: the command that replaced it may still read it; owned
    struct session session;
    struct host host;
};

// Fills in e->host.
void embed_host_init(struct embed *e);
// Between two commands: nobody reads the retired settings any more.
void embed_host_settle(struct embed *e);
