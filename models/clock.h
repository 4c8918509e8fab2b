/*
 * Time. Everything in kymo that needs to know the time asks here, so that a test
 * can turn the clock. Any thread.
 */
#ifndef KY_CLOCK_H
#define KY_CLOCK_H

#include <stdint.h>

/** Microseconds since 1970 UTC. */
int64_t ky_clock_wall_us(void);

/** Nanoseconds on a clock that never steps. */
int64_t ky_clock_mono_ns(void);

/** Put another clock in place (tests); NULL puts the system's back. */
void ky_clock_set(int64_t (*wall_us)(void), int64_t (*mono_ns)(void));

#endif
