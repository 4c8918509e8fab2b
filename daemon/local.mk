# kymod. libkydaemon is all of it but main().
noinst_LTLIBRARIES += libkydaemon.la

libkydaemon_la_SOURCES = \
	daemon/config.c daemon/config.h \
	daemon/log.c daemon/log.h \
	daemon/notify.c daemon/notify.h \
	daemon/settings.c daemon/settings.h
libkydaemon_la_CPPFLAGS = $(AM_CPPFLAGS)
libkydaemon_la_CFLAGS = $(AM_CFLAGS) $(INIH_CFLAGS) $(SYSTEMD_CFLAGS)
libkydaemon_la_LIBADD = libkymo.la $(INIH_LIBS) $(SYSTEMD_LIBS)
