/*
 * The page that --report writes: how a model was trained, what its answers are worth, where both
 * come from. One file, index.html, that needs nothing else.
 */
#ifndef KY_REPORT_H
#define KY_REPORT_H

#include "cli/scoring.h"

typedef struct ky_report {
    const char *dir;
    const char *path;    /* of the model */
    const ky_model *m;   /* its origin tells the history and the options */
    const ky_scoring *s; /* NULL or without rows: it was not scored */
    int argc;            /* the command line, from the subcommand on */
    char *const *argv;
} ky_report;

/** Make the folder, if need be; KY_EIO if nothing can be written there. */
int ky_report_prepare(const char *dir, ky_err *err);

/** Write the page; it is put in its place whole. */
int ky_report_write(const ky_report *r, ky_err *err);

#endif
