/* The arrays of the layers: held against their shapes, read, brought into our layout. */
#include "models/keras_arrays.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -- leaves ------------------------------------------------------------------------------ */

static const ky_layer *layer_of(const ky_model *m, const ky_keras_tree *node)
{
    const ky_layer *l = &m->layers[node->layer];

    return node->inner < 0 ? l : &l->inner[node->inner];
}

const ky_layer *ky_keras_leaf_layer(const ky_keras_leaves *all, const ky_keras_leaf *leaf)
{
    return layer_of(all->m, leaf->node);
}

/* A wrapper's weights are those of what it wraps. */
static bool is_leaf(const ky_model *m, const ky_keras_tree *node)
{
    return node->kind == KY_KERAS_LAYER && node->layer >= 0 && layer_of(m, node)->n_weights > 0;
}

static int count_leaves(const ky_model *m, const ky_keras_tree *t)
{
    int n = is_leaf(m, t);

    for (int i = 0; i < t->n; i++)
        n += count_leaves(m, t->child[i]);
    return n;
}

static void add_leaves(ky_keras_leaves *all, const ky_keras_tree *t)
{
    if (is_leaf(all->m, t))
        all->leaf[all->n++].node = t;
    for (int i = 0; i < t->n; i++)
        add_leaves(all, t->child[i]);
}

int ky_keras_leaves_find(const ky_keras_tree *t, ky_keras_leaves *all, ky_err *err)
{
    all->leaf = calloc((size_t)count_leaves(all->m, t) + 1, sizeof(*all->leaf));
    all->first = calloc((size_t)all->m->n_layers + 1, sizeof(*all->first));
    if (all->leaf == NULL || all->first == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory");
    add_leaves(all, t);
    for (int i = 0; i < all->m->n_layers; i++)
        all->first[i] = all->n;
    for (int i = all->n - 1; i >= 0; i--)
        all->first[all->leaf[i].node->layer] = i;
    return KY_OK;
}

void ky_keras_leaves_free(ky_keras_leaves *all)
{
    for (int i = 0; i < all->n; i++) {
        for (int k = 0; k < all->leaf[i].n; k++)
            free(all->leaf[i].path[k]);
        free(all->leaf[i].path);
    }
    free(all->leaf);
    free(all->first);
}

ky_keras_leaf *ky_keras_leaf_of(const ky_keras_leaves *all, const ky_keras_tree *node)
{
    if (node->layer < 0)
        return NULL;
    /* Those of one layer stand together: the two sides of a Bidirectional. */
    for (int i = all->first[node->layer]; i < all->n && all->leaf[i].node->layer == node->layer;
         i++)
        if (all->leaf[i].node == node)
            return &all->leaf[i];
    return NULL;
}

static bool is_class(const ky_layer *l, const char *class_name)
{
    return strcmp(l->ops->class_name, class_name) == 0;
}

/* Gates of the cells that Keras 1 stored gate by gate. */
static int gates_of(const ky_layer *l)
{
    if (is_class(l, "LSTM") || is_class(l, "ConvLSTM2D"))
        return 4;
    return is_class(l, "GRU") ? 3 : 0;
}

int ky_keras_leaf_count(const ky_keras_leaves *all, const ky_keras_leaf *leaf, bool gates_apart)
{
    const ky_layer *l = ky_keras_leaf_layer(all, leaf);

    if (gates_apart && l->n_weights == 3 && gates_of(l) > 0)
        return 3 * gates_of(l);
    return l->n_weights;
}

/* -- holding them against the shapes ------------------------------------------------------- */

enum { RANK = KY_MAX_WEIGHT_RANK };

/* Dimensions an array must have. */
struct shape {
    int rank;
    uint64_t d[RANK];
};

/* Dimensions for an error message: "(3, 9, 64)". */
struct shape_text {
    char text[100];
};

static struct shape_text shape_text(int rank, const uint64_t *d)
{
    struct shape_text s = { "(" };
    size_t n = 1;

    for (int i = 0; i < rank && n < sizeof(s.text) - 24; i++)
        n += (size_t)snprintf(s.text + n, sizeof(s.text) - n, i > 0 ? ", %llu" : "%llu",
                              (unsigned long long)d[i]);
    snprintf(s.text + n, sizeof(s.text) - n, ")");
    return s;
}

static struct shape weight_shape(const ky_weight *w)
{
    struct shape s = { .rank = w->rank };

    for (int i = 0; i < w->rank; i++)
        s.d[i] = (uint64_t)w->d[i];
    return s;
}

/* The array must be numbers of this shape. */
static int check_array(ky_h5 *f, const char *path, const struct shape *want, ky_err *err)
{
    ky_h5_info info;
    int rc = ky_h5_stat(f, path, &info, err);

    if (rc < 0)
        return rc;
    bool same = info.rank == want->rank;
    for (int k = 0; same && k < want->rank; k++)
        same = info.dims[k] == want->d[k];
    if (info.type >= KY_H5_STR)
        return ky_fail(err, KY_EFORMAT, "array '%.80s' holds no numbers", path);
    if (!same)
        return ky_fail(err, KY_ESHAPE, "array '%.80s' has shape %s, the configuration wants %s",
                       path, shape_text(info.rank, info.dims).text,
                       shape_text(want->rank, want->d).text);
    return KY_OK;
}

/* A kernel over space, (rows, columns, in, filters); in one dimension Keras 1 had four, too. */
static bool is_kernel(const ky_layer *l, int i)
{
    const ky_weight *w = &l->weights[i];

    return strstr(l->ops->class_name, "Conv") != NULL && w->rank >= 3 &&
           strstr(w->name, "kernel") != NULL;
}

/* (rows, columns, in, filters) as it stands in the file. */
static struct shape kernel_shape(const struct shape *w, bool turned)
{
    struct shape s = { 4, { 0 } };

    if (w->rank == 3)
        s = (struct shape){ 4, { w->d[0], 1, w->d[1], w->d[2] } };
    else
        s = *w;
    if (turned)
        s = (struct shape){ 4, { s.d[3], s.d[2], s.d[0], s.d[1] } };
    return s;
}

/* A kernel of Keras 1, in the order its configuration names, else in the other. */
static int check_kernel(ky_keras_leaves *all, ky_keras_leaf *leaf, const char *path,
                        const struct shape *w, ky_err *err)
{
    struct shape named = kernel_shape(w, leaf->turned), other = kernel_shape(w, !leaf->turned);
    ky_err own = { 0 };
    int rc = check_array(all->f, path, &named, &own);

    if (rc == KY_ESHAPE && check_array(all->f, path, &other, NULL) == KY_OK) {
        leaf->turned = !leaf->turned;
        return KY_OK;
    }
    if (rc < 0 && err != NULL)
        *err = own;
    return rc;
}

/* The shape of one gate's part of a weight. */
static struct shape gate_shape(const ky_weight *w, int gates)
{
    struct shape s = weight_shape(w);

    s.d[s.rank - 1] /= (uint64_t)gates;
    return s;
}

static int check_gates(ky_keras_leaves *all, ky_keras_leaf *leaf, const ky_layer *l, ky_err *err)
{
    int rc = KY_OK;

    for (int i = 0; rc == KY_OK && i < leaf->n; i++) {
        struct shape s = gate_shape(&l->weights[i % 3], gates_of(l));

        rc = is_kernel(l, i % 3) ? check_kernel(all, leaf, leaf->path[i], &s, err)
                                 : check_array(all->f, leaf->path[i], &s, err);
    }
    return rc;
}

/* Two biases behind each other give a cuDNN layer away. */
static bool is_cudnn(const ky_keras_leaves *all, const ky_keras_leaf *leaf, const ky_layer *l)
{
    const struct shape bias = { 1, { (uint64_t)(2 * gates_of(l)) * (uint64_t)l->cfg.units } };

    return leaf->n == 3 && l->n_weights == 3 && (is_class(l, "LSTM") || is_class(l, "GRU")) &&
           check_array(all->f, leaf->path[2], &bias, NULL) == KY_OK;
}

/* Its kernels have the usual shapes. */
static int check_cudnn(ky_keras_leaves *all, ky_keras_leaf *leaf, const ky_layer *l, ky_err *err)
{
    int rc = KY_OK;

    if (is_class(l, "GRU") && !l->cfg.reset_after)
        return ky_fail(err, KY_ESHAPE, "the arrays are those of a GRU with reset_after");
    leaf->form = KY_KERAS_CUDNN;
    for (int i = 0; rc == KY_OK && i < 2; i++) {
        struct shape s = weight_shape(&l->weights[i]);

        rc = check_array(all->f, leaf->path[i], &s, err);
    }
    return rc;
}

static int check_plain(ky_keras_leaves *all, ky_keras_leaf *leaf, const ky_layer *l, ky_err *err)
{
    int rc = KY_OK;

    for (int i = 0; rc == KY_OK && i < l->n_weights; i++) {
        struct shape s = weight_shape(&l->weights[i]);

        rc = all->version.major == 1 && is_kernel(l, i)
                 ? check_kernel(all, leaf, leaf->path[i], &s, err)
                 : check_array(all->f, leaf->path[i], &s, err);
    }
    return rc;
}

static int check_leaf(ky_keras_leaves *all, ky_keras_leaf *leaf, ky_err *err)
{
    const ky_layer *l = ky_keras_leaf_layer(all, leaf);

    leaf->turned = leaf->node->theano_order && all->version.major == 1;
    if (leaf->n == l->n_weights + 1 && is_class(l, "Normalization"))
        leaf->form = KY_KERAS_COUNT;
    else if (all->version.major == 1 && gates_of(l) > 0 && leaf->n == 3 * gates_of(l)) {
        leaf->form = KY_KERAS_GATES;
        return check_gates(all, leaf, l, err);
    } else if (leaf->n != l->n_weights)
        return ky_fail(err, KY_ESHAPE, "%d arrays in the file, the configuration wants %d", leaf->n,
                       l->n_weights);
    if (is_cudnn(all, leaf, l))
        return check_cudnn(all, leaf, l, err);
    return check_plain(all, leaf, l, err);
}

int ky_keras_arrays_check(ky_keras_leaves *all, ky_err *err)
{
    const ky_model *m = all->m;
    int rc = KY_OK;

    for (int i = 0; rc == KY_OK && i < all->n; i++) {
        rc = check_leaf(all, &all->leaf[i], err);
        if (rc < 0)
            rc = ky_context(err, rc, "layer '%s'", all->leaf[i].node->name);
    }
    for (int i = 0; rc == KY_OK && i < m->n_layers; i++) {
        bool has = m->layers[i].weight_reals == 0 || m->layers[i].shares != i;

        if (!has && all->first[i] == all->n)
            rc =
                ky_fail(err, KY_ECORRUPT, "layer '%s' has no place in the file", m->layers[i].name);
    }
    return rc;
}

/* -- reading -------------------------------------------------------------------------------- */

struct target {
    ky_real *w;
    const ky_weight *as;
};

static struct target weight_of(const ky_keras_leaf *leaf, const ky_model *m, int i)
{
    const ky_layer *l = layer_of(m, leaf->node);
    size_t inner = leaf->node->inner < 0 ? 0 : l->weights_at;
    ky_real *slice = m->weights + m->layers[leaf->node->layer].weights_at + inner;

    return (struct target){ slice + l->weights[i].at, &l->weights[i] };
}

static size_t length(const struct shape *s)
{
    size_t n = 1;

    for (int i = 0; i < s->rank; i++)
        n *= (size_t)s->d[i];
    return n;
}

static int read_reals(ky_h5 *f, const char *path, ky_real *to, size_t n, ky_err *err)
{
    return ky_h5_read(f, path, sizeof(ky_real) == sizeof(float) ? KY_H5_F32 : KY_H5_F64, to, n,
                      err);
}

static ky_real *copy_of(const ky_real *w, size_t n)
{
    ky_real *copy = malloc((n + 1) * sizeof(*copy));

    if (copy != NULL)
        memcpy(copy, w, n * sizeof(*copy));
    return copy;
}

/* (filters, in, rows, columns) -> (rows, columns, in, filters) = s */
static int turn(ky_real *w, const struct shape *s, ky_err *err)
{
    struct shape k = kernel_shape(s, false);
    size_t R = k.d[0] * k.d[1], C = k.d[2], F = k.d[3];
    ky_real *old = copy_of(w, R * C * F);

    if (old == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory");
    for (size_t f = 0; f < F; f++)
        for (size_t c = 0; c < C; c++)
            for (size_t r = 0; r < R; r++)
                w[(r * C + c) * F + f] = old[(f * C + c) * R + r];
    free(old);
    return KY_OK;
}

/* One array that has the shape s, but for the order of a kernel's dimensions. */
static int read_array(ky_keras_leaves *all, const ky_keras_leaf *leaf, int i, bool kernel,
                      const struct shape *s, ky_real *to, ky_err *err)
{
    int rc = read_reals(all->f, leaf->path[i], to, length(s), err);

    return rc == KY_OK && kernel && leaf->turned ? turn(to, s, err) : rc;
}

/* Keras 1 stored an LSTM's gates as i, c, f, o; they become the columns i|f|c|o. */
static int read_gates(ky_keras_leaves *all, const ky_keras_leaf *leaf, ky_model *m, ky_err *err)
{
    static const size_t lstm[4] = { 0, 2, 1, 3 }, gru[3] = { 0, 1, 2 };
    const ky_layer *l = layer_of(m, leaf->node);
    size_t gates = (size_t)gates_of(l);
    const size_t *place = gates == 4 ? lstm : gru;
    int rc = KY_OK;

    for (int i = 0; rc == KY_OK && i < leaf->n; i++) {
        struct target t = weight_of(leaf, m, i % 3);
        struct shape s = gate_shape(t.as, (int)gates);
        size_t n = length(&s), u = (size_t)s.d[s.rank - 1];
        ky_real *part = malloc((n + 1) * sizeof(*part));

        rc = part == NULL ? ky_fail(err, KY_ENOMEM, "no memory")
                          : read_array(all, leaf, i, is_kernel(l, i % 3), &s, part, err);
        for (size_t k = 0; rc == KY_OK && k < n / u; k++)
            memcpy(t.w + (k * gates + place[i / 3]) * u, part + k * u, u * sizeof(*part));
        free(part);
    }
    return rc;
}

/* The blocks (C,u) of a kernel of cuDNN's: the transpose's bytes, read column by column; of a
 * recurrent one: transposed (Keras 2.3.1, _convert_rnn_weights). */
static void turn_cudnn(const ky_real *from, ky_real *to, size_t C, size_t u, size_t gates,
                       bool recurrent)
{
    for (size_t g = 0; g < gates; g++)
        for (size_t j = 0; j < C; j++)
            for (size_t i = 0; i < u; i++) {
                size_t n = i + j * u; /* of the transpose, columns first */
                size_t p = recurrent ? i : n % C, q = recurrent ? j : n / C;

                to[(p * gates + g) * u + q] = from[(j * gates + g) * u + i];
            }
}

static int read_cudnn(ky_keras_leaves *all, const ky_keras_leaf *leaf, ky_model *m, ky_err *err)
{
    const ky_layer *l = layer_of(m, leaf->node);
    size_t gates = (size_t)gates_of(l), u = (size_t)l->cfg.units, n = 2 * gates * u;
    ky_real *bias = malloc(n * sizeof(*bias));
    int rc = bias == NULL ? ky_fail(err, KY_ENOMEM, "no memory") : KY_OK;

    for (int i = 0; rc == KY_OK && i < 2; i++) {
        struct target t = weight_of(leaf, m, i);

        rc = read_reals(all->f, leaf->path[i], t.w, t.as->len, err);
        ky_real *old = rc == KY_OK ? copy_of(t.w, t.as->len) : NULL;
        if (rc == KY_OK && old == NULL)
            rc = ky_fail(err, KY_ENOMEM, "no memory");
        if (rc == KY_OK)
            turn_cudnn(old, t.w, (size_t)t.as->d[0], u, gates, i == 1);
        free(old);
    }
    if (rc == KY_OK)
        rc = read_reals(all->f, leaf->path[2], bias, n, err);
    if (rc == KY_OK) { /* a GRU has both in two rows, an LSTM their sum */
        struct target t = weight_of(leaf, m, 2);

        for (size_t k = 0; k < t.as->len; k++)
            t.w[k] = t.as->len == n ? bias[k] : bias[k] + bias[k + n / 2];
    }
    free(bias);
    return rc;
}

/* Theano's convolution runs the kernel back to front; ours, like the others', does not. */
static void flip(ky_real *w, const ky_weight *as)
{
    size_t taps = 1, tap = (size_t)as->d[as->rank - 2] * (size_t)as->d[as->rank - 1];

    for (int i = 0; i < as->rank - 2; i++)
        taps *= (size_t)as->d[i];
    for (size_t a = 0, b = taps - 1; a < b; a++, b--)
        for (size_t i = 0; i < tap; i++) {
            ky_real x = w[a * tap + i];

            w[a * tap + i] = w[b * tap + i];
            w[b * tap + i] = x;
        }
}

/* Keras 2.3.1, _need_convert_kernel. */
static bool is_flipped(const ky_layer *l)
{
    return is_class(l, "Conv1D") || is_class(l, "Conv2D") || is_class(l, "ConvLSTM2D");
}

/* A model that holds no numbers would answer with none. */
static int check_values(const ky_keras_leaf *leaf, const ky_model *m, ky_err *err)
{
    for (int i = 0; i < layer_of(m, leaf->node)->n_weights; i++) {
        struct target t = weight_of(leaf, m, i);
        bool variance = strstr(t.as->name, "variance") != NULL;

        for (size_t k = 0; k < t.as->len; k++) {
            if (!isfinite(t.w[k]))
                return ky_fail(err, KY_EFORMAT, "%s holds NaN or infinity", t.as->name);
            if (variance && t.w[k] < 0)
                return ky_fail(err, KY_EFORMAT, "%s is negative", t.as->name);
        }
    }
    return KY_OK;
}

static int read_leaf(ky_keras_leaves *all, const ky_keras_leaf *leaf, ky_model *m, ky_err *err)
{
    const ky_layer *l = layer_of(m, leaf->node);
    int rc = KY_OK;

    if (leaf->form == KY_KERAS_GATES)
        rc = read_gates(all, leaf, m, err);
    else if (leaf->form == KY_KERAS_CUDNN)
        rc = read_cudnn(all, leaf, m, err);
    else
        for (int i = 0; rc == KY_OK && i < l->n_weights; i++) {
            struct target t = weight_of(leaf, m, i);
            struct shape s = weight_shape(t.as);

            rc = read_array(all, leaf, i, is_kernel(l, i), &s, t.w, err);
        }
    for (int i = 0; rc == KY_OK && all->version.theano && is_flipped(l) && i < l->n_weights; i++)
        if (is_kernel(l, i)) {
            struct target t = weight_of(leaf, m, i);

            flip(t.w, t.as);
        }
    return rc < 0 ? rc : check_values(leaf, m, err);
}

int ky_keras_arrays_read(ky_keras_leaves *all, ky_model *m, ky_err *err)
{
    int rc = KY_OK;

    for (int i = 0; rc == KY_OK && i < all->n; i++) {
        rc = read_leaf(all, &all->leaf[i], m, err);
        if (rc < 0)
            rc = ky_context(err, rc, "layer '%s'", all->leaf[i].node->name);
    }
    return rc;
}
