#include "tests/bench/msgpackc.h"

#include <math.h>
#include <msgpack.h>
#include <string.h>

const char *ky_msgpackc_version(void)
{
    return msgpack_version();
}

static double first_value(const msgpack_object *o)
{
    for (uint32_t i = 0; o->type == MSGPACK_OBJECT_MAP && i < o->via.map.size; i++) {
        const msgpack_object *key = &o->via.map.ptr[i].key, *x = &o->via.map.ptr[i].val;

        if (key->type == MSGPACK_OBJECT_STR && key->via.str.size == 1 &&
            key->via.str.ptr[0] == 'x' && x->type == MSGPACK_OBJECT_ARRAY && x->via.array.size > 0)
            return x->via.array.ptr[0].via.f64;
    }
    return NAN;
}

double ky_msgpackc_unpack(const char *data, size_t len)
{
    static msgpack_zone *zone;
    msgpack_object o;
    size_t off = 0;

    if (zone == NULL && (zone = msgpack_zone_new(MSGPACK_ZONE_CHUNK_SIZE)) == NULL)
        return NAN;
    double x =
        msgpack_unpack(data, len, &off, zone, &o) == MSGPACK_UNPACK_SUCCESS ? first_value(&o) : NAN;
    msgpack_zone_clear(zone);
    return x;
}
