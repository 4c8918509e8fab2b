/*
 * The reorder buffer of a source that promises nothing (pull, sub): its records wait in their
 * queue for a while, so that those of one stream can be taken in the order of their times. What is
 * decided here is decided before the journal (PROTOCOL.md E1). The accept thread's.
 *
 * Places leave in the order in which their records came; within a stream the records change places
 * until their times ascend. A record waits `hold`, or, behind other streams' places, at most twice
 * that; less when its stream's own time has gone on by `hold`, or when there is no more room.
 */
#ifndef KY_REORDER_H
#define KY_REORDER_H

#include "daemon/accept.h"
#include "daemon/queue.h"

typedef struct ky_reorder ky_reorder;

/** @param q  the source's queue, whose consumer this is from now on */
int ky_reorder_new(ky_queue *q, int64_t hold_us, ky_reorder **ret, ky_err *err);
void ky_reorder_free(ky_reorder *o);

/** The next record to take, borrowed until the next call; NULL: none is due, *ret_left_ns becomes
 *  the time until one is, if that is less. Of a queue that is closed all are due. */
const ky_arrival *ky_reorder_next(ky_reorder *o, int64_t now_ns, int64_t *ret_left_ns);

/** Whether the queue is closed and all has been given away. */
bool ky_reorder_ended(ky_reorder *o);

#endif
