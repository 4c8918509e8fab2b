#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/import.h"

enum { HEAD = 4096 };

/* In the order they are tried: those that a file says itself to be come first. */
const ky_format *const ky_import_formats[] = {
    &ky_import_ts,    &ky_import_idx,      &ky_import_wav,
    &ky_import_image, &ky_import_csv_long, &ky_import_csv_wide,
    &ky_import_tsv,   &ky_import_text,     NULL
};

static bool knows(const ky_format *format, const ky_import_file *f)
{
    ky_bytes b = { .gz = NULL };
    char head[HEAD];
    size_t n = 0;
    bool is = ky_bytes_open(f->path, &b, NULL) == KY_OK &&
              ky_bytes_read(&b, head, sizeof head, &n, NULL) == KY_OK &&
              format->is(f->base, head, n);

    ky_bytes_close(&b);
    return is;
}

static const ky_format *format_of(const ky_import_file *f)
{
    for (int k = 0; ky_import_formats[k] != NULL; k++)
        if (knows(ky_import_formats[k], f))
            return ky_import_formats[k];
    return NULL;
}

static int format_named(const char *name, const ky_format **ret, ky_err *err)
{
    char list[256] = "";

    for (int k = 0; ky_import_formats[k] != NULL; k++) {
        if (strcmp(ky_import_formats[k]->name, name) == 0) {
            *ret = ky_import_formats[k];
            return KY_OK;
        }
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", k > 0 ? ", " : "",
                 ky_import_formats[k]->name);
    }
    return ky_fail(err, KY_EINVAL, "--format '%.40s': must be one of %s", name, list);
}

/* The format of the first file that has one; others of a folder are left out. */
static int choose_format(const ky_import_opts *o, ky_import_files *files, const ky_format **ret,
                         ky_err *err)
{
    int kept = 0;

    *ret = NULL;
    if (o->format != NULL)
        return format_named(o->format, ret, err);
    for (int i = 0; *ret == NULL && i < files->n; i++)
        *ret = format_of(&files->file[i]);
    if (*ret == NULL)
        return ky_fail(
            err, KY_EUNSUPPORTED,
            "'%s' is of no format that kymo reads; --format says which it is meant to be",
            files->file[0].path);
    for (int i = 0; i < files->n; i++) {
        ky_import_file f = files->file[i];

        if (!f.named && !knows(*ret, &f)) {
            free(f.path);
            free(f.folder);
            files->left_out++;
        } else {
            files->file[kept++] = f;
        }
    }
    files->n = kept;
    return KY_OK;
}

int ky_import_run(const ky_import_opts *o, const char *const *words, int n, ky_import_report *ret,
                  ky_err *err)
{
    static const enum ky_import_pass passes[] = { KY_IMPORT_SCAN, KY_IMPORT_LEARN,
                                                  KY_IMPORT_WRITE };
    const ky_format *format = NULL;
    ky_import_files files = { .n = 0 };
    ky_import im = { .o = o, .files = &files };
    ky_sink *s = NULL;
    int rc = ky_import_find(words, n, &files, err);

    *ret = (ky_import_report){ .files = 0 };
    if (rc == KY_OK)
        rc = choose_format(o, &files, &format, err);
    if (rc == KY_OK)
        rc = ky_import_check_parts(&files, err);
    if (rc == KY_OK && (s = ky_sink_new(o)) == NULL)
        rc = ky_fail(err, KY_ENOMEM, "no memory");
    for (size_t p = 0; rc == KY_OK && p < sizeof passes / sizeof *passes; p++)
        if (passes[p] != KY_IMPORT_LEARN || format->learns) {
            rc = ky_sink_begin(s, passes[p], err);
            if (rc == KY_OK)
                rc = format->read(&im, s, err);
        }
    if (rc == KY_OK)
        rc = ky_sink_finish(s, ret, err);
    if (rc < 0)
        ky_import_report_done(ret);
    ret->format = format != NULL ? format->name : "";
    ret->files = files.n;
    ret->left_out = files.left_out;
    if (im.own != NULL)
        format->done(im.own);
    ky_sink_free(s);
    ky_import_files_free(&files);
    return rc;
}

void ky_import_report_done(ky_import_report *r)
{
    for (int i = 0; r->classes != NULL && i < r->n_classes; i++)
        free(r->classes[i]);
    free(r->classes);
    free(r->counts);
    r->classes = NULL;
    r->counts = NULL;
}
