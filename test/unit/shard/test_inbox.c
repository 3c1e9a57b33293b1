// SPDX-License-Identifier: BSD-3-Clause
//
// Single-threaded: what goes in comes out, in order. Then senders and owners in threads of their
// own: parts that enter several inboxes in one step come out everywhere in one order, mail arrives
// once and in its sender's order, and an owner that goes to sleep is woken.
#include "shard/inbox.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <semaphore.h>
#include <time.h>

#include "base/mem.h"
#include "base/random.h"
#include "shard/operation.h"

#define INBOXES 3
#define SENDERS 3
#define SENDS   4000 // by each

// On the heap: gcc 12's AddressSanitizer does not keep alignments above 32 bytes on its stacks.
static struct inbox *new_inbox(void)
{
    struct inbox *in = mem_alloc_aligned(sizeof *in, 64);
    inbox_init(in);
    return in;
}

static void free_inbox(struct inbox *in)
{
    inbox_destroy(in);
    mem_free(in);
}

Test(inbox, parts_come_out_in_the_order_in_which_they_went_in)
{
    struct inbox *in = new_inbox();
    struct inbox_item parts[5];
    cr_assert(!inbox_has_parts(in));
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 5; i++) {
            parts[i].next = &parts[0]; // rubbish
            inbox_lock(in);
            inbox_push(in, &parts[i]);
            inbox_unlock(in);
            cr_assert(inbox_has_parts(in));
        }
        inbox_lock(in);
        struct inbox_item *p = inbox_detach(in);
        cr_assert_null(inbox_detach(in));
        inbox_unlock(in);
        cr_assert(!inbox_has_parts(in));
        for (int i = 0; i < 5; i++, p = p->next) cr_assert_eq(p, &parts[i]);
        cr_assert_null(p);
    }
    free_inbox(in);
}

Test(inbox, mail_comes_out_oldest_first)
{
    struct inbox *in = new_inbox();
    struct mail mail[5];
    cr_assert(!inbox_has_mail(in) && !inbox_take_mail(in));
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 5; i++) inbox_post(in, &mail[i]);
        cr_assert(inbox_has_mail(in));
        struct mail *m = inbox_take_mail(in);
        for (int i = 0; i < 5; i++, m = m->next) cr_assert_eq(m, &mail[i]);
        cr_assert(!m && !inbox_has_mail(in));
    }
    free_inbox(in);
}

Test(inbox, a_sleeper_is_woken_by_one_sender_only)
{
    struct inbox *in = new_inbox();
    cr_assert(!inbox_claim(in) && !inbox_is_claimed(in));
    inbox_fall_asleep(in);
    cr_assert(inbox_claim(in) && inbox_is_claimed(in));
    cr_assert(!inbox_claim(in));
    inbox_wake_up(in);
    cr_assert(!inbox_is_claimed(in) && !inbox_stand_in(in), "it is awake");
    free_inbox(in);
}

Test(inbox, who_stands_in_says_whether_the_owner_must_be_woken)
{
    struct inbox *in = new_inbox();
    struct mail mail = {0};
    inbox_fall_asleep(in);
    cr_assert(!inbox_stand_in(in), "not claimed");
    cr_assert(inbox_claim(in) && inbox_stand_in(in));
    cr_assert(!inbox_claim(in), "who comes now is seen to");
    cr_assert(!inbox_stand_down(in, false));
    cr_assert(inbox_claim(in) && inbox_stand_in(in), "it sleeps as before");
    inbox_post(in, &mail);
    cr_assert(inbox_stand_down(in, false), "something came meanwhile");
    cr_assert(inbox_stand_in(in) && inbox_take_mail(in) == &mail);
    cr_assert(inbox_stand_down(in, true) && inbox_is_claimed(in));
    inbox_wake_up(in);
    free_inbox(in);
}

// --- with threads --------------------------------------------------------------------------------

struct letter {
    struct mail mail;
    uint32_t sender, number;
};

struct numbered {
    struct inbox_item item;
    uint32_t number;
};

struct sending { // something that entered the inboxes of `mask` in one step
    struct numbered parts[INBOXES];
    uint32_t mask;
};

struct office {
    struct inbox in[INBOXES];
    sem_t wakes[INBOXES];
    struct sending *sendings[SENDERS]; // SENDS of each sender
    struct letter *letters[SENDERS][INBOXES];
    uint32_t *seen[INBOXES]; // sender * SENDS + number of what came, in order
    uint32_t seen_count[INBOXES], mail_count[INBOXES];
    uint32_t next_letter[INBOXES][SENDERS];
    _Atomic uint32_t senders_left;
    _Atomic uint32_t sleeps, stands, lost_wakes, mixed_mail;
};

struct actor {
    struct office *office;
    uint32_t id;
    pthread_t thread;
};

static bool take_all(struct office *o, uint32_t id);

// Or takes what is there in its owner's place.
static void wake(struct office *o, uint32_t i)
{
    struct inbox *in = &o->in[i];
    if (!inbox_claim(in)) return;
    if (i % 2 && inbox_stand_in(in)) {
        take_all(o, i);
        o->stands++;
        if (!inbox_stand_down(in, false)) return;
    }
    sem_post(&o->wakes[i]);
}

static void send_parts(struct office *o, struct sending *s)
{
    for (uint32_t i = 0; i < INBOXES; i++)
        if (s->mask & 1u << i) inbox_lock(&o->in[i]);
    for (uint32_t i = 0; i < INBOXES; i++)
        if (s->mask & 1u << i) inbox_push(&o->in[i], &s->parts[i].item);
    for (uint32_t i = INBOXES; i-- > 0;)
        if (s->mask & 1u << i) inbox_unlock(&o->in[i]);
    for (uint32_t i = 0; i < INBOXES; i++)
        if (s->mask & 1u << i) wake(o, i);
}

static void *sender_main(void *arg)
{
    struct actor *a = arg;
    struct office *o = a->office;
    struct random random;
    random_seed(&random, a->id + 1);
    for (uint32_t n = 0; n < SENDS; n++) {
        struct sending *s = &o->sendings[a->id][n];
        s->mask = 1 + (uint32_t)random_below(&random, (1u << INBOXES) - 1);
        for (uint32_t i = 0; i < INBOXES; i++) s->parts[i].number = a->id * SENDS + n;
        send_parts(o, s);
        for (uint32_t i = 0; i < INBOXES; i++) {
            struct letter *l = &o->letters[a->id][i][n];
            l->sender = a->id;
            l->number = n;
            inbox_post(&o->in[i], &l->mail);
            wake(o, i);
        }
        if (random_below(&random, 64) == 0) // let the owners fall asleep
            nanosleep(&(struct timespec){0, 50000}, NULL);
    }
    // Release, acquire: who sees that all have gone sees what they sent.
    atomic_fetch_sub_explicit(&o->senders_left, 1, memory_order_release);
    return NULL;
}

static bool take_all(struct office *o, uint32_t id)
{
    struct inbox *in = &o->in[id];
    bool had_any = false;
    if (inbox_has_parts(in)) {
        inbox_lock(in);
        struct inbox_item *p = inbox_detach(in);
        inbox_unlock(in);
        for (; p; p = p->next, had_any = true)
            o->seen[id][o->seen_count[id]++] = ((struct numbered *)(void *)p)->number;
    }
    for (struct mail *m = inbox_take_mail(in); m; m = m->next, had_any = true) {
        struct letter *l = (struct letter *)m;
        if (l->number != o->next_letter[id][l->sender]++) o->mixed_mail++;
        o->mail_count[id]++;
    }
    return had_any;
}

static void fall_asleep(struct office *o, uint32_t id)
{
    struct inbox *in = &o->in[id];
    struct timespec until;
    inbox_fall_asleep(in);
    if (!inbox_has_parts(in) && !inbox_has_mail(in)) {
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += 2;
        o->sleeps++;
        // Nobody came for two seconds: fine, unless there is something in the inbox.
        if (sem_timedwait(&o->wakes[id], &until) && errno == ETIMEDOUT &&
            atomic_load(&in->rest) == REST_ASLEEP && (inbox_has_parts(in) || inbox_has_mail(in)))
            o->lost_wakes++;
    }
    inbox_wake_up(in);
}

static void *owner_main(void *arg)
{
    struct actor *a = arg;
    struct office *o = a->office;
    for (;;) {
        bool is_over = !atomic_load_explicit(&o->senders_left, memory_order_acquire);
        if (take_all(o, a->id)) continue;
        if (is_over) return NULL;
        fall_asleep(o, a->id);
    }
}

static struct office *office_new(void)
{
    struct office *o = mem_alloc_aligned(sizeof *o, 64);
    *o = (struct office){.senders_left = SENDERS};
    for (uint32_t i = 0; i < INBOXES; i++) {
        inbox_init(&o->in[i]);
        sem_init(&o->wakes[i], 0, 0);
        o->seen[i] = mem_calloc(SENDERS * SENDS * sizeof(uint32_t));
    }
    for (uint32_t s = 0; s < SENDERS; s++) {
        o->sendings[s] = mem_calloc(SENDS * sizeof(struct sending));
        for (uint32_t i = 0; i < INBOXES; i++)
            o->letters[s][i] = mem_calloc(SENDS * sizeof(struct letter));
    }
    return o;
}

static void office_free(struct office *o)
{
    for (uint32_t s = 0; s < SENDERS; s++) {
        mem_free(o->sendings[s]);
        for (uint32_t i = 0; i < INBOXES; i++) mem_free(o->letters[s][i]);
    }
    for (uint32_t i = 0; i < INBOXES; i++) {
        inbox_destroy(&o->in[i]);
        sem_destroy(&o->wakes[i]);
        mem_free(o->seen[i]);
    }
    mem_free(o);
}

static void office_run(struct office *o)
{
    struct actor senders[SENDERS], owners[INBOXES];
    for (uint32_t i = 0; i < INBOXES; i++) {
        owners[i] = (struct actor){.office = o, .id = i};
        pthread_create(&owners[i].thread, NULL, owner_main, &owners[i]);
    }
    for (uint32_t i = 0; i < SENDERS; i++) {
        senders[i] = (struct actor){.office = o, .id = i};
        pthread_create(&senders[i].thread, NULL, sender_main, &senders[i]);
    }
    for (uint32_t i = 0; i < SENDERS; i++) pthread_join(senders[i].thread, NULL);
    for (uint32_t i = 0; i < INBOXES; i++) {
        sem_post(&o->wakes[i]); // to look whether all is over
        pthread_join(owners[i].thread, NULL);
    }
}

static uint32_t mask_of(const struct office *o, uint32_t id)
{
    return o->sendings[id / SENDS][id % SENDS].mask;
}

// The next at or behind `at` in inbox i that entered j too.
static uint32_t next_common(const struct office *o, uint32_t i, uint32_t j, uint32_t at)
{
    while (at < o->seen_count[i] && !(mask_of(o, o->seen[i][at]) & 1u << j)) at++;
    return at;
}

static void check_same_order(const struct office *o, uint32_t i, uint32_t j)
{
    uint32_t a = next_common(o, i, j, 0), b = next_common(o, j, i, 0);
    while (a < o->seen_count[i] && b < o->seen_count[j]) {
        cr_assert_eq(o->seen[i][a], o->seen[j][b]);
        a = next_common(o, i, j, a + 1);
        b = next_common(o, j, i, b + 1);
    }
    cr_assert(a == o->seen_count[i] && b == o->seen_count[j]);
}

static void check_own_order(const struct office *o, uint32_t i)
{
    uint32_t next[SENDERS] = {0}, count = 0;
    for (uint32_t at = 0; at < o->seen_count[i]; at++) {
        uint32_t sender = o->seen[i][at] / SENDS, number = o->seen[i][at] % SENDS;
        cr_assert(number >= next[sender], "inbox %u: %u after %u", i, number, next[sender]);
        next[sender] = number + 1;
    }
    for (uint32_t id = 0; id < SENDERS * SENDS; id++) count += mask_of(o, id) >> i & 1;
    cr_assert_eq(o->seen_count[i], count);
    cr_assert_eq(o->mail_count[i], SENDERS * SENDS);
}

Test(inbox, what_enters_several_inboxes_in_one_step_has_one_order_in_all_of_them, .timeout = 120)
{
    struct office *o = office_new();
    office_run(o);
    for (uint32_t i = 0; i < INBOXES; i++) {
        check_own_order(o, i);
        for (uint32_t j = i + 1; j < INBOXES; j++) check_same_order(o, i, j);
    }
    cr_assert_eq(o->mixed_mail, 0);
    cr_assert_eq(o->lost_wakes, 0);
    cr_assert_gt(o->sleeps, 0);
    office_free(o);
}
