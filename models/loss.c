#include "models/loss.h"

double ky_loss_of(double p)
{
    if (p < KY_LOSS_CLIP)
        p = KY_LOSS_CLIP;
    if (p > 1 - KY_LOSS_CLIP)
        p = 1 - KY_LOSS_CLIP;
    return -ky_ln(p);
}

static int largest(const ky_real *z, int C)
{
    int at = 0;

    for (int c = 1; c < C; c++)
        if (z[c] > z[at])
            at = c;
    return at;
}

double ky_loss_softmax(const ky_kernels *k, const ky_real *z, const int32_t *y, ky_real scale,
                       ky_real *dz, int *hits, int B, int C)
{
    double sum = 0;

    *hits = 0;
    for (int r = 0; r < B; r++)
        *hits += largest(z + (size_t)r * C, C) == y[r];
    k->softmax(B, C, z, C, dz, C);
    for (int r = 0; r < B; r++) {
        ky_real *p = dz + (size_t)r * C;

        sum += ky_loss_of(p[y[r]]);
        p[y[r]] -= 1;
        for (int c = 0; c < C; c++)
            p[c] *= scale;
    }
    return sum;
}

double ky_loss_sigmoid(const ky_kernels *k, const ky_real *z, const int32_t *y, ky_real scale,
                       ky_real *dz, int *hits, int B)
{
    double sum = 0;

    *hits = 0;
    k->activate(KY_SIGMOID, z, dz, (size_t)B);
    for (int r = 0; r < B; r++) {
        double p = dz[r];

        *hits += (p > 0.5) == (y[r] == 1);
        sum += ky_loss_of(y[r] == 1 ? p : 1 - p);
        dz[r] = (dz[r] - (ky_real)y[r]) * scale;
    }
    return sum;
}
