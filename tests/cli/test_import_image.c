/* kymo import of images. */
#include "tests/cli/import.h"

#include <zlib.h>

#include "cli/image.h"
#ifdef KY_WITH_JPEG
#include <jpeglib.h>
#endif

/* -- PNG files made here ---------------------------------------------------------------------- */

static size_t put_big(unsigned char *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (unsigned char)(v >> (24 - 8 * i));
    return 4;
}

static size_t put_chunk(unsigned char *p, const char *type, const void *data, size_t n)
{
    size_t at = put_big(p, (uint32_t)n);

    memcpy(p + at, type, 4);
    memcpy(p + at + 4, data, n);
    return at + 4 + n + put_big(p + at + 4 + n, (uint32_t)crc32(0, p + at, (uInt)(n + 4)));
}

/* color 0: grey, 2: red, green, blue, 6: and alpha. */
static size_t make_png(unsigned char *p, int height, int width, int color, const uint8_t *values)
{
    int channels = color == 0 ? 1 : color == 2 ? 3 : 4;
    unsigned char head[13] = { 0 }, raw[4096], packed[8192];
    uLongf n = sizeof packed;
    size_t at = 8, row = (size_t)(width * channels);

    memcpy(p, "\x89PNG\r\n\x1a\n", 8);
    put_big(head, (uint32_t)width);
    put_big(head + 4, (uint32_t)height);
    head[8] = 8;
    head[9] = (unsigned char)color;
    at += put_chunk(p + at, "IHDR", head, 13);
    for (int y = 0; y < height; y++) {
        raw[(size_t)y * (row + 1)] = 0; /* no filter */
        memcpy(raw + (size_t)y * (row + 1) + 1, values + (size_t)y * row, row);
    }
    assert_int_equal(compress(packed, &n, raw, (uLong)((row + 1) * (size_t)height)), Z_OK);
    at += put_chunk(p + at, "IDAT", packed, n);
    return at + put_chunk(p + at, "IEND", "", 0);
}

static void put_png(const char *name, int height, int width, int color, const uint8_t *values)
{
    unsigned char bytes[8192];

    put_bytes(name, bytes, make_png(bytes, height, width, color, values));
}

static void need_png(void)
{
#ifndef KY_WITH_PNG
    print_message("SKIP this build reads no PNG images\n");
    skip();
#endif
}

static void folders_of_images_are_classes(void **state)
{
    (void)state;
    static const uint8_t a[] = { 1, 2, 3, 4 }, b[] = { 5, 6, 7, 8 };

    need_png();
    put_folder("grey");
    put_folder("grey/cat");
    put_folder("grey/dog");
    put_png("grey/cat/1.png", 2, 2, 0, a);
    put_png("grey/dog/1.png", 2, 2, 0, b);
    put_text("grey/dog/notes.txt", "of no interest\n");

    ran *r = run("import|grey|-o|grey.h5");
    assert_int_equal(r->code, 0);
    assert_non_null(strstr(r->out, "1 others left out"));
    HOLDS("grey.h5", "/X", DIMS(2, 2, 2, 1), 1, 2, 3, 4, 5, 6, 7, 8);
    assert_string_equal(strings_of("grey.h5", "class_names"), "cat|dog");
}

static void colours_grey_and_transparent_ones_become_alike(void **state)
{
    (void)state;
    static const uint8_t grey[] = { 10, 20 }, rgb[] = { 255, 0, 0, 0, 0, 255 },
                         rgba[] = { 9, 9, 9, 255, 200, 200, 200, 0 };

    need_png();
    put_png("a_1.png", 1, 2, 0, grey);
    put_png("b_1.png", 1, 2, 2, rgb);
    put_png("c_1.png", 1, 2, 6, rgba);

    run_well("import|a_1.png|b_1.png|c_1.png|-o|color.h5");
    run_well("import|a_1.png|b_1.png|c_1.png|--grey|-o|grey.h5");

    HOLDS("color.h5", "/X", DIMS(3, 1, 2, 3), 10, 10, 10, 20, 20, 20, 255, 0, 0, 0, 0, 255, 9, 9, 9,
          0, 0, 0);
    HOLDS("grey.h5", "/X", DIMS(3, 1, 2, 1), 10, 20, 76, 29, 9, 0);
}

/* Half-pixel centres: of 2 pixels made 4, the outer ones stay, the inner lie at 1/4 and 3/4. */
static void sizes_are_made_alike(void **state)
{
    (void)state;
    static const uint8_t two[] = { 0, 100 }, four[] = { 0, 100, 50, 250 };

    need_png();
    put_png("a_two.png", 1, 2, 0, two);
    put_png("b_four.png", 1, 4, 0, four);

    run_well("import|a_two.png|b_four.png|--size|1x4|-o|wide.h5");
    run_well("import|a_two.png|b_four.png|--size|2|-o|square.h5");

    HOLDS("wide.h5", "/X", DIMS(2, 1, 4, 1), 0, 25, 75, 100, 0, 100, 50, 250);
    HOLDS("square.h5", "/X", DIMS(2, 2, 2, 1), 0, 100, 0, 100, 50, 150, 50, 150);
    fails("import|a_two.png|b_four.png|-o|bad.h5", "--size HxW makes them alike");
    assert_int_equal(run("import|a_two.png|--size|0x4|-o|bad.h5")->code, 2);
}

static void a_damaged_png_is_refused(void **state)
{
    (void)state;
    static const uint8_t values[] = { 1, 2, 3, 4 };
    unsigned char good[512], b[512];
    size_t n = make_png(good, 2, 2, 0, values);

    need_png();
    for (size_t cut = 0; cut < n - 12; cut++) { /* what is behind IDAT says nothing */
        ky_image m = { .p = NULL };

        assert_true(ky_image_decode(good, cut, &m, NULL) < 0);
        assert_null(m.p);
    }
    for (size_t at = 0; at < n - 12; at++) { /* a checksum is over every byte */
        ky_image m = { .p = NULL };

        memcpy(b, good, n);
        b[at] ^= 0x10;
        if (ky_image_decode(b, n, &m, NULL) == KY_OK) /* all but the length of a chunk */
            assert_memory_equal(m.p, values, 4);
        free(m.p);
    }
    memcpy(b, good, n);
    put_big(b + 16, 70000);
    put_big(b + 20, 70000);
    put_big(b + 29, (uint32_t)crc32(0, b + 12, 17));
    put_bytes("huge_1.png", b, n);
    fails("import|huge_1.png|-o|bad.h5", "'huge_1.png': a PNG image of 70000 x 70000 pixels");
    put_big(b + 16, 8000);
    put_big(b + 20, 8000);
    put_big(b + 29, (uint32_t)crc32(0, b + 12, 17));
    put_bytes("claims_1.png", b, n);
    fails("import|claims_1.png|-o|bad.h5", "a PNG image that says it has 8000 x 8000 pixels, in");
    put_bytes("cut_1.png", good, n - 30);
    fails("import|cut_1.png|-o|bad.h5", "a PNG image that is damaged");
}

/* -- JPEG ------------------------------------------------------------------------------------- */

#ifdef KY_WITH_JPEG
/* A plain image of one colour, which JPEG keeps to a step. */
static size_t make_jpeg(unsigned char **to, int size, int channels, int value)
{
    struct jpeg_compress_struct c;
    struct jpeg_error_mgr errors;
    unsigned long n = 0;
    JSAMPLE line[64 * 3];
    JSAMPROW row = line;

    memset(line, value, sizeof line);
    c.err = jpeg_std_error(&errors);
    jpeg_create_compress(&c);
    *to = NULL;
    jpeg_mem_dest(&c, to, &n);
    c.image_height = c.image_width = (JDIMENSION)size;
    c.input_components = channels;
    c.in_color_space = channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_set_defaults(&c);
    jpeg_set_quality(&c, 95, TRUE);
    jpeg_start_compress(&c, TRUE);
    while (c.next_scanline < c.image_height)
        jpeg_write_scanlines(&c, &row, 1);
    jpeg_finish_compress(&c);
    jpeg_destroy_compress(&c);
    return n;
}
#endif

static void jpeg_images_are_read_and_damaged_ones_refused(void **state)
{
    (void)state;
#ifndef KY_WITH_JPEG
    print_message("SKIP this build reads no JPEG images\n");
    skip();
#else
    unsigned char *bytes;
    size_t n = make_jpeg(&bytes, 16, 3, 100);
    ky_image m = { .p = NULL };

    assert_int_equal(ky_image_decode(bytes, n, &m, NULL), KY_OK);
    assert_true(m.height == 16 && m.width == 16 && m.channels == 3);
    for (int i = 0; i < 16 * 16 * 3; i++)
        assert_in_range(m.p[i], 98, 102); /* a step of the quantisation at quality 95 */
    free(m.p);
    for (size_t cut = 0; cut < n; cut++) {
        m.p = NULL;
        if (cut < n - 2) /* the end mark alone changes nothing */
            assert_true(ky_image_decode(bytes, cut, &m, NULL) < 0);
        free(m.p);
    }
    for (size_t at = 3; at < n; at++) { /* none of them brings it down */
        bytes[at] ^= 0x55;
        m.p = NULL;
        ky_image_decode(bytes, n, &m, NULL);
        free(m.p);
        bytes[at] ^= 0x55;
    }
    put_folder("photos");
    put_folder("photos/x");
    put_bytes("photos/x/1.jpg", bytes, n);
    free(bytes);
    n = make_jpeg(&bytes, 32, 1, 7);
    put_bytes("photos/x/2.jpeg", bytes, n);
    run_well("import|photos|--size|1|--grey|-o|photos.h5");
    ky_h5_info i;
    ky_h5 *f = open_h5("photos.h5");
    double *v = values_of(f, "/X", &i);
    assert_in_range((int)v[0], 98, 102);
    assert_in_range((int)v[1], 5, 9);
    free(v);
    ky_h5_close(f);
    put_bytes("bad_1.jpg", bytes, n / 2);
    free(bytes);
    fails("import|bad_1.jpg|-o|bad.h5", "a JPEG image that is damaged");
#endif
}

#ifndef KY_WITH_PNG
static void without_the_library_the_message_says_what_to_install(void **state)
{
    (void)state;
    put_bytes("a_1.png", "\x89PNG\r\n\x1a\n", 8);
    fails("import|a_1.png|-o|bad.h5", "--with-png");
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folders_of_images_are_classes),
        cmocka_unit_test(colours_grey_and_transparent_ones_become_alike),
        cmocka_unit_test(sizes_are_made_alike),
        cmocka_unit_test(a_damaged_png_is_refused),
        cmocka_unit_test(jpeg_images_are_read_and_damaged_ones_refused),
#ifndef KY_WITH_PNG
        cmocka_unit_test(without_the_library_the_message_says_what_to_install),
#endif
    };

    return cmocka_run_group_tests(tests, import_set_up, import_tear_down);
}
