/*
 * Intake: one thread a source. It receives messages, has the codec decode them, finds the class
 * of streams and checks the number of values, and puts records into its queue to the accept stage,
 * which waits for room when that is full: then the transport's own queue fills, and the sender
 * waits. Or, by `when_full`, it loses some (shelf.h). What is wrong becomes a REJECT record in the
 * message's place, with its first bytes.
 * Acknowledgements come back through a second queue.
 */
#ifndef KY_INTAKE_H
#define KY_INTAKE_H

#include "connectors/source.h"
#include "daemon/core.h"
#include "daemon/notify.h"

typedef struct ky_intake ky_intake;

/** Makes the queues and connects them to the accept stage. */
int ky_intake_new(ky_pipeline *p, int source, ky_intake **ret, ky_err *err);
/** Opens the source, in its own thread. KY_EBUSY: the endpoint is taken. */
int ky_intake_start(ky_intake *i, ky_err *err);
/** Take nothing new: closes the queue to the accept stage; acknowledgements still go out. */
void ky_intake_close(ky_intake *i);
/** Nothing more will be acknowledged: send what there is, close the source. */
void ky_intake_join(ky_intake *i);
void ky_intake_free(ky_intake *i);

/** Beats while the thread lives. */
const ky_heart *ky_intake_heart(const ky_intake *i);

/** Answers wait for it, or the end: its recv returns. Any thread. */
void ky_intake_wake(ky_intake *i);

const char *ky_intake_address(const ky_intake *i);
size_t ky_intake_fill(const ky_intake *i, size_t *ret_bytes);
/** Messages that `when_full` has dropped. */
uint64_t ky_intake_dropped(const ky_intake *i);

/** The class of a stream from this source: the first whose sources and glob fit; -1 for none. */
int ky_intake_class(const ky_config *cfg, int source, const char *stream, size_t len);

#endif
