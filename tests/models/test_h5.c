#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* Hostile files are made with the library itself, past our guards. */
#define H5_USE_110_API 1
#include <hdf5.h>

#include "models/h5.h"

static char dir[256];

static const char *in_dir(const char *name)
{
    static char path[512];

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return path;
}

static int make_dir(void **state)
{
    const char *tmp = getenv("TMPDIR");

    (void)state;
    snprintf(dir, sizeof(dir), "%s/ky-h5-XXXXXX", tmp != NULL ? tmp : "/tmp");
    return mkdtemp(dir) == NULL;
}

static int remove_dir(void **state)
{
    char command[600];

    (void)state;
    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    return system(command);
}

/* -- what is written is read back ------------------------------------------------ */

static void numbers_read_back_and_convert(void **state)
{
    (void)state;
    const float x[6] = { 1, -2.5f, 3, 4, 5, 6e10f };
    const int32_t n[3] = { -1, 0, 7 };
    double d[6];
    float v[3];
    ky_h5 *f = NULL;
    ky_h5_info info;

    assert_int_equal(ky_h5_create(in_dir("numbers.h5"), &f, NULL), KY_OK);
    assert_int_equal(ky_h5_put(f, "/a/b/x", KY_H5_F32, 2, (uint64_t[]){ 2, 3 }, x, NULL), KY_OK);
    assert_int_equal(ky_h5_put(f, "/n", KY_H5_I32, 1, (uint64_t[]){ 3 }, n, NULL), KY_OK);
    assert_int_equal(ky_h5_put(f, "/s", KY_H5_F32, 0, NULL, x + 1, NULL), KY_OK);
    assert_int_equal(ky_h5_commit(f, NULL), KY_OK);

    assert_int_equal(ky_h5_open(in_dir("numbers.h5"), &f, NULL), KY_OK);
    assert_int_equal(ky_h5_stat(f, "/a/b/x", &info, NULL), KY_OK);
    assert_int_equal(info.type, KY_H5_F32);
    assert_int_equal(info.rank, 2);
    assert_int_equal(info.dims[0], 2);
    assert_int_equal(info.dims[1], 3);
    assert_int_equal(info.count, 6);
    assert_int_equal(ky_h5_read(f, "/a/b/x", KY_H5_F64, d, 6, NULL), KY_OK);
    for (int i = 0; i < 6; i++)
        assert_true(d[i] == x[i]);
    assert_int_equal(ky_h5_read_rows(f, "/a/b/x", KY_H5_F32, 1, 1, v, NULL), KY_OK);
    assert_memory_equal(v, x + 3, sizeof(v));
    assert_int_equal(ky_h5_read(f, "/n", KY_H5_F32, v, 3, NULL), KY_OK);
    assert_true(v[0] == -1 && v[1] == 0 && v[2] == 7);
    assert_int_equal(ky_h5_read(f, "/s", KY_H5_F64, d, 1, NULL), KY_OK);
    assert_true(d[0] == -2.5);
    assert_int_equal(ky_h5_read(f, "/n", KY_H5_F32, v, 2, NULL), KY_ESHAPE);
    assert_int_equal(ky_h5_read_rows(f, "/n", KY_H5_F32, 2, 2, v, NULL), KY_ESHAPE);
    assert_int_equal(ky_h5_read_rows(f, "/n", KY_H5_F32, 2, UINT64_MAX - 1, v, NULL), KY_ESHAPE);
    assert_int_equal(ky_h5_read(f, "/m", KY_H5_F32, v, 2, NULL), KY_ENOENT);
    assert_int_equal(ky_h5_read(f, "/n/x", KY_H5_F32, v, 2, NULL), KY_ENOENT);
    assert_int_equal(ky_h5_read(f, "/a", KY_H5_F32, v, 2, NULL), KY_EFORMAT);
    ky_h5_close(f);
}

static int join_names(const char *name, bool is_group, void *arg)
{
    strcat(strcat(arg, name), is_group ? "/ " : " ");
    return 0;
}

static int stop_at_once(const char *name, bool is_group, void *arg)
{
    (void)name;
    (void)is_group;
    ++*(int *)arg;
    return 5;
}

static void members_are_listed_in_order(void **state)
{
    (void)state;
    char names[100] = "";
    int calls = 0;
    ky_h5 *f = NULL;

    assert_int_equal(ky_h5_create(in_dir("list.h5"), &f, NULL), KY_OK);
    assert_int_equal(ky_h5_group(f, "/g/z", NULL), KY_OK);
    assert_int_equal(ky_h5_group(f, "/g/a", NULL), KY_OK);
    assert_int_equal(ky_h5_put(f, "/g/m", KY_H5_U8, 1, (uint64_t[]){ 0 }, NULL, NULL), KY_OK);
    assert_int_equal(ky_h5_commit(f, NULL), KY_OK);

    assert_int_equal(ky_h5_open(in_dir("list.h5"), &f, NULL), KY_OK);
    assert_int_equal(ky_h5_list(f, "/g", join_names, names, NULL), KY_OK);
    assert_string_equal(names, "a/ m z/ ");
    assert_int_equal(ky_h5_list(f, "/g", stop_at_once, &calls, NULL), 5);
    assert_int_equal(calls, 1);
    assert_true(ky_h5_exists(f, "/g/m") && ky_h5_exists(f, "/") && ky_h5_exists(f, "g/m/"));
    assert_false(ky_h5_exists(f, "/g/m/x") || ky_h5_exists(f, "/h") || ky_h5_exists(f, "/g/."));
    assert_true(ky_h5_is_group(f, "/g/a"));
    assert_false(ky_h5_is_group(f, "/g/m"));
    ky_h5_close(f);
}

static void attributes_read_back(void **state)
{
    (void)state;
    const char *const words[] = { "one", "", "dr\xc3\xa9i" };
    ky_h5 *f = NULL;
    char *s = NULL, **all = NULL;
    size_t n = 99;
    double d = 0;

    assert_int_equal(ky_h5_create(in_dir("attrs.h5"), &f, NULL), KY_OK);
    assert_int_equal(ky_h5_set_attr_str(f, "/", "s", "old", NULL), KY_OK);
    assert_int_equal(ky_h5_set_attr_str(f, "/", "s", "text", NULL), KY_OK); /* replaced */
    assert_int_equal(ky_h5_set_attr_strs(f, "/", "words", words, 3, NULL), KY_OK);
    assert_int_equal(ky_h5_set_attr_strs(f, "/", "none", NULL, 0, NULL), KY_OK);
    assert_int_equal(ky_h5_set_attr_num(f, "/", "pi", 3.25, NULL), KY_OK);
    assert_int_equal(ky_h5_set_attr_int(f, "/", "i", -12, NULL), KY_OK);
    assert_int_equal(ky_h5_put_strs(f, "/d/t", words, 3, NULL), KY_OK);
    assert_int_equal(ky_h5_commit(f, NULL), KY_OK);

    assert_int_equal(ky_h5_open(in_dir("attrs.h5"), &f, NULL), KY_OK);
    assert_int_equal(ky_h5_attr_str(f, "/", "s", &s, NULL), KY_OK);
    assert_string_equal(s, "text");
    free(s);
    assert_int_equal(ky_h5_attr_strs(f, "/", "words", &all, &n, NULL), KY_OK);
    assert_int_equal(n, 3);
    for (int i = 0; i < 3; i++)
        assert_string_equal(all[i], words[i]);
    free(all);
    assert_int_equal(ky_h5_read_strs(f, "/d/t", &all, &n, NULL), KY_OK);
    assert_int_equal(n, 3);
    assert_string_equal(all[2], words[2]);
    free(all);
    assert_int_equal(ky_h5_attr_strs(f, "/", "none", &all, &n, NULL), KY_OK);
    assert_int_equal(n, 0);
    free(all);
    assert_int_equal(ky_h5_attr_num(f, "/", "pi", &d, NULL), KY_OK);
    assert_true(d == 3.25);
    assert_int_equal(ky_h5_attr_num(f, "/", "i", &d, NULL), KY_OK);
    assert_true(d == -12);
    assert_int_equal(ky_h5_attr_num(f, "/", "s", &d, NULL), KY_EFORMAT);
    assert_int_equal(ky_h5_attr_str(f, "/", "pi", &s, NULL), KY_EFORMAT);
    assert_int_equal(ky_h5_attr_str(f, "/", "words", &s, NULL), KY_ESHAPE);
    assert_int_equal(ky_h5_attr_strs(f, "/", "absent", &all, &n, NULL), KY_ENOENT);
    assert_true(ky_h5_has_attr(f, "/", "s"));
    assert_false(ky_h5_has_attr(f, "/", "t") || ky_h5_has_attr(f, "/nothing", "s"));
    ky_h5_close(f);
}

static void many_names_are_split_as_keras_does(void **state)
{
    (void)state;
    enum { N = 9001 };
    static char text[N][8];
    const char *names[N];
    char **all = NULL;
    size_t n = 0;
    ky_h5 *f = NULL;

    for (int i = 0; i < N; i++) {
        snprintf(text[i], sizeof(text[i]), "n%d", i);
        names[i] = text[i];
    }
    assert_int_equal(ky_h5_create(in_dir("many.h5"), &f, NULL), KY_OK);
    assert_int_equal(ky_h5_set_attr_strs(f, "/", "layer_names", names, N, NULL), KY_OK);
    assert_int_equal(ky_h5_commit(f, NULL), KY_OK);
    assert_int_equal(ky_h5_open(in_dir("many.h5"), &f, NULL), KY_OK);
    assert_false(ky_h5_has_attr(f, "/", "layer_names"));
    assert_true(ky_h5_has_attr(f, "/", "layer_names2"));
    assert_int_equal(ky_h5_attr_strs(f, "/", "layer_names", &all, &n, NULL), KY_OK);
    assert_int_equal(n, N);
    for (int i = 0; i < N; i++)
        assert_string_equal(all[i], names[i]);
    free(all);
    ky_h5_close(f);
}

static void tables_grow_by_rows(void **state)
{
    (void)state;
    enum { ROWS = 50000 };
    float row[3], *back = malloc(ROWS * sizeof(row));
    ky_h5 *f = NULL;
    ky_h5_info info;

    assert_int_equal(ky_h5_create(in_dir("table.h5"), &f, NULL), KY_OK);
    assert_int_equal(ky_h5_table(f, "/t/x", KY_H5_F32, 2, (uint64_t[]){ 3 }, NULL), KY_OK);
    assert_int_equal(ky_h5_table(f, "/t/time", KY_H5_I64, 1, NULL, NULL), KY_OK);
    for (int64_t i = 0; i < ROWS; i++) {
        row[0] = (float)i;
        row[1] = (float)(i % 7);
        row[2] = -1;
        assert_int_equal(ky_h5_append(f, "/t/x", row, 1, NULL), KY_OK);
        assert_int_equal(ky_h5_append(f, "/t/time", &i, 1, NULL), KY_OK);
    }
    assert_int_equal(ky_h5_append(f, "/t/none", row, 1, NULL), KY_EINVAL);
    assert_int_equal(ky_h5_commit(f, NULL), KY_OK);

    assert_int_equal(ky_h5_open(in_dir("table.h5"), &f, NULL), KY_OK);
    assert_int_equal(ky_h5_stat(f, "/t/x", &info, NULL), KY_OK);
    assert_int_equal(info.dims[0], ROWS);
    assert_int_equal(ky_h5_read(f, "/t/x", KY_H5_F32, back, 3 * ROWS, NULL), KY_OK);
    for (int i = 0; i < ROWS; i++)
        assert_true(back[3 * i] == (float)i && back[3 * i + 1] == (float)(i % 7));
    assert_int_equal(ky_h5_read_rows(f, "/t/x", KY_H5_F32, 30000, 20, back, NULL), KY_OK);
    assert_true(back[0] == 30000 && back[57] == 30019);
    ky_h5_close(f);
    free(back);
}

static void uncommitted_file_leaves_nothing(void **state)
{
    (void)state;
    ky_h5 *f = NULL;
    char names[512];

    snprintf(names, sizeof(names), "test -z \"$(ls %s | grep gone)\"", dir);
    assert_int_equal(ky_h5_create(in_dir("gone.h5"), &f, NULL), KY_OK);
    assert_int_equal(ky_h5_group(f, "/g", NULL), KY_OK);
    assert_int_not_equal(system(names), 0); /* the temporary file */
    ky_h5_close(f);
    assert_int_equal(system(names), 0);
    assert_int_equal(ky_h5_create(in_dir("no-such-folder/gone.h5"), &f, NULL), KY_EIO);
}

static void opening_says_what_is_wrong(void **state)
{
    (void)state;
    ky_h5 *f = NULL;
    ky_err err;

    assert_int_equal(ky_h5_open(in_dir("absent.h5"), &f, &err), KY_ENOENT);
    assert_int_equal(ky_h5_open(dir, &f, &err), KY_EINVAL);
    assert_int_equal(mkfifo(in_dir("fifo"), 0600), 0);
    assert_int_equal(ky_h5_open(in_dir("fifo"), &f, &err), KY_EINVAL); /* and does not wait */
    FILE *text = fopen(in_dir("text.h5"), "w");
    fputs("not a model", text);
    fclose(text);
    assert_int_equal(ky_h5_open(in_dir("text.h5"), &f, &err), KY_EFORMAT);
    assert_non_null(strstr(err.text, "text.h5"));
    assert_int_equal(ky_h5_open_image("", 0, &f, &err), KY_EFORMAT);
}

static void reading_works_beside_readers_but_not_beside_a_writer(void **state)
{
    (void)state;
    ky_h5 *f = NULL, *g = NULL;

    assert_int_equal(ky_h5_create(in_dir("shared.h5"), &f, NULL), KY_OK);
    assert_int_equal(ky_h5_commit(f, NULL), KY_OK);
    chmod(in_dir("shared.h5"), 0444);
    assert_int_equal(ky_h5_open(in_dir("shared.h5"), &f, NULL), KY_OK);
    assert_int_equal(ky_h5_open(in_dir("shared.h5"), &g, NULL), KY_OK);
    ky_h5_close(f);
    ky_h5_close(g);

    int fd = open(in_dir("shared.h5"), O_RDONLY);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    assert_int_equal(ky_h5_open(in_dir("shared.h5"), &f, NULL), KY_EBUSY);
    close(fd);
}

static unsigned char *slurp(const char *path, size_t *ret_len)
{
    FILE *in = fopen(path, "rb");
    assert_non_null(in);
    fseek(in, 0, SEEK_END);
    *ret_len = (size_t)ftell(in);
    rewind(in);
    unsigned char *all = malloc(*ret_len + 1);
    assert_int_equal(fread(all, 1, *ret_len, in), *ret_len);
    fclose(in);
    return all;
}

static void image_in_memory_reads_like_the_file(void **state)
{
    (void)state;
    const float x[2] = { 3, 4 };
    float v[2];
    size_t len;
    ky_h5 *f = NULL;

    assert_int_equal(ky_h5_create(in_dir("image.h5"), &f, NULL), KY_OK);
    assert_int_equal(ky_h5_put(f, "/x", KY_H5_F32, 1, (uint64_t[]){ 2 }, x, NULL), KY_OK);
    assert_int_equal(ky_h5_commit(f, NULL), KY_OK);
    unsigned char *image = slurp(in_dir("image.h5"), &len);
    assert_int_equal(ky_h5_open_image(image, len, &f, NULL), KY_OK);
    memset(image, 0, len); /* it was copied */
    assert_int_equal(ky_h5_read(f, "/x", KY_H5_F32, v, 2, NULL), KY_OK);
    assert_memory_equal(v, x, sizeof(x));
    ky_h5_close(f);
    free(image);
}

static void same_content_gives_the_same_bytes(void **state)
{
    (void)state;
    unsigned char *bytes[2];
    size_t len[2];

    for (int i = 0; i < 2; i++) {
        const float x[2] = { 3, 4 };
        const char *const s = "text";
        ky_h5 *f = NULL;

        assert_int_equal(ky_h5_create(in_dir("same.h5"), &f, NULL), KY_OK);
        assert_int_equal(ky_h5_put(f, "/a/b/x", KY_H5_F32, 1, (uint64_t[]){ 2 }, x, NULL), KY_OK);
        assert_int_equal(ky_h5_put_strs(f, "/a/s", &s, 1, NULL), KY_OK);
        assert_int_equal(ky_h5_set_attr_str(f, "/a", "t", s, NULL), KY_OK);
        assert_int_equal(ky_h5_commit(f, NULL), KY_OK);
        bytes[i] = slurp(in_dir("same.h5"), &len[i]);
    }
    assert_int_equal(len[0], len[1]);
    assert_memory_equal(bytes[0], bytes[1], len[0]);
    free(bytes[0]);
    free(bytes[1]);

    /* The seconds would have to differ for the bytes to show it: so no times at all. */
    hid_t file = H5Fopen(in_dir("same.h5"), H5F_ACC_RDONLY, H5P_DEFAULT);
    for (size_t i = 0; i < 4; i++) {
        H5O_info_t about;

        assert_true(H5Oget_info_by_name(file, (const char *[]){ "/", "/a", "/a/b/x", "/a/s" }[i],
                                        &about, H5P_DEFAULT) >= 0);
        assert_int_equal(about.ctime, 0);
        assert_int_equal(about.mtime, 0);
    }
    H5Fclose(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_read_back_and_convert),
        cmocka_unit_test(members_are_listed_in_order),
        cmocka_unit_test(attributes_read_back),
        cmocka_unit_test(many_names_are_split_as_keras_does),
        cmocka_unit_test(tables_grow_by_rows),
        cmocka_unit_test(uncommitted_file_leaves_nothing),
        cmocka_unit_test(opening_says_what_is_wrong),
        cmocka_unit_test(reading_works_beside_readers_but_not_beside_a_writer),
        cmocka_unit_test(image_in_memory_reads_like_the_file),
        cmocka_unit_test(same_content_gives_the_same_bytes),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
