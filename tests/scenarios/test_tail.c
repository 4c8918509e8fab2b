/*
 * kymod was killed with records in its journal that results.db does not include yet, and comes
 * back under another configuration: the class of those records is gone, or its model takes another
 * number of values. They can no longer be answered, but that they were taken is still known: their
 * senders go on with the next number, and no stream gets the number of another.
 */
#include <stdio.h>

#include "tests/scenarios/harness.h"

static const char ini[] = "[kymod]\nstate_dir = state\nruntime_dir = run\nlanes = 2\n"
                          "commit_interval = 60s\n"
                          "[source:in]\nendpoint = ipc://%s/in\nsocket = router\n"
                          "[stream:%s]\nmatch = %s\nmodel = %s\n"
                          "[model:%s]\nfile = %s.h5\n";

enum { BEFORE = 3 };

static void configure(ky_scene *s, char path[320], const char *class_, const char *match,
                      const char *model)
{
    char text[1024];

    snprintf(text, sizeof(text), ini, s->dir, class_, match, model, model, model);
    snprintf(path, 320, "%s", ky_scene_write(s, "kymod.ini", text));
}

static void say_text(ky_sender *s, uint64_t number, const char *text, size_t len)
{
    for (int round = 0; s->acked < number; round++) {
        KY_WANT(round < 3000, "message %llu is not acknowledged", (unsigned long long)number);
        if (s->sent < number)
            ky_sender_send(s, number, text, len);
        ky_sender_listen(s, 20);
    }
}

static void say(ky_sender *s, uint64_t number, const char *stream, int values)
{
    char text[200];
    int len = snprintf(text, sizeof(text), "{\"stream\":\"%s\",\"x\":[", stream);

    for (int f = 0; f < values; f++)
        len += snprintf(text + len, sizeof(text) - (size_t)len, "%s0.5", f > 0 ? "," : "");
    len += snprintf(text + len, sizeof(text) - (size_t)len, "]}");
    say_text(s, number, text, (size_t)len);
}

/* The second configuration's class, the ids it takes, its model and that model's values. */
static void run(const char *class_, const char *match, const char *stream, const char *model,
                int values)
{
    char path[320], other[340], in[320], sql[300];
    ky_sender sender;
    ky_scene s;
    ky_daemon d;

    ky_scene_open(&s, "tail");
    ky_scene_model(s.model, 9, 11);
    snprintf(other, sizeof(other), "%s/wider.h5", s.dir);
    ky_scene_model(other, 12, 12);
    snprintf(in, sizeof(in), "ipc://%s/in", s.dir);

    configure(&s, path, "pumps", "pump-*", "model");
    ky_daemon_start(&d, &s, NULL, path, NULL);
    ky_sender_open(&sender, in, "a", 1);
    for (uint64_t n = 1; n <= BEFORE; n++)
        say(&sender, n, "pump-1", 9);
    ky_daemon_kill(&d);

    configure(&s, path, class_, match, model);
    ky_daemon_start(&d, &s, NULL, path, NULL);
    ky_daemon_hear(&d, "were left out");
    say(&sender, BEFORE + 1, stream, values);
    KY_WANT(sender.refused == 0, "message %d was refused", BEFORE + 1);
    ky_sender_close(&sender);
    ky_daemon_stop(&d);

    snprintf(sql, sizeof(sql),
             "SELECT count(*) FROM predictions p JOIN streams s ON s.id = "
             "p.stream WHERE class = '%s' AND name = '%s' AND n = 1",
             class_, stream);
    KY_WANT(ky_scene_number(&s, sql) == 1, "%s of class %s is not answered", stream, class_);
    KY_WANT(ky_scene_number(&s, "SELECT count(*) FROM predictions") == 1, "other answers");
    KY_WANT(ky_scene_number(&s, "SELECT count(*) FROM streams WHERE id = 0") == 0,
            "%s has the number that the journal gives to another's records", stream);
    printf("RESULT tail class=%s model=%s\n", class_, model);
    ky_scene_close(&s);
}

/* max_message is lower than what is in the tail. */
static void a_record_larger_than_any_message_may_be_now(void)
{
    enum { STEPS = 1000, VALUES = 300 };
    static char text[2 * STEPS * VALUES + 4 * STEPS + 100];
    const char *lower[] = { "source:in.max_message=16K", NULL };
    char path[320], in[320];
    size_t at = (size_t)snprintf(text, sizeof(text), "{\"stream\":\"pump-1\",\"x\":[");
    ky_sender sender;
    ky_scene s;
    ky_daemon d;

    for (int i = 0; i < STEPS; i++)
        for (int k = 0; k < VALUES; k++)
            at += (size_t)snprintf(text + at, sizeof(text) - at, "%s1%s", k > 0 ? "," : "[",
                                   k < VALUES - 1  ? ""
                                   : i < STEPS - 1 ? "],"
                                                   : "]]}");
    ky_scene_open(&s, "tail");
    ky_scene_model_of(s.model, "lstm:4, dense", VALUES, 11);
    snprintf(in, sizeof(in), "ipc://%s/in", s.dir);
    configure(&s, path, "pumps", "pump-*", "model");
    ky_daemon_start(&d, &s, NULL, path, NULL);
    ky_sender_open(&sender, in, "a", 1);
    say_text(&sender, 1, text, at);
    ky_sender_close(&sender);
    ky_daemon_kill(&d);
    ky_daemon_start(&d, &s, NULL, path, lower);
    ky_daemon_stop(&d);
    int64_t answers = ky_scene_number(&s, "SELECT count(*) FROM predictions");

    printf("RESULT tail bytes=%zu answers=%lld\n", at, (long long)answers);
    KY_WANT(answers == STEPS, "%lld answers, not %d", (long long)answers, STEPS);
    ky_scene_close(&s);
}

int main(void)
{
    a_record_larger_than_any_message_may_be_now();
    run("fans", "fan-*", "fan-1", "model", 9);
    run("pumps", "pump-*", "pump-1", "wider", 12);
    return 0;
}
