# The storage library: journal, results, archive, model store.
noinst_LTLIBRARIES += libkystorage.la
libkystorage_la_SOURCES = \
	storage/archive.c storage/archive.h storage/archive_read.c \
	storage/journal.c storage/journal.h \
	storage/journal_file.c storage/journal_file.h \
	storage/record.h \
	storage/results.c storage/results.h storage/results_answers.c storage/results_read.c \
	storage/results_schema.c storage/results_sqlite.h storage/query.c \
	storage/recent.c storage/recent.h \
	storage/store.c storage/store.h \
	storage/unit.c
libkystorage_la_CPPFLAGS = $(AM_CPPFLAGS)
libkystorage_la_CFLAGS = $(AM_CFLAGS) $(SQLITE_CFLAGS)
libkystorage_la_LIBADD = libkymo.la $(SQLITE_LIBS)
