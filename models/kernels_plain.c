/*
 * The plain kernels: what every other set must reproduce to the bit, and what serves
 * where there is no faster one. Also the only set in double, for gradient checks;
 * there exp and tanh are the C library's.
 *
 * <tgmath.h> lets fma() and sqrt() take the width of ky_real.
 */
#include "models/kernels_impl.h"

#include <stdint.h>
#include <string.h>
#include <tgmath.h>

/* -- functions of one number ------------------------------------------------- */

static const bool in_double = sizeof(ky_real) == sizeof(double);

static inline uint32_t bits_of(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

static inline float float_of(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* NaN passes through: the comparison is false and x is the second operand. */
static inline float clampf(float lo, float hi, float x)
{
    x = hi < x ? hi : x;
    return lo > x ? lo : x;
}

/* About e^y - 1 after taking out 2^n; *t holds n in its low bits. */
static inline float exp_core(float y, float *t)
{
    *t = fma(y, KY_EXP_LOG2E, KY_EXP_MAGIC);
    float n = *t - KY_EXP_MAGIC;
    float r = fma(n, -KY_EXP_LN2_HI, y);
    r = fma(n, -KY_EXP_LN2_LO, r);
    float p = fma(KY_EXP_P4, r, KY_EXP_P3);
    p = fma(p, r, KY_EXP_P2);
    p = fma(p, r, KY_EXP_P1);
    p = fma(p, r, KY_EXP_P0);
    float r2 = r * r;
    return fma(r2, p, r);
}

/* 2^n; the shift drops all of t but n. */
static inline float exp2_of(float t)
{
    return float_of((bits_of(t) << 23) + 0x3f800000u);
}

static float sigmoidf(float x)
{
    float t, q = exp_core(clampf(-KY_SIGMOID_MAX, KY_SIGMOID_MAX, -x), &t);
    float s = exp2_of(t);
    return 1.0f / (1.0f + fma(s, q, s));
}

static float tanh_poly(float x)
{
    x = clampf(-KY_TANH_MAX, KY_TANH_MAX, x);
    float t, q = exp_core(x + x, &t);
    float s = exp2_of(t);
    float m = fma(s, q, s - 1.0f); /* e^2x - 1 */
    return m / (m + 2.0f);
}

static float exp_poly(float x)
{
    float t, q = exp_core(clampf(KY_EXP_MIN, KY_EXP_MAX, x), &t);
    /* 2^n in two factors: n = -150 .. 128 is more than one float's exponent holds. */
    int32_t n = (int32_t)(bits_of(t) - bits_of(KY_EXP_MAGIC));
    int32_t n1 = n >> 1, n2 = n - n1;
    return (1.0f + q) * float_of((uint32_t)(n1 + 127) << 23) * float_of((uint32_t)(n2 + 127) << 23);
}

static inline ky_real exp_of(ky_real x)
{
    return in_double ? exp(x) : exp_poly(x);
}

static inline ky_real tanh_of(ky_real x)
{
    return in_double ? tanh(x) : tanh_poly(x);
}

static inline ky_real sigmoid_of(ky_real x)
{
    return in_double ? 1 / (1 + exp(-x)) : sigmoidf(x);
}

static inline ky_real hard_sigmoid_of(ky_real x, double slope)
{
    ky_real y = fma(x, (ky_real)slope, (ky_real)0.5);
    y = 1 < y ? 1 : y;
    return 0 > y ? 0 : y;
}

static void plain_activate(enum ky_activation act, const ky_real *x, ky_real *y, size_t n)
{
    switch (act) {
    case KY_RELU:
        for (size_t i = 0; i < n; i++)
            y[i] = 0 > x[i] ? 0 : x[i];
        break;
    case KY_TANH:
        for (size_t i = 0; i < n; i++)
            y[i] = tanh_of(x[i]);
        break;
    case KY_SIGMOID:
        for (size_t i = 0; i < n; i++)
            y[i] = sigmoid_of(x[i]);
        break;
    case KY_HARD_SIGMOID_K2:
        for (size_t i = 0; i < n; i++)
            y[i] = hard_sigmoid_of(x[i], KY_HARD_SLOPE_K2);
        break;
    case KY_HARD_SIGMOID_K3:
        for (size_t i = 0; i < n; i++)
            y[i] = hard_sigmoid_of(x[i], KY_HARD_SLOPE_K3);
        break;
    case KY_EXPONENTIAL:
        for (size_t i = 0; i < n; i++)
            y[i] = exp_of(x[i]);
        break;
    case KY_LINEAR:
    case KY_SOFTMAX: /* not element by element: softmax() */
        if (x != y)
            memcpy(y, x, n * sizeof *y);
        break;
    }
}

static void plain_softmax(int R, int C, const ky_real *x, ptrdiff_t xs, ky_real *y, ptrdiff_t ys)
{
    for (int r = 0; r < R; r++, x += xs, y += ys) {
        ky_real max = x[0], sum = 0;
        for (int c = 1; c < C; c++)
            max = x[c] > max ? x[c] : max;
        for (int c = 0; c < C; c++) {
            y[c] = exp_of(x[c] - max);
            sum += y[c];
        }
        for (int c = 0; c < C; c++)
            y[c] /= sum;
    }
}

/* -- matrices ------------------------------------------------------------------ */

/* acc[n] += sum over k in order of x[k] * W[k][n] */
static inline void add_product(ky_real *acc, int K, int N, const ky_real *x, const ky_real *W)
{
    for (int k = 0; k < K; k++, W += N)
        for (int n = 0; n < N; n++)
            acc[n] = fma(x[k], W[n], acc[n]);
}

static ky_mat *plain_mat_new(int K, int N, const ky_real *W, const ky_real *b)
{
    ky_mat *m = ky_mat_alloc(K, N, 1);
    if (m == NULL)
        return NULL;
    memcpy(m->w, W, (size_t)K * N * sizeof *W);
    if (b != NULL)
        memcpy(m->b, b, (size_t)N * sizeof *b);
    return m;
}

static void plain_rows(const ky_mat *m, int n_runs, const ky_run *runs, int R, const ky_real *x,
                       ptrdiff_t xs, ky_real *y, ptrdiff_t ys, enum ky_activation act)
{
    for (int r = 0; r < R; r++, x += xs, y += ys) {
        memcpy(y, m->b, (size_t)m->N * sizeof *y);
        for (int i = 0; i < n_runs; i++)
            add_product(y, runs[i].n, m->N, x + runs[i].at, m->w + (size_t)runs[i].k * m->N);
        if (act == KY_SOFTMAX)
            plain_softmax(1, m->N, y, ys, y, ys);
        else
            plain_activate(act, y, y, (size_t)m->N);
    }
}

/* -- LSTM ------------------------------------------------------------------------ */

static ky_lstm_mat *plain_lstm_new(int F, int H, const ky_real *W, const ky_real *U,
                                   const ky_real *b)
{
    ky_lstm_mat *m = ky_lstm_mat_alloc(F, H, 1, 4 * (size_t)H);
    if (m == NULL)
        return NULL;
    memcpy(m->w, W, (size_t)F * 4 * H * sizeof *W);
    memcpy(m->w + (size_t)F * 4 * H, U, (size_t)H * 4 * H * sizeof *U);
    memcpy(m->b, b, (size_t)4 * H * sizeof *b);
    return m;
}

/* The element-wise part: pre-activations z [4H] -> h, c and, if wanted, the tape. */
static void plain_cell(int H, const ky_real *z, ky_real *h, ky_real *c, ky_real *tape)
{
    for (int j = 0; j < H; j++) {
        ky_real i = sigmoid_of(z[j]), f = sigmoid_of(z[H + j]);
        ky_real g = tanh_of(z[2 * H + j]), o = sigmoid_of(z[3 * H + j]);
        ky_real ig = i * g;
        c[j] = fma(f, c[j], ig);
        ky_real tc = tanh_of(c[j]);
        h[j] = o * tc;
        if (tape != NULL) {
            const ky_real left[6] = { i, f, g, o, c[j], tc };
            for (int q = 0; q < 6; q++)
                tape[q * H + j] = left[q];
        }
    }
}

static void plain_lstm(const ky_lstm_mat *m, int B, const ky_real *x, ptrdiff_t xs,
                       ky_real *const *state, ky_real *tape, ptrdiff_t tape_stride,
                       ky_real *scratch)
{
    int H = m->H;
    for (int r = 0; r < B; r++, x += xs) {
        ky_real *h = state[r], *c = h + H, *z = scratch;
        memcpy(z, m->b, 4 * (size_t)H * sizeof *z);
        add_product(z, m->F, 4 * H, x, m->w);
        add_product(z, H, 4 * H, h, m->w + (size_t)m->F * 4 * H);
        plain_cell(H, z, h, c, tape != NULL ? tape + r * tape_stride : NULL);
    }
}

/* -- training -------------------------------------------------------------------- */

static void plain_gemm_tn(int M, int N, int K, const ky_real *A, ptrdiff_t lda, const ky_real *B,
                          ptrdiff_t ldb, ky_real *C, ptrdiff_t ldc)
{
    for (int k = 0; k < K; k++, A += lda, B += ldb)
        for (int m = 0; m < M; m++)
            for (int n = 0; n < N; n++)
                C[m * ldc + n] = fma(A[m], B[n], C[m * ldc + n]);
}

static void plain_colsum(int N, int K, const ky_real *B, ptrdiff_t ldb, ky_real *s)
{
    for (int k = 0; k < K; k++, B += ldb)
        for (int n = 0; n < N; n++)
            s[n] += B[n];
}

static void plain_lstm_back(int B, int H, const ky_real *dh, ptrdiff_t dhs, ky_real *dc,
                            ptrdiff_t dcs, const ky_real *tape, ptrdiff_t tape_stride,
                            const ky_real *c0, ptrdiff_t c0s, ky_real *dz, ptrdiff_t dzs)
{
    for (int r = 0; r < B; r++, dh += dhs, dc += dcs, tape += tape_stride, c0 += c0s, dz += dzs)
        for (int j = 0; j < H; j++) {
            ky_real i = tape[j], f = tape[H + j], g = tape[2 * H + j], o = tape[3 * H + j];
            ky_real tc = tape[5 * H + j];
            ky_real d = fma(dh[j] * o, fma(-tc, tc, (ky_real)1), dc[j]); /* dL/dc */
            dz[j] = (d * g) * (i * (1 - i));
            dz[H + j] = (d * c0[j]) * (f * (1 - f));
            dz[2 * H + j] = (d * i) * fma(-g, g, (ky_real)1);
            dz[3 * H + j] = (dh[j] * tc) * (o * (1 - o));
            dc[j] = d * f;
        }
}

static void plain_adam(size_t n, ky_real *w, const ky_real *g, ky_real *m, ky_real *v,
                       ky_real alpha, ky_real b1, ky_real b2, ky_real eps)
{
    ky_real r1 = 1 - b1, r2 = 1 - b2;
    for (size_t i = 0; i < n; i++) {
        m[i] = fma(g[i] - m[i], r1, m[i]);
        v[i] = fma(fma(g[i], g[i], -v[i]), r2, v[i]);
        w[i] -= alpha * m[i] / (sqrt(v[i]) + eps);
    }
}

const ky_kernels ky_kernels_plain = {
    .name = "plain",
    .mat_new = plain_mat_new,
    .mat_free = ky_mat_release,
    .rows = plain_rows,
    .lstm_new = plain_lstm_new,
    .lstm_free = ky_lstm_mat_release,
    .lstm = plain_lstm,
    .activate = plain_activate,
    .softmax = plain_softmax,
    .gemm_tn = plain_gemm_tn,
    .colsum = plain_colsum,
    .lstm_back = plain_lstm_back,
    .adam = plain_adam,
};
