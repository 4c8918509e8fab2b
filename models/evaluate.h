/*
 * Answers to many sequences at once, and how good they are. A model is scored along the
 * path it is served by: stepped from zeros where it has a streaming form, whole windows
 * where it has none.
 */
#ifndef KY_EVALUATE_H
#define KY_EVALUATE_H

#include "models/dataset.h"
#include "models/metrics.h"
#include "models/model.h"

enum ky_path {
    KY_PATH_WINDOW, /* ky_model_predict on whole sequences */
    KY_PATH_SERVED, /* ky_plan_step, sample by sample; the last answer counts */
};

/**
 * The answers of a model to all sequences; on both paths the same to the bit.
 *
 * @param d        of its values, T and F; `carried` with `group`: the state goes on from each
 *                 sequence of a group to the next (KY_PATH_SERVED, and in memory, only)
 * @param threads  0: all cores
 * @param y        [N,outputs] receives the answers
 * @return KY_ESHAPE if T or F do not fit the model
 */
int ky_answer(const ky_model *m, const ky_dataset *d, enum ky_path path, int threads, float *y,
              ky_err *err);

/** The same; `told` hears now and then, on the caller's thread, how many rows are answered. */
int ky_answer_telling(const ky_model *m, const ky_dataset *d, enum ky_path path, int threads,
                      float *y, void (*told)(int rows, void *arg), void *arg, ky_err *err);

typedef struct ky_score {
    int N, C;
    double accuracy, macro_f1, log_loss;
    uint32_t *confusion; /* [C,C] rows: true, columns: said; owned */
} ky_score;

/** Score answers y [N,outputs] (outputs 1: the probability of the second of two classes). */
int ky_score_answers(const ky_dataset *d, const float *y, int outputs, ky_score *ret, ky_err *err);

/** Score a model on labelled sequences along the serving path (P10). */
int ky_evaluate(const ky_model *m, const ky_dataset *d, int threads, ky_score *ret, ky_err *err);

/**
 * The same of any truth, with all figures and their intervals (ky_measure).
 *
 * @param ret_p  receives the answers [N,outputs], free(); NULL if they are not wanted
 */
int ky_evaluate_with(const ky_model *m, const ky_dataset *d, enum ky_truth truth, int resamples,
                     uint64_t seed, int threads, float **ret_p, ky_metrics *ret, ky_err *err);

#endif
