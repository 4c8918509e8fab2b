/*
 * Which streams are in memory: of each class max_streams at most. Beyond it the one that was used
 * longest ago leaves the accept stage's table and its lane, as soon as all that was done to it is
 * committed, and comes back from results.db when it is heard again: no answer depends on it
 * (PROTOCOL.md E3). Where none can leave yet, the source waits that asked for room, and no other.
 *
 * A name that never was costs a look at a filter, not at results.db. The accept thread; during
 * recovery the main one.
 */
#ifndef KY_SPILL_H
#define KY_SPILL_H

#include "daemon/core.h"
#include "daemon/roster.h"
#include "storage/record.h"
#include "storage/results.h"

typedef struct ky_spill ky_spill;

/** Opens results.db for reading. @param leave  tells a stream's lane that it leaves memory */
int ky_spill_new(ky_pipeline *p, ky_roster *t, void (*leave)(void *arg, const ky_known *k),
                 void *arg, ky_spill **ret, ky_err *err);
void ky_spill_free(ky_spill *s);

/** A stream that results.db has: into memory, or noted as one that is not.
 *  @param in_memory  false: there are too many that were used later */
void ky_spill_restore(ky_spill *s, const ky_saved_stream *saved, int class_, bool in_memory);

enum ky_at_hand {
    KY_HERE,    /* it is in memory */
    KY_NOWHERE, /* it never was; there is room for it */
    KY_OVER,    /* it is in memory; silence has ended its sequence: that is to be written first */
    KY_NO_ROOM, /* not before something is committed; nothing was changed */
};
/** Looks for a record's stream, in memory and out of it.
 *
 *  @param ret_asked  results.db was asked */
enum ky_at_hand ky_spill_fetch(ky_spill *s, const ky_record *r, bool *ret_asked);

/** Up to where a lane must have committed before there is room; 0: nobody waits for it. Once for
 *  each want. */
uint64_t ky_spill_wants(ky_spill *s, int lane);

/** All streams were changed by a record that ends here. */
void ky_spill_all_changed(ky_spill *s, uint64_t pos);

/** Something other than a label was taken of it: before ky_roster_heard. */
void ky_spill_heard(ky_spill *s, const ky_known *k);
/** All streams in a sequence that are not in memory count as heard now: the start. */
void ky_spill_hear_all(ky_spill *s, int64_t now_ns);
/** The time is this, before anything is taken. */
void ky_spill_look(ky_spill *s, int64_t now_ns);
/** As ky_roster_silent, of those that were not heard since they left memory; the stream is in
 *  memory then, if there is room for it.
 *  @param looks  into results.db that may be made; counted down */
ky_known *ky_spill_silent(ky_spill *s, int64_t now_ns, int *looks, int64_t *ret_left_ns);
/** Classes of which one was to end just now and had no room. */
int ky_spill_waiting(const ky_spill *s);

#endif
