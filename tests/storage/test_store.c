/* The model store: versions that exist are whole and never change. */
#include "tests/storage/tools.h"

#include <pthread.h>
#include <sys/stat.h>

#include "models/blueprint.h"
#include "models/layer.h"
#include "storage/store.h"

typedef struct fixture {
    char *dir, store[4096];
    ky_model *m;
} fixture;

static ky_model *model(uint64_t seed)
{
    ky_shape input = { .rank = 2, .d = { 8, 2 }, .timed = true };
    ky_model *m = NULL;
    ky_err err = { 0 };

    assert_ok(ky_arch_build("lstm:4, dense", &input, 3, false, &m, &err), err);
    ky_model_init(m, seed);
    assert_ok(ky_model_pack(m, &err), err);
    return m;
}

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof(*f));

    f->dir = tools_dir();
    snprintf(f->store, sizeof(f->store), "%s/models", f->dir);
    f->m = model(1);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;

    ky_model_free(f->m);
    tools_dir_remove(f->dir);
    free(f);
    return 0;
}

static uint32_t add(fixture *f)
{
    uint32_t v = 0;
    ky_err err = { 0 };

    assert_ok(ky_store_add(f->store, f->m, "vibration", &v, &err), err);
    return v;
}

static void versions_count_from_one(void **state)
{
    fixture *f = *state;
    uint32_t latest = 99;

    assert_int_equal(ky_store_latest(f->store, "vibration", &latest, NULL), KY_OK);
    assert_int_equal(latest, 0);
    for (uint32_t v = 1; v <= 11; v++)
        assert_int_equal(add(f), v);
    assert_int_equal(ky_store_latest(f->store, "vibration", &latest, NULL), KY_OK);
    assert_int_equal(latest, 11); /* not 9, which is last by name */
}

static void a_version_comes_back_with_its_hash(void **state)
{
    fixture *f = *state;
    uint64_t hash = ky_model_facts(f->m)->hash;
    ky_model *again = NULL;
    ky_err err = { 0 };

    add(f);
    assert_ok(ky_store_load(f->store, "vibration", 1, hash, &again, &err), err);
    assert_int_equal(ky_model_facts(again)->hash, hash);
    ky_model_free(again);
    again = NULL;
    assert_int_equal(ky_store_load(f->store, "vibration", 1, hash + 1, &again, &err), KY_ECORRUPT);
    assert_non_null(strstr(err.text, "version 1"));
    assert_null(again);
    assert_ok(ky_store_load(f->store, "vibration", 1, 0, &again, &err), err); /* any hash will do */
    ky_model_free(again);
}

static void a_version_that_is_gone_is_said_to_be(void **state)
{
    fixture *f = *state;
    ky_model *m = NULL;
    ky_err err;

    assert_int_equal(ky_store_load(f->store, "vibration", 7, 0, &m, &err), KY_ENOENT);
    assert_non_null(strstr(err.text, "version 7 is gone"));
}

static void names_that_climb_out_are_refused(void **state)
{
    static const char *const names[] = { "../x", "..", ".", "", "a/b", ".hidden", "/etc" };
    fixture *f = *state;
    ky_model *m = NULL;
    uint32_t v;

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        assert_int_equal(ky_store_add(f->store, f->m, names[i], &v, NULL), KY_EINVAL);
        assert_int_equal(ky_store_load(f->store, names[i], 1, 0, &m, NULL), KY_EINVAL);
        assert_int_equal(ky_store_latest(f->store, names[i], &v, NULL), KY_EINVAL);
        assert_int_equal(ky_store_prune(f->store, names[i], 1, NULL, NULL, NULL), KY_EINVAL);
    }
}

static void only_versions_are_versions(void **state)
{
    static const char *const files[] = { "007.h5", "8.h5.tmp", "9",     "99999999999.h5",
                                         "-5.h5",  "+6.h5",    "5 .h5", "0.h5" };
    fixture *f = *state;
    uint32_t latest;
    char path[5000];

    add(f);
    for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
        snprintf(path, sizeof(path), "%s/vibration/%s", f->store, files[i]);
        fclose(fopen(path, "w"));
    }
    assert_int_equal(ky_store_latest(f->store, "vibration", &latest, NULL), KY_OK);
    assert_int_equal(latest, 1);
    assert_int_equal(add(f), 2);
}

static bool in_use(uint32_t version, void *arg)
{
    return version == *(const uint32_t *)arg;
}

static bool there(fixture *f, uint32_t version)
{
    char path[4096];

    ky_store_path(f->store, "vibration", version, path);
    return access(path, F_OK) == 0;
}

static void pruning_keeps_the_newest_and_those_in_use(void **state)
{
    fixture *f = *state;
    uint32_t used = 2;
    ky_err err = { 0 };

    for (int i = 0; i < 6; i++)
        add(f);
    assert_ok(ky_store_prune(f->store, "vibration", 2, in_use, &used, &err), err);
    assert_false(there(f, 1));
    assert_true(there(f, 2));
    assert_false(there(f, 3));
    assert_false(there(f, 4));
    assert_true(there(f, 5));
    assert_true(there(f, 6));
    assert_ok(ky_store_prune(f->store, "vibration", 0, NULL, NULL, &err), err);
    assert_true(there(f, 6)); /* the newest always stays, so that numbers are not given twice */
    assert_int_equal(add(f), 7);
    assert_ok(ky_store_prune(f->store, "never-seen", 1, NULL, NULL, &err), err);
}

static void a_damaged_version_is_refused(void **state)
{
    fixture *f = *state;
    ky_model *m = NULL;
    struct stat st;
    char path[4096];
    ky_err err;

    add(f);
    ky_store_path(f->store, "vibration", 1, path);
    stat(path, &st);
    assert_int_equal(truncate(path, st.st_size / 2), 0);
    assert_true(ky_store_load(f->store, "vibration", 1, 0, &m, &err) < 0);
    assert_non_null(strstr(err.text, "vibration"));
    assert_null(m);
}

static void *add_five(void *arg)
{
    for (int i = 0; i < 5; i++)
        add(arg);
    return NULL;
}

static void two_that_add_at_once_get_different_versions(void **state)
{
    fixture *f = *state;
    pthread_t other;

    pthread_create(&other, NULL, add_five, f);
    add_five(f);
    pthread_join(other, NULL);
    for (uint32_t v = 1; v <= 10; v++)
        assert_true(there(f, v));
    assert_false(there(f, 11));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(versions_count_from_one),
        TEST(a_version_comes_back_with_its_hash),
        TEST(a_version_that_is_gone_is_said_to_be),
        TEST(names_that_climb_out_are_refused),
        TEST(only_versions_are_versions),
        TEST(pruning_keeps_the_newest_and_those_in_use),
        TEST(a_damaged_version_is_refused),
        TEST(two_that_add_at_once_get_different_versions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
