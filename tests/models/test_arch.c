/* Models from an --arch line: what they become, and what is refused with which words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/blueprint.h"
#include "models/layer_tools.h"

static const ky_shape windows = { .rank = 2, .d = { 128, 9 }, .timed = true };
static const ky_shape endless = { .rank = 2, .d = { KY_ANY, 9 }, .timed = true };

static ky_model *build(const char *arch, int outputs, bool normalize)
{
    ky_model *m;
    ky_err err;

    if (ky_arch_build(arch, &windows, outputs, normalize, &m, &err) < 0)
        fail_msg("%s: %s", arch, err.text);
    return m;
}

/* The model as one line: "Conv1D(64 valid relu)[126,64] ...". */
static void describe(const ky_model *m, char *to, size_t size)
{
    size_t n = 0;

    to[0] = '\0';
    for (int i = 0; i < m->n_layers; i++) {
        const ky_layer *l = &m->layers[i];

        n += (size_t)snprintf(to + n, size - n, "%s%s%s", i > 0 ? " " : "", l->ops->class_name,
                              l->distributed > 0 ? "*" : "");
        for (const ky_field *f = l->ops->fields; f->key != NULL; f++) {
            double v = ky_field_len(f, &l->cfg) < 1 ? 0 : ky_field_get(f, &l->cfg, 0);

            if (ky_field_len(f, &l->cfg) < 1 || v == f->otherwise)
                continue;
            if (f->type == KY_F_ACTIVATION)
                n += (size_t)snprintf(to + n, size - n, " %s",
                                      ky_activation_name((enum ky_activation)v));
            else if (f->type == KY_F_PADDING)
                n += (size_t)snprintf(to + n, size - n, " %s", ky_padding_name((enum ky_padding)v));
            else
                n += (size_t)snprintf(to + n, size - n, " %s=%g", f->key, v);
        }
        n += (size_t)snprintf(to + n, size - n, ";");
    }
}

static void lines_become_the_models_they_say(void **state)
{
    static const struct {
        const char *arch, *model;
    } cases[] = {
        { "lstm:64, dense", "LSTM units=64; Dense units=6 softmax;" },
        { "lstm:64, lstm:32, dense:6 linear",
          "LSTM units=64 return_sequences=1; LSTM units=32; Dense units=6;" },
        { "lstm:8, dropout:0.5, bn, lstm:4 gelu, dense",
          "LSTM units=8 return_sequences=1; Dropout rate=0.5; BatchNormalization; "
          "LSTM units=4 gelu; Dense units=6 softmax;" },
        { "conv1d:64x3 relu, conv1d:64x3 relu, dropout:0.5, maxpool:2, flatten, dense:100 relu, "
          "dense",
          "Conv1D filters=64 kernel_size=3 relu; Conv1D filters=64 kernel_size=3 relu; "
          "Dropout rate=0.5; MaxPooling1D strides=2; Flatten; Dense units=100 relu; "
          "Dense units=6 softmax;" },
        { "conv1d:16x5/2 same relu,gap,dense",
          "Conv1D filters=16 kernel_size=5 strides=2 same relu; GlobalAveragePooling1D; "
          "Dense units=6 softmax;" },
        { "conv1d:16x5 gelu, gap, dense:5 mish, dense",
          "Conv1D filters=16 kernel_size=5 gelu; GlobalAveragePooling1D; Dense units=5 mish; "
          "Dense units=6 softmax;" },
        { "conv1d:16x5 causal *4 tanh, gmp, dense",
          "Conv1D filters=16 kernel_size=5 causal dilation_rate=4 tanh; GlobalMaxPooling1D; "
          "Dense units=6 softmax;" },
        { "conv1d:16x5*4 valid, avgpool:3/2 same, lstm:3, dense",
          "Conv1D filters=16 kernel_size=5 dilation_rate=4; "
          "AveragePooling1D pool_size=3 strides=2 same; LSTM units=3; Dense units=6 softmax;" },
        { "  lstm:5 ,\n\tdense:6   sigmoid ", "LSTM units=5; Dense units=6 sigmoid;" },
        { "lstm:5, gap, dense",
          "LSTM units=5 return_sequences=1; GlobalAveragePooling1D; Dense units=6 softmax;" },
    };
    char text[1024];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        ky_model *m = build(cases[i].arch, 6, false);

        describe(m, text, sizeof(text));
        assert_string_equal(text, cases[i].model);
        ky_model_free(m);
    }
}

/* Frames of 12x10 with 2 channels; tokens, one a step. */
static void words_follow_the_dimensions_of_the_input(void **state)
{
    static const ky_shape frames = { .rank = 4, .d = { KY_ANY, 12, 10, 2 }, .timed = true },
                          image = { .rank = 3, .d = { 12, 10, 2 } },
                          tokens = { .rank = 1, .d = { 30 }, .timed = true };
    static const struct {
        const ky_shape *input;
        const char *arch, *model;
    } cases[] = {
        { &frames, "td(conv2d:16x3 relu), td(maxpool:2), td(flatten), bi(gru:8), dense",
          "Conv2D* filters=16 kernel_size=3 relu; MaxPooling2D* strides=2; Flatten*; "
          "Bidirectional; Dense units=6 softmax;" },
        { &image, "conv2d:4x3/2 same, bn, leaky:0.1, gap, ln, dense",
          "Conv2D filters=4 kernel_size=3 strides=2 same; BatchNormalization; LeakyReLU "
          "negative_slope=0.1; GlobalAveragePooling2D; LayerNormalization; Dense units=6 "
          "softmax;" },
        { &tokens, "embed:32x1000, rnn:8, gru:5, dense",
          "Embedding input_dim=1000 output_dim=32; SimpleRNN units=8 return_sequences=1; GRU "
          "units=5; Dense units=6 softmax;" },
        { &windows, "lstm:8, td(dense:4 relu), bi(lstm:3), dense",
          "LSTM units=8 return_sequences=1; Dense* units=4 relu; Bidirectional; Dense units=6 "
          "softmax;" },
    };
    char text[1024];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        ky_model *m;
        ky_err err;

        if (ky_arch_build(cases[i].arch, cases[i].input, 6, false, &m, &err) < 0)
            fail_msg("%s: %s", cases[i].arch, err.text);
        describe(m, text, sizeof(text));
        assert_string_equal(text, cases[i].model);
        ky_model_free(m);
    }
}

/* What the line says of the rows: tokens are steps, images without channels have one. */
static void rows_are_taken_as_the_first_layer_wants_them(void **state)
{
    static const struct {
        const char *arch;
        ky_shape rows, input;
        int tokens;
    } cases[] = {
        { "embed:4, lstm:3, dense", { 1, { 30 }, false }, { 1, { 30 }, true }, 50 },
        { "embed:4x7, lstm:3, dense", { 1, { 30 }, false }, { 1, { 30 }, true }, 7 },
        { "conv2d:2x3, gap, dense", { 2, { 9, 8 }, true }, { 3, { 9, 8, 1 }, false }, 0 },
        { "conv2d:2x3, gap, dense", { 3, { 9, 8, 2 }, false }, { 3, { 9, 8, 2 }, false }, 0 },
        { "td(conv2d:2x3), td(gap), lstm:3, dense",
          { 3, { 5, 9, 8 }, false },
          { 4, { 5, 9, 8, 1 }, true },
          0 },
        { "dense:4 relu, dense", { 1, { 30 }, false }, { 1, { 30 }, false }, 0 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        const ky_arch_opts o = { .input = cases[i].rows,
                                 .n_outputs = 3,
                                 .answer = KY_SOFTMAX,
                                 .normalize = true,
                                 .vocabulary = 50 };
        const ky_shape *in;
        ky_model *m;
        ky_err err;

        if (ky_arch_build_for(cases[i].arch, &o, &m, &err) < 0)
            fail_msg("%s: %s", cases[i].arch, err.text);
        in = ky_model_tensor(m, KY_INPUT(0));
        assert_int_equal(in->rank, cases[i].input.rank);
        assert_int_equal(in->timed, cases[i].input.timed);
        assert_memory_equal(in->d, cases[i].input.d, (size_t)in->rank * sizeof(*in->d));
        assert_int_equal(ky_model_facts(m)->tokens, cases[i].tokens);
        assert_int_equal(ky_arch_takes_tokens(cases[i].arch), cases[i].tokens > 0);
        /* a mean and a deviation for each channel, none for tokens */
        assert_int_equal(m->layers[0].ops == &ky_embedding_ops, cases[i].tokens > 0);
        if (cases[i].tokens == 0)
            assert_int_equal(m->layers[0].weights[0].len, in->d[in->rank - 1]);
        ky_model_free(m);
    }
}

/* Masks go from the front to the layer that sums up the steps, or are stopped by name. */
static void short_rows_are_masked(void **state)
{
    static const struct {
        const char *arch;
        ky_shape rows;
        const char *first, *stop;
    } cases[] = {
        { "lstm:3, dense", { 2, { 9, 2 }, true }, "Masking", NULL },
        { "td(dense:3), bi(gru:3), gap, dense", { 2, { 9, 2 }, true }, "Masking", NULL },
        { "lstm:3, dropout:0.5, bn, rnn:2, dense", { 2, { 9, 2 }, true }, "Masking", NULL },
        { "lstm:3, conv1d:2x3, gap, dense", { 2, { 9, 2 }, true }, "Masking", "conv1d" },
        { "maxpool:2, lstm:3, dense", { 2, { 9, 2 }, true }, "Masking", "max_pooling1d" },
        { "flatten, dense", { 2, { 9, 2 }, true }, "Masking", "flatten" },
        { "embed:2, lstm:3, dense", { 1, { 9 }, false }, "Embedding", NULL },
        { "embed:2x50 mask_zero, gmp, dense",
          { 1, { 9 }, false },
          "Embedding",
          "global_max_pooling1d" },
    };
    static const ky_shape frames = { 4, { 4, 9, 8, 1 }, true };
    ky_arch_opts o = { .n_outputs = 3, .answer = KY_SOFTMAX, .normalize = true, .vocabulary = 50 };
    ky_model *m;
    ky_err err;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        const char *stop;

        o.input = cases[i].rows;
        o.masks = strstr(cases[i].arch, "mask_zero") == NULL;
        if (ky_arch_build_for(cases[i].arch, &o, &m, &err) < 0)
            fail_msg("%s: %s", cases[i].arch, err.text);
        stop = ky_model_mask_stops(m);
        assert_string_equal(m->layers[0].ops->class_name, cases[i].first);
        assert_true(ky_model_facts(m)->masks);
        assert_true(ky_model_facts(m)->mask_value == (o.input.rank == 1 ? 0 : KY_MASK_VALUE));
        if ((stop == NULL) != (cases[i].stop == NULL) ||
            (stop != NULL && strcmp(stop, cases[i].stop) != 0))
            fail_msg("%s: the mask stops at %s", cases[i].arch, stop != NULL ? stop : "none");
        ky_model_free(m);
    }
    o.input = frames;
    o.masks = true;
    assert_int_equal(ky_arch_build_for("td(flatten), lstm:3, dense", &o, &m, &err),
                     KY_EUNSUPPORTED);
    assert_non_null(strstr(err.text, "steps of values, or tokens"));
}

static void two_classes_may_share_one_sigmoid(void **state)
{
    ky_model *m = build("lstm:3, dense:1", 2, false);

    (void)state;
    assert_int_equal(ky_model_facts(m)->outputs, 1);
    assert_int_equal(m->layers[1].cfg.activation, KY_SIGMOID);
    assert_true(ky_model_facts(m)->probabilities);
    ky_model_free(m);
}

static void inputs_are_normalised_by_a_layer_that_does_not_learn(void **state)
{
    ky_model *m = build("lstm:3, bn, dense", 2, true);
    const ky_layer *l = &m->layers[0];

    (void)state;
    assert_string_equal(l->ops->class_name, "BatchNormalization");
    assert_false(l->trainable || l->cfg.center || l->cfg.scale);
    assert_int_equal(l->n_weights, 2);
    assert_string_equal(l->weights[0].name, "moving_mean");
    assert_false(l->weights[0].trainable);
    assert_true(m->layers[2].trainable);
    assert_string_not_equal(l->name, m->layers[2].name);
    ky_model_free(m);
}

static void wrong_lines_are_refused_with_the_word_and_a_better_one(void **state)
{
    static const struct {
        const char *arch, *says;
    } cases[] = {
        { "", "empty" },
        { "   ", "empty" },
        { "lstm:3,,dense", "layer 2" },
        { "lstm:3, dense,", "layer 3" },
        { ",", "empty" },
        { "lsmt:64, dense", "no layer 'lsmt'; the nearest is 'lstm'" },
        { "convd1:3x3, gap, dense", "the nearest is 'conv1d'" },
        { "LSTM:64, dense", "no layer 'LSTM'; the nearest is 'lstm'" },
        { "svm:64, dense", "no layer 'svm'; known are dense, " },
        { "bi(dense:3), gap, dense", "bi(...) goes around one lstm, gru or rnn" },
        { "bi(bi(lstm:3)), dense", "bi(...) goes around one" },
        { "td(lstm:3, dense", "'td(lstm:3': a ')' must end it" },
        { "td(), dense", "a layer must stand in it" },
        { "td( ), dense", "a layer must stand in it" },
        { "td(lsmt:3), dense", "no layer 'lsmt'; the nearest is 'lstm'" },
        { "lstm:3, td(dense)", "the last layer is 'td(dense)'" },
        { "embed:8, gap, dense", "'embed:8' must say how many tokens there are" },
        { "conv2d:8x3, flatten, dense", "" },
        { "lstm:64 dense", "'lstm:64 dense': a comma is missing before 'dense'" },
        { "lstm:64 dense:3 relu, dense", "a comma is missing before 'dense:3'" },
        { "LSTM:64, dense", "no layer 'LSTM'" },
        { "lstm64, dense", "no layer 'lstm64'; the nearest is 'lstm'" },
        { "lstm, dense", "'lstm' needs units, as in 'lstm:64'" },
        { "lstm:, dense", "a number must follow ':'" },
        { "lstm:0, dense", "units is 0" },
        { "lstm:-4, dense", "a number must follow ':'" },
        { "lstm:4.5, dense", "nothing is known about '.5'" },
        { "lstm:64x3, dense", "nothing is known about 'x3'" },
        { "lstm:99999999999999999999, dense", "must be 1 to" },
        { "lstm:1e3, dense", "nothing is known about 'e3'" },
        { "conv1d:64, gap, dense", "needs kernel_size, as in 'conv1d:64x3 relu'" },
        { "conv1d:64x, gap, dense", "a number must follow 'x'" },
        { "conv1d:64x3/0, gap, dense", "strides is 0" },
        { "conv1d:64x3/2*2, gap, dense", "only one may exceed 1" },
        { "conv1d:64x3 *, gap, dense", "a number must follow '*'" },
        { "conv1d:64x3 *2y, gap, dense", "no option '*2y'" },
        { "conv1d:64x3 smae, gap, dense", "no option 'smae'; the nearest is 'same'" },
        { "conv1d:64x3 relu tanh, gap, dense", "'tanh' is one option too many" },
        { "conv1d:64x3 same valid, gap, dense", "'valid' is one option too many" },
        { "conv1d:64x3 hard_sigmoid, gap, dense", "no option 'hard_sigmoid'; the nearest is" },
        { "lstm:4 gelo, dense", "no option 'gelo'; the nearest is 'gelu'" },
        { "conv1d:64x200, gap, dense", "128 steps are too few" },
        { "maxpool, lstm:3, dense", "needs pool_size" },
        { "maxpool:2 relu, lstm:3, dense", "no option 'relu'" },
        { "gap:3, dense", "nothing is known about ':3'" },
        { "gap relu, dense", "gap takes no option 'relu'" },
        { "dropout:1, lstm:3, dense", "rate is 1" },
        { "dropout:.., lstm:3, dense", "" },
        { "lstm:3", "the last layer is 'lstm:3', must be 'dense'" },
        { "dense, lstm:3, dense", "in the middle needs units" },
        { "lstm:3, dense:5", "5 outputs, but there are 6 classes" },
        { "lstm:3, dense:1", "1 outputs, but there are 6 classes" },
        { "conv1d:4x3, dense", "nothing sums up the steps" },
        { "dense", "nothing sums up the steps" },
        { "lstm:4000000, dense", "more than" },
        { "lstm:3, dense softmax\x01", "no option" },
        { "\xff\xfe, dense", "no layer" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        ky_model *m = NULL;
        ky_err err = { 0 };
        int rc = ky_arch_build(cases[i].arch, &windows, 6, true, &m, &err);

        if (rc == KY_OK && cases[i].says[0] == '\0') { /* odd, but a number */
            ky_model_free(m);
            continue;
        }
        if (rc >= 0 || strstr(err.text, cases[i].says) == NULL)
            fail_msg("'%s': %d, %s", cases[i].arch, rc, rc < 0 ? err.text : "accepted");
        assert_null(m);
    }
}

static void long_lines_are_refused(void **state)
{
    char *line = malloc(100000);
    ky_model *m;
    ky_err err;

    (void)state;
    memset(line, 'x', 99999);
    line[99999] = '\0';
    assert_int_equal(ky_arch_build(line, &windows, 6, true, &m, &err), KY_EINVAL);
    line[0] = '\0';
    for (int i = 0; i < 65; i++)
        strcat(line, "bn,");
    strcat(line, "gap,dense");
    assert_int_equal(ky_arch_build(line, &windows, 6, true, &m, &err), KY_EFULL);
    free(line);
}

static void flatten_needs_a_fixed_window(void **state)
{
    ky_model *m;
    ky_err err;

    (void)state;
    assert_int_equal(ky_arch_build("flatten, dense", &endless, 3, true, &m, &err), KY_ESHAPE);
    assert_non_null(strstr(err.text, "fixed number of steps"));
    assert_int_equal(ky_arch_build("lstm:3, dense", &endless, 3, true, &m, &err), KY_OK);
    assert_int_equal(ky_model_facts(m)->window, 0);
    ky_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_become_the_models_they_say),
        cmocka_unit_test(words_follow_the_dimensions_of_the_input),
        cmocka_unit_test(rows_are_taken_as_the_first_layer_wants_them),
        cmocka_unit_test(short_rows_are_masked),
        cmocka_unit_test(two_classes_may_share_one_sigmoid),
        cmocka_unit_test(inputs_are_normalised_by_a_layer_that_does_not_learn),
        cmocka_unit_test(wrong_lines_are_refused_with_the_word_and_a_better_one),
        cmocka_unit_test(long_lines_are_refused),
        cmocka_unit_test(flatten_needs_a_fixed_window),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
