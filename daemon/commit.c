#include "daemon/commit.h"

#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "daemon/accept.h"
#include "daemon/log.h"
#include "models/clock.h"

enum {
    RETRY_US = 100000,
    EVENTS = 200, /* a unit's */
};

/* -- outboxes -- */

ky_unit *ky_outbox_unit(ky_outbox *o)
{
    return &o->batch[o->filling].unit;
}

void ky_outbox_event(ky_outbox *o, const char *level, const char *object, const char *what,
                     const char *detail)
{
    ky_unit *u = ky_outbox_unit(o);
    ky_row_event row = { .at_us = ky_clock_wall_us() };

    if (o->events++ >= EVENTS)
        return;
    row.level = ky_unit_bytes(u, level, strlen(level));
    row.object = ky_unit_bytes(u, object, strlen(object));
    row.what = ky_unit_bytes(u, what, strlen(what));
    row.detail = ky_unit_bytes(u, detail, strlen(detail));
    *KY_ADD(&u->events) = row;
}

bool ky_outbox_ready(ky_outbox *o)
{
    return !atomic_load(&o->batch[1 - o->filling].full);
}

void ky_outbox_turn(ky_outbox *o)
{
    o->events = 0;
    o->filling = 1 - o->filling;
}

ky_unit *ky_outbox_closing(ky_outbox *o)
{
    return &o->batch[1 - o->filling].unit;
}

void ky_outbox_hand(ky_outbox *o, uint64_t pos, uint64_t needed)
{
    ky_batch *b = &o->batch[1 - o->filling];

    b->pos = pos;
    b->needed = needed;
    atomic_store(&b->full, true);
    ky_bell_ring(&o->writer->bell);
}

void ky_outbox_close(ky_outbox *o)
{
    atomic_store(&o->closed, true);
    ky_bell_ring(&o->writer->bell);
}

/* -- the writer -- */

/* The lowest position over all stages, had `o` done everything before pos. */
static uint64_t low_water(const ky_writer *w, const ky_outbox *o, uint64_t pos)
{
    uint64_t low = UINT64_MAX;

    for (int i = 0; i < w->n_outboxes; i++) {
        uint64_t done = w->outboxes[i] == o ? pos : w->outboxes[i]->done;

        if (done < low)
            low = done;
    }
    return low;
}

static bool disk_is_full(int rc)
{
    return rc == KY_EFULL || rc == -ENOSPC || rc == -EDQUOT;
}

static bool worth_waiting(int rc)
{
    return rc == KY_EBUSY || rc == KY_EAGAIN || disk_is_full(rc);
}

/* A stop does not wait for a full disk (for a lock it does, up to shutdown_timeout). Its units are
 * let go from then on, and no position moves: the next start finds the records in the journal. */
static void give_up(ky_writer *w, const ky_err *err)
{
    bool journal = w->p->cfg->journal != KY_JOURNAL_NO;

    atomic_store(&w->p->waits.results_given_up, true);
    ky_log(KY_WARN, "commit", NULL, "%s; kymod stops: %s", err->text,
           journal ? "the next start goes on from the journal" : "what it does not have is let go");
}

/* False: it gave up. */
static bool commit(ky_writer *w, ky_unit *u)
{
    ky_complaint trouble = { 0 };
    ky_err err;
    int rc;

    u->models = w->p->model_names;
    u->classes = w->p->class_names;
    u->keep_rejects = w->p->cfg->max_rejects;
    while ((rc = ky_results_commit(w->r, u, &err)) < 0) {
        if (!worth_waiting(rc))
            ky_core_die(rc == KY_ECORRUPT ? EX_DATAERR : EX_IOERR, "commit", "%s", err.text);
        if (disk_is_full(rc) && ky_core_gives_up(w->p)) {
            give_up(w, &err);
            return false;
        }
        KY_COUNT(w->p->count.commit_retries);
        if (trouble.times == 0)
            ky_accept_event(w->p->accept, "warn", "results", "waits", err.text);
        atomic_store(&w->p->waits.results, true);
        ky_complain(&trouble, KY_WARN, "commit", NULL, "%s; everything waits", err.text);
        ky_bell_wait(&w->bell, ky_bell_listen(&w->bell), RETRY_US);
    }
    if (trouble.times > 0)
        ky_accept_event(w->p->accept, "info", "results", "goes on", "committing again");
    ky_complaint_over(&trouble, "commit", NULL, "committing again");
    atomic_store(&w->p->waits.results, false);
    KY_COUNT(w->p->count.commits);
    atomic_fetch_add_explicit(&w->p->count.commit_rows, u->predictions.n, memory_order_relaxed);
    atomic_store(&w->low_water, u->low_water);
    return true;
}

/* Without a journal there is nothing to wait for. */
static void wait_for_disk(ky_writer *w, uint64_t needed)
{
    if (w->p->cfg->journal == KY_JOURNAL_NO)
        return;
    for (;;) {
        uint32_t heard = ky_bell_listen(&w->bell);

        if (ky_journal_durable(w->p->journal) >= needed)
            return;
        ky_accept_want_durable(w->p->accept, needed);
        ky_bell_wait(&w->bell, heard, -1);
    }
}

static void take(ky_writer *w, ky_outbox *o)
{
    ky_batch *b = &o->batch[o->taking];
    bool has = !atomic_load(&w->p->waits.results_given_up);

    if (has && !ky_unit_empty(&b->unit)) {
        wait_for_disk(w, b->needed);
        b->unit.low_water = low_water(w, o, b->pos);
        has = commit(w, &b->unit);
    }
    if (has)
        o->done = b->pos;
    else if (w->p->cfg->journal == KY_JOURNAL_NO)
        atomic_fetch_add(&w->p->count.let_go, b->unit.predictions.n);
    ky_unit_clear(&b->unit);
    o->taking = 1 - o->taking;
    atomic_store(&b->full, false);
    ky_bell_ring(o->stage);
    ky_bell_ring(ky_accept_bell(w->p->accept)); /* it may wait for streams that can leave now */
}

/* One unit of each stage that has one. */
static bool one_each(ky_writer *w)
{
    bool any = false;

    for (int i = 0; i < w->n_outboxes; i++) {
        ky_outbox *o = w->outboxes[i];

        if (atomic_load(&o->batch[o->taking].full)) {
            take(w, o);
            any = true;
        }
    }
    return any;
}

static bool all_closed(ky_writer *w)
{
    for (int i = 0; i < w->n_outboxes; i++)
        if (!atomic_load(&w->outboxes[i]->closed))
            return false;
    return true;
}

/* Positions move without rows too (markers); they are worth a transaction only when idle. */
static void commit_low_water(ky_writer *w)
{
    uint64_t low = low_water(w, NULL, 0);
    ky_unit u = { .low_water = low };

    if (low == atomic_load(&w->low_water) || atomic_load(&w->p->waits.results_given_up))
        return;
    wait_for_disk(w, low);
    commit(w, &u);
}

static void *run(void *arg)
{
    ky_writer *w = arg;

    if (ky_core_short_turns())
        ky_results_yield(w->r);
    for (;;) {
        uint32_t heard = ky_bell_listen(&w->bell);
        bool closed = all_closed(w);

        if (one_each(w))
            continue;
        if (closed)
            break;
        ky_bell_wait(&w->bell, heard, w->p->cfg->commit_interval_us);
        if (ky_bell_listen(&w->bell) == heard) /* nobody had anything for so long */
            commit_low_water(w);
    }
    commit_low_water(w);
    return NULL;
}

/* -- the pipeline -- */

int ky_writer_new(ky_pipeline *p, ky_results *r, uint64_t low, ky_writer **ret, ky_err *err)
{
    ky_writer *w = calloc(1, sizeof(*w));

    if (w == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory");
    w->p = p;
    w->r = r;
    atomic_store(&w->low_water, low);
    w->outboxes = calloc((size_t)p->n_lanes + 1, sizeof(ky_outbox *));
    if (w->outboxes == NULL) {
        free(w);
        return ky_fail(err, KY_ENOMEM, "no memory");
    }
    *ret = w;
    return KY_OK;
}

void ky_writer_add(ky_writer *w, ky_outbox *o, ky_bell *stage)
{
    o->writer = w;
    o->stage = stage;
    o->done = atomic_load(&w->low_water);
    w->outboxes[w->n_outboxes++] = o;
}

int ky_writer_start(ky_writer *w, ky_err *err)
{
    int rc = ky_core_thread(&w->thread, "kymod-writer", run, w, err);

    w->started = rc == KY_OK;
    return rc;
}

void ky_writer_join(ky_writer *w)
{
    if (w->started)
        pthread_join(w->thread, NULL);
    w->started = false;
}

void ky_writer_free(ky_writer *w)
{
    if (w == NULL)
        return;
    free(w->outboxes);
    free(w);
}
