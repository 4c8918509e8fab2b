#include "models/kernels.h"

#include <fenv.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "models/kernels_impl.h"

/* -- memory of packed weights --------------------------------------------------- */

static size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

/* n zeroed reals on a cache line, with a line of zeros behind them. */
static ky_real *reals_new(size_t n)
{
    size_t bytes = round_up(n * sizeof(ky_real), 64) + 64;
    ky_real *p = aligned_alloc(64, bytes);
    if (p != NULL)
        memset(p, 0, bytes);
    return p;
}

ky_mat *ky_mat_alloc(int K, int N, int lanes)
{
    ky_mat *m = malloc(sizeof *m);
    if (m == NULL)
        return NULL;
    int columns = (int)round_up((size_t)N, (size_t)lanes);
    *m = (ky_mat){ .K = K, .N = N, .columns = columns };
    m->w = reals_new((size_t)K * columns);
    m->b = reals_new((size_t)columns);
    if (m->w == NULL || m->b == NULL) {
        ky_mat_release(m);
        return NULL;
    }
    return m;
}

void ky_mat_release(ky_mat *m)
{
    if (m == NULL)
        return;
    free(m->w);
    free(m->b);
    free(m);
}

static unsigned next_id(void)
{
    static atomic_uint last;
    return atomic_fetch_add(&last, 1);
}

ky_lstm_mat *ky_lstm_mat_alloc(int F, int H, int lanes, size_t scratch)
{
    ky_lstm_mat *m = malloc(sizeof *m);
    if (m == NULL)
        return NULL;
    int columns = (int)round_up((size_t)H, (size_t)lanes);
    *m = (ky_lstm_mat){ .F = F, .H = H, .columns = columns, .scratch = scratch };
    m->id = next_id();
    m->w = reals_new((size_t)(F + H) * 4 * columns);
    m->b = reals_new((size_t)4 * columns);
    if (m->w == NULL || m->b == NULL) {
        ky_lstm_mat_release(m);
        return NULL;
    }
    return m;
}

void ky_lstm_mat_release(ky_lstm_mat *m)
{
    if (m == NULL)
        return;
    free(m->w);
    free(m->b);
    free(m);
}

ky_gru_mat *ky_gru_mat_alloc(int F, int H, bool after, int lanes, size_t scratch)
{
    ky_gru_mat *m = malloc(sizeof *m);
    if (m == NULL)
        return NULL;
    int columns = (int)round_up((size_t)H, (size_t)lanes);
    *m = (ky_gru_mat){ .F = F, .H = H, .after = after, .columns = columns, .scratch = scratch };
    m->id = next_id();
    if (!after)
        return m;
    m->w = reals_new((size_t)(F + H) * 3 * columns);
    m->b = reals_new((size_t)6 * columns);
    if (m->w == NULL || m->b == NULL) {
        ky_gru_mat_release(m);
        return NULL;
    }
    return m;
}

void ky_gru_mat_release(ky_gru_mat *m)
{
    if (m == NULL)
        return;
    ky_mat_release(m->gates);
    ky_mat_release(m->candidate);
    free(m->w);
    free(m->b);
    free(m);
}

size_t ky_lstm_scratch(const ky_lstm_mat *m)
{
    return m->scratch;
}

size_t ky_gru_scratch(const ky_gru_mat *m)
{
    return m->scratch;
}

/* -- which set -------------------------------------------------------------------- */

static const ky_kernels *sets[4]; /* plain first, best last, then NULL */
static _Atomic(const ky_kernels *) in_use;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static const ky_kernels *find_set(const char *name)
{
    for (int i = 0; sets[i] != NULL; i++)
        if (strcmp(sets[i]->name, name) == 0)
            return sets[i];
    return NULL;
}

static void find_sets(void)
{
    int n = 0;
    sets[n++] = &ky_kernels_plain;
#if defined KY_FAST_KERNELS && defined __aarch64__ /* has NEON */
    sets[n++] = &ky_kernels_neon;
#elif defined KY_FAST_KERNELS
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        sets[n++] = &ky_kernels_avx2;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx2") &&
        __builtin_cpu_supports("fma"))
        sets[n++] = &ky_kernels_avx512;
#endif
    const char *wanted = getenv("KYMO_KERNELS");
    const ky_kernels *k = wanted != NULL ? find_set(wanted) : NULL;
    atomic_store(&in_use, k != NULL ? k : sets[n - 1]);
}

const ky_kernels *ky_kernels_get(void)
{
    const ky_kernels *k = atomic_load_explicit(&in_use, memory_order_acquire);
    if (k != NULL)
        return k;
    pthread_once(&once, find_sets);
    return atomic_load(&in_use);
}

const ky_kernels *const *ky_kernels_all(void)
{
    pthread_once(&once, find_sets);
    return sets;
}

bool ky_kernels_use(const char *name)
{
    pthread_once(&once, find_sets);
    const ky_kernels *k = find_set(name);
    if (k == NULL)
        return false;
    atomic_store(&in_use, k);
    return true;
}

bool ky_kernels_fp_sane(void)
{
    /* volatile: the processor must do it now, in the mode of this thread. */
    volatile float smallest_normal = 0x1p-126f, smallest = 0x1p-149f;
    volatile float halved = smallest_normal * 0.5f; /* 0 if results are flushed */
    volatile float grown = smallest * 0x1p100f;     /* 0 if operands are */
    return fegetround() == FE_TONEAREST && halved == 0x1p-127f && grown == 0x1p-49f;
}

/* x = m 2^e with m around 1; log m = 2 (s + s^3/3 + s^5/5 + ...) with s = (m-1)/(m+1). As
 * |s| < 0.172, what is left out after s^21 is below 2^-60 of the sum. */
double ky_ln(double x)
{
    const double ln2_hi = 0x1.62e42fee00000p-1, ln2_lo = 0x1.a39ef35793c76p-33;
    int e;
    double m = frexp(x, &e), s, s2, p = 0;

    if (m < 0x1.6a09e667f3bcdp-1) { /* below the root of one half */
        m *= 2;
        e--;
    }
    s = (m - 1) / (m + 1);
    s2 = s * s;
    for (int k = 21; k >= 3; k -= 2)
        p = fma(p, s2, 1.0 / k);
    return fma(e, ln2_hi, 2 * fma(s * s2, p, s) + e * ln2_lo);
}
