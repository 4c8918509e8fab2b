/*
 * The archive: sealed journal files become whole HDF5 segments, one a file and class
 * (DESIGN 4.5), written under a temporary name, synced, renamed, so a file that exists is whole.
 * Any one thread at a time.
 *
 * A segment `archive/<class>/<utc>-<first position>.h5`: rows are steps, in the journal's order.
 *
 *     op [N] u8          record type: 1 sample, 2 label, 3 end, 4 forget
 *     x [N,F] f32        zeros where op is not sample
 *     stream [N] u32     index into `streams` [S] str
 *     n, seq, ts [N] i64 kymo's step number; the sender's; microseconds UTC. INT64_MIN: none.
 *                        The T steps of one message have its seq and ts.
 *     label [N] i32      index into class_names, -1 none; a message's is its last step's
 *     flags [N] u32      ky_sample_flag; a start is its message's first step's, an end the last's
 *     state0/            the states of its streams before its first record: stream u32,
 *                        model str, version u32, n i64, start_n i64, layout u64, ended u8;
 *                        offset u64 says where each begins in data u8
 *
 * Attributes: class, class_names (the model's, then others that came), features, kymo_version,
 * journal_first, journal_end.
 */
#ifndef KY_ARCHIVE_H
#define KY_ARCHIVE_H

#include "storage/journal.h"
#include "storage/results.h"

/* What the archive must know of a class. */
typedef struct ky_archive_class {
    const char *name;
    bool archive;
    const char *const *labels;
    int n_labels;
    const char *const *features;
    int n_features;
} ky_archive_class;

/**
 * Makes the segments of one sealed file for every class in `classes` that asks for it and has rows
 * in it, registers them in results (segments). Doing it again is harmless: a segment that is
 * registered and there stays as it is. The caller has made sure that every stream has applied the
 * file (ky_results_applied), else state0 is not complete, and drops the file's state0 rows
 * afterwards.
 *
 * @param dir      archive/ in the state directory, made if absent
 * @param classes  [n_classes] by number, as in the file's CONFIG record
 */
int ky_archive_seal(const char *dir, const ky_journal_file *file, const ky_archive_class *classes,
                    int n_classes, ky_results *r, ky_err *err);

/* The label of one step of a sequence, 0 being its first. */
typedef struct ky_mark {
    int step;
    const char *label;
} ky_mark;

/* One sequence found in the archive: the samples from a start to an end of one stream. */
typedef struct ky_sequence {
    const char *stream;
    int64_t first_n, last_n;
    int64_t first_ts_us, ts_us; /* of its first sample and of its last */
    const char *label;          /* of its last labelled step; NULL without */
    int steps, features;
    bool starts, ends;    /* it begins where the stream or sequence began; it is known to be over */
    const float *x;       /* [steps, features], borrowed for the call */
    const ky_mark *marks; /* [n_marks] its labelled steps, ascending, borrowed likewise */
    int n_marks;
} ky_sequence;

/* Longer sequences are given in parts. */
enum { KY_SEQUENCE_MAX = 1 << 20 };

/**
 * Reads segments of one class in the journal's order and gives each sequence: from a start or
 * reset, or the first step found, to an end, the next start, a hole in the step numbers, or the end
 * of the data. Sequences cross segments. Stops at fn's first nonzero, returned.
 *
 * @param late_label  asked for every step: a label that came later, which takes the place of one
 * that came with the step; NULL result: none; may be NULL. Gets `arg` too.
 */
int ky_archive_each_sequence(const char *const *paths, int n_paths,
                             const char *(*late_label)(const char *stream, int64_t n, void *arg),
                             int (*fn)(const ky_sequence *s, void *arg, ky_err *err), void *arg,
                             ky_err *err);

#endif
