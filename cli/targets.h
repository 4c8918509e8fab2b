/*
 * What a model is for: classes, several labels at once, or numbers.
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

/** Whether it learned with the state carried along streams (--memory stream); so it is scored. */
bool ky_task_carried(const ky_model *m);

#endif
