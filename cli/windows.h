/*
 * Windows of one length out of the archive's sequences, which are read twice and never held: first
 * for how long they are and how they are labelled, which says which windows there are, then for the
 * values. One thread.
 */
#ifndef KY_WINDOWS_H
#define KY_WINDOWS_H

#include "models/model.h"
#include "storage/archive.h"

/* What came of the sequences; windows without a label or with one that the model does not know,
 * sequences shorter than a window or of another number of values are left out. */
typedef struct ky_windows_count {
    int sequences, unlabelled, unknown, too_short, misfits;
} ky_windows_count;

typedef struct ky_windows ky_windows;

/** For a model's steps; of one that takes any number, windows have the length that most sequences
 *  have. */
int ky_windows_new(const ky_model_info *model, ky_windows **ret, ky_err *err);
void ky_windows_free(ky_windows *w);

/* -- first: a class of the model, or -1 for a label that it does not know; of a step, or again of
 * the same one */
int ky_windows_step(ky_windows *w, const ky_sequence *s, ky_err *err);
int ky_windows_label(ky_windows *w, const ky_sequence *s, int class, ky_err *err);
int ky_windows_over(ky_windows *w, const ky_sequence *s, ky_err *err);

/** All sequences are known: T is, and the rows are. KY_OK also where there are none. */
int ky_windows_settle(ky_windows *w, ky_err *err);

/** How many, of how many steps, their classes [N] and times [N] us: that of the whole sequence's
 *  last sample, or of a stream without an end that of the window's last step. Borrowed. */
int ky_windows_rows(const ky_windows *w, int *ret_T, const int32_t **ret_class,
                    const int64_t **ret_ts, ky_windows_count *ret_count);

/* -- then: the same sequences again; `put` receives each window whole */
typedef int ky_windows_put(int row, const float *x, void *arg, ky_err *err);
int ky_windows_value(ky_windows *w, const ky_sequence *s, const float *x, ky_windows_put *put,
                     void *arg, ky_err *err);

/** Room for one more behind the n of an array of what archives have; KY_ENOMEM. */
int ky_windows_grow(void **array, size_t n, size_t size, ky_err *err);

#endif
