# Tests of connectors/.
if WITH_TESTS
check_PROGRAMS += tests/connectors/test_codec_f32 tests/connectors/test_codec_json \
	tests/connectors/test_codec_msgpack tests/connectors/test_decimal tests/connectors/test_zmq
tests_connectors_test_decimal_SOURCES = tests/connectors/test_decimal.c
tests_connectors_test_decimal_CFLAGS = $(KY_TEST_CFLAGS)
tests_connectors_test_decimal_LDADD = libkyconnectors.la libkymo.la $(CMOCKA_LIBS) -lm
tests_connectors_test_codec_f32_SOURCES = tests/connectors/test_codec_f32.c
tests_connectors_test_codec_f32_CFLAGS = $(KY_TEST_CFLAGS)
tests_connectors_test_codec_f32_LDADD = libkyconnectors.la libkymo.la $(CMOCKA_LIBS)
tests_connectors_test_codec_msgpack_SOURCES = tests/connectors/test_codec_msgpack.c \
	tests/connectors/codec.h
tests_connectors_test_codec_msgpack_CFLAGS = $(KY_TEST_CFLAGS)
tests_connectors_test_codec_msgpack_LDADD = libkyconnectors.la libkymo.la $(CMOCKA_LIBS)
tests_connectors_test_codec_json_SOURCES = tests/connectors/test_codec_json.c \
	tests/connectors/codec.h
tests_connectors_test_codec_json_CFLAGS = $(KY_TEST_CFLAGS)
tests_connectors_test_codec_json_LDADD = libkyconnectors.la libkymo.la $(CMOCKA_LIBS)
tests_connectors_test_zmq_SOURCES = tests/connectors/test_zmq.c
tests_connectors_test_zmq_CFLAGS = $(KY_TEST_CFLAGS)
tests_connectors_test_zmq_LDADD = libkyconnectors.la libkymo.la $(CMOCKA_LIBS)

if WITH_RDKAFKA
check_PROGRAMS += tests/connectors/test_kafka
tests_connectors_test_kafka_SOURCES = tests/connectors/test_kafka.c $(ky_tsan_threads)
tests_connectors_test_kafka_CFLAGS = $(KY_TEST_CFLAGS)
tests_connectors_test_kafka_LDADD = libkyconnectors.la libkymo.la $(CMOCKA_LIBS)
EXTRA_tests_connectors_test_kafka_DEPENDENCIES = tests/kafka/mock_broker tests/kafka/produce
endif
endif
