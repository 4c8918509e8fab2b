/*
 * Rows of a unit from what the stages have at hand: records, streams, answers. Whoever fills
 * the unit.
 */
#ifndef KY_ROWS_H
#define KY_ROWS_H

#include "daemon/publish.h"
#include "daemon/stream.h"
#include "storage/record.h"
#include "storage/results.h"

ky_span ky_rows_text(ky_unit *u, const char *s);

/** A stream seen for the first time.
 *  @param r  a record of it, which names it */
void ky_rows_stream(ky_unit *u, const ky_stream *s, const ky_record *r);
/** A stream's rows, one for each of its models; it has their states. */
void ky_rows_states(ky_unit *u, ky_stream *s, int64_t now_us);
/** The same, as it was before the first record of a journal file. */
void ky_rows_states0(ky_unit *u, ky_stream *s, uint64_t file_first);
/** The record comes after a gap; `what` was done about it. */
void ky_rows_gap(ky_unit *u, const ky_stream *s, const ky_record *r, const char *what);
/** What was between the stream's last sample and now; `what` was made of it. */
void ky_rows_break(ky_unit *u, const ky_stream *s, const ky_record *r, const char *what);
/** The record's label, for step n (KY_NONE: to be found). */
void ky_rows_label(ky_unit *u, const ky_record *r, int64_t n);
/** @param y  [outputs] */
void ky_rows_prediction(ky_unit *u, const ky_said *a, const ky_record *r, int64_t now_us,
                        const float *y);
void ky_rows_reject(ky_unit *u, const ky_record *r, const char *source);
/** @param session  NULL: none */
void ky_rows_source(ky_unit *u, const char *source, const char *key, size_t key_len,
                    const uint8_t *session, int64_t number);
/** Its row goes. */
void ky_rows_source_gone(ky_unit *u, const char *source, const char *key, size_t key_len);

#endif
