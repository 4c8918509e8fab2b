# kymod. libkyconfig is its settings, which kymo reads, too; libkydaemon all the rest but main().
noinst_LTLIBRARIES += libkyconfig.la libkydaemon.la

libkyconfig_la_SOURCES = \
	daemon/config.c daemon/config.h \
	daemon/settings.c daemon/settings.h
libkyconfig_la_CPPFLAGS = $(AM_CPPFLAGS)
libkyconfig_la_CFLAGS = $(AM_CFLAGS) $(INIH_CFLAGS)
libkyconfig_la_LIBADD = libkymo.la $(INIH_LIBS)

libkydaemon_la_SOURCES = \
	daemon/log.c daemon/log.h \
	daemon/notify.c daemon/notify.h
libkydaemon_la_CPPFLAGS = $(AM_CPPFLAGS)
libkydaemon_la_CFLAGS = $(AM_CFLAGS) $(SYSTEMD_CFLAGS)
libkydaemon_la_LIBADD = libkyconfig.la libkymo.la $(SYSTEMD_LIBS)
