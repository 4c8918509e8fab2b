/*
 * Measuring for the benches. A machine is shared and changes its mind about its clock, so
 * nothing is measured alone: the sides of a comparison, the machine's limit among them,
 * take turns in short slices, and what counts is the ratio of their medians.
 */
#ifndef KY_BENCH_MEASURE_H
#define KY_BENCH_MEASURE_H

typedef struct bench_side {
    void (*run)(void *arg); /* one piece of work */
    void *arg;
    double units; /* what one piece counts for: steps, flops, bytes ... */
    double rate;  /* set by bench_measure: units a second, the median of the slices */
} bench_side;

/** Monotonic time in seconds. */
double bench_now(void);

/** Let the n sides take turns; about n * 0.2 seconds. What others do on this processor in the
 *  meantime is not counted: rates are per second of processor time. */
void bench_measure(bench_side *sides, int n);

/** Keep to one processor, peers' libraries with threads of their own too. First in main. */
void bench_alone(char **argv);

/** Cycles a second, from a chain of additions that takes one cycle each. */
double bench_clock_hz(void);

/** The most multiply-adds in the widest vectors, in flops; and loads of 256 KB, in bytes. */
bench_side bench_fma_peak(void);
bench_side bench_l2_loads(void);

/** What two fma a cycle would give with the narrowest vectors that explain `peak`, in flops/s. */
double bench_fma_theory(double clock_hz, double peak);

/** "reached", "below", or "" where there is no target (0). */
const char *bench_verdict(double got, double target);

#endif
