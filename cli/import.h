/*
 * The parts of `kymo import`: other people's files become the HDF5 layout that `kymo train` reads.
 *
 *   import_files.c   which files are meant, to which part and class each belongs
 *   import_NAME.c    a format: files to rows (a row of the table in import_run.c)
 *   import_sink.c    rows to datasets: classes, lengths, groups, parts, what is missing
 *   import_run.c     the passes
 *   import.c         the command
 *
 * A format reads all files once a pass, and gives the same rows each time. In the first the sink
 * learns how many rows there are, of which lengths, labels and groups, so that nothing but a few
 * bytes a row need be held in memory; then it knows which part each row is for, and text counts
 * its words; in the last the values are written. All of it belongs to one thread.
 */
#ifndef KY_IMPORT_H
#define KY_IMPORT_H

#include "cli/bytes.h"
#include "models/h5.h"
#include "models/sample.h"
#include "models/vocabulary.h"

enum ky_import_part { KY_IMPORT_WHOLE, KY_IMPORT_TRAIN, KY_IMPORT_TEST, KY_IMPORT_PARTS };

enum ky_import_pass { KY_IMPORT_SCAN, KY_IMPORT_LEARN, KY_IMPORT_WRITE };

/* What is done with a value that is not there. */
enum ky_import_missing { KY_MISSING_NAN, KY_MISSING_LINEAR, KY_MISSING_DROP };

typedef struct ky_import_opts {
    const char *out; /* NULL: everything is read and checked, nothing written */
    const char *format;
    bool numbers; /* labels are numbers to answer, not classes */
    enum ky_import_missing missing;
    double split; /* share of the rows for a test part, 0: none */
    uint64_t seed;
    int64_t length; /* steps of a row: longer ones are cut, shorter ones filled; 0: the longest */
    /* tables */
    const char *label, *time, *time_unit, *group, *features;
    int64_t window, hop, gap_us;
    /* text */
    const char *vocabulary; /* a file of words, or NULL: those of the training part */
    int64_t words;          /* numbers that the vocabulary has at most */
    enum ky_standardize standardize;
    bool at_start;
    /* sound */
    int64_t bands, frames, fft; /* bands 0: the samples; hop: samples from frame to frame */
    double low_hz, high_hz;     /* high_hz 0: half the rate */
    /* images */
    int64_t height, width; /* 0: their own */
    bool grey;
    /* named files */
    const char *name; /* where label and group stand in a file's name, "{label}_{group}_{}" */
    void (*progress)(void *arg, double done, double total);
    void *arg;
} ky_import_opts;

typedef struct ky_sink ky_sink;
typedef struct ky_import ky_import;

/* -- files ------------------------------------------------------------------------------------ */

typedef struct ky_import_file {
    char *path;
    const char *base;         /* its name without folders, in path */
    char *folder;             /* the folder below the source that it lies in: its class; NULL */
    enum ky_import_part part; /* as its name or folder says */
    bool named;               /* by the user; others of a folder may be of any format */
} ky_import_file;

typedef struct ky_import_files {
    ky_import_file *file; /* [n] folders in order of their names, files too */
    int n, cap;
    int left_out; /* in folders, of other formats */
} ky_import_files;

/** What the words name: files, and all files below folders. A single file of a training part
 *  brings the test part that lies beside it under the same name. */
int ky_import_find(const char *const *words, int n, ky_import_files *ret, ky_err *err);
/** Parts are said of all files or of none; a training or test part alone is no part. */
int ky_import_check_parts(ky_import_files *f, ky_err *err);
void ky_import_files_free(ky_import_files *f);
/**
 * Label and group of a file that is one row: what --name finds in its name, else the folder as the
 * label, else what stands before the first _ of the name. Both to be freed; *ret_group NULL: none.
 */
int ky_import_label(const ky_import *im, const ky_import_file *f, char **ret_label,
                    char **ret_group, ky_err *err);

/* -- rows ------------------------------------------------------------------------------------- */

typedef struct ky_import_row {
    enum ky_import_part part; /* all rows of a source are WHOLE, or none */
    const void *x;     /* [steps,...]; may be NULL before the last pass where none of its values
                          can be missing */
    int steps;         /* 0: as the shape says */
    const char *label; /* NULL: none */
    const char *group; /* NULL: none */
    int64_t from_us, ts_us; /* of its first and its last sample; KY_NONE: none */
} ky_import_row;

/**
 * Say what rows are; again for each file, where it must be the same.
 *
 * @param dims  [rank] of a row; dims[0] 0: steps are each row's own
 */
int ky_sink_shape(ky_sink *s, enum ky_h5_type type, int rank, const uint64_t *dims, ky_err *err);
/** Names of the values of a step; [n]. */
int ky_sink_features(ky_sink *s, const char *const *names, size_t n, ky_err *err);
/** The next class in the order that the source lists them; otherwise they are sorted. */
int ky_sink_class(ky_sink *s, const char *name, ky_err *err);
int ky_sink_row(ky_sink *s, const ky_import_row *row, ky_err *err);

enum ky_import_pass ky_sink_pass(const ky_sink *s);
/** The part that the next row is for, behind the first pass. */
enum ky_import_part ky_sink_part(const ky_sink *s);
/** The file that is written, for attributes; NULL in all but the last pass, or if none is. */
ky_h5 *ky_sink_file(ky_sink *s);
void ky_sink_say(ky_sink *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* What came of it. */
typedef struct ky_import_report {
    const char *format;
    int files, left_out;
    enum ky_h5_type type;
    int rank;
    uint64_t dims[KY_H5_RANK]; /* of a row */
    int shortest, longest;     /* steps, before anything was cut; equal: all rows alike */
    int64_t rows[KY_IMPORT_PARTS];
    int n_classes;
    char **classes;  /* [n_classes] owned */
    int64_t *counts; /* [n_classes,KY_IMPORT_PARTS] owned */
    int n_groups;
    int64_t missing;    /* values that are not there */
    int64_t dropped;    /* rows left out because of them */
    int64_t straddling; /* and because they share samples with the training part */
    char note[256];
} ky_import_report;

ky_sink *ky_sink_new(const ky_import_opts *o);
void ky_sink_free(ky_sink *s);
/** Begin a pass; behind the first one splits the rows and opens the file. */
int ky_sink_begin(ky_sink *s, enum ky_import_pass pass, ky_err *err);
/** Everything is in place when this returns KY_OK. */
int ky_sink_finish(ky_sink *s, ky_import_report *ret, ky_err *err);

/* -- formats ---------------------------------------------------------------------------------- */

struct ky_import {
    const ky_import_opts *o;
    const ky_import_files *files;
    void *own; /* what a format keeps from pass to pass */
};

typedef struct ky_format {
    const char *name, *brief;
    /** Whether a file is one, by its name and its first bytes, unpacked. */
    bool (*is)(const char *base, const char *head, size_t n);
    /** Every row of every file into the sink. */
    int (*read)(ky_import *im, ky_sink *s, ky_err *err);
    void (*done)(void *own); /* NULL: nothing is kept */
    bool learns;             /* it wants the pass between the first and the last */
} ky_format;

extern const ky_format ky_import_ts, ky_import_tsv, ky_import_idx, ky_import_text,
    ky_import_csv_long, ky_import_csv_wide, ky_import_wav, ky_import_image;

/** The formats, ending with NULL. */
extern const ky_format *const ky_import_formats[];

/** All of it. KY_EUNSUPPORTED: no format knows the files. */
int ky_import_run(const ky_import_opts *o, const char *const *words, int n, ky_import_report *ret,
                  ky_err *err);
void ky_import_report_done(ky_import_report *r);

/** Whether a name ends so, whatever the case, a last .gz aside. */
bool ky_import_ends(const char *base, const char *end);

#endif
