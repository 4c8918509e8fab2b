# Manual pages and documents.
dist_man_MANS += docs/kymo.1 docs/kymod.8 docs/kymod.ini.5
dist_doc_DATA += docs/architecture.md docs/messages.md docs/models.md \
	docs/performance.md docs/results.md docs/sql.md
EXTRA_DIST += docs/adding-a-layer.md
MAINTAINERCLEANFILES += docs/kymod.ini.5

noinst_PROGRAMS += docs/print_settings
docs_print_settings_SOURCES = docs/print_settings.c
docs_print_settings_LDADD = libkyconfig.la libkyconnectors.la libkymo.la

# Shipped, so that who builds from a release needs to run nothing that was just built; made again
# where the table is newer.
docs/kymod.ini.5: daemon/settings.c docs/print_settings.c | docs/print_settings$(EXEEXT)
	$(AM_V_GEN)$(MKDIR_P) docs && ./docs/print_settings man >$@.tmp && mv $@.tmp $@
