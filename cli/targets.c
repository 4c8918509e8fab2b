#include "cli/targets.h"

#include <string.h>

static const char *const names[] = { [KY_TASK_CLASSIFY] = "classify",
                                     [KY_TASK_MULTILABEL] = "multilabel",
                                     [KY_TASK_REGRESS] = "regress" };

const char *ky_task_name(enum ky_task task)
{
    return names[task];
}

int ky_task_find(const char *name, enum ky_task *ret, ky_err *err)
{
    for (int i = 0; i < (int)(sizeof names / sizeof *names); i++)
        if (strcmp(name, names[i]) == 0) {
            *ret = (enum ky_task)i;
            return KY_OK;
        }
    return ky_fail(err, KY_EINVAL, "task '%.40s' is none of classify, multilabel, regress", name);
}

enum ky_task ky_task_of(const ky_model *m)
{
    enum ky_task task = KY_TASK_CLASSIFY;

    ky_task_find(ky_json_str(ky_json_get(m->meta.extra, "task"), "classify"), &task, NULL);
    return task;
}

bool ky_task_carried(const ky_model *m)
{
    return strcmp(ky_json_str(ky_json_get(m->meta.extra, "memory"), "window"), "stream") == 0;
}
