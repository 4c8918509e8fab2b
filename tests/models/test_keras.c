#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "models/blueprint.h"
#include "models/h5.h"
#include "models/keras.h"
#include "models/layer_tools.h"
#include "tests/models/dir.h"

#define LENGTH(a) (sizeof(a) / sizeof(*(a)))

/* A file of the shared data; the test is skipped without it. */
static const char *data(const char *name)
{
    static char path[2][512];
    static int turn;
    const char *root = getenv("KYMO_DATA");

    if (root == NULL) {
        print_message("SKIP KYMO_DATA is not set: it names the folder of real models and data\n");
        skip();
    }
    turn = !turn;
    snprintf(path[turn], sizeof(path[turn]), "%s/%s", root, name);
    return path[turn];
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

static ky_model *load(const char *path)
{
    ky_model *m = NULL;
    ky_err err = { 0 };

    if (ky_model_load(path, &m, &err) < 0)
        fail_msg("%s", err.text);
    return m;
}

static void predict(const ky_model *m, int B, int T, const ky_real *x, ky_real *y)
{
    ky_work *w = ky_work_new(m, T, B);

    assert_non_null(w);
    ky_model_predict(m, w, B, T, x, y);
    ky_work_free(w);
}

/* Within 1e-5 of the largest output: Keras itself differs so much between its backends. */
static void assert_close(const float *y, const float *want, size_t n)
{
    float largest = 0;

    for (size_t i = 0; i < n; i++)
        largest = fmaxf(largest, fabsf(want[i]));
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(y[i] - want[i]) <= 1e-5f * largest))
            fail_msg("answer %zu is %.9g, Keras gave %.9g", i, y[i], want[i]);
}

/* -- files other people made ----------------------------------------------------------- */

static const struct {
    const char *file;
    int code;
    const char *says;
} known[] = {
    { "k1_simple_lstm.h5", KY_OK, NULL },
    { "k2_simple_lstm.h5", KY_OK, NULL },
    { "k2_conv1d_flatten.h5", KY_OK, NULL },
    { "k2_functional_lstm.h5", KY_OK, NULL },
    { "cmapss_lstm_regression.h5", KY_OK, NULL },
    { "traffic_lstm.h5", KY_OK, NULL },
    { "speech_emotion_conv1d.h5", KY_OK, NULL },
    { "k2_simple_rnn.h5", KY_OK, NULL },
    { "k2_masking_two_lstm.h5", KY_OK, NULL },
    { "k2_cnn_batchnorm.h5", KY_OK, NULL },
    { "k2_bidirectional_lstm.h5", KY_OK, NULL },
    { "k1_bidirectional_lstm.h5", KY_OK, NULL },
    { "k2_embedding_conv1d.h5", KY_OK, NULL },
    { "k2_embedding_lstm.h5", KY_OK, NULL },
    { "mnist_cnn_k31_h5.h5", KY_OK, NULL },
    { "mnist_lenet_k216.h5", KY_OK, NULL },
    { "gender_mini_xception.hdf5", KY_OK, NULL },
    { "cifar_resnet8.h5", KY_OK, NULL },
    { "motion_har_conv2d.hdf5", KY_OK, NULL },
    { "news_embedding_gru.h5", KY_OK, NULL },
    { "textgenrnn_weights.hdf5", KY_EUNSUPPORTED, "weights without the model" },
    { "k1_simple_lstm.weights.h5", KY_EUNSUPPORTED, "weights without the model" },
    { "k1_simple_lstm.io.h5", KY_EFORMAT, "has no model_config" },
    { "engine_lstm_bn.keras", KY_OK, NULL },
    { "emg_lstm.keras", KY_OK, NULL },
    { "mnist_cnn_k31_keras.keras", KY_OK, NULL },
    { "k2_cnn_batchnorm.input.npy", KY_EFORMAT, "not an HDF5 file" },
};

static void real_files_load_or_are_refused_by_name_and_reason(void **state)
{
    (void)state;
    for (size_t i = 0; i < LENGTH(known); i++) {
        char name[200];
        ky_model *m = NULL;
        ky_err err = { 0 };

        snprintf(name, sizeof(name), "models/%s", known[i].file);
        int rc = ky_model_load(data(name), &m, &err);
        if (rc != known[i].code)
            fail_msg("%s: %d, %s", known[i].file, rc, err.text);
        if (known[i].says != NULL && strstr(err.text, known[i].says) == NULL)
            fail_msg("%s: %s", known[i].file, err.text);
        assert_true((rc == KY_OK) == (m != NULL));
        ky_model_free(m);
    }
}

static void keras1_lstm_gives_the_stored_answers(void **state)
{
    (void)state;
    float x[100], y[100], want[100];
    ky_h5 *f = NULL;
    ky_model *m = load(data("models/k1_simple_lstm.h5"));

    assert_int_equal(ky_h5_open(data("models/k1_simple_lstm.io.h5"), &f, NULL), KY_OK);
    assert_int_equal(ky_h5_read(f, "/inputs/lstm_input_1", KY_H5_F32, x, 100, NULL), KY_OK);
    assert_int_equal(ky_h5_read(f, "/predictions/dense_1", KY_H5_F32, want, 100, NULL), KY_OK);
    ky_h5_close(f);
    predict(m, 100, 1, x, y);
    assert_close(y, want, 100);
    ky_model_free(m);
}

/* Columns of C-MAPSS: engine, cycle, 3 settings, 21 sensors; the model takes the settings first. */
static void scale_cmapss(const double *rows, const double *lo, const double *hi, float *x)
{
    static const int order[4] = { 2, 3, 4, 1 };

    for (int t = 0; t < 50; t++)
        for (int c = 0; c < 25; c++) {
            int from = c < 4 ? order[c] : c + 1;
            double range = hi[from] - lo[from];

            x[t * 25 + c] = range > 0 ? (float)((rows[t * 26 + from] - lo[from]) / range) : 0;
        }
}

static void cmapss_gives_the_published_answers(void **state)
{
    (void)state;
    enum { TRAIN = 20631, TEST = 13096, C = 26 };
    ky_model *m = load(data("models/cmapss_lstm_regression.h5")); /* skips first of all */
    double *rows = malloc(sizeof(double) * TRAIN * C), lo[C], hi[C];
    float x[50 * 25], y, worst = 0;
    ky_h5 *f = NULL;
    FILE *want = fopen(data("models/cmapss_lstm_regression.submit_test.csv"), "r");
    int n = 0;

    assert_non_null(want);
    assert_int_equal(fscanf(want, "%*[^\n]"), 0); /* the heading */
    assert_int_equal(ky_h5_open(data("data/cmapss_fd001/cmapss_fd001.h5"), &f, NULL), KY_OK);
    assert_int_equal(ky_h5_read(f, "/train", KY_H5_F64, rows, TRAIN * C, NULL), KY_OK);
    for (int c = 0; c < C; c++) {
        lo[c] = hi[c] = rows[c];
        for (int i = 1; i < TRAIN; i++) {
            lo[c] = fmin(lo[c], rows[i * C + c]);
            hi[c] = fmax(hi[c], rows[i * C + c]);
        }
    }
    assert_int_equal(ky_h5_read(f, "/test", KY_H5_F64, rows, TEST * C, NULL), KY_OK);
    ky_h5_close(f);
    for (int i = 0, first = 0; i < TEST; i++) {
        bool last = i + 1 == TEST || rows[(i + 1) * C] != rows[i * C];
        float expected;

        if (!last)
            continue;
        if (i + 1 - first >= 50) {
            scale_cmapss(rows + (i - 49) * C, lo, hi, x);
            predict(m, 1, 50, x, &y);
            assert_int_equal(fscanf(want, "%f", &expected), 1);
            worst = fmaxf(worst, fabsf(y - expected));
            n++;
        }
        first = i + 1;
    }
    fclose(want);
    free(rows);
    ky_model_free(m);
    assert_int_equal(n, 93);
    /* Remaining cycles, up to 160; a numpy forward pass differs by 3e-5. */
    if (worst > 1e-3f)
        fail_msg("largest difference %g cycles", worst);
}

static void golden_files_of_keras_3_give_its_answers(void **state)
{
    static const char *const files[] = { "k3_lstm_stack", "k3_conv_valid",  "k3_conv_same_causal",
                                         "k3_functional", "k3_activations", "k3_flat_dense" };

    (void)state;
    for (size_t i = 0; i < LENGTH(files); i++) {
        char path[600];
        ky_h5_info in, out;
        ky_h5 *f = NULL;

        snprintf(path, sizeof(path), "%s/tests/golden/%s.h5", getenv("KY_SRCDIR"), files[i]);
        ky_model *m = load(path);
        assert_int_equal(ky_h5_open(path, &f, NULL), KY_OK);
        assert_int_equal(ky_h5_stat(f, "/golden/x", &in, NULL), KY_OK);
        assert_int_equal(ky_h5_stat(f, "/golden/y", &out, NULL), KY_OK);
        float *x = malloc(in.count * sizeof(*x)), *want = malloc(out.count * sizeof(*want));
        float *y = malloc(out.count * sizeof(*y));
        assert_int_equal(ky_h5_read(f, "/golden/x", KY_H5_F32, x, in.count, NULL), KY_OK);
        assert_int_equal(ky_h5_read(f, "/golden/y", KY_H5_F32, want, out.count, NULL), KY_OK);
        ky_h5_close(f);
        predict(m, (int)in.dims[0], in.rank == 3 ? (int)in.dims[1] : 1, x, y);
        assert_close(y, want, out.count);
        free(x);
        free(y);
        free(want);
        ky_model_free(m);
    }
}

/* -- round trips -------------------------------------------------------------------------- */

static int below(ky_rng *rng, int n)
{
    return (int)ky_rng_below(rng, (uint64_t)n);
}

/* Options at random among those that make sense for any input. */
static void draw_options(ky_layer *l, ky_rng *rng)
{
    /* All that mean the same in every version of Keras. */
    static const enum ky_activation acts[] = { KY_LINEAR,  KY_RELU,        KY_TANH,
                                               KY_SIGMOID, KY_EXPONENTIAL, KY_SOFTMAX };
    bool lstm = l->ops == &ky_lstm_ops;

    l->cfg.units = 1 + below(rng, 9);
    l->cfg.filters = 1 + below(rng, 9);
    l->cfg.kernel_size[0] = 1 + below(rng, 3);
    l->cfg.strides[0] = 1 + below(rng, 2);
    l->cfg.dilation_rate[0] = l->cfg.strides[0] == 1 ? 1 + below(rng, 2) : 1;
    l->cfg.pool_size[0] = 1 + below(rng, 2);
    l->cfg.padding =
        l->ops == &ky_conv1d_ops ? (enum ky_padding)below(rng, 3) : (enum ky_padding)below(rng, 2);
    l->cfg.activation = acts[below(rng, lstm ? 4 : (int)LENGTH(acts))];
    l->cfg.recurrent_activation = below(rng, 4) ? KY_SIGMOID : KY_TANH;
    l->cfg.use_bias = below(rng, 4) > 0;
    l->cfg.return_sequences = below(rng, 2);
    l->cfg.center = below(rng, 2);
    l->cfg.scale = below(rng, 2);
    l->cfg.rate = ky_rng_uniform(rng);
    l->cfg.momentum = ky_rng_uniform(rng);
    l->cfg.epsilon = 1e-5 + 0.01 * ky_rng_uniform(rng);
    l->trainable = below(rng, 4) > 0;
}

static ky_model *draw_model(ky_rng *rng)
{
    ky_shape input = { .rank = 2, .timed = true, .d = { 24 + below(rng, 9), 1 + below(rng, 6) } };
    ky_model *m = NULL;
    int n_ops = 0, want = 1 + below(rng, 7);

    if (below(rng, 8) == 0)
        input = (ky_shape){ .rank = 1, .d = { 1 + below(rng, 6) } };
    while (ky_layer_table[n_ops] != NULL)
        n_ops++;
    assert_int_equal(ky_model_new("drawn", &input, &m, NULL), KY_OK);
    while (m->n_layers < want) {
        ky_layer l;
        char name[32];

        snprintf(name, sizeof(name), "l%d", m->n_layers);
        ky_layer_init(&l, ky_layer_table[below(rng, n_ops)], name);
        draw_options(&l, rng);
        ky_model_add(m, &l, NULL); /* what does not fit is drawn again */
    }
    assert_int_equal(ky_model_finish(m, NULL), KY_OK);
    for (size_t i = 0; i < m->n_weights; i++)
        m->weights[i] = (ky_real)(0.1 + fabs(0.3 * ky_rng_normal(rng)));
    assert_int_equal(ky_model_pack(m, NULL), KY_OK);
    return m;
}

static void assert_same_layer(const ky_layer *a, const ky_layer *b)
{
    assert_ptr_equal(a->ops, b->ops);
    assert_string_equal(a->name, b->name);
    if (a->n_weights > 0) /* else it says nothing, and some classes must not have it */
        assert_int_equal(a->trainable, b->trainable);
    for (const ky_field *f = a->ops->fields; f->key != NULL; f++)
        if (ky_field_get(f, &a->cfg, 0) != ky_field_get(f, &b->cfg, 0))
            fail_msg("%s of %s: %.9g, read back %.9g", f->key, a->ops->class_name,
                     ky_field_get(f, &a->cfg, 0), ky_field_get(f, &b->cfg, 0));
    assert_memory_equal(a->out.d, b->out.d, (size_t)a->out.rank * sizeof(int));
}

static void random_chains_survive_to_the_bit(void **state)
{
    (void)state;
    ky_rng rng;

    ky_rng_seed(&rng, 20);
#ifdef KY_SANITIZED
    enum { MODELS = 40 }; /* files take long when they are watched */
#else
    enum { MODELS = 200 };
#endif
    for (int i = 0; i < MODELS; i++) {
        ky_model *m = draw_model(&rng);

        assert_int_equal(ky_model_save(m, in_dir("drawn.h5"), NULL), KY_OK);
        ky_model *back = load(in_dir("drawn.h5"));
        assert_int_equal(back->n_layers, m->n_layers);
        for (int k = 0; k < m->n_layers; k++)
            assert_same_layer(&m->layers[k], &back->layers[k]);
        assert_int_equal(back->n_weights, m->n_weights);
        assert_memory_equal(back->weights, m->weights, m->n_weights * sizeof(*m->weights));
        assert_true(back->info.hash == m->info.hash);
        ky_model_free(m);
        ky_model_free(back);
    }
}

static ky_model *small_model(const char *arch)
{
    const ky_shape input = { .rank = 2, .timed = true, .d = { KY_ANY, 3 } };
    ky_model *m = NULL;
    ky_err err = { 0 };

    if (ky_arch_build(arch, &input, 4, true, &m, &err) < 0)
        fail_msg("%s", err.text);
    ky_model_init(m, 7);
    assert_int_equal(ky_model_pack(m, NULL), KY_OK);
    return m;
}

static void two_saves_give_the_same_bytes(void **state)
{
    (void)state;
    const char *const labels[] = { "a", "b", "c", "d\xc3\xa9" }, *const names[] = { "x", "y", "z" };
    ky_model *m = small_model("lstm:5, dense");
    size_t n = 0, n_again = 0;

    assert_int_equal(ky_model_set_labels(m, labels, 4, NULL), KY_OK);
    assert_int_equal(ky_model_set_feature_names(m, names, NULL), KY_OK);
    m->meta.extra = ky_json_object();
    ky_json_set(m->meta.extra, "seed", ky_json_of_int(7));
    assert_int_equal(ky_model_save(m, in_dir("one.h5"), NULL), KY_OK);
    ky_model *back = load(in_dir("one.h5"));
    assert_int_equal(back->info.n_labels, 4);
    assert_string_equal(back->info.labels[3], labels[3]);
    assert_string_equal(back->info.feature_names[2], "z");
    assert_int_equal(ky_json_int(ky_json_get(back->meta.extra, "seed"), 0), 7);
    assert_int_equal(back->info.window, 0); /* any number of steps */
    assert_int_equal(ky_model_save(back, in_dir("two.h5"), NULL), KY_OK);
    unsigned char *one = slurp(in_dir("one.h5"), &n), *two = slurp(in_dir("two.h5"), &n_again);
    assert_int_equal(n, n_again);
    assert_memory_equal(one, two, n);
    free(one);
    free(two);
    ky_model_free(m);
    ky_model_free(back);
}

static void names_that_keras_cannot_hold_are_made_plain_and_unique(void **state)
{
    (void)state;
    static const char *const given[] = { "a/b", "a b", "_x", "top_level_model_weights", "" };
    static const char *const want[] = { "a_b", "a_b_1", "x", "layer", "dense" };
    const ky_shape input = { .rank = 1, .d = { 2 } };
    ky_model *m = NULL;

    assert_int_equal(ky_model_new("sla/sh", &input, &m, NULL), KY_OK);
    for (size_t i = 0; i < LENGTH(given); i++) {
        ky_layer l;

        ky_layer_init(&l, &ky_dense_ops, given[i]);
        l.cfg.units = 2;
        assert_int_equal(ky_model_add(m, &l, NULL), KY_OK);
    }
    assert_int_equal(ky_model_finish(m, NULL), KY_OK);
    assert_int_equal(ky_model_pack(m, NULL), KY_OK);
    assert_int_equal(ky_model_save(m, in_dir("names.h5"), NULL), KY_OK);
    ky_model *back = load(in_dir("names.h5"));
    for (size_t i = 0; i < LENGTH(want) - 1; i++)
        assert_string_equal(back->layers[i].name, want[i]);
    assert_string_equal(back->info.name, "sla_sh");
    ky_model_free(m);
    ky_model_free(back);
}

/* clip(0.2z + 0.5) of Keras 2 is clip(1.2z/6 + 0.5) of Keras 3. */
static void old_hard_sigmoid_is_written_as_keras_3_means_it(void **state)
{
    (void)state;
    enum { T = 12 };
    ky_model *m = small_model("lstm:5, dense:4 linear");
    float x[3 * T], y[4], again[4];
    ky_rng rng;

    ky_rng_seed(&rng, 3);
    for (size_t i = 0; i < LENGTH(x); i++)
        x[i] = (float)ky_rng_normal(&rng);
    for (int i = 0; i < m->n_layers; i++)
        if (m->layers[i].ops == &ky_lstm_ops)
            m->layers[i].cfg.recurrent_activation = KY_HARD_SIGMOID_K2;
    assert_int_equal(ky_model_pack(m, NULL), KY_OK);
    predict(m, 1, T, x, y);
    assert_int_equal(ky_model_save(m, in_dir("hard.h5"), NULL), KY_OK);
    ky_model *back = load(in_dir("hard.h5"));
    predict(back, 1, T, x, again);
    assert_close(again, y, 4);
    ky_model_free(back);

    m->layers[m->n_layers - 2].cfg.activation = KY_HARD_SIGMOID_K2; /* on the cell: no such form */
    ky_err err;
    assert_int_equal(ky_model_save(m, in_dir("hard.h5"), &err), KY_EUNSUPPORTED);
    assert_non_null(strstr(err.text, "hard_sigmoid"));
    ky_model_free(m);
}

/* -- spellings -------------------------------------------------------------------------------- */

static int config(const char *text, const char *version, ky_model **ret, ky_err *err)
{
    *ret = NULL;
    return ky_keras_config_read(text, strlen(text), ky_keras_version_read(version), ret, err);
}

#define LSTM_ENTRY(options)                                                                        \
    "{\"class_name\":\"LSTM\",\"config\":{\"name\":\"l\",\"units\":4" options "}}"
#define WITH_SHAPE ",\"batch_input_shape\":[null,7,3]"
#define FUNCTIONAL(nodes, ends)                                                                    \
    "{\"class_name\":\"Functional\",\"config\":{\"name\":\"f\",\"layers\":["                       \
    "{\"class_name\":\"InputLayer\",\"name\":\"i\",\"inbound_nodes\":[],\"config\":{\"name\":"     \
    "\"i\",\"batch_shape\":[null,7,3]}},"                                                          \
    "{\"class_name\":\"LSTM\",\"name\":\"l\",\"config\":{\"name\":\"l\",\"units\":4},"             \
    "\"inbound_nodes\":" nodes "}],\"input_layers\":[[\"i\",0,0]],\"output_layers\":" ends "}}"

static void all_spellings_of_one_model_read_alike(void **state)
{
    static const char *const texts[] = {
        "{\"class_name\":\"Sequential\",\"config\":[" LSTM_ENTRY(WITH_SHAPE) "]}",
        "{\"class_name\":\"Sequential\",\"config\":{\"name\":\"s\",\"layers\":[" LSTM_ENTRY(
            WITH_SHAPE) "]}}",
        "{\"class_name\":\"Sequential\",\"config\":{\"layers\":[" LSTM_ENTRY(
            "") "],\"build_input_shape\":[null,7,3]}}",
        "{\"class_name\":\"Sequential\",\"config\":{\"layers\":[{\"class_name\":\"InputLayer\","
        "\"config\":{\"batch_shape\":{\"class_name\":\"__tuple__\",\"items\":[null,7,3]}}}"
        "," LSTM_ENTRY("") "]}}",
        "{\"class_name\":\"Sequential\",\"config\":[" LSTM_ENTRY(
            ",\"input_dim\":3,\"input_length\":7") "]}",
        "{\"class_name\":\"Sequential\",\"config\":[" LSTM_ENTRY(
            WITH_SHAPE ",\"kernel_initializer\":{\"class_name\":\"Zeros\"},\"activation\":"
                       "{\"module\":\"keras.activations\",\"class_name\":\"function\",\"config\":"
                       "\"tanh\"},\"dtype\":{\"class_name\":\"DTypePolicy\",\"config\":{\"name\":"
                       "\"float32\"}},\"time_major\":false,\"quantization_config\":null,"
                       "\"implementation\":2") "]}",
        FUNCTIONAL("[[[\"i\",0,0,{}]]]", "[[\"l\",0,0]]"),
        FUNCTIONAL("[[[\"i\",0,0]]]", "[\"l\",0,0]"),
        FUNCTIONAL("[{\"args\":[{\"class_name\":\"__keras_tensor__\",\"config\":{\"keras_history\":"
                   "[\"i\",0,0]}}],\"kwargs\":{\"mask\":null,\"training\":false}}]",
                   "[\"l\",0,0]"),
    };

    (void)state;
    for (size_t i = 0; i < LENGTH(texts); i++) {
        ky_model *m = NULL;
        ky_err err = { 0 };

        if (config(texts[i], "2.15.0", &m, &err) < 0)
            fail_msg("spelling %zu: %s", i, err.text);
        assert_int_equal(m->n_layers, 1);
        assert_int_equal(m->inputs[0].d[0], 7);
        assert_int_equal(m->inputs[0].d[1], 3);
        assert_int_equal(m->layers[0].cfg.units, 4);
        assert_int_equal(m->layers[0].cfg.recurrent_activation, KY_SIGMOID);
        ky_model_free(m);
    }
}

static void defaults_and_hard_sigmoid_follow_the_version(void **state)
{
    static const struct {
        const char *version, *options;
        enum ky_activation want;
    } table[] = {
        { "1.2.2", "", KY_HARD_SIGMOID_K2 },
        { "2.2.5", "", KY_HARD_SIGMOID_K2 },
        { "2.3.0", "", KY_SIGMOID },
        { "2.15.0", "", KY_SIGMOID },
        { "3.6.0", "", KY_SIGMOID },
        { NULL, "", KY_HARD_SIGMOID_K2 },
        { "2.15.0", ",\"recurrent_activation\":\"hard_sigmoid\"", KY_HARD_SIGMOID_K2 },
        { "3.6.0", ",\"recurrent_activation\":\"hard_sigmoid\"", KY_HARD_SIGMOID_K3 },
        { "1.0.0", ",\"inner_activation\":\"sigmoid\"", KY_SIGMOID },
    };

    (void)state;
    for (size_t i = 0; i < LENGTH(table); i++) {
        char text[500];
        ky_model *m = NULL;

        snprintf(text, sizeof(text),
                 "{\"class_name\":\"Sequential\",\"config\":[{\"class_name\":\"LSTM\",\"config\":{"
                 "\"units\":4,\"batch_input_shape\":[null,null,3]%s}}]}",
                 table[i].options);
        assert_int_equal(config(text, table[i].version, &m, NULL), KY_OK);
        assert_int_equal(m->layers[0].cfg.recurrent_activation, table[i].want);
        ky_model_free(m);
    }
}

#define SEQUENTIAL(layers) "{\"class_name\":\"Sequential\",\"config\":[" layers "]}"
#define DENSE(options)                                                                             \
    "{\"class_name\":\"Dense\",\"config\":{\"name\":\"d\",\"batch_input_shape\":[null,3]" options  \
    "}}"

static void bad_configurations_are_refused_with_the_reason(void **state)
{
    static const struct {
        const char *text;
        int code;
        const char *says;
    } bad[] = {
        { "", KY_EFORMAT, "line 1" },
        { "[]", KY_EUNSUPPORTED, "class (none)" },
        { "{\"class_name\":\"Sequential\"}", KY_EFORMAT, "0 layers" },
        { SEQUENTIAL(""), KY_EFORMAT, "0 layers" },
        { SEQUENTIAL("{}"), KY_EUNSUPPORTED, "class (none)" },
        { SEQUENTIAL("7"), KY_EUNSUPPORTED, "class (none)" },
        { SEQUENTIAL("{\"class_name\":\"Dense\"}"), KY_EFORMAT, "no config" },
        { SEQUENTIAL("{\"class_name\":\"Lambda\",\"config\":{\"name\":\"x\"}}"), KY_EUNSUPPORTED,
          "layer 'x': class Lambda holds a program" },
        { SEQUENTIAL("{\"class_name\":\"my>Dense\",\"config\":{\"name\":\"x\"}}"), KY_EUNSUPPORTED,
          "class my>Dense" },
        { SEQUENTIAL(DENSE("")), KY_EINVAL, "units" },
        { SEQUENTIAL(DENSE(",\"units\":1000000000")), KY_EINVAL, "units" },
        { SEQUENTIAL(DENSE(",\"units\":4000000") "," DENSE(",\"units\":4000000")), KY_EFULL,
          "weights" },
        { SEQUENTIAL(DENSE(",\"units\":-1")), KY_EINVAL, "units" },
        { SEQUENTIAL(DENSE(",\"units\":2.5")), KY_EFORMAT, "units" },
        { SEQUENTIAL(DENSE(",\"units\":\"2\"")), KY_EFORMAT, "units" },
        { SEQUENTIAL(DENSE(",\"units\":99999999999")), KY_EFORMAT, "units" },
        { SEQUENTIAL(DENSE(",\"units\":2,\"activation\":\"evil\"")), KY_EUNSUPPORTED,
          "activation is \"evil\"" },
        { SEQUENTIAL(DENSE(",\"units\":2,\"use_bias\":1")), KY_EFORMAT, "use_bias" },
        { SEQUENTIAL(DENSE(",\"units\":2,\"dtype\":\"int8\"")), KY_EUNSUPPORTED, "dtype" },
        { SEQUENTIAL(DENSE(",\"units\":2,\"lora_rank\":4")), KY_EUNSUPPORTED,
          "layer 'd': its option lora_rank is 4" },
        { SEQUENTIAL(
              "{\"class_name\":\"Dense\",\"config\":{\"units\":2,\"batch_input_shape\":[null,"
              "1,2,3,4,5,6]}}"),
          KY_EUNSUPPORTED, "[null,1,2,3,4,5,6]" },
        { SEQUENTIAL("{\"class_name\":\"Dense\",\"config\":{\"units\":2,\"batch_input_shape\":["
                     "null,null]}}"),
          KY_EUNSUPPORTED, "not fixed" },
        { SEQUENTIAL("{\"class_name\":\"Conv1D\",\"config\":{\"filters\":2,\"kernel_size\":[3],"
                     "\"batch_input_shape\":[null,2,2]}}"),
          KY_ESHAPE, "too few" },
        { SEQUENTIAL("{\"class_name\":\"LSTM\",\"config\":{\"units\":2,\"return_state\":true,"
                     "\"batch_input_shape\":[null,2,2]}}"),
          KY_EUNSUPPORTED, "return_state" },
        { FUNCTIONAL("[[[\"x\",0,0,{}]]]", "[[\"l\",0,0]]"), KY_EFORMAT,
          "layer 'l' (LSTM): there is no layer 'x'" },
        { FUNCTIONAL("[[[\"i\",0,0,{}],[\"i\",0,0,{}]]]", "[[\"l\",0,0]]"), KY_ESHAPE,
          "layer 'l' (LSTM): it is called on 2 inputs, must be 1" },
        { FUNCTIONAL("[[[\"i\",0,0,{\"initial_state\":[\"i\",0,0]}]]]", "[[\"l\",0,0]]"),
          KY_EUNSUPPORTED, "called with initial_state" },
        { FUNCTIONAL("[]", "[[\"l\",0,0]]"), KY_EFORMAT, "nothing calls it" },
    };

    (void)state;
    for (size_t i = 0; i < LENGTH(bad); i++) {
        ky_model *m = NULL;
        ky_err err = { 0 };
        int rc = config(bad[i].text, "2.15.0", &m, &err);

        if (rc != bad[i].code || strstr(err.text, bad[i].says) == NULL)
            fail_msg("configuration %zu: %d, %s", i, rc, err.text);
        assert_null(m);
    }
}

/* -- arrays of old versions, made by hand --------------------------------------------------------
 */

/* A model file of one Conv1D of 2 filters, 3 taps, 1 channel, with this kernel. */
static void write_conv(const char *version, const char *backend, int rank, const uint64_t *d,
                       const float *kernel)
{
    static const char *const layer = "c", *const names[] = { "c_W", "c_b" };
    static const float bias[2] = { 0, 0 };
    ky_h5 *f = NULL;

    assert_int_equal(ky_h5_create(in_dir("conv.h5"), &f, NULL), KY_OK);
    assert_int_equal(ky_h5_set_attr_str(
                         f, "/", "model_config",
                         SEQUENTIAL("{\"class_name\":\"Convolution1D\",\"config\":{\"name\":\"c\","
                                    "\"nb_filter\":2,\"filter_length\":3,\"border_mode\":\"valid\","
                                    "\"batch_input_shape\":[null,3,1],\"activation\":\"linear\"}}"),
                         NULL),
                     KY_OK);
    assert_int_equal(ky_h5_put(f, "/model_weights/c/c_W", KY_H5_F32, rank, d, kernel, NULL), KY_OK);
    assert_int_equal(
        ky_h5_put(f, "/model_weights/c/c_b", KY_H5_F32, 1, (uint64_t[]){ 2 }, bias, NULL), KY_OK);
    assert_int_equal(ky_h5_set_attr_strs(f, "/model_weights", "layer_names", &layer, 1, NULL),
                     KY_OK);
    assert_int_equal(ky_h5_set_attr_strs(f, "/model_weights/c", "weight_names", names, 2, NULL),
                     KY_OK);
    if (version != NULL)
        ky_h5_set_attr_str(f, "/model_weights", "keras_version", version, NULL);
    if (backend != NULL)
        ky_h5_set_attr_str(f, "/model_weights", "backend", backend, NULL);
    assert_int_equal(ky_h5_commit(f, NULL), KY_OK);
}

static void old_convolution_kernels_are_turned(void **state)
{
    /* filter 0 is (1,2,3) along time, filter 1 is (10,20,30) */
    static const float by_time[6] = { 1, 10, 2, 20, 3, 30 }, by_filter[6] = { 1, 2, 3, 10, 20, 30 };
    static const struct {
        const char *version, *backend;
        int rank;
        uint64_t d[4];
        const float *kernel;
        float want[2]; /* on the input 1, 100, 10000 */
    } table[] = {
        { "2.1.0", "tensorflow", 3, { 3, 1, 2 }, by_time, { 30201, 302010 } },
        { "2.1.0", "theano", 3, { 3, 1, 2 }, by_time, { 10203, 102030 } },
        { "3.0.0", "theano", 3, { 3, 1, 2 }, by_time, { 30201, 302010 } },
        { "1.2.2", NULL, 4, { 3, 1, 1, 2 }, by_time, { 30201, 302010 } },
        { NULL, NULL, 4, { 3, 1, 1, 2 }, by_time, { 30201, 302010 } },
        { "1.0.0", NULL, 4, { 2, 1, 3, 1 }, by_filter, { 30201, 302010 } },
        { "1.0.0", "theano", 4, { 2, 1, 3, 1 }, by_filter, { 10203, 102030 } },
    };
    static const float x[3] = { 1, 100, 10000 };

    (void)state;
    for (size_t i = 0; i < LENGTH(table); i++) {
        float y[2];

        write_conv(table[i].version, table[i].backend, table[i].rank, table[i].d, table[i].kernel);
        ky_model *m = load(in_dir("conv.h5"));
        predict(m, 1, 3, x, y);
        assert_true(y[0] == table[i].want[0] && y[1] == table[i].want[1]);
        ky_model_free(m);
    }
}

static void arrays_that_do_not_fit_are_refused_by_layer(void **state)
{
    static const float w[100] = { NAN };
    ky_model *m = NULL;
    ky_err err;

    (void)state;
    write_conv("2.1.0", NULL, 3, (uint64_t[]){ 3, 2, 2 }, w);
    assert_int_equal(ky_model_load(in_dir("conv.h5"), &m, &err), KY_ESHAPE);
    assert_non_null(strstr(err.text,
                           "layer 'c': array '/model_weights/c/c_W' has shape (3, 2, 2), the "
                           "configuration wants (3, 1, 2)"));
    write_conv("1.2.0", NULL, 3, (uint64_t[]){ 3, 1, 2 }, w);
    assert_int_equal(ky_model_load(in_dir("conv.h5"), &m, &err), KY_ESHAPE);
    write_conv("2.1.0", NULL, 3, (uint64_t[]){ 3, 1, 2 }, w);
    assert_int_equal(ky_model_load(in_dir("conv.h5"), &m, &err), KY_EFORMAT);
    assert_non_null(strstr(err.text, "NaN"));
    assert_null(m);
}

/* -- damaged files
 * ----------------------------------------------------------------------------------- */

static void every_truncation_of_a_model_is_refused(void **state)
{
    (void)state;
    ky_model *m = small_model("conv1d:4x3 relu, lstm:5, dense");
    size_t len;

    assert_int_equal(ky_model_save(m, in_dir("whole.h5"), NULL), KY_OK);
    ky_model_free(m);
    unsigned char *image = slurp(in_dir("whole.h5"), &len);
    for (int percent = 0; percent < 100; percent++) {
        FILE *out = fopen(in_dir("cut.h5"), "wb");

        fwrite(image, 1, len * (size_t)percent / 100, out);
        fclose(out);
        m = NULL;
        assert_int_equal(ky_model_load(in_dir("cut.h5"), &m, NULL), KY_EFORMAT);
        assert_null(m);
    }
    free(image);
}

static void flipped_bits_never_crash_the_loader(void **state)
{
    (void)state;
    ky_model *m = small_model("conv1d:4x3 relu, lstm:5, dense");
    ky_rng rng;
    size_t len;
    int loaded = 0, refused = 0;

    assert_int_equal(ky_model_save(m, in_dir("whole.h5"), NULL), KY_OK);
    ky_model_free(m);
    unsigned char *image = slurp(in_dir("whole.h5"), &len), *bad = malloc(len);
    ky_rng_seed(&rng, 99);
    for (int i = 0; i < 3000; i++) {
        ky_h5 *f = NULL;
        int flips = 1 + below(&rng, 4), rc;

        memcpy(bad, image, len);
        for (int k = 0; k < flips; k++)
            bad[ky_rng_below(&rng, len)] ^= (unsigned char)(1 << below(&rng, 8));
        m = NULL;
        rc = ky_h5_open_image(bad, len, &f, NULL);
        if (rc == KY_OK)
            rc = ky_keras_read(f, &m, NULL);
        ky_h5_close(f);
        loaded += rc == KY_OK;
        refused += rc < 0;
        ky_model_free(m);
    }
    assert_int_equal(loaded + refused, 3000);
    assert_true(loaded > 0 && refused > 0); /* weights may change unseen, the rest may not */
    free(image);
    free(bad);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(real_files_load_or_are_refused_by_name_and_reason),
        cmocka_unit_test(keras1_lstm_gives_the_stored_answers),
        cmocka_unit_test(cmapss_gives_the_published_answers),
        cmocka_unit_test(golden_files_of_keras_3_give_its_answers),
        cmocka_unit_test(random_chains_survive_to_the_bit),
        cmocka_unit_test(two_saves_give_the_same_bytes),
        cmocka_unit_test(names_that_keras_cannot_hold_are_made_plain_and_unique),
        cmocka_unit_test(old_hard_sigmoid_is_written_as_keras_3_means_it),
        cmocka_unit_test(all_spellings_of_one_model_read_alike),
        cmocka_unit_test(defaults_and_hard_sigmoid_follow_the_version),
        cmocka_unit_test(bad_configurations_are_refused_with_the_reason),
        cmocka_unit_test(old_convolution_kernels_are_turned),
        cmocka_unit_test(arrays_that_do_not_fit_are_refused_by_layer),
        cmocka_unit_test(every_truncation_of_a_model_is_refused),
        cmocka_unit_test(flipped_bits_never_crash_the_loader),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
