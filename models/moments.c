#include "models/moments.h"

#include <stdlib.h>
#include <string.h>

#include "models/layer_tools.h"

int ky_moments_init(ky_moments *s, size_t C, ky_err *err)
{
    *s = (ky_moments){ .C = C, .mean = calloc(2 * C, sizeof *s->mean) };
    if (s->mean == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory for the moments of %zu values", C);
    s->squares = s->mean + C;
    return KY_OK;
}

void ky_moments_done(ky_moments *s)
{
    free(s->mean);
    memset(s, 0, sizeof *s);
}

bool ky_step_is_masked(const ky_model *m, const float *x, size_t F)
{
    float none = (float)m->info.mask_value;
    size_t f = 0;

    while (m->info.masks && f < F && x[f] == none)
        f++;
    return f == F;
}

/* Welford 1962. */
static void add_values(ky_moments *s, const float *x, size_t len)
{
    for (size_t at = 0; at < len; at += s->C) {
        double share = 1 / ++s->n;

        for (size_t c = 0; c < s->C; c++) {
            double off = (double)x[at + c] - s->mean[c];

            s->mean[c] += off * share;
            s->squares[c] += off * ((double)x[at + c] - s->mean[c]);
        }
    }
}

void ky_moments_add(ky_moments *s, const ky_model *m, const float *x, size_t T, size_t F)
{
    for (size_t t = 0; t < T; t++, x += F)
        if (!ky_step_is_masked(m, x, F))
            add_values(s, x, F);
}

double ky_moments_variance(const ky_moments *s, size_t c)
{
    double var = s->squares[c] / s->n, mean = s->mean[c];

    return var > 1e-12 * (1 + mean * mean) ? var : 1;
}

ky_layer *ky_model_scaler(const ky_model *m)
{
    ky_layer *l = m->layers + (m->layers[0].ops == &ky_masking_ops && m->n_layers > 1);

    return l->ops != &ky_batchnorm_ops || l->trainable || l->cfg.scale || l->cfg.center ? NULL : l;
}

void ky_model_set_scaler(ky_model *m, const ky_moments *s)
{
    ky_layer *l = ky_model_scaler(m);

    for (int i = 0; i < l->n_weights; i++) {
        ky_real *w = ky_model_weight(m, (int)(l - m->layers), i);
        bool var = strcmp(l->weights[i].name, "moving_variance") == 0;

        for (size_t c = 0; c < s->C; c++)
            w[c] = (ky_real)(var ? ky_moments_variance(s, c) : s->mean[c]);
    }
}
