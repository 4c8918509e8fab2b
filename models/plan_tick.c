/*
 * A tick of memory = window: once every hop the columns that are new are computed, and once a
 * window is full its edges, and the rest of the model on the whole of it. Rows are at ticks of
 * their own; those at one are taken in batches, whose rows are either all full or all not.
 */
#include "models/plan_inside.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_BATCH = 64 };

/* The rows [B] of a wave that are being run. */
typedef struct batch {
    const ky_plan *p;
    ky_wave *w;
    int B;
    const int *row;
    void *const *state; /* of the whole wave */
} batch;

/* -- columns ------------------------------------------------------------------------- */

static int index_of(const ky_plan *p, int tensor)
{
    return p->m->n_inputs + tensor;
}

/* Columns of row r: a phase behind the other, each a ring of cap/phases in order of time. */
static ky_real *ring_of(const batch *b, int tensor, int r)
{
    const ky_column *c = ky_plan_column(b->p, tensor);

    if (c->stored)
        return (ky_real *)(void *)((char *)b->state[b->row[r]] + c->at);
    return b->w->own[index_of(b->p, tensor)] + (size_t)r * (size_t)c->cap * c->wide;
}

/* Columns of a phase that end with the key `back` before the newest: how many lie in one piece up
 * to the newest of them, and where that one lies. */
static ky_real *last_of(const batch *b, int tensor, int r, int back, int *ret_piece)
{
    const ky_column *c = ky_plan_column(b->p, tensor);
    int at = b->w->top[index_of(b->p, tensor) * b->w->batch + r] - back, len = c->cap / c->phases;

    at += at < 0 ? c->cap : 0;
    *ret_piece = at / c->phases + 1;
    return ring_of(b, tensor, r) + (size_t)(at % c->phases * len + at / c->phases) * c->wide;
}

/* n columns of a phase, the last of them `back` keys before the newest, out of the ring. */
static void take(const batch *b, int tensor, int r, int back, int n, ky_real *to)
{
    const ky_column *c = ky_plan_column(b->p, tensor);
    int piece, len = c->cap / c->phases;
    const ky_real *last = last_of(b, tensor, r, back, &piece);
    size_t wide = c->wide;

    if (piece >= n) {
        memcpy(to, last - (size_t)(n - 1) * wide, (size_t)n * wide * sizeof(*to));
        return;
    }
    memcpy(to, last + (size_t)(len - n + 1) * wide, (size_t)(n - piece) * wide * sizeof(*to));
    memcpy(to + (size_t)(n - piece) * wide, last - (size_t)(piece - 1) * wide,
           (size_t)piece * wide * sizeof(*to));
}

/* The same into the ring. */
static void give(const batch *b, int tensor, int r, int back, int n, const ky_real *from)
{
    const ky_column *c = ky_plan_column(b->p, tensor);
    int piece, len = c->cap / c->phases;
    ky_real *last = last_of(b, tensor, r, back, &piece);
    size_t wide = c->wide;

    piece = piece < n ? piece : n;
    memcpy(last - (size_t)(piece - 1) * wide, from + (size_t)(n - piece) * wide,
           (size_t)piece * wide * sizeof(*from));
    if (piece < n)
        memcpy(last + (size_t)(len - n + 1) * wide, from,
               (size_t)(n - piece) * wide * sizeof(*from));
}

/* Columns [c0,c1) of row r's window, edges among them. */
static void take_window(const batch *b, int tensor, int r, int c0, int c1, ky_real *to)
{
    const ky_column *c = ky_plan_column(b->p, tensor);
    int first = c->first < c1 ? c->first : c1, end = c->end > c0 ? c->end : c0;
    int in0 = c0 > first ? c0 : first, in1 = c1 < end ? c1 : end, t = index_of(b->p, tensor);
    size_t wide = c->wide;

    if (c0 < first)
        memcpy(to, b->w->edge[0][t] + ((size_t)r * (size_t)c->first + (size_t)c0) * wide,
               (size_t)(first - c0) * wide * sizeof(*to));
    if (in0 < in1)
        take(b, tensor, r, (c->end - in1) * c->phases, in1 - in0, to + (size_t)(in0 - c0) * wide);
    if (end < c1)
        memcpy(to + (size_t)(end - c0) * wide,
               b->w->edge[1][t] +
                   ((size_t)r * (size_t)(c->T - c->end) + (size_t)(end - c->end)) * wide,
               (size_t)(c1 - end) * wide * sizeof(*to));
}

/* -- calls --------------------------------------------------------------------------- */

/* Where the panel of input k begins when each has n columns; k = n_in: where all end. */
static size_t panel_at(const ky_plan *p, int i, int k, int B, int n)
{
    const ky_layer *l = &p->m->layers[i];
    size_t at = 0;

    for (int j = 0; j < k; j++)
        at += ky_lines((size_t)B * (size_t)n * ky_plan_column(p, l->from[j])->wide);
    return at;
}

/* Call i's columns s.o0 to s.o1, out of its inputs' in the panels -> y [B,s.o1-s.o0,wide]. */
static void run(const batch *b, int i, const ky_stretch *s, ky_real *y)
{
    const ky_model *m = b->p->m;
    const ky_layer *l = &m->layers[i];
    ky_wave *w = b->w;

    if (l->form == KY_LOCAL && l->distributed == 0) {
        ky_call c = { .B = b->B,
                      .T = ky_plan_column(b->p, l->from[0])->T,
                      .T_out = s->o1 - s->o0,
                      .scratch = w->scratch,
                      .part = s };

        l->ops->window(l, m->kernels, ky_model_packed(m, i), m->weights + l->weights_at, &c,
                       w->panel, y);
        return;
    }
    for (int k = 0; k < l->n_in; k++)
        w->in[k] = (ky_input){ .x = w->panel + panel_at(b->p, i, k, b->B, s->i1 - s->i0),
                               .T = s->i1 - s->i0 };
    ky_model_run_call(m, i, b->B, w->in, w->scratch, y, NULL);
}

/* Keys before the first sample are nobody's; zeros keep the state finite. `n` columns of phase f
 * in `out` [n,wide]. */
static void blank(const ky_column *c, int64_t start, int f, int n, ky_real *out)
{
    int64_t oldest = start + (int64_t)(c->end - 1 - c->first) * c->P;

    for (int j = 0; j < n; j++) {
        int64_t back = f + (int64_t)(n - 1 - j) * c->phases;

        if (back * c->spacing > oldest)
            memset(out + (size_t)j * c->wide, 0, c->wide * sizeof(*out));
    }
}

/* The fresh keys of call i that are of phase f. */
static void fresh(const batch *b, int i, int f)
{
    const ky_plan *p = b->p;
    const ky_layer *l = &p->m->layers[i];
    const ky_column *c = ky_plan_column(p, i);
    int n = ky_plan_fresh_of(c, f);
    ky_stretch s = ky_plan_reads(p, i, c->end - n, c->end);
    int reads = s.i1 - s.i0;
    bool in_place = !c->stored && c->phases == 1;
    ky_real *out = in_place ? b->w->own[index_of(p, i)] : b->w->out;

    for (int k = 0; k < l->n_in; k++) {
        ky_real *to = b->w->panel + panel_at(p, i, k, b->B, reads);
        size_t one = (size_t)reads * ky_plan_column(p, l->from[k])->wide;
        int back = ky_plan_lag(p, i, k, f);

        for (int r = 0; r < b->B; r++)
            take(b, l->from[k], r, back, reads, to + (size_t)r * one);
    }
    run(b, i, &s, out);
    for (int r = 0; !in_place && r < b->B; r++) {
        ky_real *of_row = out + (size_t)r * (size_t)n * c->wide;

        if (c->stored && b->w->start[r] < 0)
            blank(c, b->w->start[r], f, n, of_row);
        give(b, i, r, f, n, of_row);
    }
}

/* Columns [o0,o1) of call i in this window alone -> y. */
static void edge(const batch *b, int i, int o0, int o1, ky_real *y)
{
    const ky_plan *p = b->p;
    const ky_layer *l = &p->m->layers[i];
    ky_stretch s;
    int reads;

    if (o0 >= o1)
        return;
    s = ky_plan_reads(p, i, o0, o1);
    reads = s.i1 - s.i0;
    for (int k = 0; k < l->n_in; k++) {
        ky_real *to = b->w->panel + panel_at(p, i, k, b->B, reads);
        size_t one = (size_t)reads * ky_plan_column(p, l->from[k])->wide;

        for (int r = 0; r < b->B; r++)
            take_window(b, l->from[k], r, s.i0, s.i1, to + (size_t)r * one);
    }
    run(b, i, &s, y);
}

/* The whole of a tensor, for the rest of the model. */
static void put_together(const batch *b, int tensor)
{
    const ky_column *c = ky_plan_column(b->p, tensor);
    ky_real *to = tensor < 0 ? b->w->x : ky_work_tensor(b->w->work, tensor);

    for (int r = 0; r < b->B; r++)
        take_window(b, tensor, r, 0, c->T, to + (size_t)r * (size_t)c->T * c->wide);
}

/* -- ticks --------------------------------------------------------------------------- */

static uint64_t samples_seen(const void *state)
{
    uint64_t n;

    memcpy(&n, state, sizeof(n));
    return n;
}

/* Where the newest key of every ring is. */
static void find_tops(const batch *b)
{
    const ky_plan *p = b->p;
    uint64_t hop = (uint64_t)p->hop, rest = (uint64_t)p->T % hop;

    for (int r = 0; r < b->B; r++) {
        uint64_t seen = samples_seen(b->state[b->row[r]]);
        uint64_t ticks = (seen - rest) / hop + (rest > 0);

        b->w->start[r] = (int64_t)seen - p->T;
        for (int t = -1; t < p->m->n_layers; t++) {
            const ky_column *c = ky_plan_column(p, t);
            uint64_t keys = t < 0 ? seen : ticks * (uint64_t)c->fresh;

            if (c->kept)
                b->w->top[index_of(p, t) * b->w->batch + r] =
                    c->stored ? (int)((keys - 1) % (uint64_t)c->cap) : c->cap - 1;
        }
    }
}

static void run_batch(const batch *b, bool full, float *const *y)
{
    const ky_plan *p = b->p;

    find_tops(b);
    for (int i = 0; i < p->m->n_layers; i++) {
        const ky_column *c = ky_plan_column(p, i);

        for (int f = 0; c->kept && f < c->phases && f < c->fresh; f++)
            fresh(b, i, f);
    }
    if (!full)
        return;
    for (int i = 0; i < p->m->n_layers; i++) {
        const ky_column *c = ky_plan_column(p, i);

        if (!c->kept)
            continue;
        edge(b, i, 0, c->first, b->w->edge[0][index_of(p, i)]);
        edge(b, i, c->end, c->T, b->w->edge[1][index_of(p, i)]);
    }
    for (int t = -1; t < p->m->n_layers; t++)
        if (ky_plan_column(p, t)->whole)
            put_together(b, t);
    ky_model_predict(p->m, b->w->work, b->B, p->T, b->w->x, b->w->y);
    for (int r = 0; r < b->B; r++)
        ky_plan_answer(p, b->w->y + (size_t)r * p->outputs, y[b->row[r]]);
}

static void run_rows(const ky_plan *p, ky_wave *w, int n, const int *row, bool full,
                     void *const *state, float *const *y)
{
    for (int from = 0; from < n; from += w->batch) {
        batch b = { p, w, n - from < w->batch ? n - from : w->batch, row + from, state };

        run_batch(&b, full, y);
    }
}

/* The sample joins the ring; whether that makes a tick. */
static bool put(const ky_plan *p, void *state, const float *x)
{
    const ky_column *c = ky_plan_column(p, KY_INPUT(0));
    uint64_t seen = samples_seen(state);
    ky_real *to = (ky_real *)(void *)((char *)state + c->at);

    to += seen % (uint64_t)c->cap * c->wide;
    for (size_t j = 0; j < p->F; j++)
        to[j] = x[j];
    seen++;
    memcpy(state, &seen, sizeof(seen));
    return seen % (uint64_t)p->hop == (uint64_t)(p->T % p->hop);
}

void ky_plan_window_step(const ky_plan *p, ky_wave *w, int B, const float *const *x,
                         void *const *state, float *const *y, bool *answered)
{
    int full = 0, filling = w->max_rows;

    for (int r = 0; r < B; r++) {
        bool tick = put(p, state[r], x[r]);

        answered[r] = tick && samples_seen(state[r]) >= (uint64_t)p->T;
        if (answered[r])
            w->row[full++] = r;
        else if (tick && p->rings)
            w->row[--filling] = r;
    }
    run_rows(p, w, full, w->row, true, state, y);
    run_rows(p, w, w->max_rows - filling, w->row + filling, false, state, NULL);
}

/* -- waves --------------------------------------------------------------------------- */

/* Reals that kept calls want, for batches of B rows. */
typedef struct room {
    size_t panel, out, scratch, own, whole;
    int inputs;
} room;

static size_t most(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* One use of call i: columns [o0,o1) at once. */
static void room_for(const ky_plan *p, int i, int o0, int o1, int B, room *ret)
{
    const ky_model *m = p->m;
    const ky_layer *l = &m->layers[i];
    ky_stretch s;

    if (o0 >= o1)
        return;
    s = ky_plan_reads(p, i, o0, o1);
    ret->panel = most(ret->panel, panel_at(p, i, l->n_in, B, s.i1 - s.i0));
    if (l->form == KY_LOCAL && l->distributed == 0)
        ret->scratch =
            most(ret->scratch, ky_layer_scratch(l, ky_model_packed(m, i), B,
                                                ky_plan_column(p, l->from[0])->T, false));
    else
        ret->scratch = most(ret->scratch, ky_call_scratch(m, i, B, s.i1 - s.i0));
}

static room measure(const ky_plan *p, int B)
{
    room all = { .inputs = 1 };

    for (int i = -1; i < p->m->n_layers; i++) {
        const ky_column *c = ky_plan_column(p, i);
        size_t rows = (size_t)B * c->wide;

        if (!c->kept)
            continue;
        all.whole += c->whole ? rows * (size_t)c->T : 0;
        all.own += c->stored ? 0 : rows * (size_t)c->cap;
        all.own += rows * (size_t)(c->T - (c->end - c->first));
        if (i < 0)
            continue;
        all.inputs = p->m->layers[i].n_in > all.inputs ? p->m->layers[i].n_in : all.inputs;
        all.out = most(all.out, rows * (size_t)ky_plan_fresh_of(c, 0));
        room_for(p, i, c->end - ky_plan_fresh_of(c, 0), c->end, B, &all);
        if (c->phases > 1 && c->phases <= c->fresh)
            room_for(p, i, c->end - ky_plan_fresh_of(c, c->phases - 1), c->end, B, &all);
        room_for(p, i, 0, c->first, B, &all);
        room_for(p, i, c->end, c->T, B, &all);
    }
    return all;
}

/* Rows of a batch: so many that its columns stay within bounds. */
static int batch_rows(const ky_plan *p, int max_rows)
{
    room one = measure(p, 1);
    size_t reals = one.panel + one.out + one.scratch + one.own + one.whole + 1;
    size_t rows = KY_MAX_STATE / sizeof(ky_real) / reals;

    rows = rows > MAX_BATCH ? MAX_BATCH : rows < 1 ? 1 : rows;
    return max_rows < (int)rows ? max_rows : (int)rows;
}

/* A kept tensor's columns that are not in the states. */
static bool wave_column(const ky_plan *p, ky_wave *w, int t)
{
    const ky_column *c = ky_plan_column(p, t);
    size_t one = (size_t)w->batch * c->wide;
    int at = index_of(p, t);

    if (!c->kept)
        return true;
    if (!c->stored) {
        if ((w->own[at] = ky_plan_lines(one * (size_t)c->cap, sizeof(ky_real))) == NULL)
            return false;
        memset(w->own[at], 0, one * (size_t)c->cap * sizeof(ky_real));
    }
    w->edge[0][at] = ky_plan_lines(one * (size_t)c->first, sizeof(ky_real));
    w->edge[1][at] = ky_plan_lines(one * (size_t)(c->T - c->end), sizeof(ky_real));
    return w->edge[0][at] != NULL && w->edge[1][at] != NULL;
}

bool ky_plan_window_wave(const ky_plan *p, ky_wave *w, int max_rows)
{
    size_t n = (size_t)(p->m->n_inputs + p->m->n_layers), rows;
    room all;
    bool ok;

    w->batch = batch_rows(p, max_rows);
    rows = (size_t)w->batch;
    all = measure(p, w->batch);
    w->work = ky_work_new_rest(p->m, p->T, w->batch, p->form);
    w->x = ky_plan_lines(rows * (size_t)p->T * p->F, sizeof(ky_real));
    w->y = ky_plan_lines(rows * p->outputs, sizeof(ky_real));
    w->start = ky_plan_lines(rows, sizeof(*w->start));
    w->top = ky_plan_lines(rows * n, sizeof(*w->top));
    w->in = calloc((size_t)all.inputs, sizeof(*w->in));
    w->own = calloc(n, sizeof(*w->own));
    w->edge[0] = calloc(n, sizeof(ky_real *));
    w->edge[1] = calloc(n, sizeof(ky_real *));
    w->panel = ky_plan_lines(all.panel, sizeof(ky_real));
    w->out = ky_plan_lines(all.out, sizeof(ky_real));
    w->scratch = ky_plan_lines(all.scratch, sizeof(ky_real));
    ok = w->work != NULL && w->x != NULL && w->y != NULL && w->start != NULL && w->top != NULL &&
         w->in != NULL && w->own != NULL && w->edge[0] != NULL && w->edge[1] != NULL &&
         w->panel != NULL && w->out != NULL && w->scratch != NULL;
    for (int t = -1; ok && t < p->m->n_layers; t++)
        ok = wave_column(p, w, t);
    return ok;
}

void ky_plan_window_wave_done(ky_wave *w)
{
    int n = w->p->m->n_inputs + w->p->m->n_layers;

    for (int t = 0; t < n; t++) {
        if (w->own != NULL)
            free(w->own[t]);
        for (int side = 0; side < 2; side++)
            if (w->edge[side] != NULL)
                free(w->edge[side][t]);
    }
    ky_work_free(w->work);
    free(w->y);
    free(w->start);
    free(w->top);
    free(w->in);
    free(w->own);
    free(w->edge[0]);
    free(w->edge[1]);
    free(w->panel);
    free(w->out);
}
