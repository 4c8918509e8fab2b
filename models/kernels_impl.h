/*
 * What the kernel sets share among themselves; nobody else includes this. Packed
 * weights have one struct whatever the set; only the order of the numbers differs.
 */
#ifndef KY_KERNELS_IMPL_H
#define KY_KERNELS_IMPL_H

#include "models/kernels.h"

/* Whether ky_real is double, for #if. */
#define KY_REAL_IS_double      1
#define KY_JOIN_EXPANDED(a, b) a##b
#define KY_JOIN(a, b)          KY_JOIN_EXPANDED(a, b)
#define KY_IN_DOUBLE           KY_JOIN(KY_REAL_IS_, KY_REAL)

#define KY_HIDDEN __attribute__((visibility("hidden")))

struct ky_mat {
    int K, N;
    int columns; /* N rounded up to whole vectors; what is added is zero and never stored */
    ky_real *w;  /* [K,columns] in the order of the set */
    ky_real *b;  /* [columns] */
};

struct ky_lstm_mat {
    int F, H;
    int columns;    /* H rounded up likewise */
    unsigned id;    /* tells the matrices of one model apart, see turn() */
    size_t scratch; /* reals wanted by lstm() */
    ky_real *w;     /* [F+H,4*columns], first the rows of W, then those of U */
    ky_real *b;     /* [4*columns] */
};

struct ky_gru_mat {
    int F, H;
    bool after;        /* reset_after */
    int columns;       /* H rounded up likewise */
    unsigned id;       /* as above */
    size_t scratch;    /* reals wanted by gru() */
    ky_real *w;        /* after: [F+H,3*columns] */
    ky_real *b;        /* after: [6*columns], those for x and those for h */
    ky_mat *gates;     /* before: z|r [F+H,2H] */
    ky_mat *candidate; /* before: [F+H,H] */
};

/* Rows whose inputs and states are gathered at a time. */
#define KY_CHUNK 48

/** Zeroed; columns is N (or H) rounded up to a multiple of lanes. NULL when out of memory. */
KY_HIDDEN ky_mat *ky_mat_alloc(int K, int N, int lanes);
KY_HIDDEN void ky_mat_release(ky_mat *m);
KY_HIDDEN ky_lstm_mat *ky_lstm_mat_alloc(int F, int H, int lanes, size_t scratch);
KY_HIDDEN void ky_lstm_mat_release(ky_lstm_mat *m);
KY_HIDDEN ky_gru_mat *ky_gru_mat_alloc(int F, int H, bool after, int lanes, size_t scratch);
KY_HIDDEN void ky_gru_mat_release(ky_gru_mat *m);

KY_HIDDEN extern const ky_kernels ky_kernels_plain;
KY_HIDDEN extern const ky_kernels ky_kernels_avx2;
KY_HIDDEN extern const ky_kernels ky_kernels_avx512;
KY_HIDDEN extern const ky_kernels ky_kernels_neon;

/* extent() of every set: the compiler finds the vectors itself, and it is not worth more. */
static inline void ky_extent(size_t n, const ky_real *v, double *ret_squares, ky_real *ret_largest)
{
    enum { SUMS = 16 };
    double sum[SUMS] = { 0 }, squares = 0;
    ky_real top[SUMS] = { 0 }, largest = 0;
    size_t i = 0;

    for (; i + SUMS <= n; i += SUMS)
        for (int k = 0; k < SUMS; k++) {
            ky_real a = v[i + (size_t)k] < 0 ? -v[i + (size_t)k] : v[i + (size_t)k];

            sum[k] += (double)a * (double)a;
            top[k] = a > top[k] ? a : top[k];
        }
    for (int k = 0; i < n; i++, k++) {
        ky_real a = v[i] < 0 ? -v[i] : v[i];

        sum[k] += (double)a * (double)a;
        top[k] = a > top[k] ? a : top[k];
    }
    for (int k = 0; k < SUMS; k++) {
        squares += sum[k];
        largest = top[k] > largest ? top[k] : largest;
    }
    *ret_squares = squares;
    *ret_largest = largest;
}

/*
 * Constants of functions of one number. With n the integer nearest to y/ln 2 and
 * r = y - n ln 2, |r| <= 0.3472:
 *
 *     e^y = 2^n (1 + q),   q = r + r^2 (P0 + r (P1 + r (P2 + r (P3 + r P4))))
 *
 * The polynomial's relative error is 1.4e-8. Adding KY_EXP_MAGIC rounds y/ln 2 to an
 * integer that then stands in the low bits of the sum.
 */
#define KY_EXP_LOG2E   0x1.715476p+0f
#define KY_EXP_MAGIC   0x1.8p+23f
#define KY_EXP_LN2_HI  0x1.62e4p-1f /* 15 bits, so that n * LN2_HI is exact */
#define KY_EXP_LN2_LO  0x1.7f7d1cp-20f
#define KY_EXP_P0      0x1.fffffep-2f
#define KY_EXP_P1      0x1.5554b4p-3f
#define KY_EXP_P2      0x1.5556f4p-5f
#define KY_EXP_P3      0x1.122586p-7f
#define KY_EXP_P4      0x1.6b9adap-10f
#define KY_EXP_MIN     -104.0f /* e^x is 0 below */
#define KY_EXP_MAX     88.8f   /* and infinite above */
#define KY_EXPM1_MIN   -30.0f  /* e^x - 1 is -1 below */
#define KY_SIGMOID_MAX 87.336f /* keeps 2^n a normal number */
#define KY_TANH_MAX    9.1f    /* tanh is 1 beyond, in a float */

/*
 * log((1+s)/(1-s)) = 2s + s^3 (P0 + P1 s^2 + P2 s^4 + P3 s^6) for |s| <= 1/3, relative error
 * 4.5e-9. A number is split into 2^n m with m from the root of 1/2 to that of 2.
 */
#define KY_LOG_SQRT_HALF 0x1.6a09e6p-1f
#define KY_LOG_P0        0x1.555502p-1f
#define KY_LOG_P1        0x1.99d1ccp-2f
#define KY_LOG_P2        0x1.1ec042p-2f
#define KY_LOG_P3        0x1.1eca04p-2f

/*
 * The normal distribution beyond x: e^(-x^2/2) t (P0 + P1 t + ...), t = 1/(1 + C x), for
 * 0 <= x <= 15, relative error 3.0e-8. At 15 it is 0 in a float.
 */
#define KY_TAIL_MAX 15.0f
#define KY_TAIL_C   0.34375f
#define KY_TAIL_P0  0x1.18d314p-3f
#define KY_TAIL_P1  0x1.199f14p-3f
#define KY_TAIL_P2  0x1.df31f2p-4f
#define KY_TAIL_P3  0x1.c90fb8p-4f
#define KY_TAIL_P4  -0x1.2badc2p-5f
#define KY_TAIL_P5  0x1.7e5048p-3f
#define KY_TAIL_P6  -0x1.122d14p-2f
#define KY_TAIL_P7  0x1.226e90p-3f
#define KY_TAIL_P8  -0x1.c061d4p-6f

/* gelu_tanh: 2 sqrt(2/pi), and 0.044715 times that. */
#define KY_GELU_C1 1.5957691216057308
#define KY_GELU_C3 (0.044715 * KY_GELU_C1)

/* selu (Klambauer et al. 2017): lambda x above 0, lambda alpha (e^x - 1) below. */
#define KY_SELU_ABOVE 1.0507009873554805
#define KY_SELU_BELOW (1.6732632423543772 * KY_SELU_ABOVE)

#define KY_SQUARE_MAX 0x1p40 /* x^2 + 4 is x^2 here, in double too */

/* hard_sigmoid is x * slope + 0.5 within 0 and 1; Keras 2 and Keras 3 differ in the slope. */
#define KY_HARD_SLOPE_K2 0.2
#define KY_HARD_SLOPE_K3 (1.0 / 6)

#endif
