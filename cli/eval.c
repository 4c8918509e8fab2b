#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/data.h"
#include "cli/targets.h"
#include "models/json.h"

/* Bytes of a class's name in the table. */
enum { MOST_WIDTH = 40 };

static const char *label_of(const ky_model_info *f, int c, char buffer[16])
{
    if (c < f->n_labels)
        return f->labels[c];
    snprintf(buffer, 16, "%d", c);
    return buffer;
}

static void print_score(const ky_model *m, const ky_data *d, const ky_score *s)
{
    const ky_model_info *f = ky_model_facts(m);
    char buffer[16];
    int width = 8;

    printf("%s on %s: %d windows of %d steps\n", f->name, d->what, s->N, d->set.T);
    printf("accuracy %.4f   macro F1 %.4f   log loss %.4f\n\n", s->accuracy, s->macro_f1,
           s->log_loss);
    for (int c = 0; c < s->C; c++) {
        int len = (int)strlen(label_of(f, c, buffer));

        width = len > width ? len : width;
    }
    width = width < MOST_WIDTH ? width : MOST_WIDTH;
    printf("%-*s", width + 3, "true \\ said");
    for (int c = 0; c < s->C; c++)
        printf(" %6d", c);
    putchar('\n');
    for (int c = 0; c < s->C; c++) {
        const char *label = label_of(f, c, buffer);
        int len = (int)strlen(label);

        printf("%2d ", c);
        ky_cli_print_safe(stdout, label, (size_t)(len < width ? len : width));
        printf("%*s", len < width ? width - len : 0, "");
        for (int j = 0; j < s->C; j++)
            printf(" %6u", s->confusion[c * s->C + j]);
        putchar('\n');
    }
}

static void print_json(const char *path, const ky_model *m, const ky_data *d, const ky_score *s)
{
    const ky_model_info *f = ky_model_facts(m);
    ky_json *o = ky_json_object(), *labels = ky_json_array(), *rows = ky_json_array();
    char hash[24], buffer[16], *text;

    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)f->hash);
    for (int c = 0; c < s->C; c++) {
        ky_json *row = ky_json_array();

        ky_json_append(labels, ky_json_of_str(label_of(f, c, buffer)));
        for (int j = 0; j < s->C; j++)
            ky_json_append(row, ky_json_of_int(s->confusion[c * s->C + j]));
        ky_json_append(rows, row);
    }
    ky_json_set(o, "model", ky_json_of_str(path));
    ky_json_set(o, "hash", ky_json_of_str(hash));
    ky_json_set(o, "data", ky_json_of_str(d->what));
    ky_json_set(o, "rows", ky_json_of_int(s->N));
    ky_json_set(o, "accuracy", ky_json_of_num(s->accuracy));
    ky_json_set(o, "macro_f1", ky_json_of_num(s->macro_f1));
    ky_json_set(o, "log_loss", ky_json_of_num(s->log_loss));
    ky_json_set(o, "labels", labels);
    ky_json_set(o, "confusion", rows);
    text = ky_json_text(o, 2);
    ky_json_free(o);
    if (text != NULL)
        puts(text);
    free(text);
}

/* A model of targets. */
static int eval_targets(const char *const *words, const ky_model *m, enum ky_task task, int threads,
                        bool json, ky_err *err)
{
    ky_data d = { 0 };
    ky_target_score s = { 0 };
    int rc = ky_data_load_targets(words[1], KY_PART_EVAL, &d, err);
    char *text;
    ky_json *o;

    if (rc < 0 || (rc = ky_data_fit(&d, m, err)) < 0 ||
        (rc = ky_data_check_tokens(&d, m, err)) < 0 ||
        (rc = ky_evaluate_targets(m, &d.set, task == KY_TASK_MULTILABEL, threads, &s, err)) < 0)
        goto out;
    if (json) {
        o = ky_targets_json(m, &s, task);
        ky_json_set(o, "model", ky_json_of_str(words[0]));
        ky_json_set(o, "data", ky_json_of_str(d.what));
        text = ky_json_text(o, 2);
        ky_json_free(o);
        if (text != NULL)
            puts(text);
        free(text);
    } else {
        printf("%s on %s: ", ky_model_facts(m)->name, d.what);
        ky_targets_print(&s, task);
        ky_targets_print_each(m, &s, task);
    }
out:
    free(s.each);
    ky_data_free(&d);
    return rc;
}

int ky_cmd_eval(int argc, char **argv)
{
    const char *words[2], *config = NULL, *task_name = NULL;
    enum ky_task task = KY_TASK_CLASSIFY;
    int64_t threads = 0;
    bool json = false;
    const ky_opt opts[] = {
        { "threads", 't', KY_OPT_INT, &threads, 0, 256, "N",
          "0: all cores; no effect on the result" },
        { "json", 'j', KY_OPT_FLAG, &json, 0, 0, NULL, "report as JSON" },
        { "config", 'c', KY_OPT_STR, &config, 0, 0, "FILE", KY_CLI_CONFIG },
        { "task", 0, KY_OPT_STR, &task_name, 0, 0, "NAME",
          "classify, multilabel or regress; else as the model was trained" },
        { NULL, 0, 0, NULL, 0, 0, NULL, NULL },
    };
    const ky_usage u = {
        .synopsis = "kymo eval MODEL DATA[:DATASET] [options]",
        .about = "Scores a model on labelled windows (X_test, else X), along the path that kymod\n"
                 "serves: sample by sample. The table counts windows: rows are what they are,\n"
                 "columns what the model said.",
        .opts = opts,
        .min_args = 2,
        .max_args = 2,
        .examples =
            "  kymo eval har_lstm.h5 har.h5\n  kymo eval har_lstm.h5 har.h5:X_train --json\n",
    };
    ky_err err = { 0 };
    ky_model *m = NULL;
    ky_data d = { 0 };
    ky_score s = { 0 };
    int n, rc = ky_cli_parse(&u, argc, argv, words, &n);

    if (rc >= 0)
        return rc;
    if (task_name != NULL && ky_task_find(task_name, &task, &err) < 0)
        return ky_cli_usage(&u, "%s", err.text);
    if ((rc = ky_model_load_with(words[0], config, &m, &err)) < 0)
        goto out;
    task = task_name != NULL ? task : ky_task_of(m);
    if (task != KY_TASK_CLASSIFY) {
        rc = eval_targets(words, m, task, (int)threads, json, &err);
        goto out;
    }
    if ((rc = ky_data_load(words[1], KY_PART_EVAL, &d, &err)) < 0)
        goto out;
    if (d.naming == KY_NAMES_NONE)
        rc = ky_fail(&err, KY_ENOENT, "%s has no labels beside it to score against", d.what);
    else
        rc = ky_data_match(&d, m, &err);
    if (rc < 0 || (rc = ky_data_fit(&d, m, &err)) < 0 ||
        (rc = ky_data_check_tokens(&d, m, &err)) < 0 ||
        (rc = ky_evaluate(m, &d.set, (int)threads, &s, &err)) < 0)
        goto out;
    if (json)
        print_json(words[0], m, &d, &s);
    else
        print_score(m, &d, &s);
out:
    free(s.confusion);
    ky_data_free(&d);
    ky_model_free(m);
    return rc < 0 ? ky_cli_fail(&err) : KY_EXIT_OK;
}
