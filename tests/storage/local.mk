# Tests of storage/.
if WITH_TESTS
check_PROGRAMS += tests/storage/test_journal
tests_storage_test_journal_SOURCES = tests/storage/test_journal.c tests/storage/tools.h
tests_storage_test_journal_CFLAGS = $(KY_TEST_CFLAGS)
tests_storage_test_journal_LDFLAGS = -Wl,--wrap=fdatasync -Wl,--wrap=write
tests_storage_test_journal_LDADD = libkystorage.la libkymo.la $(CMOCKA_LIBS)

check_PROGRAMS += tests/storage/test_results
tests_storage_test_results_SOURCES = tests/storage/test_results.c tests/storage/tools.h
EXTRA_DIST += tests/storage/schema-1.sql
tests_storage_test_results_CFLAGS = $(KY_TEST_CFLAGS)
tests_storage_test_results_LDADD = libkystorage.la libkymo.la $(CMOCKA_LIBS)
EXTRA_DIST += tests/storage/schema-2.sql

check_PROGRAMS += tests/storage/test_archive
tests_storage_test_archive_SOURCES = tests/storage/test_archive.c tests/storage/tools.h
tests_storage_test_archive_CFLAGS = $(KY_TEST_CFLAGS)
tests_storage_test_archive_LDADD = libkystorage.la libkymo.la $(CMOCKA_LIBS)

check_PROGRAMS += tests/storage/test_store
tests_storage_test_store_SOURCES = tests/storage/test_store.c tests/storage/tools.h
tests_storage_test_store_CFLAGS = $(KY_TEST_CFLAGS)
tests_storage_test_store_LDADD = libkystorage.la libkymo.la $(CMOCKA_LIBS)

check_PROGRAMS += tests/storage/test_query
tests_storage_test_query_SOURCES = tests/storage/test_query.c tests/storage/tools.h
tests_storage_test_query_CFLAGS = $(KY_TEST_CFLAGS)
tests_storage_test_query_LDADD = libkystorage.la libkymo.la $(CMOCKA_LIBS) -lutil
endif
