/* What a person sees while the built kymo trains: on a terminal, in a pipe, in a file. */
#include "tests/cli/run.h"

#include <math.h>
#include <signal.h>
#include <sys/ioctl.h>

#include "models/blueprint.h"
#include "models/h5.h"
#include "models/rng.h"

enum { N = 120, T = 12, COLUMNS = 60 };

#define TRAIN   "train|two.h5|--arch|lstm:6, dense|-b|16|-o|m.h5"
#define FOREVER "|-e|1000000|-p|1000000"

/* Two classes that differ in their mean. */
static int set_up(void **state)
{
    (void)state;
    static float x[N * T];
    static int32_t y[N];
    const uint64_t dims[] = { N, T, 1 };
    char path[4096];
    ky_rng rng;
    ky_h5 *f = NULL;

    ky_rng_seed(&rng, 1);
    for (int i = 0; i < N * T; i++) {
        y[i / T] = i / T % 2;
        x[i] = (float)(ky_rng_normal(&rng) + (i / T % 2));
    }
    if (run_begin() != 0 || ky_h5_create(in_dir("two.h5", path), &f, NULL) != KY_OK)
        return -1;
    assert_int_equal(ky_h5_put(f, "/X", KY_H5_F32, 3, dims, x, NULL), KY_OK);
    assert_int_equal(ky_h5_put(f, "/y", KY_H5_I32, 1, dims, y, NULL), KY_OK);
    return ky_h5_commit(f, NULL);
}

static int tear_down(void **state)
{
    (void)state;
    return run_end();
}

/* -- a process that is read while it runs ------------------------------------------------------ */

typedef struct live {
    pid_t pid;
    int fd; /* what it says, and of a terminal what is typed */
    size_t n;
    char said[65536];
} live;

static void begin_in_pipe(live *l, const char *words)
{
    int io[2], null = open("/dev/null", O_WRONLY | O_CLOEXEC);

    assert_int_equal(pipe2(io, O_CLOEXEC), 0);
    *l = (live){ .fd = io[0] };
    l->pid = start(words, null, io[1]);
    close(io[1]);
    close(null);
}

static void begin_on_terminal(live *l, const char *words)
{
    const struct winsize size = { .ws_row = 24, .ws_col = COLUMNS };
    int mine = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), its;

    assert_true(grantpt(mine) == 0 && unlockpt(mine) == 0);
    assert_int_equal(ioctl(mine, TIOCSWINSZ, &size), 0);
    its = open(ptsname(mine), O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(its >= 0);
    *l = (live){ .fd = mine };
    l->pid = start(words, its, its);
    close(its);
}

/* More of what it says; false at the end. */
static bool hear(live *l)
{
    ssize_t got;

    if (l->n == sizeof l->said - 1)
        l->n = 0; /* what was heard so far tells nothing any more */
    got = read(l->fd, l->said + l->n, sizeof l->said - 1 - l->n);
    if (got <= 0)
        return false; /* of a terminal that nobody has open any more: EIO */
    l->n += (size_t)got;
    l->said[l->n] = 0;
    return true;
}

static void hear_until(live *l, const char *text)
{
    while (strstr(l->said, text) == NULL)
        if (!hear(l))
            fail_msg("'%s' was never said: %s", text, l->said);
}

static int hear_out(live *l)
{
    while (hear(l))
        continue;
    close(l->fd);
    return end_of(l->pid);
}

static int model_loads(const char *name)
{
    char path[4096];
    ky_model *m = NULL;
    int rc = ky_model_load(in_dir(name, path), &m, NULL);

    ky_model_free(m);
    return rc;
}

/* -- lines --------------------------------------------------------------------------------------
 */

static void a_pipe_gets_one_line_an_epoch(void **state)
{
    (void)state;
    int epochs = 0, best = 0;

    ran *r = run(TRAIN "|-e|5|--json");
    assert_int_equal(r->code, 0);
    ky_json *o = report_of(r);

    for (char *line = strtok(r->err, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        int e = 0, of = 0;
        double v[6];
        char word[4];

        if (sscanf(line,
                   "epoch=%d epochs=%d loss=%lf accuracy=%lf val_loss=%lf val_accuracy=%lf "
                   "learning_rate=%lf seconds=%lf best=%3s",
                   &e, &of, v, v + 1, v + 2, v + 3, v + 4, v + 5, word) != 9)
            continue;
        assert_int_equal(e, ++epochs);
        assert_int_equal(of, 5);
        assert_true(v[4] == 0.001 && v[5] >= 0);
        best = strcmp(word, "yes") == 0 ? e : best;
        assert_null(strchr(line, '\r'));
    }
    assert_int_equal(epochs, 5);
    assert_int_equal(best, ky_json_int(ky_json_get(o, "best_epoch"), 0));
    ky_json_free(o);
    r = run(TRAIN "|-e|2|-q");
    assert_string_equal(r->err, "");
}

static void a_terminal_gets_a_bar_that_fits_and_a_line_an_epoch(void **state)
{
    (void)state;
    static live l;
    begin_on_terminal(&l, TRAIN "|-e|3");

    assert_int_equal(hear_out(&l), 0);

    assert_non_null(strstr(l.said, "epoch 1/3 ["));
    assert_non_null(strstr(l.said, "epoch 3/3  loss "));
    assert_non_null(strstr(l.said, "validation: loss "));
    assert_non_null(strstr(l.said, "  best"));
    assert_null(strstr(l.said, "epoch="));
    /* A bar is what is taken back: longer than the terminal, it could not be. */
    for (char *at = l.said; (at = strstr(at, "\r\033[K")) != NULL; at++) {
        size_t wide = strcspn(at + 4, "\r\n");

        if (strncmp(at + 4, "epoch", 5) == 0 && at[4 + wide] == '\r' && at[5 + wide] == '\033')
            assert_in_range(wide, 1, COLUMNS - 1);
    }
}

/* -- interrupts ----------------------------------------------------------------------------------
 */

static void control_c_ends_after_the_batch_and_keeps_the_best(void **state)
{
    (void)state;
    static live l;
    begin_on_terminal(&l, TRAIN FOREVER);
    hear_until(&l, "epoch       2/1000000  loss");

    kill(l.pid, SIGINT); /* as the terminal would, were it the process's own */

    hear_until(&l, "once more: ends at once");
    assert_int_equal(hear_out(&l), 3);
    assert_non_null(strstr(l.said, "is kept, the best so far"));
    assert_int_equal(model_loads("m.h5"), KY_OK);
}

static void a_second_control_c_ends_at_once(void **state)
{
    (void)state;
    static live l;
    int files;
    begin_in_pipe(&l, "train|two.h5|--arch|lstm:6, dense|-o|never.h5" FOREVER);
    hear_until(&l, "epoch=1 ");
    files = files_in_dir();

    /* Stopped, it takes both when it goes on: the second while the first is dealt with. */
    kill(l.pid, SIGSTOP);
    kill(l.pid, SIGINT);
    kill(l.pid, SIGTERM);
    kill(l.pid, SIGCONT);

    int code = hear_out(&l);
    assert_true(code == 128 + SIGINT || code == 128 + SIGTERM);
    assert_int_equal(files_in_dir(), files);
    assert_int_not_equal(model_loads("never.h5"), KY_OK);
}

/* -- the history --------------------------------------------------------------------------------
 */

/* Rows of a CSV file behind its head; the last is left in `last`. */
static int rows_of(const char *name, char head[256], char last[256])
{
    static char text[65536];
    char path[4096];
    int n = -1;

    slurp(in_dir(name, path), text, sizeof text);
    assert_true(strlen(text) == 0 || text[strlen(text) - 1] == '\n');
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n"))
        snprintf(n++ < 0 ? head : last, 256, "%s", line);
    return n;
}

static void a_history_is_that_of_the_model(void **state)
{
    (void)state;
    char path[4096], head[256], last[256], text[16384];
    ky_json *o = NULL;
    double epoch, loss, rate;

    ran *r = run(TRAIN "|-e|4|--history|h.csv|--json|-q|--schedule|exponential|--decay|0.5");
    assert_int_equal(r->code, 0);
    ky_json *report = report_of(r);
    run_well(TRAIN "|-e|4|--history|h.json|-q");

    assert_int_equal(rows_of("h.csv", head, last), 4);
    assert_string_equal(head, "epoch,loss,accuracy,val_loss,val_accuracy,learning_rate,seconds");
    assert_int_equal(sscanf(last, "%lf,%lf,%*f,%*f,%*f,%lf", &epoch, &loss, &rate), 3);
    assert_true(epoch == 4);
    assert_float_equal(
        loss, ky_json_num(ky_json_get(ky_json_at(ky_json_get(report, "history"), 3), "loss"), -1),
        1e-8);
    assert_float_equal(rate, 1e-3 / 8, 1e-12);
    slurp(in_dir("h.json", path), text, sizeof text);
    assert_int_equal(ky_json_parse(text, strlen(text), false, &o, NULL), KY_OK);
    assert_int_equal(ky_json_len(o), 4);
    assert_float_equal(ky_json_num(ky_json_get(ky_json_at(o, 3), "learning_rate"), 0), 1e-3, 1e-12);
    assert_true(ky_json_num(ky_json_get(ky_json_at(o, 3), "seconds"), -1) >= 0);
    ky_json_free(o);
    ky_json_free(report);
}

static void a_history_is_there_while_the_training_runs(void **state)
{
    (void)state;
    static live l;
    char head[256], last[256];
    begin_in_pipe(&l, TRAIN FOREVER "|--history|live.csv");
    hear_until(&l, "epoch=2 ");

    int early = rows_of("live.csv", head, last);
    kill(l.pid, SIGINT);
    assert_int_equal(hear_out(&l), 3);

    assert_true(early >= 1);
    assert_true(rows_of("live.csv", head, last) >= 2);
}

static void a_resumed_history_is_whole(void **state)
{
    (void)state;
    char head[256], last[256];

    run_well(TRAIN "|-e|2|-q|--checkpoint|c.h5");
    run_well("train|two.h5|-b|16|--resume|c.h5|-o|m.h5|-e|5|-q|--history|on.csv");

    assert_int_equal(rows_of("on.csv", head, last), 5);
    assert_true(strncmp(last, "5,", 2) == 0);
}

static void a_history_that_cannot_be_written_is_told_before_the_work(void **state)
{
    (void)state;

    ran *r = run("train|two.h5|--arch|lstm:6, dense|-o|none.h5|--history|no/such/h.csv");

    assert_int_equal(r->code, 1);
    assert_non_null(strstr(r->err, "no/such/h.csv"));
    assert_null(strstr(r->err, "epoch="));
}

static void a_history_that_is_lost_does_not_end_the_training(void **state)
{
    (void)state;
    static live l;
    char from[4096], to[4096];
    assert_int_equal(mkdir(in_dir("sub", from), 0700), 0);
    begin_in_pipe(&l, TRAIN FOREVER "|--history|sub/h.csv");
    hear_until(&l, "epoch=1 ");

    assert_int_equal(rename(from, in_dir("elsewhere", to)), 0);
    kill(l.pid, SIGINT);

    hear_until(&l, "sub/h.csv");
    assert_int_equal(hear_out(&l), 3);
    assert_int_equal(model_loads("m.h5"), KY_OK);
}

/* -- the least that has to be said ----------------------------------------------------------------
 */

static void a_model_nobody_named_gets_a_name_that_is_free(void **state)
{
    (void)state;

    ran *r = run("train|two.h5|--arch|lstm:6, dense|-e|1|-q");
    assert_int_equal(r->code, 0);
    assert_non_null(strstr(r->out, "two-model.h5: "));
    run_well("train|two.h5:X|--arch|lstm:6, dense|-e|1|-q");

    assert_int_equal(model_loads("two-model.h5"), KY_OK);
    assert_int_equal(model_loads("two-model-2.h5"), KY_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pipe_gets_one_line_an_epoch),
        cmocka_unit_test(a_terminal_gets_a_bar_that_fits_and_a_line_an_epoch),
        cmocka_unit_test(control_c_ends_after_the_batch_and_keeps_the_best),
        cmocka_unit_test(a_second_control_c_ends_at_once),
        cmocka_unit_test(a_history_is_that_of_the_model),
        cmocka_unit_test(a_history_is_there_while_the_training_runs),
        cmocka_unit_test(a_resumed_history_is_whole),
        cmocka_unit_test(a_history_that_cannot_be_written_is_told_before_the_work),
        cmocka_unit_test(a_history_that_is_lost_does_not_end_the_training),
        cmocka_unit_test(a_model_nobody_named_gets_a_name_that_is_free),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
