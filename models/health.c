#include "models/health.h"

#include <math.h>

void ky_health_add(ky_health *h, const float *v, size_t values, size_t units)
{
    double squares;
    float largest;

    ky_kernels_get()->extent(values, v, &squares, &largest);
    h->squares += squares;
    h->largest = largest > h->largest ? largest : h->largest;
    for (size_t i = 0; i < units; i++)
        h->saturated += fabsf(v[i]) > KY_SATURATED;
    h->values += values;
    h->units += units;
}

ky_health ky_health_of(const ky_plan *p, const void *state)
{
    const ky_plan_part *part;
    ky_health h = { 0 };

    for (int n = ky_plan_parts(p, &part); n > 0; n--, part++)
        if (part->h > 0)
            ky_health_add(&h, (const float *)((const char *)state + part->at),
                          part->bytes / sizeof(float), part->bounded ? part->h : 0);
    return h;
}

double ky_health_rms(const ky_health *h)
{
    return h->values > 0 ? sqrt(h->squares / (double)h->values) : NAN;
}

double ky_health_saturated(const ky_health *h)
{
    return h->units > 0 ? (double)h->saturated / (double)h->units : NAN;
}
