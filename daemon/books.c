#include "daemon/books.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "daemon/core.h"

static void no_memory(void)
{
    ky_core_die(EX_OSERR, "accept", "no memory");
}

int ky_books_init(ky_books *b, const ky_config *cfg, const bool *holds,
                  void (*forgets)(void *arg, const ky_peer *p, const char *name, size_t len),
                  void *arg)
{
    *b = (ky_books){
        .cfg = cfg, .holds = holds, .forgets = forgets, .arg = arg, .senders = ky_line_empty
    };
    ky_names_init(&b->peer_names);
    return ky_roster_init(&b->streams, cfg, holds);
}

void ky_books_done(ky_books *b)
{
    ky_roster_done(&b->streams);
    ky_names_done(&b->peer_names);
    free(b->peers);
    free(b->dirty);
    free(b->owed);
}

/* -- senders -- */

static ky_places by_use(const ky_books *b)
{
    return (ky_places){ &b->peers->use, sizeof(ky_peer) };
}

void ky_books_heard(ky_books *b, const ky_peer *p)
{
    uint32_t row = (uint32_t)(p - b->peers);

    if (b->senders.last == row)
        return;
    ky_line_leave(by_use(b), &b->senders, row);
    ky_line_join(by_use(b), &b->senders, row);
}

/* Of those with something under way none was used before one that has nothing, but for one that
 * only repeats itself: so the first tells of all. */
static bool forget_one(ky_books *b)
{
    uint32_t row = b->senders.first;
    const ky_peer *p = &b->peers[row];

    if (p->dirty || p->owed)
        return false;
    b->forgets(b->arg, p, ky_names_text(&b->peer_names, row), b->peer_names.row[row].len);
    ky_line_leave(by_use(b), &b->senders, row);
    ky_names_remove(&b->peer_names, row);
    return true;
}

/* Whether there is for one more. */
static bool make_room(ky_books *b)
{
    while (b->senders.n >= (uint64_t)b->cfg->max_senders)
        if (!forget_one(b))
            return false;
    return true;
}

ky_peer *ky_books_add_peer(ky_books *b, enum ky_delivery d, int source, const char *name,
                           size_t len)
{
    if (b->n_peers == b->cap_peers) {
        uint32_t cap = b->cap_peers ? 2 * b->cap_peers : 64;
        ky_peer *peers = realloc(b->peers, cap * sizeof(*peers));

        b->peers = peers != NULL ? peers : b->peers;
        uint32_t *dirty = realloc(b->dirty, cap * sizeof(*dirty));

        b->dirty = dirty != NULL ? dirty : b->dirty;
        uint32_t *owed = realloc(b->owed, cap * sizeof(*owed));

        b->owed = owed != NULL ? owed : b->owed;
        if (peers == NULL || dirty == NULL || owed == NULL)
            no_memory();
        b->cap_peers = cap;
    }
    if (d == KY_ACKNOWLEDGED)
        make_room(b);
    uint32_t row = ky_names_add(&b->peer_names, (uint16_t)source, name, len);

    if (row == KY_NO_NAME)
        no_memory();
    b->n_peers += row == b->n_peers;
    b->peers[row] = (ky_peer){ .source = source };
    if (d == KY_ACKNOWLEDGED)
        ky_line_join(by_use(b), &b->senders, row);
    return &b->peers[row];
}

ky_peer *ky_books_peer(const ky_books *b, int source, const char *name, size_t len)
{
    uint32_t row = ky_names_find(&b->peer_names, (uint16_t)source, name, len);

    return row != KY_NO_NAME ? &b->peers[row] : NULL;
}

/* A1: of a session only last + 1 is taken. */
static enum ky_next next_acknowledged(ky_books *b, int source, const ky_record *r, ky_peer **ret)
{
    const char *id = ky_record_sender(r);
    ky_peer *p = ky_books_peer(b, source, id, r->sender_len);
    bool same = p != NULL && p->begun && memcmp(p->session, r->session, KY_SESSION) == 0;

    if (!same && r->number != 1)
        return KY_NEXT_STRANGER;
    if (p == NULL && !make_room(b))
        return KY_NEXT_CROWD;
    *ret = p != NULL ? p : ky_books_add_peer(b, KY_ACKNOWLEDGED, source, id, r->sender_len);
    ky_books_heard(b, *ret);
    if (same && r->number <= p->last)
        return KY_NEXT_KNOWN;
    return same && r->number > p->last + 1 ? KY_NEXT_AHEAD : KY_NEXT;
}

/* B2: what is at or below the last offset has been taken. */
static enum ky_next next_offset(ky_books *b, int source, const ky_record *r, ky_peer **ret)
{
    ky_peer *p = ky_books_peer(b, source, ky_record_sender(r), r->sender_len);

    *ret = p != NULL ? p
                     : ky_books_add_peer(b, KY_OFFSETS, source, ky_record_sender(r), r->sender_len);
    return (*ret)->begun && r->number <= (*ret)->last ? KY_NEXT_KNOWN : KY_NEXT;
}

enum ky_next ky_books_next(ky_books *b, enum ky_delivery d, int source, const ky_record *r,
                           ky_peer **ret)
{
    *ret = NULL;
    /* A message so broken that it did not tell its number is nobody's next. */
    if (d == KY_AT_MOST_ONCE || r->sender_len == 0 || (d == KY_ACKNOWLEDGED && r->number == 0))
        return KY_NEXT;
    return d == KY_OFFSETS ? next_offset(b, source, r, ret) : next_acknowledged(b, source, r, ret);
}

void ky_books_took(ky_books *b, ky_peer *p, const ky_record *r)
{
    p->begun = true;
    memcpy(p->session, r->session, KY_SESSION);
    p->last = r->number;
    if (!p->dirty)
        b->dirty[b->n_dirty++] = (uint32_t)(p - b->peers);
    p->dirty = true;
}

void ky_books_untake(ky_peer *p, const ky_record *r)
{
    if (p->undone)
        return;
    p->undone = true;
    p->begun = r->number > 0;
    memcpy(p->session, r->session, KY_SESSION);
    p->last = r->number - p->begun;
}

void ky_books_owe(ky_books *b, ky_peer *p, uint64_t cookie)
{
    p->cookie = cookie;
    if (!p->owed)
        b->owed[b->n_owed++] = (uint32_t)(p - b->peers);
    p->owed = true;
}

/* -- streams -- */

static ky_window window_of(const ky_known *k)
{
    return (ky_window){ .high = k->high, .mask = k->mask };
}

static void take_number(ky_known *k, int64_t seq)
{
    ky_window w = window_of(k);

    ky_window_take(&w, seq);
    k->high = w.high;
    k->mask = w.mask;
}

void ky_books_sample(ky_books *b, ky_known *k, const ky_record *r)
{
    k->n = r->n + r->steps - 1;
    if (r->flags & KY_COUNTED)
        take_number(k, r->seq);
    if (!(r->flags & KY_LATE))
        k->ts_us = r->ts_us;
    if (r->flags & KY_END)
        ky_books_end(b, k);
    else
        k->ended = false;
    if (b->holds[ky_roster_class(&b->streams, k)])
        memcpy(ky_roster_hold(&b->streams, k, r->features),
               ky_record_x(r) + (size_t)(r->steps - 1) * r->features, r->features * sizeof(float));
}

/* Holes take the value of the step before. */
static bool fill_holes(const float *held, ky_record *r)
{
    float *x = (float *)(uintptr_t)ky_record_x(r);

    for (uint32_t t = 0; t < r->steps; t++)
        for (uint32_t f = 0; f < r->features; f++) {
            float *v = &x[(size_t)t * r->features + f];

            if (!isnan(*v))
                continue;
            if (t == 0 && held == NULL)
                return false;
            *v = t > 0 ? v[-(ptrdiff_t)r->features] : held[f];
        }
    return true;
}

static enum ky_verdict find_stream(ky_books *b, const ky_record *r, ky_known **ret, char *reason)
{
    *ret = ky_roster_find(&b->streams, r->class_, ky_record_stream(r), r->stream_len);
    if (*ret != NULL)
        return KY_TAKE;
    if (r->type != KY_REC_SAMPLE) {
        snprintf(reason, KY_REASON, "%s a stream that never sent a sample",
                 r->type == KY_REC_LABEL ? "a label for" : "to forget");
        return KY_REFUSE;
    }
    return KY_TAKE;
}

void ky_books_end(ky_books *b, ky_known *k)
{
    k->ended = true;
    ky_roster_unheard(&b->streams, k);
}

void ky_books_forget(ky_books *b, ky_known *k)
{
    ky_books_end(b, k);
    k->ts_us = k->high = KY_NONE;
    k->mask = 0;
    ky_roster_let_go(&b->streams, k);
}

/* -- order and time -- */

static uint64_t apart(int64_t later, int64_t earlier)
{
    return (uint64_t)later - (uint64_t)earlier; /* may not fit a signed one */
}

/* Whether it lies before what was taken; of a counted sample its number says so, else its own time.
 * An arrival is never late: it is the host's clock that was set. */
static enum ky_seen look(const ky_class_cfg *c, const ky_known *k, const ky_record *r, bool counted)
{
    ky_window w = window_of(k);

    if (counted)
        return ky_window_look(&w, r->seq);
    if (r->time_source == KY_TIME_ARRIVAL || k->ts_us == KY_NONE || r->ts_us >= k->ts_us ||
        k->ended || r->flags & KY_START)
        return KY_SEEN_NEXT;
    return c->max_late_us > 0 && apart(k->ts_us, r->ts_us) > (uint64_t)c->max_late_us
               ? KY_SEEN_SET_BACK
               : KY_SEEN_LATE;
}

enum ky_seen ky_books_look(const ky_books *b, const ky_known *k, const ky_record *r)
{
    return look(&b->cfg->classes[ky_roster_class(&b->streams, k)], k, r, r->flags & KY_COUNTED);
}

/* A host whose own clock stands before kymo was written does not know what is ahead. */
static bool ahead(const ky_class_cfg *c, const ky_record *r)
{
    const int64_t written = 1767225600000000; /* 2026-01-01 */

    return c->max_ahead_us > 0 && r->arrival_us >= written && r->ts_us > r->arrival_us &&
           apart(r->ts_us, r->arrival_us) > (uint64_t)c->max_ahead_us;
}

static enum ky_verdict judge_order(const ky_class_cfg *c, const ky_known *k, ky_record *r,
                                   bool counted, enum ky_seen *ret_seen, char *reason)
{
    if (ahead(c, r)) {
        snprintf(reason, KY_REASON, "too far ahead: %.3f s before its time, max_ahead is %.3f s",
                 (double)apart(r->ts_us, r->arrival_us) / 1e6, (double)c->max_ahead_us / 1e6);
        return KY_REFUSE;
    }
    *ret_seen = look(c, k, r, counted);
    if (*ret_seen == KY_SEEN_DUPLICATE)
        return KY_SKIP;
    if (*ret_seen != KY_SEEN_LATE)
        return KY_TAKE;
    if (c->late == KY_LATE_ACCEPT) {
        r->flags |= KY_LATE;
        return KY_TAKE;
    }
    if (counted)
        snprintf(reason, KY_REASON, "late: seq %lld came after %lld", (long long)r->seq,
                 (long long)k->high);
    else
        snprintf(reason, KY_REASON, "late: %.3f s older than one taken before",
                 (double)apart(k->ts_us, r->ts_us) / 1e6);
    return KY_REFUSE;
}

/* Samples that are missing before this one, by its number and by its time; 0 where they are not to
 * be filled in. */
static uint32_t missing(const ky_class_cfg *c, const ky_known *k, const float *held,
                        const ky_record *r, bool counted)
{
    uint64_t n = 0, most = KY_FILL_BYTES / (r->features * sizeof(float));
    bool arrival = r->flags & KY_RESUMED && r->time_source == KY_TIME_ARRIVAL;

    if (c->on_gap != KY_GAP_HOLD || held == NULL || k->ended ||
        r->flags & (KY_START | KY_RESET | KY_LATE))
        return 0;
    if (counted && k->high != KY_NONE && r->seq > k->high)
        n = apart(r->seq, k->high) - 1;
    if (n == 0 && c->max_gap_us > 0 && k->ts_us != KY_NONE && r->ts_us > k->ts_us && !arrival &&
        apart(r->ts_us, k->ts_us) > (uint64_t)c->max_gap_us)
        n = (apart(r->ts_us, k->ts_us) + (uint64_t)c->period_us / 2) / (uint64_t)c->period_us - 1;
    return n <= (uint64_t)c->max_hold && n <= most ? (uint32_t)n : 0;
}

size_t ky_books_room(const ky_books *b, const ky_record *r)
{
    const ky_class_cfg *c = &b->cfg->classes[r->class_];
    size_t most = (size_t)c->max_hold * r->features * sizeof(float);

    if (r->type != KY_REC_SAMPLE || c->on_gap != KY_GAP_HOLD)
        return 0;
    return (most < KY_FILL_BYTES ? most : KY_FILL_BYTES) + 8;
}

/* The last values, n times, before the record's own. */
static void fill_in(const float *held, ky_record *r, uint32_t n)
{
    float *x = (float *)(uintptr_t)ky_record_x(r);
    size_t row = r->features * sizeof(float);

    if (n == 0)
        return;
    memmove(x + (size_t)n * r->features, x, r->body_len);
    for (uint32_t i = 0; i < n; i++)
        memcpy(x + (size_t)i * r->features, held, row);
    r->filled = n;
    r->steps += n;
    r->body_len += (uint32_t)(n * row);
    r->size = (uint32_t)ky_record_size(r->sender_len, r->stream_len, r->text_len, r->body_len);
    memset((char *)x + r->body_len, 0, ky_pad8(r->body_len) - r->body_len);
}

static void take_sample(ky_books *b, ky_known *k, ky_record *r, bool counted)
{
    const float *held = ky_roster_held(&b->streams, k);
    uint32_t era = b->streams.era;

    r->flags |= (uint16_t)((counted ? KY_COUNTED : 0) | (k->era == era ? 0 : KY_RESUMED));
    fill_in(held, r, missing(&b->cfg->classes[r->class_], k, held, r, counted));
    r->n = k->n + 1;
    k->era = era & KY_ERA_MAX;
    ky_books_sample(b, k, r);
}

enum ky_verdict ky_books_judge(ky_books *b, bool counted, uint32_t holes, ky_record *r,
                               ky_known **ret, enum ky_seen *ret_seen, char *ret_reason)
{
    static const ky_known nobody = { .ts_us = KY_NONE, .high = KY_NONE };
    ky_known *k;
    enum ky_verdict is = find_stream(b, r, &k, ret_reason);
    const ky_known *was = k != NULL ? k : &nobody;

    *ret_seen = KY_SEEN_NEXT;
    counted = counted && r->type == KY_REC_SAMPLE && r->seq != KY_NONE;
    if (is == KY_TAKE && r->type == KY_REC_SAMPLE)
        is = judge_order(&b->cfg->classes[r->class_], was, r, counted, ret_seen, ret_reason);
    if (is == KY_TAKE && k == NULL && b->streams.next_id == KY_ROSTER_FULL) {
        snprintf(ret_reason, KY_REASON, "no number is left for another stream");
        is = KY_REFUSE;
    }
    if (is == KY_TAKE && holes > 0 &&
        !fill_holes(k != NULL ? ky_roster_held(&b->streams, k) : NULL, r)) {
        snprintf(ret_reason, KY_REASON, "no earlier values: %u are missing", holes);
        is = KY_REFUSE;
    }
    if (is != KY_TAKE)
        return is;
    if (k == NULL)
        k = ky_roster_add(&b->streams, b->streams.next_id, r->class_, ky_record_stream(r),
                          r->stream_len);
    r->stream = k->id;
    *ret = k;
    if (r->type == KY_REC_SAMPLE) {
        take_sample(b, k, r, counted);
    } else if (r->type == KY_REC_FORGET) {
        r->n = k->n;
        ky_books_forget(b, k);
    }
    return KY_TAKE;
}

void ky_books_refuse(ky_record *r, const char *reason)
{
    size_t len = strlen(reason), names = (size_t)r->sender_len + r->stream_len;

    r->type = KY_REC_REJECT;
    r->flags = KY_LAST;
    r->n = KY_NONE;
    r->stream = 0;
    r->steps = r->features = r->filled = r->body_len = 0;
    r->text_len = (uint32_t)len;
    r->size = (uint32_t)ky_record_size(r->sender_len, r->stream_len, len, 0);
    memset((char *)(r + 1) + names, 0, r->size - sizeof(*r) - names);
    memcpy((char *)(r + 1) + names, reason, len);
}
