/*
 * LSTM (Hochreiter and Schmidhuber 1997), with Keras's gates i, f, c, o:
 *
 *     z = b + x W + h U            i = ra(z_i)  f = ra(z_f)  g = a(z_c)  o = ra(z_o)
 *     c' = f c + i g               h' = o a(c')
 *
 * The state of a row is {h[H], c[H]}. With a = tanh and ra = sigmoid a step is the kernel
 * set's; any other pair is done here from rows() and activate(), by the same chains.
 *
 * The tape holds, each by step and then by row: i,f,g,o,c,a(c) [T,B,6H], h before the step
 * [T,B,H], and the first c [B,H]; steps stand in the order in which they were worked out.
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
        ok = (ret->back_x = ky_pack_transposed(k, F, 4 * H, w)) != NULL &&
             (ret->back_h = ky_pack_transposed(k, H, 4 * H, U)) != NULL;
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

static size_t n_scratch(const ky_layer *l, const ky_packed *p, int B, int T, bool backward)
{
    size_t H = (size_t)l->cfg.units, F = (size_t)l->in.d[1], BT = (size_t)B * (size_t)T;

    if (backward) /* dh, dc, dz, x by step */
        return 2 * ky_lines((size_t)B * H) + ky_lines(BT * 4 * H) + ky_lines(BT * F);
    return ky_recurrent_scratch(l, p, B, T, backward);
}

void ky_lstm_gates(const ky_layer *l, const ky_kernels *k, int R, int n, ky_real *z, ky_real *h,
                   ky_real *c, ky_real *ac, ky_real *own)
{
    enum ky_activation a = l->cfg.activation, ra = l->cfg.recurrent_activation;
    size_t all = (size_t)R * (size_t)n;
    ky_real *i = z, *f = z + all, *g = f + all, *o = g + all;

    ky_activation_rows(k, ra, 2 * R, n, i, i); /* i and f */
    ky_activation_rows(k, a, R, n, g, g);
    ky_activation_rows(k, ra, R, n, o, o);
    for (size_t j = 0; j < all; j++)
        own[j] = i[j] * g[j];
    ky_mul_add(k, (int)all, f, c, own, h);
    memcpy(c, h, all * sizeof(*c));
    ky_activation_rows(k, a, R, n, c, h);
    if (ac != NULL)
        memcpy(ac, h, all * sizeof(*h));
    for (size_t j = 0; j < all; j++)
        h[j] = o[j] * h[j];
}

static void generic_step(const ky_layer *l, const ky_kernels *k, const ky_packed *p, int B,
                         const ky_real *x, ptrdiff_t xs, ky_real *const *state, ky_real *tape,
                         ky_real *scratch)
{
    int F = l->in.d[1], H = l->cfg.units;
    ky_real *panel = ky_cut(&scratch, (size_t)B * (size_t)(F + H));
    ky_real *own = ky_cut(&scratch, (size_t)H), *z = scratch;

    ky_recurrent_panel(l, B, x, xs, state, panel);
    ky_rows(k, p->mat, F + H, B, panel, F + H, z, 4 * H, KY_LINEAR);
    for (int r = 0; r < B; r++, z += 4 * H) {
        ky_real *c = state[r] + H;

        ky_lstm_gates(l, k, 1, H, z, state[r], c, tape != NULL ? tape + 5 * H : NULL, own);
        if (tape != NULL) {
            memcpy(tape, z, 4 * (size_t)H * sizeof(*z));
            memcpy(tape + 4 * H, c, (size_t)H * sizeof(*z));
            tape += 6 * H;
        }
    }
}

/* One step of B rows, row r's x at x + r*xs; tape: this step's [B,6H] or NULL. */
static void one_step(const ky_layer *l, const ky_kernels *k, const ky_packed *p, int B,
                     const ky_real *x, ptrdiff_t xs, ky_real *const *state, ky_real *tape,
                     ky_real *scratch)
{
    if (p->lstm != NULL)
        k->lstm(p->lstm, B, x, xs, state, tape, 6 * (ptrdiff_t)l->cfg.units, scratch);
    else
        generic_step(l, k, p, B, x, xs, state, tape, scratch);
}

static const ky_cell cell = {
    .n_state = n_state, .n_scratch = step_scratch, .step = one_step, .tape = 6
};

/* -- backward ------------------------------------------------------------------ */

/* As the kernels' lstm_back, for any pair of activations: dz [B,4H], dc to the step before. */
static void generic_back(const ky_layer *l, int B, const ky_real *dh, ky_real *dc,
                         const ky_real *tape, const ky_real *c0, ptrdiff_t c0s, ky_real *dz)
{
    int H = l->cfg.units;
    enum ky_activation a = l->cfg.activation, ra = l->cfg.recurrent_activation;

    for (int r = 0; r < B; r++, dh += H, dc += H, tape += 6 * H, c0 += c0s, dz += 4 * H)
        for (int j = 0; j < H; j++) {
            ky_real i = tape[j], f = tape[H + j], g = tape[2 * H + j], o = tape[3 * H + j];
            ky_real ac = tape[5 * H + j];
            ky_real d = fma(dh[j] * o, ky_activation_slope(a, ac), dc[j]);

            dz[j] = d * g * ky_activation_slope(ra, i);
            dz[H + j] = d * c0[j] * ky_activation_slope(ra, f);
            dz[2 * H + j] = d * i * ky_activation_slope(a, g);
            dz[3 * H + j] = dh[j] * ac * ky_activation_slope(ra, o);
            dc[j] = d * f;
        }
}

/* Back through time: dz [T,B,4H] from dy. */
static void through_time(const ky_layer *l, const ky_kernels *k, const ky_packed *p,
                         const ky_call *c, const ky_real *dy, ky_real *dh, ky_real *dc, ky_real *dz)
{
    int B = c->B, T = c->T, H = l->cfg.units;
    size_t gates = (size_t)B * 6 * (size_t)H, before = (size_t)B * (size_t)H;
    const ky_real *c_first = c->tape + (size_t)T * (gates + before);

    memset(dh, 0, before * sizeof(*dh));
    memset(dc, 0, before * sizeof(*dc));
    for (int t = T - 1; t >= 0; t--) {
        const ky_real *tape = c->tape + (size_t)t * gates;
        const ky_real *c0 = t > 0 ? tape - gates + 4 * H : c_first;
        ptrdiff_t c0s = t > 0 ? 6 * (ptrdiff_t)H : H;
        ky_real *dz_t = dz + (size_t)t * 4 * before;

        if (l->cfg.return_sequences || t == T - 1)
            for (int r = 0; r < B; r++) {
                const ky_real *d =
                    dy + (l->cfg.return_sequences ? (size_t)r * T + t : (size_t)r) * H;

                for (int j = 0; j < H; j++)
                    dh[(size_t)r * H + j] += d[j];
            }
        if (has_kernel(l))
            k->lstm_back(B, H, dh, H, dc, H, tape, 6 * (ptrdiff_t)H, c0, c0s, dz_t, 4 * H);
        else
            generic_back(l, B, dh, dc, tape, c0, c0s, dz_t);
        if (t > 0)
            ky_rows(k, p->back_h, 4 * H, B, dz_t, 4 * H, dh, H, KY_LINEAR);
    }
}

static void backward(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                     const ky_call *c, const ky_real *x, const ky_real *y, const ky_real *dy,
                     ky_real *dx, ky_real *dw)
{
    int B = c->B, T = c->T, BT = B * T, F = l->in.d[1], H = l->cfg.units;
    ky_real *scratch = c->scratch;
    ky_real *dh = ky_cut(&scratch, (size_t)B * H), *dc = ky_cut(&scratch, (size_t)B * H);
    ky_real *dz = ky_cut(&scratch, (size_t)BT * 4 * H), *xt = ky_cut(&scratch, (size_t)BT * F);

    (void)w, (void)y;
    through_time(l, k, p, c, dy, dh, dc, dz);
    for (int t = 0; t < T; t++)
        for (int r = 0; r < B; r++)
            memcpy(xt + ((size_t)t * B + r) * F, x + ((size_t)r * T + ky_recurrent_at(l, T, t)) * F,
                   (size_t)F * sizeof(*x));
    k->gemm_tn(F, 4 * H, BT, xt, F, dz, 4 * H, dw, 4 * H);
    k->gemm_tn(H, 4 * H, BT, c->tape + (size_t)BT * 6 * H, H, dz, 4 * H, dw + l->weights[1].at,
               4 * H);
    if (l->cfg.use_bias)
        k->colsum(4 * H, BT, dz, 4 * H, dw + l->weights[2].at);
    if (dx != NULL)
        for (int t = 0; t < T; t++)
            ky_rows(k, p->back_x, 4 * H, B, dz + (size_t)t * B * 4 * H, 4 * H,
                    dx + (size_t)ky_recurrent_at(l, T, t) * F, (ptrdiff_t)T * F, KY_LINEAR);
}

static const ky_field fields[] = {
    { "units", "output_dim", KY_F_INT, KY_FIELD(units), 0, KY_FREE, false },
    { "activation", NULL, KY_F_ACTIVATION, KY_FIELD(activation), KY_TANH, KY_FREE, false },
    { "recurrent_activation", "inner_activation", KY_F_ACTIVATION, KY_FIELD(recurrent_activation),
      KY_SIGMOID, KY_FREE, false },
    { "use_bias", NULL, KY_F_BOOL, KY_FIELD(use_bias), true, KY_FREE, false },
    { "unit_forget_bias", NULL, KY_F_BOOL, KY_FIELD(unit_forget_bias), true, KY_FREE, false },
    KY_RECURRENT_FIELDS,
    { 0 },
};

const ky_layer_ops ky_lstm_ops = {
    .class_name = "LSTM",
    .fields = fields,
    .masking = KY_MASK_PASSES,
    .cell = &cell,
    .shape = shape,
    .init = init,
    .pack = pack,
    .n_scratch = n_scratch,
    .n_tape = ky_recurrent_tape,
    .window = ky_recurrent_window,
    .step = ky_recurrent_step,
    .backward = backward,
    .macs = ky_recurrent_macs,
};
