/*
 * Retraining: when it is time, or somebody asks, the journal's present file is sealed, and a
 * child process `kymo train` learns from the archive's segments, goes on from the running
 * version (the champion), and scores both on the same sequences held back. A better one
 * becomes the next version in the store and takes over at a wave boundary. Every verdict
 * is a row in `retrains`. One training at a time, in a thread of its own; the child runs at the
 * lowest priority, is ended when it takes too long or kymod stops, and dies with kymod.
 */
#ifndef KY_RETRAIN_H
#define KY_RETRAIN_H

#include "daemon/archiver.h"
#include "daemon/config.h"
#include "models/json.h"

typedef struct ky_retrainer ky_retrainer;

/* What retraining needs of the pipeline. Called by the retraining thread. */
typedef struct ky_retrain_ops {
    uint32_t (*version)(const char *model, void *arg); /* that new starts use; 0: unknown */
    int (*seal)(void *arg, ky_err *err);               /* the journal's present file */
    int (*swap)(const char *model, uint32_t version, uint64_t hash, int policy, void *arg,
                ky_err *err);
    void *arg;
} ky_retrain_ops;

typedef struct ky_retrain_opts {
    const ky_config *cfg;  /* borrowed until stop */
    ky_archiver *archiver; /* likewise; NULL: there is no journal, and all requests are refused */
    const char *program;   /* kymo; NULL: beside this program, ../bin, or where it was installed */
    ky_retrain_ops ops;
} ky_retrain_opts;

int ky_retrainer_start(const ky_retrain_opts *o, ky_retrainer **ret, ky_err *err);

/** A training that runs is ended, without a verdict. NULL is fine. */
void ky_retrainer_stop(ky_retrainer *t);

/**
 * Asks for a training. Any thread.
 *
 * @param ret_number  of the request: it is done when the model's "request" in the status has come
 *                    this far
 * @return KY_ENOENT: no such model; KY_EINVAL: its classes are not archived
 */
int ky_retrainer_request(ky_retrainer *t, const char *model, uint64_t *ret_number, ky_err *err);

/** {"running":NAME|null,"models":{NAME:{"request":7,"verdict":..,"reason":..,...}}}: the last
 *  verdict of each; the caller's to free. Any thread. */
ky_json *ky_retrainer_status(ky_retrainer *t);

#endif
