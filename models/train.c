#include "models/train.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/checkpoint.h"
#include "models/clock.h"
#include "models/loader.h"
#include "models/moments.h"
#include "models/optim.h"
#include "models/pool.h"
#include "models/split.h"

/* Weights a thread steps at once. */
enum { CHUNK = 16384 };

/* Streams of random numbers drawn from the one seed. */
enum { DRAW_SPLIT = 1, DRAW_ORDER, DRAW_DROPOUT, DRAW_AUGMENT, DRAW_HELD };

typedef struct range {
    size_t at, n;
    float momentum;  /* of moving statistics; < 0: the optimizer's */
    int calls;       /* of the layer, each of which has statistics */
    bool kernel;     /* l1 and l2 are for it */
    ky_real shorten; /* as the trainer's, where arrays are clipped by themselves */
} range;

typedef struct trainer {
    ky_model *m;
    ky_dataset d; /* as given, and the weights of its rows */
    const ky_train_opts *o;
    ky_loss loss;
    ky_pool *pool;
    ky_gradient *g;
    ky_moments moments; /* of the rows learned from; C 0: nobody asks */
    ky_augmenter augment;
    ky_loader *loader;
    ky_loader *held; /* of the rows held out, where their activities are penalized; else NULL */
    ky_optim optim;
    ky_rate rate;
    double rate_used; /* of the last step */
    range *ranges;    /* what learns, ascending */
    int n_ranges, n_chunks;
    double *squares;   /* [n_chunks] of the gradient */
    double *penalties; /* [n_chunks] */
    ky_real shorten;   /* what the gradient is multiplied by, 1 or less */
    uint32_t *rows;    /* [n_train], ascending */
    int n_train;
    float *weight;            /* [N] of the rows, where classes have weights */
    float *answers;           /* [val.N, outputs] */
    ky_subset val;            /* the rows held out */
    ky_real **state, *states; /* [batch], [batch, state_reals] */
    ky_rng rng;
    ky_real *best; /* [n_weights] */
    int since_best;
    uint64_t made_of;
    int64_t begun_ns;
    bool interrupted;
    ky_train_progress now;
    ky_train_result out;
} trainer;

void ky_train_defaults(ky_train_opts *o)
{
    *o = (ky_train_opts){
        .epochs = 40,
        .batch = 64,
        .patience = 8,
        .fit_input = true,
        .learning_rate = 1e-3,
        .validation = 0.15,
        .clip_norm = 1,
        .rate = { .factor = 1, .patience = 1 },
        .seed = 1,
    };
    ky_optim_defaults(KY_ADAM, &o->optim);
}

/* ---- before the first epoch ---- */

static int check_options(const ky_train_opts *o, ky_err *err)
{
    if (o->epochs < 1 || o->batch < 1 || o->patience < 1)
        return ky_fail(err, KY_EINVAL, "epochs %d, batch %d, patience %d: each must be at least 1",
                       o->epochs, o->batch, o->patience);
    if (!(o->validation > 0 && o->validation < 1))
        return ky_fail(err, KY_EINVAL, "validation share %g: must be between 0 and 1",
                       o->validation);
    if (!(o->clip_norm >= 0 && o->clip_array >= 0 && o->clip_value >= 0))
        return ky_fail(err, KY_EINVAL, "gradient %g, %g, %g to clip at: must not be negative",
                       o->clip_norm, o->clip_array, o->clip_value);
    if ((o->clip_norm > 0) + (o->clip_array > 0) + (o->clip_value > 0) > 1)
        return ky_fail(err, KY_EINVAL,
                       "the gradient can be clipped by its norm, that of each array, or by value: "
                       "only one of them");
    if (!(o->l1 >= 0 && o->l2 >= 0) || !isfinite(o->l1) || !isfinite(o->l2))
        return ky_fail(err, KY_EINVAL, "l1 %g, l2 %g: must not be negative", o->l1, o->l2);
    return KY_OK;
}

/* The loss of these data, and whether its options go with it. */
static int set_loss(trainer *t, ky_err *err)
{
    bool targets = t->d.target != NULL;

    t->loss = targets ? t->o->loss : ky_gradient_loss(t->m);
    t->loss.smoothing = t->o->loss.smoothing;
    if (targets && t->loss.kind == KY_LOSS_CATEGORICAL)
        return ky_fail(err, KY_EINVAL, "categorical cross-entropy wants classes, not targets");
    if (!(t->loss.smoothing >= 0 && t->loss.smoothing < 1))
        return ky_fail(err, KY_EINVAL, "label smoothing %g: must be at least 0 and below 1",
                       t->loss.smoothing);
    if (t->loss.smoothing > 0 && !ky_loss_takes_logits(&t->loss))
        return ky_fail(err, KY_EINVAL, "only labels can be smoothed, not the targets of %s",
                       ky_loss_name(t->loss.kind));
    if (targets && (t->o->balanced || t->o->class_weight != NULL))
        return ky_fail(err, KY_EINVAL, "only classes have weights, targets have not");
    t->now.measure = t->out.measure = ky_loss_takes_logits(&t->loss) ? "accuracy" : "mae";
    return KY_OK;
}

/* Targets fit the outputs, and the loss. */
static int check_targets(const ky_model *m, const ky_dataset *d, const ky_loss *loss, ky_err *err)
{
    if (d->C != m->info.outputs)
        return ky_fail(err, KY_ESHAPE, "the data have %d targets a row, model '%s' has %d outputs",
                       d->C, m->name, m->info.outputs);
    for (size_t i = 0; i < (size_t)d->N * (size_t)d->C; i++) {
        size_t row = i / (size_t)d->C, at = i % (size_t)d->C;

        if (!isfinite(d->target[i]))
            return ky_fail(err, KY_EINVAL, "row %zu, target %zu is not a finite number", row, at);
        if (loss->kind == KY_LOSS_BINARY && !(d->target[i] >= 0 && d->target[i] <= 1))
            return ky_fail(err, KY_EINVAL, "row %zu, label %zu is %g, not within 0..1", row, at,
                           (double)d->target[i]);
    }
    return KY_OK;
}

static int check_classes(const ky_model *m, const ky_dataset *d, ky_err *err)
{
    int classes = m->info.outputs == 1 ? 2 : m->info.outputs;

    if (d->C > classes)
        return ky_fail(err, KY_ESHAPE, "the data have %d classes, model '%s' tells %d apart", d->C,
                       m->name, classes);
    for (int i = 0; i < d->N; i++)
        if (d->y[i] < 0 || d->y[i] >= d->C)
            return ky_fail(err, KY_EINVAL, "row %d: class %d is not within 0..%d", i, d->y[i],
                           d->C - 1);
    return KY_OK;
}

static int check_data(const ky_model *m, const ky_dataset *d, const ky_loss *loss, ky_err *err)
{
    if (d->F != m->info.features)
        return ky_fail(err, KY_ESHAPE, "the data have %d values a step, model '%s' takes %d", d->F,
                       m->name, m->info.features);
    return d->target != NULL ? check_targets(m, d, loss, err) : check_classes(m, d, err);
}

static int check_row(const ky_dataset *d, int row, const float *x, ky_err *err)
{
    size_t F = (size_t)d->F;

    for (size_t i = 0; i < ky_dataset_len(d); i++)
        if (!isfinite(x[i]))
            return ky_fail(err, KY_EINVAL, "row %d, step %zu, value %zu is not a finite number",
                           row, i / F, i % F);
    return KY_OK;
}

/* Rows of the one side become a list, those of the other a dataset of their own. */
static int set_sides(trainer *t, const uint8_t *side, int n_held, ky_err *err)
{
    uint32_t *rows = malloc((size_t)t->d.N * sizeof *rows + 1);
    int n = 0;

    if (rows == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory to hold out %d of %d rows", n_held, t->d.N);
    t->rows = rows;
    for (int i = 0; i < t->d.N; i++)
        if (side[i] == KY_LEARNED)
            rows[t->n_train++] = (uint32_t)i;
    for (int i = 0; i < t->d.N; i++)
        if (side[i] == KY_HELD)
            rows[t->n_train + n++] = (uint32_t)i;
    return ky_subset_new(&t->d, rows + t->n_train, n_held, &t->val, err);
}

static uint64_t draw_seed(const trainer *t, int what)
{
    return ky_hash(t->o->seed, &what, sizeof what);
}

static int split(trainer *t, ky_err *err)
{
    uint8_t *held = malloc((size_t)(t->d.N > 0 ? t->d.N : 1));
    int rc;

    if (held == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory to split %d rows", t->d.N);
    rc = ky_split(&t->d, t->o->validation, draw_seed(t, DRAW_SPLIT), held, err);
    if (rc > 0)
        rc = set_sides(t, held, rc, err);
    free(held);
    return rc;
}

/* One walk over all rows: each is checked, those learned from count in the moments. */
static int look_at_rows(trainer *t, ky_err *err)
{
    ky_walk w;
    int at = 0, n, rc = n = ky_walk_begin(&w, &t->d, err);

    while (rc >= 0 && (rc = n = ky_walk_next(&w, err)) > 0)
        for (int i = 0; i < n && rc >= 0; i++) {
            bool ours = at < t->n_train && t->rows[at] == (uint32_t)(w.first + i);

            rc = check_row(&t->d, w.first + i, w.x[i], err);
            if (rc >= 0 && ours && t->moments.C > 0)
                ky_moments_add(&t->moments, t->m, w.x[i], (size_t)t->d.T, (size_t)t->d.F);
            at += ours;
        }
    ky_walk_done(&w);
    return rc;
}

/* The rows are checked; a new model's input is normalised by the moments of the data, and the rows
 * are changed by them. */
static int fit_input(trainer *t, ky_err *err)
{
    const ky_shape *in = ky_model_tensor(t->m, KY_INPUT(0));
    const ky_layer *scaler = t->o->fit_input ? ky_model_scaler(t->m) : NULL;
    bool scaled = scaler != NULL && scaler->weights[0].len == (size_t)in->d[in->rank - 1];
    bool changed = ky_augment_any(&t->o->augment);
    int rc = KY_OK;

    if (changed &&
        (rc = ky_augmenter_init(&t->augment, &t->o->augment, t->m, t->d.T, &t->moments, err)) < 0)
        return rc;
    if (scaled || changed)
        rc = ky_moments_init(&t->moments, (size_t)in->d[in->rank - 1], err);
    if (rc >= 0)
        rc = look_at_rows(t, err);
    if (rc >= 0 && scaled)
        ky_model_set_scaler(t->m, &t->moments);
    return rc;
}

/* What a row of class c counts in the loss: as given, or so that every class of the rows that are
 * learned from counts the same. */
static void weigh_classes(const trainer *t, double *weight)
{
    int C = t->d.C, seen = 0;

    for (int c = 0; c < C; c++)
        weight[c] = t->o->class_weight != NULL ? t->o->class_weight[c] : 0;
    if (t->o->class_weight != NULL)
        return;
    for (int i = 0; i < t->n_train; i++)
        weight[t->d.y[t->rows[i]]]++;
    for (int c = 0; c < C; c++)
        seen += weight[c] > 0;
    for (int c = 0; c < C; c++)
        weight[c] = weight[c] > 0 ? t->n_train / (seen * weight[c]) : 0;
}

static int set_weights(trainer *t, ky_err *err)
{
    double *weight;

    if (!t->o->balanced && t->o->class_weight == NULL)
        return KY_OK;
    for (int c = 0; t->o->class_weight != NULL && c < t->d.C; c++)
        if (!(t->o->class_weight[c] >= 0) || !isfinite(t->o->class_weight[c]))
            return ky_fail(err, KY_EINVAL, "class %d has weight %g: must not be negative", c,
                           t->o->class_weight[c]);
    weight = calloc((size_t)t->d.C + 1, sizeof *weight);
    t->weight = calloc((size_t)t->d.N, sizeof *t->weight);
    if (weight == NULL || t->weight == NULL) {
        free(weight);
        return ky_fail(err, KY_ENOMEM, "no memory for the weights of %d rows", t->d.N);
    }
    weigh_classes(t, weight);
    for (int i = 0; i < t->d.N; i++)
        t->weight[i] = (float)weight[t->d.y[i]];
    t->d.weight = t->weight;
    free(weight);
    return KY_OK;
}

/* What Keras's kernel_regularizer is for; of separable and depthwise ones, their own. */
static bool is_kernel(const char *name)
{
    static const char *const names[] = { "kernel", "forward_kernel", "backward_kernel",
                                         "depthwise_kernel", "pointwise_kernel" };

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

/* Which weights learn: the optimizer's, and moving statistics. */
static int count_calls(const ky_model *m, int first)
{
    int n = 0;

    for (int i = first; i < m->n_layers; i++)
        n += m->layers[i].shares == first;
    return n;
}

static int set_ranges(trainer *t, ky_err *err)
{
    t->n_chunks = (int)((t->m->n_weights + CHUNK - 1) / CHUNK);
    t->squares = calloc((size_t)t->n_chunks + 1, sizeof *t->squares);
    t->penalties = calloc((size_t)t->n_chunks + 1, sizeof *t->penalties);
    t->ranges = calloc((size_t)t->m->n_layers * KY_MAX_WEIGHTS + 1, sizeof *t->ranges);
    if (t->ranges == NULL || t->squares == NULL || t->penalties == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory to train model '%s'", t->m->name);
    for (int i = 0; i < t->m->n_layers; i++) {
        const ky_layer *l = t->m->layers + i;

        /* Calls of one layer learn its weights once. */
        for (int j = 0; l->trainable && l->shares == i && j < l->n_weights; j++) {
            const ky_weight *w = l->weights + j;

            if (!w->trainable && strncmp(w->name, "moving_", 7) != 0)
                continue; /* statistics that do not move */
            t->ranges[t->n_ranges++] = (range){ .at = l->weights_at + w->at,
                                                .n = w->len,
                                                .momentum = w->trainable ? -1 : l->cfg.momentum,
                                                .calls = count_calls(t->m, i),
                                                .kernel = w->trainable && is_kernel(w->name),
                                                .shorten = 1 };
        }
    }
    return KY_OK;
}

static int set_batches(trainer *t, ky_err *err)
{
    size_t batch = (size_t)t->o->batch, reals = ky_gradient_state_reals(t->g);
    int rc = ky_loader_new(&t->d, t->rows, t->n_train, t->o->batch,
                           ky_augment_any(&t->o->augment) ? &t->augment : NULL, t->pool, &t->loader,
                           err);

    if (rc >= 0 && ky_gradient_penalizes(t->g))
        rc = ky_loader_new(&t->d, t->rows + t->n_train, t->val.d.N, t->o->batch, NULL, t->pool,
                           &t->held, err);
    if (rc < 0)
        return rc;
    t->state = calloc(batch, sizeof *t->state);
    t->best = calloc(t->m->n_weights + 1, sizeof *t->best);
    t->answers = calloc((size_t)t->val.d.N * (size_t)t->m->info.outputs + 1, sizeof *t->answers);
    t->states = aligned_alloc(64, batch * (reals * sizeof *t->states + 64));
    if (t->state == NULL || t->states == NULL || t->best == NULL || t->answers == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory for batches of %d rows", t->o->batch);
    return KY_OK;
}

static uint64_t hash_reals(uint64_t h, const double *v, size_t n)
{
    return ky_hash(h, v, n * sizeof *v);
}

/* What a training is made of: data, options, and the model's layers. Numbers one by one, as structs
 * have gaps. */
static uint64_t made_of(const trainer *t)
{
    const ky_train_opts *o = t->o;
    const ky_dataset *d = &t->d;
    size_t N = (size_t)d->N;
    bool spread = t->rate.kind == KY_DECAY_COSINE; /* over the epochs there are */
    const double numbers[] = { d->N,
                               d->T,
                               d->F,
                               d->C,
                               d->carried,
                               o->batch,
                               spread ? o->epochs : 0,
                               o->learning_rate,
                               o->validation,
                               o->clip_norm,
                               o->clip_array,
                               o->clip_value,
                               o->l1,
                               o->l2,
                               o->optim.kind,
                               o->optim.momentum,
                               o->optim.rho,
                               o->optim.weight_decay,
                               o->optim.nesterov,
                               o->optim.centered,
                               t->rate.kind,
                               t->rate.patience,
                               t->rate.factor,
                               t->loss.kind,
                               t->loss.smoothing,
                               o->balanced,
                               o->augment.jitter,
                               o->augment.scale,
                               o->augment.shift };
    uint64_t h = hash_reals(KY_HASH0, numbers, sizeof numbers / sizeof *numbers);

    h = ky_hash(h, &o->seed, sizeof o->seed);
    if (d->source != NULL) {
        h = ky_hash(h, &d->source->hash, sizeof d->source->hash);
        h = ky_hash(h, &d->source->memory, sizeof d->source->memory); /* batches depend on it */
    }
    for (int i = 0; i < d->N; i++)
        h = d->source == NULL ? ky_hash(h, ky_dataset_row(d, i), ky_dataset_len(d) * sizeof *d->x)
            : d->pick != NULL ? ky_hash(h, d->pick + i, sizeof *d->pick)
                              : h;
    if (d->target != NULL)
        h = ky_hash(h, d->target, N * (size_t)d->C * sizeof *d->target);
    else
        h = ky_hash(h, d->y, N * sizeof *d->y);
    if (d->group != NULL)
        h = ky_hash(h, d->group, N * sizeof *d->group);
    if (d->ts != NULL)
        h = ky_hash(h, d->ts, N * sizeof *d->ts);
    if (o->class_weight != NULL)
        h = hash_reals(h, o->class_weight, (size_t)d->C);
    for (int i = 0; i < t->m->n_layers; i++) {
        const ky_layer *l = t->m->layers + i;

        h = ky_hash(h, l->ops->class_name, strlen(l->ops->class_name));
        h = ky_hash(h, &l->weight_reals, sizeof l->weight_reals);
        h = ky_hash(h, &l->trainable, sizeof l->trainable);
    }
    return h;
}

static int prepare(trainer *t, ky_err *err)
{
    int rc;

    t->rate = t->o->rate;
    t->rate.first = t->o->learning_rate;
    if ((rc = check_options(t->o, err)) < 0 || (rc = ky_rate_init(&t->rate, err)) < 0 ||
        (rc = set_loss(t, err)) < 0 || (rc = check_data(t->m, &t->d, &t->loss, err)) < 0 ||
        (rc = split(t, err)) < 0 || (rc = set_weights(t, err)) < 0 || (rc = fit_input(t, err)) < 0)
        return rc;
    t->m->training = true;
    if ((rc = ky_model_pack(t->m, err)) < 0)
        return rc;
    t->pool = ky_pool_new(t->o->threads);
    if (t->pool == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory for threads");
    rc = ky_gradient_new(t->m, &t->loss, t->d.T, t->o->batch, t->d.carried, t->pool, &t->g, err);
    if (rc < 0 || (rc = set_ranges(t, err)) < 0 || (rc = set_batches(t, err)) < 0 ||
        (rc = ky_optim_init(&t->optim, &t->o->optim, t->m->n_weights, err)) < 0)
        return rc;
    ky_rng_seed(&t->rng, draw_seed(t, DRAW_ORDER));
    t->made_of = t->o->checkpoint != NULL || t->o->resume != NULL ? made_of(t) : 0;
    t->out.history = ky_json_array();
    return t->out.history != NULL ? KY_OK : ky_fail(err, KY_ENOMEM, "no memory for the history");
}

/* ---- one batch ---- */

/* Moving statistics follow those of the batch, the mean over its shards and the layer's calls. */
static void follow(ky_real *w, const ky_real *sum, size_t n, float momentum, int parts)
{
    for (size_t i = 0; i < n; i++)
        w[i] = w[i] * momentum + sum[i] / (ky_real)parts * (1 - momentum);
}

/* The part of a range that lies in a chunk; how long it is. */
static size_t overlap(const range *a, int chunk, size_t *from)
{
    size_t begin = (size_t)chunk * CHUNK, end = begin + CHUNK;
    size_t to = a->at + a->n < end ? a->at + a->n : end;

    *from = a->at > begin ? a->at : begin;
    return *from < to ? to - *from : 0;
}

static int sign(ky_real w)
{
    return (w > 0) - (w < 0);
}

/* What kernels cost by their size, and where dw is not NULL its gradient. */
static double penalize(const trainer *t, const ky_real *w, ky_real *dw, size_t n)
{
    ky_real l1 = (ky_real)t->o->l1, l2 = (ky_real)(2 * t->o->l2);
    double sum = 0, squares = 0;

    for (size_t i = 0; i < n; i++) {
        sum += fabs((double)w[i]);
        squares += (double)w[i] * (double)w[i];
        if (dw != NULL)
            dw[i] += l1 * (ky_real)sign(w[i]) + l2 * w[i];
    }
    return t->o->l1 * sum + t->o->l2 * squares;
}

static void cut_off(ky_real *dw, size_t n, ky_real most)
{
    for (size_t i = 0; i < n; i++)
        dw[i] = dw[i] > most ? most : dw[i] < -most ? -most : dw[i];
}

/* Adds up the shards' gradients of a chunk with that of the penalty, and the squares of the
 * sums. */
static void sum_chunk(void *arg, int i, int worker)
{
    trainer *t = arg;
    bool penalized = t->o->l1 > 0 || t->o->l2 > 0;
    double squares = 0, penalty = 0;

    (void)worker;
    for (int r = 0; r < t->n_ranges; r++) {
        const range *a = t->ranges + r;
        size_t from, n = overlap(a, i, &from);
        ky_real *dw;

        if (n == 0)
            continue;
        ky_gradient_sum(t->g, from, n);
        dw = ky_gradient_at(t->g, from);
        if (a->kernel && penalized)
            penalty += penalize(t, t->m->weights + from, dw, n);
        if (a->momentum < 0 && t->o->clip_value > 0)
            cut_off(dw, n, (ky_real)t->o->clip_value);
        for (size_t j = 0; j < n && a->momentum < 0; j++)
            squares += (double)dw[j] * (double)dw[j];
    }
    t->squares[i] = squares;
    t->penalties[i] = penalty;
}

/* What a gradient is multiplied by so that its norm is at most this. */
static ky_real shorten_to(double norm, double squares)
{
    return norm > 0 && squares > norm * norm ? (ky_real)(norm / sqrt(squares)) : 1;
}

/* The norm of one array's gradient. */
static void clip_range(void *arg, int i, int worker)
{
    trainer *t = arg;
    range *a = t->ranges + i;
    const ky_real *dw = ky_gradient_at(t->g, a->at);
    double squares = 0;

    (void)worker;
    for (size_t j = 0; j < a->n && a->momentum < 0; j++)
        squares += (double)dw[j] * (double)dw[j];
    a->shorten = shorten_to(t->o->clip_array, squares);
}

static void step_chunk(void *arg, int i, int worker)
{
    trainer *t = arg;

    (void)worker;
    for (int r = 0; r < t->n_ranges; r++) {
        const range *a = t->ranges + r;
        size_t from, n = overlap(a, i, &from);
        ky_real *w = t->m->weights + from, *dw;
        ky_real shorten = t->shorten < 1 ? t->shorten : a->shorten;

        if (n == 0)
            continue;
        dw = ky_gradient_at(t->g, from);
        if (a->momentum >= 0) {
            follow(w, dw, n, a->momentum, ky_gradient_shards(t->g) * a->calls);
            continue;
        }
        for (size_t j = 0; j < n && shorten < 1; j++)
            dw[j] *= shorten;
        ky_optim_apply(&t->optim, t->m->kernels, from, n, w, dw);
    }
}

/* One step of all weights along the gradient of the last batch; returns the penalty that was part
 * of the loss. */
static double step(trainer *t, double rate)
{
    double squares = 0, penalty = 0;

    ky_pool_run(t->pool, t->n_chunks, sum_chunk, t);
    for (int i = 0; i < t->n_chunks; i++) {
        squares += t->squares[i];
        penalty += t->penalties[i];
    }
    t->shorten = shorten_to(t->o->clip_norm, squares);
    if (t->o->clip_array > 0)
        ky_pool_run(t->pool, t->n_ranges, clip_range, t);
    ky_optim_begin(&t->optim, rate);
    ky_pool_run(t->pool, t->n_chunks, step_chunk, t);
    return penalty;
}

/* Batch i of a loader, with the states that its rows go on from. */
static int take_batch(trainer *t, ky_loader *from, int i, ky_batch *ret, ky_err *err)
{
    size_t reals = ky_gradient_state_reals(t->g);
    const ky_turn *turns;
    int rc = ky_loader_batch(from, i, ret, &turns, err);

    for (int r = 0; r < rc; r++) {
        t->state[r] = t->states + (size_t)turns[r].lane * reals;
        if (turns[r].fresh)
            memset(t->state[r], 0, reals * sizeof *t->states);
    }
    ret->state = t->d.carried ? t->state : NULL;
    return rc;
}

static int learn(trainer *t, int batch, double *loss, double *measure, ky_err *err)
{
    ky_batch b = { 0 };
    int place[3] = { DRAW_DROPOUT, t->now.epoch, batch };
    int rc = take_batch(t, t->loader, batch, &b, err);
    double done;

    if (rc < 0)
        return rc;
    b.seed = ky_hash(t->o->seed, place, sizeof place);
    *loss = ky_gradient_batch(t->g, &b, measure);
    done = (t->now.epoch - 1 + (double)batch / t->now.batches) / t->o->epochs;
    t->rate_used = ky_rate_at(&t->rate, done);
    *loss += b.n * step(t, t->rate_used);
    return ky_model_pack(t->m, err) < 0 ? KY_ENOMEM : b.n;
}

/* ---- epochs ---- */

/* Whether it should end. */
static bool tell(trainer *t)
{
    t->now.seconds = (double)(ky_clock_mono_ns() - t->begun_ns) * 1e-9;
    t->now.rows_all = t->n_train;
    t->now.held_all = t->val.d.N;
    t->now.best_epoch = t->out.best_epoch;
    t->now.learning_rate = t->rate_used;
    t->now.history = t->out.history;
    return t->o->progress != NULL && t->o->progress(&t->now, t->o->arg) != 0;
}

static void report(trainer *t)
{
    t->interrupted |= tell(t);
}

/* All batches once, or as many as until the interruption. */
static int run_batches(trainer *t, ky_err *err)
{
    const int place[2] = { DRAW_AUGMENT, t->now.epoch };
    double loss = 0, rows = 0, right = 0;

    t->now.batches = ky_loader_begin(t->loader, &t->rng, ky_hash(t->o->seed, place, sizeof place));
    for (int i = 0; i < t->now.batches && !t->interrupted; i++) {
        double batch_loss, measure;
        int n = learn(t, i, &batch_loss, &measure, err);

        if (n < 0)
            return n;
        loss += batch_loss;
        right += measure;
        rows += n;
        t->now.batch = i + 1;
        t->now.rows = (int)rows;
        t->now.loss = loss / rows;
        t->now.accuracy = right / rows;
        if (i + 1 < t->now.batches)
            report(t);
    }
    return KY_OK;
}

/* What the kernels cost, chunk by chunk as in a step. */
static double penalty_now(const trainer *t)
{
    double sum = 0;

    for (int i = 0; i < t->n_chunks && (t->o->l1 > 0 || t->o->l2 > 0); i++) {
        double penalty = 0;

        for (int r = 0; r < t->n_ranges; r++) {
            size_t from, n = overlap(t->ranges + r, i, &from);

            if (n > 0 && t->ranges[r].kernel)
                penalty += penalize(t, t->m->weights + from, NULL, n);
        }
        sum += penalty;
    }
    return sum;
}

static void tell_held(int rows, void *arg)
{
    trainer *t = arg;

    t->now.held = rows;
    if (!t->interrupted)
        tell(t); /* this epoch is learned: what it is worth is found out in any case */
}

/* What the activities of the rows held out cost, a row. */
static int penalty_held(trainer *t, double *ret, ky_err *err)
{
    double sum = 0;
    ky_rng rng;
    int n;

    *ret = 0;
    if (t->held == NULL)
        return KY_OK;
    ky_rng_seed(&rng, draw_seed(t, DRAW_HELD));
    n = ky_loader_begin(t->held, &rng, 0);
    for (int i = 0; i < n; i++) {
        ky_batch b = { 0 };
        int rc = take_batch(t, t->held, i, &b, err);

        if (rc < 0)
            return rc;
        sum += ky_gradient_penalty(t->g, &b);
    }
    *ret = sum / t->val.d.N;
    return KY_OK;
}

static int validate(trainer *t, ky_err *err)
{
    const ky_wanted wanted = { .y = t->val.y, .target = t->val.target };
    double penalty;
    int rc = ky_answer_telling(t->m, &t->val.d, KY_PATH_SERVED, t->o->threads, t->answers,
                               tell_held, t, err);

    t->now.held = 0;
    if (rc < 0 || (rc = penalty_held(t, &penalty, err)) < 0)
        return rc;
    t->now.val_loss = ky_loss_answers(&t->loss, t->answers, &wanted, &t->now.val_accuracy,
                                      t->val.d.N, t->m->info.outputs);
    t->now.val_loss += penalty_now(t) + penalty;
    ky_rate_next(&t->rate, t->now.val_loss);
    return KY_OK;
}

static void write_history(trainer *t)
{
    ky_json *e = ky_json_object();
    char name[32];

    snprintf(name, sizeof name, "val_%s", t->now.measure);
    ky_json_set(e, "epoch", ky_json_of_int(t->now.epoch));
    ky_json_set(e, "loss", ky_json_of_num(t->now.loss));
    ky_json_set(e, t->now.measure, ky_json_of_num(t->now.accuracy));
    ky_json_set(e, "val_loss", ky_json_of_num(t->now.val_loss));
    ky_json_set(e, name, ky_json_of_num(t->now.val_accuracy));
    if (t->rate.kind != KY_DECAY_NONE)
        ky_json_set(e, "learning_rate", ky_json_of_num(t->rate_used));
    ky_json_append(t->out.history, e);
}

/* Keep this epoch's weights if it is the best so far on the rows held out. */
static void compare(trainer *t)
{
    t->since_best++;
    if (isfinite(t->now.loss) && isfinite(t->now.val_loss) &&
        (t->out.best_epoch == 0 || t->now.val_loss < t->out.val_loss)) {
        memcpy(t->best, t->m->weights, t->m->n_weights * sizeof *t->best);
        t->out.best_epoch = t->now.epoch;
        t->out.val_loss = t->now.val_loss;
        t->out.val_accuracy = t->now.val_accuracy;
        t->since_best = 0;
    }
}

/* ---- checkpoints ---- */

static ky_checkpoint checkpoint_of(trainer *t)
{
    return (ky_checkpoint){ .m = t->m,
                            .best = t->best,
                            .optim = &t->optim,
                            .rate = &t->rate,
                            .rng = &t->rng,
                            .rows = ky_loader_order(t->loader),
                            .n_rows = t->n_train,
                            .history = &t->out.history,
                            .made_of = t->made_of,
                            .epoch = t->now.epoch,
                            .best_epoch = t->out.best_epoch,
                            .since_best = t->since_best,
                            .val_loss = t->out.val_loss,
                            .val_accuracy = t->out.val_accuracy };
}

static int leave_checkpoint(trainer *t, ky_err *err)
{
    ky_checkpoint c = checkpoint_of(t);

    return t->o->checkpoint != NULL ? ky_checkpoint_write(&c, t->o->checkpoint, err) : KY_OK;
}

static int resume(trainer *t, ky_err *err)
{
    ky_checkpoint c = checkpoint_of(t);
    int rc;

    if (t->o->resume == NULL)
        return KY_OK;
    if ((rc = ky_checkpoint_read(&c, t->o->resume, err)) < 0)
        return rc;
    t->now.epoch = t->out.epochs_run = c.epoch;
    t->out.best_epoch = c.best_epoch;
    t->since_best = c.since_best;
    t->out.val_loss = c.val_loss;
    t->out.val_accuracy = c.val_accuracy;
    t->out.stopped_early = c.since_best >= t->o->patience && c.epoch < t->o->epochs;
    return ky_model_pack(t->m, err);
}

/* ---- all epochs ---- */

static int run_epochs(trainer *t, ky_err *err)
{
    for (int e = t->now.epoch + 1;
         e <= t->o->epochs && !t->interrupted && t->since_best < t->o->patience; e++) {
        int rc;

        t->now.epoch = e;
        if ((rc = run_batches(t, err)) < 0)
            return rc;
        /* An interrupted epoch counts only where there is no whole one to keep. */
        if (t->interrupted && t->out.best_epoch > 0)
            break;
        if ((rc = validate(t, err)) < 0)
            return rc;
        write_history(t);
        compare(t);
        t->out.epochs_run = e;
        /* Half an epoch is nothing to go on from. */
        if (!t->interrupted && (rc = leave_checkpoint(t, err)) < 0)
            return rc;
        if (!t->interrupted)
            report(t);
        if (!isfinite(t->now.loss) || t->since_best >= t->o->patience) {
            t->out.stopped_early = e < t->o->epochs;
            break;
        }
    }
    if (t->out.best_epoch == 0)
        return ky_fail(err, KY_EINVAL,
                       "the loss is not finite after %d epochs at learning rate %g: "
                       "try a smaller one",
                       t->out.epochs_run, t->o->learning_rate);
    return KY_OK;
}

static void clear(trainer *t)
{
    ky_gradient_free(t->g);
    ky_loader_free(t->loader);
    ky_loader_free(t->held);
    ky_pool_free(t->pool);
    ky_optim_done(&t->optim);
    ky_subset_done(&t->val);
    ky_moments_done(&t->moments);
    free(t->weight);
    free(t->answers);
    free(t->ranges);
    free(t->squares);
    free(t->penalties);
    free(t->rows);
    free(t->state);
    free(t->states);
    free(t->best);
}

int ky_train(ky_model *m, const ky_dataset *d, const ky_train_opts *o, ky_train_result *ret,
             ky_err *err)
{
    trainer t = { .m = m, .d = *d, .o = o, .now.epochs = o->epochs };
    int rc, packed;

    t.begun_ns = ky_clock_mono_ns();
    rc = prepare(&t, err);
    if (rc >= 0)
        rc = resume(&t, err);
    if (rc >= 0)
        rc = run_epochs(&t, err);
    if (rc >= 0)
        memcpy(m->weights, t.best, m->n_weights * sizeof *m->weights);
    m->training = false;
    packed = ky_model_pack(m, rc >= 0 ? err : NULL);
    if (rc >= 0)
        rc = packed;
    t.out.seconds = (double)(ky_clock_mono_ns() - t.begun_ns) * 1e-9;
    clear(&t);
    if (rc < 0) {
        ky_json_free(t.out.history);
        return rc;
    }
    *ret = t.out;
    return KY_OK;
}
