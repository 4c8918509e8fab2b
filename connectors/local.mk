# The connectors library: sources, codecs, sockets.
noinst_LTLIBRARIES += libkyconnectors.la

libkyconnectors_la_SOURCES = \
	connectors/codec.c connectors/codec.h \
	connectors/codec_f32.c \
	connectors/codec_json.c \
	connectors/codec_msgpack.c \
	connectors/decimal.c connectors/decimal.h \
	connectors/fields.c connectors/fields.h \
	connectors/jsonscan.c connectors/jsonscan.h \
	connectors/scan.c connectors/scan.h \
	connectors/source.c connectors/source.h \
	connectors/timestamp.c connectors/timestamp.h \
	connectors/zmq.c connectors/zmq.h
libkyconnectors_la_CFLAGS = $(AM_CFLAGS) $(ZMQ_CFLAGS)
libkyconnectors_la_LIBADD = libkymo.la $(ZMQ_LIBS)
if WITH_RDKAFKA
libkyconnectors_la_SOURCES += connectors/kafka.c
libkyconnectors_la_CFLAGS += $(RDKAFKA_CFLAGS)
libkyconnectors_la_LIBADD += $(RDKAFKA_LIBS)
endif
