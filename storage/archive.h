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

/* One sequence found in the archive, the samples from a start to an end of one stream, as far as it
 * has been read. */
typedef struct ky_sequence {
    const char *stream;
    uint32_t number; /* of its stream, from 0 in the order of sight */
    int64_t first_n, last_n;
    int64_t first_ts_us, ts_us; /* of its first sample and of its last */
    int steps, features;
    bool starts, ends; /* it begins where the stream or sequence began; it is known to be over */
} ky_sequence;

/* Longer sequences are given in parts. */
enum { KY_SEQUENCE_MAX = 1 << 20 };

/* Who is told of sequences as they are read; those of several streams take turns. Anything but zero
 * stops the reading. */
typedef struct ky_archive_visitor {
    /** Its latest step: x [features], borrowed for the call; the label that came with it, or NULL.
     */
    int (*step)(const ky_sequence *s, const float *x, const char *label, void *arg, ky_err *err);
    /** Its latest step has this label after all. NULL: not asked for. */
    int (*label)(const ky_sequence *s, const char *label, void *arg, ky_err *err);
    /** Nothing is to come. NULL: not asked for. */
    int (*over)(const ky_sequence *s, void *arg, ky_err *err);
    bool no_values; /* x is not read, and NULL */
} ky_archive_visitor;

/**
 * Reads segments of one class in the journal's order and tells of each sequence: from a start or
 * reset, or the first step found, to an end, the next start, a hole in the step numbers, or the end
 * of the data. Sequences cross segments. Nothing of them is kept in memory. Read again, the same
 * segments give the same.
 *
 * @return KY_OK, or what made it stop
 */
int ky_archive_read(const char *const *paths, int n_paths, const ky_archive_visitor *visitor,
                    void *arg, ky_err *err);

#endif
