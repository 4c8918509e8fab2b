/*
 * Three subscribers: one reads, one never reads again, one is stopped by a signal. The one that
 * reads misses nothing, the sender is acknowledged all, every answer is in results.db. When the
 * stopped one goes on, `pub` shows it what it missed, and it hears what comes next.
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "models/clock.h"
#include "tests/scenarios/harness.h"

/* A local socket holds some 200 kB, the daemon 200 answers more: the rest is lost to who sleeps. */
static const char ini[] = "[kymod]\nstate_dir = state\nruntime_dir = run\nlanes = 2\n"
                          "[source:in]\nendpoint = tcp://127.0.0.1:*\nsocket = router\n"
                          "[stream:har]\nsources = in\nmodel = m\n[model:m]\nfile = model.h5\n"
                          "[publish:out]\nendpoint = ipc://%s/out\nhwm = 200\n";

/* What a subscriber saw last of each stream. */
typedef struct seen {
    int64_t pub[KY_SCENE_STREAMS], n[KY_SCENE_STREAMS];
} seen;

/* False: an answer is missing before this one. */
static bool in_order(seen *s, const ky_zframe *answer)
{
    ky_json *j;
    ky_err err;

    KY_WANT(ky_json_parse(answer->data, answer->len, false, &j, &err) == KY_OK, "%s", err.text);
    int stream = atoi(ky_json_str(ky_json_get(j, "stream"), "s-0") + 2);
    int64_t pub = ky_json_int(ky_json_get(j, "pub"), -1);
    bool next = s->pub[stream] == 0 || pub == s->pub[stream] + 1;

    s->pub[stream] = pub;
    s->n[stream] = ky_json_int(ky_json_get(j, "n"), -1);
    ky_json_free(j);
    return next;
}

static ky_zsock *subscribe(const char *endpoint)
{
    ky_zsock *s;
    ky_err err;

    KY_WANT(ky_zsock_open("sub", endpoint, false, 1000, &s, &err) == KY_OK &&
                ky_zsock_subscribe(s, "", &err) == KY_OK,
            "%s", err.text);
    return s;
}

/* -- the ones that do not read, each a process -- */

typedef struct sleeper {
    pid_t pid;
    int says; /* 'h': heard a first answer; 'm': saw that some are missing */
} sleeper;

static void sleep_or_miss(const char *endpoint, bool forever, int to)
{
    ky_zsock *s = subscribe(endpoint);
    ky_zframe f[2];
    seen had = { 0 };

    for (bool first = true;; first = false) {
        if (ky_zsock_recv(s, f, 2, -1, NULL) != 2)
            continue;
        bool next = in_order(&had, &f[1]);

        if ((first && write(to, "h", 1) != 1) || (!next && write(to, "m", 1) != 1))
            _exit(1);
        while (forever)
            pause();
    }
}

static void start_sleeper(sleeper *s, const char *endpoint, bool forever)
{
    int ends[2];

    KY_WANT(pipe(ends) == 0 && (s->pid = fork()) >= 0, "no process");
    if (s->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(ends[0]);
        sleep_or_miss(endpoint, forever, ends[1]);
    }
    close(ends[1]);
    s->says = ends[0];
}

static void end_sleeper(sleeper *s)
{
    kill(s->pid, SIGKILL);
    waitpid(s->pid, NULL, 0);
    close(s->says);
}

/* -- the one that reads, and the sender -- */

typedef struct flow {
    ky_windows w;
    int *steps;
    ky_sender sender;
    ky_zsock *sub;
    seen seen;
    uint64_t heard; /* answers of messages up to here */
} flow;

static bool hear_one(flow *f, int timeout_ms)
{
    ky_zframe got[2];

    if (ky_zsock_recv(f->sub, got, 2, timeout_ms, NULL) != 2)
        return false;
    KY_WANT(in_order(&f->seen, &got[1]), "the one that reads misses an answer");
    return true;
}

/* Whether the answer of a message, counted from 0, was heard. */
static bool was_heard(const flow *f, uint64_t k)
{
    int window = (int)f->w.order[k];

    return f->seen.n[ky_window_stream(window)] >=
           window / KY_SCENE_STREAMS * f->w.T + f->steps[k] + 1;
}

/* Sends on, but not beyond a message's number, and hears the answers of what is acknowledged. */
static void round_trip(flow *f, uint64_t to)
{
    ky_sender_round(&f->sender, &f->w, f->steps, to);
    for (; f->heard < f->sender.acked; f->heard++)
        while (!was_heard(f, f->heard))
            KY_WANT(hear_one(f, 60000), "%llu of %llu answers were heard",
                    (unsigned long long)f->heard, (unsigned long long)f->sender.acked);
}

/* One message after the other until the subscription has arrived. */
static void begin_to_hear(flow *f)
{
    do
        ky_sender_play(&f->sender, &f->w, f->steps, f->sender.acked + 1);
    while (!hear_one(f, 100));
    f->heard = f->sender.acked;
}

/* One message after the other until the sleeper has said something. */
static void until_said(flow *f, const sleeper *s, uint64_t all)
{
    struct pollfd p = { .fd = s->says, .events = POLLIN };
    int64_t until = ky_clock_mono_ns() + 60000000000;
    char what;

    while (poll(&p, 1, 10) == 0) {
        KY_WANT(ky_clock_mono_ns() < until, "a subscriber says nothing");
        round_trip(f, f->sender.acked < all ? f->sender.acked + 1 : all);
    }
    KY_WANT(read(s->says, &what, 1) == 1, "a subscriber ended");
}

/* Whether a local socket takes much less than all answers there are. */
static bool sockets_are_small(void)
{
    FILE *f = fopen("/proc/sys/net/core/wmem_default", "r");
    int bytes = 0;

    if (f != NULL && fscanf(f, "%d", &bytes) != 1)
        bytes = 0;
    if (f != NULL)
        fclose(f);
    return bytes > 0 && bytes < 300000;
}

int main(void)
{
    char text[600], endpoint[300];
    sleeper idle, stopped;
    flow f = { 0 };
    ky_scene s;
    ky_daemon d;

    ky_scene_open(&s, "subscribers");
    snprintf(text, sizeof(text), ini, s.dir);
    snprintf(endpoint, sizeof(endpoint), "ipc://%s/out", s.dir);
    ky_windows_make(&f.w, &s, 80, 36, false);
    f.steps = ky_windows_steps(&f.w);
    uint64_t all = (uint64_t)f.w.n * (uint64_t)f.w.T;
    float *y = ky_windows_answers(&f.w, s.model);

    /* Before this process has sockets of its own, which do not survive a fork. */
    start_sleeper(&idle, endpoint, true);
    start_sleeper(&stopped, endpoint, false);
    ky_daemon_start(&d, &s, NULL, ky_scene_write(&s, "kymod.ini", text), NULL);
    f.sub = subscribe(endpoint);
    ky_sender_open(&f.sender, ky_daemon_address(&d, "source=in"), "steady", 1);

    begin_to_hear(&f);
    until_said(&f, &idle, all);
    until_said(&f, &stopped, all);
    KY_WANT(kill(stopped.pid, SIGSTOP) == 0, "it cannot be stopped");
    while (f.sender.acked < all - 500)
        round_trip(&f, all - 500);
    KY_WANT(kill(stopped.pid, SIGCONT) == 0, "it cannot go on");
    if (sockets_are_small())
        until_said(&f, &stopped, all);
    while (f.sender.acked < all)
        round_trip(&f, all);

    KY_WANT(ky_daemon_counter(&d, "published") == (int64_t)all, "not all was published");
    ky_daemon_stop(&d);
    KY_WANT(ky_scene_compare(&s, &f.w, y) == 0, "answers are missing or wrong");
    end_sleeper(&idle);
    end_sleeper(&stopped);
    ky_zsock_close(f.sub);
    ky_sender_close(&f.sender);
    free(y);
    free(f.steps);
    ky_windows_done(&f.w);
    ky_scene_close(&s);
    return 0;
}
