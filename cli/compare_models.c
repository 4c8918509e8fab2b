/* The models that are compared, and how wide each is so that they have as many weights. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/compare.h"
#include "models/plan.h"

#define FRAMES "td(conv2d:8x3/2 relu), td(conv2d:16x3/2 relu), td(flatten), td(dense:W relu)"

static const ky_compare_kind kinds[] = {
    { .name = "series",
      .rank = 3,
      .step = "step",
      .values = "the level of single values at their place tells enough, where windows begin as "
                "those of the training do",
      .shapes = "what decides are short shapes, wherever they stand",
      .weights = 5000,
      .models = { { "linear", "linear", "flatten, dense", KY_SEES_VALUES },
                  { "conv1d", "1D CNN",
                    "conv1d:Wx5 same relu, maxpool:2, conv1d:Wx5 same relu, gap, dense",
                    KY_SEES_SHAPES },
                  { "simple_rnn", "SimpleRNN", "rnn:W, dense", KY_SEES_ORDER },
                  { "gru", "GRU", "gru:W, dense", KY_SEES_ORDER },
                  { "lstm", "LSTM", "lstm:W, dense", KY_SEES_ORDER },
                  { "conv1d_lstm", "CNN+LSTM", "conv1d:Wx5 causal relu, maxpool:2, lstm:W, dense",
                    KY_SEES_ORDER } } },
    { .name = "tokens",
      .rank = 2,
      .step = "word",
      .values = "which words occur tells enough, whatever their order",
      .shapes = "what decides are words that stand together, wherever they stand",
      .weights = 5000,
      .models = { { "linear", "bag of words", "embed:16, gap, dense", KY_SEES_VALUES },
                  { "conv1d", "1D CNN", "embed:16, conv1d:Wx3 same relu, gmp, dense",
                    KY_SEES_SHAPES },
                  { "simple_rnn", "SimpleRNN", "embed:16, rnn:W, dense", KY_SEES_ORDER },
                  { "gru", "GRU", "embed:16, gru:W, dense", KY_SEES_ORDER },
                  { "lstm", "LSTM", "embed:16, lstm:W, dense", KY_SEES_ORDER },
                  { "conv1d_lstm", "CNN+LSTM", "embed:16, conv1d:Wx3 causal relu, lstm:W, dense",
                    KY_SEES_ORDER } } },
    { .name = "vectors",
      .rank = 2,
      .values = "each value by itself tells enough",
      .shapes = "what decides is how values go together",
      .weights = 2000,
      .models = { { "linear", "linear", "dense", KY_SEES_VALUES },
                  { "dense", "MLP, 1 hidden", "dense:W relu, dense", KY_SEES_SHAPES },
                  { "dense2", "MLP, 2 hidden", "dense:W relu, dense:W relu, dense",
                    KY_SEES_SHAPES } } },
    { .name = "images",
      .rank = 4,
      .values = "the grey of single pixels at their place tells enough",
      .shapes = "what decides are shapes",
      .weights = 20000,
      .models = { { "linear", "linear", "flatten, dense", KY_SEES_VALUES },
                  { "dense", "MLP, 1 hidden", "flatten, dense:W relu, dense", KY_SEES_VALUES },
                  { "conv2d", "2D CNN",
                    "conv2d:Wx3 relu, maxpool:2, conv2d:Wx3 relu, maxpool:2, flatten, dense",
                    KY_SEES_SHAPES } } },
    { .name = "video",
      .rank = 5,
      .step = "frame",
      .values = "the grey of single pixels at their place and time tells enough",
      .shapes = "what decides is seen in frames by themselves, whatever their order",
      .weights = 40000,
      .models = { { "linear", "linear", "flatten, dense", KY_SEES_VALUES },
                  { "frames", "frame by frame", FRAMES ", gap, dense", KY_SEES_SHAPES },
                  { "simple_rnn", "CNN+SimpleRNN", FRAMES ", rnn:W, dense", KY_SEES_ORDER },
                  { "gru", "CNN+GRU", FRAMES ", gru:W, dense", KY_SEES_ORDER },
                  { "lstm", "CNN+LSTM", FRAMES ", lstm:W, dense", KY_SEES_ORDER } } },
};

/* -- the kind of data -- */

/* Whole numbers from 0: words by their place in a list. */
static bool are_tokens(const ky_data *d)
{
    size_t n = (size_t)d->rows->N * d->rows->row;
    bool whole = d->vocabulary != NULL || d->rows->largest >= 2;

    for (size_t i = 0; whole && i < n; i++)
        whole = d->rows->x[i] >= 0 && d->rows->x[i] == floorf(d->rows->x[i]);
    return whole;
}

/* Of two dimensions are tokens and vectors; which, the values say. */
static bool looks_like(const ky_compare_kind *k, const ky_data *d)
{
    return d->rows->rank == k->rank &&
           (k->rank != 2 || are_tokens(d) == (strcmp(k->name, "tokens") == 0));
}

int ky_compare_kind_of(const ky_data *d, const char *name, const ky_compare_kind **ret, ky_err *err)
{
    const ky_compare_kind *k = kinds, *end = kinds + sizeof kinds / sizeof *kinds;

    while (k < end && !(name != NULL ? strcmp(k->name, name) == 0 : looks_like(k, d)))
        k++;
    if (k == end && name != NULL)
        return ky_fail(err, KY_EINVAL,
                       "--kind: '%.40s' is none of series, tokens, vectors, images, video", name);
    if (k == end || k->rank != d->rows->rank)
        return ky_fail(err, KY_ESHAPE, "%s: rows of %s are no %s", d->what,
                       ky_data_shape(d->rows->rank - 1, d->rows->dims + 1).text,
                       k == end ? "series, images or video" : k->name);
    *ret = k;
    return KY_OK;
}

/* -- the models wanted -- */

static const ky_contender *model_named(const ky_compare_kind *k, const char *name, size_t len)
{
    for (int i = 0; i < KY_COMPARE_MODELS && k->models[i].name != NULL; i++)
        if (strlen(k->models[i].name) == len && memcmp(k->models[i].name, name, len) == 0)
            return &k->models[i];
    return NULL;
}

static int unknown_model(const ky_compare_kind *k, const char *word, size_t len, ky_err *err)
{
    char names[160] = "";

    for (int i = 0; i < KY_COMPARE_MODELS && k->models[i].name != NULL; i++) {
        size_t at = strlen(names);

        snprintf(names + at, sizeof names - at, "%s%s", i > 0 ? ", " : "", k->models[i].name);
    }
    return ky_fail(err, KY_EINVAL, "--only: '%.*s' is no model for %s; these are: %s",
                   len > 40 ? 40 : (int)len, word, k->name, names);
}

int ky_compare_choose(ky_comparison *c, const char *only, ky_err *err)
{
    bool wanted[KY_COMPARE_MODELS] = { false };

    for (const char *word = only; word != NULL;) {
        size_t blank = strspn(word, " "), len = strcspn(word + blank, ", ");
        const ky_contender *m = model_named(c->kind, word + blank, len);

        if (m == NULL)
            return unknown_model(c->kind, word + blank, len, err);
        wanted[m - c->kind->models] = true;
        if ((word = strchr(word, ',')) != NULL)
            word++;
    }
    for (int i = 0; i < KY_COMPARE_MODELS && c->kind->models[i].name != NULL; i++)
        if (only == NULL || wanted[i])
            c->entry[c->n++] = (ky_entry){ .c = &c->kind->models[i] };
    return KY_OK;
}

/* -- their size -- */

static void write_arch(ky_entry *e, int width)
{
    size_t at = 0;

    e->width = width;
    for (const char *s = e->c->layers; *s != '\0' && at < sizeof e->arch; s++)
        at += (size_t)(*s == 'W' ? snprintf(e->arch + at, sizeof e->arch - at, "%d", width)
                                 : snprintf(e->arch + at, sizeof e->arch - at, "%c", *s));
}

static int build(const ky_comparison *c, const ky_entry *e, ky_model **ret, ky_err *err)
{
    ky_training t = c->base;

    t.arch = e->arch;
    t.quiet = true;
    return ky_training_build(&t, &c->train, &c->arch, ret, err);
}

/* Weights of the entry's model of this width; its layers are written to the entry. */
static int weights_of(const ky_comparison *c, ky_entry *e, int width, size_t *ret, ky_err *err)
{
    ky_model *m;
    int rc;

    write_arch(e, width);
    if ((rc = build(c, e, &m, err)) < 0)
        return rc;
    *ret = e->weights = ky_model_facts(m)->params;
    ky_model_free(m);
    return KY_OK;
}

/* The width whose weights are nearest to those wanted; they grow with it. */
static int find_width(const ky_comparison *c, ky_entry *e, ky_err *err)
{
    enum { WIDEST = 1 << 12 };
    size_t wanted = c->weights, below, above;
    int low = 1, high = 1, rc;

    if ((rc = weights_of(c, e, 1, &above, err)) < 0)
        return rc;
    for (below = above; above < wanted && high < WIDEST;) {
        low = high;
        below = above;
        high *= 2;
        if ((rc = weights_of(c, e, high, &above, err)) < 0)
            return rc;
    }
    while (high - low > 1) {
        int middle = (low + high) / 2;
        size_t n;

        if ((rc = weights_of(c, e, middle, &n, err)) < 0)
            return rc;
        if (n < wanted) {
            low = middle;
            below = n;
        } else {
            high = middle;
            above = n;
        }
    }
    if (below <= wanted && above > wanted && wanted - below <= above - wanted)
        high = low;
    return weights_of(c, e, high, &above, err);
}

/* Steps that its layers see before what sums them up. */
static int reach_of(const ky_comparison *c, ky_entry *e, ky_err *err)
{
    ky_model *m;
    int *samples, rc = build(c, e, &m, err);

    if (rc < 0)
        return rc;
    samples = calloc((size_t)m->n_layers, sizeof *samples);
    if (samples == NULL || ky_plan_reach(m, samples) < 0)
        rc = ky_fail(err, KY_ENOMEM, "out of memory");
    for (int i = 0; rc == KY_OK && i < m->n_layers; i++)
        e->reach = samples[i] > e->reach ? samples[i] : e->reach;
    free(samples);
    ky_model_free(m);
    return rc;
}

static int size_entry(const ky_comparison *c, ky_entry *e, ky_err *err)
{
    size_t ignored;
    int rc = strchr(e->c->layers, 'W') != NULL ? find_width(c, e, err)
                                               : weights_of(c, e, 0, &ignored, err);

    return rc < 0 ? rc : reach_of(c, e, err);
}

/* Layers that these data are too short or too small for leave their model out. */
int ky_compare_size(ky_comparison *c, ky_err *err)
{
    int left = 0;

    for (int i = 0; i < c->n; i++) {
        ky_entry *e = &c->entry[i];

        if (size_entry(c, e, &e->left_out) >= 0)
            left++;
        else if (e->left_out.code == KY_ENOMEM)
            return ky_fail(err, KY_ENOMEM, "%s", e->left_out.text);
    }
    return left > 0 ? KY_OK : ky_fail(err, KY_ESHAPE, "%s", c->entry[0].left_out.text);
}
