/*
 * End to end over ZeroMQ: 1,000 streams, LSTM(64), every answer on PUB and in SQLite, samples as
 * JSON, MessagePack or bare floats (load.h). Printed beside the bare rate of the same messages over
 * the same kind of socket in the same run.
 *
 * usage: bench_end_to_end [MESSAGES [JOURNAL FORMAT]...]
 *        bench_end_to_end beside MESSAGES ROUNDS COMMAND...
 *
 * The second: kymo and another service take turns, A B A B; medians. The command is run with three
 * arguments more: the endpoint to PULL from, the one to publish on, and the database to write.
 */
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "tests/bench/load.h"
#include "tests/bench/service.h"

enum { MOST_ROUNDS = 32, MOST_WORDS = 32, FIXED_RATE = 200000 };

static bench_place at;

static pid_t start_kymod(const char *journal, const bench_format *format)
{
    static int runs;
    char ini[1024];

    snprintf(ini, sizeof(ini),
             "[kymod]\nstate_dir = %s/state-%d\njournal = %s\n"
             "[source:in]\ntype = zmq\nsocket = pull\nendpoint = %s\nbind = yes\n"
             "format = %s\n%s"
             "[stream:bench]\nsources = in\nfeatures = a,b,c,d,e,f,g,h,i\nmodel = bench\n"
             "memory = stream\narchive = no\n"
             "[publish:out]\ntype = zmq\nendpoint = %s\n",
             at.dir, runs++, journal, at.in, bench_format_name(format),
             bench_format_frames(format) ? "" : "time_unit = us\n", at.out);
    return bench_start_kymod(at.dir, ini);
}

static void print_threads(const bench_threads *before, const bench_threads *after, int messages)
{
    printf("  processor time a message, us:");
    for (int i = 0; i < after->n; i++) {
        double ns = bench_threads_ns(before, after, after->row[i].name) / messages;

        if (ns > 20)
            printf(" %s %.2f,", after->row[i].name, ns * 1e-3);
    }
    printf(" all %.2f\n", bench_threads_ns(before, after, NULL) * 1e-3 / messages);
}

/* What a service was found to do: at most, and at a rate that is given. */
typedef struct figures {
    double rate, p50_ms, p99_ms;
    int seen;
} figures;

static figures most_of(bench_load *l, int total)
{
    l->total = total;
    l->rate = 0;
    bench_load_run(l);
    if (l->n == 0)
        bench_fail("no answers came", NULL);
    return (figures){ .rate = l->n / l->seconds, .seen = l->n };
}

/* For two seconds. */
static void at_rate(bench_load *l, double rate, figures *g)
{
    l->total = (int)(rate * 2) < l->room ? (int)(rate * 2) : l->room;
    l->rate = rate;
    bench_load_run(l);
    g->seen = l->n;
    g->p50_ms = bench_quantile(l->latency_ms, l->n, 0.5);
    g->p99_ms = bench_quantile(l->latency_ms, l->n, 0.99);
}

static void print_latency(bench_load *l, double rate, const char *what)
{
    figures g;

    at_rate(l, rate, &g);
    printf("  latency at %.0f a second%s   p50 %.2f ms, p99 %.2f ms  (%d of %d answers seen)\n",
           rate, what, g.p50_ms, g.p99_ms, g.seen, l->total);
}

/* The limit first: the same messages from socket to socket, with nothing between. */
static double bare_rate(bench_load *l, int total)
{
    l->total = total;
    l->rate = 0;
    bench_bare_run(l);
    return l->n / l->seconds;
}

static void print_bare_latency(bench_load *l, double rate)
{
    l->total = (int)(rate * 2) < l->room ? (int)(rate * 2) : l->room;
    l->rate = rate;
    bench_bare_run(l);
    printf("bare push/pull, json: latency at %.0f a second   p50 %.2f ms, p99 %.2f ms\n", rate,
           bench_quantile(l->latency_ms, l->n, 0.5), bench_quantile(l->latency_ms, l->n, 0.99));
}

static void bench_mode(const char *journal, const bench_format *format, int total)
{
    bench_load l = bench_load_of(&at, format, total > 2 * FIXED_RATE ? total : 2 * FIXED_RATE);
    bench_threads before, after;
    double bare = bare_rate(&l, total);

    if (!bench_format_frames(format) && strcmp(journal, "no") == 0)
        print_bare_latency(&l, FIXED_RATE);
    pid_t pid = start_kymod(journal, format);

    bench_threads_look(pid, &before);
    figures g = most_of(&l, total);

    bench_threads_look(pid, &after);
    printf("end to end, %-7s journal = %-5s  %8.0f msg/s  (%.2f of bare push/pull, %.0f; %d of %d "
           "answers seen)\n",
           bench_format_name(format), journal, g.rate, g.rate / bare, bare, g.seen, total);
    print_threads(&before, &after, total);
    printf("  of who sends %.2f, of who reads the answers %.2f\n", l.sender_us, l.subscriber_us);
    print_latency(&l, g.rate / 2, ", half of that");
    print_latency(&l, FIXED_RATE, "");
    free(l.latency_ms);
    bench_stop(pid);
}

/* -- beside another service -- */

static pid_t start_other(char **command, int run)
{
    const char *argv[MOST_WORDS + 4] = { 0 };
    char db[128];
    int n = 0;

    snprintf(db, sizeof(db), "%s/other-%d.db", at.dir, run);
    for (; command[n] != NULL && n < MOST_WORDS; n++)
        argv[n] = command[n];
    argv[n++] = at.in;
    argv[n++] = at.out;
    argv[n] = db;
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execvp(argv[0], (char *const *)argv);
        _exit(127);
    }
    return pid;
}

static figures one_turn(pid_t pid, int total)
{
    bench_load l = bench_load_of(&at, bench_format_of("json"), total);
    figures g = most_of(&l, total);

    at_rate(&l, g.rate / 2, &g);
    free(l.latency_ms);
    bench_stop(pid);
    return g;
}

static void beside(int total, int rounds, char **command)
{
    double rate[2][MOST_ROUNDS], p50[2][MOST_ROUNDS], p99[2][MOST_ROUNDS], times[MOST_ROUNDS];
    static const char *const names[] = { "kymo", "the other" };

    for (int i = 0; i < rounds; i++) {
        for (int k = 0; k < 2; k++) {
            pid_t pid =
                k == 0 ? start_kymod("no", bench_format_of("json")) : start_other(command, i);
            figures g = one_turn(pid, total);

            rate[k][i] = g.rate;
            p50[k][i] = g.p50_ms;
            p99[k][i] = g.p99_ms;
        }
        times[i] = rate[0][i] / rate[1][i];
    }
    for (int k = 0; k < 2; k++)
        printf("end to end, %-9s %8.0f msg/s; at half of that p50 %.2f ms, p99 %.2f ms\n", names[k],
               bench_quantile(rate[k], rounds, 0.5), bench_quantile(p50[k], rounds, 0.5),
               bench_quantile(p99[k], rounds, 0.5));
    printf("kymo takes %.2f times as many (of %d rounds the median; %.2f to %.2f)\n",
           bench_quantile(times, rounds, 0.5), rounds, times[0], times[rounds - 1]);
}

int main(int argc, char **argv)
{
    static const char *const all[] = { "no",   "json",    "async", "json", "sync", "json",
                                       "sync", "msgpack", "sync",  "f32",  NULL };
    bool compares = argc > 4 && strcmp(argv[1], "beside") == 0;
    int total = argc > 1 ? atoi(argv[compares ? 2 : 1]) : 400000;
    const char *const *mode = argc > 3 ? (const char *const *)argv + 2 : all;

    bench_load_init(argc, argv);
    setvbuf(stdout, NULL, _IOLBF, 0);
    bench_open(&at);
    if (compares) {
        int rounds = atoi(argv[3]);
        beside(total, rounds < 1 ? 1 : rounds > MOST_ROUNDS ? MOST_ROUNDS : rounds, argv + 4);
    }
    for (; !compares && mode[0] != NULL && mode[1] != NULL; mode += 2)
        bench_mode(mode[0], bench_format_of(mode[1]), total);
    bench_close(&at);
    return 0;
}
