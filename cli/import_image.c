/* Images, a file a row, in a folder for each class. */
#include <stdlib.h>
#include <string.h>

#include "cli/image.h"
#include "cli/import.h"

enum { MOST_FILE = 64 << 20, PIECE = 1 << 18 };

/* What rows are, and the file that is read. */
typedef struct images {
    int height, width, channels;
    char *bytes; /* [cap] */
    size_t n, cap;
    uint8_t *x; /* [height,width,channels] */
} images;

static void free_images(void *own)
{
    images *t = own;

    free(t->bytes);
    free(t->x);
    free(t);
}

/* The file as a whole. */
static int load(images *t, const char *path, ky_err *err)
{
    ky_bytes b = { .gz = NULL };
    int rc = ky_bytes_open(path, &b, err);
    size_t got = PIECE;

    for (t->n = 0; rc == KY_OK && got > 0; t->n += got) {
        if (t->n + PIECE > t->cap) {
            size_t cap = t->cap + (t->cap > 0 ? t->cap : PIECE);
            char *more = cap <= MOST_FILE ? realloc(t->bytes, cap) : NULL;

            if (more == NULL) {
                rc = ky_fail(err, KY_EFULL, "'%s': an image of over %zu bytes", path, t->n);
                break;
            }
            t->bytes = more;
            t->cap = cap;
        }
        rc = ky_bytes_read(&b, t->bytes + t->n, PIECE, &got, err);
    }
    ky_bytes_close(&b);
    return rc;
}

/* One shape for all: their own size, which must be the same, or --size; grey if all are. */
static int measure(const ky_import *im, images *t, const ky_import_file *f, ky_err *err)
{
    ky_image m;
    int rc = load(t, f->path, err);

    if (rc == KY_OK && (rc = ky_image_measure(t->bytes, t->n, &m, err)) < 0)
        rc = ky_context(err, rc, "'%s'", f->path);
    if (rc < 0)
        return rc;
    t->channels = m.channels == 3 && !im->o->grey ? 3 : t->channels > 1 ? t->channels : 1;
    if (im->o->height > 0) {
        t->height = (int)im->o->height;
        t->width = (int)im->o->width;
    } else if (t->height == 0) {
        t->height = m.height;
        t->width = m.width;
    } else if (m.height != t->height || m.width != t->width) {
        return ky_fail(err, KY_ESHAPE,
                       "'%s' has %d x %d pixels, the images before it %d x %d: --size HxW makes "
                       "them alike",
                       f->path, m.height, m.width, t->height, t->width);
    }
    return KY_OK;
}

/* The image as a row. */
static void convert(const ky_import *im, images *t, ky_image *m)
{
    size_t pixels = (size_t)t->height * (size_t)t->width;

    if (im->o->grey)
        ky_image_to_grey(m);
    ky_image_resize(m, t->height, t->width, t->x);
    /* A grey one among colours; from the last pixel on, as it grows in its place. */
    for (size_t i = pixels; m->channels < t->channels && i > 0; i--)
        memset(t->x + 3 * (i - 1), t->x[i - 1], 3);
}

static int decode(const ky_import *im, images *t, const ky_import_file *f, ky_err *err)
{
    ky_image m = { .p = NULL };
    int rc = load(t, f->path, err);

    if (rc == KY_OK && (rc = ky_image_decode(t->bytes, t->n, &m, err)) < 0)
        rc = ky_context(err, rc, "'%s'", f->path);
    if (rc == KY_OK)
        convert(im, t, &m);
    free(m.p);
    return rc;
}

static int give(const ky_import *im, images *t, const ky_import_file *f, ky_sink *s, ky_err *err)
{
    ky_import_row row = { .part = f->part, .from_us = KY_NONE, .ts_us = KY_NONE };
    char *label = NULL, *group = NULL;
    int rc = KY_OK;

    if (ky_sink_pass(s) == KY_IMPORT_WRITE)
        rc = decode(im, t, f, err);
    if (rc == KY_OK)
        rc = ky_import_label(im, f, &label, &group, err);
    row.x = t->x;
    row.label = label;
    row.group = group;
    if (rc == KY_OK)
        rc = ky_sink_row(s, &row, err);
    free(label);
    free(group);
    return rc;
}

static int begin(ky_import *im, ky_err *err)
{
    images *t = calloc(1, sizeof *t);
    int rc = KY_OK;

    if ((im->own = t) == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory for images");
    for (int i = 0; rc == KY_OK && i < im->files->n; i++)
        rc = measure(im, t, &im->files->file[i], err);
    if (rc < 0)
        return rc;
    t->x = malloc((size_t)t->height * (size_t)t->width * (size_t)t->channels);
    return t->x != NULL
               ? KY_OK
               : ky_fail(err, KY_ENOMEM, "no memory for %d x %d pixels", t->height, t->width);
}

static int read_images(ky_import *im, ky_sink *s, ky_err *err)
{
    int rc = im->own == NULL ? begin(im, err) : KY_OK;
    const images *t = im->own;

    if (rc == KY_OK)
        rc = ky_sink_shape(
            s, KY_H5_U8, 3,
            (const uint64_t[]){ (uint64_t)t->height, (uint64_t)t->width, (uint64_t)t->channels },
            err);
    for (int i = 0; rc == KY_OK && i < im->files->n; i++)
        rc = give(im, im->own, &im->files->file[i], s, err);
    return rc;
}

static bool is_image(const char *base, const char *head, size_t n)
{
    (void)base;
    return ky_image_is(head, n);
}

const ky_format ky_import_image = { "image",     "PNG and JPEG, a folder for each class",
                                    is_image,    read_images,
                                    free_images, false };
