/* The archive thread: PROTOCOL.md A6, and what it does when archiving fails. */
#include "tests/daemon/keeping.h"

#include <sys/stat.h>
#include <time.h>

#include "models/clock.h"

#define SETTINGS                                                                                   \
    "[stream:kept]\nmodel = m\narchive = yes\nfeatures = a, b\n[stream:passing]\nmodel = m\n"      \
    "[model:m]\nfile = /m.h5\n"

enum { SHORT_US = 200000, LONG_US = 20000000 };

static int setup(void **state)
{
    *state = keeping_new(SETTINGS);
    return 0;
}

static int setup_without_settings(void **state)
{
    *state = keeping_new("not settings");
    return 0;
}

static int teardown(void **state)
{
    keeping_free(*state);
    return 0;
}

/* Files in the journal come down to n. */
static int archived(keeping *k)
{
    ky_json *status = ky_archiver_status(k->a);
    int n = (int)ky_json_int(ky_json_get(status, "files"), 0);

    ky_json_free(status);
    return n;
}

/* Until a count is what it should be: the archiver's thread gets there in its own time. */
static void assert_becomes(keeping *k, int (*count)(keeping *k), int n)
{
    const struct timespec step = { 0, 2000000 };
    int64_t end = ky_clock_mono_ns() + LONG_US * 1000ll;

    while (count(k) != n) {
        assert_true(ky_clock_mono_ns() < end);
        nanosleep(&step, NULL); /* between questions */
    }
}

static void assert_files(keeping *k, int n)
{
    assert_becomes(k, keeping_files, n);
}

static void a_sealed_and_applied_file_becomes_a_segment_and_goes(void **state)
{
    keeping *k = *state;
    char path[4096], full[8192];
    ky_err err = { 0 };

    for (int i = 0; i < 5; i++)
        keeping_sample(k, 0);
    keeping_seal(k);
    keeping_apply(k);
    keeping_archive(k);
    assert_ok(ky_archiver_wait(k->a, LONG_US, &err), err);
    assert_int_equal(keeping_files(k), 1); /* the journal's newest: it goes on from its end */
    keeping_sample(k, 0);
    keeping_apply(k);
    assert_files(k, 1);
    keeping_assert(k, "SELECT class, rows FROM segments", "kept,5");
    keeping_ask(k, "SELECT path FROM segments", path, sizeof(path));
    snprintf(full, sizeof(full), "%s/%s", k->dir, path);
    assert_int_equal(access(full, R_OK), 0);
}

static void a_file_that_is_not_applied_stays(void **state)
{
    keeping *k = *state;
    ky_err err = { 0 };

    keeping_sample(k, 0);
    keeping_apply(k); /* what stands there before the seal is all but the file's end */
    keeping_sample(k, 0);
    keeping_seal(k);
    keeping_archive(k);
    assert_int_equal(ky_archiver_wait(k->a, SHORT_US, &err), KY_EAGAIN);
    assert_int_equal(keeping_files(k), 1);
    keeping_assert(k, "SELECT count(*) FROM segments", "0");
    keeping_apply(k);
    assert_ok(ky_archiver_wait(k->a, LONG_US, &err), err);
    keeping_assert(k, "SELECT rows FROM segments", "2");
}

static void the_file_being_written_stays(void **state)
{
    keeping *k = *state;
    ky_err err = { 0 };

    keeping_sample(k, 0);
    keeping_seal(k);
    keeping_sample(k, 0);
    keeping_apply(k);
    assert_int_equal(keeping_files(k), 2);
    keeping_archive(k);
    assert_ok(ky_archiver_wait(k->a, LONG_US, &err), err);
    assert_files(k, 1);
    keeping_assert(k, "SELECT rows FROM segments", "1");
}

static void a_class_without_archive_leaves_no_segment(void **state)
{
    keeping *k = *state;
    ky_err err = { 0 };

    keeping_sample(k, 1);
    keeping_seal(k);
    keeping_sample(k, 1);
    keeping_apply(k);
    keeping_archive(k);
    assert_ok(ky_archiver_wait(k->a, LONG_US, &err), err);
    assert_files(k, 1);
    keeping_assert(k, "SELECT count(*) FROM segments", "0");
}

static void what_fails_is_said_and_tried_again(void **state)
{
    keeping *k = *state;
    char path[4200];
    ky_json *status;
    ky_err err = { 0 };

    snprintf(path, sizeof(path), "%s/archive", k->dir);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof(path), "%s/archive/kept", k->dir);
    fclose(fopen(path, "w")); /* a file where the class's directory should be */
    keeping_sample(k, 0);
    keeping_seal(k);
    keeping_sample(k, 0);
    keeping_apply(k);
    keeping_archive(k);
    assert_int_equal(ky_archiver_wait(k->a, SHORT_US, &err), KY_EAGAIN);
    assert_non_null(strstr(err.text, "the archive is held up: journal file "));
    assert_int_equal(keeping_files(k), 2);
    status = ky_archiver_status(k->a);
    assert_true(ky_json_int(ky_json_get(status, "failures"), 0) > 0);
    assert_true(ky_json_is_string(ky_json_get(status, "failing")));
    ky_json_free(status);
    unlink(path);
    assert_ok(ky_archiver_wait(k->a, LONG_US, &err), err);
    assert_files(k, 1);
    keeping_assert(k, "SELECT rows FROM segments", "1");
    assert_becomes(k, archived, 1);
}

static void a_file_whose_settings_cannot_be_read_stays(void **state)
{
    keeping *k = *state;
    ky_err err = { 0 };

    keeping_sample(k, 0);
    keeping_seal(k);
    keeping_apply(k);
    keeping_archive(k);
    assert_int_equal(ky_archiver_wait(k->a, SHORT_US, &err), KY_EAGAIN);
    assert_non_null(strstr(err.text, "recorded settings:1: 'not settings' is neither"));
    assert_int_equal(keeping_files(k), 1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_sealed_and_applied_file_becomes_a_segment_and_goes),
        T(a_file_that_is_not_applied_stays),
        T(the_file_being_written_stays),
        T(a_class_without_archive_leaves_no_segment),
        T(what_fails_is_said_and_tried_again),
        cmocka_unit_test_setup_teardown(a_file_whose_settings_cannot_be_read_stays,
                                        setup_without_settings, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
