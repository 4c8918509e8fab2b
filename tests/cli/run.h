/*
 * What the tests of kymo share: a directory of their own, and the built program run in it.
 */
#ifndef KY_TESTS_CLI_RUN_H
#define KY_TESTS_CLI_RUN_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "models/json.h"

extern char **environ;

static char dir[256], kymo[4200];

enum { MOST_ARGS = 32 };

typedef struct ran {
    int code;
    char out[16384], err[16384];
} ran;

static inline char *in_dir(const char *name, char *buffer)
{
    snprintf(buffer, 4096, "%s/%s", dir, name);
    return buffer;
}

static inline void slurp(const char *path, char *into, size_t size)
{
    FILE *f = fopen(path, "r");

    assert_non_null(f);
    into[fread(into, 1, size - 1, f)] = 0;
    fclose(f);
}

/* The program with words between bars, behind the n words of another that runs it. */
static inline pid_t start_by(char *const *before, int n, const char *words, int out, int err)
{
    static char text[8192];
    char *argv[MOST_ARGS + 8] = { NULL };
    posix_spawn_file_actions_t io;
    pid_t pid;

    assert_true(n <= 6);
    for (int i = 0; i < n; i++)
        argv[i] = before[i];
    argv[n++] = kymo;
    snprintf(text, sizeof text, "%s", words);
    for (char *w = strtok(text, "|"); w != NULL && n < MOST_ARGS; w = strtok(NULL, "|"))
        argv[n++] = w;
    posix_spawn_file_actions_init(&io);
    posix_spawn_file_actions_addchdir_np(&io, dir);
    posix_spawn_file_actions_adddup2(&io, out, 1);
    posix_spawn_file_actions_adddup2(&io, err, 2);
    assert_int_equal(posix_spawn(&pid, argv[0], &io, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&io);
    return pid;
}

static inline pid_t start(const char *words, int out, int err)
{
    return start_by(NULL, 0, words, out, err);
}

static inline int end_of(pid_t pid)
{
    int status;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Words between bars, in the directory of the test. */
static inline ran *run(const char *words)
{
    static ran r;
    char path[2][4096];
    int fd[2];

    for (int i = 0; i < 2; i++) {
        in_dir(i == 0 ? ".out" : ".err", path[i]);
        fd[i] = open(path[i], O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
        assert_true(fd[i] >= 0);
    }
    r.code = end_of(start(words, fd[0], fd[1]));
    close(fd[0]);
    close(fd[1]);
    slurp(path[0], r.out, sizeof r.out);
    slurp(path[1], r.err, sizeof r.err);
    return &r;
}

static inline void run_well(const char *words)
{
    ran *r = run(words);

    if (r->code != 0)
        fail_msg("kymo %s: exit %d: %s", words, r->code, r->err);
}

/* Sanitizers keep what is freed. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
static const bool watched __attribute__((unused)) = true;
#elif defined(__has_feature)
static const bool watched __attribute__((unused)) = __has_feature(address_sanitizer) ||
                                                    __has_feature(thread_sanitizer) ||
                                                    __has_feature(memory_sanitizer);
#else
static const bool watched __attribute__((unused)) = false;
#endif

/* Most memory that the command ever had, KiB. What a program's parent has counts as its own; so its
 * parent is a shell, and when that is gone it is ours. */
static inline long memory_of(const char *words)
{
    static char sh[] = "/bin/sh", c[] = "-c", run_it[] = "\"$@\" >/dev/null 2>&1 & echo $!";
    char *const shell[] = { sh, c, run_it, sh };
    char said[32] = "";
    struct rusage used;
    int io[2], status, null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    pid_t pid;

    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    assert_int_equal(pipe2(io, O_CLOEXEC), 0);
    pid = start_by(shell, 4, words, io[1], null);
    close(io[1]);
    close(null);
    assert_true(read(io[0], said, sizeof said - 1) > 0);
    close(io[0]);
    assert_int_equal(end_of(pid), 0);
    pid = (pid_t)atoi(said);
    assert_int_equal(wait4(pid, &status, 0, &used), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return used.ru_maxrss;
}

/* A command line interrupted when it has said this on stderr, which is read to its end; stdout goes
 * to a file of the directory. The exit code. */
static inline int interrupted_at(const char *words, const char *said, const char *out)
{
    char text[4096] = "", path[4096];
    size_t n = 0;
    int io[2], fd = open(in_dir(out, path), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
    pid_t pid;

    assert_true(fd >= 0);
    assert_int_equal(pipe2(io, O_CLOEXEC), 0);
    pid = start(words, fd, io[1]);
    close(io[1]);
    close(fd);
    while (strstr(text, said) == NULL && n < sizeof text - 1) {
        ssize_t got = read(io[0], text + n, sizeof text - 1 - n);

        assert_true(got > 0);
        n += (size_t)got;
        text[n] = 0;
    }
    kill(pid, SIGINT);
    while (read(io[0], text, sizeof text) > 0)
        continue;
    close(io[0]);
    return end_of(pid);
}

/* A command line, its exit code, and what it must say on stderr. */
typedef struct told {
    const char *words, *said;
    int code;
} told;

static inline void assert_told(const told *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        ran *r = run(cases[i].words);

        if (r->code != cases[i].code || strstr(r->err, cases[i].said) == NULL)
            fail_msg("kymo %s: exit %d, said: %s", cases[i].words, r->code, r->err);
    }
}

static inline int files_in_dir(void)
{
    DIR *d = opendir(dir);
    int n = 0;

    assert_non_null(d);
    while (readdir(d) != NULL)
        n++;
    closedir(d);
    return n;
}

static inline bool same_bytes(const char *a, const char *b)
{
    char path[2][4096], *bytes[2];
    struct stat st[2];
    bool same;

    for (int i = 0; i < 2; i++) {
        FILE *f = fopen(in_dir(i == 0 ? a : b, path[i]), "r");

        assert_non_null(f);
        assert_int_equal(fstat(fileno(f), &st[i]), 0);
        bytes[i] = malloc((size_t)st[i].st_size + 1);
        assert_int_equal(fread(bytes[i], 1, (size_t)st[i].st_size, f), st[i].st_size);
        fclose(f);
    }
    same = st[0].st_size == st[1].st_size && memcmp(bytes[0], bytes[1], (size_t)st[0].st_size) == 0;
    free(bytes[0]);
    free(bytes[1]);
    return same;
}

static inline ky_json *report_of(const ran *r)
{
    ky_json *o = NULL;
    ky_err err;

    if (ky_json_parse(r->out, strlen(r->out), false, &o, &err) != KY_OK)
        fail_msg("%s: %s", err.text, r->out);
    return o;
}

/* Makes the directory and finds the program. */
static inline int run_begin(void)
{
    const char *tmp = getenv("TMPDIR"), *build = getenv("KY_BUILDDIR");
    char cwd[4096];

    snprintf(kymo, sizeof kymo, "%s/kymo", build != NULL ? build : getcwd(cwd, sizeof cwd));
    snprintf(dir, sizeof dir, "%s/kymo-test-XXXXXX", tmp != NULL ? tmp : "/tmp");
    return mkdtemp(dir) != NULL ? 0 : -1;
}

static inline int run_unlink(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static inline int run_end(void)
{
    return nftw(dir, run_unlink, 16, FTW_DEPTH | FTW_PHYS);
}

/* All tests of a program in one directory. */
static inline int run_set_up(void **state)
{
    (void)state;
    return run_begin();
}

static inline int run_tear_down(void **state)
{
    (void)state;
    return run_end();
}

#endif
