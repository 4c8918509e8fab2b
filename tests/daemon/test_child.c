/* Child processes: what they inherit, how they end, what they said. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "daemon/child.h"

/* Runs a shell command to its end; returns its exit status. */
static int run(ky_child *c, const char *command)
{
    char sh[] = "/bin/sh", minus_c[] = "-c", text[2000];
    char *argv[] = { sh, minus_c, text, NULL };
    const struct timespec step = { 0, 1000000 };
    ky_err err;
    int status;

    snprintf(text, sizeof(text), "%s", command);
    assert_int_equal(ky_child_start(c, argv, &err), KY_OK);
    while (!ky_child_ended(c, &status))
        nanosleep(&step, NULL); /* between questions */
    return status;
}

static void what_it_says_and_how_it_ends_is_known(void **state)
{
    ky_child c;
    char *out, *err;

    (void)state;
    assert_int_equal(run(&c, "echo one; echo two >&2; exit 3"), 3);
    out = ky_child_said(&c, false);
    err = ky_child_said(&c, true);
    assert_string_equal(out, "one\n");
    assert_string_equal(err, "two\n");
    free(out);
    free(err);
    ky_child_done(&c);
    assert_int_equal(run(&c, "kill -KILL $$"), 128 + SIGKILL);
    ky_child_done(&c);
}

static void a_program_that_is_not_there_ends_with_127(void **state)
{
    char path[] = "/no/such/program";
    char *argv[] = { path, NULL };
    const struct timespec step = { 0, 1000000 };
    ky_child c;
    ky_err err;
    int status = 0;

    (void)state;
    assert_int_equal(ky_child_start(&c, argv, &err), KY_OK);
    while (!ky_child_ended(&c, &status))
        nanosleep(&step, NULL); /* between questions */
    assert_int_equal(status, 127);
    ky_child_done(&c);
}

/* A lock that the child had would hold the state directory after kymod is gone. */
static void nothing_is_inherited_but_three_descriptors(void **state)
{
    int kept = open("/dev/null", O_RDONLY); /* without O_CLOEXEC */
    ky_child c;
    char *out;

    (void)state;
    assert_true(kept >= 0);
    run(&c, "ls /proc/$$/fd; :"); /* no pipe: the shell would hold its ends for a moment */
    out = ky_child_said(&c, false);
    /* A shell may hold one of its own above 9. */
    assert_int_equal(strncmp(out, "0\n1\n2\n", 6), 0);
    assert_true(out[6] == '\0' || strlen(out + 6) == 3 || atoi(out + 6) >= 10);
    free(out);
    ky_child_done(&c);
    close(kept);
}

static void signals_are_as_a_program_expects_them(void **state)
{
    unsigned long long blocked, ignored;
    sigset_t all, before;
    ky_child c;
    char *out;

    (void)state;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    signal(SIGPIPE, SIG_IGN);
    run(&c, "grep -E '^Sig(Blk|Ign)' /proc/self/status | tr -d '\\t\\n'");
    out = ky_child_said(&c, false);
    assert_int_equal(sscanf(out, "SigBlk:%llxSigIgn:%llx", &blocked, &ignored), 2);
    assert_int_equal(blocked, 0);
    assert_int_equal(ignored & 1u << (SIGPIPE - 1), 0);
    free(out);
    ky_child_done(&c);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    signal(SIGPIPE, SIG_DFL);
}

static void it_dies_with_its_parent(void **state)
{
    int fds[2], status;
    char text[64] = "";
    pid_t child, grandchild;

    (void)state;
    assert_int_equal(pipe(fds), 0);
    prctl(PR_SET_CHILD_SUBREAPER, 1); /* so that we see the grandchild's end */
    child = fork();
    if (child == 0) {
        char sleep[] = "/bin/sleep", long_time[] = "600";
        char *argv[] = { sleep, long_time, NULL };
        ky_child c;
        ky_err err;

        if (ky_child_start(&c, argv, &err) < 0)
            _exit(1);
        dprintf(fds[1], "%d", (int)c.pid);
        _exit(0); /* without ending it */
    }
    close(fds[1]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_true(read(fds[0], text, sizeof(text) - 1) > 0);
    grandchild = (pid_t)atoi(text);
    assert_int_equal(waitpid(grandchild, &status, 0), grandchild);
    /* Killed; or, where a sanitizer makes a fork of vfork, it saw its parent gone and left. */
    assert_true((WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) ||
                (WIFEXITED(status) && WEXITSTATUS(status) == 127));
    close(fds[0]);
}

static void it_is_killed_when_it_is_not_wanted_any_more(void **state)
{
    char sh[] = "/bin/sh", minus_c[] = "-c", text[] = "trap '' TERM INT; while :; do :; done";
    char *argv[] = { sh, minus_c, text, NULL };
    ky_child c;
    ky_err err;
    int status;
    pid_t pid;

    (void)state;
    assert_int_equal(ky_child_start(&c, argv, &err), KY_OK);
    pid = c.pid;
    assert_false(ky_child_ended(&c, &status));
    ky_child_done(&c);
    assert_int_equal(kill(pid, 0), -1);
    ky_child_done(&c); /* again is fine */
}

static void one_that_talks_without_end_is_noticed(void **state)
{
    ky_child c;
    char *out;

    (void)state;
    run(&c, "head -c 2000000 /dev/zero | tr '\\0' x");
    assert_true(ky_child_raves(&c));
    out = ky_child_said(&c, false);
    assert_int_equal(strlen(out), KY_CHILD_SAYS_MAX);
    free(out);
    ky_child_done(&c);
    run(&c, "echo little");
    assert_false(ky_child_raves(&c));
    ky_child_done(&c);
}

static void a_program_that_is_nowhere_is_said(void **state)
{
    char path[4096];
    ky_err err;

    (void)state;
    assert_int_equal(ky_child_find("no-such-program-of-kymo", path, sizeof(path), &err), KY_ENOENT);
    assert_non_null(strstr(err.text, "there is no program 'no-such-program-of-kymo' in /"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_it_says_and_how_it_ends_is_known),
        cmocka_unit_test(a_program_that_is_not_there_ends_with_127),
        cmocka_unit_test(nothing_is_inherited_but_three_descriptors),
        cmocka_unit_test(signals_are_as_a_program_expects_them),
        cmocka_unit_test(it_dies_with_its_parent),
        cmocka_unit_test(it_is_killed_when_it_is_not_wanted_any_more),
        cmocka_unit_test(one_that_talks_without_end_is_noticed),
        cmocka_unit_test(a_program_that_is_nowhere_is_said),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
