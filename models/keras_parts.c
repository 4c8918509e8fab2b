/* Models of Keras's, read into parts that can be called on each other. */
#include "models/keras_parts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/layer_tools.h"

enum { MAX_NESTING = 32 };

/* What the whole reading shares. */
struct reader {
    ky_keras_version version;
    int n_layers, n_nodes, n_refs, depth;
    bool frozen; /* inside of what is not trainable */
    bool flat;   /* inside of Keras 1's Sequential, whose files list what is nested side by side */
};

/* A tensor as the text names it: output `tensor` of call `call` of a part. */
struct name {
    int part, call, tensor;
};

/* A graph while its names are not yet resolved. */
struct wiring {
    struct reader *r;
    ky_keras_graph *g;
    ky_json *index;     /* name -> part */
    struct name *names; /* [n_names] in the order of the nodes' refs; outputs behind */
    int n_names, room;
    int node; /* whose names are read; -1: of the model's inputs and outputs */
};

static int read_part(struct reader *r, const ky_json *entry, ky_keras_tree *tree,
                     ky_keras_part *ret, ky_err *err);

int ky_keras_part_outputs(const ky_keras_part *p)
{
    switch (p->kind) {
    case KY_KERAS_PART_MODEL:
        return p->graph->n_outputs;
    case KY_KERAS_PART_DISTRIBUTED:
        return ky_keras_part_outputs(p->inner);
    case KY_KERAS_PART_LAYER:
        return 1 + p->layer->both_ways + p->layer->n_states;
    default:
        return 1;
    }
}

/* -- making a graph ---------------------------------------------------------------- */

static int no_memory(ky_err *err)
{
    return ky_fail(err, KY_ENOMEM, "no memory");
}

static int add_node(struct wiring *w, int part, ky_err *err)
{
    ky_keras_graph *g = w->g;

    if (++w->r->n_nodes > KY_KERAS_MAX_CALLS)
        return ky_fail(err, KY_EFULL, "layers are called more than %d times", KY_KERAS_MAX_CALLS);
    if ((g->n_nodes & (g->n_nodes - 1)) == 0) { /* room doubles */
        size_t room = g->n_nodes > 0 ? 2 * (size_t)g->n_nodes : 1;
        ky_keras_node *more = realloc(g->nodes, room * sizeof(*more));

        if (more == NULL)
            return no_memory(err);
        g->nodes = more;
    }
    g->nodes[g->n_nodes++] = (ky_keras_node){ .part = part, .ref = w->n_names };
    return KY_OK;
}

static int add_name(struct wiring *w, struct name name, ky_err *err)
{
    if (++w->r->n_refs > KY_KERAS_MAX_READS)
        return ky_fail(err, KY_EFULL, "layers are called on more than %d tensors",
                       KY_KERAS_MAX_READS);
    if (w->n_names == w->room) {
        size_t room = w->room > 0 ? 2 * (size_t)w->room : 16;
        struct name *more = realloc(w->names, room * sizeof(*more));

        if (more == NULL)
            return no_memory(err);
        w->names = more;
        w->room = (int)room;
    }
    w->names[w->n_names++] = name;
    return KY_OK;
}

/* -- tensors in the text ------------------------------------------------------------ */

/* A call's further arguments: only those that change nothing (training: false, mask: null), and
 * masks, which Keras 3 writes down though they come along by themselves. */
static int read_arguments(struct wiring *w, const ky_json *kwargs, ky_err *err)
{
    ky_keras_node *node = w->node >= 0 ? &w->g->nodes[w->node] : NULL;
    bool operation = node != NULL && w->g->parts[node->part].kind == KY_KERAS_PART_OPERATION;

    for (const char *key = ky_json_next_key(kwargs, NULL); key != NULL;
         key = ky_json_next_key(kwargs, key)) {
        const ky_json *v = ky_json_get(kwargs, key);

        if (strcmp(key, "mask") == 0 && !ky_json_is_null(v) && node != NULL)
            node->masked = true;
        else if (!operation && !ky_keras_is_nothing(v) && strcmp(key, "inputs") != 0)
            return ky_fail(err, KY_EUNSUPPORTED, "it is called with %.60s %s, which kymo cannot do",
                           key, ky_keras_show(v).text);
    }
    return KY_OK;
}

/* ["layer", call, tensor], with Keras 2's options of the call behind. */
static int read_name(struct wiring *w, const ky_json *v, ky_err *err)
{
    const char *layer = ky_json_str(ky_json_at(v, 0), "");
    int64_t part = ky_json_int(ky_json_get(w->index, layer), -1);
    int64_t call = ky_json_int(ky_json_at(v, 1), -1), tensor = ky_json_int(ky_json_at(v, 2), -1);

    if (part < 0)
        return ky_fail(err, KY_EFORMAT, "there is no layer '%.60s' to call it on", layer);
    if (call < 0 || call > KY_KERAS_MAX_CALLS || tensor < 0 || tensor > KY_KERAS_MAX_CALLS)
        return ky_fail(err, KY_EFORMAT, "%s names no output of layer '%.60s'",
                       ky_keras_show(v).text, layer);
    int rc = add_name(w, (struct name){ (int)part, (int)call, (int)tensor }, err);
    return rc < 0 ? rc : read_arguments(w, ky_json_at(v, 3), err);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int read_tensors(struct wiring *w, const ky_json *v, bool constants, ky_err *err);

/* Of a dict, as Keras flattens it: in the order of its keys. */
static int read_tensor_dict(struct wiring *w, const ky_json *v, bool constants, ky_err *err)
{
    size_t n = 0, i = 0;
    const char **keys, *key;
    int rc = KY_OK;

    for (key = ky_json_next_key(v, NULL); key != NULL; key = ky_json_next_key(v, key))
        n++;
    keys = calloc(n + 1, sizeof(*keys));
    if (keys == NULL)
        return no_memory(err);
    for (key = ky_json_next_key(v, NULL); key != NULL; key = ky_json_next_key(v, key))
        keys[i++] = key;
    qsort(keys, n, sizeof(*keys), by_text);
    for (i = 0; rc == KY_OK && i < n; i++)
        rc = read_tensors(w, ky_json_get(v, keys[i]), constants, err);
    free(keys);
    return rc;
}

/* All tensors of a value, however they are nested; operations have constants among them. */
static int read_tensors(struct wiring *w, const ky_json *v, bool constants, ky_err *err)
{
    const ky_json *list = ky_keras_list(v);
    int rc = KY_OK;

    if (strcmp(ky_keras_class(v), "__keras_tensor__") == 0)
        return read_name(w, ky_json_get(ky_json_get(v, "config"), "keras_history"), err);
    if (ky_json_is_string(ky_json_at(list, 0)) && ky_json_len(list) >= 3)
        return read_name(w, list, err);
    if (ky_json_is_array(list)) {
        for (size_t i = 0; rc == KY_OK && i < ky_json_len(list); i++)
            rc = read_tensors(w, ky_json_at(list, i), constants, err);
        return rc;
    }
    if (ky_json_is_object(v) && ky_json_get(v, "class_name") == NULL)
        return read_tensor_dict(w, v, constants, err);
    if (constants)
        return KY_OK;
    return ky_fail(err, KY_EUNSUPPORTED, "it is called on %s, which is no tensor of the model",
                   ky_keras_show(v).text);
}

/* -- calls -------------------------------------------------------------------------- */

/* {"args": [T or [T, T]], "kwargs": {}} of Keras 3. */
static int read_call(struct wiring *w, const ky_json *call, ky_err *err)
{
    const ky_json *args = ky_json_get(call, "args"), *kwargs = ky_json_get(call, "kwargs");
    bool operation = w->g->parts[w->g->nodes[w->node].part].kind == KY_KERAS_PART_OPERATION;
    const ky_json *first =
        ky_json_len(args) > 0 ? ky_json_at(args, 0) : ky_json_get(kwargs, "inputs");
    int rc;

    if (args == NULL) /* [["prev", 0, 0, {kwargs}], ...] of Keras 1 and 2, or a dict of such */
        return read_tensors(w, call, false, err);
    for (size_t i = 1; !operation && i < ky_json_len(args); i++)
        if (!ky_keras_is_nothing(ky_json_at(args, i)))
            return ky_fail(err, KY_EUNSUPPORTED, "it is called with a further argument %s",
                           ky_keras_show(ky_json_at(args, i)).text);
    rc = operation ? read_tensors(w, args, true, err) : read_tensors(w, first, false, err);
    return rc < 0 ? rc : read_arguments(w, kwargs, err);
}

/* One node for every time a part is called; an input is there by itself. */
static int read_calls(struct wiring *w, int part, ky_err *err)
{
    ky_keras_graph *g = w->g;
    ky_keras_part *p = &g->parts[part];
    const ky_json *nodes = ky_json_get(p->entry, "inbound_nodes");
    size_t n = ky_json_len(nodes);
    int rc = KY_OK;

    if ((n == 0) != (p->kind == KY_KERAS_PART_INPUT))
        return ky_fail(err, KY_EFORMAT,
                       n == 0 ? "nothing calls it" : "an input is called on something");
    if (n == 0) {
        p->first = g->n_nodes; /* for read_inputs() */
        return add_node(w, part, err);
    }
    for (size_t i = 0; rc == KY_OK && i < n; i++) {
        const ky_json *call = ky_json_at(nodes, i);
        ky_keras_node *node;

        if ((rc = add_node(w, part, err)) < 0)
            break;
        w->node = g->n_nodes - 1;
        rc = read_call(w, call, err);
        node = &g->nodes[w->node];
        node->n_refs = w->n_names - node->ref;
        if (rc == KY_OK && node->n_refs == 0 && p->kind != KY_KERAS_PART_OPERATION)
            rc = ky_fail(err, KY_EFORMAT, "it is called on nothing");
    }
    return rc;
}

/* -- names become nodes --------------------------------------------------------------- */

/*
 * A model that is called in a model has a call of its own before these in most versions of
 * Keras, made when it was, that the text leaves out: its calls then count from 1.
 */
static void find_first_calls(const struct wiring *w, int *first)
{
    for (int i = 0; i < w->g->n_parts; i++)
        first[i] = w->g->parts[i].kind == KY_KERAS_PART_MODEL ? 1 : 0;
    for (int i = 0; i < w->n_names; i++)
        if (w->names[i].call == 0)
            first[w->names[i].part] = 0;
}

static int resolve_names(struct wiring *w, ky_err *err)
{
    ky_keras_graph *g = w->g;
    size_t n = (size_t)g->n_parts + 1;
    int *first = calloc(n, sizeof(*first)), *at = calloc(n, sizeof(*at));
    int *calls = calloc(n, sizeof(*calls)), rc = KY_OK;

    g->refs = calloc((size_t)w->n_names + 1, sizeof(*g->refs));
    if (first == NULL || at == NULL || calls == NULL || g->refs == NULL)
        rc = no_memory(err);
    else
        find_first_calls(w, first);
    for (int i = g->n_nodes - 1; rc == KY_OK && i >= 0; i--) {
        at[g->nodes[i].part] = i; /* a part's nodes stand together */
        calls[g->nodes[i].part]++;
    }
    for (int i = 0; rc == KY_OK && i < w->n_names; i++) {
        const struct name *name = &w->names[i];
        const ky_keras_part *p = &g->parts[name->part];
        int call = name->call - first[name->part];

        if (call < 0 || call >= calls[name->part] || name->tensor >= ky_keras_part_outputs(p))
            rc = ky_fail(err, KY_EFORMAT, "layer '%.60s' has no call %d with an output %d", p->name,
                         name->call, name->tensor);
        else
            g->refs[i] = (ky_keras_ref){ at[name->part] + call, name->tensor };
    }
    g->n_refs = w->n_names;
    free(first);
    free(at);
    free(calls);
    return rc;
}

/* What stands for the mask that a call of Embedding or Masking makes of tensor `of`. */
struct mask_key {
    char text[80];
};

static struct mask_key mask_key(ky_keras_ref of, double value)
{
    struct mask_key k;

    snprintf(k.text, sizeof(k.text), "%d %d %.9g", of.node, of.tensor, value);
    return k;
}

/* The value that steps without meaning hold, where a part masks these. */
static bool masks_value(const ky_keras_part *p, double *ret)
{
    const ky_layer *l = p->kind == KY_KERAS_PART_LAYER ? &p->layer->layer : NULL;

    if (l == NULL || (l->ops != &ky_masking_ops && l->ops != &ky_embedding_ops))
        return false;
    *ret = l->ops == &ky_masking_ops ? l->cfg.mask_value : 0;
    return l->ops == &ky_masking_ops || l->cfg.mask_zero;
}

/* All masks that are written down begin as a layer's own would. */
static int check_masks(const ky_keras_graph *g, ky_err *err)
{
    ky_json *made = ky_json_object();
    double value;
    int rc = KY_OK;

    for (int i = 0; i < g->n_nodes; i++)
        if (masks_value(&g->parts[g->nodes[i].part], &value))
            ky_json_set(made, mask_key(g->refs[g->nodes[i].ref], value).text,
                        ky_json_of_bool(true));
    for (int i = 0; rc == KY_OK && i < g->n_nodes; i++) {
        const ky_keras_part *p = &g->parts[g->nodes[i].part];
        const ky_json *call = ky_json_at(ky_json_get(p->entry, "inbound_nodes"), 0);

        if (p->kind != KY_KERAS_PART_OPERATION || strcmp(p->class_name, "NotEqual") != 0)
            continue;
        value = ky_json_num(ky_json_at(ky_json_get(call, "args"), 1), NAN);
        if (g->nodes[i].n_refs != 1 ||
            ky_json_get(made, mask_key(g->refs[g->nodes[i].ref], value).text) == NULL)
            rc =
                ky_fail(err, KY_EUNSUPPORTED,
                        "layer '%.60s': operation NotEqual makes a mask that no layer makes, which "
                        "kymo cannot do",
                        p->name);
    }
    ky_json_free(made);
    return rc;
}

/* Every node behind what it reads, as far as possible in the order of the text. */
static int order_nodes(ky_keras_graph *g, ky_err *err)
{
    enum { NEW, OPEN, DONE };
    size_t n = (size_t)g->n_nodes + 1;
    int *next = calloc(n, sizeof(*next)), *stack = calloc(n, sizeof(*stack));
    char *state = calloc(n, 1);
    int depth = 0, done = 0, rc = KY_OK;

    g->order = calloc(n, sizeof(*g->order));
    if (next == NULL || stack == NULL || state == NULL || g->order == NULL)
        rc = no_memory(err);
    for (int i = 0; rc == KY_OK && i < g->n_nodes; i++) {
        if (state[i] == NEW)
            stack[depth++] = i;
        while (rc == KY_OK && depth > 0) {
            int at = stack[depth - 1];
            const ky_keras_node *node = &g->nodes[at];

            state[at] = OPEN;
            if (next[at] == node->n_refs) {
                state[at] = DONE;
                g->order[done++] = at;
                depth--;
                continue;
            }
            int from = g->refs[node->ref + next[at]++].node;
            if (state[from] == OPEN)
                rc = ky_fail(err, KY_EFORMAT,
                             "layer '%.60s' is called on what comes out of it: a circle",
                             g->parts[g->nodes[from].part].name);
            else if (state[from] == NEW)
                stack[depth++] = from;
        }
    }
    free(next);
    free(stack);
    free(state);
    return rc;
}

static void number_tensors(ky_keras_graph *g)
{
    for (int i = 0; i < g->n_nodes; i++) {
        g->nodes[i].out = g->n_tensors;
        g->n_tensors += ky_keras_part_outputs(&g->parts[g->nodes[i].part]);
    }
}

/* -- functional models ---------------------------------------------------------------- */

/* All layers of a list, each with a node of the tree. */
static int read_layers(struct reader *r, const ky_json *layers, ky_keras_tree *tree,
                       ky_keras_graph *g, ky_err *err)
{
    size_t n = ky_json_len(layers);
    int rc = KY_OK;

    if (n == 0 || n > KY_KERAS_MAX_LAYERS)
        return ky_fail(err, KY_EFORMAT, "%zu layers, must be 1 to %d", n, KY_KERAS_MAX_LAYERS);
    r->n_layers += (int)n;
    if (r->n_layers > KY_KERAS_MAX_LAYERS)
        return ky_fail(err, KY_EFULL, "more than %d layers in all", KY_KERAS_MAX_LAYERS);
    g->parts = calloc(n + 1, sizeof(*g->parts)); /* one more for an input that is not there */
    if (g->parts == NULL)
        return no_memory(err);
    for (size_t i = 0; rc == KY_OK && i < n; i++) {
        const ky_json *entry = ky_json_at(layers, i);

        rc = read_part(r, entry, tree, &g->parts[g->n_parts++], err);
        if (rc < 0)
            ky_context(err, rc, "layer '%.60s'", ky_keras_name(entry));
    }
    return rc;
}

static int index_parts(struct wiring *w, ky_err *err)
{
    w->index = ky_json_object();
    if (w->index == NULL)
        return no_memory(err);
    for (int i = 0; i < w->g->n_parts; i++) {
        const char *name = w->g->parts[i].name;

        if (ky_json_get(w->index, name) != NULL)
            return ky_fail(err, KY_EFORMAT, "two layers have the name '%.60s'", name);
        ky_json_set(w->index, name, ky_json_of_int(i));
    }
    return KY_OK;
}

/* input_layers: nodes of inputs, each once, and all of them. */
static int read_inputs(struct wiring *w, const ky_json *config, ky_err *err)
{
    ky_keras_graph *g = w->g;
    int from = w->n_names, all = 0, rc;

    w->node = -1;
    rc = read_tensors(w, ky_json_get(config, "input_layers"), false, err);

    if (rc < 0)
        return ky_context(err, rc, "the model's inputs");
    g->inputs = calloc((size_t)(w->n_names - from) + 1, sizeof(*g->inputs));
    if (g->inputs == NULL)
        return no_memory(err);
    for (int i = 0; i < g->n_parts; i++)
        all += g->parts[i].kind == KY_KERAS_PART_INPUT;
    for (int i = 0; i < w->n_names - from; i++) {
        ky_keras_part *p = &g->parts[w->names[from + i].part];

        if (p->kind != KY_KERAS_PART_INPUT)
            return ky_fail(err, KY_EUNSUPPORTED, "the model's input '%.60s' is no InputLayer",
                           p->name);
        if (p->first < 0)
            return ky_fail(err, KY_EFORMAT, "'%.60s' is twice among the model's inputs", p->name);
        g->inputs[g->n_inputs++] = p->first;
        p->first = -1;
    }
    w->n_names = from;
    if (g->n_inputs != all || all == 0)
        return ky_fail(err, KY_EFORMAT, "%d layers are inputs, the model names %d of them", all,
                       g->n_inputs);
    return KY_OK;
}

static int read_functional(struct reader *r, const ky_json *config, ky_keras_tree *tree,
                           ky_keras_graph *g, ky_err *err)
{
    struct wiring w = { .r = r, .g = g };
    int rc = read_layers(r, ky_json_get(config, "layers"), tree, g, err), outputs = 0;

    if (rc == KY_OK)
        rc = index_parts(&w, err);
    for (int i = 0; rc == KY_OK && i < g->n_parts; i++)
        if ((rc = read_calls(&w, i, err)) < 0)
            ky_context(err, rc, "layer '%.60s' (%.60s)", g->parts[i].name, g->parts[i].class_name);
    if (rc == KY_OK)
        rc = read_inputs(&w, config, err);
    if (rc == KY_OK) {
        outputs = w.n_names;
        rc = read_tensors(&w, ky_json_get(config, "output_layers"), false, err);
        if (rc == KY_OK && w.n_names == outputs)
            rc = ky_fail(err, KY_EFORMAT, "there are none");
        if (rc < 0)
            ky_context(err, rc, "the model's outputs");
    }
    if (rc == KY_OK)
        rc = resolve_names(&w, err);
    if (rc == KY_OK) {
        g->n_outputs = w.n_names - outputs;
        g->outputs = g->refs + outputs;
        number_tensors(g);
        rc = order_nodes(g, err);
    }
    if (rc == KY_OK)
        rc = check_masks(g, err);
    ky_json_free(w.index);
    free(w.names);
    return rc;
}

/* -- sequential models ---------------------------------------------------------------- */

/* An input for layers that have none in the text: what says its shape is theirs. */
static ky_keras_part missing_input(const ky_json *first)
{
    return (ky_keras_part){ .kind = KY_KERAS_PART_INPUT,
                            .class_name = "InputLayer",
                            .name = "input",
                            .entry = first,
                            .first = -1 };
}

/* Room for what a Sequential of these parts needs: each is called once, the last one's outputs
 * are the model's. */
static int make_chain(struct reader *r, ky_keras_graph *g, int n_inputs, ky_err *err)
{
    size_t n = (size_t)g->n_parts + (size_t)ky_keras_part_outputs(&g->parts[g->n_parts - 1]);

    r->n_nodes += g->n_parts;
    r->n_refs += g->n_parts;
    g->nodes = calloc(n, sizeof(*g->nodes));
    g->refs = calloc(n, sizeof(*g->refs));
    g->order = calloc(n, sizeof(*g->order));
    g->inputs = calloc((size_t)n_inputs + 1, sizeof(*g->inputs));
    if (g->nodes == NULL || g->refs == NULL || g->order == NULL || g->inputs == NULL)
        return no_memory(err);
    return KY_OK;
}

static bool gives_states(const ky_keras_part *p)
{
    return p->kind == KY_KERAS_PART_LAYER && p->layer->n_states > 0;
}

/* Part i is called on the n_refs results that stand behind those that are read so far. */
static int chain_part(ky_keras_graph *g, int i, int n_refs, ky_err *err)
{
    const ky_keras_part *p = &g->parts[i];
    int n = ky_keras_part_outputs(p);

    if (n_refs > 0 && p->kind == KY_KERAS_PART_INPUT)
        return ky_fail(err, KY_EFORMAT, "layer '%.60s' is an input behind other layers", p->name);
    if (gives_states(p) || (n != 1 && i + 1 < g->n_parts))
        return ky_fail(err, KY_EUNSUPPORTED, "layer '%.60s' (%.60s) gives several tensors%s",
                       p->name, p->class_name, gives_states(p) ? " (return_state)" : "");
    g->nodes[i] = (ky_keras_node){
        .part = i, .ref = g->n_refs - n_refs, .n_refs = n_refs, .out = g->n_tensors
    };
    g->order[i] = i;
    if (n_refs == 0)
        g->inputs[g->n_inputs++] = i;
    g->n_nodes++;
    g->n_tensors += n;
    return KY_OK;
}

static void read_next(ky_keras_graph *g, int node, int tensor)
{
    g->refs[g->n_refs++] = (ky_keras_ref){ node, tensor };
}

/* Each layer is called on the one before it, from part `from` on. */
static int chain_parts(ky_keras_graph *g, int from, ky_err *err)
{
    int rc = KY_OK;

    for (int i = from; rc == KY_OK && i < g->n_parts; i++) {
        if (i > 0)
            read_next(g, i - 1, 0);
        rc = chain_part(g, i, i > 0, err);
    }
    g->outputs = &g->refs[g->n_refs];
    g->n_outputs = ky_keras_part_outputs(&g->parts[g->n_parts - 1]);
    for (int k = 0; k < g->n_outputs; k++)
        read_next(g, g->n_parts - 1, k);
    return rc;
}

/* Before the layers of g come an input and a part for each branch, taken over. */
static int put_branches(ky_keras_part *branches, int n, ky_keras_graph *g, ky_err *err)
{
    ky_keras_part *all = calloc((size_t)(2 * n + g->n_parts) + 1, sizeof(*all));

    if (all == NULL) {
        for (int i = 0; i < n; i++)
            ky_keras_part_done(&branches[i]);
        return no_memory(err);
    }
    for (int i = 0; i < n; i++) {
        all[2 * i] = missing_input(branches[i].entry);
        all[2 * i + 1] = branches[i];
    }
    if (g->n_parts > 0)
        memcpy(all + 2 * n, g->parts, (size_t)g->n_parts * sizeof(*all));
    free(g->parts);
    g->parts = all;
    g->n_parts += 2 * n;
    return KY_OK;
}

/*
 * Keras 1's Sequential([Merge([a, b]), ...]): the branches stand inside the Merge, each with an
 * input of its own.
 */
static int read_merged(struct reader *r, const ky_json *layers, const ky_json *branches,
                       ky_keras_tree *tree, ky_keras_graph *g, ky_err *err)
{
    ky_keras_graph inner = { 0 };
    int rc = read_layers(r, branches, tree, &inner, err), n = inner.n_parts, rc_put;

    if (rc == KY_OK)
        rc = read_layers(r, layers, tree, g, err);
    rc_put = put_branches(inner.parts, n, g, err);
    free(inner.parts);
    if (rc == KY_OK)
        rc = rc_put;
    if (rc == KY_OK)
        rc = make_chain(r, g, n, err);
    for (int i = 0; rc == KY_OK && i < n; i++) {
        rc = chain_part(g, 2 * i, 0, err);
        read_next(g, 2 * i, 0);
        if (rc == KY_OK)
            rc = chain_part(g, 2 * i + 1, 1, err);
    }
    for (int i = 0; rc == KY_OK && i < n; i++)
        read_next(g, 2 * i + 1, 0);
    if (rc == KY_OK)
        rc = chain_part(g, 2 * n, n, err);
    return rc < 0 ? rc : chain_parts(g, 2 * n + 1, err);
}

/* One after the other, behind an input that may be missing in the text. */
static int read_chain(struct reader *r, const ky_json *layers, ky_keras_tree *tree,
                      ky_keras_graph *g, ky_err *err)
{
    int rc = read_layers(r, layers, tree, g, err);

    if (rc < 0)
        return rc;
    if (g->parts[0].kind != KY_KERAS_PART_INPUT) {
        memmove(g->parts + 1, g->parts, (size_t)g->n_parts++ * sizeof(*g->parts));
        g->parts[0] = missing_input(ky_json_at(layers, 0));
    }
    rc = make_chain(r, g, 1, err);
    return rc < 0 ? rc : chain_parts(g, 0, err);
}

static int read_sequential(struct reader *r, const ky_json *config, ky_keras_tree *tree,
                           ky_keras_graph *g, ky_err *err)
{
    const ky_json *layers = ky_json_is_array(config) ? config : ky_json_get(config, "layers");
    const ky_json *first = ky_json_at(layers, 0);
    const ky_json *branches = ky_json_get(ky_json_get(first, "config"), "layers");
    bool flat = r->flat;
    int rc;

    r->flat = r->version.major < 2 && (flat || r->depth == 1);
    if (strcmp(ky_keras_class(first), "Merge") == 0 && ky_json_len(branches) > 0)
        rc = read_merged(r, layers, branches, tree, g, err);
    else
        rc = read_chain(r, layers, tree, g, err);
    r->flat = flat;
    return rc;
}

/* -- parts ---------------------------------------------------------------------------- */

static bool is_functional(const char *class)
{
    return strcmp(class, "Functional") == 0 || strcmp(class, "Model") == 0;
}

static int calls_of(const ky_keras_part *p)
{
    return p->kind == KY_KERAS_PART_DISTRIBUTED ? calls_of(p->inner)
           : p->kind == KY_KERAS_PART_MODEL     ? p->graph->n_calls
           : p->kind == KY_KERAS_PART_LAYER     ? 1 + p->layer->both_ways
                                                : 1;
}

/* Models that call models multiply: counted before anything is called. */
static int count_calls(ky_keras_graph *g, ky_err *err)
{
    for (int i = 0; i < g->n_nodes; i++) {
        g->n_calls += calls_of(&g->parts[g->nodes[i].part]);
        if (g->n_calls > KY_KERAS_MAX_CALLS)
            return ky_fail(err, KY_EFULL, "layers are called more than %d times",
                           KY_KERAS_MAX_CALLS);
    }
    return KY_OK;
}

static int read_model(struct reader *r, const ky_json *entry, ky_keras_tree *tree, ky_keras_part *p,
                      ky_err *err)
{
    const ky_json *config = ky_json_get(entry, "config");
    int rc;

    p->kind = KY_KERAS_PART_MODEL;
    p->graph = calloc(1, sizeof(*p->graph));
    if (p->graph == NULL)
        return no_memory(err);
    if (++r->depth > MAX_NESTING)
        return ky_fail(err, KY_EFULL, "models inside models, deeper than %d", MAX_NESTING);
    p->graph->config = config;
    rc = is_functional(p->class_name) ? read_functional(r, config, tree, p->graph, err)
                                      : read_sequential(r, config, tree, p->graph, err);
    r->depth--;
    return rc < 0 ? rc : count_calls(p->graph, err);
}

static int read_distributed(struct reader *r, const ky_json *entry, ky_keras_tree *tree,
                            ky_keras_part *p, ky_err *err)
{
    const ky_json *inner = ky_json_get(ky_json_get(entry, "config"), "layer");
    int rc;

    p->kind = KY_KERAS_PART_DISTRIBUTED;
    p->inner = calloc(1, sizeof(*p->inner));
    if (p->inner == NULL)
        return no_memory(err);
    if (++r->depth > MAX_NESTING)
        return ky_fail(err, KY_EFULL, "layers inside layers, deeper than %d", MAX_NESTING);
    rc = read_part(r, inner, tree, p->inner, err);
    r->depth--;
    if (rc == KY_OK &&
        (p->inner->kind == KY_KERAS_PART_INPUT || p->inner->kind == KY_KERAS_PART_OPERATION ||
         ky_keras_part_outputs(p->inner) != 1))
        rc = ky_fail(err, KY_EUNSUPPORTED, "it wraps %.60s, which kymo cannot distribute",
                     p->inner->class_name);
    return rc;
}

/* The nodes of the layers that stand inside of a layer's entry, or behind it. */
static int add_inner_nodes(ky_keras_part *p, ky_err *err)
{
    const ky_keras_layer *l = p->layer;
    const ky_json *config = ky_json_get(p->entry, "config");

    if (l->activation_named &&
        ky_keras_tree_add(p->tree, KY_KERAS_LAYER, l->activation.ops->class_name,
                          l->activation.name) == NULL)
        return no_memory(err);
    for (int i = 0; i < l->layer.n_inner; i++) {
        const ky_layer *inner = &l->layer.inner[i];
        const ky_json *back = i == 0 ? NULL : ky_json_get(config, "backward_layer");
        const char *class =
            ky_keras_class(ky_json_is_null(back) ? ky_json_get(config, "layer") : back);
        ky_keras_tree *node = ky_keras_tree_add(p->tree, KY_KERAS_LAYER, class, inner->name);

        if (node == NULL)
            return no_memory(err);
        node->inner = i;
        node->trainable = inner->trainable;
    }
    return KY_OK;
}

static int read_layer(struct reader *r, const ky_json *entry, ky_keras_part *p, ky_err *err)
{
    p->kind = KY_KERAS_PART_LAYER;
    p->layer = calloc(1, sizeof(*p->layer));
    if (p->layer == NULL)
        return no_memory(err);
    int rc = ky_keras_layer_read(entry, r->version, p->layer, err);
    if (rc < 0)
        return rc;
    p->layer->layer.trainable = p->tree->trainable;
    p->tree->theano_order = p->layer->theano_order;
    return add_inner_nodes(p, err);
}

static enum ky_keras_kind tree_kind(const char *class)
{
    return is_functional(class) || strcmp(class, "Sequential") == 0 ? KY_KERAS_MODEL
           : strcmp(class, "TimeDistributed") == 0                  ? KY_KERAS_DISTRIBUTED
           : strcmp(class, "Bidirectional") == 0                    ? KY_KERAS_BIDIRECTIONAL
                                                                    : KY_KERAS_LAYER;
}

/*
 * What Keras 3 notes down of working out a mask: an operation, not a layer. Archives name its
 * module; HDF5 files have nothing but a config without what every layer's has.
 */
static bool is_operation(const struct reader *r, const ky_json *entry)
{
    const char *module = ky_json_str(ky_json_get(entry, "module"), NULL);
    const char *class = ky_keras_class(entry);
    const ky_json *config = ky_json_get(entry, "config");
    const ky_layer_ops *ops = ky_layer_find(class);

    if (module != NULL)
        return strncmp(module, "keras.src.ops.", 14) == 0;
    if (r->version.major < 3 || ky_json_get(config, "trainable") != NULL ||
        ky_json_get(ky_json_at(ky_json_get(entry, "inbound_nodes"), 0), "args") == NULL)
        return false;
    if (strcmp(class, "ZerosLike") == 0)
        return true;
    return ky_json_get(config, "dtype") == NULL && (ops == NULL || ops->max_in != 0);
}

/* Of a layer, what wraps one, or a model; its node of the tree goes under `tree`. */
static int read_part(struct reader *r, const ky_json *entry, ky_keras_tree *tree, ky_keras_part *p,
                     ky_err *err)
{
    const ky_json *config = ky_json_get(entry, "config");
    int rc = ky_keras_check_origin(entry, err);

    *p = (ky_keras_part){ .class_name = ky_json_str(ky_json_get(entry, "class_name"), "(none)"),
                          .name = ky_keras_name(entry),
                          .entry = entry,
                          .first = -1 };
    if (rc < 0)
        return rc;
    if (is_operation(r, entry)) {
        p->kind = KY_KERAS_PART_OPERATION;
        return KY_OK;
    }
    if (r->flat && strcmp(p->class_name, "Sequential") == 0) {
        p->tree = tree;
        return read_model(r, entry, tree, p, err);
    }
    p->tree = ky_keras_tree_add(tree, tree_kind(p->class_name), p->class_name, p->name);
    if (p->tree == NULL)
        return no_memory(err);
    p->tree->trainable = !r->frozen && ky_json_bool(ky_json_get(config, "trainable"), true);
    if (strcmp(p->class_name, "InputLayer") == 0) {
        p->kind = KY_KERAS_PART_INPUT;
        return ky_keras_check_input(entry, err);
    }
    if (p->tree->kind == KY_KERAS_LAYER || p->tree->kind == KY_KERAS_BIDIRECTIONAL)
        return read_layer(r, entry, p, err);
    bool frozen = r->frozen, flat = r->flat;
    r->frozen = !p->tree->trainable;
    r->flat = false;
    rc = p->tree->kind == KY_KERAS_MODEL ? read_model(r, entry, p->tree, p, err)
                                         : read_distributed(r, entry, p->tree, p, err);
    r->frozen = frozen;
    r->flat = flat;
    return rc;
}

int ky_keras_parts_read(const ky_json *root, ky_keras_version version, ky_keras_tree *tree,
                        ky_keras_part *ret, ky_err *err)
{
    struct reader r = { .version = version };
    const char *class = ky_json_str(ky_json_get(root, "class_name"), "(none)");

    *ret = (ky_keras_part){
        .class_name = class, .name = ky_keras_name(root), .entry = root, .tree = tree
    };
    if (!is_functional(class) && strcmp(class, "Sequential") != 0)
        return ky_fail(err, KY_EUNSUPPORTED, "a model of class %.60s is not one kymo can run yet",
                       class);
    return read_model(&r, root, tree, ret, err);
}

void ky_keras_part_done(ky_keras_part *p)
{
    if (p->layer != NULL)
        ky_keras_layer_done(p->layer);
    free(p->layer);
    if (p->inner != NULL)
        ky_keras_part_done(p->inner);
    free(p->inner);
    if (p->graph != NULL) {
        for (int i = 0; i < p->graph->n_parts; i++)
            ky_keras_part_done(&p->graph->parts[i]);
        free(p->graph->parts);
        free(p->graph->nodes);
        free(p->graph->refs);
        free(p->graph->order);
        free(p->graph->inputs);
    }
    free(p->graph);
}
