#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "models/nearest.h"

#define LENGTH(a) (sizeof(a) / sizeof(*(a)))

static const char *nearest(const char *word)
{
    static const char *const known[] = { "", "lstm", "gru", "conv1d", "conv2d", "dense" };
    ky_nearest n = { .word = word };

    for (size_t i = 0; i < LENGTH(known); i++)
        ky_nearest_try(&n, known[i]);
    return n.best;
}

static void the_word_with_the_fewest_edits_is_nearest(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        { "lstm", "lstm" },  { "LSTM", "lstm" },    { "lsmt", "lstm" },     { "lst", "lstm" },
        { "lstms", "lstm" }, { "conv2", "conv2d" }, { "conv3d", "conv1d" }, /* the first of two */
        { "grv", "gru" },    { "desnse", "dense" },
    };

    for (size_t i = 0; i < LENGTH(cases); i++)
        assert_string_equal(nearest(cases[i][0]), cases[i][1]);
}

static void what_takes_many_edits_is_not_near(void **state)
{
    (void)state;
    char word[200];

    assert_null(nearest("transformer"));
    assert_null(nearest("gsm!"));
    assert_null(nearest("x")); /* one edit is all of it */
    memset(word, 'd', sizeof(word) - 1);
    word[sizeof(word) - 1] = '\0';
    assert_null(nearest(word)); /* whatever its length */
    memset(word, 0xff, sizeof(word) - 1);
    assert_null(nearest(word));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_word_with_the_fewest_edits_is_nearest),
        cmocka_unit_test(what_takes_many_edits_is_not_near),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
