/*
 * What is published when: emit = every, change and end; ids that need escaping come back as they
 * were; without a time the arrival stands in. And the daemon's own options and signals.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "tests/scenarios/harness.h"

static const char ini[] =
    "[kymod]\nstate_dir = state\nruntime_dir = run\nlanes = 1\ncommit_interval = 50ms\n"
    "[source:in]\nendpoint = tcp://127.0.0.1:*\n"
    "[stream:ends]\nmatch = end-*\nmodel = m\nemit = end\n"
    "[stream:changes]\nmatch = change-*\nmodel = m\nemit = change\n"
    "[stream:rest]\nmatch = *\nmodel = m\n"
    "[model:m]\nfile = model.h5\n"
    "[publish:one]\nendpoint = tcp://127.0.0.1:*\n"
    "[publish:two]\nendpoint = ipc://%s/two\n";

static void say(ky_zsock *push, const char *stream, int sample, const char *more)
{
    char text[400];
    ky_zframe f = { text, 0 };
    ky_err err;

    f.len = (size_t)snprintf(text, sizeof(text),
                             "{\"stream\":\"%s\",\"x\":[%d,1,-1,0.5,2,-2,0,1,%d]%s}", stream,
                             sample, -sample, more);
    KY_WANT(ky_zsock_send(push, &f, 1, 10000, &err) == KY_OK, "%s", err.text);
}

/* The next answer that is not a probe's; its topic must be the class and the name. */
static ky_json *hear(ky_zsock *sub)
{
    char topic[400];
    ky_zframe f[2];
    ky_json *j;
    ky_err err;

    for (;;) {
        KY_WANT(ky_zsock_recv(sub, f, 2, 30000, NULL) == 2, "nothing was published");
        KY_WANT(ky_json_parse(f[1].data, f[1].len, false, &j, &err) == KY_OK, "%.*s: %s",
                (int)f[1].len, (const char *)f[1].data, err.text);
        const char *name = ky_json_str(ky_json_get(j, "stream"), "");

        snprintf(topic, sizeof(topic), "%s/%s/", ky_json_str(ky_json_get(j, "class"), ""), name);
        KY_WANT(f[0].len == strlen(topic) && memcmp(f[0].data, topic, f[0].len) == 0, "topic of %s",
                name);
        if (strcmp(name, "probe") != 0)
            return j;
        ky_json_free(j);
    }
}

typedef struct said {
    const char *stream;
    int64_t n, pub;
} said;

/* What one answer is like; streams come in any order, each in its own. */
static void check_answer(const ky_json *j, const said *list, int n_list, bool *seen)
{
    const char *name = ky_json_str(ky_json_get(j, "stream"), "");
    int64_t n = ky_json_int(ky_json_get(j, "n"), 0), pub = ky_json_int(ky_json_get(j, "pub"), 0);
    double sum = 0;
    int i = 0;

    while (i < n_list && (seen[i] || strcmp(list[i].stream, name) != 0))
        i++;
    KY_WANT(i < n_list && list[i].n == n && list[i].pub == pub,
            "an answer that should not be here: %s n %lld pub %lld", name, (long long)n,
            (long long)pub);
    seen[i] = true;
    KY_WANT(ky_json_get(j, "seq") == NULL, "%s: a seq that nobody gave", name);
    KY_WANT(ky_json_num(ky_json_get(j, "ts"), 0) > 1.7e9, "%s: no time", name);
    KY_WANT(strcmp(ky_json_str(ky_json_get(j, "model"), ""), "m@1") == 0, "%s: model", name);
    KY_WANT(strcmp(ky_json_str(ky_json_get(j, "quality"), ""), "ok") == 0, "%s: quality", name);
    const ky_json *probs = ky_json_get(j, "probs");

    for (const char *k = ky_json_next_key(probs, NULL); k != NULL; k = ky_json_next_key(probs, k))
        sum += ky_json_num(ky_json_get(probs, k), 0);
    KY_WANT(sum > 0.999 && sum < 1.001, "%s: probabilities sum to %g", name, sum);
}

static void expect(ky_zsock *sub, const said *list, int n_list)
{
    bool seen[16] = { false };

    for (int i = 0; i < n_list; i++) {
        ky_json *j = hear(sub);

        check_answer(j, list, n_list, seen);
        ky_json_free(j);
    }
}

static ky_zsock *subscribe(ky_zsock *push, const char *address)
{
    ky_zframe f[2];
    ky_zsock *sub;
    ky_err err;

    KY_WANT(ky_zsock_open("sub", address, false, 0, &sub, &err) == KY_OK &&
                ky_zsock_subscribe(sub, "", &err) == KY_OK,
            "%s", err.text);
    for (int i = 0; i < 1000; i++) {
        say(push, "probe", i, "");
        if (ky_zsock_recv(sub, f, 2, 20, NULL) == 2)
            return sub;
    }
    ky_flunk("the subscription never arrived");
}

static void play(ky_zsock *push)
{
    for (int i = 0; i < 8; i++)
        say(push, "end-1", i, i % 4 == 0 ? ",\"start\":true" : i % 4 == 3 ? ",\"end\":true" : "");
    for (int i = 0; i < 5; i++)
        say(push, "change-1", 3, ",\"start\":true");
    say(push, "a\\\"b\\\\c/d \\u00fc {%s}", 1, "");
    say(push, "every", 1, "");
    say(push, "every", 2, "");
}

static const said all[] = {
    { "end-1", 4, 1 }, { "end-1", 8, 2 }, { "change-1", 1, 1 },
    { "every", 1, 1 }, { "every", 2, 2 }, { "a\"b\\c/d \xc3\xbc {%s}", 1, 1 },
};
static const said after[] = { { "after", 1, 1 } };

static void check_options(const ky_scene *s)
{
    char command[1200];

    snprintf(command, sizeof(command), "%s --check-config -c %s/kymod.ini >%s/checked", s->kymod,
             s->dir, s->dir);
    KY_WANT(system(command) == 0, "--check-config");
    snprintf(command, sizeof(command), "grep -q 'bytes a stream' %s/checked", s->dir);
    KY_WANT(system(command) == 0, "--check-config does not say what a stream costs");
    snprintf(command, sizeof(command), "%s --version | grep -q '^kymod [0-9]'", s->kymod);
    KY_WANT(system(command) == 0, "--version");
    snprintf(command, sizeof(command), "%s --help | grep -q check-config", s->kymod);
    KY_WANT(system(command) == 0, "--help");
    snprintf(command, sizeof(command), "%s --nonsense 2>/dev/null", s->kymod);
    KY_WANT(system(command) == EX_USAGE << 8, "an unknown option");
}

int main(void)
{
    char text[1200], path[320], two[320];
    ky_zsock *push, *a, *b;
    ky_scene s;
    ky_daemon d;
    ky_err err;

    ky_scene_open(&s, "publish");
    ky_scene_model(s.model, 9, 11);
    snprintf(text, sizeof(text), ini, s.dir);
    snprintf(path, sizeof(path), "%s", ky_scene_write(&s, "kymod.ini", text));
    check_options(&s);
    ky_daemon_start(&d, &s, NULL, path, NULL);
    KY_WANT(ky_zsock_open("push", ky_daemon_address(&d, "source=in"), false, 0, &push, &err) ==
                KY_OK,
            "%s", err.text);
    snprintf(two, sizeof(two), "ipc://%s/two", s.dir);
    a = subscribe(push, ky_daemon_address(&d, "publisher=one"));
    b = subscribe(push, two);
    play(push);
    expect(a, all, 6);
    expect(b, all, 6);
    kill(d.pid, SIGHUP);
    say(push, "after", 1, "");
    expect(a, after, 1);
    ky_daemon_hear(&d, "SIGHUP");
    ky_zsock_close(push);
    ky_zsock_close(a);
    ky_zsock_close(b);
    ky_daemon_stop(&d);
    printf("RESULT publish ok\n");
    ky_scene_close(&s);
    return 0;
}
