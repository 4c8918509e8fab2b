# Tests of daemon/.
if WITH_TESTS
check_PROGRAMS += tests/daemon/test_config tests/daemon/test_log tests/daemon/test_notify \
	tests/daemon/test_control

tests_daemon_test_config_SOURCES = tests/daemon/test_config.c
tests_daemon_test_config_CFLAGS = $(KY_TEST_CFLAGS)
tests_daemon_test_config_LDADD = libkydaemon.la libkymo.la $(CMOCKA_LIBS)

tests_daemon_test_log_SOURCES = tests/daemon/test_log.c
tests_daemon_test_log_CFLAGS = $(KY_TEST_CFLAGS)
tests_daemon_test_log_LDADD = libkydaemon.la libkymo.la $(CMOCKA_LIBS)

tests_daemon_test_notify_SOURCES = tests/daemon/test_notify.c
tests_daemon_test_notify_CFLAGS = $(KY_TEST_CFLAGS)
tests_daemon_test_notify_LDADD = libkydaemon.la libkymo.la $(CMOCKA_LIBS)

tests_daemon_test_control_SOURCES = tests/daemon/test_control.c
tests_daemon_test_control_CFLAGS = $(KY_TEST_CFLAGS)
tests_daemon_test_control_LDADD = libkydaemon.la libkymo.la $(CMOCKA_LIBS)

check_PROGRAMS += tests/daemon/test_child
tests_daemon_test_child_SOURCES = tests/daemon/test_child.c
tests_daemon_test_child_CFLAGS = $(KY_TEST_CFLAGS)
tests_daemon_test_child_LDADD = libkydaemon.la libkymo.la $(CMOCKA_LIBS)

check_PROGRAMS += tests/daemon/test_archiver
tests_daemon_test_archiver_SOURCES = tests/daemon/test_archiver.c tests/daemon/keeping.h
tests_daemon_test_archiver_CFLAGS = $(KY_TEST_CFLAGS)
tests_daemon_test_archiver_LDADD = libkydaemon.la libkymo.la $(CMOCKA_LIBS)

check_PROGRAMS += tests/daemon/test_retrain
tests_daemon_test_retrain_SOURCES = tests/daemon/test_retrain.c tests/daemon/keeping.h
tests_daemon_test_retrain_CFLAGS = $(KY_TEST_CFLAGS)
tests_daemon_test_retrain_LDADD = libkydaemon.la libkymo.la $(CMOCKA_LIBS)

check_PROGRAMS += tests/daemon/test_shelf
tests_daemon_test_shelf_SOURCES = tests/daemon/test_shelf.c
tests_daemon_test_shelf_CFLAGS = $(KY_TEST_CFLAGS)
tests_daemon_test_shelf_LDADD = libkydaemon.la libkymo.la $(CMOCKA_LIBS)

check_PROGRAMS += tests/daemon/test_queue
tests_daemon_test_queue_SOURCES = tests/daemon/test_queue.c
tests_daemon_test_queue_CFLAGS = $(KY_TEST_CFLAGS)
tests_daemon_test_queue_LDADD = libkydaemon.la libkymo.la $(CMOCKA_LIBS)

check_PROGRAMS += tests/daemon/test_stream
tests_daemon_test_stream_SOURCES = tests/daemon/test_stream.c
tests_daemon_test_stream_CFLAGS = $(KY_TEST_CFLAGS)
tests_daemon_test_stream_LDADD = libkydaemon.la libkymo.la $(CMOCKA_LIBS)

check_PROGRAMS += tests/daemon/test_books
tests_daemon_test_books_SOURCES = tests/daemon/test_books.c
tests_daemon_test_books_CFLAGS = $(KY_TEST_CFLAGS)
tests_daemon_test_books_LDADD = libkydaemon.la libkymo.la $(CMOCKA_LIBS)

check_PROGRAMS += tests/daemon/test_ghosts
tests_daemon_test_ghosts_SOURCES = tests/daemon/test_ghosts.c
tests_daemon_test_ghosts_CFLAGS = $(KY_TEST_CFLAGS)
tests_daemon_test_ghosts_LDADD = libkydaemon.la libkymo.la $(CMOCKA_LIBS)

check_PROGRAMS += tests/daemon/test_reorder
tests_daemon_test_reorder_SOURCES = tests/daemon/test_reorder.c
tests_daemon_test_reorder_CFLAGS = $(KY_TEST_CFLAGS)
tests_daemon_test_reorder_LDADD = libkydaemon.la libkymo.la $(CMOCKA_LIBS)

check_PROGRAMS += tests/daemon/test_marks
tests_daemon_test_marks_SOURCES = tests/daemon/test_marks.c
tests_daemon_test_marks_CFLAGS = $(KY_TEST_CFLAGS)
tests_daemon_test_marks_LDADD = libkydaemon.la libkymo.la $(CMOCKA_LIBS)

check_PROGRAMS += tests/daemon/test_works
tests_daemon_test_works_SOURCES = tests/daemon/test_works.c
tests_daemon_test_works_CFLAGS = $(KY_TEST_CFLAGS)
tests_daemon_test_works_LDADD = libkydaemon.la libkymo.la $(CMOCKA_LIBS)
endif

# The manual pages are what mandoc wants them to be.
TESTS += tests/daemon/check_man.sh
EXTRA_DIST += tests/daemon/check_man.sh
