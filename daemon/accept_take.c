/* Records of the sources, up to the stage: what each is, and what its sender is told. */
#include "daemon/accept_own.h"

#include <stdio.h>
#include <string.h>

#include "daemon/intake.h"
#include "models/clock.h"

/* -- answers to the sources' threads -- */

static void answer(ky_accept *a, int source, const ky_answer *what, const char *reason)
{
    ky_port *p = &a->ports[source];
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
        refuse_session(a, source, v, r, "max_senders senders have messages under way");
        return false;
    }
    return false;
}

void ky_accept_acknowledge(ky_accept *a, ky_staged *s)
{
    const ky_record *r = ky_staged_record(s);

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

void ky_accept_pay_owed(ky_accept *a)
{
    for (uint32_t i = 0; i < a->books.n_owed; i++) {
        ky_peer *s = &a->books.peers[a->books.owed[i]];

        answer_up_to(a, s, s->last, s->cookie, NULL);
        s->owed = false;
    }
    a->books.n_owed = 0;
    tell_sources(a);
}

/* -- samples -- */

void ky_accept_tell(ky_accept *a, const char *level, const char *object, const char *what,
                    const char *detail)
{
    ky_outbox_event(&a->out, level, object, what, detail);
    ky_accept_begin_clock(a);
}

static void event_of(ky_accept *a, const ky_record *r, const char *what, const char *said,
                     int64_t value)
{
    char object[KY_STREAM_MAX + 16], detail[80];

    snprintf(object, sizeof(object), "stream %.*s", r->stream_len, ky_record_stream(r));
    snprintf(detail, sizeof(detail), "%s %lld", said, (long long)value);
    ky_accept_tell(a, "info", object, what, detail);
}

/* How far the time of day is ahead of the clock that never steps; read again if we were interrupted
 * in between. */
int64_t ky_accept_clocks_apart_us(void)
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
    int64_t apart = ky_accept_clocks_apart_us(), step = apart - a->apart_us;

    a->compared = true;
    a->apart_us = apart;
    if (step > -STEP_US && step < STEP_US)
        return;
    ky_roster_new_era(&a->books.streams);
    atomic_store(&a->p->era_pos, ky_journal_end(a->p->journal));
    snprintf(detail, sizeof(detail), "the time of day was set by %.3f s", (double)step / 1e6);
    ky_accept_tell(a, "warn", "clock", "step", detail);
    KY_COUNT(a->p->count.clock_steps);
}

void ky_accept_tell_order(ky_accept *a, const ky_record *r, enum ky_seen seen)
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
    ky_accept_tell_order(a, r, seen);
    atomic_fetch_add_explicit(&a->p->count.filled, r->type == KY_REC_SAMPLE ? r->filled : 0,
                              memory_order_relaxed);
    return is;
}

/* The record is not one that its sender sent before. */
static void take(ky_accept *a, int source, const ky_arrival *v, const ky_record *in, ky_peer *from)
{
    char reason[KY_REASON];
    ky_known *k = NULL;
    ky_staged *s = ky_accept_stage(a, in->size + KY_REASON + 8 + ky_books_room(&a->books, in));
    ky_record *r = ky_staged_record(s);

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
    if (k != NULL && r->type != KY_REC_LABEL)
        ky_spill_heard(a->spill, k);
    if (r->type == KY_REC_SAMPLE)
        ky_roster_heard(&a->books.streams, k, a->now_ns);
    if (from != NULL) {
        ky_books_took(&a->books, from, r);
        ky_accept_begin_clock(a);
        s->sender = (uint32_t)(from - a->books.peers);
        s->cookie = v->cookie;
    }
    ky_accept_append(a, s);
    if (k != NULL)
        ky_roster_used(&a->books.streams, k, ky_record_end(r));
}

void ky_accept_let_go(ky_accept *a, int source, const ky_record *r)
{
    if (source < a->p->cfg->n_sources && a->ports[source].delivery == KY_AT_MOST_ONCE &&
        (r->type == KY_REC_SAMPLE || r->type == KY_REC_LABEL || r->type == KY_REC_FORGET))
        KY_COUNT(a->p->count.let_go);
}

static void stage_end(ky_accept *a, ky_known *k)
{
    const ky_names *names = &a->books.streams.names;
    const ky_name *name = &names->row[ky_roster_row(&a->books.streams, k)];
    size_t size = ky_record_size(0, name->len, 0, 0);
    ky_staged *s = ky_accept_stage(a, size);
    ky_record *r = ky_staged_record(s);

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
    ky_accept_append(a, s);
    ky_roster_used(&a->books.streams, k, ky_record_end(r));
}

/* Its stream, if there is room for it. Where there will be none any more, that is the end. */
static bool fetch(ky_accept *a, const ky_record *r, bool *ret_asked)
{
    enum ky_at_hand at =
        r->type == KY_REC_REJECT ? KY_NOWHERE : ky_spill_fetch(a->spill, r, ret_asked);

    if (at == KY_OVER)
        stage_end(a,
                  ky_roster_find(&a->books.streams, r->class_, ky_record_stream(r), r->stream_len));
    if (at != KY_NO_ROOM)
        return true;
    if (!atomic_load(&a->p->waits.results_given_up))
        return false;
    ky_accept_give_up(a, "no stream can leave memory any more");
    return true;
}

bool ky_accept_take(ky_accept *a, int source, const ky_arrival *v, bool *ret_asked)
{
    const ky_record *in = (const ky_record *)(v + 1);
    bool next = false;
    ky_peer *from;

    *ret_asked = false;
    if (!ky_accept_gave_up(a)) {
        next = next_of(a, source, v, in, &from);
        if (next && !fetch(a, in, ret_asked))
            return false;
    }
    if (ky_accept_gave_up(a))
        ky_accept_let_go(a, source, in);
    else if (next)
        take(a, source, v, in, from);
    KY_COUNT(a->p->count.received);
    return true;
}

/* -- silence -- */

void ky_accept_end_silent(ky_accept *a)
{
    enum { LOOKS = 64 }; /* into results.db, in a round: about a millisecond */
    ky_known *k;
    int looks = LOOKS;

    while (!ky_accept_gave_up(a) && a->stage_len < KY_BATCH_BYTES &&
           ((k = ky_roster_silent(&a->books.streams, a->now_ns, &a->left_ns)) != NULL ||
            (k = ky_spill_silent(a->spill, a->now_ns, &looks, &a->left_ns)) != NULL))
        stage_end(a, k);
}
