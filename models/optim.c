#include "models/optim.h"

#include <math.h>
#include <stdlib.h>

int ky_adam_init(ky_adam *a, size_t n, double learning_rate, ky_err *err)
{
    *a = (ky_adam){ .learning_rate = learning_rate,
                    .beta1 = 0.9,
                    .beta2 = 0.999,
                    .epsilon = 1e-7,
                    .decay1 = 1,
                    .decay2 = 1 };
    a->m = calloc(n > 0 ? n : 1, sizeof *a->m);
    a->v = calloc(n > 0 ? n : 1, sizeof *a->v);
    if (a->m == NULL || a->v == NULL) {
        ky_adam_done(a);
        return ky_fail(err, KY_ENOMEM, "no memory for Adam's slots of %zu weights", n);
    }
    return KY_OK;
}

void ky_adam_done(ky_adam *a)
{
    free(a->m);
    free(a->v);
    a->m = a->v = NULL;
}

void ky_adam_begin(ky_adam *a)
{
    a->decay1 *= a->beta1;
    a->decay2 *= a->beta2;
    a->alpha = (ky_real)(a->learning_rate * sqrt(1 - a->decay2) / (1 - a->decay1));
}

void ky_adam_apply(const ky_adam *a, const ky_kernels *k, size_t at, size_t n, ky_real *w,
                   const ky_real *g)
{
    k->adam(n, w, g, a->m + at, a->v + at, a->alpha, (ky_real)a->beta1, (ky_real)a->beta2,
            (ky_real)a->epsilon);
}
