/* What a pipeline says about itself: ky_pipeline_status. */
#include "daemon/pipeline.h"

#include <stdio.h>

#include "daemon/accept.h"
#include "daemon/commit.h"
#include "daemon/core.h"
#include "daemon/intake.h"
#include "daemon/lane.h"
#include "daemon/publish.h"

static ky_json *number(const _Atomic uint64_t *counter)
{
    return ky_json_of_int((int64_t)atomic_load_explicit(counter, memory_order_relaxed));
}

static ky_json *counters(const ky_counters *c)
{
    const struct {
        const char *key;
        const _Atomic uint64_t *at;
    } rows[] = {
        { "received", &c->received },
        { "accepted", &c->accepted },
        { "rejected", &c->rejected },
        { "duplicates", &c->duplicates },
        { "late", &c->late },
        { "set_back", &c->set_back },
        { "clock_steps", &c->clock_steps },
        { "filled", &c->filled },
        { "ended", &c->ended },
        { "forgotten", &c->forgotten },
        { "paged_out", &c->paged_out },
        { "paged_in", &c->paged_in },
        { "spilled", &c->spilled },
        { "returned", &c->returned },
        { "sources_waiting", &c->waiting },
        { "ends_waiting", &c->ends_waiting },
        { "ends_late", &c->ends_late },
        { "epochs", &c->anew },
        { "ahead", &c->ahead },
        { "sessions_refused", &c->sessions_refused },
        { "acks", &c->acks },
        { "acks_dropped", &c->acks_dropped },
        { "batches", &c->batches },
        { "steps", &c->steps },
        { "answers", &c->answers },
        { "quarantined", &c->quarantined },
        { "gaps", &c->gaps },
        { "resets", &c->resets },
        { "swaps", &c->swaps },
        { "labels", &c->labels },
        { "published", &c->published },
        { "unpublished", &c->unpublished },
        { "commits", &c->commits },
        { "committed", &c->commit_rows },
        { "commit_retries", &c->commit_retries },
        { "journal_retries", &c->journal_retries },
        { "stalls", &c->stalls },
        { "let_go", &c->let_go },
        { "recovered", &c->recovered },
        { "streams", &c->streams },
        { "streams_in_memory", &c->in_memory },
    };
    ky_json *o = ky_json_object();

    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        ky_json_set(o, rows[i].key, number(rows[i].at));
    return o;
}

/* {"1": 17, "2": 4, ...}: waves by size, those that occurred. */
static ky_json *waves(const ky_pipeline *p, int64_t *ret_sizes)
{
    ky_json *o = ky_json_object();
    char key[16];

    *ret_sizes = 0;
    for (int i = 1; i <= p->cfg->max_wave; i++) {
        if (atomic_load_explicit(&p->count.waves[i], memory_order_relaxed) == 0)
            continue;
        snprintf(key, sizeof(key), "%d", i);
        ky_json_set(o, key, number(&p->count.waves[i]));
        ++*ret_sizes;
    }
    return o;
}

static ky_json *reasons(ky_reasons *r)
{
    ky_json *o = ky_json_object();

    pthread_mutex_lock(&r->lock);
    for (int i = 0; i < r->n; i++)
        ky_json_set(o, r->row[i].text, ky_json_of_int((int64_t)r->row[i].times));
    pthread_mutex_unlock(&r->lock);
    return o;
}

static ky_json *sources(const ky_pipeline *p)
{
    ky_json *o = ky_json_object();

    for (int i = 0; i < p->cfg->n_sources; i++) {
        ky_json *s = ky_json_object();
        size_t bytes, fill = ky_intake_fill(p->intakes[i], &bytes);

        ky_json_set(s, "address", ky_json_of_str(ky_intake_address(p->intakes[i])));
        ky_json_set(s, "queue_bytes", ky_json_of_int((int64_t)bytes));
        ky_json_set(s, "queue_fill", ky_json_of_int((int64_t)fill));
        ky_json_set(s, "dropped", ky_json_of_int((int64_t)ky_intake_dropped(p->intakes[i])));
        ky_json_set(o, p->cfg->sources[i].name, s);
    }
    return o;
}

static ky_json *publishers(const ky_pipeline *p)
{
    ky_json *o = ky_json_object();

    for (int i = 0; i < p->cfg->n_publishers; i++) {
        ky_json *s = ky_json_object();

        ky_json_set(s, "address", ky_json_of_str(ky_publisher_address(p->publisher, i)));
        ky_json_set(o, p->cfg->publishers[i].name, s);
    }
    return o;
}

static ky_json *models(const ky_pipeline *p)
{
    ky_json *o = ky_json_object();

    for (int i = 0; i < p->cfg->n_models; i++)
        ky_json_set(o, p->cfg->models[i].name, ky_json_of_int(atomic_load(&p->current[i])));
    return o;
}

static ky_json *lanes(const ky_pipeline *p)
{
    ky_json *a = ky_json_array();

    for (int i = 0; i < p->n_lanes; i++) {
        const ky_queue *q = ky_lane_queue(p->lanes[i]);
        ky_json *l = ky_json_object();

        ky_json_set(l, "queue_bytes", ky_json_of_int((int64_t)q->bytes));
        ky_json_set(l, "queue_fill", ky_json_of_int((int64_t)ky_queue_fill(q)));
        ky_json_set(l, "queue_full", number(&q->waits));
        ky_json_set(l, "longest_hold_us",
                    ky_json_of_int((int64_t)ky_lane_longest_hold_us(p->lanes[i])));
        ky_json_append(a, l);
    }
    return a;
}

static ky_json *journal(const ky_pipeline *p)
{
    static const char *const modes[] = {
        [KY_JOURNAL_SYNC] = "sync", [KY_JOURNAL_ASYNC] = "async", [KY_JOURNAL_NO] = "no"
    };
    ky_json *o = ky_json_object();

    ky_json_set(o, "mode", ky_json_of_str(modes[p->cfg->journal]));
    ky_json_set(o, "durable", ky_json_of_int((int64_t)ky_journal_durable(p->journal)));
    ky_json_set(o, "committed", ky_json_of_int((int64_t)atomic_load(&p->writer->low_water)));
    return o;
}

static ky_json *waits(const ky_waits *w)
{
    ky_json *o = ky_json_object();

    ky_json_set(o, "journal", ky_json_of_bool(atomic_load(&w->journal)));
    ky_json_set(o, "results", ky_json_of_bool(atomic_load(&w->results)));
    return o;
}

ky_json *ky_pipeline_status(ky_pipeline *p)
{
    ky_json *o = ky_json_object();
    int64_t sizes;

    ky_json_set(o, "counters", counters(&p->count));
    ky_json_set(o, "rejects", reasons(&p->reasons));
    ky_json_set(o, "waits", waits(&p->waits));
    ky_json_set(o, "waves", waves(p, &sizes));
    ky_json_set(o, "wave_sizes", ky_json_of_int(sizes));
    ky_json_set(o, "journal", journal(p));
    ky_json_set(o, "lanes", lanes(p));
    ky_json_set(o, "sources", sources(p));
    ky_json_set(o, "publishers", publishers(p));
    ky_json_set(o, "models", models(p));
    return o;
}
