#include "models/rng.h"

#include <math.h>

#include "models/kernels.h"

static inline uint64_t rotl(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

static uint64_t splitmix64(uint64_t *x)
{
    uint64_t z = (*x += 0x9e3779b97f4a7c15u);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void ky_rng_seed(ky_rng *r, uint64_t seed)
{
    for (int i = 0; i < 4; i++)
        r->s[i] = splitmix64(&seed);
}

static inline uint64_t next(ky_rng *r)
{
    uint64_t *s = r->s, ret = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return ret;
}

uint64_t ky_rng_u64(ky_rng *r)
{
    return next(r);
}

void ky_rng_fill(ky_rng *r, uint64_t *a, size_t n)
{
    for (size_t i = 0; i < n; i++)
        a[i] = next(r);
}

double ky_rng_uniform(ky_rng *r)
{
    return (double)(ky_rng_u64(r) >> 11) * 0x1p-53;
}

/* The polar method (Marsaglia and Bray 1964); its second number is dropped, so that the
 * generator's state is all there is to remember. */
double ky_rng_normal(ky_rng *r)
{
    double u, v, q;

    do {
        u = 2.0 * ky_rng_uniform(r) - 1.0;
        v = 2.0 * ky_rng_uniform(r) - 1.0;
        q = u * u + v * v;
    } while (q >= 1.0 || q == 0.0);
    return u * sqrt(-2.0 * ky_ln(q) / q);
}

uint64_t ky_rng_below(ky_rng *r, uint64_t n)
{
    uint64_t x, unfair = -n % n; /* 2^64 mod n: so many values would come once too often */

    do
        x = ky_rng_u64(r);
    while (x < unfair);
    return x % n;
}

void ky_rng_shuffle(ky_rng *r, uint32_t *a, uint64_t n)
{
    for (uint64_t i = n; i > 1; i--) {
        uint64_t j = ky_rng_below(r, i);
        uint32_t t = a[i - 1];

        a[i - 1] = a[j];
        a[j] = t;
    }
}
