/*
 * Fields: what all formats have in common whose message is a map of named fields. Which
 * names there are and what they mean, that none comes twice, what stands for a value that is not
 * there, and what a whole sample must have. A codec reads keys and values as its format writes
 * them; the rest of making a sample of them is here. One ky_fields belongs to one codec.
 *
 * Functions return KY_OK, or KY_EREJECT with the reason in the scan's err.
 */
#ifndef KY_FIELDS_H
#define KY_FIELDS_H

#include <stdbool.h>
#include <string.h>

#include "connectors/codec.h"
#include "connectors/scan.h"

enum { KY_STRANGERS = 1024, KY_STRANGER_SLOTS = 2 * KY_STRANGERS };

enum ky_field_kind {
    KY_FIELD_STREAM,
    KY_FIELD_TIME,
    KY_FIELD_SEQ,
    KY_FIELD_X,
    KY_FIELD_LABEL,
    KY_FIELD_FLAG,
    KY_FIELD_VALUE, /* one of `values =` */
    KY_FIELD_KINDS
};

/* A key we know. */
typedef struct ky_field {
    const char *name;
    size_t len;
    enum ky_field_kind kind;
    uint32_t seen;       /* number of the message that last had it */
    int index;           /* of a named value */
    unsigned flag;       /* of start, end, reset */
    uint64_t head, mask; /* the first bytes of the key as the format writes it; see ky_field_head */
} ky_field;

typedef struct ky_fields {
    const char *format;
    int time_shift; /* power of ten from the time unit to microseconds */
    enum ky_missing missing;
    int max_values, n_values;
    float *x;         /* [max_values] */
    uint32_t message; /* number of the present one, for `seen` */
    ky_field *field;  /* [n] in the order in which messages usually have them */
    int n, next;      /* next: the field to expect */
    char *names;      /* copies of the fields' names */
    int strangers;
    struct { /* hashes of keys we do not know, by open addressing */
        uint64_t hash;
        uint32_t seen;
    } slot[KY_STRANGER_SLOTS];
} ky_fields;

/** KY_EINVAL: options that contradict each other; KY_ENOMEM. After a failure, too, done is due. */
int ky_fields_init(ky_fields *f, const char *format, const ky_codec_opts *o, ky_err *err);
void ky_fields_done(ky_fields *f);

/** A new message: an empty sample whose values will be in x. */
void ky_fields_begin(ky_fields *f, ky_sample *ret);

/**
 * The first bytes of a key as the format writes it, so that the expected one is recognised by a
 * single comparison. More than eight bytes (n > 8): that key always goes the long way.
 */
void ky_field_head(ky_field *f, const void *bytes, size_t n);

/** The field of that name, unless this message had it before; *ret NULL: none of ours. */
int ky_fields_find(ky_fields *f, ky_scan *s, const char *name, size_t len, ky_field **ret);

int ky_fields_twice(ky_scan *s, const ky_field *f) __attribute__((cold));

/** Notes that the message has this field; refuses it the second time. */
static inline int ky_fields_take(ky_fields *f, ky_scan *s, ky_field *field)
{
    if (field->seen == f->message)
        return ky_fields_twice(s, field);
    field->seen = f->message;
    f->next = (int)(field - f->field) + 1;
    return KY_OK;
}

/** The expected field if its head is at p, else NULL. */
static inline ky_field *ky_fields_expected(ky_fields *f, const uint8_t *p, const uint8_t *end)
{
    ky_field *field = &f->field[f->next < f->n ? f->next : 0];
    uint64_t w;

    if (end - p < 8)
        return NULL;
    memcpy(&w, p, 8);
    return (w & field->mask) == field->head ? field : NULL;
}

/** A time in microseconds; !fits: beyond 64 bits. `text`: as it was written, for the reason. */
int ky_fields_time(ky_scan *s, const ky_field *field, bool fits, int64_t us, const char *text,
                   size_t len, ky_sample *ret);
/** A time as RFC 3339 writes it. */
int ky_fields_written_time(ky_scan *s, const ky_field *field, const char *text, size_t len,
                           ky_sample *ret);

/**
 * What stands for a value that is not there.
 *
 * @param name  for the reason: "in 'x'"
 * @param is    "missing", "NaN"
 */
int ky_fields_missing(const ky_fields *f, ky_scan *s, const char *name, const char *is, float *x,
                      ky_sample *ret);

/** n values of 'x' are one step, all of it. */
int ky_fields_flat(ky_scan *s, int n, ky_sample *ret);
/** n values of 'x' are its next step. */
int ky_fields_row(ky_scan *s, int n, ky_sample *ret);

/** A named value was read into x. */
static inline void ky_fields_value(ky_sample *ret)
{
    ret->features++; /* counted up to n_values; see ky_fields_finish */
}

/** What a whole message must have. */
int ky_fields_finish(ky_fields *f, ky_scan *s, ky_sample *ret);

#endif
