/* The tree of a configuration: what is nested in a file whose model is flat. */
#include "models/keras.h"

#include <stdio.h>
#include <stdlib.h>

ky_keras_tree *ky_keras_tree_add(ky_keras_tree *parent, enum ky_keras_kind kind,
                                 const char *class_name, const char *name)
{
    ky_keras_tree *t = calloc(1, sizeof(*t));

    if (t == NULL)
        return NULL;
    t->kind = kind;
    t->trainable = true;
    t->layer = t->inner = -1;
    snprintf(t->class_name, sizeof(t->class_name), "%s", class_name);
    snprintf(t->name, sizeof(t->name), "%s", name);
    if (parent == NULL)
        return t;
    ky_keras_tree **more = ky_grow(parent->child, (size_t)parent->n, sizeof(*more));
    if (more == NULL) {
        free(t);
        return NULL;
    }
    parent->child = more;
    parent->child[parent->n++] = t;
    return t;
}

void ky_keras_tree_free(ky_keras_tree *t)
{
    if (t == NULL)
        return;
    for (int i = 0; i < t->n; i++)
        ky_keras_tree_free(t->child[i]);
    free(t->child);
    free(t);
}
