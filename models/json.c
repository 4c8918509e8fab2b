#include "models/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

enum { MAX_DEPTH = 256 };

/* Where a scan over JSON text stands. */
struct place {
    int line, column;
};

/* One character further, inside or outside a string. */
static void advance(struct place *at, bool *in_string, bool *escaped, char c)
{
    at->column++;
    if (c == '\n') {
        at->line++;
        at->column = 1;
    }
    if (*escaped)
        *escaped = false;
    else if (*in_string && c == '\\')
        *escaped = true;
    else if (c == '"')
        *in_string = !*in_string;
}

/* jansson recurses once a level, and its own bound of 2048 is too deep for a small stack. */
static int check_depth(const char *text, size_t len, ky_err *err)
{
    struct place at = { 1, 1 };
    bool in_string = false, escaped = false;
    int depth = 0;

    for (size_t i = 0; i < len; i++) {
        if (!in_string && (text[i] == '[' || text[i] == '{') && ++depth > MAX_DEPTH)
            return ky_fail(err, KY_EFORMAT, "line %d column %d: nested deeper than %d levels",
                           at.line, at.column, MAX_DEPTH);
        if (!in_string && (text[i] == ']' || text[i] == '}'))
            depth--;
        advance(&at, &in_string, &escaped, text[i]);
    }
    return KY_OK;
}

/* The length of the non-finite number that text begins with, 0 if there is none. */
static size_t non_finite(const char *text, size_t len)
{
    static const char *const words[] = { "NaN", "Infinity", "-Infinity" };

    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
        size_t n = strlen(words[i]);

        if (n <= len && memcmp(text, words[i], n) == 0)
            return n;
    }
    return 0;
}

/* A copy in which NaN and the infinities are null; *len becomes its length. */
static char *without_non_finite(const char *text, size_t *len)
{
    struct place at = { 1, 1 };
    bool in_string = false, escaped = false;
    char *copy = malloc(*len + *len / 3 + 4); /* "NaN" grows by a third */
    size_t n = 0;

    for (size_t i = 0; copy != NULL && i < *len;) {
        size_t word = in_string ? 0 : non_finite(text + i, *len - i);

        if (word > 0) {
            memcpy(copy + n, "null", 4);
            n += 4;
            i += word;
            continue;
        }
        advance(&at, &in_string, &escaped, text[i]);
        copy[n++] = text[i++];
    }
    *len = n;
    return copy;
}

int ky_json_parse(const char *text, size_t len, bool lenient, ky_json **ret, ky_err *err)
{
    json_error_t why;
    char *copy = NULL;
    int rc = check_depth(text, len, err);

    if (rc < 0)
        return rc;
    if (lenient) {
        copy = without_non_finite(text, &len);
        if (copy == NULL)
            return ky_fail(err, KY_ENOMEM, "%zu bytes of JSON: no memory", len);
        text = copy;
    }
    json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why);
    free(copy);
    if (root == NULL)
        return ky_fail(err, KY_EFORMAT, "line %d column %d: %s", why.line, why.column, why.text);
    *ret = root;
    return KY_OK;
}

void ky_json_free(ky_json *root)
{
    json_decref(root);
}

bool ky_json_is_null(const ky_json *v)
{
    return v == NULL || json_is_null(v);
}

bool ky_json_is_object(const ky_json *v)
{
    return json_is_object(v);
}

bool ky_json_is_array(const ky_json *v)
{
    return json_is_array(v);
}

bool ky_json_is_string(const ky_json *v)
{
    return json_is_string(v);
}

bool ky_json_is_number(const ky_json *v)
{
    return json_is_number(v);
}

bool ky_json_is_bool(const ky_json *v)
{
    return json_is_boolean(v);
}

ky_json *ky_json_get(const ky_json *object, const char *key)
{
    return json_object_get(object, key);
}

ky_json *ky_json_at(const ky_json *array, size_t i)
{
    return json_array_get(array, i);
}

size_t ky_json_len(const ky_json *array)
{
    return json_array_size(array);
}

const char *ky_json_str(const ky_json *v, const char *otherwise)
{
    return json_is_string(v) ? json_string_value(v) : otherwise;
}

double ky_json_num(const ky_json *v, double otherwise)
{
    return json_is_number(v) ? json_number_value(v) : otherwise;
}

int64_t ky_json_int(const ky_json *v, int64_t otherwise)
{
    if (json_is_integer(v))
        return json_integer_value(v);
    if (json_is_real(v)) {
        double d = json_real_value(v);

        if (d == floor(d) && fabs(d) < 0x1p53)
            return (int64_t)d;
    }
    return otherwise;
}

bool ky_json_bool(const ky_json *v, bool otherwise)
{
    return json_is_boolean(v) ? json_is_true(v) : otherwise;
}

const char *ky_json_next_key(const ky_json *object, const char *key)
{
    json_t *o = (json_t *)object; /* jansson's iterators want it so; nothing is changed */
    void *it =
        key == NULL ? json_object_iter(o) : json_object_iter_next(o, json_object_iter_at(o, key));

    return json_object_iter_key(it);
}

ky_json *ky_json_object(void)
{
    return json_object();
}

ky_json *ky_json_array(void)
{
    return json_array();
}

ky_json *ky_json_of_str(const char *s)
{
    if (s == NULL)
        return json_null();
    json_t *v = json_string(s);
    if (v != NULL)
        return v;

    /* Not UTF-8: what can be shown of it is better than nothing. */
    char *plain = strdup(s);
    for (char *p = plain; p != NULL && *p != '\0'; p++)
        if ((unsigned char)*p >= 0x80)
            *p = '?';
    v = plain == NULL ? NULL : json_string(plain);
    free(plain);
    return v;
}

ky_json *ky_json_of_num(double v)
{
    return isfinite(v) ? json_real(v) : json_null();
}

ky_json *ky_json_of_int(int64_t v)
{
    return json_integer(v);
}

ky_json *ky_json_of_bool(bool v)
{
    return json_boolean(v);
}

ky_json *ky_json_of_null(void)
{
    return json_null();
}

ky_json *ky_json_copy(const ky_json *v)
{
    return json_deep_copy(v);
}

void ky_json_set(ky_json *object, const char *key, ky_json *v)
{
    if (v != NULL)
        json_object_set_new(object, key, v);
}

void ky_json_append(ky_json *array, ky_json *v)
{
    if (v != NULL)
        json_array_append_new(array, v);
}

/* -- text: our own writer, because jansson 2.14 writes 0.1 as 0.10000000000000001 -- */

static void put(FILE *out, const json_t *v, int indent, int depth);

static void put_string(FILE *out, const char *s)
{
    json_t *v = json_string_nocheck(s);
    char *text = v == NULL ? NULL : json_dumps(v, JSON_ENCODE_ANY | JSON_ENSURE_ASCII);

    fputs(text == NULL ? "\"\"" : text, out);
    free(text);
    json_decref(v);
}

/* The fewest digits that read back as the same double. */
static void put_real(FILE *out, double d)
{
    char text[40];

    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, d);
        if (strtod(text, NULL) == d)
            break;
    }
    fputs(text, out);
    if (strpbrk(text, ".e") == NULL)
        fputs(".0", out);
}

static void new_line(FILE *out, int indent, int depth)
{
    if (indent > 0)
        fprintf(out, "\n%*s", indent * depth, "");
}

static void put_array(FILE *out, const json_t *v, int indent, int depth)
{
    size_t n = json_array_size(v);

    fputc('[', out);
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            fputs(indent > 0 ? ", " : ",", out);
        put(out, json_array_get(v, i), 0, depth + 1); /* lists stay on one line */
    }
    fputc(']', out);
}

static void put_object(FILE *out, const json_t *v, int indent, int depth)
{
    const char *key = ky_json_next_key(v, NULL);

    fputc('{', out);
    for (bool first = true; key != NULL; key = ky_json_next_key(v, key), first = false) {
        if (!first)
            fputc(',', out);
        new_line(out, indent, depth + 1);
        put_string(out, key);
        fputs(indent > 0 ? ": " : ":", out);
        put(out, json_object_get(v, key), indent, depth + 1);
    }
    if (json_object_size(v) > 0)
        new_line(out, indent, depth);
    fputc('}', out);
}

static void put(FILE *out, const json_t *v, int indent, int depth)
{
    if (json_is_object(v))
        put_object(out, v, indent, depth);
    else if (json_is_array(v))
        put_array(out, v, indent, depth);
    else if (json_is_string(v))
        put_string(out, json_string_value(v));
    else if (json_is_integer(v))
        fprintf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
    else if (json_is_real(v))
        put_real(out, json_real_value(v));
    else if (json_is_boolean(v))
        fputs(json_is_true(v) ? "true" : "false", out);
    else
        fputs("null", out);
}

/* With each name stands the number that the next of that name gets. Names may be cut inside of a
 * character, which is nobody's business: they are never written. */
void ky_json_unused(ky_json *names, const char *wanted, char *ret, size_t size)
{
    int64_t k = ky_json_int(ky_json_get(names, wanted), 0);

    snprintf(ret, size, "%s", wanted);
    if (k > 0) {
        do
            snprintf(ret, size, "%.*s_%lld", (int)size - 14, wanted, (long long)k++);
        while (ky_json_get(names, ret) != NULL);
        json_object_set_new_nocheck(names, wanted, json_integer(k));
    }
    json_object_set_new_nocheck(names, ret, json_integer(1));
}

char *ky_json_text(const ky_json *v, int indent)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    if (out == NULL)
        return NULL;
    put(out, v, indent, 0);
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}
