/* kymod.ini from anybody: never a crash, never silence; what is accepted survives its own dump. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *dump(const ky_config *c, size_t *ret_len)
{
    char *text = NULL;
    FILE *f = open_memstream(&text, ret_len);

    ky_config_dump(c, f);
    fclose(f);
    return text;
}

/* As a file, with all checks. */
static void load_file(const uint8_t *data, size_t size)
{
    int fd = memfd_create("ini", MFD_CLOEXEC);
    ky_problems problems;
    ky_config *c = NULL;
    char path[64];

    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    if ((ky_config_load(path, NULL, &c, &problems) == KY_OK) != (problems.n == 0))
        abort();
    for (int i = 0; i < problems.n; i++)
        for (const char *p = problems.text[i]; *p != '\0'; p++)
            if ((unsigned char)*p < 0x20)
                abort();
    ky_problems_done(&problems);
    ky_config_free(c);
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ky_config *first = NULL, *second = NULL;
    char *a, *b;
    size_t n, m;
    ky_err err;

    load_file(data, size);
    if (ky_config_of_text((const char *)data, size, &first, &err) != KY_OK)
        return 0;
    a = dump(first, &n);
    if (ky_config_of_text(a, n, &second, &err) != KY_OK)
        abort();
    b = dump(second, &m);
    if (n != m || memcmp(a, b, n) != 0)
        abort();
    free(a);
    free(b);
    ky_config_free(first);
    ky_config_free(second);
    return 0;
}
