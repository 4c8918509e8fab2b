/*
 * End to end over ZeroMQ: 1,000 streams, LSTM(64), every answer on PUB and in SQLite, samples as
 * JSON, MessagePack or bare floats. The sender and kymod are processes of their own; this one
 * subscribes. Printed beside the bare rate of the same messages over the same kind of socket
 * in the same run. Latency is open loop: from the time a message was due to be sent to its
 * answer's receipt here; of bare floats, which carry no time, from its arrival.
 */
#include <dirent.h>
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

/* A message but for its time, which json and msgpack have at their end. */
typedef struct message {
    int stream_len, len;
    char stream[16], text[MESSAGE];
} message;

static message *messages;
static char dir[64];

static void fail(const char *what, const ky_err *err)
{
    fprintf(stderr, "bench_end_to_end: %s: %s\n", what, err != NULL ? err->text : "");
    exit(1);
}

static void put(message *m, const void *bytes, size_t n)
{
    memcpy(m->text + m->len, bytes, n);
    m->len += (int)n;
}

/* A leading byte and a number of n bytes, big-endian. */
static void put_big(message *m, int lead, uint64_t v, int n)
{
    uint8_t bytes[9] = { (uint8_t)lead };

    for (int i = n; i > 0; i--, v >>= 8)
        bytes[i] = (uint8_t)v;
    put(m, bytes, 1 + (size_t)n);
}

static void write_json(message *m, const float x[F])
{
    m->len = snprintf(m->text, MESSAGE, "{\"stream\":\"%s\",\"x\":[", m->stream);
    for (int f = 0; f < F; f++)
        m->len += snprintf(m->text + m->len, (size_t)(MESSAGE - m->len), "%s%.4f", f > 0 ? "," : "",
                           (double)x[f]);
    put(m, "],\"ts\":", 7);
}

static void end_json(message *m, int64_t due_us)
{
    m->len += snprintf(m->text + m->len, (size_t)(MESSAGE - m->len), "%lld}", (long long)due_us);
}

static void write_msgpack(message *m, const float x[F])
{
    put(m, "\x83\xa6stream", 8);
    put_big(m, 0xa0 | m->stream_len, 0, 0);
    put(m, m->stream, (size_t)m->stream_len);
    put(m, "\xa1x", 2);
    put_big(m, 0x90 | F, 0, 0);
    for (int f = 0; f < F; f++) {
        uint32_t bits;
        memcpy(&bits, &x[f], sizeof(bits));
        put_big(m, 0xca, bits, 4);
    }
    put(m, "\xa2ts", 3);
}

static void end_msgpack(message *m, int64_t due_us)
{
    put_big(m, 0xd3, (uint64_t)due_us, 8);
}

static void write_f32(message *m, const float x[F])
{
    put(m, x, F * sizeof(float));
}

static void end_f32(message *m, int64_t due_us)
{
    (void)m;
    (void)due_us;
}

static const struct format {
    const char *name;
    bool stream_frame; /* a first frame names the stream */
    void (*write)(message *m, const float x[F]);
    void (*end)(message *m, int64_t due_us);
} formats[] = {
    { "json", false, write_json, end_json },
    { "msgpack", false, write_msgpack, end_msgpack },
    { "f32", true, write_f32, end_f32 },
};

static void make_messages(const struct format *format)
{
    float x[F];
    ky_rng rng;

    ky_rng_seed(&rng, 1);
    free(messages);
    messages = calloc(STREAMS * VARIANTS, sizeof(*messages));
    for (int i = 0; messages != NULL && i < STREAMS * VARIANTS; i++) {
        message *m = &messages[i];

        m->stream_len = snprintf(m->stream, sizeof(m->stream), "s-%d", i % STREAMS);
        for (int f = 0; f < F; f++)
            x[f] = (float)ky_rng_normal(&rng);
        format->write(m, x);
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
static int send_all(const char *endpoint, int total, double rate, const struct format *format)
{
    int first = format->stream_frame ? 0 : 1;
    ky_zsock *s;
    ky_err err = { 0 };

    make_messages(format);
    if (ky_zsock_open("push", endpoint, false, 10000, &s, &err) < 0)
        fail("sender", &err);
    int64_t begin = ky_clock_wall_us();
    for (int i = 0; i < total; i++) {
        message m = messages[i % (STREAMS * VARIANTS)];
        int64_t due = rate > 0 ? begin + (int64_t)(i / rate * 1e6) : ky_clock_wall_us();

        while (rate > 0 && i % 16 == 0 && ky_clock_wall_us() < due)
            nanosleep(&(struct timespec){ 0, 50000 }, NULL);
        format->end(&m, due);
        ky_zframe f[] = { { m.stream, (size_t)m.stream_len }, { m.text, (size_t)m.len } };
        if (ky_zsock_send(s, f + first, 2 - first, 60000, &err) < 0)
            fail("sender", &err);
    }
    ky_zsock_close(s);
    return 0;
}

/* A process of its own: this program again (a ZeroMQ context does not survive a fork). */
static pid_t start_sender(const char *endpoint, int total, double rate, const struct format *format)
{
    char totals[16], rates[32];
    pid_t pid;

    snprintf(totals, sizeof(totals), "%d", total);
    snprintf(rates, sizeof(rates), "%.3f", rate);
    pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execl("/proc/self/exe", "bench_end_to_end", "send", endpoint, totals, rates, format->name,
              (char *)NULL);
        _exit(127);
    }
    return pid;
}

static double bare_rate(int total, const struct format *format)
{
    char endpoint[96];
    ky_zsock *s;
    ky_zframe f[2];
    ky_err err = { 0 };
    int64_t begin = 0;

    snprintf(endpoint, sizeof(endpoint), "ipc://%s/bare", dir);
    if (ky_zsock_open("pull", endpoint, true, 10000, &s, &err) < 0)
        fail("bare", &err);
    pid_t sender = start_sender(endpoint, total, 0, format);
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

static pid_t start_kymod(const char *journal, int run, const struct format *format)
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
            "format = %s\n%s"
            "[stream:bench]\nsources = in\nfeatures = a,b,c,d,e,f,g,h,i\nmodel = bench\n"
            "memory = stream\narchive = no\n"
            "[model:bench]\nfile = %s/model.h5\n"
            "[publish:out]\ntype = zmq\nendpoint = ipc://%s/out\n",
            state, dir, journal, dir, format->name, format->stream_frame ? "" : "time_unit = us\n",
            dir, dir);
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
static int run_load(int total, double rate, const struct format *format, double *latency_ms,
                    double *ret_seconds)
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
        waitpid(start_sender(in, 1, 0, format), NULL, 0);
    } while (ky_zsock_recv(sub, f, 4, 200, &err) < 0);
    while (ky_zsock_recv(sub, f, 4, 300, &err) >= 0)
        continue;
    int64_t begin = ky_clock_mono_ns(), last = begin;
    pid_t sender = start_sender(in, total, rate, format);
    while (n < total && ky_zsock_recv(sub, f, 4, 5000, &err) >= 2) {
        latency_ms[n++] = (double)(ky_clock_wall_us() - answer_ts(&f[1])) * 1e-3;
        last = ky_clock_mono_ns();
    }
    waitpid(sender, NULL, 0);
    ky_zsock_close(sub);
    *ret_seconds = (double)(last - begin) * 1e-9;
    return n;
}

/* Processor time by thread, nanoseconds; threads of one name together. */
typedef struct threads {
    int n;
    struct {
        char name[24];
        double ns;
    } row[32];
} threads;

static double number_in(const char *path)
{
    FILE *f = fopen(path, "r");
    double v = 0;

    if (f == NULL || fscanf(f, "%lf", &v) != 1)
        v = 0;
    if (f != NULL)
        fclose(f);
    return v;
}

static void add_thread(threads *t, const char *name, double ns)
{
    int i = 0;

    while (i < t->n && strcmp(t->row[i].name, name) != 0)
        i++;
    if (i == (int)(sizeof(t->row) / sizeof(t->row[0])))
        return;
    if (i == t->n)
        snprintf(t->row[t->n++].name, sizeof(t->row[0].name), "%s", name);
    t->row[i].ns += ns;
}

static void look_at_threads(pid_t pid, threads *ret)
{
    char path[300], name[24];
    struct dirent *e;

    *ret = (threads){ 0 };
    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    DIR *d = opendir(path);
    while (d != NULL && (e = readdir(d)) != NULL) {
        FILE *f;

        snprintf(path, sizeof(path), "/proc/%d/task/%.20s/comm", (int)pid, e->d_name);
        if (e->d_name[0] == '.' || (f = fopen(path, "r")) == NULL)
            continue;
        if (fscanf(f, "%23s", name) == 1) {
            snprintf(path, sizeof(path), "/proc/%d/task/%.20s/schedstat", (int)pid, e->d_name);
            add_thread(ret, name, number_in(path));
        }
        fclose(f);
    }
    if (d != NULL)
        closedir(d);
}

static void print_threads(const threads *before, const threads *after, int messages_taken)
{
    double all = 0;

    printf("  processor time a message, us:");
    for (int i = 0; i < after->n; i++) {
        double ns = after->row[i].ns;

        for (int k = 0; k < before->n; k++)
            ns -= strcmp(before->row[k].name, after->row[i].name) == 0 ? before->row[k].ns : 0;
        all += ns;
        if (ns / messages_taken > 20)
            printf(" %s %.2f,", after->row[i].name, ns * 1e-3 / messages_taken);
    }
    printf(" all %.2f\n", all * 1e-3 / messages_taken);
}

static void stop(pid_t pid)
{
    int status;

    kill(pid, SIGTERM);
    waitpid(pid, &status, 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail("kymod did not end cleanly", NULL);
}

static void bench_mode(const char *journal, int run, int total, const struct format *format)
{
    double *latency = malloc((size_t)total * sizeof(*latency)), seconds = 0, rate;
    double bare = bare_rate(total, format);
    threads before, after;
    pid_t pid = start_kymod(journal, run, format);

    look_at_threads(pid, &before);
    int n = latency != NULL ? run_load(total, 0, format, latency, &seconds) : 0;
    look_at_threads(pid, &after);

    if (n == 0)
        fail("no answers came", NULL);
    rate = n / seconds;
    printf("end to end, %-7s journal = %-5s  %8.0f msg/s  (%.2f of bare push/pull, %.0f; %d of %d "
           "answers seen)\n",
           format->name, journal, rate, rate / bare, bare, n, total);
    print_threads(&before, &after, total);
    int half = (int)(rate / 2 * 4) < total ? (int)(rate / 2 * 4) : total;
    n = run_load(half, rate / 2, format, latency, &seconds);
    qsort(latency, (size_t)n, sizeof(*latency), compare);
    if (n > 0)
        printf("  latency at half of that   p50 %.2f ms, p99 %.2f ms  (%d of %d answers seen)\n",
               latency[n / 2], latency[(int)(n * 0.99)], n, half);
    free(latency);
    stop(pid);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *journal;
        int format;
    } modes[] = { { "no", 0 }, { "async", 0 }, { "sync", 0 }, { "sync", 1 }, { "sync", 2 } };
    int total = argc > 1 ? atoi(argv[1]) : 400000;
    char path[128];

    if (argc == 6 && strcmp(argv[1], "send") == 0) {
        int k = 0;
        while (k < 2 && strcmp(formats[k].name, argv[5]) != 0)
            k++;
        return send_all(argv[2], atoi(argv[3]), atof(argv[4]), &formats[k]);
    }

    snprintf(dir, sizeof(dir), "/tmp/kymo-bench.XXXXXX");
    if (mkdtemp(dir) == NULL)
        fail("no temporary directory", NULL);
    setvbuf(stdout, NULL, _IOLBF, 0);
    snprintf(path, sizeof(path), "%s/model.h5", dir);
    save_model(path);
    for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++)
        bench_mode(modes[i].journal, (int)i, total, &formats[modes[i].format]);
    snprintf(path, sizeof(path), "rm -rf %s", dir);
    return system(path) == 0 ? 0 : 1;
}
