/*
 * A model's answers to labelled data and what they are worth, as `kymo eval` and the end of
 * `kymo train` tell it.
 */
#ifndef KY_SCORING_H
#define KY_SCORING_H

#include "cli/data.h"
#include "cli/targets.h"
#include "models/metrics.h"

typedef struct ky_scoring {
    const ky_model *m;
    enum ky_task task;
    ky_data d;
    float *p;     /* [N,outputs] the answers */
    ky_metrics s; /* s.N 0: there were no data */
    uint64_t seed;
} ky_scoring;

/** What is true of the rows of a task. */
enum ky_truth ky_task_truth(enum ky_task task);

typedef struct ky_scoring_opts {
    enum ky_task task;
    enum ky_part part;
    int threads, resamples;
    uint64_t seed; /* of the resamples */
} ky_scoring_opts;

/**
 * Score a model on "file.h5" or "file.h5:dataset" along the serving path.
 *
 * @param ret  zeros before the call; needs ky_scoring_done also after a failure
 * @return KY_ENOENT if there is no such file, dataset or part, or no labels beside it
 */
int ky_scoring_run(const ky_model *m, const char *spec, const ky_scoring_opts *o, ky_scoring *ret,
                   ky_err *err);
void ky_scoring_done(ky_scoring *s);

/** Whether it could be scored: everything is read and checked, nothing is answered. The same
 * errors. */
int ky_scoring_check(const ky_model *m, const char *spec, const ky_scoring_opts *o, ky_err *err);

/** One line: "accuracy 0.9011 (0.8804 to 0.9185), macro F1 ... (950 rows; 95 % intervals)". */
void ky_scoring_print_line(const ky_scoring *s);

/** Figures with intervals, a table of classes, labels or targets, the confusion matrix; `model` is
 *  what the model is called in front of them. */
void ky_scoring_print(const ky_scoring *s, const char *model);

/** An object with the same. */
ky_json *ky_scoring_json(const ky_scoring *s);

/** The model's name of class, label or target c, else its number. */
typedef struct ky_scoring_label {
    char digits[16];
    const char *text;
} ky_scoring_label;
const char *ky_scoring_name(const ky_scoring *s, int c, ky_scoring_label *buffer);

/* A column of the table of classes, labels or targets. */
typedef struct ky_scoring_column {
    const char *name, *title; /* "f1", "F1" */
    size_t at;                /* of a double of ky_metrics_each */
    bool counts;              /* whole rows; else a share or a number */
} ky_scoring_column;

/** The columns that the task has; how many. */
int ky_scoring_columns(enum ky_truth truth, const ky_scoring_column **ret);
double ky_scoring_cell(const ky_metrics_each *e, const ky_scoring_column *c);

#endif
