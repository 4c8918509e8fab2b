/* A configuration of Keras's as a model: its parts called on each other, from the inputs on. */
#include "models/keras_parts.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/layer_tools.h"

enum { MAX_TEXT = 64 << 20, MAX_VALUES = 2 << 20, MAX_NAME = 64 };

/* What is no tensor here: the result of an operation, the state of a layer. */
enum { NO_OPERATION = INT_MIN, NO_STATE };

/* A model while it grows. */
struct builder {
    ky_model *m;
    ky_json *names; /* of layers */
    int n_calls, n_reads;
    bool *timed;  /* [n_inputs] which inputs turn out to have steps */
    bool *values; /* [n_inputs] which of one dimension do not: somebody reads it as values */
};

/* The tensors that something is called on. */
struct inputs {
    int n;
    const int *from;
    bool masked; /* and a mask is handed over */
};

/* Where a part is called. */
struct place {
    char name[MAX_NAME]; /* of the part; "" of the whole model */
    int distributed;
};

static int call_part(struct builder *b, ky_keras_part *p, const struct place *at,
                     const struct inputs *in, int *ret, ky_err *err);

/* -- names -------------------------------------------------------------------------- */

/* "outer_inner", cut to fit. */
static struct place place_inside(const struct place *outer, const char *inner)
{
    struct place at = *outer;
    size_t n = strlen(at.name);

    if (n > 0 && n < sizeof(at.name) - 1)
        at.name[n++] = '_';
    at.name[n] = '\0';
    strncat(at.name, inner, sizeof(at.name) - 1 - n);
    return at;
}

/* A name that no layer has yet: the one wanted, or with a number behind. */
static void name_layer(struct builder *b, ky_layer *l, const char *wanted)
{
    char base[MAX_NAME];

    if (wanted[0] != '\0')
        snprintf(base, sizeof(base), "%s", wanted);
    else
        ky_snake_case(l->ops->class_name, base, sizeof(base));
    ky_json_unused(b->names, base, l->name, sizeof(l->name));
}

/* -- which inputs have steps ------------------------------------------------------------ */

static bool same_shape(const ky_shape *a, const ky_shape *b)
{
    return a->rank == b->rank && memcmp(a->d, b->d, (size_t)a->rank * sizeof(*a->d)) == 0;
}

/* What reads a tensor says whether its first axis are steps; so of the input that it comes of. */
static void note_steps(struct builder *b, int tensor, bool timed)
{
    const ky_model *m = b->m;

    while (tensor >= 0) {
        const ky_layer *l = &m->layers[tensor];

        if (l->n_in != 1 || l->form != KY_POINTWISE ||
            !same_shape(&l->tensor, ky_model_tensor(m, l->from[0])))
            return;
        tensor = l->from[0];
    }
    if (m->inputs[KY_INPUT(tensor)].d[0] != KY_ANY)
        b->timed[KY_INPUT(tensor)] = timed;
}

/* -- one layer ---------------------------------------------------------------------- */

static int count_call(struct builder *b, int n_reads, ky_err *err)
{
    b->n_calls++;
    b->n_reads += n_reads;
    if (b->n_calls > KY_KERAS_MAX_CALLS || b->n_reads > KY_KERAS_MAX_READS)
        return ky_fail(err, KY_EFULL, "layers are called more than %d times", KY_KERAS_MAX_CALLS);
    return KY_OK;
}

/* Only to an Embedding can one dimension be steps, of a token each. */
static int check_values(struct builder *b, const ky_layer *l, const struct inputs *in, ky_err *err)
{
    bool tokens = strcmp(l->ops->class_name, "Embedding") == 0 && l->distributed == 0;

    for (int i = 0; !tokens && i < in->n; i++) {
        int k = KY_INPUT(in->from[i]);

        if (k < 0 || b->m->inputs[k].rank > 1)
            continue;
        if (b->m->inputs[k].d[0] == KY_ANY)
            return ky_fail(err, KY_EUNSUPPORTED,
                           "layer '%s' (%s): the length of its input '%s' is not fixed", l->name,
                           l->ops->class_name, b->m->input_names[k]);
        b->values[k] = true;
    }
    return KY_OK;
}

/* A layer on tensors; *first is its first call, and becomes that. */
static int call_layer(struct builder *b, const ky_layer *options, int *first,
                      const struct place *at, const struct inputs *in, ky_err *err)
{
    ky_layer l = *options;
    int rc = count_call(b, in->n, err);

    if (rc < 0)
        return rc;
    l.shares = *first;
    l.distributed = at->distributed;
    if (*first < 0)
        name_layer(b, &l, at->name);
    else
        memcpy(l.name, b->m->layers[*first].name, sizeof(l.name));
    if ((rc = check_values(b, &l, in, err)) < 0)
        return rc;
    if (l.n_inner > 0) { /* every call has its own */
        l.inner = calloc((size_t)l.n_inner, sizeof(*l.inner));
        if (l.inner == NULL)
            return ky_fail(err, KY_ENOMEM, "no memory");
        memcpy(l.inner, options->inner, (size_t)l.n_inner * sizeof(*l.inner));
    }
    if (l.distributed > 0 && (l.ops == &ky_masking_ops || l.cfg.mask_zero)) {
        free(l.inner);
        return ky_fail(err, KY_EUNSUPPORTED,
                       "layer '%s' (%s): it makes masks inside of TimeDistributed, which kymo "
                       "cannot do",
                       l.name, l.ops->class_name);
    }
    rc = ky_model_call(b->m, &l, in->n, in->from, err);
    if (rc < 0)
        return rc;
    if (*first < 0)
        *first = rc;
    if (l.distributed > 0 || strcmp(l.ops->class_name, "Embedding") == 0)
        for (int i = 0; i < in->n; i++)
            note_steps(b, in->from[i], true);
    return rc;
}

/* Axes of a tensor turned, so that the channels of each step come last, or first. */
static int turn_channels(struct builder *b, const struct place *at, bool last, int tensor,
                         ky_err *err)
{
    const ky_layer_ops *ops = ky_layer_find("Permute");
    int rank = ky_model_tensor(b->m, tensor)->rank - at->distributed, first = -1;
    struct place here = place_inside(at, last ? "channels_last" : "channels_first");
    ky_layer l;

    if (ops == NULL)
        return ky_fail(err, KY_EUNSUPPORTED,
                       "layer '%s': data_format is channels_first, kymo runs channels_last only",
                       at->name);
    if (rank < 2 || rank > KY_RANK)
        return ky_fail(err, KY_ESHAPE, "layer '%s': its input has no channels", at->name);
    if (last && rank == 2 && at->distributed == 0)
        note_steps(b, tensor, false);
    ky_layer_init(&l, ops, "");
    l.cfg.dims.n = rank;
    for (int i = 0; i < rank; i++)
        l.cfg.dims.d[i] = last ? (i + 1) % rank + 1 : (i + rank - 1) % rank + 1;
    return call_layer(b, &l, &first, &here, &(struct inputs){ .n = 1, .from = &tensor }, err);
}

/* Channels first: turned before and back behind. A ConvLSTM2D has its steps in front of them. */
static int call_turned(struct builder *b, ky_keras_part *p, const struct place *at,
                       const struct inputs *in, ky_err *err)
{
    const ky_layer *l = &p->layer->layer;
    struct place turn = *at;
    int rc;

    if (in->n != 1)
        return ky_fail(err, KY_ESHAPE, "layer '%s' is called on %d tensors", at->name, in->n);
    turn.distributed += strcmp(l->ops->class_name, "ConvLSTM2D") == 0;
    /* Flatten takes what has no channels, too. */
    if (strcmp(l->ops->class_name, "Flatten") == 0 &&
        ky_model_tensor(b->m, in->from[0])->rank - at->distributed < 2)
        return call_layer(b, l, &p->first, at, in, err);
    rc = turn_channels(b, &turn, true, in->from[0], err);
    if (rc >= 0)
        rc = call_layer(b, l, &p->first, at, &(struct inputs){ .n = 1, .from = &rc }, err);
    if (rc < 0 || b->m->layers[rc].tensor.rank - at->distributed < 2)
        return rc;
    turn.distributed =
        at->distributed + (turn.distributed > at->distributed && l->cfg.return_sequences);
    return turn_channels(b, &turn, false, rc, err);
}

/* The mask that Keras hands to a call is the one that comes along with its input. */
static int check_mask(const struct builder *b, const ky_keras_part *p, const struct inputs *in,
                      ky_err *err)
{
    for (int i = 0; in->masked && i < in->n; i++)
        if (in->from[i] >= 0 && b->m->layers[in->from[i]].masked)
            return KY_OK;
    if (!in->masked)
        return KY_OK;
    return ky_fail(err, KY_EUNSUPPORTED,
                   "layer '%.60s' (%.60s) is called with a mask of its own, which kymo cannot do",
                   p->name, p->class_name);
}

/* The other direction of a call whose first gave the one. */
static int call_back(struct builder *b, ky_keras_part *p, const struct place *at,
                     const struct inputs *in, int *ret, ky_err *err)
{
    ky_layer l = p->layer->layer;
    int rc;

    l.cfg.merge_mode = KY_BACKWARD;
    rc = call_layer(b, &l, &p->first, at, in, err);
    if (rc < 0)
        return rc;
    *ret = rc;
    return KY_OK;
}

/* A layer of the text: with what turns its axes, and its activation behind. */
static int call_text(struct builder *b, ky_keras_part *p, const struct place *at,
                     const struct inputs *in, int *ret, ky_err *err)
{
    ky_keras_layer *t = p->layer;
    int rc = check_mask(b, p, in, err);

    if (rc < 0)
        return rc;
    rc = t->channels_first ? call_turned(b, p, at, in, err)
                           : call_layer(b, &t->layer, &p->first, at, in, err);
    if (rc >= 0 && t->has_activation) {
        struct place behind = place_inside(at, "activation");

        rc = call_layer(b, &t->activation, &t->first_activation, &behind,
                        &(struct inputs){ .n = 1, .from = &rc }, err);
    }
    if (rc < 0)
        return rc;
    ret[0] = rc;
    if (t->both_ways && (rc = call_back(b, p, at, in, &ret[1], err)) < 0)
        return rc;
    for (int i = 1; i <= t->n_states; i++) /* of what has no two directions */
        ret[i] = NO_STATE;
    if (p->tree->layer < 0) {
        p->tree->layer = p->first;
        for (int i = 0; i < p->tree->n; i++)
            p->tree->child[i]->layer = t->activation_named ? t->first_activation : p->first;
    }
    return KY_OK;
}

/* -- models ------------------------------------------------------------------------- */

/* The tensors that a node reads, into from[]. */
static int read_refs(struct builder *b, const ky_keras_graph *g, int n, const ky_keras_ref *refs,
                     const int *tensors, int *from, ky_err *err)
{
    for (int i = 0; i < n; i++)
        from[i] = tensors[g->nodes[refs[i].node].out + refs[i].tensor];
    return count_call(b, n, err);
}

/* Whether all that is read are tensors. */
static int check_refs(const ky_keras_graph *g, int n, const ky_keras_ref *refs, const int *from,
                      ky_err *err)
{
    for (int i = 0; i < n; i++) {
        const ky_keras_part *s = &g->parts[g->nodes[refs[i].node].part];

        if (from[i] == NO_OPERATION)
            return ky_fail(err, KY_EUNSUPPORTED,
                           "layer '%.60s': operation %.60s between layers is not one kymo can run; "
                           "use a layer (Add, Multiply, Reshape ...)",
                           s->name, s->class_name);
        if (from[i] == NO_STATE)
            return ky_fail(err, KY_EUNSUPPORTED,
                           "layer '%.60s' (%.60s): its state is used (return_state), kymo has its "
                           "output alone",
                           s->name, s->class_name);
    }
    return KY_OK;
}

/* What merges masks goes by the name of the layer that merges tensors. */
static bool merges_masks(const ky_keras_part *p, int n, const int *from)
{
    if (p->kind == KY_KERAS_PART_OPERATION)
        return true;
    if (p->kind != KY_KERAS_PART_LAYER || p->layer->layer.ops->max_in == 0)
        return false;
    for (int i = 0; i < n; i++)
        if (from[i] != NO_OPERATION)
            return false;
    return true;
}

static int call_node(struct builder *b, ky_keras_graph *g, const ky_keras_node *node,
                     const struct place *at, int *tensors, int *from, ky_err *err)
{
    ky_keras_part *p = &g->parts[node->part];
    struct place here = place_inside(at, p->name);
    struct inputs in = { node->n_refs, from, node->masked };
    int rc;

    if (p->kind == KY_KERAS_PART_INPUT)
        return KY_OK;
    rc = read_refs(b, g, node->n_refs, g->refs + node->ref, tensors, from, err);
    if (rc == KY_OK && merges_masks(p, node->n_refs, from)) {
        tensors[node->out] = NO_OPERATION;
        return KY_OK;
    }
    if (rc == KY_OK)
        rc = check_refs(g, node->n_refs, g->refs + node->ref, from, err);
    return rc < 0 ? rc : call_part(b, p, &here, &in, tensors + node->out, err);
}

static int call_graph(struct builder *b, ky_keras_graph *g, const struct place *at,
                      const struct inputs *in, int *ret, ky_err *err)
{
    int *tensors = calloc((size_t)g->n_tensors + 1, sizeof(*tensors));
    int *from = calloc((size_t)g->n_refs + 1, sizeof(*from)), rc = KY_OK;

    if (tensors == NULL || from == NULL)
        rc = ky_fail(err, KY_ENOMEM, "no memory");
    else if (in->n != g->n_inputs)
        rc = ky_fail(err, KY_ESHAPE, "model '%s' has %d inputs and is called on %d", at->name,
                     g->n_inputs, in->n);
    for (int i = 0; rc == KY_OK && i < g->n_inputs; i++)
        tensors[g->nodes[g->inputs[i]].out] = in->from[i];
    for (int i = 0; rc == KY_OK && i < g->n_nodes; i++)
        rc = call_node(b, g, &g->nodes[g->order[i]], at, tensors, from, err);
    if (rc == KY_OK)
        rc = read_refs(b, g, g->n_outputs, g->outputs, tensors, ret, err);
    if (rc == KY_OK)
        rc = check_refs(g, g->n_outputs, g->outputs, ret, err);
    free(tensors);
    free(from);
    return rc;
}

static int call_part(struct builder *b, ky_keras_part *p, const struct place *at,
                     const struct inputs *in, int *ret, ky_err *err)
{
    struct place inside = *at;

    switch (p->kind) {
    case KY_KERAS_PART_LAYER:
        return call_text(b, p, at, in, ret, err);
    case KY_KERAS_PART_MODEL:
        return call_graph(b, p->graph, at, in, ret, err);
    case KY_KERAS_PART_DISTRIBUTED:
        if (++inside.distributed > KY_RANK)
            return ky_fail(err, KY_ESHAPE, "layer '%s': more axes of time than %d", at->name,
                           KY_RANK);
        return call_part(b, p->inner, &inside, in, ret, err);
    default:
        return ky_fail(err, KY_EUNSUPPORTED, "layer '%s' (%.60s) cannot be called", at->name,
                       p->class_name);
    }
}

/* -- the whole ---------------------------------------------------------------------- */

/* As before any call. */
static void forget_calls(ky_keras_part *p)
{
    p->first = -1;
    if (p->tree != NULL)
        p->tree->layer = -1;
    if (p->layer != NULL)
        p->layer->first_activation = -1;
    if (p->inner != NULL)
        forget_calls(p->inner);
    for (int i = 0; p->graph != NULL && i < p->graph->n_parts; i++)
        forget_calls(&p->graph->parts[i]);
}

/* The shape of a model's input k; one that the text leaves out is what its first layer takes. */
static int input_shape(const ky_keras_graph *g, int k, ky_shape *ret, ky_err *err)
{
    const ky_keras_part *p = &g->parts[g->nodes[g->inputs[k]].part], *next = p + 1;
    ky_err why = { 0 };
    int rc;

    if (p->tree != NULL)
        return ky_keras_input_shape(p->entry, NULL, ret, err);
    rc = ky_keras_input_shape(p->entry, g->config, ret, &why);
    if (rc < 0 && next->kind == KY_KERAS_PART_MODEL)
        return input_shape(next->graph, 0, ret, err);
    return rc < 0 ? ky_fail(err, rc, "%s", why.text) : rc;
}

static int add_inputs(struct builder *b, const ky_keras_part *root, const bool *timed, ky_err *err)
{
    const ky_keras_graph *g = root->graph;
    int rc = KY_OK;

    for (int k = 0; rc == KY_OK && k < g->n_inputs; k++) {
        const char *name = g->parts[g->nodes[g->inputs[k]].part].name;
        ky_shape s;

        rc = input_shape(g, k, &s, err);
        if (rc < 0)
            return ky_context(err, rc, "input '%.60s'", name);
        if (timed != NULL)
            s.timed = timed[k];
        if (k == 0) {
            rc = ky_model_new(root->name[0] != '\0' ? root->name : "sequential", &s, &b->m, err);
            if (rc == KY_OK)
                rc = ky_model_name_input(b->m, 0, name, err);
        } else
            rc = ky_model_add_input(b->m, name, &s, err);
    }
    return rc;
}

/* Call the whole model on its inputs, which are timed as said, or by their looks. */
static int build(ky_keras_part *root, const bool *timed, struct builder *b, ky_err *err)
{
    ky_keras_graph *g = root->graph;
    int *from = calloc((size_t)g->n_inputs + 1, sizeof(*from));
    int *out = calloc((size_t)g->n_outputs + 1, sizeof(*out)), rc;

    memset(b, 0, sizeof(*b));
    forget_calls(root);
    b->names = ky_json_object();
    b->timed = calloc(2 * (size_t)g->n_inputs + 2, sizeof(*b->timed));
    if (from == NULL || out == NULL || b->names == NULL || b->timed == NULL)
        rc = ky_fail(err, KY_ENOMEM, "no memory");
    else
        rc = add_inputs(b, root, timed, err);
    b->values = b->timed != NULL ? b->timed + g->n_inputs + 1 : NULL;
    for (int k = 0; rc == KY_OK && k < g->n_inputs; k++) {
        from[k] = KY_INPUT(k);
        b->timed[k] = b->m->inputs[k].timed;
    }
    if (rc == KY_OK)
        rc = call_graph(b, g, &(struct place){ .name = "" },
                        &(struct inputs){ .n = g->n_inputs, .from = from }, out, err);
    if (rc == KY_OK)
        rc = ky_model_set_outputs(b->m, g->n_outputs, out, err);
    free(from);
    free(out);
    ky_json_free(b->names);
    return rc;
}

/* Whether an input proved to have steps where it was taken to have none, or the other way. */
static bool was_mistaken(struct builder *b)
{
    bool mistaken = false;

    for (int k = 0; k < b->m->n_inputs; k++) {
        b->timed[k] &= !b->values[k];
        mistaken |= b->timed[k] != b->m->inputs[k].timed;
    }
    return mistaken;
}

static int build_model(ky_keras_part *root, ky_model **ret, ky_err *err)
{
    struct builder b, again;
    int rc = build(root, NULL, &b, err);

    if (rc == KY_OK && was_mistaken(&b)) {
        rc = build(root, b.timed, &again, err);
        ky_model_free(b.m);
        free(b.timed);
        b = again;
    }
    free(b.timed);
    if (rc == KY_OK)
        *ret = b.m;
    else
        ky_model_free(b.m);
    return rc;
}

/* How many values a text of JSON can hold, seen from what stands between them: each takes some
 * hundred bytes of memory once it is read, and three in the text. */
static size_t count_values(const char *text, size_t len)
{
    bool in_string = false;
    size_t n = 0;

    for (size_t i = 0; i < len; i++)
        if (in_string && text[i] == '\\')
            i++;
        else if (text[i] == '"')
            in_string = !in_string;
        else if (!in_string)
            n += text[i] == ',' || text[i] == '[' || text[i] == '{';
    return n;
}

ky_keras_version ky_keras_version_read(const char *text)
{
    ky_keras_version v = { .major = 1 };

    if (text != NULL && sscanf(text, "%d.%d", &v.major, &v.minor) >= 1 && v.major >= 1)
        return v;
    return (ky_keras_version){ .major = 1 };
}

int ky_keras_config_tree(const char *text, size_t len, ky_keras_version version, ky_model **ret,
                         ky_keras_tree **ret_tree, ky_err *err)
{
    ky_json *root = NULL;
    ky_keras_tree *tree = NULL;
    ky_keras_part whole = { 0 };
    int rc;

    if (len > MAX_TEXT)
        return ky_fail(err, KY_EFULL, "%zu bytes of configuration, at most %d are read", len,
                       MAX_TEXT);
    if (count_values(text, len) > MAX_VALUES)
        return ky_fail(err, KY_EFULL, "the model's configuration has more than %d values",
                       MAX_VALUES);
    rc = ky_json_parse(text, len, true, &root, err);
    if (rc < 0)
        return ky_context(err, rc, "the model's configuration");
    tree = ky_keras_tree_add(NULL, KY_KERAS_MODEL,
                             ky_json_str(ky_json_get(root, "class_name"), "Sequential"),
                             ky_keras_name(root));
    rc = tree == NULL ? ky_fail(err, KY_ENOMEM, "no memory")
                      : ky_keras_parts_read(root, version, tree, &whole, err);
    if (rc == KY_OK)
        rc = build_model(&whole, ret, err);
    ky_keras_part_done(&whole);
    ky_json_free(root);
    if (rc == KY_OK && ret_tree != NULL)
        *ret_tree = tree;
    else
        ky_keras_tree_free(tree);
    return rc;
}

int ky_keras_config_read(const char *text, size_t len, ky_keras_version version, ky_model **ret,
                         ky_err *err)
{
    return ky_keras_config_tree(text, len, version, ret, NULL, err);
}
