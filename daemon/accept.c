#include "daemon/accept_own.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/intake.h"
#include "daemon/lane.h"
#include "daemon/rows.h"
#include "models/clock.h"

enum {
    TURN = 256,  /* records of one source before the next has its turn, */
    ASKING = 32, /* each worth so many that results.db is asked for; */
    TURNS = 32,  /* before a batch is closed, full or not: more than the smallest records fill */
    UNIT_BYTES = 16 << 20,
};

void ky_accept_begin_clock(ky_accept *a)
{
    if (a->since_ns == 0)
        a->since_ns = ky_clock_mono_ns();
}

/* -- its own unit -- */

static void add_sources(ky_accept *a)
{
    ky_unit *u = ky_accept_unit(a);

    for (uint32_t i = 0; i < a->books.n_dirty; i++) {
        uint32_t row = a->books.dirty[i];
        ky_peer *s = &a->books.peers[row];

        s->dirty = false;
        if (!s->begun)
            continue;
        ky_rows_source(u, a->p->cfg->sources[s->source].name,
                       ky_names_text(&a->books.peer_names, row), a->books.peer_names.row[row].len,
                       s->session, (int64_t)s->last);
    }
    a->books.n_dirty = 0;
    for (int i = 0; i < a->p->cfg->n_models; i++) {
        const char *name = a->p->cfg->models[i].name;

        if (a->imported_dirty[i])
            ky_rows_source(u, KY_ACCEPT_MODEL, name, strlen(name), NULL, (int64_t)a->imported[i]);
        a->imported_dirty[i] = false;
    }
    if (!ky_unit_empty(u)) /* so that recovery books nothing of this twice */
        ky_rows_source(u, KY_ACCEPT_JOURNAL, "", 0, NULL, (int64_t)a->routed);
}

static void forget_sender(void *arg, const ky_peer *p, const char *name, size_t len)
{
    ky_accept *a = arg;

    ky_rows_source_gone(ky_accept_unit(a), a->p->cfg->sources[p->source].name, name, len);
    ky_accept_begin_clock(a);
}

static void wait_for_writer(ky_accept *a)
{
    for (;;) {
        uint32_t heard = ky_bell_listen(&a->bell);

        if (ky_outbox_ready(&a->out))
            return;
        ky_accept_serve_writer(a);
        KY_COUNT(a->p->count.stalls);
        ky_bell_wait(&a->bell, heard, -1);
    }
}

static void hand_over(ky_accept *a)
{
    wait_for_writer(a);
    add_sources(a);
    ky_outbox_turn(&a->out);
    ky_outbox_hand(&a->out, a->routed, a->routed);
    a->since_ns = 0;
}

/* -- what others ask for -- */

static int given_up(ky_accept *a, ky_err *err)
{
    return ky_accept_gave_up(a)
               ? ky_fail(err, KY_EBUSY, "the daemon is stopping, and the journal's disk is full")
               : KY_OK;
}

static int do_swap(ky_accept *a, const ky_swap *swap, ky_err *err)
{
    int rc = given_up(a, err);

    if (rc < 0)
        return rc;
    size_t size = ky_record_size(0, 0, 0, sizeof(*swap));
    ky_staged *s = ky_accept_stage(a, size);
    ky_record *r = ky_staged_record(s);

    memset(r, 0, size);
    r->size = (uint32_t)size;
    r->type = KY_REC_SWAP;
    r->flags = KY_LAST;
    r->n = r->seq = r->ts_us = KY_NONE;
    r->arrival_us = ky_clock_wall_us();
    r->body_len = sizeof(*swap);
    memcpy(r + 1, swap, sizeof(*swap));
    ky_accept_append(a, s);
    ky_accept_finish_batch(a);
    return given_up(a, err);
}

static int do_seal(ky_accept *a, ky_err *err)
{
    int rc = given_up(a, err);

    if (rc < 0)
        return rc;
    return a->p->cfg->journal == KY_JOURNAL_NO ? KY_OK : ky_journal_seal(a->p->journal, err);
}

static int64_t last_offset(const ky_accept *a, int source, const char *key)
{
    const ky_peer *s = ky_books_peer(&a->books, source, key, strlen(key));

    return s != NULL && s->begun ? (int64_t)s->last : -1;
}

static void serve(ky_accept *a, ky_request *q)
{
    int rc = KY_OK;

    if (q->what == KY_ASK_EVENT)
        ky_accept_tell(a, q->event[0], q->event[1], q->event[2], q->event[3]);
    else if (q->what == KY_ASK_SWAP)
        rc = do_swap(a, &q->swap, &q->err);
    else if (q->what == KY_ASK_OFFSET)
        q->offset = last_offset(a, q->source, q->key);
    else
        rc = do_seal(a, &q->err);
    ky_requests_answer(&a->requests, q, rc);
}

/* Between two batches: whatever was staged has gone. */
static bool serve_requests(ky_accept *a)
{
    ky_request *q = ky_requests_take(&a->requests), *next;
    bool any = q != NULL;

    for (; q != NULL; q = next) {
        next = q->next;
        serve(a, q);
    }
    return any;
}

/* -- the thread -- */

static const ky_arrival *next_arrival(ky_accept *a, ky_port *p)
{
    size_t size;

    if (p->first != NULL)
        return p->first;
    return p->reorder != NULL ? ky_reorder_next(p->reorder, a->now_ns, &a->left_ns)
                              : ky_queue_next(p->records, &size);
}

/* A turn's worth of a source's records; one that waits for room stays the first. */
static bool collect_from(ky_accept *a, int source)
{
    ky_port *p = &a->ports[source];
    int left = TURN;

    while (left > 0 && a->stage_len < KY_BATCH_BYTES && (p->first = next_arrival(a, p)) != NULL) {
        bool asked = false;

        if (!ky_accept_take(a, source, p->first, &asked))
            break;
        p->first = NULL;
        if (p->reorder == NULL)
            ky_queue_pop(p->records);
        left -= asked ? ASKING : 1;
    }
    return left < TURN;
}

/* Who waits for room, and how much of it is taken. */
static void count_streams(ky_accept *a)
{
    uint64_t waiting = 0, in_memory = 0;

    for (int i = 0; i < a->p->cfg->n_sources; i++)
        waiting += a->ports[i].first != NULL;
    for (int c = 0; c < a->p->cfg->n_classes; c++)
        in_memory += ky_roster_count(&a->books.streams, c);
    atomic_store_explicit(&a->p->count.waiting, waiting, memory_order_relaxed);
    atomic_store_explicit(&a->p->count.ends_waiting, (uint64_t)ky_spill_waiting(a->spill),
                          memory_order_relaxed);
    atomic_store_explicit(&a->p->count.in_memory, in_memory, memory_order_relaxed);
}

/* What is skipped fills no batch, so that is not what ends it. */
static bool collect(ky_accept *a)
{
    bool any = true, some = false;

    for (int turn = 0; turn < TURNS && any && a->stage_len < KY_BATCH_BYTES; turn++) {
        any = false;
        for (int i = 0; i < a->p->cfg->n_sources; i++)
            any |= collect_from(a, i);
        some |= any;
    }
    return some;
}

static bool all_ended(ky_accept *a)
{
    for (int i = 0; i < a->p->cfg->n_sources; i++)
        if (a->ports[i].first != NULL ||
            (a->ports[i].reorder != NULL ? !ky_reorder_ended(a->ports[i].reorder)
                                         : !ky_queue_ended(a->ports[i].records)))
            return false;
    return true;
}

static int64_t tick_us(const ky_accept *a)
{
    int64_t us = a->p->cfg->commit_interval_us;

    return us < 1000000 ? us : 1000000;
}

void ky_accept_tick(ky_accept *a)
{
    int64_t now = ky_clock_mono_ns();

    if (ky_accept_unit(a)->bytes.n > UNIT_BYTES ||
        (a->since_ns != 0 && now - a->since_ns >= a->p->cfg->commit_interval_us * 1000 &&
         ky_outbox_ready(&a->out)))
        hand_over(a);
    if (now - a->ticked_ns < tick_us(a) * 1000)
        return;
    a->ticked_ns = now;
    ky_accept_mark_idle(a);
    if (a->p->cfg->journal != KY_JOURNAL_NO)
        ky_accept_sync(a);
}

static void drain(ky_accept *a)
{
    ky_requests_close(&a->requests);
    serve_requests(a);
    if (a->p->cfg->journal != KY_JOURNAL_NO)
        ky_accept_sync(a);
    ky_accept_tell_let_go(a);
    ky_accept_mark_idle(a);
    hand_over(a);
    for (int i = 0; i < a->p->n_lanes; i++)
        ky_queue_close(ky_lane_queue(a->p->lanes[i]));
    wait_for_writer(a);
    ky_outbox_close(&a->out);
}

static void *run(void *arg)
{
    ky_accept *a = arg;

    for (;;) {
        uint32_t heard = ky_bell_listen(&a->bell);
        bool ended = all_ended(a);

        a->now_ns = ky_clock_mono_ns();
        a->compared = false;
        a->left_ns = tick_us(a) * 1000;
        ky_spill_look(a->spill, a->now_ns);
        bool worked = collect(a);

        ky_accept_end_silent(a);
        count_streams(a);
        worked |= a->stage_len >= KY_BATCH_BYTES;
        if (a->stage_len > 0)
            ky_accept_finish_batch(a);
        ky_accept_ask_for_room(a);
        ky_accept_pay_owed(a);
        worked |= serve_requests(a);
        ky_accept_serve_writer(a);
        ky_accept_tick(a);
        if (worked)
            continue;
        if (ended)
            break;
        ky_bell_wait(&a->bell, heard, a->left_ns / 1000 + 1);
    }
    drain(a);
    return NULL;
}

/* -- the pipeline -- */

int ky_accept_new(ky_pipeline *p, uint64_t low, ky_accept **ret, ky_err *err)
{
    ky_accept *a = calloc(1, sizeof(*a));

    if (a == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory");
    a->p = p;
    a->file_first = UINT64_MAX;
    a->apart_us = ky_accept_clocks_apart_us();
    ky_requests_init(&a->requests, &a->bell);
    a->ports = calloc((size_t)p->cfg->n_sources + 1, sizeof(*a->ports));
    int rc = ky_books_init(&a->books, p->cfg, p->holds, forget_sender, a);

    a->file = calloc((size_t)p->cfg->n_models + 1, sizeof(*a->file));
    a->imported = calloc((size_t)p->cfg->n_models + 1, sizeof(*a->imported));
    a->imported_dirty = calloc((size_t)p->cfg->n_models + 1, sizeof(bool));
    a->sent = calloc((size_t)p->n_lanes, sizeof(*a->sent));
    a->asked = calloc((size_t)p->n_lanes, sizeof(*a->asked));
    if (a->ports == NULL || rc < 0 || a->file == NULL || a->imported == NULL ||
        a->imported_dirty == NULL || a->sent == NULL || a->asked == NULL) {
        ky_accept_free(a);
        return ky_fail(err, KY_ENOMEM, "no memory");
    }
    rc = ky_spill_new(p, &a->books.streams, ky_accept_send_leave, a, &a->spill, err);
    if (rc < 0) {
        ky_accept_free(a);
        return rc;
    }
    for (int i = 0; i < p->cfg->n_sources; i++)
        a->ports[i].delivery =
            ky_source_delivery_of(p->cfg->sources[i].type, p->cfg->sources[i].socket);
    for (int i = 0; i < p->n_lanes; i++)
        ky_lane_queue(p->lanes[i])->producer = &a->bell;
    ky_accept_live(a, low);
    ky_writer_add(p->writer, &a->out, &a->bell);
    *ret = a;
    return KY_OK;
}

ky_bell *ky_accept_bell(ky_accept *a)
{
    return &a->bell;
}

int ky_accept_connect(ky_accept *a, int source, ky_queue *records, ky_queue *answers, ky_err *err)
{
    ky_port *p = &a->ports[source];
    int64_t hold_us = a->p->cfg->sources[source].reorder_us;

    p->records = records;
    p->answers = answers;
    return hold_us > 0 ? ky_reorder_new(records, hold_us, &p->reorder, err) : KY_OK;
}

int ky_accept_start(ky_accept *a, ky_err *err)
{
    a->now_ns = ky_clock_mono_ns();
    ky_roster_sort(&a->books.streams);
    ky_roster_hear_all(&a->books.streams, a->now_ns);
    ky_spill_hear_all(a->spill, a->now_ns);
    int rc = ky_core_thread(&a->thread, "kymod-accept", run, a, err);

    a->started = rc == KY_OK;
    return rc;
}

void ky_accept_join(ky_accept *a)
{
    if (a->started)
        pthread_join(a->thread, NULL);
    else
        ky_outbox_close(&a->out);
    a->started = false;
}

void ky_accept_free(ky_accept *a)
{
    if (a == NULL)
        return;
    ky_books_done(&a->books);
    for (int i = 0; i < 2; i++)
        ky_unit_done(&a->out.batch[i].unit);
    ky_requests_done(&a->requests);
    for (int i = 0; a->ports != NULL && i < a->p->cfg->n_sources; i++)
        ky_reorder_free(a->ports[i].reorder);
    free(a->ports);
    free(a->stage);
    free(a->sent);
    free(a->asked);
    ky_spill_free(a->spill);
    free(a->file);
    free(a->imported);
    free(a->imported_dirty);
    free(a);
}

/* -- any thread -- */

int ky_accept_swap(ky_accept *a, const ky_swap *s, ky_err *err)
{
    ky_request q = { .what = KY_ASK_SWAP, .swap = *s };

    return ky_requests_ask(&a->requests, &q, err);
}

int ky_accept_seal(ky_accept *a, ky_err *err)
{
    ky_request q = { .what = KY_ASK_SEAL };

    return ky_requests_ask(&a->requests, &q, err);
}

int64_t ky_accept_offset(ky_accept *a, int source, const char *key)
{
    ky_request q = { .what = KY_ASK_OFFSET, .source = source, .key = key, .offset = -1 };

    ky_requests_ask(&a->requests, &q, NULL); /* sources open before anybody stops it */
    return q.offset;
}

void ky_accept_event(ky_accept *a, const char *level, const char *object, const char *what,
                     const char *detail)
{
    ky_requests_event(&a->requests, level, object, what, detail);
}

void ky_accept_want_durable(ky_accept *a, uint64_t pos)
{
    uint64_t was = atomic_load(&a->wanted);

    while (was < pos && !atomic_compare_exchange_weak(&a->wanted, &was, pos))
        ;
    ky_bell_ring(&a->bell);
}
