#include "daemon/lane_own.h"

#include <stdlib.h>

#include "daemon/rows.h"

/* Frees records from the queue's head as far as they are applied. */
static void slot_done(ky_lane *l, ky_slot *t)
{
    t->done = true;
    while (l->head != l->tail && ky_lane_slot(l, l->head)->done) {
        const ky_record *r = ky_lane_slot(l, l->head)->r;

        l->done = ky_record_is_mark(r) ? r->pos : ky_record_end(r);
        l->hurry |= r->type == KY_REC_COMMIT;
        l->n_applied++;
        l->head++;
        ky_lane_begin_clock(l);
    }
}

static bool time_gap(const ky_class_cfg *c, const ky_stream *s, const ky_record *r)
{
    if (c->max_gap_us == 0 || s->ts_us == KY_NONE || r->ts_us <= s->ts_us || r->flags & KY_LATE)
        return false;
    /* Timed by arrival, a restart of ours is not a gap of theirs. */
    if (r->flags & KY_RESUMED && r->time_source == KY_TIME_ARRIVAL)
        return false;
    return (uint64_t)r->ts_us - (uint64_t)s->ts_us > (uint64_t)c->max_gap_us;
}

/* What the stream's first record will do; changes nothing yet. */
static void decide(const ky_lane *l, const ky_stream *s, ky_slot *t)
{
    const ky_class_cfg *c = &l->p->cfg->classes[s->class_];
    const ky_record *r = t->r;
    bool skipped =
        r->flags & KY_COUNTED && ky_window_look(&ky_stream_aside(s)->window, r->seq) == KY_SEEN_GAP;

    t->zero = r->flags & (KY_START | KY_RESET) || s->ended;
    bool silent = !t->zero && time_gap(c, s, r);

    t->gap = silent || skipped;
    t->reset = (silent && c->on_gap == KY_GAP_RESET) ||
               (t->gap && !t->zero && c->on_gap == KY_GAP_HOLD && r->filled == 0);
    t->zero |= t->reset;
}

/* The stream waits for a wave of each of its models. */
static void ready(ky_lane *l, ky_stream *s, ky_slot *t)
{
    t->left = s->n_models;
    for (int k = 0; k < s->n_models; k++) {
        ky_strand *d = ky_stream_strand(s, k);

        d->step = 0;
        ky_lane_ready(l, t->zero || d->works == NULL ? ky_lane_works(l, s, k) : d->works, s);
    }
}

void ky_lane_leave(ky_lane *l, ky_stream *s)
{
    ky_slot *t = ky_lane_slot(l, s->first);

    s->first = t->next;
    if (s->first == KY_NO_SLOT)
        s->last = KY_NO_SLOT;
    slot_done(l, t);
}

/* -- what records do -- */

static void apply_label(ky_lane *l, ky_stream *s, const ky_record *r)
{
    ky_lane_touch(l, s, r);
    ky_rows_label(ky_lane_unit(l), r, r->n);
    ky_lane_owe(l, s);
    KY_COUNT(l->p->count.labels);
    ky_lane_applied(l, s, r);
}

static void apply_end(ky_lane *l, ky_stream *s, const ky_record *r)
{
    ky_lane_touch(l, s, r);
    if (r->n == s->n && !s->ended) {
        ky_rows_break(ky_lane_unit(l), s, r, "ended");
        ky_lane_owe(l, s);
        KY_COUNT(l->p->count.ended);
        ky_lane_tell_last(l, s, r);
        s->ended = true;
    }
    ky_lane_applied(l, s, r);
}

/* The stream is as if it had never sent anything, but for its numbers. */
static void apply_forget(ky_lane *l, ky_stream *s, const ky_record *r)
{
    ky_lane_touch(l, s, r);
    ky_rows_break(ky_lane_unit(l), s, r, "forgotten");
    ky_lane_owe(l, s);
    KY_COUNT(l->p->count.forgotten);
    s->ended = true;
    for (int k = 0; k < s->n_models; k++) {
        ky_works_clear(ky_stream_strand(s, k));
        ky_lane_zero(l, s, k, false);
    }
    s->ts_us = KY_NONE;
    if (s->aside != NULL) {
        ky_aside *a = s->aside;

        a->window = (ky_window){ .high = KY_NONE, .epoch = a->window.epoch };
        free(a->held);
        a->held = NULL;
    }
    ky_lane_applied(l, s, r);
}

void ky_lane_next(ky_lane *l, ky_stream *s)
{
    if (s->first != KY_NO_SLOT)
        ky_pager_in(l->pager, s);
    while (s->first != KY_NO_SLOT) {
        ky_slot *t = ky_lane_slot(l, s->first);

        if (t->r->type == KY_REC_SAMPLE) {
            decide(l, s, t);
            ready(l, s, t);
            return;
        }
        if (t->r->type == KY_REC_LABEL)
            apply_label(l, s, t->r);
        else if (t->r->type == KY_REC_END)
            apply_end(l, s, t->r);
        else
            apply_forget(l, s, t->r);
        ky_lane_leave(l, s);
    }
}

static void admit_record(ky_lane *l, const ky_record *r)
{
    uint16_t i = (uint16_t)(l->tail++ % KY_SLOTS);
    ky_slot *t = ky_lane_slot(l, i);

    *t = (ky_slot){ .r = r, .next = KY_NO_SLOT };
    if (r->type == KY_REC_LEAVE)
        ky_lane_forget(l, r->stream);
    if (ky_record_is_mark(r)) {
        slot_done(l, t);
        return;
    }
    t->s = ky_lane_stream(l, r);
    if (r->pos < t->s->pos) { /* replayed, and its row has it already */
        slot_done(l, t);
        return;
    }
    bool alone = t->s->first == KY_NO_SLOT;

    if (alone)
        t->s->first = i;
    else
        ky_lane_slot(l, t->s->last)->next = i;
    t->s->last = i;
    if (alone)
        ky_lane_next(l, t->s);
}

/* The next record; those behind it are on their way into the processor's cache, stage by stage:
 * where the table has their streams, the streams, their states. A million streams are found in
 * memory at no time at all otherwise. */
static const ky_record *next_record(ky_lane *l)
{
    ky_ahead *a = &l->ahead;
    size_t size;
    const ky_record *r;

    while (a->tail - a->head < KY_AHEAD && (r = ky_queue_next(&l->in, &size)) != NULL) {
        a->r[a->tail++ % KY_AHEAD] = r;
        ky_streams_want_slot(&l->streams, r->stream);
    }
    if (a->tail - a->head > KY_AHEAD / 2)
        ky_streams_want(&l->streams, a->r[(a->head + KY_AHEAD / 2) % KY_AHEAD]->stream);
    if (a->tail - a->head > KY_AHEAD / 4)
        ky_streams_want_state(&l->streams, a->r[(a->head + KY_AHEAD / 4) % KY_AHEAD]->stream);
    return a->head != a->tail ? a->r[a->head++ % KY_AHEAD] : NULL;
}

bool ky_lane_admit(ky_lane *l)
{
    bool any = false;
    const ky_record *r;

    while (l->fence == NULL && l->tail - l->head < KY_SLOTS && l->ready < l->p->cfg->max_wave &&
           (r = next_record(l)) != NULL) {
        if (r->type == KY_REC_CONFIG || r->type == KY_REC_SWAP)
            l->fence = r;
        else
            admit_record(l, r);
        any = true;
    }
    return any;
}

void ky_lane_release(ky_lane *l)
{
    if (l->n_applied > 0)
        ky_queue_pop_many(&l->in, l->n_applied);
    l->n_applied = 0;
}
