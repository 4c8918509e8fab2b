/* Retraining: what the child is told, what its verdict does, and how it fails. The child is a
 * script in place of kymo. */
#include "tests/daemon/keeping.h"

#include <sys/stat.h>
#include <time.h>

#include "daemon/retrain.h"
#include "models/blueprint.h"
#include "models/clock.h"
#include "storage/store.h"

enum { LONG_S = 20 };

typedef struct fixture {
    keeping *k;
    char dir[4096], script[4200], models[4200];
    ky_config *cfg;
    ky_retrainer *t;
    _Atomic uint32_t version;
    _Atomic int swaps, policy, seals;
    bool held_up; /* what is sealed is never applied */
    int swap_rc;
} fixture;

/* -- in place of the pipeline -- */

static uint32_t version(const char *model, void *arg)
{
    (void)model;
    return ((fixture *)arg)->version;
}

static int seal(void *arg, ky_err *err)
{
    fixture *f = arg;

    (void)err;
    keeping_seal(f->k);
    if (!f->held_up)
        keeping_apply(f->k);
    f->seals++;
    return KY_OK;
}

static int swap(const char *model, uint32_t new_version, uint64_t hash, int policy, void *arg,
                ky_err *err)
{
    fixture *f = arg;

    assert_string_equal(model, "m");
    assert_int_not_equal(hash, 0);
    if (f->swap_rc < 0)
        return ky_fail(err, f->swap_rc, "it does not fit");
    f->version = new_version;
    f->policy = policy;
    f->swaps++;
    return KY_OK;
}

/* -- a state directory with one archived class, and version 1 of its model -- */

static void make_model(fixture *f)
{
    ky_shape in = { .rank = 2, .d = { KY_ANY, 2 }, .timed = true };
    ky_model *m = NULL;
    ky_err err = { 0 };

    assert_ok(ky_arch_build("lstm:4, dense", &in, 2, true, &m, &err), err);
    ky_model_init(m, 1);
    assert_ok(ky_model_pack(m, &err), err);
    assert_ok(ky_model_set_labels(m, keeping_labels, 2, &err), err);
    assert_ok(ky_store_add(f->models, m, "m", &(uint32_t){ 0 }, &err), err);
    f->version = 1;
    ky_model_free(m);
}

static void begin_class(fixture *f, const char *models, const char *model_settings)
{
    char text[8192];
    ky_err err = { 0 };

    snprintf(text, sizeof(text),
             "[kymod]\nstate_dir = %s\n[source:s]\nendpoint = tcp://*:1\n[stream:kept]\n"
             "model = %s\narchive = yes\n[stream:other]\nmodel = n\n[model:m]\nfile = /m.h5\n%s\n"
             "[model:n]\nfile = /n.h5\n",
             f->dir, models, model_settings);
    assert_ok(ky_config_of_text(text, strlen(text), &f->cfg, &err), err);
    snprintf(f->script, sizeof(f->script), "%s/kymo", f->dir);
    const ky_retrain_opts o = {
        .cfg = f->cfg, .archiver = f->k->a, .program = f->script, .ops = { version, seal, swap, f }
    };
    assert_ok(ky_retrainer_start(&o, &f->t, &err), err);
}

static void begin(fixture *f, const char *model_settings)
{
    begin_class(f, "m", model_settings);
}

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof(*f));

    f->k = keeping_new("[stream:kept]\nmodel = m\narchive = yes\n");
    snprintf(f->dir, sizeof(f->dir), "%s", f->k->dir);
    snprintf(f->models, sizeof(f->models), "%s/models", f->dir);
    mkdir(f->models, 0700);
    make_model(f);
    keeping_sample(f->k, 0);
    keeping_archive(f->k);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;

    ky_retrainer_stop(f->t);
    keeping_free(f->k);
    ky_config_free(f->cfg);
    free(f);
    return 0;
}

/* The child: notes its arguments one a line, takes the champion as its candidate, then does `rest`.
 */
static void script(fixture *f, const char *rest)
{
    char path[4200];
    FILE *out;

    snprintf(path, sizeof(path), "%s/kymo", f->dir);
    out = fopen(path, "w");
    assert_non_null(out);
    fprintf(out,
            "#!/bin/sh\nfor a in \"$@\"; do echo \"$a\"; done >%s/args\n"
            "while [ $# -gt 0 ]; do\n  [ \"$1\" = --model ] && model=$2\n"
            "  [ \"$1\" = -o ] && out=$2\n  shift\ndone\ncp \"$model\" \"$out\" || exit 9\n%s\n",
            f->dir, rest);
    fchmod(fileno(out), 0755);
    fclose(out);
}

#define REPORT(verdict)                                                                            \
    "echo '{\"rows\":80,\"held_out\":20,\"metric\":\"accuracy\",\"champion\":0.5,"                 \
    "\"candidate\":0.75,\"verdict\":\"" verdict "\",\"reason\":\"so it is\"}'"

/* Asks, and waits for the verdict. */
static void retrain(fixture *f)
{
    const struct timespec step = { 0, 5000000 };
    int64_t end = ky_clock_mono_ns() + LONG_S * 1000000000ll, done = 0;
    uint64_t number = 0;
    ky_err err = { 0 };

    assert_ok(ky_retrainer_request(f->t, "m", &number, &err), err);
    while (done < (int64_t)number) {
        ky_json *status = ky_retrainer_status(f->t);

        done =
            ky_json_int(ky_json_get(ky_json_get(ky_json_get(status, "models"), "m"), "request"), 0);
        ky_json_free(status);
        assert_true(ky_clock_mono_ns() < end);
        nanosleep(&step, NULL); /* between questions */
    }
}

static void assert_row(fixture *f, const char *want)
{
    keeping_assert(f->k,
                   "SELECT model, cause, verdict, from_version, to_version, trained_on, held_out,"
                   " metric, champion, candidate FROM retrains",
                   want);
}

static void assert_reason(fixture *f, const char *want)
{
    char got[1024];

    keeping_ask(f->k, "SELECT reason FROM retrains", got, sizeof(got));
    if (strstr(got, want) == NULL)
        fail_msg("'%s' is not in '%s'", want, got);
}

static bool has_arg(fixture *f, const char *name, const char *value)
{
    char path[4200], line[4400], want[4400];
    bool found = false;
    FILE *in;

    snprintf(path, sizeof(path), "%s/args", f->dir);
    snprintf(want, sizeof(want), "%s\n", value);
    in = fopen(path, "r");
    assert_non_null(in);
    while (!found && fgets(line, sizeof(line), in) != NULL)
        if (strncmp(line, name, strlen(name)) == 0 && line[strlen(name)] == '\n')
            found = fgets(line, sizeof(line), in) != NULL && strcmp(line, want) == 0;
    fclose(in);
    return found;
}

/* -- verdicts -- */

static void a_better_candidate_becomes_the_next_version_and_takes_over(void **state)
{
    fixture *f = *state;
    char path[4300];

    script(f, REPORT("better"));
    begin(f, "on_swap = reset");
    retrain(f);
    assert_row(f, "m,request,promoted,1,2,80,20,accuracy,0.5,0.75");
    assert_int_equal(f->swaps, 1);
    assert_int_equal(f->policy, KY_SWAP_RESET);
    assert_int_equal(f->version, 2);
    ky_store_path(f->models, "m", 2, path);
    assert_int_equal(access(path, R_OK), 0);
    keeping_assert(f->k, "SELECT version, origin, path FROM models", "2,retrain,models/m/2.h5");
    snprintf(path, sizeof(path), "%s/candidate-m.h5", f->models);
    assert_int_equal(access(path, F_OK), -1);
}

static void a_worse_candidate_is_not_kept(void **state)
{
    fixture *f = *state;
    uint32_t latest = 0;

    script(f, REPORT("worse"));
    begin(f, "");
    retrain(f);
    assert_row(f, "m,request,kept,1,,80,20,accuracy,0.5,0.75");
    assert_reason(f, "so it is");
    assert_int_equal(f->swaps, 0);
    assert_int_equal(ky_store_latest(f->models, "m", &latest, NULL), KY_OK);
    assert_int_equal(latest, 1);
}

static void the_child_is_told_what_is_configured(void **state)
{
    fixture *f = *state;
    char path[4300];

    script(f, REPORT("worse"));
    begin(f, "gate_metric = macro_f1\ngate_margin = 0.01\ngate_held_out = 0.3\nretrain_min = 44\n"
             "retrain_epochs = 7");
    retrain(f);
    snprintf(path, sizeof(path), "%s/archive/kept", f->dir);
    assert_true(has_arg(f, "--segments", path));
    assert_true(has_arg(f, "--class", "kept"));
    snprintf(path, sizeof(path), "%s/m/1.h5", f->models);
    assert_true(has_arg(f, "--model", path));
    snprintf(path, sizeof(path), "%s/results.db", f->dir);
    assert_true(has_arg(f, "--results", path));
    assert_true(has_arg(f, "--metric", "macro_f1"));
    assert_true(has_arg(f, "--margin", "0.01"));
    assert_true(has_arg(f, "--least-rows", "44"));
    assert_true(has_arg(f, "--epochs", "7"));
    assert_true(has_arg(f, "--background", "--json"));
}

/* Of the class's segments, whose samples are those of all its models; the other has no part in it.
 */
static void one_of_two_models_of_a_class_is_trained_and_takes_over(void **state)
{
    fixture *f = *state;
    char path[4300];
    uint32_t latest = 1;

    script(f, REPORT("better"));
    begin_class(f, "n, m", "on_swap = reset");
    retrain(f);
    assert_row(f, "m,request,promoted,1,2,80,20,accuracy,0.5,0.75");
    assert_int_equal(f->version, 2);
    snprintf(path, sizeof(path), "%s/archive/kept", f->dir);
    assert_true(has_arg(f, "--segments", path));
    assert_true(has_arg(f, "--class", "kept"));
    snprintf(path, sizeof(path), "%s/m/1.h5", f->models);
    assert_true(has_arg(f, "--model", path));
    assert_int_equal(ky_store_latest(f->models, "n", &latest, NULL), KY_OK);
    assert_int_equal(latest, 0);
    keeping_assert(f->k, "SELECT model, version FROM models", "m,2");
}

/* -- failures -- */

static void a_child_that_fails_is_a_verdict_with_its_last_words(void **state)
{
    fixture *f = *state;

    script(f, "echo first >&2; echo 'kymo: only 3 labelled sequences' >&2; exit 1");
    begin(f, "");
    retrain(f);
    assert_row(f, "m,request,failed,1,,0,0,accuracy,,");
    assert_reason(f, "kymo train ended with exit code 1: kymo: only 3 labelled sequences");
}

static void a_child_that_crashes_is_a_verdict(void **state)
{
    fixture *f = *state;

    script(f, "kill -SEGV $$");
    begin(f, "");
    retrain(f);
    assert_reason(f, "kymo train was ended by signal 11");
}

static void a_child_that_hangs_is_ended(void **state)
{
    fixture *f = *state;

    script(f, "exec sleep 600");
    begin(f, "retrain_timeout = 1s");
    retrain(f);
    assert_reason(f, "it took longer than retrain_timeout, 1 s, and was ended");
}

static void a_report_that_is_none_is_a_verdict(void **state)
{
    fixture *f = *state;

    script(f, "echo nonsense");
    begin(f, "");
    retrain(f);
    assert_reason(f, "the report of kymo train: ");
}

static void a_verdict_of_unknown_kind_promotes_nothing(void **state)
{
    fixture *f = *state;

    script(f, REPORT("perhaps"));
    begin(f, "");
    retrain(f);
    assert_reason(f, "its verdict is 'perhaps'");
    assert_int_equal(f->swaps, 0);
}

static void a_candidate_that_is_no_model_promotes_nothing(void **state)
{
    fixture *f = *state;

    script(f, "echo garbage >\"$out\"\n" REPORT("better"));
    begin(f, "");
    retrain(f);
    assert_reason(f, "it was better, but could not take over: ");
    assert_int_equal(f->swaps, 0);
}

static void a_candidate_that_cannot_take_over_is_a_failure(void **state)
{
    fixture *f = *state;

    f->swap_rc = KY_ESHAPE;
    script(f, REPORT("better"));
    begin(f, "");
    retrain(f);
    assert_reason(f, "it was better, but could not take over: it does not fit");
    assert_int_equal(f->version, 1);
}

static void a_program_that_is_not_there_is_a_verdict(void **state)
{
    fixture *f = *state;

    begin(f, "");
    retrain(f);
    assert_reason(f, "kymo train ended with exit code 127");
}

static void unknown_and_unarchived_models_are_refused(void **state)
{
    fixture *f = *state;
    uint64_t number;
    ky_err err;

    begin(f, "");
    assert_int_equal(ky_retrainer_request(f->t, "x", &number, &err), KY_ENOENT);
    assert_string_equal(err.text, "there is no [model:x]");
    assert_int_equal(ky_retrainer_request(f->t, "n", &number, &err), KY_EINVAL);
    assert_non_null(strstr(err.text, "no [stream:...] with model = n has archive = yes"));
}

/* -- when -- */

static int64_t ahead_us;

static int64_t later_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000 + ahead_us;
}

static void what_is_due_is_trained_without_being_asked(void **state)
{
    const struct timespec step = { 0, 5000000 };
    int64_t end = ky_clock_mono_ns() + LONG_S * 1000000000ll;
    fixture *f = *state;
    char n[32] = "0";

    script(f, REPORT("worse"));
    begin(f, "retrain = every 1s");
    while (strcmp(n, "0") == 0) {
        keeping_ask(f->k, "SELECT count(*) FROM retrains WHERE cause = 'schedule'", n, sizeof(n));
        assert_true(ky_clock_mono_ns() < end);
        nanosleep(&step, NULL); /* between questions */
    }
}

static void a_restart_does_not_begin_the_time_anew(void **state)
{
    fixture *f = *state;
    ky_retrain_row last = { .model = "m", .cause = "schedule", .verdict = "kept" };
    ky_json *status;
    ky_err err = { 0 };
    int64_t due;

    ahead_us = 0;
    last.started_us = later_us() - 3600 * 1000000ll;
    assert_ok(ky_results_add_retrain(f->k->r, &last, &err), err);
    begin(f, "retrain = every 24h");
    status = ky_retrainer_status(f->t);
    due = ky_json_int(ky_json_get(ky_json_get(ky_json_get(status, "models"), "m"), "due_us"), 0);
    ky_json_free(status);
    assert_int_equal(due, last.started_us + 24 * 3600 * 1000000ll);
}

static void stopping_ends_the_child_without_a_verdict(void **state)
{
    const struct timespec step = { 0, 5000000 };
    int64_t end = ky_clock_mono_ns() + LONG_S * 1000000000ll;
    fixture *f = *state;
    char path[4300];
    uint64_t number;
    ky_err err = { 0 };

    script(f, "exec sleep 600");
    begin(f, "");
    snprintf(path, sizeof(path), "%s/candidate-m.h5", f->models);
    assert_ok(ky_retrainer_request(f->t, "m", &number, &err), err);
    while (access(path, F_OK) < 0) {
        assert_true(ky_clock_mono_ns() < end);
        nanosleep(&step, NULL); /* until the child works */
    }
    ky_retrainer_stop(f->t);
    f->t = NULL;
    assert_true(ky_clock_mono_ns() < end);
    keeping_assert(f->k, "SELECT count(*) FROM retrains", "0");
    assert_int_equal(access(path, F_OK), -1);
}

static void stopping_does_not_wait_for_an_archive_that_is_held_up(void **state)
{
    const struct timespec step = { 0, 5000000 };
    int64_t end = ky_clock_mono_ns() + LONG_S * 1000000000ll;
    fixture *f = *state;
    uint64_t number;
    ky_err err = { 0 };

    f->held_up = true;
    begin(f, "");
    assert_ok(ky_retrainer_request(f->t, "m", &number, &err), err);
    while (f->seals == 0) {
        assert_true(ky_clock_mono_ns() < end);
        nanosleep(&step, NULL); /* until it waits for the archive */
    }
    ky_retrainer_stop(f->t);
    f->t = NULL;
    assert_true(ky_clock_mono_ns() < end);
    keeping_assert(f->k, "SELECT count(*) FROM retrains", "0");
}

/* -- old versions -- */

static void old_versions_go_but_those_in_use_stay(void **state)
{
    fixture *f = *state;
    ky_row_state *s;
    char path[4300];
    ky_err err = { 0 };
    static const char *const models[] = { "m" };

    /* Version 1 is in a stream's state. */
    f->k->u.models = f->k->u.classes = models;
    KY_ADD(&f->k->u.streams)->id = 1;
    s = KY_ADD(&f->k->u.states);
    *s = (ky_row_state){ .stream = 1, .version = 1, .seq_high = KY_NONE, .ts_us = KY_NONE };
    assert_ok(ky_results_commit(f->k->r, &f->k->u, &err), err);
    script(f, REPORT("better"));
    begin(f, "keep_versions = 2");
    for (uint32_t v = 2; v <= 5; v++) {
        keeping_sample(f->k, 0);
        retrain(f);
        assert_int_equal(f->version, v);
    }
    for (uint32_t v = 1; v <= 5; v++) {
        ky_store_path(f->models, "m", v, path);
        assert_int_equal(access(path, F_OK), v == 2 || v == 3 ? -1 : 0);
    }
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_better_candidate_becomes_the_next_version_and_takes_over),
        T(a_worse_candidate_is_not_kept),
        T(the_child_is_told_what_is_configured),
        T(one_of_two_models_of_a_class_is_trained_and_takes_over),
        T(a_child_that_fails_is_a_verdict_with_its_last_words),
        T(a_child_that_crashes_is_a_verdict),
        T(a_child_that_hangs_is_ended),
        T(a_report_that_is_none_is_a_verdict),
        T(a_verdict_of_unknown_kind_promotes_nothing),
        T(a_candidate_that_is_no_model_promotes_nothing),
        T(a_candidate_that_cannot_take_over_is_a_failure),
        T(a_program_that_is_not_there_is_a_verdict),
        T(unknown_and_unarchived_models_are_refused),
        T(what_is_due_is_trained_without_being_asked),
        T(a_restart_does_not_begin_the_time_anew),
        T(stopping_ends_the_child_without_a_verdict),
        T(stopping_does_not_wait_for_an_archive_that_is_held_up),
        T(old_versions_go_but_those_in_use_stay),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
