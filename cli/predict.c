#include <stdio.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "cli/data.h"
#include "models/h5.h"

static int write_answers(const char *path, const ky_model_info *f, int N, const float *y,
                         ky_err *err)
{
    const uint64_t dims[] = { (uint64_t)N, (uint64_t)f->outputs };
    ky_h5 *out = NULL;
    int rc = ky_h5_create(path, &out, err);

    if (rc < 0)
        return rc;
    if ((rc = ky_h5_put(out, "/y", KY_H5_F32, 2, dims, y, err)) < 0 ||
        (f->n_labels > 0 && (rc = ky_h5_set_attr_strs(out, "/", "class_names", f->labels,
                                                      (size_t)f->n_labels, err)) < 0)) {
        ky_h5_close(out);
        return rc;
    }
    return ky_h5_commit(out, err);
}

int ky_cmd_predict(int argc, char **argv)
{
    const char *words[2], *path = NULL;
    int64_t threads = 0;
    bool stream = false;
    const ky_opt opts[] = {
        { "output", 'o', KY_OPT_STR, &path, 0, 0, "FILE", "HDF5 file for the answers, dataset y" },
        { "stream", 's', KY_OPT_FLAG, &stream, 0, 0, NULL,
          "step each window sample by sample from zeros; the same bits" },
        { "threads", 't', KY_OPT_INT, &threads, 0, 256, "N",
          "0: all cores; no effect on the result" },
        { NULL, 0, 0, NULL, 0, 0, NULL, NULL },
    };
    const ky_usage u = {
        .synopsis = "kymo predict MODEL DATA[:DATASET] -o OUT.h5 [options]",
        .about = "Writes the model's answer to every window (X_test, else X) into an HDF5 file:\n"
                 "dataset y [windows, outputs], attribute class_names where the model has them.",
        .opts = opts,
        .min_args = 2,
        .max_args = 2,
        .examples = "  kymo predict har_lstm.h5 har.h5:X_test --stream -o answers.h5\n",
    };
    ky_err err = { 0 };
    ky_model *m = NULL;
    ky_data d = { 0 };
    float *y = NULL;
    int n, rc = ky_cli_parse(&u, argc, argv, words, &n);

    if (rc >= 0)
        return rc;
    if (path == NULL)
        return ky_cli_usage(&u, "-o is missing: where the answers should be written");
    if ((rc = ky_data_spare(words[0], path, &err)) < 0 ||
        (rc = ky_data_spare(words[1], path, &err)) < 0 ||
        (rc = ky_model_load(words[0], &m, &err)) < 0 ||
        (rc = ky_data_load(words[1], KY_PART_PLAIN, &d, &err)) < 0)
        goto out;
    y = calloc((size_t)d.set.N * (size_t)ky_model_facts(m)->outputs, sizeof *y);
    if (y == NULL)
        rc = ky_fail(&err, KY_ENOMEM, "no memory for the answers to %d windows", d.set.N);
    else
        rc = ky_answer(m, &d.set, stream ? KY_PATH_SERVED : KY_PATH_WINDOW, (int)threads, y, &err);
    if (rc == KY_OK)
        rc = write_answers(path, ky_model_facts(m), d.set.N, y, &err);
    if (rc == KY_OK)
        printf("%s: y [%d, %d], the answers to %s\n", path, d.set.N, ky_model_facts(m)->outputs,
               d.what);
out:
    free(y);
    ky_data_free(&d);
    ky_model_free(m);
    return rc < 0 ? ky_cli_fail(&err) : KY_EXIT_OK;
}
