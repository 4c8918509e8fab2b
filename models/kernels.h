/*
 * The arithmetic. Every output element is one chain of fused multiply-adds that
 * starts at the bias and runs over the inner dimension in index order; vectors run
 * across outputs and rows, never across the sum. So a row gives the same bits alone
 * and in a wave of a thousand, with the plain kernels, AVX2, AVX-512 or NEON.
 *
 * One table a kernel set; the best one this machine runs is chosen at the first call
 * of ky_kernels_get(). KYMO_KERNELS=plain|avx2|avx512|neon in the environment (ignored if this
 * machine has none such), or ky_kernels_use(), choose another. All functions may be called by any
 * thread at once.
 *
 * Built with KY_REAL=double (gradient checks) there are only the plain kernels.
 */
#ifndef KY_KERNELS_H
#define KY_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifndef KY_REAL
#define KY_REAL float
#endif
typedef KY_REAL ky_real;

/* Written with every prediction; a change of arithmetic changes it. */
#define KY_KERNEL_ABI 1

enum ky_activation {
    KY_LINEAR,
    KY_RELU,
    KY_TANH,
    KY_SIGMOID,
    KY_HARD_SIGMOID_K2,
    KY_HARD_SIGMOID_K3,
    KY_EXPONENTIAL,
    KY_RELU6,
    KY_LEAKY_RELU, /* slope 0.2 */
    KY_ELU,        /* alpha 1, like celu */
    KY_SELU,
    KY_CELU,
    KY_GELU,      /* with erf */
    KY_GELU_TANH, /* with tanh: Keras's approximate=True */
    KY_SOFTPLUS,
    KY_SOFTSIGN,
    KY_SILU,
    KY_MISH,
    KY_HARD_SILU, /* with Keras 3's hard_sigmoid */
    KY_HARD_TANH,
    KY_LOG_SIGMOID,
    KY_TANH_SHRINK,
    KY_SOFT_SHRINK, /* by 0.5 */
    KY_HARD_SHRINK,
    KY_SQUAREPLUS, /* b = 4 */
    KY_SPARSE_PLUS,
    /* Over the last axis: rows, not elements; done by softmax() and log_softmax() below. */
    KY_SOFTMAX,
    KY_LOG_SOFTMAX,
};

static inline bool ky_activation_by_rows(enum ky_activation a)
{
    return a >= KY_SOFTMAX;
}

/* A weight matrix [K,N] with bias [N], packed for the kernel set that made it. */
typedef struct ky_mat ky_mat;

/* A stretch of the inner dimension: n contiguous inputs from x + at on, which meet the rows
 * [k,k+n) of W. A dense layer has one run; a convolution one for each stretch of neighbouring taps.
 */
typedef struct ky_run {
    ptrdiff_t at;
    int k, n;
} ky_run;

/* The stacked gate matrices of a GRU (z|r|h), packed likewise. */
typedef struct ky_gru_mat ky_gru_mat;

/* The stacked gate matrices of an LSTM (i|f|c|o), packed likewise. */
typedef struct ky_lstm_mat ky_lstm_mat;

typedef struct ky_kernels {
    const char *name;

    /** W [K,N] row-major, b [N] or NULL (zeros) -> packed. NULL when out of memory. */
    ky_mat *(*mat_new)(int K, int N, const ky_real *W, const ky_real *b);
    void (*mat_free)(ky_mat *m);

    /**
     * y[r][n] = act(b[n] + sum over runs in order, j in [0,run.n) of
     *               x[r*xs + run.at + j] * W[run.k + j][n]),   r in [0,R)
     *
     * Rows of W that no run names are padding: they are skipped, never multiplied. Without
     * runs the sum is the bias. Neighbouring runs are faster as one.
     * y must not overlap x.
     */
    void (*rows)(const ky_mat *m, int n_runs, const ky_run *runs, int R, const ky_real *x,
                 ptrdiff_t xs, ky_real *y, ptrdiff_t ys, enum ky_activation act);

    /** W [F,4H], U [H,4H], b [4H], blocks i|f|c|o (Keras) -> packed. */
    ky_lstm_mat *(*lstm_new)(int F, int H, const ky_real *W, const ky_real *U, const ky_real *b);
    void (*lstm_free)(ky_lstm_mat *m);

    /**
     * One step of B rows with sigmoid gates and tanh: state[r] = {h[H], c[H]}, updated in
     * place; states may lie anywhere and none twice.
     *
     * @param x       row r at x + r*xs, F values
     * @param tape    NULL, or row r at tape + r*tape_stride receives i,f,g,o,c,tanh(c): 6H values
     * @param scratch ky_lstm_scratch(m) reals, 64-byte aligned, the caller's own
     */
    void (*lstm)(const ky_lstm_mat *m, int B, const ky_real *x, ptrdiff_t xs, ky_real *const *state,
                 ky_real *tape, ptrdiff_t tape_stride, ky_real *scratch);

    /**
     * W [F,3H], U [H,3H], blocks z|r|h (Keras) -> packed. b: [2,3H] with reset_after, b0 for x and
     * b1 for h, else [3H]; NULL: zeros.
     */
    ky_gru_mat *(*gru_new)(int F, int H, bool reset_after, const ky_real *W, const ky_real *U,
                           const ky_real *b);
    void (*gru_free)(ky_gru_mat *m);

    /**
     * One step of B rows with sigmoid gates and tanh: state[r] = h[H], updated in place; states
     * may lie anywhere and none twice. With a the chain b0, x W and q the chain b1, h U:
     *
     *     reset_after:  z = sigmoid(a_z + q_z)   r = sigmoid(a_r + q_r)   n = tanh(fma(r, q_h,
     * a_h))
     *
     * without, one chain each over the bias, x W and h U, or (r h) U for the candidate n:
     *
     *     z = sigmoid(b + x W + h U)   r likewise   n = tanh(b + x W + (r h) U)
     *
     * and in both  h' = fma(z, h - n, n).
     *
     * @param x       row r at x + r*xs, F values
     * @param scratch ky_gru_scratch(m) reals, 64-byte aligned, the caller's own
     */
    void (*gru)(const ky_gru_mat *m, int B, const ky_real *x, ptrdiff_t xs, ky_real *const *state,
                ky_real *scratch);

    /**
     * Each of C channels with M filters of its own. A run is n neighbouring taps of C inputs:
     *
     * y[r][c*M + j] = act(b[c*M + j] + sum over runs in order, t in [0,run.n) of
     *                     x[r*xs + run.at + t*C + c] * w[run.k + t][c*M + j])
     *
     * w [taps,C*M], as Keras keeps it; b [C*M] or NULL (zeros). y must not overlap x.
     */
    void (*depthwise)(int C, int M, int n_runs, const ky_run *runs, const ky_real *w,
                      const ky_real *b, int R, const ky_real *x, ptrdiff_t xs, ky_real *y,
                      ptrdiff_t ys, enum ky_activation act);

    /**
     * Pools of R rows: each of C channels over the taps of the runs (as in depthwise; k is not
     * read), of which there is at least one. The maximum takes x > y ? x : y in order; the mean is
     * the sum in order over the number of taps. y must not overlap x.
     */
    void (*pool)(bool mean, int C, int n_runs, const ky_run *runs, int R, const ky_real *x,
                 ptrdiff_t xs, ky_real *y, ptrdiff_t ys);

    /** y[i] = act(x[i]), i in [0,n); x == y allowed. Element-wise activations. */
    void (*activate)(enum ky_activation act, const ky_real *x, ky_real *y, size_t n);

    /** y[r][c] = exp(x-max)/sum over C contiguous values a row; x == y allowed. */
    void (*softmax)(int R, int C, const ky_real *x, ptrdiff_t xs, ky_real *y, ptrdiff_t ys);

    /** y[r][c] = x-max - log(sum of exp(x-max)) likewise. */
    void (*log_softmax)(int R, int C, const ky_real *x, ptrdiff_t xs, ky_real *y, ptrdiff_t ys);

    /** Whether n values are all finite: asked of every state after every step. */
    bool (*finite)(size_t n, const ky_real *v);

    /** How large n values are; which sum a square goes into depends on n alone. */
    void (*extent)(size_t n, const ky_real *v, double *ret_squares, ky_real *ret_largest);

    /* -- training -- */

    /** C[m][n] += sum over k in order of A[k*lda + m] * B[k*ldb + n]: weight gradients. */
    void (*gemm_tn)(int M, int N, int K, const ky_real *A, ptrdiff_t lda, const ky_real *B,
                    ptrdiff_t ldb, ky_real *C, ptrdiff_t ldc);

    /** s[n] += sum over k in order of B[k*ldb + n], plain adds: bias gradients. */
    void (*colsum)(int N, int K, const ky_real *B, ptrdiff_t ldb, ky_real *s);

    /**
     * One LSTM step backward through the element-wise part, B rows.
     * dh [B,H] total dL/dh of this step; dc [B,H] dL/dc from the step after, replaced by
     * that for the step before; tape as lstm() left it; c0 the cell state before the step;
     * dz [B,4H] receives dL/d(pre-activations), blocks i|f|c|o.
     */
    void (*lstm_back)(int B, int H, const ky_real *dh, ptrdiff_t dhs, ky_real *dc, ptrdiff_t dcs,
                      const ky_real *tape, ptrdiff_t tape_stride, const ky_real *c0, ptrdiff_t c0s,
                      ky_real *dz, ptrdiff_t dzs);

    /** Adam (Kingma and Ba 2015, as Keras writes it): alpha already holds the bias correction.
     *  m += (g-m)(1-b1); v += (g*g-v)(1-b2); w -= alpha*m/(sqrt(v)+eps). */
    void (*adam)(size_t n, ky_real *w, const ky_real *g, ky_real *m, ky_real *v, ky_real alpha,
                 ky_real b1, ky_real b2, ky_real eps);
} ky_kernels;

/** The kernel set in use. */
const ky_kernels *ky_kernels_get(void);

/** Every set this machine can run, plain first, NULL behind the last. */
const ky_kernels *const *ky_kernels_all(void);

/** Use the set of that name from now on; false if this machine has none such.
 *  Models packed before keep the set they were packed with. Not while models run. */
bool ky_kernels_use(const char *name);

/** Reals of scratch that lstm() wants for one call. */
size_t ky_lstm_scratch(const ky_lstm_mat *m);

/** Reals of scratch that gru() wants for one call. */
size_t ky_gru_scratch(const ky_gru_mat *m);

/** Whether this thread rounds to nearest and keeps subnormals; kymod checks it at its start,
 *  and its threads inherit it. */
bool ky_kernels_fp_sane(void);

/** Natural logarithm of a positive, normal, finite x, to two ulp; the C library's own differs from
 *  one to the next, and with it initial weights and losses would. */
double ky_ln(double x);

/** CRC32C (Castagnoli) of len bytes, continuing from crc (0 to begin); hardware where there is. */
uint32_t ky_crc32c(uint32_t crc, const void *data, size_t len);

#endif
