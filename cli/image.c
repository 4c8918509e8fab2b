#include "cli/image.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/bytes.h"

#ifdef KY_WITH_PNG
#include <png.h>
#endif
#ifdef KY_WITH_JPEG
#include <setjmp.h>
#include <jpeglib.h>
#endif

#if defined KY_WITH_PNG || defined KY_WITH_JPEG
enum { MOST_PIXELS = 64 << 20 };

static int check_size(const ky_image *m, const char *kind, ky_err *err)
{
    if (m->height < 1 || m->width < 1 || (int64_t)m->height * m->width > MOST_PIXELS)
        return ky_fail(err, KY_EFULL, "a %s image of %d x %d pixels", kind, m->height, m->width);
    return KY_OK;
}

/* Room for the values of a measured image. */
static int make_room(ky_image *m, ky_err *err)
{
    m->p = malloc((size_t)m->height * (size_t)m->width * (size_t)m->channels);
    return m->p != NULL
               ? KY_OK
               : ky_fail(err, KY_ENOMEM, "no memory for %d x %d pixels", m->height, m->width);
}
#endif

#if !defined KY_WITH_PNG || !defined KY_WITH_JPEG
static int missing(const char *kind, const char *option, const char *package, ky_err *err)
{
    return ky_fail(err, KY_EUNSUPPORTED,
                   "a %s image, which this kymo was built without: install %s (Debian, Ubuntu), "
                   "then ./configure --with-%s and build it again",
                   kind, package, option);
}
#endif

/* -- PNG -------------------------------------------------------------------------------------- */

static bool is_png(const void *head, size_t n)
{
    return n >= 8 && memcmp(head, "\x89PNG\r\n\x1a\n", 8) == 0;
}

#ifdef KY_WITH_PNG
static int read_png(const void *bytes, size_t n, bool values, ky_image *ret, ky_err *err)
{
    png_image png = { .version = PNG_IMAGE_VERSION };
    static const png_color black = { 0, 0, 0 };
    int rc = KY_OK;

    if (!png_image_begin_read_from_memory(&png, bytes, n))
        rc = ky_fail(err, KY_EFORMAT, "a PNG image that is damaged: %s", png.message);
    if (rc == KY_OK) {
        bool color = (png.format & PNG_FORMAT_FLAG_COLOR) != 0;

        ret->height = png.height <= INT32_MAX ? (int)png.height : 0;
        ret->width = png.width <= INT32_MAX ? (int)png.width : 0;
        ret->channels = color ? 3 : 1;
        png.format = color ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY;
        png.flags |= PNG_IMAGE_FLAG_16BIT_sRGB;
        rc = check_size(ret, "PNG", err);
    }
    /* A pixel has a bit at least. */
    if (rc == KY_OK &&
        (uint64_t)ret->height * (((uint64_t)ret->width + 7) / 8) > ky_bytes_unpacked(n))
        rc = ky_fail(err, KY_EFORMAT, "a PNG image that says it has %d x %d pixels, in %zu bytes",
                     ret->height, ret->width, n);
    if (rc == KY_OK && values && (rc = make_room(ret, err)) == KY_OK &&
        (!png_image_finish_read(&png, &black, ret->p, 0, NULL) || png.warning_or_error != 0))
        rc = ky_fail(err, KY_EFORMAT, "a PNG image that is damaged: %s", png.message);
    png_image_free(&png);
    return rc;
}
#else
static int read_png(const void *bytes, size_t n, bool values, ky_image *ret, ky_err *err)
{
    (void)bytes, (void)n, (void)values, (void)ret;
    return missing("PNG", "png", "libpng-dev", err);
}
#endif

/* -- JPEG ------------------------------------------------------------------------------------- */

static bool is_jpeg(const void *head, size_t n)
{
    return n >= 3 && memcmp(head, "\xff\xd8\xff", 3) == 0;
}

#ifdef KY_WITH_JPEG
enum { MOST_SCANS = 200 }; /* a progressive image may ask for each pixel that often */

/* The library leaves by a jump, past whatever stands between. */
typedef struct jpeg {
    struct jpeg_decompress_struct d;
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    jmp_buf out;
    char why[JMSG_LENGTH_MAX];
} jpeg;

static void leave(j_common_ptr d)
{
    jpeg *j = d->client_data;

    d->err->format_message(d, j->why);
    longjmp(j->out, 1);
}

/* Whatever the library would merely warn of means that pixels were made up. */
static void note(j_common_ptr d, int level)
{
    if (level < 0)
        leave(d);
}

static void watch(j_common_ptr d)
{
    jpeg *j = d->client_data;

    if (j->d.input_scan_number <= MOST_SCANS)
        return;
    snprintf(j->why, sizeof j->why, "over %d scans", MOST_SCANS);
    longjmp(j->out, 1);
}

static void begin_jpeg(jpeg *j)
{
    j->d.err = jpeg_std_error(&j->errors);
    j->errors.error_exit = leave;
    j->errors.emit_message = note;
    j->progress.progress_monitor = watch;
    j->d.client_data = j;
}

/* The calls that may leave by the jump; whether they came to their end. */
static bool measure_jpeg(jpeg *j, const void *bytes, size_t n)
{
    if (setjmp(j->out) != 0)
        return false;
    jpeg_create_decompress(&j->d);
    j->d.progress = &j->progress;
    j->d.client_data = j;
    jpeg_mem_src(&j->d, bytes, n);
    jpeg_read_header(&j->d, TRUE);
    return true;
}

static bool decode_jpeg(jpeg *j, const ky_image *m)
{
    if (setjmp(j->out) != 0)
        return false;
    j->d.out_color_space = m->channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_start_decompress(&j->d);
    while (j->d.output_scanline < j->d.output_height) {
        JSAMPROW row = m->p + (size_t)j->d.output_scanline * (size_t)m->width * (size_t)m->channels;

        jpeg_read_scanlines(&j->d, &row, 1);
    }
    jpeg_finish_decompress(&j->d);
    return true;
}

static int read_jpeg(const void *bytes, size_t n, bool values, ky_image *ret, ky_err *err)
{
    jpeg *j = calloc(1, sizeof *j);
    int rc = KY_OK;

    if (j == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory for an image");
    begin_jpeg(j);
    if (!measure_jpeg(j, bytes, n))
        rc = ky_fail(err, KY_EFORMAT, "a JPEG image that is damaged: %s", j->why);
    else if (j->d.num_components != 1 && j->d.num_components != 3)
        rc = ky_fail(err, KY_EUNSUPPORTED, "a JPEG image of %d channels", j->d.num_components);
    if (rc == KY_OK) {
        ret->height = (int)j->d.image_height;
        ret->width = (int)j->d.image_width;
        ret->channels = j->d.num_components;
        rc = check_size(ret, "JPEG", err);
    }
    if (rc == KY_OK && values && (rc = make_room(ret, err)) == KY_OK && !decode_jpeg(j, ret))
        rc = ky_fail(err, KY_EFORMAT, "a JPEG image that is damaged: %s", j->why);
    jpeg_destroy_decompress(&j->d);
    free(j);
    return rc;
}
#else
static int read_jpeg(const void *bytes, size_t n, bool values, ky_image *ret, ky_err *err)
{
    (void)bytes, (void)n, (void)values, (void)ret;
    return missing("JPEG", "jpeg", "libjpeg-dev", err);
}
#endif

/* -- all of them ------------------------------------------------------------------------------ */

static const struct {
    bool (*is)(const void *head, size_t n);
    int (*read)(const void *bytes, size_t n, bool values, ky_image *ret, ky_err *err);
} kinds[] = { { is_png, read_png }, { is_jpeg, read_jpeg } };

bool ky_image_is(const void *head, size_t n)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (kinds[i].is(head, n))
            return true;
    return false;
}

static int read_image(const void *bytes, size_t n, bool values, ky_image *ret, ky_err *err)
{
    ky_image m = { .p = NULL };
    int rc = ky_fail(err, KY_EFORMAT, "neither a PNG nor a JPEG image");

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (kinds[i].is(bytes, n))
            rc = kinds[i].read(bytes, n, values, &m, err);
    if (rc < 0)
        free(m.p);
    else
        *ret = m;
    return rc;
}

int ky_image_measure(const void *bytes, size_t n, ky_image *ret, ky_err *err)
{
    return read_image(bytes, n, false, ret, err);
}

int ky_image_decode(const void *bytes, size_t n, ky_image *ret, ky_err *err)
{
    return read_image(bytes, n, true, ret, err);
}

void ky_image_to_grey(ky_image *m)
{
    size_t n = (size_t)m->height * (size_t)m->width;

    if (m->channels == 1)
        return;
    for (size_t i = 0; i < n; i++) {
        const uint8_t *p = m->p + 3 * i;

        m->p[i] = (uint8_t)((299 * p[0] + 587 * p[1] + 114 * p[2] + 500) / 1000);
    }
    m->channels = 1;
}

/* Where a pixel of the new size lies among n old ones: between *ret and the next, how far. */
static float place(int at, int n, int wanted, int *ret)
{
    float x = ((float)at + 0.5f) * ((float)n / (float)wanted) - 0.5f;

    if (x <= 0 || n == 1) {
        *ret = 0;
        return 0;
    }
    *ret = (int)floorf(x) < n - 2 ? (int)floorf(x) : n - 2;
    return x - (float)*ret < 1 ? x - (float)*ret : 1;
}

void ky_image_resize(const ky_image *m, int height, int width, uint8_t *to)
{
    int C = m->channels, right = m->width > 1 ? C : 0, below = m->height > 1 ? m->width * C : 0;

    for (int y = 0; y < height; y++) {
        int row, column;
        float v = place(y, m->height, height, &row);

        for (int x = 0; x < width; x++) {
            float u = place(x, m->width, width, &column);
            const uint8_t *p = m->p + ((size_t)row * (size_t)m->width + (size_t)column) * (size_t)C;

            for (int c = 0; c < C; c++, p++) {
                float top = p[0] + u * (float)(p[right] - p[0]);
                float bottom = p[below] + u * (float)(p[below + right] - p[below]);

                *to++ = (uint8_t)floorf(top + v * (bottom - top) + 0.5f);
            }
        }
    }
}
