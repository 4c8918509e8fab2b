/*
 * Bad input, and what it gets: each a clear error or a reject with its reason and a row; nothing
 * crashes, and the streams beside it are answered to the bit as if it had not been there (P8).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "models/blueprint.h"
#include "models/clock.h"
#include "tests/scenarios/harness.h"

static const char ini[] = "[kymod]\nstate_dir = state\nruntime_dir = run\ncommit_interval = 50ms\n"
                          "[source:in]\nendpoint = tcp://127.0.0.1:*\nmax_message = 4M\n"
                          "[source:acked]\nendpoint = ipc://%s/acked\nsocket = router\n"
                          "[stream:har]\nmatch = s-*\nmodel = m\n"
                          "[stream:other]\nmatch = x*\nmodel = steep\nmemory = window\n"
                          "[stream:odd]\nmatch = *[!a-z0-9-]*\nmodel = m\nmax_streams = 2\n"
                          "[model:m]\nfile = model.h5\n[model:steep]\nfile = steep.h5\n";

#define NINE "[1,2,3,4,5,6,7,8,9]"

/* Refused, with a word of the reason. */
static const struct {
    const char *message, *word;
} bad[] = {
    { "", "" },
    { "{", "" },
    { "{\"stream\":\"s-01\",\"x\":[1,2,3", "" },
    { "[1,2,3]", "" },
    { "\xff\xfe\x00garbage", "" },
    { "{\"stream\":\"s-01\",\"x\":[1,2,3,4,5,6,7,8]}", "wrong number of values" },
    { "{\"stream\":\"s-01\",\"x\":[1,2,3,4,5,6,7,8,9,10]}", "wrong number of values" },
    { "{\"stream\":\"s-01\",\"x\":[1,2,3,4,5,6,7,8,NaN]}", "" },
    { "{\"stream\":\"s-01\",\"x\":[1,2,3,4,5,6,7,8,Infinity]}", "" },
    { "{\"stream\":\"s-01\",\"x\":[1,2,3,4,5,6,7,8,1e400]}", "" },
    { "{\"stream\":\"s-01\",\"x\":[1,2,3,4,5,6,7,8,1e39]}", "" },
    { "{\"stream\":\"s-01\",\"x\":[1,2,3,4,5,6,7,8,null]}", "" },
    { "{\"stream\":\"s-01\",\"x\":[1,2,3,4,5,6,7,8,\"9\"]}", "" },
    { "{\"stream\":\"s-01\",\"x\":[]}", "" },
    { "{\"stream\":\"s-01\"}", "" },
    { "{\"x\":" NINE "}", "stream" },
    { "{\"stream\":\"\",\"x\":" NINE "}", "" },
    { "{\"stream\":7.5e400,\"x\":" NINE "}", "" },
    { "{\"stream\":\"a\\nlevel=error msg=forged\",\"x\":" NINE "}", "" },
    { "{\"stream\":\"\\u001b[2J\",\"x\":" NINE "}", "" },
    { "{\"stream\":\"nobody-wants-me\",\"x\":" NINE "}", "no class" },
    { "{\"stream\":\"x-new\",\"seq\":1,\"label\":\"walk\"}", "never sent a sample" },
    { "{\"stream\":\"s-01\",\"label\":\"walk\"}", "" },
    { "{\"stream\":\"s-01\",\"ts\":\"yesterday\",\"x\":" NINE "}", "" },
};

/* Strange, but meaning what they say. */
static const char *const strange[] = {
    "'; DROP TABLE predictions; --",
    "../../etc/passwd",
    "%s%n%p",
};

static void expect_exit(const char *name, const ky_scene *s, const char *text,
                        const char *const *overrides, int want, const char *word)
{
    char path[320];
    ky_daemon d;

    snprintf(path, sizeof(path), "%s", ky_scene_write(s, "bad.ini", text));
    int code = ky_daemon_run(&d, s, path, overrides);

    printf("RESULT start %s exit=%d\n", name, code);
    KY_WANT(code == want, "%s: exit %d, not %d", name, code, want);
    KY_WANT(ky_daemon_said(&d, word), "%s: the log does not say '%s'", name, word);
}

static void shorten(const char *from, const char *to, double part)
{
    static char buf[1 << 20];
    int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ssize_t n = read(in, buf, sizeof(buf));

    KY_WANT(n > 0 && write(out, buf, (size_t)((double)n * part)) > 0, "%s: %s", to,
            strerror(errno));
    close(in);
    close(out);
}

static void bad_starts(const ky_scene *s, const ky_daemon *d)
{
    char plain[1400], text[1500], endpoint[300], half[320], cut[340], file[340], other[340];
    char four[340];

    snprintf(plain, sizeof(plain), ini, s->dir);
    snprintf(endpoint, sizeof(endpoint), "source:in.endpoint=%s",
             ky_daemon_address(d, "source=in"));
    snprintf(file, sizeof(file), "kymod.state_dir=%s/kymod.ini/state", s->dir);
    snprintf(other, sizeof(other), "kymod.state_dir=%s/state2", s->dir);
    snprintf(half, sizeof(half), "%s/half.h5", s->dir);
    snprintf(cut, sizeof(cut), "model:m.file=%s", half);
    snprintf(four, sizeof(four), "model:four.file=%s", half);
    expect_exit("two_daemons", s, plain, NULL, EX_TEMPFAIL, "another kymod");
    expect_exit("port_taken", s, plain, (const char *const[]){ other, endpoint, NULL }, EX_TEMPFAIL,
                "[source:in]");
    expect_exit("state_dir_is_a_file", s, plain, (const char *const[]){ file, NULL }, EX_CANTCREAT,
                "state_dir");
    expect_exit("model_does_not_fit", s, plain,
                (const char *const[]){ other, "stream:har.features=a,b,c", NULL }, EX_CONFIG,
                "3 features");
    expect_exit("too_many_labels", s, plain,
                (const char *const[]){ other, "model:m.labels=a,b", NULL }, EX_CONFIG, "2 labels");
    ky_scene_model(half, 4, 5);
    expect_exit("models_of_a_class_disagree", s, plain,
                (const char *const[]){ other, "stream:har.model=m, four", four, NULL }, EX_CONFIG,
                "model 'm' takes 9 values a sample, model 'four' 4");
    shorten(s->model, half, 0.5);
    expect_exit("truncated_model", s, plain, (const char *const[]){ other, cut, NULL }, EX_DATAERR,
                "half.h5");
    snprintf(text, sizeof(text), "%s[source:two]\nsockte = pull\n", plain);
    expect_exit("unknown_key", s, text, NULL, EX_CONFIG, "sockte");
}

static void send_text(ky_zsock *push, const char *text, size_t len)
{
    ky_zframe f = { text, len };
    ky_err err;

    KY_WANT(ky_zsock_send(push, &f, 1, 10000, &err) == KY_OK, "%s", err.text);
}

/* A name of a million letters. */
static void send_huge(ky_zsock *push)
{
    static char huge[1100000];
    int at = snprintf(huge, sizeof(huge), "{\"x\":" NINE ",\"stream\":\"");

    memset(huge + at, 'x', 1000000);
    memcpy(huge + at + 1000000, "\"}", 2);
    send_text(push, huge, (size_t)at + 1000002);
}

/* As many steps as no message may have. */
static void send_long(ky_zsock *push)
{
    static char text[200000];
    size_t at = (size_t)snprintf(text, sizeof(text), "{\"stream\":\"s-01\",\"x\":[" NINE);

    for (int i = 0; i < 4096; i++)
        at += (size_t)snprintf(text + at, sizeof(text) - at, "," NINE);
    at += (size_t)snprintf(text + at, sizeof(text) - at, "]}");
    send_text(push, text, at);
}

static int send_bad(ky_zsock *push, size_t i)
{
    size_t n = sizeof(bad) / sizeof(*bad);

    if (i < n)
        send_text(push, bad[i].message, strlen(bad[i].message));
    else if (i == n)
        send_huge(push);
    else if (i == n + 1)
        send_long(push);
    return i < n + 2;
}

static void send_strange(ky_zsock *push)
{
    char text[300];

    for (size_t i = 0; i < sizeof(strange) / sizeof(*strange); i++)
        send_text(
            push, text,
            (size_t)snprintf(text, sizeof(text), "{\"stream\":\"%s\",\"x\":" NINE "}", strange[i]));
}

/* Gates are bounded, so an LSTM cannot overflow; two linear layers can: infinities of both signs
 * meet. */
static void make_steep(const ky_scene *s)
{
    ky_shape in = { .rank = 2, .d = { 2, 9 }, .timed = true };
    char path[320];
    ky_model *m;
    ky_err err;

    snprintf(path, sizeof(path), "%s/steep.h5", s->dir);
    KY_WANT(ky_arch_build("flatten, dense:64 linear, dense:2 linear", &in, 2, false, &m, &err) ==
                KY_OK,
            "%s", err.text);
    ky_model_init(m, 3);
    KY_WANT(ky_model_pack(m, &err) == KY_OK && ky_model_save(m, path, &err) == KY_OK, "%s",
            err.text);
    ky_model_free(m);
}

/* A stream whose values run away: those steps are undone, the others are as without them. */
static void send_hot(ky_zsock *push)
{
    static const char cool[] = "{\"stream\":\"x-%s\",\"x\":[%d,2,3,4,5,6,7,8,9]}";
    static const char hot[] = "{\"stream\":\"x-hot\",\"x\":[3.4e38,-3.4e38,3.4e38,-3.4e38,3.4e38,"
                              "-3.4e38,3.4e38,-3.4e38,3.4e38]}";
    char text[200];

    for (int i = 0; i < 4; i++) {
        send_text(push, text, (size_t)snprintf(text, sizeof(text), cool, "hot", i));
        send_text(push, text, (size_t)snprintf(text, sizeof(text), cool, "cool", i));
        if (i == 1)
            send_text(push, hot, sizeof(hot) - 1);
    }
}

static void send_four(ky_zsock *dealer, const char *session, size_t session_len, uint64_t number,
                      size_t number_len, const char *payload)
{
    ky_zframe f[4] = { { "sender", 6 },
                       { session, session_len },
                       { &number, number_len },
                       { payload, strlen(payload) } };

    KY_WANT(ky_zsock_send(dealer, f, 4, 1000, NULL) == KY_OK, "sending");
}

enum { TAKEN = 3 }; /* messages of the sender below */

/* Whether the router says this number, with a reason or without. It may say one twice; never may
 * it say one that was not the next. */
static bool told(ky_zsock *dealer, uint64_t number, bool reason)
{
    int64_t until = ky_clock_mono_ns() + 20000000000;
    ky_zframe f[3];

    while (ky_clock_mono_ns() < until) {
        uint64_t answer = 0;
        int n = ky_zsock_recv(dealer, f, 3, 100, NULL);

        if (n < 2)
            continue;
        KY_WANT(f[0].len == 16 && f[1].len == 8, "a malformed acknowledgement");
        memcpy(&answer, f[1].data, sizeof(answer));
        KY_WANT(answer <= TAKEN, "number %llu is acknowledged", (unsigned long long)answer);
        if (answer == number && (n == 3 && f[2].len > 0) == reason)
            return true;
    }
    return false;
}

/* A sender whose envelopes and payloads go wrong is told so and can go on. */
static void bad_envelopes(const ky_daemon *d)
{
    static const char session[] = "0123456789abcdef", other[] = "fedcba9876543210";
    static const char good[] = "{\"stream\":\"x-sent\",\"x\":" NINE "}";
    ky_zsock *z;
    ky_err err;

    KY_WANT(ky_zsock_open("dealer", ky_daemon_address(d, "source=acked"), false, 100, &z, &err) ==
                KY_OK,
            "%s", err.text);
    send_four(z, session, 16, 4, 8, good);
    KY_WANT(told(z, 0, true), "a session begun at 4");
    send_four(z, session, 16, 1, 8, "garbage");
    KY_WANT(told(z, 1, true), "garbage, numbered 1");
    send_four(z, session, 16, 2, 8, good);
    KY_WANT(told(z, 2, false), "the next one");
    send_four(z, session, 16, 9, 8, good); /* one that is ahead: silence */
    send_four(z, session, 16, 2, 8, good);
    KY_WANT(told(z, 2, false), "the same again");
    send_four(z, other, 16, 3, 8, good);
    KY_WANT(told(z, 0, true), "another session, not at 1");
    send_four(z, session, 15, 3, 8, good); /* malformed: a reject, whatever is said */
    send_four(z, session, 16, 3, 7, good);
    send_four(z, session, 16, TAKEN, 8, good);
    KY_WANT(told(z, TAKEN, false), "after malformed envelopes");
    ky_zsock_close(z);
}

static bool counted(void *arg)
{
    const ky_daemon *d = arg;

    return ky_daemon_counter(d, "received") ==
           ky_daemon_counter(d, "accepted") + ky_daemon_counter(d, "rejected") +
               ky_daemon_counter(d, "duplicates") + ky_daemon_counter(d, "ahead") +
               ky_daemon_counter(d, "sessions_refused");
}

/* kymo streams says which step was undone. */
static void look_at_hot(const ky_scene *s, const char *when)
{
    const char *build = getenv("KY_BUILDDIR");
    char command[1200];

    snprintf(command, sizeof(command),
             "'%s/kymo' streams x-hot -d '%s/state' | grep -q 'quarantines  *1$'",
             build != NULL ? build : ".", s->dir);
    KY_WANT(system(command) == 0, "%s kymo streams does not show the step that was undone", when);
}

int main(void)
{
    char text[1400], buf[1024], path[320];
    int64_t sent_bad = 0;
    ky_windows w;
    ky_scene s;
    ky_daemon d;
    ky_zsock *push;
    ky_err err;

    ky_scene_open(&s, "bad");
    ky_windows_make(&w, &s, 80, 16, false);
    float *y = ky_windows_answers(&w, s.model);

    make_steep(&s);
    snprintf(text, sizeof(text), ini, s.dir);
    snprintf(path, sizeof(path), "%s", ky_scene_write(&s, "kymod.ini", text));
    ky_daemon_start(&d, &s, NULL, path, NULL);
    KY_WANT(ky_zsock_open("push", ky_daemon_address(&d, "source=in"), false, 10000, &push, &err) ==
                KY_OK,
            "%s", err.text);
    int *next = calloc((size_t)w.n, sizeof(int));

    for (int k = 0; k < w.n * w.T; k++) {
        int window = (int)w.order[k];
        int len = ky_windows_json(&w, window, next[window]++, buf, sizeof(buf));

        send_text(push, buf, (size_t)len);
        if (k % 17 == 0)
            sent_bad += send_bad(push, (size_t)k / 17);
    }
    send_strange(push);
    send_hot(push);
    bad_starts(&s, &d);
    bad_envelopes(&d);
    sent_bad += 3; /* the garbage and two envelopes */
    ky_scene_wait_predictions(&s, w.n * w.T + 3 + 6 + 1, 60000);
    KY_WANT(ky_within(30000, counted, &d),
            "some messages are neither accepted, rejected, repeated nor ahead");
    KY_WANT(ky_daemon_counter(&d, "quarantined") == 1, "the hot step was not undone");
    ky_zsock_close(push);
    look_at_hot(&s, "while kymod runs");
    ky_daemon_stop(&d);
    look_at_hot(&s, "when it has stopped");

    int64_t wrong = ky_scene_compare(&s, &w, y);
    int64_t rows = ky_scene_number(&s, "SELECT count(*) FROM rejects");

    printf("RESULT bad_input sent=%lld rejected=%lld answers_disturbed=%lld\n", (long long)sent_bad,
           (long long)rows, (long long)wrong);
    KY_WANT(wrong == 0, "streams beside the bad input were disturbed");
    KY_WANT(rows == sent_bad, "%lld bad messages, %lld rows", (long long)sent_bad, (long long)rows);
    KY_WANT(ky_scene_number(&s, "SELECT count(*) FROM rejects WHERE reason = ''") == 0,
            "no reason");
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        snprintf(buf, sizeof(buf), "SELECT count(*) > 0 FROM rejects WHERE reason LIKE '%%%s%%'",
                 bad[i].word);
        KY_WANT(ky_scene_number(&s, buf) == 1, "no reject says '%s'", bad[i].word);
    }
    KY_WANT(ky_scene_number(&s, "SELECT count(*) FROM rejects WHERE stream = 's-01' AND reason = "
                                "'too many steps: a message may have 4096, here are 4097'") == 1,
            "no reject says how many steps a message may have");
    KY_WANT(ky_scene_number(&s, "SELECT count(*) FROM streams WHERE name LIKE '%DROP TABLE%'") == 1,
            "a strange name was not kept");
    KY_WANT(ky_scene_number(&s, "SELECT count(*) FROM events WHERE what = 'quarantine'") == 1,
            "quarantine is not told");
    KY_WANT(ky_scene_number(
                &s, "SELECT count(*) = 3 FROM (SELECT probs FROM predictions p JOIN streams s ON "
                    "s.id = p.stream WHERE name = 'x-cool' INTERSECT SELECT probs FROM predictions "
                    "p JOIN streams s ON s.id = p.stream WHERE name = 'x-hot')") == 1,
            "the hot stream did not go on from its last good state");
    free(next);
    free(y);
    ky_windows_done(&w);
    ky_scene_close(&s);
    return 0;
}
