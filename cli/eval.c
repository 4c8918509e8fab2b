#include <inttypes.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "cli/report.h"
#include "cli/scoring.h"
#include "models/json.h"

static void print_json(const char *path, const ky_scoring *s)
{
    ky_json *o = ky_scoring_json(s);
    char hash[24], *text;

    snprintf(hash, sizeof hash, "%016" PRIx64, ky_model_facts(s->m)->hash);
    ky_json_set(o, "model", ky_json_of_str(path));
    ky_json_set(o, "hash", ky_json_of_str(hash));
    text = ky_json_text(o, 2);
    ky_json_free(o);
    if (text != NULL)
        puts(text);
    free(text);
}

int ky_cmd_eval(int argc, char **argv)
{
    const char *words[2], *config = NULL, *task_name = NULL, *report = NULL;
    int64_t threads = 0, resamples = KY_RESAMPLES, seed = 1;
    bool json = false;
    const ky_opt opts[] = {
        { "report", 'r', KY_OPT_STR, &report, 0, 0, "DIR",
          "write DIR/index.html, with curves, confusions and calibration" },
        { "resamples", 0, KY_OPT_INT, &resamples, 0, 1e6, "N",
          "of the bootstrap that intervals come from; 0: none" },
        { "seed", 's', KY_OPT_INT, &seed, 0, 9e15, "N", "of the resamples" },
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
                 "serves: sample by sample. Figures stand with their 95 % interval: where `group`\n"
                 "says which windows belong together (say, a person's), of resampled groups. The\n"
                 "last table counts windows: rows are what they are, columns what the model said.",
        .opts = opts,
        .min_args = 2,
        .max_args = 2,
        .examples =
            "  kymo eval har_lstm.h5 har.h5\n  kymo eval har_lstm.h5 har.h5:X_train --json\n",
    };
    ky_scoring_opts o = { .part = KY_PART_EVAL };
    ky_scoring s = { 0 };
    ky_err err = { 0 };
    ky_model *m = NULL;
    int n, rc = ky_cli_parse(&u, argc, argv, words, &n);

    if (rc >= 0)
        return rc;
    if (task_name != NULL && ky_task_find(task_name, &o.task, &err) < 0)
        return ky_cli_usage(&u, "%s", err.text);
    if ((rc = ky_model_load_with(words[0], config, &m, &err)) < 0)
        goto out;
    if (task_name == NULL)
        o.task = ky_task_of(m);
    o.threads = (int)threads;
    o.resamples = (int)resamples;
    o.seed = (uint64_t)seed;
    if ((report != NULL && (rc = ky_report_prepare(report, &err)) < 0) ||
        (rc = ky_scoring_run(m, words[1], &o, &s, &err)) < 0)
        goto out;
    if (report != NULL &&
        (rc = ky_report_write(&(ky_report){ report, words[0], m, &s, argc, argv }, &err)) < 0)
        goto out;
    if (json)
        print_json(words[0], &s);
    else
        ky_scoring_print(&s, words[0]);
    if (report != NULL && !json)
        printf("\nreport: %s/index.html\n", report);
out:
    ky_scoring_done(&s);
    ky_model_free(m);
    return rc < 0 ? ky_cli_fail(&err) : KY_EXIT_OK;
}
