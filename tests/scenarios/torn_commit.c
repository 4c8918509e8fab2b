/*
 * The negative control of test_restart: linked into a kymod of its own with
 * -Wl,--wrap=ky_results_commit, it commits states and positions first and, a moment later, the
 * results that they include. In between the file $KY_TORN exists, so that the test can strike.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "storage/results.h"

int __real_ky_results_commit(ky_results *r, const ky_unit *u, ky_err *err);
int __wrap_ky_results_commit(ky_results *r, const ky_unit *u, ky_err *err);

int __wrap_ky_results_commit(ky_results *r, const ky_unit *u, ky_err *err)
{
    const struct timespec moment = { .tv_nsec = 400000000 };
    ky_unit first = *u, second = *u;

    first.predictions.n = 0;
    second.streams.n = second.states.n = second.states0.n = second.sources.n = 0;
    second.labels.n = second.gaps.n = second.rejects.n = second.events.n = second.swaps.n = 0;
    second.low_water = 0;
    int rc = __real_ky_results_commit(r, &first, err);

    const char *mark = getenv("KY_TORN");
    FILE *f = mark != NULL && u->predictions.n > 0 ? fopen(mark, "w") : NULL;

    if (f != NULL)
        fclose(f);
    nanosleep(&moment, NULL);
    if (f != NULL)
        remove(mark);
    return rc < 0 ? rc : __real_ky_results_commit(r, &second, err);
}
