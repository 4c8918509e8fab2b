lib_LTLIBRARIES += libkymo.la

# Every source of the library. It is built twice: as libkymo in float, and as
# libkymo_double, which only tests link, to check gradients in double precision.
kymo_sources = \
	models/activation.c \
	models/arch.c \
	models/axes.c models/axes.h \
	models/batchnorm.c \
	models/bidirectional.c \
	models/blueprint.h \
	models/clock.c models/clock.h \
	models/conv.c \
	models/conv_lstm2d.c \
	models/crc32c.c \
	models/dense.c \
	models/dot.c \
	models/depthwise.c \
	models/dropout.c \
	models/embedding.c \
	models/error.c models/error.h \
	models/flatten.c \
	models/global_pooling.c \
	models/gradient.c models/gradient.h \
	models/gru.c \
	models/h5.c models/h5.h models/h5_file.h models/h5_read.c \
	models/h5meta.c models/h5meta.h models/h5raw.c models/h5raw.h \
	models/h5value.c models/h5value.h \
	models/json.c models/json.h \
	models/keras.h models/keras_arrays.c models/keras_arrays.h \
	models/keras_config.c models/keras_graph.c models/keras_input.c \
	models/keras_order.c models/keras_order.h models/keras_out.h \
	models/keras_parts.c models/keras_parts.h models/keras_places.c \
	models/keras_read.c models/keras_save.c models/keras_tree.c \
	models/keras_write.c \
	models/kernels.c models/kernels.h models/kernels_gru.h models/kernels_impl.h models/kernels_math.h \
	models/kernels_plain.c \
	models/layer.c models/layer.h models/layer_tools.h \
	models/layernorm.c \
	models/local.c models/local.h \
	models/loss.c models/loss.h \
	models/lstm.c \
	models/masking.c \
	models/merge.c \
	models/model.c models/model.h \
	models/nearest.c models/nearest.h \
	models/normalize.c \
	models/noise.c \
	models/normalization.c \
	models/place.c models/place.h \
	models/plan.c models/plan.h models/plan_inside.h \
	models/plan_stream.c models/plan_test.c models/plan_tick.c \
	models/plan_window.c \
	models/padding.c \
	models/pool.c models/pool.h \
	models/pooling.c \
	models/recurrent.c models/recurrent.h \
	models/rectifier.c \
	models/rescaling.c \
	models/reshape.c \
	models/ring.c models/ring.h \
	models/rng.c models/rng.h \
	models/run.c \
	models/sample.h \
	models/unit_normalization.c \
	models/utf8.c models/utf8.h \
	models/simple_rnn.c \
	models/upsampling.c \
	models/vocabulary.c models/vocabulary.h \
	models/zip.c models/zip.h
kymo_cflags = $(AM_CFLAGS) $(KY_VECTOR_CFLAGS) $(HDF5_CFLAGS) $(JANSSON_CFLAGS) $(ZLIB_CFLAGS) $(ZIP_CFLAGS)
kymo_libs = $(HDF5_LIBS) $(JANSSON_LIBS) $(ZLIB_LIBS) $(ZIP_LIBS)

# Training and scoring, but for losses and their gradients, are float only.
libkymo_la_SOURCES = $(kymo_sources) \
	models/augment.c models/augment.h \
	models/checkpoint.c models/checkpoint.h \
	models/dataset.c models/dataset.h \
	models/evaluate.c models/evaluate.h \
	models/health.c models/health.h \
	models/loader.c models/loader.h \
	models/metrics.c models/metrics.h \
	models/moments.c models/moments.h \
	models/optim.c models/optim.h \
	models/schedule.c models/schedule.h \
	models/shuffle.c models/shuffle.h \
	models/split.c models/split.h \
	models/train.c models/train.h
libkymo_la_CPPFLAGS = $(AM_CPPFLAGS)
libkymo_la_CFLAGS = $(kymo_cflags)
libkymo_la_LIBADD = $(kymo_libs)
libkymo_la_LDFLAGS = $(AM_LDFLAGS) -version-info 0:0:0 -export-symbols-regex '^ky_'

if KY_X86
# The fast kernels: one source each for an instruction set, chosen at run time.
noinst_LTLIBRARIES += libkernels_avx2.la libkernels_avx512.la
libkernels_avx2_la_SOURCES = models/kernels_avx2.c models/kernels_simd.h
libkernels_avx2_la_CFLAGS = $(AM_CFLAGS) -mavx2 -mfma
libkernels_avx512_la_SOURCES = models/kernels_avx512.c models/kernels_simd.h
libkernels_avx512_la_CFLAGS = $(AM_CFLAGS) -mavx2 -mfma -mavx512f
libkymo_la_CPPFLAGS += -DKY_FAST_KERNELS
libkymo_la_LIBADD += libkernels_avx2.la libkernels_avx512.la
endif

if KY_ARM64
noinst_LTLIBRARIES += libkernels_neon.la
libkernels_neon_la_SOURCES = models/kernels_neon.c models/kernels_simd.h
libkernels_neon_la_CFLAGS = $(AM_CFLAGS)
libkymo_la_CPPFLAGS += -DKY_FAST_KERNELS
libkymo_la_LIBADD += libkernels_neon.la
endif

check_LTLIBRARIES += libkymo_double.la
libkymo_double_la_SOURCES = $(kymo_sources)
libkymo_double_la_CPPFLAGS = $(AM_CPPFLAGS) -DKY_REAL=double
libkymo_double_la_CFLAGS = $(kymo_cflags)
libkymo_double_la_LIBADD = $(kymo_libs)
