// SPDX-License-Identifier: BSD-3-Clause
//
// session: the life of what a connection is to the commands. What RESET clears and what it keeps
// follows Redis 7.2: the id, the addresses, the times and the client library's name and version
// stay.
#include "engine/session.h"

#include <stddef.h>

#include "base/mem.h"
#include "ds/names.h"
#include "engine/subscriptions.h"

void session_init(struct session *s, uint64_t id)
{
    *s = (struct session){.id = id, .resp = 2, .reply_mode = REPLY_ON, .fd = -1};
}

static void forget(char **text)
{
    mem_free(*text);
    *text = NULL;
}

void session_free(struct session *s)
{
    forget(&s->name);
    forget(&s->lib_name);
    forget(&s->lib_ver);
    subscriptions_free(s->subscriptions);
    s->subscriptions = NULL;
    session_forget_tracking(s);
}

void session_forget_tracking(struct session *s)
{
    if (s->tracking_prefixes) names_free(s->tracking_prefixes);
    mem_free(s->tracking_prefixes);
    s->tracking_prefixes = NULL;
    s->tracking = 0;
    s->redirect_id = 0;
    s->is_redirect_broken = false;
}

void session_reset(struct session *s, bool needs_auth)
{
    forget(&s->name);
    s->db = 0;
    s->resp = 2;
    s->is_authenticated = !needs_auth;
    s->is_monitor = s->is_no_touch = s->is_no_evict = false;
    if (s->reply_mode != REPLY_SKIP) s->reply_mode = REPLY_ON;
}

bool session_step_reply(struct session *s)
{
    switch ((enum session_reply)s->reply_mode) {
    case REPLY_ON: return true;
    case REPLY_OFF: return false;
    case REPLY_SKIP_NEXT: s->reply_mode = REPLY_SKIP; return true;
    case REPLY_SKIP: s->reply_mode = REPLY_ON; return false;
    }
    return true;
}

bool session_text_is_valid(struct slice text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] < '!' || text.ptr[i] > '~') return false;
    return true;
}

void session_set_text(char **field, struct slice text)
{
    forget(field);
    if (text.len) *field = mem_strndup(text.ptr, text.len);
}
