#include "daemon/requests.h"

#include <stdlib.h>
#include <string.h>

void ky_requests_init(ky_requests *m, ky_bell *bell)
{
    memset(m, 0, sizeof(*m));
    m->last = &m->first;
    m->bell = bell;
    pthread_mutex_init(&m->lock, NULL);
    pthread_cond_init(&m->answered, NULL);
}

static void free_event(ky_request *q)
{
    for (int i = 0; i < 4; i++)
        free(q->event[i]);
    free(q);
}

void ky_requests_done(ky_requests *m)
{
    for (ky_request *q = m->first, *next; q != NULL; q = next) {
        next = q->next;
        free_event(q); /* nobody waits any more, so they are events */
    }
    pthread_mutex_destroy(&m->lock);
    pthread_cond_destroy(&m->answered);
}

static bool leave(ky_requests *m, ky_request *q)
{
    pthread_mutex_lock(&m->lock);
    bool open = !m->closed;

    if (open) {
        *m->last = q;
        m->last = &q->next;
        atomic_store(&m->any, true);
    }
    pthread_mutex_unlock(&m->lock);
    ky_bell_ring(m->bell);
    return open;
}

int ky_requests_ask(ky_requests *m, ky_request *q, ky_err *err)
{
    if (!leave(m, q))
        return ky_fail(err, KY_EBUSY, "the daemon is stopping");
    pthread_mutex_lock(&m->lock);
    while (!q->done)
        pthread_cond_wait(&m->answered, &m->lock);
    pthread_mutex_unlock(&m->lock);
    if (q->rc < 0 && err != NULL)
        *err = q->err;
    return q->rc;
}

void ky_requests_event(ky_requests *m, const char *level, const char *object, const char *what,
                       const char *detail)
{
    const char *from[4] = { level, object, what, detail };
    ky_request *q = calloc(1, sizeof(*q));
    bool whole = q != NULL;

    for (int i = 0; whole && i < 4; i++)
        whole = (q->event[i] = strdup(from[i])) != NULL;
    if (q == NULL)
        return;
    q->what = KY_ASK_EVENT;
    if (!whole || !leave(m, q))
        free_event(q);
}

ky_request *ky_requests_take(ky_requests *m)
{
    if (!atomic_load(&m->any))
        return NULL;
    pthread_mutex_lock(&m->lock);
    ky_request *q = m->first;

    m->first = NULL;
    m->last = &m->first;
    atomic_store(&m->any, false);
    pthread_mutex_unlock(&m->lock);
    return q;
}

void ky_requests_answer(ky_requests *m, ky_request *q, int rc)
{
    if (q->what == KY_ASK_EVENT) {
        free_event(q);
        return;
    }
    pthread_mutex_lock(&m->lock);
    q->rc = rc;
    q->done = true;
    pthread_cond_broadcast(&m->answered);
    pthread_mutex_unlock(&m->lock);
}

void ky_requests_close(ky_requests *m)
{
    pthread_mutex_lock(&m->lock);
    m->closed = true;
    pthread_mutex_unlock(&m->lock);
}
