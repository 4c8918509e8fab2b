/* Feeds a fuzz target the files of its seed corpus, each whole and cut short: a fuzz target as an
 * ordinary test. The program fuzz_x reads tests/fuzz/corpus/x under KY_SRCDIR. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The input in a block of its exact size, so that a sanitizer sees the first byte too far. */
static void feed(const uint8_t *bytes, size_t size)
{
    uint8_t *exact = malloc(size > 0 ? size : 1);

    memcpy(exact, bytes, size);
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
}

static int replay(const char *path)
{
    FILE *f = fopen(path, "rb");
    size_t cap = 1 << 22, len;
    uint8_t *bytes = malloc(cap);

    if (f == NULL || bytes == NULL) {
        perror(path);
        return 0;
    }
    len = fread(bytes, 1, cap, f);
    fclose(f);
    feed(bytes, len);
    for (size_t part = 1; part < 16; part++)
        feed(bytes, len * part / 16);
    free(bytes);
    return 1;
}

int main(int argc, char **argv)
{
    const char *name = strstr(argv[0], "fuzz_"), *top = getenv("KY_SRCDIR");
    char dir[3000], path[4096];
    struct dirent *e;
    int n = 0;
    DIR *d;

    for (const char *next = name; next != NULL; next = strstr(next + 1, "fuzz_"))
        name = next;
    snprintf(dir, sizeof(dir), "%s/tests/fuzz/corpus/%s", top != NULL ? top : ".",
             name != NULL ? name + 5 : "");
    if (argc > 1)
        snprintf(dir, sizeof(dir), "%s", argv[1]);
    d = opendir(dir);
    if (d == NULL) {
        perror(dir);
        return 1;
    }
    while ((e = readdir(d)) != NULL) {
        if (*e->d_name == '.')
            continue;
        snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
        n += replay(path);
    }
    closedir(d);
    printf("%s: %d files\n", dir, n);
    return n > 0 ? 0 : 1;
}
