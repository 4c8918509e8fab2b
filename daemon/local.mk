# kymod. libkyconfig is its settings, which kymo reads, too; libkydaemon all the rest but main().
noinst_LTLIBRARIES += libkyconfig.la libkydaemon.la

libkyconfig_la_SOURCES = \
	daemon/config.c daemon/config.h \
	daemon/settings.c daemon/settings.h
libkyconfig_la_CPPFLAGS = $(AM_CPPFLAGS)
libkyconfig_la_CFLAGS = $(AM_CFLAGS) $(INIH_CFLAGS)
libkyconfig_la_LIBADD = libkymo.la $(INIH_LIBS)

libkydaemon_la_SOURCES = \
	daemon/archiver.c daemon/archiver.h \
	daemon/child.c daemon/child.h \
	daemon/control.c daemon/control.h \
	daemon/log.c daemon/log.h \
	daemon/notify.c daemon/notify.h \
	daemon/retrain.c daemon/retrain.h
libkydaemon_la_CPPFLAGS = $(AM_CPPFLAGS) -DKY_BINDIR='"$(bindir)"'
libkydaemon_la_CFLAGS = $(AM_CFLAGS) $(SYSTEMD_CFLAGS)
libkydaemon_la_LIBADD = libkyconfig.la libkyconnectors.la libkystorage.la libkymo.la \
	$(SYSTEMD_LIBS)
