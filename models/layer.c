#include "models/layer_tools.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LENGTH(a) (sizeof(a) / sizeof(*(a)))

const ky_layer_ops *const ky_layer_table[] = {
    &ky_dense_ops,
    &ky_activation_ops,
    &ky_relu_ops,
    &ky_leaky_relu_ops,
    &ky_thresholded_relu_ops,
    &ky_elu_ops,
    &ky_prelu_ops,
    &ky_softmax_ops,
    &ky_dropout_ops,
    &ky_spatial_dropout_1d_ops,
    &ky_spatial_dropout_2d_ops,
    &ky_spatial_dropout_3d_ops,
    &ky_gaussian_dropout_ops,
    &ky_gaussian_noise_ops,
    &ky_alpha_dropout_ops,
    &ky_activity_regularization_ops,
    &ky_flatten_ops,
    &ky_conv1d_ops,
    &ky_conv2d_ops,
    &ky_depthwise_conv1d_ops,
    &ky_depthwise_conv2d_ops,
    &ky_separable_conv1d_ops,
    &ky_separable_conv2d_ops,
    &ky_max_pooling_ops,
    &ky_max_pooling_2d_ops,
    &ky_batchnorm_ops,
    &ky_layernorm_ops,
    &ky_normalization_ops,
    &ky_unit_normalization_ops,
    &ky_rescaling_ops,
    &ky_average_pooling_ops,
    &ky_average_pooling_2d_ops,
    &ky_global_average_ops,
    &ky_global_max_ops,
    &ky_global_average_2d_ops,
    &ky_global_max_2d_ops,
    &ky_zero_padding_1d_ops,
    &ky_zero_padding_2d_ops,
    &ky_cropping_1d_ops,
    &ky_cropping_2d_ops,
    &ky_up_sampling_1d_ops,
    &ky_up_sampling_2d_ops,
    &ky_lstm_ops,
    &ky_bidirectional_ops,
    &ky_gru_ops,
    &ky_simple_rnn_ops,
    &ky_masking_ops,
    &ky_add_ops,
    &ky_subtract_ops,
    &ky_multiply_ops,
    &ky_average_ops,
    &ky_maximum_ops,
    &ky_minimum_ops,
    &ky_concatenate_ops,
    &ky_dot_ops,
    &ky_reshape_ops,
    &ky_permute_ops,
    &ky_repeat_vector_ops,
    &ky_embedding_ops,
    &ky_conv_lstm2d_ops,
    NULL,
};

/* What other versions of Keras call the same layer. */
static const struct {
    const char *other, *ours;
} spellings[] = {
    { "Convolution1D", "Conv1D" },
    { "AtrousConvolution1D", "Conv1D" },
    { "Convolution2D", "Conv2D" },
    { "AtrousConvolution2D", "Conv2D" },
    { "SeparableConvolution1D", "SeparableConv1D" },
    { "SeparableConvolution2D", "SeparableConv2D" },
    { "BatchNormalizationV1", "BatchNormalization" },
    { "BatchNormalizationV2", "BatchNormalization" },
    { "LSTMV1", "LSTM" },
    { "LSTMV2", "LSTM" },
    { "GRUV1", "GRU" },
    { "GRUV2", "GRU" },
};

/* hard_sigmoid_k2 and gelu_tanh never stand in a file: one is what hard_sigmoid meant before
 * Keras 3, the other has no name there. */
static const char *const activations[] = {
    [KY_LINEAR] = "linear",
    [KY_RELU] = "relu",
    [KY_TANH] = "tanh",
    [KY_SIGMOID] = "sigmoid",
    [KY_HARD_SIGMOID_K2] = "hard_sigmoid_k2",
    [KY_HARD_SIGMOID_K3] = "hard_sigmoid",
    [KY_EXPONENTIAL] = "exponential",
    [KY_RELU6] = "relu6",
    [KY_LEAKY_RELU] = "leaky_relu",
    [KY_ELU] = "elu",
    [KY_SELU] = "selu",
    [KY_CELU] = "celu",
    [KY_GELU] = "gelu",
    [KY_GELU_TANH] = "gelu_tanh",
    [KY_SOFTPLUS] = "softplus",
    [KY_SOFTSIGN] = "softsign",
    [KY_SILU] = "silu",
    [KY_MISH] = "mish",
    [KY_HARD_SILU] = "hard_silu",
    [KY_HARD_TANH] = "hard_tanh",
    [KY_LOG_SIGMOID] = "log_sigmoid",
    [KY_TANH_SHRINK] = "tanh_shrink",
    [KY_SOFT_SHRINK] = "soft_shrink",
    [KY_HARD_SHRINK] = "hard_shrink",
    [KY_SQUAREPLUS] = "squareplus",
    [KY_SPARSE_PLUS] = "sparse_plus",
    [KY_SOFTMAX] = "softmax",
    [KY_LOG_SOFTMAX] = "log_softmax",
};

static const struct {
    const char *other, *ours;
} activation_spellings[] = {
    { "swish", "silu" },
    { "hard_swish", "hard_silu" },
};

static const char *const merge_modes[] = {
    [KY_CONCAT] = "concat",
    [KY_SUM] = "sum",
    [KY_AVE] = "ave",
    [KY_MUL] = "mul",
};

static const char *const interpolations[] = {
    [KY_NEAREST] = "nearest",
    [KY_BILINEAR] = "bilinear",
};

static const char *const paddings[] = {
    [KY_VALID] = "valid",
    [KY_SAME] = "same",
    [KY_CAUSAL] = "causal",
};

const ky_layer_ops *ky_layer_find(const char *class_name)
{
    for (size_t i = 0; i < LENGTH(spellings); i++)
        if (strcmp(class_name, spellings[i].other) == 0)
            class_name = spellings[i].ours;
    for (const ky_layer_ops *const *ops = ky_layer_table; *ops != NULL; ops++)
        if (strcmp(class_name, (*ops)->class_name) == 0)
            return *ops;
    return NULL;
}

/* The name of value i, and the value of a name; tables have no holes. */
static const char *name_of(const char *const *names, size_t n, size_t i)
{
    return i < n ? names[i] : "?";
}

static int find_name(const char *const *names, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(name, names[i]) == 0)
            return (int)i;
    return KY_EUNSUPPORTED;
}

const char *ky_activation_name(enum ky_activation a)
{
    return name_of(activations, LENGTH(activations), a);
}

const char *ky_padding_name(enum ky_padding p)
{
    return name_of(paddings, LENGTH(paddings), p);
}

const char *ky_merge_mode_name(enum ky_merge_mode m)
{
    return name_of(merge_modes, LENGTH(merge_modes), m);
}

const char *ky_interpolation_name(enum ky_interpolation i)
{
    return name_of(interpolations, LENGTH(interpolations), i);
}

int ky_activation_find(const char *name, int keras_major, enum ky_activation *ret)
{
    for (size_t i = 0; i < LENGTH(activation_spellings); i++)
        if (strcmp(name, activation_spellings[i].other) == 0)
            name = activation_spellings[i].ours;
    for (size_t i = 0; i < LENGTH(activations); i++)
        if (i != KY_HARD_SIGMOID_K2 && i != KY_GELU_TANH && strcmp(name, activations[i]) == 0) {
            *ret = (enum ky_activation)i;
            if (*ret == KY_HARD_SIGMOID_K3 && keras_major < 3)
                *ret = KY_HARD_SIGMOID_K2;
            return KY_OK;
        }
    return KY_EUNSUPPORTED;
}

int ky_padding_find(const char *name, enum ky_padding *ret)
{
    int i = find_name(paddings, LENGTH(paddings), name);

    if (i >= 0)
        *ret = (enum ky_padding)i;
    return i < 0 ? i : KY_OK;
}

int ky_merge_mode_find(const char *name, enum ky_merge_mode *ret)
{
    int i = find_name(merge_modes, LENGTH(merge_modes), name);

    if (i >= 0)
        *ret = (enum ky_merge_mode)i;
    return i < 0 ? i : KY_OK;
}

int ky_interpolation_find(const char *name, enum ky_interpolation *ret)
{
    int i = find_name(interpolations, LENGTH(interpolations), name);

    if (i >= 0)
        *ret = (enum ky_interpolation)i;
    return i < 0 ? i : KY_OK;
}

void ky_snake_case(const char *class_name, char *to, size_t size)
{
    char before = '\0';
    size_t n = 0;

    for (const char *p = class_name; *p != '\0' && n + 2 < size; p++) {
        bool upper = isupper((unsigned char)*p);

        if (!isalnum((unsigned char)*p) && *p != '_')
            continue;
        if (upper && before != '\0' &&
            (islower((unsigned char)p[1]) || islower((unsigned char)before)))
            to[n++] = '_';
        to[n++] = (char)tolower((unsigned char)*p);
        before = *p;
    }
    to[n] = '\0';
}

/* -- options ------------------------------------------------------------------------ */

int ky_field_len(const ky_field *f, const ky_layer_config *cfg)
{
    const void *at = (const char *)cfg + f->at;

    if (f->type == KY_F_DIMS)
        return ((const ky_dims *)at)->n;
    if (f->type == KY_F_REALS)
        return ((const ky_reals *)at)->n;
    if (f->type == KY_F_MARGINS)
        return 2 * f->list;
    return f->list > 1 ? f->list : 1;
}

void ky_field_resize(const ky_field *f, ky_layer_config *cfg, int n)
{
    void *at = (char *)cfg + f->at;

    if (f->type == KY_F_DIMS)
        ((ky_dims *)at)->n = n;
    else if (f->type == KY_F_REALS)
        ((ky_reals *)at)->n = n;
}

int ky_field_most(const ky_field *f)
{
    return f->type == KY_F_REALS ? KY_MAX_REALS_LISTED : KY_RANK;
}

double ky_field_get(const ky_field *f, const ky_layer_config *cfg, int i)
{
    const void *at = (const char *)cfg + f->at;

    switch (f->type) {
    case KY_F_INT:
    case KY_F_MARGINS:
        return ((const int *)at)[i];
    case KY_F_DIMS:
        return ((const ky_dims *)at)->d[i];
    case KY_F_REALS:
        return ((const ky_reals *)at)->v[i];
    case KY_F_FLOAT:
        return *(const double *)at;
    case KY_F_BOOL:
        return *(const bool *)at;
    case KY_F_PADDING:
    case KY_F_ACTIVATION:
    case KY_F_MERGE_MODE:
    case KY_F_INTERPOLATION:
        return *(const unsigned *)at; /* what an enum is kept in */
    }
    return 0;
}

void ky_field_set(const ky_field *f, ky_layer_config *cfg, int i, double v)
{
    void *at = (char *)cfg + f->at;

    switch (f->type) {
    case KY_F_INT:
    case KY_F_MARGINS:
        ((int *)at)[i] = (int)v;
        break;
    case KY_F_DIMS:
        ((ky_dims *)at)->d[i] = (int)v;
        break;
    case KY_F_REALS:
        ((ky_reals *)at)->v[i] = v;
        break;
    case KY_F_FLOAT:
        *(double *)at = v;
        break;
    case KY_F_BOOL:
        *(bool *)at = v != 0;
        break;
    case KY_F_PADDING:
    case KY_F_ACTIVATION:
    case KY_F_MERGE_MODE:
    case KY_F_INTERPOLATION:
        *(unsigned *)at = (unsigned)v;
        break;
    }
}

/* -- layers ------------------------------------------------------------------------- */

void ky_layer_init(ky_layer *l, const ky_layer_ops *ops, const char *name)
{
    memset(l, 0, sizeof(*l));
    l->ops = ops;
    l->trainable = true;
    if (name != NULL)
        strncpy(l->name, name, sizeof(l->name) - 1);
    l->shares = -1;
    for (const ky_field *f = ops->fields; f->key != NULL; f++) {
        ky_field_resize(f, &l->cfg, -1);
        for (int i = 0; i < ky_field_len(f, &l->cfg); i++)
            ky_field_set(f, &l->cfg, i, f->otherwise);
    }
}

int ky_layer_steps(const ky_layer *l, int T)
{
    if (l->ops->steps != NULL)
        return l->ops->steps(l, T);
    return l->out.timed ? T : 1;
}

int ky_layer_join(const ky_layer *l, const ky_input *in)
{
    int n = l->ops->join(l, 0, 0, in[0].T);

    for (int k = 1; k < l->n_in && n > 0; k++)
        n = l->ops->join(l, k, n, in[k].T);
    return n;
}

void ky_layer_fold(const ky_layer *l, const ky_shape *tensor, int B, int T, int *ret_B, int *ret_T)
{
    for (int i = 0; i < l->distributed; i++)
        B *= i == 0 && tensor->timed ? T : tensor->d[i];
    *ret_B = B;
    if (l->distributed == 0 && tensor->timed && l->in.timed)
        *ret_T = T;
    else
        *ret_T = l->in.timed ? l->in.d[0] : 1;
}

size_t ky_layer_scratch(const ky_layer *l, const ky_packed *p, int B, int T, bool backward)
{
    return l->ops->n_scratch != NULL ? l->ops->n_scratch(l, p, B, T, backward) : 0;
}

size_t ky_layer_tape(const ky_layer *l, int B, int T)
{
    return l->ops->n_tape != NULL ? l->ops->n_tape(l, B, T) : 0;
}

size_t ky_shape_step(const ky_shape *s)
{
    size_t n = 1;

    for (int i = s->timed ? 1 : 0; i < s->rank; i++)
        n *= (size_t)s->d[i];
    return n;
}

/* -- for the layers' own files ------------------------------------------------- */

void ky_packed_free(const ky_kernels *k, ky_packed *p)
{
    if (p->mat != NULL)
        k->mat_free(p->mat);
    if (p->recurrent != NULL)
        k->mat_free(p->recurrent);
    if (p->back_x != NULL)
        k->mat_free(p->back_x);
    if (p->back_h != NULL)
        k->mat_free(p->back_h);
    if (p->lstm != NULL)
        k->lstm_free(p->lstm);
    if (p->gru != NULL)
        k->gru_free(p->gru);
    free(p->v);
    for (int i = 0; i < p->n_inner; i++)
        ky_packed_free(k, &p->inner[i]);
    free(p->inner);
    memset(p, 0, sizeof(*p));
}

void ky_layer_declare(ky_layer *l, const char *name, bool trainable, int a, int b, int c)
{
    const int d[3] = { a, b, c };

    ky_layer_declare_shape(l, name, trainable, c > 0 ? 3 : b > 0 ? 2 : 1, d);
}

void ky_layer_declare_shape(ky_layer *l, const char *name, bool trainable, int rank, const int *d)
{
    ky_weight *w = &l->weights[l->n_weights++];

    *w = (ky_weight){
        .name = name, .trainable = trainable && l->trainable, .len = 1, .at = l->weight_reals
    };
    for (; w->rank < rank; w->rank++) {
        w->d[w->rank] = d[w->rank];
        w->len *= (size_t)d[w->rank]; /* each at most KY_MAX_DIM, 22 bits */
        if (w->len > KY_MAX_REALS)
            w->len = KY_MAX_REALS + 1; /* refused by ky_model_add */
    }
    l->weight_reals += w->len;
}

int ky_layer_range(const char *what, int v, int lo, ky_err *err)
{
    if (v < lo || v > KY_MAX_DIM)
        return ky_fail(err, KY_EINVAL, "%s is %d, must be %d to %d", what, v, lo, KY_MAX_DIM);
    return KY_OK;
}

int ky_layer_needs_time(ky_layer *l, int rank, ky_err *err)
{
    if (l->in.rank != rank)
        return ky_fail(err, KY_ESHAPE,
                       l->in.rank < rank
                           ? "its input has no steps: it has %d dimensions, it must have %d, the "
                             "layer before must keep time (return_sequences of an LSTM)"
                           : "its input has %d dimensions, it must have %d, steps first",
                       l->in.rank, rank);
    l->in.timed = true;
    return KY_OK;
}

int ky_layer_needs_image(ky_layer *l, ky_err *err)
{
    if (l->in.rank != 3)
        return ky_fail(err, KY_ESHAPE,
                       "its input has %d dimensions, it must have 3: rows, columns, channels",
                       l->in.rank);
    l->in.timed = true;
    return KY_OK;
}

int ky_shape_unchanged(ky_layer *l, ky_err *err)
{
    (void)err;
    l->out = l->in;
    l->form = KY_POINTWISE;
    return KY_OK;
}

void ky_init_glorot(ky_real *w, size_t n, double fan_in, double fan_out, ky_rng *rng)
{
    double limit = sqrt(6.0 / (fan_in + fan_out));

    for (size_t i = 0; i < n; i++)
        w[i] = (ky_real)(limit * (2.0 * ky_rng_uniform(rng) - 1.0));
}

/* v [n] loses its part along each of the `before` orthonormal rows of q. */
static void take_out(double *v, const double *q, int before, int n)
{
    for (int r = 0; r < before; r++, q += n) {
        double dot = 0;

        for (int i = 0; i < n; i++)
            dot += v[i] * q[i];
        for (int i = 0; i < n; i++)
            v[i] -= dot * q[i];
    }
}

bool ky_init_orthogonal(ky_real *w, int rows, int cols, ky_rng *rng)
{
    double *q = malloc((size_t)rows * (size_t)cols * sizeof(*q));

    if (q == NULL)
        return false;
    for (int r = 0; r < rows; r++) {
        double *v = q + (size_t)r * (size_t)cols, norm = 0;

        for (int i = 0; i < cols; i++)
            v[i] = ky_rng_normal(rng);
        take_out(v, q, r, cols);
        take_out(v, q, r, cols); /* once more, for what rounding left (Giraud et al. 2005) */
        for (int i = 0; i < cols; i++)
            norm += v[i] * v[i];
        norm = sqrt(norm);
        for (int i = 0; i < cols; i++)
            v[i] /= norm;
    }
    for (size_t i = 0; i < (size_t)rows * (size_t)cols; i++)
        w[i] = (ky_real)q[i];
    free(q);
    return true;
}

ky_mat *ky_pack_transposed(const ky_kernels *k, int K, int N, const ky_real *W)
{
    ky_real *t = malloc((size_t)K * (size_t)N * sizeof(*t));
    ky_mat *m = NULL;

    if (t == NULL)
        return NULL;
    for (int i = 0; i < K; i++)
        for (int j = 0; j < N; j++)
            t[(size_t)j * (size_t)K + (size_t)i] = W[(size_t)i * (size_t)N + (size_t)j];
    m = k->mat_new(N, K, t, NULL);
    free(t);
    return m;
}
