/*
 * Two sources are flooded while another process holds the lock of results.db, so that nothing
 * can be answered: one drops its oldest samples, one keeps each stream's newest, neither makes its
 * sender wait, and what they hold is bounded. When the lock is gone all is as it was: what was
 * sent was either answered or counted as dropped, in order, the newest sample of each stream of
 * the second source is answered, and an acknowledged source has lost nothing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/scenarios/harness.h"

enum { STREAMS = 20, BURST = 500, WORTH_DROPPING = 2000, MOST = 2000000 };

static const char ini[] =
    "[kymod]\nstate_dir = state\nruntime_dir = run\nlanes = 2\ncommit_rows = 100\n"
    "commit_interval = 50ms\n"
    "[source:old]\nendpoint = tcp://127.0.0.1:*\nwhen_full = drop_oldest\nqueue_size = 64K\n"
    "max_message = 1K\nhwm = 1000\n"
    "[source:new]\nendpoint = tcp://127.0.0.1:*\nwhen_full = latest\nqueue_size = 64K\n"
    "max_message = 1K\nhwm = 1000\n"
    "[source:in]\nendpoint = tcp://127.0.0.1:*\nsocket = router\n"
    "[stream:old]\nsources = old\nmodel = m\n[stream:new]\nsources = new\nmodel = m\n"
    "[stream:har]\nsources = in\nmodel = m\n"
    "[model:m]\nfile = model.h5\n";

/* A flooded source, named as its class. */
typedef struct flood {
    const char *name;
    ky_zsock *push;
    int64_t sent, dropped, fill, bytes;
} flood;

static void open_flood(flood *f, const char *name, const ky_daemon *d)
{
    char what[32];
    ky_err err;

    *f = (flood){ .name = name };
    snprintf(what, sizeof(what), "source=%s", name);
    KY_WANT(ky_zsock_open("push", ky_daemon_address(d, what), false, 100, &f->push, &err) == KY_OK,
            "%s", err.text);
}

/* Nobody makes the sender wait, whatever happens behind. */
static void send_burst(flood *f)
{
    for (int i = 0; i < BURST; i++) {
        char text[160];
        int n = snprintf(text, sizeof(text),
                         "{\"stream\":\"%s-%d\",\"seq\":%lld,\"x\":[1,2,3,4,5,6,7,8,%lld]}",
                         f->name, (int)(f->sent % STREAMS), (long long)(f->sent / STREAMS + 1),
                         (long long)f->sent);
        ky_zframe frame = { text, (size_t)n };
        ky_err err;

        KY_WANT(ky_zsock_send(f->push, &frame, 1, 20000, &err) == KY_OK, "%s: the sender waits: %s",
                f->name, err.text);
        f->sent++;
    }
}

static void look(flood *f, const ky_json *status)
{
    const ky_json *s = ky_json_get(ky_json_get(ky_json_get(status, "status"), "sources"), f->name);

    f->dropped = ky_json_int(ky_json_get(s, "dropped"), -1);
    f->fill = ky_json_int(ky_json_get(s, "queue_fill"), -1);
    f->bytes = ky_json_int(ky_json_get(s, "queue_bytes"), -1);
    KY_WANT(f->fill >= 0 && f->fill <= f->bytes && f->bytes == 65536, "%s holds %lld of %lld bytes",
            f->name, (long long)f->fill, (long long)f->bytes);
}

static void look_at_both(flood f[2], const ky_daemon *d)
{
    ky_json *status = ky_daemon_status(d);

    look(&f[0], status);
    look(&f[1], status);
    ky_json_free(status);
}

typedef struct balance {
    const ky_scene *s;
    const ky_daemon *d;
    flood *f;
} balance;

static int64_t answered(const ky_scene *s, const char *class_)
{
    char sql[200];

    snprintf(sql, sizeof(sql),
             "SELECT count(*) FROM predictions p JOIN streams s ON s.id = p.stream WHERE class = "
             "'%s'",
             class_);
    return ky_scene_number(s, sql);
}

static bool all_accounted_for(void *arg)
{
    balance *b = arg;
    bool all = true;

    look_at_both(b->f, b->d);
    for (int i = 0; i < 2; i++)
        all &= answered(b->s, b->f[i].name) + b->f[i].dropped == b->f[i].sent;
    return all;
}

static void check_rows(const ky_scene *s, const flood *f)
{
    char sql[400];

    snprintf(
        sql, sizeof(sql),
        "SELECT count(*) FROM (SELECT seq, lag(seq) OVER (PARTITION BY stream ORDER BY n) AS "
        "before FROM predictions p JOIN streams s ON s.id = p.stream WHERE class = '%s') WHERE "
        "seq <= before",
        f->name);
    KY_WANT(ky_scene_number(s, sql) == 0, "%s: answers out of order", f->name);
    snprintf(
        sql, sizeof(sql),
        "SELECT total(CAST(detail AS INTEGER)) FROM events WHERE object = 'source %s' AND what "
        "= 'dropped'",
        f->name);
    KY_WANT(ky_scene_number(s, sql) == f->dropped, "%s: events tell %lld dropped, the status %lld",
            f->name, (long long)ky_scene_number(s, sql), (long long)f->dropped);
    printf("RESULT pressure %s sent=%lld answered=%lld dropped=%lld\n", f->name, (long long)f->sent,
           (long long)answered(s, f->name), (long long)f->dropped);
}

static void flood_until_both_drop(flood f[2], const ky_daemon *d, ky_sender *sender,
                                  const ky_windows *w, const int *steps)
{
    do {
        KY_WANT(f[0].sent < MOST, "nothing is dropped, and all of it is taken");
        send_burst(&f[0]);
        send_burst(&f[1]);
        ky_sender_round(sender, w, steps, (uint64_t)w->n * (uint64_t)w->T);
        look_at_both(f, d);
    } while (f[0].dropped < WORTH_DROPPING || f[1].dropped < WORTH_DROPPING);
}

int main(void)
{
    ky_sender sender;
    ky_windows w;
    ky_scene s;
    ky_daemon d;
    flood f[2];

    ky_scene_open(&s, "pressure");
    ky_windows_make(&w, &s, 40, 16, false);
    float *y = ky_windows_answers(&w, s.model);
    int *steps = ky_windows_steps(&w);

    ky_daemon_start(&d, &s, NULL, ky_scene_write(&s, "kymod.ini", ini), NULL);
    open_flood(&f[0], "old", &d);
    open_flood(&f[1], "new", &d);
    ky_sender_open(&sender, ky_daemon_address(&d, "source=in"), "steady", 1);

    void *lock = ky_scene_lock(&s);
    flood_until_both_drop(f, &d, &sender, &w, steps);
    KY_WANT(ky_daemon_counter(&d, "commits") < 20, "the lock did not hold");
    KY_WANT(ky_daemon_said(&d, "messages are dropped"), "the log does not tell");
    ky_scene_unlock(lock);

    ky_sender_play(&sender, &w, steps, (uint64_t)w.n * (uint64_t)w.T);
    KY_WANT(ky_within(60000, all_accounted_for, &(balance){ &s, &d, f }),
            "sent %lld, %lld; dropped %lld, %lld; answered %lld, %lld", (long long)f[0].sent,
            (long long)f[1].sent, (long long)f[0].dropped, (long long)f[1].dropped,
            (long long)answered(&s, "old"), (long long)answered(&s, "new"));
    ky_daemon_stop(&d);
    KY_WANT(ky_scene_compare(&s, &w, y) == 0, "the acknowledged source lost answers");
    KY_WANT(ky_daemon_said(&d, "keeps up again"), "the log does not tell that it is over");
    check_rows(&s, &f[0]);
    check_rows(&s, &f[1]);
    KY_WANT(ky_scene_number(&s, "SELECT count(*) FROM (SELECT max(seq) AS last FROM predictions p "
                                "JOIN streams s ON s.id = p.stream WHERE class = 'new' GROUP BY "
                                "name) WHERE last = (SELECT max(seq) FROM predictions p JOIN "
                                "streams s ON s.id = p.stream WHERE class = 'new')") == STREAMS,
            "not every stream's newest sample was answered");
    KY_WANT(ky_scene_number(&s, "SELECT count(*) FROM rejects") == 0, "rejects");
    ky_zsock_close(f[0].push);
    ky_zsock_close(f[1].push);
    ky_sender_close(&sender);
    free(y);
    free(steps);
    ky_windows_done(&w);
    ky_scene_close(&s);
    return 0;
}
