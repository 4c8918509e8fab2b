#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "models/blueprint.h"
#include "models/json.h"

static char dir[256], output[1 << 16], words[1 << 16]; /* words: output, however it wraps */

/* Run `kymo inspect` on a file of the test's folder; its exit code, its words in `output`. */
static int inspect(const char *file, const char *options)
{
    char command[2000];

    snprintf(command, sizeof(command), "'%s/kymo' inspect '%s/%s' %s 2>&1", getenv("KY_BUILDDIR"),
             dir, file, options);
    FILE *p = popen(command, "r");
    assert_non_null(p);
    size_t n = fread(output, 1, sizeof(output) - 1, p);
    output[n] = '\0';
    n = 0;
    for (const char *c = output; *c != '\0'; c++)
        if ((*c != ' ' && *c != '\n') || (n > 0 && words[n - 1] != ' '))
            words[n++] = *c == '\n' ? ' ' : *c;
    words[n] = '\0';
    return WEXITSTATUS(pclose(p));
}

static void save(const char *file, const char *arch, int T)
{
    static const char *const labels[] = { "walk", "run" };
    const ky_shape input = { .rank = 2, .timed = true, .d = { T, 3 } };
    char path[600];
    ky_model *m = NULL;

    snprintf(path, sizeof(path), "%s/%s", dir, file);
    assert_int_equal(ky_arch_build(arch, &input, 2, false, &m, NULL), KY_OK);
    ky_model_init(m, 1);
    assert_int_equal(ky_model_pack(m, NULL), KY_OK);
    assert_int_equal(ky_model_set_labels(m, labels, 2, NULL), KY_OK);
    m->meta.extra = ky_json_object();
    ky_json_set(m->meta.extra, "kymo_version", ky_json_of_str("9.9"));
    ky_json_set(m->meta.extra, "seed", ky_json_of_int(77));
    assert_int_equal(ky_model_save(m, path, NULL), KY_OK);
    ky_model_free(m);
}

static int make_files(void **state)
{
    const char *tmp = getenv("TMPDIR");

    (void)state;
    snprintf(dir, sizeof(dir), "%s/ky-inspect-XXXXXX", tmp != NULL ? tmp : "/tmp");
    if (mkdtemp(dir) == NULL)
        return -1;
    save("lstm.h5", "lstm:4, dense", KY_ANY);
    save("flat.h5", "conv1d:4x3 relu, flatten, dense", 10);
    return 0;
}

static int remove_files(void **state)
{
    char command[600];

    (void)state;
    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    return system(command);
}

static void recurrent_model_streams(void **state)
{
    (void)state;
    assert_int_equal(inspect("lstm.h5", ""), 0);
    assert_non_null(strstr(output, "input           [any, 3]: any number of steps, each of 3 "));
    assert_non_null(strstr(output, "keeps state"));
    assert_non_null(strstr(output, "138")); /* 4 (3+4+1) 4 + 2 (4+1) weights */
    assert_non_null(strstr(output, "memory = stream yes: "));
    assert_non_null(strstr(output, "120 multiply-adds a step")); /* 4 (3+4) 4 + 2 4 */
    assert_non_null(strstr(output, "walk, run"));
    assert_non_null(strstr(output, "kymo 9.9, seed 77"));
}

static void flat_model_says_why_it_does_not_stream(void **state)
{
    (void)state;
    assert_int_equal(inspect("flat.h5", ""), 0);
    assert_non_null(strstr(output, "memory = stream no: layer 'flatten'"));
    assert_non_null(strstr(output, "memory = window yes: "));
}

/* By hand: a convolution's step is 3*3*4 multiply-adds, of 8 in a window; dense 32*2. */
static void windows_tell_what_they_cost_with_and_without_earlier_ones(void **state)
{
    ky_json *o = NULL;
    const ky_json *w, *conv;

    (void)state;
    assert_int_equal(inspect("flat.h5", "--hop 2"), 0);
    assert_non_null(strstr(words, "yes: window = 10, hop = 2: 136 multiply-adds an answer,"));
    assert_non_null(strstr(words, "352 without what earlier windows left"));
    assert_non_null(strstr(words, "conv1d 2 of 8 steps"));
    assert_non_null(strstr(words, "receptive field 3 samples"));
    assert_int_equal(inspect("flat.h5", "--hop 10"), 0);
    assert_non_null(strstr(words, "352 multiply-adds an answer, every window whole"));
    assert_int_equal(inspect("flat.h5", "--json"), 0);
    assert_int_equal(ky_json_parse(output, strlen(output), false, &o, NULL), KY_OK);
    w = ky_json_get(o, "window");
    assert_int_equal(ky_json_int(ky_json_get(w, "macs"), 0), 36 + 64);
    assert_int_equal(ky_json_int(ky_json_get(w, "macs_whole"), 0), 352);
    assert_int_equal(ky_json_len(ky_json_get(w, "parts")), 3); /* count, samples, columns */
    conv = ky_json_at(ky_json_get(o, "layers"), 0);
    assert_int_equal(ky_json_int(ky_json_get(conv, "new_steps"), 0), 1);
    assert_int_equal(ky_json_int(ky_json_get(conv, "steps"), 0), 8);
    assert_int_equal(ky_json_int(ky_json_get(conv, "receptive_field"), 0), 3);
    ky_json_free(o);
}

/* Nothing that inspect says of a model's layers is wider than a terminal. */
static void the_report_fits_a_terminal(void **state)
{
    static const char *const files[] = { "lstm.h5", "flat.h5" };

    (void)state;
    for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
        assert_int_equal(inspect(files[i], ""), 0);
        for (char *rest, *line = strtok_r(strchr(output, '\n'), "\n", &rest); line != NULL;
             line = strtok_r(NULL, "\n", &rest))
            if (strlen(line) > 80)
                fail_msg("%s", line);
    }
}

static void json_report_is_json(void **state)
{
    (void)state;
    ky_json *o = NULL;

    assert_int_equal(inspect("flat.h5", "--json"), 0);
    assert_int_equal(ky_json_parse(output, strlen(output), false, &o, NULL), KY_OK);
    assert_int_equal(ky_json_len(ky_json_get(o, "layers")), 3);
    assert_int_equal(ky_json_int(ky_json_get(o, "weights"), 0), 3 * 3 * 4 + 4 + 32 * 2 + 2);
    assert_false(ky_json_bool(ky_json_get(ky_json_get(o, "stream"), "possible"), true));
    assert_true(ky_json_bool(ky_json_get(ky_json_get(o, "window"), "possible"), false));
    assert_int_equal(ky_json_int(ky_json_get(ky_json_get(o, "origin"), "seed"), 0), 77);
    ky_json_free(o);
}

static void missing_file_fails_with_its_name(void **state)
{
    (void)state;
    assert_int_equal(inspect("absent.h5", ""), 1);
    assert_non_null(strstr(output, "kymo: "));
    assert_non_null(strstr(output, "absent.h5"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recurrent_model_streams),
        cmocka_unit_test(flat_model_says_why_it_does_not_stream),
        cmocka_unit_test(windows_tell_what_they_cost_with_and_without_earlier_ones),
        cmocka_unit_test(the_report_fits_a_terminal),
        cmocka_unit_test(json_report_is_json),
        cmocka_unit_test(missing_file_fails_with_its_name),
    };

    return cmocka_run_group_tests(tests, make_files, remove_files);
}
