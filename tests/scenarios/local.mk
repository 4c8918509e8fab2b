# Scenarios: the real kymod in a state directory of its own, driven over its own sockets.
if WITH_TESTS
check_LTLIBRARIES += libkyscene.la
libkyscene_la_SOURCES = tests/scenarios/harness.c tests/scenarios/harness.h
libkyscene_la_CFLAGS = $(AM_CFLAGS) $(SQLITE_CFLAGS)
libkyscene_la_LIBADD = libkyconnectors.la libkymo.la $(SQLITE_LIBS)

check_PROGRAMS += tests/scenarios/test_live tests/scenarios/test_restart \
	tests/scenarios/test_bad_input tests/scenarios/test_swap \
	tests/scenarios/test_rules tests/scenarios/test_feed \
	tests/scenarios/test_publish tests/scenarios/test_tail \
	tests/scenarios/test_formats tests/scenarios/test_pressure \
	tests/scenarios/test_disk tests/scenarios/test_subscribers
tests_scenarios_test_live_SOURCES = tests/scenarios/test_live.c
tests_scenarios_test_live_LDADD = libkyscene.la libkymo.la

tests_scenarios_test_restart_SOURCES = tests/scenarios/test_restart.c
tests_scenarios_test_restart_LDADD = libkyscene.la libkymo.la
EXTRA_tests_scenarios_test_restart_DEPENDENCIES = tests/scenarios/kymod_torn

tests_scenarios_test_bad_input_SOURCES = tests/scenarios/test_bad_input.c
tests_scenarios_test_bad_input_LDADD = libkyscene.la libkymo.la

tests_scenarios_test_swap_SOURCES = tests/scenarios/test_swap.c
tests_scenarios_test_swap_LDADD = libkyscene.la libkymo.la
EXTRA_tests_scenarios_test_swap_DEPENDENCIES = tests/scenarios/kymod_no_swap

tests_scenarios_test_rules_SOURCES = tests/scenarios/test_rules.c
tests_scenarios_test_rules_LDADD = libkyscene.la libkymo.la

tests_scenarios_test_feed_SOURCES = tests/scenarios/test_feed.c
tests_scenarios_test_feed_LDADD = libkyscene.la libkymo.la

tests_scenarios_test_publish_SOURCES = tests/scenarios/test_publish.c
tests_scenarios_test_publish_LDADD = libkyscene.la libkymo.la

tests_scenarios_test_formats_SOURCES = tests/scenarios/test_formats.c
tests_scenarios_test_formats_LDADD = libkyscene.la libkymo.la

tests_scenarios_test_pressure_SOURCES = tests/scenarios/test_pressure.c
tests_scenarios_test_pressure_LDADD = libkyscene.la libkymo.la

tests_scenarios_test_disk_SOURCES = tests/scenarios/test_disk.c
tests_scenarios_test_disk_LDADD = libkyscene.la libkymo.la

tests_scenarios_test_subscribers_SOURCES = tests/scenarios/test_subscribers.c
tests_scenarios_test_subscribers_LDADD = libkyscene.la libkymo.la

tests_scenarios_test_tail_SOURCES = tests/scenarios/test_tail.c
tests_scenarios_test_tail_LDADD = libkyscene.la libkymo.la

# What our own objects ask for is counted: libkymo's too, where it is linked in (--disable-shared).
check_PROGRAMS += tests/scenarios/test_alloc
tests_scenarios_test_alloc_SOURCES = tests/scenarios/test_alloc.c $(ky_tsan_threads)
tests_scenarios_test_alloc_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=malloc -Wl,--wrap=calloc \
	-Wl,--wrap=realloc -Wl,--wrap=aligned_alloc -Wl,--wrap=strdup
tests_scenarios_test_alloc_LDADD = libkyscene.la libkydaemon.la libkymo.la

# Scripts that turn the clock, on the pipeline in a process of the test; its sources are memory.
check_PROGRAMS += tests/scenarios/run_scn
ky_inside = tests/scenarios/inside.c tests/scenarios/inside_model.c tests/scenarios/inside.h \
	$(ky_tsan_threads)
tests_scenarios_run_scn_SOURCES = tests/scenarios/run_scn.c $(ky_inside)
tests_scenarios_run_scn_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=ky_source_open -Wl,--wrap=ky_zsock_send
tests_scenarios_run_scn_LDADD = libkyscene.la libkydaemon.la libkymo.la
EXTRA_DIST += $(srcdir)/tests/scenarios/*.scn

check_PROGRAMS += tests/scenarios/test_random
tests_scenarios_test_random_SOURCES = tests/scenarios/test_random.c tests/scenarios/world.c \
	tests/scenarios/world.h tests/scenarios/oracle.c tests/scenarios/oracle.h $(ky_inside)
tests_scenarios_test_random_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=ky_source_open -Wl,--wrap=ky_zsock_send
tests_scenarios_test_random_LDADD = libkyscene.la libkydaemon.la libkymo.la

# A kymod that breaks rule A5, which the test must notice.
EXTRA_PROGRAMS += tests/scenarios/kymod_torn
CLEANFILES += tests/scenarios/kymod_torn
tests_scenarios_kymod_torn_SOURCES = daemon/kymod.c tests/scenarios/torn_commit.c $(ky_tsan_threads)
tests_scenarios_kymod_torn_CPPFLAGS = $(kymod_CPPFLAGS)
tests_scenarios_kymod_torn_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=ky_results_commit
tests_scenarios_kymod_torn_LDADD = $(kymod_LDADD)

# One that ends where a swap is to be journaled.
EXTRA_PROGRAMS += tests/scenarios/kymod_no_swap
CLEANFILES += tests/scenarios/kymod_no_swap
tests_scenarios_kymod_no_swap_SOURCES = daemon/kymod.c tests/scenarios/no_swap.c $(ky_tsan_threads)
tests_scenarios_kymod_no_swap_CPPFLAGS = $(kymod_CPPFLAGS)
tests_scenarios_kymod_no_swap_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=ky_accept_swap
tests_scenarios_kymod_no_swap_LDADD = $(kymod_LDADD)
endif
