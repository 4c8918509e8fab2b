#include "tests/bench/service.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "models/blueprint.h"

void bench_fail(const char *what, const ky_err *err)
{
    fprintf(stderr, "bench: %s%s%s\n", what, err != NULL ? ": " : "", err != NULL ? err->text : "");
    exit(1);
}

void bench_save_model(const char *path)
{
    static const char *const labels[] = { "a", "b", "c", "d", "e", "f" };
    ky_shape in = { .rank = 2, .d = { KY_ANY, BENCH_F }, .timed = true };
    ky_model *m;
    ky_err err = { 0 };

    if (ky_arch_build("lstm:64, dense", &in, BENCH_CLASSES, true, &m, &err) < 0)
        bench_fail("model", &err);
    ky_model_init(m, 1);
    if (ky_model_pack(m, &err) < 0 || ky_model_set_labels(m, labels, BENCH_CLASSES, &err) < 0 ||
        ky_model_save(m, path, &err) < 0)
        bench_fail("model", &err);
    ky_model_free(m);
}

void bench_open(bench_place *ret)
{
    char path[128];

    snprintf(ret->dir, sizeof(ret->dir), "/tmp/kymo-bench.XXXXXX");
    if (mkdtemp(ret->dir) == NULL)
        bench_fail("no temporary directory", NULL);
    snprintf(ret->in, sizeof(ret->in), "ipc://%s/in", ret->dir);
    snprintf(ret->out, sizeof(ret->out), "ipc://%s/out", ret->dir);
    snprintf(path, sizeof(path), "%s/model.h5", ret->dir);
    bench_save_model(path);
}

void bench_close(const bench_place *p)
{
    char command[128];

    snprintf(command, sizeof(command), "rm -rf %s", p->dir);
    if (system(command) != 0)
        bench_fail("the temporary directory stays", NULL);
}

pid_t bench_start_kymod(const char *dir, const char *ini)
{
    static int runs;
    const char *build = getenv("KY_BUILDDIR");
    char path[128], program[4096];

    snprintf(path, sizeof(path), "%s/kymod-%d.ini", dir, runs++);
    FILE *f = fopen(path, "w");
    if (f == NULL ||
        fprintf(f, "%s[kymod]\nruntime_dir = %s/run\n[model:bench]\nfile = %s/model.h5\n", ini, dir,
                dir) < 0 ||
        fclose(f) != 0)
        bench_fail("cannot write the configuration", NULL);
    snprintf(program, sizeof(program), "%s/kymod", build != NULL ? build : ".");
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execl(program, "kymod", "-c", path, "--log-level", "warn", (char *)NULL);
        _exit(127);
    }
    return pid;
}

void bench_stop(pid_t pid)
{
    int status;

    kill(pid, SIGTERM);
    waitpid(pid, &status, 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        bench_fail("the service did not end cleanly", NULL);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

double bench_quantile(double *v, int n, double p)
{
    if (n > 0)
        qsort(v, (size_t)n, sizeof(*v), by_value);
    return n > 0 ? v[(int)(n * p)] : 0;
}

/* -- threads -- */

static double number_in(const char *path)
{
    FILE *f = fopen(path, "r");
    double v = 0;

    if (f == NULL || fscanf(f, "%lf", &v) != 1)
        v = 0;
    if (f != NULL)
        fclose(f);
    return v;
}

static void add_thread(bench_threads *t, const char *name, double ns)
{
    int i = 0;

    while (i < t->n && strcmp(t->row[i].name, name) != 0)
        i++;
    if (i == (int)(sizeof(t->row) / sizeof(t->row[0])))
        return;
    if (i == t->n)
        snprintf(t->row[t->n++].name, sizeof(t->row[0].name), "%s", name);
    t->row[i].ns += ns;
}

void bench_threads_look(pid_t pid, bench_threads *ret)
{
    char path[300], name[24];
    struct dirent *e;

    *ret = (bench_threads){ 0 };
    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    DIR *d = opendir(path);
    while (d != NULL && (e = readdir(d)) != NULL) {
        FILE *f;

        snprintf(path, sizeof(path), "/proc/%d/task/%.20s/comm", (int)pid, e->d_name);
        if (e->d_name[0] == '.' || (f = fopen(path, "r")) == NULL)
            continue;
        if (fscanf(f, "%23s", name) == 1) {
            snprintf(path, sizeof(path), "/proc/%d/task/%.20s/schedstat", (int)pid, e->d_name);
            add_thread(ret, name, number_in(path));
        }
        fclose(f);
    }
    if (d != NULL)
        closedir(d);
}

static double sum(const bench_threads *t, const char *name)
{
    double ns = 0;

    for (int i = 0; i < t->n; i++)
        if (name == NULL || strcmp(t->row[i].name, name) == 0)
            ns += t->row[i].ns;
    return ns;
}

double bench_threads_ns(const bench_threads *before, const bench_threads *after, const char *name)
{
    return sum(after, name) - sum(before, name);
}

static double used_ns(int who)
{
    struct rusage u = { 0 };

    getrusage(who, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e9 +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e3;
}

double bench_own_ns(void)
{
    return used_ns(RUSAGE_SELF);
}

double bench_children_ns(void)
{
    return used_ns(RUSAGE_CHILDREN);
}

size_t bench_resident(pid_t pid, int peak)
{
    const char *key = peak ? "VmHWM:" : "VmRSS:";
    char path[40], line[200];
    size_t kb = 0;
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    f = fopen(path, "r");
    while (f != NULL && fgets(line, sizeof(line), f) != NULL)
        if (strncmp(line, key, strlen(key)) == 0)
            kb = strtoull(line + strlen(key), NULL, 10);
    if (f != NULL)
        fclose(f);
    return kb << 10;
}
