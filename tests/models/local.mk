# Tests of models/.
if WITH_TESTS
check_PROGRAMS += tests/models/test_kernels
tests_models_test_kernels_SOURCES = tests/models/test_kernels.c
tests_models_test_kernels_CFLAGS = $(KY_TEST_CFLAGS)
tests_models_test_kernels_LDADD = libkymo.la $(CMOCKA_LIBS) -lm
endif
