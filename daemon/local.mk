# kymod. libkyconfig is its settings, which kymo reads, too; libkydaemon all the rest but main().
noinst_LTLIBRARIES += libkyconfig.la libkydaemon.la

libkyconfig_la_SOURCES = \
	daemon/config.c daemon/config.h \
	daemon/settings.c daemon/settings.h
libkyconfig_la_CPPFLAGS = $(AM_CPPFLAGS)
libkyconfig_la_CFLAGS = $(AM_CFLAGS) $(INIH_CFLAGS)
libkyconfig_la_LIBADD = libkymo.la $(INIH_LIBS)

libkydaemon_la_SOURCES = \
	daemon/accept.c daemon/accept.h daemon/accept_disk.c daemon/accept_own.h \
	daemon/accept_recover.c daemon/accept_take.c \
	daemon/archiver.c daemon/archiver.h \
	daemon/beside.c daemon/beside.h \
	daemon/blocks.c daemon/blocks.h \
	daemon/books.c daemon/books.h \
	daemon/child.c daemon/child.h \
	daemon/commit.c daemon/commit.h \
	daemon/control.c daemon/control.h \
	daemon/core.c daemon/core.h \
	daemon/health.c daemon/health.h \
	daemon/intake.c daemon/intake.h \
	daemon/lane.c daemon/lane.h daemon/lane_own.h \
	daemon/lane_commit.c daemon/lane_line.c daemon/lane_spill.c daemon/lane_tell.c \
	daemon/lane_wave.c \
	daemon/log.c daemon/log.h \
	daemon/marks.c daemon/marks.h \
	daemon/names.c daemon/names.h \
	daemon/notify.c daemon/notify.h \
	daemon/pager.c daemon/pager.h \
	daemon/pipeline.c daemon/pipeline.h \
	daemon/publish.c daemon/publish.h \
	daemon/queue.c daemon/queue.h \
	daemon/recover.c daemon/recover.h \
	daemon/reorder.c daemon/reorder.h \
	daemon/requests.c daemon/requests.h \
	daemon/retrain.c daemon/retrain.h \
	daemon/ghosts.c daemon/ghosts.h daemon/line.h daemon/roster.c daemon/roster.h \
	daemon/rows.c daemon/rows.h \
	daemon/served.c daemon/served.h \
	daemon/shelf.c daemon/shelf.h \
	daemon/slab.c daemon/slab.h \
	daemon/spill.c daemon/spill.h \
	daemon/status.c \
	daemon/stream.c daemon/stream.h \
	daemon/streams.c daemon/streams.h \
	daemon/works.c daemon/works.h
libkydaemon_la_CPPFLAGS = $(AM_CPPFLAGS) -DKY_BINDIR='"$(bindir)"'
libkydaemon_la_CFLAGS = $(AM_CFLAGS) $(SYSTEMD_CFLAGS)
libkydaemon_la_LIBADD = libkyconfig.la libkyconnectors.la libkystorage.la libkymo.la \
	$(SYSTEMD_LIBS)

sbin_PROGRAMS += kymod
kymod_SOURCES = daemon/kymod.c $(ky_tsan_threads)
kymod_CPPFLAGS = $(AM_CPPFLAGS) -DKY_CONFIG_PATH='"$(sysconfdir)/kymo/kymod.ini"'
kymod_LDADD = libkydaemon.la libkymo.la
