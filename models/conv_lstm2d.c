/*
 * ConvLSTM2D (Shi et al. 2015): an LSTM whose products are convolutions, of frames
 * [rows,columns,channels]. At every place of the output
 *
 *     z = (b + x * W) + h * U
 *
 * and then as an LSTM, with the same gates i, f, c, o. The convolution of the input has the
 * layer's strides, padding and dilation; that of h keeps its size: stride 1, padding 'same', no
 * dilation. Each is one chain. The state of a row is {h, c}, [rows,columns,filters] each. The tape
 * is an LSTM's, whose units are the places and filters of the output, gate by gate.
 */
#include "models/local.h"
#include "models/recurrent.h"

#include <string.h>

static ky_axis input_axis(const ky_layer *l, int i)
{
    return ky_axis_of(l->cfg.kernel_size[i], l->cfg.strides[i], l->cfg.dilation_rate[i],
                      l->cfg.padding, l->in.d[1 + i]);
}

/* The planes of frames with C channels whose axes are h and w. */
static ky_plane plane_of(const ky_layer *l, ky_axis h, ky_axis w, int C)
{
    ky_plane g = { .h = h, .w = w, .C = C, .F = 4 * l->cfg.filters, .xc = C };

    g.yc = g.F;
    g.xb = (ptrdiff_t)h.n * w.n * C;
    g.yb = (ptrdiff_t)h.n_out * w.n_out * g.F;
    return g;
}

static ky_plane input_plane(const ky_layer *l)
{
    return plane_of(l, input_axis(l, 0), input_axis(l, 1), l->in.d[3]);
}

static ky_plane recurrent_plane(const ky_layer *l)
{
    const int *taps = l->cfg.kernel_size;

    return plane_of(l, ky_axis_of(taps[0], 1, 1, KY_SAME, input_axis(l, 0).n_out),
                    ky_axis_of(taps[1], 1, 1, KY_SAME, input_axis(l, 1).n_out), l->cfg.filters);
}

/* Places of the output. */
static size_t places(const ky_layer *l)
{
    return (size_t)input_axis(l, 0).n_out * (size_t)input_axis(l, 1).n_out;
}

/* The options of the convolution, as Conv2D on one frame would take them. */
static int check_convolution(const ky_layer *l, ky_err *err)
{
    ky_layer frame = *l;
    int rc;

    frame.in = (ky_shape){ .rank = 3, .d = { l->in.d[1], l->in.d[2], l->in.d[3] }, .timed = true };
    if ((rc = ky_local_shape(&frame, 3, "kernel_size", l->cfg.filters, err)) < 0)
        return rc;
    if (ky_local_steps(&frame, l->in.d[1]) < 1)
        return ky_fail(err, KY_ESHAPE, "%d rows are too few for it", l->in.d[1]);
    return KY_OK;
}

static int shape(ky_layer *l, ky_err *err)
{
    const int *taps = l->cfg.kernel_size;
    int F = l->cfg.filters, rc;

    if ((rc = ky_layer_needs_time(l, 4, err)) < 0 ||
        (rc = ky_layer_range("filters", F, 1, err)) < 0 || (rc = check_convolution(l, err)) < 0)
        return rc;
    ky_layer_declare_shape(l, "kernel", true, 4, (int[]){ taps[0], taps[1], l->in.d[3], 4 * F });
    ky_layer_declare_shape(l, "recurrent_kernel", true, 4, (int[]){ taps[0], taps[1], F, 4 * F });
    if (l->cfg.use_bias)
        ky_layer_declare(l, "bias", true, 4 * F, 0, 0);
    ky_recurrent_shape(
        l, &(ky_shape){ .rank = 3, .d = { input_axis(l, 0).n_out, input_axis(l, 1).n_out, F } });
    return KY_OK;
}

static void init(const ky_layer *l, ky_real *w, ky_rng *rng)
{
    double taps = (double)l->cfg.kernel_size[0] * l->cfg.kernel_size[1], F = l->cfg.filters;

    ky_init_glorot(w, l->weights[0].len, taps * l->in.d[3], taps * 4 * F, rng);
    ky_init_glorot(w + l->weights[1].at, l->weights[1].len, taps * F, taps * 4 * F, rng);
    if (l->cfg.use_bias && l->cfg.unit_forget_bias)
        for (int j = 0; j < l->cfg.filters; j++)
            w[l->weights[2].at + (size_t)(l->cfg.filters + j)] = 1;
}

static ky_mat *pack_reversed(const ky_kernels *k, const ky_weight *v, const ky_real *w)
{
    return ky_pack_reversed(k, v->d[0] * v->d[1], v->d[2], v->d[3], v->d[3], w + v->at);
}

static int pack(const ky_layer *l, const ky_kernels *k, const ky_real *w, bool backward,
                ky_packed *ret)
{
    int N = 4 * l->cfg.filters;
    const ky_real *b = l->cfg.use_bias ? w + l->weights[2].at : NULL;

    ret->mat = k->mat_new((int)(l->weights[0].len / (size_t)N), N, w, b);
    ret->recurrent =
        k->mat_new((int)(l->weights[1].len / (size_t)N), N, w + l->weights[1].at, NULL);
    if (backward) {
        ret->back_x = pack_reversed(k, &l->weights[0], w);
        ret->back_h = pack_reversed(k, &l->weights[1], w);
        if (ret->back_x == NULL || ret->back_h == NULL)
            return KY_ENOMEM;
    }
    return ret->mat != NULL && ret->recurrent != NULL ? KY_OK : KY_ENOMEM;
}

static size_t n_state(const ky_layer *l)
{
    return 2 * places(l) * (size_t)l->cfg.filters;
}

static size_t correlate_scratch(const ky_layer *l)
{
    ky_plane x = input_plane(l), h = recurrent_plane(l);
    size_t a = ky_correlate_scratch(&x), b = ky_correlate_scratch(&h);

    return ky_lines(a > b ? a : b);
}

/* For ky_correlate; h [B,places,F]; z and q [B,places,4F]; one row's gates and own */
static size_t step_scratch(const ky_layer *l, const ky_packed *p, int B)
{
    size_t one = places(l) * (size_t)l->cfg.filters, all = (size_t)B * one;

    (void)p;
    return correlate_scratch(l) + ky_lines(all) + 2 * ky_lines(4 * all) + ky_lines(4 * one) + one;
}

/* z + q [places,4,F] -> gates [4,places,F], and on to the new state. */
static void advance(const ky_layer *l, const ky_kernels *k, const ky_real *z, const ky_real *q,
                    ky_real *gates, ky_real *state, ky_real *tape)
{
    size_t F = (size_t)l->cfg.filters, n = places(l), h = n * F;
    ky_real *own = gates + ky_lines(4 * n * F);

    for (size_t i = 0; i < n; i++)
        for (size_t gate = 0; gate < 4; gate++, z += F, q += F) {
            ky_real *to = gates + (gate * n + i) * F;

            for (size_t j = 0; j < F; j++)
                to[j] = z[j] + q[j];
        }
    ky_lstm_gates(l, k, (int)n, (int)F, gates, state, state + h, tape, own);
}

static void one_step(const ky_layer *l, const ky_kernels *k, const ky_packed *p, int B,
                     const ky_real *x, ptrdiff_t xs, ky_real *const *state, const ky_real *drop,
                     ky_real *tape, ky_real *scratch)
{
    size_t n = places(l) * (size_t)l->cfg.filters, rows = (size_t)B;
    size_t kept = (size_t)ky_recurrent_kept(l) * n;
    ky_plane of_x = input_plane(l), of_h = recurrent_plane(l);
    ky_real *own = ky_cut(&scratch, correlate_scratch(l)), *h = ky_cut(&scratch, rows * n);
    ky_real *z = ky_cut(&scratch, rows * 4 * n), *q = ky_cut(&scratch, rows * 4 * n);

    ky_recurrent_drop_states(l, B, drop, state);
    for (size_t r = 0; r < rows; r++)
        memcpy(h + r * n, state[r], n * sizeof(*h));
    of_x.xb = xs;
    ky_correlate(k, p->mat, &of_x, B, own, x, z, KY_LINEAR);
    ky_correlate(k, p->recurrent, &of_h, B, own, h, q, KY_LINEAR);
    for (size_t r = 0; r < rows; r++)
        advance(l, k, z + r * 4 * n, q + r * 4 * n, scratch, state[r],
                tape != NULL ? tape + r * kept : NULL);
}

/* -- backward ------------------------------------------------------------------------------ */

/* Scratch of the correlations there and back. */
static size_t back_runs(const ky_layer *l)
{
    ky_plane x = input_plane(l), h = recurrent_plane(l), x_back = ky_plane_back(&x),
             h_back = ky_plane_back(&h);
    size_t n[] = { ky_correlate_scratch(&x), ky_correlate_scratch(&h),
                   ky_correlate_scratch(&x_back), ky_correlate_scratch(&h_back) };
    size_t most = 0;

    for (size_t i = 0; i < sizeof(n) / sizeof(*n); i++)
        most = n[i] > most ? n[i] : most;
    return ky_lines(most);
}

/* Behind the runs: a row's gradients at the gates as an LSTM has them, or, later, those of a step
 * spread out. */
static size_t n_scratch(const ky_layer *l, const ky_packed *p, int B, int T, bool backward)
{
    size_t own = 4 * places(l) * (size_t)l->cfg.filters, wide;
    ky_plane g = input_plane(l);

    if (!backward)
        return ky_recurrent_scratch(l, p, B, T, false);
    wide = ky_spread_reals(&g, B);
    return ky_recurrent_scratch(l, p, B, T, true) + back_runs(l) +
           ky_lines(own > wide ? own : wide);
}

static void one_back(const ky_layer *l, const ky_kernels *k, const ky_packed *p,
                     const ky_cell_back *s)
{
    size_t F = (size_t)l->cfg.filters, n = places(l), h = n * F, B = (size_t)s->B;
    size_t kept = (size_t)ky_recurrent_kept(l) * h;
    ky_plane g = recurrent_plane(l), back = ky_plane_back(&g);
    ky_real *blocks = s->own + back_runs(l), *dz = s->dz;

    for (size_t r = 0; r < B; r++) {
        ky_lstm_gates_back(l, k, (int)n, (int)F, s->dh + r * h, s->drest + r * h,
                           s->tape + r * kept, s->rest + (ptrdiff_t)r * s->rs, blocks);
        for (size_t i = 0; i < n; i++)
            for (size_t gate = 0; gate < 4; gate++, dz += F)
                memcpy(dz, blocks + gate * h + i * F, F * sizeof(*dz));
    }
    if (s->first)
        return;
    ky_correlate(k, p->back_h, &back, s->B, s->own, s->dz, s->dh, KY_LINEAR);
    ky_recurrent_drop(B * h, s->drop, s->dh);
}

static void learn(const ky_layer *l, const ky_kernels *k, int n, const ky_real *x, const ky_real *h,
                  const ky_real *tape, const ky_real *dz, ky_real *own, ky_real *dw)
{
    ky_plane of_x = input_plane(l), of_h = recurrent_plane(l);
    int N = 4 * l->cfg.filters;

    (void)tape;
    ky_correlate_gradient(k, &of_x, n, own, x, dz, dw, N);
    ky_correlate_gradient(k, &of_h, n, own, h, dz, dw + l->weights[1].at, N);
    if (l->cfg.use_bias)
        k->colsum(N, n * (int)places(l), dz, N, dw + l->weights[2].at);
}

static void inputs_back(const ky_layer *l, const ky_kernels *k, const ky_packed *p, int B,
                        const ky_real *dz, ky_real *own, ky_real *dx, ptrdiff_t xs)
{
    ky_plane g = input_plane(l), back = ky_plane_back(&g);
    ky_real *wide = own + back_runs(l);

    ky_spread(&g, B, dz, wide);
    back.yb = xs;
    ky_correlate(k, p->back_x, &back, B, own, wide, dx, KY_LINEAR);
}

static size_t macs(const ky_layer *l, int T)
{
    return (size_t)T * places(l) * (l->weights[0].len + l->weights[1].len);
}

static const ky_cell cell = { .n_state = n_state,
                              .n_scratch = step_scratch,
                              .step = one_step,
                              .tape = 6,
                              .sums = 4,
                              .rest = 4,
                              .gates = 4,
                              .back = one_back,
                              .learn = learn,
                              .inputs_back = inputs_back };

static const ky_field fields[] = {
    { "filters", KY_F_INT, KY_FIELD(filters), 0, 0 },
    KY_KERNEL_FIELDS(2),
    { "activation", KY_F_ACTIVATION, KY_FIELD(activation), KY_TANH, 0 },
    { "recurrent_activation", KY_F_ACTIVATION, KY_FIELD(recurrent_activation), KY_SIGMOID, 0 },
    { "use_bias", KY_F_BOOL, KY_FIELD(use_bias), true, 0 },
    { "unit_forget_bias", KY_F_BOOL, KY_FIELD(unit_forget_bias), true, 0 },
    KY_RECURRENT_FIELDS,
    { 0 },
};

const ky_layer_ops ky_conv_lstm2d_ops = {
    .class_name = "ConvLSTM2D",
    .fields = fields,
    KY_RECURRENT_OPS,
    .cell = &cell,
    .shape = shape,
    .init = init,
    .pack = pack,
    .n_scratch = n_scratch,
    .macs = macs,
};
