/*
 * Sources: bytes in. A source moves messages from one transport to kymo and knows
 * nothing of what they mean (codec.h does) nor of what is done with them. Adding a
 * transport is adding a file and a row in source.c.
 *
 * open, recv, ack and close are called by the one thread that owns the source; wake by any.
 */
#ifndef KY_SOURCE_H
#define KY_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "models/error.h"

typedef struct ky_source_ops ky_source_ops;

typedef struct ky_source {
    const ky_source_ops *ops;
} ky_source;

/* How a source can say where it stands (DESIGN 6). */
enum ky_delivery {
    KY_AT_MOST_ONCE, /* pull, sub: no position */
    KY_ACKNOWLEDGED, /* router: {sender, session, number} */
    KY_OFFSETS,      /* kafka: {topic/partition, offset} */
};

typedef struct ky_kv {
    const char *key, *value;
} ky_kv;

typedef struct ky_source_opts {
    const char *name;     /* of the [source:...] section */
    const char *type;     /* zmq | kafka */
    const char *endpoint; /* zmq */
    const char *socket;   /* zmq: pull | sub | router */
    bool bind;
    const char *subscribe;                            /* zmq sub: topic prefix, "" all */
    int hwm;                                          /* messages */
    int64_t max_message;                              /* bytes */
    const char *brokers, *topic, *partitions, *group; /* kafka; partitions "all" or "0-3,5" */
    const char *uuid;     /* of results.db: metadata of the group's offsets */
    const ky_kv *rdkafka; /* [n_rdkafka] librdkafka properties as written */
    int n_rdkafka;
    /** Kafka: the last offset of "topic/partition" already taken, -1 for none. */
    int64_t (*resume)(const char *key, void *arg);
    void *resume_arg;
} ky_source_opts;

/* One message, borrowed until the next recv or close. */
typedef struct ky_message {
    const char *key; /* what the transport calls the stream: first frame, Kafka key; NULL without */
    size_t key_len;
    const void *data;
    size_t len;
    bool tombstone; /* Kafka: key with a null value */
    int64_t arrived_us;
    int64_t ts_us; /* the transport's own time (Kafka), else KY_NONE */
    /* position */
    const char *sender; /* acknowledged: sender id; kafka: "topic/partition"; else "" */
    size_t sender_len;
    uint8_t session[16];
    uint64_t number; /* acknowledged: message number; kafka: offset; else a running count from 1.
                        Acknowledged and 0: a refused message that did not even tell its number */
    int32_t partition;
    uint64_t cookie; /* given back with the acknowledgement: whom to answer */
} ky_message;

/* What an acknowledged source tells a sender. */
typedef struct ky_ack {
    uint64_t cookie;
    uint8_t session[16];
    uint64_t number;    /* all up to here are on disk; 0 with a reason: start a new session */
    const char *reason; /* NULL, or why this number was refused */
} ky_ack;

/** Open and bind or connect. KY_EINVAL: options; KY_EBUSY: the endpoint is taken. */
int ky_source_open(const ky_source_opts *o, ky_source **ret, ky_err *err);

/** One message; KY_EAGAIN after timeout_ms (-1: none) or a wake; KY_EREJECT: a message whose
 * framing is wrong (ret filled as far as known, err says why); anything else ends the source. */
int ky_source_recv(ky_source *s, ky_message *ret, int timeout_ms, ky_err *err);

/** Answer a sender (acknowledged) or report the group's offset (Kafka); best effort. */
void ky_source_ack(ky_source *s, const ky_ack *a);

/** Make a waiting recv return soon. Any thread. */
void ky_source_wake(ky_source *s);

/** What keeps it from working now ("all brokers are down"), NULL when all is well. The owner. */
const char *ky_source_trouble(const ky_source *s);

enum ky_delivery ky_source_delivery(const ky_source *s);
/** The address others can reach it at ("tcp://127.0.0.1:40123" for port *). */
const char *ky_source_address(const ky_source *s);
void ky_source_close(ky_source *s);

/** What a type and socket would deliver, before it is opened (configuration checks). */
enum ky_delivery ky_source_delivery_of(const char *type, const char *socket);

/** Checks librdkafka properties without connecting: KY_EINVAL with the library's words. */
int ky_kafka_check(const ky_kv *kv, int n, ky_err *err);

/* What a transport is made of; its own struct begins with a ky_source. */
struct ky_source_ops {
    const char *type;
    int (*open)(const ky_source_opts *o, ky_source **ret, ky_err *err);
    int (*recv)(ky_source *s, ky_message *ret, int timeout_ms, ky_err *err);
    void (*ack)(ky_source *s, const ky_ack *a);
    void (*wake)(ky_source *s);
    const char *(*trouble)(const ky_source *s);
    enum ky_delivery (*delivery)(const ky_source *s);
    const char *(*address)(const ky_source *s);
    void (*close)(ky_source *s);
};

extern const ky_source_ops ky_source_zmq;
extern const ky_source_ops ky_source_kafka;

#endif
