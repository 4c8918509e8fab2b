/*
 * The model file changes while kymod is stopped in the middle of windows. With on_swap =
 * next_start a window that has begun is answered to its end by the old version, with reset every
 * stream goes on from zeros by the new one; and so it is when kymod is killed before any of that
 * was committed, and the swap comes back out of the journal, or when only its row was.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/scenarios/harness.h"

static const char ini[] = "[kymod]\nstate_dir = state\nruntime_dir = run\nlanes = 3\n"
                          "commit_interval = 20s\n"
                          "[source:in]\nendpoint = ipc://%s/in\nsocket = router\n"
                          "[stream:har]\nmatch = s-*\nmodel = m\n"
                          "[model:m]\nfile = model.h5\non_swap = %s\n";

typedef struct version {
    ky_model *m;
    ky_plan *plan;
    ky_wave *wave;
} version;

static version load(const char *path)
{
    version v = { 0 };
    ky_err err;

    KY_WANT(ky_model_load(path, &v.m, &err) == KY_OK, "%s", err.text);
    KY_WANT(ky_plan_new(v.m, KY_MEMORY_STREAM, 0, 1, &v.plan, &err) == KY_OK, "%s", err.text);
    v.wave = ky_wave_new(v.plan, 1);
    return v;
}

static void unload(version *v)
{
    ky_wave_free(v->wave);
    ky_plan_free(v->plan);
    ky_model_free(v->m);
}

/* Every answer, sample by sample in the order they come, the second version from message `at` on.
 */
static float *expected(const ky_windows *w, version v[2], uint64_t at, bool reset,
                       int64_t *ret_first)
{
    size_t bytes = (ky_plan_state_bytes(v[0].plan) + 64) / 64 * 64, total;
    float *y = calloc((size_t)w->n * (size_t)w->T * (size_t)w->outputs, sizeof(float));
    char *states = aligned_alloc(64, bytes * KY_SCENE_STREAMS);
    int by[KY_SCENE_STREAMS] = { 0 }, *steps = ky_windows_steps(w);

    total = (size_t)w->n * (size_t)w->T;
    *ret_first = 0;
    for (size_t k = 0; k < total; k++) {
        int window = (int)w->order[k], s = ky_window_stream(window), t = steps[k];
        size_t row = (size_t)window * (size_t)w->T + (size_t)t;
        const float *x = w->x + row * (size_t)w->F;
        float *to = y + row * (size_t)w->outputs;
        void *state = states + bytes * (size_t)s;
        bool answered;

        if (k == at && reset)
            for (int i = 0; i < KY_SCENE_STREAMS; i++) {
                by[i] = 1;
                ky_plan_zero(v[1].plan, states + bytes * (size_t)i);
            }
        if (t == 0) {
            by[s] = k >= at;
            ky_plan_zero(v[by[s]].plan, state);
        }
        ky_plan_step(v[by[s]].plan, v[by[s]].wave, 1, &x, &state, &to, &answered);
        *ret_first += by[s] == 0;
    }
    free(states);
    free(steps);
    return y;
}

static void run(const char *policy, bool kill)
{
    char text[1024], path[320], in[320], old[340];
    version v[2];
    int64_t first;
    ky_sender sender;
    ky_windows w;
    ky_scene s;
    ky_daemon d;

    ky_scene_open(&s, "swap");
    ky_windows_make(&w, &s, 120, 24, false);
    int *steps = ky_windows_steps(&w);
    uint64_t total = (uint64_t)w.n * (uint64_t)w.T, at = total / 2;

    snprintf(old, sizeof(old), "%s/old.h5", s.dir);
    ky_scene_model(old, w.F, 11);
    snprintf(text, sizeof(text), ini, s.dir, policy);
    snprintf(path, sizeof(path), "%s", ky_scene_write(&s, "kymod.ini", text));
    snprintf(in, sizeof(in), "ipc://%s/in", s.dir);
    ky_daemon_start(&d, &s, NULL, path, NULL);
    ky_sender_open(&sender, in, "feeder", 4);
    ky_sender_play(&sender, &w, steps, at);
    ky_daemon_stop(&d);
    ky_scene_model(s.model, w.F, 12);
    ky_daemon_start(&d, &s, NULL, path, NULL);
    ky_sender_play(&sender, &w, steps, at + total / 4);
    if (kill) {
        ky_daemon_kill(&d);
        ky_daemon_start(&d, &s, NULL, path, NULL);
    }
    ky_sender_play(&sender, &w, steps, total);
    ky_sender_close(&sender);
    ky_daemon_stop(&d);

    v[0] = load(old);
    v[1] = load(s.model);
    float *y = expected(&w, v, at, strcmp(policy, "reset") == 0, &first);
    int64_t wrong = ky_scene_compare(&s, &w, y);
    int64_t by_first = ky_scene_number(&s, "SELECT count(*) FROM predictions WHERE version = 1");

    printf("RESULT swap policy=%s killed=%d answers=%llu wrong=%lld by_version_1=%lld\n", policy,
           kill, (unsigned long long)total, (long long)wrong, (long long)by_first);
    KY_WANT(wrong == 0, "answers are wrong or missing");
    KY_WANT(by_first == first, "version 1 answered %lld times, not %lld", (long long)by_first,
            (long long)first);
    KY_WANT(ky_scene_number(&s, "SELECT count(*) FROM models") == 2, "models");
    KY_WANT(ky_scene_number(&s, "SELECT count(*) FROM swaps") == 2, "swaps");
    KY_WANT(ky_scene_number(&s, "SELECT count(*) FROM events WHERE what = 'swap'") == 1, "events");
    unload(&v[0]);
    unload(&v[1]);
    free(y);
    free(steps);
    ky_windows_done(&w);
    ky_scene_close(&s);
}

static int64_t version_in_force(const ky_daemon *d)
{
    ky_json *answer = ky_daemon_status(d);
    const ky_json *v = ky_json_get(ky_json_get(ky_json_get(answer, "status"), "models"), "m");
    int64_t number = ky_json_int(v, -1);

    ky_json_free(answer);
    return number;
}

static bool swap_is_committed(void *arg)
{
    return ky_scene_number(arg, "SELECT count(*) FROM swaps") == 2;
}

/* A stopped daemon whose model file changed since. */
static void change_the_file(ky_scene *s, char path[320], const char *const *overrides)
{
    char text[1024];
    ky_daemon d;

    ky_scene_open(s, "swap");
    snprintf(text, sizeof(text), ini, s->dir, "next_start");
    snprintf(path, 320, "%s", ky_scene_write(s, "kymod.ini", text));
    ky_scene_model(s->model, 9, 11);
    ky_daemon_start(&d, s, NULL, path, overrides);
    ky_daemon_stop(&d);
    ky_scene_model(s->model, 9, 12);
}

static void expect_the_new_one(const ky_scene *s, const char *when, const char *path,
                               const char *const *overrides)
{
    ky_daemon d;

    ky_daemon_start(&d, s, NULL, path, overrides);
    int64_t in_force = version_in_force(&d);

    printf("RESULT swap killed %s: version in force=%lld\n", when, (long long)in_force);
    KY_WANT(in_force == 2, "killed %s: version %lld is in force", when, (long long)in_force);
    ky_daemon_stop(&d);
}

/* The accept stage's unit with the swap may be committed before the lanes have passed it: the
 * low-water mark stands before a swap whose row is there. Without a journal nothing else tells of
 * it. */
static void killed_before_the_low_water_mark_passes_a_swap(const char *journal)
{
    const char *overrides[] = { "kymod.commit_interval=10ms", "source:in.socket=pull", journal,
                                NULL };
    char path[320];
    ky_scene s;
    ky_daemon d;

    change_the_file(&s, path, overrides);
    ky_daemon_start(&d, &s, NULL, path, overrides);
    KY_WANT(ky_within(10000, swap_is_committed, &s), "the swap is not committed");
    ky_daemon_kill(&d);
    ky_scene_change(&s, "INSERT OR REPLACE INTO positions (source, key, number) "
                        "SELECT '', 'low water', max(pos) FROM swaps");
    expect_the_new_one(&s, journal, path, overrides);
    ky_scene_close(&s);
}

/* The file is not taken for imported before its version takes over. */
static void killed_before_a_swap_is_journaled(const char *no_swap)
{
    const char *overrides[] = { "kymod.commit_interval=10ms", NULL };
    char path[320];
    ky_scene s;
    ky_daemon d;

    change_the_file(&s, path, overrides);
    ky_daemon_spawn(&d, &s, no_swap, path, overrides);
    int code = ky_daemon_end(&d);

    KY_WANT(code == 99, "kymod ended with %d, not where the swap was to be", code);
    expect_the_new_one(&s, "before the record", path, overrides);
    ky_scene_close(&s);
}

static bool is_there(void *arg)
{
    return access(arg, F_OK) == 0;
}

/* While a start lasts systemd hears that more time is needed, and it can be ended. */
static void ended_while_it_starts(const char *no_swap)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    char path[320], mark[300];
    ky_scene s;
    ky_daemon d;

    change_the_file(&s, path, NULL);
    snprintf(mark, sizeof(mark), "%s/mark", s.dir);
    KY_WANT((size_t)snprintf(a.sun_path, sizeof(a.sun_path), "%s/systemd", s.dir) <
                sizeof(a.sun_path),
            "%s: too long", s.dir);
    int systemd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    KY_WANT(systemd >= 0 && bind(systemd, (struct sockaddr *)&a, sizeof(a)) == 0, "%s: %s",
            a.sun_path, strerror(errno));
    setenv("NOTIFY_SOCKET", a.sun_path, 1);
    setenv("KY_FOREVER", mark, 1);
    ky_daemon_spawn(&d, &s, no_swap, path, NULL);
    unsetenv("NOTIFY_SOCKET");
    unsetenv("KY_FOREVER");
    KY_WANT(ky_within(20000, is_there, mark), "it does not start");
#ifdef KY_WITH_SYSTEMD
    char text[64];
    ssize_t n = recv(systemd, text, sizeof(text) - 1, 0);

    text[n > 0 ? n : 0] = 0;
    KY_WANT(strncmp(text, "EXTEND_TIMEOUT_USEC=", 20) == 0, "systemd hears '%s'", text);
#endif
    kill(d.pid, SIGTERM);
    int code = ky_daemon_end(&d);

    printf("RESULT start ended exit=%d\n", code);
    KY_WANT(code == 0, "kymod ended with %d after SIGTERM", code);
    close(systemd);
    expect_the_new_one(&s, "while it starts", path, NULL);
    ky_scene_close(&s);
}

int main(void)
{
    const char *build = getenv("KY_BUILDDIR");
    char no_swap[512];

    snprintf(no_swap, sizeof(no_swap), "%s/tests/scenarios/kymod_no_swap",
             build != NULL ? build : ".");
    killed_before_the_low_water_mark_passes_a_swap("kymod.journal=sync");
    killed_before_the_low_water_mark_passes_a_swap("kymod.journal=no");
    killed_before_a_swap_is_journaled(no_swap);
    ended_while_it_starts(no_swap);
    run("next_start", false);
    run("next_start", true);
    run("reset", false);
    run("reset", true);
    return 0;
}
