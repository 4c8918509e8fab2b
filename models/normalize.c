/* A scaler that stood outside a model, put into it. */
#include "models/blueprint.h"

#include <stdlib.h>
#include <string.h>

#include "models/layer_tools.h"

/* Our own copies of the wrapped layers, as ky_model_call takes them over; NULL: no memory, or
 * there are none. */
static ky_layer *copy_inner(const ky_layer *l)
{
    ky_layer *inner = l->n_inner > 0 ? calloc((size_t)l->n_inner, sizeof(*inner)) : NULL;

    for (int i = 0; inner != NULL && i < l->n_inner; i++) {
        inner[i] = l->inner[i];
        inner[i].from = NULL;
        inner[i].ins = NULL;
        inner[i].inner = NULL;
        inner[i].n_inner = 0;
    }
    return inner;
}

/* Call i of m again, one place further on and behind the new first layer. */
static int copy_call(const ky_model *m, int i, ky_model *to, ky_err *err)
{
    const ky_layer *l = &m->layers[i];
    ky_layer c = *l;
    int *from = calloc((size_t)l->n_in + 1, sizeof(*from));
    int rc;

    c.inner = copy_inner(l);
    if (from == NULL || (c.inner == NULL && l->n_inner > 0)) {
        free(from);
        free(c.inner);
        return ky_fail(err, KY_ENOMEM, "no memory");
    }
    for (int k = 0; k < l->n_in; k++)
        from[k] = l->from[k] < 0 ? 0 : l->from[k] + 1;
    c.shares = l->shares == i ? -1 : l->shares + 1;
    rc = ky_model_call(to, &c, l->n_in, from, err);
    free(from);
    return rc < 0 ? rc : KY_OK;
}

static int add_scaler(ky_model *to, ky_err *err)
{
    ky_layer l;

    ky_layer_init(&l, &ky_batchnorm_ops, "normalization");
    l.trainable = false;
    l.cfg.center = l.cfg.scale = false;
    l.cfg.epsilon = 0;
    return ky_model_add(to, &l, err);
}

static int copy_outputs(const ky_model *m, ky_model *to, ky_err *err)
{
    int *out = calloc((size_t)m->n_outputs + 1, sizeof(*out));

    if (out == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory");
    for (int k = 0; k < m->n_outputs; k++)
        out[k] = m->outputs[k] < 0 ? 0 : m->outputs[k] + 1;
    int rc = ky_model_set_outputs(to, m->n_outputs, out, err);
    free(out);
    return rc;
}

static int copy_graph(const ky_model *m, ky_model **ret, ky_err *err)
{
    int rc = ky_model_new(m->name, &m->inputs[0], ret, err);

    if (rc == KY_OK && m->input_names != NULL && m->input_names[0] != NULL)
        rc = ky_model_name_input(*ret, 0, m->input_names[0], err);
    if (rc == KY_OK)
        rc = add_scaler(*ret, err);
    for (int i = 0; rc >= 0 && i < m->n_layers; i++)
        rc = copy_call(m, i, *ret, err);
    if (rc >= 0)
        rc = copy_outputs(m, *ret, err);
    return rc < 0 ? rc : ky_model_finish(*ret, err);
}

static void copy_weights(const ky_model *m, const double *mean, const double *std, ky_model *to)
{
    for (int i = 0; i < m->n_layers; i++)
        memcpy(to->weights + to->layers[i + 1].weights_at, m->weights + m->layers[i].weights_at,
               m->layers[i].weight_reals * sizeof(*m->weights));
    for (int c = 0; c < to->layers[0].weights[0].d[0]; c++) {
        ky_model_weight(to, 0, 0)[c] = (ky_real)mean[c];
        ky_model_weight(to, 0, 1)[c] = (ky_real)(std[c] * std[c]);
    }
}

static int copy_meta(const ky_model *m, ky_model *to, ky_err *err)
{
    const ky_model_meta *meta = &m->meta;
    int rc = KY_OK;

    if (meta->n_labels > 0)
        rc = ky_model_set_labels(to, (const char *const *)meta->labels, meta->n_labels, err);
    if (rc == KY_OK && meta->feature_names != NULL)
        rc = ky_model_set_feature_names(to, (const char *const *)meta->feature_names, err);
    if (rc == KY_OK && meta->extra != NULL)
        to->meta.extra = ky_json_copy(meta->extra);
    return rc;
}

int ky_model_normalize(const ky_model *m, const double *mean, const double *std, ky_model **ret,
                       ky_err *err)
{
    ky_model *to = NULL;
    int rc = KY_OK;

    if (m->n_inputs != 1)
        return ky_fail(err, KY_EUNSUPPORTED, "the model has %d inputs, one can be normalised",
                       m->n_inputs);
    rc = copy_graph(m, &to, err);
    if (rc == KY_OK) {
        copy_weights(m, mean, std, to);
        rc = copy_meta(m, to, err);
    }
    if (rc == KY_OK)
        rc = ky_model_pack(to, err);
    if (rc < 0) {
        ky_model_free(to);
        return ky_context(err, rc, "normalising the input");
    }
    *ret = to;
    return KY_OK;
}
