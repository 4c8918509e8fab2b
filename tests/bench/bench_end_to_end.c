/*
 * End to end over ZeroMQ: 1,000 streams, LSTM(64), every answer on PUB and in SQLite, samples as
 * JSON, MessagePack or bare floats (load.h). Printed beside the bare rate of the same messages over
 * the same kind of socket in the same run.
 *
 * usage: bench_end_to_end [MESSAGES]
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

enum { MOST_ROUNDS = 32, MOST_WORDS = 32 };

static char dir[64], in[96], out[96];

static pid_t start_kymod(const char *journal, int run, const bench_format *format)
{
    char ini[1024];

    snprintf(ini, sizeof(ini),
             "[kymod]\nstate_dir = %s/state-%d\njournal = %s\n"
             "[source:in]\ntype = zmq\nsocket = pull\nendpoint = %s\nbind = yes\n"
             "format = %s\n%s"
             "[stream:bench]\nsources = in\nfeatures = a,b,c,d,e,f,g,h,i\nmodel = bench\n"
             "memory = stream\narchive = no\n"
             "[publish:out]\ntype = zmq\nendpoint = %s\n",
             dir, run, journal, in, bench_format_name(format),
             bench_format_frames(format) ? "" : "time_unit = us\n", out);
    return bench_start_kymod(dir, ini);
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

/* What a service was found to do: at most, and at half of that. */
typedef struct figures {
    double rate, p50_ms, p99_ms;
    int seen, half_seen, half;
} figures;

static figures most_of(bench_load *l, int total)
{
    figures g;

    l->total = total;
    l->rate = 0;
    bench_load_run(l);
    if (l->n == 0)
        bench_fail("no answers came", NULL);
    g.rate = l->n / l->seconds;
    g.seen = l->n;
    return g;
}

static void at_half(bench_load *l, figures *g)
{
    g->half = l->total = (int)(g->rate / 2 * 4) < l->total ? (int)(g->rate / 2 * 4) : l->total;
    l->rate = g->rate / 2;
    bench_load_run(l);
    g->half_seen = l->n;
    g->p50_ms = bench_quantile(l->latency_ms, l->n, 0.5);
    g->p99_ms = bench_quantile(l->latency_ms, l->n, 0.99);
}

static bench_load load_of(const bench_format *format, int total)
{
    bench_load l = { .in = in, .out = out, .format = format };

    l.latency_ms = malloc((size_t)total * sizeof(*l.latency_ms));
    if (l.latency_ms == NULL)
        bench_fail("no memory", NULL);
    return l;
}

static void bench_mode(const char *journal, int run, int total, const bench_format *format)
{
    bench_load l = load_of(format, total);
    char endpoint[96];

    snprintf(endpoint, sizeof(endpoint), "ipc://%s/bare", dir);
    double bare = bench_bare_rate(endpoint, total, format);
    bench_threads before, after;
    pid_t pid = start_kymod(journal, run, format);

    bench_threads_look(pid, &before);
    figures g = most_of(&l, total);

    bench_threads_look(pid, &after);
    printf("end to end, %-7s journal = %-5s  %8.0f msg/s  (%.2f of bare push/pull, %.0f; %d of %d "
           "answers seen)\n",
           bench_format_name(format), journal, g.rate, g.rate / bare, bare, g.seen, total);
    print_threads(&before, &after, total);
    at_half(&l, &g);
    printf("  latency at half of that   p50 %.2f ms, p99 %.2f ms  (%d of %d answers seen)\n",
           g.p50_ms, g.p99_ms, g.half_seen, g.half);
    free(l.latency_ms);
    bench_stop(pid);
}

/* -- beside another service -- */

static pid_t start_other(char **command, int run)
{
    const char *argv[MOST_WORDS + 4] = { 0 };
    char db[128];
    int n = 0;

    snprintf(db, sizeof(db), "%s/other-%d.db", dir, run);
    for (; command[n] != NULL && n < MOST_WORDS; n++)
        argv[n] = command[n];
    argv[n++] = in;
    argv[n++] = out;
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
    bench_load l = load_of(bench_format_of("json"), total);
    figures g = most_of(&l, total);

    at_half(&l, &g);
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
                k == 0 ? start_kymod("no", i, bench_format_of("json")) : start_other(command, i);
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
    static const struct {
        const char *journal, *format;
    } modes[] = { { "no", "json" },
                  { "async", "json" },
                  { "sync", "json" },
                  { "sync", "msgpack" },
                  { "sync", "f32" } };
    bool compares = argc > 4 && strcmp(argv[1], "beside") == 0;
    int total = argc > 1 ? atoi(argv[compares ? 2 : 1]) : 400000;
    char path[128];

    bench_load_init(argc, argv);
    setvbuf(stdout, NULL, _IOLBF, 0);
    snprintf(dir, sizeof(dir), "/tmp/kymo-bench.XXXXXX");
    if (mkdtemp(dir) == NULL)
        bench_fail("no temporary directory", NULL);
    snprintf(in, sizeof(in), "ipc://%s/in", dir);
    snprintf(out, sizeof(out), "ipc://%s/out", dir);
    snprintf(path, sizeof(path), "%s/model.h5", dir);
    bench_save_model(path);
    if (compares) {
        int rounds = atoi(argv[3]);
        beside(total, rounds < 1 ? 1 : rounds > MOST_ROUNDS ? MOST_ROUNDS : rounds, argv + 4);
    }
    for (size_t i = 0; !compares && i < sizeof(modes) / sizeof(*modes); i++)
        bench_mode(modes[i].journal, (int)i, total, bench_format_of(modes[i].format));
    snprintf(path, sizeof(path), "rm -rf %s", dir);
    return system(path) == 0 ? 0 : 1;
}
