/*
 * What a class's settings mean, one stream a rule, over a clean restart and over a kill in the
 * middle: gaps, messages of several steps, holes, labels, log = change, windows with a hop.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/scenarios/harness.h"

static const char ini[] =
    "[kymod]\nstate_dir = state\nruntime_dir = run\nlanes = 2\ncommit_interval = 10s\n"
    "[source:in]\nendpoint = ipc://%s/in\nsocket = router\n"
    "[source:holes]\nendpoint = ipc://%s/holes\nsocket = router\nmissing = hold\n"
    "[stream:gaps]\nsources = in\nmatch = gap-*\nmodel = m\nmax_gap = 1s\non_gap = reset\n"
    "[stream:kept]\nsources = in\nmatch = keep-*\nmodel = m\nmax_gap = 1s\non_gap = keep\n"
    "[stream:calm]\nsources = in\nmatch = calm-*\nmodel = m\nlog = change\n"
    "[stream:window]\nsources = in\nmatch = win-*\nmodel = m\nmemory = window\nwindow = 3\nhop = "
    "2\n"
    "[stream:held]\nsources = holes\nmatch = *\nmodel = m\n"
    "[stream:rest]\nsources = in\nmatch = *\nmodel = m\n"
    "[model:m]\nfile = model.h5\n";

enum { F = 9, OUT = 6 };

/* The value of step i: a stream's i-th sample, whoever sends it. */
static float value(int i, int f)
{
    return (float)((i * 7 + f * 3) % 11) * 0.25f - 1.0f;
}

static int put_x(char *buf, size_t size, int i, int hole)
{
    int len = snprintf(buf, size, "[");

    for (int f = 0; f < F; f++)
        len += f == hole ? snprintf(buf + len, size - (size_t)len, "%snull", f ? "," : "")
                         : snprintf(buf + len, size - (size_t)len, "%s%.9g", f ? "," : "",
                                    (double)value(i, f));
    return len + snprintf(buf + len, size - (size_t)len, "]");
}

static void say(ky_sender *s, const char *text)
{
    uint64_t number = s->acked + 1;

    while (s->acked < number) {
        if (s->sent < number)
            ky_sender_send(s, number, text, strlen(text));
        ky_sender_listen(s, 20);
    }
}

/* {"stream":..,"seq":i+1,"ts":ts,"x":[..]<more>} */
static void say_sample(ky_sender *s, const char *stream, int i, double ts, int hole,
                       const char *more)
{
    char x[400], text[700];

    put_x(x, sizeof(x), i, hole);
    snprintf(text, sizeof(text), "{\"stream\":\"%s\",\"seq\":%d,\"ts\":%.3f,\"x\":%s%s}", stream,
             i + 1, ts, x, more);
    say(s, text);
}

static void say_steps(ky_sender *s, const char *stream, int from, int to)
{
    char x[400], text[4000];
    int len =
        snprintf(text, sizeof(text), "{\"stream\":\"%s\",\"ts\":%d,\"x\":[", stream, 100 + from);

    for (int i = from; i < to; i++) {
        put_x(x, sizeof(x), i, -1);
        len += snprintf(text + len, sizeof(text) - (size_t)len, "%s%s", i > from ? "," : "", x);
    }
    snprintf(text + len, sizeof(text) - (size_t)len, "]}");
    say(s, text);
}

/* -- what is expected -- */

typedef struct model {
    ky_model *m;
    ky_plan *stream, *window;
    ky_wave *stream_wave, *window_wave;
} model;

/* Answer of stepping samples [from, to): the last one's. In sample `held` value 2 is the one
 * before's.
 */
static void answer(const model *m, bool window, int from, int to, int held, float y[OUT])
{
    const ky_plan *p = window ? m->window : m->stream;
    void *state = aligned_alloc(64, (ky_plan_state_bytes(p) + 64) / 64 * 64);

    ky_plan_zero(p, state);
    for (int i = from; i < to; i++) {
        float x[F], *to_y = y;
        const float *px = x;
        bool answered;

        for (int f = 0; f < F; f++)
            x[f] = value(i == held && f == 2 ? i - 1 : i, f);
        ky_plan_step(p, window ? m->window_wave : m->stream_wave, 1, &px, &state, &to_y, &answered);
    }
    free(state);
}

/* Whether answer n of a stream is that of samples [from, to). */
static void expect(const ky_scene *s, const model *m, const char *stream, int n, bool window,
                   int from, int to, int held)
{
    char hex[OUT * 8 + 1], sql[400];
    float y[OUT];

    answer(m, window, from, to, held, y);
    for (size_t i = 0; i < sizeof(y); i++)
        snprintf(hex + 2 * i, 3, "%02X", ((const unsigned char *)y)[i]);
    snprintf(sql, sizeof(sql),
             "SELECT count(*) FROM predictions p JOIN streams s ON s.id = p.stream "
             "WHERE name = '%s' AND n = %d AND hex(probs) = '%s'",
             stream, n, hex);
    KY_WANT(ky_scene_number(s, sql) == 1, "%s: answer %d is not that of samples %d to %d", stream,
            n, from + 1, to);
}

static void expect_number(const ky_scene *s, int64_t want, const char *sql)
{
    int64_t n = ky_scene_number(s, sql);

    KY_WANT(n == want, "%s: %lld, not %lld", sql, (long long)n, (long long)want);
}

static model load(const char *path)
{
    model m;
    ky_err err;

    KY_WANT(ky_model_load(path, &m.m, &err) == KY_OK &&
                ky_plan_new(m.m, KY_MEMORY_STREAM, 0, 1, &m.stream, &err) == KY_OK &&
                ky_plan_new(m.m, KY_MEMORY_WINDOW, 3, 2, &m.window, &err) == KY_OK,
            "%s", err.text);
    m.stream_wave = ky_wave_new(m.stream, 1);
    m.window_wave = ky_wave_new(m.window, 1);
    return m;
}

static void unload(model *m)
{
    ky_wave_free(m->stream_wave);
    ky_wave_free(m->window_wave);
    ky_plan_free(m->stream);
    ky_plan_free(m->window);
    ky_model_free(m->m);
}

static void first_half(ky_sender *in, ky_sender *holes)
{
    for (int i = 0; i < 4; i++) {
        say_sample(in, "gap-1", i, 100 + i * 0.5, -1, "");
        say_sample(in, "keep-1", i, 100 + i * 0.5, -1, "");
        say_sample(in, "one", i, 100 + i, -1, i == 2 ? ",\"label\":\"walk\"" : "");
        say_sample(in, "calm-1", 0, 100 + i, -1, i == 0 ? "" : ",\"start\":true");
        say_sample(in, "win-1", i, 100 + i, -1, "");
        say_sample(holes, "h", i, 100 + i, -1, "");
    }
    say_steps(in, "many", 0, 4);
}

static void second_half(ky_sender *in, ky_sender *holes)
{
    for (int i = 4; i < 8; i++) {
        say_sample(in, "gap-1", i, 200 + i * 0.5, -1, "");
        say_sample(in, "keep-1", i, 200 + i * 0.5, -1, "");
        say_sample(in, "one", i, 100 + i, -1, "");
        say_sample(in, "calm-1", 0, 100 + i, -1, ",\"start\":true");
        say_sample(in, "win-1", i, 100 + i, -1, "");
    }
    say_sample(holes, "h", 4, 104, 2, "");
    say_steps(in, "many", 4, 8);
    say(in, "{\"stream\":\"one\",\"seq\":5,\"label\":\"sit\"}");
    say(in, "{\"stream\":\"one\",\"seq\":500,\"label\":\"sit\"}");
}

static void check(const ky_scene *s, const model *m)
{
    for (int n = 1; n <= 8; n++) {
        expect(s, m, "gap-1", n, false, n <= 4 ? 0 : 4, n, -1);
        expect(s, m, "keep-1", n, false, 0, n, -1);
        expect(s, m, "one", n, false, 0, n, -1);
        expect(s, m, "many", n, false, 0, n, -1);
    }
    expect_number(s, 1, "SELECT count(*) FROM gaps WHERE what = 'reset' AND n = 5");
    expect_number(s, 1, "SELECT count(*) FROM gaps WHERE what = 'kept' AND n = 5");
    expect_number(s, 2, "SELECT count(*) FROM predictions WHERE quality = 'gap' AND n = 5");
    expect_number(s, 2, "SELECT count(*) FROM gaps");
    /* The same sample from zeros eight times: one label, logged once. */
    expect_number(s, 1,
                  "SELECT count(*) FROM predictions p JOIN streams s ON s.id = p.stream "
                  "WHERE name = 'calm-1'");
    for (int n = 3; n <= 7; n += 2)
        expect(s, m, "win-1", n, true, n - 3, n, -1);
    expect_number(s, 3,
                  "SELECT count(*) FROM predictions p JOIN streams s ON s.id = p.stream "
                  "WHERE name = 'win-1'");
    expect_number(s, 1, "SELECT count(*) FROM labels WHERE n = 3 AND label = 'walk' AND late = 0");
    expect_number(s, 1, "SELECT count(*) FROM labels WHERE n = 5 AND label = 'sit' AND late = 1");
    expect_number(s, 1, "SELECT count(*) FROM labels WHERE n IS NULL AND seq = 500");
    expect_number(s, 5,
                  "SELECT count(*) FROM predictions p JOIN streams s ON s.id = p.stream "
                  "WHERE name = 'h'");
    expect_number(s, 0, "SELECT count(*) FROM rejects");
}

static uint64_t run(bool kill)
{
    char text[2000], path[320], in_at[320], holes_at[320];
    ky_sender in, holes;
    ky_scene s;
    ky_daemon d;

    ky_scene_open(&s, "rules");
    ky_scene_model(s.model, F, 11);
    model m = load(s.model);

    snprintf(text, sizeof(text), ini, s.dir, s.dir);
    snprintf(path, sizeof(path), "%s", ky_scene_write(&s, "kymod.ini", text));
    snprintf(in_at, sizeof(in_at), "ipc://%s/in", s.dir);
    snprintf(holes_at, sizeof(holes_at), "ipc://%s/holes", s.dir);
    ky_daemon_start(&d, &s, NULL, path, NULL);
    ky_sender_open(&in, in_at, "a", 1);
    ky_sender_open(&holes, holes_at, "b", 2);
    first_half(&in, &holes);
    if (kill)
        ky_daemon_kill(&d);
    else
        ky_daemon_stop(&d);
    ky_daemon_start(&d, &s, NULL, path, NULL);
    second_half(&in, &holes);
    ky_sender_close(&in);
    ky_sender_close(&holes);
    ky_daemon_stop(&d);
    check(&s, &m);
    uint64_t hash = ky_scene_hash(&s, "SELECT name, n, seq, ts, label, probs, quality FROM "
                                      "predictions p JOIN streams s ON s.id = p.stream "
                                      "ORDER BY name, n");

    unload(&m);
    ky_scene_close(&s);
    return hash;
}

int main(void)
{
    uint64_t stopped = run(false), killed = run(true);

    printf("RESULT rules stopped=%016llx killed=%016llx\n", (unsigned long long)stopped,
           (unsigned long long)killed);
    KY_WANT(stopped == killed, "a kill changed the answers");
    return 0;
}
