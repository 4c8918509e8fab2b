#include "daemon/stream.h"

#include <string.h>

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

const void *ky_extra_read(const void *extra, size_t len, int features, ky_extra *ret)
{
    *ret = (ky_extra){ .label = KY_EXTRA_NONE };
    if (extra == NULL || len < sizeof(*ret))
        return NULL;
    memcpy(ret, extra, sizeof(*ret));
    return len - sizeof(*ret) == (size_t)features * sizeof(float)
               ? (const char *)extra + sizeof(*ret)
               : NULL;
}
