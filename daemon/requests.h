/*
 * What other threads ask of the accept stage: a mailbox. Whoever asks waits for the answer, but
 * for events, which are only left there.
 */
#ifndef KY_REQUESTS_H
#define KY_REQUESTS_H

#include <pthread.h>
#include <stdatomic.h>

#include "daemon/queue.h"
#include "storage/record.h"

enum ky_ask { KY_ASK_SWAP, KY_ASK_SEAL, KY_ASK_OFFSET, KY_ASK_EVENT };

typedef struct ky_request {
    enum ky_ask what;
    ky_swap swap;
    int source; /* OFFSET: of this source's partition, how far it was taken */
    const char *key;
    int64_t offset;
    char *event[4]; /* level, object, what, detail */
    int rc;
    ky_err err;
    bool done;
    struct ky_request *next;
} ky_request;

typedef struct ky_requests {
    pthread_mutex_t lock;
    pthread_cond_t answered;
    ky_request *first, **last;
    _Atomic bool any;
    bool closed;
    ky_bell *bell; /* rings for a request */
} ky_requests;

void ky_requests_init(ky_requests *m, ky_bell *bell);
void ky_requests_done(ky_requests *m);

/* -- any thread -- */

/** Asks and waits. KY_EBUSY: closed. */
int ky_requests_ask(ky_requests *m, ky_request *q, ky_err *err);
/** Leaves an event; copies it. */
void ky_requests_event(ky_requests *m, const char *level, const char *object, const char *what,
                       const char *detail);

/* -- the accept stage -- */

/** All there are, in order; NULL if there are none. */
ky_request *ky_requests_take(ky_requests *m);
/** The answer; q is not to be touched any more. Frees an event. */
void ky_requests_answer(ky_requests *m, ky_request *q, int rc);
/** Nobody can ask any more. */
void ky_requests_close(ky_requests *m);

#endif
