/* A set of small numbers, beside an array that says the same. */
#include "daemon/marks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "models/rng.h"

enum { MOST = 1000 };

static uint32_t next_of(const bool *in, const bool *but, uint32_t from)
{
    while (from < MOST && (!in[from] || (but != NULL && but[from])))
        from++;
    return from < MOST ? from : KY_NO_MARK;
}

static void it_holds_what_was_added_and_not_dropped(void **state)
{
    bool in[2][MOST] = { { false } };
    ky_marks m[2] = { { 0 } };
    ky_rng rng;

    (void)state;
    ky_rng_seed(&rng, 5);
    for (int i = 0; i < 20000; i++) {
        int which = (int)(ky_rng_u64(&rng) % 2);
        uint32_t at = (uint32_t)(ky_rng_u64(&rng) % MOST),
                 from = (uint32_t)(ky_rng_u64(&rng) % MOST);

        in[which][at] = ky_rng_u64(&rng) % 4 == 0;
        if (in[which][at])
            ky_marks_add(&m[which], at);
        else
            ky_marks_drop(&m[which], at);
        assert_int_equal(ky_marks_has(&m[which], from), in[which][from]);
        assert_int_equal(ky_marks_next(&m[0], NULL, from), next_of(in[0], NULL, from));
        assert_int_equal(ky_marks_next(&m[0], &m[1], from), next_of(in[0], in[1], from));
    }
    for (int k = 0; k < 2; k++) {
        uint32_t n = 0;

        for (int i = 0; i < MOST; i++)
            n += in[k][i];
        assert_int_equal(m[k].n, n);
        ky_marks_done(&m[k]);
    }
}

static void an_empty_one_has_none(void **state)
{
    ky_marks m = { 0 };

    (void)state;
    assert_int_equal(ky_marks_next(&m, NULL, 0), KY_NO_MARK);
    assert_false(ky_marks_has(&m, 77));
    ky_marks_drop(&m, 77);
    ky_marks_add(&m, 64);
    assert_int_equal(ky_marks_next(&m, &m, 0), KY_NO_MARK);
    assert_int_equal(ky_marks_next(&m, NULL, 65), KY_NO_MARK);
    ky_marks_done(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_holds_what_was_added_and_not_dropped),
        cmocka_unit_test(an_empty_one_has_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
