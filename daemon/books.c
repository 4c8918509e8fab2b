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

int ky_books_init(ky_books *b, const ky_config *cfg, const bool *holds)
{
    memset(b, 0, sizeof(*b));
    b->cfg = cfg;
    b->holds = holds;
    b->era = 1;
    ky_names_init(&b->stream_names);
    ky_names_init(&b->peer_names);
    b->per_class = calloc((size_t)cfg->n_classes + 1, sizeof(*b->per_class));
    b->hearing = calloc((size_t)cfg->n_classes + 1, sizeof(*b->hearing));
    if (b->per_class == NULL || b->hearing == NULL)
        return KY_ENOMEM;
    for (int i = 0; i < cfg->n_classes; i++)
        b->hearing[i] = (ky_hearing){ KY_NO_STREAM, KY_NO_STREAM };
    return KY_OK;
}

void ky_books_done(ky_books *b)
{
    for (uint32_t i = 0; i < b->cap_streams; i++)
        free(b->streams[i].held);
    ky_names_done(&b->stream_names);
    ky_names_done(&b->peer_names);
    free(b->streams);
    free(b->per_class);
    free(b->hearing);
    free(b->peers);
    free(b->dirty);
    free(b->owed);
}

/* -- senders -- */

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
    if (ky_names_add(&b->peer_names, (uint16_t)source, name, len, b->n_peers) == NULL)
        no_memory();
    ky_peer *p = &b->peers[b->n_peers];

    *p = (ky_peer){ .name = b->n_peers++, .source = source };
    b->n_senders += d == KY_ACKNOWLEDGED;
    return p;
}

ky_peer *ky_books_peer(const ky_books *b, int source, const char *name, size_t len)
{
    const ky_name *n = ky_names_find(&b->peer_names, (uint16_t)source, name, len);

    return n != NULL ? &b->peers[n->value] : NULL;
}

/* A1: of a session only last + 1 is taken. */
static enum ky_next next_acknowledged(ky_books *b, int source, const ky_record *r, ky_peer **ret)
{
    const char *id = ky_record_sender(r);
    ky_peer *p = ky_books_peer(b, source, id, r->sender_len);
    bool same = p != NULL && p->begun && memcmp(p->session, r->session, KY_SESSION) == 0;

    if (!same && r->number != 1)
        return KY_NEXT_STRANGER;
    if (p == NULL && b->n_senders >= (uint64_t)b->cfg->max_senders)
        return KY_NEXT_CROWD;
    *ret = p != NULL ? p : ky_books_add_peer(b, KY_ACKNOWLEDGED, source, id, r->sender_len);
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

void ky_books_owe(ky_books *b, ky_peer *p, uint64_t cookie)
{
    p->cookie = cookie;
    if (!p->owed)
        b->owed[b->n_owed++] = (uint32_t)(p - b->peers);
    p->owed = true;
}

/* -- streams -- */

ky_known *ky_books_stream(ky_books *b, uint32_t id)
{
    if (id >= b->cap_streams) {
        uint32_t cap = b->cap_streams ? b->cap_streams : 256;

        while (cap <= id)
            cap *= 2;
        ky_known *more = realloc(b->streams, cap * sizeof(*more));

        if (more == NULL)
            no_memory();
        memset(more + b->cap_streams, 0, (cap - b->cap_streams) * sizeof(*more));
        b->streams = more;
        b->cap_streams = cap;
    }
    if (id >= b->n_streams)
        b->n_streams = id + 1;
    return &b->streams[id];
}

ky_known *ky_books_add_stream(ky_books *b, uint32_t id, int class_, const char *name, size_t len)
{
    ky_known *k = ky_books_stream(b, id);

    if (ky_names_add(&b->stream_names, (uint16_t)class_, name, len, id) == NULL)
        no_memory();
    k->name = b->stream_names.n - 1;
    k->there = true;
    k->class_ = (uint16_t)class_;
    k->ts_us = KY_NONE;
    k->prev = k->next = KY_NO_STREAM;
    k->heard_ns = 0;
    ky_window_init(&k->window);
    b->per_class[class_]++;
    return k;
}

void ky_books_sample(ky_books *b, const ky_record *r)
{
    ky_known *k = &b->streams[r->stream];
    size_t len = r->features * sizeof(float);

    k->n = r->n + r->steps - 1;
    if (r->flags & KY_COUNTED)
        ky_window_take(&k->window, r->seq);
    if (!(r->flags & KY_LATE))
        k->ts_us = r->ts_us;
    if (r->flags & KY_END)
        ky_books_end(b, k);
    else
        k->ended = false;
    if (!b->holds[k->class_])
        return;
    if (k->held == NULL && (k->held = malloc(len)) == NULL)
        no_memory();
    memcpy(k->held, ky_record_x(r) + (size_t)(r->steps - 1) * r->features, len);
}

/* Holes take the value of the step before. */
static bool fill_holes(const ky_known *k, ky_record *r)
{
    float *x = (float *)(uintptr_t)ky_record_x(r);

    for (uint32_t t = 0; t < r->steps; t++)
        for (uint32_t f = 0; f < r->features; f++) {
            float *v = &x[(size_t)t * r->features + f];

            if (!isnan(*v))
                continue;
            if (t == 0 && k->held == NULL)
                return false;
            *v = t > 0 ? v[-(ptrdiff_t)r->features] : k->held[f];
        }
    return true;
}

static enum ky_verdict find_stream(ky_books *b, const ky_record *r, ky_known **ret, char *reason)
{
    const ky_class_cfg *c = &b->cfg->classes[r->class_];
    const ky_name *name =
        ky_names_find(&b->stream_names, r->class_, ky_record_stream(r), r->stream_len);

    if (name != NULL) {
        *ret = &b->streams[name->value];
        return KY_TAKE;
    }
    *ret = NULL;
    if (r->type != KY_REC_SAMPLE) {
        snprintf(reason, KY_REASON, "%s a stream that never sent a sample",
                 r->type == KY_REC_LABEL ? "a label for" : "to forget");
        return KY_REFUSE;
    }
    if (b->per_class[r->class_] >= c->max_streams) {
        snprintf(reason, KY_REASON, "class '%s' has max_streams streams already: %lld", c->name,
                 (long long)c->max_streams);
        return KY_REFUSE;
    }
    return KY_TAKE;
}

/* -- silence -- */

static void unhear(ky_books *b, ky_known *k)
{
    ky_hearing *h = &b->hearing[k->class_];

    if (k->heard_ns == 0)
        return;
    *(k->prev == KY_NO_STREAM ? &h->first : &b->streams[k->prev].next) = k->next;
    *(k->next == KY_NO_STREAM ? &h->last : &b->streams[k->next].prev) = k->prev;
    k->prev = k->next = KY_NO_STREAM;
    k->heard_ns = 0;
}

void ky_books_heard(ky_books *b, ky_known *k, int64_t now_ns)
{
    ky_hearing *h = &b->hearing[k->class_];

    if (b->cfg->classes[k->class_].end_after_us == 0 || k->ended)
        return;
    unhear(b, k);
    k->heard_ns = now_ns > 0 ? now_ns : 1;
    k->prev = h->last;
    *(h->last == KY_NO_STREAM ? &h->first : &b->streams[h->last].next) = (uint32_t)(k - b->streams);
    h->last = (uint32_t)(k - b->streams);
}

void ky_books_hear_all(ky_books *b, int64_t now_ns)
{
    for (uint32_t i = 0; i < b->n_streams; i++)
        if (b->streams[i].there && b->streams[i].n > 0)
            ky_books_heard(b, &b->streams[i], now_ns);
}

ky_known *ky_books_silent(const ky_books *b, int64_t now_ns, int64_t *ret_left_ns)
{
    for (int i = 0; i < b->cfg->n_classes; i++) {
        if (b->hearing[i].first == KY_NO_STREAM)
            continue;
        ky_known *k = &b->streams[b->hearing[i].first];
        int64_t left = k->heard_ns + b->cfg->classes[i].end_after_us * 1000 - now_ns;

        if (left <= 0)
            return k;
        if (left < *ret_left_ns)
            *ret_left_ns = left;
    }
    return NULL;
}

void ky_books_end(ky_books *b, ky_known *k)
{
    k->ended = true;
    unhear(b, k);
}

void ky_books_forget(ky_books *b, ky_known *k)
{
    int64_t epoch = k->window.epoch;

    ky_books_end(b, k);
    k->ts_us = KY_NONE;
    ky_window_init(&k->window);
    k->window.epoch = epoch;
    free(k->held);
    k->held = NULL;
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
    if (counted)
        return ky_window_look(&k->window, r->seq);
    if (r->time_source == KY_TIME_ARRIVAL || k->ts_us == KY_NONE || r->ts_us >= k->ts_us ||
        k->ended || r->flags & KY_START)
        return KY_SEEN_NEXT;
    return c->max_late_us > 0 && apart(k->ts_us, r->ts_us) > (uint64_t)c->max_late_us
               ? KY_SEEN_SET_BACK
               : KY_SEEN_LATE;
}

enum ky_seen ky_books_look(const ky_books *b, const ky_record *r)
{
    const ky_known *k = &b->streams[r->stream];

    return look(&b->cfg->classes[k->class_], k, r, r->flags & KY_COUNTED);
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
                 (long long)k->window.high);
    else
        snprintf(reason, KY_REASON, "late: %.3f s older than one taken before",
                 (double)apart(k->ts_us, r->ts_us) / 1e6);
    return KY_REFUSE;
}

/* Samples that are missing before this one, by its number and by its time; 0 where they are not to
 * be filled in. */
static uint32_t missing(const ky_class_cfg *c, const ky_known *k, const ky_record *r, bool counted)
{
    uint64_t n = 0, most = KY_FILL_BYTES / (r->features * sizeof(float));
    bool arrival = r->flags & KY_RESUMED && r->time_source == KY_TIME_ARRIVAL;

    if (c->on_gap != KY_GAP_HOLD || k->held == NULL || k->ended ||
        r->flags & (KY_START | KY_RESET | KY_LATE))
        return 0;
    if (counted && k->window.high != KY_NONE && r->seq > k->window.high)
        n = apart(r->seq, k->window.high) - 1;
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
static void fill_in(const ky_known *k, ky_record *r, uint32_t n)
{
    float *x = (float *)(uintptr_t)ky_record_x(r);
    size_t row = r->features * sizeof(float);

    if (n == 0)
        return;
    memmove(x + (size_t)n * r->features, x, r->body_len);
    for (uint32_t i = 0; i < n; i++)
        memcpy(x + (size_t)i * r->features, k->held, row);
    r->filled = n;
    r->steps += n;
    r->body_len += (uint32_t)(n * row);
    r->size = (uint32_t)ky_record_size(r->sender_len, r->stream_len, r->text_len, r->body_len);
    memset((char *)x + r->body_len, 0, ky_pad8(r->body_len) - r->body_len);
}

static void take_sample(ky_books *b, ky_known *k, ky_record *r, bool counted)
{
    r->flags |= (uint16_t)((counted ? KY_COUNTED : 0) | (k->era == b->era ? 0 : KY_RESUMED));
    fill_in(k, r, missing(&b->cfg->classes[r->class_], k, r, counted));
    r->n = k->n + 1;
    k->era = b->era;
    ky_books_sample(b, r);
}

enum ky_verdict ky_books_judge(ky_books *b, bool counted, uint32_t holes, ky_record *r,
                               enum ky_seen *ret_seen, char *ret_reason)
{
    static const ky_known nobody = { .ts_us = KY_NONE, .window = { .high = KY_NONE } };
    ky_known *k;
    enum ky_verdict is = find_stream(b, r, &k, ret_reason);
    const ky_known *was = k != NULL ? k : &nobody;

    *ret_seen = KY_SEEN_NEXT;
    counted = counted && r->type == KY_REC_SAMPLE && r->seq != KY_NONE;
    if (is == KY_TAKE && r->type == KY_REC_SAMPLE)
        is = judge_order(&b->cfg->classes[r->class_], was, r, counted, ret_seen, ret_reason);
    if (is == KY_TAKE && holes > 0 && !fill_holes(was, r)) {
        snprintf(ret_reason, KY_REASON, "%u values are missing and there are no earlier ones",
                 holes);
        is = KY_REFUSE;
    }
    if (is != KY_TAKE)
        return is;
    if (k == NULL)
        k = ky_books_add_stream(b, b->n_streams, r->class_, ky_record_stream(r), r->stream_len);
    r->stream = (uint32_t)(k - b->streams);
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
