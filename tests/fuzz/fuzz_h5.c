/* An HDF5 file from anybody: everything it claims to hold is read or refused. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/h5.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct walk {
    ky_h5 *f;
    char path[600];
    int depth, objects;
};

static void read_dataset(ky_h5 *f, const char *path)
{
    ky_h5_info info;
    char **s;
    size_t n;

    if (ky_h5_stat(f, path, &info, NULL) != KY_OK || info.count > 1 << 18)
        return;
    for (enum ky_h5_type as = KY_H5_F32; as < KY_H5_STR; as++) {
        void *v = malloc(info.count * 8 + 1);

        ky_h5_read(f, path, as, v, info.count, NULL);
        free(v);
    }
    if (ky_h5_read_strs(f, path, &s, &n, NULL) == KY_OK)
        free(s);
}

static int visit(const char *name, bool is_group, void *arg)
{
    static const char *const attrs[] = { "a", "names", "layer_names", "class_names" };
    struct walk *w = arg;
    size_t at = strlen(w->path);

    if (at + strlen(name) + 2 > sizeof(w->path) || ++w->objects > 200)
        return 1;
    sprintf(w->path + at, "/%s", name);
    for (size_t i = 0; i < sizeof(attrs) / sizeof(*attrs); i++) {
        char **s;
        size_t n;
        double d;

        if (ky_h5_attr_strs(w->f, w->path, attrs[i], &s, &n, NULL) == KY_OK)
            free(s);
        ky_h5_attr_num(w->f, w->path, attrs[i], &d, NULL);
    }
    read_dataset(w->f, w->path);
    if (is_group && w->depth < 6) {
        w->depth++;
        ky_h5_list(w->f, w->path, visit, w, NULL);
        w->depth--;
    }
    w->path[at] = '\0';
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct walk w = { .path = "" };

    if (ky_h5_open_image(data, size, &w.f, NULL) != KY_OK)
        return 0;
    ky_h5_list(w.f, "/", visit, &w, NULL);
    ky_h5_close(w.f);
    return 0;
}
