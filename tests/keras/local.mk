# Checks against the real Keras: run.sh, which run-tests calls.
EXTRA_PROGRAMS += tests/keras/resave
tests_keras_resave_SOURCES = tests/keras/resave.c
tests_keras_resave_LDADD = libkymo.la
EXTRA_DIST += tests/keras/run.sh tests/keras/check.py
