/* What the tests of `kymo import` share: files made here, and what came of them. */
#ifndef KY_TESTS_CLI_IMPORT_H
#define KY_TESTS_CLI_IMPORT_H

#include "tests/cli/run.h"

#include <math.h>

#include "models/h5.h"

static inline void put_bytes(const char *name, const void *bytes, size_t n)
{
    char path[4096];
    FILE *f = fopen(in_dir(name, path), "w");

    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static inline void put_text(const char *name, const char *text)
{
    put_bytes(name, text, strlen(text));
}

static inline void put_folder(const char *name)
{
    char path[4096];

    assert_int_equal(mkdir(in_dir(name, path), 0700), 0);
}

static inline ky_h5 *open_h5(const char *name)
{
    char path[4096];
    ky_h5 *f = NULL;
    ky_err err = { 0 };

    if (ky_h5_open(name[0] == '/' ? name : in_dir(name, path), &f, &err) != KY_OK)
        fail_msg("%s", err.text);
    return f;
}

/* Values of a dataset as doubles, NaN where it has NaN; free(). */
static inline double *values_of(ky_h5 *f, const char *path, ky_h5_info *ret)
{
    double *v;

    assert_int_equal(ky_h5_stat(f, path, ret, NULL), KY_OK);
    v = malloc((ret->count + 1) * sizeof *v);
    assert_int_equal(ky_h5_read(f, path, KY_H5_F64, v, ret->count, NULL), KY_OK);
    return v;
}

/* The dataset of a file has this shape and these values. */
static inline void holds(const char *file, const char *path, int rank, const uint64_t *dims,
                         const double *want)
{
    ky_h5 *f = open_h5(file);
    ky_h5_info i;
    double *v = values_of(f, path, &i);

    assert_int_equal(i.rank, rank);
    for (int k = 0; k < rank; k++)
        assert_int_equal(i.dims[k], dims[k]);
    for (size_t k = 0; k < i.count; k++)
        if (v[k] != want[k] && !(isnan(v[k]) && isnan(want[k])))
            fail_msg("%s%s: value %zu is %g, not %g", file, path, k, v[k], want[k]);
    free(v);
    ky_h5_close(f);
}

#define HOLDS(file, path, dims, ...)                                                               \
    holds(file, path, (int)(sizeof(uint64_t[]) dims / sizeof(uint64_t)), (const uint64_t[])dims,   \
          (const double[]){ __VA_ARGS__ })
#define DIMS(...)                                                                                  \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

static inline bool has(const char *file, const char *path)
{
    ky_h5 *f = open_h5(file);
    bool there = ky_h5_exists(f, path);

    ky_h5_close(f);
    return there;
}

/* The strings of an attribute of the root, joined by "|". */
static inline const char *strings_of(const char *file, const char *name)
{
    static char joined[4096];
    ky_h5 *f = open_h5(file);
    char **s = NULL;
    size_t n = 0;

    joined[0] = '\0';
    assert_int_equal(ky_h5_attr_strs(f, "/", name, &s, &n, NULL), KY_OK);
    for (size_t i = 0; i < n; i++)
        snprintf(joined + strlen(joined), sizeof joined - strlen(joined), "%s%s", i > 0 ? "|" : "",
                 s[i]);
    free(s);
    ky_h5_close(f);
    return joined;
}

/* It ends with 1, one line on stderr that says so, and no file. */
static inline void fails(const char *words, const char *says)
{
    char path[4096];
    ran *r = run(words);

    if (r->code != 1 || strstr(r->err, says) == NULL ||
        strchr(r->err, '\n') != strrchr(r->err, '\n'))
        fail_msg("kymo %s: exit %d, not 1 with '%s': %s", words, r->code, says, r->err);
    assert_int_not_equal(access(in_dir("bad.h5", path), F_OK), 0);
}

/* Rows of one dataset in two files, block by block; float32 holds them all exactly. */
static inline void same_rows(ky_h5 *a, ky_h5 *b, const char *path)
{
    enum { ROWS = 1000 };
    ky_h5_info i, j;
    float *v, *w;

    assert_int_equal(ky_h5_stat(a, path, &i, NULL), KY_OK);
    assert_int_equal(ky_h5_stat(b, path, &j, NULL), KY_OK);
    assert_int_equal(i.type, j.type);
    assert_int_equal(i.rank, j.rank);
    assert_memory_equal(i.dims, j.dims, (size_t)i.rank * sizeof *i.dims);
    size_t row = i.count / i.dims[0];
    v = malloc(ROWS * row * sizeof *v);
    w = malloc(ROWS * row * sizeof *w);
    for (uint64_t at = 0; at < i.dims[0]; at += ROWS) {
        uint64_t n = i.dims[0] - at < ROWS ? i.dims[0] - at : ROWS;

        assert_int_equal(ky_h5_read_rows(a, path, KY_H5_F32, at, n, v, NULL), KY_OK);
        assert_int_equal(ky_h5_read_rows(b, path, KY_H5_F32, at, n, w, NULL), KY_OK);
        for (size_t k = 0; k < n * row; k++)
            if (v[k] != w[k] && !(isnan(v[k]) && isnan(w[k])))
                fail_msg("%s: value %zu behind row %llu is %.9g, not %.9g", path, k,
                         (unsigned long long)at, (double)v[k], (double)w[k]);
    }
    free(v);
    free(w);
}

/* Values, labels and lengths of `want` are in `got`, to the bit, and no others. */
static inline void same_data(const char *got, const char *want)
{
    static const char *const names[] = { "/X_train", "/X_test",    "/y_train",
                                         "/y_test",  "/len_train", "/len_test" };
    ky_h5 *a = open_h5(got), *b = open_h5(want);

    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        assert_int_equal(ky_h5_exists(a, names[k]), ky_h5_exists(b, names[k]));
        if (ky_h5_exists(b, names[k]))
            same_rows(a, b, names[k]);
    }
    ky_h5_close(a);
    ky_h5_close(b);
}

/* The folder of a real data set; skips without. */
static inline const char *real_data(const char *name)
{
    static char path[1024];
    const char *root = getenv("KYMO_DATA");

    if (root == NULL) {
        print_message("SKIP KYMO_DATA is not set: it names the folder of real models and data\n");
        skip();
    }
    snprintf(path, sizeof path, "%s/data/%s", root, name);
    return path;
}

static inline int import_set_up(void **state)
{
    (void)state;
    return run_begin();
}

static inline int import_tear_down(void **state)
{
    (void)state;
    return run_end();
}

#endif
