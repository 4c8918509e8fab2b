#include "models/h5value.h"

#include <math.h>
#include <string.h>

static const size_t sizes[] = {
    [KY_H5_F32] = 4, [KY_H5_F64] = 8, [KY_H5_I8] = 1,  [KY_H5_U8] = 1,  [KY_H5_I16] = 2,
    [KY_H5_I32] = 4, [KY_H5_U32] = 4, [KY_H5_I64] = 8, [KY_H5_U64] = 8,
};

static const bool little = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__;

/* One number: real, or whole with its sign apart. */
struct value {
    bool real, negative;
    double d;
    uint64_t u; /* the magnitude */
};

/* IEEE half: 1 sign, 5 exponent, 10 fraction bits. */
static double half(uint64_t bits)
{
    int exp = (int)(bits >> 10 & 31);
    double frac = (double)(bits & 1023), d;

    if (exp == 31)
        d = frac == 0 ? INFINITY : NAN;
    else
        d = exp == 0 ? ldexp(frac, -24) : ldexp(1024 + frac, exp - 25);
    return bits >> 15 != 0 ? -d : d;
}

static struct value load(const ky_h5meta_type *t, const unsigned char *p)
{
    struct value v = { 0 };
    uint64_t bits = 0;

    for (size_t i = 0; i < t->size; i++)
        bits |= (uint64_t)p[t->big ? t->size - 1 - i : i] << 8 * i;
    if (t->class == KY_H5META_FLOAT) {
        v.real = true;
        if (t->size == 8)
            memcpy(&v.d, &bits, 8);
        else if (t->size == 4 || t->upper_half) {
            uint32_t low = (uint32_t)(t->upper_half ? bits << 16 : bits);
            float x;

            memcpy(&x, &low, 4);
            v.d = x;
        } else
            v.d = half(bits);
        return v;
    }
    v.negative = t->sign && (bits >> (8 * t->size - 1) & 1) != 0;
    if (v.negative) /* the magnitude of a two's complement of that width */
        bits = t->size == 8 ? 0 - bits : ((uint64_t)1 << 8 * t->size) - bits;
    v.u = bits;
    return v;
}

static double as_real(const struct value *v)
{
    return v->real ? v->d : v->negative ? -(double)v->u : (double)v->u;
}

/* Cut to [-below, above]: what does not fit becomes the nearest that does. */
static uint64_t as_whole(const struct value *v, uint64_t below, uint64_t above)
{
    bool negative = v->real ? v->d < 0 : v->negative;
    uint64_t limit = negative ? below : above, size = v->u;

    if (v->real) {
        double d = fabs(v->d);

        size = isnan(d) ? 0 : d >= 0x1p64 ? UINT64_MAX : (uint64_t)d;
    }
    if (size > limit)
        size = limit;
    return negative ? 0 - size : size;
}

static void store(const struct value *v, enum ky_h5_type as, void *to)
{
    if (as == KY_H5_F64 || as == KY_H5_F32) {
        double d = as_real(v);
        float x = (float)d;

        memcpy(to, as == KY_H5_F64 ? (void *)&d : (void *)&x, sizes[as]);
        return;
    }
    bool sign = as == KY_H5_I8 || as == KY_H5_I16 || as == KY_H5_I32 || as == KY_H5_I64;
    size_t bits = 8 * sizes[as];
    uint64_t all = bits == 64 ? UINT64_MAX : ((uint64_t)1 << bits) - 1, half_way = all / 2;
    uint64_t w = as_whole(v, sign ? half_way + 1 : 0, sign ? half_way : all);
    unsigned char *p = to;

    for (size_t i = 0; i < sizes[as]; i++)
        p[little ? i : sizes[as] - 1 - i] = (unsigned char)(w >> 8 * i);
}

enum ky_h5_type ky_h5value_type(const ky_h5meta_type *t)
{
    switch (t->class) {
    case KY_H5META_FLOAT:
        return t->size == 8 ? KY_H5_F64 : KY_H5_F32;
    case KY_H5META_INT:
        switch (t->size) {
        case 1:
            return t->sign ? KY_H5_I8 : KY_H5_U8;
        case 2: /* there is no U16: it fits */
            return t->sign ? KY_H5_I16 : KY_H5_U32;
        case 4:
            return t->sign ? KY_H5_I32 : KY_H5_U32;
        default:
            return t->sign ? KY_H5_I64 : KY_H5_U64;
        }
    case KY_H5META_TEXT:
    case KY_H5META_VARIABLE:
        return KY_H5_STR;
    default:
        return KY_H5_OTHER;
    }
}

size_t ky_h5value_size(enum ky_h5_type t)
{
    return sizes[t];
}

void ky_h5value_convert(const ky_h5meta_type *t, const unsigned char *from, size_t n,
                        enum ky_h5_type as, unsigned char *to)
{
    if (little && !t->big && ky_h5value_type(t) == as && t->size == sizes[as]) {
        memcpy(to, from, n * t->size);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        struct value v = load(t, from + i * t->size);

        store(&v, as, to + i * sizes[as]);
    }
}
