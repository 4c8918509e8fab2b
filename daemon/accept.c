#include "daemon/accept.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "connectors/source.h"
#include "daemon/books.h"
#include "daemon/intake.h"
#include "daemon/lane.h"
#include "daemon/log.h"
#include "daemon/reorder.h"
#include "daemon/requests.h"
#include "daemon/rows.h"
#include "daemon/spill.h"
#include "models/clock.h"

enum {
    BATCH_BYTES = 1 << 20, /* a batch is synced at the latest with so many bytes of records */
    TURN = 256,            /* records of one source before the next has its turn, */
    ASKING = 32,           /* each worth so many that results.db is asked for */
    UNIT_BYTES = 16 << 20,
};

/* A record between the journal's buffer and the lanes; the record follows. */
typedef struct staged {
    uint64_t cookie, file_first;
    uint32_t sender;
    bool new_file; /* it is the first of a journal file */
} staged;

typedef struct port {
    ky_queue *records, *answers;
    ky_reorder *reorder; /* NULL: taken as they come */
    enum ky_delivery delivery;
    const ky_arrival *first; /* waits for room for its stream; NULL: nothing does */
    bool answered;           /* something for its thread since it was last told */
} port;

struct ky_accept {
    ky_pipeline *p;
    ky_bell bell;
    pthread_t thread;
    bool started;
    port *ports; /* [sources] */
    ky_books books;
    ky_spill *spill;
    char *stage;
    size_t stage_len, stage_cap;
    uint64_t file_first, routed;
    uint64_t *sent;     /* [lanes] */
    uint64_t *asked;    /* [lanes] to commit what was sent before */
    uint64_t booked;    /* recovery: rejects, senders and swaps before this are in results.db */
    uint64_t *imported; /* [models] */
    bool *imported_dirty;
    ky_outbox out;
    int64_t since_ns, ticked_ns;
    int64_t now_ns;   /* this round's */
    int64_t left_ns;  /* until something is due by itself */
    int64_t apart_us; /* the two clocks, when they were last compared ... */
    bool compared;    /* ... in this round already */
    uint64_t handed;
    _Atomic uint64_t wanted; /* the writer wants the journal on disk up to here */
    ky_complaint full;       /* the disk under the journal is */
    ky_requests requests;
};

static ky_unit *unit(ky_accept *a)
{
    return ky_outbox_unit(&a->out);
}

static void begin_clock(ky_accept *a)
{
    if (a->since_ns == 0)
        a->since_ns = ky_clock_mono_ns();
}

/* -- answers to the sources' threads -- */

static void answer(ky_accept *a, int source, const ky_answer *what, const char *reason)
{
    port *p = &a->ports[source];
    size_t len = reason != NULL ? strlen(reason) + 1 : 0;
    ky_answer *to = ky_queue_reserve(p->answers, sizeof(*to) + len);

    if (to == NULL) { /* it will be asked for again */
        KY_COUNT(a->p->count.acks_dropped);
        return;
    }
    *to = *what;
    to->reason_len = (uint32_t)len;
    if (len > 0)
        memcpy(to + 1, reason, len);
    ky_queue_commit(p->answers, sizeof(*to) + len);
    p->answered = true;
    KY_COUNT(a->p->count.acks);
}

static void answer_up_to(ky_accept *a, const ky_peer *s, uint64_t number, uint64_t cookie,
                         const char *reason)
{
    ky_answer what = { .cookie = cookie, .number = number };

    memcpy(what.session, s->session, KY_SESSION);
    answer(a, s->source, &what, reason);
}

static void tell_sources(ky_accept *a)
{
    for (int i = 0; i < a->p->cfg->n_sources; i++) {
        if (a->ports[i].answered)
            ky_intake_wake(a->p->intakes[i]);
        a->ports[i].answered = false;
    }
}

static void refuse_session(ky_accept *a, int source, const ky_arrival *v, const ky_record *r,
                           const char *reason)
{
    ky_answer what = { .cookie = v->cookie };

    memcpy(what.session, r->session, KY_SESSION);
    answer(a, source, &what, reason);
    KY_COUNT(a->p->count.sessions_refused);
}

/* False: it is known already, or not the next. */
static bool next_of(ky_accept *a, int source, const ky_arrival *v, const ky_record *r,
                    ky_peer **ret)
{
    ky_counters *c = &a->p->count;

    switch (ky_books_next(&a->books, a->ports[source].delivery, source, r, ret)) {
    case KY_NEXT:
        return true;
    case KY_NEXT_KNOWN:
        KY_COUNT(c->duplicates);
        if (a->ports[source].delivery == KY_ACKNOWLEDGED)
            ky_books_owe(&a->books, *ret, v->cookie);
        return false;
    case KY_NEXT_AHEAD:
        KY_COUNT(c->ahead);
        return false;
    case KY_NEXT_STRANGER:
        refuse_session(a, source, v, r, "this session is not known: begin a new one at 1");
        return false;
    case KY_NEXT_CROWD:
        refuse_session(a, source, v, r, "there are max_senders senders already");
        return false;
    }
    return false;
}

/* -- samples -- */

static void event(ky_accept *a, const char *level, const char *object, const char *what,
                  const char *detail)
{
    ky_outbox_event(&a->out, level, object, what, detail);
    begin_clock(a);
}

static void event_of(ky_accept *a, const ky_record *r, const char *what, const char *said,
                     int64_t value)
{
    char object[KY_STREAM_MAX + 16], detail[80];

    snprintf(object, sizeof(object), "stream %.*s", r->stream_len, ky_record_stream(r));
    snprintf(detail, sizeof(detail), "%s %lld", said, (long long)value);
    event(a, "info", object, what, detail);
}

/* How far the time of day is ahead of the clock that never steps; read again if we were interrupted
 * in between. */
static int64_t clocks_apart_us(void)
{
    int64_t before, wall, after;

    do {
        before = ky_clock_mono_ns();
        wall = ky_clock_wall_us();
        after = ky_clock_mono_ns();
    } while (after - before > 10000000);
    return wall - before / 1000;
}

/* The host's time of day was set: the silence between arrivals before and after is not known. */
static void watch_clock(ky_accept *a)
{
    enum { STEP_US = 100000 };
    char detail[80];

    if (a->compared)
        return;
    int64_t apart = clocks_apart_us(), step = apart - a->apart_us;

    a->compared = true;
    a->apart_us = apart;
    if (step > -STEP_US && step < STEP_US)
        return;
    ky_roster_new_era(&a->books.streams, ky_journal_end(a->p->journal));
    snprintf(detail, sizeof(detail), "the time of day was set by %.3f s", (double)step / 1e6);
    event(a, "warn", "clock", "step", detail);
    KY_COUNT(a->p->count.clock_steps);
}

/* What of a taken sample's order is worth an event. */
static void tell_order(ky_accept *a, const ky_record *r, enum ky_seen seen)
{
    if (seen == KY_SEEN_ANEW) {
        event_of(a, r, "epoch", "the sender began anew: seq fell to", r->seq);
        KY_COUNT(a->p->count.anew);
    } else if (seen == KY_SEEN_SET_BACK) {
        event_of(a, r, "clock", "the sender's clock was set back: ts fell to", r->ts_us);
        KY_COUNT(a->p->count.set_back);
    }
}

static enum ky_verdict judge(ky_accept *a, int source, const ky_arrival *v, ky_record *r,
                             ky_known **ret, char *reason)
{
    bool counted = a->ports[source].delivery == KY_AT_MOST_ONCE;
    enum ky_seen seen;

    if (r->type == KY_REC_SAMPLE && r->time_source == KY_TIME_ARRIVAL)
        watch_clock(a);
    enum ky_verdict is = ky_books_judge(&a->books, counted, v->holes, r, ret, &seen, reason);

    if (seen == KY_SEEN_DUPLICATE)
        KY_COUNT(a->p->count.duplicates);
    else if (seen == KY_SEEN_LATE)
        KY_COUNT(a->p->count.late);
    if (is != KY_TAKE)
        return is;
    tell_order(a, r, seen);
    atomic_fetch_add_explicit(&a->p->count.filled, r->type == KY_REC_SAMPLE ? r->filled : 0,
                              memory_order_relaxed);
    return is;
}

/* -- the journal -- */

/* Says once that the disk is full, and once that it no longer is. */
static void show_full(ky_accept *a, bool full, const char *detail)
{
    _Atomic bool *shown = &a->p->waits.journal;

    if (full == atomic_load_explicit(shown, memory_order_relaxed))
        return;
    atomic_store(shown, full);
    event(a, full ? "warn" : "info", "journal", full ? "full" : "room", detail);
    if (!full)
        ky_complaint_over(&a->full, "journal", NULL, "%s", detail);
}

/* Whether a call to it is to be made again, as the disk is full: after a while. Nothing is taken
 * meanwhile, so the sources wait, and nobody is told that a record is on disk which is not. The
 * writer gets on with what is: then the archiver can make room. */
static bool again(ky_accept *a, int rc, ky_err *err)
{
    enum { RETRY_US = 100000 };
    ky_journal *j = a->p->journal;

    if (rc == KY_OK) {
        show_full(a, false, "it is being written again");
        return false;
    }
    if (ky_journal_full(rc) && atomic_load(&a->wanted) > ky_journal_durable(j))
        rc = ky_journal_sync(j, err);
    if (rc < 0 && !ky_journal_full(rc))
        ky_core_die(EX_IOERR, "journal", "%s", err->text);
    ky_bell_ring(&a->p->writer->bell);
    if (rc == KY_OK)
        return true;
    show_full(a, true, err->text);
    KY_COUNT(a->p->count.journal_retries);
    ky_complain(&a->full, KY_WARN, "journal", NULL, "%s; the sources wait", err->text);
    ky_bell_wait(&a->bell, ky_bell_listen(&a->bell), RETRY_US);
    return true;
}

static void sync_journal(ky_accept *a)
{
    ky_err err;

    while (again(a, ky_journal_sync(a->p->journal, &err), &err))
        continue;
}

/* -- the stage -- */

static staged *stage_new(ky_accept *a, size_t record)
{
    size_t need = a->stage_len + sizeof(staged) + record;

    if (need > a->stage_cap) {
        size_t cap = need + BATCH_BYTES;
        char *more = realloc(a->stage, cap);

        if (more == NULL)
            ky_core_die(EX_OSERR, "accept", "no memory");
        a->stage = more;
        a->stage_cap = cap;
    }
    staged *s = (staged *)(a->stage + a->stage_len);

    *s = (staged){ .sender = KY_NO_PEER };
    return s;
}

static ky_record *record_of(staged *s)
{
    return (ky_record *)(s + 1);
}

static staged *staged_at(ky_accept *a, size_t at)
{
    return (staged *)(a->stage + at);
}

static size_t staged_size(ky_accept *a, size_t at)
{
    return sizeof(staged) + record_of(staged_at(a, at))->size;
}

/* The record is complete but for its position. */
static void stage_append(ky_accept *a, staged *s)
{
    ky_record *r = record_of(s);
    ky_err err;

    while (again(a, ky_journal_append(a->p->journal, r, &err), &err))
        continue;
    s->file_first = ky_journal_file_first(a->p->journal);
    s->new_file = s->file_first != a->file_first;
    a->file_first = s->file_first;
    a->stage_len += sizeof(*s) + r->size;
}

/* Whatever it is, it is told, staged or skipped; its stream is in memory, if there is one. */
static void take(ky_accept *a, int source, const ky_arrival *v, const ky_record *in)
{
    char reason[KY_REASON];
    ky_peer *from;
    ky_known *k = NULL;

    KY_COUNT(a->p->count.received);
    if (!next_of(a, source, v, in, &from))
        return;
    staged *s = stage_new(a, in->size + KY_REASON + 8 + ky_books_room(&a->books, in));
    ky_record *r = record_of(s);

    memcpy(r, in, in->size);
    if (r->type != KY_REC_REJECT) {
        enum ky_verdict is = judge(a, source, v, r, &k, reason);

        if (is == KY_SKIP)
            return;
        if (is == KY_REFUSE)
            ky_books_refuse(r, reason);
    }
    if (r->type != KY_REC_REJECT)
        KY_COUNT(a->p->count.accepted);
    if (r->type == KY_REC_SAMPLE)
        ky_roster_heard(&a->books.streams, k, a->now_ns);
    if (from != NULL) {
        ky_books_took(&a->books, from, r);
        begin_clock(a);
        s->sender = (uint32_t)(from - a->books.peers);
        s->cookie = v->cookie;
    }
    stage_append(a, s);
    if (k != NULL)
        ky_roster_used(&a->books.streams, k, ky_record_end(r));
}

/* -- silence -- */

static void stage_end(ky_accept *a, ky_known *k)
{
    const ky_names *names = &a->books.streams.names;
    const ky_name *name = &names->row[ky_roster_row(&a->books.streams, k)];
    size_t size = ky_record_size(0, name->len, 0, 0);
    staged *s = stage_new(a, size);
    ky_record *r = record_of(s);

    memset(r, 0, size);
    r->size = (uint32_t)size;
    r->type = KY_REC_END;
    r->flags = KY_LAST;
    r->source = UINT16_MAX;
    r->class_ = name->group;
    r->stream = k->id;
    r->n = k->n;
    r->seq = r->ts_us = KY_NONE;
    r->arrival_us = ky_clock_wall_us();
    r->stream_len = name->len;
    memcpy(r + 1, ky_names_text(names, ky_roster_row(&a->books.streams, k)), name->len);
    ky_books_end(&a->books, k);
    stage_append(a, s);
    ky_roster_used(&a->books.streams, k, ky_record_end(r));
}

/* Ends the sequences of those that were silent for too long. */
static void end_silent(ky_accept *a)
{
    ky_known *k;

    while (a->stage_len < BATCH_BYTES &&
           ((k = ky_roster_silent(&a->books.streams, a->now_ns, &a->left_ns)) != NULL ||
            (k = ky_spill_silent(a->spill, a->now_ns, &a->left_ns)) != NULL))
        stage_end(a, k);
}

/* -- behind the disk -- */

static void add_reject(ky_accept *a, const ky_record *r)
{
    bool known = r->source < a->p->cfg->n_sources;

    ky_rows_reject(unit(a), r, known ? a->p->cfg->sources[r->source].name : "");
    KY_COUNT(a->p->count.rejected);
    ky_reasons_count(&a->p->reasons, ky_record_text(r), r->text_len);
    begin_clock(a);
}

static void add_version(ky_accept *a, int model, uint32_t version, uint64_t hash, uint64_t pos)
{
    *KY_ADD(&unit(a)->swaps) =
        (ky_row_swap){ .pos = pos, .model = (uint16_t)model, .version = version, .hash = hash };
    atomic_store(&a->p->current[model], version);
    begin_clock(a);
}

/* Streams that are not in memory begin anew when they come back. */
static void note_reset(ky_accept *a, int model, uint64_t pos)
{
    ky_rows_source(unit(a), KY_ACCEPT_RESET, a->p->cfg->models[model].name,
                   strlen(a->p->cfg->models[model].name), NULL, (int64_t)pos);
}

static void add_swap(ky_accept *a, const ky_record *r)
{
    const ky_swap *swap = ky_record_body(r);
    int model = ky_served_model(a->p->cfg, swap->model);
    char object[KY_NAME_MAX + 16], detail[120];

    if (model < 0)
        return;
    add_version(a, model, swap->version, swap->new_hash, r->pos);
    if (swap->policy == KY_SWAP_RESET)
        note_reset(a, model, ky_record_end(r));
    snprintf(object, sizeof(object), "model %s", swap->model);
    snprintf(detail, sizeof(detail), "version %u, %s", swap->version,
             swap->policy == KY_SWAP_RESET ? "all streams from zeros at once"
                                           : "each stream when it next starts");
    event(a, "info", object, "swap", detail);
    KY_COUNT(a->p->count.swaps);
}

static void serve_writer(ky_accept *a)
{
    uint64_t wanted = atomic_load(&a->wanted);

    if (a->p->cfg->journal == KY_JOURNAL_NO || wanted <= ky_journal_durable(a->p->journal))
        return;
    sync_journal(a);
    KY_COUNT(a->p->count.syncs);
    ky_bell_ring(&a->p->writer->bell);
}

/* Waits for room; the writer is served meanwhile, as the lane may be waiting for it. */
static void send(ky_accept *a, int lane, const ky_record *r)
{
    ky_queue *q = ky_lane_queue(a->p->lanes[lane]);
    void *to;

    for (;;) {
        uint32_t heard = ky_bell_listen(&a->bell);

        if ((to = ky_queue_reserve(q, r->size)) != NULL)
            break;
        ky_queue_ring(q);
        serve_writer(a);
        ky_bell_wait(&a->bell, heard, -1);
    }
    memcpy(to, r, r->size);
    ky_queue_commit(q, r->size);
    a->sent[lane] = ky_record_is_mark(r) ? r->pos : ky_record_end(r);
}

static void send_all(ky_accept *a, const ky_record *r)
{
    for (int i = 0; i < a->p->n_lanes; i++)
        send(a, i, r);
}

static void send_mark(ky_accept *a, int type, uint64_t pos)
{
    ky_record mark = { .size = sizeof(mark), .type = (uint8_t)type, .pos = pos };

    send_all(a, &mark);
}

static void ring_lanes(ky_accept *a)
{
    for (int i = 0; i < a->p->n_lanes; i++)
        ky_queue_ring(ky_lane_queue(a->p->lanes[i]));
}

static void route(ky_accept *a, const ky_record *r)
{
    if (r->type == KY_REC_SWAP) {
        add_swap(a, r);
        ky_spill_all_changed(a->spill, ky_record_end(r));
        send_all(a, r);
    } else if (r->type == KY_REC_REJECT) {
        add_reject(a, r);
    } else {
        send(a, (int)(r->stream % (uint32_t)a->p->n_lanes), r);
    }
}

/* Lanes that had nothing lately hear how far everybody is. */
static void mark_idle(ky_accept *a)
{
    for (int i = 0; i < a->p->n_lanes; i++) {
        ky_record mark = { .size = sizeof(mark), .type = KY_REC_MARK, .pos = a->routed };

        if (a->sent[i] < a->routed)
            send(a, i, &mark);
    }
    ring_lanes(a);
}

static void acknowledge(ky_accept *a, staged *s)
{
    const ky_record *r = record_of(s);

    if (s->sender == KY_NO_PEER)
        return;
    ky_peer *from = &a->books.peers[s->sender];

    /* A refused one is told by itself, with its reason. */
    if (r->type == KY_REC_REJECT && a->ports[from->source].delivery == KY_ACKNOWLEDGED) {
        char reason[KY_REASON];

        snprintf(reason, sizeof(reason), "%.*s", (int)r->text_len, ky_record_text(r));
        answer_up_to(a, from, r->number, s->cookie, reason);
    }
    ky_books_owe(&a->books, from, s->cookie);
}

static void pay_owed(ky_accept *a)
{
    for (uint32_t i = 0; i < a->books.n_owed; i++) {
        ky_peer *s = &a->books.peers[a->books.owed[i]];

        answer_up_to(a, s, s->last, s->cookie, NULL);
        s->owed = false;
    }
    a->books.n_owed = 0;
    tell_sources(a);
}

/* A2: disk, then acknowledgements and lanes. */
static void finish_batch(ky_accept *a)
{
    enum ky_journal_mode mode = a->p->cfg->journal;
    ky_err err;

    if (mode == KY_JOURNAL_SYNC)
        sync_journal(a);
    while (mode == KY_JOURNAL_ASYNC && again(a, ky_journal_flush(a->p->journal, &err), &err))
        continue;
    KY_COUNT(a->p->count.batches);
    for (size_t at = 0; at < a->stage_len; at += staged_size(a, at))
        acknowledge(a, staged_at(a, at));
    pay_owed(a);
    for (size_t at = 0; at < a->stage_len; at += staged_size(a, at)) {
        staged *s = staged_at(a, at);
        ky_record *r = record_of(s);

        if (s->new_file)
            send_mark(a, KY_REC_CONFIG, s->file_first);
        route(a, r);
        a->routed = ky_record_end(r);
    }
    a->stage_len = 0;
    begin_clock(a);
    ring_lanes(a);
}

/* -- streams out of memory -- */

static void send_leave(void *arg, const ky_known *k)
{
    ky_accept *a = arg;
    ky_record mark = {
        .size = sizeof(mark), .type = KY_REC_LEAVE, .pos = a->routed, .stream = k->id
    };

    send(a, (int)(k->id % (uint32_t)a->p->n_lanes), &mark);
}

/* Lanes on whose commits somebody waits commit now. */
static void ask_for_room(ky_accept *a)
{
    for (int i = 0; i < a->p->n_lanes; i++) {
        uint64_t wanted = ky_spill_wants(a->spill, i);
        ky_record mark = { .size = sizeof(mark), .type = KY_REC_COMMIT, .pos = a->routed };

        if (wanted == 0 || a->asked[i] >= wanted)
            continue;
        a->asked[i] = a->routed;
        send(a, i, &mark);
        ky_queue_ring(ky_lane_queue(a->p->lanes[i]));
    }
}

/* Recovery: nothing else is to be done meanwhile. */
static void fetch_waiting(ky_accept *a, const ky_record *r)
{
    for (bool asked;;) {
        uint32_t heard = ky_bell_listen(&a->bell);

        if (ky_spill_fetch(a->spill, r, &asked) != KY_NO_ROOM)
            return;
        ask_for_room(a);
        ring_lanes(a);
        serve_writer(a);
        ky_bell_wait(&a->bell, heard, -1);
    }
}

/* -- its own unit -- */

static void add_sources(ky_accept *a)
{
    ky_unit *u = unit(a);

    for (uint32_t i = 0; i < a->books.n_dirty; i++) {
        uint32_t row = a->books.dirty[i];
        ky_peer *s = &a->books.peers[row];

        ky_rows_source(u, a->p->cfg->sources[s->source].name,
                       ky_names_text(&a->books.peer_names, row), a->books.peer_names.row[row].len,
                       s->session, (int64_t)s->last);
        s->dirty = false;
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

static void wait_for_writer(ky_accept *a)
{
    for (;;) {
        uint32_t heard = ky_bell_listen(&a->bell);

        if (ky_outbox_ready(&a->out))
            return;
        serve_writer(a);
        KY_COUNT(a->p->count.stalls);
        ky_bell_wait(&a->bell, heard, -1);
    }
}

static void hand_over(ky_accept *a)
{
    wait_for_writer(a);
    add_sources(a);
    ky_outbox_hand(&a->out, a->routed, a->routed);
    a->since_ns = 0;
    a->handed = a->routed;
}

/* -- what others ask for -- */

static int do_swap(ky_accept *a, const ky_swap *swap)
{
    size_t size = ky_record_size(0, 0, 0, sizeof(*swap));
    staged *s = stage_new(a, size);
    ky_record *r = record_of(s);

    memset(r, 0, size);
    r->size = (uint32_t)size;
    r->type = KY_REC_SWAP;
    r->flags = KY_LAST;
    r->n = r->seq = r->ts_us = KY_NONE;
    r->arrival_us = ky_clock_wall_us();
    r->body_len = sizeof(*swap);
    memcpy(r + 1, swap, sizeof(*swap));
    stage_append(a, s);
    finish_batch(a);
    return KY_OK;
}

static int do_seal(ky_accept *a, ky_err *err)
{
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
        event(a, q->event[0], q->event[1], q->event[2], q->event[3]);
    else if (q->what == KY_ASK_SWAP)
        rc = do_swap(a, &q->swap);
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

static const ky_arrival *next_arrival(ky_accept *a, port *p)
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
    port *p = &a->ports[source];
    int left = TURN;

    while (left > 0 && a->stage_len < BATCH_BYTES && (p->first = next_arrival(a, p)) != NULL) {
        const ky_record *r = (const ky_record *)(p->first + 1);
        bool asked = false;

        if (r->type != KY_REC_REJECT && ky_spill_fetch(a->spill, r, &asked) == KY_NO_ROOM)
            break;
        take(a, source, p->first, r);
        p->first = NULL;
        if (p->reorder == NULL)
            ky_queue_pop(p->records);
        left -= asked ? ASKING : 1;
    }
    return left < TURN;
}

static void count_waiting(ky_accept *a)
{
    uint64_t n = 0;

    for (int i = 0; i < a->p->cfg->n_sources; i++)
        n += a->ports[i].first != NULL;
    atomic_store_explicit(&a->p->count.waiting, n, memory_order_relaxed);
}

static bool collect(ky_accept *a)
{
    bool any = true, some = false;

    while (any && a->stage_len < BATCH_BYTES) {
        any = false;
        for (int i = 0; i < a->p->cfg->n_sources; i++)
            any |= collect_from(a, i);
        some |= any;
    }
    count_waiting(a);
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

/* Now and then: positions of idle lanes, an old file's seal, the unit. */
static void tick(ky_accept *a)
{
    int64_t now = ky_clock_mono_ns();

    if (unit(a)->bytes.n > UNIT_BYTES ||
        (a->since_ns != 0 && now - a->since_ns >= a->p->cfg->commit_interval_us * 1000 &&
         ky_outbox_ready(&a->out)))
        hand_over(a);
    if (now - a->ticked_ns < tick_us(a) * 1000)
        return;
    a->ticked_ns = now;
    mark_idle(a);
    if (a->p->cfg->journal != KY_JOURNAL_NO)
        sync_journal(a);
}

static void drain(ky_accept *a)
{
    ky_requests_close(&a->requests);
    serve_requests(a);
    if (a->p->cfg->journal != KY_JOURNAL_NO)
        sync_journal(a);
    mark_idle(a);
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
        bool worked = collect(a);

        end_silent(a);
        worked |= a->stage_len >= BATCH_BYTES;
        if (a->stage_len > 0)
            finish_batch(a);
        ask_for_room(a);
        pay_owed(a);
        worked |= serve_requests(a);
        serve_writer(a);
        tick(a);
        if (worked)
            continue;
        if (ended)
            break;
        ky_bell_wait(&a->bell, heard, a->left_ns / 1000 + 1);
    }
    drain(a);
    return NULL;
}

/* -- recovery -- */

void ky_accept_restore_stream(ky_accept *a, const ky_saved_stream *s, int class_, bool in_memory)
{
    if (class_ < 0) /* no longer configured: its number stays its own */
        ky_roster_number_taken(&a->books.streams, s->row.stream);
    else
        ky_spill_restore(a->spill, s, class_, in_memory);
}

int ky_accept_restore_source(ky_accept *a, const char *source, const char *key,
                             const uint8_t session[KY_SESSION], int64_t number, ky_err *err)
{
    (void)err;
    int model = ky_served_model(a->p->cfg, key);

    if (strcmp(source, KY_ACCEPT_JOURNAL) == 0)
        a->booked = (uint64_t)number;
    if (strcmp(source, KY_ACCEPT_RESET) == 0 && model >= 0)
        for (int i = 0; i < a->p->n_lanes; i++)
            ky_lane_set_reset(a->p->lanes[i], model, (uint64_t)number);
    if (strcmp(source, KY_ACCEPT_MODEL) == 0 && model >= 0)
        a->imported[model] = (uint64_t)number;
    for (int i = 0; i < a->p->cfg->n_sources; i++) {
        if (strcmp(a->p->cfg->sources[i].name, source) != 0)
            continue;
        ky_peer *s = ky_books_add_peer(&a->books, a->ports[i].delivery, i, key, strlen(key));

        s->begun = true;
        s->last = (uint64_t)number;
        memcpy(s->session, session, KY_SESSION);
    }
    return KY_OK;
}

static void replay_sender(ky_accept *a, const ky_record *r)
{
    if (r->source >= a->p->cfg->n_sources || r->sender_len == 0 || !(r->flags & KY_LAST) ||
        a->ports[r->source].delivery == KY_AT_MOST_ONCE ||
        (a->ports[r->source].delivery == KY_ACKNOWLEDGED && r->number == 0))
        return;
    ky_peer *p = ky_books_peer(&a->books, r->source, ky_record_sender(r), r->sender_len);

    if (p == NULL)
        p = ky_books_add_peer(&a->books, a->ports[r->source].delivery, r->source,
                              ky_record_sender(r), r->sender_len);
    ky_books_took(&a->books, p, r);
    begin_clock(a);
}

static void replay_stream(ky_accept *a, const ky_record *r)
{
    ky_roster *t = &a->books.streams;

    fetch_waiting(a, r);
    ky_known *k = ky_roster_find(t, r->class_, ky_record_stream(r), r->stream_len);

    if (k == NULL)
        k = ky_roster_add(t, r->stream, r->class_, ky_record_stream(r), r->stream_len);
    if (r->pos < k->pos)
        return;
    KY_COUNT(a->p->count.recovered);
    if (r->type == KY_REC_SAMPLE) {
        if (r->pos >= a->booked)
            tell_order(a, r, ky_books_look(&a->books, k, r));
        ky_books_sample(&a->books, k, r);
    } else if (r->type == KY_REC_END && r->n == k->n) {
        ky_books_end(&a->books, k);
    } else if (r->type == KY_REC_FORGET) {
        ky_books_forget(&a->books, k);
    }
    ky_roster_used(t, k, ky_record_end(r));
}

/* Its row is committed, but not all lanes have passed it. */
static void swap_again(ky_accept *a, const ky_record *r)
{
    const ky_swap *swap = ky_record_body(r);
    int model = ky_served_model(a->p->cfg, swap->model);

    if (model >= 0)
        atomic_store(&a->p->current[model], swap->version);
    ky_spill_all_changed(a->spill, ky_record_end(r));
    send_all(a, r);
}

static void replayed(ky_accept *a, const ky_record *r)
{
    a->routed = ky_record_end(r);
    begin_clock(a);
    ring_lanes(a);
    tick(a);
}

int ky_accept_replay(ky_accept *a, const ky_record *r, ky_err *err)
{
    (void)err;
    if (r->pos >= a->booked && r->type != KY_REC_CONFIG)
        replay_sender(a, r);
    if (r->type == KY_REC_CONFIG) {
        send_mark(a, KY_REC_CONFIG, r->pos);
    } else if (r->type == KY_REC_REJECT || r->type == KY_REC_SWAP) {
        if (r->pos >= a->booked)
            route(a, r);
        else if (r->type == KY_REC_SWAP)
            swap_again(a, r);
    } else {
        replay_stream(a, r);
        route(a, r);
    }
    replayed(a, r);
    return KY_OK;
}

void ky_accept_leave_out(ky_accept *a, const ky_record *r)
{
    if (r->pos >= a->booked)
        replay_sender(a, r);
    ky_roster_number_taken(&a->books.streams, r->stream);
    replayed(a, r);
}

void ky_accept_live(ky_accept *a, uint64_t pos)
{
    a->routed = a->routed > pos ? a->routed : pos;
    a->books.streams.era_pos = a->p->live_from;
}

uint64_t ky_accept_imported(const ky_accept *a, int model)
{
    return a->imported[model];
}

void ky_accept_set_imported(ky_accept *a, int model, uint64_t hash)
{
    a->imported[model] = hash;
    a->imported_dirty[model] = true;
    begin_clock(a);
}

void ky_accept_note_version(ky_accept *a, const ky_version *v)
{
    add_version(a, v->model, v->version, v->hash, 0);
}

/* -- the pipeline -- */

int ky_accept_new(ky_pipeline *p, uint64_t low, ky_accept **ret, ky_err *err)
{
    ky_accept *a = calloc(1, sizeof(*a));

    if (a == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory");
    a->p = p;
    a->file_first = UINT64_MAX;
    a->apart_us = clocks_apart_us();
    ky_requests_init(&a->requests, &a->bell);
    a->ports = calloc((size_t)p->cfg->n_sources + 1, sizeof(*a->ports));
    int rc = ky_books_init(&a->books, p->cfg, p->holds);

    a->imported = calloc((size_t)p->cfg->n_models + 1, sizeof(*a->imported));
    a->imported_dirty = calloc((size_t)p->cfg->n_models + 1, sizeof(bool));
    a->sent = calloc((size_t)p->n_lanes, sizeof(*a->sent));
    a->asked = calloc((size_t)p->n_lanes, sizeof(*a->asked));
    if (a->ports == NULL || rc < 0 || a->imported == NULL || a->imported_dirty == NULL ||
        a->sent == NULL || a->asked == NULL) {
        ky_accept_free(a);
        return ky_fail(err, KY_ENOMEM, "no memory");
    }
    rc = ky_spill_new(p, &a->books.streams, send_leave, a, &a->spill, err);
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
    port *p = &a->ports[source];
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
