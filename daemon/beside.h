/*
 * What goes on beside the pipeline, which does not wait for it: the archive thread,
 * retraining, and the control socket through which people ask for things. Started when
 * the pipeline serves, stopped before it stops. Main thread.
 */
#ifndef KY_BESIDE_H
#define KY_BESIDE_H

#include "daemon/config.h"
#include "daemon/notify.h"
#include "daemon/pipeline.h"

typedef struct ky_beside ky_beside;

/**
 * @param cfg, p  borrowed until stop
 * @param w       gets the control thread's heart; may be NULL; not asked any more after stop
 */
int ky_beside_start(const ky_config *cfg, ky_pipeline *p, ky_watchdog *w, ky_beside **ret,
                    ky_err *err);

/** Ends a training without a verdict, finishes the segment at hand. NULL is fine. */
void ky_beside_stop(ky_beside *b);

#endif
