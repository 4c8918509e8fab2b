#include "daemon/rows.h"

#include <string.h>

#include "daemon/health.h"
#include "daemon/works.h"

ky_span ky_rows_text(ky_unit *u, const char *s)
{
    return ky_unit_bytes(u, s, strlen(s));
}

void ky_rows_stream(ky_unit *u, const ky_stream *s, const ky_record *r)
{
    ky_row_stream row = { .id = s->id, .class_ = s->class_ };

    row.name = ky_unit_bytes(u, ky_record_stream(r), r->stream_len);
    *KY_ADD(&u->streams) = row;
}

/* Bytes behind what `span` has, which are the unit's last. */
static void append(ky_unit *u, ky_span *span, const void *p, size_t len)
{
    span->len += ky_unit_bytes(u, p, len).len;
}

/* What answers and records to come need besides the state. */
static ky_span extra_of(ky_unit *u, const ky_stream *s, const ky_strand *d, bool first)
{
    const ky_rare *rare = ky_strand_rare(d);
    const ky_said *last = rare->last != NULL && rare->last->n > 0 && !s->ended ? rare->last : NULL;
    ky_extra is = { .label = d->label,
                    .cut = d->cut,
                    .answered = last != NULL,
                    .unsaid = rare->unsaid,
                    .zero_n = d->zero_n };
    ky_span span = ky_unit_bytes(u, &is, sizeof(is));

    if (last != NULL) {
        const ky_extra_answer answer = { .n = last->n,
                                         .seq = last->seq,
                                         .ts_us = last->ts_us,
                                         .latency_us = last->latency_us,
                                         .version = last->v->version,
                                         .label = last->label,
                                         .score = last->score,
                                         .quality = last->quality,
                                         .outputs = (uint32_t)last->v->facts->outputs };

        append(u, &span, &answer, sizeof(answer));
        append(u, &span, last + 1, answer.outputs * sizeof(float));
    }
    if (first && ky_stream_aside(s)->held != NULL)
        append(u, &span, ky_stream_aside(s)->held,
               (size_t)d->works->v->facts->features * sizeof(float));
    return span;
}

static void put_state(ky_unit *u, const ky_stream *s, const ky_strand *d, bool first,
                      ky_row_state *ret)
{
    const ky_works *w = d->works;
    const ky_aside *a = ky_stream_aside(s);

    *ret = (ky_row_state){
        .stream = s->id,
        .model = (uint16_t)w->v->model,
        .version = w->v->version,
        .n = s->n,
        .start_n = s->start_n,
        .epoch = a->window.epoch,
        .pos = s->pos,
        .seq_high = a->window.high,
        .seq_mask = a->window.mask,
        .ts_us = s->ts_us,
        .ended = s->ended,
        .lags = s->lags,
        .sweep = first && s->leftover,
        .layout = ky_plan_layout(w->plan),
        .file_first = (int64_t)a->file_first,
    };

    ret->blob = ky_unit_bytes(u, d->state, w->state_bytes);
    ret->extra = extra_of(u, s, d, first);
}

/* What the bytes of states are, before the first of its works. */
static void describe(ky_unit *u, ky_works *w)
{
    const ky_plan_part *part;
    int n = ky_plan_parts(w->plan, &part);

    for (int i = 0; i < n; i++, part++) {
        ky_row_part row = { .model = (uint16_t)w->v->model,
                            .layout = ky_plan_layout(w->plan),
                            .part = i,
                            .at = part->at,
                            .bytes = part->bytes,
                            .h = part->h,
                            .bounded = part->bounded };

        row.layer = ky_rows_text(u, part->layer);
        row.what = ky_rows_text(u, part->what);
        *KY_ADD(&u->parts) = row;
    }
    w->described = true;
}

void ky_rows_states(ky_unit *u, ky_stream *s, int64_t now_us)
{
    for (int k = 0; k < s->n_models; k++) {
        const ky_strand *d = ky_stream_strand(s, k);
        ky_row_state *row = KY_ADD(&u->states);

        if (!d->works->described)
            describe(u, d->works);
        put_state(u, s, d, k == 0, row);
        ky_health_row(d, s->n, now_us, &row->health);
    }
    s->leftover = false;
}

void ky_rows_states0(ky_unit *u, ky_stream *s, uint64_t file_first)
{
    for (int k = 0; k < s->n_models; k++) {
        ky_row_state0 *row = KY_ADD(&u->states0);

        row->file_first = file_first;
        put_state(u, s, ky_stream_strand(s, k), k == 0, &row->row);
    }
}

void ky_rows_gap(ky_unit *u, const ky_stream *s, const ky_record *r, const char *what)
{
    ky_row_gap row = {
        .stream = s->id,
        .n = s->n + 1 + r->filled,
        .from_us = s->ts_us,
        .to_us = r->ts_us,
        .from_seq = ky_stream_aside(s)->window.high,
        .to_seq = r->seq,
    };

    row.what = ky_rows_text(u, what);
    *KY_ADD(&u->gaps) = row;
}

void ky_rows_break(ky_unit *u, const ky_stream *s, const ky_record *r, const char *what)
{
    ky_row_gap row = {
        .stream = s->id,
        .n = s->n + 1,
        .from_us = s->ts_us,
        .to_us = r->arrival_us,
        .from_seq = ky_stream_aside(s)->window.high,
        .to_seq = KY_NONE,
    };

    row.what = ky_rows_text(u, what);
    *KY_ADD(&u->gaps) = row;
}

void ky_rows_label(ky_unit *u, const ky_record *r, int64_t n)
{
    ky_row_label row = {
        .stream = r->stream,
        .n = n,
        .seq = r->seq,
        .ts_us = r->ts_us,
        .at_us = r->arrival_us,
        .late = r->type == KY_REC_LABEL,
    };

    row.label = ky_unit_bytes(u, ky_record_text(r), r->text_len);
    *KY_ADD(&u->labels) = row;
}

void ky_rows_prediction(ky_unit *u, const ky_said *a, const ky_record *r, int64_t now_us,
                        const float *y)
{
    const ky_model_info *f = a->v->facts;
    char number[12];
    ky_row_prediction row = {
        .stream = a->s->id,
        .model = (uint16_t)a->v->model,
        .version = a->v->version,
        .n = a->n,
        .seq = a->seq,
        .ts_us = a->ts_us,
        .answered_us = now_us,
        .latency_us = a->latency_us,
        .label = (int16_t)a->label,
        .quality = a->quality,
        .time_source = r->time_source,
        .score = a->score,
    };

    if (a->label >= 0)
        row.name = ky_rows_text(u, ky_served_label(f, a->label, number));
    row.y = ky_unit_bytes(u, y, (size_t)f->outputs * sizeof(float));
    *KY_ADD(&u->predictions) = row;
}

void ky_rows_reject(ky_unit *u, const ky_record *r, const char *source)
{
    ky_row_reject row = { .pos = r->pos, .at_us = r->arrival_us };

    row.source = ky_rows_text(u, source);
    row.stream = ky_unit_bytes(u, ky_record_stream(r), r->stream_len);
    row.reason = ky_unit_bytes(u, ky_record_text(r), r->text_len);
    row.body = ky_unit_bytes(u, ky_record_body(r), r->body_len);
    *KY_ADD(&u->rejects) = row;
}

void ky_rows_source(ky_unit *u, const char *source, const char *key, size_t key_len,
                    const uint8_t *session, int64_t number)
{
    ky_row_source row = { .number = number };

    row.source = ky_rows_text(u, source);
    row.key = ky_unit_bytes(u, key, key_len);
    if (session != NULL)
        memcpy(row.session, session, KY_SESSION);
    *KY_ADD(&u->sources) = row;
}

void ky_rows_source_gone(ky_unit *u, const char *source, const char *key, size_t key_len)
{
    ky_row_source row = { .gone = true };

    row.source = ky_rows_text(u, source);
    row.key = ky_unit_bytes(u, key, key_len);
    *KY_ADD(&u->sources) = row;
}
