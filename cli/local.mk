# kymo, the command-line tool: one file a subcommand, a row in kymo.c each.
bin_PROGRAMS += kymo

kymo_SOURCES = cli/cli.h cli/kymo.c cli/options.c cli/progress.c
kymo_SOURCES += cli/query.c
kymo_LDADD = libkyconfig.la libkyconnectors.la libkystorage.la libkymo.la
