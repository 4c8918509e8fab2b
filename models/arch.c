/*
 * A model in a line: "conv1d:64x3 relu, maxpool:2, lstm:64, dropout:0.5, dense". Layers by
 * comma; each a word, its numbers, then options in any order.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/blueprint.h"
#include "models/layer_tools.h"
#include "models/nearest.h"

enum { MAX_LAYERS = 64, MAX_TEXT = 96, MAX_NUMBERS = 4 };
#define BLANKS " \t\r\n"

/* A number behind a word: what stands in front of it and which option it is. */
typedef struct number {
    char lead;
    bool needed;
    const char *key; /* of the layer's fields */
} number;

typedef struct word {
    const char *name;
    const ky_layer_ops *ops;
    const char *example;
    number numbers[MAX_NUMBERS];
    const ky_layer_ops *ops_2d; /* what the word means where it stands on images; NULL: nothing */
} word;

#define CONVOLUTION                                                                                \
    {                                                                                              \
        { ':', true, "filters" }, { 'x', true, "kernel_size" }, { '/', false, "strides" },         \
        {                                                                                          \
            '*', false, "dilation_rate"                                                            \
        }                                                                                          \
    }
#define POOLING                                                                                    \
    {                                                                                              \
        { ':', true, "pool_size" },                                                                \
        {                                                                                          \
            '/', false, "strides"                                                                  \
        }                                                                                          \
    }
#define UNITS                                                                                      \
    {                                                                                              \
        {                                                                                          \
            ':', true, "units"                                                                     \
        }                                                                                          \
    }

static const word words[] = {
    { "dense", &ky_dense_ops, "dense:64 relu", { { ':', false, "units" } }, NULL },
    { "conv1d", &ky_conv1d_ops, "conv1d:64x3 relu", CONVOLUTION, NULL },
    { "conv2d", &ky_conv2d_ops, "conv2d:32x3 relu", CONVOLUTION, NULL },
    { "maxpool", &ky_max_pooling_ops, "maxpool:2", POOLING, &ky_max_pooling_2d_ops },
    { "avgpool", &ky_average_pooling_ops, "avgpool:2", POOLING, &ky_average_pooling_2d_ops },
    { "gap", &ky_global_average_ops, "gap", { { 0 } }, &ky_global_average_2d_ops },
    { "gmp", &ky_global_max_ops, "gmp", { { 0 } }, &ky_global_max_2d_ops },
    { "flatten", &ky_flatten_ops, "flatten", { { 0 } }, NULL },
    { "lstm", &ky_lstm_ops, "lstm:64", UNITS, NULL },
    { "gru", &ky_gru_ops, "gru:64", UNITS, NULL },
    { "rnn", &ky_simple_rnn_ops, "rnn:64", UNITS, NULL },
    { "embed",
      &ky_embedding_ops,
      "embed:32x1000",
      { { ':', true, "output_dim" }, { 'x', false, "input_dim" } },
      NULL },
    { "bn", &ky_batchnorm_ops, "bn", { { 0 } }, NULL },
    { "ln", &ky_layernorm_ops, "ln", { { 0 } }, NULL },
    { "leaky", &ky_leaky_relu_ops, "leaky:0.1", { { ':', false, "negative_slope" } }, NULL },
    { "elu", &ky_elu_ops, "elu", { { ':', false, "alpha" } }, NULL },
    { "prelu", &ky_prelu_ops, "prelu", { { 0 } }, NULL },
    { "dropout", &ky_dropout_ops, "dropout:0.5", { { ':', true, "rate" } }, NULL },
};
enum { N_WORDS = sizeof(words) / sizeof(*words) };

/* What a word may stand in: td(...), bi(...). */
static const char *const wrappers[] = { "td", "bi" };
enum wrapper { TD, BI, N_WRAPPERS };

/* One layer as it was written. */
typedef struct item {
    const word *w;
    char text[MAX_TEXT];
    ky_layer layer;
    int wrapped[N_WRAPPERS]; /* how often in each */
    bool has_units, has_activation, has_padding;
} item;

/* -- one layer --------------------------------------------------------------------- */

static const ky_field *field(const ky_layer_ops *ops, const char *key)
{
    for (const ky_field *f = ops->fields; f->key != NULL; f++)
        if (strcmp(f->key, key) == 0)
            return f;
    return NULL;
}

static const word *find_word(const char *name)
{
    for (int i = 0; i < N_WORDS; i++)
        if (strcmp(words[i].name, name) == 0)
            return &words[i];
    return NULL;
}

static int unknown_word(const char *name, ky_err *err)
{
    ky_nearest n = { .word = name };
    char all[256] = "", hint[64] = "";

    for (int i = 0; i < N_WORDS; i++) {
        size_t len = strlen(all);

        ky_nearest_try(&n, words[i].name);
        snprintf(all + len, sizeof(all) - len, "%s%s", i > 0 ? ", " : "", words[i].name);
    }
    if (n.best != NULL)
        snprintf(hint, sizeof(hint), "; the nearest is '%s'", n.best);
    return ky_fail(err, KY_EINVAL,
                   "no layer '%s'%s; known are %s, and td(...), bi(...) around them", name, hint,
                   all);
}

/* A number behind the lead at *s, which then stands behind the number. */
static int read_number(item *it, const number *n, const char **s, ky_err *err)
{
    const ky_field *f = field(it->w->ops, n->key);
    bool whole = f->type == KY_F_INT;
    size_t len = strspn(*s + 1, whole ? "0123456789" : "0123456789.");
    char digits[16];
    double v;

    if (len == 0)
        return ky_fail(err, KY_EINVAL, "'%s': a number must follow '%c', as in '%s'", it->text,
                       n->lead, it->w->example);
    snprintf(digits, sizeof(digits), "%.*s", (int)(len < 15 ? len : 15), *s + 1);
    v = strtod(digits, NULL);
    if (whole && (v < 1 || v > KY_MAX_DIM))
        return ky_fail(err, KY_EINVAL, "'%s': %s is %s, must be 1 to %d", it->text, n->key, digits,
                       KY_MAX_DIM);
    for (int i = 0; i < ky_field_len(f, &it->layer.cfg); i++)
        ky_field_set(f, &it->layer.cfg, i, v);
    *s += 1 + len;
    return KY_OK;
}

static int read_numbers(item *it, const char *s, ky_err *err)
{
    for (int i = 0; i < MAX_NUMBERS && it->w->numbers[i].key != NULL; i++) {
        const number *n = &it->w->numbers[i];
        int rc;

        if (*s != n->lead) {
            if (n->needed)
                return ky_fail(err, KY_EINVAL, "'%s' needs %s, as in '%s'", it->text, n->key,
                               it->w->example);
            continue;
        }
        if ((rc = read_number(it, n, &s, err)) < 0)
            return rc;
        it->has_units |= strcmp(n->key, "units") == 0;
    }
    if (*s != '\0')
        return ky_fail(err, KY_EINVAL, "'%s': nothing is known about '%s', write it as '%s'",
                       it->text, s, it->w->example);
    return KY_OK;
}

/* Whether `name` is an activation that the layer takes and that files of Keras 2 and 3 mean
 * alike. */
static bool is_activation(const ky_layer_ops *ops, const char *name, enum ky_activation *ret)
{
    return field(ops, "activation") != NULL && ky_activation_find(name, 3, ret) == KY_OK &&
           *ret != KY_HARD_SIGMOID_K3;
}

static int unknown_option(const item *it, const char *option, ky_err *err)
{
    ky_nearest n = { .word = option };
    enum ky_activation a;
    char name[MAX_TEXT];

    snprintf(name, sizeof(name), "%.*s", (int)strcspn(option, ":"), option);
    if (find_word(name) != NULL)
        return ky_fail(err, KY_EINVAL, "'%s': a comma is missing before '%s'", it->text, option);
    for (int i = 0; i <= KY_LOG_SOFTMAX; i++)
        if (is_activation(it->w->ops, ky_activation_name((enum ky_activation)i), &a))
            ky_nearest_try(&n, ky_activation_name(a));
    if (field(it->w->ops, "padding") != NULL)
        for (int i = 0; i <= KY_CAUSAL; i++)
            ky_nearest_try(&n, ky_padding_name((enum ky_padding)i));
    if (n.best == NULL)
        return ky_fail(err, KY_EINVAL, "'%s': %s takes no option '%s'", it->text, it->w->name,
                       option);
    return ky_fail(err, KY_EINVAL, "'%s': no option '%s'; the nearest is '%s'", it->text, option,
                   n.best);
}

static int read_dilation(item *it, const char *option, ky_err *err)
{
    static const number dilation = { '*', true, "dilation_rate" };
    const char *s = option;
    int rc;

    if (field(it->w->ops, dilation.key) == NULL)
        return unknown_option(it, option, err);
    if ((rc = read_number(it, &dilation, &s, err)) < 0)
        return rc;
    return *s == '\0' ? KY_OK : unknown_option(it, option, err);
}

static int read_option(item *it, const char *option, ky_err *err)
{
    const ky_layer_ops *ops = it->w->ops;
    enum ky_activation act;
    enum ky_padding pad;
    bool *has;

    if (option[0] == '*')
        return read_dilation(it, option, err);
    if (field(ops, option) != NULL && strcmp(option, "mask_zero") == 0) {
        it->layer.cfg.mask_zero = true;
        return KY_OK;
    }
    if (is_activation(ops, option, &act)) {
        it->layer.cfg.activation = act;
        has = &it->has_activation;
    } else if (field(ops, "padding") != NULL && ky_padding_find(option, &pad) == KY_OK) {
        it->layer.cfg.padding = pad;
        has = &it->has_padding;
    } else {
        return unknown_option(it, option, err);
    }
    if (*has)
        return ky_fail(err, KY_EINVAL, "'%s': '%s' is one option too many", it->text, option);
    *has = true;
    return KY_OK;
}

/* td( and bi( in front, and as many ) behind, taken off. */
static int unwrap(item *it, char *text, ky_err *err)
{
    char *inner = text;

    for (int i = 0; i < N_WRAPPERS; i++) {
        size_t n = strlen(wrappers[i]), len = strlen(inner);

        if (strncmp(inner, wrappers[i], n) != 0 || inner[n] != '(')
            continue;
        if (inner[len - 1] != ')')
            return ky_fail(err, KY_EINVAL, "'%s': a ')' must end it", it->text);
        inner[len - 1] = '\0';
        inner += n + 1;
        it->wrapped[i]++;
        i = -1; /* there may be more */
    }
    memmove(text, inner, strlen(inner) + 1);
    if (text[strspn(text, BLANKS)] == '\0')
        return ky_fail(err, KY_EINVAL, "'%s': a layer must stand in it, as in 'td(dense:8)'",
                       it->text);
    return KY_OK;
}

/* Where the word stands. */
static int check_wrapped(const item *it, ky_err *err)
{
    if (it->wrapped[BI] > 0 && (it->wrapped[BI] > 1 || it->w->ops->cell == NULL))
        return ky_fail(err, KY_EINVAL, "'%s': bi(...) goes around one lstm, gru or rnn", it->text);
    return KY_OK;
}

static int read_item(item *it, ky_err *err)
{
    char text[MAX_TEXT], *save, *token, *colon;
    int rc;

    memcpy(text, it->text, sizeof(text));
    if ((rc = unwrap(it, text, err)) < 0)
        return rc;
    token = strtok_r(text, BLANKS, &save);
    colon = strchr(token, ':');
    if (colon != NULL)
        *colon = '\0';
    if ((it->w = find_word(token)) == NULL)
        return unknown_word(token, err);
    if (colon != NULL)
        *colon = ':';
    ky_layer_init(&it->layer, it->w->ops, "");
    if ((rc = read_numbers(it, colon != NULL ? colon : "", err)) < 0)
        return rc;
    while ((token = strtok_r(NULL, BLANKS, &save)) != NULL)
        if ((rc = read_option(it, token, err)) < 0)
            return rc;
    return check_wrapped(it, err);
}

/* The line cut at its commas; returns how many layers there are. */
static int read_line(const char *arch, item *items, ky_err *err)
{
    int n = 0;

    for (const char *s = arch, *end; s != NULL; s = *end != '\0' ? end + 1 : NULL, n++) {
        int rc, len;

        s += strspn(s, BLANKS);
        end = s + strcspn(s, ",");
        for (len = (int)(end - s); len > 0 && strchr(BLANKS, s[len - 1]) != NULL;)
            len--;
        if (len == 0)
            return ky_fail(err, KY_EINVAL, "layer %d of '%.*s' is empty", n + 1, MAX_TEXT, arch);
        if (len >= MAX_TEXT)
            return ky_fail(err, KY_EINVAL, "layer %d begins '%.20s' and is longer than any", n + 1,
                           s);
        if (n == MAX_LAYERS)
            return ky_fail(err, KY_EFULL, "more than %d layers", MAX_LAYERS);
        memcpy(items[n].text, s, (size_t)len);
        if ((rc = read_item(&items[n], err)) < 0)
            return rc;
    }
    return n;
}

/* -- the model --------------------------------------------------------------------- */

static bool is(const item *it, const ky_layer_ops *ops)
{
    return it->w->ops == ops;
}

static bool is_recurrent(const item *it)
{
    return it->w->ops->cell != NULL;
}

/* Layers that go along the steps, so that a recurrent one before them must return all of its
 * own. */
static bool wants_steps(const item *it)
{
    return it->wrapped[TD] > 0 || is_recurrent(it) || is(it, &ky_conv1d_ops) ||
           it->w->ops_2d != NULL;
}

static void return_sequences(item *items, int n)
{
    bool wanted = false;

    for (int i = n - 1; i >= 0; i--) {
        /* The steps inside of td(...) are its own affair. */
        items[i].layer.cfg.return_sequences =
            is_recurrent(&items[i]) && items[i].wrapped[TD] == 0 && wanted;
        wanted |= wants_steps(&items[i]);
    }
}

/* The last dense answers: one output a class, and probabilities, or what else is wanted. */
static int finish_dense(item *items, int n, const ky_arch_opts *o, ky_err *err)
{
    item *last = &items[n - 1];
    ky_layer_config *cfg = &last->layer.cfg;
    bool classes = o->answer == KY_SOFTMAX;

    for (int i = 0; i < n - 1; i++)
        if (is(&items[i], &ky_dense_ops) && !items[i].has_units)
            return ky_fail(err, KY_EINVAL, "'%s' in the middle needs units, as in 'dense:64 relu'",
                           items[i].text);
    if (!is(last, &ky_dense_ops) || last->wrapped[TD] > 0)
        return ky_fail(err, KY_EINVAL, "the last layer is '%s', must be 'dense', which answers",
                       last->text);
    if (!last->has_units)
        cfg->units = o->n_outputs;
    if (cfg->units != o->n_outputs && !(classes && cfg->units == 1 && o->n_outputs == 2))
        return ky_fail(err, KY_ESHAPE, "'%s' has %d outputs, but there are %d %s", last->text,
                       cfg->units, o->n_outputs, classes ? "classes" : "targets");
    if (!last->has_activation)
        cfg->activation = classes && cfg->units == 1 ? KY_SIGMOID : o->answer;
    return KY_OK;
}

/* What the line does not say of tokens. */
static int finish_embed(item *first, const ky_arch_opts *o, ky_err *err)
{
    ky_layer_config *cfg = &first->layer.cfg;

    if (!is(first, &ky_embedding_ops))
        return KY_OK;
    cfg->mask_zero |= o->masks;
    if (cfg->input_dim > 0)
        return KY_OK;
    if (o->vocabulary < 1 || o->vocabulary > KY_MAX_DIM)
        return ky_fail(err, KY_EINVAL,
                       "'%s' must say how many tokens there are, 1 to %d, as in '%s'", first->text,
                       KY_MAX_DIM, first->w->example);
    cfg->input_dim = o->vocabulary;
    return KY_OK;
}

/* The rows as the first layer takes them. */
static ky_shape input_for(const item *first, const ky_shape *rows)
{
    ky_shape in = *rows;

    if (is(first, &ky_embedding_ops) && in.rank == 1)
        in.timed = true;
    if (is(first, &ky_conv2d_ops) && in.rank - first->wrapped[TD] == 2) {
        in.d[in.rank++] = 1;
        in.timed = first->wrapped[TD] > 0;
    }
    return in;
}

/* (x - mean) / deviation, fitted to the training part; not learnt. */
static int add_normalization(ky_model *m, ky_err *err)
{
    ky_layer l;

    ky_layer_init(&l, &ky_batchnorm_ops, "normalization");
    l.trainable = l.cfg.center = l.cfg.scale = false;
    l.cfg.epsilon = 1e-12;
    return ky_model_add(m, &l, err);
}

/* Steps that are not there are left out by all that follow. */
static int add_masking(ky_model *m, ky_err *err)
{
    const ky_shape *in = ky_model_tensor(m, KY_INPUT(0));
    ky_layer l;

    if (in->rank != 2 || !in->timed)
        return ky_fail(err, KY_EUNSUPPORTED,
                       "rows may only be of different lengths where they are steps of values, or "
                       "tokens");
    ky_layer_init(&l, &ky_masking_ops, "");
    l.cfg.mask_value = KY_MASK_VALUE;
    return ky_model_add(m, &l, err);
}

/* The layer that a word means on images, with the options it has been given. */
static ky_layer on_images(const item *it)
{
    ky_layer l;

    ky_layer_init(&l, it->w->ops_2d, "");
    for (const ky_field *f = it->w->ops->fields; f->key != NULL; f++) {
        const ky_field *to = field(l.ops, f->key);

        for (int i = 0; to != NULL && i < ky_field_len(to, &l.cfg); i++)
            ky_field_set(to, &l.cfg, i, ky_field_get(f, &it->layer.cfg, 0));
    }
    return l;
}

static int add_item(ky_model *m, const item *it, ky_err *err)
{
    const ky_shape *in = ky_model_tensor(m, m->n_layers > 0 ? m->n_layers - 1 : KY_INPUT(0));
    bool images = it->w->ops_2d != NULL && in->rank - it->wrapped[TD] == 3;
    ky_layer l = images ? on_images(it) : it->layer;
    int rc;

    if (it->wrapped[BI] > 0) {
        ky_layer_init(&l, &ky_bidirectional_ops, "");
        if ((rc = ky_bidirectional_wrap(&l, &it->layer, NULL, err)) < 0)
            return rc;
    }
    l.distributed = it->wrapped[TD];
    return ky_model_add(m, &l, err);
}

static int build(ky_model *m, const item *items, int n, const ky_arch_opts *o, ky_err *err)
{
    /* Tokens are numbers without a size. */
    bool tokens = is(&items[0], &ky_embedding_ops);
    int rc = o->masks && !tokens ? add_masking(m, err) : KY_OK;

    if (rc == KY_OK && o->normalize && !tokens)
        rc = add_normalization(m, err);
    for (int i = 0; rc == KY_OK && i < n; i++)
        if ((rc = add_item(m, &items[i], err)) < 0)
            return ky_context(err, rc, "'%s'", items[i].text);
    if (rc == KY_OK && m->layers[m->n_layers - 1].tensor.timed)
        return ky_fail(err, KY_EINVAL,
                       "nothing sums up the steps: put lstm, flatten, gap or gmp before the last "
                       "dense");
    return rc == KY_OK ? ky_model_finish(m, err) : rc;
}

int ky_arch_build(const char *arch, const ky_shape *input, int n_outputs, bool normalize,
                  ky_model **ret, ky_err *err)
{
    const ky_arch_opts o = {
        .input = *input, .n_outputs = n_outputs, .answer = KY_SOFTMAX, .normalize = normalize
    };

    return ky_arch_build_for(arch, &o, ret, err);
}

int ky_arch_build_for(const char *arch, const ky_arch_opts *o, ky_model **ret, ky_err *err)
{
    item *items = calloc(MAX_LAYERS, sizeof(*items));
    ky_model *m = NULL;
    ky_shape input;
    int n, rc;

    if (items == NULL)
        return ky_fail(err, KY_ENOMEM, "out of memory");
    rc = n = read_line(arch, items, err);
    if (rc > 0 && (rc = finish_dense(items, n, o, err)) == KY_OK)
        rc = finish_embed(items, o, err);
    if (rc == KY_OK) {
        return_sequences(items, n);
        input = input_for(items, &o->input);
        rc = ky_model_new("kymo", &input, &m, err);
    }
    if (rc == KY_OK)
        rc = build(m, items, n, o, err);
    if (rc == KY_OK)
        *ret = m;
    else
        ky_model_free(m);
    free(items);
    return rc;
}

bool ky_arch_takes_tokens(const char *arch)
{
    item *first = calloc(MAX_LAYERS, sizeof(*first));
    bool tokens = first != NULL && read_line(arch, first, NULL) > 0 && is(first, &ky_embedding_ops);

    free(first);
    return tokens;
}
