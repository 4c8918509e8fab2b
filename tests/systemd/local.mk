# Run by run-tests, not by make check: service.sh boots a systemd.
EXTRA_DIST += tests/systemd/inside.sh tests/systemd/service.sh tests/systemd/unit.sh
