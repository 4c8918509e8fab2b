/*
 * kymo streams: what results.db, the journal and the archive know of kymod's streams. Reading
 * only, also while kymod runs.
 */
#ifndef KY_STREAMS_H
#define KY_STREAMS_H

#include <stdbool.h>
#include <stdint.h>

#include "models/error.h"

typedef struct ky_streams_opts {
    const char *dir, *db; /* the state directory and results.db in it */
    const char *class_name, *id;
    int64_t limit; /* rows of a table */
    bool json, values;
} ky_streams_opts;

/** One stream: its state, recent samples and answers, gaps, rejects, events. */
int ky_streams_one(const ky_streams_opts *o, ky_err *err);

#endif
