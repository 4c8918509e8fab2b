/* Those whose silence is counted out of memory, beside a plain list of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "daemon/ghosts.h"
#include "models/rng.h"

enum { IDS = 600, STEPS = 20000 };

static int64_t heard[IDS]; /* 0: it is not there */

static int64_t first_of_all(void)
{
    int64_t first = 0;

    for (int i = 0; i < IDS; i++)
        if (heard[i] != 0 && (first == 0 || heard[i] < first))
            first = heard[i];
    return first;
}

static void the_first_is_the_one_heard_longest_ago(void **state)
{
    ky_ghosts g = { 0 };
    ky_rng rng;
    uint32_t n = 0;

    (void)state;
    ky_rng_seed(&rng, 7);
    assert_false(ky_ghosts_remove(&g, 1));
    for (int step = 0; step < STEPS; step++) {
        /* Numbers far apart, too; few times, so that many are alike; growing, then shrinking. */
        uint32_t id = (uint32_t)(ky_rng_u64(&rng) % IDS);
        uint32_t number = id * (id % 3 == 0 ? 7000003u : 1u);
        bool add = ky_rng_u64(&rng) % 8 < (step < STEPS / 2 ? 6 : 2);

        assert_int_equal(ky_ghosts_has(&g, number), heard[id] != 0);
        if (add && heard[id] == 0) {
            heard[id] = 1 + (int64_t)(ky_rng_u64(&rng) % 100);
            ky_ghosts_add(&g, number, heard[id]);
            n++;
        } else if (!add) {
            assert_int_equal(ky_ghosts_remove(&g, number), heard[id] != 0);
            n -= heard[id] != 0;
            heard[id] = 0;
        }
        assert_int_equal(g.n, n);
        if (n > 0 && step % 16 == 0)
            assert_true(g.row[0].at_ns == first_of_all());
    }
    ky_ghosts_done(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_is_the_one_heard_longest_ago),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
