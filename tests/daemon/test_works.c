/* Versions at work in a lane: whose memory states have, over swaps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "daemon/works.h"
#include "models/blueprint.h"

enum { VERSIONS = 5, STRANDS = 300, LARGER = 4 };

typedef struct fixture {
    ky_version v[VERSIONS]; /* states of LARGER are */
    ky_plan *plan[VERSIONS];
    ky_works *works;
    ky_blocks *blocks;
    ky_strand d[STRANDS];
} fixture;

static void load(ky_version *v, ky_plan **plan, const char *arch, uint32_t version)
{
    ky_shape in = { .rank = 2, .d = { KY_ANY, 3 }, .timed = true };
    ky_err err;

    assert_int_equal(ky_arch_build(arch, &in, 2, false, &v->m, &err), KY_OK);
    ky_model_init(v->m, version);
    assert_int_equal(ky_model_pack(v->m, &err), KY_OK);
    assert_int_equal(ky_plan_new(v->m, KY_MEMORY_STREAM, 0, 1, plan, &err), KY_OK);
    v->version = version;
    v->facts = ky_model_facts(v->m);
    v->plan = plan;
}

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof(*f));

    for (int i = 0; i < VERSIONS; i++)
        load(&f->v[i], &f->plan[i], i == LARGER ? "lstm:64, dense" : "lstm:8, dense",
             (uint32_t)i + 1);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;

    for (int i = 0; i < STRANDS; i++)
        ky_works_clear(&f->d[i]);
    ky_works_free(f->works);
    ky_blocks_free(f->blocks);
    for (int i = 0; i < VERSIONS; i++) {
        ky_plan_free(f->plan[i]);
        ky_model_free(f->v[i].m);
    }
    free(f);
    return 0;
}

/* All begin from zeros with a version. */
static void swap(fixture *f, int version)
{
    ky_works *w = ky_works_of(&f->works, &f->blocks, &f->v[version], 0, 0, 8);

    for (int i = 0; i < STRANDS; i++)
        ky_works_zero(w, &f->d[i], 1);
}

static size_t bytes(const fixture *f)
{
    size_t n = 0;

    for (const ky_blocks *b = f->blocks; b != NULL; b = b->next)
        n += b->n_slabs * b->size;
    return n;
}

static void a_swap_takes_no_more_memory_for_states(void **state)
{
    fixture *f = *state;

    swap(f, 0);
    size_t first = bytes(f);

    for (int i = 0; i < 3 * LARGER; i++) {
        swap(f, i % LARGER);
        assert_int_equal(bytes(f), first);
    }
}

static void nor_one_to_states_of_another_size_and_back(void **state)
{
    fixture *f = *state;

    swap(f, LARGER);
    size_t larger = bytes(f);

    swap(f, 0);
    size_t first = bytes(f);

    assert_true(first < larger);
    for (int i = 0; i < 3; i++) {
        swap(f, LARGER);
        assert_int_equal(bytes(f), larger);
        swap(f, 1);
        assert_int_equal(bytes(f), first);
    }
}

static size_t length(const fixture *f)
{
    size_t n = 0;

    for (const ky_works *w = f->works; w != NULL; w = w->next)
        n++;
    return n;
}

static void a_version_that_no_stream_has_is_at_work_no_more(void **state)
{
    fixture *f = *state;

    for (int i = 0; i < VERSIONS; i++) {
        swap(f, i);
        ky_works_sweep(&f->works, &f->v[i]);
        assert_int_equal(length(f), 1);
    }
    ky_works_zero(ky_works_of(&f->works, &f->blocks, &f->v[0], 0, 0, 8), &f->d[7], 1);
    ky_works_sweep(&f->works, &f->v[1]);
    assert_int_equal(length(f), 2); /* one stream began anew, the others go on with the last */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_swap_takes_no_more_memory_for_states, setup, teardown),
        cmocka_unit_test_setup_teardown(nor_one_to_states_of_another_size_and_back, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_version_that_no_stream_has_is_at_work_no_more, setup,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
