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
 * pair is done here from rows() and activate(), by the same chains, and so are steps that leave a
 * tape: z, r, n and, of each, q_h or else r h, [T,B,4H]; behind them, where a slope wants it, what
 * z, r and n were taken of [T,B,7H].
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

    if (has_kernel(l)) {
        ret->gru = k->gru_new(F, H, l->cfg.reset_after, w, w + l->weights[1].at, b);
        if (ret->gru == NULL || !backward)
            return ret->gru != NULL ? KY_OK : KY_ENOMEM;
    }
    if (backward && !ky_recurrent_back_pack(l, k, w, ret))
        return KY_ENOMEM;
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
    size_t fused = p->gru != NULL ? ky_gru_scratch(p->gru) : 0, own = 0;

    if (p->mat != NULL && l->cfg.reset_after)
        own = ky_lines(n * H) + ky_lines(n * 3 * H) + n * 3 * H;
    else if (p->mat != NULL)
        own = ky_lines(n * (F + H)) + ky_lines(n * 2 * H) + n * H;
    return fused > own ? fused : own;
}

/* What a row leaves on its tape, [4,H] and [3,H]; NULL where there is none. */
typedef struct leaf {
    ky_real *gates, *sums;
} leaf;

static leaf leaf_of(const ky_layer *l, ky_real *tape, ptrdiff_t row)
{
    ky_real *at = tape != NULL ? tape + row * ky_recurrent_kept(l) * l->cfg.units : NULL;

    return (leaf){ at, at != NULL && ky_recurrent_sums(l) ? at + 4 * l->cfg.units : NULL };
}

/* n blocks from the at-th on. */
static void leave(int H, ky_real *to, int at, int n, const ky_real *from)
{
    if (to != NULL)
        memcpy(to + (ptrdiff_t)at * H, from, (size_t)n * (size_t)H * sizeof(*to));
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
                        const ky_real *x, ptrdiff_t xs, ky_real *const *state, const ky_real *drop,
                        ky_real *tape, ky_real *scratch)
{
    int F = l->in.d[1], H = l->cfg.units;
    size_t n = (size_t)B * (size_t)H;
    ky_real *h = ky_cut(&scratch, n), *a = ky_cut(&scratch, 3 * n), *q = scratch;

    for (int r = 0; r < B; r++)
        memcpy(h + (ptrdiff_t)r * H, state[r], (size_t)H * sizeof(*h));
    ky_recurrent_drop(n, drop, h);
    ky_rows(k, p->mat, F, B, x, xs, a, 3 * H, KY_LINEAR);
    ky_rows(k, p->recurrent, H, B, h, H, q, 3 * H, KY_LINEAR);
    for (int i = 0; i < B; i++, a += 3 * H, q += 3 * H) {
        ky_real *n_i = q + H; /* q_z and q_r are done with once they are added */
        leaf e = leaf_of(l, tape, i);

        for (int j = 0; j < 2 * H; j++)
            a[j] += q[j];
        leave(H, e.sums, 0, 2, a);
        ky_activation_rows(k, l->cfg.recurrent_activation, 2, H, a, a); /* z and r */
        ky_mul_add(k, H, a + H, q + 2 * H, a + 2 * H, n_i);
        leave(H, e.sums, 2, 1, n_i);
        ky_activation_rows(k, l->cfg.activation, 1, H, n_i, n_i);
        leave(H, e.gates, 0, 2, a);
        leave(H, e.gates, 2, 2, n_i); /* and q_h behind it */
        blend(k, H, a, n_i, state[i], q);
    }
}

static void reset_before(const ky_layer *l, const ky_kernels *k, const ky_packed *p, int B,
                         const ky_real *x, ptrdiff_t xs, ky_real *const *state, const ky_real *drop,
                         ky_real *tape, ky_real *scratch)
{
    int F = l->in.d[1], H = l->cfg.units, K = F + H;
    size_t n = (size_t)B * (size_t)H;
    ky_real *panel = ky_cut(&scratch, (size_t)B * (size_t)K), *gates = ky_cut(&scratch, 2 * n);
    ky_real *n_all = scratch;

    ky_recurrent_panel(l, B, x, xs, state, panel);
    for (ptrdiff_t i = 0; i < B; i++)
        ky_recurrent_drop((size_t)H, drop != NULL ? drop + i * H : NULL, panel + i * K + F);
    ky_rows(k, p->mat, K, B, panel, K, gates, 2 * H, KY_LINEAR);
    for (ptrdiff_t i = 0; i < B; i++)
        leave(H, leaf_of(l, tape, i).sums, 0, 2, gates + i * 2 * H);
    ky_activation_rows(k, l->cfg.recurrent_activation, 2 * B, H, gates, gates);
    for (ptrdiff_t i = 0; i < B; i++)
        for (int j = 0; j < H; j++)
            panel[i * K + F + j] *= gates[i * 2 * H + H + j];
    ky_rows(k, p->recurrent, K, B, panel, K, n_all, H, KY_LINEAR);
    for (ptrdiff_t i = 0; i < B; i++)
        leave(H, leaf_of(l, tape, i).sums, 2, 1, n_all + i * H);
    ky_activation_rows(k, l->cfg.activation, B, H, n_all, n_all);
    for (ptrdiff_t i = 0; i < B; i++, gates += 2 * H) {
        leaf e = leaf_of(l, tape, i);

        leave(H, e.gates, 0, 2, gates);
        leave(H, e.gates, 2, 1, n_all + i * H);
        leave(H, e.gates, 3, 1, panel + i * K + F);
        blend(k, H, gates, n_all + i * H, state[i], gates + H); /* r is done with */
    }
}

static void one_step(const ky_layer *l, const ky_kernels *k, const ky_packed *p, int B,
                     const ky_real *x, ptrdiff_t xs, ky_real *const *state, const ky_real *drop,
                     ky_real *tape, ky_real *scratch)
{
    if (p->gru != NULL && tape == NULL)
        k->gru(p->gru, B, x, xs, state, scratch);
    else if (l->cfg.reset_after)
        reset_after(l, k, p, B, x, xs, state, drop, tape, scratch);
    else
        reset_before(l, k, p, B, x, xs, state, drop, tape, scratch);
}

/* -- backward ------------------------------------------------------------------ */

/* Row i's tape. */
static const ky_real *tape_of(const ky_layer *l, const ky_cell_back *s, ptrdiff_t i)
{
    return s->tape + i * ky_recurrent_kept(l) * l->cfg.units;
}

/* d [H] at the value of gate 0..2 of row i -> that at its sum. */
static void through(const ky_layer *l, const ky_kernels *k, const ky_cell_back *s, ptrdiff_t i,
                    int gate, ky_real *d)
{
    int H = l->cfg.units;
    const ky_real *y = tape_of(l, s, i) + gate * H;

    ky_activation_back(k, gate < 2 ? l->cfg.recurrent_activation : l->cfg.activation, 1, H,
                       ky_recurrent_sums(l) ? y + 4 * H : NULL, y, d, d);
}

/* What both forms share: the gradients at z and n, and the part of dh that goes past the gates. */
static void back_to_gates(const ky_layer *l, const ky_kernels *k, const ky_cell_back *s)
{
    int H = l->cfg.units;

    for (ptrdiff_t i = 0; i < s->B; i++) {
        const ky_real *z = tape_of(l, s, i), *n = z + 2 * H, *h = s->before + i * H;
        ky_real *dz = s->dz + i * 4 * H, *dn = dz + 2 * H, *dh = s->dh + i * H;

        for (int j = 0; j < H; j++) {
            dz[j] = dh[j] * (h[j] - n[j]);
            dn[j] = dh[j] * (1 - z[j]);
            dh[j] *= z[j];
        }
        through(l, k, s, i, 0, dz);
        through(l, k, s, i, 2, dn);
    }
}

/* dq of q_h stands behind the gradients at z, r and n. */
static void back_reset_after(const ky_layer *l, const ky_kernels *k, const ky_packed *p,
                             const ky_cell_back *s)
{
    int H = l->cfg.units;
    const ky_run to_h[] = { { 0, 0, 2 * H }, { 3 * H, 2 * H, H } };
    size_t all = (size_t)s->B * (size_t)H;

    for (ptrdiff_t i = 0; i < s->B; i++) {
        const ky_real *r = tape_of(l, s, i) + H, *q = r + 2 * H;
        ky_real *dr = s->dz + i * 4 * H + H, *dn = dr + H, *dq = dn + H;

        for (int j = 0; j < H; j++) {
            dr[j] = dn[j] * q[j];
            dq[j] = dn[j] * r[j];
        }
        through(l, k, s, i, 1, dr);
    }
    if (s->first)
        return;
    k->rows(p->back_h, 2, to_h, s->B, s->dz, 4 * H, s->own, H, KY_LINEAR);
    ky_recurrent_drop(all, s->drop, s->own);
    for (size_t j = 0; j < all; j++)
        s->dh[j] += s->own[j];
}

static void back_reset_before(const ky_layer *l, const ky_kernels *k, const ky_packed *p,
                              const ky_cell_back *s)
{
    int H = l->cfg.units;
    const ky_run of_n = { 2 * H, 2 * H, H }, of_gates = { 0, 0, 2 * H };
    size_t all = (size_t)s->B * (size_t)H;
    ky_real *own = s->own, *drh = ky_cut(&own, all), *dh = own; /* of r h, of h at the gates */

    k->rows(p->back_h, 1, &of_n, s->B, s->dz, 4 * H, drh, H, KY_LINEAR);
    for (ptrdiff_t i = 0; i < s->B; i++) {
        const ky_real *r = tape_of(l, s, i) + H;
        ky_real *dr = s->dz + i * 4 * H + H;

        for (int j = 0; j < H; j++) {
            ky_real *d = drh + i * H + j;
            ky_real h = s->before[i * H + j] * (s->drop != NULL ? s->drop[i * H + j] : 1);

            dr[j] = *d * h;
            *d *= r[j];
        }
        through(l, k, s, i, 1, dr);
    }
    if (s->first)
        return;
    k->rows(p->back_h, 1, &of_gates, s->B, s->dz, 4 * H, dh, H, KY_LINEAR);
    for (size_t j = 0; j < all; j++)
        dh[j] += drh[j];
    ky_recurrent_drop(all, s->drop, dh);
    for (size_t j = 0; j < all; j++)
        s->dh[j] += dh[j];
}

static void one_back(const ky_layer *l, const ky_kernels *k, const ky_packed *p,
                     const ky_cell_back *s)
{
    back_to_gates(l, k, s);
    if (l->cfg.reset_after)
        back_reset_after(l, k, p, s);
    else
        back_reset_before(l, k, p, s);
}

/* The candidate's part of dU and of the second bias: h met dq, or r h met dn. */
static void learn(const ky_layer *l, const ky_kernels *k, int n, const ky_real *x, const ky_real *h,
                  const ky_real *tape, const ky_real *dz, ky_real *own, ky_real *dw)
{
    int F = l->in.d[1], H = l->cfg.units, kept = ky_recurrent_kept(l) * H;
    ky_real *dU = dw + l->weights[1].at, *db;
    bool after = l->cfg.reset_after;

    (void)own;
    k->gemm_tn(F, 3 * H, n, x, F, dz, 4 * H, dw, 3 * H);
    k->gemm_tn(H, 2 * H, n, h, H, dz, 4 * H, dU, 3 * H);
    if (after)
        k->gemm_tn(H, H, n, h, H, dz + 3 * H, 4 * H, dU + 2 * H, 3 * H);
    else
        k->gemm_tn(H, H, n, tape + 3 * H, kept, dz + 2 * H, 4 * H, dU + 2 * H, 3 * H);
    if (!l->cfg.use_bias)
        return;
    db = dw + l->weights[2].at;
    k->colsum(3 * H, n, dz, 4 * H, db);
    if (after) {
        k->colsum(2 * H, n, dz, 4 * H, db + 3 * H);
        k->colsum(H, n, dz + 3 * H, 4 * H, db + 5 * H);
    }
}

static const ky_cell cell = { .n_state = n_state,
                              .n_scratch = step_scratch,
                              .step = one_step,
                              .tape = 4,
                              .sums = 3,
                              .gates = 4,
                              .own = 2,
                              .back = one_back,
                              .learn = learn,
                              .inputs_back = ky_recurrent_inputs_back };

/* Files without reset_after are of times when there was only the other form. */
static const ky_field fields[] = {
    { "units", KY_F_INT, KY_FIELD(units), 0, 0 },
    { "activation", KY_F_ACTIVATION, KY_FIELD(activation), KY_TANH, 0 },
    { "recurrent_activation", KY_F_ACTIVATION, KY_FIELD(recurrent_activation), KY_SIGMOID, 0 },
    { "use_bias", KY_F_BOOL, KY_FIELD(use_bias), true, 0 },
    { "reset_after", KY_F_BOOL, KY_FIELD(reset_after), false, 0 },
    KY_RECURRENT_FIELDS,
    { 0 },
};

const ky_layer_ops ky_gru_ops = {
    .class_name = "GRU",
    .fields = fields,
    KY_RECURRENT_OPS,
    .cell = &cell,
    .shape = shape,
    .init = ky_recurrent_init,
    .pack = pack,
    .n_scratch = ky_recurrent_scratch,
    .macs = ky_recurrent_macs,
};
