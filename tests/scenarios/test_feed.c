/*
 * What a user does: `kymo feed --ack` plays windows as 40 streams while kymod is stopped and
 * started, or killed, five times in the middle of them. The predictions are those of a run that
 * nothing happened to, and feed says that all was taken (P4, P5).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/scenarios/harness.h"

enum how { NEVER, TERM, KILL };

static const char ini[] = "[kymod]\nstate_dir = state\nruntime_dir = run\nlanes = 2\n"
                          "commit_interval = 100ms\n"
                          "[source:in]\nendpoint = ipc://%s/in\nsocket = router\n"
                          "[stream:har]\nmatch = s*\nmodel = m\n"
                          "[model:m]\nfile = model.h5\n";

static pid_t feed(const ky_scene *s, const char *windows)
{
    char program[512], data[400], to[400];
    const char *build = getenv("KY_BUILDDIR");
    pid_t pid;

    snprintf(program, sizeof(program), "%s/kymo", build != NULL ? build : ".");
    snprintf(data, sizeof(data), "%s:X_test", windows);
    snprintf(to, sizeof(to), "ipc://%s/in", s->dir);
    pid = fork();
    KY_WANT(pid >= 0, "fork: %s", strerror(errno));
    if (pid == 0) {
        execl(program, program, "feed", data, "--to", to, "--ack", "--streams", "40",
              "--interleave", "7", "--rate", "3000", "--sender", "feeder", "--timeout", "30",
              "--quiet", (char *)NULL);
        _exit(127);
    }
    return pid;
}

typedef struct progress {
    const ky_scene *s;
    int64_t n;
} progress;

static bool far_enough(void *arg)
{
    const progress *p = arg;

    return ky_scene_number(p->s, "SELECT count(*) FROM predictions") >= p->n;
}

static uint64_t run(const char *name, enum how how)
{
    int64_t recovered = 0, total;
    char text[1024], path[320];
    int status;
    ky_windows w;
    ky_scene s;
    ky_daemon d;

    ky_scene_open(&s, name);
    ky_windows_make(&w, &s, 160, 32, false);
    total = (int64_t)w.n * w.T;
    float *y = ky_windows_answers(&w, s.model);

    snprintf(text, sizeof(text), ini, s.dir);
    snprintf(path, sizeof(path), "%s", ky_scene_write(&s, "kymod.ini", text));
    ky_daemon_start(&d, &s, NULL, path, NULL);
    pid_t pid = feed(&s, ky_windows_file(&w, &s));

    for (int i = 1; how != NEVER && i <= 5; i++) {
        progress p = { &s, total * i / 6 };

        KY_WANT(ky_within(60000, far_enough, &p), "the feed does not go on");
        if (how == TERM)
            ky_daemon_stop(&d);
        else
            ky_daemon_kill(&d);
        ky_daemon_start(&d, &s, NULL, path, NULL);
        recovered += ky_daemon_said(&d, "records of the journal that were not committed");
    }
    KY_WANT(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0,
            "kymo feed ended with %d", status);
    ky_daemon_stop(&d);
    int64_t wrong = ky_scene_compare(&s, &w, y);
    uint64_t hash = ky_scene_hash(&s, "SELECT stream, name, n, model, role, version, seq, label, "
                                      "score, probs, quality, time_source, kernel_abi FROM "
                                      "predictions p JOIN streams s ON s.id = p.stream "
                                      "ORDER BY stream, n");

    printf("RESULT feed %s answers=%lld missing_or_wrong=%lld recovered=%lld predictions=%016llx\n",
           name, (long long)total, (long long)wrong, (long long)recovered,
           (unsigned long long)hash);
    KY_WANT(wrong == 0, "answers are missing or wrong");
    KY_WANT(how != KILL || recovered > 0, "no kill hit between a wave and its commit");
    free(y);
    ky_windows_done(&w);
    ky_scene_close(&s);
    return hash;
}

int main(void)
{
    uint64_t whole = run("feed-never", NEVER), stopped = run("feed-term", TERM),
             killed = run("feed-kill", KILL);

    KY_WANT(stopped == whole, "P4: stopped and started, they differ");
    KY_WANT(killed == whole, "P5: killed, they differ");
    return 0;
}
