#include "tests/cli/run.h"

#include "models/blueprint.h"
#include "models/h5.h"

/*
 * As tf.keras 2.11 saved it: Keras 3 refuses time_major, a wrapped layer without its module, and
 * trainable of SpatialDropout1D.
 */
static const char tf_keras[] =
    "{\"class_name\":\"Sequential\",\"config\":{\"name\":\"old\",\"layers\":["
    "{\"class_name\":\"InputLayer\",\"config\":{\"batch_input_shape\":[null,6,2],\"dtype\":"
    "\"float32\",\"sparse\":false,\"ragged\":false,\"name\":\"in\"}},"
    "{\"class_name\":\"SpatialDropout1D\",\"config\":{\"name\":\"drop\",\"trainable\":true,"
    "\"dtype\":\"float32\",\"rate\":0.2,\"noise_shape\":null,\"seed\":null}},"
    "{\"class_name\":\"Bidirectional\",\"config\":{\"name\":\"both\",\"trainable\":true,\"dtype\":"
    "\"float32\",\"layer\":{\"class_name\":\"LSTM\",\"config\":{\"name\":\"lstm\",\"trainable\":"
    "true,\"dtype\":\"float32\",\"return_sequences\":true,\"return_state\":false,\"go_backwards\":"
    "false,\"stateful\":false,\"unroll\":false,\"time_major\":false,\"units\":1,\"activation\":"
    "\"tanh\",\"recurrent_activation\":\"sigmoid\",\"use_bias\":true,\"kernel_initializer\":{"
    "\"class_name\":\"GlorotUniform\",\"config\":{\"seed\":null},\"shared_object_id\":1},"
    "\"unit_forget_bias\":true,\"kernel_regularizer\":null,\"dropout\":0.0,\"recurrent_dropout\":"
    "0.0,\"implementation\":2}},\"merge_mode\":\"concat\"}},"
    "{\"class_name\":\"LSTM\",\"config\":{\"name\":\"last\",\"trainable\":true,\"dtype\":"
    "\"float32\",\"return_sequences\":false,\"return_state\":false,\"go_backwards\":false,"
    "\"stateful\":false,\"unroll\":false,\"time_major\":false,\"units\":1,\"activation\":\"tanh\","
    "\"recurrent_activation\":\"sigmoid\",\"use_bias\":true,\"unit_forget_bias\":true,"
    "\"dropout\":0.0,\"recurrent_dropout\":0.0,\"implementation\":2}}]}}";

/* One LSTM's arrays, kernel of `in` inputs, under a layer's group. */
static void put_lstm(ky_h5 *f, const char *group, const char *prefix, int in, const char *names[],
                     char text[][64])
{
    static const char *const arrays[] = { "kernel:0", "recurrent_kernel:0", "bias:0" };
    const uint64_t shape[3][2] = { { (uint64_t)in, 4 }, { 1, 4 }, { 4 } };
    float v[16];
    char path[300];

    for (int i = 0; i < 16; i++)
        v[i] = (float)(i % 5 - 2) / 4;
    for (int i = 0; i < 3; i++) {
        snprintf(text[i], 64, "%s%s", prefix, arrays[i]);
        names[i] = text[i];
        snprintf(path, sizeof path, "%s/%s", group, text[i]);
        assert_int_equal(ky_h5_put(f, path, KY_H5_F32, i < 2 ? 2 : 1, shape[i], v, NULL), KY_OK);
    }
}

static void write_old(const char *path)
{
    static const char *const layers[] = { "drop", "both", "last" };
    const char *names[6];
    char text[6][64];
    ky_h5 *f = NULL;

    assert_int_equal(ky_h5_create(path, &f, NULL), KY_OK);
    ky_h5_set_attr_str(f, "/", "model_config", tf_keras, NULL);
    ky_h5_group(f, "/model_weights/drop", NULL);
    ky_h5_set_attr_strs(f, "/model_weights/drop", "weight_names", NULL, 0, NULL);
    put_lstm(f, "/model_weights/both", "forward/", 2, names, text);
    put_lstm(f, "/model_weights/both", "backward/", 2, names + 3, text + 3);
    ky_h5_set_attr_strs(f, "/model_weights/both", "weight_names", names, 6, NULL);
    put_lstm(f, "/model_weights/last", "", 2, names, text);
    ky_h5_set_attr_strs(f, "/model_weights/last", "weight_names", names, 3, NULL);
    ky_h5_set_attr_strs(f, "/model_weights", "layer_names", layers, 3, NULL);
    ky_h5_set_attr_str(f, "/model_weights", "keras_version", "2.11.0", NULL);
    assert_int_equal(ky_h5_commit(f, NULL), KY_OK);
}

static ky_model *load(const char *path)
{
    ky_model *m = NULL;
    ky_err err = { 0 };

    if (ky_model_load(path, &m, &err) < 0)
        fail_msg("%s", err.text);
    return m;
}

/* -- what Keras 3 refuses ---------------------------------------------------------------------- */

static void what_keras_3_refuses_is_gone_after_a_conversion(void **state)
{
    (void)state;
    static const char *const refused[] = { "time_major", "implementation", "ragged\":true",
                                           "\"name\":\"drop\",\"trainable\"" };
    char old[4096], new[4096], *config = NULL;
    ky_h5 *f = NULL;

    write_old(in_dir("old.h5", old));
    ran *r = run("convert|old.h5|new.h5");
    assert_int_equal(r->code, 0);
    assert_non_null(strstr(r->out, "new.h5: 48 weights in 3 layers"));
    assert_int_equal(ky_h5_open(in_dir("new.h5", new), &f, NULL), KY_OK);
    assert_int_equal(ky_h5_attr_str(f, "/", "model_config", &config, NULL), KY_OK);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (strstr(config, refused[i]) != NULL)
            fail_msg("%s is there: %s", refused[i], config);
    assert_non_null(strstr(config, "\"layer\":{\"module\":\"keras.layers\""));
    free(config);
    ky_h5_close(f);
    ky_model *a = load(old), *b = load(new);
    assert_true(a->info.hash == b->info.hash);
    ky_model_free(a);
    ky_model_free(b);
}

static void the_name_of_the_output_chooses_the_form(void **state)
{
    (void)state;
    char path[4096], begin[4];

    run_well("convert|old.h5|new.keras");
    FILE *in = fopen(in_dir("new.keras", path), "rb");
    assert_int_equal(fread(begin, 1, 4, in), 4);
    fclose(in);
    assert_memory_equal(begin, "PK\3\4", 4);
    /* and from there back, to the byte */
    run_well("convert|new.keras|back.h5");
    assert_true(same_bytes("new.h5", "back.h5"));
}

static void nothing_is_written_where_reading_fails(void **state)
{
    (void)state;
    char path[4096];
    FILE *out = fopen(in_dir("text.h5", path), "w");

    fputs("no model", out);
    fclose(out);
    ran *r = run("convert|text.h5|never.h5");
    assert_int_equal(r->code, 1);
    assert_non_null(strstr(r->err, "not an HDF5 file"));
    assert_int_equal(access(in_dir("never.h5", path), F_OK), -1);
    r = run("convert|old.h5|old.h5");
    assert_int_equal(r->code, 1);
    assert_int_equal(run("convert|old.h5")->code, 2);
}

/* -- weights alone -------------------------------------------------------------------------------
 */

static void weights_alone_take_their_architecture_from_config(void **state)
{
    (void)state;
    char path[4096];
    ky_h5 *f = NULL;
    static const char *const layer = "d";
    static const char *const names[] = { "k" };
    static const float k[2] = { 2, 3 }, x[4] = { 1, 1, 10, 1 };

    assert_int_equal(ky_h5_create(in_dir("alone.h5", path), &f, NULL), KY_OK);
    ky_h5_put(f, "/d/k", KY_H5_F32, 2, (uint64_t[]){ 2, 1 }, k, NULL);
    ky_h5_set_attr_strs(f, "/d", "weight_names", names, 1, NULL);
    ky_h5_set_attr_strs(f, "/", "layer_names", &layer, 1, NULL);
    assert_int_equal(ky_h5_commit(f, NULL), KY_OK);
    assert_int_equal(ky_h5_create(in_dir("x.h5", path), &f, NULL), KY_OK);
    ky_h5_put(f, "/X", KY_H5_F32, 2, (uint64_t[]){ 2, 2 }, x, NULL);
    assert_int_equal(ky_h5_commit(f, NULL), KY_OK);
    FILE *out = fopen(in_dir("alone.json", path), "w");
    fputs("{\"class_name\":\"Sequential\",\"config\":[{\"class_name\":\"Dense\",\"config\":{"
          "\"name\":\"d\",\"output_dim\":1,\"bias\":false,\"batch_input_shape\":[null,2]}}]}",
          out);
    fclose(out);
    ran *r = run("inspect|alone.h5");
    assert_int_equal(r->code, 1);
    assert_non_null(strstr(r->err, "--config"));
    run_well("inspect|alone.h5|--config|alone.json");
    run_well("predict|alone.h5|x.h5:X|-o|y.h5|--config|alone.json");
    run_well("convert|alone.h5|whole.h5|-c|alone.json");
    run_well("predict|whole.h5|x.h5:X|-o|z.h5");
    static const char *const answers[] = { "y.h5", "z.h5" };
    for (int i = 0; i < 2; i++) {
        float y[2];

        assert_int_equal(ky_h5_open(in_dir(answers[i], path), &f, NULL), KY_OK);
        assert_int_equal(ky_h5_read(f, "/y", KY_H5_F32, y, 2, NULL), KY_OK);
        ky_h5_close(f);
        assert_true(y[0] == 5 && y[1] == 23);
    }
}

/* -- a scaler in front
 * ------------------------------------------------------------------------------ */

static void write_stats(const char *text)
{
    char path[4096];
    FILE *out = fopen(in_dir("stats.csv", path), "w");

    fputs(text, out);
    assert_int_equal(fclose(out), 0);
}

static void statistics_become_a_layer_in_front(void **state)
{
    (void)state;
    char path[4096];
    float y[2];
    ky_h5 *f = NULL;

    write_stats("feature, mean, std\r\na,1,0.5\n\"b\",-1,0\n");
    ran *r = run("convert|whole.h5|scaled.h5|--normalize|stats.csv");
    assert_int_equal(r->code, 0);
    ky_model *m = load(in_dir("scaled.h5", path));
    assert_int_equal(m->n_layers, 2);
    assert_string_equal(m->info.feature_names[1], "b");
    ky_model_free(m);
    run_well("predict|scaled.h5|x.h5:X|-o|y.h5");
    assert_int_equal(ky_h5_open(in_dir("y.h5", path), &f, NULL), KY_OK);
    assert_int_equal(ky_h5_read(f, "/y", KY_H5_F32, y, 2, NULL), KY_OK);
    ky_h5_close(f);
    /* 2 (1-1)/0.5 + 3 (1+1)/1 and 2 (10-1)/0.5 + 3 (1+1)/1 */
    assert_true(y[0] == 6 && y[1] == 42);
    /* the model has names by now: rows are found by them, in any order */
    write_stats("std,feature,mean\n1,b,0\n2,a,0\n");
    run_well("convert|scaled.h5|twice.h5|--normalize|stats.csv");
    m = load(in_dir("twice.h5", path));
    assert_true(m->weights[2] == 4 && m->weights[3] == 1);
    ky_model_free(m);
}

static void bad_statistics_are_refused_with_their_place(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } cases[] = {
        { "", "no rows" },
        { "feature,mean\na,1\n", "no column 'std'" },
        { "feature,mean,std\na,1,2\n", "1 features, the model takes 2" },
        { "feature,mean,std\na,1,2\nb,x,2\n", "row 2: mean is 'x'" },
        { "feature,mean,std\na,1,2\nb,1,-2\n", "row 2: std is '-2'" },
        { "feature,mean,std\na,1,2\nb,1,nan\n", "row 2: std is 'nan'" },
        { "feature,mean,std\na,1\n", "row 1 has 2 fields" },
        { "feature,mean,std\na,1,2\nc,1,2\n", "no row for the model's feature 'b'" },
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_stats(cases[i].text);
        ran *r = run("convert|scaled.h5|never.h5|--normalize|stats.csv");

        assert_int_equal(r->code, 1);
        if (strstr(r->err, cases[i].says) == NULL)
            fail_msg("'%s', wanted '%s'", r->err, cases[i].says);
    }
    ran *r = run("convert|scaled.h5|never.h5|--normalize|none.csv");
    assert_non_null(strstr(r->err, "No such file"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_keras_3_refuses_is_gone_after_a_conversion),
        cmocka_unit_test(the_name_of_the_output_chooses_the_form),
        cmocka_unit_test(nothing_is_written_where_reading_fails),
        cmocka_unit_test(weights_alone_take_their_architecture_from_config),
        cmocka_unit_test(statistics_become_a_layer_in_front),
        cmocka_unit_test(bad_statistics_are_refused_with_their_place),
    };

    return cmocka_run_group_tests(tests, run_set_up, run_tear_down);
}
