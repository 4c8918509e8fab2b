/*
 * Model files made to do harm (RELIABILITY section 3, rows Models and HDF5). Each is loaded by a
 * child that may take 64 MB more than it has and five seconds of work, and must be refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define H5_USE_110_API 1
#include <hdf5.h>

#include "models/blueprint.h"
#include "models/h5.h"
#include "models/keras.h"
#include "models/zip.h"
#include "tests/models/dir.h"

#define LENGTH(a) (sizeof(a) / sizeof(*(a)))

/* -- a child that may not take much ---------------------------------------------------------- */

#ifndef KY_SANITIZED /* whose shadow is terabytes */
static rlim_t bytes_in_use(void)
{
    unsigned long pages = 0;
    FILE *statm = fopen("/proc/self/statm", "r");

    if (statm == NULL || fscanf(statm, "%lu", &pages) != 1)
        pages = 0;
    if (statm != NULL)
        fclose(statm);
    return pages * (rlim_t)sysconf(_SC_PAGESIZE);
}
#endif

static int load(const char *path, ky_err *err)
{
    ky_model *m = NULL;

    return ky_model_load(path, &m, err);
}

/* What becomes of work on a file that may take so much more memory; -9999 if it did not end well.
 */
static int confined(int (*work)(const char *path, ky_err *err), const char *path, rlim_t room,
                    ky_err *ret)
{
    int said[2], status;
    ky_err err = { 0 };

    assert_int_equal(pipe(said), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)room;
#ifndef KY_SANITIZED
        rlim_t most = bytes_in_use() + room;
        setrlimit(RLIMIT_AS, &(struct rlimit){ most, most });
#endif
        /* of its own time: the machine may be busy */
        setrlimit(RLIMIT_CPU, &(struct rlimit){ 5, 5 });
        err.code = work(path, &err);
        _exit(write(said[1], &err, sizeof(err)) != sizeof(err));
    }
    close(said[1]);
    ssize_t n = read(said[0], ret, sizeof(*ret));
    close(said[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    return n == sizeof(*ret) && WIFEXITED(status) && WEXITSTATUS(status) == 0 ? ret->code : -9999;
}

static void assert_refused(const char *what, const char *path, int code, const char *says)
{
    ky_err err = { 0 };
    int rc = confined(load, path, 64 << 20, &err);

    if (rc != code || strstr(err.text, says) == NULL)
        fail_msg("%s: wanted %d '%s', got %d '%s'", what, code, says, rc, err.text);
}

/* -- HDF5: a Dense of 2 inputs whose kernel is made by somebody else ------------------------------
 */

static const char dense[] =
    "{\"class_name\":\"Sequential\",\"config\":{\"name\":\"m\",\"layers\":[{\"class_name\":"
    "\"Dense\",\"config\":{\"name\":\"d\",\"units\":3,\"use_bias\":false,\"activation\":\"linear\","
    "\"batch_input_shape\":[null,2]}}]}}";

static void text_attribute(hid_t at, const char *name, const char *text, int n)
{
    hid_t type = H5Tcopy(H5T_C_S1),
          space = n == 0 ? H5Screate(H5S_SCALAR) : H5Screate_simple(1, (hsize_t[]){ 1 }, NULL);

    H5Tset_size(type, H5T_VARIABLE);
    hid_t a = H5Acreate2(at, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    H5Awrite(a, type, &text);
    H5Aclose(a);
    H5Sclose(space);
    H5Tclose(type);
}

/* The file around the kernel, which the maker puts into the layer's group as "k". */
static const char *write_h5(void (*maker)(hid_t group))
{
    const char *path = in_dir("hostile.h5");
    hid_t f = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    hid_t w = H5Gcreate2(f, "model_weights", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    hid_t g = H5Gcreate2(w, "d", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);

    text_attribute(f, "model_config", dense, 0);
    text_attribute(w, "keras_version", "2.15.0", 0);
    text_attribute(w, "layer_names", "d", 1);
    text_attribute(g, "weight_names", "k", 1);
    maker(g);
    H5Gclose(g);
    H5Gclose(w);
    H5Fclose(f);
    return path;
}

static hid_t make(hid_t g, hid_t type, int rank, const hsize_t *d, hid_t dcpl)
{
    hid_t space = H5Screate_simple(rank, d, NULL);
    hid_t set = H5Dcreate2(g, "k", type, space, H5P_DEFAULT, dcpl, H5P_DEFAULT);

    assert_true(set >= 0);
    H5Sclose(space);
    return set;
}

static void honest(hid_t g)
{
    static const float v[6] = { 1, 2, 3, 4, 5, 6 };
    hid_t set = make(g, H5T_IEEE_F32LE, 2, (hsize_t[]){ 2, 3 }, H5P_DEFAULT);

    H5Dwrite(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, v);
    H5Dclose(set);
}

/* 1e16 bytes are declared, none is stored. */
static void shape_bomb(hid_t g)
{
    hid_t dcpl = H5Pcreate(H5P_DATASET_CREATE);

    H5Pset_chunk(dcpl, 2, (hsize_t[]){ 1024, 1024 });
    H5Dclose(make(g, H5T_IEEE_F32LE, 2, (hsize_t[]){ 50000000, 50000000 }, dcpl));
    H5Pclose(dcpl);
}

/* The right shape, out of a chunk of 1 GB that is packed to 100 bytes. */
static void gzip_bomb(hid_t g)
{
    hid_t dcpl = H5Pcreate(H5P_DATASET_CREATE);
    static const unsigned char packed[100] = { 0x78, 0x9c };

    H5Pset_chunk(dcpl, 2, (hsize_t[]){ 16384, 16384 });
    H5Pset_deflate(dcpl, 9);
    hid_t space =
        H5Screate_simple(2, (hsize_t[]){ 2, 3 }, (hsize_t[]){ H5S_UNLIMITED, H5S_UNLIMITED });
    hid_t set = H5Dcreate2(g, "k", H5T_IEEE_F32LE, space, H5P_DEFAULT, dcpl, H5P_DEFAULT);
    assert_true(set >= 0);
    assert_true(H5Dwrite_chunk(set, H5P_DEFAULT, 0, (hsize_t[]){ 0, 0 }, sizeof(packed), packed) >=
                0);
    H5Dclose(set);
    H5Sclose(space);
    H5Pclose(dcpl);
}

static void outside(hid_t g)
{
    hid_t dcpl = H5Pcreate(H5P_DATASET_CREATE);

    H5Pset_external(dcpl, "/etc/passwd", 0, 24);
    H5Dclose(make(g, H5T_IEEE_F32LE, 2, (hsize_t[]){ 2, 3 }, dcpl));
    H5Pclose(dcpl);
}

static void soft_link(hid_t g)
{
    H5Lcreate_soft("/model_weights/d", g, "k", H5P_DEFAULT, H5P_DEFAULT);
}

static void external_link(hid_t g)
{
    H5Lcreate_external("/etc/passwd", "/x", g, "k", H5P_DEFAULT, H5P_DEFAULT);
}

/* A hard link to the group itself: a cycle. */
static void cycle(hid_t g)
{
    H5Lcreate_hard(g, ".", g, "k", H5P_DEFAULT, H5P_DEFAULT);
}

static void unknown_filter(hid_t g)
{
    hid_t dcpl = H5Pcreate(H5P_DATASET_CREATE);

    H5Pset_chunk(dcpl, 2, (hsize_t[]){ 2, 3 });
    H5Pset_filter(dcpl, 32008, H5Z_FLAG_OPTIONAL, 0, NULL);
    hid_t set = make(g, H5T_IEEE_F32LE, 2, (hsize_t[]){ 2, 3 }, dcpl);
    static const float v[6] = { 0 };
    H5Dwrite(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, v);
    H5Dclose(set);
    H5Pclose(dcpl);
}

/* Zeros that are really there. */
static void filled(hid_t g, hid_t type, const hsize_t *d)
{
    static const unsigned char zeros[256] = { 0 };
    hid_t set = make(g, type, 2, d, H5P_DEFAULT);

    assert_true(H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, zeros) >= 0);
    H5Dclose(set);
}

static void compound(hid_t g)
{
    hid_t type = H5Tcreate(H5T_COMPOUND, 4);

    H5Tinsert(type, "x", 0, H5T_IEEE_F32LE);
    filled(g, type, (hsize_t[]){ 2, 3 });
    H5Tclose(type);
}

static void references(hid_t g)
{
    filled(g, H5T_STD_REF_OBJ, (hsize_t[]){ 2, 3 });
}

static void other_shape(hid_t g)
{
    filled(g, H5T_IEEE_F32LE, (hsize_t[]){ 3, 2 });
}

static void no_numbers(hid_t g)
{
    static const float v[6] = { 0, NAN };
    hid_t set = make(g, H5T_IEEE_F32LE, 2, (hsize_t[]){ 2, 3 }, H5P_DEFAULT);

    H5Dwrite(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, v);
    H5Dclose(set);
}

static void nothing(hid_t g)
{
    (void)g;
}

static void arrays_that_do_harm_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        void (*maker)(hid_t);
        int code;
        const char *says;
    } cases[] = {
        { "honest", honest, KY_OK, "" },
        { "shape bomb", shape_bomb, KY_EFULL, "declares" },
        { "gzip bomb", gzip_bomb, KY_EFULL, "chunks are larger" },
        { "external storage", outside, KY_EUNSUPPORTED, "in another file" },
        { "soft link", soft_link, KY_EUNSUPPORTED, "link" },
        { "external link", external_link, KY_EUNSUPPORTED, "link" },
        { "cycle", cycle, KY_EFORMAT, "not a dataset" },
        { "unknown filter", unknown_filter, KY_EUNSUPPORTED, "filter 32008" },
        { "compound type", compound, KY_EFORMAT, "holds no numbers" },
        { "references", references, KY_EFORMAT, "holds no numbers" },
        { "other shape", other_shape, KY_ESHAPE, "has shape (3, 2)" },
        { "NaN", no_numbers, KY_EFORMAT, "NaN" },
        { "nothing", nothing, KY_ENOENT, "no '/model_weights/d/k'" },
    };

    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    for (size_t i = 0; i < LENGTH(cases); i++)
        assert_refused(cases[i].what, write_h5(cases[i].maker), cases[i].code, cases[i].says);
}

/* 20,000 groups, each in the one before, where the layer's group should be. */
static void groups_within_groups_take_no_time(void **state)
{
    (void)state;
    const char *path = write_h5(honest);
    hid_t f = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    char deep[200] = "d";

    hid_t at = H5Gopen2(f, "model_weights", H5P_DEFAULT);
    for (int i = 0; i < 20000; i++) {
        hid_t next = H5Gcreate2(at, "g", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);

        H5Gclose(at);
        at = next;
    }
    H5Gclose(at);
    for (int i = 0; i < 90; i++)
        strcat(deep, "/g");
    at = H5Gopen2(f, "model_weights", H5P_DEFAULT);
    H5Adelete(at, "layer_names");
    text_attribute(at, "layer_names", deep + 2, 1);
    H5Gclose(at);
    H5Fclose(f);
    assert_refused("deep groups", path, KY_EFULL, "deeper than");
}

/* -- configurations -------------------------------------------------------------------------------
 */

static const char *write_config(const char *config)
{
    static const float v[6] = { 1, 2, 3, 4, 5, 6 };
    static const char *const layer = "d", *const array = "k";
    const char *path = in_dir("config.h5");
    ky_h5 *f = NULL;

    assert_int_equal(ky_h5_create(path, &f, NULL), KY_OK);
    ky_h5_set_attr_str(f, "/", "model_config", config, NULL);
    ky_h5_put(f, "/model_weights/d/k", KY_H5_F32, 2, (uint64_t[]){ 2, 3 }, v, NULL);
    ky_h5_set_attr_strs(f, "/model_weights", "layer_names", &layer, 1, NULL);
    ky_h5_set_attr_strs(f, "/model_weights/d", "weight_names", &array, 1, NULL);
    ky_h5_set_attr_str(f, "/model_weights", "keras_version", "2.15.0", NULL);
    assert_int_equal(ky_h5_commit(f, NULL), KY_OK);
    return path;
}

#define MODEL(class, options)                                                                      \
    "{\"class_name\":\"Sequential\",\"config\":{\"name\":\"m\",\"layers\":[{\"class_name\":"       \
    "\"" class "\",\"config\":{\"name\":\"d\",\"use_bias\":false,\"batch_input_shape\":"           \
               "[null,2]," options "}}]}}"

static void configurations_that_do_harm_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *config;
        int code;
        const char *says;
    } cases[] = {
        { MODEL("Dense", "\"units\":3"), KY_OK, "" },
        { MODEL("Dense", "\"units\":1000000000"), KY_EINVAL, "units is 1000000000" },
        { MODEL("Dense", "\"units\":4000000"), KY_ESHAPE, "shape" },
        { MODEL("Dense", "\"units\":\"3\""), KY_EFORMAT, "not a number" },
        { MODEL("Dense", "\"units\":-3"), KY_EINVAL, "units is -3" },
        { MODEL("Dense", "\"units\":1e300"), KY_EFORMAT, "range" },
        { MODEL("Dense", "\"units\":3,\"activation\":\"__import__('os')\""), KY_EUNSUPPORTED,
          "activation" },
        { MODEL("Lambda", "\"function\":[\"4wEAAAA=\",null,null]"), KY_EUNSUPPORTED, "'d'" },
        { MODEL("my>Layer", "\"units\":3"), KY_EUNSUPPORTED, "'d'" },
        { "", KY_EFORMAT, "" },
        { "[]", KY_EUNSUPPORTED, "" },
        { "{\"class_name\":\"Sequential\"", KY_EFORMAT, "" },
    };

    for (size_t i = 0; i < LENGTH(cases); i++)
        assert_refused(cases[i].config, write_config(cases[i].config), cases[i].code,
                       cases[i].says);
}

static void brackets_without_end_are_bounded(void **state)
{
    (void)state;
    size_t n = 1 << 20;
    char *text = malloc(n + 1);

    memset(text, '[', n);
    text[n] = '\0';
    assert_refused("brackets", write_config(text), KY_EFORMAT, "");
    free(text);
}

/* -- archives
 * --------------------------------------------------------------------------------------- */

/* A sound archive of the small model. */
static const char *write_archive(void)
{
    const ky_shape input = { .rank = 1, .d = { 2 } };
    const char *path = in_dir("sound.keras");
    ky_model *m = NULL;

    assert_int_equal(ky_arch_build("dense:3 relu, dense", &input, 2, true, &m, NULL), KY_OK);
    ky_model_init(m, 1);
    assert_int_equal(ky_model_pack(m, NULL), KY_OK);
    assert_int_equal(ky_model_save(m, path, NULL), KY_OK);
    ky_model_free(m);
    return path;
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

static int read_archive(const void *bytes, size_t n)
{
    ky_zip *z = NULL;
    ky_model *m = NULL;
    ky_err err;
    int rc = ky_zip_open_image(bytes, n, &z, &err);

    if (rc == KY_OK)
        rc = ky_keras_read_archive(z, &m, &err);
    ky_model_free(m);
    ky_zip_close(z);
    return rc;
}

static void every_cut_of_an_archive_is_refused(void **state)
{
    (void)state;
    size_t n;
    unsigned char *all = slurp(write_archive(), &n);

    assert_int_equal(read_archive(all, n), KY_OK);
    for (size_t at = 0; at < n; at += 1 + n / 200)
        assert_true(read_archive(all, at) < 0);
    free(all);
}

/* Every member has a checksum: what a flipped bit leaves readable lies outside of them. */
static void flipped_bits_of_an_archive_are_noticed(void **state)
{
    (void)state;
    size_t n;
    unsigned char *all = slurp(write_archive(), &n);
    size_t weights = 0, refused = 0, flips = 600;
    ky_rng rng;

    ky_rng_seed(&rng, 4);
    for (size_t i = 0; i + 16 < n && weights == 0; i++)
        if (memcmp(all + i, "model.weights.h5", 16) == 0)
            weights = i + 16;
    for (size_t i = 0; i < flips; i++) {
        size_t at = weights + ky_rng_below(&rng, (n - weights) * 9 / 10);
        unsigned char bit = (unsigned char)(1 << ky_rng_below(&rng, 8));

        all[at] ^= bit;
        refused += read_archive(all, n) < 0;
        all[at] ^= bit;
    }
    assert_true(refused >= flips * 9 / 10);
    free(all);
}

/* Sound weights with another configuration, and the other way round. */
static void archives_that_do_harm_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *config, *weights;
        int code;
        const char *says;
    } cases[] = {
        { NULL, "not HDF5", KY_EFORMAT, "not an HDF5 file" },
        { NULL, "", KY_EFORMAT, "" },
        { "{}", NULL, KY_EUNSUPPORTED, "" },
        { "", NULL, KY_EFORMAT, "" },
        { MODEL("Lambda", "\"function\":{\"class_name\":\"__lambda__\"}"), NULL, KY_EUNSUPPORTED,
          "'d'" },
        { MODEL("Dense", "\"units\":1000000000"), NULL, KY_EINVAL, "units" },
        { MODEL("Dense", "\"units\":4000000"), NULL, KY_ESHAPE, "2 arrays" },
    };
    ky_zip *z = NULL;
    void *config = NULL, *weights = NULL;
    size_t n_config = 0, n_weights = 0;

    assert_int_equal(ky_zip_open(write_archive(), &z, NULL), KY_OK);
    assert_int_equal(ky_zip_read(z, "config.json", 1 << 20, &config, &n_config, NULL), KY_OK);
    assert_int_equal(ky_zip_read(z, "model.weights.h5", 1 << 20, &weights, &n_weights, NULL),
                     KY_OK);
    ky_zip_close(z);
    for (size_t i = 0; i < LENGTH(cases); i++) {
        const char *c = cases[i].config != NULL ? cases[i].config : config;
        const char *w = cases[i].weights != NULL ? cases[i].weights : weights;
        const ky_zip_member members[] = {
            { "config.json", c, strlen(c) },
            { "model.weights.h5", w, cases[i].weights != NULL ? strlen(w) : n_weights },
        };

        assert_int_equal(ky_zip_write(in_dir("bad.keras"), members, 2, NULL), KY_OK);
        assert_refused(c, in_dir("bad.keras"), cases[i].code, cases[i].says);
    }
    free(config);
    free(weights);
}

/* -- as many layers as are allowed: what took quadratic time would not end ------------------- */

#ifdef KY_SANITIZED
enum { LAYERS = 2000 };
#else
enum { LAYERS = 9999 }; /* and an input */
#endif

/* Names of letters that Keras and HDF5 do not take: written, all begin as the same. */
static char *many_layers(void)
{
    static const char layer[] = "%s{\"class_name\":\"Dense\",\"config\":{\"name\":\"%s\","
                                "\"units\":1%s}}";
    size_t room = LAYERS * 100 + 200, at;
    char *text = malloc(room);

    assert_non_null(text);
    at = (size_t)snprintf(text, room,
                          "{\"class_name\":\"Sequential\",\"config\":{\"name\":\"m\","
                          "\"layers\":[");
    for (int i = 0; i < LAYERS; i++) {
        char name[9];

        for (int k = 0, n = i; k < 4; k++, n /= 10)
            snprintf(name + 2 * k, 3, "\xc3%c", 0xa0 + n % 10);
        at += (size_t)snprintf(text + at, room - at, layer, i > 0 ? "," : "", name,
                               i > 0 ? "" : ",\"batch_input_shape\":[null,1]");
    }
    snprintf(text + at, room - at, "]}}");
    return text;
}

static int write_many(const char *path, ky_err *err)
{
    char *text = many_layers();
    ky_model *m = NULL;
    int rc = ky_keras_config_read(text, strlen(text), (ky_keras_version){ .major = 3 }, &m, err);

    if (rc == KY_OK && (rc = ky_model_finish(m, err)) == KY_OK)
        rc = ky_model_pack(m, err);
    if (rc == KY_OK)
        rc = ky_model_save(m, path, err);
    ky_model_free(m);
    free(text);
    return rc;
}

static void thousands_of_layers_take_no_time(void **state)
{
    static const char *const names[] = { "most.h5", "most.keras" };

    (void)state;
    for (size_t i = 0; i < LENGTH(names); i++) {
        ky_err err = { 0 };

        if (confined(write_many, in_dir(names[i]), 512 << 20, &err) != KY_OK ||
            confined(load, in_dir(names[i]), 512 << 20, &err) != KY_OK)
            fail_msg("%s: %s", names[i], err.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arrays_that_do_harm_are_refused),
        cmocka_unit_test(groups_within_groups_take_no_time),
        cmocka_unit_test(configurations_that_do_harm_are_refused),
        cmocka_unit_test(brackets_without_end_are_bounded),
        cmocka_unit_test(every_cut_of_an_archive_is_refused),
        cmocka_unit_test(flipped_bits_of_an_archive_are_noticed),
        cmocka_unit_test(archives_that_do_harm_are_refused),
        cmocka_unit_test(thousands_of_layers_take_no_time),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
