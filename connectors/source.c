#include "connectors/source.h"

#include <string.h>

#ifdef KY_WITH_RDKAFKA
#define KAFKA &ky_source_kafka
#else
#define KAFKA NULL
#endif

/* One row a transport; one that this build leaves out says so by having no functions. */
static const struct {
    const char *type;
    const ky_source_ops *ops;
} types[] = {
    { "zmq", &ky_source_zmq },
    { "kafka", KAFKA },
};

enum { TYPES = sizeof(types) / sizeof(*types) };

int ky_source_open(const ky_source_opts *o, ky_source **ret, ky_err *err)
{
    for (int i = 0; i < TYPES; i++) {
        if (o->type == NULL || strcmp(types[i].type, o->type) != 0)
            continue;
        if (types[i].ops == NULL)
            return ky_fail(err, KY_EUNSUPPORTED, "source '%s': this kymo was built without %s",
                           o->name, o->type);
        int rc = types[i].ops->open(o, ret, err);
        return rc == KY_OK ? rc : ky_context(err, rc, "source '%s'", o->name);
    }
    return ky_fail(err, KY_EINVAL, "source '%s': type '%s', must be zmq or kafka", o->name,
                   o->type != NULL ? o->type : "");
}

int ky_source_recv(ky_source *s, ky_message *ret, int timeout_ms, ky_err *err)
{
    return s->ops->recv(s, ret, timeout_ms, err);
}

void ky_source_ack(ky_source *s, const ky_ack *a)
{
    s->ops->ack(s, a);
}

void ky_source_wake(ky_source *s)
{
    s->ops->wake(s);
}

const char *ky_source_trouble(const ky_source *s)
{
    return s->ops->trouble(s);
}

enum ky_delivery ky_source_delivery(const ky_source *s)
{
    return s->ops->delivery(s);
}

const char *ky_source_address(const ky_source *s)
{
    return s->ops->address(s);
}

void ky_source_close(ky_source *s)
{
    if (s != NULL)
        s->ops->close(s);
}

enum ky_delivery ky_source_delivery_of(const char *type, const char *socket)
{
    if (strcmp(type, "kafka") == 0)
        return KY_OFFSETS;
    return socket != NULL && strcmp(socket, "router") == 0 ? KY_ACKNOWLEDGED : KY_AT_MOST_ONCE;
}

#ifndef KY_WITH_RDKAFKA
int ky_kafka_check(const ky_kv *kv, int n, ky_err *err)
{
    (void)kv;
    if (n == 0)
        return KY_OK;
    return ky_fail(err, KY_EUNSUPPORTED, "this kymo was built without kafka");
}
#endif
