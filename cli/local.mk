# kymo, the command-line tool: one file a subcommand.
bin_PROGRAMS += kymo

kymo_SOURCES = \
	cli/cli.h \
	cli/kymo.c \
	cli/options.c \
	cli/progress.c
# Each folder's library adds itself here as it is needed.
kymo_LDADD = libkymo.la
