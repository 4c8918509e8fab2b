/* The built kymo, run on files made here. */
#include "tests/cli/run.h"

#include <math.h>
#include <signal.h>

#include "models/blueprint.h"
#include "models/h5.h"
#include "models/rng.h"

enum { T = 12, F = 2, TRAIN = 120, TEST = 60 };

/* -- files to learn from ---------------------------------------------------------------------- */

static const char *const names[] = { "slow", "middle", "fast" };

/* Class c turns at its own speed, as in the test of training. */
static void tones(float *x, int32_t *y, int n, uint64_t seed)
{
    ky_rng rng;

    ky_rng_seed(&rng, seed);
    for (int i = 0; i < n; i++) {
        double phase = 6.28 * ky_rng_uniform(&rng);

        y[i] = i % 3;
        for (int t = 0; t < T; t++) {
            double a = phase + (0.3 + 0.6 * y[i]) * t;

            x[(i * T + t) * F] = (float)(sin(a) + 0.1 * ky_rng_normal(&rng));
            x[(i * T + t) * F + 1] = (float)(cos(a) + 0.1 * ky_rng_normal(&rng));
        }
    }
}

static ky_h5 *create(const char *name)
{
    char path[4096];
    ky_h5 *f = NULL;

    assert_int_equal(ky_h5_create(in_dir(name, path), &f, NULL), KY_OK);
    return f;
}

static void put_x(ky_h5 *f, const char *path, const float *x, int n)
{
    const uint64_t dims[] = { (uint64_t)n, T, F };

    assert_int_equal(ky_h5_put(f, path, KY_H5_F32, 3, dims, x, NULL), KY_OK);
}

static void put_ints(ky_h5 *f, const char *path, const int32_t *y, int n)
{
    const uint64_t dims[] = { (uint64_t)n };

    assert_int_equal(ky_h5_put(f, path, KY_H5_I32, 1, dims, y, NULL), KY_OK);
}

static void put_names(ky_h5 *f, const char *path, const int32_t *y, int n)
{
    const char *text[TRAIN];

    for (int i = 0; i < n; i++)
        text[i] = names[y[i]];
    assert_int_equal(ky_h5_put_strs(f, path, text, (size_t)n, NULL), KY_OK);
}

static void commit(ky_h5 *f)
{
    assert_int_equal(ky_h5_commit(f, NULL), KY_OK);
}

/* Train and test parts; test_seed 0: no test part. */
static void make_file(const char *name, uint64_t test_seed)
{
    static float x[TRAIN * T * F];
    static int32_t y[TRAIN];
    ky_h5 *f = create(name);

    tones(x, y, TRAIN, 1);
    put_x(f, "/X_train", x, TRAIN);
    put_ints(f, "/y_train", y, TRAIN);
    if (test_seed != 0) {
        tones(x, y, TEST, test_seed);
        put_x(f, "/X_test", x, TEST);
        put_ints(f, "/y_test", y, TEST);
    }
    assert_int_equal(ky_h5_set_attr_strs(f, "/", "class_names", names, 3, NULL), KY_OK);
    commit(f);
}

#define ARCH  "lstm:10, dense"
#define QUICK "|-e|30|--lr|0.01|-b|16|-q"

static int set_up(void **state)
{
    (void)state;
    if (run_begin() != 0)
        return -1;
    make_file("tones.h5", 2);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    return run_end();
}

/* -- what works ----------------------------------------------------------------------------------
 */

static void a_model_is_trained_scored_and_asked(void **state)
{
    (void)state;
    char path[4096];
    float y[TEST * 3];
    ky_h5 *f;
    ky_h5_info info;

    ran *r = run("train|tones.h5|--arch|" ARCH "|-o|m.h5|--json" QUICK);
    assert_int_equal(r->code, 0);
    ky_json *trained = report_of(r);
    double said = ky_json_num(ky_json_get(ky_json_get(trained, "test"), "accuracy"), 0);
    r = run("eval|m.h5|tones.h5|--json");
    assert_int_equal(r->code, 0);
    ky_json *scored = report_of(r);

    assert_true(said > 0.9);
    assert_true(ky_json_num(ky_json_get(scored, "accuracy"), 0) == said);
    assert_int_equal(ky_json_int(ky_json_get(scored, "rows"), 0), TEST);
    assert_string_equal(ky_json_str(ky_json_at(ky_json_get(scored, "labels"), 1), ""), "middle");
    const ky_json *between = ky_json_get(ky_json_get(scored, "intervals"), "log_loss");
    assert_true(ky_json_num(ky_json_at(between, 0), 2) < ky_json_num(ky_json_at(between, 1), -1));
    assert_int_equal(ky_json_len(ky_json_get(scored, "calibration")), 15);
    ky_json_free(trained);
    ky_json_free(scored);

    run_well("predict|m.h5|tones.h5:X_test|-o|whole.h5");
    run_well("predict|m.h5|tones.h5:X_test|--stream|-o|steps.h5|-t|2");
    assert_true(same_bytes("whole.h5", "steps.h5"));
    assert_int_equal(ky_h5_open(in_dir("steps.h5", path), &f, NULL), KY_OK);
    assert_int_equal(ky_h5_stat(f, "/y", &info, NULL), KY_OK);
    assert_true(info.rank == 2 && info.dims[0] == TEST && info.dims[1] == 3);
    assert_int_equal(ky_h5_read(f, "/y", KY_H5_F32, y, TEST * 3, NULL), KY_OK);
    for (int i = 0; i < TEST; i++) /* probabilities: three roundings away from one */
        assert_float_equal(y[3 * i] + y[3 * i + 1] + y[3 * i + 2], 1, 1e-6);
    ky_h5_close(f);
}

static void windows_of_a_convolution_are_the_same_stepped(void **state)
{
    (void)state;

    run_well("train|tones.h5|--arch|conv1d:6x3 relu, maxpool:2, flatten, dense|-o|c.h5|-e|2|-q");
    run_well("predict|c.h5|tones.h5|-o|whole.h5");
    run_well("predict|c.h5|tones.h5|--stream|-o|steps.h5");

    assert_true(same_bytes("whole.h5", "steps.h5"));
}

static void the_same_seed_writes_the_same_file(void **state)
{
    (void)state;

    run_well("train|tones.h5|--arch|" ARCH "|-o|a.h5|-e|2|-q|-t|1|-s|7");
    run_well("train|tones.h5|--arch|" ARCH "|-o|b.h5|-e|2|-q|-t|2|-s|7");
    run_well("train|tones.h5|--arch|" ARCH "|-o|c.h5|-e|2|-q|-t|2|-s|8");

    assert_true(same_bytes("a.h5", "b.h5"));
    assert_false(same_bytes("a.h5", "c.h5"));
}

/* Each option changes what is learned, and the file says what it was. */
static void options_of_learning_are_heeded_and_noted(void **state)
{
    (void)state;
    static const char *const ways[] = {
        "--optimizer|adamw",
        "--optimizer|sgd|--lr|0.1",
        "--optimizer|sgd|--momentum|0.9",
        "--optimizer|sgd|--momentum|0.9|--nesterov",
        "--optimizer|rmsprop",
        "--optimizer|rmsprop|--rho|0.5",
        "--optimizer|rmsprop|--centered",
        "--weight-decay|0.1",
        "--schedule|exponential|--decay|0.5",
        "--schedule|cosine",
        "--schedule|plateau|--decay-patience|1|--decay|0.001|--lr|1",
        "--clip|0.001",
        "--clipnorm|0.001",
        "--clipvalue|0.001",
        "--l1|0.01",
        "--l2|0.01",
        "--label-smoothing|0.1",
        "--class-weight|slow=3,fast=0.5",
    };
    enum { WAYS = sizeof ways / sizeof *ways };
    uint64_t hash[WAYS + 1];
    char command[512], path[4096];

    for (int i = 0; i <= WAYS; i++) {
        ky_model *m = NULL;

        snprintf(command, sizeof command, "train|tones.h5|--arch|" ARCH "|-o|way.h5|-e|4|-q%s%s",
                 i > 0 ? "|" : "", i > 0 ? ways[i - 1] : "");
        run_well(command);
        assert_int_equal(ky_model_load(in_dir("way.h5", path), &m, NULL), KY_OK);
        hash[i] = ky_model_facts(m)->hash;
        for (int before = 0; before < i; before++)
            if (hash[before] == hash[i])
                fail_msg("'%s' changes nothing", ways[i - 1]);
        ky_model_free(m);
    }
    run_well("train|tones.h5|--arch|" ARCH "|-o|way.h5|-e|1|-q|--optimizer|rmsprop|--momentum|0.5|"
             "--l2|0.25|--schedule|plateau|--class-weight|balanced");
    ky_model *m = NULL;
    assert_int_equal(ky_model_load(in_dir("way.h5", path), &m, NULL), KY_OK);
    const ky_json *e = m->meta.extra;
    assert_string_equal(ky_json_str(ky_json_get(e, "optimizer"), ""), "rmsprop");
    assert_true(ky_json_num(ky_json_get(e, "momentum"), 0) == 0.5);
    assert_true(ky_json_num(ky_json_get(e, "l2"), 0) == 0.25);
    assert_true(ky_json_num(ky_json_get(e, "learning_rate"), 0) == 0.001);
    assert_true(ky_json_num(ky_json_get(e, "decay"), 0) == 0.1);
    assert_string_equal(ky_json_str(ky_json_get(e, "schedule"), ""), "plateau");
    assert_string_equal(ky_json_str(ky_json_get(e, "class_weight"), ""), "balanced");
    ky_model_free(m);
}

static void put_targets(ky_h5 *f, const char *path, const float *y, int n, int k)
{
    const uint64_t dims[] = { (uint64_t)n, (uint64_t)k };

    assert_int_equal(ky_h5_put(f, path, KY_H5_F32, k > 1 ? 2 : 1, dims, y, NULL), KY_OK);
}

/* speed.h5: the speed of the tones; labels.h5: whether they are slow, and whether not fast. */
static void make_targets(void)
{
    static const char *const labels[] = { "slow", "not fast" };
    static float x[TRAIN * T * F], speed[TRAIN], is[TRAIN * 2];
    static int32_t y[TRAIN];
    ky_h5 *f[2] = { create("speed.h5"), create("labels.h5") };

    for (int part = 0; part < 2; part++) {
        int n = part == 0 ? TRAIN : TEST;

        tones(x, y, n, 1 + (uint64_t)part);
        for (int i = 0; i < n; i++) {
            speed[i] = 0.3f + 0.6f * (float)y[i];
            is[2 * i] = y[i] == 0;
            is[2 * i + 1] = y[i] != 2;
        }
        for (int i = 0; i < 2; i++)
            put_x(f[i], part == 0 ? "/X_train" : "/X_test", x, n);
        put_targets(f[0], part == 0 ? "/y_train" : "/y_test", speed, n, 1);
        put_targets(f[1], part == 0 ? "/y_train" : "/y_test", is, n, 2);
    }
    assert_int_equal(ky_h5_set_attr_strs(f[1], "/", "class_names", labels, 2, NULL), KY_OK);
    commit(f[0]);
    commit(f[1]);
}

static void numbers_are_trained_scored_and_asked(void **state)
{
    (void)state;
    make_targets();

    ran *r = run("train|speed.h5|--task|regress|--loss|huber|--arch|" ARCH "|-o|m.h5|--json" QUICK);
    assert_int_equal(r->code, 0);
    ky_json *o = report_of(r);
    double mae = ky_json_num(ky_json_get(ky_json_get(o, "test"), "mae"), 1);
    assert_true(ky_json_is_number(ky_json_get(o, "val_mae")));
    ky_json_free(o);
    r = run("eval|m.h5|speed.h5|--json");
    assert_int_equal(r->code, 0);
    o = report_of(r);

    assert_true(mae < 0.15); /* speeds are 0.3, 0.9 and 1.5 */
    assert_true(ky_json_num(ky_json_get(o, "mae"), 0) == mae);
    assert_true(ky_json_num(ky_json_get(o, "rmse"), 0) >= mae);
    ky_json_free(o);
    r = run("inspect|m.h5");
    assert_non_null(strstr(r->out, "val_mae"));
    assert_null(strstr(r->out, "accuracy"));
    run_well("predict|m.h5|speed.h5|-o|answers.h5");
    r = run("eval|m.h5|speed.h5");
    assert_non_null(strstr(r->out, "\nMAE "));
    run_well("train|speed.h5|--task|regress|--model|m.h5|-o|on.h5|-e|1|-q|--loss|mae");
}

static void several_labels_are_trained_and_scored(void **state)
{
    (void)state;
    make_targets();

    run_well("train|labels.h5|--task|multilabel|--arch|" ARCH "|-o|m.h5" QUICK);
    ran *r = run("eval|m.h5|labels.h5|--json");
    assert_int_equal(r->code, 0);
    ky_json *o = report_of(r);

    assert_true(ky_json_num(ky_json_get(o, "accuracy"), 0) > 0.9);
    assert_true(ky_json_num(ky_json_get(o, "macro_f1"), 0) > 0.9);
    assert_string_equal(
        ky_json_str(ky_json_get(ky_json_at(ky_json_get(o, "targets"), 1), "target"), ""),
        "not fast");
    ky_json_free(o);
    r = run("eval|m.h5|labels.h5|--task|multilabel");
    assert_non_null(strstr(r->out, "  1 not fast"));
}

static void a_training_goes_on_where_it_was_left(void **state)
{
    (void)state;

    run_well("train|tones.h5|--arch|" ARCH "|-o|whole.h5|-e|6|-q|-b|16");
    run_well("train|tones.h5|--arch|" ARCH "|-o|half.h5|-e|3|-q|-b|16|--checkpoint|c.h5");
    run_well("train|tones.h5|--resume|c.h5|-o|rest.h5|-e|6|-q|-b|16|-t|2");

    assert_true(same_bytes("whole.h5", "rest.h5"));
    assert_false(same_bytes("whole.h5", "half.h5"));
    run_well("eval|c.h5|tones.h5"); /* a model, too */
    ran *r = run("train|tones.h5|--resume|c.h5|-o|rest.h5|-e|6|-q|-b|16|--lr|0.01");
    assert_int_equal(r->code, 1);
    assert_non_null(strstr(r->err, "other data or with other options"));
    r = run("train|tones.h5|--resume|whole.h5|-o|rest.h5|-e|6|-q");
    assert_int_equal(r->code, 1);
    assert_non_null(strstr(r->err, "no checkpoint of a training"));
}

static void the_test_part_has_no_say(void **state)
{
    (void)state;
    make_file("other.h5", 99);
    make_file("none.h5", 0);

    run_well("train|tones.h5|--arch|" ARCH "|-o|a.h5|-e|3|-q");
    run_well("train|other.h5|--arch|" ARCH "|-o|b.h5|-e|3|-q");
    run_well("train|none.h5|--arch|" ARCH "|-o|c.h5|-e|3|-q");

    assert_true(same_bytes("a.h5", "b.h5"));
    assert_true(same_bytes("a.h5", "c.h5"));
}

static void the_file_keeps_how_the_model_came_about(void **state)
{
    (void)state;
    char path[4096];
    ky_model *m = NULL;
    const ky_model_info *f;

    run_well("train|tones.h5|--arch|" ARCH "|-o|m.h5|-e|3|-q|-s|42");

    assert_int_equal(ky_model_load(in_dir("m.h5", path), &m, NULL), KY_OK);
    f = ky_model_facts(m);
    assert_int_equal(f->n_labels, 3);
    assert_string_equal(f->labels[2], "fast");
    assert_int_equal(ky_json_int(ky_json_get(m->meta.extra, "seed"), 0), 42);
    assert_int_equal(ky_json_len(ky_json_get(m->meta.extra, "history")), 3);
    assert_int_equal(strlen(ky_json_str(ky_json_get(m->meta.extra, "data_hash"), "")), 16);
    ky_model_free(m);
}

static void labels_may_be_names_or_any_whole_numbers(void **state)
{
    (void)state;
    static float x[TRAIN * T * F];
    static int32_t y[TRAIN];
    char path[4096];
    ky_model *m = NULL;
    ky_h5 *f = create("words.h5");
    tones(x, y, TRAIN, 1);
    put_x(f, "/X", x, TRAIN);
    put_names(f, "/y", y, TRAIN);
    commit(f);
    f = create("numbers.h5");
    put_x(f, "/X", x, TRAIN);
    for (int i = 0; i < TRAIN; i++)
        y[i] = y[i] * 10 - 5;
    put_ints(f, "/y", y, TRAIN);
    commit(f);

    run_well("train|words.h5|--arch|" ARCH "|-o|w.h5|-e|1|-q");
    run_well("train|numbers.h5|--arch|" ARCH "|-o|n.h5|-e|1|-q");

    assert_int_equal(ky_model_load(in_dir("w.h5", path), &m, NULL), KY_OK);
    assert_string_equal(ky_model_facts(m)->labels[0], "fast"); /* in order of the alphabet */
    ky_model_free(m);
    assert_int_equal(ky_model_load(in_dir("n.h5", path), &m, NULL), KY_OK);
    assert_string_equal(ky_model_facts(m)->labels[0], "-5");
    ky_model_free(m);
    /* by name, whatever place a class has in the model */
    run_well("train|tones.h5|--arch|" ARCH "|-o|m.h5" QUICK);
    ran *r = run("eval|m.h5|words.h5|--json");
    ky_json *o = report_of(r);
    assert_true(ky_json_num(ky_json_get(o, "accuracy"), 0) > 0.9);
    ky_json_free(o);
}

static void a_model_goes_on_from_another(void **state)
{
    (void)state;

    run_well("train|tones.h5|--arch|" ARCH "|-o|first.h5" QUICK);
    ran *r = run("train|tones.h5|--model|first.h5|-o|second.h5|-e|1|-q|--json");

    assert_int_equal(r->code, 0);
    ky_json *o = report_of(r);
    assert_true(ky_json_num(ky_json_get(ky_json_get(o, "test"), "accuracy"), 0) > 0.9);
    ky_json_free(o);
}

/* As Keras: values are dropped inside such a layer while it learns. */
static void dropout_inside_an_lstm_is_heeded(void **state)
{
    (void)state;
    uint64_t hash[2];
    char path[4096];
    ky_model *m = NULL;
    run_well("train|tones.h5|--arch|" ARCH "|-o|plain.h5|-e|1|-q");
    assert_int_equal(ky_model_load(in_dir("plain.h5", path), &m, NULL), KY_OK);
    m->layers[1].cfg.rate = 0.2; /* behind the normalisation */
    assert_int_equal(ky_model_save(m, in_dir("drops.h5", path), NULL), KY_OK);
    ky_model_free(m);

    for (int i = 0; i < 2; i++) {
        run_well(i == 0 ? "train|tones.h5|--model|plain.h5|-o|on.h5|-e|2|-q"
                        : "train|tones.h5|--model|drops.h5|-o|on.h5|-e|2|-q");
        assert_int_equal(ky_model_load(in_dir("on.h5", path), &m, NULL), KY_OK);
        hash[i] = ky_hash(KY_HASH0, m->weights, m->n_weights * sizeof *m->weights);
        ky_model_free(m);
    }

    assert_true(hash[0] != hash[1]);
}

static void training_says_what_it_learns_from(void **state)
{
    (void)state;

    ran *r = run("train|tones.h5|--arch|" ARCH "|-o|m.h5|-e|1");

    assert_int_equal(r->code, 0);
    assert_non_null(strstr(r->err, "X_train: 120 rows of [12,2]; 3 classes"));
    assert_non_null(strstr(r->err, "about 15 %, of every class"));
}

static void predict_says_what_it_wrote(void **state)
{
    (void)state;
    run_well("train|tones.h5|--arch|" ARCH "|-o|m.h5|-e|1|-q");

    ran *r = run("predict|m.h5|tones.h5|-o|answers.h5");

    assert_int_equal(r->code, 0);
    assert_non_null(strstr(r->out, "answers.h5: y [60, 3], the answers to tones.h5:X_test"));
}

static void groups_are_not_split(void **state)
{
    (void)state;
    static float x[TRAIN * T * F];
    static int32_t y[TRAIN], group[TRAIN];
    ky_h5 *f = create("one.h5");
    tones(x, y, TRAIN, 1);
    put_x(f, "/X", x, TRAIN);
    put_ints(f, "/y", y, TRAIN);
    put_ints(f, "/group", group, TRAIN); /* all of one */
    commit(f);

    ran *r = run("train|one.h5|--arch|" ARCH "|-o|g.h5|-q");

    assert_int_equal(r->code, 1);
    assert_non_null(strstr(r->err, "one group"));
    run_well("train|one.h5|--arch|" ARCH "|-o|g.h5|-q|-e|1|--memory|stream");
}

static void an_interrupt_keeps_the_best_so_far(void **state)
{
    (void)state;
    char path[4096];
    ky_model *m = NULL;

    int code = interrupted_at("train|tones.h5|--arch|" ARCH "|-o|i.h5|-e|1000000|-p|1000000",
                              "epoch=2 ", "i.out");

    assert_int_equal(code, 3); /* partly done */
    assert_int_equal(ky_model_load(in_dir("i.h5", path), &m, NULL), KY_OK);
    ky_model_free(m);
}

/* -- what is refused
 * -------------------------------------------------------------------------------- */

/* Writes bad.h5, one thing of it spoilt. */
typedef struct spoilt {
    const char *says;
    const char *command;
    void (*make)(float *x, int32_t *y);
} spoilt;

static void plain(float *x, const int32_t *y)
{
    ky_h5 *f = create("bad.h5");

    put_x(f, "/X", x, TRAIN);
    put_ints(f, "/y", y, TRAIN);
    commit(f);
}

static void plain_data(float *x, int32_t *y)
{
    plain(x, y);
}

static void with_nan(float *x, int32_t *y)
{
    x[(7 * T + 3) * F + 1] = NAN;
    plain(x, y);
}

static void with_infinity(float *x, int32_t *y)
{
    x[(7 * T + 3) * F + 1] = -INFINITY;
    plain(x, y);
}

static void with_one_class(float *x, int32_t *y)
{
    memset(y, 0, TRAIN * sizeof *y);
    plain(x, y);
}

static void listed(float *x, const int32_t *y)
{
    ky_h5 *f = create("bad.h5");

    put_x(f, "/X", x, TRAIN);
    put_ints(f, "/y", y, TRAIN);
    ky_h5_set_attr_strs(f, "/", "class_names", names, 3, NULL);
    commit(f);
}

static void with_label_too_high(float *x, int32_t *y)
{
    y[11] = 3;
    listed(x, y);
}

static void with_label_below_zero(float *x, int32_t *y)
{
    y[11] = -1;
    listed(x, y);
}

static void with_two_dimensions(float *x, int32_t *y)
{
    const uint64_t dims[] = { TRAIN, T * F };
    ky_h5 *f = create("bad.h5");

    ky_h5_put(f, "/X", KY_H5_F32, 2, dims, x, NULL);
    put_ints(f, "/y", y, TRAIN);
    commit(f);
}

static void with_no_rows(float *x, int32_t *y)
{
    ky_h5 *f = create("bad.h5");

    put_x(f, "/X", x, 0);
    put_ints(f, "/y", y, 0);
    commit(f);
}

static void with_words_as_values(float *x, int32_t *y)
{
    ky_h5 *f = create("bad.h5");

    (void)x;
    put_names(f, "/X", y, TRAIN);
    put_ints(f, "/y", y, TRAIN);
    commit(f);
}

static void with_no_labels(float *x, int32_t *y)
{
    ky_h5 *f = create("bad.h5");

    (void)y;
    put_x(f, "/X", x, TRAIN);
    commit(f);
}

static void with_labels_missing(float *x, int32_t *y)
{
    ky_h5 *f = create("bad.h5");

    put_x(f, "/X", x, TRAIN);
    put_ints(f, "/y", y, TRAIN - 1);
    commit(f);
}

static void with_one_hot_labels(float *x, int32_t *y)
{
    const uint64_t dims[] = { TRAIN / 2, 2 };
    ky_h5 *f = create("bad.h5");

    put_x(f, "/X", x, TRAIN / 2);
    ky_h5_put(f, "/y", KY_H5_I32, 2, dims, y, NULL);
    commit(f);
}

static void with_fractions_as_labels(float *x, int32_t *y)
{
    const uint64_t dims[] = { TRAIN };
    ky_h5 *f = create("bad.h5");
    double v[TRAIN];

    for (int i = 0; i < TRAIN; i++)
        v[i] = y[i] + (i == 9 ? 0.5 : 0);
    put_x(f, "/X", x, TRAIN);
    ky_h5_put(f, "/y", KY_H5_F64, 1, dims, v, NULL);
    commit(f);
}

static void with_target(float *x, const int32_t *y, double bad, bool rows)
{
    const uint64_t dims[] = { TRAIN, 2 };
    ky_h5 *f = create("bad.h5");
    double v[TRAIN * 2];

    for (int i = 0; i < 2 * TRAIN; i++)
        v[i] = i == 15 ? bad : y[i / 2] > 0;
    put_x(f, "/X", x, TRAIN - rows);
    ky_h5_put(f, "/y", KY_H5_F64, 2, dims, v, NULL);
    commit(f);
}

static void with_nan_as_target(float *x, int32_t *y)
{
    with_target(x, y, NAN, false);
}

static void with_label_two(float *x, int32_t *y)
{
    with_target(x, y, 2, false);
}

static void with_too_many_targets(float *x, int32_t *y)
{
    with_target(x, y, 0, true);
}

static void with_names_as_targets(float *x, int32_t *y)
{
    ky_h5 *f = create("bad.h5");

    put_x(f, "/X", x, TRAIN);
    put_names(f, "/y", y, TRAIN);
    commit(f);
}

static void with_few_rows(float *x, int32_t *y)
{
    ky_h5 *f = create("bad.h5");

    put_x(f, "/X", x, 3);
    put_ints(f, "/y", y, 3);
    commit(f);
}

static void with_other_steps(float *x, int32_t *y)
{
    const uint64_t dims[] = { TRAIN, T / 2, F };
    ky_h5 *f = create("bad.h5");

    ky_h5_put(f, "/X", KY_H5_F32, 3, dims, x, NULL);
    put_ints(f, "/y", y, TRAIN);
    commit(f);
}

static void with_other_features(float *x, int32_t *y)
{
    const uint64_t dims[] = { TRAIN, T, 1 };
    ky_h5 *f = create("bad.h5");

    ky_h5_put(f, "/X", KY_H5_F32, 3, dims, x, NULL);
    put_ints(f, "/y", y, TRAIN);
    commit(f);
}

static void with_unknown_class(float *x, int32_t *y)
{
    ky_h5 *f = create("bad.h5");
    const char *text[TRAIN];

    (void)y;
    for (int i = 0; i < TRAIN; i++)
        text[i] = i == 5 ? "<\x1b[31mred" : "slow";
    put_x(f, "/X", x, TRAIN);
    ky_h5_put_strs(f, "/y", text, TRAIN, NULL);
    commit(f);
}

static void cut_short(float *x, int32_t *y)
{
    char path[4096];
    struct stat st;

    plain(x, y);
    assert_int_equal(stat(in_dir("bad.h5", path), &st), 0);
    assert_int_equal(truncate(path, st.st_size / 2), 0);
}

static void not_hdf5(float *x, int32_t *y)
{
    char path[4096];
    FILE *f = fopen(in_dir("bad.h5", path), "w");

    (void)x;
    (void)y;
    fputs("X,y\n1,2\n", f);
    fclose(f);
}

static void missing(float *x, int32_t *y)
{
    char path[4096];

    (void)x;
    (void)y;
    unlink(in_dir("bad.h5", path));
}

#define TRAIN_BAD "train|bad.h5|--arch|" ARCH "|-o|new.h5|-q"

static const spoilt table[] = {
    { "row 7, step 3, value 1 is nan", TRAIN_BAD, with_nan },
    { "row 7, step 3, value 1 is -inf", TRAIN_BAD, with_infinity },
    { "row 7, step 3, value 1 is nan", "predict|good.h5|bad.h5|-o|new.h5", with_nan },
    { "only the class '0'", TRAIN_BAD, with_one_class },
    { "row 11 is class 3, but class_names has 0..2", TRAIN_BAD, with_label_too_high },
    { "row 11 is class -1", TRAIN_BAD, with_label_below_zero },
    { "rows of [24]: 'lstm:10'", TRAIN_BAD, with_two_dimensions },
    { "[0,12,2]", TRAIN_BAD, with_no_rows },
    { "1 dimensions", TRAIN_BAD, with_words_as_values },
    { "no labels", TRAIN_BAD, with_no_labels },
    { "no labels", "eval|good.h5|bad.h5", with_no_labels },
    { "'y' has 119 rows, 'X' has 120", TRAIN_BAD, with_labels_missing },
    { "'y' has 2 dimensions", TRAIN_BAD, with_one_hot_labels },
    { "row 9 is 0.5, not a whole number", TRAIN_BAD, with_fractions_as_labels },
    { "too few", TRAIN_BAD, with_few_rows },
    { "6 steps", "predict|window.h5|bad.h5|-o|new.h5", with_other_steps },
    { "6 steps", "eval|window.h5|bad.h5", with_other_steps },
    { "the data have 6", "train|bad.h5|--model|window.h5|-o|new.h5|-q", with_other_steps },
    { "are [12,1]", "predict|good.h5|bad.h5|-o|new.h5", with_other_features },
    { "rows of [12,2], those of bad.h5:X are [12,1]", "train|bad.h5|--model|good.h5|-o|new.h5|-q",
      with_other_features },
    { "'<\\x1b[31mred', which model", "eval|good.h5|bad.h5", with_unknown_class },
    { "bad.h5", TRAIN_BAD, cut_short },
    { "bad.h5", TRAIN_BAD, not_hdf5 },
    { "bad.h5", TRAIN_BAD, missing },
    { "bad.h5", "eval|bad.h5|tones.h5", plain_data },
    { "no dataset 'Z'", "predict|good.h5|tones.h5:Z|-o|new.h5", missing },
    { "no dataset 'X_test'", "predict|good.h5|words.h5:X_test|-o|new.h5", missing },
    { "lstn", "train|tones.h5|--arch|lstn:4, dense|-o|new.h5|-q", missing },
    { "cannot be written", "train|tones.h5|--arch|" ARCH "|-o|no/such/new.h5|-q", missing },
    { "'y' row 7, target 1 is nan", TRAIN_BAD "|--task|regress", with_nan_as_target },
    { "row 7, label 1 is 2", TRAIN_BAD "|--task|multilabel", with_label_two },
    { "'y' has 120 rows, 'X' has 119", TRAIN_BAD "|--task|regress", with_too_many_targets },
    { "must hold numbers", TRAIN_BAD "|--task|regress", with_names_as_targets },
    { "no targets", TRAIN_BAD "|--task|regress", with_no_labels },
    { "3 outputs, but there are 2 targets",
      "train|bad.h5|--arch|lstm:4, dense:3|-o|new.h5|-q|--task|regress", with_label_two },
    { "1 targets a row", "eval|good.h5|bad.h5|--task|regress", plain_data },
    { "only classes have weights", TRAIN_BAD "|--task|regress|--class-weight|balanced",
      with_label_two },
    { "cannot be written", TRAIN_BAD "|--checkpoint|no/such/c.h5", plain_data },
    { "is the file that is read", TRAIN_BAD "|--checkpoint|bad.h5", plain_data },
    { "missing.h5", "train|tones.h5|--resume|missing.h5|-o|new.h5|-q", missing },
    { "only one of them", TRAIN_BAD "|--clip|1|--clipnorm|1", plain_data },
    { "only one of them", TRAIN_BAD "|--clipvalue|1|--clipnorm|1", plain_data },
    { "adam has no momentum", TRAIN_BAD "|--momentum|0.9", plain_data },
    { "for sgd with momentum", TRAIN_BAD "|--optimizer|sgd|--nesterov", plain_data },
    { "sgd cannot be centered", TRAIN_BAD "|--optimizer|sgd|--centered", plain_data },
    { "'7=1': the model has no such class", TRAIN_BAD "|--class-weight|0=2,7=1", plain_data },
    { "'0' is not NAME=NUMBER", TRAIN_BAD "|--class-weight|0", plain_data },
    { "'0=-1' is not NAME=NUMBER", TRAIN_BAD "|--class-weight|0=-1", plain_data },
    { "'0=x' is not NAME=NUMBER", TRAIN_BAD "|--class-weight|0=x", plain_data },
    { "'' is not NAME=NUMBER", TRAIN_BAD "|--class-weight|0=1,", plain_data },
    { "ends in .h5", "train|tones.h5|--arch|" ARCH "|-o|new.keras|-q", missing },
};

static void bad_data_get_one_clear_sentence_and_leave_nothing(void **state)
{
    (void)state;
    static float x[TRAIN * T * F];
    static int32_t y[TRAIN];
    run_well("train|tones.h5|--arch|" ARCH "|-o|good.h5|-e|1|-q");
    run_well("train|tones.h5|--arch|conv1d:3x3 relu, flatten, dense|-o|window.h5|-e|1|-q");

    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        tones(x, y, TRAIN, 1);
        table[i].make(x, y);
        int before = files_in_dir();
        ran *r = run(table[i].command);

        if (r->code != 1 || strstr(r->err, table[i].says) == NULL ||
            strncmp(r->err, "kymo: ", 6) != 0 ||
            strchr(r->err, '\n') != r->err + strlen(r->err) - 1)
            fail_msg("%s: exit %d, '%s' does not say '%s' in a line", table[i].command, r->code,
                     r->err, table[i].says);
        assert_int_equal(files_in_dir(), before);
    }
}

static void what_is_read_is_not_written_over(void **state)
{
    (void)state;
    static const char *const over[] = {
        "train|kept.h5|--arch|" ARCH "|-o|kept.h5|-e|1|-q",
        "train|kept.h5:X_train|--arch|" ARCH "|-o|link.h5|-e|1|-q",
        "predict|m.h5|kept.h5:X_test|-o|link.h5",
        "predict|m.h5|tones.h5|-o|m.h5",
        "train|kept.h5|--arch|" ARCH "|-o|m.h5|-e|1|-q|--history|also.csv",
    };
    char kept[4096], link_to[4096], also[4096];
    ky_model *m = NULL;
    make_file("kept.h5", 2);
    assert_int_equal(link(in_dir("kept.h5", kept), in_dir("also.csv", also)), 0);
    assert_int_equal(link(in_dir("kept.h5", kept), in_dir("link.h5", link_to)), 0);
    run_well("train|tones.h5|--arch|" ARCH "|-o|m.h5|-e|1|-q");

    for (size_t i = 0; i < sizeof over / sizeof *over; i++) {
        ran *r = run(over[i]);

        if (r->code != 1 || strstr(r->err, "is the file that is read") == NULL)
            fail_msg("%s: exit %d: %s", over[i], r->code, r->err);
    }
    assert_true(same_bytes("kept.h5", "tones.h5"));
    assert_int_equal(ky_model_load(in_dir("m.h5", kept), &m, NULL), KY_OK);
    ky_model_free(m);
    /* a model may go on in its own place */
    run_well("train|tones.h5|--model|m.h5|-o|m.h5|-e|1|-q");
}

static void wrong_usage_ends_with_two(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "train",
        "train|tones.h5|-o|m.h5",
        "train|tones.h5|--arch|dense|--model|m.h5|-o|m.h5",
        "train|tones.h5|--arch|dense|-o|m.h5|--history|h.txt",
        "train|tones.h5|--arch|dense|-o|m.h5|--epochs|0",
        "train|tones.h5|--arch|dense|-o|m.h5|--memory|disk",
        "train|tones.h5|--arch|dense|-o|m.h5|--lr|fast",
        "train|tones.h5|--arch|dense|--resume|c.h5|-o|m.h5",
        "train|tones.h5|--arch|dense|-o|m.h5|--checkpoint|m.h5",
        "train|--segments|.|--model|m.h5|-o|new.h5|--checkpoint|c.h5",
        "train|tones.h5|--arch|dense|-o|m.h5|--task|guess",
        "train|tones.h5|--arch|dense|-o|m.h5|--loss|mse",
        "train|tones.h5|--arch|dense|-o|m.h5|--task|regress|--loss|binary_crossentropy",
        "train|tones.h5|--arch|dense|-o|m.h5|--task|multilabel|--loss|mse",
        "train|tones.h5|--arch|dense|-o|m.h5|--task|regress|--loss|x",
        "eval|m.h5|tones.h5|--task|guess",
        "train|tones.h5|--arch|dense|-o|m.h5|--optimizer|adagrad",
        "train|tones.h5|--arch|dense|-o|m.h5|--momentum|1",
        "train|tones.h5|--arch|dense|-o|m.h5|--rho|1",
        "train|tones.h5|--arch|dense|-o|m.h5|--weight-decay|-1",
        "train|tones.h5|--arch|dense|-o|m.h5|--schedule|steps",
        "train|tones.h5|--arch|dense|-o|m.h5|--decay|0.5",
        "train|tones.h5|--arch|dense|-o|m.h5|--schedule|exponential|--decay|2",
        "train|tones.h5|--arch|dense|-o|m.h5|--decay-patience|0",
        "train|tones.h5|--arch|dense|-o|m.h5|--clipnorm|-1",
        "train|tones.h5|--arch|dense|-o|m.h5|--clipvalue|x",
        "train|tones.h5|--arch|dense|-o|m.h5|--l1|-1",
        "train|tones.h5|--arch|dense|-o|m.h5|--l2|nan",
        "train|tones.h5|--arch|dense|-o|m.h5|--label-smoothing|1",
        "eval|m.h5",
        "predict|m.h5|tones.h5",
    };

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        ran *r = run(wrong[i]);

        if (r->code != 2 || strncmp(r->err, "kymo: ", 6) != 0)
            fail_msg("%s: exit %d: %s", wrong[i], r->code, r->err);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_model_is_trained_scored_and_asked),
        cmocka_unit_test(windows_of_a_convolution_are_the_same_stepped),
        cmocka_unit_test(the_same_seed_writes_the_same_file),
        cmocka_unit_test(options_of_learning_are_heeded_and_noted),
        cmocka_unit_test(numbers_are_trained_scored_and_asked),
        cmocka_unit_test(several_labels_are_trained_and_scored),
        cmocka_unit_test(a_training_goes_on_where_it_was_left),
        cmocka_unit_test(the_test_part_has_no_say),
        cmocka_unit_test(the_file_keeps_how_the_model_came_about),
        cmocka_unit_test(labels_may_be_names_or_any_whole_numbers),
        cmocka_unit_test(a_model_goes_on_from_another),
        cmocka_unit_test(dropout_inside_an_lstm_is_heeded),
        cmocka_unit_test(training_says_what_it_learns_from),
        cmocka_unit_test(predict_says_what_it_wrote),
        cmocka_unit_test(groups_are_not_split),
        cmocka_unit_test(an_interrupt_keeps_the_best_so_far),
        cmocka_unit_test(bad_data_get_one_clear_sentence_and_leave_nothing),
        cmocka_unit_test(what_is_read_is_not_written_over),
        cmocka_unit_test(wrong_usage_ends_with_two),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
