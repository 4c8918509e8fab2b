/*
 * What all recurrent layers do alike: walk a window forwards or from its end, leave out masked
 * steps, carry states, step. A layer brings its cell, which does one step of B rows, as
 * ops->cell, and has ky_recurrent_window and ky_recurrent_step as its own.
 *
 * As in Keras 3: a masked step leaves the state as it is and gives the output of the step
 * before (zeros before the first, or always with zero_output_for_mask); with go_backwards the
 * outputs stay in the order in which they were worked out.
 * (With `unroll` the backends of Keras differ in whether they heed zero_output_for_mask:
 * TensorFlow does, JAX and NumPy do not. Here it is heeded.)
 *
 * In training a masked step passes the gradient of the state on as it is. `dropout` and
 * `recurrent_dropout` drop values of x and of h on their way into the products (Gal and
 * Ghahramani 2016), the same at every step of a sequence: the factors of x [B,F] are drawn
 * first, then those of h [B,h]. All gates share them, as in Keras's `implementation` 2; where
 * recurrent_dropout is not 0 Keras draws some for each gate.
 */
#ifndef KY_RECURRENT_H
#define KY_RECURRENT_H

#include "models/layer_tools.h"

/** One step of B rows on the way back. */
typedef struct ky_cell_back {
    int B;
    bool first;            /* nothing comes before it: dh need not be worked out */
    const ky_real *tape;   /* [B,ky_recurrent_kept*h] that step() left */
    const ky_real *before; /* [B,h] h before the step */
    const ky_real *rest;   /* what else was in the state, row r's at rest + r*rs */
    ptrdiff_t rs;
    const ky_real *drop; /* [B,h] factors of h, or NULL */
    ky_real *dh, *drest; /* gradients of the state behind the step: become those before it */
    ky_real *dz;         /* [B,gates*h] receives those of the gates */
    ky_real *own;        /* scratch [own*lines of B*h] */
} ky_cell_back;

typedef struct ky_cell {
    /** Reals of a row's state. The output h of a step comes first in it. */
    size_t (*n_state)(const ky_layer *l);
    /** Reals of scratch of one step of B rows. */
    size_t (*n_scratch)(const ky_layer *l, const ky_packed *p, int B);
    /** One step of B rows: x of row r at x + r*xs, state[r] advanced in place.
     *  drop: NULL, or the factors [B,h] of h on its way into the products
     *  tape: NULL, or receives [B,ky_recurrent_kept*h] for the backward pass. */
    void (*step)(const ky_layer *l, const ky_kernels *k, const ky_packed *p, int B,
                 const ky_real *x, ptrdiff_t xs, ky_real *const *state, const ky_real *drop,
                 ky_real *tape, ky_real *scratch);
    int tape;  /* reals a step leaves on the tape for each of h; 0: there is no backward pass */
    int sums;  /* and so many more behind them where ky_recurrent_sums(): what activations took */
    int rest;  /* where in the tape, in h, stands what else is in the state */
    int gates; /* gradients for each of h that back() works out */
    int own;   /* and pieces of scratch [B,h] it wants */
    /** One step back. */
    void (*back)(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_cell_back *s);
    /** dw += out of n rows x [n,F], h [n,h] as it met the products, tape and dz. */
    void (*learn)(const ky_layer *l, const ky_kernels *k, int n, const ky_real *x, const ky_real *h,
                  const ky_real *tape, const ky_real *dz, ky_real *own, ky_real *dw);
    /** dx of B rows of a step, row r's at dx + r*xs, from dz. */
    void (*inputs_back)(const ky_layer *l, const ky_kernels *k, const ky_packed *p, int B,
                        const ky_real *dz, ky_real *own, ky_real *dx, ptrdiff_t xs);
} ky_cell;

/** Whether a cell's slopes want what its activations were taken of. */
static inline bool ky_recurrent_sums(const ky_layer *l)
{
    return ky_activation_wants_x(l->cfg.activation) ||
           ky_activation_wants_x(l->cfg.recurrent_activation);
}

/** Reals that a step leaves on the tape for each of h. */
static inline int ky_recurrent_kept(const ky_layer *l)
{
    return l->ops->cell->tape + (ky_recurrent_sums(l) ? l->ops->cell->sums : 0);
}

/** Begins the shape() of a cell of units: input [T,F], weights kernel [F,gates*units] and
 *  recurrent_kernel [units,gates*units]. */
int ky_recurrent_gates(ky_layer *l, int gates, ky_err *err);

/** init(): the two of them as Keras draws them. */
void ky_recurrent_init(const ky_layer *l, ky_real *w, ky_rng *rng);

/** Ends a shape(): l->out from one step's output h, state, form and mask. */
void ky_recurrent_shape(ky_layer *l, const ky_shape *h);

/** n_scratch(). */
size_t ky_recurrent_scratch(const ky_layer *l, const ky_packed *p, int B, int T, bool backward);

/**
 * n_tape(): what the cell leaves [T,B,kept*h], by step in the order they were worked out; h
 * before each [T,B,h]; what else was in the state before the first [B,state-h]; and the factors of
 * x [B,F] and h [B,h] where some are dropped.
 */
size_t ky_recurrent_tape(const ky_layer *l, int B, int T);

/** window() and step(). */
void ky_recurrent_window(const ky_layer *l, const ky_kernels *k, const ky_packed *p,
                         const ky_real *w, const ky_call *c, const ky_real *x, ky_real *y);
void ky_recurrent_step(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                       const ky_call *c, const ky_real *x, ky_real *y, bool *emit);

/** backward() of a cell of units. */
void ky_recurrent_backward(const ky_layer *l, const ky_kernels *k, const ky_packed *p,
                           const ky_real *w, const ky_call *c, const ky_real *x, const ky_real *y,
                           const ky_real *dy, ky_real *dx, ky_real *dw);

/** learn() of a cell whose gates all are b + x W + h U. */
void ky_recurrent_learn(const ky_layer *l, const ky_kernels *k, int n, const ky_real *x,
                        const ky_real *h, const ky_real *tape, const ky_real *dz, ky_real *own,
                        ky_real *dw);

/** inputs_back() of a cell of units. */
void ky_recurrent_inputs_back(const ky_layer *l, const ky_kernels *k, const ky_packed *p, int B,
                              const ky_real *dz, ky_real *own, ky_real *dx, ptrdiff_t xs);

/** v[i] *= drop[i], i in [0,n), where drop is not NULL. */
static inline void ky_recurrent_drop(size_t n, const ky_real *drop, ky_real *v)
{
    for (size_t i = 0; drop != NULL && i < n; i++)
        v[i] *= drop[i];
}

/** The same of h in each of B states. */
void ky_recurrent_drop_states(const ky_layer *l, int B, const ky_real *drop, ky_real *const *state);

/** Whether a rate drops anything; as in Keras, 1 and more do not. */
static inline bool ky_recurrent_drops(double rate)
{
    return rate > 0 && rate < 1;
}

/** macs() of a cell of units. */
size_t ky_recurrent_macs(const ky_layer *l, int T);

/**
 * The columns [col,col+n) of kernel and recurrent_kernel, one above the other, packed: the matrix
 * that x and h side by side meet.
 *
 * @param b  [n] or NULL for zeros
 * @return   NULL when out of memory
 */
ky_mat *ky_recurrent_stack(const ky_layer *l, const ky_kernels *k, const ky_real *w, int col, int n,
                           const ky_real *b);

/** The transposes of both for the way back: ret->back_x, ret->back_h. False: out of memory. */
bool ky_recurrent_back_pack(const ky_layer *l, const ky_kernels *k, const ky_real *w,
                            ky_packed *ret);

/** y[j] = fma(a[j], b[j], c[j]) for j in [0,n); y apart from the others. */
static inline void ky_mul_add(const ky_kernels *k, int n, const ky_real *a, const ky_real *b,
                              const ky_real *c, ky_real *y)
{
    const ky_run one = { 0, 0, 1 };

    k->depthwise(n, 1, 1, &one, b, c, 1, a, n, y, n, KY_LINEAR);
}

/**
 * The element-wise half of an LSTM at R places of n units each, for any activations: z [4,R,n],
 * blocks i|f|c|o, becomes the gates; c and h [R,n] advance.
 *
 * @param tape  receives the gates i|f|g|o, c and a(c) [6,R,n], and where ky_recurrent_sums() z
 *              [4,R,n]; NULL: not wanted
 * @param own   scratch [R,n]
 */
void ky_lstm_gates(const ky_layer *l, const ky_kernels *k, int R, int n, ky_real *z, ky_real *h,
                   ky_real *c, ky_real *tape, ky_real *own);

/**
 * The same back: dh and dc [R,n] behind the step, its tape, c before it c0 [R,n] -> dz [4,R,n];
 * dc becomes that of the step before.
 */
void ky_lstm_gates_back(const ky_layer *l, const ky_kernels *k, int R, int n, const ky_real *dh,
                        ky_real *dc, const ky_real *tape, const ky_real *c0, ky_real *dz);

/** x and h side by side: panel [B,F+units]. */
void ky_recurrent_panel(const ky_layer *l, int B, const ky_real *x, ptrdiff_t xs,
                        ky_real *const *state, ky_real *panel);

/** Which step of the window is worked out as the i-th of T. */
static inline int ky_recurrent_at(const ky_layer *l, int T, int i)
{
    return l->cfg.go_backwards ? T - 1 - i : i;
}

/* The options all of them have, behind their own. */
#define KY_RECURRENT_FIELDS                                                                        \
    { "return_sequences", KY_F_BOOL, KY_FIELD(return_sequences), false, 0 },                       \
        { "go_backwards", KY_F_BOOL, KY_FIELD(go_backwards), false, 0 },                           \
        { "stateful", KY_F_BOOL, KY_FIELD(stateful), false, 0 },                                   \
        { "unroll", KY_F_BOOL, KY_FIELD(unroll), false, 0 },                                       \
        { "zero_output_for_mask", KY_F_BOOL, KY_FIELD(zero_output_for_mask), false, 0 },           \
        { "dropout", KY_F_FLOAT, KY_FIELD(rate), 0, 0 },                                           \
    {                                                                                              \
        "recurrent_dropout", KY_F_FLOAT, KY_FIELD(recurrent_dropout), 0, 0                         \
    }

/* What is the same in the row of every recurrent layer; its own are the cell, shape and the like.
 */
#define KY_RECURRENT_OPS                                                                           \
    .masking = KY_MASK_PASSES, .n_tape = ky_recurrent_tape, .window = ky_recurrent_window,         \
    .step = ky_recurrent_step, .backward = ky_recurrent_backward

#endif
