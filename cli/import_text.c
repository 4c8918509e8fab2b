/*
 * Sentences with a label: a line each with a tab between them, a file for each label
 * (rt-polarity.neg, rt-polarity.pos), or a folder for each label with a file for each text. They
 * become rows of word numbers, and the vocabulary goes into the data file.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/import.h"

enum { MOST_TEXT = 16 << 20 }; /* bytes of a file that is one text */

/* Kept from pass to pass. */
typedef struct texts {
    ky_vocabulary *v;
    bool chosen;
    int fixed;  /* words of a row as told, 0: the longest */
    int length; /* of a row */
    bool at_start;
    int32_t *row; /* [length] */
    /* of lines with tabs */
    bool tabbed, header;
    int label, text; /* cells, from 0 */
} texts;

static void free_texts(void *own)
{
    texts *t = own;

    ky_vocabulary_free(t->v);
    free(t->row);
    free(t);
}

/* -- the vocabulary --------------------------------------------------------------------------- */

/* "", "<pad>", "[UNK]": what stands where the first two numbers are no words. */
static bool is_special(const char *s, size_t len)
{
    return len == 0 || (s[0] == '<' && s[len - 1] == '>') || (s[0] == '[' && s[len - 1] == ']');
}

/* A word a line; the first two lines may name padding and the unknown word. */
static int read_words(const char *path, ky_vocabulary *v, ky_err *err)
{
    ky_bytes b = { .gz = NULL };
    int rc = ky_bytes_open(path, &b, err);
    bool special = true;
    size_t len;

    while (rc >= 0 && (rc = ky_bytes_line(&b, &len, err)) > 0) {
        special = special && b.number <= KY_WORD_FIRST && is_special(b.line, len);
        if (!special)
            rc = ky_vocabulary_add(v, b.line, len, err);
    }
    if (rc < 0)
        ky_context(err, rc, "'%s', line %lld", path, (long long)b.number);
    ky_bytes_close(&b);
    return rc;
}

/* The vocabulary of data or of a model, with its rule and its way of padding; else words. */
static int read_vocabulary(const char *path, texts *t, ky_err *err)
{
    ky_vocabulary *v = NULL;
    ky_h5 *f = NULL;
    int rc;

    if (ky_h5_open(path, &f, NULL) < 0)
        return read_words(path, t->v, err);
    rc = ky_vocabulary_read(f, &v, err);
    ky_h5_close(f);
    if (rc == KY_OK && v == NULL)
        rc = ky_fail(err, KY_ENOENT, "'%s' has no vocabulary", path);
    if (rc < 0)
        return rc;
    ky_vocabulary_free(t->v);
    t->v = v;
    t->at_start = ky_vocabulary_at_start(v);
    if (t->fixed == 0)
        t->fixed = ky_vocabulary_length(v);
    return KY_OK;
}

/* The words are known: those of a file, or the most frequent of the training part. */
static int choose(const ky_import *im, texts *t, ky_sink *s, ky_err *err)
{
    int rc = im->o->vocabulary == NULL ? ky_vocabulary_choose(t->v, (int)im->o->words, err) : KY_OK;
    ky_h5 *f = ky_sink_file(s);

    if (rc < 0)
        return rc;
    t->chosen = true;
    ky_vocabulary_set_length(t->v, t->length, t->at_start);
    ky_sink_say(s, "vocabulary: %d words, %s; 0 is padding, 1 any other word",
                ky_vocabulary_size(t->v) - KY_WORD_FIRST,
                ky_standardize_name(ky_vocabulary_rule(t->v)));
    if ((t->row = malloc((size_t)t->length * sizeof *t->row)) == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory for rows of %d words", t->length);
    return f != NULL ? ky_vocabulary_write(t->v, f, err) : KY_OK;
}

/* -- a sentence ------------------------------------------------------------------------------- */

static int take(const ky_import *im, texts *t, ky_sink *s, const char *text, size_t len,
                const char *label, enum ky_import_part part, ky_err *err)
{
    ky_import_row row = { .part = part, .label = label, .from_us = KY_NONE, .ts_us = KY_NONE };
    int32_t first;
    int n = 0;

    if (ky_sink_pass(s) == KY_IMPORT_SCAN) {
        n = ky_vocabulary_encode(t->v, text, len, &first, 1);
        if (t->fixed == 0 && n > t->length)
            t->length = n;
        row.steps = n > 0 ? n : 1;
    } else if (ky_sink_pass(s) == KY_IMPORT_LEARN) {
        if (im->o->vocabulary == NULL && ky_sink_part(s) != KY_IMPORT_TEST)
            n = ky_vocabulary_count(t->v, text, len, err);
        row.steps = t->length;
    } else {
        n = ky_vocabulary_encode(t->v, text, len, t->row, t->length);
        row.x = t->row;
        row.steps = t->length;
    }
    if (n == KY_ENOMEM)
        return ky_fail(err, KY_ENOMEM, "no memory for a row of %d words", t->length);
    return n < 0 ? n : ky_sink_row(s, &row, err);
}

/* -- lines with tabs -------------------------------------------------------------------------- */

/* Cell k of a line, NULL if it has none; *ret_len its length. */
static const char *cell(const char *line, int k, size_t *ret_len)
{
    const char *p = line;

    for (; k > 0 && p != NULL; k--)
        p = (p = strchr(p, '\t')) != NULL ? p + 1 : NULL;
    *ret_len = p != NULL ? strcspn(p, "\t") : 0;
    return p;
}

/* The cell that an option means, by its number from 1 or by the name in the header; -1: none. */
static int find_cell(const char *line, const char *option, bool *header)
{
    char *end;
    long number = strtol(option, &end, 10);
    size_t len;

    if (end != option && *end == '\0')
        return number >= 1 && number <= 1000 ? (int)number - 1 : -1;
    *header = true;
    for (int k = 0;; k++) {
        const char *at = cell(line, k, &len);

        if (at == NULL)
            return -1;
        if (strlen(option) == len && memcmp(at, option, len) == 0)
            return k;
    }
}

/* Which cell is the label and which the text: as told, else label, then text. */
static int choose_cells(const ky_import *im, const ky_bytes *b, texts *t, ky_err *err)
{
    const ky_import_opts *o = im->o;
    size_t len;
    int cells = 0;

    while (cell(b->line, cells, &len) != NULL)
        cells++;
    t->tabbed = true;
    t->label = o->label != NULL ? find_cell(b->line, o->label, &t->header) : 0;
    t->text = o->features != NULL ? find_cell(b->line, o->features, &t->header)
              : t->label == 0     ? 1
                                  : 0;
    if (t->label < 0 || t->label >= cells)
        return ky_fail(err, KY_EINVAL, "'%s' has no column '%s' (--label)", b->path, o->label);
    if (t->text < 0 || t->text >= cells || t->text == t->label)
        return ky_fail(err, KY_EINVAL, "'%s': --features '%s' is no column of sentences", b->path,
                       o->features != NULL ? o->features : "");
    if (cells > 2 && o->features == NULL)
        return ky_fail(err, KY_EINVAL,
                       "'%s' has %d columns: --label and --features say by number or name which "
                       "are the label and the sentence",
                       b->path, cells);
    return KY_OK;
}

static int take_cells(const ky_import *im, texts *t, ky_sink *s, const ky_bytes *b,
                      enum ky_import_part part, ky_err *err)
{
    size_t label_len, len;
    const char *label = cell(b->line, t->label, &label_len), *text = cell(b->line, t->text, &len);
    char *copy;
    int rc;

    if (label == NULL || text == NULL || label_len == 0)
        return ky_fail(err, KY_EFORMAT, "'%s', line %lld: no label, tab and sentence", b->path,
                       (long long)b->number);
    if ((copy = strndup(label, label_len)) == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory for a label");
    rc = take(im, t, s, text, len, copy, part, err);
    free(copy);
    return rc;
}

/* -- files ------------------------------------------------------------------------------------ */

static bool is_word(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (unsigned char)c >= 0x80;
}

static size_t name_length(const char *base)
{
    size_t n = strlen(base);

    return n > 3 && strcmp(base + n - 3, ".gz") == 0 ? n - 3 : n;
}

/* What the names of two files have in common, in front and behind, cut back to whole words. */
static void common(const char *a, const char *b, size_t *front, size_t *back)
{
    size_t n = name_length(a), m = name_length(b), i = 0, k = 0;

    while (i < n && i < m && a[i] == b[i])
        i++;
    while (k + i < n && k + i < m && a[n - 1 - k] == b[m - 1 - k])
        k++;
    while (i > 0 && is_word(a[i - 1]))
        i--;
    while (k > 0 && is_word(a[n - k]))
        k--;
    *front = i < *front ? i : *front;
    *back = k < *back ? k : *back;
}

/* The label of a file without labels in it: what tells its name from the others of its part. */
static char *label_of(const ky_import_files *files, const ky_import_file *f)
{
    size_t n = name_length(f->base), front = n, back = n;
    bool others = false;

    if (f->folder != NULL)
        return strdup(f->folder);
    for (int i = 0; i < files->n; i++)
        if (&files->file[i] != f && files->file[i].part == f->part) {
            common(f->base, files->file[i].base, &front, &back);
            others = true;
        }
    return others && front + back < n ? strndup(f->base + front, n - front - back) : NULL;
}

/* A file that is one text. */
static int take_file(const ky_import *im, texts *t, ky_sink *s, const ky_import_file *f,
                     ky_bytes *b, const char *label, ky_err *err)
{
    char *text = malloc(MOST_TEXT);
    size_t len = 0;
    int rc = text != NULL ? ky_bytes_read(b, text, MOST_TEXT, &len, err)
                          : ky_fail(err, KY_ENOMEM, "no memory for a text");

    if (rc == KY_OK && len == MOST_TEXT)
        rc = ky_fail(err, KY_EFULL, "'%s': a text of over %d bytes", f->path, MOST_TEXT);
    if (rc == KY_OK)
        rc = take(im, t, s, text, len, label, f->part, err);
    free(text);
    return rc;
}

static int take_lines(const ky_import *im, texts *t, ky_sink *s, const ky_import_file *f,
                      ky_bytes *b, const char *label, ky_err *err)
{
    bool begun = false;
    size_t len;
    int rc;

    while ((rc = ky_bytes_line(b, &len, err)) > 0) {
        if (len == 0)
            continue;
        if (!begun && !t->tabbed && label == NULL && strchr(b->line, '\t') == NULL)
            return ky_fail(err, KY_EFORMAT,
                           "'%s', line %lld: no label: neither a tab between label and sentence, "
                           "nor another file whose name tells this one's",
                           b->path, (long long)b->number);
        if (!begun && !t->tabbed && strchr(b->line, '\t') != NULL &&
            (rc = choose_cells(im, b, t, err)) < 0)
            return rc;
        if (begun || !t->header)
            rc = t->tabbed ? take_cells(im, t, s, b, f->part, err)
                           : take(im, t, s, b->line, len, label, f->part, err);
        if (rc < 0)
            return rc;
        begun = true;
    }
    return rc;
}

static int read_text_file(const ky_import *im, texts *t, ky_sink *s, const ky_import_file *f,
                          ky_err *err)
{
    ky_bytes b = { .gz = NULL };
    char *label = label_of(im->files, f);
    int rc = ky_bytes_open(f->path, &b, err);

    if (rc == KY_OK)
        rc = f->folder != NULL ? take_file(im, t, s, f, &b, label, err)
                               : take_lines(im, t, s, f, &b, label, err);
    free(label);
    ky_bytes_close(&b);
    return rc;
}

static int begin(ky_import *im, ky_sink *s, ky_err *err)
{
    texts *t = im->own;
    int rc = KY_OK;

    if (t == NULL) {
        im->own = t = calloc(1, sizeof *t);
        if (t == NULL || (t->v = ky_vocabulary_new(im->o->standardize)) == NULL)
            return ky_fail(err, KY_ENOMEM, "no memory for a vocabulary");
        t->fixed = (int)im->o->length;
        t->at_start = im->o->at_start;
        if (im->o->vocabulary != NULL && (rc = read_vocabulary(im->o->vocabulary, t, err)) < 0)
            return rc;
        t->length = t->fixed > 0 ? t->fixed : 1;
    }
    if (ky_sink_pass(s) == KY_IMPORT_WRITE && !t->chosen)
        rc = choose(im, t, s, err);
    return rc < 0 ? rc
                  : ky_sink_shape(s, KY_H5_I32, 1, (const uint64_t[]){ (uint64_t)t->fixed }, err);
}

static int read_text(ky_import *im, ky_sink *s, ky_err *err)
{
    int rc = begin(im, s, err);

    for (int i = 0; rc == KY_OK && i < im->files->n; i++)
        rc = read_text_file(im, im->own, s, &im->files->file[i], err);
    return rc;
}

static bool is_text(const char *base, const char *head, size_t n)
{
    static const char *const ends[] = { ".txt", ".tsv", ".tab", ".text", ".neg", ".pos" };
    const char *line = memchr(head, '\n', n);

    if (memchr(head, '\0', n) != NULL)
        return false;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (ky_import_ends(base, ends[i]))
            return true;
    return strchr(base, '.') == NULL &&
           memchr(head, '\t', line != NULL ? (size_t)(line - head) : n) != NULL;
}

const ky_format ky_import_text = { "text", "sentences with a label", is_text, read_text, free_texts,
                                   true };
