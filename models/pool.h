/*
 * A few threads that do numbered pieces of work. Which thread does which piece is left to
 * chance, so pieces must not depend on each other; results that are summed are summed by
 * the caller in order of their numbers. One owner thread.
 */
#ifndef KY_POOL_H
#define KY_POOL_H

typedef struct ky_pool ky_pool;

/** Threads this process may run at once. */
int ky_pool_cores(void);

/** A pool of `threads` workers, the caller of run being one; 0: all cores. NULL: no memory. */
ky_pool *ky_pool_new(int threads);
void ky_pool_free(ky_pool *p);

int ky_pool_workers(const ky_pool *p);

/**
 * fn(arg, i, worker) for every i in [0,n), each once; returns when all are done. `worker` is
 * below ky_pool_workers and belongs to one thread during the call: it chooses scratch memory.
 */
void ky_pool_run(ky_pool *p, int n, void (*fn)(void *arg, int i, int worker), void *arg);

#endif
