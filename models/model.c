#include "models/blueprint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/layer_tools.h"

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

static int check_input(const char *name, const ky_shape *s, ky_err *err)
{
    size_t n = 1;

    for (int i = 0; i < s->rank && i < KY_RANK; i++) {
        int d = s->timed && i == 0 && s->d[i] == KY_ANY ? 1 : s->d[i];

        n = d < 1 || d > KY_MAX_DIM ? KY_MAX_REALS + 1 : n * (size_t)d;
        if (n > KY_MAX_REALS)
            return ky_fail(err, KY_ESHAPE, "input '%s': dimension %d is %d, each must be 1 to %d",
                           name, i + 1, s->d[i], KY_MAX_DIM);
    }
    if (s->rank < 1 || s->rank > KY_RANK)
        return ky_fail(err, KY_ESHAPE, "input '%s' has %d dimensions, must be 1 to %d", name,
                       s->rank, KY_RANK);
    return KY_OK;
}

int ky_model_name_input(ky_model *m, int k, const char *name, ky_err *err)
{
    char *copy = strdup(name);

    if (copy == NULL)
        return ky_fail(err, KY_ENOMEM, "out of memory");
    free(m->input_names[k]);
    m->input_names[k] = copy;
    return KY_OK;
}

int ky_model_add_input(ky_model *m, const char *name, const ky_shape *shape, ky_err *err)
{
    size_t n = (size_t)m->n_inputs + 1;
    int rc = check_input(name, shape, err);

    if (rc < 0)
        return rc;
    ky_shape *inputs = ky_grow(m->inputs, n - 1, sizeof(*inputs));
    if (inputs != NULL)
        m->inputs = inputs;
    char **names = ky_grow(m->input_names, n - 1, sizeof(*names));
    if (names != NULL)
        m->input_names = names;
    if (inputs == NULL || names == NULL)
        return ky_fail(err, KY_ENOMEM, "out of memory");
    inputs[n - 1] = *shape;
    names[n - 1] = NULL;
    m->n_inputs++;
    return ky_model_name_input(m, m->n_inputs - 1, name, err);
}

int ky_model_new(const char *name, const ky_shape *input, ky_model **ret, ky_err *err)
{
    ky_model *m = calloc(1, sizeof(*m));
    int rc;

    if (m == NULL)
        return ky_fail(err, KY_ENOMEM, "out of memory");
    snprintf(m->name, sizeof(m->name), "%s", name);
    if ((rc = ky_model_add_input(m, "input", input, err)) < 0) {
        ky_model_free(m);
        return ky_context(err, rc, "model '%s'", name);
    }
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

/* As Keras names what has no name: the second one is "max_pooling1d_1". */
static void name_layer(const ky_model *m, ky_layer *l)
{
    char base[sizeof(l->name) - 12];

    ky_snake_case(l->ops->class_name, base, sizeof(base));
    snprintf(l->name, sizeof(l->name), "%s", base);
    for (int i = 1; is_taken(m, l->name); i++)
        snprintf(l->name, sizeof(l->name), "%s_%d", base, i);
}

const ky_shape *ky_model_tensor(const ky_model *m, int tensor)
{
    return tensor < 0 ? &m->inputs[KY_INPUT(tensor)] : &m->layers[tensor].tensor;
}

/* A tensor as a layer sees it: without the axes that are folded into the rows. */
static int fold_shape(const ky_layer *l, const ky_shape *tensor, ky_shape *ret, ky_err *err)
{
    int n = l->distributed;

    *ret = *tensor;
    if (n == 0)
        return KY_OK;
    if (tensor->rank <= n)
        return ky_fail(err, KY_ESHAPE,
                       "TimeDistributed wants steps and something in each, its input has %d "
                       "dimensions",
                       tensor->rank);
    *ret = (ky_shape){ .rank = tensor->rank - n };
    for (int i = 0; i < ret->rank; i++)
        ret->d[i] = tensor->d[n + i];
    return KY_OK;
}

/* The whole output out of what the layer sees of it. */
static int unfold_shape(ky_layer *l, const ky_shape *from, ky_err *err)
{
    int n = l->distributed;

    l->tensor = l->out;
    l->tensor.timed = l->out.timed && (from->timed || l->ops->join != NULL);
    if (n == 0)
        return KY_OK;
    if (l->out.rank + n > KY_RANK)
        return ky_fail(err, KY_ESHAPE, "its output has %d dimensions, at most %d are supported",
                       l->out.rank + n, KY_RANK);
    l->tensor.rank = l->out.rank + n;
    l->tensor.timed = from->timed;
    for (int i = 0; i < l->tensor.rank; i++)
        l->tensor.d[i] = i < n ? from->d[i] : l->out.d[i - n];
    return KY_OK;
}

/* Every dimension is known but steps, and the whole is not too large to hold. */
static int check_tensor(const ky_layer *l, ky_err *err)
{
    size_t n = 1;

    for (int i = 0; i < l->tensor.rank; i++) {
        int d = l->tensor.d[i];

        if (d == KY_ANY && i == 0 && l->tensor.timed)
            continue;
        if (d < 1 || d > KY_MAX_DIM || (n *= (size_t)d) > KY_MAX_REALS)
            return ky_fail(err, KY_EFULL, "dimension %d of its output is %d, or it is too large",
                           i + 1, d);
    }
    return KY_OK;
}

/* Calls of one layer have one set of weights, whatever their inputs. */
static int share_weights(ky_model *m, ky_layer *l, ky_err *err)
{
    const ky_layer *first;

    if (l->shares < 0) {
        l->shares = m->n_layers;
        l->weights_at = m->n_weights;
        if (l->weight_reals > KY_MAX_REALS || m->n_weights + l->weight_reals > KY_MAX_REALS)
            return ky_fail(err, KY_EFULL, "more than %zu weights", KY_MAX_REALS);
        m->n_weights += l->weight_reals;
        return KY_OK;
    }
    first = &m->layers[l->shares];
    l->weights_at = first->weights_at;
    if (first->n_weights != l->n_weights || first->weight_reals != l->weight_reals ||
        memcmp(first->weights, l->weights, (size_t)l->n_weights * sizeof(*l->weights)) != 0)
        return ky_fail(err, KY_ESHAPE, "its calls need weights of different shapes");
    return KY_OK;
}

static bool reads_masks(const ky_layer *l)
{
    return l->ops->cell != NULL || l->n_inner > 0 || l->ops->join != NULL ||
           l->ops == &ky_global_average_ops;
}

/* What becomes of the inputs' masks, once shape() has had its say. */
static int pass_masks(const ky_model *m, ky_layer *l, bool masked, ky_err *err)
{
    bool wide = false;

    for (int i = 0; i < l->n_in; i++)
        wide |= l->from[i] >= 0 && m->layers[l->from[i]].wide_mask;
    if (wide && reads_masks(l))
        return ky_fail(err, KY_EUNSUPPORTED,
                       "its input has a mask of more than steps (Masking or Embedding of another "
                       "rank), which is not supported");
    if (l->distributed > 0) { /* the mask is of the folded steps */
        l->masked = masked;
        l->wide_mask = wide;
    } else if (l->ops->masking == KY_MASK_STOPS)
        l->masked = l->wide_mask = false;
    else if (l->ops->masking == KY_MASK_PASSES)
        l->wide_mask = wide;
    return KY_OK;
}

/* Shapes of a layer on what it reads, with every size within bounds. */
static int shape_call(ky_model *m, ky_layer *l, ky_err *err)
{
    const ky_shape *from = ky_model_tensor(m, l->from[0]);
    int least = l->ops->max_in != 0 ? l->ops->min_in : 1;
    int most = l->ops->max_in != 0 ? l->ops->max_in : 1, rc = KY_OK;
    bool masked = l->from[0] >= 0 && m->layers[l->from[0]].masked;

    if (l->n_in < least || (most != KY_ANY && l->n_in > most))
        return ky_fail(err, KY_ESHAPE, "it is called on %d inputs, must be %s%d", l->n_in,
                       most == least ? "" : "at least ", least);
    for (int i = 0; rc == KY_OK && i < l->n_in; i++)
        rc = fold_shape(l, ky_model_tensor(m, l->from[i]), &l->ins[i], err);
    if (rc < 0)
        return rc;
    l->in = l->ins[0];
    l->n_weights = 0;
    l->weight_reals = l->state_reals = 0;
    l->no_step = l->no_training = NULL;
    l->n_masked = 0;
    for (int i = 0; i < l->n_in; i++)
        l->n_masked += l->from[i] >= 0 && m->layers[l->from[i]].masked;
    if (l->ops->join != NULL && l->distributed > 0)
        return ky_fail(err, KY_EUNSUPPORTED, "TimeDistributed runs layers of one input only");
    l->masked = l->ops->masking == KY_MASK_PASSES && masked;
    l->wide_mask = false;
    if ((rc = l->ops->shape(l, err)) < 0)
        return rc;
    l->ins[0] = l->in;
    if (l->in.timed && l->in.d[0] != KY_ANY && ky_layer_steps(l, l->in.d[0]) < 1)
        return ky_fail(err, KY_ESHAPE, "%d steps are too few for it", l->in.d[0]);
    if (l->out.timed && l->ops->join == NULL)
        l->out.d[0] = l->in.d[0] == KY_ANY ? KY_ANY : ky_layer_steps(l, l->in.d[0]);
    if ((rc = pass_masks(m, l, masked, err)) < 0 || (rc = unfold_shape(l, from, err)) < 0 ||
        (rc = check_tensor(l, err)) < 0)
        return rc;
    return share_weights(m, l, err);
}

static void free_call(ky_layer *l)
{
    free(l->from);
    free(l->ins);
    for (int i = 0; i < l->n_inner; i++)
        free_call(&l->inner[i]);
    free(l->inner);
}

int ky_model_call(ky_model *m, const ky_layer *l, int n, const int *from, ky_err *err)
{
    ky_layer c = *l, *all = NULL;
    int rc = KY_ENOMEM;

    if (c.name[0] == '\0')
        name_layer(m, &c);
    c.n_in = n;
    c.from = calloc((size_t)n + 1, sizeof(*c.from));
    c.ins = calloc((size_t)n + 1, sizeof(*c.ins));
    if (c.from != NULL && c.ins != NULL) {
        memcpy(c.from, from, (size_t)n * sizeof(*from));
        rc = shape_call(m, &c, err);
        if (rc < 0)
            ky_context(err, rc, "layer '%s' (%s)", c.name, c.ops->class_name);
        else
            all = ky_grow(m->layers, (size_t)m->n_layers, sizeof(*all));
    }
    if (all == NULL) {
        free_call(&c);
        return rc < 0 && rc != KY_ENOMEM ? rc : ky_fail(err, KY_ENOMEM, "out of memory");
    }
    m->layers = all;
    m->layers[m->n_layers] = c;
    return m->n_layers++;
}

int ky_model_add(ky_model *m, const ky_layer *l, ky_err *err)
{
    int from = m->n_layers > 0 ? m->n_layers - 1 : KY_INPUT(0);
    int rc = ky_model_call(m, l, 1, &from, err);

    return rc < 0 ? rc : KY_OK;
}

int ky_model_set_outputs(ky_model *m, int n, const int *tensors, ky_err *err)
{
    int *copy = calloc((size_t)n + 1, sizeof(*copy));

    if (copy == NULL)
        return ky_fail(err, KY_ENOMEM, "out of memory");
    memcpy(copy, tensors, (size_t)n * sizeof(*copy));
    free(m->outputs);
    m->outputs = copy;
    m->n_outputs = n;
    return KY_OK;
}

bool ky_model_is_chain(const ky_model *m)
{
    if (m->n_inputs != 1 || m->n_outputs > 1 ||
        (m->n_outputs == 1 && m->outputs[0] != m->n_layers - 1))
        return false;
    for (int i = 0; i < m->n_layers; i++)
        if (m->layers[i].n_in != 1 || m->layers[i].shares != i ||
            m->layers[i].from[0] != (i > 0 ? i - 1 : KY_INPUT(0)))
            return false;
    return true;
}

const ky_packed *ky_model_packed(const ky_model *m, int i)
{
    return &m->packed[m->layers[i].shares];
}

/* Whether a tensor's last layer that does something ends in probabilities. */
static bool says_probabilities(const ky_model *m, int tensor)
{
    for (int i = tensor; i >= 0; i = m->layers[i].from[0]) {
        const ky_layer *l = &m->layers[i];

        if (l->ops == &ky_dropout_ops || l->ops == &ky_flatten_ops)
            continue;
        return (l->ops == &ky_dense_ops || l->ops == &ky_activation_ops ||
                l->ops == &ky_softmax_ops) &&
               (l->cfg.activation == KY_SOFTMAX || l->cfg.activation == KY_SIGMOID);
    }
    return false;
}

size_t ky_call_macs(const ky_model *m, int i, int T)
{
    const ky_layer *l = &m->layers[i];
    int B, steps;

    ky_layer_fold(l, ky_model_tensor(m, l->from[0]), 1, T, &B, &steps);
    return l->ops->macs != NULL ? (size_t)B * l->ops->macs(l, steps) : 0;
}

/* Multiply-adds of a step on average: strides make some steps do more than others. */
static size_t macs_of_step(const ky_model *m)
{
    enum { LONG = 1 << 16 };
    double *rate = calloc((size_t)m->n_layers, sizeof(*rate)), sum = 0;
    bool streams = rate != NULL;

    for (int i = 0; streams && i < m->n_layers; i++) {
        const ky_layer *l = &m->layers[i];
        const ky_shape *from = ky_model_tensor(m, l->from[0]);
        double before = l->from[0] < 0 ? 1 : rate[l->from[0]];
        int T = from->timed ? LONG : 1;

        streams = !ky_call_timed(m, i) || l->no_step == NULL;
        sum += before * (double)ky_call_macs(m, i, T) / T;
        rate[i] = before;
        if (from->timed && l->tensor.timed && l->ops->join == NULL && l->distributed == 0)
            rate[i] *= (double)ky_layer_steps(l, T) / T;
    }
    free(rate);
    return streams ? (size_t)(sum + 0.5) : 0;
}

static size_t macs_of_window(const ky_model *m, int T)
{
    int *all = calloc((size_t)m->n_inputs + (size_t)m->n_layers, sizeof(*all));
    size_t sum = 0;

    if (all != NULL && ky_model_steps(m, T, all))
        for (int i = 0; i < m->n_layers; i++)
            sum += ky_call_macs(m, i, all[m->n_inputs + m->layers[i].from[0]]);
    free(all);
    return sum;
}

static bool takes_pooled(const ky_layer *l, const ky_layer *reader)
{
    return !l->tensor.timed && l->distributed == 0 && reader->distributed == 0 &&
           reader->cfg.padding == KY_VALID &&
           (reader->ops == &ky_max_pooling_2d_ops || reader->ops == &ky_average_pooling_2d_ops);
}

/* Where a pool alone reads a tensor: how it takes its image in. False: out of memory. */
static bool find_pools(ky_model *m)
{
    int *readers = calloc((size_t)m->n_layers + 1, sizeof(*readers));

    if (readers == NULL)
        return false;
    for (int k = 0; k < m->n_outputs; k++)
        if (m->outputs[k] >= 0)
            readers[m->outputs[k]]++;
    for (int i = 0; i < m->n_layers; i++)
        for (int k = 0; k < m->layers[i].n_in; k++)
            if (m->layers[i].from[k] >= 0)
                readers[m->layers[i].from[k]]++;
    for (int i = 0; i < m->n_layers; i++) {
        const ky_layer *pool = &m->layers[i];
        ky_layer *l = pool->from[0] >= 0 ? &m->layers[pool->from[0]] : NULL;

        for (int n = 0; n < 2 && l != NULL && readers[pool->from[0]] == 1 && takes_pooled(l, pool);
             n++) {
            l->pooled[n].size = pool->cfg.pool_size[n];
            l->pooled[n].strides = pool->cfg.strides[n];
        }
    }
    free(readers);
    return true;
}

/* What the layers that read the first input take it for. */
static void know_input(ky_model *m)
{
    for (int i = m->n_layers - 1; i >= 0; i--) {
        const ky_layer *l = &m->layers[i];
        bool tokens = l->ops == &ky_embedding_ops;

        if (l->from[0] != KY_INPUT(0))
            continue;
        if (tokens)
            m->info.tokens = l->cfg.input_dim;
        if (l->ops == &ky_masking_ops || (tokens && l->cfg.mask_zero)) {
            m->info.masks = true;
            m->info.mask_value = tokens ? 0 : l->cfg.mask_value;
        }
    }
}

const char *ky_model_mask_stops(const ky_model *m)
{
    for (int i = 0; i < m->n_layers; i++) {
        const ky_layer *l = &m->layers[i];

        if (l->n_masked > 0 && !l->masked && (!reads_masks(l) || l->tensor.timed))
            return l->name;
    }
    return NULL;
}

int ky_model_finish(ky_model *m, ky_err *err)
{
    ky_model_info *info = &m->info;
    int last = m->n_layers - 1, timed = ky_model_time(m), steps;

    if (m->n_layers == 0)
        return ky_fail(err, KY_ESHAPE, "model '%s' has no layers", m->name);
    if (m->n_outputs == 0 && ky_model_set_outputs(m, 1, &last, err) < 0)
        return KY_ENOMEM;
    m->weights = reals(m->n_weights);
    m->packed = calloc((size_t)m->n_layers, sizeof(*m->packed));
    if (m->weights == NULL || m->packed == NULL || !find_pools(m))
        return ky_fail(err, KY_ENOMEM, "out of memory for %zu weights", m->n_weights);
    memset(m->weights, 0, m->n_weights * sizeof(*m->weights));
    info->name = m->name;
    steps = timed < 0 ? 1 : m->inputs[timed].d[0];
    info->features = (int)ky_shape_step(&m->inputs[0]);
    info->window = steps == KY_ANY ? 0 : steps;
    know_input(m);
    info->outputs = (int)ky_shape_step(ky_model_tensor(m, m->outputs[0]));
    info->n_inputs = m->n_inputs;
    info->n_outputs = m->n_outputs;
    info->probabilities = says_probabilities(m, m->outputs[0]);
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
        if (m->layers[i].ops->init != NULL && m->layers[i].shares == i)
            m->layers[i].ops->init(&m->layers[i], m->weights + m->layers[i].weights_at, &rng);
}

static uint64_t hash_ints(uint64_t h, const int *v, int n)
{
    return ky_hash(h, v, (size_t)n * sizeof(*v));
}

/* Of one layer: its class, its options, what it wraps and where it is called. */
static uint64_t hash_layer(uint64_t h, const ky_layer *l)
{
    h = ky_hash(h, l->ops->class_name, strlen(l->ops->class_name) + 1);
    for (const ky_field *f = l->ops->fields; f->key != NULL; f++)
        for (int i = 0; i < ky_field_len(f, &l->cfg); i++) {
            double v = ky_field_get(f, &l->cfg, i);

            h = ky_hash(h, &v, sizeof(v));
        }
    for (int i = 0; i < l->n_inner; i++)
        h = hash_layer(h, &l->inner[i]);
    h = hash_ints(h, l->from, l->n_in);
    return hash_ints(h, (const int[]){ l->shares, l->distributed }, 2);
}

/* Of what decides the answers: inputs, layers, outputs, weights. */
static uint64_t hash_model(const ky_model *m)
{
    uint64_t h = KY_HASH0;

    for (int i = 0; i < m->n_inputs; i++)
        h = hash_ints(h, m->inputs[i].d, m->inputs[i].rank);
    for (int i = 0; i < m->n_layers; i++)
        h = hash_layer(h, &m->layers[i]);
    h = hash_ints(h, m->outputs, m->n_outputs);
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
        if (l->ops->pack == NULL || l->shares != i)
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
    ky_vocabulary_free(m->meta.vocabulary);
    ky_json_free(m->meta.extra);
    for (int i = 0; i < m->n_layers; i++)
        free_call(&m->layers[i]);
    free(m->layers);
    free_strings(m->input_names, m->n_inputs);
    free(m->inputs);
    free(m->outputs);
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

int ky_model_set_vocabulary(ky_model *m, const ky_vocabulary *v, ky_err *err)
{
    ky_vocabulary *copy = v != NULL ? ky_vocabulary_copy(v) : NULL;

    for (int i = 0; v != NULL && i < m->n_layers; i++) {
        const ky_layer *l = &m->layers[i];

        if (l->ops == &ky_embedding_ops && l->from[0] == KY_INPUT(0) &&
            l->cfg.input_dim < ky_vocabulary_size(v)) {
            ky_vocabulary_free(copy);
            return ky_fail(err, KY_ESHAPE,
                           "layer '%s' has rows for %d words, the vocabulary numbers %d", l->name,
                           l->cfg.input_dim, ky_vocabulary_size(v));
        }
    }
    if (v != NULL && copy == NULL)
        return ky_fail(err, KY_ENOMEM, "out of memory for the vocabulary");
    ky_vocabulary_free(m->meta.vocabulary);
    m->info.vocabulary = m->meta.vocabulary = copy;
    return KY_OK;
}
