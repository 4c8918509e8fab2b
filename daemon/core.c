#include "daemon/core.h"

#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/log.h"

void ky_core_die(int exit_code, const char *stage, const char *fmt, ...)
{
    char text[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    ky_log(KY_ERROR, stage, NULL, "%s; ending at once", text);
    _exit(exit_code);
}

bool ky_core_short_turns(void)
{
    enum { TURN_NS = 100000 };
    struct { /* the kernel's sched_attr; its header and the C library's do not go together */
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime_ns, deadline_ns, period_ns;
    } a = { .size = sizeof(a) };

    if (syscall(SYS_sched_getattr, 0, &a, sizeof(a), 0) != 0 || a.policy != SCHED_OTHER)
        return false;
    a.runtime_ns = TURN_NS;
    /* Older kernels take it, keep their own, and say so when asked. */
    return syscall(SYS_sched_setattr, 0, &a, 0) == 0 &&
           syscall(SYS_sched_getattr, 0, &a, sizeof(a), 0) == 0 && a.runtime_ns == TURN_NS;
}

int ky_core_thread(pthread_t *t, const char *name, void *(*run)(void *), void *arg, ky_err *err)
{
    sigset_t all, was;

    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &was);
    int rc = pthread_create(t, NULL, run, arg);

    pthread_sigmask(SIG_SETMASK, &was, NULL);
    if (rc != 0)
        return ky_fail(err, -rc, "thread %s: %s", name, ky_strerror(-rc));
    pthread_setname_np(*t, name);
    return KY_OK;
}

int ky_core_features(const ky_pipeline *p, int class_)
{
    int model = p->serving[class_].model[0];

    return ky_served_find(&p->served, model, atomic_load(&p->current[model]))->facts->features;
}

size_t ky_core_queue_bytes(const ky_config *cfg)
{
    size_t bytes = 1 << 20;

    /* Two bytes of JSON at least are four of a float. */
    for (int i = 0; i < cfg->n_sources; i++)
        if (4 * (size_t)cfg->sources[i].max_message > bytes)
            bytes = 4 * (size_t)cfg->sources[i].max_message;
    return bytes;
}

int ky_core_processors(void)
{
    cpu_set_t may;

    CPU_ZERO(&may);
    /* A machine with more processors than a cpu_set_t has is refused here. */
    long n = sched_getaffinity(0, sizeof(may), &may) == 0 ? CPU_COUNT(&may)
                                                          : sysconf(_SC_NPROCESSORS_ONLN);

    return n < 1 ? 1 : (int)n;
}

void ky_reasons_count(ky_reasons *r, const char *text, size_t len)
{
    size_t n = 0;

    while (n < len && n < sizeof(r->row[0].text) - 1 && text[n] != ':' &&
           !(text[n] >= '0' && text[n] <= '9'))
        n++;
    pthread_mutex_lock(&r->lock);
    int i = 0;

    while (i < r->n && (strncmp(r->row[i].text, text, n) != 0 || r->row[i].text[n] != 0))
        i++;
    if (i == r->n && r->n < KY_MAX_REASONS - 1) {
        memcpy(r->row[i].text, text, n);
        r->n++;
    } else if (i == r->n && r->n == KY_MAX_REASONS - 1) {
        memcpy(r->row[i].text, "other", 6);
        r->n++;
    }
    r->row[i < r->n ? i : KY_MAX_REASONS - 1].times++;
    pthread_mutex_unlock(&r->lock);
}
