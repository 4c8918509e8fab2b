/* kymo simulate: generated data to try things with, labelled, the same for the same seed. */
#include "cli/simulate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/data.h"
#include "models/vocabulary.h"

static const ky_sim_kind *const kinds[] = {
    &ky_sim_activity, &ky_sim_bearings, &ky_sim_digits,        &ky_sim_heartbeats, &ky_sim_beats,
    &ky_sim_local,    &ky_sim_memory,   &ky_sim_moving_digits, &ky_sim_sentiment,  &ky_sim_spoken,
};

enum { KINDS = sizeof kinds / sizeof *kinds };

/* What ky_sim_seed is asked for beside the rows of a part. */
enum { SEED_LABELS = KY_SIM_PARTS };

/* -- for those who draw -- */

double ky_sim_wave(double turns)
{
    static const double circle = 6.283185307179586;
    double a = turns - floor(turns + 0.5), z;

    a = a > 0.25 ? 0.5 - a : a < -0.25 ? -0.5 - a : a;
    a *= circle;
    z = a * a;
    /* Taylor's series; the first term left out is below 7e-10 at a quarter turn. */
    return a *
           (1 - z / 6 * (1 - z / 20 * (1 - z / 42 * (1 - z / 72 * (1 - z / 110 * (1 - z / 156))))));
}

double ky_sim_hill(double t, double width)
{
    double u = 1 - t * t / (width * width);

    return u > 0 ? u * u * u : 0;
}

double ky_sim_between(ky_rng *rng, double low, double high)
{
    return low + (high - low) * ky_rng_uniform(rng);
}

void ky_sim_seed(ky_rng *rng, int64_t seed, int what, int which)
{
    ky_rng_seed(rng, (uint64_t)seed);
    ky_rng_seed(rng, ky_rng_u64(rng) + (uint64_t)what);
    ky_rng_seed(rng, ky_rng_u64(rng) + (uint64_t)which);
}

/* -- what is asked for -- */

static const ky_sim_kind *find_kind(const char *name)
{
    for (int i = 0; i < KINDS; i++)
        if (strcmp(kinds[i]->name, name) == 0)
            return kinds[i];
    return NULL;
}

/* One option of whole numbers against what the kind can do: 0 where it has none of it. */
static int settle(const ky_sim_kind *k, const char *option, int64_t asked, int without, int least,
                  int most, int *ret, ky_err *err)
{
    *ret = asked > 0 ? (int)asked : without;
    if (asked == 0 || (without > 0 && asked >= least && asked <= most))
        return KY_OK;
    if (without == 0)
        return ky_fail(err, KY_EINVAL, "--%s means nothing to '%s'", option, k->name);
    return ky_fail(err, KY_EINVAL, "--%s %d: '%s' takes %d to %d", option, (int)asked, k->name,
                   least, most);
}

static int settle_all(const ky_sim_kind *k, const ky_sim_opts *o, ky_sim *s, ky_err *err)
{
    enum { MOST_STEPS = 100000, MOST_SIZE = 512 };
    int rc, some = k->some_classes > 0 ? k->some_classes : k->n_classes;

    *s = (ky_sim){ .kind = k, .seed = o->seed, .digits = o->digits };
    s->noise = isnan(o->noise) ? k->noise : o->noise;
    for (int p = 0; p < KY_SIM_PARTS; p++)
        s->rows[p] = o->rows[p] > 0 ? (int)o->rows[p] : k->rows[p];
    if ((rc = settle(k, "steps", o->steps, k->steps, k->least_steps, MOST_STEPS, &s->steps, err)) <
            0 ||
        (rc = settle(k, "size", o->size, k->size, k->least_size, MOST_SIZE, &s->size, err)) < 0 ||
        (rc = settle(k, "classes", o->classes, some, 2, k->n_classes, &s->n_classes, err)) < 0 ||
        (rc = settle(k, "objects", o->objects, k->objects > 0, 1, k->objects, &s->objects, err)) <
            0)
        return rc;
    s->values = 1;
    for (int i = 0; i < k->rank; i++) {
        s->dims[i] = (uint64_t)(k->shape[i] == KY_SIM_STEPS  ? s->steps
                                : k->shape[i] == KY_SIM_SIZE ? s->size
                                                             : k->shape[i]);
        s->values *= (size_t)s->dims[i];
    }
    if (!isnan(o->noise) && k->noise < 0)
        return ky_fail(err, KY_EINVAL, "--noise means nothing to '%s'", k->name);
    if (o->digits != NULL && !k->digits)
        return ky_fail(err, KY_EINVAL, "--digits means nothing to '%s'", k->name);
    return KY_OK;
}

/* -- writing -- */

static int to_byte(double v)
{
    return v < 0 ? 0 : v > 255 ? 255 : (int)(v + 0.5);
}

/* In place, from floats to what the file holds: nothing of it is longer than a float. */
static void convert(enum ky_h5_type type, float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (type == KY_H5_U8)
            ((uint8_t *)x)[i] = (uint8_t)to_byte(x[i]);
        else if (type == KY_H5_I32) {
            int32_t v = (int32_t)x[i];

            memcpy(x + i, &v, sizeof v);
        }
}

/* Blocks with a row of every class, each block in an order of its own. */
static int32_t *draw_labels(const ky_sim *s, int part)
{
    int n = s->rows[part], C = s->n_classes;
    int32_t *y = malloc(((size_t)n + (size_t)C) * sizeof *y);
    ky_rng rng;

    for (int at = 0; y != NULL && at < n; at += C) {
        for (int c = 0; c < C; c++)
            y[at + c] = c;
        ky_sim_seed(&rng, s->seed, SEED_LABELS + part, at);
        ky_rng_shuffle(&rng, (uint32_t *)(y + at), (uint64_t)C);
    }
    return y;
}

/* Persons of the training part and others of the test part, in turn. */
static int group_of(const ky_sim_kind *k, int part, int row)
{
    int before = part == KY_SIM_TEST ? k->groups[KY_SIM_TRAIN] : 0;

    return k->groups[part] > 0 ? before + row % k->groups[part] : 0;
}

static void draw_rows(const ky_sim *s, int part, int first, int n, const int32_t *y, float *x)
{
    ky_rng rng;

    memset(x, 0, (size_t)n * s->values * sizeof *x);
    for (int i = 0; i < n; i++) {
        ky_sim_row row = { .part = part, .number = first + i, .label = y[first + i], .rng = &rng };

        row.group = group_of(s->kind, part, first + i);
        ky_sim_seed(&rng, s->seed, part, first + i);
        s->kind->draw(s, &row, x + (size_t)i * s->values);
    }
    convert(s->kind->type, x, (size_t)n * s->values);
}

static int put_values(const ky_sim *s, ky_h5 *f, int part, const char *path, const int32_t *y,
                      ky_progress *bar, ky_err *err)
{
    enum { AT_ONCE = 1 << 20 }; /* values */
    size_t few = AT_ONCE / s->values;
    int most = few > 0 ? (int)few : 1, rc = KY_OK;
    float *x = malloc((size_t)most * s->values * sizeof *x);

    if (x == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory for rows of %zu values", s->values);
    for (int at = 0; rc == KY_OK && at < s->rows[part]; at += most) {
        int n = s->rows[part] - at < most ? s->rows[part] - at : most;

        draw_rows(s, part, at, n, y, x);
        rc = ky_h5_append(f, path, x, (uint64_t)n, err);
        ky_progress_show(bar, (part == KY_SIM_TEST ? s->rows[KY_SIM_TRAIN] : 0) + at + n, NULL);
        if (rc == KY_OK && ky_cli_interrupted())
            rc = ky_fail(err, KY_EAGAIN, "interrupted; nothing was written");
    }
    free(x);
    return rc;
}

static int put_groups(const ky_sim *s, ky_h5 *f, int part, const char *path, ky_err *err)
{
    uint64_t n = (uint64_t)s->rows[part];
    int32_t *group = malloc(n * sizeof *group);
    int rc;

    if (group == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory for groups");
    for (int i = 0; i < s->rows[part]; i++)
        group[i] = group_of(s->kind, part, i);
    rc = ky_h5_put(f, path, KY_H5_I32, 1, &n, group, err);
    free(group);
    return rc;
}

static int put_part(const ky_sim *s, ky_h5 *f, int part, ky_progress *bar, ky_err *err)
{
    static const char *const names[][KY_SIM_PARTS] = { { "/X_train", "/X_test" },
                                                       { "/y_train", "/y_test" },
                                                       { "/group_train", "/group_test" } };
    const ky_sim_kind *k = s->kind;
    uint64_t n = (uint64_t)s->rows[part];
    int32_t *y = draw_labels(s, part);
    int rc;

    if (y == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory for labels");
    rc = ky_h5_table(f, names[0][part], k->type, 1 + k->rank, s->dims, err);
    if (rc == KY_OK)
        rc = put_values(s, f, part, names[0][part], y, bar, err);
    if (rc == KY_OK)
        rc = ky_h5_put(f, names[1][part], KY_H5_I32, 1, &n, y, err);
    if (rc == KY_OK && k->groups[part] > 0)
        rc = put_groups(s, f, part, names[2][part], err);
    free(y);
    return rc;
}

/* Sentences are padded at the start, and can be asked about as they are written. */
static int put_vocabulary(const ky_sim *s, ky_h5 *f, ky_err *err)
{
    ky_vocabulary *v = ky_vocabulary_new(KY_LOWER_AND_STRIP_PUNCTUATION);
    int rc = v != NULL ? KY_OK : ky_fail(err, KY_ENOMEM, "no memory for words");

    for (const char *const *w = s->kind->vocabulary; rc >= 0 && *w != NULL; w++)
        rc = ky_vocabulary_add(v, *w, strlen(*w), err);
    if (rc >= 0) {
        ky_vocabulary_set_length(v, s->steps, true);
        rc = ky_vocabulary_write(v, f, err);
    }
    ky_vocabulary_free(v);
    return rc < 0 ? rc : KY_OK;
}

/* The names of things, and that nobody has measured them. */
static int put_names(const ky_sim *s, ky_h5 *f, ky_err *err)
{
    const ky_sim_kind *k = s->kind;
    char note[480];
    int rc = ky_h5_set_attr_strs(f, "/", "class_names", k->classes, (size_t)s->n_classes, err);

    if (rc == KY_OK && k->features != NULL)
        rc = ky_h5_set_attr_strs(f, "/", "features", k->features, (size_t)k->shape[k->rank - 1],
                                 err);
    if (rc == KY_OK && k->vocabulary != NULL)
        rc = put_vocabulary(s, f, err);
    snprintf(note, sizeof note,
             "generated by kymo %s simulate %s, seed %lld%s%.200s; no measurement of anything. %s",
             PACKAGE_VERSION, k->name, (long long)s->seed, s->digits != NULL ? ", glyphs of " : "",
             s->digits != NULL ? s->digits : "", k->brief);
    return rc == KY_OK ? ky_h5_set_attr_str(f, "/", "note", note, err) : rc;
}

static int write_file(ky_sim *s, const char *path, bool silent, ky_err *err)
{
    ky_progress bar = { .what = "drawing", .unit = "rows", .quiet = silent };
    ky_h5 *f = NULL;
    int rc;

    bar.total = s->rows[KY_SIM_TRAIN] + s->rows[KY_SIM_TEST];
    if (s->kind->begin != NULL && (rc = s->kind->begin(s, err)) < 0)
        return rc;
    if ((rc = ky_h5_create(path, &f, err)) < 0)
        return rc;
    ky_progress_begin(&bar);
    for (int p = 0; rc == KY_OK && p < KY_SIM_PARTS; p++)
        rc = put_part(s, f, p, &bar, err);
    if (rc == KY_OK)
        rc = put_names(s, f, err);
    if (rc < 0) {
        ky_h5_close(f);
        return rc;
    }
    ky_progress_end(&bar, bar.total, NULL);
    return ky_h5_commit(f, err);
}

/* -- the command -- */

static const char about[] =
    "Writes generated data, labelled, with a part to train on and another to test with,\n"
    "to try kymo where there are no data yet. KIND is one of:\n";

/* The paragraph above, and a line for every kind. */
static void write_about(char *text, size_t size)
{
    size_t at = (size_t)snprintf(text, size, "%s", about);

    for (int i = 0; i < KINDS && at < size; i++)
        at += (size_t)snprintf(text + at, size - at, "%s  %-14s %s", i > 0 ? "\n" : "",
                               kinds[i]->name, kinds[i]->brief);
}

static void report(const ky_sim *s, const char *path)
{
    const ky_sim_kind *k = s->kind;

    printf("%s: %d rows to train on and %d to test with, ", path, s->rows[KY_SIM_TRAIN],
           s->rows[KY_SIM_TEST]);
    for (int i = 0; i < k->rank; i++)
        printf("%s%d", i > 0 ? " x " : "", (int)s->dims[i]);
    printf(" each, of %d classes:", s->n_classes);
    for (int c = 0; c < s->n_classes; c++)
        printf(" %s%s", k->classes[c], c + 1 < s->n_classes ? "," : "\n");
}

/* What the command line asks for; the table below points into it. */
static ky_sim_opts asked = { .seed = 1, .noise = NAN };
static const char *out;
static bool quiet;

static const ky_opt opts[] = {
    { "output", 'o', KY_OPT_STR, &out, 0, 0, "FILE", "where the data are written" },
    { "seed", 's', KY_OPT_INT, &asked.seed, 0, 9e15, "N", "same seed and options: the same file" },
    { "train", 0, KY_OPT_INT, &asked.rows[KY_SIM_TRAIN], 0, 1e7, "N",
      "rows to train on; 0: as the kind has it, here and below" },
    { "test", 0, KY_OPT_INT, &asked.rows[KY_SIM_TEST], 0, 1e7, "N", "rows to test with" },
    { "steps", 0, KY_OPT_INT, &asked.steps, 0, 1e5, "N", "steps, frames or words of a row" },
    { "size", 0, KY_OPT_INT, &asked.size, 0, 512, "N", "edge of a frame in pixels" },
    { "classes", 0, KY_OPT_INT, &asked.classes, 0, 100, "N", "the first N classes only" },
    { "objects", 0, KY_OPT_INT, &asked.objects, 0, 100, "N", "digits that move, 1 or 2" },
    { "noise", 0, KY_OPT_NUM, &asked.noise, 0, 100, "X", "deviation of the noise on top" },
    { "digits", 0, KY_OPT_STR, &asked.digits, 0, 0, "FILE",
      "take the digits that move from X_train and X_test [N,28,28,1] of this file" },
    { "quiet", 'q', KY_OPT_FLAG, &quiet, 0, 0, NULL, "no progress" },
    { NULL, 0, 0, NULL, 0, 0, NULL, NULL },
};

int ky_cmd_simulate(int argc, char **argv)
{
    char text[2048];
    const ky_usage u = {
        .synopsis = "kymo simulate KIND -o DATA.h5 [options]",
        .about = text,
        .opts = opts,
        .max_args = 1,
        .examples = "  kymo simulate activity -o activity.h5\n"
                    "  kymo simulate moving-digits --digits mnist.h5 -o moving.h5\n",
    };
    const ky_sim_kind *kind;
    const char *words[1];
    ky_err err = { 0 };
    ky_sim s;
    int n, rc;

    write_about(text, sizeof text);
    if ((rc = ky_cli_parse(&u, argc, argv, words, &n)) >= 0)
        return rc;
    if (n < 1)
        return ky_cli_usage(&u, "the kind of data is missing");
    if ((kind = find_kind(words[0])) == NULL)
        return ky_cli_usage(&u, "there is no kind '%.40s'; `kymo simulate --help` lists them",
                            words[0]);
    if (out == NULL)
        return ky_cli_usage(&u, "-o is missing: where the data should be written");
    if (settle_all(kind, &asked, &s, &err) < 0)
        return ky_cli_usage(&u, "%s", err.text);
    ky_cli_catch_interrupts();
    rc = asked.digits != NULL ? ky_data_spare(asked.digits, out, &err) : KY_OK;
    if (rc == KY_OK)
        rc = write_file(&s, out, quiet, &err);
    free(s.own);
    if (rc < 0)
        return ky_cli_fail(&err);
    report(&s, out);
    return KY_EXIT_OK;
}
