/* The kernels for AArch64: NEON has 4 lanes and 32 registers. */
#include "models/kernels_impl.h"

#include <arm_neon.h>
#include <string.h>

#define LANES     4
#define SET(name) neon_##name
#define SET_NAME  "neon"
#define SET_TABLE ky_kernels_neon

/* Tile sizes: see kernels_simd.h. */
#define PANEL     4
#define LSTM_ROWS 6

typedef float32x4_t vec;
typedef int32x4_t ivec;
#define INLINE static inline __attribute__((always_inline))

/* clang-format off */
INLINE vec v_load(const float *p) { return vld1q_f32(p); }
INLINE void v_store(float *p, vec v) { vst1q_f32(p, v); }
INLINE vec v_set(float x) { return vdupq_n_f32(x); }
INLINE vec v_add(vec a, vec b) { return vaddq_f32(a, b); }
INLINE vec v_sub(vec a, vec b) { return vsubq_f32(a, b); }
INLINE vec v_mul(vec a, vec b) { return vmulq_f32(a, b); }
INLINE vec v_div(vec a, vec b) { return vdivq_f32(a, b); }
INLINE vec v_sqrt(vec a) { return vsqrtq_f32(a); }
INLINE vec v_fma(vec a, vec b, vec c) { return vfmaq_f32(c, a, b); }            /* a * b + c */
INLINE vec v_fnma(vec a, vec b, vec c) { return vfmsq_f32(c, a, b); }           /* c - a * b */
INLINE vec v_fms(vec a, vec b, vec c) { return vfmaq_f32(vnegq_f32(c), a, b); } /* a * b - c */
INLINE vec v_abs(vec a) { return vabsq_f32(a); }
INLINE ivec i_bits(vec v) { return vreinterpretq_s32_f32(v); }
INLINE vec v_bits(ivec i) { return vreinterpretq_f32_s32(i); }
INLINE ivec i_set(int x) { return vdupq_n_s32(x); }
INLINE ivec i_load(const int32_t *p) { return vld1q_s32(p); }
INLINE ivec i_add(ivec a, ivec b) { return vaddq_s32(a, b); }
INLINE ivec i_sub(ivec a, ivec b) { return vsubq_s32(a, b); }
INLINE ivec i_shl23(ivec a) { return vshlq_n_s32(a, 23); }
INLINE ivec i_half(ivec a) { return vshrq_n_s32(a, 1); }
INLINE ivec i_sra23(ivec a) { return vshrq_n_s32(a, 23); }
INLINE vec i_to_float(ivec a) { return vcvtq_f32_s32(a); }

/* NEON's own max and min make NaN of a NaN on either side and order the zeros; these do as
 * the others' instructions do. */
INLINE vec v_if_gt(vec a, vec b, vec x, vec y) { return vbslq_f32(vcgtq_f32(a, b), x, y); }
INLINE vec v_max(vec a, vec b) { return v_if_gt(a, b, a, b); }
INLINE vec v_min(vec a, vec b) { return v_if_gt(b, a, a, b); }
/* clang-format on */

/* The first n lanes, 0 < n <= LANES; nothing behind them is touched. */
INLINE vec v_load_part(const float *p, int n)
{
    if (n == LANES)
        return v_load(p);
    float t[LANES] = { 0 };
    memcpy(t, p, (size_t)n * sizeof *t);
    return v_load(t);
}

INLINE void v_store_part(float *p, vec v, int n)
{
    float t[LANES];
    if (n == LANES) {
        v_store(p, v);
        return;
    }
    v_store(t, v);
    memcpy(p, t, (size_t)n * sizeof *t);
}

/* Lane i of x, for each i of a vector of lanes: its four bytes. */
INLINE vec v_pick(vec x, ivec i)
{
    ivec bytes = vaddq_s32(vmulq_s32(i, vdupq_n_s32(0x04040404)), vdupq_n_s32(0x03020100));
    return vreinterpretq_f32_u8(vqtbl1q_u8(vreinterpretq_u8_f32(x), vreinterpretq_u8_s32(bytes)));
}

/* Four blocks of units are 16 chains: what four units with a latency of four cycles ask for. */
static inline int lstm_group(int blocks)
{
    (void)blocks;
    return 4;
}

static inline int gru_group(int blocks)
{
    (void)blocks;
    return 4;
}

#include "models/kernels_simd.h"
