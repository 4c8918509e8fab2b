/* The kernels for AVX-512F: 16 lanes, 32 registers. */
#include "models/kernels_impl.h"

#include <immintrin.h>

#define LANES     16
#define SET(name) avx512_##name
#define SET_NAME  "avx512"
#define SET_TABLE ky_kernels_avx512

/* Tile sizes: see kernels_simd.h. */
#define PANEL     4
#define LSTM_ROWS 6

typedef __m512 vec;
typedef __m512i ivec;
#define INLINE static inline __attribute__((always_inline))

/* clang-format off */
INLINE vec v_load(const float *p) { return _mm512_loadu_ps(p); }
INLINE void v_store(float *p, vec v) { _mm512_storeu_ps(p, v); }
INLINE vec v_set(float x) { return _mm512_set1_ps(x); }
INLINE vec v_add(vec a, vec b) { return _mm512_add_ps(a, b); }
INLINE vec v_sub(vec a, vec b) { return _mm512_sub_ps(a, b); }
INLINE vec v_mul(vec a, vec b) { return _mm512_mul_ps(a, b); }
INLINE vec v_div(vec a, vec b) { return _mm512_div_ps(a, b); }
INLINE vec v_sqrt(vec a) { return _mm512_sqrt_ps(a); }
INLINE vec v_fma(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }   /* a * b + c */
INLINE vec v_fnma(vec a, vec b, vec c) { return _mm512_fnmadd_ps(a, b, c); } /* c - a * b */
INLINE vec v_fms(vec a, vec b, vec c) { return _mm512_fmsub_ps(a, b, c); }   /* a * b - c */
INLINE vec v_max(vec a, vec b) { return _mm512_max_ps(a, b); } /* a > b ? a : b */
INLINE vec v_min(vec a, vec b) { return _mm512_min_ps(a, b); } /* a < b ? a : b */
INLINE ivec i_bits(vec v) { return _mm512_castps_si512(v); }
INLINE vec v_bits(ivec i) { return _mm512_castsi512_ps(i); }
INLINE ivec i_set(int x) { return _mm512_set1_epi32(x); }
INLINE ivec i_add(ivec a, ivec b) { return _mm512_add_epi32(a, b); }
INLINE ivec i_sub(ivec a, ivec b) { return _mm512_sub_epi32(a, b); }
INLINE ivec i_shl23(ivec a) { return _mm512_slli_epi32(a, 23); }
INLINE ivec i_half(ivec a) { return _mm512_srai_epi32(a, 1); }
INLINE ivec i_sra23(ivec a) { return _mm512_srai_epi32(a, 23); }
INLINE vec i_to_float(ivec a) { return _mm512_cvtepi32_ps(a); }
INLINE vec v_abs(vec a) { return _mm512_abs_ps(a); }
/* clang-format on */

/* a > b ? x : y */
INLINE vec v_if_gt(vec a, vec b, vec x, vec y)
{
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_GT_OQ), y, x);
}

/* The first n lanes, 0 < n <= LANES; nothing behind them is touched. */
INLINE vec v_load_part(const float *p, int n)
{
    return _mm512_maskz_loadu_ps((__mmask16)(0xffff >> (LANES - n)), p);
}

INLINE void v_store_part(float *p, vec v, int n)
{
    _mm512_mask_storeu_ps(p, (__mmask16)(0xffff >> (LANES - n)), v);
}

/* Lane i of x, for each i of a vector of lanes. */
INLINE vec v_pick(vec x, ivec i)
{
    return _mm512_permutexvar_ps(i, x);
}

INLINE ivec i_load(const int32_t *p)
{
    return _mm512_loadu_si512(p);
}

/*
 * Two blocks of units are 8 chains, as many as hide the latency of fma; large layers read
 * their weights faster in four streams. Zen 4 (family 19h) takes two cycles for 512 bits of
 * fma, so one block suffices there, and the next can begin during its cell: LSTM(64) 1.56
 * against 1.40 million steps a second, LSTM(128) 0.40 against 0.33.
 */
static inline int lstm_group(int blocks)
{
    if (blocks > 2 && __builtin_cpu_is("amdfam19h"))
        return 1;
    return blocks > 4 ? 4 : 2;
}

static inline int gru_group(int blocks)
{
    if (blocks > 2 && __builtin_cpu_is("amdfam19h"))
        return 2;
    return 4;
}

#include "models/kernels_simd.h"
