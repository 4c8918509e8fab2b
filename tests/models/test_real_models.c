/* Models that other people trained with Keras 1, 2 and 3 ($KYMO_DATA/models, see its README):
 * each loads and answers, or is refused for the reason that makes it inevitable, and where the
 * answers of the real library are known they are met. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/h5.h"
#include "models/model.h"

enum { BLOCK = 250 };

/* Files that must be refused, and the words that say why. */
static const struct {
    const char *file, *why;
} refused[] = {
    /* Weights without an architecture; the net has a custom attention layer. */
    { "textgenrnn_weights.hdf5", "weights" },
};

/* Files of weights alone, and the models whose architecture and weights they have. */
static const struct {
    const char *weights, *model;
} apart[] = {
    { "models/k1_simple_lstm.weights.h5", "models/k1_simple_lstm.h5" },
    { "models/k2_simple_lstm.weights.h5", "models/k2_simple_lstm.h5" },
    { "models/k2_simple_rnn.weights.h5", "models/k2_simple_rnn.h5" },
};

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

static ky_model *load(const char *name)
{
    ky_model *m = NULL;
    ky_err err = { 0 };

    if (ky_model_load(data(name), &m, &err) < 0)
        fail_msg("%s", err.text);
    return m;
}

/* All of a dataset, as floats; n receives how many. */
static float *read_set(const char *file, const char *dataset, size_t *n)
{
    ky_h5 *f = NULL;
    ky_h5_info i;
    ky_err err = { 0 };

    if (ky_h5_open(data(file), &f, &err) < 0 || ky_h5_stat(f, dataset, &i, &err) < 0)
        fail_msg("%s", err.text);
    float *x = malloc(i.count * sizeof(*x));
    assert_non_null(x);
    if (ky_h5_read(f, dataset, KY_H5_F32, x, i.count, &err) < 0)
        fail_msg("%s", err.text);
    ky_h5_close(f);
    *n = i.count;
    return x;
}

/* Values of a row of the first input or output in a run of T steps. */
static size_t row_of(const ky_model *m, int T, bool output)
{
    int dims[KY_MAX_RANK];
    const char *name;
    size_t row = 1;
    int rank =
        output ? ky_model_output(m, 0, T, dims, &name) : ky_model_input(m, 0, T, dims, &name);

    for (int i = 0; i < rank; i++)
        row *= (size_t)dims[i];
    return row;
}

/* The answers to N rows x of T steps (0: as many as the model says), free(). */
static float *answers(const ky_model *m, int N, int T, const float *x)
{
    T = T > 0 ? T : ky_model_facts(m)->window > 0 ? ky_model_facts(m)->window : 1;
    size_t in = row_of(m, T, false), out = row_of(m, T, true);
    ky_work *w = ky_work_new(m, T, BLOCK);
    float *y = malloc((size_t)N * out * sizeof(*y));

    assert_non_null(w);
    assert_non_null(y);
    assert_int_equal(ky_model_facts(m)->n_inputs, 1);
    assert_int_equal(ky_model_facts(m)->n_outputs, 1);
    for (int at = 0; at < N; at += BLOCK) {
        const float *xs[] = { x + (size_t)at * in };
        float *ys[] = { y + (size_t)at * out };

        ky_model_run(m, w, N - at < BLOCK ? N - at : BLOCK, T, xs, ys);
    }
    ky_work_free(w);
    return y;
}

static void assert_near(const char *what, const float *got, const float *want, size_t n,
                        double tolerance)
{
    double worst = 0;

    for (size_t i = 0; i < n; i++)
        worst = fmax(worst, fabs((double)got[i] - want[i]));
    if (!(worst <= tolerance))
        fail_msg("%s: off by %g, %g allowed", what, worst, tolerance);
}

static double largest(const float *x, size_t n)
{
    double l = 0;

    for (size_t i = 0; i < n; i++)
        l = fmax(l, fabs((double)x[i]));
    return l;
}

/* The answers that Keras kept beside a model, within 1e-5 of the largest. */
static void meets_companion(const char *model, const char *io, const char *inputs,
                            const char *predictions)
{
    ky_model *m = load(model);
    size_t n_x, n_y;
    float *x = read_set(io, inputs, &n_x), *want = read_set(io, predictions, &n_y);
    float *y = answers(m, (int)n_y, 1, x);

    assert_near(model, y, want, n_y, 1e-5 * largest(want, n_y));
    free(y);
    free(x);
    free(want);
    ky_model_free(m);
}

static void keras_1_lstm_answers_as_it_did(void **state)
{
    (void)state;
    meets_companion("models/k1_simple_lstm.h5", "models/k1_simple_lstm.io.h5",
                    "/inputs/lstm_input_1", "/predictions/dense_1");
}

static void keras_2_simple_rnn_answers_as_it_did(void **state)
{
    (void)state;
    meets_companion("models/k2_simple_rnn.h5", "models/k2_simple_rnn.io.h5",
                    "/inputs/simple_rnn_1_input", "/predictions/dense_1");
}

/* The numbers of a .npy of version 1 with little-endian float32, in C order. */
static float *read_npy(const char *name, size_t *n)
{
    FILE *f = fopen(data(name), "rb");
    unsigned char head[10];
    char text[1024];

    assert_non_null(f);
    assert_int_equal(fread(head, 1, sizeof(head), f), sizeof(head));
    assert_memory_equal(head, "\x93NUMPY\1", 7);
    size_t len = head[8] + 256U * head[9];
    assert_true(len < sizeof(text));
    assert_int_equal(fread(text, 1, len, f), len);
    text[len] = 0;
    bool wide = strstr(text, "'<f8'") != NULL;
    assert_true(wide || strstr(text, "'<f4'") != NULL);
    assert_non_null(strstr(text, "'fortran_order': False"));
    float *x = malloc(1 << 20);
    assert_non_null(x);
    for (*n = 0; *n < (1 << 18); (*n)++) {
        double d;
        float v;

        if (wide ? fread(&d, sizeof(d), 1, f) != 1 : fread(&v, sizeof(v), 1, f) != 1)
            break;
        x[*n] = wide ? (float)d : v;
    }
    fclose(f);
    return x;
}

static void keras_2_cnn_with_batch_norm_answers_as_it_did(void **state)
{
    (void)state;
    ky_model *m = load("models/k2_cnn_batchnorm.h5");
    size_t n_x, n_y;
    float *x = read_npy("models/k2_cnn_batchnorm.input.npy", &n_x);
    float *want = read_npy("models/k2_cnn_batchnorm.predictions.npy", &n_y);
    float *y = answers(m, (int)n_y, 0, x);

    assert_int_equal(n_x, n_y * row_of(m, ky_model_facts(m)->window, false));
    assert_near("k2_cnn_batchnorm", y, want, n_y, 1e-5 * largest(want, n_y));
    free(y);
    free(x);
    free(want);
    ky_model_free(m);
}

enum { COLUMNS = 26, FEATURES = 25, CYCLES = 50, ENGINES = 93 };

/* The last 50 cycles of every test engine that has as many, each column scaled to 0..1 by the
 * extremes of training; [ENGINES, CYCLES, FEATURES]. In double, or the answers differ by 0.04. */
static float *cmapss_windows(void)
{
    /* setting1..3, cycle, s1..s21, of columns id, cycle, setting1..3, s1..s21 */
    static const int order[4] = { 2, 3, 4, 1 };
    ky_h5 *f = NULL;
    ky_h5_info train, test;
    ky_err err = { 0 };
    double low[COLUMNS], high[COLUMNS];
    float *x = malloc(sizeof(*x) * ENGINES * CYCLES * FEATURES);

    if (ky_h5_open(data("data/cmapss_fd001/cmapss_fd001.h5"), &f, &err) < 0 ||
        ky_h5_stat(f, "/train", &train, &err) < 0 || ky_h5_stat(f, "/test", &test, &err) < 0)
        fail_msg("%s", err.text);
    double *a = malloc(train.count * sizeof(*a)), *b = malloc(test.count * sizeof(*b));
    assert_non_null(x);
    assert_non_null(a);
    assert_non_null(b);
    assert_int_equal(ky_h5_read(f, "/train", KY_H5_F64, a, train.count, &err), KY_OK);
    assert_int_equal(ky_h5_read(f, "/test", KY_H5_F64, b, test.count, &err), KY_OK);
    ky_h5_close(f);
    for (int c = 0; c < COLUMNS; c++) {
        low[c] = INFINITY;
        high[c] = -INFINITY;
        for (size_t i = 0; i < train.dims[0]; i++) {
            low[c] = fmin(low[c], a[i * COLUMNS + (size_t)c]);
            high[c] = fmax(high[c], a[i * COLUMNS + (size_t)c]);
        }
    }
    size_t n = 0, rows = test.dims[0];
    for (size_t from = 0, to; from < rows; from = to) {
        for (to = from; to < rows && b[to * COLUMNS] == b[from * COLUMNS];)
            to++;
        if (to - from < CYCLES)
            continue;
        assert_true(n < ENGINES);
        for (size_t t = 0; t < CYCLES; t++)
            for (int k = 0; k < FEATURES; k++) {
                int c = k < 4 ? order[k] : k + 1;
                double v = b[(to - CYCLES + t) * COLUMNS + (size_t)c] - low[c];

                x[(n * CYCLES + t) * FEATURES + (size_t)k] =
                    high[c] > low[c] ? (float)(v / (high[c] - low[c])) : 0;
            }
        n++;
    }
    assert_int_equal(n, ENGINES);
    free(a);
    free(b);
    return x;
}

static void cmapss_lstm_predicts_the_cycles_that_keras_did(void **state)
{
    (void)state;
    ky_model *m = load("models/cmapss_lstm_regression.h5");
    FILE *f = fopen(data("models/cmapss_lstm_regression.submit_test.csv"), "r");
    char line[64];
    float want[ENGINES];

    assert_non_null(f);
    assert_non_null(fgets(line, sizeof(line), f)); /* its head */
    for (int i = 0; i < ENGINES; i++) {
        assert_non_null(fgets(line, sizeof(line), f));
        want[i] = strtof(line, NULL);
    }
    fclose(f);
    float *x = cmapss_windows();
    float *y = answers(m, ENGINES, CYCLES, x);
    /* Cycles, up to about 180, where a float is 1.5e-5 wide: the answers of two programs are a
     * few of those apart (numpy's 3e-5 from Keras's), while 1e-5 of the largest would be 2e-3. */
    assert_near("cmapss", y, want, ENGINES, 1e-4);
    free(x);
    free(y);
    ky_model_free(m);
}

/* How many of the 10000 test digits the model gets right, pixels divided by 255. */
static int right_digits(const char *model)
{
    size_t n_x, n;
    float *x = read_set("data/mnist/mnist.h5", "/X_test", &n_x);
    float *label = read_set("data/mnist/mnist.h5", "/y_test", &n);
    ky_model *m = load(model);
    int right = 0;

    for (size_t i = 0; i < n_x; i++)
        x[i] /= 255;
    float *y = answers(m, (int)n, 0, x);
    for (size_t i = 0; i < n; i++) {
        int best = 0;

        for (int k = 1; k < 10; k++)
            if (y[i * 10 + (size_t)k] > y[i * 10 + (size_t)best])
                best = k;
        right += best == (int)label[i];
    }
    free(x);
    free(y);
    free(label);
    ky_model_free(m);
    return right;
}

static void mnist_accuracies_hold_to_the_digit(void **state)
{
    (void)state;
    assert_int_equal(right_digits("models/mnist_cnn_k31_h5.h5"), 9928);
    /* The same net with other weights; the README has no figure, Keras 3.15 gets as many. */
    assert_int_equal(right_digits("models/mnist_cnn_k31_keras.keras"), 9918);
    assert_int_equal(right_digits("models/mnist_lenet_k216.h5"), 9866);
}

static void weights_alone_answer_as_the_whole_model(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(apart) / sizeof(*apart); i++) {
        const float x[3] = { -0.7f, 0.2f, 1.4f };
        ky_model *whole = load(apart[i].model), *m = NULL;
        ky_err err = { 0 };

        if (ky_model_load_with(data(apart[i].weights), data(apart[i].model), &m, &err) < 0)
            fail_msg("%s", err.text);
        float *want = answers(whole, 3, 1, x), *y = answers(m, 3, 1, x);
        assert_memory_equal(y, want, 3 * sizeof(*y));
        free(y);
        free(want);
        ky_model_free(m);
        ky_model_free(whole);
    }
}

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), k = strlen(end);

    return n >= k && strcmp(s + n - k, end) == 0;
}

/* Whether the file is a model with its architecture, not a companion of one. */
static bool is_model(const char *name)
{
    return (ends_with(name, ".h5") || ends_with(name, ".hdf5") || ends_with(name, ".keras")) &&
           !ends_with(name, ".io.h5") && !ends_with(name, ".weights.h5");
}

static const char *why_refused(const char *name)
{
    for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++)
        if (strcmp(refused[i].file, name) == 0)
            return refused[i].why;
    return NULL;
}

/* Answers are finite, and differ for different rows. */
static void assert_answers(const char *name, const ky_model *m)
{
    enum { ROWS = 4 };
    int T = ky_model_facts(m)->window > 0 ? ky_model_facts(m)->window : 7;
    size_t in = row_of(m, T, false), out = row_of(m, T, true);
    float *x = malloc(ROWS * in * sizeof(*x));
    uint32_t seed = 1;
    bool ids = strstr(name, "embedding") != NULL, differ = false;

    assert_non_null(x);
    for (size_t i = 0; i < ROWS * in; i++) {
        seed = seed * 1664525 + 1013904223;
        x[i] = ids ? (float)(seed >> 30) : (float)(seed >> 8) / (1 << 24);
    }
    float *y = answers(m, ROWS, T, x);
    for (size_t i = 0; i < ROWS * out; i++) {
        if (!isfinite(y[i]))
            fail_msg("%s: an answer is %g", name, (double)y[i]);
        differ = differ || y[i] != y[i % out];
    }
    if (!differ)
        fail_msg("%s: all rows have the same answer", name);
    free(x);
    free(y);
}

static void every_model_loads_and_answers_or_says_why_not(void **state)
{
    DIR *d = opendir(data("models"));
    int seen = 0;

    (void)state;
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        char path[512];
        const char *why = why_refused(e->d_name);
        ky_model *m = NULL;
        ky_err err = { 0 };

        if (!is_model(e->d_name))
            continue;
        seen++;
        snprintf(path, sizeof(path), "models/%s", e->d_name);
        int rc = ky_model_load(data(path), &m, &err);
        if (rc < 0 && (why == NULL || strstr(err.text, why) == NULL))
            fail_msg("%s", err.text);
        if (rc == KY_OK && why != NULL)
            fail_msg("%s was to be refused: %s", e->d_name, why);
        if (rc == KY_OK)
            assert_answers(e->d_name, m);
        ky_model_free(m);
    }
    closedir(d);
    assert_int_equal(seen, 24);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keras_1_lstm_answers_as_it_did),
        cmocka_unit_test(keras_2_simple_rnn_answers_as_it_did),
        cmocka_unit_test(keras_2_cnn_with_batch_norm_answers_as_it_did),
        cmocka_unit_test(cmapss_lstm_predicts_the_cycles_that_keras_did),
        cmocka_unit_test(mnist_accuracies_hold_to_the_digit),
        cmocka_unit_test(weights_alone_answer_as_the_whole_model),
        cmocka_unit_test(every_model_loads_and_answers_or_says_why_not),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
