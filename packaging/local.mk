# systemd unit, sysusers, the examples.
systemdsystemunitdir = @systemdsystemunitdir@
sysusersdir = @sysusersdir@
kymoconfdir = $(sysconfdir)/kymo
examplesdir = $(docdir)/examples

systemdsystemunit_DATA = packaging/kymod.service
nodist_sysusers_DATA = packaging/kymo.conf
kymoconf_DATA = packaging/kymod.ini.example
dist_examples_DATA = \
	examples/acknowledged.ini \
	examples/kafka.ini \
	examples/lib.sh \
	examples/minimal.ini \
	examples/windows.ini
# Examples have --help, but are of no version of their own.
AM_INSTALLCHECK_STD_OPTIONS_EXEMPT = $(dist_examples_SCRIPTS)
dist_examples_SCRIPTS = \
	examples/activity.sh \
	examples/bearings.sh \
	examples/digits.sh \
	examples/heartbeats.sh \
	examples/motions.sh \
	examples/sentiment.sh \
	examples/speakers.sh \
	examples/spoken.sh \
	examples/video.sh

EXTRA_DIST += packaging/kymod.service.in packaging/kymo.sysusers packaging/setup.sh
CLEANFILES += packaging/kymod.service packaging/kymo.conf packaging/kymod.ini.example

packaging/kymod.service: packaging/kymod.service.in Makefile
	$(AM_V_GEN)$(MKDIR_P) packaging && \
	sed -e 's|@sbindir[@]|$(sbindir)|g' -e 's|@sysconfdir[@]|$(sysconfdir)|g' \
		$(srcdir)/packaging/kymod.service.in >$@.tmp && mv $@.tmp $@

# Installed as sysusers.d/kymo.conf.
packaging/kymo.conf: packaging/kymo.sysusers
	$(AM_V_GEN)$(MKDIR_P) packaging && cp $(srcdir)/packaging/kymo.sysusers $@

# A new installation never touches kymod.ini itself.
packaging/kymod.ini.example: docs/print_settings$(EXEEXT)
	$(AM_V_GEN)$(MKDIR_P) packaging && ./docs/print_settings example >$@.tmp && mv $@.tmp $@
