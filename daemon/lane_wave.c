#include "daemon/lane_own.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "daemon/health.h"
#include "daemon/rows.h"

/* The record's first step: what was decided is done. */
static void begin(ky_lane *l, ky_stream *s, ky_slot *t)
{
    const ky_record *r = t->r;

    if (r->n != s->n + 1)
        ky_core_die(EX_DATAERR, "lane", "stream %s is at step %lld, its next record is for %lld",
                    s->name, (long long)s->n, (long long)r->n);
    ky_lane_touch(l, s);
    if (t->gap) {
        ky_rows_gap(ky_lane_unit(l), s, r, t->reset ? "reset" : r->filled > 0 ? "held" : "kept");
        KY_COUNT(l->p->count.gaps);
    }
    if (t->zero) {
        if (r->flags & KY_START || s->ended)
            s->start_n = s->n + 1;
        ky_works_zero(t->works, s);
        if (s->final != NULL)
            s->final->end = false; /* of another sequence */
        s->cut = t->reset;
        s->ended = false;
    }
    if (r->steps > 1)
        l->midway++;
}

static enum ky_quality quality_of(const ky_class_cfg *c, const ky_stream *s, const ky_slot *t)
{
    return t->r->flags & KY_LATE               ? KY_Q_LATE
           : t->gap && t->step == t->r->filled ? KY_Q_GAP
           : s->n - s->zero_n < c->warm_up     ? KY_Q_WARMING
           : s->cut                            ? KY_Q_TRUNCATED
                                               : KY_Q_OK;
}

static void answer(ky_lane *l, ky_stream *s, const ky_slot *t, const float *y, int64_t now_us)
{
    const ky_class_cfg *c = &l->p->cfg->classes[s->class_];
    const ky_record *r = t->r;
    bool last = t->step + 1 == r->steps;
    ky_said a = { .s = s,
                  .v = s->works->v,
                  .n = s->n,
                  .seq = r->seq,
                  .ts_us = r->ts_us,
                  .latency_us = now_us - r->arrival_us,
                  .end = last && r->flags & KY_END,
                  .quality = quality_of(c, s, t) };

    a.label = ky_served_decide(a.v->facts, y, &a.score);
    if (c->log == KY_LOG_ALL || (c->log == KY_LOG_CHANGE && a.label != s->label))
        ky_rows_prediction(ky_lane_unit(l), &a, r, now_us, y);
    s->label = a.label;
    KY_COUNT(l->p->count.answers);
    if (l->told == NULL)
        return;
    if (c->emit == KY_EMIT_END && c->end_after_us > 0)
        ky_lane_keep_last(s, &a, y);
    if (r->pos >= l->p->live_from)
        ky_lane_tell(l, &a, y);
}

static void quarantine(ky_lane *l, ky_stream *s, const char *before, const ky_record *r)
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
    enum ky_undone undone = ky_health_undo(s, before, r->arrival_us);

    KY_COUNT(l->p->count.quarantined);
    if (undone == KY_UNDONE)
        return;
    snprintf(object, sizeof(object), "stream %s", s->name);
    ky_outbox_event(&l->out, "warn", object, events[undone].what, events[undone].detail);
}

static void end_record(ky_lane *l, ky_stream *s, const ky_slot *t)
{
    const ky_record *r = t->r;

    if (r->steps > 1)
        l->midway--;
    if (r->flags & KY_COUNTED)
        ky_window_take(&s->window, r->seq);
    if (r->text_len > 0) {
        ky_rows_label(ky_lane_unit(l), r, s->n);
        KY_COUNT(l->p->count.labels);
    }
    if (l->p->holds[s->class_]) {
        size_t len = r->features * sizeof(float);

        if (s->held == NULL && (s->held = malloc(len)) == NULL)
            ky_core_die(EX_OSERR, "lane", "no memory");
        memcpy(s->held, ky_record_x(r) + (size_t)(r->steps - 1) * r->features, len);
    }
    if (!(r->flags & KY_LATE))
        s->ts_us = r->ts_us;
    s->ended = r->flags & KY_END;
    ky_lane_applied(l, s, r);
}

/* A row of the wave after its step. */
static void finish(ky_lane *l, ky_works *w, int row, int64_t now_us)
{
    ky_stream *s = l->rows[row];
    ky_slot *t = ky_lane_slot(l, s->first);

    s->n++;
    if (!ky_health_stands(w, s->state, l->answered[row] ? l->y[row] : NULL))
        quarantine(l, s, w->backup + (size_t)row * w->block, t->r);
    else if (l->answered[row] && t->step >= t->r->filled)
        answer(l, s, t, l->y[row], now_us);
    if (++t->step < t->r->steps) {
        ky_works_ready(w, s);
        return;
    }
    end_record(l, s, t);
    ky_lane_leave(l, s);
    ky_lane_next(l, s);
}

/* The next streams of a list; with midway only those in the middle of a record, the others keep
 * their place. */
static int gather(ky_lane *l, ky_works *w, bool midway)
{
    ky_stream *s = w->first, *last = w->last, *next;
    int B = 0;

    w->first = w->last = NULL;
    for (; s != NULL && B < l->p->cfg->max_wave; s = next) {
        next = s->ready;
        if (midway && ky_lane_slot(l, s->first)->step == 0)
            ky_works_ready(w, s);
        else
            l->rows[B++] = s;
    }
    if (s != NULL) { /* more are ready than a wave takes */
        if (w->first == NULL)
            w->first = s;
        else
            w->last->ready = s;
        w->last = last;
    }
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
        ky_slot *t = ky_lane_slot(l, s->first);

        if (t->step == 0)
            begin(l, s, t);
        l->x[i] = ky_record_x(t->r) + (size_t)t->step * t->r->features;
        l->state[i] = s->state;
        l->y[i] = w->y + (size_t)i * (size_t)outputs;
        memcpy(w->backup + (size_t)i * w->block, s->state, w->state_bytes);
    }
    ky_plan_step(w->plan, w->wave, B, l->x, l->state, l->y, l->answered);
    KY_COUNT(l->p->count.waves[B]);
    atomic_fetch_add_explicit(&l->p->count.steps, (uint64_t)B, memory_order_relaxed);
    int64_t now_us = ky_clock_wall_us();

    for (int i = 0; i < B; i++)
        finish(l, w, i, now_us);
    return true;
}

bool ky_lane_waves(ky_lane *l, bool midway)
{
    bool any = false;

    for (int c = 0; c < l->p->cfg->n_classes; c++)
        for (ky_works *w = l->works[c]; w != NULL; w = w->next)
            if (w->first != NULL && wave(l, w, midway))
                any = true;
    if (l->told_any)
        ky_queue_ring(l->told);
    l->told_any = false;
    return any;
}
