# tests/bench

BENCHES += tests/bench/bench_codec
EXTRA_PROGRAMS += tests/bench/bench_codec
tests_bench_bench_codec_SOURCES = tests/bench/bench_codec.c
tests_bench_bench_codec_LDADD = libkyconnectors.la libkymo.la
