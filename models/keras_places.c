/* Where the arrays of each layer stand in a file: in Keras's old form and in its new one. */
#include "models/keras_arrays.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *join(const char *folder, const char *name)
{
    char *path;

    return asprintf(&path, "%s/%s", folder, name) < 0 ? NULL : path;
}

/* -- the old form: a group for each layer, its arrays in one list -------------------------- */

/* An array of a leaf, in the order of the list. */
struct place {
    ky_keras_leaf *leaf;
    int k;
};

struct places {
    struct place *at;
    size_t n, room;
};

static bool push(struct places *p, ky_keras_leaf *leaf, int k)
{
    if (p->n == p->room) {
        size_t room = p->room * 2 + 16;
        struct place *more = realloc(p->at, room * sizeof(*more));

        if (more == NULL)
            return false;
        p->at = more;
        p->room = room;
    }
    p->at[p->n++] = (struct place){ leaf, k };
    return true;
}

static bool append(struct places *to, const struct places *from)
{
    for (size_t i = 0; i < from->n; i++)
        if (!push(to, from->at[i].leaf, from->at[i].k))
            return false;
    return true;
}

/* Arrays of a leaf that are trained; the gates of Keras 1 all are. */
static int count_trained(const ky_layer *l, int n)
{
    int trained = 0;

    if (n > l->n_weights)
        return l->n_weights == 0 || l->weights[0].trainable ? n : 0;
    for (int i = 0; i < n; i++)
        trained += l->weights[i].trainable;
    return trained;
}

/*
 * Trained arrays first, then the others. What is frozen counts as not trained: a layer's arrays
 * stay together then, and of a model's first come those it would train (Keras 2.3.1,
 * Network.non_trainable_weights).
 */
static bool gather(const ky_keras_leaves *all, const ky_keras_tree *t, bool gates_apart,
                   struct places *trained, struct places *others)
{
    struct places mine = { 0 }, rest = { 0 };
    ky_keras_leaf *leaf = ky_keras_leaf_of(all, t);
    bool good = true;

    if (leaf != NULL) {
        int n = ky_keras_leaf_count(all, leaf, gates_apart);
        int n_trained = count_trained(ky_keras_leaf_layer(all, leaf), n);

        for (int k = 0; good && k < n; k++)
            good = push(k < n_trained ? &mine : &rest, leaf, k);
    }
    for (int i = 0; good && i < t->n; i++)
        good = gather(all, t->child[i], gates_apart, &mine, &rest);
    good = good && append(t->trainable ? trained : others, &mine) && append(others, &rest);
    free(mine.at);
    free(rest.at);
    return good;
}

/* All arrays of a layer of the outer model, whatever is nested in it. */
static int list_arrays(const ky_keras_leaves *all, const ky_keras_tree *t, bool gates_apart,
                       struct places *ret, ky_err *err)
{
    struct places others = { 0 };
    bool good = gather(all, t, gates_apart, ret, &others) && append(ret, &others);

    free(others.at);
    return good ? KY_OK : ky_fail(err, KY_ENOMEM, "no memory");
}

/* The layers of the file that have arrays. */
struct stored {
    char *group;
    char **names;
    size_t n;
};

struct file_layers {
    struct stored *layer;
    size_t n;
};

static void free_stored(struct file_layers *s)
{
    for (size_t i = 0; i < s->n; i++) {
        free(s->layer[i].group);
        free(s->layer[i].names);
    }
    free(s->layer);
}

static int find_stored(ky_h5 *f, const char *root, struct file_layers *ret, ky_err *err)
{
    char **names = NULL;
    size_t n = 0;
    int rc = ky_h5_attr_strs(f, root[0] == '\0' ? "/" : root, "layer_names", &names, &n, err);

    if (rc < 0)
        return rc;
    ret->layer = calloc(n + 1, sizeof(*ret->layer));
    if (ret->layer == NULL)
        rc = ky_fail(err, KY_ENOMEM, "%zu layers: no memory", n);
    for (size_t i = 0; rc == KY_OK && i < n; i++) {
        struct stored s = { .group = join(root, names[i]) };

        if (s.group == NULL)
            rc = ky_fail(err, KY_ENOMEM, "layer '%.60s': no memory", names[i]);
        else
            rc = ky_h5_attr_strs(f, s.group, "weight_names", &s.names, &s.n, err);
        if (rc == KY_OK && s.n > 0)
            ret->layer[ret->n++] = s;
        else {
            free(s.group);
            free(s.names);
        }
    }
    free(names);
    return rc;
}

/* Give the arrays of one layer of the file to its leaves. */
static int hand_out(const struct stored *s, const struct places *p, ky_err *err)
{
    for (size_t i = 0; i < p->n; i++) {
        ky_keras_leaf *leaf = p->at[i].leaf;

        if (leaf->path == NULL)
            leaf->path = calloc(p->n, sizeof(*leaf->path));
        if (leaf->path == NULL || (leaf->path[p->at[i].k] = join(s->group, s->names[i])) == NULL)
            return ky_fail(err, KY_ENOMEM, "no memory");
        if (leaf->n <= p->at[i].k)
            leaf->n = p->at[i].k + 1;
    }
    return KY_OK;
}

/* tf.keras's Normalization also stores how many samples it has seen. */
static int add_count(const ky_keras_leaves *all, const struct stored *s, struct places *p,
                     ky_err *err)
{
    if (p->n == 0 || s->n != p->n + 1)
        return KY_OK;
    struct place last = p->at[p->n - 1];
    const ky_layer *l = ky_keras_leaf_layer(all, last.leaf);
    if (strcmp(l->ops->class_name, "Normalization") != 0)
        return KY_OK;
    return push(p, last.leaf, last.k + 1) ? KY_OK : ky_fail(err, KY_ENOMEM, "no memory");
}

static int match_layer(const ky_keras_leaves *all, const ky_keras_tree *t, const struct stored *s,
                       ky_err *err)
{
    struct places plain = { 0 };
    int rc = list_arrays(all, t, false, &plain, err);
    size_t want = plain.n;

    if (rc == KY_OK && plain.n != s->n && all->version.major == 1) {
        plain.n = 0;
        rc = list_arrays(all, t, true, &plain, err);
    }
    if (rc == KY_OK)
        rc = add_count(all, s, &plain, err);
    if (rc == KY_OK && plain.n != s->n)
        rc = ky_fail(err, KY_ESHAPE, "%zu arrays in the file, the configuration wants %zu", s->n,
                     want);
    if (rc == KY_OK)
        rc = hand_out(s, &plain, err);
    free(plain.at);
    return rc < 0 ? ky_context(err, rc, "layer '%s'", t->name) : KY_OK;
}

static bool has_arrays(const ky_keras_leaves *all, const ky_keras_tree *t)
{
    bool has = ky_keras_leaf_of(all, t) != NULL;

    for (int i = 0; !has && i < t->n; i++)
        has = has_arrays(all, t->child[i]);
    return has;
}

/* Layers match by position among those that have weights; names play no part. */
int ky_keras_places_by_name(ky_keras_leaves *all, const ky_keras_tree *t, const char *group,
                            ky_err *err)
{
    struct file_layers s = { 0 };
    size_t n = 0, at = 0;
    int rc = find_stored(all->f, group, &s, err);

    for (int i = 0; i < t->n; i++)
        n += has_arrays(all, t->child[i]);
    if (rc == KY_OK && n != s.n)
        rc = ky_fail(err, KY_ESHAPE,
                     "the file has arrays for %zu layers, its configuration wants %zu", s.n, n);
    for (int i = 0; rc == KY_OK && i < t->n; i++)
        if (has_arrays(all, t->child[i]))
            rc = match_layer(all, t->child[i], &s.layer[at++], err);
    free_stored(&s);
    return rc;
}

/* -- the new form: a group for each object, named by its class ------------------------------- */

enum { NAME = 80 };

static void class_group(const ky_keras_tree *t, char *to)
{
    /* A Model made of a graph is a Functional to Keras. */
    bool graph = t->kind == KY_KERAS_MODEL && strcmp(t->class_name, "Model") == 0;

    ky_snake_case(graph ? "Functional" : t->class_name, to, NAME);
}

/* A class among the layers of a model, how many of it have been met, and, where the numbers have
 * gaps, those that are there. */
struct class_count {
    char name[NAME];
    size_t len;
    int met;
    int *number;
    size_t n, room;
};

struct classes {
    struct class_count *at;
    size_t n;
};

/* The entry of a class, new ones at the end, where there is room for all children. */
static struct class_count *class_of(struct classes *all, const ky_keras_tree *t)
{
    char name[NAME];

    class_group(t, name);
    for (size_t i = 0; i < all->n; i++)
        if (strcmp(all->at[i].name, name) == 0)
            return &all->at[i];
    struct class_count *c = &all->at[all->n++];
    memcpy(c->name, name, sizeof(name));
    c->len = strlen(name);
    return c;
}

static void free_classes(struct classes *all)
{
    for (size_t i = 0; i < all->n; i++)
        free(all->at[i].number);
    free(all->at);
}

/* If a group's name is the class's, with a number or without: note it. */
static int add_number(const char *name, bool is_group, void *arg)
{
    struct class_count *c = arg;
    char *end;
    long v = 0;

    if (!is_group || strncmp(name, c->name, c->len) != 0)
        return 0;
    if (name[c->len] != '\0') {
        if (name[c->len] != '_' || !isdigit((unsigned char)name[c->len + 1]))
            return 0;
        v = strtol(name + c->len + 1, &end, 10);
        if (*end != '\0' || v <= 0 || v > 1000000)
            return 0;
    }
    if (c->n == c->room) {
        size_t room = c->room * 2 + 16;
        int *more = realloc(c->number, room * sizeof(*more));

        if (more == NULL)
            return KY_ENOMEM;
        c->number = more;
        c->room = room;
    }
    c->number[c->n++] = (int)v;
    return 0;
}

static int by_number(const void *a, const void *b)
{
    int x = *(const int *)a, y = *(const int *)b;

    return (x > y) - (x < y);
}

/* tf.keras 2.12 and 2.13 counted some objects twice, so that numbers are left out: there the
 * k-th that is there is meant. */
static int list_numbers(ky_h5 *f, const char *container, struct class_count *c, ky_err *err)
{
    int rc = ky_h5_list(f, container, add_number, c, err);

    if (c->n > 0)
        qsort(c->number, c->n, sizeof(*c->number), by_number);
    return rc;
}

struct walk {
    ky_keras_leaves *all;
    ky_err *err;
};

static int place_node(struct walk *w, const ky_keras_tree *t, const char *path);

/* The child under a name of its own. */
static int place_part(struct walk *w, const ky_keras_tree *child, const char *path,
                      const char *name)
{
    char *at = join(path, name);
    int rc = at == NULL ? ky_fail(w->err, KY_ENOMEM, "no memory") : place_node(w, child, at);

    free(at);
    return rc;
}

/* The layers of a model, each by its class and a number. */
static int place_counted(struct walk *w, const ky_keras_tree *t, const char *container, bool gaps)
{
    struct classes all = { .at = calloc((size_t)t->n + 1, sizeof(*all.at)) };
    int rc = all.at == NULL ? ky_fail(w->err, KY_ENOMEM, "no memory") : KY_OK;

    for (int i = 0; rc == KY_OK && i < t->n; i++) {
        struct class_count *c = class_of(&all, t->child[i]);
        char name[NAME + 16];
        int k = c->met++;

        if (gaps && k == 0)
            rc = list_numbers(w->all->f, container, c, w->err);
        if ((size_t)k < c->n)
            k = c->number[k];
        snprintf(name, sizeof(name), k > 0 ? "%s_%d" : "%s", c->name, k);
        if (rc == KY_OK)
            rc = place_part(w, t->child[i], container, name);
    }
    free_classes(&all);
    return rc;
}

static int place_children(struct walk *w, const ky_keras_tree *t, const char *path)
{
    static const char *const names[] = { "layers", "_layer_checkpoint_dependencies" };
    char *container[2] = { join(path, names[0]), join(path, names[1]) };
    int rc;

    if (container[0] == NULL || container[1] == NULL)
        rc = ky_fail(w->err, KY_ENOMEM, "no memory");
    else {
        bool old =
            !ky_h5_is_group(w->all->f, container[0]) && ky_h5_is_group(w->all->f, container[1]);

        rc = place_counted(w, t, container[old], old);
    }
    free(container[0]);
    free(container[1]);
    return rc;
}

bool ky_keras_has_cell(const ky_layer *l)
{
    static const char *const classes[] = { "LSTM", "GRU", "SimpleRNN", "ConvLSTM2D" };

    for (size_t i = 0; i < sizeof(classes) / sizeof(*classes); i++)
        if (strcmp(l->ops->class_name, classes[i]) == 0)
            return true;
    return false;
}

/* The arrays 0, 1, ... of a leaf: its own, or those of its cell. */
static int place_leaf(struct walk *w, ky_keras_leaf *leaf, const char *path)
{
    ky_h5 *f = w->all->f;
    const ky_layer *l = ky_keras_leaf_layer(w->all, leaf);
    char *vars = join(path, ky_keras_has_cell(l) ? "cell/vars" : "vars");
    int rc = KY_OK;

    if (leaf->path == NULL)
        leaf->path = calloc((size_t)l->n_weights + 1, sizeof(*leaf->path));
    if (leaf->path == NULL || vars == NULL)
        rc = ky_fail(w->err, KY_ENOMEM, "no memory");
    for (int k = 0; rc == KY_OK && k <= l->n_weights; k++) {
        char number[12];

        snprintf(number, sizeof(number), "%d", k);
        char *array = join(vars, number);
        if (array == NULL)
            rc = ky_fail(w->err, KY_ENOMEM, "no memory");
        else if (ky_h5_exists(f, array))
            leaf->path[leaf->n++] = array;
        else {
            if (k < l->n_weights)
                rc = ky_fail(w->err, KY_ESHAPE, "layer '%s': the file has no array %s",
                             leaf->node->name, array);
            free(array);
            break;
        }
    }
    free(vars);
    return rc;
}

static int place_node(struct walk *w, const ky_keras_tree *t, const char *path)
{
    static const char *const sides[] = { "forward_layer", "backward_layer" };
    ky_keras_leaf *leaf = ky_keras_leaf_of(w->all, t);
    int rc = leaf != NULL && leaf->n == 0 ? place_leaf(w, leaf, path) : KY_OK;

    if (t->kind == KY_KERAS_MODEL)
        return place_children(w, t, path);
    for (int i = 0; rc == KY_OK && i < t->n; i++)
        rc = place_part(w, t->child[i], path,
                        t->kind == KY_KERAS_BIDIRECTIONAL ? sides[i % 2]
                        : t->kind == KY_KERAS_DISTRIBUTED ? "layer"
                                                          : "activation");
    return rc;
}

int ky_keras_places_by_class(ky_keras_leaves *all, const ky_keras_tree *t, ky_err *err)
{
    struct walk w = { all, err };

    return place_node(&w, t, "");
}
