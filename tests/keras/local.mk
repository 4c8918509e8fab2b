# Checks against the real Keras: run.sh, which run-tests calls.
EXTRA_DIST += tests/keras/run.sh tests/keras/check.py tests/keras/grid.py tests/keras/again.py \
	tests/keras/trained.py tests/keras/real.py tests/keras/accuracy.py tests/keras/mutants.sh
