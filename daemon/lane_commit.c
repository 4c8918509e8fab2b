#include "daemon/lane_own.h"

#include <stdlib.h>
#include <sysexits.h>

#include "daemon/rows.h"

enum { UNIT_BYTES = 64 << 20 }; /* a unit this large is handed over at once */

/* -- the unit -- */

void ky_lane_begin_clock(ky_lane *l)
{
    if (l->since_ns == 0)
        l->since_ns = ky_clock_mono_ns();
}

static void make_dirty(ky_lane *l, ky_stream *s)
{
    if (s->dirty)
        return;
    if (l->n_dirty == l->cap_dirty) {
        size_t cap = l->cap_dirty ? 2 * l->cap_dirty : 1024;
        ky_stream **more = realloc(l->dirty, cap * sizeof(*more));

        if (more == NULL)
            ky_core_die(EX_OSERR, "lane", "no memory");
        l->dirty = more;
        l->cap_dirty = cap;
    }
    s->dirty = true;
    l->dirty[l->n_dirty++] = s;
    for (int k = 0; k < s->n_models; k++)
        l->dirty_bytes += ky_stream_strand(s, k)->works->state_bytes;
    ky_lane_begin_clock(l);
}

void ky_lane_touch(ky_lane *l, ky_stream *s, const ky_record *r)
{
    ky_unit *u = ky_lane_unit(l);

    if (!s->known) {
        ky_rows_stream(u, s, r);
        s->known = true;
        KY_COUNT(l->p->count.streams);
    }
    for (int k = 0; k < s->n_models; k++)
        if (ky_stream_strand(s, k)->works == NULL)
            ky_lane_zero(l, s, k, !s->ended);
    if (l->p->cfg->classes[s->class_].archive && ky_stream_aside(s)->file_first != l->file_first) {
        ky_stream_set_aside(s)->file_first = l->file_first;
        ky_rows_states0(u, s, l->file_first);
    }
    make_dirty(l, s);
}

void ky_lane_move(const ky_lane *l, ky_stream *s, uint64_t pos)
{
    uint64_t era = atomic_load(&l->p->era_pos);

    s->lags |= s->pos <= era && pos > era;
    s->pos = pos;
}

void ky_lane_applied(ky_lane *l, ky_stream *s, const ky_record *r)
{
    ky_lane_move(l, s, ky_record_end(r));
    s->lags &= r->type != KY_REC_SAMPLE;
    if (l->needed < s->pos)
        l->needed = s->pos;
}

/* -- committing -- */

void ky_lane_wait_for_writer(ky_lane *l)
{
    while (!ky_outbox_ready(&l->out)) {
        uint32_t heard = ky_bell_listen(&l->bell);

        if (ky_outbox_ready(&l->out))
            return;
        KY_COUNT(l->p->count.stalls);
        ky_bell_wait(&l->bell, heard, -1);
    }
}

/* A unit holds whole records only, so those in the middle come to their end first. */
void ky_lane_hand_over(ky_lane *l)
{
    enum { AHEAD = 4 };
    ky_unit *u = ky_lane_unit(l);

    ky_lane_wait_for_writer(l);
    while (l->midway > 0) {
        ky_heart_beat(&l->bell.heart); /* an old journal may have records of very many steps */
        ky_lane_waves(l, true);
    }
    int64_t now_ns = ky_clock_mono_ns(), now_us = ky_clock_wall_us();

    for (size_t i = 0; i < l->n_dirty; i++) {
        if (i + 2 * AHEAD < l->n_dirty)
            ky_stream_want(l->dirty[i + 2 * AHEAD]);
        if (i + AHEAD < l->n_dirty)
            ky_stream_want_state(l->dirty[i + AHEAD]);
        ky_rows_states(u, l->dirty[i], now_us);
        l->dirty[i]->dirty = false;
        ky_pager_used(l->pager, l->dirty[i], now_ns);
    }
    l->n_dirty = 0;
    l->dirty_bytes = 0;
    l->since_ns = 0;
    l->hurry = false;
    ky_outbox_hand(&l->out, l->done, l->needed);
}

static bool pressing(ky_lane *l)
{
    const ky_unit *u = ky_lane_unit(l);
    int64_t rows = (int64_t)u->predictions.n + u->labels.n + u->gaps.n + u->states0.n;

    return rows >= l->p->cfg->commit_rows || u->bytes.n + l->dirty_bytes > UNIT_BYTES ||
           ky_pager_full(l->pager, l->dirty_bytes);
}

void ky_lane_page_out(ky_lane *l)
{
    enum { PAGE_NS = 20000000 };
    int64_t now_ns = ky_clock_mono_ns();

    if (now_ns - l->paged_ns < PAGE_NS || !ky_outbox_ready(&l->out))
        return;
    l->paged_ns = now_ns;
    ky_pager_out(l->pager, now_ns);
}

void ky_lane_commit_if_due(ky_lane *l)
{
    if (l->since_ns == 0)
        return;
    bool due = ky_clock_mono_ns() - l->since_ns >= l->p->cfg->commit_interval_us * 1000;

    if (pressing(l) || ((due || l->hurry) && ky_outbox_ready(&l->out)))
        ky_lane_hand_over(l);
}

int64_t ky_lane_until_due_us(ky_lane *l)
{
    if (l->since_ns == 0 || !ky_outbox_ready(&l->out))
        return -1; /* until the bell: of the queue, or of a unit coming back */
    int64_t left = l->p->cfg->commit_interval_us - (ky_clock_mono_ns() - l->since_ns) / 1000;

    return left > 1000 ? left : 1000;
}
