/*
 * What answers are worth: the figures of classes, labels and numbers, each with the interval it
 * lies in, and the tables and bins they come from. Every figure is a function of sums over rows,
 * so the value and its bootstrap are one piece of code. Any thread.
 */
#ifndef KY_METRICS_H
#define KY_METRICS_H

#include <stdbool.h>
#include <stdint.h>

#include "models/error.h"

/* Bins of equal width that calibration is looked at in (Guo et al. 2017). */
enum { KY_BINS = 15 };

/* Resamples of a bootstrap where nobody wants another number. */
enum { KY_RESAMPLES = 1000 };

enum ky_truth { KY_OF_CLASSES, KY_OF_LABELS, KY_OF_NUMBERS };

/* Rows, what is true of them and what was answered. */
typedef struct ky_answered {
    enum ky_truth truth;
    bool probabilities;    /* of classes, labels: the answers are; else nothing is told of them */
    int N, C;              /* rows; classes, labels or numbers of a row */
    int outputs;           /* C; of two classes also 1, the probability of the second */
    const int32_t *y;      /* [N] classes, 0..C-1 */
    const float *target;   /* [N,C] labels 0 and 1, or numbers */
    const float *p;        /* [N,outputs] */
    const uint32_t *group; /* [N] rows of one group are not independent of each other; NULL */
} ky_answered;

/*
 * The figures. With p a probability, t the truth (0 or 1), r = answer - truth:
 *
 *     accuracy   share of rows whose largest p (the first of equals) is the class; of labels the
 *                share on the right side of one half
 *     macro F1   mean of F1 = 2 tp / (2 tp + fp + fn) over classes that occur or are said
 *     log loss   mean of -log p of the class, p clipped at 1e-7; of labels the mean of theirs
 *     Brier      mean of sum over classes (p - t)^2, 0..2 (Brier 1950); of labels the mean of
 *                (p - t)^2, 0..1
 *     ECE        sum over bins of n/N |share right - mean confidence|, confidence being the p of
 *                what is said (Naeini et al. 2015, Guo et al. 2017); of labels p against the share
 *                that has the label
 *     MAE, RMSE  mean |r|, root of the mean of r^2, over all numbers
 *     R2         1 - sum r^2 / sum (t - mean t)^2, the mean over numbers that are not constant
 */
enum ky_figure {
    KY_ACCURACY,
    KY_MACRO_F1,
    KY_LOG_LOSS,
    KY_BRIER,
    KY_ECE,
    KY_MAE,
    KY_RMSE,
    KY_R2,
    KY_FIGURES
};

/* "macro_f1", "macro F1" */
const char *ky_figure_name(enum ky_figure f);
const char *ky_figure_title(enum ky_figure f);

/* A figure and its 95 % interval; NaN: there is none. */
typedef struct ky_estimate {
    double value, low, high;
} ky_estimate;

/* Of one class, label or number; NaN where there is nothing to divide by. */
typedef struct ky_metrics_each {
    double support, said, hits; /* rows: true, said, both */
    double precision, recall, f1, accuracy;
    double mae, rmse, r2;
} ky_metrics_each;

typedef struct ky_metrics_bin {
    double n, confidence, right; /* rows (of labels: rows times labels); means */
} ky_metrics_bin;

typedef struct ky_metrics {
    enum ky_truth truth;
    int N, C;
    int groups;    /* the intervals are of resampled groups; 0: of resampled rows */
    int resamples; /* 0: there are no intervals but Wilson's */
    ky_estimate figure[KY_FIGURES];
    ky_metrics_each *each; /* [C] owned */
    uint32_t *confusion;   /* [C,C] of classes; rows: true, columns: said; owned */
    ky_metrics_bin bin[KY_BINS];
} ky_metrics;

/**
 * Work out all figures.
 *
 * Intervals are percentiles, 2.5 and 97.5, of `resamples` bootstrap samples (Efron and Tibshirani
 * 1993): of rows, or where there are two groups or more of whole groups, as rows of a group are
 * not independent (Field and Welsh 2007). The accuracy of classes without groups has Wilson's
 * interval. The ECE of a resample is too large, as that of few rows is; its percentiles are moved
 * by the mean of what it is too large (Efron and Tibshirani's bias). Nothing depends on the number
 * of threads.
 *
 * @param resamples  0: intervals are NaN, but Wilson's
 * @return KY_ESHAPE names a class outside 0..C-1, KY_ENOMEM
 */
int ky_measure(const ky_answered *a, int resamples, uint64_t seed, int threads, ky_metrics *ret,
               ky_err *err);
void ky_metrics_done(ky_metrics *s);

/* Rows of one class that were taken for another. */
typedef struct ky_metrics_pair {
    int truly, said;
    uint32_t rows;
} ky_metrics_pair;

/** The pairs confused most often, at most `most`; of equal ones the first of the matrix. */
int ky_metrics_confused(const ky_metrics *s, ky_metrics_pair *ret, int most);

/**
 * The 95 % score interval of a share (Wilson 1927):
 *
 *     (h + z^2/2 +- z sqrt(h (n - h) / n + z^2/4)) / (n + z^2),  z = 1.959964
 */
ky_estimate ky_wilson(double hits, double n);

#endif
