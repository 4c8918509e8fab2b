#include "daemon/stream.h"

#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "daemon/core.h"

void ky_window_init(ky_window *w)
{
    *w = (ky_window){ .high = KY_NONE };
}

enum ky_seen ky_window_look(const ky_window *w, int64_t seq)
{
    if (w->high == KY_NONE)
        return KY_SEEN_NEXT;
    /* Unsigned, as the distance of two int64 may not fit one. */
    if (seq > w->high)
        return (uint64_t)seq - (uint64_t)w->high == 1 ? KY_SEEN_NEXT : KY_SEEN_GAP;
    uint64_t below = (uint64_t)w->high - (uint64_t)seq;

    if (below >= 64)
        return KY_SEEN_ANEW;
    return w->mask >> below & 1 ? KY_SEEN_DUPLICATE : KY_SEEN_LATE;
}

enum ky_seen ky_window_take(ky_window *w, int64_t seq)
{
    enum ky_seen seen = ky_window_look(w, seq);

    switch (seen) {
    case KY_SEEN_NEXT:
    case KY_SEEN_GAP: {
        uint64_t up = w->high == KY_NONE ? 64 : (uint64_t)seq - (uint64_t)w->high;

        w->mask = (up >= 64 ? 0 : w->mask << up) | 1;
        w->high = seq;
        break;
    }
    case KY_SEEN_LATE:
        w->mask |= 1ull << ((uint64_t)w->high - (uint64_t)seq);
        break;
    case KY_SEEN_ANEW:
        w->epoch++;
        w->mask = 1;
        w->high = seq;
        break;
    case KY_SEEN_DUPLICATE:
    case KY_SEEN_SET_BACK: /* the numbers do not say that */
        break;
    }
    return seen;
}

const ky_aside ky_aside_none = { .window.high = KY_NONE };
const ky_rare ky_rare_none = { .unsaid = 0 };

ky_rare *ky_strand_set_rare(ky_strand *d)
{
    if (d->rare == NULL && (d->rare = calloc(1, sizeof(*d->rare))) == NULL)
        ky_core_die(EX_OSERR, "lane", "no memory for more streams");
    return d->rare;
}

ky_aside *ky_stream_set_aside(ky_stream *s)
{
    size_t more = (size_t)s->n_models - 1;

    if (s->aside != NULL)
        return s->aside;
    s->aside = calloc(1, sizeof(*s->aside) + more * sizeof(s->aside->more[0]));
    if (s->aside == NULL)
        ky_core_die(EX_OSERR, "lane", "no memory for more streams");
    ky_window_init(&s->aside->window);
    return s->aside;
}

ky_extra_parts ky_extra_read(const void *extra, size_t len, int features)
{
    ky_extra_parts x = { .is.label = KY_EXTRA_NONE };
    const char *at = extra;

    if (extra == NULL || len < sizeof(x.is))
        return x;
    memcpy(&x.is, at, sizeof(x.is));
    at += sizeof(x.is);
    len -= sizeof(x.is);
    if (x.is.answered) {
        x.is.answered = len >= sizeof(x.answer);
        memcpy(&x.answer, at, x.is.answered ? sizeof(x.answer) : 0);
        size_t size = sizeof(x.answer) + x.answer.outputs * sizeof(float);

        if (!x.is.answered || len < size) {
            x.is.answered = false;
            return x;
        }
        x.y = at + sizeof(x.answer);
        at += size;
        len -= size;
    }
    if (len > 0 && len == (size_t)features * sizeof(float))
        x.held = at;
    return x;
}
