/*
 * Random numbers that repeat: a generator somebody seeded (xoshiro256**, Blackman and
 * Vigna 2018; seeded by splitmix64). One thread each.
 */
#ifndef KY_RNG_H
#define KY_RNG_H

#include <stddef.h>
#include <stdint.h>

typedef struct ky_rng {
    uint64_t s[4];
} ky_rng;

void ky_rng_seed(ky_rng *r, uint64_t seed);
uint64_t ky_rng_u64(ky_rng *r);
void ky_rng_fill(ky_rng *r, uint64_t *a, size_t n); /* n times ky_rng_u64 */
double ky_rng_uniform(ky_rng *r);                   /* [0,1) */
double ky_rng_normal(ky_rng *r);                    /* mean 0, variance 1 */
uint64_t ky_rng_below(ky_rng *r, uint64_t n);       /* [0,n), without bias; n >= 1 */
void ky_rng_shuffle(ky_rng *r, uint32_t *a, uint64_t n);

#endif
