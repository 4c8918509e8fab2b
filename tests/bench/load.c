#include "tests/bench/load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "connectors/decimal.h"
#include "connectors/zmq.h"
#include "models/clock.h"
#include "models/rng.h"

enum { STREAMS = BENCH_STREAMS, VARIANTS = 4, F = BENCH_F, MESSAGE = 256 };

/* A message but for its time, which json and msgpack have at their end. */
typedef struct message {
    int stream_len, len;
    char stream[16], text[MESSAGE];
} message;

static message *messages;

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
    char digits[KY_DECIMAL_MAX];

    put(m, digits, ky_decimal_int(due_us, digits));
    put(m, "}", 1);
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

struct bench_format {
    const char *name;
    bool stream_frame; /* a first frame names the stream */
    void (*write)(message *m, const float x[F]);
    void (*end)(message *m, int64_t due_us);
};

static const bench_format formats[] = {
    { "json", false, write_json, end_json },
    { "msgpack", false, write_msgpack, end_msgpack },
    { "f32", true, write_f32, end_f32 },
};

static void make_messages(const bench_format *format)
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

const bench_format *bench_format_of(const char *name)
{
    for (size_t i = 0; i < sizeof(formats) / sizeof(*formats); i++)
        if (strcmp(formats[i].name, name) == 0)
            return &formats[i];
    return NULL;
}

const char *bench_format_name(const bench_format *f)
{
    return f->name;
}

int bench_format_frames(const bench_format *f)
{
    return f->stream_frame;
}

/* -- the sender -- */

static void send_one(ky_zsock *s, const bench_format *format, int i, int64_t due_us)
{
    message *m = &messages[i % (STREAMS * VARIANTS)];
    int first = format->stream_frame ? 0 : 1, len = m->len;
    ky_err err = { 0 };

    format->end(m, due_us);
    ky_zframe f[] = { { m->stream, (size_t)m->stream_len }, { m->text, (size_t)m->len } };
    if (ky_zsock_send(s, f + first, 2 - first, 60000, &err) < 0)
        bench_fail("sender", &err);
    m->len = len;
}

/* Sends `total` messages, `rate` a second, none before it is due, or as fast as they are taken (0);
 * the clock is looked at once for a burst. */
static void send_all(const char *endpoint, int total, double rate, const bench_format *format)
{
    enum { BURST = 16 };
    ky_zsock *s;
    ky_err err = { 0 };

    make_messages(format);
    prctl(PR_SET_TIMERSLACK, 1);
    if (ky_zsock_open("push", endpoint, false, 10000, &s, &err) < 0)
        bench_fail("sender", &err);
    int64_t begin = ky_clock_wall_us();
    for (int i = 0; i < total;) {
        int64_t now = ky_clock_wall_us();
        double due = rate > 0 ? (double)(now - begin) * 1e-6 * rate : i + BURST;

        for (; i < due && i < total; i++)
            send_one(s, format, i, rate > 0 ? begin + (int64_t)(i / rate * 1e6) : now);
        if (rate > 0)
            nanosleep(&(struct timespec){ 0, 80000 }, NULL);
    }
    ky_zsock_close(s);
}

void bench_load_init(int argc, char **argv)
{
    if (argc != 6 || strcmp(argv[1], "send") != 0)
        return;
    send_all(argv[2], atoi(argv[3]), atof(argv[4]), bench_format_of(argv[5]));
    exit(0);
}

/* A process of its own: this program again (a ZeroMQ context does not survive a fork). */
static pid_t start_sender(const char *endpoint, int total, double rate, const bench_format *format)
{
    char totals[16], rates[32];
    pid_t pid;

    snprintf(totals, sizeof(totals), "%d", total);
    snprintf(rates, sizeof(rates), "%.3f", rate);
    pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execl("/proc/self/exe", "bench", "send", endpoint, totals, rates, format->name,
              (char *)NULL);
        _exit(127);
    }
    return pid;
}

/* -- the subscriber -- */

/* The time in a message in microseconds, of which its unit has 10 to the power of `decimals`; 0: it
 * has none. */
static int64_t time_in(const ky_zframe *f, int decimals)
{
    const char *at = memmem(f->data, f->len, "\"ts\":", 5);
    int64_t us = 0;

    for (at = at != NULL ? at + 5 : ""; *at >= '0' && *at <= '9'; at++)
        us = 10 * us + *at - '0';
    for (at += *at == '.'; decimals > 0; decimals--)
        us = 10 * us + (*at >= '0' && *at <= '9' ? *at++ - '0' : 0);
    return us;
}

/* A subscription has arrived when a first answer comes through. */
static ky_zsock *subscribe(const bench_load *l)
{
    ky_zframe f[4];
    ky_zsock *sub;
    ky_err err = { 0 };

    if (ky_zsock_open("sub", l->out, false, 1000000, &sub, &err) < 0 ||
        ky_zsock_subscribe(sub, "", &err) < 0)
        bench_fail("subscriber", &err);
    do {
        waitpid(start_sender(l->in, 1, 0, l->format), NULL, 0);
    } while (ky_zsock_recv(sub, f, 4, 200, &err) < 0);
    while (ky_zsock_recv(sub, f, 4, 300, &err) >= 0)
        continue;
    return sub;
}

bench_load bench_load_of(const bench_place *at, const bench_format *format, int room)
{
    bench_load l = { .in = at->in, .out = at->out, .format = format, .room = room };

    l.latency_ms = malloc((size_t)room * sizeof(*l.latency_ms));
    if (l.latency_ms == NULL)
        bench_fail("no memory", NULL);
    return l;
}

enum { IN_US = 0, IN_SECONDS = 6 };

/* Takes what comes, answers or the samples themselves; the last frame has the time. */
static void run(bench_load *l, ky_zsock *from, int decimals)
{
    ky_zframe f[4];
    int frames;
    int64_t begin = 0, now = 0;
    double own_ns = bench_own_ns(), children_ns = bench_children_ns();
    pid_t sender = start_sender(l->in, l->total, l->rate, l->format);

    l->n = 0;
    while (l->n < l->total && (frames = ky_zsock_recv(from, f, 4, 5000, NULL)) > 0) {
        int64_t sent = time_in(&f[frames - 1], decimals);

        now = ky_clock_wall_us();
        if (l->n == 0)
            begin = sent != 0 ? sent : now;
        l->latency_ms[l->n++] = (double)(now - sent) * 1e-3;
    }
    waitpid(sender, NULL, 0);
    ky_zsock_close(from);
    l->subscriber_us = (bench_own_ns() - own_ns) * 1e-3 / l->total;
    l->sender_us = (bench_children_ns() - children_ns) * 1e-3 / l->total;
    l->seconds = (double)(now - begin) * 1e-6;
}

void bench_load_run(bench_load *l)
{
    run(l, subscribe(l), IN_SECONDS);
}

void bench_bare_run(bench_load *l)
{
    ky_zsock *s;
    ky_err err = { 0 };

    if (ky_zsock_open("pull", l->in, true, 10000, &s, &err) < 0)
        bench_fail("bare", &err);
    run(l, s, IN_US);
}
