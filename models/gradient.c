#include "models/gradient.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "models/layer_tools.h"
#include "models/loss.h"

/* Batches are cut evenly into shards of about LEAST_ROWS rows, or into MOST_SHARDS larger ones. */
enum { MOST_SHARDS = 16, LEAST_ROWS = 16 };

/* What one thread needs to take a shard forward and back. Tensors are numbered as
 * ky_layer.from, the model's inputs first. */
typedef struct desk {
    ky_real **act;    /* [n_inputs+n_layers] tensors: [rows, T, values] */
    ky_real **d;      /* the same of dL/d(tensor); NULL where it is not wanted */
    bool *reached;    /* whether d holds something */
    uint8_t **mask;   /* [n_layers] of calls that make one */
    ky_input *tensor; /* [n_inputs+n_layers] */
    ky_input *in;     /* [n_most] of a call */
    ky_real **dx;     /* [n_most] of a call */
    ky_real **spare;  /* [n_most] where a tensor has a gradient already, NULL if none ever has */
    ky_real **tape;   /* [n_layers] */
    ky_real *scratch;
    void **state;   /* [rows] */
    double penalty; /* of the activities so far */
} desk;

typedef struct shard {
    ky_real *dw; /* [n_weights] */
    double loss, measure;
} shard;

struct ky_gradient {
    const ky_model *m;
    ky_pool *pool;
    ky_layer *layers;     /* the model's, without the last softmax or sigmoid */
    int head;             /* the call whose tensor the loss takes */
    int *steps;           /* [n_inputs+n_layers] of every tensor */
    bool *used, *wanted;  /* [n_inputs+n_layers] leads to the head; its gradient is asked for */
    int n_most;           /* inputs of a call */
    bool joins;           /* some tensor has several readers */
    int T, outputs, rows; /* rows of a shard */
    ky_loss loss;
    size_t *state_at; /* [n_layers] first real in a carried state */
    size_t state_reals;
    int n_desks, n_shards, n_used;
    desk *desks;
    shard *shards;
    const ky_batch *b;
    bool training; /* this batch */
};

static size_t size_max(size_t a, size_t b)
{
    return a > b ? a : b;
}

static ky_real *reals(size_t n)
{
    size_t bytes = (n * sizeof(ky_real) + 127) / 64 * 64;
    ky_real *p = n < SIZE_MAX / 16 ? aligned_alloc(64, bytes) : NULL;

    if (p != NULL)
        memset(p, 0, bytes);
    return p;
}

/* ---- the layers as they are trained ---- */

/* Reads of a tensor, by calls and as an output. */
static int count_readers(const ky_model *m, int tensor)
{
    int n = 0;

    for (int i = 0; i < m->n_layers; i++)
        for (int k = 0; k < m->layers[i].n_in; k++)
            n += m->layers[i].from[k] == tensor;
    for (int k = 0; k < m->n_outputs; k++)
        n += m->outputs[k] == tensor;
    return n;
}

/* The last layer as the loss takes it: cross-entropy without its activation. */
static int take_off_activation(ky_gradient *g, ky_err *err)
{
    ky_layer *last = g->layers + g->head;
    bool softmax = strcmp(last->ops->class_name, "Softmax") == 0;
    bool binary = last->cfg.activation == KY_SIGMOID && last->form == KY_POINTWISE;

    if (g->loss.kind == KY_LOSS_CATEGORICAL && !softmax && last->cfg.activation != KY_SOFTMAX)
        return ky_fail(err, KY_EUNSUPPORTED,
                       "the last layer '%s' (%s) ends in neither softmax nor one sigmoid output",
                       last->name, last->ops->class_name);
    if (g->loss.kind == KY_LOSS_BINARY && !binary)
        return ky_fail(err, KY_EUNSUPPORTED,
                       "the last layer '%s' (%s) does not end in sigmoid, which binary "
                       "cross-entropy takes",
                       last->name, last->ops->class_name);
    if (softmax)
        g->head = last->from[0];
    else
        last->cfg.activation = KY_LINEAR;
    return KY_OK;
}

static int take_off_head(ky_gradient *g, ky_err *err)
{
    const ky_layer *last = g->layers + g->head;

    if (last->tensor.timed || last->tensor.rank != 1)
        return ky_fail(err, KY_EUNSUPPORTED,
                       "layer '%s' answers at every step: only one answer a sequence is trained",
                       last->name);
    if (count_readers(g->m, g->head) > 1)
        return ky_fail(err, KY_EUNSUPPORTED,
                       "the last layer '%s' is also read by others, which cannot be trained",
                       last->name);
    g->outputs = last->tensor.d[0];
    return ky_loss_takes_logits(&g->loss) ? take_off_activation(g, err) : KY_OK;
}

static int check_layer(const ky_layer *l, bool carried, ky_err *err)
{
    if (l->no_training != NULL)
        return ky_fail(err, KY_EUNSUPPORTED, "layer '%s' (%s) cannot be trained: %s", l->name,
                       l->ops->class_name, l->no_training);
    if (carried && l->form != KY_POINTWISE && l->form != KY_RECURRENT)
        return ky_fail(err, KY_EUNSUPPORTED,
                       "layer '%s' (%s): training with carried state takes recurrent layers and "
                       "such as work step by step; train on windows instead",
                       l->name, l->ops->class_name);
    return KY_OK;
}

/* Copies of the layers, and what a carried state means to each. */
static int set_layers(ky_gradient *g, bool carried, ky_err *err)
{
    enum { ALIGNED = 64 / sizeof(ky_real) };
    int rc;

    if (g->m->n_inputs != 1 || g->m->n_outputs != 1 || g->m->outputs[0] < 0)
        return ky_fail(err, KY_EUNSUPPORTED,
                       "model '%s' has %d inputs and %d outputs: only one of each is trained",
                       g->m->name, g->m->n_inputs, g->m->n_outputs);
    g->head = g->m->outputs[0];
    for (int i = 0; i < g->m->n_layers; i++) {
        ky_layer *l = g->layers + i;

        *l = g->m->layers[i];
        memset(l->pooled, 0, sizeof(l->pooled)); /* the way back reads every output */
        if ((rc = check_layer(l, carried, err)) < 0)
            return rc;
        g->state_at[i] = g->state_reals;
        if (l->form == KY_RECURRENT && l->distributed == 0)
            g->state_reals += (l->state_reals + ALIGNED - 1) / ALIGNED * ALIGNED;
        g->n_most = l->n_in > g->n_most ? l->n_in : g->n_most;
        g->joins = g->joins || count_readers(g->m, i) > 1;
    }
    return take_off_head(g, err);
}

/* Which calls lead to the loss, and which of their tensors have a gradient worth having: those
 * that something before them learns from. */
static int set_ways(ky_gradient *g, ky_err *err)
{
    const ky_model *m = g->m;
    bool *used = g->used + m->n_inputs, *wanted = g->wanted + m->n_inputs;

    used[g->head] = true;
    for (int i = g->head; i >= 0; i--)
        for (int k = 0; used[i] && k < m->layers[i].n_in; k++)
            used[m->layers[i].from[k]] = true;
    for (int i = 0; i <= g->head; i++) {
        const ky_layer *l = g->layers + i;

        wanted[i] = l->trainable && l->weight_reals > 0;
        for (int k = 0; k < l->n_in; k++)
            wanted[i] |= wanted[l->from[k]];
        wanted[i] &= used[i];
    }
    if (!wanted[g->head])
        return ky_fail(err, KY_EUNSUPPORTED, "model '%s' has no weights that learn", m->name);
    return KY_OK;
}

/* ---- memory ---- */

/* Rows and steps that call i sees of n rows. */
static void fold(const ky_gradient *g, int i, int n, int *ret_B, int *ret_T)
{
    const ky_layer *l = g->layers + i;
    int from = l->from[0];

    ky_layer_fold(l, ky_model_tensor(g->m, from), n, g->steps[g->m->n_inputs + from], ret_B, ret_T);
}

static size_t tensor_reals(const ky_gradient *g, int tensor)
{
    return (size_t)g->rows * (size_t)g->steps[g->m->n_inputs + tensor] *
           ky_shape_step(ky_model_tensor(g->m, tensor));
}

/* Memory of one tensor: what it is, and its gradient where that is asked for. */
static bool set_tensor(const ky_gradient *g, desk *k, int tensor)
{
    int at = g->m->n_inputs + tensor;

    k->act[at] = reals(tensor_reals(g, tensor));
    if (g->wanted[at])
        k->d[at] = reals(tensor_reals(g, tensor));
    return k->act[at] != NULL && (k->d[at] != NULL || !g->wanted[at]);
}

/* Memory of call i beside its tensor. */
static bool set_call(const ky_gradient *g, desk *k, int i, size_t *scratch)
{
    const ky_layer *l = g->layers + i;
    const ky_packed *p = ky_model_packed(g->m, i);
    size_t mask = ky_call_mask(g->m, i, g->steps + g->m->n_inputs);
    int B, T;

    fold(g, i, g->rows, &B, &T);
    *scratch = size_max(*scratch, ky_layer_scratch(l, p, B, T, false));
    *scratch = size_max(*scratch, ky_layer_scratch(l, p, B, T, true));
    k->tape[i] = reals(ky_layer_tape(l, B, T));
    if (mask > 0)
        k->mask[i] = malloc((size_t)g->rows * mask);
    return k->tape[i] != NULL && (mask == 0 || k->mask[i] != NULL);
}

static int set_desk(const ky_gradient *g, desk *k)
{
    const ky_model *m = g->m;
    size_t R = (size_t)g->rows, n = (size_t)m->n_inputs + (size_t)m->n_layers, scratch = 0;
    size_t most = (size_t)g->n_most, widest = 0;
    bool whole;

    k->act = calloc(n, sizeof *k->act);
    k->d = calloc(n, sizeof *k->d);
    k->reached = calloc(n, sizeof *k->reached);
    k->mask = calloc(n, sizeof *k->mask);
    k->tensor = calloc(n, sizeof *k->tensor);
    k->tape = calloc(n, sizeof *k->tape);
    k->in = calloc(most, sizeof *k->in);
    k->dx = calloc(most, sizeof *k->dx);
    k->spare = calloc(most, sizeof *k->spare);
    k->state = calloc(R, sizeof *k->state);
    whole = k->act != NULL && k->d != NULL && k->reached != NULL && k->mask != NULL &&
            k->tensor != NULL && k->tape != NULL && k->in != NULL && k->dx != NULL &&
            k->spare != NULL && k->state != NULL;
    for (int t = -m->n_inputs; whole && t <= g->head; t++) {
        whole = !g->used[m->n_inputs + t] ||
                (set_tensor(g, k, t) && (t < 0 || set_call(g, k, t, &scratch)));
        widest = size_max(widest, tensor_reals(g, t));
    }
    for (size_t i = 0; whole && g->joins && i < most; i++)
        whole = (k->spare[i] = reals(widest)) != NULL;
    return whole && (k->scratch = reals(scratch)) != NULL ? KY_OK : KY_ENOMEM;
}

static void clear_desk(const ky_gradient *g, desk *k)
{
    int n = g->m->n_inputs + g->m->n_layers;

    for (int i = 0; i < n; i++) {
        free(k->act != NULL ? k->act[i] : NULL);
        free(k->d != NULL ? k->d[i] : NULL);
        free(k->mask != NULL ? k->mask[i] : NULL);
        free(k->tape != NULL ? k->tape[i] : NULL);
    }
    for (int i = 0; k->spare != NULL && i < g->n_most; i++)
        free(k->spare[i]);
    free(k->act);
    free(k->d);
    free(k->reached);
    free(k->mask);
    free(k->tensor);
    free(k->tape);
    free(k->in);
    free(k->dx);
    free(k->spare);
    free(k->scratch);
    free(k->state);
}

static int set_memory(ky_gradient *g, int batch, ky_err *err)
{
    int shards = (batch + LEAST_ROWS - 1) / LEAST_ROWS;

    g->n_shards = shards < MOST_SHARDS ? shards : MOST_SHARDS;
    g->rows = (batch + g->n_shards - 1) / g->n_shards;
    g->shards = calloc((size_t)g->n_shards, sizeof *g->shards);
    g->desks = calloc((size_t)ky_pool_workers(g->pool), sizeof *g->desks);
    if (g->shards == NULL || g->desks == NULL)
        goto full;
    for (int i = 0; i < g->n_shards; i++)
        if ((g->shards[i].dw = reals(g->m->n_weights)) == NULL)
            goto full;
    /* A worker beyond the number of shards never gets one, but any worker may. */
    for (g->n_desks = 0; g->n_desks < ky_pool_workers(g->pool); g->n_desks++)
        if (set_desk(g, g->desks + g->n_desks) < 0) {
            g->n_desks++;
            goto full;
        }
    return KY_OK;
full:
    return ky_fail(err, KY_ENOMEM, "no memory to train model '%s' in batches of %d x %d steps",
                   g->m->name, batch, g->T);
}

int ky_gradient_new(const ky_model *m, const ky_loss *loss, int T, int batch, bool carried,
                    ky_pool *pool, ky_gradient **ret, ky_err *err)
{
    size_t n = (size_t)m->n_inputs + (size_t)m->n_layers;
    ky_gradient *g = calloc(1, sizeof *g);
    int rc;

    if (g == NULL || m->n_layers < 1) {
        free(g);
        return ky_fail(err, g == NULL ? KY_ENOMEM : KY_EUNSUPPORTED, "model '%s' has no layers",
                       m->name);
    }
    *g = (ky_gradient){ .m = m, .pool = pool, .loss = *loss, .T = T };
    g->layers = calloc((size_t)m->n_layers, sizeof *g->layers);
    g->state_at = calloc((size_t)m->n_layers, sizeof *g->state_at);
    g->steps = calloc(n, sizeof *g->steps);
    g->used = calloc(n, sizeof *g->used);
    g->wanted = calloc(n, sizeof *g->wanted);
    if (g->layers == NULL || g->state_at == NULL || g->steps == NULL || g->used == NULL ||
        g->wanted == NULL)
        rc = ky_fail(err, KY_ENOMEM, "no memory to train model '%s'", m->name);
    else if (!ky_model_steps(m, T, g->steps))
        rc = ky_fail(err, KY_ESHAPE, "model '%s' takes %d steps a sequence, the data have %d",
                     m->name, m->info.window, T);
    else if ((rc = set_layers(g, carried, err)) == KY_OK && (rc = set_ways(g, err)) == KY_OK)
        rc = set_memory(g, batch, err);
    if (rc < 0) {
        ky_gradient_free(g);
        return rc;
    }
    *ret = g;
    return KY_OK;
}

void ky_gradient_free(ky_gradient *g)
{
    if (g == NULL)
        return;
    for (int i = 0; i < g->n_desks; i++)
        clear_desk(g, g->desks + i);
    for (int i = 0; g->shards != NULL && i < g->n_shards; i++)
        free(g->shards[i].dw);
    free(g->desks);
    free(g->shards);
    free(g->state_at);
    free(g->steps);
    free(g->used);
    free(g->wanted);
    free(g->layers);
    free(g);
}

size_t ky_gradient_state_reals(const ky_gradient *g)
{
    return g->state_reals;
}

static void gather(const ky_gradient *g, desk *k, int first_row, int n)
{
    size_t len = tensor_reals(g, KY_INPUT(0)) / (size_t)g->rows;

    for (int r = 0; r < n; r++) {
        const float *from = g->b->x[first_row + r];
        ky_real *to = k->act[0] + (size_t)r * len;

        for (size_t i = 0; i < len; i++)
            to[i] = from[i];
    }
}

/* The call of n rows through layer i; its inputs are gathered in k->in. */
static ky_call call_of(const ky_gradient *g, desk *k, int i, int n, ky_rng *rng)
{
    const ky_layer *l = g->layers + i;
    ky_call c = { .training = g->training,
                  .rng = rng,
                  .scratch = k->scratch,
                  .tape = k->tape[i],
                  .in = l->distributed > 0 ? NULL : k->in,
                  .mask_out = k->mask[i] };

    for (int j = 0; j < l->n_in; j++)
        k->in[j] = k->tensor[g->m->n_inputs + l->from[j]];
    fold(g, i, n, &c.B, &c.T);
    c.T_out = l->ops->join != NULL ? ky_layer_join(l, k->in) : ky_layer_steps(l, c.T);
    return c;
}

/* ---- penalties of activities (Keras: activity_regularizer) ---- */

static bool is_penalized(const ky_layer *l)
{
    return l->cfg.l1 != 0 || l->cfg.l2 != 0;
}

bool ky_gradient_penalizes(const ky_gradient *g)
{
    for (int i = 0; i <= g->head; i++)
        if (g->used[g->m->n_inputs + i] && is_penalized(g->layers + i))
            return true;
    return false;
}

/* l1 sum |y| + l2 sum y^2 of n values. */
static double penalty_of(const ky_layer *l, size_t n, const ky_real *y)
{
    double sum = 0, squares = 0;

    for (size_t i = 0; i < n; i++) {
        sum += fabs((double)y[i]);
        squares += (double)y[i] * (double)y[i];
    }
    return l->cfg.l1 * sum + l->cfg.l2 * squares;
}

/* Its gradient times the scale is added to d. */
static void penalize(const ky_layer *l, ky_real scale, size_t n, const ky_real *y, ky_real *d)
{
    ky_real l1 = (ky_real)l->cfg.l1 * scale, l2 = (ky_real)(2 * l->cfg.l2) * scale;

    for (size_t i = 0; i < n; i++)
        d[i] += l1 * (ky_real)((y[i] > 0) - (y[i] < 0)) + l2 * y[i];
}

/* ---- forward and back ---- */

/* Values of n rows of a tensor. */
static size_t values(const ky_gradient *g, int tensor, int n)
{
    return tensor_reals(g, tensor) / (size_t)g->rows * (size_t)n;
}

static void forward_call(const ky_gradient *g, desk *k, int i, int first_row, int n, ky_rng *rng)
{
    const ky_model *m = g->m;
    const ky_layer *l = g->layers + i;
    ky_call c = call_of(g, k, i, n, rng);
    ky_input *to = k->tensor + m->n_inputs + i;

    if (g->b->state != NULL && l->form == KY_RECURRENT && l->distributed == 0) {
        for (int r = 0; r < n; r++)
            k->state[r] = g->b->state[first_row + r] + g->state_at[i];
        c.state = k->state;
    }
    *to = (ky_input){ .x = k->act[m->n_inputs + i], .T = g->steps[m->n_inputs + i] };
    if (l->masked)
        to->mask = k->mask[i] != NULL ? k->mask[i] : k->in[0].mask;
    l->ops->window(l, m->kernels, ky_model_packed(m, i), m->weights + l->weights_at, &c, k->in[0].x,
                   k->act[m->n_inputs + i]);
    if (is_penalized(l))
        k->penalty += penalty_of(l, values(g, i, n), k->act[m->n_inputs + i]);
}

static void forward(const ky_gradient *g, desk *k, int first_row, int n, ky_rng *rng)
{
    for (int t = 0; t < g->m->n_inputs; t++)
        k->tensor[t] = (ky_input){ .x = k->act[t], .T = g->steps[t] };
    k->penalty = 0;
    for (int i = 0; i <= g->head; i++)
        if (g->used[g->m->n_inputs + i])
            forward_call(g, k, i, first_row, n, rng);
}

/* Where the gradient of input j of a call goes: into its tensor's, or where that has one from
 * another reader already, aside. */
static ky_real *gradient_of(const ky_gradient *g, desk *k, const ky_layer *l, int j)
{
    int at = g->m->n_inputs + l->from[j];

    if (!g->wanted[at])
        return NULL;
    if (k->reached[at])
        return k->spare[j];
    k->reached[at] = true;
    return k->d[at];
}

static void backward_call(const ky_gradient *g, desk *k, int i, int n, ky_real *dw, ky_rng *rng)
{
    const ky_model *m = g->m;
    const ky_layer *l = g->layers + i;
    ky_call c = call_of(g, k, i, n, rng);
    int at = m->n_inputs + i;

    if (is_penalized(l))
        penalize(l, (ky_real)1 / (ky_real)g->b->n, values(g, i, n), k->act[at], k->d[at]);
    for (int j = 0; j < l->n_in; j++)
        k->dx[j] = gradient_of(g, k, l, j);
    c.dx = k->dx;
    l->ops->backward(l, m->kernels, ky_model_packed(m, i), m->weights + l->weights_at, &c,
                     k->in[0].x, k->act[at], k->d[at], k->dx[0], dw + l->weights_at);
    for (int j = 0; j < l->n_in; j++) {
        int to = m->n_inputs + l->from[j];

        if (k->dx[j] != NULL && k->dx[j] == k->spare[j])
            for (size_t v = 0; v < values(g, l->from[j], n); v++)
                k->d[to][v] += k->dx[j][v];
    }
}

static void backward(const ky_gradient *g, desk *k, int n, ky_real *dw, ky_rng *rng)
{
    int n_inputs = g->m->n_inputs;

    memset(k->reached, 0, (size_t)(n_inputs + g->m->n_layers) * sizeof *k->reached);
    k->reached[n_inputs + g->head] = true;
    for (int i = g->head; i >= 0; i--)
        if (g->wanted[n_inputs + i] && k->reached[n_inputs + i])
            backward_call(g, k, i, n, dw, rng);
}

/* A shard's dropout: the batch's seed and the shard's number, not the thread. */
static uint64_t shard_seed(uint64_t seed, int s)
{
    return ky_hash(seed, &s, sizeof s);
}

static void run_shard(void *arg, int s, int worker)
{
    ky_gradient *g = arg;
    desk *k = g->desks + worker;
    shard *h = g->shards + s;
    const ky_batch *b = g->b;
    int first_row = s * g->rows;
    int n = b->n - first_row < g->rows ? b->n - first_row : g->rows;
    ky_real scale = (ky_real)1 / (ky_real)b->n;
    const ky_real *z = k->act[g->m->n_inputs + g->head];
    ky_real *dz = k->d[g->m->n_inputs + g->head];
    ky_wanted wanted;
    ky_rng rng;

    ky_rng_seed(&rng, shard_seed(b->seed, s));
    gather(g, k, first_row, n);
    forward(g, k, first_row, n, &rng);
    h->loss = k->penalty;
    if (!g->training)
        return;
    wanted = (ky_wanted){ .y = b->y + first_row,
                          .target = b->target != NULL
                                        ? b->target + (size_t)first_row * (size_t)g->outputs
                                        : NULL,
                          .weight = b->weight != NULL ? b->weight + first_row : NULL };
    h->loss +=
        ky_loss_rows(&g->loss, g->m->kernels, z, &wanted, scale, dz, &h->measure, n, g->outputs);
    memset(h->dw, 0, g->m->n_weights * sizeof *h->dw);
    backward(g, k, n, h->dw, &rng);
}

ky_loss ky_gradient_loss(const ky_model *m)
{
    const ky_layer *last =
        m->n_outputs == 1 && m->outputs[0] >= 0 ? m->layers + m->outputs[0] : NULL;
    bool binary = last != NULL && last->cfg.activation == KY_SIGMOID && last->tensor.rank == 1 &&
                  last->tensor.d[0] == 1 && last->form == KY_POINTWISE;

    return (ky_loss){ .kind = binary ? KY_LOSS_BINARY : KY_LOSS_CATEGORICAL };
}

int ky_gradient_shards(const ky_gradient *g)
{
    return g->n_used;
}

/* The sum of the shards' losses. */
static double run_batch(ky_gradient *g, const ky_batch *b, bool training)
{
    double loss = 0;

    g->b = b;
    g->training = training;
    g->n_used = (b->n + g->rows - 1) / g->rows;
    ky_pool_run(g->pool, g->n_used, run_shard, g);
    for (int s = 0; s < g->n_used; s++)
        loss += g->shards[s].loss;
    return loss;
}

double ky_gradient_batch(ky_gradient *g, const ky_batch *b, double *measure)
{
    double loss = run_batch(g, b, true);

    *measure = 0;
    for (int s = 0; s < g->n_used; s++)
        *measure += g->shards[s].measure;
    return loss;
}

double ky_gradient_penalty(ky_gradient *g, const ky_batch *b)
{
    return run_batch(g, b, false);
}

const ky_real *ky_gradient_sum(ky_gradient *g, size_t at, size_t n)
{
    ky_real *sum = g->shards[0].dw + at;

    for (int s = 1; s < g->n_used; s++) {
        const ky_real *dw = g->shards[s].dw + at;

        for (size_t i = 0; i < n; i++)
            sum[i] += dw[i];
    }
    return sum;
}

ky_real *ky_gradient_at(ky_gradient *g, size_t at)
{
    return g->shards[0].dw + at;
}
