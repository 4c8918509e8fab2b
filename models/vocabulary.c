#include "models/vocabulary.h"

#include <stdlib.h>
#include <string.h>

#include "models/utf8.h"

enum {
    MOST_WORDS = 1 << 20,   /* that have numbers */
    MOST_COUNTED = 1 << 24, /* different ones while counting */
    MOST_LENGTH = 1 << 20,  /* words of a row */
    MOST_BYTES = 1 << 12,   /* of a word; longer ones are cut */
};

typedef struct word {
    char *text;
    uint32_t hash;
    int32_t number; /* -1: counted only */
    int64_t count;
} word;

struct ky_vocabulary {
    enum ky_standardize rule;
    int length;
    bool at_start;
    word *words; /* [n], those with numbers first, in their order, once chosen */
    size_t n, cap;
    int numbered;
    uint32_t *slot; /* [slots] place in words plus one, 0: free; a power of two */
    size_t slots;
};

static const char *const rules[] = {
    [KY_LOWER_AND_STRIP_PUNCTUATION] = "lower_and_strip_punctuation",
    [KY_LOWER] = "lower",
    [KY_STRIP_PUNCTUATION] = "strip_punctuation",
    [KY_STANDARDIZE_NONE] = "none",
    [KY_ENGLISH_WORDS] = "english_words",
};

const char *ky_standardize_name(enum ky_standardize s)
{
    return rules[s];
}

int ky_standardize_find(const char *name)
{
    for (int i = 0; i < KY_STANDARDIZES; i++)
        if (strcmp(rules[i], name) == 0)
            return i;
    return -1;
}

/* -- words ------------------------------------------------------------------------------------ */

static bool is_space(unsigned char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_punctuation(unsigned char c)
{
    return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') ||
           (c >= '{' && c <= '~');
}

static unsigned char lower(unsigned char c)
{
    return c >= 'A' && c <= 'Z' ? (unsigned char)(c - 'A' + 'a') : c;
}

/* Bytes of the character that begins here, 0 if it is no UTF-8. */
static size_t utf8(const unsigned char *p, size_t n)
{
    int32_t c;
    int len = ky_utf8_decode((const char *)p, n, &c);

    return c < 0 ? 0 : (size_t)len;
}

/* A way through the words of a sentence. */
typedef struct cutter {
    const unsigned char *p, *end;
    enum ky_standardize rule;
    char word[MOST_BYTES + 8]; /* the current one */
    size_t len;
} cutter;

static void keep(cutter *c, const void *bytes, size_t n)
{
    if (c->len + n <= MOST_BYTES) {
        memcpy(c->word + c->len, bytes, n);
        c->len += n;
    }
}

static bool next_english(cutter *c)
{
    for (c->len = 0; c->p < c->end; c->p++) {
        unsigned char b = lower(*c->p);
        bool mark = b == '!' || b == '?';

        if ((b >= 'a' && b <= 'z') || (b >= '0' && b <= '9') || b == '\'' || (mark && c->len == 0))
            keep(c, &b, 1);
        else if (c->len > 0)
            return true;
        if (mark) {
            c->p++;
            return true;
        }
    }
    return c->len > 0;
}

static bool next_spaced(cutter *c)
{
    bool lowered = c->rule == KY_LOWER || c->rule == KY_LOWER_AND_STRIP_PUNCTUATION;
    bool stripped = c->rule == KY_STRIP_PUNCTUATION || c->rule == KY_LOWER_AND_STRIP_PUNCTUATION;

    for (c->len = 0; c->p < c->end;) {
        size_t n = utf8(c->p, (size_t)(c->end - c->p));
        unsigned char b = lowered ? lower(*c->p) : *c->p;

        if (n == 0 || *c->p == '\0')
            keep(c, "\xef\xbf\xbd", 3);
        else if (n > 1)
            keep(c, c->p, n);
        else if (is_space(b) && c->len > 0)
            return true;
        else if (!is_space(b) && !(stripped && is_punctuation(b)))
            keep(c, &b, 1);
        c->p += n == 0 ? 1 : n;
    }
    return c->len > 0;
}

static bool next_word(cutter *c)
{
    bool found = c->rule == KY_ENGLISH_WORDS ? next_english(c) : next_spaced(c);

    c->word[c->len] = '\0';
    return found;
}

static void begin(cutter *c, const ky_vocabulary *v, const char *text, size_t len)
{
    c->p = (const unsigned char *)text;
    c->end = c->p + len;
    c->rule = v->rule;
    c->len = 0;
}

/* -- the table -------------------------------------------------------------------------------- */

static uint32_t hash_of(const char *s, size_t len)
{
    uint32_t h = 2166136261u; /* FNV-1a */

    for (size_t i = 0; i < len; i++)
        h = (h ^ (unsigned char)s[i]) * 16777619u;
    return h;
}

static word *find(const ky_vocabulary *v, const char *s, size_t len, uint32_t hash)
{
    for (size_t i = hash; v->slots > 0; i++) {
        uint32_t at = v->slot[i & (v->slots - 1)];

        if (at == 0)
            return NULL;
        word *w = &v->words[at - 1];
        if (w->hash == hash && strlen(w->text) == len && memcmp(w->text, s, len) == 0)
            return w;
    }
    return NULL;
}

static void place(ky_vocabulary *v, size_t k)
{
    size_t i = v->words[k].hash & (v->slots - 1);

    while (v->slot[i] != 0)
        i = (i + 1) & (v->slots - 1);
    v->slot[i] = (uint32_t)k + 1;
}

/* All words anew into a table of that many slots. */
static bool rehash(ky_vocabulary *v, size_t slots)
{
    uint32_t *slot = calloc(slots, sizeof *slot);

    if (slot == NULL)
        return false;
    free(v->slot);
    v->slot = slot;
    v->slots = slots;
    for (size_t k = 0; k < v->n; k++)
        place(v, k);
    return true;
}

static word *insert(ky_vocabulary *v, const char *s, size_t len, uint32_t hash)
{
    if (v->n == v->cap) {
        size_t cap = v->cap > 0 ? 2 * v->cap : 1024;
        word *more = realloc(v->words, cap * sizeof *more);

        if (more == NULL)
            return NULL;
        v->words = more;
        v->cap = cap;
    }
    if (2 * (v->n + 1) > v->slots && !rehash(v, v->slots > 0 ? 2 * v->slots : 2048))
        return NULL;
    char *text = strndup(s, len);
    if (text == NULL)
        return NULL;
    v->words[v->n] = (word){ .text = text, .hash = hash, .number = -1 };
    place(v, v->n);
    return &v->words[v->n++];
}

ky_vocabulary *ky_vocabulary_new(enum ky_standardize rule)
{
    ky_vocabulary *v = calloc(1, sizeof *v);

    if (v != NULL)
        v->rule = rule;
    return v;
}

void ky_vocabulary_free(ky_vocabulary *v)
{
    if (v == NULL)
        return;
    for (size_t k = 0; k < v->n; k++)
        free(v->words[k].text);
    free(v->words);
    free(v->slot);
    free(v);
}

ky_vocabulary *ky_vocabulary_copy(const ky_vocabulary *v)
{
    ky_vocabulary *copy = ky_vocabulary_new(v->rule);

    if (copy == NULL)
        return NULL;
    ky_vocabulary_set_length(copy, v->length, v->at_start);
    for (int k = 0; k < v->numbered; k++)
        if (ky_vocabulary_add(copy, v->words[k].text, strlen(v->words[k].text), NULL) < 0) {
            ky_vocabulary_free(copy);
            return NULL;
        }
    return copy;
}

int ky_vocabulary_count(ky_vocabulary *v, const char *text, size_t len, ky_err *err)
{
    cutter c;
    int n = 0;

    for (begin(&c, v, text, len); next_word(&c); n++) {
        uint32_t hash = hash_of(c.word, c.len);
        word *w = find(v, c.word, c.len, hash);

        if (w == NULL && v->n == MOST_COUNTED)
            return ky_fail(err, KY_EFULL, "more than %d different words", MOST_COUNTED);
        if (w == NULL && (w = insert(v, c.word, c.len, hash)) == NULL)
            return ky_fail(err, KY_ENOMEM, "no memory for %zu different words", v->n + 1);
        w->count++;
    }
    return n;
}

/* The most frequent first; of one count the greatest first. */
static int by_count(const void *a, const void *b)
{
    const word *x = a, *y = b;

    if (x->count != y->count)
        return x->count < y->count ? 1 : -1;
    return strcmp(y->text, x->text);
}

int ky_vocabulary_choose(ky_vocabulary *v, int most, ky_err *err)
{
    size_t kept = most < KY_WORD_FIRST + 1 ? 0 : (size_t)(most - KY_WORD_FIRST);

    if (kept > MOST_WORDS)
        kept = MOST_WORDS;
    if (v->n > 0)
        qsort(v->words, v->n, sizeof *v->words, by_count);
    for (size_t k = kept; k < v->n; k++)
        free(v->words[k].text);
    v->n = v->n < kept ? v->n : kept;
    v->numbered = (int)v->n;
    for (size_t k = 0; k < v->n; k++)
        v->words[k].number = KY_WORD_FIRST + (int32_t)k;
    return v->slots == 0 || rehash(v, v->slots) ? KY_OK
                                                : ky_fail(err, KY_ENOMEM, "no memory for words");
}

int ky_vocabulary_add(ky_vocabulary *v, const char *text, size_t len, ky_err *err)
{
    uint32_t hash = hash_of(text, len);
    word *w;
    int shown = len > 40 ? 40 : (int)len;

    if (len == 0 || len > MOST_BYTES || memchr(text, '\0', len) != NULL)
        return ky_fail(err, KY_EFORMAT,
                       "word %d of the vocabulary is empty, too long or holds a NUL",
                       v->numbered + KY_WORD_FIRST);
    if (v->numbered == MOST_WORDS)
        return ky_fail(err, KY_EFULL, "the vocabulary has more than %d words", MOST_WORDS);
    if (find(v, text, len, hash) != NULL)
        return ky_fail(err, KY_EFORMAT, "the vocabulary has the word '%.*s' twice", shown, text);
    if ((w = insert(v, text, len, hash)) == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory for %d words", v->numbered + 1);
    w->number = KY_WORD_FIRST + v->numbered++;
    return KY_OK;
}

void ky_vocabulary_set_length(ky_vocabulary *v, int length, bool at_start)
{
    v->length = length;
    v->at_start = at_start;
}

int ky_vocabulary_size(const ky_vocabulary *v)
{
    return KY_WORD_FIRST + v->numbered;
}

int ky_vocabulary_length(const ky_vocabulary *v)
{
    return v->length;
}

bool ky_vocabulary_at_start(const ky_vocabulary *v)
{
    return v->at_start;
}

enum ky_standardize ky_vocabulary_rule(const ky_vocabulary *v)
{
    return v->rule;
}

const char *ky_vocabulary_word(const ky_vocabulary *v, int i)
{
    return i == KY_WORD_NONE      ? ""
           : i == KY_WORD_UNKNOWN ? "[UNK]"
                                  : v->words[i - KY_WORD_FIRST].text;
}

/* -- rows ------------------------------------------------------------------------------------- */

int ky_vocabulary_encode(const ky_vocabulary *v, const char *text, size_t len, int32_t *row,
                         int length)
{
    cutter c;
    int n = 0, kept;

    /* Cut at the start, the row goes round and is turned when all words are there. */
    for (begin(&c, v, text, len); next_word(&c); n++) {
        const word *w = find(v, c.word, c.len, hash_of(c.word, c.len));

        if (n < length || v->at_start)
            row[n % length] = w != NULL && w->number > 0 ? w->number : KY_WORD_UNKNOWN;
    }
    kept = n < length ? n : length;
    if (v->at_start && n > length) {
        int first = n % length;
        int32_t *turned = malloc((size_t)length * sizeof *turned);

        if (turned == NULL)
            return KY_ENOMEM;
        for (int i = 0; i < length; i++)
            turned[i] = row[(first + i) % length];
        memcpy(row, turned, (size_t)length * sizeof *row);
        free(turned);
    }
    if (v->at_start)
        memmove(row + length - kept, row, (size_t)kept * sizeof *row);
    memset(v->at_start ? row : row + kept, 0, (size_t)(length - kept) * sizeof *row);
    return n;
}

bool ky_vocabulary_same(const ky_vocabulary *a, const ky_vocabulary *b)
{
    if (a->rule != b->rule || a->at_start != b->at_start || a->numbered != b->numbered)
        return false;
    for (int k = 0; k < a->numbered; k++)
        if (strcmp(a->words[k].text, b->words[k].text) != 0)
            return false;
    return true;
}

/* -- in files --------------------------------------------------------------------------------- */

ky_json *ky_vocabulary_to_json(const ky_vocabulary *v)
{
    ky_json *o = ky_json_object(), *words = ky_json_array();

    ky_json_set(o, "standardize", ky_json_of_str(rules[v->rule]));
    ky_json_set(o, "split", ky_json_of_str("whitespace"));
    ky_json_set(o, "padding", ky_json_of_str(v->at_start ? "pre" : "post"));
    ky_json_set(o, "output_sequence_length", ky_json_of_int(v->length));
    for (int i = 0; i < ky_vocabulary_size(v); i++)
        ky_json_append(words, ky_json_of_str(ky_vocabulary_word(v, i)));
    ky_json_set(o, "vocabulary", words);
    return o;
}

static int read_words(const ky_json *words, ky_vocabulary *v, ky_err *err)
{
    size_t n = ky_json_len(words);
    int rc = KY_OK;

    if (!ky_json_is_array(words) || n < KY_WORD_FIRST || n > MOST_WORDS + KY_WORD_FIRST)
        return ky_fail(err, KY_EFORMAT, "its vocabulary is no list of %d to %d words",
                       KY_WORD_FIRST, MOST_WORDS + KY_WORD_FIRST);
    for (size_t i = 0; rc == KY_OK && i < n; i++) {
        const char *text = ky_json_str(ky_json_at(words, i), NULL);

        if (text == NULL || (i < KY_WORD_FIRST && strcmp(text, i == 0 ? "" : "[UNK]") != 0))
            rc = ky_fail(err, KY_EFORMAT, "word %zu of its vocabulary is %s", i,
                         text == NULL ? "no text" : "not what it must be: \"\", then \"[UNK]\"");
        else if (i >= KY_WORD_FIRST)
            rc = ky_vocabulary_add(v, text, strlen(text), err);
    }
    return rc;
}

int ky_vocabulary_of_json(const ky_json *json, ky_vocabulary **ret, ky_err *err)
{
    const char *name = ky_json_str(ky_json_get(json, "standardize"), "");
    const char *padding = ky_json_str(ky_json_get(json, "padding"), "");
    int64_t length = ky_json_int(ky_json_get(json, "output_sequence_length"), -1);
    int rule = ky_standardize_find(name), rc;
    ky_vocabulary *v;

    if (rule < 0 || strcmp(ky_json_str(ky_json_get(json, "split"), ""), "whitespace") != 0)
        return ky_fail(err, KY_EFORMAT, "its text is cut by '%.40s', which kymo does not know",
                       name);
    if (strcmp(padding, "pre") != 0 && strcmp(padding, "post") != 0)
        return ky_fail(err, KY_EFORMAT, "its padding '%.40s' is neither pre nor post", padding);
    if (length < 0 || length > MOST_LENGTH)
        return ky_fail(err, KY_EFORMAT, "its output_sequence_length is not from 0 to %d",
                       MOST_LENGTH);
    if ((v = ky_vocabulary_new((enum ky_standardize)rule)) == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory for a vocabulary");
    ky_vocabulary_set_length(v, (int)length, strcmp(padding, "pre") == 0);
    if ((rc = read_words(ky_json_get(json, "vocabulary"), v, err)) < 0) {
        ky_vocabulary_free(v);
        return rc;
    }
    *ret = v;
    return KY_OK;
}

int ky_vocabulary_write(const ky_vocabulary *v, ky_h5 *f, ky_err *err)
{
    ky_json *json = ky_vocabulary_to_json(v);
    char *text = ky_json_text(json, 0);
    int rc = text != NULL ? ky_h5_set_attr_str(f, "/", KY_VOCABULARY_ATTR, text, err)
                          : ky_fail(err, KY_ENOMEM, "no memory for the vocabulary");

    free(text);
    ky_json_free(json);
    return rc;
}

int ky_vocabulary_read(ky_h5 *f, ky_vocabulary **ret, ky_err *err)
{
    ky_json *json = NULL;
    char *text = NULL;
    int rc;

    *ret = NULL;
    if (!ky_h5_has_attr(f, "/", KY_VOCABULARY_ATTR))
        return KY_OK;
    rc = ky_h5_attr_str(f, "/", KY_VOCABULARY_ATTR, &text, err);
    if (rc == KY_OK)
        rc = ky_json_parse(text, strlen(text), false, &json, err);
    if (rc == KY_OK)
        rc = ky_vocabulary_of_json(json, ret, err);
    ky_json_free(json);
    free(text);
    return rc < 0 ? ky_context(err, rc, "the words of its text") : KY_OK;
}
