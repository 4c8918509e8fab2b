#include "cli/targets.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

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

void ky_targets_print(const ky_target_score *s, enum ky_task task)
{
    if (task == KY_TASK_REGRESS)
        printf("MAE %.6g, RMSE %.6g (%d windows)\n", s->mae, s->rmse, s->N);
    else
        printf("accuracy %.4f, macro F1 %.4f (%d windows)\n", s->accuracy, s->macro_f1, s->N);
}

static const char *label_of(const ky_model *m, int c, char buffer[16])
{
    if (c < m->meta.n_labels)
        return m->meta.labels[c];
    snprintf(buffer, 16, "%d", c);
    return buffer;
}

void ky_targets_print_each(const ky_model *m, const ky_target_score *s, enum ky_task task)
{
    char buffer[16];

    for (int c = 0; c < s->C; c++) {
        const char *label = label_of(m, c, buffer);

        printf("  ");
        ky_cli_print_safe(stdout, label, strlen(label));
        if (task == KY_TASK_REGRESS)
            printf(": MAE %.6g, RMSE %.6g\n", s->each[2 * c], s->each[2 * c + 1]);
        else if (isnan(s->each[2 * c + 1]))
            printf(": accuracy %.4f, never there and never said\n", s->each[2 * c]);
        else
            printf(": accuracy %.4f, F1 %.4f\n", s->each[2 * c], s->each[2 * c + 1]);
    }
}

ky_json *ky_targets_json(const ky_model *m, const ky_target_score *s, enum ky_task task)
{
    bool labels = task == KY_TASK_MULTILABEL;
    const char *first = labels ? "accuracy" : "mae", *second = labels ? "f1" : "rmse";
    ky_json *o = ky_json_object(), *each = ky_json_array();
    char buffer[16];

    ky_json_set(o, "rows", ky_json_of_int(s->N));
    ky_json_set(o, first, ky_json_of_num(labels ? s->accuracy : s->mae));
    ky_json_set(o, labels ? "macro_f1" : "rmse", ky_json_of_num(labels ? s->macro_f1 : s->rmse));
    for (int c = 0; c < s->C; c++) {
        ky_json *e = ky_json_object();
        double v = s->each[2 * c + 1];

        ky_json_set(e, "target", ky_json_of_str(label_of(m, c, buffer)));
        ky_json_set(e, first, ky_json_of_num(s->each[2 * c]));
        ky_json_set(e, second, isnan(v) ? ky_json_of_null() : ky_json_of_num(v));
        ky_json_append(each, e);
    }
    ky_json_set(o, "targets", each);
    return o;
}
