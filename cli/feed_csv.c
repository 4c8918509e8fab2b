/* CSV with a header: stream, ts, seq and label by name, all else (or --values) numbers. */
#include "cli/feed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/csv.h"
#include "connectors/codec.h"

typedef struct csv {
    ky_reader reader;
    ky_csv table;
    int stream, ts, seq, label; /* columns, -1: none */
    int *value;                 /* [features] columns */
    int time_shift;
    const char *fixed_label;
    char fixed_stream[KY_STREAM_MAX + 1];
    float *x;
} csv;

static int csv_next(ky_reader *r, ky_row *ret, ky_err *err)
{
    csv *c = (csv *)r;
    ky_csv *t = &c->table;
    int rc = ky_csv_next(t, err);

    if (rc <= 0)
        return rc;
    *ret = (ky_row){ .stream = c->fixed_stream,
                     .seq = KY_NONE,
                     .ts_us = KY_NONE,
                     .x = c->x,
                     .label = c->fixed_label };
    if (c->stream >= 0)
        ret->stream = t->cell[c->stream];
    if (c->label >= 0 && ret->label == NULL && t->cell[c->label][0] != '\0')
        ret->label = t->cell[c->label];
    if (c->seq >= 0 && t->cell[c->seq][0] != '\0' &&
        (rc = ky_csv_integer(t, c->seq, &ret->seq, err)) < 0)
        return rc;
    if (c->ts >= 0 && (rc = ky_csv_time(t, c->ts, c->time_shift, &ret->ts_us, err)) < 0)
        return rc;
    for (int i = 0; i < r->features; i++)
        if ((rc = ky_csv_value(t, c->value[i], &c->x[i], err)) < 0)
            return rc;
    return 1;
}

static void csv_free(ky_reader *r)
{
    csv *c = (csv *)r;

    ky_csv_close(&c->table);
    free(c->value);
    free(c->x);
    free(r->names);
    free(c);
}

/* -- the header ---------------------------------------------------------------------- */

static int choose_values(csv *c, const char *list, ky_err *err)
{
    const ky_csv *t = &c->table;
    int n = 0, wanted = 0;
    char **words = NULL;

    c->value = calloc((size_t)t->columns, sizeof(int));
    c->reader.names = calloc((size_t)t->columns, sizeof(char *));
    c->x = calloc((size_t)t->columns, sizeof(float));
    if (list != NULL)
        words = ky_csv_words(list, &wanted);
    if (c->value == NULL || c->reader.names == NULL || c->x == NULL ||
        (list != NULL && words == NULL)) {
        free(words);
        return ky_fail(err, KY_ENOMEM, "no memory for %d columns", t->columns);
    }
    int rc = KY_OK;
    for (int i = 0; i < wanted && rc == KY_OK; i++) {
        int column = ky_csv_find(t, words[i]);
        if (column < 0 || n == t->columns)
            rc = ky_fail(err, KY_EINVAL, "%s has no column '%s' (for a value)", t->path, words[i]);
        else
            c->value[n++] = column;
    }
    for (int i = 0; words == NULL && i < t->columns; i++)
        if (i != c->stream && i != c->ts && i != c->seq && i != c->label)
            c->value[n++] = i;
    free(words);
    for (int i = 0; i < n; i++)
        c->reader.names[i] = t->name[c->value[i]];
    c->reader.features = n;
    if (rc == KY_OK && n == 0)
        rc = ky_fail(err, KY_EINVAL, "%s has no column of values", t->path);
    return rc;
}

static int choose_columns(csv *c, const ky_feed_opts *o, ky_err *err)
{
    static const char *const streams[] = { "stream", "stream_id", NULL },
                             *const times[] = { "ts", "time", "timestamp", NULL },
                             *const labels[] = { "label", "class", NULL },
                             *const seqs[] = { "seq", NULL };
    const ky_csv *t = &c->table;
    int rc = KY_OK;

    if ((rc = ky_csv_role(t, o->stream_column, streams, &c->stream, err)) != KY_OK ||
        (rc = ky_csv_role(t, o->time_column, times, &c->ts, err)) != KY_OK ||
        (rc = ky_csv_role(t, NULL, seqs, &c->seq, err)) != KY_OK ||
        (rc = ky_csv_role(t, o->label_column, labels, &c->label, err)) != KY_OK)
        return rc;
    return choose_values(c, o->values, err);
}

/* The file's name without folder and extension. */
static void name_stream(csv *c, const ky_feed_opts *o)
{
    const char *slash = strrchr(o->source, '/'), *base = slash != NULL ? slash + 1 : o->source;

    if (o->stream != NULL)
        base = o->stream;
    else if (strcmp(base, "-") == 0)
        base = "stdin";
    const char *dot = o->stream == NULL ? strrchr(base, '.') : NULL;
    snprintf(c->fixed_stream, sizeof(c->fixed_stream), "%.*s",
             (int)(dot != NULL && dot > base ? dot - base : (ptrdiff_t)strlen(base)), base);
}

int ky_feed_csv(const ky_feed_opts *o, ky_reader **ret, ky_err *err)
{
    csv *c = calloc(1, sizeof(*c));
    int rc;

    if (c == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory for a reader");
    c->reader = (ky_reader){ .next = csv_next, .free = csv_free, .streams = 1 };
    c->fixed_label = o->label;
    name_stream(c, o);
    if ((rc = ky_csv_time_shift(o->time_unit, &c->time_shift, err)) == KY_OK &&
        (rc = ky_csv_open(o->source, false, &c->table, err)) == KY_OK)
        rc = choose_columns(c, o, err);
    if (rc != KY_OK) {
        csv_free(&c->reader);
        return rc;
    }
    *ret = &c->reader;
    return KY_OK;
}
