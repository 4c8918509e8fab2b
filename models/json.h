/*
 * JSON off the hot path: model configurations, control messages, reports. The only
 * file that knows jansson. Values are borrowed from their root; getters on NULL or on
 * a value of another type give the default, so chains need no checks.
 */
#ifndef KY_JSON_H
#define KY_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "models/error.h"

typedef struct json_t ky_json;

/** Parse len bytes: depth at most 256. NaN and Infinity, which Python writes, become null
 *  when `lenient`. KY_EFORMAT with line and column. */
int ky_json_parse(const char *text, size_t len, bool lenient, ky_json **ret, ky_err *err);
void ky_json_free(ky_json *root);

bool ky_json_is_null(const ky_json *v); /* also for NULL */
bool ky_json_is_object(const ky_json *v);
bool ky_json_is_array(const ky_json *v);
bool ky_json_is_string(const ky_json *v);
bool ky_json_is_number(const ky_json *v);
bool ky_json_is_bool(const ky_json *v);
ky_json *ky_json_get(const ky_json *object, const char *key); /* NULL if absent */
ky_json *ky_json_at(const ky_json *array, size_t i);
size_t ky_json_len(const ky_json *array);
const char *ky_json_str(const ky_json *v, const char *otherwise);
double ky_json_num(const ky_json *v, double otherwise);
int64_t ky_json_int(const ky_json *v, int64_t otherwise);
bool ky_json_bool(const ky_json *v, bool otherwise);
/** Keys of an object in file order: start with NULL, ends with NULL. */
const char *ky_json_next_key(const ky_json *object, const char *key);

/* Building. Set and append take the value over; all accept NULL values (nothing happens). */
ky_json *ky_json_object(void);
ky_json *ky_json_array(void);
ky_json *ky_json_of_str(const char *s);
ky_json *ky_json_of_num(double v);
ky_json *ky_json_of_int(int64_t v);
ky_json *ky_json_of_bool(bool v);
ky_json *ky_json_of_null(void);
ky_json *ky_json_copy(const ky_json *v); /* deep */
void ky_json_set(ky_json *object, const char *key, ky_json *v);
void ky_json_append(ky_json *array, ky_json *v);

/** A key that `names` has not, and then has: the one wanted, or that with _1, _2 ... behind, cut to
 *  fit. Quick however many there are. */
void ky_json_unused(ky_json *names, const char *wanted, char *ret, size_t size);

/** Text on the heap (free()), keys in insertion order; indent 0: one line. NULL: no memory. */
char *ky_json_text(const ky_json *v, int indent);

#endif
