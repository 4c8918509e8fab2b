#include "daemon/lane_own.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "daemon/health.h"
#include "daemon/rows.h"

/* The stream's strands are those of one that has seen nothing. */
static void begin_anew(ky_lane *l, ky_stream *s, const ky_slot *t)
{
    if (t->r->flags & KY_START || s->ended)
        s->start_n = s->n + 1;
    for (int k = 0; k < s->n_models; k++) {
        ky_strand *d = ky_stream_strand(s, k);

        ky_lane_zero(l, s, k, t->reset);
        if (d->rare != NULL && d->rare->last != NULL)
            d->rare->last->n = 0;
    }
    s->ended = false;
}

/* The record's first step, whichever model takes it: what was decided is done. */
static void begin(ky_lane *l, ky_stream *s, ky_slot *t)
{
    const ky_record *r = t->r;

    if (r->n != s->n + 1)
        ky_core_die(EX_DATAERR, "lane", "stream %.*s is at step %lld, its next record is for %lld",
                    r->stream_len, ky_record_stream(r), (long long)s->n, (long long)r->n);
    ky_lane_touch(l, s, r);
    if (t->gap) {
        ky_rows_gap(ky_lane_unit(l), s, r, t->reset ? "reset" : r->filled > 0 ? "held" : "kept");
        ky_lane_owe(l, s);
        KY_COUNT(l->p->count.gaps);
    }
    if (t->zero)
        begin_anew(l, s, t);
    if (l->is_closing && (t->left > 1 || r->steps > 1))
        ky_lane_owe(l, s); /* what it is in between is for no unit */
    t->begun = true;
    l->midway++;
}

static enum ky_quality quality_of(const ky_class_cfg *c, const ky_strand *d, const ky_slot *t)
{
    int64_t n = t->r->n + d->step;

    return t->r->flags & KY_LATE               ? KY_Q_LATE
           : t->gap && d->step == t->r->filled ? KY_Q_GAP
           : n - d->zero_n < c->warm_up        ? KY_Q_WARMING
           : d->cut                            ? KY_Q_TRUNCATED
                                               : KY_Q_OK;
}

static void answer(ky_lane *l, ky_stream *s, ky_strand *d, const ky_slot *t, const float *y,
                   int64_t now_us)
{
    const ky_class_cfg *c = &l->p->cfg->classes[s->class_];
    const ky_record *r = t->r;
    ky_said a = { .s = s,
                  .v = d->works->v,
                  .n = r->n + d->step,
                  .seq = r->seq,
                  .ts_us = r->ts_us,
                  .latency_us = now_us - r->arrival_us,
                  .quality = quality_of(c, d, t) };

    a.label = ky_served_decide(a.v->facts, y, &a.score);
    if (c->log == KY_LOG_ALL || (c->log == KY_LOG_CHANGE && a.label != d->label)) {
        ky_rows_prediction(ky_lane_unit(l), &a, r, now_us, y);
        ky_lane_owe(l, s);
    }
    l->n_answers++;
    ky_lane_tell(l, d, &a, r, y);
    d->label = a.label;
}

static void quarantine(ky_lane *l, ky_strand *d, const char *before, const ky_record *r)
{
    static const struct {
        const char *what, *detail;
    } events[] = {
        [KY_UNDONE_FIRST] = { "quarantine", "a step gave an answer or a state that is not finite; "
                                            "it was undone" },
        [KY_UNDONE_ALL] = { "reset", "no step from its state was finite any more; it begins from "
                                     "zeros" },
    };
    char object[KY_STREAM_MAX + 16];
    enum ky_undone undone = ky_health_undo(d, r->n + d->step, before, r->arrival_us);

    KY_COUNT(l->p->count.quarantined);
    if (undone == KY_UNDONE)
        return;
    snprintf(object, sizeof(object), "stream %.*s", r->stream_len, ky_record_stream(r));
    ky_outbox_event(&l->out, "warn", object, events[undone].what, events[undone].detail);
}

static void end_record(ky_lane *l, ky_stream *s, const ky_slot *t)
{
    const ky_record *r = t->r;

    l->midway--;
    s->n += r->steps;
    if (r->flags & KY_COUNTED)
        ky_window_take(&ky_stream_set_aside(s)->window, r->seq);
    if (r->text_len > 0) {
        ky_rows_label(ky_lane_unit(l), r, s->n);
        ky_lane_owe(l, s);
        KY_COUNT(l->p->count.labels);
    }
    if (l->p->holds[s->class_]) {
        size_t len = r->features * sizeof(float);
        ky_aside *a = ky_stream_set_aside(s);

        if (a->held == NULL && (a->held = malloc(len)) == NULL)
            ky_core_die(EX_OSERR, "lane", "no memory");
        memcpy(a->held, ky_record_x(r) + (size_t)(r->steps - 1) * r->features, len);
    }
    if (!(r->flags & KY_LATE))
        s->ts_us = r->ts_us;
    if (r->flags & KY_END)
        ky_lane_tell_last(l, s, r);
    s->ended = r->flags & KY_END;
    ky_lane_applied(l, s, r);
}

/* A row of the wave after its step. */
static void finish(ky_lane *l, ky_works *w, int row, int64_t now_us)
{
    ky_stream *s = l->rows[row];
    ky_strand *d = ky_stream_strand(s, w->nth);
    ky_slot *t = ky_lane_slot(l, s->first);

    if (!ky_health_stands(w, d->state, l->answered[row] ? l->y[row] : NULL)) {
        quarantine(l, d, w->backup + (size_t)row * w->state_bytes, t->r);
        ky_lane_owe(l, s); /* what is told of it */
    } else if (l->answered[row] && d->step >= t->r->filled)
        answer(l, s, d, t, l->y[row], now_us);
    if (++d->step < t->r->steps) {
        ky_lane_ready(l, w, s);
        return;
    }
    if (--t->left > 0)
        return;
    end_record(l, s, t);
    ky_lane_leave(l, s);
    ky_lane_next(l, s);
}

/* The next that are ready; with midway only those whose record is begun, the others keep their
 * place. */
static int gather(ky_lane *l, ky_works *w, bool midway)
{
    uint32_t kept = w->head;
    int B = 0;

    while (!midway && w->head != w->tail && B < l->p->cfg->max_wave)
        l->rows[B++] = *ky_works_at(w, w->head++);
    for (uint32_t i = w->head; midway && i != w->tail; i++) {
        ky_stream *s = *ky_works_at(w, i);

        if (B < l->p->cfg->max_wave && ky_lane_slot(l, s->first)->begun)
            l->rows[B++] = s;
        else
            *ky_works_at(w, kept++) = s;
    }
    w->tail = midway ? kept : w->tail;
    l->ready -= B;
    return B;
}

static bool wave(ky_lane *l, ky_works *w, bool midway)
{
    int B = gather(l, w, midway);
    int outputs = w->v->facts->outputs;

    if (B == 0)
        return false;
    for (int i = 0; i < B; i++) {
        ky_stream *s = l->rows[i];
        const ky_strand *d = ky_stream_strand(s, w->nth);
        ky_slot *t = ky_lane_slot(l, s->first);

        if (!t->begun)
            begin(l, s, t);
        l->x[i] = ky_record_x(t->r) + (size_t)d->step * t->r->features;
        l->state[i] = d->state;
        l->y[i] = w->y + (size_t)i * (size_t)outputs;
        memcpy(w->backup + (size_t)i * w->state_bytes, d->state, w->state_bytes);
    }
    ky_plan_step(w->plan, w->wave, B, l->x, l->state, l->y, l->answered);
    int64_t now_us = ky_clock_wall_us();

    l->n_answers = 0;
    for (int i = 0; i < B; i++)
        finish(l, w, i, now_us);
    KY_COUNT(l->p->count.waves[B]);
    KY_COUNT_MORE(l->p->count.answers, l->n_answers);
    KY_COUNT_MORE(l->p->count.steps, (uint64_t)B);
    return true;
}

bool ky_lane_waves(ky_lane *l, bool midway)
{
    bool any = false;

    for (int c = 0; c < l->p->cfg->n_classes; c++)
        for (ky_works *w = l->works[c]; w != NULL; w = w->next)
            if (w->head != w->tail && wave(l, w, midway))
                any = true;
    if (l->told_any)
        ky_queue_ring(l->told);
    l->told_any = false;
    return any;
}
