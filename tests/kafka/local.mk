# Kafka without a broker: the mock cluster and a producer, each a process of its own.
if WITH_RDKAFKA
EXTRA_PROGRAMS += tests/kafka/mock_broker tests/kafka/produce
CLEANFILES += tests/kafka/mock_broker tests/kafka/produce
tests_kafka_mock_broker_SOURCES = tests/kafka/mock_broker.c $(ky_tsan_threads)
tests_kafka_mock_broker_CFLAGS = $(AM_CFLAGS) $(RDKAFKA_CFLAGS)
tests_kafka_mock_broker_LDADD = $(RDKAFKA_LIBS)
tests_kafka_produce_SOURCES = tests/kafka/produce.c $(ky_tsan_threads)
tests_kafka_produce_CFLAGS = $(AM_CFLAGS) $(RDKAFKA_CFLAGS)
tests_kafka_produce_LDADD = $(RDKAFKA_LIBS)
endif
