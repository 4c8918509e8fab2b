#include "tests/bench/measure.h"

#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#ifdef __x86_64__
#include <immintrin.h>
#endif

#define SLICE_S    0.006
#define ROUNDS     31
#define L2_BYTES   (256 * 1024)
#define FMA_ROUNDS 4096

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double seconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

double bench_now(void)
{
    return seconds(CLOCK_MONOTONIC);
}

static double slice(const bench_side *s, int times)
{
    double t0 = seconds(CLOCK_PROCESS_CPUTIME_ID);
    for (int i = 0; i < times; i++)
        s->run(s->arg);
    return seconds(CLOCK_PROCESS_CPUTIME_ID) - t0;
}

void bench_measure(bench_side *sides, int n)
{
    double rates[n][ROUNDS];
    int times[n];
    for (int i = 0; i < n; i++) {
        times[i] = 1;
        while (slice(&sides[i], times[i]) < SLICE_S)
            times[i] *= 2;
    }
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < n; i++)
            rates[i][round] = sides[i].units * times[i] / slice(&sides[i], times[i]);
    for (int i = 0; i < n; i++) {
        qsort(rates[i], ROUNDS, sizeof(double), by_value);
        sides[i].rate = rates[i][ROUNDS / 2];
    }
}

void bench_alone(char **argv)
{
    if (getenv("OMP_NUM_THREADS") == NULL) { /* read when a library is loaded: begin again */
        setenv("OMP_NUM_THREADS", "1", 1);
        execv("/proc/self/exe", argv);
    }
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    sched_setaffinity(0, sizeof one, &one);
}

static void additions(void *arg)
{
    uint64_t *x = arg, v = *x;
    for (int i = 0; i < 4096; i++) {
        v += (uint64_t)i;
        __asm__ volatile("" : "+r"(v)); /* so that the chain is run, not summed up */
    }
    *x = v;
}

/* The best slice: a neighbour on the same core slows the others down. */
double bench_clock_hz(void)
{
    uint64_t x = 0;
    bench_side s = { additions, &x, 4096, 0 };
    int times = 1;
    double best = 0;
    while (slice(&s, times) < SLICE_S)
        times *= 2;
    for (int i = 0; i < ROUNDS; i++) {
        double rate = s.units * times / slice(&s, times);
        best = rate > best ? rate : best;
    }
    return best;
}

/* -- limits ------------------------------------------------------------------------- */

static float sink[16];

/* Results nobody wants, which the optimiser must believe somebody does. */
static void wanted(void)
{
    __asm__ volatile("" : : "r"(sink) : "memory");
}

#ifdef __x86_64__

#define CHAINS 12
#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

__attribute__((target("avx512f"))) static void fma_512(void *arg)
{
    (void)arg;
    __m512 a[CHAINS], m = _mm512_set1_ps(0.999f), c = _mm512_set1_ps(0.001f);
    UNROLL
    for (int i = 0; i < CHAINS; i++)
        a[i] = _mm512_set1_ps((float)i);
    for (int k = 0; k < FMA_ROUNDS; k++) {
        UNROLL
        for (int i = 0; i < CHAINS; i++)
            a[i] = _mm512_fmadd_ps(a[i], m, c);
    }
    UNROLL
    for (int i = 1; i < CHAINS; i++)
        a[0] = _mm512_add_ps(a[0], a[i]);
    _mm512_storeu_ps(sink, a[0]);
    wanted();
}

__attribute__((target("avx2,fma"))) static void fma_256(void *arg)
{
    (void)arg;
    __m256 a[CHAINS], m = _mm256_set1_ps(0.999f), c = _mm256_set1_ps(0.001f);
    UNROLL
    for (int i = 0; i < CHAINS; i++)
        a[i] = _mm256_set1_ps((float)i);
    for (int k = 0; k < FMA_ROUNDS; k++) {
        UNROLL
        for (int i = 0; i < CHAINS; i++)
            a[i] = _mm256_fmadd_ps(a[i], m, c);
    }
    UNROLL
    for (int i = 1; i < CHAINS; i++)
        a[0] = _mm256_add_ps(a[0], a[i]);
    _mm256_storeu_ps(sink, a[0]);
    wanted();
}

__attribute__((target("avx512f"))) static void load_512(void *arg)
{
    const char *p = arg;
    __m512i a[4] = { 0 };
    for (int at = 0; at < L2_BYTES; at += 256) {
        UNROLL
        for (int i = 0; i < 4; i++)
            a[i] = _mm512_or_si512(a[i], _mm512_load_si512(p + at + 64 * i));
    }
    __m512i all = _mm512_or_si512(_mm512_or_si512(a[0], a[1]), _mm512_or_si512(a[2], a[3]));
    _mm512_storeu_si512(sink, all);
    wanted();
}

__attribute__((target("avx2"))) static void load_256(void *arg)
{
    const char *p = arg;
    __m256i a[4] = { 0 };
    for (int at = 0; at < L2_BYTES; at += 128) {
        UNROLL
        for (int i = 0; i < 4; i++)
            a[i] = _mm256_or_si256(a[i], _mm256_load_si256((const __m256i *)(p + at + 32 * i)));
    }
    __m256i all = _mm256_or_si256(_mm256_or_si256(a[0], a[1]), _mm256_or_si256(a[2], a[3]));
    _mm256_storeu_si256((__m256i *)sink, all);
    wanted();
}

#endif

static void fma_plain(void *arg)
{
    (void)arg;
    float a[8] = { 0, 1, 2, 3, 4, 5, 6, 7 };
    for (int k = 0; k < FMA_ROUNDS; k++)
        for (int i = 0; i < 8; i++)
            a[i] = __builtin_fmaf(a[i], 0.999f, 0.001f);
    memcpy(sink, a, sizeof a);
    wanted();
}

static void load_plain(void *arg)
{
    const uint64_t *p = arg;
    uint64_t all = 0;
    for (size_t i = 0; i < L2_BYTES / sizeof *p; i++)
        all |= p[i];
    memcpy(sink, &all, sizeof all);
    wanted();
}

bench_side bench_fma_peak(void)
{
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx512f"))
        return (bench_side){ fma_512, NULL, 2.0 * 16 * CHAINS * FMA_ROUNDS, 0 };
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return (bench_side){ fma_256, NULL, 2.0 * 8 * CHAINS * FMA_ROUNDS, 0 };
#endif
    return (bench_side){ fma_plain, NULL, 2.0 * 8 * FMA_ROUNDS, 0 };
}

bench_side bench_l2_loads(void)
{
    static char bytes[L2_BYTES] __attribute__((aligned(64)));
    memset(bytes, 1, sizeof bytes);
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx512f"))
        return (bench_side){ load_512, bytes, L2_BYTES, 0 };
    if (__builtin_cpu_supports("avx2"))
        return (bench_side){ load_256, bytes, L2_BYTES, 0 };
#endif
    return (bench_side){ load_plain, bytes, L2_BYTES, 0 };
}

double bench_fma_theory(double clock_hz, double peak)
{
    double flops = clock_hz * 2 * 2; /* two fma a cycle, of one lane */
    for (int lanes = 4; lanes <= 16; lanes *= 2)
        if (peak < 1.15 * flops * lanes)
            return flops * lanes;
    return flops * 16;
}

const char *bench_verdict(double got, double target)
{
    if (target <= 0)
        return "";
    return got >= target ? "reached" : "below";
}
