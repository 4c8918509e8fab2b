# Tests of cli/.
if WITH_TESTS
check_PROGRAMS += tests/cli/test_train
tests_cli_test_train_SOURCES = tests/cli/test_train.c tests/cli/run.h
tests_cli_test_train_CFLAGS = $(KY_TEST_CFLAGS)
tests_cli_test_train_LDADD = libkymo.la $(CMOCKA_LIBS) -lm

check_PROGRAMS += tests/cli/test_data
tests_cli_test_data_SOURCES = tests/cli/test_data.c tests/cli/run.h
tests_cli_test_data_CFLAGS = $(KY_TEST_CFLAGS)
tests_cli_test_data_LDADD = libkymo.la $(CMOCKA_LIBS) -lm

check_PROGRAMS += tests/cli/test_watch
tests_cli_test_watch_SOURCES = tests/cli/test_watch.c tests/cli/run.h
tests_cli_test_watch_CFLAGS = $(KY_TEST_CFLAGS)
tests_cli_test_watch_LDADD = libkymo.la $(CMOCKA_LIBS) -lm

check_PROGRAMS += tests/cli/test_report
tests_cli_test_report_SOURCES = tests/cli/test_report.c tests/cli/run.h cli/page.c cli/page.h
tests_cli_test_report_CFLAGS = $(KY_TEST_CFLAGS)
tests_cli_test_report_LDADD = libkymo.la $(CMOCKA_LIBS) -lm

check_PROGRAMS += tests/cli/test_gate
tests_cli_test_gate_SOURCES = tests/cli/test_gate.c tests/cli/run.h
tests_cli_test_gate_CFLAGS = $(KY_TEST_CFLAGS)
tests_cli_test_gate_LDADD = libkystorage.la libkymo.la $(CMOCKA_LIBS) -lm

check_PROGRAMS += tests/cli/test_streams
tests_cli_test_streams_SOURCES = tests/cli/test_streams.c tests/cli/run.h
tests_cli_test_streams_CFLAGS = $(KY_TEST_CFLAGS)
tests_cli_test_streams_LDADD = libkystorage.la libkymo.la $(CMOCKA_LIBS) -lm

check_PROGRAMS += tests/cli/test_inspect
tests_cli_test_inspect_SOURCES = tests/cli/test_inspect.c
tests_cli_test_inspect_CFLAGS = $(KY_TEST_CFLAGS)
tests_cli_test_inspect_LDADD = libkymo.la $(CMOCKA_LIBS)

check_PROGRAMS += tests/cli/test_convert
tests_cli_test_convert_SOURCES = tests/cli/test_convert.c tests/cli/run.h
tests_cli_test_convert_CFLAGS = $(KY_TEST_CFLAGS)
tests_cli_test_convert_LDADD = libkymo.la $(CMOCKA_LIBS)

check_PROGRAMS += tests/cli/test_simulate
tests_cli_test_simulate_SOURCES = tests/cli/test_simulate.c tests/cli/run.h
tests_cli_test_simulate_CFLAGS = $(KY_TEST_CFLAGS)
tests_cli_test_simulate_LDADD = libkymo.la $(CMOCKA_LIBS) -lm

check_PROGRAMS += tests/cli/test_compare
tests_cli_test_compare_SOURCES = tests/cli/test_compare.c tests/cli/run.h
tests_cli_test_compare_CFLAGS = $(KY_TEST_CFLAGS)
tests_cli_test_compare_LDADD = libkymo.la $(CMOCKA_LIBS) -lm

check_PROGRAMS += tests/cli/test_feed
tests_cli_test_feed_SOURCES = tests/cli/test_feed.c tests/cli/run.h
tests_cli_test_feed_CFLAGS = $(KY_TEST_CFLAGS)
tests_cli_test_feed_LDADD = libkyconnectors.la libkymo.la $(CMOCKA_LIBS) -lm

check_PROGRAMS += tests/cli/test_import tests/cli/test_import_csv tests/cli/test_import_image tests/cli/test_import_text tests/cli/test_import_wav
tests_cli_test_import_SOURCES = tests/cli/test_import.c tests/cli/import.h tests/cli/run.h
tests_cli_test_import_CFLAGS = $(KY_TEST_CFLAGS) $(ZLIB_CFLAGS)
tests_cli_test_import_LDADD = libkymo.la $(CMOCKA_LIBS) -lm $(ZLIB_LIBS)
tests_cli_test_import_csv_SOURCES = tests/cli/test_import_csv.c tests/cli/import.h tests/cli/run.h
tests_cli_test_import_csv_CFLAGS = $(KY_TEST_CFLAGS)
tests_cli_test_import_csv_LDADD = libkymo.la $(CMOCKA_LIBS) -lm
tests_cli_test_import_image_SOURCES = tests/cli/test_import_image.c tests/cli/import.h tests/cli/run.h
tests_cli_test_import_image_CFLAGS = $(KY_TEST_CFLAGS) $(ZLIB_CFLAGS) $(JPEG_CFLAGS)
tests_cli_test_import_image_LDADD = libkyimport.la libkymo.la $(CMOCKA_LIBS) -lm $(ZLIB_LIBS) $(JPEG_LIBS)
tests_cli_test_import_text_SOURCES = tests/cli/test_import_text.c tests/cli/import.h tests/cli/run.h
tests_cli_test_import_text_CFLAGS = $(KY_TEST_CFLAGS)
tests_cli_test_import_text_LDADD = libkymo.la $(CMOCKA_LIBS) -lm
tests_cli_test_import_wav_SOURCES = tests/cli/test_import_wav.c tests/cli/import.h tests/cli/run.h
tests_cli_test_import_wav_CFLAGS = $(KY_TEST_CFLAGS)
tests_cli_test_import_wav_LDADD = libkymo.la $(CMOCKA_LIBS) -lm
endif
