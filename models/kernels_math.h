/*
 * Functions of one number, written once over `vec` for all kernel sets: the file of a set
 * defines vec and its operations (the plain one: a number), then includes this. As every
 * operation is exact or rounded once, all sets give the same bits.
 *
 * In double, which only gradient checks use, the functions at the bottom of the others are
 * the C library's.
 *
 * NaN passes through all of them: v_max(a, x) and v_min(a, x) return x if either is none, and
 * v_if_gt() takes the second. The largest errors over all floats, by exhaustive search
 * (tests/models/test_kernels.c), in units of the last place (ulp) unless below the bound behind:
 *
 *     tanh          2.6         tanh(-0) is +0; a few neighbours step back by an ulp
 *     sigmoid       2.5         stays at 1.18e-38 below -87.336; never decreases
 *     exponential   1.05        never decreases; 0 below -104, infinite above 88.72
 *     elu, celu     1           -1 below -17.4
 *     selu          2
 *     gelu          6.5, 1e-42  erf's side of it; 0 below -14.2
 *     gelu_tanh     1.8, 1e-7
 *     softplus      2.9         likewise log_sigmoid
 *     silu          3.4, 1e-42
 *     mish          4.8, 1e-42
 *     softsign      1.5
 *     squareplus    2.8
 *     sparse_plus   2
 *     tanh_shrink   1.8, 1.8e-7 x - tanh(x) cancels near 0, as in Keras
 *     hard_sigmoid  1, 5e-8     hard_silu 1.5, 1.5e-7
 *     leaky_relu    0.5         soft_shrink likewise; the rest are exact
 *
 * Of -0 they give -0 where 0 gives 0, but for tanh and the two shrinks, which give +0. Of -infinity
 * gelu, gelu_tanh, silu, hard_silu, mish and of both infinities softsign give NaN, as Keras's do (0
 * times infinity). Inputs are finite, and of all finite numbers these are finite.
 */
#ifndef KY_KERNELS_MATH_H
#define KY_KERNELS_MATH_H

static inline int min_int(int a, int b)
{
    return a < b ? a : b;
}

/* How many of the LANES columns that start at `from` exist. */
static inline int lanes_left(int columns, int from)
{
    return min_int(columns - from, LANES);
}

INLINE vec v_neg(vec x)
{
    return v_sub(v_set((ky_real)-0.0), x);
}

INLINE vec v_clamp(ky_real lo, ky_real hi, vec x)
{
    return v_max(v_set(lo), v_min(v_set(hi), x));
}

#if KY_IN_DOUBLE

INLINE vec v_sigmoid(vec x)
{
    return 1 / (1 + exp(-x));
}

INLINE vec v_tanh(vec x)
{
    return tanh(x);
}

INLINE vec v_exp(vec x)
{
    return exp(x);
}

INLINE vec v_expm1_below(vec x)
{
    return expm1(v_min(0, x));
}

INLINE vec v_log1p_unit(vec x)
{
    return log1p(x);
}

INLINE vec v_log(vec x)
{
    return log(x);
}

INLINE vec v_normal_tail(vec x)
{
    return erfc(x * sqrt(0.5)) / 2;
}

#else

/* About e^y - 1 after taking out 2^n; *t holds n in its low bits. */
INLINE vec exp_core(vec y, vec *t)
{
    *t = v_fma(y, v_set(KY_EXP_LOG2E), v_set(KY_EXP_MAGIC));
    vec n = v_sub(*t, v_set(KY_EXP_MAGIC));
    vec r = v_fma(n, v_set(-KY_EXP_LN2_HI), y);
    r = v_fma(n, v_set(-KY_EXP_LN2_LO), r);
    vec p = v_fma(v_set(KY_EXP_P4), r, v_set(KY_EXP_P3));
    p = v_fma(p, r, v_set(KY_EXP_P2));
    p = v_fma(p, r, v_set(KY_EXP_P1));
    p = v_fma(p, r, v_set(KY_EXP_P0));
    return v_fma(v_mul(r, r), p, r);
}

/* 2^n; the shift drops all of t but n. */
INLINE vec exp2_of(vec t)
{
    return v_bits(i_add(i_shl23(i_bits(t)), i_set(0x3f800000)));
}

INLINE vec v_sigmoid(vec x)
{
    x = v_clamp(-KY_SIGMOID_MAX, KY_SIGMOID_MAX, v_neg(x));
    vec t, q = exp_core(x, &t), s = exp2_of(t);
    return v_div(v_set(1), v_add(v_set(1), v_fma(s, q, s)));
}

INLINE vec v_tanh(vec x)
{
    x = v_clamp(-KY_TANH_MAX, KY_TANH_MAX, x);
    vec t, q = exp_core(v_add(x, x), &t), s = exp2_of(t);
    vec m = v_fma(s, q, v_sub(s, v_set(1))); /* e^2x - 1 */
    return v_div(m, v_add(m, v_set(2)));
}

INLINE vec v_exp(vec x)
{
    vec t, q = exp_core(v_clamp(KY_EXP_MIN, KY_EXP_MAX, x), &t);
    /* 2^n in two factors: n = -150 .. 128 is more than one float's exponent holds. */
    ivec n = i_sub(i_bits(t), i_bits(v_set(KY_EXP_MAGIC)));
    ivec n1 = i_half(n), n2 = i_sub(n, n1);
    vec p = v_mul(v_add(v_set(1), q), v_bits(i_shl23(i_add(n1, i_set(127)))));
    return v_mul(p, v_bits(i_shl23(i_add(n2, i_set(127)))));
}

/* e^x - 1 of x <= 0 */
INLINE vec v_expm1_below(vec x)
{
    vec t, q = exp_core(v_clamp(KY_EXPM1_MIN, 0, x), &t), s = exp2_of(t);
    return v_fma(s, q, v_sub(s, v_set(1)));
}

/* log((1+s)/(1-s)), |s| <= 1/3 */
INLINE vec log_core(vec s)
{
    vec u = v_mul(s, s);
    vec p = v_fma(v_set(KY_LOG_P3), u, v_set(KY_LOG_P2));
    p = v_fma(p, u, v_set(KY_LOG_P1));
    p = v_fma(p, u, v_set(KY_LOG_P0));
    return v_fma(v_mul(s, u), p, v_add(s, s));
}

/* log(1 + x), 0 <= x <= 1 */
INLINE vec v_log1p_unit(vec x)
{
    return log_core(v_div(x, v_add(v_set(2), x)));
}

/* log(x) of a normal x > 0 */
INLINE vec v_log(vec x)
{
    ivec e = i_sra23(i_sub(i_bits(x), i_bits(v_set(KY_LOG_SQRT_HALF))));
    vec m = v_bits(i_sub(i_bits(x), i_shl23(e))), n = i_to_float(e);
    vec y = log_core(v_div(v_sub(m, v_set(1)), v_add(m, v_set(1))));
    y = v_fma(n, v_set(KY_EXP_LN2_HI), v_fma(n, v_set(KY_EXP_LN2_LO), y));
    return v_if_gt(x, v_set(0), y, x);
}

/* How probable it is that a normal variable exceeds x >= 0: erfc(x/sqrt 2)/2. It is
 * e^(-x^2/2) t P(t); the first factor needs the low half of x^2, too. */
INLINE vec v_normal_tail(vec x)
{
    x = v_min(v_set(KY_TAIL_MAX), x);
    vec sq = v_mul(x, x), low = v_fma(x, x, v_neg(sq));
    vec e = v_exp(v_mul(v_set(-0.5f), sq));
    e = v_fma(e, v_mul(v_set(-0.5f), low), e);
    vec t = v_div(v_set(1), v_fma(v_set(KY_TAIL_C), x, v_set(1)));
    vec p = v_fma(v_set(KY_TAIL_P8), t, v_set(KY_TAIL_P7));
    p = v_fma(p, t, v_set(KY_TAIL_P6));
    p = v_fma(p, t, v_set(KY_TAIL_P5));
    p = v_fma(p, t, v_set(KY_TAIL_P4));
    p = v_fma(p, t, v_set(KY_TAIL_P3));
    p = v_fma(p, t, v_set(KY_TAIL_P2));
    p = v_fma(p, t, v_set(KY_TAIL_P1));
    p = v_fma(p, t, v_set(KY_TAIL_P0));
    return v_mul(e, v_mul(t, p));
}

#endif

/* -- activations, by Keras's formulas ---------------------------------------------- */

INLINE vec v_relu(vec x)
{
    return v_max(v_set(0), x);
}

INLINE vec v_relu6(vec x)
{
    return v_clamp(0, 6, x);
}

INLINE vec v_leaky_relu(vec x)
{
    return v_if_gt(x, v_set(0), x, v_mul(x, v_set((ky_real)0.2)));
}

INLINE vec v_hard_sigmoid_k2(vec x)
{
    return v_clamp(0, 1, v_fma(x, v_set((ky_real)KY_HARD_SLOPE_K2), v_set((ky_real)0.5)));
}

INLINE vec v_hard_sigmoid_k3(vec x)
{
    return v_clamp(0, 1, v_fma(x, v_set((ky_real)KY_HARD_SLOPE_K3), v_set((ky_real)0.5)));
}

INLINE vec v_hard_silu(vec x)
{
    return v_mul(x, v_hard_sigmoid_k3(x));
}

INLINE vec v_hard_tanh(vec x)
{
    return v_clamp(-1, 1, x);
}

INLINE vec v_elu(vec x)
{
    return v_if_gt(v_set(0), x, v_expm1_below(x), x);
}

INLINE vec v_selu(vec x)
{
    vec below = v_mul(v_expm1_below(x), v_set((ky_real)KY_SELU_BELOW));
    return v_if_gt(v_set(0), x, below, v_mul(x, v_set((ky_real)KY_SELU_ABOVE)));
}

/* e^-|x|: what the smooth ones are made of without ever exceeding a float */
INLINE vec exp_minus_abs(vec x)
{
    return v_exp(v_neg(v_abs(x)));
}

/* x / (1 + e^-w); x and w have one sign */
INLINE vec times_sigmoid(vec x, vec w)
{
    vec e = exp_minus_abs(w);
    return v_div(v_if_gt(x, v_set(0), x, v_mul(x, e)), v_add(v_set(1), e));
}

INLINE vec v_silu(vec x)
{
    return times_sigmoid(x, x);
}

/* x Phi(x), the normal distribution's */
INLINE vec v_gelu(vec x)
{
    vec tail = v_normal_tail(v_abs(x));
    return v_mul(x, v_if_gt(x, v_set(0), v_sub(v_set(1), tail), tail));
}

/* x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) */
INLINE vec v_gelu_tanh(vec x)
{
    vec c = v_fma(v_mul(x, x), v_set((ky_real)KY_GELU_C3), v_set((ky_real)KY_GELU_C1));
    return times_sigmoid(x, v_mul(x, c));
}

/* log(1 + e^x) */
INLINE vec v_softplus(vec x)
{
    return v_add(v_max(v_set(0), x), v_log1p_unit(exp_minus_abs(x)));
}

INLINE vec v_log_sigmoid(vec x)
{
    return v_sub(v_min(v_set(0), x), v_log1p_unit(exp_minus_abs(x)));
}

INLINE vec v_softsign(vec x)
{
    return v_div(x, v_add(v_set(1), v_abs(x)));
}

/* x tanh(softplus(x)) = x a/b, with e = e^-|x|: a = 1 + 2e, b = a + 2e^2 above 0,
 * a = e^2 + 2e, b = a + 2 below */
INLINE vec v_mish(vec x)
{
    vec zero = v_set(0), two = v_set(2), e = exp_minus_abs(x);
    vec a = v_if_gt(x, zero, v_fma(two, e, v_set(1)), v_mul(e, v_add(e, two)));
    vec b = v_fma(two, v_if_gt(x, zero, v_mul(e, e), v_set(1)), a);
    return v_mul(x, v_div(a, b));
}

INLINE vec v_tanh_shrink(vec x)
{
    return v_sub(x, v_tanh(x));
}

/* Towards 0 by 0.5 */
INLINE vec v_soft_shrink(vec x)
{
    return v_sub(x, v_clamp((ky_real)-0.5, (ky_real)0.5, x));
}

/* 0 unless |x| > 0.5 */
INLINE vec v_hard_shrink(vec x)
{
    return v_if_gt(v_abs(x), v_set((ky_real)0.5), x, v_sub(x, x));
}

/* (x + sqrt(x^2 + 4)) / 2, which is 1 over that of -x. The root of large squares is x: they
 * might not be finite. */
INLINE vec v_squareplus(vec x)
{
    vec half = v_set((ky_real)0.5), a = v_abs(x);
    vec root = v_sqrt(v_fma(a, a, v_set(4)));
    root = v_if_gt(a, v_set((ky_real)KY_SQUARE_MAX), a, root);
    vec above = v_fma(half, a, v_mul(half, root));
    return v_if_gt(x, v_set(0), above, v_div(v_set(1), above));
}

/* (x+1)^2 / 4 between -1 and 1, beyond 0 and x */
INLINE vec v_sparse_plus(vec x)
{
    vec u = v_mul(v_set((ky_real)0.5), v_add(v_max(v_set(-1), x), v_set(1)));
    return v_if_gt(x, v_set(1), x, v_mul(u, u));
}

/* -- arrays -------------------------------------------------------------------------- */

INLINE void map(vec (*f)(vec), const ky_real *x, ky_real *y, size_t n)
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        v_store(y + i, f(v_load(x + i)));
    if (i < n)
        v_store_part(y + i, f(v_load_part(x + i, (int)(n - i))), (int)(n - i));
}

static void SET(activate)(enum ky_activation act, const ky_real *x, ky_real *y, size_t n)
{
#define KY_CASE(name, f)                                                                           \
    case name:                                                                                     \
        map(f, x, y, n);                                                                           \
        break
    switch (act) {
        KY_CASE(KY_RELU, v_relu);
        KY_CASE(KY_TANH, v_tanh);
        KY_CASE(KY_SIGMOID, v_sigmoid);
        KY_CASE(KY_HARD_SIGMOID_K2, v_hard_sigmoid_k2);
        KY_CASE(KY_HARD_SIGMOID_K3, v_hard_sigmoid_k3);
        KY_CASE(KY_EXPONENTIAL, v_exp);
        KY_CASE(KY_RELU6, v_relu6);
        KY_CASE(KY_LEAKY_RELU, v_leaky_relu);
        KY_CASE(KY_ELU, v_elu);
        KY_CASE(KY_SELU, v_selu);
        KY_CASE(KY_CELU, v_elu); /* the same while their alpha is 1 */
        KY_CASE(KY_GELU, v_gelu);
        KY_CASE(KY_GELU_TANH, v_gelu_tanh);
        KY_CASE(KY_SOFTPLUS, v_softplus);
        KY_CASE(KY_SOFTSIGN, v_softsign);
        KY_CASE(KY_SILU, v_silu);
        KY_CASE(KY_MISH, v_mish);
        KY_CASE(KY_HARD_SILU, v_hard_silu);
        KY_CASE(KY_HARD_TANH, v_hard_tanh);
        KY_CASE(KY_LOG_SIGMOID, v_log_sigmoid);
        KY_CASE(KY_TANH_SHRINK, v_tanh_shrink);
        KY_CASE(KY_SOFT_SHRINK, v_soft_shrink);
        KY_CASE(KY_HARD_SHRINK, v_hard_shrink);
        KY_CASE(KY_SQUAREPLUS, v_squareplus);
        KY_CASE(KY_SPARSE_PLUS, v_sparse_plus);
    case KY_LINEAR:
    case KY_SOFTMAX: /* by rows, not by numbers */
    case KY_LOG_SOFTMAX:
        if (x != y)
            memcpy(y, x, n * sizeof *y);
        break;
    }
#undef KY_CASE
}

#endif
