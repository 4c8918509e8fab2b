#include "tests/scenarios/harness.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "models/blueprint.h"
#include "models/clock.h"
#include "models/h5.h"

static const ky_daemon *running; /* whose log a failure shows, and whom it ends */
static char shown[320];          /* a log besides */

/* -- failing -- */

static void show_log(const char *path)
{
    char line[1024];
    FILE *f = fopen(path, "r");

    if (f == NULL)
        return;
    fseek(f, 0, SEEK_END);
    long size = ftell(f);

    fseek(f, size > 4000 ? size - 4000 : 0, SEEK_SET);
    while (fgets(line, sizeof(line), f) != NULL)
        fprintf(stderr, "    %s", line);
    fclose(f);
}

void ky_flunk(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    fputs("FAILED: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    if (*shown)
        show_log(shown);
    if (running != NULL) {
        show_log(running->log);
        if (running->pid > 0)
            kill(running->pid, SIGKILL);
    }
    exit(1);
}

void ky_flunk_shows(const char *log)
{
    snprintf(shown, sizeof(shown), "%s", log);
}

/* -- places -- */

void ky_scene_open(ky_scene *s, const char *name)
{
    const char *tmp = getenv("TMPDIR"), *build = getenv("KY_BUILDDIR");

    setvbuf(stdout, NULL, _IOLBF, 0);
    snprintf(s->dir, sizeof(s->dir), "%s/kymo-%s-XXXXXX", tmp != NULL ? tmp : "/tmp", name);
    KY_WANT(mkdtemp(s->dir) != NULL, "%s: %s", s->dir, strerror(errno));
    snprintf(s->kymod, sizeof(s->kymod), "%s/kymod", build != NULL ? build : ".");
    snprintf(s->model, sizeof(s->model), "%s/model.h5", s->dir);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st;
    (void)kind;
    (void)ftw;
    return remove(path);
}

void ky_scene_close(ky_scene *s)
{
    if (getenv("KY_KEEP") == NULL || *getenv("KY_KEEP") == 0)
        nftw(s->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

const char *ky_scene_write(const ky_scene *s, const char *name, const char *text)
{
    static char path[320];
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", s->dir, name);
    f = fopen(path, "w");
    KY_WANT(f != NULL && fputs(text, f) >= 0 && fclose(f) == 0, "%s: %s", path, strerror(errno));
    return path;
}

/* -- data -- */

void ky_scene_model(const char *path, int F, uint64_t seed)
{
    ky_scene_model_of(path, KY_SCENE_ARCH, F, seed);
}

void ky_scene_model_of(const char *path, const char *arch, int F, uint64_t seed)
{
    static const char *const labels[] = { "walk", "up", "down", "sit", "stand", "lie" };
    ky_shape in = { .rank = 2, .d = { KY_ANY, F }, .timed = true };
    ky_model *m = NULL;
    ky_err err;

    KY_WANT(ky_arch_build(arch, &in, 6, false, &m, &err) == KY_OK, "%s", err.text);
    ky_model_init(m, seed);
    KY_WANT(ky_model_pack(m, &err) == KY_OK, "%s", err.text);
    KY_WANT(ky_model_set_labels(m, labels, 6, &err) == KY_OK, "%s", err.text);
    KY_WANT(ky_model_save(m, path, &err) == KY_OK, "%s", err.text);
    ky_model_free(m);
}

/* The HAR recording's test windows, as many as are asked for. */
static void read_har(ky_windows *w, int n)
{
    const char *data = getenv("KYMO_DATA");
    char path[512];
    ky_h5 *f;
    ky_h5_info info;
    ky_err err;

    snprintf(path, sizeof(path), "%s/data/uci_har/uci_har.h5", data);
    KY_WANT(ky_h5_open(path, &f, &err) == KY_OK, "%s", err.text);
    KY_WANT(ky_h5_stat(f, "/X_test", &info, &err) == KY_OK && info.rank == 3, "%s", err.text);
    w->n = n < (int)info.dims[0] ? n : (int)info.dims[0];
    w->T = (int)info.dims[1];
    w->F = (int)info.dims[2];
    w->x = malloc((size_t)w->n * (size_t)w->T * (size_t)w->F * sizeof(float));
    KY_WANT(ky_h5_read_rows(f, "/X_test", KY_H5_F32, 0, (uint64_t)w->n, w->x, &err) == KY_OK, "%s",
            err.text);
    ky_h5_close(f);
}

void ky_windows_make(ky_windows *w, ky_scene *s, int n, int T, bool har)
{
    ky_rng rng;

    *w = (ky_windows){ .n = n, .T = T, .F = 9, .outputs = 6 };
    if (har && getenv("KYMO_DATA") != NULL) {
        read_har(w, n);
    } else {
        size_t len = (size_t)n * (size_t)T * (size_t)w->F;

        ky_rng_seed(&rng, 5);
        w->x = malloc(len * sizeof(float));
        for (size_t i = 0; i < len; i++)
            w->x[i] = (float)ky_rng_normal(&rng);
    }
    ky_scene_model(s->model, w->F, 11);
    w->order = calloc((size_t)w->n * (size_t)w->T, sizeof(uint32_t));
    ky_windows_shuffle(w, 1);
}

void ky_windows_shuffle(ky_windows *w, uint64_t seed)
{
    int window[KY_SCENE_STREAMS], left[KY_SCENE_STREAMS], open = KY_SCENE_STREAMS;
    ky_rng rng;

    ky_rng_seed(&rng, seed);
    for (int i = 0; i < KY_SCENE_STREAMS; i++) {
        window[i] = i;
        left[i] = w->T;
    }
    while (open > 0 && window[open - 1] >= w->n)
        open--;
    for (size_t k = 0; k < (size_t)w->n * (size_t)w->T; k++) {
        /* Half of the time the last one goes on, so that bursts of one stream occur, too. */
        int i = (int)ky_rng_below(&rng, (uint64_t)open);

        w->order[k] = (uint32_t)window[i];
        if (--left[i] > 0)
            continue;
        left[i] = w->T;
        window[i] += KY_SCENE_STREAMS;
        if (window[i] < w->n)
            continue;
        open--;
        window[i] = window[open];
        left[i] = left[open];
    }
}

int *ky_windows_steps(const ky_windows *w)
{
    int *t = calloc((size_t)w->n * (size_t)w->T, sizeof(int));
    int *next = calloc((size_t)w->n, sizeof(int));

    for (size_t k = 0; k < (size_t)w->n * (size_t)w->T; k++)
        t[k] = next[w->order[k]]++;
    free(next);
    return t;
}

void ky_windows_done(ky_windows *w)
{
    free(w->x);
    free(w->order);
}

const char *ky_windows_file(const ky_windows *w, const ky_scene *s)
{
    static char path[320];
    uint64_t dims[3] = { (uint64_t)w->n, (uint64_t)w->T, (uint64_t)w->F };
    ky_h5 *f;
    ky_err err;

    snprintf(path, sizeof(path), "%s/windows.h5", s->dir);
    KY_WANT(ky_h5_create(path, &f, &err) == KY_OK &&
                ky_h5_put(f, "/X_test", KY_H5_F32, 3, dims, w->x, &err) == KY_OK &&
                ky_h5_commit(f, &err) == KY_OK,
            "%s", err.text);
    return path;
}

float *ky_windows_answers(const ky_windows *w, const char *model)
{
    float *y = calloc((size_t)w->n * (size_t)w->T * (size_t)w->outputs, sizeof(float));
    ky_model *m = NULL;
    ky_plan *p = NULL;
    ky_err err;

    KY_WANT(ky_model_load(model, &m, &err) == KY_OK, "%s", err.text);
    KY_WANT(ky_plan_new(m, KY_MEMORY_STREAM, 0, 1, &p, &err) == KY_OK, "%s", err.text);
    ky_wave *wave = ky_wave_new(p, 1);
    void *state = aligned_alloc(64, (ky_plan_state_bytes(p) + 64) / 64 * 64);

    for (int i = 0; i < w->n; i++) {
        ky_plan_zero(p, state);
        for (int t = 0; t < w->T; t++) {
            size_t at = (size_t)i * (size_t)w->T + (size_t)t;
            const float *x = w->x + at * (size_t)w->F;
            float *to = y + at * (size_t)w->outputs;
            bool answered;

            ky_plan_step(p, wave, 1, &x, &state, &to, &answered);
            KY_WANT(answered, "no answer at step %d", t);
        }
    }
    free(state);
    ky_wave_free(wave);
    ky_plan_free(p);
    ky_model_free(m);
    return y;
}

int ky_windows_json(const ky_windows *w, int window, int t, char *buf, size_t size)
{
    const float *x = w->x + ((size_t)window * (size_t)w->T + (size_t)t) * (size_t)w->F;
    int64_t seq = (int64_t)(window / KY_SCENE_STREAMS) * w->T + t + 1;
    int len = snprintf(buf, size, "{\"stream\":\"s-%02d\",\"seq\":%lld,\"ts\":%.3f,\"x\":[",
                       ky_window_stream(window), (long long)seq, 1.7e9 + (double)seq * 0.02);

    for (int f = 0; f < w->F; f++)
        len += snprintf(buf + len, size - (size_t)len, "%s%.9g", f ? "," : "", (double)x[f]);
    len += snprintf(buf + len, size - (size_t)len, "]%s%s}", t == 0 ? ",\"start\":true" : "",
                    t == w->T - 1 ? ",\"end\":true" : "");
    return len;
}

/* -- the daemon -- */

void ky_daemon_spawn(ky_daemon *d, const ky_scene *s, const char *program, const char *ini,
                     const char *const *overrides)
{
    const char *argv[64] = { program != NULL ? program : s->kymod, "-c", ini };
    int n = 3;

    for (; overrides != NULL && *overrides != NULL && n < 60; overrides++) {
        argv[n++] = "-o";
        argv[n++] = *overrides;
    }
    d->scene = s;
    snprintf(d->log, sizeof(d->log), "%s/kymod.log", s->dir);
    int fd = open(d->log, O_WRONLY | O_CREAT | O_APPEND, 0600);

    KY_WANT(fd >= 0, "%s: %s", d->log, strerror(errno));
    d->log_from = lseek(fd, 0, SEEK_END);
    d->pid = fork();
    KY_WANT(d->pid >= 0, "fork: %s", strerror(errno));
    if (d->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* however the test ends */
        dup2(fd, 1);
        dup2(fd, 2);
        close(fd);
        execv(argv[0], (char *const *)argv);
        fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
        _exit(127);
    }
    close(fd);
    running = d;
}

/* This run's lines; the caller frees. */
static char *read_log(const ky_daemon *d)
{
    char *text = calloc(1, 1 << 20);
    FILE *f = fopen(d->log, "r");

    if (f != NULL) {
        fseek(f, d->log_from, SEEK_SET);
        text[fread(text, 1, (1 << 20) - 1, f)] = 0;
        fclose(f);
    }
    return text;
}

bool ky_daemon_said(const ky_daemon *d, const char *what)
{
    char *text = read_log(d);
    bool said = strstr(text, what) != NULL;

    free(text);
    return said;
}

static void nap(void)
{
    nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
}

void ky_daemon_hear(const ky_daemon *d, const char *what)
{
    int64_t until = ky_clock_mono_ns() + 60000000000;
    int status;

    while (!ky_daemon_said(d, what)) {
        KY_WANT(waitpid(d->pid, &status, WNOHANG) == 0, "kymod ended before it said '%s'", what);
        KY_WANT(ky_clock_mono_ns() < until, "kymod has not said '%s' after a minute", what);
        nap();
    }
}

void ky_daemon_start(ky_daemon *d, const ky_scene *s, const char *program, const char *ini,
                     const char *const *overrides)
{
    ky_daemon_spawn(d, s, program, ini, overrides);
    ky_daemon_hear(d, "msg=ready");
}

int ky_daemon_end(ky_daemon *d)
{
    int64_t until = ky_clock_mono_ns() + 60000000000;
    int status;

    while (waitpid(d->pid, &status, WNOHANG) == 0) {
        KY_WANT(ky_clock_mono_ns() < until, "kymod has not ended after a minute");
        nap();
    }
    d->pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void ky_daemon_start_and_kill(ky_daemon *d, const ky_scene *s, const char *program, const char *ini,
                              const char *const *overrides)
{
    ky_daemon_spawn(d, s, program, ini, overrides);
    for (int i = 0; i < 20; i++)
        nap();
    kill(d->pid, SIGKILL);
    ky_daemon_end(d);
}

int ky_daemon_run(ky_daemon *d, const ky_scene *s, const char *ini, const char *const *overrides)
{
    const ky_daemon *before = running;

    ky_daemon_spawn(d, s, NULL, ini, overrides);
    int code = ky_daemon_end(d);

    running = before;
    return code;
}

void ky_daemon_stop(ky_daemon *d)
{
    ky_daemon_stop_with(d, 0);
}

void ky_daemon_stop_with(ky_daemon *d, int want)
{
    kill(d->pid, SIGTERM);
    int code = ky_daemon_end(d);

    KY_WANT(code == want, "kymod ended with %d, not %d, after SIGTERM", code, want);
}

void ky_daemon_kill(ky_daemon *d)
{
    kill(d->pid, SIGKILL);
    int code = ky_daemon_end(d);

    KY_WANT(code == 128 + SIGKILL, "kymod ended with %d before it was killed", code);
}

const char *ky_daemon_address(const ky_daemon *d, const char *what)
{
    static char address[256];
    char *text = read_log(d), *at = strstr(text, what);

    KY_WANT(at != NULL && (at = strstr(at, "msg=\"at ")) != NULL, "no address of %s", what);
    snprintf(address, sizeof(address), "%.*s", (int)strcspn(at + 8, "\""), at + 8);
    free(text);
    return address;
}

ky_json *ky_daemon_status(const ky_daemon *d)
{
    static const char ask[] = "{\"cmd\":\"status\"}";
    char endpoint[320];
    ky_zframe frame = { ask, sizeof(ask) - 1 };
    ky_zsock *s;
    ky_json *answer;
    ky_err err;

    snprintf(endpoint, sizeof(endpoint), "ipc://%s/run/control", d->scene->dir);
    KY_WANT(ky_zsock_open("req", endpoint, false, 0, &s, &err) == KY_OK, "%s", err.text);
    KY_WANT(ky_zsock_send(s, &frame, 1, 5000, &err) == KY_OK, "asking for status: %s", err.text);
    KY_WANT(ky_zsock_recv(s, &frame, 1, 10000, &err) == 1, "no status: %s", err.text);
    KY_WANT(ky_json_parse(frame.data, frame.len, false, &answer, &err) == KY_OK, "status: %s",
            err.text);
    ky_zsock_close(s);
    return answer;
}

int64_t ky_daemon_counter(const ky_daemon *d, const char *name)
{
    ky_json *answer = ky_daemon_status(d);
    const ky_json *v = ky_json_get(ky_json_get(ky_json_get(answer, "status"), "counters"), name);
    int64_t n = ky_json_int(v, -1);

    ky_json_free(answer);
    KY_WANT(n >= 0, "no counter %s", name);
    return n;
}

/* -- a sender that wants every message acknowledged -- */

void ky_sender_open(ky_sender *s, const char *endpoint, const char *id, uint64_t seed)
{
    ky_rng rng;
    ky_err err;

    *s = (ky_sender){ .id = id, .heard_ns = ky_clock_mono_ns() };
    ky_rng_seed(&rng, seed);
    for (int i = 0; i < 16; i++)
        s->session[i] = (uint8_t)ky_rng_u64(&rng);
    KY_WANT(ky_zsock_open("dealer", endpoint, false, 10000, &s->sock, &err) == KY_OK, "%s",
            err.text);
    ky_zsock_linger(s->sock, 0);
}

void ky_sender_close(ky_sender *s)
{
    ky_zsock_close(s->sock);
}

void ky_sender_send(ky_sender *s, uint64_t number, const void *data, size_t len)
{
    ky_zframe f[4] = {
        { s->id, strlen(s->id) }, { s->session, 16 }, { &number, sizeof(number) }, { data, len }
    };

    if (ky_zsock_send(s->sock, f, 4, 100, NULL) == KY_OK && number > s->sent)
        s->sent = number;
}

void ky_sender_listen(ky_sender *s, int timeout_ms)
{
    ky_zframe f[3];
    uint64_t number;
    int n;

    while ((n = ky_zsock_recv(s->sock, f, 3, timeout_ms, NULL)) >= 2) {
        KY_WANT(f[0].len == 16 && f[1].len == 8 && memcmp(f[0].data, s->session, 16) == 0,
                "an acknowledgement for somebody else");
        memcpy(&number, f[1].data, sizeof(number));
        KY_WANT(number != 0, "asked for a new session: %.*s", n == 3 ? (int)f[2].len : 0,
                n == 3 ? (const char *)f[2].data : "");
        KY_WANT(number <= s->sent || s->sent == s->acked, "number %llu was never sent",
                (unsigned long long)number);
        s->refused += n == 3;
        if (number > s->acked)
            s->heard_ns = ky_clock_mono_ns();
        s->acked = number > s->acked ? number : s->acked;
        s->sent = s->sent < s->acked ? s->acked : s->sent;
        timeout_ms = 0;
    }
    if (s->sent > s->acked && ky_clock_mono_ns() - s->heard_ns > 500000000) {
        s->sent = s->acked;
        s->heard_ns = ky_clock_mono_ns();
    }
}

void ky_sender_round(ky_sender *s, const ky_windows *w, const int *steps, uint64_t to)
{
    enum { IN_FLIGHT = 64 };
    char buf[1024];

    while (s->sent < to && s->sent < s->acked + IN_FLIGHT) {
        uint64_t k = s->sent;
        int len = ky_windows_json(w, (int)w->order[k], steps[k], buf, sizeof(buf));

        ky_sender_send(s, k + 1, buf, (size_t)len);
        if (s->sent == k)
            break;
    }
    ky_sender_listen(s, 20);
}

void ky_sender_play(ky_sender *s, const ky_windows *w, const int *steps, uint64_t to)
{
    while (s->acked < to)
        ky_sender_round(s, w, steps, to);
}

/* -- results.db -- */

static sqlite3 *open_db(const ky_scene *s)
{
    char path[320];
    sqlite3 *db;

    snprintf(path, sizeof(path), "%s/state/results.db", s->dir);
    KY_WANT(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK, "%s: %s", path,
            sqlite3_errmsg(db));
    sqlite3_busy_timeout(db, 10000);
    return db;
}

void ky_scene_change(const ky_scene *s, const char *sql)
{
    char path[320];
    sqlite3 *db;

    snprintf(path, sizeof(path), "%s/state/results.db", s->dir);
    KY_WANT(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK &&
                sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK && sqlite3_changes(db) > 0,
            "%s: %s", sql, sqlite3_errmsg(db));
    sqlite3_close(db);
}

static sqlite3_stmt *prepare(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *st;

    KY_WANT(sqlite3_prepare_v2(db, sql, -1, &st, NULL) == SQLITE_OK, "%s: %s", sql,
            sqlite3_errmsg(db));
    return st;
}

int64_t ky_scene_number(const ky_scene *s, const char *sql)
{
    sqlite3 *db = open_db(s);
    sqlite3_stmt *st = prepare(db, sql);
    int rc = sqlite3_step(st);
    int64_t n = sqlite3_column_int64(st, 0);

    KY_WANT(rc == SQLITE_ROW, "%s: %s", sql, sqlite3_errmsg(db));
    sqlite3_finalize(st);
    sqlite3_close(db);
    return n;
}

void *ky_scene_lock(const ky_scene *s)
{
    char path[320];
    sqlite3 *db;

    snprintf(path, sizeof(path), "%s/state/results.db", s->dir);
    KY_WANT(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK, "%s: %s", path,
            sqlite3_errmsg(db));
    sqlite3_busy_timeout(db, 10000);
    KY_WANT(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK, "lock: %s",
            sqlite3_errmsg(db));
    return db;
}

void ky_scene_unlock(void *lock)
{
    KY_WANT(sqlite3_exec(lock, "ROLLBACK", NULL, NULL, NULL) == SQLITE_OK, "unlock: %s",
            sqlite3_errmsg(lock));
    sqlite3_close(lock);
}

bool ky_within(int64_t timeout_ms, bool (*fn)(void *arg), void *arg)
{
    int64_t until = ky_clock_mono_ns() + timeout_ms * 1000000;

    while (!fn(arg)) {
        if (ky_clock_mono_ns() > until)
            return false;
        nap();
    }
    return true;
}

typedef struct awaited {
    const ky_scene *s;
    int64_t n, seen;
} awaited;

static bool enough(void *arg)
{
    awaited *a = arg;

    a->seen = ky_scene_number(a->s, "SELECT count(*) FROM predictions");
    return a->seen >= a->n;
}

void ky_scene_wait_predictions(const ky_scene *s, int64_t n, int64_t timeout_ms)
{
    awaited a = { s, n, 0 };

    KY_WANT(ky_within(timeout_ms, enough, &a), "%lld of %lld predictions are there",
            (long long)a.seen, (long long)n);
}

char *ky_scene_lines(const ky_scene *s, const char *sql)
{
    sqlite3 *db = open_db(s);
    sqlite3_stmt *st = prepare(db, sql);
    char *text = NULL;
    size_t len;
    FILE *to = open_memstream(&text, &len);
    int rc;

    while ((rc = sqlite3_step(st)) == SQLITE_ROW)
        fprintf(to, "%s\n", (const char *)sqlite3_column_text(st, 0));
    KY_WANT(rc == SQLITE_DONE, "%s: %s", sql, sqlite3_errmsg(db));
    fclose(to);
    sqlite3_finalize(st);
    sqlite3_close(db);
    return text;
}

uint64_t ky_scene_hash(const ky_scene *s, const char *sql)
{
    sqlite3 *db = open_db(s);
    sqlite3_stmt *st = prepare(db, sql);
    uint64_t h = KY_HASH0;
    int rc;

    while ((rc = sqlite3_step(st)) == SQLITE_ROW)
        for (int i = 0; i < sqlite3_column_count(st); i++) {
            int len = sqlite3_column_bytes(st, i), kind = sqlite3_column_type(st, i);

            h = ky_hash(h, &kind, sizeof(kind));
            h = ky_hash(h, sqlite3_column_blob(st, i), (size_t)len);
        }
    KY_WANT(rc == SQLITE_DONE, "%s: %s", sql, sqlite3_errmsg(db));
    sqlite3_finalize(st);
    sqlite3_close(db);
    return h;
}

int64_t ky_scene_compare(const ky_scene *s, const ky_windows *w, const float *y)
{
    sqlite3 *db = open_db(s);
    sqlite3_stmt *st = prepare(db, "SELECT name, n, seq, probs, role FROM predictions p JOIN "
                                   "streams s ON s.id = p.stream WHERE name GLOB "
                                   "'s[-0-9]*'");
    size_t width = (size_t)w->outputs * sizeof(float), wrong = 0;
    size_t total = (size_t)w->n * (size_t)w->T, right = 0;
    uint8_t *seen = calloc(total, 1);
    int rc;

    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(st, 0);
        int stream = atoi(name + strcspn(name, "0123456789"));
        int64_t n = sqlite3_column_int64(st, 1) - 1;
        bool counted = sqlite3_column_type(st, 2) != SQLITE_NULL;
        int64_t window = stream + n / w->T * KY_SCENE_STREAMS, at = window * w->T + n % w->T;
        bool ok =
            window < w->n && at >= 0 && !seen[at] &&
            (!counted || sqlite3_column_int64(st, 2) == n + 1) &&
            (size_t)sqlite3_column_bytes(st, 3) == width &&
            memcmp(sqlite3_column_blob(st, 3), y + (size_t)at * (size_t)w->outputs, width) == 0;

        if (!ok && wrong++ == 0)
            fprintf(stderr, "first wrong: stream %d n %lld seq %lld\n", stream, (long long)n + 1,
                    (long long)sqlite3_column_int64(st, 2));
        if (ok) {
            seen[at] = 1;
            right++;
        }
    }
    KY_WANT(rc == SQLITE_DONE, "%s", sqlite3_errmsg(db));
    sqlite3_finalize(st);
    sqlite3_close(db);
    free(seen);
    return (int64_t)(total - right + wrong);
}
