# tests/fuzz
# Each target replays its seed corpus in make check; run.sh lets libFuzzer at it.
EXTRA_DIST += tests/fuzz/run.sh tests/fuzz/corpus

check_PROGRAMS += tests/fuzz/fuzz_ini
tests_fuzz_fuzz_ini_SOURCES = tests/fuzz/fuzz_ini.c tests/fuzz/replay_main.c
tests_fuzz_fuzz_ini_LDADD = libkyconfig.la libkyconnectors.la libkymo.la

check_PROGRAMS += tests/fuzz/fuzz_arch tests/fuzz/fuzz_state
tests_fuzz_fuzz_arch_SOURCES = tests/fuzz/fuzz_arch.c tests/fuzz/replay_main.c
tests_fuzz_fuzz_arch_LDADD = libkymo.la
tests_fuzz_fuzz_state_SOURCES = tests/fuzz/fuzz_state.c tests/fuzz/replay_main.c
tests_fuzz_fuzz_state_LDADD = libkymo.la

check_PROGRAMS += tests/fuzz/fuzz_journal
tests_fuzz_fuzz_journal_SOURCES = tests/fuzz/fuzz_journal.c tests/fuzz/replay_main.c
tests_fuzz_fuzz_journal_LDADD = libkystorage.la libkymo.la

check_PROGRAMS += tests/fuzz/fuzz_keras tests/fuzz/fuzz_h5 tests/fuzz/fuzz_json
tests_fuzz_fuzz_keras_SOURCES = tests/fuzz/fuzz_keras.c tests/fuzz/replay_main.c
tests_fuzz_fuzz_keras_LDADD = libkymo.la
tests_fuzz_fuzz_h5_SOURCES = tests/fuzz/fuzz_h5.c tests/fuzz/replay_main.c
tests_fuzz_fuzz_h5_LDADD = libkymo.la
tests_fuzz_fuzz_json_SOURCES = tests/fuzz/fuzz_json.c tests/fuzz/replay_main.c
tests_fuzz_fuzz_json_LDADD = libkymo.la

check_PROGRAMS += tests/fuzz/fuzz_config
tests_fuzz_fuzz_config_SOURCES = tests/fuzz/fuzz_config.c tests/fuzz/replay_main.c
tests_fuzz_fuzz_config_LDADD = libkymo.la

check_PROGRAMS += tests/fuzz/fuzz_sample tests/fuzz/fuzz_msgpack tests/fuzz/fuzz_f32
tests_fuzz_fuzz_sample_SOURCES = tests/fuzz/fuzz_sample.c tests/fuzz/samples.h tests/fuzz/replay_main.c
tests_fuzz_fuzz_sample_LDADD = libkyconnectors.la libkymo.la
tests_fuzz_fuzz_msgpack_SOURCES = tests/fuzz/fuzz_msgpack.c tests/fuzz/samples.h tests/fuzz/replay_main.c
tests_fuzz_fuzz_msgpack_LDADD = libkyconnectors.la libkymo.la
tests_fuzz_fuzz_f32_SOURCES = tests/fuzz/fuzz_f32.c tests/fuzz/samples.h tests/fuzz/replay_main.c
tests_fuzz_fuzz_f32_LDADD = libkyconnectors.la libkymo.la

check_PROGRAMS += tests/fuzz/fuzz_zip
tests_fuzz_fuzz_zip_SOURCES = tests/fuzz/fuzz_zip.c tests/fuzz/replay_main.c
tests_fuzz_fuzz_zip_CFLAGS = $(AM_CFLAGS) $(ZLIB_CFLAGS)
tests_fuzz_fuzz_zip_LDADD = libkymo.la $(ZLIB_LIBS)

check_PROGRAMS += tests/fuzz/fuzz_import
tests_fuzz_fuzz_import_SOURCES = tests/fuzz/fuzz_import.c tests/fuzz/replay_main.c
tests_fuzz_fuzz_import_LDADD = libkyimport.la libkyconnectors.la libkymo.la
