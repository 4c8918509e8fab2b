#include "tests/scenarios/inside.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "daemon/accept.h"
#include "daemon/commit.h"
#include "daemon/core.h"
#include "daemon/lane.h"
#include "models/clock.h"
#include "storage/store.h"

/* -- what the two processes say to each other -- */

enum op {
    OP_PUT,
    OP_PUT_NULL,
    OP_PUT_ON,
    OP_PUT_ON_NULL,
    OP_HEAR,
    OP_FLOOD,
    OP_LOOK,
    OP_SWAP,
    OP_COMMIT,
    OP_STATUS,
    OP_STOP
};

typedef struct order {
    enum op op;
    uint64_t number;
    char source[KY_NAME_MAX + 1], key[KY_STREAM_MAX + 1];
    char text[8192];
} order;

typedef struct reply {
    int64_t number;
    char problem[1024]; /* "" if all is well */
} reply;

/* In memory that both see. */
typedef struct clocks {
    _Atomic int64_t wall_us, mono_ns;
    _Atomic int doom; /* calls to the disk until the process dies; 0: it does not */
} clocks;

static clocks *shown;
static pid_t child;
static int wire = -1;
static bool inside; /* this is it */
static bool doomed; /* it may be dead by now */

static int64_t wall(void)
{
    return atomic_load(&shown->wall_us);
}

static int64_t mono(void)
{
    return atomic_load(&shown->mono_ns);
}

/* -- the child: sources -- */

enum { SOURCES = 8, LINE = 16 };

/* A source that a test fills. The thread that owns it has dealt with a message when it asks for
 * the next. Some can be gathered before it hears of the first. */
typedef struct mem {
    ky_source base;
    char name[KY_NAME_MAX + 1];
    enum ky_delivery delivery;
    pthread_mutex_t lock;
    pthread_cond_t rung;
    order line[LINE];
    int n, at;
    bool open, out, woken; /* out: the one that is next is being dealt with */
    bool flood;            /* behind the last comes the first */
} mem;

static mem sources[SOURCES];
static int n_sources;

static int mem_recv(ky_source *s, ky_message *ret, int timeout_ms, ky_err *err)
{
    mem *m = (mem *)s;
    struct timespec until;
    int rc = 0;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += timeout_ms > 0;
    pthread_mutex_lock(&m->lock);
    if (m->out && ++m->at == m->n) {
        m->n = m->flood ? m->n : 0;
        m->at = 0;
        m->open = m->flood;
    }
    while (!m->open && !m->woken && rc == 0 && timeout_ms > 0)
        rc = pthread_cond_timedwait(&m->rung, &m->lock, &until);
    m->woken = false;
    m->out = m->open;
    rc = m->open ? KY_OK : KY_EAGAIN;
    pthread_mutex_unlock(&m->lock);
    if (rc != KY_OK)
        return ky_fail(err, rc, "nothing");
    const order *o = &m->line[m->at];

    *ret = (ky_message){ .data = o->text,
                         .len = strlen(o->text),
                         .tombstone = o->op == OP_PUT_NULL || o->op == OP_PUT_ON_NULL,
                         .arrived_us = wall(),
                         .ts_us = KY_NONE,
                         .sender = m->delivery == KY_OFFSETS        ? "topic/0"
                                   : m->delivery == KY_ACKNOWLEDGED ? "tester"
                                                                    : "",
                         .number = o->number };
    ret->sender_len = strlen(ret->sender);
    ret->key = *o->key ? o->key : NULL;
    ret->key_len = strlen(o->key);
    return KY_OK;
}

static void mem_ack(ky_source *s, const ky_ack *a)
{
    (void)s;
    (void)a;
}

static void mem_wake(ky_source *s)
{
    mem *m = (mem *)s;

    pthread_mutex_lock(&m->lock);
    m->woken = true;
    pthread_cond_signal(&m->rung);
    pthread_mutex_unlock(&m->lock);
}

static const char *mem_trouble(const ky_source *s)
{
    (void)s;
    return NULL;
}

static enum ky_delivery mem_delivery(const ky_source *s)
{
    return ((const mem *)s)->delivery;
}

static const char *mem_address(const ky_source *s)
{
    return ((const mem *)s)->name;
}

static void mem_close(ky_source *s)
{
    (void)s;
}

static const ky_source_ops mem_ops = { .type = "mem",
                                       .recv = mem_recv,
                                       .ack = mem_ack,
                                       .wake = mem_wake,
                                       .trouble = mem_trouble,
                                       .delivery = mem_delivery,
                                       .address = mem_address,
                                       .close = mem_close };

/* Stands in for ky_source_open when linked with --wrap. Sources open one after the other. */
int __wrap_ky_source_open(const ky_source_opts *o, ky_source **ret, ky_err *err);
int __wrap_ky_source_open(const ky_source_opts *o, ky_source **ret, ky_err *err)
{
    if (n_sources == SOURCES)
        return ky_fail(err, KY_EINVAL, "a scenario has at most %d sources", SOURCES);
    mem *m = &sources[n_sources];

    *m = (mem){ .base.ops = &mem_ops, .delivery = ky_source_delivery_of(o->type, o->socket) };
    snprintf(m->name, sizeof(m->name), "%s", o->name);
    pthread_mutex_init(&m->lock, NULL);
    pthread_cond_init(&m->rung, NULL);
    n_sources++;
    *ret = &m->base;
    return KY_OK;
}

/* What an order says of a source's messages. */
static bool mem_put(const order *o)
{
    for (int i = 0; i < n_sources; i++) {
        mem *m = &sources[i];

        if (strcmp(m->name, o->source) != 0)
            continue;
        pthread_mutex_lock(&m->lock);
        if (o->op == OP_FLOOD)
            m->flood = o->number != 0;
        else
            m->line[m->n++] = *o;
        pthread_mutex_unlock(&m->lock);
        return true;
    }
    return false;
}

/* Hands out what was gathered. True: all of it was dealt with, but what is without end. */
static bool mem_rests(void)
{
    bool rests = true;

    for (int i = 0; i < n_sources; i++) {
        mem *m = &sources[i];

        pthread_mutex_lock(&m->lock);
        if (m->n > 0 && !m->open) {
            m->open = true;
            pthread_cond_signal(&m->rung);
        }
        rests = rests && (m->n == 0 || m->flood);
        pthread_mutex_unlock(&m->lock);
    }
    return rests;
}

/* So many are gathered that a source has not heard of. */
static bool mem_gathers(int n)
{
    bool gathers = false;

    for (int i = 0; i < n_sources; i++) {
        pthread_mutex_lock(&sources[i].lock);
        gathers = gathers || sources[i].n >= n;
        pthread_mutex_unlock(&sources[i].lock);
    }
    return gathers;
}

/* -- the child: what it publishes -- */

static int told = -1;

/* Writes down what goes to the publisher's socket when linked with --wrap. */
int __real_ky_zsock_send(ky_zsock *s, const ky_zframe *frames, int n, int timeout_ms, ky_err *err);
int __wrap_ky_zsock_send(ky_zsock *s, const ky_zframe *frames, int n, int timeout_ms, ky_err *err);
int __wrap_ky_zsock_send(ky_zsock *s, const ky_zframe *frames, int n, int timeout_ms, ky_err *err)
{
    char line[4096];
    int len =
        snprintf(line, sizeof(line), "%.*s %.*s\n", (int)frames[0].len,
                 (const char *)frames[0].data, (int)frames[1].len, (const char *)frames[1].data);

    struct iovec all = { line, (size_t)len };

    /* writev: a test may stand in for write, and tear it */
    if (len >= (int)sizeof(line) || writev(told, &all, 1) != len)
        return ky_fail(err, KY_EIO, "it cannot be written down");
    return __real_ky_zsock_send(s, frames, n, timeout_ms, err);
}

/* -- the child: coming to rest -- */

enum { LANES = 16, PATIENCE = 20000 /* naps before something is stuck */ };

static void nap(void)
{
    nanosleep(&(struct timespec){ .tv_nsec = 500000 }, NULL);
}

/* What was in a lane's line then is done; in a flood there is always more. */
static bool lanes_passed(const ky_pipeline *p, const uint64_t *end)
{
    for (int i = 0; i < p->n_lanes; i++)
        if (ky_queue_begin(ky_lane_queue(p->lanes[i])) < end[i])
            return false;
    return true;
}

/* The sources have dealt with all messages, nobody else need have. */
static bool hear_all(void)
{
    int naps = 0;

    for (; !mem_rests() && naps < PATIENCE; naps++)
        nap();
    return naps < PATIENCE;
}

/* An answer to a question comes between two rounds of the accept thread: behind the second, one
 * whole round has begun after this. What waits for a commit is not at rest. */
static bool accept_rests(ky_pipeline *p)
{
    ky_bell_ring(ky_accept_bell(p->accept));
    for (int i = 0; i < 3; i++)
        ky_accept_offset(p->accept, 0, "");
    return atomic_load(&p->count.waiting) + atomic_load(&p->count.ends_waiting) == 0;
}

/* All threads have looked at their queues and at the clock. */
static bool settle(ky_pipeline *p)
{
    uint64_t end[LANES]; /* no scenario has more */
    int naps = 0;

    if (!hear_all())
        return false;
    for (; !accept_rests(p) && naps < PATIENCE; naps++)
        nap();
    for (int i = 0; i < p->n_lanes; i++) {
        end[i] = ky_queue_end(ky_lane_queue(p->lanes[i]));
        ky_bell_ring(ky_lane_queue(p->lanes[i])->consumer);
    }
    for (; !lanes_passed(p, end) && naps < PATIENCE; naps++)
        nap();
    if (naps == PATIENCE)
        fprintf(stderr, "at rest: the accept stage %d, lanes %d\n", accept_rests(p),
                lanes_passed(p, end));
    return naps < PATIENCE;
}

static void turn(int64_t us)
{
    atomic_fetch_add(&shown->wall_us, us);
    atomic_fetch_add(&shown->mono_ns, us * 1000);
}

/* Three intervals: what was done is handed over, idle lanes hear of it, that is handed over. */
static bool commit(ky_pipeline *p)
{
    for (int naps = 0; naps < PATIENCE; naps++) {
        if (atomic_load(&p->writer->low_water) >= ky_journal_end(p->journal))
            return true;
        if (naps % 16 == 0) {
            turn(p->cfg->commit_interval_us + 1);
            if (!settle(p))
                return false;
        }
        nap();
    }
    return false;
}

static int swap(ky_pipeline *p, const order *o, ky_err *err)
{
    ky_model *m = NULL;
    uint32_t version = 0;
    int rc = ky_model_load(o->text, &m, err);

    if (rc == KY_OK)
        rc = ky_store_add(p->served.dir, m, o->key, &version, err);
    if (rc == KY_OK)
        rc = ky_pipeline_swap(p, o->key, version, 0, o->number ? KY_SWAP_RESET : KY_SWAP_NEXT_START,
                              err);
    ky_model_free(m);
    return rc;
}

static int64_t status(ky_pipeline *p, const char *what)
{
    ky_json *all = ky_pipeline_status(p);
    const ky_json *v = all;
    char path[128], *save = NULL;
    int64_t n = -1;

    snprintf(path, sizeof(path), "%.100s", what);
    for (char *word = strtok_r(path, ".", &save); word != NULL && v != NULL;
         word = strtok_r(NULL, ".", &save))
        v = ky_json_get(v, word);
    if (v != NULL)
        n = ky_json_int(v, -1);
    ky_json_free(all);
    return n;
}

/* -- the child: its life -- */

static void answer(int fd, int64_t number, const char *problem)
{
    reply r = { .number = number };

    snprintf(r.problem, sizeof(r.problem), "%.1000s", problem);
    if (send(fd, &r, sizeof(r), 0) != (ssize_t)sizeof(r))
        _exit(1);
}

static void obey(ky_pipeline *p, int fd, const order *o)
{
    ky_err err = { 0 };

    if (o->op != OP_PUT_ON && o->op != OP_PUT_ON_NULL && o->op != OP_HEAR && o->op != OP_FLOOD &&
        mem_gathers(1))
        settle(p);
    switch (o->op) {
    case OP_PUT:
    case OP_PUT_NULL:
    case OP_FLOOD:
        if (!mem_put(o))
            answer(fd, 0, "there is no such source");
        else
            answer(fd, 0, settle(p) ? "" : "it does not come to rest");
        return;
    case OP_PUT_ON:
    case OP_PUT_ON_NULL:
        if (mem_gathers(LINE))
            hear_all();
        answer(fd, 0, mem_put(o) ? "" : "there is no such source");
        return;
    case OP_HEAR:
        answer(fd, 0, hear_all() ? "" : "a source does not come to rest");
        return;
    case OP_LOOK:
        answer(fd, 0, settle(p) ? "" : "it does not come to rest");
        return;
    case OP_SWAP:
        swap(p, o, &err);
        answer(fd, 0, err.code < 0 ? err.text : settle(p) ? "" : "it does not come to rest");
        return;
    case OP_COMMIT:
        answer(fd, 0, settle(p) && commit(p) ? "" : "not everything is committed");
        return;
    case OP_STATUS:
        answer(fd, status(p, o->text), "");
        return;
    case OP_STOP:
        return;
    }
}

static void live(int fd, const char *ini, const char *const *overrides)
{
    ky_problems problems;
    ky_config *cfg = NULL;
    ky_pipeline *p = NULL;
    ky_err err;
    order o;

    inside = true;
    ky_clock_set(wall, mono);
    ky_lane_at_once = 1;
    if (ky_config_load(ini, overrides, &cfg, &problems) < 0) {
        answer(fd, 0, problems.n > 0 ? problems.text[0] : "no configuration");
        _exit(1);
    }
    ky_problems_done(&problems);
    if (ky_pipeline_new(cfg, &p, &err) < 0) {
        answer(fd, 0, err.text);
        _exit(1);
    }
    settle(p);
    answer(fd, 0, "");
    while (recv(fd, &o, sizeof(o), 0) == (ssize_t)sizeof(o) && o.op != OP_STOP)
        obey(p, fd, &o);
    if (mem_gathers(1))
        settle(p);
    ky_pipeline_stop(p);
    ky_pipeline_free(p);
    ky_config_free(cfg);
    answer(fd, 0, "");
    _exit(0); /* exit() would set back the files that the test is reading */
}

/* -- the test -- */

static reply hear(const char *doing)
{
    reply r = { 0 };
    bool heard = recv(wire, &r, sizeof(r), 0) == (ssize_t)sizeof(r);

    KY_WANT(heard || doomed, "%s: the pipeline's process ended, or hangs", doing);
    KY_WANT(!heard || r.problem[0] == '\0', "%s: %s", doing, r.problem);
    return r;
}

static reply ask(const order *o, const char *doing)
{
    bool sent = send(wire, o, sizeof(*o), MSG_NOSIGNAL) == (ssize_t)sizeof(*o);

    KY_WANT(sent || doomed, "%s: the pipeline's process ended", doing);
    return sent ? hear(doing) : (reply){ 0 };
}

static void show_clocks(void)
{
    if (shown != NULL)
        return;
    shown = mmap(NULL, sizeof(*shown), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    KY_WANT(shown != MAP_FAILED, "mmap: %s", strerror(errno));
    atomic_store(&shown->mono_ns, 1000000000000);
}

void ky_inside_set_clock(int64_t wall_us)
{
    show_clocks();
    atomic_store(&shown->wall_us, wall_us);
}

int64_t ky_inside_wall_us(void)
{
    return wall();
}

const char *ky_inside_file(const ky_scene *s, const char *name)
{
    static char path[400];

    snprintf(path, sizeof(path), "%s/%s.h5", s->dir, name);
    return path;
}

/* A setting of a section that the file has. */
static void add_setting(char *ret, size_t size, const char *ini, const char *section,
                        const char *setting)
{
    char heading[80], text[16384];
    FILE *f = fopen(ini, "r");

    KY_WANT(f != NULL, "%s: %s", ini, strerror(errno));
    text[fread(text, 1, sizeof(text) - 1, f)] = 0;
    fclose(f);
    snprintf(heading, sizeof(heading), "[%s]", section);
    if (strstr(text, heading) != NULL)
        snprintf(ret, size, "%s.%s", section, setting);
}

/* The last line of one that was killed may be half. */
static void cut_told(const ky_scene *s)
{
    char path[400], *line = NULL;
    size_t size = 0;
    off_t whole = 0;

    snprintf(path, sizeof(path), "%s/told", s->dir);
    FILE *f = fopen(path, "r");

    for (ssize_t n; f != NULL && (n = getline(&line, &size, f)) > 0 && line[n - 1] == '\n';)
        whole += n;
    free(line);
    if (f == NULL)
        return;
    fclose(f);
    KY_WANT(truncate(path, whole) == 0, "%s: %s", path, strerror(errno));
}

void ky_inside_start(const ky_scene *s, const char *ini, int lanes)
{
    char log[320], path[420], text[6][480] = { "" };
    const char *overrides[8] = { "kymod.commit_interval=10ms" };
    int ends[2];

    snprintf(text[0], sizeof(text[0]), "kymod.lanes=%d", lanes);
    snprintf(text[1], sizeof(text[1]), "kymod.state_dir=%s/state", s->dir);
    snprintf(text[2], sizeof(text[2]), "kymod.runtime_dir=%s/run", s->dir);
    snprintf(path, sizeof(path), "file=%s", ky_inside_file(s, "m"));
    add_setting(text[3], sizeof(text[3]), ini, "model:m", path);
    snprintf(path, sizeof(path), "file=%s", ky_inside_file(s, "b"));
    add_setting(text[4], sizeof(text[4]), ini, "model:b", path);
    snprintf(path, sizeof(path), "endpoint=ipc://%s/out", s->dir);
    add_setting(text[5], sizeof(text[5]), ini, "publish:out", path);
    for (int i = 0, n = 1; i < 6; i++)
        if (*text[i])
            overrides[n++] = text[i];

    show_clocks();
    KY_WANT(child == 0, "it runs already");
    cut_told(s);
    KY_WANT(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) == 0, "socketpair: %s", strerror(errno));
    snprintf(log, sizeof(log), "%s/kymod.log", s->dir);
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);

    KY_WANT(fd >= 0, "%s: %s", log, strerror(errno));
    fflush(NULL);
    child = fork();
    KY_WANT(child >= 0, "fork: %s", strerror(errno));
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(fd, 2);
        close(fd);
        close(ends[0]);
        snprintf(path, sizeof(path), "%s/told", s->dir);
        told = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        live(ends[1], ini, overrides);
    }
    close(fd);
    close(ends[1]);
    wire = ends[0];
    setsockopt(wire, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){ .tv_sec = 100 },
               sizeof(struct timeval));
    ky_flunk_shows(log);
    hear("start");
}

static void put(enum op op, const char *source, const char *key, uint64_t number, const char *text)
{
    order o = { .op = op, .number = number };

    snprintf(o.source, sizeof(o.source), "%s", source);
    snprintf(o.key, sizeof(o.key), "%s", key);
    snprintf(o.text, sizeof(o.text), "%s", text != NULL ? text : "");
    ask(&o, "a message");
}

void ky_inside_put(const char *source, const char *key, uint64_t number, const char *text)
{
    put(text != NULL ? OP_PUT : OP_PUT_NULL, source, key, number, text);
}

void ky_inside_put_on(const char *source, const char *key, uint64_t number, const char *text)
{
    put(text != NULL ? OP_PUT_ON : OP_PUT_ON_NULL, source, key, number, text);
}

void ky_inside_flood(const char *source, bool on)
{
    put(OP_FLOOD, source, "", on, NULL);
}

void ky_inside_hear(void)
{
    ask(&(order){ .op = OP_HEAR }, "a message's reading");
}

void ky_inside_turn(int64_t us)
{
    order o = { .op = OP_LOOK };

    turn(us);
    if (child != 0)
        ask(&o, "turning the clock");
}

void ky_inside_tick(int64_t us)
{
    turn(us);
}

void ky_inside_step_wall(int64_t us)
{
    atomic_fetch_add(&shown->wall_us, us);
}

void ky_inside_swap(const char *model, const char *path, bool reset)
{
    order o = { .op = OP_SWAP, .number = reset };

    snprintf(o.key, sizeof(o.key), "%s", model);
    snprintf(o.text, sizeof(o.text), "%s", path);
    ask(&o, "a swap");
}

void ky_inside_commit(void)
{
    order o = { .op = OP_COMMIT };

    ask(&o, "committing");
}

int64_t ky_inside_status(const char *what)
{
    order o = { .op = OP_STATUS };

    snprintf(o.text, sizeof(o.text), "%s", what);
    return ask(&o, "status").number;
}

static int bury(void)
{
    int status;

    close(wire);
    waitpid(child, &status, 0);
    child = 0;
    return status;
}

void ky_inside_stop(void)
{
    order o = { .op = OP_STOP };

    ask(&o, "stopping");
    int status = bury();

    KY_WANT(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the pipeline's process ended with %d",
            status);
}

void ky_inside_kill(void)
{
    kill(child, SIGKILL);
    int status = bury();

    KY_WANT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
            "the pipeline's process ended with %d before it was killed", status);
    doomed = false;
    atomic_store(&shown->doom, 0);
}

void ky_inside_doom(int calls)
{
    show_clocks();
    doomed = true;
    atomic_store(&shown->doom, calls);
}

bool ky_inside_dies(void)
{
    return inside && atomic_load(&shown->doom) > 0 && atomic_fetch_sub(&shown->doom, 1) == 1;
}
