#include "daemon/queue.h"

#include <assert.h>
#include <limits.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    HEAD = 8, /* each record is preceded by its size */
    LONGEST_US = 500000,
};

static size_t padded(size_t size)
{
    return HEAD + ((size + 7) & ~(size_t)7);
}

/* -- bells -- */

uint32_t ky_bell_listen(ky_bell *b)
{
    ky_heart_beat(&b->heart);
    return atomic_load(&b->rings);
}

void ky_bell_ring(ky_bell *b)
{
    atomic_fetch_add(&b->rings, 1);
    if (atomic_load(&b->waiting) != 0)
        syscall(SYS_futex, &b->rings, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
    if (b->also != NULL)
        b->also(b->arg);
}

void ky_bell_wait(ky_bell *b, uint32_t heard, int64_t timeout_us)
{
    int64_t us = timeout_us < 0 || timeout_us > LONGEST_US ? LONGEST_US : timeout_us;
    struct timespec t = { .tv_nsec = us * 1000 };

    ky_heart_beat(&b->heart);
    if (us == 0)
        return;
    atomic_fetch_add(&b->waiting, 1);
    syscall(SYS_futex, &b->rings, FUTEX_WAIT_PRIVATE, heard, &t, NULL, 0);
    atomic_fetch_sub(&b->waiting, 1);
}

/* -- the ring -- */

static int map_twice(size_t bytes, char **ret)
{
    int fd = memfd_create("kymo-queue", MFD_CLOEXEC);
    char *at = MAP_FAILED;

    if (fd < 0)
        return -errno;
    if (ftruncate(fd, (off_t)bytes) != 0)
        goto fail;
    at = mmap(NULL, 2 * bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        goto fail;
    for (int i = 0; i < 2; i++)
        if (mmap(at + (size_t)i * bytes, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
                 0) == MAP_FAILED)
            goto fail;
    close(fd);
    *ret = at;
    return KY_OK;
fail:;
    int code = -errno;

    if (at != MAP_FAILED)
        munmap(at, 2 * bytes);
    close(fd);
    return code;
}

int ky_queue_init(ky_queue *q, size_t bytes, ky_bell *consumer, ky_bell *producer, ky_err *err)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    memset(q, 0, sizeof(*q));
    q->bytes = (bytes + page - 1) / page * page;
    q->consumer = consumer;
    q->producer = producer;
    int rc = map_twice(q->bytes, &q->ring);

    if (rc < 0)
        return ky_fail(err, rc, "a queue of %zu bytes: %s", q->bytes, ky_strerror(rc));
    return KY_OK;
}

void ky_queue_done(ky_queue *q)
{
    if (q->ring != NULL)
        munmap(q->ring, 2 * q->bytes);
    q->ring = NULL;
}

size_t ky_queue_largest(const ky_queue *q)
{
    return q->bytes - HEAD;
}

static bool fits(ky_queue *q, size_t need)
{
    return need <= q->bytes - (size_t)(atomic_load_explicit(&q->tail, memory_order_relaxed) -
                                       atomic_load(&q->head));
}

void *ky_queue_reserve(ky_queue *q, size_t size)
{
    assert(size <= ky_queue_largest(q));
    if (!fits(q, padded(size))) {
        /* Said before the second look: a pop in between either is seen or rings. */
        atomic_store(&q->wanting, true);
        if (!fits(q, padded(size))) {
            atomic_fetch_add_explicit(&q->waits, 1, memory_order_relaxed);
            return NULL;
        }
        atomic_store(&q->wanting, false);
    }
    uint64_t tail = atomic_load_explicit(&q->tail, memory_order_relaxed);

    return q->ring + tail % q->bytes + HEAD;
}

void ky_queue_commit(ky_queue *q, size_t size)
{
    uint64_t tail = atomic_load_explicit(&q->tail, memory_order_relaxed);
    uint64_t len = size;

    memcpy(q->ring + tail % q->bytes, &len, sizeof(len));
    atomic_store_explicit(&q->tail, tail + padded(size), memory_order_release);
    atomic_fetch_add_explicit(&q->records, 1, memory_order_relaxed);
}

void ky_queue_ring(ky_queue *q)
{
    if (q->consumer != NULL)
        ky_bell_ring(q->consumer);
}

void ky_queue_close(ky_queue *q)
{
    atomic_store(&q->closed, true);
    ky_queue_ring(q);
}

static size_t size_at(const ky_queue *q, uint64_t at)
{
    uint64_t len;

    memcpy(&len, q->ring + at % q->bytes, sizeof(len));
    return (size_t)len;
}

void *ky_queue_next(ky_queue *q, size_t *ret_size)
{
    if (q->read == atomic_load_explicit(&q->tail, memory_order_acquire))
        return NULL;
    uint64_t at = q->read;

    *ret_size = size_at(q, at);
    q->read += padded(*ret_size);
    return q->ring + at % q->bytes + HEAD;
}

void ky_queue_pop(ky_queue *q)
{
    ky_queue_pop_many(q, 1);
}

void ky_queue_pop_many(ky_queue *q, uint32_t n)
{
    uint64_t head = atomic_load_explicit(&q->head, memory_order_relaxed);

    for (; n > 0; n--) {
        assert(head < q->read);
        head += padded(size_at(q, head));
    }
    atomic_store(&q->head, head);
    if (atomic_load(&q->wanting) && atomic_exchange(&q->wanting, false) && q->producer != NULL)
        ky_bell_ring(q->producer);
}

bool ky_queue_closed(const ky_queue *q)
{
    return atomic_load(&q->closed);
}

bool ky_queue_ended(ky_queue *q)
{
    return atomic_load(&q->closed) &&
           q->read == atomic_load_explicit(&q->tail, memory_order_acquire);
}

uint64_t ky_queue_begin(const ky_queue *q)
{
    return atomic_load_explicit(&q->head, memory_order_relaxed);
}

uint64_t ky_queue_end(const ky_queue *q)
{
    return atomic_load_explicit(&q->tail, memory_order_relaxed);
}

void *ky_queue_at(const ky_queue *q, uint64_t place)
{
    return q->ring + place % q->bytes + HEAD;
}

void ky_queue_rewind(ky_queue *q)
{
    q->read = ky_queue_begin(q);
}

size_t ky_queue_fill(const ky_queue *q)
{
    uint64_t head = atomic_load_explicit(&q->head, memory_order_relaxed);
    uint64_t tail = atomic_load_explicit(&q->tail, memory_order_relaxed);

    return tail > head ? (size_t)(tail - head) : 0;
}
