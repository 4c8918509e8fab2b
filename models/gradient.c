#include "models/gradient.h"

#include <stdlib.h>
#include <string.h>

#include "models/layer_tools.h"
#include "models/loss.h"

/* Batches are cut evenly into shards of about LEAST_ROWS rows, or into MOST_SHARDS larger ones. */
enum { MOST_SHARDS = 16, LEAST_ROWS = 16 };

/* What one thread needs to take a shard forward and back. */
typedef struct desk {
    ky_real **act;  /* [n_layers+1] act[i] is the input of layer i: [rows, T, values] */
    ky_real **tape; /* [n_layers] */
    ky_real *scratch;
    ky_real *d[2]; /* gradients of activations, by turns */
    int32_t *y;    /* [rows] */
    void **state;  /* [rows] */
} desk;

typedef struct shard {
    ky_real *dw; /* [n_weights] */
    double loss;
    int hits, rows;
} shard;

struct ky_gradient {
    const ky_model *m;
    ky_pool *pool;
    ky_layer *layers;     /* the model's, without the last softmax or sigmoid */
    int *steps;           /* [n_layers+1] at the input of each layer, and of the output */
    int n_layers, first;  /* first: the lowest layer that learns */
    int T, outputs, rows; /* rows of a shard */
    bool binary;
    size_t *state_at; /* [n_layers] first real in a carried state */
    size_t state_reals;
    int n_desks, n_shards, n_used;
    desk *desks;
    shard *shards;
    const ky_batch *b;
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

/* The loss takes what stands before the last activation. */
static int take_off_head(ky_gradient *g, ky_err *err)
{
    ky_layer *last = g->layers + g->n_layers - 1;
    enum ky_activation act = last->cfg.activation;
    bool softmax = strcmp(last->ops->class_name, "Softmax") == 0;

    if (last->out.timed)
        return ky_fail(err, KY_EUNSUPPORTED,
                       "layer '%s' answers at every step: only one answer a sequence is trained",
                       last->name);
    if (softmax || act == KY_SOFTMAX) {
        g->outputs = last->out.d[0];
    } else if (act == KY_SIGMOID && last->out.d[0] == 1 && last->form == KY_POINTWISE) {
        g->outputs = 1;
        g->binary = true;
    } else {
        return ky_fail(err, KY_EUNSUPPORTED,
                       "the last layer '%s' (%s) ends in neither softmax nor one sigmoid output",
                       last->name, last->ops->class_name);
    }
    if (softmax)
        g->n_layers--;
    else
        last->cfg.activation = KY_LINEAR;
    return KY_OK;
}

static int check_activations(const ky_layer *l, ky_err *err)
{
    for (const ky_field *f = l->ops->fields; f->key != NULL; f++) {
        enum ky_activation a = f->type == KY_F_ACTIVATION
                                   ? (enum ky_activation)ky_field_get(f, &l->cfg, 0)
                                   : KY_LINEAR;

        /* The way back through a cell takes one element at a time. */
        if (!ky_activation_trains(a) || (l->ops->cell != NULL && ky_activation_by_rows(a)))
            return ky_fail(err, KY_EUNSUPPORTED, "layer '%s' (%s): %s '%s' cannot be trained",
                           l->name, l->ops->class_name, f->key, ky_activation_name(a));
    }
    return KY_OK;
}

static int check_layer(const ky_layer *l, const ky_shape *from, bool carried, ky_err *err)
{
    if (l->ops->backward == NULL || l->distributed > 0 || l->in.timed != from->timed)
        return ky_fail(err, KY_EUNSUPPORTED, "layer '%s' (%s) cannot be trained", l->name,
                       l->ops->class_name);
    if (l->no_training != NULL)
        return ky_fail(err, KY_EUNSUPPORTED, "layer '%s' (%s) cannot be trained: %s", l->name,
                       l->ops->class_name, l->no_training);
    if (carried && l->form != KY_POINTWISE && l->form != KY_RECURRENT)
        return ky_fail(err, KY_EUNSUPPORTED,
                       "layer '%s' (%s): training with carried state takes recurrent layers and "
                       "such as work step by step; train on windows instead",
                       l->name, l->ops->class_name);
    return check_activations(l, err);
}

/* Copies of the layers, and what T steps and a carried state mean to each. */
static int set_layers(ky_gradient *g, bool carried, ky_err *err)
{
    enum { ALIGNED = 64 / sizeof(ky_real) };
    int rc;

    if (!ky_model_is_chain(g->m))
        return ky_fail(err, KY_EUNSUPPORTED,
                       "model '%s' is no chain of layers: only such are trained", g->m->name);
    g->n_layers = g->m->n_layers;
    g->first = g->n_layers;
    g->steps[0] = g->T;
    for (int i = 0; i < g->n_layers; i++) {
        ky_layer *l = g->layers + i;

        *l = g->m->layers[i];
        if ((rc = check_layer(l, ky_model_tensor(g->m, l->from[0]), carried, err)) < 0)
            return rc;
        g->steps[i + 1] = ky_layer_steps(l, g->steps[i]);
        g->state_at[i] = g->state_reals;
        if (l->form == KY_RECURRENT)
            g->state_reals += (l->state_reals + ALIGNED - 1) / ALIGNED * ALIGNED;
        if (l->trainable && l->weight_reals > 0 && i < g->first)
            g->first = i;
    }
    if (g->first == g->n_layers)
        return ky_fail(err, KY_EUNSUPPORTED, "model '%s' has no weights that learn", g->m->name);
    return take_off_head(g, err);
}

/* ---- memory ---- */

static int set_desk(const ky_gradient *g, desk *k)
{
    size_t R = (size_t)g->rows, widest = 0, scratch = 0;
    bool whole = true;

    k->act = calloc((size_t)g->n_layers + 1, sizeof *k->act);
    k->tape = calloc((size_t)g->n_layers, sizeof *k->tape);
    k->y = calloc(R, sizeof *k->y);
    k->state = calloc(R, sizeof *k->state);
    if (k->act == NULL || k->tape == NULL || k->y == NULL || k->state == NULL)
        return KY_ENOMEM;
    for (int i = 0; i < g->n_layers; i++) {
        const ky_layer *l = g->layers + i;
        const ky_packed *p = g->m->packed + i;
        size_t n = R * (size_t)g->steps[i] * ky_shape_step(&l->in);

        widest = size_max(widest, n);
        scratch = size_max(scratch, ky_layer_scratch(l, p, g->rows, g->steps[i], false));
        scratch = size_max(scratch, ky_layer_scratch(l, p, g->rows, g->steps[i], true));
        k->act[i] = reals(n);
        k->tape[i] = reals(ky_layer_tape(l, g->rows, g->steps[i]));
        whole = whole && k->act[i] != NULL && k->tape[i] != NULL;
    }
    k->act[g->n_layers] = reals(R * (size_t)g->outputs);
    widest = size_max(widest, R * (size_t)g->outputs);
    whole = whole && k->act[g->n_layers] != NULL;
    k->scratch = reals(scratch);
    k->d[0] = reals(widest);
    k->d[1] = reals(widest);
    return whole && k->scratch != NULL && k->d[0] != NULL && k->d[1] != NULL ? KY_OK : KY_ENOMEM;
}

static void clear_desk(const ky_gradient *g, desk *k)
{
    for (int i = 0; k->act != NULL && i <= g->n_layers; i++)
        free(k->act[i]);
    for (int i = 0; k->tape != NULL && i < g->n_layers; i++)
        free(k->tape[i]);
    free(k->act);
    free(k->tape);
    free(k->scratch);
    free(k->d[0]);
    free(k->d[1]);
    free(k->y);
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

int ky_gradient_new(const ky_model *m, int T, int batch, bool carried, ky_pool *pool,
                    ky_gradient **ret, ky_err *err)
{
    ky_gradient *g = calloc(1, sizeof *g);
    int rc;

    if (g == NULL || m->n_layers < 1) {
        free(g);
        return ky_fail(err, g == NULL ? KY_ENOMEM : KY_EUNSUPPORTED, "model '%s' has no layers",
                       m->name);
    }
    *g = (ky_gradient){ .m = m, .pool = pool, .T = T };
    g->layers = calloc((size_t)m->n_layers, sizeof *g->layers);
    g->state_at = calloc((size_t)m->n_layers, sizeof *g->state_at);
    g->steps = calloc((size_t)m->n_layers + 1, sizeof *g->steps);
    if (g->layers == NULL || g->state_at == NULL || g->steps == NULL)
        rc = ky_fail(err, KY_ENOMEM, "no memory to train model '%s'", m->name);
    else if (!ky_model_fits(m, T))
        rc = ky_fail(err, KY_ESHAPE, "model '%s' takes %d steps a sequence, the data have %d",
                     m->name, m->info.window, T);
    else if ((rc = set_layers(g, carried, err)) == KY_OK)
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
    free(g->layers);
    free(g);
}

size_t ky_gradient_state_reals(const ky_gradient *g)
{
    return g->state_reals;
}

/* ---- forward and back ---- */

static void gather(const ky_gradient *g, desk *k, const uint32_t *row, int n)
{
    const ky_dataset *d = g->b->d;
    size_t len = (size_t)d->T * (size_t)d->F;

    for (int r = 0; r < n; r++) {
        const float *from = d->x + row[r] * len;
        ky_real *to = k->act[0] + (size_t)r * len;

        for (size_t i = 0; i < len; i++)
            to[i] = from[i];
        k->y[r] = d->y[row[r]];
    }
}

static ky_call call_of(const ky_gradient *g, const desk *k, int i, int n, ky_rng *rng)
{
    return (ky_call){
        .B = n,
        .T = g->steps[i],
        .T_out = g->steps[i + 1],
        .training = true,
        .rng = rng,
        .scratch = k->scratch,
        .tape = k->tape[i],
    };
}

static void forward(const ky_gradient *g, desk *k, int first_row, int n, ky_rng *rng)
{
    const ky_model *m = g->m;

    for (int i = 0; i < g->n_layers; i++) {
        const ky_layer *l = g->layers + i;
        ky_call c = call_of(g, k, i, n, rng);

        if (g->b->state != NULL && l->form == KY_RECURRENT) {
            for (int r = 0; r < n; r++)
                k->state[r] = g->b->state[first_row + r] + g->state_at[i];
            c.state = k->state;
        }
        l->ops->window(l, m->kernels, m->packed + i, m->weights + l->weights_at, &c, k->act[i],
                       k->act[i + 1]);
    }
}

static void backward(const ky_gradient *g, desk *k, int n, ky_real *dw, ky_rng *rng)
{
    const ky_model *m = g->m;
    int turn = 0;

    for (int i = g->n_layers - 1; i >= g->first; i--) {
        const ky_layer *l = g->layers + i;
        ky_call c = call_of(g, k, i, n, rng);

        l->ops->backward(l, m->kernels, m->packed + i, m->weights + l->weights_at, &c, k->act[i],
                         k->act[i + 1], k->d[turn], i > g->first ? k->d[!turn] : NULL,
                         dw + l->weights_at);
        turn = !turn;
    }
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
    int first_row = s * g->rows;
    int n = g->b->n - first_row < g->rows ? g->b->n - first_row : g->rows;
    ky_real scale = (ky_real)1 / (ky_real)g->b->n;
    const ky_real *z = k->act[g->n_layers];
    ky_rng rng;

    ky_rng_seed(&rng, shard_seed(g->b->seed, s));
    memset(h->dw, 0, g->m->n_weights * sizeof *h->dw);
    gather(g, k, g->b->row + first_row, n);
    forward(g, k, first_row, n, &rng);
    if (g->binary)
        h->loss = ky_loss_sigmoid(g->m->kernels, z, k->y, scale, k->d[0], &h->hits, n);
    else
        h->loss = ky_loss_softmax(g->m->kernels, z, k->y, scale, k->d[0], &h->hits, n, g->outputs);
    backward(g, k, n, h->dw, &rng);
}

int ky_gradient_shards(const ky_gradient *g)
{
    return g->n_used;
}

double ky_gradient_batch(ky_gradient *g, const ky_batch *b, int *hits)
{
    double loss = 0;

    g->b = b;
    g->n_used = (b->n + g->rows - 1) / g->rows;
    ky_pool_run(g->pool, g->n_used, run_shard, g);
    *hits = 0;
    for (int s = 0; s < g->n_used; s++) {
        loss += g->shards[s].loss;
        *hits += g->shards[s].hits;
    }
    return loss;
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
