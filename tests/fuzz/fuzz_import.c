/*
 * Files from anybody, as `kymo import` reads them: the first byte says as which format, the second
 * with which options. Everything is read in all passes, only nothing is written.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cli/image.h"
#include "cli/import.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int count_formats(void)
{
    int n = 0;

    while (ky_import_formats[n] != NULL)
        n++;
    return n;
}

/* Images lie in folders, which nothing here makes; their bytes are what matters. */
static void decode(const uint8_t *data, size_t size)
{
    ky_image m = { .p = NULL };

    if (ky_image_measure(data, size, &m, NULL) == KY_OK && (int64_t)m.height * m.width < 1 << 20 &&
        ky_image_decode(data, size, &m, NULL) == KY_OK) {
        uint8_t to[5 * 7 * 3];

        ky_image_resize(&m, 5, 7, to);
        ky_image_to_grey(&m);
    }
    free(m.p);
}

/* A file in memory and the name it is opened by. */
static int put_file(const uint8_t *data, size_t size, char path[64])
{
    int fd = memfd_create("import", MFD_CLOEXEC);

    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    snprintf(path, 64, "/proc/self/fd/%d", fd);
    return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ky_import_opts o = { .time_unit = "s", .words = 20, .fft = 16, .low_hz = 20 };
    ky_import_report r;
    static uint8_t labels[8 + 256] = { 0, 0, 8, 1 };
    char path[64], label_path[64];
    const char *words[] = { path, label_path };
    int fd, label_fd;

    if (size < 2)
        return 0;
    o.format = ky_import_formats[data[0] % count_formats()]->name;
    o.numbers = (data[1] & 1) != 0;
    o.missing = (enum ky_import_missing)((data[1] >> 1) % 3);
    o.length = (data[1] & 8) != 0 ? 3 : 0;
    o.window = (data[1] & 16) != 0 ? 2 : 0;
    o.hop = (data[1] & 32) != 0 ? 1 : 0;
    o.split = (data[1] & 64) != 0 ? 0.3 : 0;
    o.bands = (data[1] & 128) != 0 ? 3 : 0;
    o.label = (data[1] & 8) != 0 ? "1" : NULL;
    o.standardize = (enum ky_standardize)(data[1] % KY_STANDARDIZES);
    o.at_start = (data[1] & 4) != 0;
    decode(data + 2, size - 2);
    fd = put_file(data + 2, size - 2, path);
    /* Images of IDX want as many labels as they say they are. */
    labels[7] = size > 9 ? data[9] : 0;
    label_fd = put_file(labels, sizeof labels, label_path);
    o.name = "{label}"; /* of sound and images: the number of the file */
    ky_import_run(&o, words, o.format == ky_import_idx.name ? 2 : 1, &r, NULL);
    ky_import_report_done(&r);
    close(label_fd);
    close(fd);
    return 0;
}
