/* The kernels for AVX2 with FMA: 8 lanes, 16 registers. */
#include "models/kernels_impl.h"

#include <immintrin.h>

#define LANES     8
#define SET(name) avx2_##name
#define SET_NAME  "avx2"
#define SET_TABLE ky_kernels_avx2

/* Tile sizes: see kernels_simd.h. */
#define PANEL     2
#define LSTM_ROWS 3

typedef __m256 vec;
typedef __m256i ivec;
#define INLINE static inline __attribute__((always_inline))

/* clang-format off */
INLINE vec v_load(const float *p) { return _mm256_loadu_ps(p); }
INLINE void v_store(float *p, vec v) { _mm256_storeu_ps(p, v); }
INLINE vec v_set(float x) { return _mm256_set1_ps(x); }
INLINE vec v_add(vec a, vec b) { return _mm256_add_ps(a, b); }
INLINE vec v_sub(vec a, vec b) { return _mm256_sub_ps(a, b); }
INLINE vec v_mul(vec a, vec b) { return _mm256_mul_ps(a, b); }
INLINE vec v_div(vec a, vec b) { return _mm256_div_ps(a, b); }
INLINE vec v_sqrt(vec a) { return _mm256_sqrt_ps(a); }
INLINE vec v_fma(vec a, vec b, vec c) { return _mm256_fmadd_ps(a, b, c); }   /* a * b + c */
INLINE vec v_fnma(vec a, vec b, vec c) { return _mm256_fnmadd_ps(a, b, c); } /* c - a * b */
INLINE vec v_fms(vec a, vec b, vec c) { return _mm256_fmsub_ps(a, b, c); }   /* a * b - c */
INLINE vec v_max(vec a, vec b) { return _mm256_max_ps(a, b); } /* a > b ? a : b */
INLINE vec v_min(vec a, vec b) { return _mm256_min_ps(a, b); } /* a < b ? a : b */
INLINE ivec i_bits(vec v) { return _mm256_castps_si256(v); }
INLINE vec v_bits(ivec i) { return _mm256_castsi256_ps(i); }
INLINE ivec i_set(int x) { return _mm256_set1_epi32(x); }
INLINE ivec i_add(ivec a, ivec b) { return _mm256_add_epi32(a, b); }
INLINE ivec i_sub(ivec a, ivec b) { return _mm256_sub_epi32(a, b); }
INLINE ivec i_shl23(ivec a) { return _mm256_slli_epi32(a, 23); }
INLINE ivec i_half(ivec a) { return _mm256_srai_epi32(a, 1); }
INLINE ivec i_sra23(ivec a) { return _mm256_srai_epi32(a, 23); }
INLINE vec i_to_float(ivec a) { return _mm256_cvtepi32_ps(a); }
INLINE vec v_abs(vec a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
/* clang-format on */

static const int lane_mask[2 * LANES] = { -1, -1, -1, -1, -1, -1, -1, -1 };

/* a > b ? x : y */
INLINE vec v_if_gt(vec a, vec b, vec x, vec y)
{
    return _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, b, _CMP_GT_OQ));
}

INLINE __m256i first_lanes(int n)
{
    return _mm256_loadu_si256((const __m256i *)(lane_mask + LANES - n));
}

/* The first n lanes, 0 < n <= LANES; nothing behind them is touched. Masked stores are
 * slow on some processors, so whole vectors do without. */
INLINE vec v_load_part(const float *p, int n)
{
    return n == LANES ? v_load(p) : _mm256_maskload_ps(p, first_lanes(n));
}

INLINE void v_store_part(float *p, vec v, int n)
{
    if (n == LANES)
        v_store(p, v);
    else
        _mm256_maskstore_ps(p, first_lanes(n), v);
}

/* Lane i of x, for each i of a vector of lanes. */
INLINE vec v_pick(vec x, ivec i)
{
    return _mm256_permutevar8x32_ps(x, i);
}

INLINE ivec i_load(const int32_t *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

/* Two blocks of units are 8 chains, as many as hide the latency of fma. */
static inline int lstm_group(int blocks)
{
    (void)blocks;
    return 2;
}

static inline int gru_group(int blocks)
{
    (void)blocks;
    return 4;
}

#include "models/kernels_simd.h"
