#include "models/recurrent.h"

#include <assert.h>
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

    if (l->n_masked > 0)
        l->no_training = "its input is masked";
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

size_t ky_recurrent_scratch(const ky_layer *l, const ky_packed *p, int B, int T, bool backward)
{
    const ky_cell *cell = l->ops->cell;

    (void)T, (void)backward;
    return 2 * ky_lines(pointers(B)) + (size_t)B * ky_lines(cell->n_state(l)) +
           ky_lines((size_t)B * ky_shape_step(&l->in)) + ky_lines(cell->n_scratch(l, p, B));
}

size_t ky_recurrent_tape(const ky_layer *l, int B, int T)
{
    const ky_cell *cell = l->ops->cell;
    size_t h = ky_shape_step(&l->out), rest = cell->n_state(l) - h;

    return (size_t)B * ((size_t)T * ((size_t)cell->tape + 1) * h + rest);
}

/* What a call works with, cut from its scratch. */
typedef struct desk {
    const uint8_t *mask;
    ky_real **state; /* [B] */
    ky_real **some;  /* of the rows that a step is real for */
    ky_real *panel;  /* and their x [B,F] */
    ky_real *scratch;
} desk;

/* The states are the caller's, or zeros. */
static desk lay_out(const ky_layer *l, const ky_call *c)
{
    ky_real *scratch = c->scratch;
    size_t B = (size_t)c->B, one = ky_lines(l->ops->cell->n_state(l));
    desk d = { .mask = c->in != NULL ? c->in[0].mask : NULL };
    ky_real *zeros;

    d.state = (ky_real **)(void *)ky_cut(&scratch, pointers(c->B));
    d.some = (ky_real **)(void *)ky_cut(&scratch, pointers(c->B));
    zeros = ky_cut(&scratch, B * one);
    d.panel = ky_cut(&scratch, B * ky_shape_step(&l->in));
    d.scratch = scratch;
    if (c->state == NULL)
        memset(zeros, 0, B * one * sizeof(*zeros));
    for (size_t r = 0; r < B; r++)
        d.state[r] = c->state != NULL ? c->state[r] : zeros + r * one;
    return d;
}

/* Step t of the rows for which it is real. */
static void masked_step(const ky_layer *l, const ky_kernels *k, const ky_packed *p,
                        const ky_call *c, const desk *d, int t, const ky_real *x)
{
    size_t F = ky_shape_step(&l->in), T = (size_t)c->T;
    int n = 0;

    for (size_t r = 0; r < (size_t)c->B; r++) {
        if (!d->mask[r * T + (size_t)t])
            continue;
        memcpy(d->panel + (size_t)n * F, x + (r * T + (size_t)t) * F, F * sizeof(*x));
        d->some[n++] = d->state[r];
    }
    if (n > 0)
        l->ops->cell->step(l, k, p, n, d->panel, (ptrdiff_t)F, d->some, NULL, d->scratch);
}

/* What backward() wants of the states before the i-th step. */
static void remember(const ky_layer *l, const ky_call *c, const desk *d, int i)
{
    size_t h = ky_shape_step(&l->out), rest = l->ops->cell->n_state(l) - h;
    size_t B = (size_t)c->B, T = (size_t)c->T;
    ky_real *before = c->tape + B * T * (size_t)l->ops->cell->tape * h;
    ky_real *first = before + B * T * h;

    for (size_t r = 0; r < B; r++)
        memcpy(before + ((size_t)i * B + r) * h, d->state[r], h * sizeof(*before));
    for (size_t r = 0; i == 0 && r < B; r++)
        memcpy(first + r * rest, d->state[r] + h, rest * sizeof(*first));
}

/* Outputs after step t, as step i of y, or as all of it. */
static void put(const ky_layer *l, const ky_call *c, const desk *d, int t, int i, ky_real *y)
{
    size_t h = ky_shape_step(&l->out), T = (size_t)c->T;

    for (size_t r = 0; r < (size_t)c->B; r++) {
        ky_real *to = y + (l->cfg.return_sequences ? r * T + (size_t)i : r) * h;
        bool real = d->mask == NULL || d->mask[r * T + (size_t)t];

        if (real || !l->cfg.zero_output_for_mask)
            memcpy(to, d->state[r], h * sizeof(*y));
        else
            memset(to, 0, h * sizeof(*y));
    }
}

void ky_recurrent_window(const ky_layer *l, const ky_kernels *k, const ky_packed *p,
                         const ky_real *w, const ky_call *c, const ky_real *x, ky_real *y)
{
    const ky_cell *cell = l->ops->cell;
    size_t F = ky_shape_step(&l->in), tape = (size_t)cell->tape * ky_shape_step(&l->out);
    desk d = lay_out(l, c);

    (void)w;
    assert(c->tape == NULL || d.mask == NULL); /* layers that make masks are not trained */
    for (int i = 0; i < c->T; i++) {
        int t = ky_recurrent_at(l, c->T, i);

        if (c->tape != NULL)
            remember(l, c, &d, i);
        if (d.mask != NULL)
            masked_step(l, k, p, c, &d, t, x);
        else
            cell->step(l, k, p, c->B, x + (size_t)t * F, (ptrdiff_t)((size_t)c->T * F), d.state,
                       c->tape != NULL ? c->tape + (size_t)i * (size_t)c->B * tape : NULL,
                       d.scratch);
        if (l->cfg.return_sequences || i == c->T - 1)
            put(l, c, &d, t, i, y);
    }
}

void ky_recurrent_step(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                       const ky_call *c, const ky_real *x, ky_real *y, bool *emit)
{
    ky_recurrent_window(l, k, p, w, c, x, y);
    for (int r = 0; r < c->B; r++)
        emit[r] = true;
}
