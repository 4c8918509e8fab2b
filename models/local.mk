lib_LTLIBRARIES += libkymo.la

libkymo_la_SOURCES = \
	models/clock.c models/clock.h \
	models/error.c models/error.h
libkymo_la_CPPFLAGS = $(AM_CPPFLAGS)
libkymo_la_LDFLAGS = $(AM_LDFLAGS) -version-info 0:0:0 -export-symbols-regex '^ky_'
