/*
 * Forty live streams, over pull into SQLite and onto PUB: every answer in SQLite is bit for bit
 * what one stream alone gives, and so is every published one, for any number of lanes and any
 * interleaving; waves of many sizes occurred (P1, P2).
 */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "models/h5.h"
#include "tests/full.h"
#include "tests/scenarios/harness.h"

typedef struct listener {
    ky_zsock *sock;
    const ky_windows *w;
    const float *y;
    int64_t heard, last_pub[KY_SCENE_STREAMS];
} listener;

static void check_heard(listener *l, const ky_zframe *f)
{
    static const char *const labels[] = { "walk", "up", "down", "sit", "stand", "lie" };
    char topic[64];
    ky_json *j;
    ky_err err;

    KY_WANT(ky_json_parse(f[1].data, f[1].len, false, &j, &err) == KY_OK, "PUB: %s", err.text);
    const char *name = ky_json_str(ky_json_get(j, "stream"), "s-99");

    if (strcmp(name, "probe") == 0) { /* see wait_until_heard() */
        ky_json_free(j);
        return;
    }
    int stream = atoi(name + 2);
    int64_t n = ky_json_int(ky_json_get(j, "n"), 0) - 1;
    size_t at = (size_t)((stream + n / l->w->T * KY_SCENE_STREAMS) * l->w->T + n % l->w->T);

    snprintf(topic, sizeof(topic), "har/%s/", name);
    KY_WANT(f[0].len == strlen(topic) && memcmp(f[0].data, topic, f[0].len) == 0,
            "topic '%.*s' for %s", (int)f[0].len, (const char *)f[0].data, name);
    for (int i = 0; i < l->w->outputs; i++) {
        float v = (float)ky_json_num(ky_json_get(ky_json_get(j, "probs"), labels[i]), -1);

        KY_WANT(memcmp(&v, &l->y[at * (size_t)l->w->outputs + (size_t)i], sizeof(v)) == 0,
                "PUB: %s n %lld, %s: %.9g", name, (long long)n + 1, labels[i], (double)v);
    }
    KY_WANT(ky_json_int(ky_json_get(j, "pub"), 0) == l->last_pub[stream] + 1, "pub of %s", name);
    l->last_pub[stream]++;
    l->heard++;
    ky_json_free(j);
}

/* Until so many answers are heard. */
static void listen_until(listener *l, int64_t heard)
{
    ky_zframe f[2];

    while (l->heard < heard) {
        KY_WANT(ky_zsock_recv(l->sock, f, 2, 30000, NULL) == 2,
                "%lld of %lld answers were published", (long long)l->heard, (long long)heard);
        check_heard(l, f);
    }
}

/* Bursts of many lengths; before every other one the daemon is halted, so that it finds all of it
 * at once. */
static void play(const ky_windows *w, ky_zsock *push, listener *l, const ky_daemon *d,
                 uint64_t seed)
{
    size_t total = (size_t)w->n * (size_t)w->T;
    int *next = calloc((size_t)w->n, sizeof(int));
    bool halt = true;
    char buf[1024];
    ky_rng rng;
    ky_err err;

    ky_rng_seed(&rng, seed);
    for (size_t k = 0; k < total; halt = !halt) {
        size_t end = k + 1 + ky_rng_below(&rng, 150);

        if (halt)
            kill(d->pid, SIGSTOP);
        for (; k < end && k < total; k++) {
            int window = (int)w->order[k];
            int len = ky_windows_json(w, window, next[window]++, buf, sizeof(buf));
            ky_zframe f = { buf, (size_t)len };

            KY_WANT(ky_zsock_send(push, &f, 1, 10000, &err) == KY_OK, "sending: %s", err.text);
        }
        kill(d->pid, SIGCONT);
        listen_until(l, (int64_t)k);
    }
    free(next);
}

/* A subscription takes a moment to arrive, and nothing tells when: one answer after another until
 * one is heard. Its stream is nobody's; whoever listens passes over those that come later. */
static void wait_until_heard(listener *l, ky_zsock *push)
{
    static const char text[] = "{\"stream\":\"probe\",\"x\":[1,2,3,4,5,6,7,8,9]}";
    ky_zframe f[3] = { { text, sizeof(text) - 1 } };
    ky_err err;

    for (int i = 0; i < 1000; i++) {
        KY_WANT(ky_zsock_send(push, f, 1, 10000, &err) == KY_OK, "sending: %s", err.text);
        if (ky_zsock_recv(l->sock, f + 1, 2, 20, NULL) == 2)
            return;
    }
    ky_flunk("the subscription never arrived");
}

static const char ini[] = "[kymod]\nstate_dir = state\nruntime_dir = run\ncommit_interval = 50ms\n"
                          "[source:in]\nendpoint = tcp://127.0.0.1:*\n"
                          "[stream:har]\nmatch = s-*\nmodel = m\n"
                          "[stream:probe]\nmatch = probe\nmodel = m\nlog = none\n"
                          "[model:m]\nfile = model.h5\n"
                          "[publish:live]\nendpoint = tcp://127.0.0.1:*\nhwm = 1000000\n";

/* `kymo predict --stream` on the same windows: the last answer of each. */
static void compare_with_predict(const ky_scene *s, const ky_windows *w, const float *y)
{
    size_t width = (size_t)w->outputs;
    float *given = calloc((size_t)w->n * width, sizeof(float));
    char out[320], command[1600];
    const char *build = getenv("KY_BUILDDIR");
    ky_h5 *f;
    ky_err err;

    snprintf(out, sizeof(out), "%s/answers.h5", s->dir);
    snprintf(command, sizeof(command),
             "%s/kymo predict %s %s:X_test --stream -o %s >%s/predict.log 2>&1",
             build != NULL ? build : ".", s->model, ky_windows_file(w, s), out, s->dir);
    KY_WANT(system(command) == 0, "%s failed", command);
    KY_WANT(ky_h5_open(out, &f, &err) == KY_OK &&
                ky_h5_read(f, "/y", KY_H5_F32, given, (size_t)w->n * width, &err) == KY_OK,
            "%s", err.text);
    ky_h5_close(f);
    for (int i = 0; i < w->n; i++)
        KY_WANT(memcmp(given + (size_t)i * width, y + ((size_t)(i + 1) * (size_t)w->T - 1) * width,
                       width * sizeof(float)) == 0,
                "kymo predict --stream answers window %d otherwise", i);
    printf("RESULT predict windows=%d equal=%d\n", w->n, w->n);
    free(given);
}

/* How long a thread of the daemon keeps a processor that others wait for; 0: the kernel does not
 * tell. */
static uint64_t turn_ns(const ky_daemon *d, const char *thread)
{
    struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime_ns, deadline_ns, period_ns;
    } a = { .size = 0 };
    char path[320], name[32];
    struct dirent *e;
    int id = 0;

    snprintf(path, sizeof(path), "/proc/%d/task", (int)d->pid);
    DIR *tasks = opendir(path);
    while (tasks != NULL && id == 0 && (e = readdir(tasks)) != NULL) {
        snprintf(path, sizeof(path), "/proc/%d/task/%.20s/comm", (int)d->pid, e->d_name);
        FILE *f = fopen(path, "r");

        if (f != NULL && fscanf(f, "%31s", name) == 1 && strcmp(name, thread) == 0)
            id = atoi(e->d_name);
        if (f != NULL)
            fclose(f);
    }
    KY_WANT(tasks != NULL && id != 0, "there is no thread %s", thread);
    closedir(tasks);
    return syscall(SYS_sched_getattr, id, &a, sizeof(a), 0) == 0 ? a.runtime_ns : 0;
}

typedef struct setup {
    const char *lanes, *journal;
} setup;

static uint64_t run(ky_scene *s, ky_windows *w, const float *y, const setup *how, uint64_t seed)
{
    const char *overrides[] = { how->lanes, how->journal, NULL };
    int64_t total = (int64_t)w->n * w->T;
    listener l = { .w = w, .y = y };
    ky_zsock *push;
    ky_daemon d;
    ky_err err;

    ky_windows_shuffle(w, seed);
    ky_daemon_start(&d, s, NULL, ky_scene_write(s, "kymod.ini", ini), overrides);
    KY_WANT(ky_zsock_open("sub", ky_daemon_address(&d, "publisher=live"), false, 1000000, &l.sock,
                          &err) == KY_OK &&
                ky_zsock_subscribe(l.sock, "", &err) == KY_OK,
            "%s", err.text);
    KY_WANT(ky_zsock_open("push", ky_daemon_address(&d, "source=in"), false, 100000, &push, &err) ==
                KY_OK,
            "%s", err.text);
    wait_until_heard(&l, push);
    play(w, push, &l, &d, seed);
    uint64_t lane_ns = turn_ns(&d, "kymod-lane-0"), writer_ns = turn_ns(&d, "kymod-writer");

    KY_WANT(lane_ns == 0 || writer_ns < lane_ns, "the writer's turns are as long as a lane's");
    ky_json *status = ky_daemon_status(&d);
    int64_t sizes = ky_json_int(ky_json_get(ky_json_get(status, "status"), "wave_sizes"), 0);

    ky_json_free(status);
    ky_zsock_close(push);
    ky_zsock_close(l.sock);
    ky_daemon_stop(&d);
    int64_t bad = ky_scene_compare(s, w, y);

    printf("RESULT live %s %s windows=%d T=%d answers=%lld wrong=%lld published=%lld "
           "wave_sizes=%lld\n",
           how->lanes, how->journal, w->n, w->T, (long long)total, (long long)bad,
           (long long)l.heard, (long long)sizes);
    KY_WANT(bad == 0, "%lld answers missing or wrong", (long long)bad);
    KY_WANT(sizes >= 8, "waves of only %lld sizes occurred", (long long)sizes);
    KY_WANT(ky_scene_number(s, "SELECT count(*) FROM rejects") == 0, "rejects");
    return ky_scene_hash(s, "SELECT name, n, model, role, version, seq, ts, label, score, probs, "
                            "quality, time_source FROM predictions p JOIN streams s ON s.id = "
                            "p.stream ORDER BY name, n");
}

int main(void)
{
    static const setup setups[] = {
        { "kymod.lanes=1", "kymod.journal=sync" }, { "kymod.lanes=2", "kymod.journal=sync" },
        { "kymod.lanes=4", "kymod.journal=sync" }, { "kymod.lanes=2", "kymod.journal=async" },
        { "kymod.lanes=3", "kymod.journal=no" },
    };
    bool har = getenv("KYMO_DATA") != NULL, full = ky_test_full();
    uint64_t first = 0;

    for (size_t i = 0; i < sizeof(setups) / sizeof(*setups); i++) {
        ky_scene s;
        ky_windows w;

        ky_scene_open(&s, "live");
        ky_windows_make(&w, &s, full && har ? 2947 : 120, 32, har);
        float *y = ky_windows_answers(&w, s.model);

        if (i == 0)
            compare_with_predict(&s, &w, y);
        uint64_t hash = run(&s, &w, y, &setups[i], i + 1);

        first = i == 0 ? hash : first;
        KY_WANT(hash == first, "the predictions of run %zu differ", i + 1);
        free(y);
        ky_windows_done(&w);
        ky_scene_close(&s);
    }
    printf("all runs left the same predictions: %016llx\n", (unsigned long long)first);
    return 0;
}
