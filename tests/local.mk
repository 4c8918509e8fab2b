# Tests mirror the tree; each folder's fragment lists its own programs. All may skip (exit 77).
KY_TEST_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
EXTRA_DIST += tests/full.h
# The longest first, so that none runs alone at the end.
include tests/scenarios/local.mk
include tests/models/local.mk
include tests/storage/local.mk
include tests/connectors/local.mk
include tests/daemon/local.mk
include tests/cli/local.mk
include tests/fuzz/local.mk
include tests/crash/local.mk
include tests/kafka/local.mk
include tests/keras/local.mk
include tests/bench/local.mk
include tests/systemd/local.mk
include tests/slow/local.mk
