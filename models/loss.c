#include "models/loss.h"

#include <math.h>
#include <string.h>

static const char *const names[] = {
    [KY_LOSS_CATEGORICAL] = "categorical_crossentropy",
    [KY_LOSS_BINARY] = "binary_crossentropy",
    [KY_LOSS_MSE] = "mse",
    [KY_LOSS_MAE] = "mae",
    [KY_LOSS_HUBER] = "huber",
};

const char *ky_loss_name(enum ky_loss_kind kind)
{
    return names[kind];
}

int ky_loss_find(const char *name, enum ky_loss_kind *ret, ky_err *err)
{
    for (int i = 0; i < (int)(sizeof names / sizeof *names); i++)
        if (strcmp(name, names[i]) == 0) {
            *ret = (enum ky_loss_kind)i;
            return KY_OK;
        }
    return ky_fail(err, KY_EINVAL,
                   "loss '%.40s' is none of categorical_crossentropy, binary_crossentropy, mse, "
                   "mae, huber",
                   name);
}

bool ky_loss_takes_logits(const ky_loss *l)
{
    return l->kind == KY_LOSS_CATEGORICAL || l->kind == KY_LOSS_BINARY;
}

double ky_loss_of(double p)
{
    if (p < KY_LOSS_CLIP)
        p = KY_LOSS_CLIP;
    if (p > 1 - KY_LOSS_CLIP)
        p = 1 - KY_LOSS_CLIP;
    return -ky_ln(p);
}

/* ---- of one output ---- */

/* t as it stands in the data. */
static double told(const ky_loss *l, const ky_wanted *w, int r, int c, int C)
{
    if (l->kind == KY_LOSS_CATEGORICAL)
        return w->y[r] == c;
    return w->target != NULL ? (double)w->target[(size_t)r * (size_t)C + (size_t)c] : w->y[r];
}

/* t as the loss takes it. */
static double smoothed(const ky_loss *l, double t, int C)
{
    if (l->smoothing <= 0)
        return t;
    return t * (1 - l->smoothing) + l->smoothing / (l->kind == KY_LOSS_CATEGORICAL ? C : 2);
}

static double loss_of(const ky_loss *l, double p, double t)
{
    double r = fabs(p - t);

    switch (l->kind) {
    case KY_LOSS_CATEGORICAL:
        return t > 0 ? t * ky_loss_of(p) : 0;
    case KY_LOSS_BINARY:
        return (t > 0 ? t * ky_loss_of(p) : 0) + (t < 1 ? (1 - t) * ky_loss_of(1 - p) : 0);
    case KY_LOSS_MSE:
        return r * r;
    case KY_LOSS_MAE:
        return r;
    case KY_LOSS_HUBER:
        break;
    }
    return r <= 1 ? r * r / 2 : r - 0.5;
}

/* Its derivative, by z for those that take z. */
static ky_real slope_of(const ky_loss *l, ky_real p, ky_real t)
{
    ky_real r = p - t;

    if (ky_loss_takes_logits(l))
        return r;
    if (l->kind == KY_LOSS_MSE)
        return 2 * r;
    if (l->kind == KY_LOSS_HUBER && r > -1 && r < 1)
        return r;
    return (ky_real)(r > 0) - (ky_real)(r < 0);
}

static double measure_of(const ky_loss *l, double p, double t)
{
    return l->kind == KY_LOSS_BINARY ? (p > 0.5) == (t > 0.5) : fabs(p - t);
}

/* ---- of rows ---- */

/* How many outputs a row's loss is the mean of. */
static int averaged(const ky_loss *l, int C)
{
    return l->kind == KY_LOSS_CATEGORICAL ? 1 : C;
}

static double weigh(const ky_wanted *w, int r, double loss)
{
    return w->weight != NULL ? (double)w->weight[r] * loss : loss;
}

static int largest(const ky_real *z, int C)
{
    int at = 0;

    for (int c = 1; c < C; c++)
        if (z[c] > z[at])
            at = c;
    return at;
}

/* One row's loss; where it stands p becomes the gradient. */
static double row_back(const ky_loss *l, const ky_wanted *w, int r, ky_real scale, ky_real *p,
                       double *measure, int C)
{
    double sum = 0, seen = 0;

    if (w->weight != NULL)
        scale *= w->weight[r];
    scale /= (ky_real)averaged(l, C);
    for (int c = 0; c < C; c++) {
        double is = told(l, w, r, c, C), t = smoothed(l, is, C);

        sum += loss_of(l, (double)p[c], t);
        seen += l->kind != KY_LOSS_CATEGORICAL ? measure_of(l, (double)p[c], is) : 0;
        p[c] = slope_of(l, p[c], (ky_real)t) * scale;
    }
    *measure += seen / C;
    return weigh(w, r, sum / averaged(l, C));
}

double ky_loss_rows(const ky_loss *l, const ky_kernels *k, const ky_real *z, const ky_wanted *w,
                    ky_real scale, ky_real *dz, double *measure, int B, int C)
{
    size_t n = (size_t)B * (size_t)C;
    double sum = 0;

    *measure = 0;
    for (int r = 0; r < B && l->kind == KY_LOSS_CATEGORICAL; r++)
        *measure += largest(z + (size_t)r * (size_t)C, C) == w->y[r];
    if (l->kind == KY_LOSS_CATEGORICAL)
        k->softmax(B, C, z, C, dz, C);
    else if (l->kind == KY_LOSS_BINARY)
        k->activate(KY_SIGMOID, z, dz, n);
    else if (dz != z)
        memcpy(dz, z, n * sizeof *dz);
    for (int r = 0; r < B; r++)
        sum += row_back(l, w, r, scale, dz + (size_t)r * (size_t)C, measure, C);
    return sum;
}

double ky_loss_answers(const ky_loss *l, const float *p, const ky_wanted *w, double *measure, int N,
                       int C)
{
    double sum = 0, seen = 0;

    for (int r = 0; r < N; r++) {
        const float *row = p + (size_t)r * (size_t)C;
        double row_sum = 0, row_seen = 0;
        int at = 0;

        for (int c = 0; c < C; c++) {
            double is = told(l, w, r, c, C);

            row_sum += loss_of(l, (double)row[c], smoothed(l, is, C));
            row_seen += l->kind != KY_LOSS_CATEGORICAL ? measure_of(l, (double)row[c], is) : 0;
            at = row[c] > row[at] ? c : at;
        }
        sum += weigh(w, r, row_sum / averaged(l, C));
        seen += l->kind == KY_LOSS_CATEGORICAL ? w->y[r] == at : row_seen / C;
    }
    *measure = N > 0 ? seen / N : 0;
    return N > 0 ? sum / N : 0;
}
