/* `kymo compare` on generated data: who is recommended, and that its figures can be relied on. */
#include "tests/cli/run.h"

#include <math.h>
#include <signal.h>

#include "models/blueprint.h"
#include "models/h5.h"
#include "models/rng.h"

/* Small enough for a test, and enough to learn it. */
#define MEMORY "simulate|memory|-q|--train|360|--test|200|--steps|48|-o|memory.h5"
#define LOCAL  "simulate|local|-q|--train|320|--test|200|--steps|32|-o|local.h5"

static const ky_json *model_in(const ky_json *report, const char *name)
{
    const ky_json *models = ky_json_get(report, "models");

    for (size_t i = 0; i < ky_json_len(models); i++)
        if (strcmp(ky_json_str(ky_json_get(ky_json_at(models, i), "name"), ""), name) == 0)
            return ky_json_at(models, i);
    fail_msg("no model '%s' in the report", name);
    return NULL;
}

static double number_in(const ky_json *report, const char *name, const char *key)
{
    return ky_json_num(ky_json_get(model_in(report, name), key), NAN);
}

static const char *recommended(const ky_json *report)
{
    return ky_json_str(ky_json_get(report, "recommended"), "(nothing)");
}

static ky_json *compare(const char *words)
{
    ran *r = run(words);

    if (r->code != 0)
        fail_msg("kymo %s: exit %d: %s", words, r->code, r->err);
    return report_of(r);
}

static void says(const ky_json *report, const char *words)
{
    const char *why = ky_json_str(ky_json_get(report, "why"), "");

    if (strstr(why, words) == NULL)
        fail_msg("'%s' is not in: %s", words, why);
}

/* -- the lesson ----------------------------------------------------------------------------------
 */

static void where_an_early_event_decides_a_memory_is_recommended(void **state)
{
    (void)state;
    ky_json *r = compare("compare|memory.h5|--json|-q|--only|linear,conv1d,lstm|--weights|600|"
                         "--seeds|2|--epochs|30|--lr|0.01");

    assert_string_equal(recommended(r), "lstm");
    assert_true(number_in(r, "lstm", "accuracy") > 0.95);
    assert_true(number_in(r, "conv1d", "accuracy") < 0.65);
    assert_true(number_in(r, "linear", "accuracy") < 0.65);
    says(r, "Recommended: LSTM");
    says(r, "more than chance");
    ky_json_free(r);
}

static void where_short_shapes_decide_the_cnn_is_recommended(void **state)
{
    (void)state;
    ky_json *r = compare("compare|local.h5|--json|-q|--only|linear,conv1d,gru|--weights|600|"
                         "--seeds|2|--epochs|40|--lr|0.01");

    assert_string_equal(recommended(r), "conv1d");
    assert_true(number_in(r, "conv1d", "accuracy") > 0.9);
    says(r, "memory gains little here");
    ky_json_free(r);
}

/* -- figures -------------------------------------------------------------------------------------
 */

static void models_have_like_many_weights_and_cost_what_inspect_says(void **state)
{
    (void)state;
    static const char *const sized[] = { "conv1d", "simple_rnn", "gru", "lstm", "conv1d_lstm" };
    ky_json *r = compare("compare|local.h5|--json|-q|--seeds|1|--epochs|1|--weights|2000|-o|kept");
    char words[128];

    for (size_t i = 0; i < sizeof sized / sizeof *sized; i++) {
        const char *form = ky_json_str(ky_json_get(model_in(r, sized[i]), "served_as"), "");

        snprintf(words, sizeof words, "inspect|kept/%s.h5|--json", sized[i]);
        ky_json *facts = compare(words);
        const ky_json *costs = ky_json_get(facts, form);

        assert_string_equal(form, strcmp(sized[i], "conv1d") == 0 ? "window" : "stream");
        if (fabs(number_in(r, sized[i], "weights") - 2000) > 200)
            fail_msg("%s has %g weights", sized[i], number_in(r, sized[i], "weights"));
        assert_true(number_in(r, sized[i], "weights") ==
                    ky_json_num(ky_json_get(facts, "weights"), -1));
        assert_true(number_in(r, sized[i], "multiply_adds") ==
                    ky_json_num(ky_json_get(costs, "macs"), -1));
        assert_true(number_in(r, sized[i], "state_bytes") ==
                    ky_json_num(ky_json_get(costs, "state_bytes"), -1));
        assert_true(number_in(r, sized[i], "latency_us") > 0);
        ky_json_free(facts);
    }
    ky_json_free(r);
}

/* Time in place of epochs: however little there is, every model has had some and is scored. */
static void time_may_be_the_budget(void **state)
{
    (void)state;
    ky_json *r = compare("compare|local.h5|--json|-q|--only|linear,conv1d|--weights|200|--seeds|1|"
                         "--seconds|1ms");

    assert_true(ky_json_num(ky_json_get(ky_json_get(r, "budget"), "seconds"), 0) == 0.001);
    assert_true(number_in(r, "linear", "accuracy") > 0);
    assert_true(number_in(r, "conv1d", "accuracy") > 0);
    assert_true(number_in(r, "conv1d", "unfinished_runs") == 1);
    says(r, "--seconds gives all of them more");
    ky_json_free(r);
}

/* All that is said but how long steps took. */
static char *without_latency(ran *r)
{
    ky_json *o = report_of(r);
    const ky_json *models = ky_json_get(o, "models");

    for (size_t i = 0; i < ky_json_len(models); i++)
        ky_json_set((ky_json *)(uintptr_t)ky_json_at(models, i), "latency_us", ky_json_of_null());
    char *text = ky_json_text(o, 0);
    ky_json_free(o);
    return text;
}

static void the_same_data_and_seed_give_the_same_figures_on_any_threads(void **state)
{
    (void)state;
    char *text[2];

    for (int k = 0; k < 2; k++) {
        char words[160];

        snprintf(words, sizeof words,
                 "compare|local.h5|--json|-q|--seeds|2|--epochs|2|--weights|400|-t|%d|-o|same%d",
                 k + 1, k);
        ran *r = run(words);
        assert_int_equal(r->code, 0);
        text[k] = without_latency(r);
    }
    assert_string_equal(text[0], text[1]);
    assert_true(same_bytes("same0/conv1d_lstm.h5", "same1/conv1d_lstm.h5"));
    free(text[0]);
    free(text[1]);
}

/* Nothing of the test part chooses the model that is kept: the run with the lowest validation loss
 * is, and `eval` finds what was said of it. */
static void what_is_kept_scores_as_it_was_said(void **state)
{
    (void)state;
    ky_json *r = compare("compare|local.h5|--json|-q|--only|conv1d|--seeds|1|--epochs|3|-o|one");
    ky_json *e = compare("eval|one/conv1d.h5|local.h5|--json");

    assert_true(ky_json_num(ky_json_get(e, "accuracy"), -1) == number_in(r, "conv1d", "accuracy"));
    ky_json_free(r);
    ky_json_free(e);
}

/* -- other data ----------------------------------------------------------------------------------
 */

static void tokens_images_and_videos_have_models_of_their_own(void **state)
{
    (void)state;
    static const struct {
        const char *make, *kind, *model;
    } cases[] = {
        { "simulate|sentiment|-q|--train|60|--test|30|-o|kind.h5", "tokens", "conv1d_lstm" },
        { "simulate|digits|-q|--train|40|--test|20|-o|kind.h5", "images", "conv2d" },
        { "simulate|moving-digits|-q|--train|24|--test|12|--size|16|--steps|3|-o|kind.h5", "video",
          "lstm" },
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        run_well(cases[i].make);
        ky_json *r = compare("compare|kind.h5|--json|-q|--seeds|1|--epochs|1");

        assert_string_equal(ky_json_str(ky_json_get(r, "kind"), ""), cases[i].kind);
        assert_true(number_in(r, cases[i].model, "accuracy") >= 0);
        assert_true(number_in(r, cases[i].model, "latency_us") > 0);
        ky_json_free(r);
    }
}

enum { N = 60, T = 8 };

/* X [N,T,1] without a test part; y is the sum of the row and, as a second column, of its first
 * half; as labels whether these are positive. */
static void make_targets(const char *name, bool labels, int columns)
{
    static float x[N * T], y[N * 2];
    uint64_t xd[] = { N, T, 1 }, yd[] = { N, (uint64_t)columns };
    char path[4096];
    ky_rng rng;
    ky_h5 *f;

    ky_rng_seed(&rng, 9);
    for (int i = 0; i < N; i++) {
        double sum[2] = { 0 };

        for (int t = 0; t < T; t++) {
            x[i * T + t] = (float)ky_rng_normal(&rng);
            sum[0] += x[i * T + t];
            sum[1] += t < T / 2 ? x[i * T + t] : 0;
        }
        for (int k = 0; k < columns; k++)
            y[i * columns + k] = (float)(labels ? sum[k] > 0 : sum[k]);
    }
    assert_int_equal(ky_h5_create(in_dir(name, path), &f, NULL), KY_OK);
    assert_int_equal(ky_h5_put(f, "/X", KY_H5_F32, 3, xd, x, NULL), KY_OK);
    assert_int_equal(ky_h5_put(f, "/y", KY_H5_F32, 2, yd, y, NULL), KY_OK);
    assert_int_equal(ky_h5_commit(f, NULL), KY_OK);
}

static void numbers_and_labels_are_compared_on_rows_held_out(void **state)
{
    (void)state;

    make_targets("numbers.h5", false, 1);
    ky_json *r = compare("compare|numbers.h5|--task|regress|--json|-q|--seeds|1|--epochs|60|--lr|"
                         "0.03|--only|linear,simple_rnn|--weights|100");
    assert_int_equal(ky_json_int(ky_json_get(r, "test_rows"), 0), N / 4);
    assert_int_equal(ky_json_int(ky_json_get(r, "rows"), 0), N - N / 4);
    assert_false(ky_json_bool(ky_json_get(r, "test_part"), true));
    /* A sum is what a linear model is made for. */
    assert_string_equal(recommended(r), "linear");
    assert_true(number_in(r, "linear", "rmse") < 1);
    assert_true(number_in(r, "linear", "r2") > 0.8);
    ky_json_free(r);

    make_targets("labels.h5", true, 2);
    r = compare("compare|labels.h5|--task|multilabel|--json|-q|--seeds|1|--epochs|60|--lr|0.03|"
                "--only|linear,gru|--weights|100");
    assert_true(number_in(r, "linear", "accuracy") > 0.7);
    ky_json_free(r);
}

/* Rows [N,T,1] that end early, behind which stands nothing, and no test part. */
static void make_lengths(const char *name)
{
    static float x[N * T];
    static int32_t y[N];
    uint64_t xd[] = { N, T, 1 }, yd[] = { N };
    char path[4096];
    ky_rng rng;
    ky_h5 *f;

    ky_rng_seed(&rng, 4);
    for (int i = 0; i < N; i++) {
        int end = T / 2 + i % (T / 2);

        y[i] = i % 2;
        for (int t = 0; t < T; t++)
            x[i * T + t] = t < end ? (float)(ky_rng_normal(&rng) + y[i]) : NAN;
    }
    assert_int_equal(ky_h5_create(in_dir(name, path), &f, NULL), KY_OK);
    assert_int_equal(ky_h5_put(f, "/X", KY_H5_F32, 3, xd, x, NULL), KY_OK);
    assert_int_equal(ky_h5_put(f, "/y", KY_H5_I32, 1, yd, y, NULL), KY_OK);
    assert_int_equal(ky_h5_commit(f, NULL), KY_OK);
}

static void a_model_is_worth_the_same_whatever_else_is_compared(void **state)
{
    (void)state;

    make_lengths("lengths.h5");
    ky_json *all = compare("compare|lengths.h5|--json|-q|--seeds|2|--epochs|4|--weights|200");
    ky_json *one =
        compare("compare|lengths.h5|--json|-q|--seeds|2|--epochs|4|--weights|200|--only|gru");

    assert_int_equal(number_in(all, "gru", "runs"), 2);
    assert_true(number_in(all, "gru", "accuracy") == number_in(one, "gru", "accuracy"));
    assert_true(number_in(all, "gru", "standard_error") == number_in(one, "gru", "standard_error"));
    ky_json_free(all);
    ky_json_free(one);
}

/* -- what goes wrong -----------------------------------------------------------------------------
 */

static void models_that_rows_are_too_short_for_are_left_out(void **state)
{
    (void)state;
    static float x[40];
    static int32_t y[40];
    uint64_t xd[] = { 40, 1, 1 }, yd[] = { 40 };
    char path[4096];
    ky_h5 *f;

    for (int i = 0; i < 40; i++)
        x[i] = (float)(y[i] = i % 2);
    assert_int_equal(ky_h5_create(in_dir("short.h5", path), &f, NULL), KY_OK);
    assert_int_equal(ky_h5_put(f, "/X", KY_H5_F32, 3, xd, x, NULL), KY_OK);
    assert_int_equal(ky_h5_put(f, "/y", KY_H5_I32, 1, yd, y, NULL), KY_OK);
    assert_int_equal(ky_h5_commit(f, NULL), KY_OK);
    ky_json *r = compare("compare|short.h5|--json|-q|--seeds|1|--epochs|2");

    assert_non_null(ky_json_get(model_in(r, "conv1d"), "left_out"));
    assert_null(ky_json_get(model_in(r, "lstm"), "left_out"));
    ky_json_free(r);
}

static void an_interrupt_shows_what_is_known_so_far(void **state)
{
    (void)state;
    char path[4096];

    int code = interrupted_at("compare|memory.h5|--json|--only|linear,lstm|--seeds|20|--epochs|400|"
                              "--patience|400|--weights|4000",
                              "model=linear seed=", "partly.json");

    assert_int_equal(code, 3);
    static ran r;
    slurp(in_dir("partly.json", path), r.out, sizeof r.out);
    ky_json *report = report_of(&r);
    assert_true(ky_json_bool(ky_json_get(report, "interrupted"), false));
    says(report, "interrupted after");
    assert_true(number_in(report, "linear", "runs") >= 1);
    assert_true(number_in(report, "lstm", "runs") < 20);
    ky_json_free(report);
}

/* A part of each, of rows that are no longer alike. */
static void make_unlike(const char *name)
{
    static const float x[2 * 10];
    static const int32_t y[2] = { 0, 1 };
    uint64_t train[] = { 2, 10, 1 }, test[] = { 2, 9, 1 }, n[] = { 2 };
    char path[4096];
    ky_h5 *f;

    assert_int_equal(ky_h5_create(in_dir(name, path), &f, NULL), KY_OK);
    assert_int_equal(ky_h5_put(f, "/X_train", KY_H5_F32, 3, train, x, NULL), KY_OK);
    assert_int_equal(ky_h5_put(f, "/X_test", KY_H5_F32, 3, test, x, NULL), KY_OK);
    assert_int_equal(ky_h5_put(f, "/y_train", KY_H5_I32, 1, n, y, NULL), KY_OK);
    assert_int_equal(ky_h5_put(f, "/y_test", KY_H5_I32, 1, n, y, NULL), KY_OK);
    assert_int_equal(ky_h5_commit(f, NULL), KY_OK);
}

static void what_makes_no_sense_is_refused_in_a_sentence(void **state)
{
    (void)state;
    static const told cases[] = {
        { "compare", "", 2 },
        { "compare|none.h5", "none.h5", 1 },
        { "compare|local.h5|--only|conv1d,lstn", "'lstn' is no model for series", 1 },
        { "compare|local.h5|--only|,gru", "'' is no model for series", 1 },
        { "compare|local.h5|--kind|sound", "'sound' is none of series", 1 },
        { "compare|local.h5|--kind|video", "rows of [32,1] are no video", 1 },
        { "compare|local.h5|--task|guess", "guess", 2 },
        { "compare|local.h5|--seeds|0", "--seeds", 2 },
        { "compare|unlike.h5", "X_test are [9,1], those of unlike.h5:X_train are [10,1]", 1 },
        { "compare|linear.h5|-o|.|--epochs|1", "is the file that is read", 1 },
        { "compare|local.h5|-o|local.h5|--epochs|1", "folder 'local.h5' cannot be made", 1 },
    };

    run_well("simulate|local|-q|--train|20|--test|10|-o|linear.h5");
    make_unlike("unlike.h5");
    assert_told(cases, sizeof cases / sizeof *cases);
}

static int set_up(void **state)
{
    (void)state;
    if (run_begin() != 0)
        return -1;
    run_well(MEMORY);
    run_well(LOCAL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    return run_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(where_an_early_event_decides_a_memory_is_recommended),
        cmocka_unit_test(where_short_shapes_decide_the_cnn_is_recommended),
        cmocka_unit_test(time_may_be_the_budget),
        cmocka_unit_test(models_have_like_many_weights_and_cost_what_inspect_says),
        cmocka_unit_test(the_same_data_and_seed_give_the_same_figures_on_any_threads),
        cmocka_unit_test(what_is_kept_scores_as_it_was_said),
        cmocka_unit_test(tokens_images_and_videos_have_models_of_their_own),
        cmocka_unit_test(numbers_and_labels_are_compared_on_rows_held_out),
        cmocka_unit_test(a_model_is_worth_the_same_whatever_else_is_compared),
        cmocka_unit_test(models_that_rows_are_too_short_for_are_left_out),
        cmocka_unit_test(an_interrupt_shows_what_is_known_so_far),
        cmocka_unit_test(what_makes_no_sense_is_refused_in_a_sentence),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
