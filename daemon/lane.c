#include "daemon/lane.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "daemon/health.h"
#include "daemon/lane_own.h"

ky_works *ky_lane_works_of(ky_lane *l, int class_, int nth, const ky_version *v)
{
    return ky_works_of(&l->works[class_], &l->blocks, v, class_, nth, l->p->cfg->max_wave);
}

ky_works *ky_lane_works(ky_lane *l, const ky_stream *s, int nth)
{
    const ky_version *v = l->current[l->p->serving[s->class_].model[nth]];

    return ky_lane_works_of(l, s->class_, nth, v);
}

void ky_lane_zero(ky_lane *l, ky_stream *s, int nth, bool cut)
{
    ky_strand *d = ky_stream_strand(s, nth);

    ky_works_zero(ky_lane_works(l, s, nth), d, s->n + 1);
    d->cut = cut;
}

/* -- fences -- */

/* A start with little memory may have read some of its states back, not all. */
static bool in_memory(ky_stream *s)
{
    bool all = true;

    for (int k = 0; k < s->n_models; k++) {
        const ky_strand *d = ky_stream_strand(s, k);

        all = all && (d->works == NULL || d->state != NULL);
    }
    return all;
}

/* Of the streams whose states are in memory; the others find it when they come back. */
static void reset_all(ky_lane *l, const ky_version *v, const ky_record *r)
{
    const char *name = l->p->model_names[v->model];

    for (ky_stream *s = NULL; (s = ky_streams_next(&l->streams, s)) != NULL;) {
        int nth = ky_class_nth(&l->p->cfg->classes[s->class_], name);

        if (nth < 0 || ky_stream_strand(s, nth)->works == NULL || !in_memory(s) || s->pos > r->pos)
            continue;
        ky_lane_catch_up(l, s, r); /* with other models: behind this its position does not tell */
        ky_lane_touch(l, s, r);
        ky_lane_zero(l, s, nth, !s->ended);
        ky_lane_applied(l, s, r);
        KY_COUNT(l->p->count.resets);
        ky_lane_commit_if_due(l); /* all of them need not fit into one unit */
    }
}

static void apply_swap(ky_lane *l, const ky_record *r)
{
    const ky_swap *swap = ky_record_body(r);
    int model = ky_served_model(l->p->cfg, swap->model);

    if (model < 0) /* no longer configured */
        return;
    const ky_version *v = ky_served_find(&l->p->served, model, swap->version);

    if (v == NULL)
        ky_core_die(EX_DATAERR, "lane", "the journal swaps to %s@%u, which is not there",
                    swap->model, swap->version);
    ky_lane_set_version(l, v);
    if (swap->policy == KY_SWAP_RESET) {
        ky_lane_set_reset(l, model, ky_record_end(r));
        l->reset_to[model] = v;
        reset_all(l, v, r);
    }
    for (int c = 0; c < l->p->cfg->n_classes; c++)
        ky_works_sweep(&l->works[c], v);
}

/* Everything before the fence is applied: pass it. */
static bool pass_fence(ky_lane *l)
{
    if (l->fence == NULL || l->head != l->tail)
        return false;
    if (l->fence->type == KY_REC_CONFIG)
        l->file_first = l->fence->pos;
    else
        apply_swap(l, l->fence);
    l->done = l->fence->type == KY_REC_CONFIG ? l->fence->pos : ky_record_end(l->fence);
    l->fence = NULL;
    ky_queue_pop(&l->in);
    ky_lane_begin_clock(l);
    return true;
}

static void *run(void *arg)
{
    ky_lane *l = arg;

    for (;;) {
        uint32_t heard = ky_bell_listen(&l->bell);
        bool ended = ky_queue_ended(&l->in);

        bool worked = ky_lane_admit(l);

        worked |= ky_lane_waves(l, false);
        ky_lane_release(l);
        worked |= pass_fence(l);
        worked |= ky_lane_commit_if_due(l);
        ky_lane_page_out(l);
        if (worked)
            continue;
        if (ended)
            break;
        ky_bell_wait(&l->bell, heard, ky_lane_until_due_us(l));
    }
    ky_lane_commit_all(l);
    ky_outbox_close(&l->out);
    if (l->told != NULL)
        ky_queue_close(l->told);
    return NULL;
}

/* -- recovery -- */

void ky_lane_set_version(ky_lane *l, const ky_version *v)
{
    l->current[v->model] = v;
}

void ky_lane_set_reset(ky_lane *l, int model, uint64_t pos)
{
    l->reset_pos[model] = pos;
}

void ky_lane_set_file(ky_lane *l, uint64_t file_first)
{
    l->file_first = file_first;
}

static void restore_held(ky_lane *l, ky_stream *s, const void *held)
{
    size_t len = (size_t)ky_core_features(l->p, s->class_) * sizeof(float);

    if (!l->p->holds[s->class_] || held == NULL)
        return;
    ky_aside *a = ky_stream_set_aside(s);

    if (a->held == NULL && (a->held = malloc(len)) == NULL)
        ky_core_die(EX_OSERR, "lane", "no memory");
    memcpy(a->held, held, len);
}

/* An answer of a version that is gone is gone, too. */
static void restore_last(ky_lane *l, ky_stream *s, ky_strand *d, int model, const ky_extra_parts *x)
{
    const ky_extra_answer *a = &x->answer;
    const ky_version *v;

    if (!x->is.answered || l->p->cfg->classes[s->class_].emit != KY_EMIT_END ||
        ky_served_load(&l->p->served, model, a->version, 0, false, &v, NULL) < 0 ||
        (uint32_t)v->facts->outputs != a->outputs)
        return;
    ky_lane_keep_last(d,
                      &(ky_said){ .s = s,
                                  .v = v,
                                  .n = a->n,
                                  .seq = a->seq,
                                  .ts_us = a->ts_us,
                                  .latency_us = a->latency_us,
                                  .score = a->score,
                                  .label = a->label,
                                  .quality = a->quality },
                      x->y);
}

static int restore_strand(ky_lane *l, ky_stream *s, int nth, const ky_saved_stream *saved,
                          const ky_version *v, ky_err *err)
{
    ky_works *w = v != NULL ? ky_lane_works_of(l, s->class_, nth, v) : NULL;
    ky_extra_parts x =
        ky_extra_read(saved->extra, saved->extra_len, ky_core_features(l->p, s->class_));
    ky_strand *d = ky_stream_strand(s, nth);

    d->label = x.is.label;
    if (x.is.unsaid > 0)
        ky_strand_set_rare(d)->unsaid = x.is.unsaid;
    restore_held(l, s, x.held);
    restore_last(l, s, d, l->p->serving[s->class_].model[nth], &x);
    ky_health_restore(d, &saved->row.health);
    if (w == NULL || saved->row.layout != ky_plan_layout(w->plan) ||
        !ky_plan_state_ok(w->plan, saved->blob, saved->blob_len))
        return ky_fail(err, KY_EFORMAT, "its state is not one of %s@%u's", saved->model,
                       saved->row.version);
    ky_works_own(w, d);
    d->zero_n = x.is.zero_n;
    d->cut = x.is.cut;
    if (ky_pager_full(l->pager, w->state_bytes))
        return KY_OK;
    d->state = ky_blocks_take(w->blocks);
    memcpy(d->state, saved->blob, saved->blob_len);
    ky_pager_used(l->pager, s, l->paged_ns);
    return KY_OK;
}

/* The stream is as far as the row says; what rows before it said is older. */
static void restore_numbers(ky_stream *s, const ky_row_state *row)
{
    for (int k = 0; k < s->n_models; k++)
        ky_works_clear(ky_stream_strand(s, k));
    s->leftover |= s->pos > 0;
    s->n = row->n;
    s->start_n = row->start_n;
    s->pos = row->pos;
    s->ts_us = row->ts_us;
    s->ended = row->ended;
    s->lags = row->lags;
    if (s->aside == NULL && row->seq_high == KY_NONE && row->epoch == 0 && row->file_first == 0)
        return;
    ky_aside *a = ky_stream_set_aside(s);

    a->window = (ky_window){ row->seq_high, row->seq_mask, row->epoch };
    a->file_first = (uint64_t)row->file_first;
}

int ky_lane_restore(ky_lane *l, const ky_saved_stream *saved, int class_, int nth,
                    const ky_version *v, ky_err *err)
{
    const ky_row_state *row = &saved->row;
    ky_stream *s = ky_streams_find(&l->streams, row->stream);

    if (s == NULL) {
        s = ky_streams_add(&l->streams, row->stream, class_, l->p->serving[class_].n);
        s->known = true;
    }
    if (saved->model == NULL)
        return KY_OK;
    if (row->pos > s->pos)
        restore_numbers(s, row);
    bool left = nth < 0 || row->pos < s->pos;

    s->leftover |= left;
    return left ? KY_OK : restore_strand(l, s, nth, saved, v, err);
}

/* -- the pipeline -- */

int ky_lane_new(ky_pipeline *p, int number, ky_lane **ret, ky_err *err)
{
    ky_lane *l = calloc(1, sizeof(*l));
    size_t rows = (size_t)p->cfg->max_wave;

    if (l == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory");
    l->p = p;
    l->number = number;
    ky_streams_init(&l->streams);
    l->paged_ns = ky_clock_mono_ns();
    l->works = calloc((size_t)p->cfg->n_classes + 1, sizeof(*l->works));
    l->current = calloc((size_t)p->cfg->n_models + 1, sizeof(*l->current));
    l->reset_pos = calloc((size_t)p->cfg->n_models + 1, sizeof(*l->reset_pos));
    l->reset_to = calloc((size_t)p->cfg->n_models + 1, sizeof(*l->reset_to));
    l->slots = calloc(KY_SLOTS, sizeof(ky_slot));
    l->rows = calloc(rows, sizeof(*l->rows));
    l->x = calloc(rows, sizeof(*l->x));
    l->state = calloc(rows, sizeof(*l->state));
    l->y = calloc(rows, sizeof(*l->y));
    l->answered = calloc(rows, sizeof(*l->answered));
    int rc = KY_OK;

    if (l->works == NULL || l->current == NULL || l->reset_pos == NULL || l->reset_to == NULL ||
        l->slots == NULL || l->rows == NULL || l->x == NULL || l->state == NULL || l->y == NULL ||
        l->answered == NULL)
        rc = ky_fail(err, KY_ENOMEM, "no memory");
    if (rc == KY_OK)
        rc = ky_queue_init(&l->in, p->queue_bytes, &l->bell, NULL, err);
    if (rc == KY_OK)
        rc = ky_pager_new(p, &l->pager, err);
    if (rc < 0) {
        ky_lane_free(l);
        return rc;
    }
    ky_writer_add(p->writer, &l->out, &l->bell);
    l->handed = ky_lane_committed(l);
    *ret = l;
    return KY_OK;
}

uint64_t ky_lane_committed(const ky_lane *l)
{
    return atomic_load(&l->out.done);
}

uint64_t ky_lane_longest_hold_us(const ky_lane *l)
{
    return atomic_load_explicit(&l->longest_hold_us, memory_order_relaxed);
}

ky_queue *ky_lane_queue(ky_lane *l)
{
    return &l->in;
}

int ky_lane_start(ky_lane *l, ky_err *err)
{
    char name[16];

    if (l->p->publisher != NULL) {
        l->told = ky_publisher_queue(l->p->publisher, l->number);
        l->told->producer = &l->bell;
    }
    snprintf(name, sizeof(name), "kymod-lane-%d", l->number % 1000);
    int rc = ky_core_thread(&l->thread, name, run, l, err);

    l->started = rc == KY_OK;
    return rc;
}

void ky_lane_join(ky_lane *l)
{
    if (l->started)
        pthread_join(l->thread, NULL);
    else
        ky_outbox_close(&l->out);
    l->started = false;
}

void ky_lane_free(ky_lane *l)
{
    if (l == NULL)
        return;
    ky_streams_done(&l->streams);
    for (int c = 0; l->works != NULL && c < l->p->cfg->n_classes; c++)
        ky_works_free(l->works[c]);
    ky_blocks_free(l->blocks);
    for (int i = 0; i < 2; i++)
        ky_unit_done(&l->out.batch[i].unit);
    ky_queue_done(&l->in);
    ky_pager_free(l->pager);
    free(l->works);
    free(l->current);
    free(l->reset_pos);
    free(l->reset_to);
    free(l->slots);
    ky_marks_done(&l->fresh);
    ky_marks_done(&l->round);
    ky_marks_done(&l->owed);
    ky_marks_done(&l->closing);
    free(l->rows);
    free(l->x);
    free(l->state);
    free(l->y);
    free(l->answered);
    free(l);
}
