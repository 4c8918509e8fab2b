/*
 * What the benches of kymod share: a model, ends without much ado, and whose processor time it was.
 */
#ifndef KY_BENCH_SERVICE_H
#define KY_BENCH_SERVICE_H

#include <stddef.h>
#include <sys/types.h>

#include "models/error.h"

enum { BENCH_F = 9, BENCH_CLASSES = 6 }; /* of the model */

/** Says what failed, and why if err is not NULL; ends the program. */
_Noreturn void bench_fail(const char *what, const ky_err *err);

/** LSTM(64) and a dense layer, random weights. */
void bench_save_model(const char *path);

/* A directory for one bench, with that model as model.h5. */
typedef struct bench_place {
    char dir[64];
    char in[96], out[96]; /* endpoints there: for samples, for answers */
} bench_place;

void bench_open(bench_place *ret);
/** Removes it. */
void bench_close(const bench_place *p);

/** Starts kymod with this configuration, written beside its state in dir, and `[model:bench]`'s
 *  file there; sources and publishers are the caller's words. */
pid_t bench_start_kymod(const char *dir, const char *ini);
/** SIGTERM, and a clean end. */
void bench_stop(pid_t pid);

/** Sorts v[n]; its p-th part, 0 <= p < 1; 0 of nothing. */
double bench_quantile(double *v, int n, double p);

/* Processor time by thread, nanoseconds; threads of one name together. */
typedef struct bench_threads {
    int n;
    struct {
        char name[24];
        double ns;
    } row[32];
} bench_threads;

/** All threads that the process has now. */
void bench_threads_look(pid_t pid, bench_threads *ret);
/** What threads of this name used in between; NULL: all. */
double bench_threads_ns(const bench_threads *before, const bench_threads *after, const char *name);

/** What this process, or its children that have ended, used until now, nanoseconds. */
double bench_own_ns(void);
double bench_children_ns(void);

/** Resident bytes of a process; `peak`: the most it ever had. */
size_t bench_resident(pid_t pid, int peak);

#endif
