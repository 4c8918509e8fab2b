/* The window of sequence numbers on sources that promise nothing; a lane's table of streams. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "daemon/streams.h"
#include "models/rng.h"

static ky_window fresh(void)
{
    ky_window w;

    ky_window_init(&w);
    return w;
}

static void the_first_number_may_be_any(void **state)
{
    static const int64_t first[] = { 0, 1, -5, INT64_MAX, INT64_MIN + 1 };

    (void)state;
    for (size_t i = 0; i < sizeof(first) / sizeof(*first); i++) {
        ky_window w = fresh();

        assert_int_equal(ky_window_take(&w, first[i]), KY_SEEN_NEXT);
        assert_int_equal(ky_window_take(&w, first[i]), KY_SEEN_DUPLICATE);
        assert_int_equal(w.high, first[i]);
    }
}

static void a_jump_ahead_is_a_gap(void **state)
{
    ky_window w = fresh();

    (void)state;
    ky_window_take(&w, 10);
    assert_int_equal(ky_window_take(&w, 11), KY_SEEN_NEXT);
    assert_int_equal(ky_window_take(&w, 13), KY_SEEN_GAP);
    assert_int_equal(ky_window_take(&w, 1000), KY_SEEN_GAP);
    assert_int_equal(w.mask, 1);
}

static void a_latecomer_is_told_from_a_duplicate(void **state)
{
    ky_window w = fresh();

    (void)state;
    ky_window_take(&w, 10);
    ky_window_take(&w, 12);
    assert_int_equal(ky_window_look(&w, 11), KY_SEEN_LATE);
    assert_int_equal(ky_window_look(&w, 11), KY_SEEN_LATE); /* looking changes nothing */
    assert_int_equal(ky_window_take(&w, 11), KY_SEEN_LATE);
    assert_int_equal(ky_window_take(&w, 11), KY_SEEN_DUPLICATE);
    assert_int_equal(ky_window_take(&w, 10), KY_SEEN_DUPLICATE);
    assert_int_equal(w.high, 12);
}

static void a_fall_of_64_is_a_sender_that_began_anew(void **state)
{
    ky_window w = fresh();

    (void)state;
    ky_window_take(&w, 1000);
    assert_int_equal(ky_window_look(&w, 1000 - 63), KY_SEEN_LATE);
    assert_int_equal(ky_window_take(&w, 1000 - 64), KY_SEEN_ANEW);
    assert_int_equal(w.epoch, 1);
    assert_int_equal(w.high, 936);
    assert_int_equal(ky_window_take(&w, 937), KY_SEEN_NEXT);
}

static void distances_beyond_int64_are_no_trouble(void **state)
{
    ky_window w = fresh();

    (void)state;
    ky_window_take(&w, INT64_MAX);
    assert_int_equal(ky_window_take(&w, INT64_MIN + 1), KY_SEEN_ANEW);
    assert_int_equal(ky_window_take(&w, INT64_MAX), KY_SEEN_GAP);
    assert_int_equal(w.mask, 1);
}

/* Against the plain statement: a set of all numbers taken. */
static void it_agrees_with_a_set_of_all_numbers(void **state)
{
    enum { N = 400 };
    bool taken[N] = { false };
    ky_window w = fresh();
    int64_t high = -1;
    ky_rng rng;

    (void)state;
    ky_rng_seed(&rng, 9);
    for (int i = 0; i < 20000; i++) {
        int64_t low = high < 63 ? 0 : high - 63;
        int64_t seq = low + (int64_t)ky_rng_below(&rng, (uint64_t)(high - low + 3));

        if (seq >= N)
            break;
        enum ky_seen want = seq == high + 1 || high < 0 ? KY_SEEN_NEXT
                            : seq > high                ? KY_SEEN_GAP
                            : taken[seq]                ? KY_SEEN_DUPLICATE
                                                        : KY_SEEN_LATE;

        assert_int_equal(ky_window_take(&w, seq), want);
        taken[seq] = true;
        high = seq > high ? seq : high;
    }
    assert_true(high > 200);
}

/* -- what is kept beside a state -- */

static void what_is_kept_beside_a_state_reads_back(void **state)
{
    const float y[3] = { 1, 2, 3 }, held[2] = { 4, 5 };
    ky_extra is = { .label = 7, .cut = 1, .answered = 1, .unsaid = 12345, .zero_n = -9 };
    ky_extra_answer answer = { .n = 41, .version = 3, .quality = 4, .outputs = 3 };
    char extra[200];
    size_t len = 0;

    (void)state;
    memcpy(extra, &is, sizeof(is));
    memcpy(extra + (len = sizeof(is)), &answer, sizeof(answer));
    memcpy(extra + (len += sizeof(answer)), y, sizeof(y));
    memcpy(extra + (len += sizeof(y)), held, sizeof(held));
    ky_extra_parts x = ky_extra_read(extra, len + sizeof(held), 2);

    assert_memory_equal(&x.is, &is, sizeof(is));
    assert_memory_equal(&x.answer, &answer, sizeof(answer));
    assert_memory_equal(x.y, y, sizeof(y));
    assert_memory_equal(x.held, held, sizeof(held));
    assert_null(ky_extra_read(extra, len, 2).held);
    /* cut anywhere there is less in it, but nothing that is not there */
    for (size_t n = 0; n < len; n++) {
        x = ky_extra_read(extra, n, 2);
        assert_false(x.is.answered);
        assert_null(x.held);
        assert_int_equal(x.is.label, n < sizeof(is) ? KY_EXTRA_NONE : 7);
    }
}

static void what_the_first_release_kept_beside_a_state_reads_back(void **state)
{
    static const uint8_t extra[24] = { 3, 0, 0, 0, 1, 0, 0, 0,    8, 0, 0,    0,
                                       0, 0, 0, 0, 0, 0, 0, 0x3f, 0, 0, 0xa0, 0x3f };
    ky_extra_parts x = ky_extra_read(extra, sizeof(extra), 2);
    const float held[2] = { 0.5f, 1.25f };

    (void)state;
    assert_int_equal(x.is.label, 3);
    assert_int_equal(x.is.cut, 1);
    assert_int_equal(x.is.answered, 0);
    assert_int_equal(x.is.unsaid, 0);
    assert_int_equal(x.is.zero_n, 8);
    assert_memory_equal(x.held, held, sizeof(held));
}

/* -- the table -- */

static void streams_keep_their_places_while_others_come_and_go(void **state)
{
    enum { N = 5000 }; /* three slabs */
    static ky_stream *s[N];
    ky_streams t;
    int seen = 0;

    (void)state;
    ky_streams_init(&t);
    assert_null(ky_streams_find(&t, 7));
    for (uint32_t i = 0; i < N; i++) {
        ky_streams_want_slot(&t, 3 * i + 1);
        ky_streams_want(&t, 3 * i + 1);
        ky_streams_want_state(&t, 3 * i + 1);
        s[i] = ky_streams_add(&t, 3 * i + 1, (int)(i % 7), 1);
    }
    for (uint32_t i = 0; i < N; i++) {
        assert_ptr_equal(ky_streams_find(&t, 3 * i + 1), s[i]);
        assert_int_equal(s[i]->id, 3 * i + 1);
        assert_int_equal(s[i]->class_, i % 7);
        assert_null(ky_streams_find(&t, 3 * i));
    }
    for (uint32_t i = 0; i < N; i += 2)
        ky_streams_remove(&t, s[i]);
    for (uint32_t i = 0; i < N; i++)
        assert_ptr_equal(ky_streams_find(&t, 3 * i + 1), i % 2 == 0 ? NULL : s[i]);
    for (uint32_t i = 0; i < N; i += 2) /* the places of those that went */
        s[i] = ky_streams_add(&t, 3 * i + 1, 0, 1);
    assert_int_equal(t.n, N);
    for (ky_stream *at = NULL; (at = ky_streams_next(&t, at)) != NULL; seen++)
        assert_ptr_equal(ky_streams_find(&t, at->id), at);
    assert_int_equal(seen, N);
    ky_streams_done(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_number_may_be_any),
        cmocka_unit_test(a_jump_ahead_is_a_gap),
        cmocka_unit_test(a_latecomer_is_told_from_a_duplicate),
        cmocka_unit_test(a_fall_of_64_is_a_sender_that_began_anew),
        cmocka_unit_test(distances_beyond_int64_are_no_trouble),
        cmocka_unit_test(it_agrees_with_a_set_of_all_numbers),
        cmocka_unit_test(what_is_kept_beside_a_state_reads_back),
        cmocka_unit_test(what_the_first_release_kept_beside_a_state_reads_back),
        cmocka_unit_test(streams_keep_their_places_while_others_come_and_go),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
