/* The shelf: what when_full keeps, what it loses, and that nothing goes uncounted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/shelf.h"
#include "models/rng.h"

enum { BYTES = 16384, MOST = 20000, STREAMS = 20, LARGEST = 3000 };

/* What was put in, and what became of it. */
typedef struct pushed {
    int stream, type;
    unsigned flags;
    size_t size; /* in the ring */
    bool out;
} pushed;

static pushed in[MOST];
static int n_in, n_out, next_kept; /* next_kept: of drop_oldest, the first not yet gone */

static size_t in_ring(size_t size)
{
    return 8 + ((size + 7) & ~(size_t)7);
}

static void push(ky_shelf *s, int stream, int type, unsigned flags, size_t body)
{
    char name[16];
    size_t len = (size_t)snprintf(name, sizeof(name), "s-%d", stream);
    size_t record = ky_record_size(0, len, 0, body), size = sizeof(ky_arrival) + record;
    ky_arrival *v = ky_shelf_reserve(s, size);
    ky_record *r = (ky_record *)(v + 1);

    *v = (ky_arrival){ 0 };
    memset(r, 0, record);
    r->size = (uint32_t)record;
    r->type = (uint8_t)type;
    r->flags = (uint16_t)flags;
    r->seq = n_in;
    r->stream_len = (uint16_t)len;
    memcpy(r + 1, name, len);
    ky_shelf_commit(s, size);
    in[n_in++] = (pushed){ stream, type, flags, in_ring(size), false };
}

/* The flags that a record must have: its own, and what lost samples before it leave. */
static unsigned flags_due(int64_t id)
{
    unsigned flags = in[id].flags;

    for (int64_t k = id - 1; k >= 0; k--) {
        if (in[k].stream != in[id].stream || in[k].type != KY_REC_SAMPLE)
            continue;
        if (in[k].out || in[id].type != KY_REC_SAMPLE)
            break;
        flags |= in[k].flags & (KY_START | KY_RESET);
        flags |= in[k].flags & KY_END ? KY_START : 0;
    }
    return flags;
}

/* Takes the next; its number, -1 if there is none. */
static int64_t pop(ky_shelf *s)
{
    static char copy[LARGEST + 512];
    size_t size;
    const ky_arrival *v = ky_shelf_first(s, &size);

    if (v == NULL)
        return -1;
    memcpy(copy, v, size);
    ky_record *r = (ky_record *)((ky_arrival *)copy + 1);
    ky_shelf_settle(s, r);
    ky_shelf_pop(s);
    assert_in_range(r->seq, 0, n_in - 1);
    assert_false(in[r->seq].out);
    assert_int_equal(r->flags, flags_due(r->seq));
    in[r->seq].out = true;
    n_out++;
    return r->seq;
}

static void begin(ky_shelf *s, bool latest)
{
    ky_err err;

    n_in = n_out = next_kept = 0;
    if (ky_shelf_init(s, latest, BYTES, &err) != KY_OK)
        fail_msg("%s", err.text);
}

static void end(ky_shelf *s)
{
    while (pop(s) >= 0)
        continue;
    assert_int_equal(ky_shelf_fill(s), 0);
    assert_int_equal(s->dropped + (uint64_t)n_out, n_in);
    ky_shelf_done(s);
}

static void what_fits_comes_out_as_it_came(void **state)
{
    ky_shelf s;

    (void)state;
    for (int latest = 0; latest < 2; latest++) {
        begin(&s, latest);
        for (int round = 0; round < 500; round++) {
            for (int k = 0; k < 10; k++)
                push(&s, k, k < 8 ? KY_REC_SAMPLE : KY_REC_LABEL, KY_START, 100);
            for (int k = 0; k < 10; k++)
                assert_int_equal(pop(&s), 10 * round + k);
        }
        assert_int_equal(s.dropped, 0);
        end(&s);
    }
}

static void random_push(ky_shelf *s, ky_rng *rng)
{
    static const unsigned flags[] = {
        0, 0, 0, 0, 0, KY_START, KY_END, KY_RESET, KY_START | KY_END
    };
    int type = ky_rng_below(rng, 10) == 0 ? KY_REC_REJECT : KY_REC_SAMPLE;
    size_t body = ky_rng_below(rng, 50) == 0 ? LARGEST : ky_rng_below(rng, 300);

    push(s, (int)ky_rng_below(rng, STREAMS), type,
         type == KY_REC_SAMPLE ? flags[ky_rng_below(rng, 9)] : 0, body);
}

/* Of a first-in-first-out of so many bytes, each loss is the least that makes room. */
static void oldest_are_dropped_and_no_more_than_must(void **state)
{
    ky_shelf s;
    ky_rng rng;
    size_t held = 0;

    (void)state;
    begin(&s, false);
    ky_rng_seed(&rng, 1);
    while (n_in < MOST) {
        random_push(&s, &rng);
        held += in[n_in - 1].size;
        while (held > s.ring.bytes)
            held -= in[next_kept++].size;
        for (uint64_t k = ky_rng_below(&rng, 30) == 0 ? ky_rng_below(&rng, 80) : 0; k > 0; k--) {
            int64_t id = pop(&s);
            assert_int_equal(id, next_kept < n_in ? next_kept : -1);
            if (id >= 0)
                held -= in[next_kept++].size;
        }
        assert_int_equal(s.dropped, next_kept - n_out);
    }
    assert_true(s.dropped > 1000 && n_out > 1000);
    end(&s);
}

/* The newest of all streams fit; each comes out, and nothing comes out of order. */
static void the_newest_of_each_stream_is_kept(void **state)
{
    int64_t newest[STREAMS], last[STREAMS], id;
    ky_shelf s;
    ky_rng rng;

    (void)state;
    begin(&s, true);
    ky_rng_seed(&rng, 2);
    for (int k = 0; k < STREAMS; k++)
        newest[k] = last[k] = -1;
    while (n_in < MOST) {
        int k = (int)ky_rng_below(&rng, STREAMS);
        static const unsigned flags[] = { 0, 0, 0, KY_START, KY_END };

        push(&s, k, KY_REC_SAMPLE, flags[ky_rng_below(&rng, 5)], ky_rng_below(&rng, 400));
        newest[k] = n_in - 1;
        if (ky_rng_below(&rng, 300) != 0)
            continue;
        for (uint64_t n = ky_rng_below(&rng, 10); n > 0 && (id = pop(&s)) >= 0; n--) {
            assert_true(id > last[in[id].stream]);
            assert_int_equal(id, newest[in[id].stream]);
            last[in[id].stream] = id;
        }
    }
    while ((id = pop(&s)) >= 0)
        last[in[id].stream] = id;
    for (int k = 0; k < STREAMS; k++)
        assert_int_equal(last[k], newest[k]);
    assert_true(s.dropped > 10000);
    end(&s);
}

/* More streams than there is room for, and records that no newer one replaces. */
static void a_crowd_of_streams_is_bounded(void **state)
{
    ky_shelf s;
    ky_rng rng;

    (void)state;
    for (int seed = 1; seed <= 5; seed++) {
        begin(&s, true);
        ky_rng_seed(&rng, (uint64_t)seed);
        while (n_in < MOST) {
            if (ky_rng_below(&rng, 3) == 0)
                push(&s, (int)ky_rng_below(&rng, 5), KY_REC_SAMPLE, KY_END, LARGEST);
            else if (ky_rng_below(&rng, 3) == 0)
                push(&s, n_in, KY_REC_SAMPLE, 0, 50);
            else
                random_push(&s, &rng);
            assert_true(ky_shelf_fill(&s) <= s.ring.bytes);
            if (ky_rng_below(&rng, 20) == 0)
                pop(&s);
        }
        assert_true(s.dropped > 10000);
        end(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_fits_comes_out_as_it_came),
        cmocka_unit_test(oldest_are_dropped_and_no_more_than_must),
        cmocka_unit_test(the_newest_of_each_stream_is_kept),
        cmocka_unit_test(a_crowd_of_streams_is_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
