// SPDX-License-Identifier: BSD-3-Clause
//
// Where an item lies. Times are written in digits of 6 bits, digit 7 first. With t = the item's
// time, held between the wheel's time and TIMEWHEEL_MAX_MS, and l = the highest digit in which t
// and the wheel's time differ (0 if none does), the item lies in slot (l, digit l of t):
//
//     wheel's time   0 0 0 3 17 40 21 9
//     item           0 0 0 3 17 55  2 7     -> level 2, slot 55
//
// So all items of a level come before all items of the levels above, and in a level the slots are
// in order of time: the lowest bit in the lowest non-zero word of `occupied` is what comes next.
//
// Turning. When that next slot begins at or before the time asked for, the wheel's time becomes the
// slot's beginning. On level 0 its items are due. On a higher level the slot is now one of the
// wheel's own digits: its items move down, and until all have, nothing else happens ("pending"; the
// budget may end in between). When the next slot begins later, the wheel's time becomes the time
// asked for: no item changes its slot by that.
//
// Turning back, from time b to time a: with L = the highest digit in which they differ, items above
// level L and on level L keep their slots. Those below agree with b in digit L, so that all move to
// slot (L, digit L of b), but for the overdue ones, which are placed anew.
#include "ds/timewheel.h"

#include "base/assert.h"
#include "base/mem.h"

#define DIGIT_BITS  6
#define SLOT_COUNT  (TIMEWHEEL_LEVELS * TIMEWHEEL_SLOTS)
#define FIRST_NODES 4
#define KEEP_NODES                                                                                 \
    32 // an empty slot keeps an array of this length: level 0 comes round every 64 ms
#define SEGMENT_MASK (TIMEWHEEL_SEGMENT - 1)

static uint64_t clamp_time(int64_t ms)
{
    if (ms < 0) return 0;
    return MIN((uint64_t)ms, TIMEWHEEL_MAX_MS);
}

static unsigned digit_at(uint64_t time, unsigned level)
{
    return time >> (level * DIGIT_BITS) & (TIMEWHEEL_SLOTS - 1);
}

static unsigned highest_different_digit(uint64_t a, uint64_t b)
{
    return a == b ? 0 : (63 - (unsigned)__builtin_clzll(a ^ b)) / DIGIT_BITS;
}

static bool is_occupied(const struct timewheel *w, unsigned level, unsigned digit)
{
    return w->occupied[level] >> digit & 1;
}

// --- slots ---------------------------------------------------------------------------------------

static inline struct timewheel_node **slot_at(const struct timewheel_slot *s, uint32_t index)
{
    if (s->cap <= TIMEWHEEL_SEGMENT) return &s->nodes[index];
    return &s->segments[index >> TIMEWHEEL_SEGMENT_BITS][index & SEGMENT_MASK];
}

static struct timewheel_node **segment_new(void)
{
    return mem_alloc(TIMEWHEEL_SEGMENT * sizeof(struct timewheel_node *));
}

// Length of the array of segments: the power of two that has room for n.
static uint32_t directory_cap(uint32_t n)
{
    uint32_t cap = 2;
    while (cap < n) cap *= 2;
    return cap;
}

static void slot_grow(struct timewheel_slot *s)
{
    if (s->cap < TIMEWHEEL_SEGMENT) {
        uint32_t cap = s->cap ? s->cap * 2 : FIRST_NODES;
        s->nodes = mem_realloc(s->nodes, cap * sizeof *s->nodes);
        s->cap = cap;
        return;
    }
    uint32_t n = s->cap / TIMEWHEEL_SEGMENT;
    if (n == 1) {
        struct timewheel_node **first = s->nodes;
        s->segments = mem_alloc(directory_cap(2) * sizeof *s->segments);
        s->segments[0] = first;
    } else if (directory_cap(n) == n) {
        s->segments = mem_realloc(s->segments, directory_cap(n + 1) * sizeof *s->segments);
    }
    s->segments[n] = segment_new();
    s->cap += TIMEWHEEL_SEGMENT;
}

// Gives back what is not needed, keeping some room so that a slot does not grow and shrink in turn.
static void slot_shrink(struct timewheel_slot *s)
{
    if (s->cap > TIMEWHEEL_SEGMENT) {
        if (s->cap - s->len < TIMEWHEEL_SEGMENT + TIMEWHEEL_SEGMENT / 2) return;
        s->cap -= TIMEWHEEL_SEGMENT;
        mem_free(s->segments[s->cap / TIMEWHEEL_SEGMENT]);
        if (s->cap > TIMEWHEEL_SEGMENT) return;
        struct timewheel_node **first = s->segments[0];
        mem_free(s->segments);
        s->nodes = first;
    } else if (s->cap > KEEP_NODES && s->len <= s->cap / 4) {
        s->cap /= 2;
        s->nodes = mem_realloc(s->nodes, s->cap * sizeof *s->nodes);
    }
}

static void slot_free(struct timewheel_slot *s)
{
    if (s->cap > TIMEWHEEL_SEGMENT)
        for (uint32_t i = 0; i < s->cap / TIMEWHEEL_SEGMENT; i++) mem_free(s->segments[i]);
    mem_free(s->nodes); // or segments
}

// --- the wheel -----------------------------------------------------------------------------------

void timewheel_init(struct timewheel *w, int64_t now_ms)
{
    *w = (struct timewheel){.now_ms = MIN(clamp_time(now_ms), TIMEWHEEL_MAX_MS - 1)};
}

void timewheel_free(struct timewheel *w)
{
    if (w->slots)
        for (unsigned i = 0; i < SLOT_COUNT; i++) slot_free(&w->slots[i]);
    mem_free(w->slots);
    timewheel_init(w, (int64_t)w->now_ms);
}

static void put(struct timewheel *w, struct timewheel_node *node, unsigned level, unsigned digit)
{
    unsigned number = level * TIMEWHEEL_SLOTS + digit;
    struct timewheel_slot *s = &w->slots[number];
    if (UNLIKELY(s->len == s->cap)) slot_grow(s);
    node->slot = (uint16_t)number;
    node->index = s->len++;
    *slot_at(s, node->index) = node;
    w->occupied[level] |= 1ull << digit;
}

static void place(struct timewheel *w, struct timewheel_node *node)
{
    uint64_t time = MAX(clamp_time(node->at_ms), w->now_ms);
    unsigned level = highest_different_digit(time, w->now_ms);
    put(w, node, level, digit_at(time, level));
}

static void take_out(struct timewheel *w, struct timewheel_node *node)
{
    struct timewheel_slot *s = &w->slots[node->slot];
    ASSERT(node->index < s->len);
    ASSERT_SLOW(*slot_at(s, node->index) == node);
    struct timewheel_node *last = *slot_at(s, --s->len);
    last->index = node->index;
    *slot_at(s, node->index) = last;
    if (s->len == 0)
        w->occupied[node->slot / TIMEWHEEL_SLOTS] &= ~(1ull << node->slot % TIMEWHEEL_SLOTS);
    slot_shrink(s);
}

void timewheel_add(struct timewheel *w, struct timewheel_node *node)
{
    if (UNLIKELY(!w->slots)) w->slots = mem_calloc(SLOT_COUNT * sizeof *w->slots);
    place(w, node);
    w->count++;
}

void timewheel_remove(struct timewheel *w, struct timewheel_node *node)
{
    take_out(w, node);
    w->count--;
}

void timewheel_moved(struct timewheel *w, struct timewheel_node *node)
{
    struct timewheel_slot *s = &w->slots[node->slot];
    ASSERT(node->index < s->len);
    *slot_at(s, node->index) = node;
}

static struct timewheel_node *last_of(const struct timewheel_slot *s)
{
    return *slot_at(s, s->len - 1);
}

// The lowest level above 0 where the slot of the wheel's own digit has items left to move down; 0:
// none.
static unsigned pending_level(const struct timewheel *w)
{
    for (unsigned l = 1; l < TIMEWHEEL_LEVELS; l++)
        if (is_occupied(w, l, digit_at(w->now_ms, l))) return l;
    return 0;
}

// The beginning of the next slot that has items; only when nothing is pending and the wheel not
// empty.
static uint64_t next_slot_ms(const struct timewheel *w)
{
    unsigned level = 0;
    while (!w->occupied[level]) level++;
    unsigned shift = level * DIGIT_BITS;
    uint64_t above = w->now_ms >> (shift + DIGIT_BITS) << (shift + DIGIT_BITS);
    return above | (uint64_t)__builtin_ctzll(w->occupied[level]) << shift;
}

// Moves items of the pending slot down, as far as the budget goes.
static void move_down(struct timewheel *w, unsigned level, uint32_t *budget)
{
    unsigned digit = digit_at(w->now_ms, level);
    struct timewheel_slot *s = &w->slots[level * TIMEWHEEL_SLOTS + digit];
    for (; s->len && *budget; --*budget) {
        struct timewheel_node *node = last_of(s);
        take_out(w, node);
        place(w, node);
    }
}

// Moves the items of one slot, one that lies below level `to_level`; see the top of the file.
static uint32_t move_up(struct timewheel *w, struct timewheel_slot *s, uint64_t from_ms,
                        unsigned to_level)
{
    uint32_t moved = 0;
    // Overdue items may come back to this very slot, at its end: each is taken once.
    for (uint32_t left = s->len; left; left--, moved++) {
        struct timewheel_node *node = *slot_at(s, left - 1);
        take_out(w, node);
        if (clamp_time(node->at_ms) < from_ms)
            place(w, node);
        else
            put(w, node, to_level, digit_at(from_ms, to_level));
    }
    return moved;
}

static void turn_back(struct timewheel *w, uint64_t to_ms, uint32_t *budget)
{
    uint64_t from_ms = w->now_ms;
    unsigned level = highest_different_digit(from_ms, to_ms);
    uint64_t moved = 0;
    w->now_ms = to_ms;
    if (level == 0 && is_occupied(w, 0, digit_at(from_ms, 0)))
        moved += move_up(w, &w->slots[digit_at(from_ms, 0)], from_ms, 0);
    for (unsigned l = level; l-- > 0;)
        for (uint64_t bits = w->occupied[l]; bits; bits &= bits - 1) {
            unsigned slot = l * TIMEWHEEL_SLOTS + (unsigned)__builtin_ctzll(bits);
            moved += move_up(w, &w->slots[slot], from_ms, level);
        }
    *budget -= (uint32_t)MIN(moved, *budget);
}

struct timewheel_node *timewheel_due(struct timewheel *w, int64_t now_ms, uint32_t *budget)
{
    uint64_t target = MIN(clamp_time(now_ms), TIMEWHEEL_MAX_MS - 1);
    if (w->count == 0) {
        w->now_ms = target;
        return NULL;
    }
    if (UNLIKELY(target < w->now_ms)) turn_back(w, target, budget);
    while (*budget) {
        unsigned digit = digit_at(w->now_ms, 0);
        if (is_occupied(w, 0, digit)) {
            --*budget;
            return last_of(&w->slots[digit]);
        }
        unsigned level = pending_level(w);
        if (level) {
            move_down(w, level, budget);
            continue;
        }
        uint64_t next = next_slot_ms(w);
        w->now_ms = MIN(next, target);
        if (next > target) return NULL;
    }
    return NULL;
}

int64_t timewheel_next_ms(const struct timewheel *w)
{
    if (w->count == 0) return INT64_MAX;
    if (is_occupied(w, 0, digit_at(w->now_ms, 0)) || pending_level(w)) return 0;
    return (int64_t)next_slot_ms(w);
}

size_t timewheel_bytes(const struct timewheel *w)
{
    if (!w->slots) return 0;
    size_t bytes = SLOT_COUNT * sizeof *w->slots;
    for (unsigned i = 0; i < SLOT_COUNT; i++) {
        bytes += w->slots[i].cap * sizeof(struct timewheel_node *);
        if (w->slots[i].cap > TIMEWHEEL_SEGMENT)
            bytes += directory_cap(w->slots[i].cap / TIMEWHEEL_SEGMENT) * sizeof(void *);
    }
    return bytes;
}

// --- validation ----------------------------------------------------------------------------------

static void validate_node(const struct timewheel *w, const struct timewheel_node *node,
                          unsigned number, uint32_t index)
{
    unsigned level = number / TIMEWHEEL_SLOTS, digit = number % TIMEWHEEL_SLOTS;
    uint64_t time = clamp_time(node->at_ms);
    ASSERT(node->slot == number && node->index == index);
    if (digit != digit_at(w->now_ms, level)) {
        ASSERT(time > w->now_ms);
        ASSERT(highest_different_digit(time, w->now_ms) == level);
        ASSERT(digit_at(time, level) == digit);
    } else if (level == 0) {
        ASSERT(time <= w->now_ms);
    } else { // pending
        ASSERT(time >= w->now_ms && highest_different_digit(time, w->now_ms) < level);
    }
}

void timewheel_validate(const struct timewheel *w)
{
    uint64_t count = 0;
    ASSERT(w->now_ms < TIMEWHEEL_MAX_MS);
    ASSERT(w->slots || w->count == 0);
    for (unsigned i = 0; w->slots && i < SLOT_COUNT; i++) {
        const struct timewheel_slot *s = &w->slots[i];
        ASSERT(s->len <= s->cap && !s->cap == !s->nodes);
        ASSERT(s->cap <= TIMEWHEEL_SEGMENT || s->cap % TIMEWHEEL_SEGMENT == 0);
        ASSERT(is_occupied(w, i / TIMEWHEEL_SLOTS, i % TIMEWHEEL_SLOTS) == (s->len > 0));
        for (uint32_t k = 0; k < s->len; k++) validate_node(w, *slot_at(s, k), i, k);
        count += s->len;
    }
    ASSERT(count == w->count);
}
