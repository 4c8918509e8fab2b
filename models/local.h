/*
 * What layers share that look at neighbourhoods: convolutions and pools, over steps alone or
 * over steps and columns. To them a row of the batch is [steps, columns, channels]; the steps of an
 * image are its rows, and without columns there is one. So one geometry serves both, in whole
 * windows, in single steps and where only some outputs are wanted.
 */
#ifndef KY_LOCAL_H
#define KY_LOCAL_H

#include "models/ring.h"

/* Along one axis output t reads the inputs t*s - pad + j*d of taps j; those outside [0,n) are
 * skipped. */
typedef struct ky_axis {
    int taps, s, d;
    int pad;
    int n, n_out;
} ky_axis;

typedef struct ky_plane {
    ky_axis h, w;     /* steps, columns */
    int C, F;         /* channels that a correlation takes and gives */
    int xc, yc;       /* reals from one column to the next in x, in y: all channels */
    ptrdiff_t xb, yb; /* reals from one row of the batch to the next */
    int y_columns;    /* from one step of y to the next; 0: w.n_out */
} ky_plane;

/** What a layer computes of B rows: x [B,h.n,w.n,xc] -> y [B,h.n_out,w.n_out,yc]. */
typedef void ky_local_fn(const ky_layer *l, const ky_kernels *k, const ky_packed *p,
                         const ky_real *w, const ky_plane *g, int B, ky_real *scratch,
                         const ky_real *x, ky_real *y);

/* -- axes -- */

/** Outputs of n inputs as Keras counts them, 0: too few. */
int ky_axis_outputs(int taps, int s, int d, enum ky_padding padding, int n);

/** The axis of n inputs with its padding. */
ky_axis ky_axis_of(int taps, int s, int d, enum ky_padding padding, int n);

/** Taps [ret0,ret1) of output t lie inside; outputs [t,return) have the same ones. */
int ky_axis_same(const ky_axis *a, int t, int *ret0, int *ret1);

/* -- layers: kernel_size, strides, dilation_rate and padding of l->cfg -- */

/**
 * Everything that shape() works out but weights: l->in, l->out, form and state.
 *
 * @param rank  of the input: 2 [steps,channels] or 3 [steps,columns,channels]
 * @param what  what its users call kernel_size
 * @param F     channels of the output
 */
int ky_local_shape(ky_layer *l, int rank, const char *what, int F, ky_err *err);

/* The options it reads, of kernels over `axes` axes; those of what follows the sums. */
#define KY_KERNEL_FIELDS(axes)                                                                     \
    { "kernel_size", KY_F_INT, KY_FIELD(kernel_size), 0, axes },                                   \
        { "strides", KY_F_INT, KY_FIELD(strides), 1, axes },                                       \
        { "padding", KY_F_PADDING, KY_FIELD(padding), KY_VALID, 0 },                               \
    {                                                                                              \
        "dilation_rate", KY_F_INT, KY_FIELD(dilation_rate), 1, axes                                \
    }
#define KY_OUTPUT_FIELDS                                                                           \
    { "activation", KY_F_ACTIVATION, KY_FIELD(activation), KY_LINEAR, 0 },                         \
    {                                                                                              \
        "use_bias", KY_F_BOOL, KY_FIELD(use_bias), true, 0                                         \
    }

int ky_local_steps(const ky_layer *l, int T);

/** The plane of T steps. */
ky_plane ky_local_plane(const ky_layer *l, int T);

/** Outputs of B rows of T steps, at least one step of them. */
size_t ky_local_positions(const ky_layer *l, int B, int T);

/** Scratch of a window or a step whose fn wants `own` of it. */
size_t ky_local_scratch(const ky_layer *l, int B, int T, size_t own);

/** The row's taps, for layers whose window() is ky_local_window(). */
ky_taps ky_local_taps(const ky_layer *l, int T);

void ky_local_window(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                     const ky_call *c, const ky_real *x, ky_real *y, ky_local_fn *fn);
void ky_local_step(const ky_layer *l, const ky_kernels *k, const ky_packed *p, const ky_real *w,
                   const ky_call *c, const ky_real *x, ky_real *y, bool *emit, ky_local_fn *fn);
bool ky_local_state_ok(const ky_layer *l, const void *state);

/* -- correlations -- */

/** Reals of scratch for a correlation. */
size_t ky_correlate_scratch(const ky_plane *g);

/**
 * y = act(b + sum over taps inside, steps first, of x W); m has W [h.taps,w.taps,C,F].
 * Where g takes or gives some of the channels only, x and y are at the first of them.
 */
void ky_correlate(const ky_kernels *k, const ky_mat *m, const ky_plane *g, int B, ky_real *scratch,
                  const ky_real *x, ky_real *y, enum ky_activation act);

/** The same with filters of each channel's own: w [h.taps,w.taps,C,F/C], b [F] or NULL. */
void ky_correlate_channels(const ky_kernels *k, const ky_real *w, const ky_real *b,
                           const ky_plane *g, int B, ky_real *scratch, const ky_real *x, ky_real *y,
                           enum ky_activation act);

/** Maxima or means of each channel over the taps inside, without dilation or weights. */
void ky_correlate_pools(const ky_kernels *k, bool mean, const ky_plane *g, int B, ky_real *scratch,
                        const ky_real *x, ky_real *y);

/* -- and back, with the scratch of the same correlation; dx is written, dw added to -- */

/**
 * dx of ky_correlate() is a correlation, too: of dy before the activation, spread out by the
 * strides with zeros between, with the reversed kernel. This is its plane.
 */
ky_plane ky_plane_back(const ky_plane *g);

/** Reals of dy [B,h.n_out,w.n_out,yc] spread out. */
size_t ky_spread_reals(const ky_plane *g, int B);

/** dy spread out into `to`, which is returned. */
const ky_real *ky_spread(const ky_plane *g, int B, const ky_real *dy, ky_real *to);

/** W [taps,C,F], rows of F filters `all` apart, with taps turned round, C and F exchanged; NULL:
 * out of memory. */
ky_mat *ky_pack_reversed(const ky_kernels *k, int taps, int C, int F, int all, const ky_real *w);

/** dW [h.taps,w.taps,C,F] of ky_correlate() from dy before the activation; rows of F filters are
 *  dws apart. */
void ky_correlate_gradient(const ky_kernels *k, const ky_plane *g, int B, ky_real *scratch,
                           const ky_real *x, const ky_real *dy, ky_real *dw, ptrdiff_t dws);

/** dx (NULL: not wanted) and dw of ky_correlate_channels(), likewise. */
void ky_correlate_channels_back(const ky_kernels *k, const ky_real *w, const ky_plane *g, int B,
                                ky_real *scratch, const ky_real *x, const ky_real *dy, ky_real *dx,
                                ky_real *dw);

/** dx of ky_correlate_pools(), whose y is given: the first input that reached the maximum takes
 *  all, or each its share. */
void ky_correlate_pools_back(bool mean, const ky_plane *g, int B, ky_real *scratch,
                             const ky_real *x, const ky_real *y, const ky_real *dy, ky_real *dx);

#endif
