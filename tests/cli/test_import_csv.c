/* kymo import of tables: windows of streams, and a series a line. */
#include "tests/cli/import.h"

/* -- long ------------------------------------------------------------------------------------- */

static void windows_never_reach_over_streams_or_gaps(void **state)
{
    (void)state;
    /* a: 1 2 3 4 | gap | 6 7; b between them. */
    put_text("long.csv", "stream,ts,x,\"y, too\",label\n"
                         "a,1,1,10,up\nb,1,100,0,down\na,2,2,20,up\nb,2,101,0,down\n"
                         "a,3,3,30,up\na,4,4,40,\na,6,6,60,up\na,7,7,70,down\n");

    run_well("import|long.csv|--window|2|-o|long.h5");
    run_well("import|long.csv|--window|2|--hop|1|-o|hop.h5");
    run_well("import|long.csv|--window|3|--hop|1|--gap|5|-o|wide.h5");

    HOLDS("long.h5", "/X", DIMS(4, 2, 2), 1, 10, 2, 20, 100, 0, 101, 0, 3, 30, 4, 40, 6, 60, 7, 70);
    HOLDS("long.h5", "/y", DIMS(4), 1, 0, 1, 0);
    HOLDS("long.h5", "/group", DIMS(4), 0, 1, 0, 0);
    HOLDS("long.h5", "/ts", DIMS(4), 2e6, 2e6, 4e6, 7e6);
    assert_string_equal(strings_of("long.h5", "features"), "x|y, too");
    assert_string_equal(strings_of("long.h5", "group_names"), "a|b");
    HOLDS("hop.h5", "/ts", DIMS(5), 2e6, 2e6, 3e6, 4e6, 7e6);
    HOLDS("wide.h5", "/ts", DIMS(4), 3e6, 4e6, 6e6, 7e6); /* a gap of two seconds is none here */
}

static void without_windows_a_stream_is_a_row(void **state)
{
    (void)state;
    put_text("runs.csv", "stream;seq;x;class\nb;1;1;u\nb;2;2;u\nb;4;4;u\na;1;7;v\n");

    run_well("import|runs.csv|-o|runs.h5");

    HOLDS("runs.h5", "/X", DIMS(3, 2, 1), 1, 2, 4, NAN, 7, NAN);
    HOLDS("runs.h5", "/len", DIMS(3), 2, 1, 1);
    HOLDS("runs.h5", "/y", DIMS(3), 0, 0, 1);
}

static void windows_of_one_stream_split_at_a_time_without_overlap(void **state)
{
    (void)state;
    char text[8192] = "time,x,label\n";
    ky_h5_info i, j;
    ky_h5 *f;
    double *train, *test;

    for (int k = 0; k < 200; k++)
        sprintf(text + strlen(text), "%d,%d,%c\n", k, k, k / 10 % 2 ? 'a' : 'b');
    put_text("one.csv", text);
    run_well("import|one.csv|--window|10|--hop|2|--split|0.25|-o|one.h5");

    f = open_h5("one.h5");
    train = values_of(f, "/X_train", &i);
    test = values_of(f, "/X_test", &j);
    assert_true(j.dims[0] >= 15);
    assert_true(test[0] > train[i.count - 1]); /* the first sample of one, the last of the other */
    free(train);
    free(test);
    ky_h5_close(f);
}

static void streams_are_split_as_wholes(void **state)
{
    (void)state;
    char text[8192] = "stream,ts,x,label\n";
    ky_h5_info i, j;
    ky_h5 *f;
    double *train, *test;

    for (int k = 0; k < 200; k++)
        sprintf(text + strlen(text), "s%d,%d,%d,%c\n", k / 20, k % 20, k, k / 20 % 2 ? 'a' : 'b');
    put_text("ten.csv", text);
    run_well("import|ten.csv|--window|5|--split|0.3|-o|ten.h5");

    f = open_h5("ten.h5");
    train = values_of(f, "/group_train", &i);
    test = values_of(f, "/group_test", &j);
    for (size_t a = 0; a < i.count; a++)
        for (size_t b = 0; b < j.count; b++)
            assert_true(train[a] != test[b]);
    assert_int_equal(j.count, 12);
    free(train);
    free(test);
    ky_h5_close(f);
}

static void columns_are_named_and_times_have_units(void **state)
{
    (void)state;
    put_text("named.csv", "who,when,kind,p,q,r\nme,1000,k,1,2,3\nme,2000,k,4,5,6\n");

    run_well("import|named.csv|-f|csv-long|--group|who|--time|when|--time-unit|ms|--label|kind|"
             "--features|r,p|-o|named.h5");

    HOLDS("named.h5", "/X", DIMS(1, 2, 2), 3, 1, 6, 4);
    HOLDS("named.h5", "/ts", DIMS(1), 2e6);
    run_well("import|named.csv|-f|csv-long|--group|1|--time|2|--label|3|--time-unit|ms|--features|"
             "r,p|-o|numbered.h5");
    assert_true(same_bytes("named.h5", "numbered.h5"));
    fails("import|named.csv|-f|csv-long|--group|7|-o|bad.h5", "no column '7'");
    fails("import|named.csv|-f|csv-long|--group|nobody|-o|bad.h5", "no column 'nobody'");
    fails("import|named.csv|-f|csv-long|--features|z|-o|bad.h5", "no column 'z'");
}

static void damaged_long_tables_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } bad[] = {
        { "stream,x\n", "not one row" },
        { "stream,x\na,1,2\n", "bad.csv:2: 3 cells, the header has 2" },
        { "stream,x\na,\"1\n", "bad.csv:2: a quote is not closed" },
        { "stream,x\na,one\n", "bad.csv:2: 'one' is no number" },
        { "stream,ts,x\na,soon,1\n", "bad.csv:2: 'soon' is no time" },
        { "stream,seq,x\na,1.5,1\n", "bad.csv:2: seq '1.5' is no integer" },
        { "stream\na\n", "no column of values" },
        { "stream,ts,x\na,-9000000000000000000,1\na,9000000000000000000,2\n", "is no time" },
    };

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        put_text("bad.csv", bad[i].text);
        fails("import|bad.csv|-o|bad.h5", bad[i].says);
    }
    put_text("bad.csv", "stream,ts,x\na,-9000000000000000000,1\na,9000000000000000000,2\n");
    run_well("import|bad.csv|--time-unit|us|-o|ends.h5"); /* all the time there is, apart */
    HOLDS("ends.h5", "/X", DIMS(1, 2, 1), 1, 2);
}

/* -- wide ------------------------------------------------------------------------------------- */

static void a_line_is_a_series(void **state)
{
    (void)state;
    put_text("wide_train.csv", "\xef\xbb\xbfid,label,v0,v1,v2\n1,no,1,2,3\n2,yes,4,5,\n");
    put_text("wide_test.csv", "id,label,v0,v1,v2\n3,yes,7,8,9\n");

    run_well("import|wide_train.csv|--features|v0,v1,v2|-o|wide.h5");

    HOLDS("wide.h5", "/X_train", DIMS(2, 3, 1), 1, 2, 3, 4, 5, NAN);
    HOLDS("wide.h5", "/len_train", DIMS(2), 3, 2);
    HOLDS("wide.h5", "/y_test", DIMS(1), 1);
    assert_string_equal(strings_of("wide.h5", "class_names"), "no|yes");
}

static void features_are_found_by_their_numbered_columns(void **state)
{
    (void)state;
    put_text("multi.csv", "who,x_10,x_9,y[9],y[10],xx_1,class\np,2,1,3,4,0,a\nq,6,5,7,8,0,b\n");

    run_well("import|multi.csv|--features|x,y|--group|who|-o|multi.h5");

    HOLDS("multi.h5", "/X", DIMS(2, 2, 2), 1, 3, 2, 4, 5, 7, 6, 8);
    HOLDS("multi.h5", "/group", DIMS(2), 0, 1);
    assert_string_equal(strings_of("multi.h5", "features"), "x|y");
    fails("import|multi.csv|--features|x,xx|-o|bad.h5", "'xx' names 1 columns");
}

static void a_table_without_a_header_needs_to_be_told_its_label(void **state)
{
    (void)state;
    put_text("bare.csv", "1,0.5,2\n0,1.5,-.5\n");

    run_well("import|bare.csv|--label|1|-o|bare.h5");

    HOLDS("bare.h5", "/X", DIMS(2, 2, 1), 0.5, 2, 1.5, -0.5);
    HOLDS("bare.h5", "/y", DIMS(2), 1, 0);
    fails("import|bare.csv|-o|bad.h5", "--label 1");
    fails("import|bare.csv|--label|9|-o|bad.h5", "no column '9'");
    put_text("words.csv", "up,0.5,2\n");
    fails("import|words.csv|-o|bad.h5", "must name the columns, '0.5' is a number");
    fails("import|bare.csv|--label|1|--window|2|-o|bad.h5", "csv-long");
}

static void numbers_to_answer_come_from_a_column(void **state)
{
    (void)state;
    put_text("price.csv", "y,a,b\n1.5,1,2\n-2,3,4\n");

    run_well("import|price.csv|--task|regress|-o|price.h5");

    HOLDS("price.h5", "/y", DIMS(2), 1.5, -2);
    put_text("price.csv", "y,a,b\n1.5,1,2\nhigh,3,4\n");
    fails("import|price.csv|--task|regress|-o|bad.h5", "'high' is no number to learn");
    put_text("price.csv", "y,a,b\n1.5,1,2\n,3,4\n");
    fails("import|price.csv|--task|regress|-o|bad.h5", "1 of 2 rows have no label");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_never_reach_over_streams_or_gaps),
        cmocka_unit_test(without_windows_a_stream_is_a_row),
        cmocka_unit_test(windows_of_one_stream_split_at_a_time_without_overlap),
        cmocka_unit_test(streams_are_split_as_wholes),
        cmocka_unit_test(columns_are_named_and_times_have_units),
        cmocka_unit_test(damaged_long_tables_are_refused),
        cmocka_unit_test(a_line_is_a_series),
        cmocka_unit_test(features_are_found_by_their_numbered_columns),
        cmocka_unit_test(a_table_without_a_header_needs_to_be_told_its_label),
        cmocka_unit_test(numbers_to_answer_come_from_a_column),
    };

    return cmocka_run_group_tests(tests, import_set_up, import_tear_down);
}
