#include "models/clock.h"

#include <stddef.h>
#include <time.h>

static int64_t read_ns(clockid_t id)
{
    struct timespec t;

    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int64_t system_wall_us(void)
{
    return read_ns(CLOCK_REALTIME) / 1000;
}

static int64_t system_mono_ns(void)
{
    return read_ns(CLOCK_MONOTONIC);
}

static int64_t (*wall)(void) = system_wall_us;
static int64_t (*mono)(void) = system_mono_ns;

int64_t ky_clock_wall_us(void)
{
    return wall();
}

int64_t ky_clock_mono_ns(void)
{
    return mono();
}

void ky_clock_set(int64_t (*wall_us)(void), int64_t (*mono_ns)(void))
{
    wall = wall_us != NULL ? wall_us : system_wall_us;
    mono = mono_ns != NULL ? mono_ns : system_mono_ns;
}
