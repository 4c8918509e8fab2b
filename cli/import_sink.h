/*
 * The inside of the sink that readers of other people's files give their rows to: import_sink.c
 * takes and writes them, import_settle.c decides between the passes what becomes of each.
 */
#ifndef KY_IMPORT_SINK_H
#define KY_IMPORT_SINK_H

#include "cli/import.h"
#include "cli/names.h"

#define KY_SINK_ROW ((size_t)1 << 30) /* bytes of a row, at most */

/* What is known of a row. */
typedef struct ky_sink_fact {
    int32_t label, group; /* -1: none */
    int32_t steps;
    uint8_t part; /* that it is written to; KY_IMPORT_PARTS: to none */
    int64_t from_us, ts_us;
} ky_sink_fact;

/* Rows on their way into a dataset. */
typedef struct ky_sink_block {
    unsigned char *rows;
    uint64_t n, most;
} ky_sink_block;

struct ky_sink {
    const ky_import_opts *o;
    enum ky_import_pass pass;
    /* of a row */
    enum ky_h5_type type;
    int rank;
    uint64_t dims[KY_H5_RANK]; /* dims[0] is T once the first pass is over */
    bool shaped, varying, padded;
    size_t step; /* bytes of a step */
    int shortest, longest;
    ky_names labels, groups;
    int listed; /* labels that the source listed */
    char **features;
    size_t n_features;
    ky_sink_fact *fact; /* [n] */
    size_t n, cap, at;  /* at: the next row of this pass */
    float *target;      /* [n] where labels are numbers */
    int64_t unlabelled, missing, dropped, straddling;
    int32_t *place; /* [labels.n] their order in class_names */
    ky_h5 *file;
    ky_sink_block block[KY_IMPORT_PARTS];
    float *filled; /* a row without gaps */
    char note[256];
};

/** "12x6", for messages. */
typedef struct ky_sink_text {
    char s[96];
} ky_sink_text;
ky_sink_text ky_sink_shape_text(int rank, const uint64_t *dims);

/** All rows are known: the order of the classes, the part of every row, and the steps they have. */
int ky_sink_settle(ky_sink *s, ky_err *err);

#endif
