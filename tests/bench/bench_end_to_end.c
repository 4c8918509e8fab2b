/*
 * End to end: JSON over ZeroMQ, 1,000 streams, LSTM(64), every answer on PUB and in SQLite.
 * The sender and kymod are processes of their own; this one subscribes. Printed beside the
 * bare rate of the same messages over the same kind of socket in the same run. Latency is
 * open loop: from the time a message was due to be sent to its answer's receipt here.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "connectors/zmq.h"
#include "models/blueprint.h"
#include "models/clock.h"
#include "storage/results.h"

enum { STREAMS = 1000, VARIANTS = 16, F = 9, MESSAGE = 256 };

typedef struct message {
    int len;
    char text[MESSAGE];
} message;

static message *messages; /* without the time: `,"ts":...}` is put behind */
static char dir[64];

static void fail(const char *what, const ky_err *err)
{
    fprintf(stderr, "bench_end_to_end: %s: %s\n", what, err != NULL ? err->text : "");
    exit(1);
}

static void make_messages(void)
{
    ky_rng rng;

    ky_rng_seed(&rng, 1);
    messages = calloc(STREAMS * VARIANTS, sizeof(*messages));
    for (int i = 0; messages != NULL && i < STREAMS * VARIANTS; i++) {
        message *m = &messages[i];

        m->len = snprintf(m->text, MESSAGE, "{\"stream\":\"s-%d\",\"x\":[", i % STREAMS);
        for (int f = 0; f < F; f++)
            m->len += snprintf(m->text + m->len, (size_t)(MESSAGE - m->len), "%s%.4f",
                               f > 0 ? "," : "", ky_rng_normal(&rng));
        m->len += snprintf(m->text + m->len, (size_t)(MESSAGE - m->len), "]");
    }
}

static void save_model(const char *path)
{
    static const char *const labels[] = { "a", "b", "c", "d", "e", "f" };
    ky_shape in = { .rank = 2, .d = { KY_ANY, F }, .timed = true };
    ky_model *m;
    ky_err err = { 0 };

    if (ky_arch_build("lstm:64, dense", &in, 6, true, &m, &err) < 0)
        fail("model", &err);
    ky_model_init(m, 1);
    if (ky_model_pack(m, &err) < 0 || ky_model_set_labels(m, labels, 6, &err) < 0 ||
        ky_model_save(m, path, &err) < 0)
        fail("model", &err);
    ky_model_free(m);
}

/* Sends `total` messages, `rate` a second or as fast as they are taken (0). */
static int send_all(const char *endpoint, int total, double rate)
{
    ky_zsock *s;
    ky_err err = { 0 };

    if (ky_zsock_open("push", endpoint, false, 10000, &s, &err) < 0)
        fail("sender", &err);
    int64_t begin = ky_clock_wall_us();
    for (int i = 0; i < total; i++) {
        const message *m = &messages[i % (STREAMS * VARIANTS)];
        int64_t due = rate > 0 ? begin + (int64_t)(i / rate * 1e6) : ky_clock_wall_us();
        char text[MESSAGE + 64];

        while (rate > 0 && i % 16 == 0 && ky_clock_wall_us() < due)
            nanosleep(&(struct timespec){ 0, 50000 }, NULL);
        memcpy(text, m->text, (size_t)m->len);
        int len = m->len + snprintf(text + m->len, 64, ",\"ts\":%lld}", (long long)due);
        ky_zframe f = { text, (size_t)len };
        if (ky_zsock_send(s, &f, 1, 60000, &err) < 0)
            fail("sender", &err);
    }
    ky_zsock_close(s);
    return 0;
}

/* A process of its own: this program again (a ZeroMQ context does not survive a fork). */
static pid_t start_sender(const char *endpoint, int total, double rate)
{
    char totals[16], rates[32];
    pid_t pid;

    snprintf(totals, sizeof(totals), "%d", total);
    snprintf(rates, sizeof(rates), "%.3f", rate);
    pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execl("/proc/self/exe", "bench_end_to_end", "send", endpoint, totals, rates, (char *)NULL);
        _exit(127);
    }
    return pid;
}

static double bare_rate(int total)
{
    char endpoint[96];
    ky_zsock *s;
    ky_zframe f[2];
    ky_err err = { 0 };
    int64_t begin = 0;

    snprintf(endpoint, sizeof(endpoint), "ipc://%s/bare", dir);
    if (ky_zsock_open("pull", endpoint, true, 10000, &s, &err) < 0)
        fail("bare", &err);
    pid_t sender = start_sender(endpoint, total, 0);
    for (int i = 0; i < total; i++) {
        if (ky_zsock_recv(s, f, 2, 30000, &err) < 0)
            fail("bare", &err);
        if (i == 0)
            begin = ky_clock_mono_ns();
    }
    double seconds = (double)(ky_clock_mono_ns() - begin) * 1e-9;
    waitpid(sender, NULL, 0);
    ky_zsock_close(s);
    return total / seconds;
}

static pid_t start_kymod(const char *journal, int run)
{
    char ini[128], state[128];
    const char *build = getenv("KY_BUILDDIR");
    char program[4096];

    snprintf(ini, sizeof(ini), "%s/%d.ini", dir, run);
    snprintf(state, sizeof(state), "%s/state-%d", dir, run);
    FILE *f = fopen(ini, "w");
    if (f == NULL)
        fail("cannot write the configuration", NULL);
    fprintf(f,
            "[kymod]\nstate_dir = %s\nruntime_dir = %s\njournal = %s\n"
            "[source:in]\ntype = zmq\nsocket = pull\nendpoint = ipc://%s/in\nbind = yes\n"
            "time_unit = us\n"
            "[stream:bench]\nsources = in\nfeatures = a,b,c,d,e,f,g,h,i\nmodel = bench\n"
            "memory = stream\narchive = no\n"
            "[model:bench]\nfile = %s/model.h5\n"
            "[publish:out]\ntype = zmq\nendpoint = ipc://%s/out\n",
            state, dir, journal, dir, dir, dir);
    fclose(f);
    snprintf(program, sizeof(program), "%s/kymod", build != NULL ? build : ".");
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execl(program, "kymod", "-c", ini, "--log-level", "warn", (char *)NULL);
        _exit(127);
    }
    return pid;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* The time in an answer, microseconds: seconds on the wire. */
static int64_t answer_ts(const ky_zframe *f)
{
    const char *at = memmem(f->data, f->len, "\"ts\":", 5);

    return at != NULL ? (int64_t)(strtod(at + 5, NULL) * 1e6 + 0.5) : 0;
}

/* Runs one load; *ret_seconds from the first sending to the last answer. Returns answers received.
 */
static int run_load(int total, double rate, double *latency_ms, double *ret_seconds)
{
    char in[96], out[96];
    ky_zsock *sub;
    ky_zframe f[4];
    ky_err err = { 0 };
    int n = 0;

    snprintf(in, sizeof(in), "ipc://%s/in", dir);
    snprintf(out, sizeof(out), "ipc://%s/out", dir);
    if (ky_zsock_open("sub", out, false, 1000000, &sub, &err) < 0 ||
        ky_zsock_subscribe(sub, "", &err) < 0)
        fail("subscriber", &err);
    /* The subscription has arrived when a first answer comes through. */
    do {
        waitpid(start_sender(in, 1, 0), NULL, 0);
    } while (ky_zsock_recv(sub, f, 4, 200, &err) < 0);
    while (ky_zsock_recv(sub, f, 4, 300, &err) >= 0)
        continue;
    int64_t begin = ky_clock_mono_ns(), last = begin;
    pid_t sender = start_sender(in, total, rate);
    while (n < total && ky_zsock_recv(sub, f, 4, 5000, &err) >= 2) {
        latency_ms[n++] = (double)(ky_clock_wall_us() - answer_ts(&f[1])) * 1e-3;
        last = ky_clock_mono_ns();
    }
    waitpid(sender, NULL, 0);
    ky_zsock_close(sub);
    *ret_seconds = (double)(last - begin) * 1e-9;
    return n;
}

static void stop(pid_t pid)
{
    int status;

    kill(pid, SIGTERM);
    waitpid(pid, &status, 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail("kymod did not end cleanly", NULL);
}

static void bench_mode(const char *journal, int run, int total, double bare)
{
    double *latency = malloc((size_t)total * sizeof(*latency)), seconds, rate;
    pid_t pid = start_kymod(journal, run);
    int n = latency != NULL ? run_load(total, 0, latency, &seconds) : 0;

    if (n == 0)
        fail("no answers came", NULL);
    rate = n / seconds;
    printf("end to end, journal = %-5s  %8.0f msg/s  (%.2f of bare; %d of %d answers seen)\n",
           journal, rate, rate / bare, n, total);
    int half = (int)(rate / 2 * 4) < total ? (int)(rate / 2 * 4) : total;
    n = run_load(half, rate / 2, latency, &seconds);
    qsort(latency, (size_t)n, sizeof(*latency), compare);
    if (n > 0)
        printf("  latency at half of that   p50 %.2f ms, p99 %.2f ms  (%d of %d answers seen)\n",
               latency[n / 2], latency[(int)(n * 0.99)], n, half);
    free(latency);
    stop(pid);
}

int main(int argc, char **argv)
{
    static const char *const modes[] = { "no", "async", "sync" };
    int total = argc > 1 ? atoi(argv[1]) : 400000;
    char path[128];

    if (argc == 5 && strcmp(argv[1], "send") == 0) {
        make_messages();
        return send_all(argv[2], atoi(argv[3]), atof(argv[4]));
    }

    snprintf(dir, sizeof(dir), "/tmp/kymo-bench.XXXXXX");
    if (mkdtemp(dir) == NULL)
        fail("no temporary directory", NULL);
    setvbuf(stdout, NULL, _IOLBF, 0);
    make_messages();
    snprintf(path, sizeof(path), "%s/model.h5", dir);
    save_model(path);
    double bare = bare_rate(total);
    printf("ZeroMQ push/pull, same messages, bare %8.0f msg/s (the limit)\n", bare);
    for (int i = 0; i < 3; i++)
        bench_mode(modes[i], i, total, bare);
    free(messages);
    snprintf(path, sizeof(path), "rm -rf %s", dir);
    return system(path) == 0 ? 0 : 1;
}
