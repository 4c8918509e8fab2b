#include "models/blueprint.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/layer_tools.h"

struct ky_work {
    int T, max_rows;
    ky_real *a, *b; /* the activations of two neighbouring layers */
    ky_real *scratch;
};

uint64_t ky_hash(uint64_t h, const void *data, size_t len)
{
    const unsigned char *p = data;

    for (size_t i = 0; i < len; i++)
        h = (h ^ p[i]) * 0x100000001b3u;
    return h;
}

static ky_real *reals(size_t n)
{
    return aligned_alloc(64, ky_lines(n + 1) * sizeof(ky_real));
}

/* -- building -------------------------------------------------------------------- */

int ky_model_new(const char *name, const ky_shape *input, ky_model **ret, ky_err *err)
{
    int F = input->rank >= 1 && input->rank <= 2 ? input->d[input->rank - 1] : 0;
    int T = input->rank == 2 ? input->d[0] : 1;
    ky_model *m;

    if (input->timed != (input->rank == 2) || F < 1 || F > KY_MAX_DIM ||
        (T != KY_ANY && (T < 1 || T > KY_MAX_DIM)))
        return ky_fail(err, KY_ESHAPE,
                       "model '%s': its input must be [steps,features] or [features], each 1 to %d",
                       name, KY_MAX_DIM);
    if ((m = calloc(1, sizeof(*m))) == NULL)
        return ky_fail(err, KY_ENOMEM, "out of memory");
    snprintf(m->name, sizeof(m->name), "%s", name);
    m->input = *input;
    *ret = m;
    return KY_OK;
}

static bool is_taken(const ky_model *m, const char *name)
{
    for (int i = 0; i < m->n_layers; i++)
        if (strcmp(m->layers[i].name, name) == 0)
            return true;
    return false;
}

/* "MaxPooling1D" -> "max_pooling1d", the second one "max_pooling1d_1", as Keras does. */
static void name_layer(const ky_model *m, ky_layer *l)
{
    size_t n = 0;

    for (const char *c = l->ops->class_name; *c != '\0'; c++) {
        if (n > 0 && isupper((unsigned char)c[0]) && islower((unsigned char)c[1]))
            l->name[n++] = '_';
        l->name[n++] = (char)tolower((unsigned char)*c);
    }
    l->name[n] = '\0';
    for (int i = 1; is_taken(m, l->name); i++)
        snprintf(l->name + n, sizeof(l->name) - n, "_%d", i);
}

/* Shape of a layer on what comes before it, with every size within bounds. */
static int shape_layer(ky_model *m, ky_layer *l, ky_err *err)
{
    int rc;

    l->in = m->n_layers > 0 ? m->layers[m->n_layers - 1].out : m->input;
    l->n_weights = 0;
    l->weight_reals = l->state_reals = 0;
    l->no_step = NULL;
    if ((rc = l->ops->shape(l, err)) < 0)
        return rc;
    if (l->out.timed)
        l->out.d[0] = l->in.d[0] == KY_ANY ? KY_ANY : ky_layer_steps(l, l->in.d[0]);
    if (l->in.timed && l->in.d[0] != KY_ANY && ky_layer_steps(l, l->in.d[0]) < 1)
        return ky_fail(err, KY_ESHAPE, "%d steps are too few for it", l->in.d[0]);
    if (l->weight_reals > KY_MAX_REALS || m->n_weights + l->weight_reals > KY_MAX_REALS)
        return ky_fail(err, KY_EFULL, "more than %zu weights", KY_MAX_REALS);
    return KY_OK;
}

int ky_model_add(ky_model *m, const ky_layer *l, ky_err *err)
{
    ky_layer added = *l, *all;
    int rc;

    if (added.name[0] == '\0')
        name_layer(m, &added);
    if ((rc = shape_layer(m, &added, err)) < 0)
        return ky_context(err, rc, "layer '%s' (%s)", added.name, added.ops->class_name);
    all = realloc(m->layers, (size_t)(m->n_layers + 1) * sizeof(*all));
    if (all == NULL)
        return ky_fail(err, KY_ENOMEM, "out of memory");
    added.weights_at = m->n_weights;
    m->n_weights += added.weight_reals;
    m->layers = all;
    m->layers[m->n_layers++] = added;
    return KY_OK;
}

/* Whether the last layer that does something ends in probabilities. */
static bool says_probabilities(const ky_model *m)
{
    for (int i = m->n_layers - 1; i >= 0; i--) {
        const ky_layer *l = &m->layers[i];

        if (l->ops == &ky_dropout_ops || l->ops == &ky_flatten_ops)
            continue;
        return (l->ops == &ky_dense_ops || l->ops == &ky_activation_ops ||
                l->ops == &ky_softmax_ops) &&
               (l->cfg.activation == KY_SOFTMAX || l->cfg.activation == KY_SIGMOID);
    }
    return false;
}

static size_t macs_of(const ky_layer *l, int T)
{
    return l->ops->macs != NULL ? l->ops->macs(l, T) : 0;
}

/* Multiply-adds of a step on average: strides make some steps do more than others. */
static size_t macs_of_step(const ky_model *m)
{
    enum { LONG = 1 << 16 };
    double sum = 0, rate = 1;

    for (int i = 0; i < m->n_layers; i++) {
        const ky_layer *l = &m->layers[i];
        int T = l->in.timed ? LONG : 1;

        if (l->no_step != NULL)
            return 0;
        sum += rate * (double)macs_of(l, T) / T;
        if (l->in.timed && l->out.timed)
            rate *= (double)ky_layer_steps(l, T) / T;
    }
    return (size_t)(sum + 0.5);
}

static size_t macs_of_window(const ky_model *m, int T)
{
    size_t sum = 0;

    for (int i = 0; i < m->n_layers; i++) {
        sum += macs_of(&m->layers[i], T);
        T = ky_layer_steps(&m->layers[i], T);
    }
    return sum;
}

int ky_model_finish(ky_model *m, ky_err *err)
{
    const ky_shape *in = &m->input;
    ky_model_info *info = &m->info;

    if (m->n_layers == 0)
        return ky_fail(err, KY_ESHAPE, "model '%s' has no layers", m->name);
    m->weights = reals(m->n_weights);
    m->packed = calloc((size_t)m->n_layers, sizeof(*m->packed));
    if (m->weights == NULL || m->packed == NULL)
        return ky_fail(err, KY_ENOMEM, "out of memory for %zu weights", m->n_weights);
    memset(m->weights, 0, m->n_weights * sizeof(*m->weights));
    info->name = m->name;
    info->features = ky_features(in);
    info->window = !in->timed ? 1 : in->d[0] == KY_ANY ? 0 : in->d[0];
    info->outputs = (int)ky_shape_step(&m->layers[m->n_layers - 1].out);
    info->probabilities = says_probabilities(m);
    info->params = m->n_weights;
    info->macs_step = macs_of_step(m);
    info->macs_window = info->window > 0 ? macs_of_window(m, info->window) : 0;
    return KY_OK;
}

void ky_model_init(ky_model *m, uint64_t seed)
{
    ky_rng rng;

    ky_rng_seed(&rng, seed);
    memset(m->weights, 0, m->n_weights * sizeof(*m->weights)); /* biases stay so */
    for (int i = 0; i < m->n_layers; i++)
        if (m->layers[i].ops->init != NULL)
            m->layers[i].ops->init(&m->layers[i], m->weights + m->layers[i].weights_at, &rng);
}

/* Of what decides the answers: input, classes and options of the layers, weights. */
static uint64_t hash_model(const ky_model *m)
{
    uint64_t h = ky_hash(KY_HASH0, m->input.d, (size_t)m->input.rank * sizeof(int));

    for (int i = 0; i < m->n_layers; i++) {
        const ky_layer *l = &m->layers[i];

        h = ky_hash(h, l->ops->class_name, strlen(l->ops->class_name) + 1);
        for (const ky_field *f = l->ops->fields; f->key != NULL; f++) {
            double v = ky_field_get(f, &l->cfg);

            h = ky_hash(h, &v, sizeof(v));
        }
    }
    return ky_hash(h, m->weights, m->n_weights * sizeof(*m->weights));
}

int ky_model_pack(ky_model *m, ky_err *err)
{
    if (m->kernels == NULL)
        m->kernels = ky_kernels_get();
    for (int i = 0; i < m->n_layers; i++) {
        const ky_layer *l = &m->layers[i];
        int rc;

        ky_packed_free(m->kernels, &m->packed[i]);
        if (l->ops->pack == NULL)
            continue;
        rc = l->ops->pack(l, m->kernels, m->weights + l->weights_at, m->training, &m->packed[i]);
        if (rc < 0)
            return ky_fail(err, rc, "layer '%s': out of memory packing its weights", l->name);
    }
    if (!m->training)
        m->info.hash = hash_model(m);
    return KY_OK;
}

ky_real *ky_model_weight(ky_model *m, int l, int i)
{
    return m->weights + m->layers[l].weights_at + m->layers[l].weights[i].at;
}

static void free_strings(char **s, int n)
{
    for (int i = 0; s != NULL && i < n; i++)
        free(s[i]);
    free(s);
}

void ky_model_free(ky_model *m)
{
    if (m == NULL)
        return;
    for (int i = 0; m->packed != NULL && i < m->n_layers; i++)
        ky_packed_free(m->kernels, &m->packed[i]);
    free(m->packed);
    free_strings(m->meta.labels, m->meta.n_labels);
    free_strings(m->meta.feature_names, m->info.features);
    ky_json_free(m->meta.extra);
    free(m->layers);
    free(m->weights);
    free(m);
}

/* -- using ----------------------------------------------------------------------- */

const ky_model_info *ky_model_facts(const ky_model *m)
{
    return &m->info;
}

/* Copies of n strings, NULL when out of memory. */
static char **copy_strings(const char *const *s, int n)
{
    char **copy = calloc((size_t)n + 1, sizeof(*copy));

    for (int i = 0; copy != NULL && i < n; i++)
        if ((copy[i] = strdup(s[i])) == NULL) {
            free_strings(copy, i);
            copy = NULL;
        }
    return copy;
}

int ky_model_set_labels(ky_model *m, const char *const *labels, int n, ky_err *err)
{
    char **copy;
    int classes = m->info.outputs == 1 ? 2 : m->info.outputs; /* one sigmoid tells two apart */

    if (n != classes)
        return ky_fail(err, KY_ESHAPE, "%d class names for a model with %d outputs", n,
                       m->info.outputs);
    if ((copy = copy_strings(labels, n)) == NULL)
        return ky_fail(err, KY_ENOMEM, "out of memory for class names");
    free_strings(m->meta.labels, m->meta.n_labels);
    m->meta.labels = copy;
    m->meta.n_labels = n;
    m->info.labels = (const char *const *)copy;
    m->info.n_labels = n;
    return KY_OK;
}

int ky_model_set_feature_names(ky_model *m, const char *const *names, ky_err *err)
{
    char **copy = names != NULL ? copy_strings(names, m->info.features) : NULL;

    if (names != NULL && copy == NULL)
        return ky_fail(err, KY_ENOMEM, "out of memory for the names of features");
    free_strings(m->meta.feature_names, m->info.features);
    m->meta.feature_names = copy;
    m->info.feature_names = (const char *const *)copy;
    return KY_OK;
}

bool ky_model_fits(const ky_model *m, int T)
{
    if (T < 1 || T > KY_MAX_DIM || (!m->input.timed && T != 1))
        return false;
    for (int i = 0; i < m->n_layers && T >= 1; i++)
        T = ky_layer_steps(&m->layers[i], T);
    return T >= 1;
}

/* The largest activations and scratch of a pass over max_rows windows of T steps. */
static int measure(const ky_model *m, int T, int max_rows, size_t *act, size_t *scratch)
{
    *act = *scratch = 0;
    for (int i = 0; i < m->n_layers; i++) {
        const ky_layer *l = &m->layers[i];
        size_t rows, n;

        if (ky_size_mul((size_t)max_rows, (size_t)T, &rows) < 0 || rows > INT_MAX ||
            ky_size_mul(rows, ky_shape_step(&l->in), &n) < 0 || n > KY_MAX_REALS * 8)
            return KY_EFULL;
        n = ky_layer_scratch(l, &m->packed[i], max_rows, T, false);
        *scratch = n > *scratch ? n : *scratch;
        T = ky_layer_steps(l, T);
        if (ky_size_mul((size_t)max_rows * (size_t)T, ky_shape_step(&l->out), &n) < 0 ||
            n > KY_MAX_REALS * 8)
            return KY_EFULL;
        *act = n > *act ? n : *act;
    }
    return KY_OK;
}

ky_work *ky_work_new(const ky_model *m, int T, int max_rows)
{
    size_t act, scratch;
    ky_work *w;

    if (max_rows < 1 || !ky_model_fits(m, T) || measure(m, T, max_rows, &act, &scratch) < 0)
        return NULL;
    if ((w = calloc(1, sizeof(*w))) == NULL)
        return NULL;
    w->T = T;
    w->max_rows = max_rows;
    w->a = reals(act);
    w->b = reals(act);
    w->scratch = reals(scratch);
    if (w->a == NULL || w->b == NULL || w->scratch == NULL) {
        ky_work_free(w);
        return NULL;
    }
    return w;
}

void ky_work_free(ky_work *w)
{
    if (w == NULL)
        return;
    free(w->a);
    free(w->b);
    free(w->scratch);
    free(w);
}

void ky_model_predict(const ky_model *m, ky_work *w, int B, int T, const ky_real *x, ky_real *y)
{
    size_t n = (size_t)m->info.outputs;
    ky_call c = { .B = B, .T = T, .scratch = w->scratch };
    ky_real *to = w->a;

    for (int i = 0; i < m->n_layers; i++) {
        const ky_layer *l = &m->layers[i];

        c.T_out = ky_layer_steps(l, c.T);
        l->ops->window(l, m->kernels, &m->packed[i], m->weights + l->weights_at, &c, x, to);
        x = to;
        to = to == w->a ? w->b : w->a;
        c.T = c.T_out;
    }
    for (int r = 0; r < B; r++) /* of what still has steps, the last one */
        memcpy(y + (size_t)r * n, x + ((size_t)(r + 1) * (size_t)c.T - 1) * n, n * sizeof(*y));
}
