#include "models/recurrent.h"

#include <stdlib.h>
#include <string.h>

int ky_recurrent_gates(ky_layer *l, int gates, ky_err *err)
{
    int H = l->cfg.units, rc;

    if ((rc = ky_layer_needs_time(l, 2, err)) < 0 || (rc = ky_layer_range("units", H, 1, err)) < 0)
        return rc;
    ky_layer_declare(l, "kernel", true, l->in.d[1], gates * H, 0);
    ky_layer_declare(l, "recurrent_kernel", true, H, gates * H, 0);
    return KY_OK;
}

void ky_recurrent_init(const ky_layer *l, ky_real *w, ky_rng *rng)
{
    const ky_weight *W = &l->weights[0], *U = &l->weights[1];

    ky_init_glorot(w + W->at, W->len, W->d[0], W->d[1], rng);
    if (!ky_init_orthogonal(w + U->at, U->d[0], U->d[1], rng))
        ky_init_glorot(w + U->at, U->len, U->d[0], U->d[1], rng);
}

void ky_recurrent_shape(ky_layer *l, const ky_shape *h)
{
    size_t n = l->ops->cell->n_state(l);

    l->out = *h;
    if (l->cfg.return_sequences) {
        l->out = (ky_shape){ .rank = h->rank + 1, .d = { l->in.d[0] }, .timed = true };
        memcpy(l->out.d + 1, h->d, (size_t)h->rank * sizeof(*h->d));
    } else
        l->masked = false;
    l->form = l->cfg.go_backwards ? KY_MIXING : KY_RECURRENT;
    l->state_reals = l->cfg.go_backwards ? 0 : n;
    if (l->cfg.go_backwards)
        l->no_step = "go_backwards begins with the window's last sample";
}

size_t ky_recurrent_macs(const ky_layer *l, int T)
{
    return (size_t)T * (l->weights[0].len + l->weights[1].len);
}

ky_mat *ky_recurrent_stack(const ky_layer *l, const ky_kernels *k, const ky_real *w, int col, int n,
                           const ky_real *b)
{
    size_t rows = (size_t)(l->in.d[1] + l->cfg.units), N = (size_t)l->weights[0].d[1];
    ky_real *part;
    ky_mat *m;

    /* The two follow each other in the block. */
    if ((size_t)n == N)
        return k->mat_new((int)rows, n, w, b);
    if ((part = malloc(rows * (size_t)n * sizeof(*part))) == NULL)
        return NULL;
    for (size_t i = 0; i < rows; i++)
        memcpy(part + i * (size_t)n, w + i * N + (size_t)col, (size_t)n * sizeof(*part));
    m = k->mat_new((int)rows, n, part, b);
    free(part);
    return m;
}

bool ky_recurrent_back_pack(const ky_layer *l, const ky_kernels *k, const ky_real *w,
                            ky_packed *ret)
{
    int N = l->weights[0].d[1];

    ret->back_x = ky_pack_transposed(k, l->in.d[1], N, w);
    ret->back_h = ky_pack_transposed(k, l->cfg.units, N, w + l->weights[1].at);
    return ret->back_x != NULL && ret->back_h != NULL;
}

void ky_recurrent_panel(const ky_layer *l, int B, const ky_real *x, ptrdiff_t xs,
                        ky_real *const *state, ky_real *panel)
{
    size_t F = (size_t)l->in.d[1], H = (size_t)l->cfg.units;

    for (int r = 0; r < B; r++, x += xs, panel += F + H) {
        memcpy(panel, x, F * sizeof(*x));
        memcpy(panel + F, state[r], H * sizeof(*x));
    }
}

static size_t pointers(int B) /* reals that hold B pointers */
{
    return ((size_t)B * sizeof(void *) + sizeof(ky_real) - 1) / sizeof(ky_real);
}

/* Factors of dropout, of x and of h. */
static size_t factors_x(const ky_layer *l, int B)
{
    return ky_recurrent_drops(l->cfg.rate) ? (size_t)B * ky_shape_step(&l->in) : 0;
}

static size_t factors_h(const ky_layer *l, int B)
{
    return ky_recurrent_drops(l->cfg.recurrent_dropout) ? (size_t)B * ky_shape_step(&l->out) : 0;
}

/* Reals of a step on the tape. */
static size_t tape_step(const ky_layer *l, int B)
{
    return (size_t)B * (size_t)ky_recurrent_kept(l) * ky_shape_step(&l->out);
}

static size_t back_scratch(const ky_layer *l, int B, int T)
{
    const ky_cell *cell = l->ops->cell;
    size_t h = ky_shape_step(&l->out), BT = (size_t)B * (size_t)T;
    size_t state = ky_lines((size_t)B * h) + ky_lines((size_t)B * (cell->n_state(l) - h));

    return 2 * state + ky_lines(BT * (size_t)cell->gates * h) +
           ky_lines(BT * ky_shape_step(&l->in)) + (size_t)cell->own * ky_lines((size_t)B * h);
}

size_t ky_recurrent_scratch(const ky_layer *l, const ky_packed *p, int B, int T, bool backward)
{
    const ky_cell *cell = l->ops->cell;

    if (backward)
        return back_scratch(l, B, T);
    return 2 * ky_lines(pointers(B)) + (size_t)B * ky_lines(cell->n_state(l)) +
           ky_lines((size_t)B * ky_shape_step(&l->in)) + 2 * ky_lines(factors_h(l, B)) +
           ky_lines(factors_x(l, B)) + ky_lines(cell->n_scratch(l, p, B));
}

/* What the tape of a call holds. */
typedef struct reel {
    ky_real *gates, *before, *first, *drop_x, *drop_h;
} reel;

static reel reel_of(const ky_layer *l, const ky_call *c)
{
    size_t h = ky_shape_step(&l->out), rest = l->ops->cell->n_state(l) - h;
    size_t B = (size_t)c->B, T = (size_t)c->T;
    reel e = { .gates = c->tape };

    e.before = e.gates + T * tape_step(l, c->B);
    e.first = e.before + B * T * h;
    e.drop_x = e.first + B * rest;
    e.drop_h = e.drop_x + factors_x(l, c->B);
    return e;
}

size_t ky_recurrent_tape(const ky_layer *l, int B, int T)
{
    const ky_cell *cell = l->ops->cell;
    size_t h = ky_shape_step(&l->out), rest = cell->n_state(l) - h;

    return (size_t)B * ((size_t)T * ((size_t)ky_recurrent_kept(l) + 1) * h + rest) +
           factors_x(l, B) + factors_h(l, B);
}

/* -- forward ------------------------------------------------------------------------------ */

/* What a call works with, cut from its scratch. */
typedef struct desk {
    const uint8_t *mask;
    ky_real **state;                /* [B] */
    ky_real **some;                 /* of the rows that a step is real for */
    ky_real *panel;                 /* and their x [B,F] */
    ky_real *drop;                  /* and their factors of h [B,h] */
    const ky_real *drop_x, *drop_h; /* factors of all rows, or NULL */
    ky_real *scratch;
} desk;

/* Draws what this call drops: onto the tape, or where there is none into `own`. */
static void draw(const ky_layer *l, const ky_call *c, desk *d, ky_real *own_x, ky_real *own_h)
{
    size_t n_x = factors_x(l, c->B), n_h = factors_h(l, c->B);
    ky_real *x = own_x, *h = own_h;

    if (!c->training)
        return;
    if (c->tape != NULL) {
        reel e = reel_of(l, c);

        x = e.drop_x;
        h = e.drop_h;
    }
    ky_dropout_draw(c->rng, l->cfg.rate, n_x, x);
    ky_dropout_draw(c->rng, l->cfg.recurrent_dropout, n_h, h);
    d->drop_x = n_x > 0 ? x : NULL;
    d->drop_h = n_h > 0 ? h : NULL;
}

/* The states are the caller's, or zeros. */
static desk lay_out(const ky_layer *l, const ky_call *c)
{
    ky_real *scratch = c->scratch, *zeros, *x, *h;
    size_t B = (size_t)c->B, one = ky_lines(l->ops->cell->n_state(l));
    desk d = { .mask = c->in != NULL ? c->in[0].mask : NULL };

    d.state = (ky_real **)(void *)ky_cut(&scratch, pointers(c->B));
    d.some = (ky_real **)(void *)ky_cut(&scratch, pointers(c->B));
    zeros = ky_cut(&scratch, B * one);
    d.panel = ky_cut(&scratch, B * ky_shape_step(&l->in));
    d.drop = ky_cut(&scratch, factors_h(l, c->B));
    x = ky_cut(&scratch, factors_x(l, c->B));
    h = ky_cut(&scratch, factors_h(l, c->B));
    d.scratch = scratch;
    draw(l, c, &d, x, h);
    if (c->state == NULL)
        memset(zeros, 0, B * one * sizeof(*zeros));
    for (size_t r = 0; r < B; r++)
        d.state[r] = c->state != NULL ? c->state[r] : zeros + r * one;
    return d;
}

static bool is_real(const desk *d, const ky_call *c, size_t r, int t)
{
    return d->mask == NULL || d->mask[r * (size_t)c->T + (size_t)t] != 0;
}

/* Step t of the rows for which it is real, without what is dropped of x: how many, in the panel. */
static int pick(const ky_layer *l, const ky_call *c, const desk *d, int t, const ky_real *x)
{
    size_t F = ky_shape_step(&l->in), H = ky_shape_step(&l->out), n = 0;

    for (size_t r = 0; r < (size_t)c->B; r++) {
        ky_real *to = d->panel + n * F;

        if (!is_real(d, c, r, t))
            continue;
        memcpy(to, x + (r * (size_t)c->T + (size_t)t) * F, F * sizeof(*x));
        ky_recurrent_drop(F, d->drop_x != NULL ? d->drop_x + r * F : NULL, to);
        if (d->drop_h != NULL)
            memcpy(d->drop + n * H, d->drop_h + r * H, H * sizeof(*x));
        d->some[n++] = d->state[r];
    }
    return (int)n;
}

/* A step's tape was left for the rows that were picked: to where they belong. Of the others it
 * holds what is in their state, and zeros. */
static void spread(const ky_layer *l, const ky_call *c, const desk *d, int t, int n, ky_real *tape)
{
    const ky_cell *cell = l->ops->cell;
    size_t h = ky_shape_step(&l->out), rest = cell->n_state(l) - h;
    size_t one = (size_t)ky_recurrent_kept(l) * h;

    for (size_t r = (size_t)c->B; r-- > 0;) {
        ky_real *to = tape + r * one;

        if (is_real(d, c, r, t)) {
            memmove(to, tape + (size_t)--n * one, one * sizeof(*to));
            continue;
        }
        memset(to, 0, one * sizeof(*to));
        memcpy(to + (size_t)cell->rest * h, d->state[r] + h, rest * sizeof(*to));
    }
}

/* What backward() wants of the states before the i-th step. */
static void remember(const ky_layer *l, const ky_call *c, const desk *d, int i)
{
    size_t h = ky_shape_step(&l->out), rest = l->ops->cell->n_state(l) - h, B = (size_t)c->B;
    reel e = reel_of(l, c);

    for (size_t r = 0; r < B; r++)
        memcpy(e.before + ((size_t)i * B + r) * h, d->state[r], h * sizeof(*e.before));
    for (size_t r = 0; i == 0 && r < B; r++)
        memcpy(e.first + r * rest, d->state[r] + h, rest * sizeof(*e.first));
}

/* Outputs after step t, as step i of y, or as all of it. */
static void put(const ky_layer *l, const ky_call *c, const desk *d, int t, int i, ky_real *y)
{
    size_t h = ky_shape_step(&l->out), T = (size_t)c->T;

    for (size_t r = 0; r < (size_t)c->B; r++) {
        ky_real *to = y + (l->cfg.return_sequences ? r * T + (size_t)i : r) * h;

        if (is_real(d, c, r, t) || !l->cfg.zero_output_for_mask)
            memcpy(to, d->state[r], h * sizeof(*y));
        else
            memset(to, 0, h * sizeof(*y));
    }
}

/* Step t, the i-th, of all rows. */
static void advance(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_call *c,
                    const desk *d, int t, int i, const ky_real *x)
{
    size_t F = ky_shape_step(&l->in);
    ky_real *tape = c->tape != NULL ? c->tape + (size_t)i * tape_step(l, c->B) : NULL;
    int n;

    if (d->mask == NULL && d->drop_x == NULL) {
        l->ops->cell->step(l, k, p, c->B, x + (size_t)t * F, (ptrdiff_t)((size_t)c->T * F),
                           d->state, d->drop_h, tape, d->scratch);
        return;
    }
    if ((n = pick(l, c, d, t, x)) > 0)
        l->ops->cell->step(l, k, p, n, d->panel, (ptrdiff_t)F, d->some,
                           d->drop_h != NULL ? d->drop : NULL, tape, d->scratch);
    if (tape != NULL && d->mask != NULL)
        spread(l, c, d, t, n, tape);
}

void ky_recurrent_window(const ky_layer *l, const ky_kernels *k, const ky_packed *p,
                         const ky_real *w, const ky_call *c, const ky_real *x, ky_real *y)
{
    desk d = lay_out(l, c);

    (void)w;
    for (int i = 0; i < c->T; i++) {
        int t = ky_recurrent_at(l, c->T, i);

        if (c->tape != NULL)
            remember(l, c, &d, i);
        advance(l, k, p, c, &d, t, i, x);
        if (l->cfg.return_sequences || i == c->T - 1)
            put(l, c, &d, t, i, y);
    }
}

void ky_recurrent_drop_states(const ky_layer *l, int B, const ky_real *drop, ky_real *const *state)
{
    size_t h = ky_shape_step(&l->out);

    for (size_t r = 0; drop != NULL && r < (size_t)B; r++)
        ky_recurrent_drop(h, drop + r * h, state[r]);
}

void ky_recurrent_step(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                       const ky_call *c, const ky_real *x, ky_real *y, bool *emit)
{
    ky_recurrent_window(l, k, p, w, c, x, y);
    for (int r = 0; r < c->B; r++)
        emit[r] = true;
}

/* -- backward ----------------------------------------------------------------------------- */

/* What the way back works with, cut from its scratch. */
typedef struct way {
    const uint8_t *mask;
    reel e;
    const ky_real *drop_x, *drop_h;
    ky_real *dh, *drest, *kept_h, *kept_rest; /* [B,h] and [B,rest] */
    ky_real *dz;                              /* [T,B,gates*h] */
    ky_real *x;                               /* [T,B,F] */
    ky_real *own;
} way;

static way back_out(const ky_layer *l, const ky_call *c)
{
    const ky_cell *cell = l->ops->cell;
    size_t h = ky_shape_step(&l->out), B = (size_t)c->B, BT = B * (size_t)c->T;
    size_t rest = cell->n_state(l) - h;
    ky_real *scratch = c->scratch;
    way s = { .mask = c->in != NULL ? c->in[0].mask : NULL, .e = reel_of(l, c) };

    s.dh = ky_cut(&scratch, B * h);
    s.drest = ky_cut(&scratch, B * rest);
    s.kept_h = ky_cut(&scratch, B * h);
    s.kept_rest = ky_cut(&scratch, B * rest);
    s.dz = ky_cut(&scratch, BT * (size_t)cell->gates * h);
    s.x = ky_cut(&scratch, BT * ky_shape_step(&l->in));
    s.own = scratch;
    if (c->training) {
        s.drop_x = factors_x(l, c->B) > 0 ? s.e.drop_x : NULL;
        s.drop_h = factors_h(l, c->B) > 0 ? s.e.drop_h : NULL;
    }
    return s;
}

static bool is_masked(const way *s, const ky_call *c, size_t r, int t)
{
    return s->mask != NULL && s->mask[r * (size_t)c->T + (size_t)t] == 0;
}

/* dh += dy of the i-th step, t. */
static void take(const ky_layer *l, const ky_call *c, const way *s, int t, int i, const ky_real *dy)
{
    size_t h = ky_shape_step(&l->out), T = (size_t)c->T;

    for (size_t r = 0; r < (size_t)c->B; r++) {
        const ky_real *d = dy + (l->cfg.return_sequences ? r * T + (size_t)i : r) * h;
        ky_real *to = s->dh + r * h;

        if (l->cfg.zero_output_for_mask && is_masked(s, c, r, t))
            continue;
        for (size_t j = 0; j < h; j++)
            to[j] += d[j];
    }
}

/* Rows for which step t is not real keep their gradients and have none at the gates. */
static void pass_over(const ky_layer *l, const ky_call *c, const way *s, int t, ky_real *dz)
{
    size_t h = ky_shape_step(&l->out), rest = l->ops->cell->n_state(l) - h;
    size_t gates = (size_t)l->ops->cell->gates * h;

    for (size_t r = 0; r < (size_t)c->B; r++) {
        if (!is_masked(s, c, r, t))
            continue;
        memcpy(s->dh + r * h, s->kept_h + r * h, h * sizeof(*dz));
        memcpy(s->drest + r * rest, s->kept_rest + r * rest, rest * sizeof(*dz));
        memset(dz + r * gates, 0, gates * sizeof(*dz));
    }
}

/* The i-th step, t, back. */
static void one_back(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_call *c,
                     const way *s, int t, int i)
{
    const ky_cell *cell = l->ops->cell;
    size_t h = ky_shape_step(&l->out), rest = cell->n_state(l) - h, B = (size_t)c->B;
    ky_cell_back b = { .B = c->B,
                       .first = i == 0,
                       .tape = s->e.gates + (size_t)i * tape_step(l, c->B),
                       .before = s->e.before + (size_t)i * B * h,
                       .rest = s->e.first,
                       .rs = (ptrdiff_t)rest,
                       .drop = s->drop_h,
                       .dh = s->dh,
                       .drest = s->drest,
                       .dz = s->dz + (size_t)i * B * (size_t)cell->gates * h,
                       .own = s->own };

    if (i > 0) {
        b.rest = b.tape - tape_step(l, c->B) + (size_t)cell->rest * h;
        b.rs = (ptrdiff_t)((size_t)ky_recurrent_kept(l) * h);
    }
    if (s->mask != NULL) {
        memcpy(s->kept_h, s->dh, B * h * sizeof(*s->dh));
        memcpy(s->kept_rest, s->drest, B * rest * sizeof(*s->dh));
    }
    cell->back(l, k, p, &b);
    pass_over(l, c, s, t, b.dz);
}

/* x by step, in the order of the steps, as it met the products. */
static void sort_inputs(const ky_layer *l, const ky_call *c, const way *s, const ky_real *x)
{
    size_t F = ky_shape_step(&l->in), B = (size_t)c->B, T = (size_t)c->T;

    for (int i = 0; i < c->T; i++)
        for (size_t r = 0; r < B; r++) {
            ky_real *to = s->x + ((size_t)i * B + r) * F;

            memcpy(to, x + (r * T + (size_t)ky_recurrent_at(l, c->T, i)) * F, F * sizeof(*x));
            ky_recurrent_drop(F, s->drop_x != NULL ? s->drop_x + r * F : NULL, to);
        }
}

/* dx of all steps. */
static void back_to_inputs(const ky_layer *l, const ky_kernels *k, const ky_packed *p,
                           const ky_call *c, const way *s, ky_real *dx)
{
    size_t F = ky_shape_step(&l->in), h = ky_shape_step(&l->out), B = (size_t)c->B;
    size_t gates = (size_t)l->ops->cell->gates * h, T = (size_t)c->T;

    for (int i = 0; i < c->T; i++)
        l->ops->cell->inputs_back(l, k, p, c->B, s->dz + (size_t)i * B * gates, s->own,
                                  dx + (size_t)ky_recurrent_at(l, c->T, i) * F, (ptrdiff_t)(T * F));
    for (size_t r = 0; s->drop_x != NULL && r < B; r++)
        for (size_t t = 0; t < T; t++)
            ky_recurrent_drop(F, s->drop_x + r * F, dx + (r * T + t) * F);
}

void ky_recurrent_backward(const ky_layer *l, const ky_kernels *k, const ky_packed *p,
                           const ky_real *w, const ky_call *c, const ky_real *x, const ky_real *y,
                           const ky_real *dy, ky_real *dx, ky_real *dw)
{
    size_t h = ky_shape_step(&l->out), B = (size_t)c->B;
    way s = back_out(l, c);

    (void)w, (void)y;
    memset(s.dh, 0, B * h * sizeof(*dy));
    memset(s.drest, 0, B * (l->ops->cell->n_state(l) - h) * sizeof(*dy));
    for (int i = c->T - 1; i >= 0; i--) {
        int t = ky_recurrent_at(l, c->T, i);

        if (l->cfg.return_sequences || i == c->T - 1)
            take(l, c, &s, t, i, dy);
        one_back(l, k, p, c, &s, t, i);
    }
    sort_inputs(l, c, &s, x);
    for (int i = 0; i < c->T; i++)
        ky_recurrent_drop(B * h, s.drop_h, s.e.before + (size_t)i * B * h);
    l->ops->cell->learn(l, k, c->B * c->T, s.x, s.e.before, s.e.gates, s.dz, s.own, dw);
    if (dx != NULL)
        back_to_inputs(l, k, p, c, &s, dx);
}

void ky_recurrent_learn(const ky_layer *l, const ky_kernels *k, int n, const ky_real *x,
                        const ky_real *h, const ky_real *tape, const ky_real *dz, ky_real *own,
                        ky_real *dw)
{
    int F = l->in.d[1], H = l->cfg.units, N = l->weights[0].d[1];

    (void)tape, (void)own;
    k->gemm_tn(F, N, n, x, F, dz, N, dw, N);
    k->gemm_tn(H, N, n, h, H, dz, N, dw + l->weights[1].at, N);
    if (l->cfg.use_bias)
        k->colsum(N, n, dz, N, dw + l->weights[2].at);
}

void ky_recurrent_inputs_back(const ky_layer *l, const ky_kernels *k, const ky_packed *p, int B,
                              const ky_real *dz, ky_real *own, ky_real *dx, ptrdiff_t xs)
{
    (void)own;
    ky_rows(k, p->back_x, l->weights[0].d[1], B, dz, l->ops->cell->gates * l->cfg.units, dx, xs,
            KY_LINEAR);
}
