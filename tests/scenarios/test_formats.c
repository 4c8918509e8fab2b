/*
 * The same windows as json, msgpack and f32 messages, and as f32 messages of a whole window
 * each: every run leaves the answers that one stream alone gives, bit for bit.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/scenarios/harness.h"

static const char ini[] = "[kymod]\nstate_dir = state\nruntime_dir = run\nlanes = 2\n"
                          "[source:in]\nendpoint = tcp://127.0.0.1:*\n"
                          "[stream:har]\nmatch = s*\nmodel = m\n"
                          "[model:m]\nfile = model.h5\n";

static void feed(const ky_scene *s, const ky_windows *w, const ky_daemon *d, const char *format)
{
    const char *build = getenv("KY_BUILDDIR");
    char command[1600];

    snprintf(command, sizeof(command),
             "%s/kymo feed %s:X_test --to %s --streams %d --interleave 7 --format %s "
             "--timeout 30 --quiet",
             build != NULL ? build : ".", ky_windows_file(w, s), ky_daemon_address(d, "source=in"),
             KY_SCENE_STREAMS, format);
    KY_WANT(system(command) == 0, "%s failed", command);
}

/* A message a stream: [stream][T*F floats]. */
static void send_whole(const ky_windows *w, const ky_daemon *d)
{
    size_t size = (size_t)w->T * (size_t)w->F * sizeof(float);
    ky_zsock *push;
    ky_err err;

    KY_WANT(ky_zsock_open("push", ky_daemon_address(d, "source=in"), false, 1000, &push, &err) ==
                KY_OK,
            "%s", err.text);
    for (int i = 0; i < w->n; i++) {
        char name[16];
        ky_zframe f[] = { { name, (size_t)snprintf(name, sizeof(name), "s%d", i) },
                          { w->x + (size_t)i * size / sizeof(float), size } };

        KY_WANT(ky_zsock_send(push, f, 2, 10000, &err) == KY_OK, "sending: %s", err.text);
    }
    ky_zsock_close(push);
}

static uint64_t run(const char *format, bool whole)
{
    char setting[40];
    const char *overrides[] = { setting, NULL };
    ky_windows w;
    ky_scene s;
    ky_daemon d;

    snprintf(setting, sizeof(setting), "source:in.format=%s", format);
    ky_scene_open(&s, "formats");
    ky_windows_make(&w, &s, KY_SCENE_STREAMS, 32, false);
    float *y = ky_windows_answers(&w, s.model);

    ky_daemon_start(&d, &s, NULL, ky_scene_write(&s, "kymod.ini", ini), overrides);
    if (whole)
        send_whole(&w, &d);
    else
        feed(&s, &w, &d, format);
    ky_scene_wait_predictions(&s, (int64_t)w.n * w.T, 60000);
    ky_daemon_stop(&d);
    int64_t wrong = ky_scene_compare(&s, &w, y);
    uint64_t hash = ky_scene_hash(&s, "SELECT name, n, model, role, version, label, score, probs, "
                                      "quality, kernel_abi FROM predictions p JOIN streams s ON "
                                      "s.id = p.stream ORDER BY name, n");

    printf("RESULT formats %s%s answers=%d missing_or_wrong=%lld predictions=%016llx\n", format,
           whole ? " (windows)" : "", w.n * w.T, (long long)wrong, (unsigned long long)hash);
    KY_WANT(wrong == 0, "answers are missing or wrong");
    KY_WANT(ky_scene_number(&s, "SELECT count(*) FROM rejects") == 0, "rejects");
    free(y);
    ky_windows_done(&w);
    ky_scene_close(&s);
    return hash;
}

int main(void)
{
    uint64_t json = run("json", false);

    KY_WANT(run("msgpack", false) == json, "msgpack leaves other answers than json");
    KY_WANT(run("f32", false) == json, "f32 leaves other answers than json");
    KY_WANT(run("f32", true) == json, "whole windows leave other answers than single steps");
    return 0;
}
