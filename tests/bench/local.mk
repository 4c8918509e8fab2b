# What `make bench` builds and runs; each prints its figures beside the limit and the peers.
EXTRA_PROGRAMS += $(BENCHES)
CLEANFILES += $(BENCHES)

BENCHES += tests/bench/bench_kernels
tests_bench_bench_kernels_SOURCES = \
	tests/bench/bench_kernels.c \
	tests/bench/measure.c tests/bench/measure.h \
	tests/bench/onednn.h
tests_bench_bench_kernels_LDADD = libkymo.la -lm
if WITH_DNNL
tests_bench_bench_kernels_SOURCES += tests/bench/onednn.c
tests_bench_bench_kernels_LDADD += -ldnnl
else
tests_bench_bench_kernels_SOURCES += tests/bench/onednn_none.c
endif

BENCHES += tests/bench/bench_windows
tests_bench_bench_windows_SOURCES = tests/bench/bench_windows.c \
	tests/bench/measure.c tests/bench/measure.h
tests_bench_bench_windows_LDADD = libkymo.la -lm

BENCHES += tests/bench/bench_codec
tests_bench_bench_codec_SOURCES = tests/bench/bench_codec.c tests/bench/msgpackc.h
tests_bench_bench_codec_CFLAGS = $(AM_CFLAGS) $(MSGPACKC_CFLAGS)
tests_bench_bench_codec_LDADD = libkyconnectors.la libkymo.la $(MSGPACKC_LIBS) -lm
if WITH_MSGPACKC
tests_bench_bench_codec_SOURCES += tests/bench/msgpackc.c
else
tests_bench_bench_codec_SOURCES += tests/bench/msgpackc_none.c
endif

BENCHES += tests/bench/bench_engine
tests_bench_bench_engine_SOURCES = tests/bench/bench_engine.c \
	tests/bench/measure.c tests/bench/measure.h tests/bench/service.c tests/bench/service.h
tests_bench_bench_engine_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=ky_source_open \
	-Wl,--wrap=ky_zsock_send
tests_bench_bench_engine_LDADD = libkydaemon.la libkymo.la

BENCHES += tests/bench/bench_end_to_end
tests_bench_bench_end_to_end_SOURCES = tests/bench/bench_end_to_end.c \
	tests/bench/load.c tests/bench/load.h tests/bench/service.c tests/bench/service.h
tests_bench_bench_end_to_end_LDADD = libkyconnectors.la libkymo.la

BENCHES += tests/bench/bench_faults
tests_bench_bench_faults_SOURCES = tests/bench/bench_faults.c \
	tests/bench/load.c tests/bench/load.h tests/bench/service.c tests/bench/service.h
tests_bench_bench_faults_CFLAGS = $(AM_CFLAGS) $(SQLITE_CFLAGS)
tests_bench_bench_faults_LDADD = libkyconnectors.la libkymo.la $(SQLITE_LIBS)

BENCHES += tests/bench/bench_storage
tests_bench_bench_storage_SOURCES = tests/bench/bench_storage.c tests/bench/measure.c tests/bench/measure.h
tests_bench_bench_storage_CFLAGS = $(AM_CFLAGS) $(SQLITE_CFLAGS)
tests_bench_bench_storage_LDADD = libkystorage.la libkymo.la $(SQLITE_LIBS) -lm

BENCHES += tests/bench/bench_scale
tests_bench_bench_scale_SOURCES = tests/bench/bench_scale.c \
	tests/bench/service.c tests/bench/service.h
tests_bench_bench_scale_LDADD = libkyconnectors.la libkymo.la

# Peers from the Python registry: make bench KYMO_PEERS=1.
EXTRA_DIST += tests/bench/peers/run.sh tests/bench/peers/peers.py tests/bench/peers/service.py \
	tests/bench/peers/training.py
