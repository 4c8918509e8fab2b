#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/data.h"
#include "models/blueprint.h"

/* -- statistics of features: a CSV file with the columns feature, mean, std --------------- */

enum { COLUMNS = 3, MAX_LINE = 4096 };

struct stats {
    int n;
    char **name; /* [n] */
    double *mean, *std;
};

static void free_stats(struct stats *s)
{
    for (int i = 0; i < s->n; i++)
        free(s->name[i]);
    free(s->name);
    free(s->mean);
    free(s->std);
}

/* Cut a line at its commas; the fields without the blanks around them. */
static int split(char *line, char *field[], int most)
{
    int n = 0;

    for (char *p = line; p != NULL && n <= most; n++) {
        char *comma = strchr(p, ',');

        if (comma != NULL)
            *comma = '\0';
        p += strspn(p, " \t\"");
        for (size_t k = strlen(p); k > 0 && strchr(" \t\r\n\"", p[k - 1]) != NULL; k--)
            p[k - 1] = '\0';
        if (n < most)
            field[n] = p;
        p = comma != NULL ? comma + 1 : NULL;
    }
    return n;
}

/* Where the three columns stand, by the heading. */
static int read_heading(char *line, int place[COLUMNS], ky_err *err)
{
    static const char *const names[COLUMNS] = { "feature", "mean", "std" };
    char *field[64];
    int n = split(line, field, 64);

    for (int c = 0; c < COLUMNS; c++) {
        place[c] = -1;
        for (int i = 0; i < n && i < 64; i++)
            if (strcmp(field[i], names[c]) == 0)
                place[c] = i;
        if (place[c] < 0)
            return ky_fail(err, KY_EFORMAT, "its heading has no column '%s'; feature,mean,std",
                           names[c]);
    }
    return KY_OK;
}

static bool read_value(const char *text, double *ret)
{
    char *end;

    *ret = strtod(text, &end);
    return end != text && *end == '\0' && isfinite(*ret);
}

static int add_row(struct stats *s, const char *name, double mean, double std, ky_err *err)
{
    size_t n = (size_t)s->n + 1;
    char **names = realloc(s->name, n * sizeof(*names));
    s->name = names != NULL ? names : s->name;
    double *means = realloc(s->mean, n * sizeof(*means));
    s->mean = means != NULL ? means : s->mean;
    double *stds = realloc(s->std, n * sizeof(*stds));
    s->std = stds != NULL ? stds : s->std;

    if (names == NULL || means == NULL || stds == NULL || (names[n - 1] = strdup(name)) == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory");
    means[n - 1] = mean;
    /* A feature that never changed is only moved, as scikit-learn's StandardScaler does. */
    stds[n - 1] = std == 0 ? 1 : std;
    s->n++;
    return KY_OK;
}

static int read_row(struct stats *s, char *line, const int place[COLUMNS], ky_err *err)
{
    char *field[64];
    int n = split(line, field, 64), row = s->n + 1;
    double mean, std;

    if (n == 1 && field[0][0] == '\0') /* an empty line */
        return KY_OK;
    for (int c = 0; c < COLUMNS; c++)
        if (place[c] >= n)
            return ky_fail(err, KY_EFORMAT, "row %d has %d fields", row, n);
    if (!read_value(field[place[1]], &mean))
        return ky_fail(err, KY_EFORMAT, "row %d: mean is '%.40s', not a number", row,
                       field[place[1]]);
    if (!read_value(field[place[2]], &std) || std < 0)
        return ky_fail(err, KY_EFORMAT, "row %d: std is '%.40s', not a number from 0 on", row,
                       field[place[2]]);
    return add_row(s, field[place[0]], mean, std, err);
}

static int read_rows(FILE *in, struct stats *s, ky_err *err)
{
    char line[MAX_LINE];
    int place[COLUMNS], rc = KY_OK;
    bool heading = true;

    while (rc == KY_OK && fgets(line, sizeof(line), in) != NULL) {
        if (strlen(line) + 1 == sizeof(line))
            return ky_fail(err, KY_EFORMAT, "a line is longer than %d bytes", MAX_LINE - 2);
        rc = heading ? read_heading(line, place, err) : read_row(s, line, place, err);
        heading = false;
    }
    if (rc == KY_OK && s->n == 0)
        rc = ky_fail(err, KY_EFORMAT, "it has no rows");
    return rc;
}

static int read_stats(const char *path, struct stats *s, ky_err *err)
{
    FILE *in = fopen(path, "re");

    if (in == NULL)
        return ky_fail(err, -errno, "%s: %s", path, strerror(errno));
    int rc = read_rows(in, s, err);
    fclose(in);
    return rc < 0 ? ky_context(err, rc, "%s", path) : KY_OK;
}

/* -- putting them into the model ------------------------------------------------------------ */

static int find_name(const struct stats *s, const char *name)
{
    for (int i = 0; i < s->n; i++)
        if (strcmp(s->name[i], name) == 0)
            return i;
    return -1;
}

/* In the order of the model's features: by their names where it has any, else as they stand. */
static int arrange(const ky_model_info *info, struct stats *s, ky_err *err)
{
    struct stats sorted = { 0 };
    int rc = KY_OK;

    for (int i = 0; rc == KY_OK && i < s->n; i++) {
        int from = info->feature_names != NULL ? find_name(s, info->feature_names[i]) : i;

        if (from < 0)
            rc = ky_fail(err, KY_EFORMAT, "it has no row for the model's feature '%.60s'",
                         info->feature_names[i]);
        else
            rc = add_row(&sorted, s->name[from], s->mean[from], s->std[from], err);
    }
    free_stats(rc == KY_OK ? s : &sorted);
    if (rc == KY_OK)
        *s = sorted;
    return rc;
}

/* The model with the scaler of a file in front, in its place. */
static int normalize(ky_model **m, const char *path, ky_err *err)
{
    const ky_shape *in = &(*m)->inputs[0];
    int features = in->d[in->rank - 1];
    struct stats s = { 0 };
    ky_model *with = NULL;
    int rc = read_stats(path, &s, err);

    if (rc == KY_OK && s.n != features)
        rc = ky_fail(err, KY_ESHAPE, "%s: %d features, the model takes %d", path, s.n, features);
    if (rc == KY_OK && (rc = arrange(ky_model_facts(*m), &s, err)) < 0)
        ky_context(err, rc, "%s", path);
    if (rc == KY_OK)
        rc = ky_model_normalize(*m, s.mean, s.std, &with, err);
    if (rc == KY_OK && features == ky_model_facts(with)->features)
        rc = ky_model_set_feature_names(with, (const char *const *)s.name, err);
    free_stats(&s);
    if (rc < 0) {
        ky_model_free(with);
        return rc;
    }
    ky_model_free(*m);
    *m = with;
    return KY_OK;
}

int ky_cmd_convert(int argc, char **argv)
{
    const char *words[2], *config = NULL, *stats = NULL;
    const ky_opt opts[] = {
        { "config", 'c', KY_OPT_STR, &config, 0, 0, "FILE", KY_CLI_CONFIG },
        { "normalize", 'n', KY_OPT_STR, &stats, 0, 0, "STATS.csv",
          "put a scaler in front: columns feature, mean, std" },
        { NULL, 0, 0, NULL, 0, 0, NULL, NULL },
    };
    const ky_usage u = {
        .synopsis = "kymo convert IN OUT [options]",
        .about = "Reads any Keras model file (HDF5 of Keras 1, 2 and 3, .keras, weights with\n"
                 "--config) and writes it anew: as a Keras 3 archive where OUT ends in .keras,\n"
                 "else as HDF5 that tf.keras 2 and Keras 3 both open. Old files that Keras 3\n"
                 "refuses (recurrent layers saved by tf.keras 2) become files that it opens.",
        .opts = opts,
        .min_args = 2,
        .max_args = 2,
        .examples = "  kymo convert old_lstm.h5 lstm.keras\n"
                    "  kymo convert textgen.weights.h5 textgen.h5 --config textgen.json\n"
                    "  kymo convert pump.h5 pump-scaled.h5 --normalize scaler.csv\n",
    };
    ky_err err = { 0 };
    ky_model *m = NULL;
    int n, rc = ky_cli_parse(&u, argc, argv, words, &n);

    if (rc >= 0)
        return rc;
    rc = ky_data_spare(words[0], words[1], &err);
    if (rc == KY_OK)
        rc = ky_model_load_with(words[0], config, &m, &err);
    if (rc == KY_OK && stats != NULL)
        rc = normalize(&m, stats, &err);
    if (rc == KY_OK)
        rc = ky_model_save(m, words[1], &err);
    if (rc == KY_OK)
        printf("%s: %zu weights in %d layers, hash %016" PRIx64 "\n", words[1], m->info.params,
               m->n_layers, m->info.hash);
    ky_model_free(m);
    return rc < 0 ? ky_cli_fail(&err) : KY_EXIT_OK;
}
