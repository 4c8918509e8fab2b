#include "daemon/lane.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "daemon/health.h"
#include "daemon/lane_own.h"

ky_works *ky_lane_works_of(ky_lane *l, int class_, const ky_version *v)
{
    return ky_works_of(&l->works[class_], v, class_, l->p->cfg->max_wave);
}

ky_works *ky_lane_works(ky_lane *l, const ky_stream *s)
{
    return ky_lane_works_of(l, s->class_, l->current[l->p->class_model[s->class_]]);
}

ky_stream *ky_lane_stream(ky_lane *l, const ky_record *r)
{
    ky_stream *s = ky_streams_find(&l->streams, r->stream);

    return s != NULL ? s
                     : ky_streams_add(&l->streams, r->stream, r->class_, ky_record_stream(r),
                                      r->stream_len);
}

/* -- fences -- */

static void reset_all(ky_lane *l, const ky_version *v, const ky_record *r)
{
    for (ky_stream *s = NULL; (s = ky_streams_next(&l->streams, s)) != NULL;) {
        if (s->works == NULL || s->pos > r->pos || s->works->v->model != v->model)
            continue;
        if (s->away)
            ky_pager_in(l->pager, s);
        ky_lane_touch(l, s);
        ky_works_zero(ky_lane_works_of(l, s->class_, v), s);
        s->cut = !s->ended;
        ky_lane_applied(l, s, r);
        KY_COUNT(l->p->count.resets);
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
    if (swap->policy == KY_SWAP_RESET)
        reset_all(l, v, r);
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
        worked |= pass_fence(l);
        ky_lane_commit_if_due(l);
        ky_lane_page_out(l);
        if (worked)
            continue;
        if (ended)
            break;
        ky_bell_wait(&l->bell, heard, ky_lane_until_due_us(l));
    }
    ky_lane_hand_over(l);
    ky_lane_wait_for_writer(l);
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

void ky_lane_set_file(ky_lane *l, uint64_t file_first)
{
    l->file_first = file_first;
}

static void restore_extra(ky_lane *l, ky_stream *s, const ky_saved_stream *saved)
{
    int features = s->works != NULL ? s->works->v->facts->features : 0;
    size_t len = (size_t)features * sizeof(float);
    ky_extra extra;
    const void *held = ky_extra_read(saved->extra, saved->extra_len, features, &extra);

    s->label = extra.label;
    s->cut = extra.cut;
    s->zero_n = extra.zero_n;
    if (!l->p->holds[s->class_] || held == NULL || len == 0)
        return;
    if ((s->held = malloc(len)) == NULL)
        ky_core_die(EX_OSERR, "lane", "no memory");
    memcpy(s->held, held, len);
}

int ky_lane_restore(ky_lane *l, const ky_saved_stream *saved, int class_, const ky_version *v,
                    ky_err *err)
{
    const ky_row_state *row = &saved->row;
    ky_stream *s =
        ky_streams_add(&l->streams, row->stream, class_, saved->name, strlen(saved->name));
    ky_works *w = v != NULL ? ky_lane_works_of(l, class_, v) : NULL;
    int rc = KY_OK;

    s->known = true;
    KY_COUNT(l->p->count.streams);
    if (saved->model == NULL)
        return KY_OK;
    s->n = row->n;
    s->start_n = row->start_n;
    s->window = (ky_window){ row->seq_high, row->seq_mask, row->epoch };
    s->pos = row->pos;
    s->ts_us = row->ts_us;
    s->file_first = (uint64_t)row->file_first;
    if (w != NULL && row->layout == ky_plan_layout(w->plan) &&
        ky_plan_state_ok(w->plan, saved->blob, saved->blob_len)) {
        s->works = w;
        s->ended = row->ended;
        s->away = ky_pager_full(l->pager, w->block);
        if (!s->away) {
            s->state = ky_works_block(w);
            memcpy(s->state, saved->blob, saved->blob_len);
            ky_pager_used(l->pager, s, l->paged_ns);
        }
    } else {
        rc =
            ky_fail(err, KY_EFORMAT, "its state is not one of %s@%u's", saved->model, row->version);
    }
    restore_extra(l, s, saved);
    ky_health_restore(s, &row->health);
    return rc;
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
    ky_streams_init(&l->streams, p->n_lanes);
    l->paged_ns = ky_clock_mono_ns();
    l->works = calloc((size_t)p->cfg->n_classes + 1, sizeof(*l->works));
    l->current = calloc((size_t)p->cfg->n_models + 1, sizeof(*l->current));
    l->slots = calloc(KY_SLOTS, sizeof(ky_slot));
    l->rows = calloc(rows, sizeof(*l->rows));
    l->x = calloc(rows, sizeof(*l->x));
    l->state = calloc(rows, sizeof(*l->state));
    l->y = calloc(rows, sizeof(*l->y));
    l->answered = calloc(rows, sizeof(*l->answered));
    int rc = KY_OK;

    if (l->works == NULL || l->current == NULL || l->slots == NULL || l->rows == NULL ||
        l->x == NULL || l->state == NULL || l->y == NULL || l->answered == NULL)
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
    *ret = l;
    return KY_OK;
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
    for (int i = 0; i < 2; i++)
        ky_unit_done(&l->out.batch[i].unit);
    ky_queue_done(&l->in);
    ky_pager_free(l->pager);
    free(l->works);
    free(l->current);
    free(l->slots);
    free(l->dirty);
    free(l->rows);
    free(l->x);
    free(l->state);
    free(l->y);
    free(l->answered);
    free(l);
}
