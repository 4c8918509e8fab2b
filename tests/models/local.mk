# Tests of models/.
if WITH_TESTS
check_PROGRAMS += tests/models/test_kernels
tests_models_test_kernels_SOURCES = tests/models/test_kernels.c
tests_models_test_kernels_CFLAGS = $(KY_TEST_CFLAGS)
tests_models_test_kernels_LDADD = libkymo.la $(CMOCKA_LIBS) -lm

check_PROGRAMS += tests/models/test_json
tests_models_test_json_SOURCES = tests/models/test_json.c
tests_models_test_json_CFLAGS = $(KY_TEST_CFLAGS)
tests_models_test_json_LDADD = libkymo.la $(CMOCKA_LIBS)

check_PROGRAMS += tests/models/test_keras
tests_models_test_keras_SOURCES = tests/models/test_keras.c
tests_models_test_keras_CFLAGS = $(KY_TEST_CFLAGS)
tests_models_test_keras_LDADD = libkymo.la $(CMOCKA_LIBS) -lm

check_PROGRAMS += tests/models/test_graph
tests_models_test_graph_SOURCES = tests/models/test_graph.c
tests_models_test_graph_CFLAGS = $(KY_TEST_CFLAGS)
tests_models_test_graph_LDADD = libkymo.la $(CMOCKA_LIBS) -lm

check_PROGRAMS += tests/models/test_real_models
tests_models_test_real_models_SOURCES = tests/models/test_real_models.c
tests_models_test_real_models_CFLAGS = $(KY_TEST_CFLAGS)
tests_models_test_real_models_LDADD = libkymo.la $(CMOCKA_LIBS) -lm

check_PROGRAMS += tests/models/test_keras_files
tests_models_test_keras_files_SOURCES = tests/models/test_keras_files.c
tests_models_test_keras_files_CFLAGS = $(KY_TEST_CFLAGS)
tests_models_test_keras_files_LDADD = libkymo.la $(CMOCKA_LIBS) -lm

check_PROGRAMS += tests/models/test_hostile
tests_models_test_hostile_SOURCES = tests/models/test_hostile.c
tests_models_test_hostile_CFLAGS = $(KY_TEST_CFLAGS) $(HDF5_CFLAGS)
tests_models_test_hostile_LDADD = libkymo.la $(HDF5_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/models/test_h5
tests_models_test_h5_SOURCES = tests/models/test_h5.c
tests_models_test_h5_CFLAGS = $(KY_TEST_CFLAGS) $(HDF5_CFLAGS) $(ZLIB_CFLAGS)
tests_models_test_h5_LDADD = libkymo.la $(HDF5_LIBS) $(ZLIB_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/models/test_zip
tests_models_test_zip_SOURCES = tests/models/test_zip.c
tests_models_test_zip_CFLAGS = $(KY_TEST_CFLAGS) $(ZLIB_CFLAGS)
tests_models_test_zip_LDADD = libkymo.la $(ZLIB_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/models/test_gradients
tests_models_test_gradients_SOURCES = tests/models/test_gradients.c tests/models/net.h
tests_models_test_gradients_CPPFLAGS = $(AM_CPPFLAGS) -DKY_REAL=double
tests_models_test_gradients_CFLAGS = $(KY_TEST_CFLAGS)
tests_models_test_gradients_LDADD = libkymo_double.la $(CMOCKA_LIBS) -lm

check_PROGRAMS += tests/models/test_augment
tests_models_test_augment_SOURCES = tests/models/test_augment.c
tests_models_test_augment_CFLAGS = $(KY_TEST_CFLAGS)
tests_models_test_augment_LDADD = libkymo.la $(CMOCKA_LIBS) -lm

check_PROGRAMS += tests/models/test_dataset
tests_models_test_dataset_SOURCES = tests/models/test_dataset.c tests/models/source.h
tests_models_test_dataset_CFLAGS = $(KY_TEST_CFLAGS)
tests_models_test_dataset_LDADD = libkymo.la $(CMOCKA_LIBS)

check_PROGRAMS += tests/models/test_split
tests_models_test_split_SOURCES = tests/models/test_split.c
tests_models_test_split_CFLAGS = $(KY_TEST_CFLAGS)
tests_models_test_split_LDADD = libkymo.la $(CMOCKA_LIBS)

check_PROGRAMS += tests/models/test_train
tests_models_test_train_SOURCES = tests/models/test_train.c tests/models/source.h
tests_models_test_train_CFLAGS = $(KY_TEST_CFLAGS)
tests_models_test_train_LDADD = libkymo.la $(CMOCKA_LIBS) -lm

check_PROGRAMS += tests/models/test_evaluate
tests_models_test_evaluate_SOURCES = tests/models/test_evaluate.c
tests_models_test_evaluate_CFLAGS = $(KY_TEST_CFLAGS)
tests_models_test_evaluate_LDADD = libkymo.la $(CMOCKA_LIBS) -lm

check_PROGRAMS += tests/models/test_metrics
tests_models_test_metrics_SOURCES = tests/models/test_metrics.c
tests_models_test_metrics_CFLAGS = $(KY_TEST_CFLAGS)
tests_models_test_metrics_LDADD = libkymo.la $(CMOCKA_LIBS) -lm

check_PROGRAMS += tests/models/test_layers
tests_models_test_layers_SOURCES = tests/models/test_layers.c tests/models/net.h
tests_models_test_layers_CFLAGS = $(KY_TEST_CFLAGS)
tests_models_test_layers_LDADD = libkymo.la $(CMOCKA_LIBS) -lm

check_PROGRAMS += tests/models/test_recurrent
tests_models_test_recurrent_SOURCES = tests/models/test_recurrent.c \
	tests/models/recurrent_values.inc tests/models/net.h
tests_models_test_recurrent_CFLAGS = $(KY_TEST_CFLAGS)
tests_models_test_recurrent_LDADD = libkymo.la $(CMOCKA_LIBS) -lm

check_PROGRAMS += tests/models/test_conv2d
tests_models_test_conv2d_SOURCES = tests/models/test_conv2d.c \
	tests/models/local_values.inc tests/models/net.h
tests_models_test_conv2d_CFLAGS = $(KY_TEST_CFLAGS)
tests_models_test_conv2d_LDADD = libkymo.la $(CMOCKA_LIBS) -lm

check_PROGRAMS += tests/models/test_values
tests_models_test_values_SOURCES = tests/models/test_values.c tests/models/net.h \
	tests/models/layer_values.inc
tests_models_test_values_CFLAGS = $(KY_TEST_CFLAGS)
tests_models_test_values_LDADD = libkymo.la $(CMOCKA_LIBS) -lm

check_PROGRAMS += tests/models/test_health
tests_models_test_health_SOURCES = tests/models/test_health.c
tests_models_test_health_CFLAGS = $(KY_TEST_CFLAGS)
tests_models_test_health_LDADD = libkymo.la $(CMOCKA_LIBS) -lm

check_PROGRAMS += tests/models/test_plan
tests_models_test_plan_SOURCES = tests/models/test_plan.c tests/models/net.h
tests_models_test_plan_CFLAGS = $(KY_TEST_CFLAGS)
tests_models_test_plan_LDADD = libkymo.la $(CMOCKA_LIBS) -lm

check_PROGRAMS += tests/models/test_arch
tests_models_test_arch_SOURCES = tests/models/test_arch.c
tests_models_test_arch_CFLAGS = $(KY_TEST_CFLAGS)
tests_models_test_arch_LDADD = libkymo.la $(CMOCKA_LIBS)

check_PROGRAMS += tests/models/test_nearest
tests_models_test_nearest_SOURCES = tests/models/test_nearest.c
tests_models_test_nearest_CFLAGS = $(KY_TEST_CFLAGS)
tests_models_test_nearest_LDADD = libkymo.la $(CMOCKA_LIBS)
endif
EXTRA_DIST += tests/golden/make_recurrent.py tests/golden/make_keras.py tests/golden/k3_lstm_stack.h5 \
	tests/golden/k3_conv_valid.h5 tests/golden/k3_conv_same_causal.h5 \
	tests/golden/k3_functional.h5 tests/golden/k3_activations.h5 tests/golden/k3_flat_dense.h5
EXTRA_DIST += tests/models/neon.sh tests/models/kernel_digest.c tests/models/dir.h
