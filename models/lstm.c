/*
 * LSTM (Hochreiter and Schmidhuber 1997), with Keras's gates i, f, c, o:
 *
 *     z = b + x W + h U            i = ra(z_i)  f = ra(z_f)  g = a(z_c)  o = ra(z_o)
 *     c' = f c + i g               h' = o a(c')
 *
 * The state of a row is {h[H], c[H]}. With a = tanh and ra = sigmoid a step is the kernel
 * set's; any other pair is done here from rows() and activate(), by the same chains.
 *
 * The tape holds, each by step and then by row: i,f,g,o,c,a(c) [T,B,6H], with z behind them
 * where a slope wants it [T,B,10H], h before the step [T,B,H], and the first c [B,H]; steps stand
 * in the order in which they were worked out.
 */
#include "models/recurrent.h"

#include <stdlib.h>
#include <string.h>
#include <tgmath.h>

static bool has_kernel(const ky_layer *l)
{
    return l->cfg.activation == KY_TANH && l->cfg.recurrent_activation == KY_SIGMOID;
}

static int shape(ky_layer *l, ky_err *err)
{
    int H = l->cfg.units, rc;

    if ((rc = ky_recurrent_gates(l, 4, err)) < 0)
        return rc;
    if (l->cfg.use_bias)
        ky_layer_declare(l, "bias", true, 4 * H, 0, 0);
    ky_recurrent_shape(l, &(ky_shape){ .rank = 1, .d = { H } });
    return KY_OK;
}

static void init(const ky_layer *l, ky_real *w, ky_rng *rng)
{
    int H = l->cfg.units;

    ky_recurrent_init(l, w, rng);
    /* The forget gate starts open, or early gradients vanish (Jozefowicz et al. 2015). */
    if (l->cfg.use_bias && l->cfg.unit_forget_bias)
        for (int j = 0; j < H; j++)
            w[l->weights[2].at + (size_t)(H + j)] = 1;
}

static int pack(const ky_layer *l, const ky_kernels *k, const ky_real *w, bool backward,
                ky_packed *ret)
{
    int F = l->in.d[1], H = l->cfg.units;
    const ky_real *U = w + l->weights[1].at;
    ky_real *zeros = calloc(4 * (size_t)H, sizeof(*zeros));
    const ky_real *b = l->cfg.use_bias ? w + l->weights[2].at : zeros;
    bool ok = zeros != NULL;

    if (ok && has_kernel(l))
        ok = (ret->lstm = k->lstm_new(F, H, w, U, b)) != NULL;
    else if (ok)
        ok = (ret->mat = ky_recurrent_stack(l, k, w, 0, 4 * H, b)) != NULL;
    if (ok && backward)
        ok = ky_recurrent_back_pack(l, k, w, ret);
    free(zeros);
    return ok ? KY_OK : KY_ENOMEM;
}

/* -- forward ------------------------------------------------------------------- */

static size_t n_state(const ky_layer *l)
{
    return 2 * (size_t)l->cfg.units;
}

/* The kernel's, or panel [B,F+H], one row's own [H] and z [B,4H]. */
static size_t step_scratch(const ky_layer *l, const ky_packed *p, int B)
{
    size_t H = (size_t)l->cfg.units, F = (size_t)l->in.d[1];

    if (p->lstm != NULL)
        return ky_lstm_scratch(p->lstm);
    return ky_lines((size_t)B * (F + H)) + ky_lines(H) + (size_t)B * 4 * H;
}

void ky_lstm_gates(const ky_layer *l, const ky_kernels *k, int R, int n, ky_real *z, ky_real *h,
                   ky_real *c, ky_real *tape, ky_real *own)
{
    enum ky_activation a = l->cfg.activation, ra = l->cfg.recurrent_activation;
    size_t all = (size_t)R * (size_t)n;
    ky_real *i = z, *f = z + all, *g = f + all, *o = g + all;

    if (tape != NULL && ky_recurrent_sums(l))
        memcpy(tape + 6 * all, z, 4 * all * sizeof(*z));
    ky_activation_rows(k, ra, 2 * R, n, i, i); /* i and f */
    ky_activation_rows(k, a, R, n, g, g);
    ky_activation_rows(k, ra, R, n, o, o);
    for (size_t j = 0; j < all; j++)
        own[j] = i[j] * g[j];
    ky_mul_add(k, (int)all, f, c, own, h);
    memcpy(c, h, all * sizeof(*c));
    ky_activation_rows(k, a, R, n, c, h);
    if (tape != NULL) {
        memcpy(tape, z, 4 * all * sizeof(*z));
        memcpy(tape + 4 * all, c, all * sizeof(*c));
        memcpy(tape + 5 * all, h, all * sizeof(*h));
    }
    for (size_t j = 0; j < all; j++)
        h[j] = o[j] * h[j];
}

static void generic_step(const ky_layer *l, const ky_kernels *k, const ky_packed *p, int B,
                         const ky_real *x, ptrdiff_t xs, ky_real *const *state, ky_real *tape,
                         ky_real *scratch)
{
    int F = l->in.d[1], H = l->cfg.units;
    size_t kept = (size_t)ky_recurrent_kept(l) * (size_t)H;
    ky_real *panel = ky_cut(&scratch, (size_t)B * (size_t)(F + H));
    ky_real *own = ky_cut(&scratch, (size_t)H), *z = scratch;

    ky_recurrent_panel(l, B, x, xs, state, panel);
    ky_rows(k, p->mat, F + H, B, panel, F + H, z, 4 * H, KY_LINEAR);
    for (int r = 0; r < B; r++, z += 4 * H)
        ky_lstm_gates(l, k, 1, H, z, state[r], state[r] + H,
                      tape != NULL ? tape + (size_t)r * kept : NULL, own);
}

/* One step of B rows, row r's x at x + r*xs; tape: this step's or NULL. */
static void one_step(const ky_layer *l, const ky_kernels *k, const ky_packed *p, int B,
                     const ky_real *x, ptrdiff_t xs, ky_real *const *state, const ky_real *drop,
                     ky_real *tape, ky_real *scratch)
{
    ky_recurrent_drop_states(l, B, drop, state); /* it is read by nothing else */
    if (p->lstm != NULL)
        k->lstm(p->lstm, B, x, xs, state, tape, 6 * (ptrdiff_t)l->cfg.units, scratch);
    else
        generic_step(l, k, p, B, x, xs, state, tape, scratch);
}

/* -- backward ------------------------------------------------------------------ */

void ky_lstm_gates_back(const ky_layer *l, const ky_kernels *k, int R, int n, const ky_real *dh,
                        ky_real *dc, const ky_real *tape, const ky_real *c0, ky_real *dz)
{
    enum ky_activation a = l->cfg.activation, ra = l->cfg.recurrent_activation;
    size_t all = (size_t)R * (size_t)n;
    const ky_real *i = tape, *f = i + all, *g = f + all, *o = g + all, *c = o + all, *ac = c + all;
    const ky_real *z = ky_recurrent_sums(l) ? ac + all : tape; /* or nobody reads it */
    ky_real *di = dz, *df = di + all, *dg = df + all, *d_o = dg + all;
    bool rows = ky_activation_by_rows(a);

    /* What dh adds to dc: the slope of a(c) goes into one fma, where it is an element's own. */
    for (size_t j = 0; j < all; j++)
        d_o[j] = rows ? dh[j] * o[j] : 1;
    ky_activation_back(k, a, R, n, c, ac, d_o, d_o);
    for (size_t j = 0; j < all; j++) {
        ky_real d = rows ? dc[j] + d_o[j] : fma(dh[j] * o[j], d_o[j], dc[j]);

        di[j] = d * g[j];
        df[j] = d * c0[j];
        dg[j] = d * i[j];
        d_o[j] = dh[j] * ac[j];
        dc[j] = d * f[j];
    }
    ky_activation_back(k, ra, 2 * R, n, z, i, di, di); /* i and f */
    ky_activation_back(k, a, R, n, z + 2 * all, g, dg, dg);
    ky_activation_back(k, ra, R, n, z + 3 * all, o, d_o, d_o);
}

static void one_back(const ky_layer *l, const ky_kernels *k, const ky_packed *p,
                     const ky_cell_back *s)
{
    int H = l->cfg.units, B = s->B;
    ptrdiff_t kept = (ptrdiff_t)ky_recurrent_kept(l) * H;

    if (has_kernel(l))
        k->lstm_back(B, H, s->dh, H, s->drest, H, s->tape, kept, s->rest, s->rs, s->dz, 4 * H);
    for (ptrdiff_t r = 0; r < B && !has_kernel(l); r++)
        ky_lstm_gates_back(l, k, 1, H, s->dh + r * H, s->drest + r * H, s->tape + r * kept,
                           s->rest + r * s->rs, s->dz + r * 4 * H);
    if (s->first)
        return;
    ky_rows(k, p->back_h, 4 * H, B, s->dz, 4 * H, s->dh, H, KY_LINEAR);
    ky_recurrent_drop((size_t)B * (size_t)H, s->drop, s->dh);
}

static const ky_cell cell = { .n_state = n_state,
                              .n_scratch = step_scratch,
                              .step = one_step,
                              .tape = 6,
                              .sums = 4,
                              .rest = 4,
                              .gates = 4,
                              .back = one_back,
                              .learn = ky_recurrent_learn,
                              .inputs_back = ky_recurrent_inputs_back };

static const ky_field fields[] = {
    { "units", KY_F_INT, KY_FIELD(units), 0, 0 },
    { "activation", KY_F_ACTIVATION, KY_FIELD(activation), KY_TANH, 0 },
    { "recurrent_activation", KY_F_ACTIVATION, KY_FIELD(recurrent_activation), KY_SIGMOID, 0 },
    { "use_bias", KY_F_BOOL, KY_FIELD(use_bias), true, 0 },
    { "unit_forget_bias", KY_F_BOOL, KY_FIELD(unit_forget_bias), true, 0 },
    KY_RECURRENT_FIELDS,
    { 0 },
};

const ky_layer_ops ky_lstm_ops = {
    .class_name = "LSTM",
    .fields = fields,
    KY_RECURRENT_OPS,
    .cell = &cell,
    .shape = shape,
    .init = init,
    .pack = pack,
    .n_scratch = ky_recurrent_scratch,
    .macs = ky_recurrent_macs,
};
