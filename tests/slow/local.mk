# Long scenarios in shell, run by run-tests on a finished build; this makes what they need.
EXTRA_PROGRAMS += tests/slow/make_model
CLEANFILES += tests/slow/make_model
tests_slow_make_model_SOURCES = tests/slow/make_model.c
tests_slow_make_model_LDADD = libkymo.la
EXTRA_DIST += tests/slow/lib.sh tests/slow/compare.sh tests/slow/examples.sh tests/slow/har_accuracy.sh \
	tests/slow/gradient_mutants.sh tests/slow/kafka_exactly_once.sh tests/slow/retrain.sh
