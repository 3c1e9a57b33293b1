// SPDX-License-Identifier: BSD-3-Clause
//
// Entries that were delivered at one time and for the same number of times make one effect: a
// XREADGROUP of a thousand entries is one XCLAIM with a thousand ids.
#include "commands/stream_effect.h"

#include "commands/stream_arg.h"

void stream_effect_add_id(struct effect_draft *d, struct stream_id id)
{
    char text[STREAM_ID_TEXT];
    if (UNLIKELY(d->to != NULL))
        effect_add_word(d, (struct slice){text, stream_format_id(text, id)});
}

static void end_claim(struct stream_effect *x)
{
    if (!x->claim.to) return;
    effect_add(&x->claim, SLICE("TIME"));
    effect_add_int(&x->claim, x->like.delivered_ms);
    effect_add(&x->claim, SLICE("RETRYCOUNT"));
    effect_add_int(&x->claim, (int64_t)x->like.count);
    effect_add(&x->claim, SLICE("FORCE"));
    effect_add(&x->claim, SLICE("JUSTID"));
    effect_end(&x->claim);
    x->claim.to = NULL;
}

static void begin_claim(struct stream_effect *x, const struct stream_nack *nack)
{
    effect_begin(&x->claim, x->ctx, "XCLAIM", x->key);
    effect_add(&x->claim, x->group);
    effect_add(&x->claim, x->consumer);
    effect_add_int(&x->claim, 0); // however long it was pending
    x->like = *nack;
}

void stream_effect_created(struct stream_effect *x)
{
    struct slice argv[] = {SLICE("XGROUP"), SLICE("CREATECONSUMER"), x->key, x->group, x->consumer};
    end_claim(x);
    effect_say(x->ctx, x->key, ARRAY_LEN(argv), argv);
}

void stream_effect_assigned(struct stream_effect *x, struct stream_id id,
                            const struct stream_nack *nack)
{
    if (LIKELY(!effect_is_wanted(x->ctx))) return;
    bool is_alike =
        x->claim.to && x->like.delivered_ms == nack->delivered_ms && x->like.count == nack->count;
    if (!is_alike) {
        end_claim(x);
        begin_claim(x, nack);
    }
    stream_effect_add_id(&x->claim, id);
}

void stream_effect_released(struct stream_effect *x, struct stream_id id)
{
    struct effect_draft xack;
    end_claim(x);
    effect_begin(&xack, x->ctx, "XACK", x->key);
    effect_add(&xack, x->group);
    stream_effect_add_id(&xack, id);
    effect_end(&xack);
}

void stream_effect_advanced(struct stream_effect *x, const struct stream_group *g)
{
    if (LIKELY(!effect_is_wanted(x->ctx))) return;
    char id[STREAM_ID_TEXT], read[NUM_I64_TEXT];
    struct slice argv[] = {SLICE("XGROUP"),
                           SLICE("SETID"),
                           x->key,
                           x->group,
                           {id, stream_format_id(id, g->last_id)},
                           SLICE("ENTRIESREAD"),
                           {read, num_format_i64(read, g->entries_read)}};
    end_claim(x);
    effect_say(x->ctx, x->key, ARRAY_LEN(argv), argv);
}

void stream_effect_end(struct stream_effect *x)
{
    end_claim(x);
}
