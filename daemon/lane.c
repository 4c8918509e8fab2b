#include "daemon/lane.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "daemon/log.h"
#include "daemon/pager.h"
#include "daemon/publish.h"
#include "daemon/rows.h"
#include "daemon/stream.h"
#include "daemon/works.h"
#include "models/clock.h"

enum {
    SLOTS = 1 << 13, /* records waiting in line at once, a power of two */
    NO_SLOT = UINT32_MAX,
    CHUNK = 1024,         /* streams allocated at a time */
    UNIT_BYTES = 64 << 20 /* a unit this large is handed over at once */
};

/* A record in line, and what was decided about it when it became its stream's first. */
typedef struct slot {
    const ky_record *r;
    ky_stream *s;
    ky_works *works; /* the version it will be stepped by */
    uint32_t step, next;
    bool done, zero, gap, reset; /* reset: zero because of a gap in time */
} slot;

struct ky_lane {
    ky_pipeline *p;
    int number;
    ky_queue in;
    ky_bell bell;
    pthread_t thread;
    bool started;
    ky_outbox out;
    ky_queue *told; /* to the publisher; NULL without one */
    bool told_any;
    ky_stream **chunks; /* [n_chunks] of CHUNK streams: their addresses stay */
    size_t n_chunks;
    ky_works **works;           /* [classes] lists */
    const ky_version **current; /* [models] */
    slot *slots;
    uint32_t head, tail; /* of slots, counting on */
    int midway;          /* streams in the middle of a record */
    const ky_record *fence;
    ky_pager *pager;
    int64_t paged_ns; /* when it was last asked */
    uint64_t file_first, done, handed, needed;
    ky_stream **dirty;
    size_t n_dirty, cap_dirty;
    size_t dirty_bytes;
    int64_t since_ns; /* when the oldest thing not handed over was done; 0: nothing */
    /* a wave */
    ky_stream **rows;
    const float **x;
    void **state;
    float **y;
    bool *answered;
};

static ky_works *works_of(ky_lane *l, int class_, const ky_version *v)
{
    return ky_works_of(&l->works[class_], v, class_, l->p->cfg->max_wave);
}

/* The version that new starts use. */
static ky_works *works_now(ky_lane *l, const ky_stream *s)
{
    return works_of(l, s->class_, l->current[l->p->class_model[s->class_]]);
}

/* -- streams -- */

static ky_stream *stream_at(ky_lane *l, uint32_t id)
{
    size_t i = id / (uint32_t)l->p->n_lanes, chunk = i / CHUNK;

    if (chunk >= l->n_chunks) {
        ky_stream **chunks = realloc(l->chunks, (chunk + 1) * sizeof(ky_stream *));

        if (chunks == NULL)
            ky_core_die(EX_OSERR, "lane", "no memory for more streams");
        l->chunks = chunks;
        while (l->n_chunks <= chunk)
            l->chunks[l->n_chunks++] = NULL;
    }
    if (l->chunks[chunk] == NULL && (l->chunks[chunk] = calloc(CHUNK, sizeof(ky_stream))) == NULL)
        ky_core_die(EX_OSERR, "lane", "no memory for more streams");
    return &l->chunks[chunk][i % CHUNK];
}

static ky_stream *stream_make(ky_lane *l, uint32_t id, int class_, const char *name, size_t len)
{
    ky_stream *s = stream_at(l, id);

    s->id = id;
    s->class_ = (uint16_t)class_;
    s->name = malloc(len + 1);
    if (s->name == NULL)
        ky_core_die(EX_OSERR, "lane", "no memory for more streams");
    memcpy(s->name, name, len);
    s->name[len] = 0;
    s->name_len = (uint8_t)len;
    s->ended = true;
    s->ts_us = KY_NONE;
    s->label = KY_EXTRA_NONE;
    s->told = KY_EXTRA_NONE;
    s->first = s->last = NO_SLOT;
    ky_window_init(&s->window);
    return s;
}

static ky_stream *stream_of(ky_lane *l, const ky_record *r)
{
    ky_stream *s = stream_at(l, r->stream);

    return s->name != NULL
               ? s
               : stream_make(l, r->stream, r->class_, ky_record_stream(r), r->stream_len);
}

/* -- the unit -- */

static ky_unit *unit(ky_lane *l)
{
    return ky_outbox_unit(&l->out);
}

static void begin_clock(ky_lane *l)
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
    l->dirty_bytes += s->works->state_bytes;
    begin_clock(l);
}

/* Before a stream's row changes: it has a row, a state to save, and its state0 in this file. */
static void touch(ky_lane *l, ky_stream *s)
{
    ky_unit *u = unit(l);

    if (!s->known) {
        ky_rows_stream(u, s);
        s->known = true;
        KY_COUNT(l->p->count.streams);
    }
    if (s->state == NULL)
        ky_works_zero(works_now(l, s), s);
    if (l->p->cfg->classes[s->class_].archive && s->file_first != l->file_first) {
        s->file_first = l->file_first;
        ky_rows_state0(u, s, l->file_first);
    }
    make_dirty(l, s);
}

/* -- records in line -- */

static slot *slot_at(ky_lane *l, uint32_t i)
{
    return &l->slots[i % SLOTS];
}

/* Frees records from the queue's head as far as they are applied. */
static void slot_done(ky_lane *l, slot *t)
{
    t->done = true;
    while (l->head != l->tail && slot_at(l, l->head)->done) {
        const ky_record *r = slot_at(l, l->head)->r;

        l->done = r->type == KY_REC_MARK ? r->pos : ky_record_end(r);
        ky_queue_pop(&l->in);
        l->head++;
        begin_clock(l);
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

/* What the stream's first record will do, and the version it needs; changes nothing yet. */
static void decide(ky_lane *l, ky_stream *s, slot *t)
{
    const ky_class_cfg *c = &l->p->cfg->classes[s->class_];
    const ky_record *r = t->r;
    bool skipped = r->flags & KY_COUNTED && ky_window_look(&s->window, r->seq) == KY_SEEN_GAP;

    t->zero = r->flags & (KY_START | KY_RESET) || s->ended || s->state == NULL;
    bool silent = !t->zero && time_gap(c, s, r);

    t->gap = silent || skipped;
    t->reset = (silent && c->on_gap == KY_GAP_RESET) ||
               (t->gap && !t->zero && c->on_gap == KY_GAP_HOLD && r->filled == 0);
    t->zero |= t->reset;
    t->works =
        t->zero ? works_of(l, s->class_, l->current[l->p->class_model[s->class_]]) : s->works;
}

static void leave_line(ky_lane *l, ky_stream *s)
{
    slot *t = slot_at(l, s->first);

    s->first = t->next;
    if (s->first == NO_SLOT)
        s->last = NO_SLOT;
    slot_done(l, t);
}

/* The stream's position goes behind the record. */
static void applied(ky_lane *l, ky_stream *s, const ky_record *r)
{
    s->pos = ky_record_end(r);
    if (l->needed < s->pos)
        l->needed = s->pos;
}

/* -- telling -- */

static void tell(ky_lane *l, const ky_said *a, const float *y)
{
    size_t len = (size_t)a->v->facts->outputs * sizeof(float), size = sizeof(*a) + len;
    ky_said *to;

    if (size > ky_queue_largest(l->told)) {
        KY_COUNT(l->p->count.unpublished);
        return;
    }
    for (;;) {
        uint32_t heard = ky_bell_listen(&l->bell);

        if ((to = ky_queue_reserve(l->told, size)) != NULL)
            break;
        ky_queue_ring(l->told);
        ky_bell_wait(&l->bell, heard, -1);
    }
    *to = *a;
    memcpy(to + 1, y, len);
    ky_queue_commit(l->told, size);
    l->told_any = true;
}

/* What a sequence that silence ends publishes, emit = end: its last answer. */
static void keep_last(ky_stream *s, const ky_said *a, const float *y)
{
    size_t len = (size_t)a->v->facts->outputs * sizeof(float);
    ky_said *kept = s->final;

    if (kept == NULL || kept->v != a->v)
        kept = realloc(s->final, sizeof(*a) + len);
    if (kept == NULL)
        ky_core_die(EX_OSERR, "lane", "no memory");
    *kept = *a;
    kept->end = true;
    memcpy(kept + 1, y, len);
    s->final = kept;
}

static void tell_last(ky_lane *l, ky_stream *s, const ky_record *r)
{
    if (s->final != NULL && s->final->end && r->pos >= l->p->live_from)
        tell(l, s->final, (const float *)(s->final + 1));
}

/* -- what records do -- */

static void apply_label(ky_lane *l, ky_stream *s, const ky_record *r)
{
    touch(l, s);
    ky_rows_label(unit(l), r, r->n);
    KY_COUNT(l->p->count.labels);
    applied(l, s, r);
}

static void apply_end(ky_lane *l, ky_stream *s, const ky_record *r)
{
    touch(l, s);
    if (r->n == s->n && !s->ended) {
        ky_rows_break(unit(l), s, r, "ended");
        KY_COUNT(l->p->count.ended);
        s->ended = true;
        tell_last(l, s, r);
    }
    applied(l, s, r);
}

/* The stream is as if it had never sent anything, but for its numbers. */
static void apply_forget(ky_lane *l, ky_stream *s, const ky_record *r)
{
    int64_t epoch = s->window.epoch;

    touch(l, s);
    ky_rows_break(unit(l), s, r, "forgotten");
    KY_COUNT(l->p->count.forgotten);
    ky_works_zero(works_now(l, s), s);
    ky_window_init(&s->window);
    s->window.epoch = epoch;
    s->ended = true;
    s->cut = s->bad = false;
    s->ts_us = KY_NONE;
    s->label = KY_EXTRA_NONE;
    free(s->held);
    free(s->final);
    s->held = NULL;
    s->final = NULL;
    applied(l, s, r);
}

/* Goes through the stream's line up to its next sample, which makes it ready. */
static void next_in_line(ky_lane *l, ky_stream *s)
{
    if (s->away && s->first != NO_SLOT)
        ky_pager_in(l->pager, s);
    while (s->first != NO_SLOT) {
        slot *t = slot_at(l, s->first);

        if (t->r->type == KY_REC_SAMPLE) {
            decide(l, s, t);
            ky_works_ready(t->works, s);
            return;
        }
        if (t->r->type == KY_REC_LABEL)
            apply_label(l, s, t->r);
        else if (t->r->type == KY_REC_END)
            apply_end(l, s, t->r);
        else
            apply_forget(l, s, t->r);
        leave_line(l, s);
    }
}

static void admit_record(ky_lane *l, const ky_record *r)
{
    uint32_t i = l->tail++;
    slot *t = slot_at(l, i);

    *t = (slot){ .r = r, .next = NO_SLOT };
    if (r->type == KY_REC_MARK) {
        slot_done(l, t);
        return;
    }
    t->s = stream_of(l, r);
    if (r->pos < t->s->pos) { /* replayed, and its row has it already */
        slot_done(l, t);
        return;
    }
    bool alone = t->s->first == NO_SLOT;

    if (alone)
        t->s->first = i;
    else
        slot_at(l, t->s->last)->next = i;
    t->s->last = i;
    if (alone)
        next_in_line(l, t->s);
}

static bool admit(ky_lane *l)
{
    bool any = false;
    size_t size;
    const ky_record *r;

    while (l->fence == NULL && l->tail - l->head < SLOTS &&
           (r = ky_queue_next(&l->in, &size)) != NULL) {
        if (r->type == KY_REC_CONFIG || r->type == KY_REC_SWAP)
            l->fence = r;
        else
            admit_record(l, r);
        any = true;
    }
    return any;
}

/* -- fences -- */

static void reset_all(ky_lane *l, const ky_version *v, const ky_record *r)
{
    for (size_t i = 0; i < l->n_chunks * CHUNK; i++) {
        ky_stream *s = l->chunks[i / CHUNK] != NULL ? &l->chunks[i / CHUNK][i % CHUNK] : NULL;

        if (s == NULL || s->name == NULL || s->works == NULL || s->pos > r->pos ||
            s->works->v->model != v->model)
            continue;
        if (s->away)
            ky_pager_in(l->pager, s);
        touch(l, s);
        ky_works_zero(works_of(l, s->class_, v), s);
        s->zero_n = s->n + 1;
        s->cut = !s->ended;
        applied(l, s, r);
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
    begin_clock(l);
    return true;
}

/* -- waves -- */

/* The record's first step: what was decided is done. */
static void begin(ky_lane *l, ky_stream *s, slot *t)
{
    const ky_record *r = t->r;

    if (r->n != s->n + 1)
        ky_core_die(EX_DATAERR, "lane", "stream %s is at step %lld, its next record is for %lld",
                    s->name, (long long)s->n, (long long)r->n);
    touch(l, s);
    if (t->gap) {
        ky_rows_gap(unit(l), s, r, t->reset ? "reset" : r->filled > 0 ? "held" : "kept");
        KY_COUNT(l->p->count.gaps);
    }
    if (t->zero) {
        if (r->flags & KY_START || s->ended)
            s->start_n = s->n + 1;
        ky_works_zero(t->works, s);
        s->zero_n = s->n + 1;
        if (s->final != NULL)
            s->final->end = false; /* of another sequence */
        s->cut = t->reset;
        s->ended = false;
    }
    if (r->steps > 1)
        l->midway++;
}

static enum ky_quality quality_of(const ky_class_cfg *c, const ky_stream *s, const slot *t)
{
    return t->r->flags & KY_LATE               ? KY_Q_LATE
           : t->gap && t->step == t->r->filled ? KY_Q_GAP
           : s->n - s->zero_n < c->warm_up     ? KY_Q_WARMING
           : s->cut                            ? KY_Q_TRUNCATED
                                               : KY_Q_OK;
}

static void answer(ky_lane *l, ky_stream *s, const slot *t, const float *y, int64_t now_us)
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
        ky_rows_prediction(unit(l), &a, r, now_us, y);
    s->label = a.label;
    KY_COUNT(l->p->count.answers);
    if (l->told == NULL)
        return;
    if (c->emit == KY_EMIT_END && c->end_after_us > 0)
        keep_last(s, &a, y);
    if (r->pos >= l->p->live_from)
        tell(l, &a, y);
}

static bool finite_all(const float *y, int n)
{
    for (int i = 0; i < n; i++)
        if (!(y[i] - y[i] == 0.0f))
            return false;
    return true;
}

/* The step ran away to infinity: the stream goes on from the state before it. */
static void quarantine(ky_lane *l, ky_stream *s, const char *backup)
{
    char object[KY_STREAM_MAX + 16];

    memcpy(s->state, backup, s->works->state_bytes);
    KY_COUNT(l->p->count.quarantined);
    if (!s->bad) {
        snprintf(object, sizeof(object), "stream %s", s->name);
        ky_outbox_event(&l->out, "warn", object, "quarantine",
                        "a step gave an answer or a state that is not finite; it was undone");
    }
    s->bad = true;
}

static void end_record(ky_lane *l, ky_stream *s, const slot *t)
{
    const ky_record *r = t->r;

    if (r->steps > 1)
        l->midway--;
    if (r->flags & KY_COUNTED)
        ky_window_take(&s->window, r->seq);
    if (r->text_len > 0) {
        ky_rows_label(unit(l), r, s->n);
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
    applied(l, s, r);
}

/* A row of the wave after its step. */
static void finish(ky_lane *l, ky_works *w, int row, int64_t now_us)
{
    ky_stream *s = l->rows[row];
    slot *t = slot_at(l, s->first);
    const char *backup = w->backup + (size_t)row * w->block;

    s->n++;
    if ((l->answered[row] && !finite_all(l->y[row], w->v->facts->outputs)) ||
        !ky_plan_state_ok(w->plan, s->state, w->state_bytes)) {
        quarantine(l, s, backup);
    } else {
        s->bad = false;
        if (l->answered[row] && t->step >= t->r->filled)
            answer(l, s, t, l->y[row], now_us);
    }
    if (++t->step < t->r->steps) {
        ky_works_ready(w, s);
        return;
    }
    end_record(l, s, t);
    leave_line(l, s);
    next_in_line(l, s);
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
        if (midway && slot_at(l, s->first)->step == 0)
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
        slot *t = slot_at(l, s->first);

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

static bool waves(ky_lane *l, bool midway)
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

/* A unit holds whole records only, so those in the middle come to their end first. */
static void hand_over(ky_lane *l)
{
    ky_unit *u = unit(l);

    wait_for_writer(l);
    while (l->midway > 0)
        waves(l, true);
    int64_t now_ns = ky_clock_mono_ns();

    for (size_t i = 0; i < l->n_dirty; i++) {
        ky_rows_state(u, l->dirty[i]);
        l->dirty[i]->dirty = false;
        ky_pager_used(l->pager, l->dirty[i], now_ns);
    }
    l->n_dirty = 0;
    l->dirty_bytes = 0;
    l->since_ns = 0;
    l->handed = l->done;
    ky_outbox_hand(&l->out, l->done, l->needed);
}

static bool pressing(ky_lane *l)
{
    const ky_unit *u = unit(l);
    int64_t rows = (int64_t)u->predictions.n + u->labels.n + u->gaps.n + u->states0.n;

    return rows >= l->p->cfg->commit_rows || u->bytes.n + l->dirty_bytes > UNIT_BYTES ||
           ky_pager_full(l->pager, l->dirty_bytes);
}

/* States leave memory when the last unit is committed, so that results.db has them. */
static void page_out(ky_lane *l)
{
    enum { PAGE_NS = 20000000 };
    int64_t now_ns = ky_clock_mono_ns();

    if (now_ns - l->paged_ns < PAGE_NS || !ky_outbox_ready(&l->out))
        return;
    l->paged_ns = now_ns;
    ky_pager_out(l->pager, now_ns);
}

/* When it is due and the writer is free, or when the unit is too large to grow. */
static void commit_if_due(ky_lane *l)
{
    if (l->since_ns == 0)
        return;
    bool due = ky_clock_mono_ns() - l->since_ns >= l->p->cfg->commit_interval_us * 1000;

    if (pressing(l) || (due && ky_outbox_ready(&l->out)))
        hand_over(l);
}

static int64_t until_due_us(ky_lane *l)
{
    if (l->since_ns == 0 || !ky_outbox_ready(&l->out))
        return -1; /* until the bell: of the queue, or of a unit coming back */
    int64_t left = l->p->cfg->commit_interval_us - (ky_clock_mono_ns() - l->since_ns) / 1000;

    return left > 1000 ? left : 1000;
}

static void *run(void *arg)
{
    ky_lane *l = arg;

    for (;;) {
        uint32_t heard = ky_bell_listen(&l->bell);
        bool ended = ky_queue_ended(&l->in);

        bool worked = admit(l);

        worked |= waves(l, false);
        worked |= pass_fence(l);
        commit_if_due(l);
        page_out(l);
        if (worked)
            continue;
        if (ended)
            break;
        ky_bell_wait(&l->bell, heard, until_due_us(l));
    }
    hand_over(l);
    wait_for_writer(l);
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
    ky_stream *s = stream_make(l, row->stream, class_, saved->name, strlen(saved->name));
    ky_works *w = v != NULL ? works_of(l, class_, v) : NULL;
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
    l->paged_ns = ky_clock_mono_ns();
    l->works = calloc((size_t)p->cfg->n_classes + 1, sizeof(*l->works));
    l->current = calloc((size_t)p->cfg->n_models + 1, sizeof(*l->current));
    l->slots = calloc(SLOTS, sizeof(slot));
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

static void streams_free(ky_lane *l)
{
    for (size_t i = 0; i < l->n_chunks; i++) {
        for (int k = 0; l->chunks[i] != NULL && k < CHUNK; k++) {
            free(l->chunks[i][k].name);
            free(l->chunks[i][k].held);
            free(l->chunks[i][k].final);
        }
        free(l->chunks[i]);
    }
    free(l->chunks);
}

void ky_lane_free(ky_lane *l)
{
    if (l == NULL)
        return;
    streams_free(l);
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
