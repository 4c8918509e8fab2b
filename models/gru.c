/*
 * GRU (Cho et al. 2014), with Keras's gates z, r, h, in its two forms. With reset_after, the
 * default of tf.keras and Keras 3, the reset comes behind the recurrent product, which has a
 * bias of its own:
 *
 *     a = b0 + x W      q = b1 + h U
 *     z = ra(a_z + q_z)      r = ra(a_r + q_r)      n = act(r q_h + a_h)
 *
 * Without it there are chains over x and then h, as in an LSTM:
 *
 *     z = ra(b_z + x W_z + h U_z)      r likewise      n = act(b_h + x W_h + (r h) U_h)
 *
 * Either way h' = z (h - n) + n: z keeps what is old. The products that end in a sum are fused.
 * The state of a row is h. With act = tanh and ra = sigmoid a step is the kernel set's; any other
 * pair is done here from rows() and activate(), by the same chains.
 */
#include "models/recurrent.h"

#include <string.h>

static bool has_kernel(const ky_layer *l)
{
    return l->cfg.activation == KY_TANH && l->cfg.recurrent_activation == KY_SIGMOID;
}

static int shape(ky_layer *l, ky_err *err)
{
    int H = l->cfg.units, rc = ky_recurrent_gates(l, 3, err);

    if (rc < 0)
        return rc;
    if (l->cfg.use_bias && l->cfg.reset_after)
        ky_layer_declare(l, "bias", true, 2, 3 * H, 0);
    else if (l->cfg.use_bias)
        ky_layer_declare(l, "bias", true, 3 * H, 0, 0);
    ky_recurrent_shape(l, &(ky_shape){ .rank = 1, .d = { H } });
    return KY_OK;
}

static int pack(const ky_layer *l, const ky_kernels *k, const ky_real *w, bool backward,
                ky_packed *ret)
{
    int F = l->in.d[1], H = l->cfg.units;
    const ky_real *b = l->cfg.use_bias ? w + l->weights[2].at : NULL;
    const ky_real *behind = b == NULL ? NULL : l->cfg.reset_after ? b + 3 * H : b + 2 * H;

    (void)backward;
    if (has_kernel(l)) {
        ret->gru = k->gru_new(F, H, l->cfg.reset_after, w, w + l->weights[1].at, b);
        return ret->gru != NULL ? KY_OK : KY_ENOMEM;
    }
    if (l->cfg.reset_after) {
        ret->mat = k->mat_new(F, 3 * H, w, b);
        ret->recurrent = k->mat_new(H, 3 * H, w + l->weights[1].at, behind);
    } else {
        ret->mat = ky_recurrent_stack(l, k, w, 0, 2 * H, b);
        ret->recurrent = ky_recurrent_stack(l, k, w, 2 * H, H, behind);
    }
    return ret->mat != NULL && ret->recurrent != NULL ? KY_OK : KY_ENOMEM;
}

static size_t n_state(const ky_layer *l)
{
    return (size_t)l->cfg.units;
}

/* The kernel's; or h [B,H], a [B,3H], q [B,3H]; or panel [B,F+H], gates [B,2H], n [B,H] */
static size_t step_scratch(const ky_layer *l, const ky_packed *p, int B)
{
    size_t F = (size_t)l->in.d[1], H = (size_t)l->cfg.units, n = (size_t)B;

    if (p->gru != NULL)
        return ky_gru_scratch(p->gru);
    if (l->cfg.reset_after)
        return ky_lines(n * H) + ky_lines(n * 3 * H) + n * 3 * H;
    return ky_lines(n * (F + H)) + ky_lines(n * 2 * H) + n * H;
}

/* h' = z (h - n) + n of one row; own: scratch [H] */
static void blend(const ky_kernels *k, int H, const ky_real *z, const ky_real *n, ky_real *h,
                  ky_real *own)
{
    for (int j = 0; j < H; j++)
        own[j] = h[j] - n[j];
    ky_mul_add(k, H, z, own, n, h);
}

static void reset_after(const ky_layer *l, const ky_kernels *k, const ky_packed *p, int B,
                        const ky_real *x, ptrdiff_t xs, ky_real *const *state, ky_real *scratch)
{
    int F = l->in.d[1], H = l->cfg.units;
    size_t n = (size_t)B * (size_t)H;
    ky_real *h = ky_cut(&scratch, n), *a = ky_cut(&scratch, 3 * n), *q = scratch;

    for (int r = 0; r < B; r++)
        memcpy(h + (ptrdiff_t)r * H, state[r], (size_t)H * sizeof(*h));
    ky_rows(k, p->mat, F, B, x, xs, a, 3 * H, KY_LINEAR);
    ky_rows(k, p->recurrent, H, B, h, H, q, 3 * H, KY_LINEAR);
    for (int i = 0; i < B; i++, a += 3 * H, q += 3 * H) {
        ky_real *n_i = q + H; /* q_z and q_r are done with once they are added */

        for (int j = 0; j < 2 * H; j++)
            a[j] += q[j];
        ky_activation_rows(k, l->cfg.recurrent_activation, 2, H, a, a); /* z and r */
        ky_mul_add(k, H, a + H, q + 2 * H, a + 2 * H, n_i);
        ky_activation_rows(k, l->cfg.activation, 1, H, n_i, n_i);
        blend(k, H, a, n_i, state[i], q);
    }
}

static void reset_before(const ky_layer *l, const ky_kernels *k, const ky_packed *p, int B,
                         const ky_real *x, ptrdiff_t xs, ky_real *const *state, ky_real *scratch)
{
    int F = l->in.d[1], H = l->cfg.units, K = F + H;
    size_t n = (size_t)B * (size_t)H;
    ky_real *panel = ky_cut(&scratch, (size_t)B * (size_t)K), *gates = ky_cut(&scratch, 2 * n);
    ky_real *n_all = scratch;

    ky_recurrent_panel(l, B, x, xs, state, panel);
    ky_rows(k, p->mat, K, B, panel, K, gates, 2 * H, KY_LINEAR);
    ky_activation_rows(k, l->cfg.recurrent_activation, 2 * B, H, gates, gates);
    for (ptrdiff_t i = 0; i < B; i++)
        for (int j = 0; j < H; j++)
            panel[i * K + F + j] *= gates[i * 2 * H + H + j];
    ky_rows(k, p->recurrent, K, B, panel, K, n_all, H, l->cfg.activation);
    for (ptrdiff_t i = 0; i < B; i++, gates += 2 * H) /* r is done with */
        blend(k, H, gates, n_all + i * H, state[i], gates + H);
}

static void one_step(const ky_layer *l, const ky_kernels *k, const ky_packed *p, int B,
                     const ky_real *x, ptrdiff_t xs, ky_real *const *state, ky_real *tape,
                     ky_real *scratch)
{
    (void)tape;
    if (p->gru != NULL)
        k->gru(p->gru, B, x, xs, state, scratch);
    else if (l->cfg.reset_after)
        reset_after(l, k, p, B, x, xs, state, scratch);
    else
        reset_before(l, k, p, B, x, xs, state, scratch);
}

static const ky_cell cell = { .n_state = n_state, .n_scratch = step_scratch, .step = one_step };

/* Files without reset_after are of times when there was only the other form. */
static const ky_field fields[] = {
    { "units", "output_dim", KY_F_INT, KY_FIELD(units), 0, KY_FREE, 0 },
    { "activation", NULL, KY_F_ACTIVATION, KY_FIELD(activation), KY_TANH, KY_FREE, 0 },
    { "recurrent_activation", "inner_activation", KY_F_ACTIVATION, KY_FIELD(recurrent_activation),
      KY_SIGMOID, KY_FREE, 0 },
    { "use_bias", NULL, KY_F_BOOL, KY_FIELD(use_bias), true, KY_FREE, 0 },
    { "reset_after", NULL, KY_F_BOOL, KY_FIELD(reset_after), false, KY_FREE, 0 },
    KY_RECURRENT_FIELDS,
    { 0 },
};

const ky_layer_ops ky_gru_ops = {
    .class_name = "GRU",
    .fields = fields,
    .masking = KY_MASK_PASSES,
    .cell = &cell,
    .shape = shape,
    .init = ky_recurrent_init,
    .pack = pack,
    .n_scratch = ky_recurrent_scratch,
    .window = ky_recurrent_window,
    .step = ky_recurrent_step,
    .macs = ky_recurrent_macs,
};
