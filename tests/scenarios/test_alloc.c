/*
 * The hot path allocates nothing: messages flow through the running pipeline, in this process and
 * over real sockets, and once it has grown to its size no code of ours asks for memory. Counted
 * is what our own objects call; ZeroMQ and SQLite do as they like.
 *
 * What may allocate behind the warm-up, and is not done here: a new stream or sender, a record
 * larger than any before, a state that comes back from results.db, events and rejects. A unit's
 * tables grow to commit_rows and a wave more, once.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/pipeline.h"
#include "tests/full.h"
#include "tests/scenarios/harness.h"

/* -- counting: linked with --wrap -- */

static _Atomic int asked; /* times, while counting */
static _Atomic bool counting;
static _Thread_local bool a_tester; /* its own thread's do not count */
static char first[64];              /* thread and function of the first */

static void count(const char *what)
{
    char thread[16] = "?";

    if (!atomic_load(&counting) || a_tester || atomic_fetch_add(&asked, 1) > 0)
        return;
    pthread_getname_np(pthread_self(), thread, sizeof(thread));
    snprintf(first, sizeof(first), "%s in %s", what, thread);
    if (getenv("KY_KEEP") != NULL) /* for a debugger, to see from where */
        abort();
}

#define WRAP(ret, name, params, args)                                                              \
    ret __real_##name params;                                                                      \
    ret __wrap_##name params;                                                                      \
    ret __wrap_##name params                                                                       \
    {                                                                                              \
        count(#name);                                                                              \
        return __real_##name args;                                                                 \
    }

WRAP(void *, malloc, (size_t n), (n))
WRAP(void *, calloc, (size_t n, size_t size), (n, size))
WRAP(void *, realloc, (void *p, size_t n), (p, n))
WRAP(void *, aligned_alloc, (size_t to, size_t n), (to, n))
WRAP(char *, strdup, (const char *s), (s))

/* -- what flows -- */

enum {
    STREAMS = 160,
    F = 9,
    ROWS = 1300, /* commit_rows. A table doubles: none is near a power of two in a whole unit */
    WARM_UP = 8 * ROWS,
};

static const char common[] =
    "[kymod]\nstate_dir = state\nlanes = 2\nmax_wave = 64\ncommit_rows = 1300\n"
    "commit_interval = 1h\n"
    "[publish:out]\nendpoint = tcp://127.0.0.1:*\n"
    "[model:m]\nfile = model.h5\n";

static const struct setup {
    const char *name, *socket, *ini;
    int every; /* of so many numbers one is left out; 0: none */
} setups[] = {
    { "pull, async", "push",
      "[kymod]\njournal = async\n[source:in]\nendpoint = tcp://127.0.0.1:*\n"
      "[stream:c]\nsources = in\nmodel = m\n",
      0 },
    { "reorder, latest, hold", "push",
      "[kymod]\njournal = async\n[source:in]\nendpoint = tcp://127.0.0.1:*\nreorder = 5ms\n"
      "when_full = latest\n"
      "[stream:c]\nsources = in\nmodel = m\non_gap = hold\nperiod = 20ms\nend_after = 1h\n"
      "emit = change\n",
      6 },
    { "router, sync", "dealer",
      "[source:in]\nendpoint = tcp://127.0.0.1:*\nsocket = router\n"
      "[stream:c]\nsources = in\nmodel = m\n",
      0 },
};

typedef struct flow {
    const struct setup *setup;
    ky_pipeline *p;
    ky_zsock *sock;
    uint64_t sent, acked;
} flow;

static int64_t number_of(ky_pipeline *p, const char *counter)
{
    ky_json *all = ky_pipeline_status(p);
    int64_t n = ky_json_int(ky_json_get(ky_json_get(all, "counters"), counter), -1);

    ky_json_free(all);
    return n;
}

static int write_message(const flow *f, char *buf, size_t size)
{
    uint64_t i = f->sent;
    long long seq = (long long)(i / STREAMS + 1);

    if (f->setup->every > 0)
        seq += seq / f->setup->every;
    return snprintf(buf, size,
                    "{\"stream\":\"s-%03d\",\"seq\":%lld,\"ts\":%.2f,"
                    "\"x\":[0.1,-0.25,1.5,%d,0.75,-1,0.5,0.125,%d]}",
                    (int)(i % STREAMS), seq, 1.7e9 + (double)seq * 0.02, (int)(i % 3),
                    (int)(i % 5));
}

static void send_one(flow *f)
{
    static const uint8_t session[16] = { 1 };
    uint64_t number = f->sent + 1;
    char buf[256];
    int len = write_message(f, buf, sizeof(buf));
    ky_zframe all[] = {
        { "tester", 6 }, { session, 16 }, { &number, sizeof(number) }, { buf, (size_t)len }
    };
    bool plain = strcmp(f->setup->socket, "push") == 0;
    ky_err err;

    KY_WANT(ky_zsock_send(f->sock, plain ? all + 3 : all, plain ? 1 : 4, 60000, &err) == KY_OK,
            "%s", err.text);
    f->sent++;
}

/* Acknowledgements are taken, so that the daemon goes on writing them. */
static void listen(flow *f)
{
    ky_zframe got[3];

    while (strcmp(f->setup->socket, "dealer") == 0 && f->acked + 500 < f->sent &&
           ky_zsock_recv(f->sock, got, 3, 60000, NULL) >= 2)
        memcpy(&f->acked, got[1].data, sizeof(f->acked));
}

static bool all_taken(void *arg)
{
    flow *f = arg;

    return number_of(f->p, "answers") + number_of(f->p, "rejected") +
               number_of(f->p, "duplicates") >=
           (int64_t)f->sent;
}

static void pour(flow *f, int messages)
{
    for (int i = 0; i < messages; i++) {
        send_one(f);
        listen(f);
    }
    KY_WANT(ky_within(120000, all_taken, f), "%s: %lld of %llu are answered", f->setup->name,
            (long long)number_of(f->p, "answers"), (unsigned long long)f->sent);
}

static ky_pipeline *start(const ky_scene *s, const struct setup *setup, ky_config **ret_cfg)
{
    char text[2048], state[400], model[400];
    const char *overrides[] = { state, model, NULL };
    ky_problems problems;
    ky_pipeline *p = NULL;
    ky_err err = { 0 };

    snprintf(text, sizeof(text), "%s%s", common, setup->ini);
    snprintf(state, sizeof(state), "kymod.state_dir=%s/%s", s->dir, setup->socket);
    snprintf(model, sizeof(model), "model:m.file=%s", s->model);
    KY_WANT(ky_config_load(ky_scene_write(s, "kymod.ini", text), overrides, ret_cfg, &problems) ==
                KY_OK,
            "%s", problems.n > 0 ? problems.text[0] : "no configuration");
    ky_problems_done(&problems);
    KY_WANT(ky_pipeline_new(*ret_cfg, &p, &err) == KY_OK, "%s", err.text);
    return p;
}

static void connect_to(flow *f)
{
    ky_json *all = ky_pipeline_status(f->p);
    const ky_json *in = ky_json_get(ky_json_get(all, "sources"), "in");
    ky_err err;

    KY_WANT(ky_zsock_open(f->setup->socket, ky_json_str(ky_json_get(in, "address"), ""), false,
                          1000, &f->sock, &err) == KY_OK,
            "%s", err.text);
    ky_zsock_linger(f->sock, 0);
    ky_json_free(all);
}

static void nothing_is_allocated(const ky_scene *s, const struct setup *setup, int messages)
{
    ky_config *cfg = NULL;
    flow f = { .setup = setup, .p = start(s, setup, &cfg) };

    connect_to(&f);
    pour(&f, WARM_UP);
    atomic_store(&asked, 0);
    atomic_store(&counting, true);
    pour(&f, messages);
    atomic_store(&counting, false);
    printf("RESULT allocations setup='%s' messages=%d answers=%lld asked=%d\n", setup->name,
           messages, (long long)number_of(f.p, "answers"), atomic_load(&asked));
    KY_WANT(atomic_load(&asked) == 0, "%s: memory was asked for %d times, first by %s", setup->name,
            atomic_load(&asked), first);
    ky_zsock_close(f.sock);
    ky_pipeline_stop(f.p);
    ky_pipeline_free(f.p);
    ky_config_free(cfg);
}

int main(void)
{
    ky_scene s;

    a_tester = true;
    ky_scene_open(&s, "alloc");
    ky_scene_model(s.model, F, 11);
    for (size_t i = 0; i < sizeof(setups) / sizeof(*setups); i++)
        nothing_is_allocated(&s, &setups[i], ky_test_full() ? 100000 : 4000);
    ky_scene_close(&s);
    return 0;
}
