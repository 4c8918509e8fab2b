#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <math.h>
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
#include <zlib.h>

#include "models/h5.h"
#include "tests/models/dir.h"

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

static void room_that_was_reserved_goes_back(void **state)
{
    (void)state;
    const uint64_t room = 8 << 20;
    const float x[2] = { 1, 2 };
    float v[2];
    struct stat st;
    ky_h5 *f = NULL;

    assert_int_equal(ky_h5_create(in_dir("room.h5"), &f, NULL), KY_OK);
    assert_int_equal(ky_h5_reserve(f, room, NULL), KY_OK);
    assert_int_equal(ky_h5_put(f, "/x", KY_H5_F32, 1, (uint64_t[]){ 2 }, x, NULL), KY_OK);
    assert_int_equal(ky_h5_commit(f, NULL), KY_OK);
    assert_int_equal(stat(in_dir("room.h5"), &st), 0);
    assert_true((uint64_t)st.st_blocks * 512 < room / 2);
    assert_int_equal(ky_h5_open(in_dir("room.h5"), &f, NULL), KY_OK);
    assert_int_equal(ky_h5_read(f, "/x", KY_H5_F32, v, 2, NULL), KY_OK);
    assert_memory_equal(v, x, sizeof(x));
    ky_h5_close(f);
    assert_int_equal(ky_h5_create(in_dir("no-room.h5"), &f, NULL), KY_OK);
    assert_true(ky_h5_reserve(f, UINT64_C(1) << 62, NULL) < 0);
    ky_h5_close(f);
    assert_int_not_equal(access(in_dir("no-room.h5"), F_OK), 0);
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

static void written_in_memory_it_has_the_bytes_of_a_file(void **state)
{
    (void)state;
    const float x[2] = { 3, 4 };
    void *image = NULL;
    size_t len[2];
    ky_h5 *f[2] = { NULL };

    assert_int_equal(ky_h5_create(in_dir("disk.h5"), &f[0], NULL), KY_OK);
    assert_int_equal(ky_h5_create_image(&f[1], NULL), KY_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(ky_h5_put(f[i], "/a/x", KY_H5_F32, 1, (uint64_t[]){ 2 }, x, NULL), KY_OK);
        assert_int_equal(ky_h5_set_attr_str(f[i], "/", "s", "text", NULL), KY_OK);
    }
    assert_int_equal(ky_h5_commit(f[0], NULL), KY_OK);
    assert_int_equal(ky_h5_commit_image(f[1], &image, &len[1], NULL), KY_OK);
    unsigned char *disk = slurp(in_dir("disk.h5"), &len[0]);
    assert_int_equal(len[0], len[1]);
    assert_memory_equal(disk, image, len[0]);
    free(disk);
    free(image);
    assert_int_equal(ky_h5_create_image(&f[1], NULL), KY_OK);
    ky_h5_close(f[1]); /* and forgotten */
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

/* -- hostile files --------------------------------------------------------------------------- */

/* A new file, past our guards. */
static hid_t raw_file(const char *name)
{
    hid_t f = H5Fcreate(in_dir(name), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);

    assert_true(f >= 0);
    return f;
}

static hid_t raw_chunked(hid_t f, const char *name, hid_t type, int rank, const hsize_t *dims,
                         const hsize_t *chunk, int deflate)
{
    hid_t space = H5Screate_simple(rank, dims, NULL), dcpl = H5Pcreate(H5P_DATASET_CREATE);

    H5Pset_chunk(dcpl, rank, chunk);
    if (deflate)
        H5Pset_deflate(dcpl, 9);
    hid_t d = H5Dcreate2(f, name, type, space, H5P_DEFAULT, dcpl, H5P_DEFAULT);
    assert_true(d >= 0);
    H5Pclose(dcpl);
    H5Sclose(space);
    return d;
}

/* Reading /x is refused with this code and word, in no memory to speak of. */
static void assert_refused(const char *name, int code, const char *says)
{
    float v[4];
    ky_h5 *f = NULL;
    ky_h5_info info;
    ky_err err = { 0 };
    struct rusage before, after;

    getrusage(RUSAGE_SELF, &before);
    assert_int_equal(ky_h5_open(in_dir(name), &f, NULL), KY_OK);
    int rc = ky_h5_stat(f, "/x", &info, &err);
    if (rc == KY_OK)
        rc = ky_h5_read_rows(f, "/x", KY_H5_F32, 0, 1, v, &err);
    if (rc != code || strstr(err.text, says) == NULL)
        fail_msg("%s: %d, %s", name, rc, err.text);
    ky_h5_close(f);
    getrusage(RUSAGE_SELF, &after);
    assert_true(after.ru_maxrss - before.ru_maxrss < 64 << 10); /* KiB */
}

static void shape_bomb_is_refused(void **state)
{
    (void)state;
    const hsize_t dims[2] = { 50000000, 50000000 }, chunk[2] = { 1000, 1000 };
    hid_t f = raw_file("shape.h5");

    H5Dclose(raw_chunked(f, "x", H5T_IEEE_F32LE, 2, dims, chunk, 1));
    H5Fclose(f);
    assert_refused("shape.h5", KY_EFULL, "declares");
}

static void declared_but_unwritten_dataset_is_refused(void **state)
{
    (void)state;
    const hsize_t dims[1] = { 100000 }, chunk[1] = { 1000 };
    hid_t f = raw_file("unwritten.h5");

    H5Dclose(raw_chunked(f, "x", H5T_IEEE_F32LE, 1, dims, chunk, 1));
    H5Fclose(f);
    assert_refused("unwritten.h5", KY_EFULL, "stores 0");
}

static void huge_chunk_is_refused(void **state)
{
    (void)state;
    const hsize_t dims[1] = { 1 << 28 }, chunk[1] = { 1 << 28 };
    hid_t f = raw_file("chunk.h5");
    hid_t d = raw_chunked(f, "x", H5T_IEEE_F32LE, 1, dims, chunk, 1);
    const char packed[8] = { 0 };

    H5Dwrite_chunk(d, H5P_DEFAULT, 0, (hsize_t[]){ 0 }, sizeof(packed), packed);
    H5Dclose(d);
    H5Fclose(f);
    assert_refused("chunk.h5", KY_EFULL, "chunks are larger");
}

/* A chunk of 4 floats whose stored bytes inflate to something else. */
static void write_packed(const char *name, const void *plain, size_t n, bool cut)
{
    const hsize_t dims[1] = { 4 }, chunk[1] = { 4 };
    unsigned char packed[70000];
    uLongf size = sizeof(packed);
    hid_t f = raw_file(name);
    hid_t d = raw_chunked(f, "x", H5T_IEEE_F32LE, 1, dims, chunk, 1);

    assert_int_equal(compress2(packed, &size, plain, n, 9), Z_OK);
    H5Dwrite_chunk(d, H5P_DEFAULT, 0, (hsize_t[]){ 0 }, cut ? size / 2 : size, packed);
    H5Dclose(d);
    H5Fclose(f);
}

static void chunk_that_unpacks_to_another_size_is_refused(void **state)
{
    (void)state;
    enum { BOMB = 8 << 20 };
    unsigned char *zeros = calloc(1, BOMB);

    write_packed("fine.h5", zeros, 16, false);
    float v[4];
    ky_h5 *f = NULL;
    assert_int_equal(ky_h5_open(in_dir("fine.h5"), &f, NULL), KY_OK);
    assert_int_equal(ky_h5_read(f, "/x", KY_H5_F32, v, 4, NULL), KY_OK);
    ky_h5_close(f);
    write_packed("short.h5", zeros, 12, false);
    assert_refused("short.h5", KY_EFORMAT, "chunk");
    write_packed("long.h5", zeros, 20, false);
    assert_refused("long.h5", KY_EFORMAT, "chunk");
    write_packed("cut.h5", zeros, 16, true);
    assert_refused("cut.h5", KY_EFORMAT, "chunk");
    write_packed("bomb.h5", zeros, BOMB, false); /* 8 KB of file for 16 bytes */
    assert_refused("bomb.h5", KY_EFORMAT, "chunk");
    free(zeros);
}

static void external_storage_is_refused(void **state)
{
    (void)state;
    const hsize_t dim = 16;
    hid_t f = raw_file("external.h5"), space = H5Screate_simple(1, &dim, NULL);
    hid_t dcpl = H5Pcreate(H5P_DATASET_CREATE);

    H5Pset_external(dcpl, "/etc/passwd", 0, 64);
    H5Dclose(H5Dcreate2(f, "x", H5T_IEEE_F32LE, space, H5P_DEFAULT, dcpl, H5P_DEFAULT));
    H5Pclose(dcpl);
    H5Sclose(space);
    H5Fclose(f);
    assert_refused("external.h5", KY_EUNSUPPORTED, "another file");
}

static void virtual_dataset_is_refused(void **state)
{
    (void)state;
    const hsize_t dim = 16;
    hid_t f = raw_file("virtual.h5"), space = H5Screate_simple(1, &dim, NULL);
    hid_t dcpl = H5Pcreate(H5P_DATASET_CREATE);

    H5Pset_virtual(dcpl, space, "elsewhere.h5", "/x", space);
    H5Dclose(H5Dcreate2(f, "x", H5T_IEEE_F32LE, space, H5P_DEFAULT, dcpl, H5P_DEFAULT));
    H5Pclose(dcpl);
    H5Sclose(space);
    H5Fclose(f);
    assert_refused("virtual.h5", KY_EUNSUPPORTED, "virtual");
}

static void links_are_not_followed(void **state)
{
    (void)state;
    const float v[1] = { 1 };
    char names[100] = "";
    ky_h5 *f = NULL;
    hid_t raw = raw_file("links.h5");

    H5Lcreate_soft("/x", raw, "x", H5P_DEFAULT, H5P_DEFAULT);
    H5Lcreate_external("elsewhere.h5", "/", raw, "e", H5P_DEFAULT, H5P_DEFAULT);
    H5Lcreate_hard(raw, "/", raw, "loop", H5P_DEFAULT, H5P_DEFAULT);
    H5Fclose(raw);
    assert_refused("links.h5", KY_EUNSUPPORTED, "link");
    assert_int_equal(ky_h5_open(in_dir("links.h5"), &f, NULL), KY_OK);
    assert_false(ky_h5_exists(f, "/x") || ky_h5_exists(f, "/e") || ky_h5_exists(f, "/e/y"));
    assert_int_equal(ky_h5_read(f, "/e/y", KY_H5_F32, (void *)(uintptr_t)v, 1, NULL),
                     KY_EUNSUPPORTED);
    assert_int_equal(ky_h5_list(f, "/", join_names, names, NULL), KY_OK);
    assert_string_equal(names, "loop/ ");
    /* A cycle of hard links ends at the bound. */
    char path[6 * 40] = "";
    for (int i = 0; i < 40; i++)
        strcat(path, "/loop");
    assert_false(ky_h5_exists(f, path));
    ky_h5_close(f);
}

static void deep_groups_are_bounded(void **state)
{
    (void)state;
    char path[3 * 2001] = "";
    ky_h5 *f = NULL;
    hid_t raw = raw_file("deep.h5"), at = H5Gopen2(raw, "/", H5P_DEFAULT);

    for (int i = 0; i < 2000; i++) {
        hid_t next = H5Gcreate2(at, "a", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);

        H5Gclose(at);
        at = next;
        strcat(path, "/a");
    }
    H5Gclose(at);
    H5Fclose(raw);
    assert_int_equal(ky_h5_open(in_dir("deep.h5"), &f, NULL), KY_OK);
    assert_false(ky_h5_exists(f, path));
    path[2 * 16] = '\0';
    assert_true(ky_h5_exists(f, path));
    ky_h5_close(f);
}

static void unknown_filter_is_refused(void **state)
{
    (void)state;
    const hsize_t dim = 16, chunk = 4;
    const unsigned option = 0;
    hid_t f = raw_file("filter.h5"), space = H5Screate_simple(1, &dim, NULL);
    hid_t dcpl = H5Pcreate(H5P_DATASET_CREATE);

    H5Pset_chunk(dcpl, 1, &chunk);
    H5Pset_filter(dcpl, 32001, H5Z_FLAG_OPTIONAL, 1, &option); /* blosc */
    hid_t d = H5Dcreate2(f, "x", H5T_IEEE_F32LE, space, H5P_DEFAULT, dcpl, H5P_DEFAULT);
    assert_true(d >= 0);
    H5Dclose(d);
    H5Pclose(dcpl);
    H5Sclose(space);
    H5Fclose(f);
    assert_refused("filter.h5", KY_EUNSUPPORTED, "filter 32001");
}

static void types_that_are_no_numbers_are_refused(void **state)
{
    (void)state;
    const hsize_t dim = 4;
    const char bytes[256] = { 0 };
    hid_t f = raw_file("types.h5"), space = H5Screate_simple(1, &dim, NULL);
    hid_t pair = H5Tcreate(H5T_COMPOUND, 8), list = H5Tvlen_create(H5T_IEEE_F32LE);
    hid_t odd = H5Tcopy(H5T_IEEE_F32LE);

    H5Tinsert(pair, "a", 0, H5T_IEEE_F32LE);
    H5Tset_ebias(odd, 100);
    const hid_t types[] = { pair, list, odd, H5T_STD_REF_OBJ };
    for (size_t i = 0; i < 4; i++) {
        char name[] = { (char)('a' + i), '\0' };
        hid_t d = H5Dcreate2(f, name, types[i], space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);

        H5Dwrite(d, types[i], H5S_ALL, H5S_ALL, H5P_DEFAULT, bytes);
        H5Dclose(d);
    }
    H5Tclose(pair);
    H5Tclose(list);
    H5Tclose(odd);
    H5Sclose(space);
    H5Fclose(f);

    ky_h5 *in = NULL;
    assert_int_equal(ky_h5_open(in_dir("types.h5"), &in, NULL), KY_OK);
    for (size_t i = 0; i < 4; i++) {
        const char name[] = { '/', (char)('a' + i), '\0' };
        float v[4];
        char **s;
        size_t n;

        assert_true(ky_h5_read(in, name, KY_H5_F32, v, 4, NULL) < 0);
        assert_true(ky_h5_read_strs(in, name, &s, &n, NULL) < 0);
    }
    ky_h5_close(in);
}

/* -- what other writers make ----------------------------------------------------------------- */

static void other_encodings_of_numbers_are_read(void **state)
{
    (void)state;
    enum { ROWS = 23, COLS = 5 };
    const hsize_t dims[2] = { ROWS, COLS }, chunk[2] = { 4, 3 };
    const hid_t types[] = { H5T_IEEE_F32BE, H5T_IEEE_F64LE, H5T_STD_I16BE, H5T_STD_U8LE };
    double x[ROWS][COLS];
    float all[ROWS][COLS], some[7][COLS];

    for (int i = 0; i < ROWS * COLS; i++)
        x[i / COLS][i % COLS] = i;
    for (size_t t = 0; t < 4; t++)
        for (int filters = 0; filters < 8; filters++) {
            hid_t f = raw_file("encoded.h5"), space = H5Screate_simple(2, dims, NULL);
            hid_t dcpl = H5Pcreate(H5P_DATASET_CREATE);
            ky_h5 *in = NULL;

            H5Pset_chunk(dcpl, 2, chunk);
            if (filters & 1)
                H5Pset_shuffle(dcpl);
            if (filters & 2)
                H5Pset_deflate(dcpl, 6);
            if (filters & 4)
                H5Pset_fletcher32(dcpl);
            hid_t d = H5Dcreate2(f, "x", types[t], space, H5P_DEFAULT, dcpl, H5P_DEFAULT);
            assert_true(H5Dwrite(d, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, x) >= 0);
            H5Dclose(d);
            H5Pclose(dcpl);
            H5Sclose(space);
            H5Fclose(f);
            assert_int_equal(ky_h5_open(in_dir("encoded.h5"), &in, NULL), KY_OK);
            assert_int_equal(ky_h5_read(in, "/x", KY_H5_F32, all, ROWS * COLS, NULL), KY_OK);
            assert_int_equal(ky_h5_read_rows(in, "/x", KY_H5_F32, 6, 7, some, NULL), KY_OK);
            ky_h5_close(in);
            for (int i = 0; i < ROWS * COLS; i++)
                assert_true(all[i / COLS][i % COLS] == (float)i);
            assert_memory_equal(some, all[6], sizeof(some));
        }
}

static void numbers_that_do_not_fit_are_cut_to_the_nearest(void **state)
{
    (void)state;
    const double x[6] = { 1e10, -1e10, NAN, INFINITY, -0.9, 254.9 };
    const int64_t n[3] = { INT64_MIN, -1, INT64_MAX };
    const int32_t want32[6] = { INT32_MAX, INT32_MIN, 0, INT32_MAX, 0, 254 };
    const uint8_t want8[6] = { 255, 0, 0, 255, 0, 254 };
    const int16_t want16[3] = { INT16_MIN, -1, INT16_MAX };
    const uint64_t want64[3] = { 0, 0, INT64_MAX };
    int32_t i32[6];
    uint8_t u8[6];
    int16_t i16[3];
    uint64_t u64[3];
    int64_t i64[3];
    float f32[3];
    ky_h5 *f = NULL;

    assert_int_equal(ky_h5_create(in_dir("cut.h5"), &f, NULL), KY_OK);
    assert_int_equal(ky_h5_put(f, "/x", KY_H5_F64, 1, (uint64_t[]){ 6 }, x, NULL), KY_OK);
    assert_int_equal(ky_h5_put(f, "/n", KY_H5_I64, 1, (uint64_t[]){ 3 }, n, NULL), KY_OK);
    assert_int_equal(ky_h5_commit(f, NULL), KY_OK);
    assert_int_equal(ky_h5_open(in_dir("cut.h5"), &f, NULL), KY_OK);
    assert_int_equal(ky_h5_read(f, "/x", KY_H5_I32, i32, 6, NULL), KY_OK);
    assert_int_equal(ky_h5_read(f, "/x", KY_H5_U8, u8, 6, NULL), KY_OK);
    assert_int_equal(ky_h5_read(f, "/n", KY_H5_I16, i16, 3, NULL), KY_OK);
    assert_int_equal(ky_h5_read(f, "/n", KY_H5_U64, u64, 3, NULL), KY_OK);
    assert_int_equal(ky_h5_read(f, "/n", KY_H5_I64, i64, 3, NULL), KY_OK);
    assert_int_equal(ky_h5_read(f, "/n", KY_H5_F32, f32, 3, NULL), KY_OK);
    ky_h5_close(f);
    assert_memory_equal(i32, want32, sizeof(i32));
    assert_memory_equal(u8, want8, sizeof(u8));
    assert_memory_equal(i16, want16, sizeof(i16));
    assert_memory_equal(u64, want64, sizeof(u64));
    assert_memory_equal(i64, n, sizeof(i64));
    assert_true(f32[0] == -0x1p63f && f32[1] == -1 && f32[2] == 0x1p63f);
}

static void half_precision_is_read(void **state)
{
    (void)state;
    const hsize_t dim = 7;
    const uint16_t bits[7] = { 0x3c00, 0xc000, 0x0001, 0x7bff, 0x7c00, 0x8000, 0x3555 };
    const float want[7] = { 1, -2, 0x1p-24f, 65504, INFINITY, -0.0f, 0.333251953125f };
    float v[7];
    hid_t f = raw_file("half.h5"), space = H5Screate_simple(1, &dim, NULL);
    hid_t half = H5Tcopy(H5T_IEEE_F32LE);
    ky_h5 *in = NULL;

    H5Tset_fields(half, 15, 10, 5, 0, 10);
    H5Tset_size(half, 2);
    H5Tset_ebias(half, 15);
    hid_t d = H5Dcreate2(f, "x", half, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(H5Dwrite(d, half, H5S_ALL, H5S_ALL, H5P_DEFAULT, bits) >= 0);
    H5Dclose(d);
    H5Tclose(half);
    H5Sclose(space);
    H5Fclose(f);
    assert_int_equal(ky_h5_open(in_dir("half.h5"), &in, NULL), KY_OK);
    assert_int_equal(ky_h5_read(in, "/x", KY_H5_F32, v, 7, NULL), KY_OK);
    assert_memory_equal(v, want, sizeof(v));
    ky_h5_close(in);
}

/* Two bytes of no type with an attribute that names them, as Keras 3.15 stores bfloat16. */
static void bfloat16_is_read(void **state)
{
    (void)state;
    const hsize_t dim = 4;
    const uint16_t bits[4] = { 0x3f80, 0xc000, 0x3e80, 0x8000 };
    const float want[4] = { 1, -2, 0.25f, -0.0f };
    float v[4];
    hid_t f = raw_file("brain.h5"), space = H5Screate_simple(1, &dim, NULL);
    hid_t two = H5Tcreate(H5T_OPAQUE, 2), text = H5Tcopy(H5T_C_S1);
    hid_t one = H5Screate(H5S_SCALAR);
    const char *const name = "bfloat16";
    ky_h5_info info;
    ky_h5 *in = NULL;

    H5Tset_size(text, H5T_VARIABLE);
    for (int i = 0; i < 2; i++) {
        hid_t d =
            H5Dcreate2(f, i == 0 ? "x" : "no", two, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);

        assert_true(H5Dwrite(d, two, H5S_ALL, H5S_ALL, H5P_DEFAULT, bits) >= 0);
        if (i == 0) {
            hid_t a = H5Acreate2(d, "dtype", text, one, H5P_DEFAULT, H5P_DEFAULT);
            assert_true(H5Awrite(a, text, &name) >= 0);
            H5Aclose(a);
        }
        H5Dclose(d);
    }
    H5Sclose(one);
    H5Tclose(text);
    H5Tclose(two);
    H5Sclose(space);
    H5Fclose(f);
    assert_int_equal(ky_h5_open(in_dir("brain.h5"), &in, NULL), KY_OK);
    assert_int_equal(ky_h5_stat(in, "/x", &info, NULL), KY_OK);
    assert_int_equal(info.type, KY_H5_F32);
    assert_int_equal(ky_h5_read(in, "/x", KY_H5_F32, v, 4, NULL), KY_OK);
    assert_memory_equal(v, want, sizeof(v));
    assert_int_equal(ky_h5_read(in, "/no", KY_H5_F32, v, 4, NULL), KY_EUNSUPPORTED);
    ky_h5_close(in);
}

static void file_behind_a_user_block_is_read(void **state)
{
    (void)state;
    const hsize_t dims[2] = { 6, 4 }, chunk[2] = { 4, 4 };
    float x[24], v[24];
    char **s = NULL;
    const char *const word = "word";
    size_t n;
    hid_t fcpl = H5Pcreate(H5P_FILE_CREATE);
    ky_h5 *in = NULL;

    for (int i = 0; i < 24; i++)
        x[i] = (float)i;
    H5Pset_userblock(fcpl, 1024); /* as MATLAB does */
    hid_t f = H5Fcreate(in_dir("block.h5"), H5F_ACC_TRUNC, fcpl, H5P_DEFAULT);
    hid_t d = raw_chunked(f, "x", H5T_IEEE_F32LE, 2, dims, chunk, 1);
    H5Dwrite(d, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, x);
    H5Dclose(d);
    hid_t type = H5Tcopy(H5T_C_S1), space = H5Screate(H5S_SCALAR);
    H5Tset_size(type, H5T_VARIABLE);
    d = H5Dcreate2(f, "s", type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    H5Dwrite(d, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, &word);
    H5Dclose(d);
    H5Tclose(type);
    H5Sclose(space);
    H5Pclose(fcpl);
    H5Fclose(f);
    assert_int_equal(ky_h5_open(in_dir("block.h5"), &in, NULL), KY_OK);
    for (int held = 0; held < 2; held++) {
        memset(v, 0, sizeof(v));
        assert_int_equal(ky_h5_read(in, "/x", KY_H5_F32, v, 24, NULL), KY_OK);
        assert_memory_equal(v, x, sizeof(x));
        assert_int_equal(ky_h5_read_strs(in, "/s", &s, &n, NULL), KY_OK);
        assert_string_equal(s[0], word);
        free(s);
        assert_int_equal(ky_h5_hold(in, held == 0 ? 1000 : 1 << 20, NULL), KY_OK);
        assert_int_equal(ky_h5_hold(in, 1 << 20, NULL), KY_OK); /* from memory, too */
    }
    ky_h5_close(in);
}

static void chunks_never_written_hold_the_fill_value(void **state)
{
    (void)state;
    const hsize_t dims[1] = { 12 }, chunk[1] = { 4 }, start[1] = { 4 };
    const float fill = -1, x[4] = { 1, 2, 3, 4 };
    float v[12];
    hid_t f = raw_file("fill.h5"), space = H5Screate_simple(1, dims, NULL);
    hid_t dcpl = H5Pcreate(H5P_DATASET_CREATE), memory = H5Screate_simple(1, chunk, NULL);
    ky_h5 *in = NULL;

    H5Pset_chunk(dcpl, 1, chunk);
    H5Pset_fill_value(dcpl, H5T_NATIVE_FLOAT, &fill);
    hid_t d = H5Dcreate2(f, "x", H5T_IEEE_F32LE, space, H5P_DEFAULT, dcpl, H5P_DEFAULT);
    H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, chunk, NULL);
    H5Dwrite(d, H5T_NATIVE_FLOAT, memory, space, H5P_DEFAULT, x);
    H5Dclose(d);
    H5Pclose(dcpl);
    H5Sclose(memory);
    H5Sclose(space);
    H5Fclose(f);
    assert_int_equal(ky_h5_open(in_dir("fill.h5"), &in, NULL), KY_OK);
    assert_int_equal(ky_h5_read(in, "/x", KY_H5_F32, v, 12, NULL), KY_OK);
    ky_h5_close(in);
    for (int i = 0; i < 12; i++)
        assert_true(v[i] == (i / 4 == 1 ? x[i - 4] : fill));
}

/* Fixed fields padded with NUL or spaces, and text in chunks, in both kinds of object header. */
static void other_encodings_of_text_are_read(void **state)
{
    (void)state;
    for (int latest = 0; latest < 2; latest++) {
        hid_t fapl = H5Pcreate(H5P_FILE_ACCESS);
        if (latest)
            H5Pset_libver_bounds(fapl, H5F_LIBVER_LATEST, H5F_LIBVER_LATEST);
        hid_t f = H5Fcreate(in_dir("text.h5"), H5F_ACC_TRUNC, H5P_DEFAULT, fapl);
        hid_t fixed = H5Tcopy(H5T_C_S1), spaced = H5Tcopy(H5T_FORTRAN_S1);
        hid_t variable = H5Tcopy(H5T_C_S1);
        const hsize_t dim = 3, chunk = 2;
        const char *const words[] = { "one", NULL, "three" };
        hid_t space = H5Screate_simple(1, &dim, NULL);

        H5Tset_size(fixed, 4);
        H5Tset_strpad(fixed, H5T_STR_NULLPAD);
        H5Tset_size(spaced, 4);
        H5Tset_size(variable, H5T_VARIABLE);
        hid_t a = H5Acreate2(f, "fixed", fixed, space, H5P_DEFAULT, H5P_DEFAULT);
        H5Awrite(a, fixed, "ab\0\0abcd\0\0\0\0");
        H5Aclose(a);
        a = H5Acreate2(f, "spaced", spaced, space, H5P_DEFAULT, H5P_DEFAULT);
        H5Awrite(a, spaced, "ab  abcd    ");
        H5Aclose(a);
        a = H5Acreate2(f, "variable", variable, space, H5P_DEFAULT, H5P_DEFAULT);
        H5Awrite(a, variable, words);
        H5Aclose(a);
        hid_t d = raw_chunked(f, "chunked", variable, 1, &dim, &chunk, 1);
        H5Dwrite(d, variable, H5S_ALL, H5S_ALL, H5P_DEFAULT, words);
        H5Dclose(d);
        d = H5Dcreate2(f, "piece", variable, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
        H5Dwrite(d, variable, H5S_ALL, H5S_ALL, H5P_DEFAULT, words);
        H5Dclose(d);
        H5Tclose(fixed);
        H5Tclose(spaced);
        H5Tclose(variable);
        H5Sclose(space);
        H5Pclose(fapl);
        H5Fclose(f);

        ky_h5 *in = NULL;
        char **s = NULL;
        size_t n = 0;
        assert_int_equal(ky_h5_open(in_dir("text.h5"), &in, NULL), KY_OK);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(ky_h5_attr_strs(in, "/", i == 0 ? "fixed" : "spaced", &s, &n, NULL),
                             KY_OK);
            assert_int_equal(n, 3);
            assert_string_equal(s[0], "ab");
            assert_string_equal(s[1], "abcd");
            assert_string_equal(s[2], "");
            free(s);
        }
        for (int i = 0; i < 3; i++) {
            ky_err err = { 0 };
            int rc = i == 0 ? ky_h5_attr_strs(in, "/", "variable", &s, &n, &err)
                            : ky_h5_read_strs(in, i == 1 ? "/chunked" : "/piece", &s, &n, &err);

            if (latest && i == 1) { /* an index of the newest kind */
                assert_int_equal(rc, KY_EUNSUPPORTED);
                assert_non_null(strstr(err.text, "h5repack"));
                continue;
            }
            if (rc < 0)
                fail_msg("%s, %s format", err.text, latest ? "latest" : "old");
            assert_int_equal(n, 3);
            assert_string_equal(s[0], "one");
            assert_string_equal(s[1], "");
            assert_string_equal(s[2], "three");
            free(s);
        }
        ky_h5_close(in);
    }
}

/* -- damage ------------------------------------------------------------------------------------ */

struct walk {
    ky_h5 *f;
    char path[600];
    int depth, objects;
};

/* Reads whatever a damaged file claims to hold. */
static int read_everything(const char *name, bool is_group, void *arg)
{
    struct walk *w = arg;
    size_t at = strlen(w->path);
    ky_h5_info info;
    char **s = NULL;
    size_t n;

    if (at + strlen(name) + 2 > sizeof(w->path) || ++w->objects > 1000)
        return 1;
    sprintf(w->path + at, "/%s", name);
    if (is_group && w->depth < 8) {
        w->depth++;
        ky_h5_list(w->f, w->path, read_everything, w, NULL);
        w->depth--;
    } else if (ky_h5_stat(w->f, w->path, &info, NULL) == KY_OK && info.count < 1 << 20) {
        double *v = malloc(info.count * sizeof(*v) + 1);

        ky_h5_read(w->f, w->path, KY_H5_F64, v, info.count, NULL);
        free(v);
        if (ky_h5_read_strs(w->f, w->path, &s, &n, NULL) == KY_OK)
            free(s);
    }
    if (ky_h5_attr_strs(w->f, w->path, "names", &s, &n, NULL) == KY_OK)
        free(s);
    w->path[at] = '\0';
    return 0;
}

static void write_sample(const char *name)
{
    static const char *const words[] = { "one", "two", "three" };
    float x[400];
    ky_h5 *f = NULL;

    for (int i = 0; i < 400; i++)
        x[i] = (float)i;
    assert_int_equal(ky_h5_create(in_dir(name), &f, NULL), KY_OK);
    ky_h5_put(f, "/a/x", KY_H5_F32, 2, (uint64_t[]){ 20, 20 }, x, NULL);
    ky_h5_table(f, "/a/t", KY_H5_F32, 2, (uint64_t[]){ 20 }, NULL);
    ky_h5_append(f, "/a/t", x, 20, NULL);
    ky_h5_put_strs(f, "/b/s", words, 3, NULL);
    ky_h5_set_attr_strs(f, "/a", "names", words, 3, NULL);
    assert_int_equal(ky_h5_commit(f, NULL), KY_OK);
}

static void every_truncation_is_refused(void **state)
{
    (void)state;
    size_t len;

    write_sample("sample.h5");
    unsigned char *image = slurp(in_dir("sample.h5"), &len);
    for (size_t percent = 0; percent < 100; percent++) {
        ky_h5 *f = NULL;

        assert_int_equal(ky_h5_open_image(image, len * percent / 100, &f, NULL), KY_EFORMAT);
    }
    free(image);
}

static void flipped_bits_never_crash_the_reader(void **state)
{
    (void)state;
    size_t len;
    uint64_t seed = 12345;

    write_sample("sample.h5");
    unsigned char *image = slurp(in_dir("sample.h5"), &len), *bad = malloc(len);
    for (int i = 0; i < 2000; i++) {
        struct walk w = { 0 };

        memcpy(bad, image, len);
        for (int k = 0; k <= i % 4; k++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            bad[(seed >> 32) % len] ^= (unsigned char)(1 << (seed >> 20) % 8);
        }
        if (ky_h5_open_image(bad, len, &w.f, NULL) < 0)
            continue;
        ky_h5_list(w.f, "/", read_everything, &w, NULL);
        ky_h5_close(w.f);
    }
    free(image);
    free(bad);
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
        cmocka_unit_test(written_in_memory_it_has_the_bytes_of_a_file),
        cmocka_unit_test(same_content_gives_the_same_bytes),
        cmocka_unit_test(shape_bomb_is_refused),
        cmocka_unit_test(declared_but_unwritten_dataset_is_refused),
        cmocka_unit_test(huge_chunk_is_refused),
        cmocka_unit_test(chunk_that_unpacks_to_another_size_is_refused),
        cmocka_unit_test(external_storage_is_refused),
        cmocka_unit_test(virtual_dataset_is_refused),
        cmocka_unit_test(links_are_not_followed),
        cmocka_unit_test(deep_groups_are_bounded),
        cmocka_unit_test(unknown_filter_is_refused),
        cmocka_unit_test(types_that_are_no_numbers_are_refused),
        cmocka_unit_test(other_encodings_of_numbers_are_read),
        cmocka_unit_test(numbers_that_do_not_fit_are_cut_to_the_nearest),
        cmocka_unit_test(half_precision_is_read),
        cmocka_unit_test(bfloat16_is_read),
        cmocka_unit_test(file_behind_a_user_block_is_read),
        cmocka_unit_test(chunks_never_written_hold_the_fill_value),
        cmocka_unit_test(other_encodings_of_text_are_read),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(room_that_was_reserved_goes_back),
        cmocka_unit_test(flipped_bits_never_crash_the_reader),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
