/*
 * Cross-validation: how good models of these data and options are, told by rows that each of them
 * has not seen in any way. Each fold is scored by a model that learned from the others, its own
 * validation part among them.
 */
#ifndef KY_FOLDS_H
#define KY_FOLDS_H

#include "cli/training.h"
#include "models/metrics.h"

enum { KY_MOST_FOLDS = 100 };

typedef struct ky_folds {
    int n; /* 0: none were asked for */
    enum ky_truth truth;
    double each[KY_MOST_FOLDS][KY_FIGURES]; /* NaN: the task has no such figure */
} ky_folds;

/**
 * Train and score t->folds models as t says.
 *
 * @param d  whole, as the models take it (ky_data_fit)
 */
int ky_folds_run(const ky_training *t, const ky_data *d, ky_folds *ret, ky_err *err);

/** The mean of a figure over the folds and its standard error, s / sqrt(n). */
void ky_folds_mean(const ky_folds *f, enum ky_figure figure, double *ret_mean, double *ret_error);

/** A line: "5 folds: accuracy 0.912 +- 0.010, macro F1 ...". */
void ky_folds_print(const ky_folds *f);

/** An object of the figures, each with its mean, its standard error and the folds'. */
ky_json *ky_folds_json(const ky_folds *f);

#endif
