/*
 * SimpleRNN (Elman 1990): h' = act(b + x W + h U), one chain over x and then h. The state of a
 * row is h, and so is the tape of a step; behind it, where a slope wants that, what h was taken of.
 */
#include "models/recurrent.h"

#include <string.h>

static int shape(ky_layer *l, ky_err *err)
{
    int H = l->cfg.units, rc = ky_recurrent_gates(l, 1, err);

    if (rc < 0)
        return rc;
    if (l->cfg.use_bias)
        ky_layer_declare(l, "bias", true, H, 0, 0);
    ky_recurrent_shape(l, &(ky_shape){ .rank = 1, .d = { H } });
    return KY_OK;
}

static int pack(const ky_layer *l, const ky_kernels *k, const ky_real *w, bool backward,
                ky_packed *ret)
{
    const ky_real *b = l->cfg.use_bias ? w + l->weights[2].at : NULL;

    ret->mat = ky_recurrent_stack(l, k, w, 0, l->cfg.units, b);
    return ret->mat != NULL && (!backward || ky_recurrent_back_pack(l, k, w, ret)) ? KY_OK
                                                                                   : KY_ENOMEM;
}

static size_t n_state(const ky_layer *l)
{
    return (size_t)l->cfg.units;
}

static size_t step_scratch(const ky_layer *l, const ky_packed *p, int B)
{
    size_t F = (size_t)l->in.d[1], H = (size_t)l->cfg.units;

    (void)p;
    return ky_lines((size_t)B * (F + H)) + (size_t)B * H;
}

static void one_step(const ky_layer *l, const ky_kernels *k, const ky_packed *p, int B,
                     const ky_real *x, ptrdiff_t xs, ky_real *const *state, const ky_real *drop,
                     ky_real *tape, ky_real *scratch)
{
    int F = l->in.d[1], H = l->cfg.units;
    size_t n = (size_t)H, kept = (size_t)ky_recurrent_kept(l) * n;
    bool sums = tape != NULL && ky_recurrent_sums(l);
    ky_real *panel = ky_cut(&scratch, (size_t)B * (size_t)(F + H)), *h = scratch;

    ky_recurrent_drop_states(l, B, drop, state);
    ky_recurrent_panel(l, B, x, xs, state, panel);
    ky_rows(k, p->mat, F + H, B, panel, F + H, h, H, sums ? KY_LINEAR : l->cfg.activation);
    for (size_t r = 0; sums && r < (size_t)B; r++)
        memcpy(tape + r * kept + n, h + r * n, n * sizeof(*h));
    if (sums)
        ky_activation_rows(k, l->cfg.activation, B, H, h, h);
    for (size_t r = 0; r < (size_t)B; r++) {
        memcpy(state[r], h + r * n, n * sizeof(*h));
        if (tape != NULL)
            memcpy(tape + r * kept, h + r * n, n * sizeof(*h));
    }
}

static void one_back(const ky_layer *l, const ky_kernels *k, const ky_packed *p,
                     const ky_cell_back *s)
{
    int H = l->cfg.units;
    ptrdiff_t kept = (ptrdiff_t)ky_recurrent_kept(l) * H;

    for (ptrdiff_t r = 0; r < s->B; r++) {
        const ky_real *h = s->tape + r * kept;

        ky_activation_back(k, l->cfg.activation, 1, H, ky_recurrent_sums(l) ? h + H : NULL, h,
                           s->dh + r * H, s->dz + r * H);
    }
    if (s->first)
        return;
    ky_rows(k, p->back_h, H, s->B, s->dz, H, s->dh, H, KY_LINEAR);
    ky_recurrent_drop((size_t)s->B * (size_t)H, s->drop, s->dh);
}

static const ky_cell cell = { .n_state = n_state,
                              .n_scratch = step_scratch,
                              .step = one_step,
                              .tape = 1,
                              .sums = 1,
                              .gates = 1,
                              .back = one_back,
                              .learn = ky_recurrent_learn,
                              .inputs_back = ky_recurrent_inputs_back };

static const ky_field fields[] = {
    { "units", KY_F_INT, KY_FIELD(units), 0, 0 },
    { "activation", KY_F_ACTIVATION, KY_FIELD(activation), KY_TANH, 0 },
    { "use_bias", KY_F_BOOL, KY_FIELD(use_bias), true, 0 },
    KY_RECURRENT_FIELDS,
    { 0 },
};

const ky_layer_ops ky_simple_rnn_ops = {
    .class_name = "SimpleRNN",
    .fields = fields,
    KY_RECURRENT_OPS,
    .cell = &cell,
    .shape = shape,
    .init = ky_recurrent_init,
    .pack = pack,
    .n_scratch = ky_recurrent_scratch,
    .macs = ky_recurrent_macs,
};
