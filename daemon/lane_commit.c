#include "daemon/lane_own.h"

#include <stdlib.h>
#include <sysexits.h>

#include "daemon/rows.h"

/*
 * What was done since the last unit is committed in units that a lane closes one after the other
 * (PROTOCOL.md A5): a stream with rows in a unit has its state there too, as it was when the unit
 * was closed. Of the other streams that are newer than results.db each unit takes some, in the
 * order of their places, until it is full; when all have had their turn, everything that was done
 * before the round began is handed over. So a million streams need no unit that holds them all.
 *
 * A lane goes on while a unit is being closed: states are copied a few between two waves, and that
 * of a stream which a record would change first.
 */
enum {
    UNIT_BYTES = 64 << 20,  /* of rows and the states they need: such a unit is closed at once */
    OTHERS_BYTES = 2 << 20, /* of states of other streams that a unit takes */
    TOGETHER = 32,          /* states that are copied at a time */
};

size_t ky_lane_at_once = 512;

/* -- the unit -- */

void ky_lane_begin_clock(ky_lane *l)
{
    if (l->since_ns == 0)
        l->since_ns = ky_clock_mono_ns();
}

static size_t state_bytes(ky_stream *s)
{
    size_t bytes = 0;

    for (int k = 0; k < s->n_models; k++)
        bytes += ky_stream_strand(s, k)->works->state_bytes;
    return bytes;
}

static uint32_t dirty(const ky_lane *l)
{
    return l->fresh.n + l->round.n;
}

static void make_dirty(ky_lane *l, ky_stream *s)
{
    if (s->dirty)
        return;
    s->dirty = true;
    ky_marks_add(&l->fresh, ky_streams_place(&l->streams, s));
    if (s->kept == 0)
        l->new_bytes += state_bytes(s);
    ky_lane_begin_clock(l);
}

void ky_lane_owe(ky_lane *l, ky_stream *s)
{
    if (s->owed)
        return;
    s->owed = true;
    ky_marks_add(&l->owed, ky_streams_place(&l->streams, s));
    l->owed_bytes += state_bytes(s);
}

/* The stream's states go into the unit that is being closed. */
static void copy(ky_lane *l, ky_stream *s, uint32_t place)
{
    size_t bytes = s->kept == 0 ? state_bytes(s) : 0;

    ky_rows_states(ky_outbox_closing(&l->out), s, l->closed_us);
    s->dirty = s->owed = false;
    ky_marks_drop(&l->fresh, place);
    ky_marks_drop(&l->round, place);
    ky_marks_drop(&l->closing, place);
    /* Its versions may have changed since it was counted: an estimate. */
    l->new_bytes = dirty(l) > 0 && l->new_bytes > bytes ? l->new_bytes - bytes : 0;
    ky_pager_used(l->pager, s, l->closed_ns);
}

/* Before it changes, if the unit that is being closed needs it as it is. */
static void copy_first(ky_lane *l, ky_stream *s)
{
    if (l->closing.n == 0 || !s->dirty)
        return;
    uint32_t place = ky_streams_place(&l->streams, s);

    if (!ky_marks_has(&l->closing, place))
        return;
    int64_t begin_ns = ky_clock_mono_ns();

    copy(l, s, place);
    l->held_ns += ky_clock_mono_ns() - begin_ns;
}

void ky_lane_touch(ky_lane *l, ky_stream *s, const ky_record *r)
{
    ky_unit *u = ky_lane_unit(l);

    copy_first(l, s);
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
        ky_lane_owe(l, s);
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

static void wait_for_writer(ky_lane *l)
{
    while (!ky_outbox_ready(&l->out)) {
        uint32_t heard = ky_bell_listen(&l->bell);

        if (ky_outbox_ready(&l->out))
            return;
        KY_COUNT(l->p->count.stalls);
        ky_bell_wait(&l->bell, heard, -1);
    }
}

static bool pressing(ky_lane *l)
{
    const ky_unit *u = ky_lane_unit(l);
    int64_t rows = (int64_t)u->predictions.n + u->labels.n + u->gaps.n + u->states0.n;

    return rows >= l->p->cfg->commit_rows || u->bytes.n + l->owed_bytes > UNIT_BYTES ||
           ky_pager_full(l->pager, l->new_bytes);
}

void ky_lane_page_out(ky_lane *l)
{
    enum { PAGE_NS = 20000000 };
    int64_t now_ns = ky_clock_mono_ns();

    if (now_ns - l->paged_ns < PAGE_NS || l->is_closing || !ky_outbox_ready(&l->out) ||
        atomic_load(&l->p->waits.results_given_up)) /* it does not have them */
        return;
    l->paged_ns = now_ns;
    ky_pager_out(l->pager, now_ns);
}

/* The unit that was being filled holds whole records only, so those in the middle come to their end
 * first; what is done from here on goes into the next. The writer has committed all before. */
static void begin_closing(ky_lane *l)
{
    const ky_marks none = l->closing;
    int64_t begin_ns = ky_clock_mono_ns();

    ky_lane_page_out(l);
    while (l->midway > 0) {
        ky_heart_beat(&l->bell.heart); /* steps held, and an old journal's records, may be many */
        ky_lane_waves(l, true);
    }
    if (!l->in_round) {
        const ky_marks all = l->fresh;

        l->fresh = l->round;
        l->round = all;
        l->in_round = true;
        l->round_done = l->done;
        l->since_ns = 0;
        l->hurry = false;
    }
    l->closing = l->owed;
    l->owed = none;
    l->owed_bytes = l->others_bytes = 0;
    l->others = 0;
    l->next_owed = l->next_other = 0;
    ky_outbox_turn(&l->out);
    l->is_closing = true;
    l->closed_ns = ky_clock_mono_ns();
    l->closed_us = ky_clock_wall_us();
    l->held_ns += l->closed_ns - begin_ns;
}

static void hand_over(ky_lane *l)
{
    l->is_closing = false;
    if (l->round.n == 0) {
        l->in_round = false;
        l->handed = l->round_done > l->handed ? l->round_done : l->handed;
    }
    ky_outbox_hand(&l->out, l->handed, l->needed);
}

/* The next places of a set; their streams and states are on the way into the processor's cache. */
static size_t next_places(const ky_lane *l, const ky_marks *of, const ky_marks *but, uint32_t *from,
                          uint32_t *ret, size_t most)
{
    size_t n = 0;

    for (uint32_t i; n < most && (i = ky_marks_next(of, but, *from)) != KY_NO_MARK; n++) {
        ret[n] = i;
        *from = i + 1;
        ky_stream_want(ky_streams_at(&l->streams, i));
    }
    for (size_t i = 0; i < n; i++)
        ky_stream_want_state(ky_streams_at(&l->streams, ret[i]));
    return n;
}

/* Of those with rows in the unit. @return how many */
static size_t copy_owed(ky_lane *l, size_t most)
{
    uint32_t place[TOGETHER];
    size_t n = next_places(l, &l->closing, NULL, &l->next_owed, place, most);

    for (size_t i = 0; i < n; i++)
        copy(l, ky_streams_at(&l->streams, place[i]), place[i]);
    return n;
}

static bool room_for_others(const ky_lane *l)
{
    return l->others_bytes < OTHERS_BYTES && l->others < l->p->cfg->commit_rows;
}

/* Of others, as long as there is room; but not of those with rows in the next unit. */
static size_t copy_others(ky_lane *l, size_t most)
{
    uint32_t place[TOGETHER];
    size_t n = next_places(l, &l->round, &l->owed, &l->next_other, place, most), i = 0;

    for (; i < n && room_for_others(l); i++) {
        ky_stream *s = ky_streams_at(&l->streams, place[i]);

        l->others++;
        l->others_bytes += state_bytes(s) + s->n_models * sizeof(ky_row_state);
        copy(l, s, place[i]);
    }
    if (i < n)
        l->next_other = place[i];
    return i;
}

/* So many states more go into the unit; when it has all it goes to the writer. */
static void go_on_closing(ky_lane *l, size_t most)
{
    while (most > 0) {
        size_t together = most < TOGETHER ? most : TOGETHER;
        size_t n = l->closing.n > 0 ? copy_owed(l, together) : copy_others(l, together);

        if (n == 0) {
            hand_over(l);
            return;
        }
        most -= n;
    }
}

static void note_hold(ky_lane *l)
{
    uint64_t us = (uint64_t)l->held_ns / 1000;

    if (us > atomic_load_explicit(&l->longest_hold_us, memory_order_relaxed))
        atomic_store_explicit(&l->longest_hold_us, us, memory_order_relaxed);
    l->held_ns = 0;
}

bool ky_lane_commit_if_due(ky_lane *l)
{
    if (!l->is_closing && (l->since_ns != 0 || l->in_round)) {
        bool due = l->in_round || l->hurry ||
                   ky_clock_mono_ns() - l->since_ns >= l->p->cfg->commit_interval_us * 1000;

        if (pressing(l))
            wait_for_writer(l);
        if (pressing(l) || (due && ky_outbox_ready(&l->out)))
            begin_closing(l);
    }
    if (l->is_closing) {
        int64_t begin_ns = ky_clock_mono_ns();

        go_on_closing(l, pressing(l) ? SIZE_MAX : ky_lane_at_once);
        l->held_ns += ky_clock_mono_ns() - begin_ns;
    }
    note_hold(l);
    return l->is_closing;
}

void ky_lane_commit_all(ky_lane *l)
{
    do {
        if (!l->is_closing) {
            wait_for_writer(l);
            begin_closing(l);
        }
        go_on_closing(l, SIZE_MAX);
    } while (l->in_round || dirty(l) > 0 || l->handed < l->done);
    wait_for_writer(l);
}

int64_t ky_lane_until_due_us(ky_lane *l)
{
    if (l->since_ns == 0 || !ky_outbox_ready(&l->out))
        return -1; /* until the bell: of the queue, or of a unit coming back */
    int64_t left = l->p->cfg->commit_interval_us - (ky_clock_mono_ns() - l->since_ns) / 1000;

    return left > 1000 ? left : 1000;
}
