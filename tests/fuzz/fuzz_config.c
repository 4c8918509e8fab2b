/* A model's configuration from anybody: a graph that runs, with a tree that fits it, or a refusal
 * with words. The first byte chooses whose conventions the text follows. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "models/blueprint.h"
#include "models/keras.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Each node of the tree points at a layer of the model, or at none. */
static void check_tree(const ky_keras_tree *t, const ky_model *m)
{
    if (t->layer < -1 || t->layer >= m->n_layers || t->inner < -1 || t->inner > 1)
        abort();
    if (t->inner >= 0 && m->layers[t->layer].n_inner != 2)
        abort();
    for (int i = 0; i < t->n; i++)
        check_tree(t->child[i], m);
}

/* Each call reads what is there before it. */
static void check_calls(const ky_model *m)
{
    for (int i = 0; i < m->n_layers; i++) {
        const ky_layer *l = &m->layers[i];

        if (l->shares < 0 || l->shares > i || l->n_in < 1)
            abort();
        for (int k = 0; k < l->n_in; k++)
            if (l->from[k] >= i || l->from[k] < -m->n_inputs)
                abort();
    }
}

/* Reals of all inputs, or outputs, of one row of T steps; more than `most`: 0. */
static size_t reals(const ky_model *m, bool outputs, int T, size_t most, size_t *each)
{
    int n = outputs ? m->n_outputs : m->n_inputs;
    size_t sum = 0;

    for (int k = 0; k < n; k++) {
        int dims[KY_MAX_RANK];
        const char *name;
        int rank =
            outputs ? ky_model_output(m, k, T, dims, &name) : ky_model_input(m, k, T, dims, &name);
        double size = 1;

        for (int i = 0; i < rank; i++)
            size *= dims[i];
        if (size + (double)sum > (double)most)
            return 0;
        each[k] = (size_t)size;
        sum += each[k];
    }
    return sum;
}

/* Zeros through the model, where that is little work. */
static void answer(const ky_model *m)
{
    enum { MOST = 10000, ENDS = 64 };
    int T = m->info.window > 0 ? m->info.window : 4;
    size_t in[ENDS], out[ENDS];
    const ky_real *x[ENDS];
    ky_real *y[ENDS], *room;
    ky_work *w;

    if (m->n_inputs > ENDS || m->n_outputs > ENDS || m->info.macs_window > 1000000 ||
        (double)m->info.macs_step * T > 1e6 || m->n_layers > 100 || !ky_model_fits(m, T) ||
        reals(m, false, T, MOST, in) == 0 || reals(m, true, T, MOST, out) == 0)
        return;
    for (int i = 0; i < m->n_layers; i++)
        if (ky_shape_step(&m->layers[i].tensor) > MOST)
            return;
    room = calloc(MOST, sizeof(*room));
    w = ky_work_new(m, T, 1);
    for (int k = 0; k < m->n_inputs; k++)
        x[k] = room;
    for (int k = 0; k < m->n_outputs; k++)
        y[k] = calloc(out[k] + 1, sizeof(*y[k]));
    if (w != NULL)
        ky_model_run(m, w, 1, T, x, y);
    for (int k = 0; k < m->n_outputs; k++)
        free(y[k]);
    ky_work_free(w);
    free(room);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const versions[] = { "1.2.2", "2.2.4-tf", "2.15.0", "3.15.0" };
    ky_keras_tree *tree = NULL;
    ky_model *m = NULL;
    ky_err err = { 0 };

    if (size == 0)
        return 0;
    ky_keras_version v = ky_keras_version_read(versions[data[0] % 4]);
    int rc = ky_keras_config_tree((const char *)data + 1, size - 1, v, &m, &tree, &err);
    if ((rc < 0) != (m == NULL) || (rc < 0) != (tree == NULL) || (rc < 0 && err.text[0] == '\0'))
        abort();
    if (rc == KY_OK) {
        check_tree(tree, m);
        check_calls(m);
        if (m->n_weights < 1000000 && ky_model_finish(m, &err) == KY_OK) {
            ky_model_init(m, 1);
            if (ky_model_pack(m, &err) == KY_OK)
                answer(m);
        }
    }
    ky_keras_tree_free(tree);
    ky_model_free(m);
    return 0;
}
