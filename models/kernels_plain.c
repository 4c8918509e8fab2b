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

#define LANES     1
#define SET(name) plain_##name

/* A vector of one number. */
typedef ky_real vec;
typedef int32_t ivec;
#define INLINE static inline __attribute__((always_inline))

/* clang-format off */
INLINE vec v_load(const ky_real *p) { return *p; }
INLINE void v_store(ky_real *p, vec v) { *p = v; }
INLINE vec v_load_part(const ky_real *p, int n) { (void)n; return *p; }
INLINE void v_store_part(ky_real *p, vec v, int n) { (void)n; *p = v; }
INLINE vec v_set(ky_real x) { return x; }
INLINE vec v_add(vec a, vec b) { return a + b; }
INLINE vec v_sub(vec a, vec b) { return a - b; }
INLINE vec v_mul(vec a, vec b) { return a * b; }
INLINE vec v_div(vec a, vec b) { return a / b; }
INLINE vec v_sqrt(vec a) { return sqrt(a); }
INLINE vec v_fma(vec a, vec b, vec c) { return fma(a, b, c); }
INLINE vec v_max(vec a, vec b) { return a > b ? a : b; }
INLINE vec v_min(vec a, vec b) { return a < b ? a : b; }
INLINE vec v_abs(vec a) { return fabs(a); }
INLINE vec v_if_gt(vec a, vec b, vec x, vec y) { return a > b ? x : y; }
#if !KY_IN_DOUBLE
/* Sums and shifts in unsigned: they may leave the range of an int. */
INLINE ivec i_bits(vec v) { ivec i; memcpy(&i, &v, sizeof i); return i; }
INLINE vec v_bits(ivec i) { vec v; memcpy(&v, &i, sizeof v); return v; }
INLINE ivec i_set(int x) { return x; }
INLINE ivec i_add(ivec a, ivec b) { return (ivec)((uint32_t)a + (uint32_t)b); }
INLINE ivec i_sub(ivec a, ivec b) { return (ivec)((uint32_t)a - (uint32_t)b); }
INLINE ivec i_shl23(ivec a) { return (ivec)((uint32_t)a << 23); }
INLINE ivec i_half(ivec a) { return a >> 1; }
INLINE ivec i_sra23(ivec a) { return a >> 23; }
INLINE vec i_to_float(ivec a) { return (vec)a; }
#endif
/* clang-format on */

#include "models/kernels_math.h"

static void plain_softmax(int R, int C, const ky_real *x, ptrdiff_t xs, ky_real *y, ptrdiff_t ys)
{
    for (int r = 0; r < R; r++, x += xs, y += ys) {
        ky_real max = x[0], sum = 0;
        for (int c = 1; c < C; c++)
            max = x[c] > max ? x[c] : max;
        for (int c = 0; c < C; c++) {
            y[c] = v_exp(x[c] - max);
            sum += y[c];
        }
        for (int c = 0; c < C; c++)
            y[c] /= sum;
    }
}

static void plain_log_softmax(int R, int C, const ky_real *x, ptrdiff_t xs, ky_real *y,
                              ptrdiff_t ys)
{
    for (int r = 0; r < R; r++, x += xs, y += ys) {
        ky_real max = x[0], sum = 0;
        for (int c = 1; c < C; c++)
            max = x[c] > max ? x[c] : max;
        for (int c = 0; c < C; c++) {
            y[c] = x[c] - max;
            sum += v_exp(y[c]);
        }
        sum = v_log(sum);
        for (int c = 0; c < C; c++)
            y[c] -= sum;
    }
}

static void activate_row(enum ky_activation act, int N, ky_real *y)
{
    if (act == KY_SOFTMAX)
        plain_softmax(1, N, y, N, y, N);
    else if (act == KY_LOG_SOFTMAX)
        plain_log_softmax(1, N, y, N, y, N);
    else
        plain_activate(act, y, y, (size_t)N);
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
        activate_row(act, m->N, y);
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
        ky_real i = v_sigmoid(z[j]), f = v_sigmoid(z[H + j]);
        ky_real g = v_tanh(z[2 * H + j]), o = v_sigmoid(z[3 * H + j]);
        ky_real ig = i * g;
        c[j] = fma(f, c[j], ig);
        ky_real tc = v_tanh(c[j]);
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

/* -- GRU -------------------------------------------------------------------------- */

#include "models/kernels_gru.h"

static ky_gru_mat *plain_gru_new(int F, int H, bool reset_after, const ky_real *W, const ky_real *U,
                                 const ky_real *b)
{
    if (!reset_after)
        return gru_new_before(F, H, W, U, b);
    ky_gru_mat *m = ky_gru_mat_alloc(F, H, true, 1, 6 * (size_t)H);
    if (m == NULL)
        return NULL;
    memcpy(m->w, W, (size_t)F * 3 * H * sizeof *W);
    memcpy(m->w + (size_t)F * 3 * H, U, (size_t)H * 3 * H * sizeof *U);
    if (b != NULL)
        memcpy(m->b, b, (size_t)6 * H * sizeof *b);
    return m;
}

static void plain_gru(const ky_gru_mat *m, int B, const ky_real *x, ptrdiff_t xs,
                      ky_real *const *state, ky_real *scratch)
{
    if (!m->after) {
        gru_before(m, B, x, xs, state, scratch);
        return;
    }
    int H = m->H;
    for (int r = 0; r < B; r++, x += xs) {
        ky_real *h = state[r], *a = scratch, *q = a + 3 * H;
        memcpy(scratch, m->b, 6 * (size_t)H * sizeof *a);
        add_product(a, m->F, 3 * H, x, m->w);
        add_product(q, H, 3 * H, h, m->w + (size_t)m->F * 3 * H);
        for (int j = 0; j < H; j++) {
            const ky_real aj[3] = { a[j], a[H + j], a[2 * H + j] };
            const ky_real qj[3] = { q[j], q[H + j], q[2 * H + j] };
            gru_cell(aj, qj, h + j, 1);
        }
    }
}

/* -- depthwise -------------------------------------------------------------------- */

static void plain_depthwise(int C, int M, int n_runs, const ky_run *runs, const ky_real *w,
                            const ky_real *b, int R, const ky_real *x, ptrdiff_t xs, ky_real *y,
                            ptrdiff_t ys, enum ky_activation act)
{
    int N = C * M;
    for (int r = 0; r < R; r++, x += xs, y += ys) {
        for (int n = 0; n < N; n++) {
            ky_real sum = b != NULL ? b[n] : 0;
            for (int i = 0; i < n_runs; i++)
                for (int t = 0; t < runs[i].n; t++)
                    sum = fma(x[runs[i].at + (ptrdiff_t)t * C + n / M],
                              w[(size_t)(runs[i].k + t) * N + n], sum);
            y[n] = sum;
        }
        activate_row(act, N, y);
    }
}

/* -- pools -------------------------------------------------------------------------- */

static void plain_pool(bool mean, int C, int n_runs, const ky_run *runs, int R, const ky_real *x,
                       ptrdiff_t xs, ky_real *y, ptrdiff_t ys)
{
    for (int r = 0; r < R; r++, x += xs, y += ys) {
        int taps = 0;
        for (int i = 0; i < n_runs; i++)
            for (int t = 0; t < runs[i].n; t++) {
                const ky_real *from = x + runs[i].at + (ptrdiff_t)t * C;
                if (taps++ == 0)
                    memcpy(y, from, (size_t)C * sizeof *y);
                else if (mean)
                    for (int c = 0; c < C; c++)
                        y[c] += from[c];
                else
                    for (int c = 0; c < C; c++)
                        y[c] = from[c] > y[c] ? from[c] : y[c];
            }
        for (int c = 0; mean && c < C; c++)
            y[c] /= (ky_real)taps;
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

static bool plain_finite(size_t n, const ky_real *v)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(v[i]))
            return false;
    return true;
}

static void plain_extent(size_t n, const ky_real *v, double *ret_squares, ky_real *ret_largest)
{
    ky_extent(n, v, ret_squares, ret_largest);
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
    .gru_new = plain_gru_new,
    .gru_free = ky_gru_mat_release,
    .gru = plain_gru,
    .depthwise = plain_depthwise,
    .pool = plain_pool,
    .activate = plain_activate,
    .softmax = plain_softmax,
    .log_softmax = plain_log_softmax,
    .finite = plain_finite,
    .extent = plain_extent,
    .gemm_tn = plain_gemm_tn,
    .colsum = plain_colsum,
    .lstm_back = plain_lstm_back,
    .adam = plain_adam,
};
