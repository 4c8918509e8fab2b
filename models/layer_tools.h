/*
 * What the layers share among themselves. Included by the layers' own files and model.c.
 */
#ifndef KY_LAYER_TOOLS_H
#define KY_LAYER_TOOLS_H

#include "models/layer.h"

/** Free what pack() filled in; p is all NULL afterwards. */
void ky_packed_free(const ky_kernels *k, ky_packed *p);

/* Largest dimension of a layer and of a whole model that a file or a command may ask for. */
enum { KY_MAX_DIM = 1 << 22 };
#define KY_MAX_REALS ((size_t)1 << 28)

/** Declare the next weight of a layer: a vector [a] or a matrix [a,b] or [a,b,c]; 0 ends it. */
void ky_layer_declare(ky_layer *l, const char *name, bool trainable, int a, int b, int c);

/** The same for any rank up to KY_MAX_WEIGHT_RANK. */
void ky_layer_declare_shape(ky_layer *l, const char *name, bool trainable, int rank, const int *d);

/** KY_EINVAL unless lo <= v <= KY_MAX_DIM: "units is 0, must be 1 to 4194304". */
int ky_layer_range(const char *what, int v, int lo, ky_err *err);

/** The input must have so many dimensions, the first of them steps: KY_ESHAPE if it has not.
 *  A tensor whose first axis is not the model's time will do; l->in is timed afterwards. */
int ky_layer_needs_time(ky_layer *l, int rank, ky_err *err);

/**
 * Make l, a Bidirectional fresh from ky_layer_init, wrap recurrent layers: l->inner[0] becomes a
 * copy of `forward`, l->inner[1] of `backward`. Both are fresh from ky_layer_init, too, with
 * their options set; their names become forward_... and backward_...; shape() does the rest.
 *
 * @param backward  NULL: `forward`, going the other way
 * @return          KY_ENOMEM
 */
int ky_bidirectional_wrap(ky_layer *l, const ky_layer *forward, const ky_layer *backward,
                          ky_err *err);

/** The input must be [rows, columns, channels]; rows are the steps of the layer afterwards. */
int ky_layer_needs_image(ky_layer *l, ky_err *err);

/** shape() of a layer whose output has the shape of its input. */
int ky_shape_unchanged(ky_layer *l, ky_err *err);

/** The last dimension: features of a step. */
static inline int ky_features(const ky_shape *s)
{
    return s->d[s->rank - 1];
}

/** Rows of `features` values in B rows of T steps. */
static inline int ky_row_count(const ky_shape *s, int B, int T)
{
    return B * T * (int)(ky_shape_step(s) / (size_t)ky_features(s));
}

/** Scratch is cut into pieces of whole cache lines, 64 bytes in float and double. */
static inline size_t ky_lines(size_t n_reals)
{
    return (n_reals + 15) / 16 * 16;
}

static inline ky_real *ky_cut(ky_real **at, size_t n_reals)
{
    ky_real *piece = *at;

    *at += ky_lines(n_reals);
    return piece;
}

/** y = act(b + x W) of R rows: rows() of the kernels where the K inputs of a row are one run. */
static inline void ky_rows(const ky_kernels *k, const ky_mat *m, int K, int R, const ky_real *x,
                           ptrdiff_t xs, ky_real *y, ptrdiff_t ys, enum ky_activation act)
{
    const ky_run all = { 0, 0, K };

    k->rows(m, 1, &all, R, x, xs, y, ys, act);
}

/** Reals of scratch that n runs take, and those runs. */
static inline size_t ky_run_reals(size_t n)
{
    return ky_lines(n * sizeof(ky_run) / sizeof(ky_real));
}

static inline ky_run *ky_cut_runs(ky_real **at, size_t n)
{
    return (ky_run *)(void *)ky_cut(at, n * sizeof(ky_run) / sizeof(ky_real));
}

/** y = act(x) over R rows of C contiguous values, softmax too; x == y allowed. */
void ky_activation_rows(const ky_kernels *k, enum ky_activation act, int R, int C, const ky_real *x,
                        ky_real *y);

/** Whether the slope of y = act(x) does not follow from y alone. */
bool ky_activation_wants_x(enum ky_activation act);

/** dz = dL/dx of y = act(x), from dy, y and where ky_activation_wants_x() x, over R rows of C
 *  values; dz == dy allowed. */
void ky_activation_back(const ky_kernels *k, enum ky_activation act, int R, int C, const ky_real *x,
                        const ky_real *y, const ky_real *dy, ky_real *dz);

/**
 * window() of a layer whose activation comes last, by `linear_or_not`, which heeds
 * cfg.activation: where backward wants what stands before the activation, it is left on the tape.
 */
void ky_activated_window(const ky_layer *l, const ky_kernels *k, const ky_packed *p,
                         const ky_real *w, const ky_call *c, const ky_real *x, ky_real *y,
                         void (*linear_or_not)(const ky_layer *l, const ky_kernels *k,
                                               const ky_packed *p, const ky_real *w,
                                               const ky_call *c, const ky_real *x, ky_real *y));

/** n_tape() of such a layer. */
size_t ky_activated_tape(const ky_layer *l, int B, int T);

/** Back through y = the maximum of the C channels of the runs' steps, which begin at x + run.at; y
 *  and dy [C]: dx, which lies like x, += dy at the first step that reached it. */
void ky_maximum_back(int C, int n_runs, const ky_run *runs, const ky_real *x, const ky_real *y,
                     const ky_real *dy, ky_real *dx);

/** Back through y = the mean of `counted` steps, for n of them: dx [n,C] += dy / counted. */
void ky_mean_back(int counted, int n, int C, const ky_real *dy, ky_real *dx);

/** Factors of n values in training: 0 with probability rate, else 1/(1-rate). */
void ky_dropout_draw(ky_rng *rng, double rate, size_t n, ky_real *factor);

/** Glorot and Bengio 2010: uniform within sqrt(6/(fan_in+fan_out)). */
void ky_init_glorot(ky_real *w, size_t n, double fan_in, double fan_out, ky_rng *rng);

/** Orthonormal rows, w [rows,cols], rows <= cols (Saxe et al. 2013). False: out of memory. */
bool ky_init_orthogonal(ky_real *w, int rows, int cols, ky_rng *rng);

/** W [K,N] -> its transpose [N,K] packed, without bias; NULL when out of memory. */
ky_mat *ky_pack_transposed(const ky_kernels *k, int K, int N, const ky_real *W);

extern const ky_layer_ops ky_dense_ops, ky_activation_ops, ky_relu_ops, ky_softmax_ops,
    ky_dropout_ops, ky_flatten_ops, ky_conv1d_ops, ky_max_pooling_ops, ky_average_pooling_ops,
    ky_global_average_ops, ky_global_max_ops, ky_batchnorm_ops, ky_lstm_ops, ky_bidirectional_ops,
    ky_gru_ops, ky_simple_rnn_ops, ky_masking_ops, ky_conv_lstm2d_ops;

extern const ky_layer_ops ky_conv2d_ops, ky_depthwise_conv1d_ops, ky_depthwise_conv2d_ops,
    ky_separable_conv1d_ops, ky_separable_conv2d_ops, ky_max_pooling_2d_ops,
    ky_average_pooling_2d_ops, ky_global_average_2d_ops, ky_global_max_2d_ops,
    ky_zero_padding_1d_ops, ky_zero_padding_2d_ops, ky_cropping_1d_ops, ky_cropping_2d_ops,
    ky_up_sampling_1d_ops, ky_up_sampling_2d_ops;

extern const ky_layer_ops ky_add_ops, ky_subtract_ops, ky_multiply_ops, ky_average_ops,
    ky_maximum_ops, ky_minimum_ops, ky_concatenate_ops, ky_dot_ops, ky_reshape_ops, ky_permute_ops,
    ky_repeat_vector_ops, ky_embedding_ops, ky_leaky_relu_ops, ky_thresholded_relu_ops, ky_elu_ops,
    ky_prelu_ops, ky_layernorm_ops, ky_normalization_ops, ky_unit_normalization_ops,
    ky_rescaling_ops, ky_spatial_dropout_1d_ops, ky_spatial_dropout_2d_ops,
    ky_spatial_dropout_3d_ops, ky_gaussian_dropout_ops, ky_gaussian_noise_ops, ky_alpha_dropout_ops,
    ky_activity_regularization_ops;

#define KY_FIELD(member) offsetof(ky_layer_config, member)

#endif
