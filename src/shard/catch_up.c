// SPDX-License-Identifier: BSD-3-Clause
#include "shard/catch_up.h"

#include "base/clock.h"
#include "base/jitter.h"
#include "base/mem.h"

// One look is enough if it found all that had arrived: fewer than io_uring looks after at a time
// (20, since Linux 6.12; before, all). What arrived first is found first, so a shard to which more
// comes all the time is done after a few.
// Epoll is not asked in every turn, but never left out twice in a row.
enum { COMPLETIONS_AT_ONCE = 20, TURNS_MAX = 8, TURNS_EPOLL = 2 };

void catch_up_init(struct catch_up *c, struct shard *home, void (*done)(struct catch_up *c))
{
    *c = (struct catch_up){.home = home, .done = done};
    c->parts = mem_calloc(home->group->count * sizeof c->parts[0]);
}

void catch_up_destroy(struct catch_up *c)
{
    mem_free(c->parts);
}

static void deliver_request(struct shard *s, struct mail *mail)
{
    struct catch_up_part *part = CONTAINER_OF(mail, struct catch_up_part, mail);
    part->turns = 0;
    part->next = s->catch_ups;
    s->catch_ups = part;
}

static void deliver_answer(struct shard *s, struct mail *mail)
{
    struct catch_up *c = CONTAINER_OF(mail, struct catch_up_part, mail)->whole;
    ASSERT(c->home == s && c->missing);
    if (--c->missing == 0) c->done(c);
}

// A new connection is mail, being delivered, or read by the ring, and one that moves is moving in,
// or read by the ring, in this order: looked at in the same order none can slip past.
static bool shows_news(struct shard *s)
{
    return inbox_has_mail(&s->inbox) ||
           atomic_load_explicit(&s->is_delivering, memory_order_acquire) ||
           atomic_load_explicit(&s->moving_in, memory_order_acquire) || ring_shows_news(s->ring);
}

static uint32_t count_news(const struct catch_up *c)
{
    const struct shard_group *group = c->home->group;
    uint32_t count = ring_has_more(c->home->ring);
    for (uint32_t i = 0; i < group->count; i++)
        count += group->shards[i] != c->home && shows_news(group->shards[i]);
    return count;
}

// Is there at one moment nothing unread anywhere? What the first look did not find may have been in
// the hands of the kernel, so there is a second. If much time passed between them, as for a thread
// that has to wait for its core, more may be there by now.
static bool is_all_read(const struct catch_up *c)
{
    enum { MOMENT_US = 20, LOOKS = 4 };
    const struct shard_group *group = c->home->group;
    for (int i = 0; i < LOOKS; i++) {
        int64_t begin_us = clock_mono_us();
        if (count_news(c)) return false;
        jitter();
        for (uint32_t k = 0; k < group->count; k++)
            if (group->shards[k] != c->home) ring_await_kernel(group->shards[k]->ring);
        if (count_news(c)) return false;
        if (clock_mono_us() - begin_us <= MOMENT_US) return true;
    }
    return false;
}

bool catch_up_begin(struct catch_up *c)
{
    struct shard_group *group = c->home->group;
    ASSERT(!c->missing);
    if (is_all_read(c)) return false;
    for (uint32_t i = 0; i < group->count; i++) {
        c->missing++;
        c->parts[i] = (struct catch_up_part){.mail.deliver = deliver_request, .whole = c};
        shard_post(c->home, group->shards[i], &c->parts[i].mail);
    }
    return true;
}

bool catch_up_is_blind(const struct catch_up *c)
{
    return ring_is_blind(c->home->ring);
}

void catch_up_note_turn(struct shard *s, int completions)
{
    int turns = ring_level(s->ring) < RING_LEVEL_DEFER ? TURNS_EPOLL : 1;
    if (completions >= COMPLETIONS_AT_ONCE) turns = TURNS_MAX;
    struct catch_up_part **at = &s->catch_ups;
    while (*at) {
        struct catch_up_part *part = *at;
        if (++part->turns < turns) {
            at = &part->next;
            continue;
        }
        *at = part->next;
        part->mail.deliver = deliver_answer;
        shard_post(s, part->whole->home, &part->mail);
    }
}
