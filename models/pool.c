#include "models/pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

typedef struct helper {
    ky_pool *pool;
    pthread_t thread;
    int number;
} helper;

struct ky_pool {
    pthread_mutex_t lock;
    pthread_cond_t begun, done;
    helper *helpers;
    int n_helpers;
    int busy;       /* helpers that have not finished the present round */
    unsigned round; /* changes when there is work */
    bool ending;
    void (*fn)(void *arg, int i, int worker);
    void *arg;
    int n;
    atomic_int next;
};

int ky_pool_cores(void)
{
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 1;
    return CPU_COUNT(&set) > 0 ? CPU_COUNT(&set) : 1;
}

static void take_pieces(ky_pool *p, int worker)
{
    for (;;) {
        int i = atomic_fetch_add_explicit(&p->next, 1, memory_order_relaxed);

        if (i >= p->n)
            return;
        p->fn(p->arg, i, worker);
    }
}

static void *help(void *arg)
{
    helper *h = arg;
    ky_pool *p = h->pool;
    unsigned seen = 0;

    pthread_mutex_lock(&p->lock);
    for (;;) {
        while (p->round == seen && !p->ending)
            pthread_cond_wait(&p->begun, &p->lock);
        if (p->ending)
            break;
        seen = p->round;
        pthread_mutex_unlock(&p->lock);
        take_pieces(p, h->number);
        pthread_mutex_lock(&p->lock);
        if (--p->busy == 0)
            pthread_cond_signal(&p->done);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

ky_pool *ky_pool_new(int threads)
{
    int n = threads > 0 ? threads : ky_pool_cores();
    ky_pool *p = calloc(1, sizeof *p);
    sigset_t all, before;

    if (p == NULL)
        return NULL;
    p->helpers = calloc((size_t)n, sizeof *p->helpers);
    if (p->helpers == NULL) {
        free(p);
        return NULL;
    }
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->begun, NULL);
    pthread_cond_init(&p->done, NULL);
    /* Signals are the program's: they come to its own threads. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (int i = 0; i + 1 < n; i++) {
        p->helpers[i] = (helper){ .pool = p, .number = i + 1 };
        /* Fewer threads than asked for are slower, not wrong. */
        if (pthread_create(&p->helpers[i].thread, NULL, help, &p->helpers[i]) != 0)
            break;
        p->n_helpers++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return p;
}

void ky_pool_free(ky_pool *p)
{
    if (p == NULL)
        return;
    pthread_mutex_lock(&p->lock);
    p->ending = true;
    pthread_cond_broadcast(&p->begun);
    pthread_mutex_unlock(&p->lock);
    for (int i = 0; i < p->n_helpers; i++)
        pthread_join(p->helpers[i].thread, NULL);
    pthread_cond_destroy(&p->done);
    pthread_cond_destroy(&p->begun);
    pthread_mutex_destroy(&p->lock);
    free(p->helpers);
    free(p);
}

int ky_pool_workers(const ky_pool *p)
{
    return p->n_helpers + 1;
}

void ky_pool_run(ky_pool *p, int n, void (*fn)(void *arg, int i, int worker), void *arg)
{
    p->fn = fn;
    p->arg = arg;
    p->n = n;
    atomic_store_explicit(&p->next, 0, memory_order_relaxed);
    if (n > 1 && p->n_helpers > 0) {
        pthread_mutex_lock(&p->lock);
        p->busy = p->n_helpers;
        p->round++;
        pthread_cond_broadcast(&p->begun);
        pthread_mutex_unlock(&p->lock);
    }
    take_pieces(p, 0);
    if (n > 1 && p->n_helpers > 0) {
        pthread_mutex_lock(&p->lock);
        while (p->busy > 0)
            pthread_cond_wait(&p->done, &p->lock);
        pthread_mutex_unlock(&p->lock);
    }
}
