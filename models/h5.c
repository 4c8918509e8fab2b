/* Writing HDF5, with the HDF5 library. Reading is h5_read.c's and does without. */
#include "models/h5_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "models/place.h"

#define H5_USE_110_API 1
#include <hdf5.h>

enum {
    MAX_TABLES = 32,          /* growable datasets of one file */
    ATTR_NAMES = 4000,        /* names in one attribute: an object header holds 64 KiB */
    CHUNK_WANTED = 256 << 10, /* bytes of a chunk */
    IMAGE_STEP = 64 << 10,    /* by how much a file in memory grows */
};

struct table {
    char *path;
    enum ky_h5_type type;
    hid_t set;
};

struct ky_h5_writer {
    hid_t file;
    char *tmp; /* the name it is written under; NULL: in memory */
    bool reserved;
    struct table tables[MAX_TABLES];
    int n_tables;
};

/* The library may be built without a lock of its own, and its state is the process's. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void enter(void)
{
    static bool begun;

    pthread_mutex_lock(&lock);
    if (!begun)
        H5dont_atexit(); /* it stumbles there on a file that a full disk did not let it make */
    begun = true;
    H5open();
    H5PLset_loading_state(0);              /* no code from a path in the environment */
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL); /* the error stack is the thread's own */
}

static void leave(void)
{
    pthread_mutex_unlock(&lock);
}

/* -- beginning and ending -- */

/* No times anywhere, so that the same content gives the same bytes. */
static hid_t timeless(hid_t kind)
{
    hid_t p = H5Pcreate(kind);

    H5Pset_obj_track_times(p, 0);
    return p;
}

/* A new file that nobody had, its handles dying with it, NULL: in memory; under the lock. */
static hid_t create_file(const char *tmp)
{
    hid_t fapl = H5Pcreate(H5P_FILE_ACCESS), fcpl = timeless(H5P_FILE_CREATE);

    H5Pset_fclose_degree(fapl, H5F_CLOSE_STRONG);
#if H5_VERSION_GE(1, 10, 7)
    H5Pset_file_locking(fapl, 1, 1); /* a file system without locks is no obstacle */
#endif
    if (tmp == NULL)
        H5Pset_fapl_core(fapl, IMAGE_STEP, 0);
    hid_t file = H5Fcreate(tmp != NULL ? tmp : "memory", H5F_ACC_EXCL, fcpl, fapl);
    H5Pclose(fcpl);
    H5Pclose(fapl);
    return file;
}

/* Under a temporary name, which is taken over; NULL: in memory. */
static int create(const char *path, char *tmp, ky_h5 **ret, ky_err *err)
{
    ky_h5 *f = ky_h5_handle(path);
    ky_h5_writer *w = calloc(1, sizeof(*w));
    int rc = KY_OK;

    if (w == NULL || f == NULL)
        rc = ky_fail(err, KY_ENOMEM, "%s: no memory", path);
    else {
        enter();
        w->file = create_file(tmp);
        leave();
        if (w->file < 0)
            rc = ky_fail(err, KY_EIO, "%s: cannot create a file there", path);
    }
    if (rc < 0) {
        free(tmp);
        free(w);
        ky_h5_close(f);
        return rc;
    }
    w->tmp = tmp;
    f->writer = w;
    *ret = f;
    return KY_OK;
}

int ky_h5_create(const char *path, ky_h5 **ret, ky_err *err)
{
    char *tmp = ky_place_name(path);

    if (tmp == NULL)
        return ky_fail(err, KY_ENOMEM, "%s: no memory", path);
    return create(path, tmp, ret, err);
}

int ky_h5_create_image(ky_h5 **ret, ky_err *err)
{
    return create("(memory)", NULL, ret, err);
}

int ky_h5_reserve(ky_h5 *f, uint64_t bytes, ky_err *err)
{
    ky_h5_writer *w = f->writer;
    int fd = open(w->tmp, O_RDWR | O_CLOEXEC), rc = KY_OK;

    if (fd < 0)
        return ky_fail(err, -errno, "%s: %s", f->path, strerror(errno));
    if (fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)bytes) == 0)
        w->reserved = true;
    else if (errno != EOPNOTSUPP) /* not every file system can */
        rc = ky_fail(err, -errno, "%s: no room for %" PRIu64 " bytes: %s", f->path, bytes,
                     strerror(errno));
    close(fd);
    return rc;
}

/* What was reserved behind the end goes back. */
static bool cut_reserve(const ky_h5_writer *w)
{
    struct stat st;

    return !w->reserved || (stat(w->tmp, &st) == 0 && truncate(w->tmp, st.st_size) == 0);
}

/* Close the library's part; whether all that was written reached the file. */
static bool close_file(ky_h5_writer *w)
{
    enter();
    for (int i = 0; i < w->n_tables; i++) {
        H5Dclose(w->tables[i].set);
        free(w->tables[i].path);
    }
    bool good = H5Fclose(w->file) >= 0;
    leave();
    w->n_tables = 0;
    return good;
}

void ky_h5_abandon(ky_h5_writer *w)
{
    close_file(w);
    if (w->tmp != NULL)
        unlink(w->tmp);
    free(w->tmp);
    free(w);
}

int ky_h5_commit(ky_h5 *f, ky_err *err)
{
    ky_h5_writer *w = f->writer;
    int rc;

    if (close_file(w) && cut_reserve(w))
        rc = ky_place(w->tmp, f->path, err);
    else {
        rc = ky_fail(err, KY_EIO, "%s: cannot write all of it (disk full?)", f->path);
        unlink(w->tmp);
    }
    free(w->tmp);
    free(w);
    f->writer = NULL;
    ky_h5_close(f);
    return rc;
}

/* What a closed file would hold; under the lock. */
static int copy_image(hid_t file, void **ret, size_t *ret_len, ky_err *err)
{
    ssize_t len = H5Fflush(file, H5F_SCOPE_GLOBAL) < 0 ? -1 : H5Fget_file_image(file, NULL, 0);

    if (len < 0)
        return ky_fail(err, KY_EIO, "an HDF5 file in memory: it cannot be finished");
    void *image = malloc((size_t)len + 1);
    if (image == NULL)
        return ky_fail(err, KY_ENOMEM, "an HDF5 file in memory: no memory");
    if (H5Fget_file_image(file, image, (size_t)len) != len) {
        free(image);
        return ky_fail(err, KY_EIO, "an HDF5 file in memory: it cannot be finished");
    }
    *ret = image;
    *ret_len = (size_t)len;
    return KY_OK;
}

int ky_h5_commit_image(ky_h5 *f, void **ret, size_t *ret_len, ky_err *err)
{
    enter();
    int rc = copy_image(f->writer->file, ret, ret_len, err);
    leave();
    ky_h5_close(f);
    return rc;
}

/* -- types -- */

static const size_t type_size[] = {
    [KY_H5_F32] = 4, [KY_H5_F64] = 8, [KY_H5_I8] = 1,  [KY_H5_U8] = 1,  [KY_H5_I16] = 2,
    [KY_H5_I32] = 4, [KY_H5_U32] = 4, [KY_H5_I64] = 8, [KY_H5_U64] = 8,
};

static bool is_number(enum ky_h5_type t)
{
    return t < KY_H5_STR;
}

/* In memory. The library's types are variables, so this is no static table. */
static hid_t native_type(enum ky_h5_type t)
{
    const hid_t types[] = {
        [KY_H5_F32] = H5T_NATIVE_FLOAT,  [KY_H5_F64] = H5T_NATIVE_DOUBLE,
        [KY_H5_I8] = H5T_NATIVE_INT8,    [KY_H5_U8] = H5T_NATIVE_UINT8,
        [KY_H5_I16] = H5T_NATIVE_INT16,  [KY_H5_I32] = H5T_NATIVE_INT32,
        [KY_H5_U32] = H5T_NATIVE_UINT32, [KY_H5_I64] = H5T_NATIVE_INT64,
        [KY_H5_U64] = H5T_NATIVE_UINT64,
    };

    return types[t];
}

/* In the file: the same everywhere. */
static hid_t file_type(enum ky_h5_type t)
{
    const hid_t types[] = {
        [KY_H5_F32] = H5T_IEEE_F32LE, [KY_H5_F64] = H5T_IEEE_F64LE, [KY_H5_I8] = H5T_STD_I8LE,
        [KY_H5_U8] = H5T_STD_U8LE,    [KY_H5_I16] = H5T_STD_I16LE,  [KY_H5_I32] = H5T_STD_I32LE,
        [KY_H5_U32] = H5T_STD_U32LE,  [KY_H5_I64] = H5T_STD_I64LE,  [KY_H5_U64] = H5T_STD_U64LE,
    };

    return types[t];
}

/* -- groups and datasets -- */

static int unwritten(const ky_h5 *f, const char *path, ky_err *err)
{
    return ky_fail(err, KY_EIO, "%s: cannot write '%s' (disk full, or it is there already)",
                   f->path, path);
}

/* A group with its parents, each without times; under the lock. */
static bool make_groups(ky_h5 *f, const char *path)
{
    hid_t gcpl = timeless(H5P_GROUP_CREATE);
    bool good = true;

    for (const char *end = path + strspn(path, "/"); good && *end != '\0';) {
        end += strcspn(end, "/");
        char *part = strndup(path, (size_t)(end - path));

        good = part != NULL;
        if (good && H5Lexists(f->writer->file, part, H5P_DEFAULT) <= 0) {
            hid_t id = H5Gcreate2(f->writer->file, part, H5P_DEFAULT, gcpl, H5P_DEFAULT);

            good = id >= 0;
            H5Gclose(id);
        }
        free(part);
        end += strspn(end, "/");
    }
    H5Pclose(gcpl);
    return good;
}

int ky_h5_group(ky_h5 *f, const char *path, ky_err *err)
{
    enter();
    bool good = make_groups(f, path);
    leave();
    return good ? KY_OK : unwritten(f, path, err);
}

/* A dataset and the groups on its way; under the lock. */
static hid_t make_dataset(ky_h5 *f, const char *path, hid_t type, hid_t space, hid_t dcpl)
{
    const char *slash = strrchr(path, '/');
    char *parent = strndup(path, slash != NULL ? (size_t)(slash - path) : 0);
    hid_t id = H5I_INVALID_HID;

    if (parent != NULL && make_groups(f, parent))
        id = H5Dcreate2(f->writer->file, path, type, space, H5P_DEFAULT, dcpl, H5P_DEFAULT);
    free(parent);
    return id;
}

int ky_h5_put(ky_h5 *f, const char *path, enum ky_h5_type type, int rank, const uint64_t *dims,
              const void *data, ky_err *err)
{
    hsize_t extent[KY_H5_RANK] = { 0 };
    bool good = false, empty = false;

    if (rank < 0 || rank > KY_H5_RANK || !is_number(type))
        return ky_fail(err, KY_EINVAL, "%s: '%s': %d dimensions of type %d", f->path, path, rank,
                       (int)type);
    for (int i = 0; i < rank; i++) {
        extent[i] = dims[i];
        empty = empty || dims[i] == 0;
    }
    enter();
    hid_t space = rank == 0 ? H5Screate(H5S_SCALAR) : H5Screate_simple(rank, extent, NULL);
    hid_t dcpl = timeless(H5P_DATASET_CREATE);
    hid_t set = make_dataset(f, path, file_type(type), space, dcpl);
    if (set >= 0) {
        good = empty || H5Dwrite(set, native_type(type), H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0;
        good = H5Dclose(set) >= 0 && good;
    }
    H5Pclose(dcpl);
    H5Sclose(space);
    leave();
    return good ? KY_OK : unwritten(f, path, err);
}

/* Chunked, shuffled and deflated: every reader's filters. */
static hid_t table_properties(enum ky_h5_type type, int rank, const hsize_t *dims)
{
    hid_t dcpl = timeless(H5P_DATASET_CREATE);
    hsize_t chunk[KY_H5_RANK], row = type_size[type];

    for (int i = 1; i < rank; i++) {
        chunk[i] = dims[i] > 0 ? dims[i] : 1;
        row *= chunk[i];
    }
    chunk[0] = row < CHUNK_WANTED ? CHUNK_WANTED / row : 1;
    H5Pset_chunk(dcpl, rank, chunk);
    H5Pset_shuffle(dcpl);
    H5Pset_deflate(dcpl, 1);
    return dcpl;
}

int ky_h5_table(ky_h5 *f, const char *path, enum ky_h5_type type, int rank,
                const uint64_t *row_dims, ky_err *err)
{
    hsize_t dims[KY_H5_RANK] = { 0 }, most[KY_H5_RANK] = { H5S_UNLIMITED };
    hid_t set = H5I_INVALID_HID;

    if (rank < 1 || rank > KY_H5_RANK || !is_number(type))
        return ky_fail(err, KY_EINVAL, "%s: '%s': %d dimensions of type %d", f->path, path, rank,
                       (int)type);
    if (f->writer->n_tables == MAX_TABLES)
        return ky_fail(err, KY_EFULL, "%s: more than %d growable datasets", f->path, MAX_TABLES);
    for (int i = 1; i < rank; i++)
        dims[i] = most[i] = row_dims[i - 1];
    char *copy = strdup(path);
    if (copy == NULL)
        return ky_fail(err, KY_ENOMEM, "%s: no memory", f->path);
    enter();
    hid_t space = H5Screate_simple(rank, dims, most);
    hid_t dcpl = table_properties(type, rank, dims);
    set = make_dataset(f, path, file_type(type), space, dcpl);
    H5Pclose(dcpl);
    H5Sclose(space);
    leave();
    if (set < 0) {
        free(copy);
        return unwritten(f, path, err);
    }
    f->writer->tables[f->writer->n_tables++] = (struct table){ copy, type, set };
    return KY_OK;
}

/* Grow by n rows and write them; the rows are in the type's native form. */
static bool append_rows(hid_t set, enum ky_h5_type type, const void *rows, uint64_t n)
{
    hsize_t dims[H5S_MAX_RANK], start[H5S_MAX_RANK] = { 0 }, count[H5S_MAX_RANK];
    hid_t space = H5Dget_space(set);
    int rank = H5Sget_simple_extent_dims(space, dims, NULL);
    bool good = rank >= 1;

    H5Sclose(space);
    memcpy(count, dims, sizeof(count));
    if (good) {
        start[0] = dims[0];
        count[0] = n;
        dims[0] += n;
        good = H5Dset_extent(set, dims) >= 0;
    }
    if (good) {
        hid_t file = H5Dget_space(set), memory = H5Screate_simple(rank, count, NULL);

        H5Sselect_hyperslab(file, H5S_SELECT_SET, start, NULL, count, NULL);
        good = H5Dwrite(set, native_type(type), memory, file, H5P_DEFAULT, rows) >= 0;
        H5Sclose(memory);
        H5Sclose(file);
    }
    return good;
}

int ky_h5_append(ky_h5 *f, const char *path, const void *rows, uint64_t n, ky_err *err)
{
    const struct table *t = NULL;

    for (int i = 0; i < f->writer->n_tables; i++)
        if (strcmp(f->writer->tables[i].path, path) == 0)
            t = &f->writer->tables[i];
    if (t == NULL)
        return ky_fail(err, KY_EINVAL, "%s: '%s' was not made to grow", f->path, path);
    if (n == 0)
        return KY_OK;
    enter();
    bool good = append_rows(t->set, t->type, rows, n);
    leave();
    return good ? KY_OK : unwritten(f, path, err);
}

/* Variable-length text: ASCII where it is, as Keras's own files have it. */
static hid_t text_type(const char *const *s, size_t n)
{
    hid_t type = H5Tcopy(H5T_C_S1);

    H5Tset_size(type, H5T_VARIABLE);
    for (size_t i = 0; i < n; i++)
        for (const char *p = s[i]; *p != '\0'; p++)
            if ((unsigned char)*p >= 0x80) {
                H5Tset_cset(type, H5T_CSET_UTF8);
                return type;
            }
    return type;
}

int ky_h5_put_strs(ky_h5 *f, const char *path, const char *const *s, size_t n, ky_err *err)
{
    hsize_t dim = n;
    bool good = false;

    enter();
    hid_t type = text_type(s, n), space = H5Screate_simple(1, &dim, NULL);
    hid_t dcpl = timeless(H5P_DATASET_CREATE);
    hid_t set = make_dataset(f, path, type, space, dcpl);
    if (set >= 0) {
        good = n == 0 || H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, s) >= 0;
        good = H5Dclose(set) >= 0 && good;
    }
    H5Pclose(dcpl);
    H5Sclose(space);
    H5Tclose(type);
    leave();
    return good ? KY_OK : unwritten(f, path, err);
}

/* Write an attribute, in place of one of that name; takes type and space over. */
static int put_attr(ky_h5 *f, const char *path, const char *name, hid_t stored, hid_t memory,
                    hid_t space, const void *data, ky_err *err)
{
    hid_t at = H5Oopen(f->writer->file, path, H5P_DEFAULT);
    bool good = false;

    if (at >= 0) {
        if (H5Aexists(at, name) > 0)
            H5Adelete(at, name);
        hid_t attr = H5Acreate2(at, name, stored, space, H5P_DEFAULT, H5P_DEFAULT);
        if (attr >= 0) {
            good = data == NULL || H5Awrite(attr, memory, data) >= 0;
            good = H5Aclose(attr) >= 0 && good;
        }
        H5Oclose(at);
    }
    H5Sclose(space);
    return good ? KY_OK
                : ky_fail(err, KY_EIO, "%s: cannot write attribute '%s' of '%s'", f->path, name,
                          path);
}

int ky_h5_set_attr_str(ky_h5 *f, const char *path, const char *name, const char *s, ky_err *err)
{
    enter();
    hid_t type = text_type(&s, 1);
    int rc = put_attr(f, path, name, type, type, H5Screate(H5S_SCALAR), &s, err);
    H5Tclose(type);
    leave();
    return rc;
}

/* One attribute's worth of strings. */
static int put_texts(ky_h5 *f, const char *path, const char *name, const char *const *s, size_t n,
                     ky_err *err)
{
    hsize_t dim = n;
    hid_t type = n == 0 ? H5Tcopy(H5T_IEEE_F64LE) : text_type(s, n);
    int rc = put_attr(f, path, name, type, type, H5Screate_simple(1, &dim, NULL), n == 0 ? NULL : s,
                      err);

    H5Tclose(type);
    return rc;
}

int ky_h5_set_attr_strs(ky_h5 *f, const char *path, const char *name, const char *const *s,
                        size_t n, ky_err *err)
{
    int rc = KY_OK;

    enter();
    if (n <= ATTR_NAMES)
        rc = put_texts(f, path, name, s, n, err);
    else
        for (size_t i = 0, at = 0; rc == KY_OK && at < n; i++, at += ATTR_NAMES) {
            char piece[128];

            snprintf(piece, sizeof(piece), "%.100s%zu", name, i);
            rc = put_texts(f, path, piece, s + at, n - at < ATTR_NAMES ? n - at : ATTR_NAMES, err);
        }
    leave();
    return rc;
}

int ky_h5_set_attr_num(ky_h5 *f, const char *path, const char *name, double v, ky_err *err)
{
    enter();
    int rc =
        put_attr(f, path, name, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, H5Screate(H5S_SCALAR), &v, err);
    leave();
    return rc;
}

int ky_h5_set_attr_int(ky_h5 *f, const char *path, const char *name, int64_t v, ky_err *err)
{
    enter();
    int rc =
        put_attr(f, path, name, H5T_STD_I64LE, H5T_NATIVE_INT64, H5Screate(H5S_SCALAR), &v, err);
    leave();
    return rc;
}
