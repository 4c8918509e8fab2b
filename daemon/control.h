/*
 * The control socket: a ZeroMQ REP on ipc://<runtime dir>/control, answered by a thread
 * of its own. A request is one JSON object, the answer is one:
 *
 *     {"cmd":"status"}                 -> {"ok":true,"status":{...}}
 *     {"cmd":"retrain","model":NAME}   -> {"ok":true,"request":7}
 *     anything else                    -> {"ok":false,"error":"..."}
 *
 * Who may connect is decided by the file's permissions: owner and group.
 */
#ifndef KY_CONTROL_H
#define KY_CONTROL_H

#include "daemon/notify.h"
#include "models/error.h"
#include "models/json.h"

typedef struct ky_control ky_control;

/* What is asked for; called by the control thread. */
typedef struct ky_control_ops {
    ky_json *(*status)(void *arg); /* an object, ours to free */
    /** Asks for a retraining; *ret_request is its number. Refused: err says why. */
    int (*retrain)(const char *model, uint64_t *ret_request, void *arg, ky_err *err);
    void *arg;
} ky_control_ops;

/**
 * @param dir    where the socket is made; made itself if absent, mode 0750
 * @param heart  beaten by the thread; borrowed until stop
 */
int ky_control_start(const char *dir, const ky_control_ops *ops, ky_heart *heart, ky_control **ret,
                     ky_err *err);

/** NULL is fine. The socket's file is removed. */
void ky_control_stop(ky_control *c);

/** The answer to a request, for tests and fuzzing: text on the heap, never NULL but without memory.
 */
char *ky_control_answer(const ky_control_ops *ops, const char *request, size_t len);

#endif
