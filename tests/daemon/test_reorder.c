/* The reorder buffer: what comes out, in which order, and when. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/reorder.h"
#include "models/rng.h"

enum { HOLD_US = 1000, STREAMS = 7 };

typedef struct fixture {
    ky_bell bell;
    ky_queue q;
    ky_reorder *o;
    int64_t now_us, left_ns;
} fixture;

static int setup(void **state)
{
    static fixture f;

    memset(&f, 0, sizeof(f));
    *state = &f;
    f.now_us = 1000000;
    return ky_queue_init(&f.q, 1 << 18, &f.bell, NULL, NULL) |
           ky_reorder_new(&f.q, HOLD_US, &f.o, NULL);
}

static int teardown(void **state)
{
    fixture *f = *state;

    ky_reorder_free(f->o);
    ky_queue_done(&f->q);
    return 0;
}

/* A record of a stream; `number` is what it is told by. False: no room. */
static bool put(fixture *f, int stream, int64_t ts_us, uint64_t number, int type)
{
    char name[16];
    size_t len = (size_t)snprintf(name, sizeof(name), "s%d", stream);
    size_t size = ky_record_size(0, len, 0, 4);
    ky_arrival *v = ky_queue_reserve(&f->q, sizeof(*v) + size);

    if (v == NULL)
        return false;
    ky_record *r = (ky_record *)(v + 1);

    memset(v, 0, sizeof(*v) + size);
    r->size = (uint32_t)size;
    r->type = (uint8_t)type;
    r->ts_us = ts_us;
    r->number = number;
    r->stream_len = (uint16_t)len;
    memcpy(r + 1, name, len);
    ky_queue_commit(&f->q, sizeof(*v) + size);
    return true;
}

static const ky_record *next(fixture *f)
{
    f->left_ns = INT64_MAX;
    const ky_arrival *v = ky_reorder_next(f->o, f->now_us * 1000, &f->left_ns);

    return v != NULL ? (const ky_record *)(v + 1) : NULL;
}

static void assert_next(fixture *f, uint64_t number)
{
    const ky_record *r = next(f);

    assert_non_null(r);
    assert_int_equal(r->number, number);
}

static int stream_of(const ky_record *r)
{
    return ky_record_stream(r)[1] - '0';
}

static void samples_within_the_hold_come_out_in_order_each_once(void **state)
{
    fixture *f = *state;
    int64_t last[STREAMS] = { 0 };
    enum { N = 20000 };
    static char seen[N];
    int sent = 0, got = 0;
    ky_rng rng;

    memset(seen, 0, sizeof(seen));
    ky_rng_seed(&rng, 3);
    while (got < N) {
        const ky_record *r;

        /* Half of the hold late at most. */
        for (int i = 0; i < 3 && sent < N; i++) {
            int64_t ts = f->now_us - (int64_t)ky_rng_below(&rng, HOLD_US / 2);

            assert_true(
                put(f, (int)ky_rng_below(&rng, STREAMS), ts, (uint64_t)sent++, KY_REC_SAMPLE));
        }
        f->now_us += 10;
        while ((r = next(f)) != NULL) {
            int k = stream_of(r);

            assert_true(r->ts_us >= last[k]);
            assert_true(f->now_us - r->ts_us <= 3 * HOLD_US);
            assert_int_equal(seen[r->number]++, 0);
            last[k] = r->ts_us;
            got++;
        }
    }
    assert_int_equal(ky_queue_fill(&f->q), 0);
}

static void a_time_far_ahead_does_not_wait_for_ever(void **state)
{
    fixture *f = *state;

    put(f, 0, INT64_MAX, 0, KY_REC_SAMPLE);
    for (uint64_t i = 1; i < 100; i++) {
        const ky_record *r;

        put(f, 0, f->now_us, i, KY_REC_SAMPLE);
        f->now_us += HOLD_US / 10;
        while ((r = next(f)) != NULL)
            if (r->number == 0) {
                assert_true(i <= 12);
                return;
            }
    }
    fail_msg("it still waits");
}

static void what_there_is_no_room_for_is_taken_at_once(void **state)
{
    fixture *f = *state;
    uint64_t sent = 0, got = 0;

    while (sent < 5000) {
        assert_true(put(f, 0, (int64_t)sent, sent, KY_REC_SAMPLE));
        sent++;
        for (const ky_record *r; (r = next(f)) != NULL; got++)
            assert_int_equal(r->number, got);
    }
    assert_true(got > 0 && got < sent);
    assert_false(ky_reorder_ended(f->o));
    ky_queue_close(&f->q); /* all is due then */
    for (const ky_record *r; (r = next(f)) != NULL; got++)
        assert_int_equal(r->number, got);
    assert_int_equal(got, sent);
    assert_true(ky_reorder_ended(f->o));
}

static void labels_and_rejects_are_not_passed(void **state)
{
    fixture *f = *state;

    put(f, 0, 5000, 0, KY_REC_SAMPLE);
    put(f, 0, 1, 1, KY_REC_LABEL);
    put(f, 0, 4000, 2, KY_REC_SAMPLE);
    put(f, 0, 3000, 3, KY_REC_SAMPLE);
    put(f, 1, 1, 4, KY_REC_REJECT);
    assert_null(next(f));
    assert_true(f->left_ns == HOLD_US * 1000);
    f->now_us += HOLD_US;
    assert_next(f, 0);
    assert_next(f, 1);
    assert_next(f, 3);
    assert_next(f, 2);
    assert_next(f, 4);
    assert_null(next(f));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(samples_within_the_hold_come_out_in_order_each_once),
        TEST(a_time_far_ahead_does_not_wait_for_ever),
        TEST(what_there_is_no_room_for_is_taken_at_once),
        TEST(labels_and_rejects_are_not_passed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
