/* Where the arrays of a model stand in the files of all versions, and in which form. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "models/blueprint.h"
#include "models/h5.h"
#include "models/keras.h"
#include "models/layer_tools.h"
#include "models/zip.h"
#include "tests/models/dir.h"
#include "tests/models/net.h"

#define LENGTH(a) (sizeof(a) / sizeof(*(a)))

/* -- files made by hand -------------------------------------------------------------------- */

/* Arrays hold first, first+1, ... so that every element says where it comes from. */
static void put(ky_h5 *f, const char *path, int first, int rank, const uint64_t *d)
{
    float v[4096];
    size_t n = 1;

    for (int i = 0; i < rank; i++)
        n *= d[i];
    assert_true(n <= LENGTH(v));
    for (size_t i = 0; i < n; i++)
        v[i] = (float)first + (float)i;
    assert_int_equal(ky_h5_put(f, path, KY_H5_F32, rank, d, v, NULL), KY_OK);
}

struct array {
    const char *name;
    int first, rank;
    uint64_t d[4];
};

/* The layer's group in the old form. */
static void put_layer(ky_h5 *f, const char *root, const char *layer, const struct array *a, int n)
{
    const char *names[32];
    char group[300], path[400];

    snprintf(group, sizeof(group), "%s/%s", root, layer);
    assert_int_equal(ky_h5_group(f, group, NULL), KY_OK);
    for (int i = 0; i < n; i++) {
        names[i] = a[i].name;
        snprintf(path, sizeof(path), "%s/%s", group, a[i].name);
        put(f, path, a[i].first, a[i].rank, a[i].d);
    }
    assert_int_equal(ky_h5_set_attr_strs(f, group, "weight_names", names, (size_t)n, NULL), KY_OK);
}

/* A whole model of one layer "l" in the old form. */
static void write_one(const char *config, const char *version, const char *backend,
                      const struct array *a, int n)
{
    static const char *const layer = "l";
    ky_h5 *f = NULL;

    assert_int_equal(ky_h5_create(in_dir("one.h5"), &f, NULL), KY_OK);
    assert_int_equal(ky_h5_set_attr_str(f, "/", "model_config", config, NULL), KY_OK);
    put_layer(f, "/model_weights", layer, a, n);
    assert_int_equal(ky_h5_set_attr_strs(f, "/model_weights", "layer_names", &layer, 1, NULL),
                     KY_OK);
    ky_h5_set_attr_str(f, "/model_weights", "keras_version", version, NULL);
    ky_h5_set_attr_str(f, "/model_weights", "backend", backend, NULL);
    assert_int_equal(ky_h5_commit(f, NULL), KY_OK);
}

static ky_model *load_with(const char *path, const char *config)
{
    ky_model *m = NULL;
    ky_err err = { 0 };

    if (ky_model_load_with(path, config, &m, &err) < 0)
        fail_msg("%s", err.text);
    return m;
}

/* The model's weights, from the i-th on, are these. */
static void assert_weights(const ky_model *m, size_t from, const int *want, size_t n)
{
    assert_true(from + n <= m->n_weights);
    for (size_t i = 0; i < n; i++)
        if (m->weights[from + i] != (ky_real)want[i])
            fail_msg("weight %zu is %g, should be %d", from + i, (double)m->weights[from + i],
                     want[i]);
}

#define ALL(m, ...)                                                                                \
    do {                                                                                           \
        const int want_[] = { __VA_ARGS__ };                                                       \
        assert_int_equal((m)->n_weights, LENGTH(want_));                                           \
        assert_weights(m, 0, want_, LENGTH(want_));                                                \
    } while (0)

#define LAYER(class, rest) "{\"class_name\":\"" class "\",\"config\":{\"name\":\"l\"," rest "}}"
#define ONE(layer)         "{\"class_name\":\"Sequential\",\"config\":[" layer "]}"

/* -- Keras 1 and 2 ------------------------------------------------------------------------------
 */

static void gates_of_keras_1_become_columns(void **state)
{
    (void)state;
    static const struct array gru[] = {
        { "W_z", 1, 2, { 1, 1 } }, { "U_z", 2, 2, { 1, 1 } }, { "b_z", 3, 1, { 1 } },
        { "W_r", 4, 2, { 1, 1 } }, { "U_r", 5, 2, { 1, 1 } }, { "b_r", 6, 1, { 1 } },
        { "W_h", 7, 2, { 1, 1 } }, { "U_h", 8, 2, { 1, 1 } }, { "b_h", 9, 1, { 1 } },
    };

    write_one(ONE(LAYER("GRU", "\"output_dim\":1,\"batch_input_shape\":[null,null,1]")), "1.2.2",
              "tensorflow", gru, LENGTH(gru));
    ky_model *m = load_with(in_dir("one.h5"), NULL);
    ALL(m, 1, 4, 7, 2, 5, 8, 3, 6, 9);
    assert_false(m->layers[0].cfg.reset_after);
    ky_model_free(m);
}

/* Stored are i, c, f, o; both directions, one behind the other. */
static void gates_inside_a_wrapper_do_too(void **state)
{
    (void)state;
    struct array lstm[24];
    static char names[24][8];
    ky_model *m;

    for (int i = 0; i < 24; i++) {
        snprintf(names[i], sizeof(names[i]), "a%d", i);
        lstm[i] = (struct array){ names[i], i, i % 3 < 2 ? 2 : 1, { 1, 1 } };
    }
    write_one(
        ONE(LAYER("Bidirectional", "\"merge_mode\":\"concat\",\"batch_input_shape\":[null,null,1],"
                                   "\"layer\":{\"class_name\":\"LSTM\",\"config\":{\"name\":\"x\","
                                   "\"output_dim\":1}}")),
        "1.2.2", "tensorflow", lstm, 24);
    m = load_with(in_dir("one.h5"), NULL);
    ALL(m, 0, 6, 3, 9, 1, 7, 4, 10, 2, 8, 5, 11, 12, 18, 15, 21, 13, 19, 16, 22, 14, 20, 17, 23);
    ky_model_free(m);
}

static void kernels_in_theano_order_are_turned(void **state)
{
    (void)state;
    /* (filters, in, rows, columns) = (2, 3, 1, 2): element (f,c,r,k) is f*6 + c*2 + k */
    static const struct array th[] = { { "W", 0, 4, { 2, 3, 1, 2 } }, { "b", 100, 1, { 2 } } };
    static const struct array flat[] = { { "W", 0, 4, { 2, 2, 1, 1 } }, { "b", 9, 1, { 1 } } };
    static const char config[] =
        ONE(LAYER("Convolution2D", "\"nb_filter\":2,\"nb_row\":1,\"nb_col\":2,"
                                   "\"batch_input_shape\":[null,3,4,4],\"dim_ordering\":\"th\""));
    static const char later[] = ONE(LAYER("Conv2D", "\"filters\":1,\"kernel_size\":[2,2],"
                                                    "\"batch_input_shape\":[null,4,4,1]"));

    write_one(config, "1.2.2", "tensorflow", th, 2);
    ky_model *m = load_with(in_dir("one.h5"), NULL);
    ALL(m, 0, 6, 2, 8, 4, 10, 1, 7, 3, 9, 5, 11, 100, 101);
    ky_model_free(m);
    write_one(later, "2.1.0", "theano", flat, 2); /* back to front in both directions */
    m = load_with(in_dir("one.h5"), NULL);
    ALL(m, 3, 2, 1, 0, 9);
    ky_model_free(m);
    write_one(later, "2.1.0", "tensorflow", flat, 2);
    m = load_with(in_dir("one.h5"), NULL);
    ALL(m, 0, 1, 2, 3, 9);
    ky_model_free(m);
}

/*
 * What _convert_rnn_weights of Keras 2.3.1 makes of them (its code run in NumPy): for 3 inputs
 * and 2 units a block [[0,1],[2,3],[4,5]] of the kernel becomes [[0,3],[1,4],[2,5]], one of the
 * recurrent kernel is transposed.
 */
static void kernels_for_cudnn_are_converted(void **state)
{
    (void)state;
    /* Blocks side by side: row r of a kernel is 8r ... 8r+7, gate g has its columns 2g, 2g+1. */
    static const struct array lstm[] = { { "k", 0, 2, { 3, 8 } },
                                         { "r", 100, 2, { 2, 8 } },
                                         { "b", 0, 1, { 16 } } };
    static const struct array gru[] = { { "k", 0, 2, { 1, 3 } },
                                        { "r", 10, 2, { 1, 3 } },
                                        { "b", 20, 1, { 6 } } };

    write_one(ONE(LAYER("CuDNNLSTM", "\"units\":2,\"batch_input_shape\":[null,null,3]")), "2.2.4",
              "tensorflow", lstm, 3);
    ky_model *m = load_with(in_dir("one.h5"), NULL);
    ALL(m, 0, 9, 2, 11, 4, 13, 6, 15, 1, 16, 3, 18, 5, 20, 7, 22, 8, 17, 10, 19, 12, 21, 14, 23,
        100, 108, 102, 110, 104, 112, 106, 114, 101, 109, 103, 111, 105, 113, 107, 115, 8, 10, 12,
        14, 16, 18, 20, 22);
    ky_model_free(m);
    write_one(ONE(LAYER("CuDNNGRU", "\"units\":1,\"batch_input_shape\":[null,null,1]")), "2.2.4",
              "tensorflow", gru, 3);
    m = load_with(in_dir("one.h5"), NULL);
    ALL(m, 0, 1, 2, 10, 11, 12, 20, 21, 22, 23, 24, 25);
    assert_true(m->layers[0].cfg.reset_after);
    ky_model_free(m);
}

/* -- nested models ---------------------------------------------------------------------------- */

#define DENSE(name, rest)                                                                          \
    "{\"class_name\":\"Dense\",\"config\":{\"name\":\"" name "\",\"units\":1,"                     \
    "\"use_bias\":true" rest "}}"
#define NORM(name)                                                                                 \
    "{\"class_name\":\"BatchNormalization\",\"config\":{\"name\":\"" name "\",\"axis\":-1}}"
#define NESTED(rest)                                                                               \
    "{\"class_name\":\"Sequential\",\"config\":{\"name\":\"m\",\"layers\":["                       \
    "{\"class_name\":\"InputLayer\",\"config\":{\"name\":\"in\","                                  \
    "\"batch_input_shape\":[null,1]}},"                                                            \
    "{\"class_name\":\"Sequential\",\"config\":{\"name\":\"inner\",\"layers\":["                   \
    "{\"class_name\":\"InputLayer\",\"config\":{\"name\":\"in2\","                                 \
    "\"batch_input_shape\":[null,1]}}," DENSE("a", rest) "," NORM("n") "]}}," DENSE("b", "") "]}}"

static void write_nested(const char *config, const struct array *inner)
{
    static const char *const layers[] = { "inner", "b" };
    static const struct array b[] = { { "k", 80, 2, { 1, 1 } }, { "b", 81, 1, { 1 } } };
    ky_h5 *f = NULL;

    assert_int_equal(ky_h5_create(in_dir("nested.h5"), &f, NULL), KY_OK);
    assert_int_equal(ky_h5_set_attr_str(f, "/", "model_config", config, NULL), KY_OK);
    put_layer(f, "/model_weights", "inner", inner, 6);
    put_layer(f, "/model_weights", "b", b, 2);
    assert_int_equal(ky_h5_set_attr_strs(f, "/model_weights", "layer_names", layers, 2, NULL),
                     KY_OK);
    ky_h5_set_attr_str(f, "/model_weights", "keras_version", "2.15.0", NULL);
    assert_int_equal(ky_h5_commit(f, NULL), KY_OK);
}

static void a_nested_model_has_what_it_trains_first(void **state)
{
    (void)state;
    /* dense kernel, bias, gamma, beta | mean, variance */
    static const struct array trained[] = { { "0", 1, 2, { 1, 1 } }, { "1", 2, 1, { 1 } },
                                            { "2", 3, 1, { 1 } },    { "3", 4, 1, { 1 } },
                                            { "4", 5, 1, { 1 } },    { "5", 6, 1, { 1 } } };
    /* gamma, beta | frozen dense kernel, bias, mean, variance */
    static const struct array frozen[] = { { "2", 3, 1, { 1 } },    { "3", 4, 1, { 1 } },
                                           { "0", 1, 2, { 1, 1 } }, { "1", 2, 1, { 1 } },
                                           { "4", 5, 1, { 1 } },    { "5", 6, 1, { 1 } } };

    write_nested(NESTED(""), trained);
    ky_model *m = load_with(in_dir("nested.h5"), NULL);
    ALL(m, 1, 2, 3, 4, 5, 6, 80, 81);
    ky_model_free(m);
    write_nested(NESTED(",\"trainable\":false"), frozen);
    m = load_with(in_dir("nested.h5"), NULL);
    ALL(m, 1, 2, 3, 4, 5, 6, 80, 81);
    ky_model_free(m);
}

/* -- Keras 3's form --------------------------------------------------------------------------- */

static void put_vars(ky_h5 *f, const char *group, int first, bool norm)
{
    char path[200];

    for (int i = 0; i < (norm ? 4 : 2); i++) {
        snprintf(path, sizeof(path), "%s/vars/%d", group, i);
        put(f, path, first + i, !norm && i == 0 ? 2 : 1, (uint64_t[]){ 1, 1 });
    }
}

static void write_text(const char *name, const char *text)
{
    FILE *out = fopen(in_dir(name), "w");

    assert_non_null(out);
    fputs(text, out);
    assert_int_equal(fclose(out), 0);
}

static void layers_are_found_by_class_and_number(void **state)
{
    (void)state;
    ky_h5 *f = NULL;

    assert_int_equal(ky_h5_create(in_dir("n.weights.h5"), &f, NULL), KY_OK);
    put_vars(f, "/layers/dense", 80, false); /* counted for each model apart */
    put_vars(f, "/layers/sequential/layers/dense", 1, false);
    put_vars(f, "/layers/sequential/layers/batch_normalization", 3, true);
    assert_int_equal(ky_h5_group(f, "/vars", NULL), KY_OK);
    assert_int_equal(ky_h5_commit(f, NULL), KY_OK);
    write_text("n.json", NESTED(""));
    ky_model *m = load_with(in_dir("n.weights.h5"), in_dir("n.json"));
    ALL(m, 1, 2, 3, 4, 5, 6, 80, 81);
    ky_model_free(m);
}

/* tf.keras 2.12 and 2.13: each layer with weights is met twice and takes two numbers. */
static void numbers_with_gaps_are_counted_as_they_come(void **state)
{
    (void)state;
    static const char deps[] = "/_layer_checkpoint_dependencies";
    static const struct {
        const char *group;
        int first;
    } groups[] = { { "dense", 1 }, { "dense_2", 10 }, { "dense_4", 20 }, { "dense_10", 30 } };
    ky_h5 *f = NULL;
    char path[200];

    assert_int_equal(ky_h5_create(in_dir("gaps.weights.h5"), &f, NULL), KY_OK);
    for (size_t i = 0; i < LENGTH(groups); i++) {
        snprintf(path, sizeof(path), "%s/%s", deps, groups[i].group);
        put_vars(f, path, groups[i].first, false);
    }
    assert_int_equal(ky_h5_commit(f, NULL), KY_OK);
    write_text("gaps.json",
               "{\"class_name\":\"Sequential\",\"config\":{\"name\":\"m\",\"layers\":["
               "{\"class_name\":\"InputLayer\",\"config\":{\"name\":\"in\","
               "\"batch_input_shape\":[null,1]}}," DENSE("a", "") "," DENSE("b", "") "," DENSE(
                   "c", "") "," DENSE("d", "") "]},\"keras_version\":\"2.12.0\"}");
    ky_model *m = load_with(in_dir("gaps.weights.h5"), in_dir("gaps.json"));
    ALL(m, 1, 2, 10, 11, 20, 21, 30, 31);
    ky_model_free(m);
}

/* -- weights alone, and where their architecture comes from -------------------------------------
 */

static ky_model *two_dense(void)
{
    const ky_shape input = { .rank = 1, .d = { 2 } };
    ky_model *m = NULL;

    assert_int_equal(ky_arch_build("dense:3 relu, dense", &input, 2, false, &m, NULL), KY_OK);
    ky_model_init(m, 3);
    assert_int_equal(ky_model_pack(m, NULL), KY_OK);
    return m;
}

static void assert_same_weights(const ky_model *a, const ky_model *b)
{
    assert_int_equal(a->n_weights, b->n_weights);
    assert_memory_equal(a->weights, b->weights, a->n_weights * sizeof(*a->weights));
    assert_true(a->info.hash == b->info.hash);
}

static void archive_and_h5_of_one_model_hold_the_same(void **state)
{
    (void)state;
    const char *const labels[] = { "a", "d\xc3\xa9" }, *const names[] = { "x", "y" };
    ky_model *m = two_dense();

    assert_int_equal(ky_model_set_labels(m, labels, 2, NULL), KY_OK);
    assert_int_equal(ky_model_set_feature_names(m, names, NULL), KY_OK);
    m->meta.extra = ky_json_object();
    ky_json_set(m->meta.extra, "seed", ky_json_of_int(7));
    assert_int_equal(ky_model_save(m, in_dir("m.keras"), NULL), KY_OK);
    ky_model *back = load_with(in_dir("m.keras"), NULL);
    assert_same_weights(m, back);
    assert_string_equal(back->info.labels[1], labels[1]);
    assert_string_equal(back->info.feature_names[1], "y");
    assert_int_equal(ky_json_int(ky_json_get(back->meta.extra, "seed"), 0), 7);
    assert_int_equal(ky_model_save(back, in_dir("again.keras"), NULL), KY_OK);
    char command[1200];
    snprintf(command, sizeof(command), "cmp '%s' '%s'", in_dir("m.keras"), in_dir("again.keras"));
    assert_int_equal(system(command), 0); /* to the byte */
    ky_model_free(m);
    ky_model_free(back);
}

/* The whole first output for one row, of len reals; free(). Whether the first axis is time, a
 * file does not say: a reader may take it otherwise, to the same values. */
static ky_real *answer_of(const ky_model *m, int steps, const ky_real *x, size_t *ret_len)
{
    int dims[KY_MAX_RANK], T = m->inputs[0].timed ? steps : 1;
    const char *name;
    int rank = ky_model_output(m, 0, T, dims, &name);
    ky_work *w = ky_work_new(m, T, 1);

    *ret_len = 1;
    for (int i = 0; i < rank; i++)
        *ret_len *= (size_t)dims[i];
    ky_real *y = net_reals(*ret_len);
    assert_non_null(w);
    ky_model_run(m, w, 1, T, &x, &y);
    ky_work_free(w);
    return y;
}

/* The model of a case, written under `name` and read back: the same answers to the bit, and of a
 * chain the same block of weights (Keras puts the layers of graphs into an order of its own and
 * leaves out what no output needs). False
 * where it has no form for all versions of Keras. */
static bool survives(const net_case *c, ky_model *m, const char *name, bool *seen)
{
    ky_err err = { 0 };
    int rc = ky_model_save(m, in_dir(name), &err);
    size_t n = (size_t)c->T * (size_t)c->F, len, back_len;

    if (rc < 0 && rc != KY_EUNSUPPORTED)
        fail_msg("%s: %s", c->spec, err.text);
    if (rc < 0)
        return false;
    ky_model *back = load_with(in_dir(name), NULL);
    ky_real *x = net_reals(n);
    net_inputs(x, n, 1, false);
    ky_real *y = answer_of(m, c->T, x, &len), *again = answer_of(back, c->T, x, &back_len);
    if (len != back_len || net_differ(y, again, len) != len ||
        (ky_model_is_chain(m) && back->n_weights != m->n_weights) ||
        (ky_model_is_chain(m) &&
         memcmp(back->weights, m->weights, m->n_weights * sizeof(*m->weights)) != 0))
        fail_msg("%s: another model from %s", c->spec, name);
    for (int i = 0; i < back->n_layers; i++)
        for (int o = 0; ky_layer_table[o] != NULL; o++)
            seen[o] |= ky_layer_table[o] == back->layers[i].ops;
    free(x);
    free(y);
    free(again);
    ky_model_free(back);
    return true;
}

static void every_layer_survives_in_both_forms(void **state)
{
    bool seen[128] = { false };
    int refused = 0;

    (void)state;
    for (int i = 0; i < NET_CASES; i++) {
        ky_model *m = NULL;
        ky_err err = { 0 };

        if (net_build(net_cases[i].spec, net_cases[i].T, net_cases[i].F, ky_kernels_get(), false,
                      &m, &err) < 0)
            fail_msg("%s: %s", net_cases[i].spec, err.text);
        refused += !survives(&net_cases[i], m, "case.h5", seen);
        refused += !survives(&net_cases[i], m, "case.keras", seen);
        ky_model_free(m);
    }
    assert_true(refused <= 8); /* the hard_sigmoid of Keras 2 without weights before it */
    for (int o = 0; ky_layer_table[o] != NULL; o++)
        if (!seen[o])
            fail_msg("no %s was written and read", ky_layer_table[o]->class_name);
}

static void any_file_may_name_the_architecture(void **state)
{
    (void)state;
    ky_model *m = two_dense();
    ky_zip *z = NULL;
    ky_h5 *f = NULL;
    void *image = NULL, *config = NULL;
    size_t n = 0, n_config = 0;
    static const char *const weights[] = { "w.h5", "old.h5" };
    static const char *const layers[] = { "dense", "dense_1" };

    assert_int_equal(ky_model_save(m, in_dir("m.keras"), NULL), KY_OK);
    assert_int_equal(ky_model_save(m, in_dir("m.h5"), NULL), KY_OK);
    assert_int_equal(ky_zip_open(in_dir("m.keras"), &z, NULL), KY_OK);
    assert_int_equal(ky_zip_read(z, "model.weights.h5", 1 << 20, &image, &n, NULL), KY_OK);
    assert_int_equal(ky_zip_read(z, "config.json", 1 << 20, &config, &n_config, NULL), KY_OK);
    ky_zip_close(z);
    FILE *out = fopen(in_dir("w.h5"), "wb");
    assert_int_equal(fwrite(image, 1, n, out), n);
    fclose(out);
    write_text("m.json", config);
    /* as save_weights wrote it before Keras 3 */
    assert_int_equal(ky_h5_create(in_dir("old.h5"), &f, NULL), KY_OK);
    for (int i = 0; i < 2; i++) {
        char path[100];
        const char *const arrays[] = { "k", "b" };
        const ky_weight *w = m->layers[i].weights;
        const uint64_t d[2] = { (uint64_t)w->d[0], (uint64_t)w->d[1] };

        snprintf(path, sizeof(path), "/%s/k", layers[i]);
        ky_h5_put(f, path, KY_H5_F32, 2, d, ky_model_weight(m, i, 0), NULL);
        snprintf(path, sizeof(path), "/%s/b", layers[i]);
        ky_h5_put(f, path, KY_H5_F32, 1, d + 1, ky_model_weight(m, i, 1), NULL);
        snprintf(path, sizeof(path), "/%s", layers[i]);
        ky_h5_set_attr_strs(f, path, "weight_names", arrays, 2, NULL);
    }
    ky_h5_set_attr_strs(f, "/", "layer_names", layers, 2, NULL);
    ky_h5_set_attr_str(f, "/", "keras_version", "2.2.4", NULL);
    assert_int_equal(ky_h5_commit(f, NULL), KY_OK);

    for (size_t i = 0; i < LENGTH(weights); i++) {
        static const char *const configs[] = { "m.json", "m.keras", "m.h5" };
        ky_model *back = NULL;
        ky_err err = { 0 };

        assert_int_equal(ky_model_load(in_dir(weights[i]), &back, &err), KY_EUNSUPPORTED);
        assert_non_null(strstr(err.text, "--config"));
        for (size_t k = 0; k < LENGTH(configs); k++) {
            back = load_with(in_dir(weights[i]), in_dir(configs[k]));
            assert_same_weights(m, back);
            ky_model_free(back);
        }
    }
    free(image);
    free(config);
    ky_model_free(m);
}

/* Another version's config decides what hard_sigmoid means, whoever wrote the arrays. */
static void the_configuration_says_whose_conventions_hold(void **state)
{
    (void)state;
#define HARD                                                                                       \
    "{\"class_name\":\"Sequential\",\"config\":{\"name\":\"m\",\"layers\":["                       \
    "{\"class_name\":\"Dense\",\"config\":{\"name\":\"a\",\"units\":1,\"use_bias\":true,"          \
    "\"batch_input_shape\":[null,1],\"activation\":\"hard_sigmoid\"}}]}"
    static const struct {
        const char *config;
        enum ky_activation want;
    } cases[] = {
        { HARD ",\"keras_version\":\"2.4.0\"}", KY_HARD_SIGMOID_K2 },
        { HARD ",\"keras_version\":\"3.1.0\"}", KY_HARD_SIGMOID_K3 },
        { HARD ",\"module\":\"keras\"}", KY_HARD_SIGMOID_K3 },
        { HARD "}", KY_HARD_SIGMOID_K3 }, /* as the arrays, which are in Keras 3's form */
    };
    ky_h5 *f = NULL;

    assert_int_equal(ky_h5_create(in_dir("hard.weights.h5"), &f, NULL), KY_OK);
    put_vars(f, "/layers/dense", 1, false);
    assert_int_equal(ky_h5_commit(f, NULL), KY_OK);
    for (size_t i = 0; i < LENGTH(cases); i++) {
        write_text("hard.json", cases[i].config);
        ky_model *m = load_with(in_dir("hard.weights.h5"), in_dir("hard.json"));
        assert_int_equal(m->layers[0].cfg.activation, cases[i].want);
        ky_model_free(m);
    }
}

static void what_an_archive_lacks_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *member, *says;
        int code;
    } cases[] = {
        { "model.weights.npz", "NumPy's form", KY_EUNSUPPORTED },
        { "model.weights.json", "several files", KY_EUNSUPPORTED },
        { "config.json", "it has no model.weights.h5", KY_EFORMAT },
    };
    ky_model *m = NULL;
    ky_err err;

    for (size_t i = 0; i < LENGTH(cases); i++) {
        const ky_zip_member one = { cases[i].member, "{}", 2 };

        assert_int_equal(ky_zip_write(in_dir("bad.keras"), &one, 1, NULL), KY_OK);
        assert_int_equal(ky_model_load(in_dir("bad.keras"), &m, &err), cases[i].code);
        assert_non_null(strstr(err.text, cases[i].says));
    }
    write_text("text.json", "  {\"class_name\": 1}");
    assert_int_equal(ky_model_load(in_dir("text.json"), &m, &err), KY_EUNSUPPORTED);
    assert_int_equal(ky_model_load_with(in_dir("bad.keras"), in_dir("none.json"), &m, &err),
                     KY_ENOENT);
}

/* -- graphs, as Keras orders them
 * ------------------------------------------------------------------ */

static int call(ky_model *m, const ky_layer_ops *ops, const char *name, int n, const int *from)
{
    ky_layer l;

    ky_layer_init(&l, ops, name);
    l.cfg.units = 1;
    l.shares = -1;
    return ky_model_call(m, &l, n, from, NULL);
}

/*
 * x -> late -> sum, x -> early -> middle -> sum: Keras 3.15 lists in, early, late, middle, sum,
 * for early lies deeper, and late is met before middle.
 */
static void layers_are_written_in_keras_order(void **state)
{
    (void)state;
    static const char *const want[] = { "in", "early", "late", "middle", "sum" };
    const ky_shape input = { .rank = 1, .d = { 1 } };
    ky_json *root = NULL;
    ky_model *m = NULL;
    char *text = NULL;

    assert_int_equal(ky_model_new("graph", &input, &m, NULL), KY_OK);
    assert_int_equal(ky_model_name_input(m, 0, "in", NULL), KY_OK);
    int late = call(m, &ky_dense_ops, "late", 1, (int[]){ KY_INPUT(0) });
    int early = call(m, &ky_dense_ops, "early", 1, (int[]){ KY_INPUT(0) });
    int middle = call(m, &ky_dense_ops, "middle", 1, (int[]){ early });
    call(m, ky_layer_find("Add"), "sum", 2, (int[]){ late, middle });
    assert_int_equal(ky_model_finish(m, NULL), KY_OK);
    for (size_t i = 0; i < m->n_weights; i++)
        m->weights[i] = (ky_real)i;
    assert_int_equal(ky_model_pack(m, NULL), KY_OK);
    assert_int_equal(ky_keras_config_write(m, &text, NULL), KY_OK);
    assert_int_equal(ky_json_parse(text, strlen(text), false, &root, NULL), KY_OK);
    const ky_json *layers = ky_json_get(ky_json_get(root, "config"), "layers");
    assert_int_equal(ky_json_len(layers), LENGTH(want));
    for (size_t i = 0; i < LENGTH(want); i++)
        assert_string_equal(ky_json_str(ky_json_get(ky_json_at(layers, i), "name"), ""), want[i]);
    ky_json_free(root);
    free(text);
    for (int archive = 0; archive < 2; archive++) {
        const char *path = in_dir(archive ? "graph.keras" : "graph.h5");

        assert_int_equal(ky_model_save(m, path, NULL), KY_OK);
        ky_model *back = load_with(path, NULL);
        /* in the file's order: early, late, middle */
        ALL(back, 2, 3, 0, 1, 4, 5);
        ky_model_free(back);
    }
    ky_model_free(m);
}

/* Of a layer that goes backwards Keras 3 would make another one that does. */
static void a_backward_layer_is_written_where_keras_would_make_another(void **state)
{
    (void)state;
    static const struct {
        const char *spec;
        bool written;
    } cases[] = {
        { "Bidirectional of GRU units=2", false },
        { "Bidirectional of GRU units=2 and GRU units=2 go_backwards=1", false },
        { "Bidirectional of GRU units=2 go_backwards=1 and GRU units=2", true },
        { "Bidirectional of GRU units=2 and GRU units=2 go_backwards=1 activation=relu", true },
        { "Bidirectional of SimpleRNN units=2 and LSTM units=2 go_backwards=1", true },
    };

    for (size_t i = 0; i < LENGTH(cases); i++) {
        ky_model *m = NULL;
        char *text = NULL;

        assert_int_equal(net_build(cases[i].spec, 5, 3, ky_kernels_get(), false, &m, NULL), KY_OK);
        assert_int_equal(ky_keras_config_write(m, &text, NULL), KY_OK);
        assert_int_equal(strstr(text, "backward_layer") != NULL, cases[i].written);
        free(text);
        ky_model_free(m);
    }
}

/* -- a scaler in front
 * --------------------------------------------------------------------------------- */

static void a_scaler_goes_in_front_of_a_model(void **state)
{
    (void)state;
    static const double mean[2] = { 10, -1 }, std[2] = { 2, 4 };
    static const float raw[2] = { 16, 3 }, scaled[2] = { 3, 1 };
    ky_model *m = two_dense(), *with = NULL;
    float y[2], want[2];

    assert_int_equal(ky_model_normalize(m, mean, std, &with, NULL), KY_OK);
    ky_work *a = ky_work_new(with, 1, 1), *b = ky_work_new(m, 1, 1);
    ky_model_predict(with, a, 1, 1, raw, y);
    ky_model_predict(m, b, 1, 1, scaled, want);
    assert_memory_equal(y, want, sizeof(y));
    ky_work_free(a);
    ky_work_free(b);
    ky_model_free(m);
    ky_model_free(with);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gates_of_keras_1_become_columns),
        cmocka_unit_test(gates_inside_a_wrapper_do_too),
        cmocka_unit_test(kernels_in_theano_order_are_turned),
        cmocka_unit_test(kernels_for_cudnn_are_converted),
        cmocka_unit_test(a_nested_model_has_what_it_trains_first),
        cmocka_unit_test(layers_are_found_by_class_and_number),
        cmocka_unit_test(numbers_with_gaps_are_counted_as_they_come),
        cmocka_unit_test(archive_and_h5_of_one_model_hold_the_same),
        cmocka_unit_test(every_layer_survives_in_both_forms),
        cmocka_unit_test(any_file_may_name_the_architecture),
        cmocka_unit_test(the_configuration_says_whose_conventions_hold),
        cmocka_unit_test(what_an_archive_lacks_is_named),
        cmocka_unit_test(layers_are_written_in_keras_order),
        cmocka_unit_test(a_backward_layer_is_written_where_keras_would_make_another),
        cmocka_unit_test(a_scaler_goes_in_front_of_a_model),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
