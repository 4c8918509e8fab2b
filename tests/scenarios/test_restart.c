/*
 * Acknowledged input over restarts: stopped five times in the middle of windows, the predictions
 * are those of a run that was never stopped, in all columns but wall times and latencies (P4).
 * Killed five times, between waves and their commits, they are the same again (P5). A build that
 * commits positions and states before the results they include must fail the same test, or the
 * test could not tell.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/full.h"
#include "tests/scenarios/harness.h"

enum how { NEVER, TERM, KILL };

typedef struct outcome {
    uint64_t predictions, states;
    int starts;
    int64_t wrong, recovered; /* recovered: starts that had records to run again */
} outcome;

static const char ini[] = "[kymod]\nstate_dir = state\nruntime_dir = run\nlanes = 2\n"
                          "commit_interval = 150ms\n"
                          "[source:in]\nendpoint = ipc://%s/in\nsocket = router\n"
                          "[stream:har]\nmatch = s-*\nmodel = m\narchive = yes\n"
                          "[model:m]\nfile = model.h5\n";

static bool torn_now(void *arg)
{
    return access(arg, F_OK) == 0;
}

static void again(ky_daemon *d, const ky_scene *s, const char *program, const char *path,
                  enum how how, outcome *o)
{
    char lanes[32];
    const char *overrides[] = { lanes, NULL };

    /* The number of lanes is another after each. */
    snprintf(lanes, sizeof(lanes), "kymod.lanes=%d", 1 + (o->starts + 2) % 4);
    if (how == TERM) {
        ky_daemon_stop(d);
    } else {
        if (program != NULL) /* the control: strike where it is open */
            KY_WANT(ky_within(10000, torn_now, getenv("KY_TORN")), "nothing was committed");
        ky_daemon_kill(d);
        unlink(getenv("KY_TORN"));
        if (o->starts % 2 == 1) /* and once more, while it recovers */
            ky_daemon_start_and_kill(d, s, program, path, overrides);
    }
    o->starts++;
    ky_daemon_start(d, s, program, path, overrides);
    o->recovered += ky_daemon_said(d, "records of the journal that were not committed");
}

static outcome run(const char *name, const char *program, enum how how, int times)
{
    outcome o = { 0 };
    char text[1024], path[320];
    ky_scene s;
    ky_windows w;
    ky_daemon d;
    ky_sender sender;

    ky_scene_open(&s, name);
    snprintf(path, sizeof(path), "%s/torn", s.dir);
    setenv("KY_TORN", path, 1);
    ky_windows_make(&w, &s, 120, 32, false);
    float *y = ky_windows_answers(&w, s.model);
    int *t = ky_windows_steps(&w);
    uint64_t total = (uint64_t)w.n * (uint64_t)w.T, stop_at = 1;

    snprintf(text, sizeof(text), ini, s.dir);
    snprintf(path, sizeof(path), "%s", ky_scene_write(&s, "kymod.ini", text));
    ky_daemon_start(&d, &s, program, path, NULL);
    snprintf(text, sizeof(text), "ipc://%s/in", s.dir);
    ky_sender_open(&sender, text, "feeder", 3);
    int left = how == NEVER ? 0 : times;

    while (sender.acked < total) {
        ky_sender_round(&sender, &w, t, total);
        stop_at = total * (uint64_t)(times - left + 1) / (uint64_t)(times + 1);
        if (left > 0 && sender.acked >= stop_at) {
            left--;
            again(&d, &s, program, path, how, &o);
        }
    }
    ky_sender_close(&sender);
    ky_daemon_stop(&d);
    o.wrong = ky_scene_compare(&s, &w, y);
    o.predictions = ky_scene_hash(&s, "SELECT stream, n, model, role, version, seq, ts, label, "
                                      "score, probs, quality, time_source, kernel_abi FROM "
                                      "predictions ORDER BY stream, n");
    o.states = ky_scene_hash(&s, "SELECT stream, model, version, n, start_n, epoch, seq_high, "
                                 "ts, ended, layout, state, extra, rms, largest, saturated, steps, "
                                 "quarantines, quarantined_n FROM states ORDER BY stream");
    printf("RESULT restart %s times=%d answers=%llu missing_or_wrong=%lld recovered=%lld "
           "predictions=%016llx states=%016llx\n",
           name, how == NEVER ? 0 : times, (unsigned long long)total, (long long)o.wrong,
           (long long)o.recovered, (unsigned long long)o.predictions, (unsigned long long)o.states);
    KY_WANT(ky_scene_number(&s, "SELECT count(*) FROM rejects") == 0, "rejects");
    free(t);
    free(y);
    ky_windows_done(&w);
    ky_scene_close(&s);
    return o;
}

int main(void)
{
    const char *build = getenv("KY_BUILDDIR");
    int times = ky_test_full() ? 60 : 5;
    char torn[512];

    snprintf(torn, sizeof(torn), "%s/tests/scenarios/kymod_torn", build != NULL ? build : ".");
    outcome whole = run("never", NULL, NEVER, 1);
    outcome stopped = run("term", NULL, TERM, 5);
    outcome killed = run("kill", NULL, KILL, times);
    outcome control = run("torn", torn, KILL, 5);

    KY_WANT(whole.wrong == 0, "uninterrupted: wrong answers");
    KY_WANT(stopped.predictions == whole.predictions, "P4: stopped and started, they differ");
    KY_WANT(stopped.states == whole.states, "P4: the states differ");
    KY_WANT(stopped.recovered == 0, "a clean stop left records to run again");
    KY_WANT(killed.predictions == whole.predictions, "P5: killed, they differ");
    KY_WANT(killed.states == whole.states, "P5: the states differ");
    KY_WANT(killed.recovered > 0, "no kill hit between a wave and its commit");
    KY_WANT(control.predictions != whole.predictions,
            "the negative control passed: this test cannot tell");
    return 0;
}
