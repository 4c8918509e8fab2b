/*
 * The archive: sealed journal files become whole HDF5 segments, one a file and class
 * (DESIGN 4.5): op, x, stream, streams, n, seq, ts, label, flags, state0; attributes class_names,
 * features, kymo_version. Written under a temporary name, synced, renamed, so a file
 * that exists is whole. Any one thread at a time.
 */
#ifndef KY_ARCHIVE_H
#define KY_ARCHIVE_H

#include "storage/journal.h"
#include "storage/results.h"

/**
 * Makes the segments of one sealed file for every class in `classes` that asks for it, registers
 * them in results (segments). Doing it again is harmless.
 *
 * @param dir      archive/ in the state directory
 * @param classes  names of classes by number, as in the file's CONFIG record; NULL entries are not
 * archived
 * @param labels   per class: its class names, for label numbers
 */
typedef struct ky_archive_class {
    const char *name;
    bool archive;
    const char *const *labels;
    int n_labels;
    const char *const *features;
    int n_features;
} ky_archive_class;

int ky_archive_seal(const char *dir, const ky_journal_file *file, const ky_archive_class *classes,
                    int n_classes, ky_results *r, ky_err *err);

/* One sequence found in the archive: the samples from a start to an end of one stream. */
typedef struct ky_sequence {
    const char *stream;
    int64_t first_n, last_n, ts_us; /* ts of its last sample */
    const char *label;              /* of its last labelled step; NULL without */
    int steps, features;
    const float *x; /* [steps, features], borrowed for the call */
} ky_sequence;

/** Reads segments (oldest first, in order of time) and gives each sequence: from a start flag, or
 * the stream's first sample, to an end flag, the next start, or the end of the data; sequences
 * cross segments. `late_label` may supply labels that came later (NULL result: none); may be NULL.
 */
int ky_archive_each_sequence(const char *const *paths, int n_paths,
                             const char *(*late_label)(const char *stream, int64_t n, void *arg),
                             int (*fn)(const ky_sequence *s, void *arg, ky_err *err), void *arg,
                             ky_err *err);

#endif
