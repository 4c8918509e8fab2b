/*
 * Which streams of a lane have their state in memory. One that was not used for idle_timeout, or
 * longest when states take more than the lane's part of max_memory, has it in results.db alone,
 * and gets it back, the same bytes, when its next record is at hand: no answer depends on it
 * (PROTOCOL.md E3). The lane's thread.
 */
#ifndef KY_PAGER_H
#define KY_PAGER_H

#include "daemon/core.h"
#include "daemon/stream.h"

typedef struct ky_pager ky_pager;

/** Opens results.db for reading. */
int ky_pager_new(ky_pipeline *p, ky_pager **ret, ky_err *err);
void ky_pager_free(ky_pager *g);

/** The stream, which has a state in memory, was used now. */
void ky_pager_used(ky_pager *g, ky_stream *s, int64_t now_ns);

/** Whether another state of so many bytes would be too much. */
bool ky_pager_full(const ky_pager *g, size_t bytes);

/** Takes out what is not to stay, but what is dirty or has records waiting. Only while every other
 *  state is committed as it is. */
void ky_pager_out(ky_pager *g, int64_t now_ns);

/** The stream leaves memory whole. */
void ky_pager_gone(ky_pager *g, ky_stream *s);

/** results.db, for reading. */
struct ky_results *ky_pager_results(const ky_pager *g);

/** The states of it that were taken out, if any. A results.db that does not have them ends the
 *  process. */
void ky_pager_in(ky_pager *g, ky_stream *s);

#endif
