/* kymo feed and kymo tail: the built program against sockets of the test and files. */
#include "tests/cli/run.h"

#include <math.h>
#include <poll.h>
#include <signal.h>

#include "connectors/codec.h"
#include "connectors/zmq.h"
#include "models/clock.h"
#include "models/h5.h"
#include "models/rng.h"

enum { WAIT_MS = 20000 };

static int begin(void **state)
{
    (void)state;
    return run_begin();
}

static int finish(void **state)
{
    (void)state;
    return run_end();
}

static void write_file(const char *name, const char *text)
{
    char path[4096];
    FILE *f = fopen(in_dir(name, path), "w");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

/* N windows [N,T,F] of random numbers with labels 0, 1, 2. */
static float *write_windows(const char *name, int N, int T, int F)
{
    static const char *const classes[] = { "idle", "busy", "broken" };
    const uint64_t dims[] = { (uint64_t)N, (uint64_t)T, (uint64_t)F };
    float *x = malloc((size_t)(N * T * F) * sizeof(*x));
    int32_t y[1000];
    char path[4096];
    ky_rng rng;
    ky_h5 *f;

    ky_rng_seed(&rng, 1);
    for (int i = 0; i < N * T * F; i++)
        x[i] = (float)ky_rng_normal(&rng);
    for (int i = 0; i < N; i++)
        y[i] = i % 3;
    assert_int_equal(ky_h5_create(in_dir(name, path), &f, NULL), KY_OK);
    assert_int_equal(ky_h5_put(f, "/X", KY_H5_F32, 3, dims, x, NULL), KY_OK);
    assert_int_equal(ky_h5_put(f, "/y", KY_H5_I32, 1, dims, y, NULL), KY_OK);
    assert_int_equal(ky_h5_set_attr_strs(f, "/", "class_names", classes, 3, NULL), KY_OK);
    assert_int_equal(ky_h5_commit(f, NULL), KY_OK);
    return x;
}

static ky_h5 *open_h5(const char *name)
{
    char path[4096];
    ky_h5 *f;

    assert_int_equal(ky_h5_open(in_dir(name, path), &f, NULL), KY_OK);
    return f;
}

static size_t count_of(ky_h5 *f, const char *set)
{
    ky_h5_info info;

    assert_int_equal(ky_h5_stat(f, set, &info, NULL), KY_OK);
    return (size_t)info.dims[0];
}

static ky_codec *codec_of(const char *format, enum ky_missing missing)
{
    ky_codec_opts o = { .format = format, .missing = missing };
    ky_codec *c;

    assert_int_equal(ky_codec_new(&o, &c, NULL), KY_OK);
    return c;
}

static char *ipc(const char *name, char address[512])
{
    snprintf(address, 512, "ipc://%s/%s", dir, name);
    return address;
}

static pid_t start_quiet(const char *words)
{
    char path[4096];
    int fd = open(in_dir(".background", path), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
    pid_t pid = start(words, fd, fd);

    close(fd);
    return pid;
}

/* -- recordings -------------------------------------------------------------------------- */

static void windows_recorded_again_are_the_same_windows(void **state)
{
    enum { N = 30, T = 5, F = 3 };
    float *x = write_windows("a.h5", N, T, F), *again = malloc(N * T * F * sizeof(float));
    int32_t y[N];
    uint32_t group[N];

    (void)state;
    run_well("feed|a.h5|--to|b.h5|--window|5|-q|--label-on|all");
    ky_h5 *f = open_h5("b.h5");
    assert_int_equal(ky_h5_read(f, "/X", KY_H5_F32, again, N * T * F, NULL), KY_OK);
    assert_memory_equal(x, again, N * T * F * sizeof(float));
    assert_int_equal(ky_h5_read(f, "/y", KY_H5_I32, y, N, NULL), KY_OK);
    assert_int_equal(ky_h5_read(f, "/group", KY_H5_U32, group, N, NULL), KY_OK);
    for (int i = 0; i < N; i++) {
        assert_int_equal(y[i], i % 3);
        assert_int_equal(group[i], 0);
    }
    assert_int_equal(count_of(f, "/rows/x"), N * T);
    ky_h5_close(f);
    free(x);
    free(again);
}

static void a_row_may_be_one_sample_or_a_window_of_frames(void **state)
{
    enum { N = 4, H = 3, W = 5 };
    float *x = write_windows("frames.h5", N, H, W), *again = malloc(N * H * W * sizeof(float));
    ky_h5_info info;

    (void)state;
    run_well("feed|frames.h5|--whole|--to|whole.h5|--window|1|-q");
    ky_h5 *f = open_h5("whole.h5");
    assert_int_equal(ky_h5_stat(f, "/X", &info, NULL), KY_OK);
    assert_int_equal(info.rank, 3);
    assert_int_equal(info.dims[0], N);
    assert_int_equal(info.dims[1], 1);
    assert_int_equal(info.dims[2], H * W);
    assert_int_equal(ky_h5_read(f, "/X", KY_H5_F32, again, N * H * W, NULL), KY_OK);
    assert_memory_equal(x, again, N * H * W * sizeof(float));
    ky_h5_close(f);
    free(x);
    free(again);
}

static void recordings_add_up(void **state)
{
    char **names;
    size_t n;
    int32_t y[8];

    (void)state;
    write_file("one.csv", "ts,a,b,label\n1,1,2,idle\n2,3,4,idle\n3,5,6,idle\n4,7,8,idle\n");
    write_file("two.csv", "ts,a,b,label\n1,1,2,busy\n2,3,4,busy\n3,5,6,idle\n4,7,8,idle\n");
    run_well("feed|one.csv|--to|r.h5|--window|2|--hop|1|-q");
    run_well("feed|two.csv|--to|r.h5|--window|2|--hop|1|-q");
    ky_h5 *f = open_h5("r.h5");
    assert_int_equal(count_of(f, "/X"), 3 + 1 + 1); /* no window over two labels */
    assert_int_equal(ky_h5_read(f, "/y", KY_H5_I32, y, 5, NULL), KY_OK);
    assert_memory_equal(y, ((int32_t[]){ 0, 0, 0, 1, 0 }), 5 * sizeof(*y));
    assert_int_equal(ky_h5_attr_strs(f, "/", "class_names", &names, &n, NULL), KY_OK);
    assert_int_equal(n, 2);
    assert_string_equal(names[0], "idle");
    assert_string_equal(names[1], "busy");
    free(names);
    assert_int_equal(ky_h5_attr_strs(f, "/", "stream_names", &names, &n, NULL), KY_OK);
    assert_int_equal(n, 2);
    assert_string_equal(names[0], "one");
    free(names);
    ky_h5_close(f);

    /* What does not fit leaves the file as it is. */
    write_file("wide.csv", "a,b,c\n1,2,3\n");
    ran *r = run("feed|wide.csv|--to|r.h5|--window|2|--hop|1|-q");
    assert_int_equal(r->code, 1);
    assert_non_null(strstr(r->err, "windows of 2 samples of 3 values"));
    r = run("feed|one.csv|--to|r.h5|-q");
    assert_int_equal(r->code, 1);
    assert_non_null(strstr(r->err, "--window"));
    free(write_windows("plain.h5", 3, 2, 2));
    r = run("feed|one.csv|--to|plain.h5|-q");
    assert_int_equal(r->code, 1);
    assert_non_null(strstr(r->err, "no recording"));
    f = open_h5("r.h5");
    assert_int_equal(count_of(f, "/X"), 5);
    ky_h5_close(f);
}

static void this_machine_can_be_recorded(void **state)
{
    float x[20][16];

    (void)state;
    run_well("feed|host|--seconds|1|--rate|20|--label|now|--to|host.h5|--window|5|-q");
    ky_h5 *f = open_h5("host.h5");
    assert_int_equal(count_of(f, "/rows/x"), 20);
    assert_int_equal(count_of(f, "/X"), 4);
    assert_int_equal(ky_h5_read(f, "/rows/x", KY_H5_F32, x, 20 * 16, NULL), KY_OK);
    for (int i = 0; i < 20; i++) {
        assert_true(x[i][0] >= 0 && x[i][0] <= 100); /* cpu_user */
        assert_true(x[i][3] >= 1);                   /* run_queue: we run */
        assert_true(x[i][8] > 0);                    /* mem_used_mb */
        for (int k = 0; k < 16; k++)
            assert_true(isfinite(x[i][k]) && x[i][k] >= 0);
    }
    ky_h5_close(f);
    ran *r = run("feed|host|--print-features");
    assert_int_equal(strncmp(r->out, "cpu_user, cpu_system, ", 22), 0);
}

/* -- CSV -------------------------------------------------------------------------------- */

static void csv_is_read_as_people_write_it(void **state)
{
    char address[512], words[1024];
    ky_codec *c = codec_of("json", KY_MISSING_REJECT);
    ky_zsock *pull;
    ky_zframe f;
    ky_sample s;

    (void)state;
    write_file("a.csv", "\xef\xbb\xbf stream ; time;\"the \"\"x\"\"\";y;label;seq\r\n"
                        "p1;2024-11-22T15:40:00.125Z;1.5;\"-2\";\"a;b\";7\r\n"
                        "\r\n"
                        "p\xc3\xbc;1732290000.25;+3e2; ;;\r\n");
    assert_int_equal(ky_zsock_open("pull", ipc("csv", address), true, 0, &pull, NULL), KY_OK);
    snprintf(words, sizeof(words), "feed|a.csv|--to|%s|-q", address);
    pid_t pid = start_quiet(words);
    assert_int_equal(ky_zsock_recv(pull, &f, 1, WAIT_MS, NULL), 1);
    assert_int_equal(ky_codec_decode(c, f.data, f.len, &s, NULL), KY_OK);
    assert_int_equal(s.ts_us, INT64_C(1732290000125000));
    assert_int_equal(s.seq, 7);
    assert_int_equal(s.features, 2);
    assert_true(s.x[0] == 1.5f && s.x[1] == -2.0f);
    assert_int_equal(s.label_len, 3);
    assert_memory_equal(s.label, "a;b", 3);
    assert_int_equal(s.stream_len, 2);
    assert_int_equal(ky_zsock_recv(pull, &f, 1, WAIT_MS, NULL), 1);
    const char want[] = "{\"stream\":\"p\xc3\xbc\",\"ts\":1732290000.250000,\"x\":[300,null]}";
    assert_int_equal(f.len, sizeof(want) - 1);
    assert_memory_equal(f.data, want, f.len);
    assert_int_equal(end_of(pid), 0);
    ky_zsock_close(pull);
    ky_codec_free(c);
}

static void every_format_says_what_it_can(void **state)
{
    static const float x[] = { 1.5f, -2.0f, 300.0f };
    ky_codec *msgpack = codec_of("msgpack", KY_MISSING_HOLD),
             *f32 = codec_of("f32", KY_MISSING_HOLD);
    char address[512], words[1024];
    ky_zframe f[2];
    ky_zsock *pull;
    ky_sample s;

    (void)state;
    write_file("f.csv", "stream,ts,x,y,z,label,seq\n"
                        "p1,1969-12-31T23:59:59.25Z,1.5,-2,300,worn,-7\n"
                        "p2,,1.5,,300,,\n");
    for (int k = 0; k < 2; k++) {
        assert_int_equal(ky_zsock_open("pull", ipc("fmt", address), true, 0, &pull, NULL), KY_OK);
        snprintf(words, sizeof(words), "feed|f.csv|--to|%s|-q|--format|%s", address,
                 k == 0 ? "msgpack" : "f32");
        pid_t pid = start_quiet(words);
        assert_int_equal(ky_zsock_recv(pull, f, 2, WAIT_MS, NULL), 1 + k);
        assert_int_equal(ky_codec_decode(k == 0 ? msgpack : f32, f[k].data, f[k].len, &s, NULL),
                         KY_OK);
        assert_int_equal(s.features, 3);
        assert_memory_equal(s.x, x, sizeof(x));
        assert_int_equal(s.ts_us, k == 0 ? -750000 : KY_NONE);
        assert_int_equal(s.seq, k == 0 ? -7 : KY_NONE);
        assert_memory_equal(k == 0 ? s.stream : f[0].data, "p1", 2);
        assert_true(k == 0 ? s.label_len == 4 : s.label == NULL);
        assert_int_equal(ky_zsock_recv(pull, f, 2, WAIT_MS, NULL), 1 + k);
        assert_int_equal(ky_codec_decode(k == 0 ? msgpack : f32, f[k].data, f[k].len, &s, NULL),
                         KY_OK);
        assert_true(s.holes == 1 && isnan(s.x[1]) && s.x[2] == 300.0f);
        assert_int_equal(end_of(pid), 0);
        ky_zsock_close(pull);
    }
    ky_codec_free(msgpack);
    ky_codec_free(f32);
    assert_int_equal(run("feed|f.csv|--to|ipc://x|--format|csv")->code, 2);
    ran *r = run("feed|f.csv|--to|ipc://x|--ack|--format|f32");
    assert_int_equal(r->code, 2);
    assert_non_null(strstr(r->err, "do not say which stream"));
}

static void bad_csv_is_refused_with_its_place(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        { "", "is empty" },
        { "1,2,3\n4,5,6\n", "must name the columns" },
        { "ts,label\n1,a\n", "no column of values" },
        { "a,b\n1\n", "bad.csv:2: 1 cells, the header has 2" },
        { "a,b\n1,2,3\n", "bad.csv:2: 3 cells, the header has 2" },
        { "a,b\n1,2\n1,x\n", "bad.csv:3: 'x' is no number" },
        { "a,b\n1,1e400\n", "is no number" },
        { "a,ts\n1,never\n", "'never' is no time" },
        { "a,seq\n1,1.5\n", "no integer" },
        { "a,b\n1,\"2\n", "a quote is not closed" },
        { "a,b\n1,\"2\"3\n", "a quote is not closed" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        write_file("bad.csv", cases[i].text);
        ran *r = run("feed|bad.csv|--to|out.h5|-q");
        assert_int_equal(r->code, 1);
        if (strstr(r->err, cases[i].says) == NULL)
            fail_msg("'%s' does not say '%s'", r->err, cases[i].says);
        assert_int_not_equal(run("feed|out.h5|--print-features")->code, 0); /* there is none */
    }
    assert_int_equal(run("feed|none.csv|--to|out.h5")->code, 1);
    assert_int_equal(run("feed|bad.csv")->code, 2);
    assert_int_equal(run("feed|bad.csv|--to|out.h5|--ack")->code, 2);
    assert_int_equal(run("feed|bad.csv|--to|tcp://127.0.0.1:1|--window|5")->code, 2);
    assert_int_equal(run("feed|host|--to|out.h5|--stream|a\nb")->code, 2);
}

/* -- sockets ------------------------------------------------------------------------------- */

/* What came of each stream, in order: window after window, step after step. */
typedef struct follower {
    ky_codec *codec;
    const float *x;
    int N, T, F, streams;
    int next[16]; /* steps of each stream that came */
    int changes, last;
    bool joined;
} follower;

static void follow(follower *w, const ky_zframe *f)
{
    ky_sample s;
    int k;
    ky_err err;
    char id[16] = { 0 };

    if (ky_codec_decode(w->codec, f->data, f->len, &s, &err) != KY_OK)
        fail_msg("%s", err.text);
    assert_in_range(s.stream_len, 2, 3);
    memcpy(id, s.stream, s.stream_len);
    assert_int_equal(sscanf(id, "s%d", &k), 1);
    assert_in_range(k, 0, w->streams - 1);
    int window = w->next[k] / w->T * w->streams + k, t = w->next[k] % w->T;
    assert_in_range(window, 0, w->N - 1);
    assert_memory_equal(s.x, w->x + (window * w->T + t) * w->F, (size_t)w->F * sizeof(float));
    bool first = !w->joined || window < w->streams,
         last = !w->joined || window + w->streams >= w->N;
    assert_int_equal(!!(s.flags & KY_START), t == 0 && first);
    assert_int_equal(!!(s.flags & KY_END), t == w->T - 1 && last);
    assert_int_equal(s.label != NULL, t == w->T - 1);
    w->next[k]++;
    w->changes += k != w->last;
    w->last = k;
}

static void windows_are_played_as_streams_side_by_side(void **state)
{
    enum { N = 50, T = 4, F = 2, STREAMS = 7 };
    static const char *const extra[] = { "", "|--interleave|5", "|--interleave|6",
                                         "|--interleave|5|--format|msgpack", "|--joined" };
    static const char *const formats[] = { "json", "json", "json", "msgpack", "json" };
    float *x = write_windows("play.h5", N, T, F);
    char address[512], words[1024];
    int changes[5];
    ky_zsock *pull;
    ky_zframe f;

    (void)state;
    for (int k = 0; k < 5; k++) {
        follower w = {
            codec_of(formats[k], KY_MISSING_REJECT), x, N, T, F, STREAMS, { 0 }, 0, -1, k == 4
        };
        assert_int_equal(ky_zsock_open("pull", ipc("play", address), true, 0, &pull, NULL), KY_OK);
        snprintf(words, sizeof(words), "feed|play.h5:X|--streams|7|--to|%s|-q%s", address,
                 extra[k]);
        pid_t pid = start_quiet(words);
        for (int i = 0; i < N * T; i++) {
            assert_int_equal(ky_zsock_recv(pull, &f, 1, WAIT_MS, NULL), 1);
            follow(&w, &f);
        }
        assert_int_equal(end_of(pid), 0);
        changes[k] = w.changes;
        ky_zsock_close(pull);
        ky_codec_free(w.codec);
    }
    assert_int_equal(changes[0], N * T - (T - 1)); /* in lockstep; the last round has one window */
    assert_true(changes[1] < N * T && changes[2] < N * T && changes[1] > N);
    assert_int_equal(changes[3], changes[1]);
    assert_int_equal(changes[4], changes[0]);
    free(x);
}

static void a_slow_reader_gets_everything(void **state)
{
    enum { N = 400, T = 50, F = 9 };
    char address[512], words[1024];
    ky_zsock *pull;
    ky_zframe f;
    int got = 0;

    (void)state;
    free(write_windows("slow.h5", N, T, F));
    assert_int_equal(ky_zsock_open("pull", ipc("slow", address), true, 0, &pull, NULL), KY_OK);
    snprintf(words, sizeof(words), "feed|slow.h5|--streams|8|--to|%s|-q", address);
    pid_t pid = start_quiet(words);
    for (; got < N * T && ky_zsock_recv(pull, &f, 1, WAIT_MS, NULL) == 1; got++)
        for (volatile int work = 0; work < 20000; work = work + 1)
            continue;
    assert_int_equal(got, N * T);
    assert_int_equal(end_of(pid), 0);
    ky_zsock_close(pull);
}

/* A receiver by PROTOCOL.md A1 that forgets messages, restarts, and refuses some. */
typedef struct receiver {
    ky_zsock *router;
    uint8_t session[16];
    uint64_t last;
    int sessions, refused, wait_ms;
} receiver;

static void answer(receiver *r, const ky_zframe *to, const ky_zframe *session, uint64_t number,
                   const char *reason)
{
    uint8_t le[8];

    for (int i = 0; i < 8; i++)
        le[i] = (uint8_t)(number >> (8 * i));
    ky_zframe f[] = { *to, *session, { le, 8 }, { reason, reason != NULL ? strlen(reason) : 0 } };
    ky_zsock_send(r->router, f, reason != NULL ? 4 : 3, 0, NULL);
}

static uint64_t receive_number(receiver *r, ky_zframe *f)
{
    uint64_t number = 0;
    int n = ky_zsock_recv(r->router, f, 5, r->wait_ms, NULL);

    if (n == KY_EAGAIN && r->wait_ms < WAIT_MS)
        return 0;
    if (n != 5)
        fail_msg("%d frames of an envelope, the last number was %d", n, (int)r->last);
    assert_int_equal(f[1].len, 6);
    assert_memory_equal(f[1].data, "tester", 6);
    assert_int_equal(f[2].len, 16);
    assert_int_equal(f[3].len, 8);
    for (int i = 8; i-- > 0;)
        number = number << 8 | ((const uint8_t *)f[3].data)[i];
    return number;
}

/* Takes nothing new until the sender begins again with the very next number, and so has read all
 * our answers; then forgets its session. */
static void forget_when_settled(receiver *r)
{
    uint64_t number, before = 0;
    ky_zframe f[5];

    while ((number = receive_number(r, f)) != r->last + 1 || before <= number) {
        if (number <= r->last)
            answer(r, &f[0], &f[2], r->last, NULL);
        before = number;
    }
    memset(r->session, 0xff, sizeof(r->session));
}

/* One message; true if it is the next one. */
static bool receive(receiver *r, ky_zframe *f)
{
    uint64_t number = receive_number(r, f);

    if (number == 0)
        return false;
    if (memcmp(r->session, f[2].data, 16) != 0) {
        if (number != 1) {
            answer(r, &f[0], &f[2], 0, "unknown session");
            return false;
        }
        memcpy(r->session, f[2].data, 16);
        r->last = 0;
        r->sessions++;
    }
    if (number > r->last + 1)
        return false;
    bool next = number == r->last + 1;
    r->last += next;
    r->refused += next && number % 100 == 50;
    answer(r, &f[0], &f[2], r->last, next && number % 100 == 50 ? "not\x1bgood" : NULL);
    return next;
}

/* A closed socket's file goes when its library gets round to it; gone later, it would be the next
 * socket's. */
static void wait_unlinked(const char *address)
{
    int64_t until = ky_clock_mono_ns() + (int64_t)WAIT_MS * 1000000;

    while (access(address + strlen("ipc://"), F_OK) == 0)
        if (ky_clock_mono_ns() > until)
            fail_msg("%s is still there", address);
}

static void acknowledged_samples_survive_loss_restart_and_a_new_session(void **state)
{
    enum { N = 60, T = 10, F = 3, STREAMS = 4 };
    float *x = write_windows("ack.h5", N, T, F);
    follower w = { codec_of("json", KY_MISSING_REJECT), x, N, T, F, STREAMS, { 0 }, 0, -1, false };
    receiver r = { .wait_ms = WAIT_MS };
    char address[512], words[1024];
    ky_zframe f[5];

    (void)state;
    snprintf(words, sizeof(words), "feed|ack.h5|--streams|4|--ack|--sender|tester|--json|--to|%s",
             ipc("ack", address));
    char path[4096];
    int fd = open(in_dir("summary", path), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
    pid_t pid = start(words, fd, fd);
    close(fd);
    for (int taken = 0, run_of = 1; taken < N * T; run_of++) {
        assert_int_equal(ky_zsock_open("router", address, true, 0, &r.router, NULL), KY_OK);
        if (run_of == 3)
            forget_when_settled(&r);
        int stop = run_of < 4 ? taken + 150 : N * T;
        while (taken < stop)
            if (receive(&r, f)) {
                follow(&w, &f[4]);
                taken++;
            }
        if (taken < N * T) { /* killed: answers on their way are lost */
            ky_zsock_linger(r.router, 0);
            ky_zsock_close(r.router);
            wait_unlinked(address);
        }
    }
    int status;
    r.wait_ms = 20; /* it may still ask for the last answers */
    while (waitpid(pid, &status, WNOHANG) == 0)
        assert_false(receive(&r, f));
    ky_zsock_close(r.router);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 3); /* some were refused */
    static ran summary;
    slurp(path, summary.out, sizeof(summary.out));
    char *json = strchr(summary.out, '{');
    assert_non_null(json);
    memmove(summary.out, json, strlen(json) + 1);
    ky_json *o = report_of(&summary);
    assert_int_equal(ky_json_int(ky_json_get(o, "sent"), 0), N * T);
    assert_int_equal(ky_json_int(ky_json_get(o, "acknowledged"), 0), N * T);
    assert_in_range(ky_json_int(ky_json_get(o, "refused"), 0), 1, r.refused);
    assert_int_equal(ky_json_int(ky_json_get(o, "sessions"), 0), r.sessions);
    assert_int_equal(r.sessions, 2);
    ky_json_free(o);
    ky_codec_free(w.codec);
    free(x);
}

static void without_a_receiver_it_gives_up_when_told_to(void **state)
{
    char address[512], words[1024];

    (void)state;
    write_file("few.csv", "a\n1\n2\n");
    static const char *const ways[] = { "", "|--ack" };
    for (int i = 0; i < 2; i++) {
        snprintf(words, sizeof(words), "feed|few.csv|--to|%s|-q|--timeout|300ms%s",
                 ipc("nobody", address), ways[i]);
        ran *r = run(words);
        assert_int_equal(r->code, 1);
        assert_non_null(strstr(r->err, "--timeout"));
    }
}

/* -- tail ------------------------------------------------------------------------------------- */

static void publish(ky_zsock *pub, const char *stream, int n)
{
    char topic[64], text[512];
    int t = snprintf(topic, sizeof(topic), "plant/%s/", stream);
    int k = snprintf(text, sizeof(text),
                     "{\"stream\":\"%s\",\"class\":\"plant\",\"n\":%d,\"pub\":%d,\"ts\":1.5,"
                     "\"label\":\"worn\",\"score\":0.75,\"model\":\"m@3\",\"quality\":\"ok\"}",
                     stream, n, n);

    assert_int_equal(ky_zsock_send(pub, (ky_zframe[]){ { topic, (size_t)t }, { text, (size_t)k } },
                                   2, WAIT_MS, NULL),
                     KY_OK);
}

static void tail_prints_answers_and_tells_losses(void **state)
{
    char address[512], words[1024], path[2][4096];
    static char out[16384], said[16384];
    ky_zsock *pub;
    int fd[2];

    (void)state;
    assert_int_equal(ky_zsock_open("pub", ipc("pub", address), true, 0, &pub, NULL), KY_OK);
    snprintf(words, sizeof(words), "tail|%s|--class|plant|--stream|pump-1|-n|3", address);
    for (int i = 0; i < 2; i++)
        fd[i] = open(in_dir(i == 0 ? "tail.out" : "tail.err", path[i]),
                     O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
    pid_t pid = start(words, fd[0], fd[1]);
    close(fd[0]);
    close(fd[1]);
    for (int i = 0; ky_zsock_subscribers(pub) == 0 && i < WAIT_MS; i++)
        poll(NULL, 0, 1);
    publish(pub, "pump-1", 1);
    publish(pub, "pump-10", 1); /* not asked for */
    publish(pub, "pump-1", 2);
    publish(pub, "pump-1", 7); /* four are lost */
    assert_int_equal(end_of(pid), 3);
    slurp(path[0], out, sizeof(out));
    slurp(path[1], said, sizeof(said));
    assert_non_null(strstr(out, "  pump-1    worn      0.750 [===============     ]  n 7"));
    assert_non_null(strstr(out, "m@3\n"));
    assert_null(strstr(out, "pump-10"));
    assert_non_null(strstr(said, "4 answers were lost"));
    ky_zsock_close(pub);
    assert_int_equal(run("tail|nonsense")->code, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_recorded_again_are_the_same_windows),
        cmocka_unit_test(a_row_may_be_one_sample_or_a_window_of_frames),
        cmocka_unit_test(recordings_add_up),
        cmocka_unit_test(this_machine_can_be_recorded),
        cmocka_unit_test(csv_is_read_as_people_write_it),
        cmocka_unit_test(every_format_says_what_it_can),
        cmocka_unit_test(bad_csv_is_refused_with_its_place),
        cmocka_unit_test(windows_are_played_as_streams_side_by_side),
        cmocka_unit_test(a_slow_reader_gets_everything),
        cmocka_unit_test(acknowledged_samples_survive_loss_restart_and_a_new_session),
        cmocka_unit_test(without_a_receiver_it_gives_up_when_told_to),
        cmocka_unit_test(tail_prints_answers_and_tells_losses),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, begin, finish);
}
