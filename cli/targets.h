/*
 * Tasks whose answers are no classes: several labels at once, or numbers. What `kymo train`
 * and `kymo eval` say of them.
 */
#ifndef KY_TARGETS_H
#define KY_TARGETS_H

#include "models/blueprint.h"
#include "models/evaluate.h"

enum ky_task { KY_TASK_CLASSIFY, KY_TASK_MULTILABEL, KY_TASK_REGRESS };

/** "classify", "multilabel", "regress". */
const char *ky_task_name(enum ky_task task);
int ky_task_find(const char *name, enum ky_task *ret, ky_err *err);

/** What the model was trained for, as its file says; classify if it does not. */
enum ky_task ky_task_of(const ky_model *m);

/** One line: MAE and RMSE, or accuracy and macro F1. */
void ky_targets_print(const ky_target_score *s, enum ky_task task);

/** A line for each target, by the model's label where it has one. */
void ky_targets_print_each(const ky_model *m, const ky_target_score *s, enum ky_task task);

/** An object with the same. */
ky_json *ky_targets_json(const ky_model *m, const ky_target_score *s, enum ky_task task);

#endif
