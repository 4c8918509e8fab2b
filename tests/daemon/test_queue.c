/* The queue between two threads, and bells. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/queue.h"
#include "models/clock.h"
#include "models/rng.h"

enum { SIZE = 4096 };

static void records_come_out_as_they_went_in(void **state)
{
    ky_queue q;
    size_t size;
    ky_rng rng;
    uint8_t next = 0, want = 0;

    (void)state;
    assert_int_equal(ky_queue_init(&q, SIZE, NULL, NULL, NULL), KY_OK);
    ky_rng_seed(&rng, 1);
    for (int round = 0; round < 5000; round++) {
        size_t len = ky_rng_below(&rng, 700);
        uint8_t *p;

        while ((p = ky_queue_reserve(&q, len)) == NULL) {
            const uint8_t *out = ky_queue_next(&q, &size);

            assert_non_null(out);
            for (size_t i = 0; i < size; i++)
                assert_int_equal(out[i], want);
            want++;
            ky_queue_pop(&q);
        }
        assert_int_equal((uintptr_t)p % 8, 0);
        memset(p, next++, len);
        ky_queue_commit(&q, len);
    }
    assert_true(q.waits > 1000);
    assert_int_equal(q.records, 5000);
    ky_queue_done(&q);
}

static void a_record_as_large_as_the_queue_fits_wherever_it_begins(void **state)
{
    ky_queue q;
    size_t size;

    (void)state;
    assert_int_equal(ky_queue_init(&q, SIZE, NULL, NULL, NULL), KY_OK);
    for (size_t i = 0; i < 20; i++) {
        size_t len = ky_queue_largest(&q);
        uint8_t *p = ky_queue_reserve(&q, len);

        assert_non_null(p);
        memset(p, (int)i, len);
        ky_queue_commit(&q, len);
        assert_null(ky_queue_reserve(&q, 0));
        p = ky_queue_next(&q, &size);
        assert_int_equal(size, len);
        assert_int_equal(p[0], i);
        assert_int_equal(p[len - 1], i);
        ky_queue_pop(&q);
        /* Move the beginning on by a few bytes. */
        assert_non_null(ky_queue_reserve(&q, 24));
        ky_queue_commit(&q, 24);
        assert_non_null(ky_queue_next(&q, &size));
        ky_queue_pop(&q);
    }
    ky_queue_done(&q);
}

static void what_was_looked_at_stays_until_popped(void **state)
{
    ky_queue q;
    size_t size;
    int *a, *b;

    (void)state;
    assert_int_equal(ky_queue_init(&q, SIZE, NULL, NULL, NULL), KY_OK);
    for (int i = 0; i < 3; i++) {
        *(int *)ky_queue_reserve(&q, sizeof(int)) = i;
        ky_queue_commit(&q, sizeof(int));
    }
    a = ky_queue_next(&q, &size);
    b = ky_queue_next(&q, &size);
    ky_queue_pop(&q);
    assert_int_equal(*b, 1);
    assert_int_equal(*a, 0); /* its bytes may be overwritten only by a later reserve */
    assert_int_equal(*(int *)ky_queue_next(&q, &size), 2);
    assert_null(ky_queue_next(&q, &size));
    ky_queue_done(&q);
}

static void records_leave_together(void **state)
{
    ky_queue q;
    size_t size;

    (void)state;
    assert_int_equal(ky_queue_init(&q, SIZE, NULL, NULL, NULL), KY_OK);
    for (int i = 0; i < 5; i++) {
        *(int *)ky_queue_reserve(&q, sizeof(int)) = i;
        ky_queue_commit(&q, sizeof(int));
        ky_queue_next(&q, &size);
    }
    ky_queue_pop_many(&q, 4);
    ky_queue_rewind(&q);
    assert_int_equal(*(int *)ky_queue_next(&q, &size), 4);
    ky_queue_pop_many(&q, 1);
    assert_int_equal(ky_queue_fill(&q), 0);
    ky_queue_done(&q);
}

static void a_closed_queue_ends_when_it_is_empty(void **state)
{
    ky_queue q;
    size_t size;

    (void)state;
    assert_int_equal(ky_queue_init(&q, SIZE, NULL, NULL, NULL), KY_OK);
    assert_false(ky_queue_ended(&q));
    assert_non_null(ky_queue_reserve(&q, 8));
    ky_queue_commit(&q, 8);
    ky_queue_close(&q);
    assert_false(ky_queue_ended(&q));
    assert_non_null(ky_queue_next(&q, &size));
    assert_true(ky_queue_ended(&q));
    ky_queue_done(&q);
}

static void a_bell_that_rang_in_between_is_not_waited_for(void **state)
{
    ky_bell b = { 0 };
    uint32_t heard = ky_bell_listen(&b);
    int64_t begun = ky_clock_mono_ns();

    (void)state;
    ky_bell_ring(&b);
    ky_bell_wait(&b, heard, -1);
    assert_true(ky_clock_mono_ns() - begun < 400000000);
}

static void waiting_shows_that_the_thread_lives(void **state)
{
    ky_bell b = { 0 };
    uint64_t before = b.heart.beats;

    (void)state;
    ky_bell_wait(&b, ky_bell_listen(&b), -1); /* comes back by itself */
    assert_true(b.heart.beats > before);
}

typedef struct pair {
    ky_queue q;
    ky_bell producer, consumer;
    int n;
} pair;

static void *produce(void *arg)
{
    pair *p = arg;
    ky_rng rng;

    ky_rng_seed(&rng, 3);
    for (int i = 0; i < p->n; i++) {
        size_t len = sizeof(int) + ky_rng_below(&rng, 300);
        int *to;

        for (;;) {
            uint32_t heard = ky_bell_listen(&p->producer);

            if ((to = ky_queue_reserve(&p->q, len)) != NULL)
                break;
            ky_bell_wait(&p->producer, heard, -1);
        }
        *to = i;
        ky_queue_commit(&p->q, len);
        ky_queue_ring(&p->q);
    }
    ky_queue_close(&p->q);
    return NULL;
}

static void two_threads_lose_and_reorder_nothing(void **state)
{
    static pair p = { .n = 100000 };
    pthread_t t;
    size_t size;
    int want = 0;

    (void)state;
    assert_int_equal(ky_queue_init(&p.q, SIZE, &p.consumer, &p.producer, NULL), KY_OK);
    assert_int_equal(pthread_create(&t, NULL, produce, &p), 0);
    while (!ky_queue_ended(&p.q)) {
        uint32_t heard = ky_bell_listen(&p.consumer);
        int *from = ky_queue_next(&p.q, &size);

        if (from == NULL) {
            if (!ky_queue_ended(&p.q))
                ky_bell_wait(&p.consumer, heard, -1);
            continue;
        }
        assert_int_equal(*from, want++);
        ky_queue_pop(&p.q);
    }
    pthread_join(t, NULL);
    assert_int_equal(want, p.n);
    assert_int_equal(ky_queue_fill(&p.q), 0);
    ky_queue_done(&p.q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_come_out_as_they_went_in),
        cmocka_unit_test(a_record_as_large_as_the_queue_fits_wherever_it_begins),
        cmocka_unit_test(what_was_looked_at_stays_until_popped),
        cmocka_unit_test(records_leave_together),
        cmocka_unit_test(a_closed_queue_ends_when_it_is_empty),
        cmocka_unit_test(a_bell_that_rang_in_between_is_not_waited_for),
        cmocka_unit_test(waiting_shows_that_the_thread_lives),
        cmocka_unit_test(two_threads_lose_and_reorder_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
