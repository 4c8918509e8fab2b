#include "daemon/health.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "daemon/core.h"
#include "models/health.h"

bool ky_health_stands(const ky_works *w, const void *state, const float *y)
{
    int outputs = w->v->facts->outputs;

    for (int i = 0; y != NULL && i < outputs; i++)
        if (!(y[i] - y[i] == 0.0f))
            return false;
    return ky_plan_state_ok(w->plan, state, w->state_bytes);
}

static ky_sick *sick_of(ky_strand *d)
{
    ky_rare *rare = ky_strand_set_rare(d);

    if (rare->sick == NULL && (rare->sick = calloc(1, sizeof(*rare->sick))) == NULL)
        ky_core_die(EX_OSERR, "lane", "no memory");
    return rare->sick;
}

enum ky_undone ky_health_undo(ky_strand *d, int64_t n, const void *before, int64_t at_us)
{
    const ky_sick *was = ky_strand_rare(d)->sick;
    bool first = was == NULL || was->n != n - 1;
    ky_sick *k = sick_of(d);

    memcpy(d->state, before, d->works->state_bytes);
    k->first_n = first || k->first_n < d->zero_n ? n : k->first_n;
    k->n = n;
    k->at_us = at_us;
    k->times++;
    if (n - k->first_n + 1 < KY_GIVE_UP)
        return first ? KY_UNDONE_FIRST : KY_UNDONE;
    ky_works_zero(d->works, d, n + 1);
    d->cut = true;
    return KY_UNDONE_ALL;
}

void ky_health_row(const ky_strand *d, int64_t n, int64_t now_us, ky_row_health *ret)
{
    ky_health h = ky_health_of(d->works->plan, d->state);

    *ret = (ky_row_health){
        .rms = (float)ky_health_rms(&h),
        .largest = h.values > 0 ? h.largest : NAN,
        .saturated = (float)ky_health_saturated(&h),
        .steps = n - d->zero_n + 1,
        .written_us = now_us,
        .quarantined_us = KY_NONE,
    };
    const ky_sick *k = ky_strand_rare(d)->sick;

    if (k != NULL) {
        ret->quarantines = k->times;
        ret->quarantined_us = k->at_us;
        ret->quarantined_n = k->n;
        ret->quarantined_from = k->first_n;
    }
}

void ky_health_restore(ky_strand *d, const ky_row_health *row)
{
    if (row->quarantines == 0)
        return;
    *sick_of(d) = (ky_sick){ .times = row->quarantines,
                             .n = row->quarantined_n,
                             .first_n = row->quarantined_from,
                             .at_us = row->quarantined_us };
}
