/* kymo import: series, IDX, and what all formats share. */
#include "tests/cli/import.h"

#include <zlib.h>

/* -- .ts -------------------------------------------------------------------------------------- */

#define TWO_CLASSES                                                                                \
    "@problemName toy\n@univariate true\n@equalLength true\n@classLabel true b a\n@data\n"

static void a_pair_of_ts_files_is_found_and_classes_keep_their_order(void **state)
{
    (void)state;
    put_text("Toy_TRAIN.ts", "# a comment\n" TWO_CLASSES "1,2,3:a\n4,5,6 : b\n");
    put_text("Toy_TEST.ts", TWO_CLASSES "7,8,9:a\n");

    run_well("import|Toy_TRAIN.ts|-o|toy.h5");

    HOLDS("toy.h5", "/X_train", DIMS(2, 3, 1), 1, 2, 3, 4, 5, 6);
    HOLDS("toy.h5", "/y_train", DIMS(2), 1, 0);
    HOLDS("toy.h5", "/X_test", DIMS(1, 3, 1), 7, 8, 9);
    HOLDS("toy.h5", "/y_test", DIMS(1), 1);
    assert_string_equal(strings_of("toy.h5", "class_names"), "b|a");
    assert_false(has("toy.h5", "/len_train"));
}

static void dimensions_become_features_and_short_series_are_padded(void **state)
{
    (void)state;
    put_text("multi.ts", "@univariate false\n@dimensions 2\n@equalLength false\n"
                         "@classLabel true x y\n@data\n1,2,3:10,20,30:x\n4,?:40,50:y\n");

    run_well("import|multi.ts|-o|multi.h5");
    run_well("import|multi.ts|-o|cut.h5|--length|2|--missing|linear");

    HOLDS("multi.h5", "/X", DIMS(2, 3, 2), 1, 10, 2, 20, 3, 30, 4, 40, NAN, 50, NAN, NAN);
    HOLDS("multi.h5", "/len", DIMS(2), 3, 2);
    HOLDS("cut.h5", "/X", DIMS(2, 2, 2), 1, 10, 2, 20, 4, 40, 4, 50);
    assert_false(has("cut.h5", "/len"));
}

static void missing_values_are_counted_filled_or_leave_their_row_out(void **state)
{
    (void)state;
    put_text("gaps.ts", "@univariate true\n@classLabel true a b\n@data\n"
                        "?,2,?,?,8,NaN:a\n1,2,3,4,5,6:b\n");
    ran *r = run("import|gaps.ts|-o|nan.h5");

    assert_int_equal(r->code, 0);
    assert_non_null(strstr(r->out, "4 values are missing"));
    HOLDS("nan.h5", "/X", DIMS(2, 6, 1), NAN, 2, NAN, NAN, 8, NAN, 1, 2, 3, 4, 5, 6);
    run_well("import|gaps.ts|-o|line.h5|--missing|linear");
    HOLDS("line.h5", "/X", DIMS(2, 6, 1), 2, 2, 4, 6, 8, 8, 1, 2, 3, 4, 5, 6);
    run_well("import|gaps.ts|-o|drop.h5|--missing|drop");
    HOLDS("drop.h5", "/X", DIMS(1, 6, 1), 1, 2, 3, 4, 5, 6);
    HOLDS("drop.h5", "/y", DIMS(1), 1);
}

static void targets_are_numbers_where_the_task_says_so(void **state)
{
    (void)state;
    put_text("rate.ts", "@univariate true\n@targetLabel true\n@data\n1,2:0.5\n3,4:-1e3\n");

    run_well("import|rate.ts|-o|rate.h5|--task|regress");

    HOLDS("rate.h5", "/y", DIMS(2), 0.5, -1000);
    fails("import|rate.ts|-o|bad.h5", "--task regress");
}

static void a_damaged_ts_file_is_refused_with_its_line(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } bad[] = {
        { "", "is of no format" },
        { "@univariate true\n", "has no @data" },
        { TWO_CLASSES, "not one row" },
        { TWO_CLASSES "1,2\n", "line 6: a case without its class" },
        { TWO_CLASSES "1,2:c\n", "line 6: class 'c' is not among those" },
        { TWO_CLASSES "1,zwei:a\n", "line 6: 'zwei' is no number" },
        { TWO_CLASSES "1,0x10:a\n", "line 6: '0x10' is no number" },
        { TWO_CLASSES "1,1e99:a\n", "line 6: '1e99' is no number" },
        { TWO_CLASSES "1,2:3,4:a\n", "line 6: 2 dimensions, @dimensions says 1" },
        { "@dimensions 0\n@data\n1\n", "@dimensions must be" },
        { "@dimensions 2\n@classLabel true a\n@data\n1,2:3:a\n", "dimension 2 has 1 values" },
        { "@timestamps true\n@data\n(1,2)\n", "time stamps" },
        { "@univariate true\n1,2:a\n", "line 2: neither a setting" },
    };

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        put_text("bad.ts", bad[i].text);
        fails("import|bad.ts|-o|bad.h5", bad[i].says);
    }
    put_bytes("bad.ts", "@data\n1,\0,2\n", 12);
    fails("import|bad.ts|-o|bad.h5", "a NUL");
    fails("import|nowhere.ts|-o|bad.h5", "No such file");
}

/* -- what files say of themselves ---------------------------------------------------------------
 */

/* A gzip file of a line that does not end, much larger than itself. */
static void put_endless(const char *name, const char *begin, size_t mib)
{
    enum { MIB = 1 << 20 };
    char path[4096], *more = malloc(MIB);
    gzFile f = gzopen(in_dir(name, path), "wb6");

    assert_non_null(f);
    memset(more, '1', MIB);
    assert_true(gzputs(f, begin) > 0);
    for (size_t i = 0; i < mib; i++)
        assert_int_equal(gzwrite(f, more, MIB), MIB);
    assert_int_equal(gzclose(f), Z_OK);
    free(more);
}

/* Refused in a sentence, by what can be in the file, before memory is taken for what is said. */
static void what_a_file_claims_is_not_believed(void **state)
{
    (void)state;
    static const unsigned char idx[] = { 0,    0, 8, 3, 0xff, 0xff, 0xff, 0xff, 0, 0,
                                         0x40, 0, 0, 0, 0x40, 0,    1,    2,    3, 4 };
    put_bytes("huge-images.idx", idx, sizeof idx);
    put_text("wide.ts", "@univariate false\n@dimensions 1099511627776\n@data\n1:a\n");
    put_text("many.ts", "@univariate false\n@dimensions 1048576\n@data\n1:2\n");
    put_endless("endless.csv.gz", "a,b,label\n", 80);
    put_endless("endless.ts.gz", "@univariate true\n@classLabel true a\n@data\n", 80);

    fails("import|huge-images.idx|-o|bad.h5",
          "says its rows have 268435456 bytes, more than it has itself");
    fails("import|wide.ts|-o|bad.h5", "@dimensions must be a number from 1 to 1048576");
    fails("import|many.ts|-o|bad.h5", "2 dimensions, @dimensions says 1048576");
    fails("import|endless.csv.gz|-f|csv-wide|-o|bad.h5",
          "endless.csv.gz:2: a line of over 67108864 bytes");
    fails("import|endless.ts.gz|-f|ts|-o|bad.h5", "line 4: over 67108864 bytes");
}

/* -- .tsv ------------------------------------------------------------------------------------- */

static void a_tsv_file_ends_short_series_with_nan(void **state)
{
    (void)state;
    put_text("U_TRAIN.tsv", "2\t0.5\t-1.5e1\tNaN\n-1\t1\tNaN\t3\n10\t1\t2\t3\n");
    put_text("U_TEST.tsv", "2\t1\t2\t3\r\n");

    run_well("import|U_TRAIN.tsv|-o|u.h5");

    HOLDS("u.h5", "/X_train", DIMS(3, 3, 1), 0.5, -15, NAN, 1, NAN, 3, 1, 2, 3);
    HOLDS("u.h5", "/len_train", DIMS(3), 2, 3, 3);
    HOLDS("u.h5", "/len_test", DIMS(1), 3);
    HOLDS("u.h5", "/y_train", DIMS(3), 1, 0, 2);
    assert_string_equal(strings_of("u.h5", "class_names"), "-1|2|10");
    put_text("U_TEST.tsv", "2\t1\tx\t3\n");
    fails("import|U_TRAIN.tsv|-o|bad.h5", "line 1: 'x' is no number");
}

/* -- IDX -------------------------------------------------------------------------------------- */

static const unsigned char
    images[] = { 0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, 1, 2, 3, 255 },
    labels[] = { 0, 0, 8, 1, 0, 0, 0, 2, 7, 3 };

static void idx_images_find_their_labels_and_their_test_part(void **state)
{
    (void)state;
    put_bytes("train-images-idx3-ubyte", images, sizeof images);
    put_bytes("train-labels-idx1-ubyte", labels, sizeof labels);
    put_bytes("t10k-images-idx3-ubyte", images, sizeof images);
    put_bytes("t10k-labels-idx1-ubyte", labels, sizeof labels);

    run_well("import|train-images-idx3-ubyte|-o|idx.h5");

    HOLDS("idx.h5", "/X_train", DIMS(2, 1, 2, 1), 1, 2, 3, 255);
    HOLDS("idx.h5", "/y_train", DIMS(2), 1, 0);
    HOLDS("idx.h5", "/X_test", DIMS(2, 1, 2, 1), 1, 2, 3, 255);
    assert_string_equal(strings_of("idx.h5", "class_names"), "3|7");
}

static void idx_values_are_turned_into_the_machines_order(void **state)
{
    (void)state;
    static const unsigned char shorts[] = { 0, 0, 11, 2, 0, 0, 0, 2, 0, 0, 0, 1, 1, 2, 255, 254 },
                               floats[] = { 0, 0, 13,   2,    0, 0, 0,    2, 0, 0,
                                            0, 1, 0x3f, 0xc0, 0, 0, 0xc0, 0, 0, 0 };

    put_bytes("a-images", shorts, sizeof shorts);
    put_bytes("a-labels", labels, sizeof labels);
    run_well("import|a-images|-o|shorts.h5");
    HOLDS("shorts.h5", "/X", DIMS(2, 1), 258, -2);
    put_bytes("a-images", floats, sizeof floats);
    run_well("import|a-images|a-labels|-o|floats.h5");
    HOLDS("floats.h5", "/X", DIMS(2, 1), 1.5, -2);
}

static void a_damaged_idx_file_is_refused(void **state)
{
    (void)state;
    unsigned char b[sizeof images];

    put_bytes("b-labels", labels, sizeof labels);
    for (size_t n = 0; n < sizeof images; n += 3) { /* cut anywhere */
        put_bytes("b-images", images, n);
        fails("import|b-images|-f|idx|-o|bad.h5", "b-images");
    }
    memcpy(b, images, sizeof b);
    b[3] = 200;
    put_bytes("b-images", b, sizeof b);
    fails("import|b-images|-f|idx|-o|bad.h5", "200 dimensions");
    b[3] = 3;
    memset(b + 8, 255, 8); /* rows of 2^64 bytes */
    put_bytes("b-images", b, sizeof b);
    fails("import|b-images|-o|bad.h5", "rows of");
    memcpy(b, images, sizeof b);
    b[7] = 3; /* more images than labels */
    put_bytes("b-images", b, sizeof b);
    fails("import|b-images|-o|bad.h5", "2 labels");
    put_bytes("c-images", images, sizeof images);
    fails("import|c-images|-o|bad.h5", "'c-labels' is not there");
    put_bytes("lonely", images, sizeof images);
    fails("import|lonely|-o|bad.h5", "has no labels");
}

/* -- what all formats share ------------------------------------------------------------------- */

static void a_test_part_is_split_off_by_the_seed(void **state)
{
    (void)state;
    char text[8192] = TWO_CLASSES;
    ky_h5_info i;
    ky_h5 *f;
    double *y;
    int n[2] = { 0 };

    for (int k = 0; k < 60; k++)
        sprintf(text + strlen(text), "%d,%d:%c\n", k, k, k % 3 == 0 ? 'a' : 'b');
    put_text("many.ts", text);
    run_well("import|many.ts|-o|one.h5|--split|0.2|-s|5");
    run_well("import|many.ts|-o|two.h5|--split|0.2|-s|5");
    run_well("import|many.ts|-o|other.h5|--split|0.2|-s|6");

    assert_true(same_bytes("one.h5", "two.h5"));
    assert_false(same_bytes("one.h5", "other.h5"));
    f = open_h5("one.h5");
    y = values_of(f, "/y_test", &i);
    for (size_t k = 0; k < i.count; k++)
        n[(int)y[k]]++;
    assert_true(n[0] == 8 && n[1] == 4); /* a fifth of each class */
    free(y);
    ky_h5_close(f);
}

static void a_dry_run_says_what_it_would_write_and_writes_nothing(void **state)
{
    (void)state;
    put_text("dry.ts", TWO_CLASSES "1,2,3:a\n4,5,6:b\n4,5,7:b\n");
    int before = files_in_dir();
    ran *r = run("import|dry.ts|--dry-run|-o|dry.h5");

    assert_int_equal(r->code, 0);
    assert_non_null(strstr(r->out, "would write dry.h5: ts, 1 file\n"));
    assert_non_null(strstr(r->out, "X       [3, 3, 1] float32"));
    assert_non_null(strstr(r->out, "b: 2\n"));
    assert_int_equal(files_in_dir(), before);
}

static void a_folder_is_read_and_what_is_no_data_left_out(void **state)
{
    (void)state;
    put_folder("set");
    put_text("set/S_TRAIN.ts", TWO_CLASSES "1,2:a\n");
    put_text("set/S_TEST.ts", TWO_CLASSES "3,4:b\n");
    put_text("set/README.md", "about it\n");
    put_text("set/.hidden.ts", "nothing\n");
    ran *r = run("import|set|-o|set.h5");

    assert_int_equal(r->code, 0);
    assert_non_null(strstr(r->out, "2 files (1 others left out)"));
    HOLDS("set.h5", "/X_test", DIMS(1, 2, 1), 3, 4);
    put_text("set/more.ts", TWO_CLASSES "5,6:a\n");
    fails("import|set|-o|bad.h5", "but 'set/more.ts' is neither");
}

static void wrong_usage_ends_with_2(void **state)
{
    (void)state;
    static const char *const wrong[] = { "import",
                                         "import|x.ts",
                                         "import|x.ts|-o|y|--missing|zero",
                                         "import|x.ts|-o|y|--task|guess",
                                         "import|x.ts|-o|y|--split|1",
                                         "import|x.ts|-o|y|--standardize|upper" };

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(run(wrong[i])->code, 2);
    put_text("x.ts", TWO_CLASSES "1,2:a\n");
    fails("import|x.ts|-f|xml|-o|bad.h5", "must be one of ts, ");
    fails("import|x.ts|-o|x.ts", "is the file that is read");
    fails("import|x.ts|-o|nowhere/bad.h5", "nowhere/bad.h5");
}

/* -- real data -------------------------------------------------------------------------------- */

static void real_files_give_what_stands_in_the_files_beside_them(void **state)
{
    (void)state;
    static const struct {
        const char *source, *data;
    } sets[] = {
        { "ecg200/ECG200_TRAIN.ts", "ecg200/ecg200.h5" },
        { "basicmotions/BasicMotions_TRAIN.ts", "basicmotions/basicmotions.h5" },
        { "japanesevowels/JapaneseVowels_TRAIN.ts", "japanesevowels/japanesevowels.h5" },
        { "mnist/train-images-idx3-ubyte.gz", "mnist/mnist.h5" },
    };
    size_t n = sizeof sets / sizeof *sets;
    char command[8192];

#ifdef KY_SANITIZED
    n--; /* 47 million pixels take a watched build long */
#endif
    for (size_t i = 0; i < n; i++) {
        snprintf(command, sizeof command, "import|%s|-o|real.h5", real_data(sets[i].source));
        run_well(command);
        same_data("real.h5", real_data(sets[i].data));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pair_of_ts_files_is_found_and_classes_keep_their_order),
        cmocka_unit_test(dimensions_become_features_and_short_series_are_padded),
        cmocka_unit_test(missing_values_are_counted_filled_or_leave_their_row_out),
        cmocka_unit_test(targets_are_numbers_where_the_task_says_so),
        cmocka_unit_test(a_damaged_ts_file_is_refused_with_its_line),
        cmocka_unit_test(what_a_file_claims_is_not_believed),
        cmocka_unit_test(a_tsv_file_ends_short_series_with_nan),
        cmocka_unit_test(idx_images_find_their_labels_and_their_test_part),
        cmocka_unit_test(idx_values_are_turned_into_the_machines_order),
        cmocka_unit_test(a_damaged_idx_file_is_refused),
        cmocka_unit_test(a_test_part_is_split_off_by_the_seed),
        cmocka_unit_test(a_dry_run_says_what_it_would_write_and_writes_nothing),
        cmocka_unit_test(a_folder_is_read_and_what_is_no_data_left_out),
        cmocka_unit_test(wrong_usage_ends_with_2),
        cmocka_unit_test(real_files_give_what_stands_in_the_files_beside_them),
    };

    return cmocka_run_group_tests(tests, import_set_up, import_tear_down);
}
