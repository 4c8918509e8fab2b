/* kymo import of text, and models that are asked in words. */
#include "tests/cli/import.h"

#include "models/blueprint.h"

/* The sentence of a vocabulary's JSON. */
static ky_vocabulary *vocabulary_of(const char *file)
{
    ky_h5 *f = open_h5(file);
    ky_vocabulary *v = NULL;

    assert_int_equal(ky_vocabulary_read(f, &v, NULL), KY_OK);
    ky_h5_close(f);
    return v;
}

static const char *words_of(const char *file)
{
    static char joined[4096];
    ky_vocabulary *v = vocabulary_of(file);

    assert_non_null(v);
    joined[0] = '\0';
    for (int i = KY_WORD_FIRST; i < ky_vocabulary_size(v); i++)
        snprintf(joined + strlen(joined), sizeof joined - strlen(joined), "%s%s",
                 i > KY_WORD_FIRST ? " " : "", ky_vocabulary_word(v, i));
    ky_vocabulary_free(v);
    return joined;
}

static void lines_with_tabs_become_word_numbers(void **state)
{
    (void)state;
    put_text("spam.txt", "ham\tGo, go! home\nspam\tWIN home now\n\nham\tgo\n");

    run_well("import|spam.txt|-o|spam.h5");

    assert_string_equal(strings_of("spam.h5", "class_names"), "ham|spam");
    assert_string_equal(words_of("spam.h5"), "go home win now");
    HOLDS("spam.h5", "/X", DIMS(3, 3), 2, 2, 3, 4, 3, 5, 2, 0, 0);
    HOLDS("spam.h5", "/y", DIMS(3), 0, 1, 0);
}

static void columns_are_named_by_number_or_header(void **state)
{
    (void)state;
    put_text("last.tsv", "good one\t1\nbad\t0\n");
    put_text("glue.tsv", "idx\tsentence\tlabel\n0\tgood one\t1\n1\tbad\t0\n");

    run_well("import|last.tsv|--label|2|-o|last.h5");
    run_well("import|glue.tsv|--label|label|--features|sentence|-o|glue.h5");

    HOLDS("last.h5", "/X", DIMS(2, 2), 3, 2, 4, 0);
    HOLDS("last.h5", "/y", DIMS(2), 1, 0);
    HOLDS("glue.h5", "/X", DIMS(2, 2), 3, 2, 4, 0);
    fails("import|glue.tsv|-o|bad.h5", "has 3 columns");
    fails("import|glue.tsv|--label|none|-o|bad.h5", "no column 'none'");
}

static void the_names_of_files_or_folders_are_the_labels(void **state)
{
    (void)state;
    put_text("rt-polarity.neg", "bad\n");
    put_text("rt-polarity.pos", "good\n");
    put_folder("imdb");
    put_folder("imdb/train");
    put_folder("imdb/train/neg");
    put_folder("imdb/train/pos");
    put_folder("imdb/test");
    put_folder("imdb/test/pos");
    put_text("imdb/train/neg/0.txt", "bad\nso bad");
    put_text("imdb/train/pos/0.txt", "good");
    put_text("imdb/test/pos/0.txt", "so good and new");

    run_well("import|rt-polarity.neg|rt-polarity.pos|-o|rt.h5");
    run_well("import|imdb|-o|imdb.h5");

    assert_string_equal(strings_of("rt.h5", "class_names"), "neg|pos");
    HOLDS("imdb.h5", "/X_train", DIMS(2, 4), 2, 3, 2, 0, 4, 0, 0, 0);
    HOLDS("imdb.h5", "/X_test", DIMS(1, 4), 3, 4, 1, 1); /* words of the test part alone: unknown */
    HOLDS("imdb.h5", "/y_test", DIMS(1), 1);
    fails("import|rt-polarity.neg|-f|text|-o|bad.h5", "no label");
}

static void rules_padding_and_bounds_are_those_asked_for(void **state)
{
    (void)state;
    put_text("r.txt", "a\tIt's ON, on? x9\nb\tit's\n");

    run_well("import|r.txt|-o|strip.h5");
    assert_string_equal(words_of("strip.h5"), "on its x9"); /* its twice as on: by bytes */
    run_well("import|r.txt|-o|lower.h5|--standardize|lower");
    assert_string_equal(words_of("lower.h5"), "it's x9 on? on,");
    run_well("import|r.txt|-o|none.h5|--standardize|none|--max-tokens|4");
    assert_string_equal(words_of("none.h5"), "x9 on?");
    run_well("import|r.txt|-o|words.h5|--standardize|english_words|--pad|pre|--length|4");
    assert_string_equal(words_of("words.h5"), "on it's x9 ?");
    HOLDS("words.h5", "/X", DIMS(2, 4), 2, 2, 5, 4, 0, 0, 0, 3);
}

static void words_of_another_file_are_taken_with_their_numbers(void **state)
{
    (void)state;
    put_text("v.txt", "<pad>\n<unk>\nhome\nbad\n");
    put_text("t.txt", "a\tbad bad home\nb\tnew\n");

    run_well("import|t.txt|--vocabulary|v.txt|-o|v.h5|--length|4|--pad|pre");
    run_well("import|t.txt|--vocabulary|v.h5|-o|w.h5");

    HOLDS("v.h5", "/X", DIMS(2, 4), 0, 3, 3, 2, 0, 0, 0, 1);
    HOLDS("w.h5", "/X", DIMS(2, 4), 0, 3, 3, 2, 0, 0, 0, 1);
    put_text("v.txt", "home\nhome\n");
    fails("import|t.txt|--vocabulary|v.txt|-o|bad.h5", "'home' twice");
    put_text("v.txt", "home\n\nbad\n");
    fails("import|t.txt|--vocabulary|v.txt|-o|bad.h5", "v.txt', line 2");
}

static void text_of_wrong_form_is_refused(void **state)
{
    (void)state;
    put_text("bad.txt", "a\tone\nno tab here\n");
    fails("import|bad.txt|-o|bad.h5", "line 2: no label, tab and sentence");
    put_text("bad.txt", "\n\n");
    fails("import|bad.txt|-o|bad.h5", "not one row");
    put_bytes("bad.txt", "a\tone\nb\tt\0o\n", 13);
    fails("import|bad.txt|-f|text|-o|bad.h5", "a NUL");
    /* Bytes that are no UTF-8 are a character of their own, and the file stays readable. */
    put_text("latin.txt", "a\tcaf\xe9 \xf0\x9f\nb\tcaf\xc3\xa9\n");
    run_well("import|latin.txt|-o|latin.h5");
    assert_string_equal(words_of("latin.h5"),
                        "\xef\xbf\xbd\xef\xbf\xbd caf\xef\xbf\xbd caf\xc3\xa9");
}

/* -- models that are asked in words ----------------------------------------------------------- */

static void make_reviews(void)
{
    char text[16384] = "";

    for (int i = 0; i < 120; i++)
        sprintf(text + strlen(text), "%s\t%s film number w%d\n", i % 2 ? "pos" : "neg",
                i % 2 ? "a good" : "one bad", i % 7);
    put_text("reviews.txt", text);
    run_well("import|reviews.txt|-o|reviews.h5|--split|0.2");
}

#define LEARN "train|reviews.h5|--arch|embed:8, gap, dense|-e|40|--lr|0.05|-q|-o|"

static void a_model_carries_its_words_and_answers_sentences(void **state)
{
    (void)state;
    int in[2];

    make_reviews();
    run_well(LEARN "words.h5");
    ran *r = run("predict|words.h5|--text|a GOOD film!|--text|bad, bad");

    assert_int_equal(r->code, 0);
    assert_int_equal(strncmp(r->out, "pos\t", 4), 0);
    assert_non_null(strstr(r->out, "\ta GOOD film!\nneg\t"));
    /* Through a conversion, and from standard input. */
    run_well("convert|words.h5|words.keras");
    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    assert_int_equal(write(in[1], "so bad\n", 7), 7);
    close(in[1]);
    int saved = dup(0);
    dup2(in[0], 0);
    r = run("predict|words.keras|-");
    dup2(saved, 0);
    close(saved);
    close(in[0]);
    assert_int_equal(r->code, 0);
    assert_int_equal(strncmp(r->out, "neg\t", 4), 0);
    assert_non_null(strstr(r->out, "\tso bad\n"));
}

static void words_of_model_and_data_must_have_the_same_numbers(void **state)
{
    (void)state;
    make_reviews();
    run_well(LEARN "words.h5");
    put_text("new.txt", "pos\tgood stuff\nneg\tbad stuff\n");
    run_well("import|new.txt|-o|new.h5");
    run_well("import|new.txt|-o|same.h5|--vocabulary|words.h5");
    ran *r = run("eval|words.h5|new.h5");

    assert_int_equal(r->code, 1);
    assert_non_null(strstr(r->err, "other numbers for words"));
    run_well("eval|words.h5|same.h5");
    r = run("predict|words.h5|--text|x|same.h5");
    assert_int_equal(r->code, 2);
}

/* Data with this JSON for a vocabulary. */
static void put_vocabulary(const char *name, const char *json)
{
    char path[4096];
    ky_h5 *f = NULL;
    ky_err err = { 0 };

    assert_int_equal(ky_h5_create(in_dir(name, path), &f, &err), KY_OK);
    assert_int_equal(ky_h5_set_attr_str(f, "/", KY_VOCABULARY_ATTR, json, &err), KY_OK);
    assert_int_equal(ky_h5_put(f, "/X", KY_H5_F32, 2, (const uint64_t[]){ 2, 3 },
                               (const float[]){ 1, 2, 3, 1, 2, 3 }, &err),
                     KY_OK);
    assert_int_equal(
        ky_h5_put(f, "/y", KY_H5_I32, 1, (const uint64_t[]){ 2 }, (const int32_t[]){ 0, 1 }, &err),
        KY_OK);
    assert_int_equal(ky_h5_commit(f, &err), KY_OK);
}

#define GOOD(words)                                                                                \
    "{\"standardize\":\"lower\",\"split\":\"whitespace\",\"padding\":\"post\","                    \
    "\"output_sequence_length\":3,\"vocabulary\":" words "}"

/* Instead of the words that a model carries. */
static int put_note(ky_h5 *f, void *json, ky_err *err)
{
    return ky_h5_set_attr_str(f, "/", KY_VOCABULARY_ATTR, json, err);
}

static void put_model(const char *name, const char *json)
{
    ky_model *m = NULL;
    char path[4096];
    ky_err err = { 0 };

    assert_int_equal(ky_model_load(in_dir("words.h5", path), &m, &err), KY_OK);
    assert_int_equal(
        ky_model_save_with(m, in_dir(name, path), put_note, (void *)(uintptr_t)json, &err), KY_OK);
    ky_model_free(m);
}

static void hostile_vocabularies_in_files_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *json, *says;
    } bad[] = {
        { "", "the words of its text" },
        { "[]", "is cut by ''" },
        { "{}", "is cut by ''" },
        { "{\"standardize\":\"upper\",\"split\":\"whitespace\"}", "is cut by 'upper'" },
        { "{\"standardize\":\"lower\",\"split\":\"character\"}", "kymo does not know" },
        { "{\"standardize\":\"lower\",\"split\":\"whitespace\",\"padding\":\"mid\"}", "'mid'" },
        { "{\"standardize\":\"lower\",\"split\":\"whitespace\",\"padding\":\"pre\","
          "\"output_sequence_length\":99999999}",
          "output_sequence_length" },
        { "{\"standardize\":\"lower\",\"split\":\"whitespace\",\"padding\":\"pre\","
          "\"output_sequence_length\":-1}",
          "output_sequence_length" },
        { GOOD("7"), "no list" },
        { GOOD("[]"), "no list" },
        { GOOD("[\"a\",\"b\"]"), "word 0" },
        { GOOD("[\"\",\"[UNK]\",3]"), "word 2 of its vocabulary is no text" },
        { GOOD("[\"\",\"[UNK]\",\"a\",\"a\"]"), "'a' twice" },
        { GOOD("[\"\",\"[UNK]\",\"\"]"), "empty" },
    };

    make_reviews();
    run_well(LEARN "words.h5");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        put_vocabulary("v.h5", bad[i].json);
        fails("import|reviews.txt|--vocabulary|v.h5|-o|bad.h5", bad[i].says);
        put_model("hostile.h5", bad[i].json);
        fails("predict|hostile.h5|--text|x", bad[i].says);
        fails("train|v.h5|--arch|embed:4, gap, dense|-q|-o|bad.h5", bad[i].says);
    }
    put_vocabulary("v.h5", GOOD("[\"\",\"[UNK]\",\"a\",\"b\"]"));
    put_model("hostile.h5", GOOD("[\"\",\"[UNK]\",\"a\",\"b\"]"));
    run_well("predict|hostile.h5|--text|a b");
    run_well("import|reviews.txt|--vocabulary|v.h5|-o|fine.h5");
    fails("train|v.h5|--arch|embed:4x3, gap, dense|-q|-o|bad.h5", "rows for 3 words");
}

/* -- real data -------------------------------------------------------------------------------- */

/* The rows of the file beside it are every line but each tenth, and each tenth. */
static void split_lines(const char *name, const char *part[2])
{
    char line[4096], path[4096], from[2048];
    FILE *in, *out[2];

    snprintf(from, sizeof from, "%s", real_data("rt_polarity"));
    snprintf(from + strlen(from), sizeof from - strlen(from), "/%s", name);
    in = fopen(from, "r");
    assert_non_null(in);
    for (int k = 0; k < 2; k++)
        assert_non_null(out[k] = fopen(in_dir(part[k], path), "w"));
    for (int i = 0; fgets(line, sizeof line, in) != NULL; i++)
        fputs(line, out[i % 10 == 0]);
    fclose(in);
    fclose(out[0]);
    fclose(out[1]);
}

static void real_reviews_give_the_rows_of_the_file_beside_them(void **state)
{
    (void)state;
    char command[8192];

    real_data("rt_polarity");
    split_lines("rt-polarity.neg", (const char *[]){ "rt-train.neg", "rt-test.neg" });
    split_lines("rt-polarity.pos", (const char *[]){ "rt-train.pos", "rt-test.pos" });
    snprintf(command, sizeof command,
             "import|rt-train.neg|rt-train.pos|rt-test.neg|rt-test.pos|-o|real.h5|--length|56|"
             "--pad|pre|--standardize|english_words|--vocabulary|%s",
             real_data("rt_polarity/vocab.txt"));
    run_well(command);

    same_data("real.h5", real_data("rt_polarity/rt_polarity.h5"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_with_tabs_become_word_numbers),
        cmocka_unit_test(columns_are_named_by_number_or_header),
        cmocka_unit_test(the_names_of_files_or_folders_are_the_labels),
        cmocka_unit_test(rules_padding_and_bounds_are_those_asked_for),
        cmocka_unit_test(words_of_another_file_are_taken_with_their_numbers),
        cmocka_unit_test(text_of_wrong_form_is_refused),
        cmocka_unit_test(a_model_carries_its_words_and_answers_sentences),
        cmocka_unit_test(words_of_model_and_data_must_have_the_same_numbers),
        cmocka_unit_test(hostile_vocabularies_in_files_are_refused),
        cmocka_unit_test(real_reviews_give_the_rows_of_the_file_beside_them),
    };

    return cmocka_run_group_tests(tests, import_set_up, import_tear_down);
}
