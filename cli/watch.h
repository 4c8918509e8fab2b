/*
 * What a person sees of a training: on a terminal a bar and a line for each epoch, elsewhere the
 * lines alone, as key=value; and the history, a file that can be looked at while it runs.
 */
#ifndef KY_WATCH_H
#define KY_WATCH_H

#include "cli/cli.h"
#include "models/train.h"

typedef struct ky_watch {
    bool quiet;
    const char *history;  /* file.csv or file.json; NULL: none */
    double learning_rate; /* of epochs whose history tells none: it never changed */
    /* private */
    ky_progress bar; /* of an epoch */
    char title[32];
    double *seconds; /* [most] of each epoch that was seen; NaN before a --resume */
    int most;
    int epoch, before; /* the one that runs; those that were over before, of a --resume */
    double epoch_began_s;
    int64_t written_ns;
    bool failed;
} ky_watch;

/** Whether a history may have this name: it ends in .csv or .json. */
bool ky_watch_takes(const char *history);

/** Write a history without epochs, so that a file that cannot be written is told before the work.
 *  measure: "accuracy" or "mae". */
int ky_watch_begin(ky_watch *w, const char *measure, ky_err *err);

/** ky_train_opts.progress; arg is the ky_watch. Nonzero after an interrupt. */
int ky_watch_show(const ky_train_progress *p, void *arg);

/** All that was not shown and written yet; ret may be NULL after a failure. */
void ky_watch_end(ky_watch *w, const ky_train_result *ret);

#endif
