/* After map_graph in keras/src/ops/function.py, which tf.keras shares. */
#include "models/keras_order.h"

#include <stdlib.h>

/*
 * Tensors are numbered here 0 .. n_inputs-1 for inputs, then the calls. An item is where its
 * first call is.
 */
struct graph {
    const ky_model *m;
    int n;         /* inputs and calls */
    int *finished; /* [n] calls, each behind what it reads; those that are needed */
    int n_finished;
    int *item;              /* [n] the tensor that stands for the layer */
    int *depth;             /* [n] of a call */
    int *layer_depth, *met; /* [n] of an item; met -1: not yet */
    int n_met;
    int *stack, *next;   /* [n] calls in progress, and their next input */
    unsigned char *seen; /* [n] */
};

int ky_keras_order_call(const ky_model *m, int i)
{
    const ky_layer *l = &m->layers[i], *before = &m->layers[i > 0 ? i - 1 : 0];
    bool second = i > 0 && l->n_inner == 2 && l->cfg.merge_mode == KY_BACKWARD &&
                  before->shares == l->shares && before->cfg.merge_mode == KY_FORWARD &&
                  before->from[0] == l->from[0];

    return second ? i - 1 : i;
}

static int tensor_number(const struct graph *g, int tensor)
{
    return tensor < 0 ? -1 - tensor : g->m->n_inputs + ky_keras_order_call(g->m, tensor);
}

/* What call t reads. */
static int parents(const struct graph *g, int t, const int **ret)
{
    if (t < g->m->n_inputs)
        return 0;
    *ret = g->m->layers[t - g->m->n_inputs].from;
    return g->m->layers[t - g->m->n_inputs].n_in;
}

static void meet(struct graph *g, int t, int *ret_depth)
{
    if (g->met[g->item[t]] < 0)
        g->met[g->item[t]] = g->n_met++;
    g->seen[t] = 1;
    g->next[*ret_depth] = 0;
    g->stack[(*ret_depth)++] = t;
}

/* From an output towards the inputs, depth first; a call is finished when all it reads is. */
static void visit(struct graph *g, int output)
{
    int depth = 0;

    if (!g->seen[output])
        meet(g, output, &depth);
    while (depth > 0) {
        int t = g->stack[depth - 1];
        const int *from = NULL;
        int n = parents(g, t, &from);

        if (g->next[depth - 1] == n) {
            g->finished[g->n_finished++] = t;
            depth--;
            continue;
        }
        int p = tensor_number(g, from[g->next[depth - 1]++]);
        if (!g->seen[p])
            meet(g, p, &depth);
    }
}

/* A layer lies as deep as the deepest of its calls that were looked at. */
static void measure(struct graph *g)
{
    for (int i = g->n_finished - 1; i >= 0; i--) {
        int t = g->finished[i], item = g->item[t], n;
        const int *from = NULL;

        if (g->depth[t] < g->layer_depth[item])
            g->depth[t] = g->layer_depth[item];
        g->layer_depth[item] = g->depth[t];
        n = parents(g, t, &from);
        for (int k = 0; k < n; k++) {
            int p = tensor_number(g, from[k]);

            if (g->depth[p] < g->depth[t] + 1)
                g->depth[p] = g->depth[t] + 1;
        }
    }
}

static int by_depth(const void *a, const void *b)
{
    const ky_keras_item *x = a, *y = b;

    return x->depth != y->depth ? y->depth - x->depth : x->met - y->met;
}

/* Inputs that lead nowhere come before what else is at no distance from an output (met -1). */
static void list_items(const struct graph *g, ky_keras_order *ret)
{
    const ky_model *m = g->m;

    for (int t = 0; t < g->n; t++)
        if (g->item[t] == t && (g->met[t] >= 0 || t < m->n_inputs))
            ret->item[ret->n++] = (ky_keras_item){ .input = t < m->n_inputs ? t : -1,
                                                   .layer = t < m->n_inputs ? -1 : t - m->n_inputs,
                                                   .depth = g->layer_depth[t],
                                                   .met = g->met[t] };
    qsort(ret->item, (size_t)ret->n, sizeof(*ret->item), by_depth);
}

/* Calls of a layer, counted in our order. */
static int number_nodes(const struct graph *g, ky_keras_order *ret, ky_err *err)
{
    const ky_model *m = g->m;
    int *count = calloc((size_t)m->n_layers + 1, sizeof(*count));

    if (count == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory");
    for (int i = 0; i < m->n_layers; i++) {
        int call = ky_keras_order_call(m, i);

        ret->node[i] = call < i                   ? ret->node[call]
                       : g->seen[m->n_inputs + i] ? count[m->layers[i].shares]++
                                                  : -1;
    }
    free(count);
    return KY_OK;
}

static bool make_graph(struct graph *g, const ky_model *m)
{
    int n = m->n_inputs + m->n_layers, *all;

    *g = (struct graph){ .m = m, .n = n };
    all = calloc((size_t)n + 1, 7 * sizeof(*all));
    g->seen = calloc((size_t)n + 1, 1);
    if (all == NULL || g->seen == NULL) {
        free(all);
        free(g->seen);
        return false;
    }
    int **parts[] = { &g->finished, &g->item,  &g->depth, &g->layer_depth,
                      &g->met,      &g->stack, &g->next };
    for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++)
        *parts[i] = all + i * (size_t)n;
    for (int t = 0; t < n; t++) {
        g->met[t] = -1;
        g->item[t] = t < m->n_inputs ? t : m->n_inputs + m->layers[t - m->n_inputs].shares;
    }
    return true;
}

/* A Sequential has no place for one of two outputs. */
static bool is_chain(const ky_model *m)
{
    for (int i = 0; i < m->n_layers; i++)
        if (m->layers[i].n_inner == 2 && m->layers[i].cfg.merge_mode >= KY_FORWARD)
            return false;
    return ky_model_is_chain(m);
}

int ky_keras_order_of(const ky_model *m, ky_keras_order *ret, ky_err *err)
{
    struct graph g;

    *ret = (ky_keras_order){ .chain = is_chain(m) };
    if (!make_graph(&g, m))
        return ky_fail(err, KY_ENOMEM, "no memory");
    ret->item = calloc((size_t)g.n + 1, sizeof(*ret->item));
    ret->node = calloc((size_t)m->n_layers + 1, sizeof(*ret->node));
    int rc = ret->item == NULL || ret->node == NULL ? ky_fail(err, KY_ENOMEM, "no memory") : KY_OK;
    if (rc == KY_OK) {
        for (int k = 0; k < m->n_outputs; k++)
            visit(&g, tensor_number(&g, m->outputs[k]));
        measure(&g);
        list_items(&g, ret);
        rc = number_nodes(&g, ret, err);
    }
    free(g.finished);
    free(g.seen);
    if (rc < 0)
        ky_keras_order_done(ret);
    return rc;
}

void ky_keras_order_done(ky_keras_order *o)
{
    free(o->item);
    free(o->node);
    *o = (ky_keras_order){ .n = 0 };
}
