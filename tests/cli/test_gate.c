/* Retraining behind the gate: the built kymo on segments made here. */
#include "tests/cli/run.h"

#include <math.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "models/h5.h"
#include "models/rng.h"
#include "models/sample.h"
#include "storage/record.h"
#include "storage/results.h"

enum { T = 12, F = 2, MOST_ROWS = 1 << 16 };

static const char *const names[] = { "slow", "middle", "fast" };

/* -- data ------------------------------------------------------------------------------------ */

/* One sequence of a class: tones at its speed, with noise. */
static void tone(ky_rng *rng, int class, int steps, float *x)
{
    double phase = 6.28 * ky_rng_uniform(rng);

    for (int t = 0; t < steps; t++) {
        double a = phase + (0.3 + 0.6 * class) * t;

        x[t * F] = (float)(sin(a) + 0.1 * ky_rng_normal(rng));
        x[t * F + 1] = (float)(cos(a) + 0.1 * ky_rng_normal(rng));
    }
}

/* Rows of a segment, grown sequence by sequence; two streams take turns. */
typedef struct rows {
    ky_rng rng;
    size_t n;
    uint8_t op[MOST_ROWS];
    uint32_t flags[MOST_ROWS], stream[MOST_ROWS];
    int64_t step[MOST_ROWS], ts[MOST_ROWS];
    int32_t label[MOST_ROWS];
    float x[MOST_ROWS * F];
    int64_t next_n[2];
} rows;

static rows made;

/* Step t of a sequence of `steps`. */
static void add_step(uint32_t stream, int t, int steps, int32_t label, const float *x)
{
    rows *r = &made;

    assert_true(r->n < MOST_ROWS);
    r->op[r->n] = KY_REC_SAMPLE;
    r->flags[r->n] = (t == 0 ? KY_START : 0) | (t == steps - 1 ? KY_END : 0);
    r->stream[r->n] = stream;
    r->step[r->n] = ++r->next_n[stream];
    r->ts[r->n] = 1000000 + 1000 * r->next_n[0] + 1000 * r->next_n[1];
    r->label[r->n] = t == steps - 1 ? label : -1;
    memcpy(r->x + r->n++ * F, x, F * sizeof(float));
}

/* Steps [from,to) of a sequence of `steps`; label index -1: none. */
static void add(int class, int32_t label, int steps, int from, int to)
{
    static float x[100 * F];

    if (from == 0)
        tone(&made.rng, class, steps, x);
    for (int t = from; t < to; t++)
        add_step((uint32_t) class % 2, t, steps, label, x + t * F);
}

static void begin_rows(uint64_t seed)
{
    memset(&made, 0, sizeof made);
    ky_rng_seed(&made.rng, seed);
}

static void table(ky_h5 *f, const char *path, enum ky_h5_type type, const void *data, size_t n)
{
    ky_err err;

    if (ky_h5_table(f, path, type, 1, NULL, &err) < 0 || ky_h5_append(f, path, data, n, &err) < 0)
        fail_msg("%s", err.text);
}

/* archive/tones/<name>, as kymod's archive writes it; the rows are used up. */
static void write_segment(const char *name)
{
    static const char *const classes[] = { "slow", "middle", "fast", "odd" };
    static const char *const streams[] = { "pump-1", "pump-2" };
    static const char *const features[] = { "sin", "cos" };
    const uint64_t width = F;
    static int64_t position;
    char path[4096], relative[300];
    rows *r = &made;
    ky_h5 *f = NULL;

    mkdir(in_dir("archive", path), 0700);
    mkdir(in_dir("archive/tones", path), 0700);
    snprintf(relative, sizeof relative, "archive/tones/%s", name);
    assert_int_equal(ky_h5_create(in_dir(relative, path), &f, NULL), KY_OK);
    assert_int_equal(ky_h5_table(f, "/x", KY_H5_F32, 2, &width, NULL), KY_OK);
    assert_int_equal(ky_h5_append(f, "/x", r->x, r->n, NULL), KY_OK);
    table(f, "/op", KY_H5_U8, r->op, r->n);
    table(f, "/flags", KY_H5_U32, r->flags, r->n);
    table(f, "/stream", KY_H5_U32, r->stream, r->n);
    table(f, "/n", KY_H5_I64, r->step, r->n);
    table(f, "/seq", KY_H5_I64, r->step, r->n);
    table(f, "/ts", KY_H5_I64, r->ts, r->n);
    table(f, "/label", KY_H5_I32, r->label, r->n);
    assert_int_equal(ky_h5_put_strs(f, "/streams", streams, 2, NULL), KY_OK);
    ky_h5_set_attr_str(f, "/", "kymo_version", "0.1.0", NULL);
    ky_h5_set_attr_str(f, "/", "class", "tones", NULL);
    ky_h5_set_attr_strs(f, "/", "class_names", classes, 4, NULL);
    ky_h5_set_attr_strs(f, "/", "features", features, F, NULL);
    ky_h5_set_attr_int(f, "/", "journal_first", position, NULL);
    ky_h5_set_attr_int(f, "/", "journal_end", position += 1000, NULL);
    assert_int_equal(ky_h5_commit(f, NULL), KY_OK);
    r->n = 0;
}

static void remove_archive(void)
{
    char path[4096];

    nftw(in_dir("archive", path), run_unlink, 16, FTW_DEPTH | FTW_PHYS);
}

/* A person's file, for champions and for scoring what was held out. */
static void write_file(const char *name, const float *x, const int32_t *y, const int64_t *ts, int n,
                       int steps)
{
    const uint64_t dims[] = { (uint64_t)n, (uint64_t)steps, F };
    char path[4096];
    ky_h5 *f = NULL;

    assert_int_equal(ky_h5_create(in_dir(name, path), &f, NULL), KY_OK);
    assert_int_equal(ky_h5_put(f, "/X", KY_H5_F32, 3, dims, x, NULL), KY_OK);
    assert_int_equal(ky_h5_put(f, "/y", KY_H5_I32, 1, dims, y, NULL), KY_OK);
    if (ts != NULL)
        assert_int_equal(ky_h5_put(f, "/ts", KY_H5_I64, 1, dims, ts, NULL), KY_OK);
    ky_h5_set_attr_strs(f, "/", "class_names", names, 3, NULL);
    assert_int_equal(ky_h5_commit(f, NULL), KY_OK);
}

static int set_up(void **state)
{
    static float x[60 * T * F];
    int32_t y[60];
    ky_rng rng;

    (void)state;
    if (run_begin() != 0)
        return -1;
    ky_rng_seed(&rng, 1);
    for (int i = 0; i < 60; i++)
        tone(&rng, y[i] = i % 3, T, x + i * T * F);
    write_file("small.h5", x, y, NULL, 60, T);
    run_well("train|small.h5|--arch|lstm:10, dense|-o|champion.h5|-e|2|-q");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    return run_end();
}

#define GATE "train|--segments|archive/tones|--model|champion.h5|--gate|--json|-q|--lr|0.01|-b|16"

static ky_json *gate(const char *more, int code)
{
    char words[1024];
    ran *r;

    snprintf(words, sizeof words, GATE "|%s", more);
    r = run(words);
    if (r->code != code)
        fail_msg("exit %d: %s", r->code, r->err);
    return report_of(r);
}

static const char *text(const ky_json *o, const char *key)
{
    return ky_json_str(ky_json_get(o, key), "");
}

static int64_t count(const ky_json *o, const char *key)
{
    return ky_json_int(ky_json_get(o, key), -1);
}

static double figure(const ky_json *o, const char *key)
{
    return ky_json_num(ky_json_get(o, key), NAN);
}

static bool exists(const char *name)
{
    char path[4096];

    return access(in_dir(name, path), F_OK) == 0;
}

/* 120 sequences in three segments, one of them over a border. */
static void usual_archive(uint64_t seed)
{
    begin_rows(seed);
    for (int i = 0; i < 120; i++) {
        bool border = i == 40 || i == 80;

        add(i % 3, i % 3, T, 0, border ? 5 : T);
        if (border) {
            write_segment(i == 40 ? "20260101T000000Z-1.h5" : "20260102T000000Z-2.h5");
            add(i % 3, i % 3, T, 5, T);
        }
    }
    write_segment("20260103T000000Z-3.h5");
}

/* -- verdicts ------------------------------------------------------------------------------------
 */

static void a_better_candidate_is_said_and_written(void **state)
{
    (void)state;
    usual_archive(5);

    ky_json *o = gate("-o|candidate.h5|-e|30|--held-out|0.25", 0);

    assert_string_equal(text(o, "verdict"), "better");
    assert_string_equal(text(o, "metric"), "accuracy");
    assert_int_equal(count(o, "rows"), 90);
    assert_int_equal(count(o, "held_out"), 30);
    assert_int_equal(count(o, "sequences"), 120);
    assert_true(figure(o, "candidate") > 0.9);
    assert_true(figure(o, "candidate") > figure(o, "champion"));
    assert_true(exists("candidate.h5"));
    ky_json_free(o);
    remove_archive();
}

/* The same figures as kymo eval gives on the latest quarter. */
static void both_are_scored_on_the_latest_part_that_neither_learned(void **state)
{
    (void)state;
    static float x[30 * T * F];
    int32_t y[30];
    usual_archive(6);
    begin_rows(6);
    for (int i = 0; i < 120; i++) {
        made.n = 0;
        add(i % 3, i % 3, T, 0, T);
        if (i >= 90) {
            memcpy(x + (i - 90) * T * F, made.x, T * F * sizeof(float));
            y[i - 90] = i % 3;
        }
    }
    write_file("latest.h5", x, y, NULL, 30, T);

    static const char *const metrics[] = { "accuracy", "macro_f1", "log_loss" };
    for (int i = 0; i < 3; i++) {
        char words[200];

        snprintf(words, sizeof words, "-o|candidate.h5|-e|3|--metric|%s", metrics[i]);
        ky_json *o = gate(words, 0);
        ky_json *before = report_of(run("eval|champion.h5|latest.h5|--json"));
        ky_json *after = report_of(run("eval|candidate.h5|latest.h5|--json"));

        assert_true(figure(o, "champion") == figure(before, metrics[i]));
        assert_true(figure(o, "candidate") == figure(after, metrics[i]));
        ky_json_free(o);
        ky_json_free(before);
        ky_json_free(after);
    }
    remove_archive();
}

static void a_candidate_short_of_the_margin_is_worse(void **state)
{
    (void)state;
    usual_archive(5);

    ky_json *o = gate("-o|candidate.h5|-e|3|--margin|2", 0);
    assert_string_equal(text(o, "verdict"), "worse");
    assert_non_null(strstr(text(o, "reason"), "not better"));
    ky_json_free(o);
    o = gate("-o|candidate.h5|-e|3|--margin|-2", 0);
    assert_string_equal(text(o, "verdict"), "better");
    ky_json_free(o);
    o = gate("-o|candidate.h5|-e|3|--margin|50|--metric|log_loss", 0);
    assert_string_equal(text(o, "verdict"), "worse");
    ky_json_free(o);
    remove_archive();
}

static void too_little_data_is_said_and_nothing_is_written(void **state)
{
    (void)state;
    begin_rows(7);
    for (int i = 0; i < 12; i++)
        add(i % 3, i % 3, T, 0, T);
    write_segment("1.h5");

    ky_json *o = gate("-o|none.h5", 1);

    assert_string_equal(text(o, "verdict"), "failed");
    assert_non_null(strstr(text(o, "reason"), "too little data: 12 labelled windows"));
    assert_true(ky_json_is_null(ky_json_get(o, "candidate")));
    assert_false(exists("none.h5"));
    ky_json_free(o);
    o = gate("-o|few.h5|-e|1|--least-rows|12", 0);
    assert_true(exists("few.h5"));
    ky_json_free(o);
    remove_archive();
}

static void a_missing_archive_is_said(void **state)
{
    (void)state;

    ky_json *o = gate("-o|none.h5", 1);

    assert_string_equal(text(o, "verdict"), "failed");
    assert_non_null(strstr(text(o, "reason"), "archive/tones"));
    ky_json_free(o);
}

/* -- which sequences
 * ------------------------------------------------------------------------------- */

static void what_cannot_be_learned_from_is_left_out_and_counted(void **state)
{
    (void)state;
    begin_rows(8);
    for (int i = 0; i < 60; i++)
        add(i % 3, i % 3, T, 0, T);
    for (int i = 0; i < 4; i++)
        add(i % 3, 3, T, 0, T); /* "odd", which the champion does not know */
    for (int i = 0; i < 5; i++)
        add(i % 3, -1, T, 0, T);
    for (int i = 0; i < 6; i++)
        add(i % 3, i % 3, T - 1, 0, T - 1);
    add(0, 0, 3 * T + 2, 0, 3 * T + 2); /* three windows */
    write_segment("1.h5");

    ky_json *o = gate("-o|candidate.h5|-e|1", 0);

    assert_int_equal(count(o, "rows") + count(o, "held_out"), 63);
    assert_int_equal(count(o, "unknown_labels"), 4);
    assert_int_equal(count(o, "unlabelled"), 5);
    assert_int_equal(count(o, "too_short"), 6);
    assert_int_equal(count(o, "sequences"), 76);
    ky_json_free(o);
    remove_archive();
}

/* Steps labelled one by one, the class changing every T steps, without start or end. */
static void a_stream_without_end_is_cut_by_its_own_labels_and_times(void **state)
{
    (void)state;
    begin_rows(10);
    for (int i = 0; i < 60; i++) {
        size_t first = made.n;

        add(2 * (i % 2), -1, T, 0, T); /* slow and fast, one stream */
        for (size_t r = first; r < made.n; r++) {
            made.flags[r] = 0;
            made.label[r] = 2 * (i % 2);
        }
    }
    write_segment("1.h5");

    ky_json *o = gate("-o|candidate.h5|-e|30", 0);

    assert_int_equal(count(o, "sequences"), 1);
    assert_int_equal(count(o, "rows"), 45);
    assert_int_equal(count(o, "held_out"), 15);
    assert_true(figure(o, "candidate") > 0.9); /* so the windows have their own labels */
    ky_json_free(o);
    remove_archive();
}

static void a_label_in_the_midst_is_that_of_its_window_alone(void **state)
{
    (void)state;
    begin_rows(11);
    for (int i = 0; i < 30; i++)
        add(i % 3, i % 3, T, 0, T);
    size_t first = made.n;
    add(0, -1, 3 * T, 0, 3 * T);
    made.label[first + 2] = 0;
    made.label[first + T + 2] = 1;
    write_segment("1.h5");

    ky_json *o = gate("-o|candidate.h5|-e|1", 0);

    assert_int_equal(count(o, "rows") + count(o, "held_out"), 32);
    assert_int_equal(count(o, "unlabelled"), 1);
    ky_json_free(o);
    remove_archive();
}

/* results.db as kymod leaves it: the two streams, and a label for the last step of each. */
static void write_results(const int64_t *n, const uint32_t *stream, int labels)
{
    static const char *const classes[] = { "tones" };
    char path[4096];
    ky_results *db = NULL;
    ky_unit u = { .classes = classes };
    ky_err err = { 0 };

    for (uint32_t s = 0; s < 2; s++) {
        ky_row_stream *row = KY_ADD(&u.streams);

        *row = (ky_row_stream){ .id = s + 1,
                                .name = ky_unit_bytes(&u, s == 0 ? "pump-1" : "pump-2", 6) };
    }
    for (int i = 0; i < labels; i++) {
        ky_row_label *row = KY_ADD(&u.labels);

        *row = (ky_row_label){ .stream = stream[i] + 1,
                               .n = n[i],
                               .seq = KY_NONE,
                               .ts_us = KY_NONE,
                               .at_us = 1,
                               .late = true,
                               .label = ky_unit_bytes(&u, names[i % 3], strlen(names[i % 3])) };
    }
    if (ky_results_open(in_dir("results.db", path), false, &db, &err) < 0 ||
        ky_results_commit(db, &u, &err) < 0)
        fail_msg("%s", err.text);
    ky_results_close(db);
    ky_unit_done(&u);
}

static void labels_that_came_late_count(void **state)
{
    (void)state;
    int64_t n[60];
    uint32_t stream[60];
    begin_rows(9);
    for (int i = 0; i < 60; i++) { /* those that came with the steps held out are wrong */
        add(i % 3, i >= 30 && i < 45 ? (i + 1) % 3 : -1, T, 0, T);
        n[i] = made.step[made.n - 1];
        stream[i] = made.stream[made.n - 1];
    }
    write_segment("1.h5");
    write_results(n, stream, 45);

    ky_json *o = gate("-o|candidate.h5|-e|30|--results|results.db", 0);

    assert_int_equal(count(o, "rows") + count(o, "held_out"), 45);
    assert_int_equal(count(o, "unlabelled"), 15);
    assert_true(figure(o, "candidate") > 0.8); /* they are the right ones */
    ky_json_free(o);
    o = gate("-o|none.h5|--results|results.db|--class|other", 1);
    assert_int_equal(count(o, "unlabelled"), 45);
    ky_json_free(o);
    remove_archive();
}

/* -- more than fits in memory -------------------------------------------------------------------
 */

enum { LONG = 512, WINDOWS = 1024 };

/* Two streams take turns step by step, 4 MiB of floats in all; the first three quarters, which the
 * gate does not hold out, as a person's file, too. */
static void large_archive(void)
{
    static float x[WINDOWS][LONG * F];
    static int32_t y[WINDOWS];
    static int64_t ts[WINDOWS];
    char name[32];

    begin_rows(12);
    for (int i = 0; i < WINDOWS; i += 2) {
        for (int k = 0; k < 2; k++)
            tone(&made.rng, y[i + k] = (i + k) % 3, LONG, x[i + k]);
        for (int t = 0; t < LONG; t++)
            for (uint32_t k = 0; k < 2; k++) {
                add_step(k, t, LONG, y[i + (int)k], x[i + (int)k] + t * F);
                ts[i + (int)k] = made.ts[made.n - 1];
            }
        if (made.n == MOST_ROWS) {
            snprintf(name, sizeof name, "%d.h5", i);
            write_segment(name);
        }
    }
    write_file("file.h5", x[0], y, ts, WINDOWS / 4 * 3, LONG);
}

/* Learns from the segments and, with the same options, from the file; the same answers, and the
 * champion's score on what was held out. */
static double learn_from_both(const char *more)
{
    char words[1024];
    double before;

    snprintf(words, sizeof words,
             "train|--segments|archive/tones|--gate|--json|--model|long.h5|-o|m.h5|-q|-e|2%s",
             more);
    ran *r = run(words);
    assert_int_equal(r->code, 0);
    ky_json *o = report_of(r);
    before = figure(o, "champion");
    ky_json_free(o);
    run_well("predict|m.h5|file.h5|-o|segments.h5");
    snprintf(words, sizeof words, "train|file.h5|--model|long.h5|-o|m.h5|-q|-e|2%s", more);
    run_well(words);
    run_well("predict|m.h5|file.h5|-o|rows.h5");
    assert_true(same_bytes("segments.h5", "rows.h5"));
    return before;
}

static void segments_are_learned_from_as_a_file_is_within_the_buffer(void **state)
{
    (void)state;
    large_archive();
    run_well("train|file.h5|--arch|avgpool:16, flatten, dense|-o|long.h5|-q|-e|1");
    int files = files_in_dir();

    double in_memory = learn_from_both("");
    double streamed = learn_from_both("|--buffer|1M");

    assert_true(in_memory == streamed);
    assert_int_equal(files_in_dir(), files + 3); /* nothing else is left */
    long most = memory_of("train|--segments|archive/tones|--model|long.h5|-o|m.h5|-q|-e|1"),
         least = memory_of("train|--segments|archive/tones|--model|long.h5|-o|m.h5|-q|-e|1"
                           "|--buffer|1M");
    if (most - least < 2 << 10 && !watched) /* of 4 MiB, 1 is the buffer */
        fail_msg("%ld KiB in memory, %ld within the buffer", most, least);
    remove_archive();
}

/* -- the child of a daemon
 * ---------------------------------------------------------------------------- */

static void in_the_background_it_yields_and_ends_with_its_parent(void **state)
{
    (void)state;
    int io[2], pidfd, null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    pid_t parent, child = 0;
    usual_archive(5);
    assert_int_equal(pipe2(io, O_CLOEXEC), 0);
    parent = fork();
    if (parent == 0) {
        child = start(GATE "|-o|never.h5|-e|1000000|-p|1000000|--background", null, null);
        if (write(io[1], &child, sizeof child) != sizeof child)
            _exit(1);
        for (;;)
            pause();
    }
    assert_int_equal(read(io[0], &child, sizeof child), sizeof child);
    pidfd = (int)syscall(SYS_pidfd_open, child, 0);
    assert_true(pidfd >= 0);
    /* The priority is lowered after the bond to the parent is made. */
    while (sched_getscheduler(child) != SCHED_IDLE)
        sched_yield();
    assert_int_equal(getpriority(PRIO_PROCESS, (id_t)child), 19);

    kill(parent, SIGKILL);

    assert_int_equal(poll(&(struct pollfd){ .fd = pidfd, .events = POLLIN }, 1, 30000), 1);
    waitpid(parent, NULL, 0);
    assert_false(exists("never.h5"));
    close(pidfd);
    close(null);
    close(io[0]);
    close(io[1]);
    remove_archive();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_better_candidate_is_said_and_written),
        cmocka_unit_test(both_are_scored_on_the_latest_part_that_neither_learned),
        cmocka_unit_test(a_candidate_short_of_the_margin_is_worse),
        cmocka_unit_test(too_little_data_is_said_and_nothing_is_written),
        cmocka_unit_test(a_missing_archive_is_said),
        cmocka_unit_test(what_cannot_be_learned_from_is_left_out_and_counted),
        cmocka_unit_test(a_stream_without_end_is_cut_by_its_own_labels_and_times),
        cmocka_unit_test(a_label_in_the_midst_is_that_of_its_window_alone),
        cmocka_unit_test(labels_that_came_late_count),
        cmocka_unit_test(segments_are_learned_from_as_a_file_is_within_the_buffer),
        cmocka_unit_test(in_the_background_it_yields_and_ends_with_its_parent),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
