#include "models/h5.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define H5_USE_110_API 1
#include <hdf5.h>

#include "models/h5raw.h"

enum {
    MAX_DEPTH = 16,           /* names in a path */
    MAX_MEMBERS = 1 << 20,    /* of one group */
    MAX_STRINGS = 1 << 20,    /* of one array */
    MAX_RATIO = 1000,         /* declared bytes to stored bytes */
    MAX_TABLES = 32,          /* growable datasets of one file */
    ATTR_NAMES = 4000,        /* names in one attribute: an object header holds 64 KiB */
    CHUNK_WANTED = 256 << 10, /* bytes of a chunk we write */
    MAX_STRING = 64 << 20,    /* bytes of one string */
};
#define MAX_CHUNK   ((uint64_t)256 << 20) /* bytes: HDF5 unpacks a chunk whole */
#define MAX_DATASET ((uint64_t)64 << 30)  /* declared bytes */

struct table {
    char *path;
    hid_t set;
};

struct ky_h5 {
    hid_t file;
    char *path;
    char *tmp; /* the name it is written under; NULL when reading */
    uint64_t bytes;
    ky_h5raw raw; /* when reading */
    struct table tables[MAX_TABLES];
    int n_tables;
};

/* The library may be built without a lock of its own, and its global state is not worth a finer
 * one. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void enter(void)
{
    static bool ready;

    pthread_mutex_lock(&lock);
    if (!ready) {
        H5open();
        H5PLset_loading_state(0); /* a file must not be able to name code to load */
        ready = true;
    }
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL); /* the error stack is the thread's own */
}

static void leave(void)
{
    pthread_mutex_unlock(&lock);
}

/* -- opening and closing -- */

static ky_h5 *new_handle(const char *path)
{
    ky_h5 *f = calloc(1, sizeof(*f));

    if (f == NULL)
        return NULL;
    f->file = H5I_INVALID_HID;
    f->path = strdup(path);
    if (f->path == NULL) {
        free(f);
        return NULL;
    }
    return f;
}

/* Access properties: handles die with the file; a file system without locks is no obstacle. */
static hid_t new_access(void)
{
    hid_t fapl = H5Pcreate(H5P_FILE_ACCESS);

    H5Pset_fclose_degree(fapl, H5F_CLOSE_STRONG);
#if H5_VERSION_GE(1, 10, 7)
    H5Pset_file_locking(fapl, 1, 1);
#endif
    return fapl;
}

/* What the library would only call an error: no such file, no file, or a writer at work. */
static int check_openable(const char *path, uint64_t *ret_bytes, ky_err *err)
{
    struct stat st;
    int rc = KY_OK, fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        return ky_fail(err, -errno, "%s: %s", path, strerror(errno));
    if (fstat(fd, &st) != 0)
        rc = ky_fail(err, KY_EIO, "%s: %s", path, strerror(errno));
    else if (!S_ISREG(st.st_mode))
        rc = ky_fail(err, KY_EINVAL, "%s: not a regular file", path);
    else if (flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        rc = ky_fail(err, KY_EBUSY, "%s: somebody is writing it", path);
    else
        *ret_bytes = (uint64_t)st.st_size;
    close(fd);
    return rc;
}

/* Where the bytes are that we read past the library: its own descriptor, or its copy of an image.
 */
static int find_raw(ky_h5 *f, bool image, ky_err *err)
{
    hid_t fcpl = H5Fget_create_plist(f->file);
    size_t address = 0, length = 0;
    hsize_t block = 0;
    void *handle = NULL;
    bool good = fcpl >= 0 && H5Pget_sizes(fcpl, &address, &length) >= 0 &&
                H5Pget_userblock(fcpl, &block) >= 0 &&
                H5Fget_vfd_handle(f->file, H5P_DEFAULT, &handle) >= 0 && handle != NULL;

    H5Pclose(fcpl);
    if (!good || block > f->bytes)
        return ky_fail(err, KY_EFORMAT, "%s: a damaged HDF5 file", f->path);
    if (address != 8 || length != 8)
        return ky_fail(err, KY_EUNSUPPORTED, "%s: addresses of %zu bytes, kymo reads 8", f->path,
                       address);
    f->raw = (ky_h5raw){ .fd = image ? -1 : *(int *)handle,
                         .image = image ? *(unsigned char **)handle : NULL,
                         .bytes = f->bytes,
                         .base = block };
    return KY_OK;
}

int ky_h5_open(const char *path, ky_h5 **ret, ky_err *err)
{
    uint64_t bytes = 0;
    int rc = check_openable(path, &bytes, err);
    if (rc < 0)
        return rc;
    ky_h5 *f = new_handle(path);
    if (f == NULL)
        return ky_fail(err, KY_ENOMEM, "%s: no memory", path);

    enter();
    hid_t fapl = new_access();
    f->file = H5Fopen(path, H5F_ACC_RDONLY, fapl);
    H5Pclose(fapl);
    f->bytes = bytes;
    rc = f->file < 0 ? ky_fail(err, KY_EFORMAT, "%s: not an HDF5 file, or a damaged one", path)
                     : find_raw(f, false, err);
    leave();
    if (rc < 0)
        ky_h5_close(f);
    else
        *ret = f;
    return rc;
}

int ky_h5_open_image(const void *image, size_t len, ky_h5 **ret, ky_err *err)
{
    ky_h5 *f = new_handle("(memory)");
    if (f == NULL)
        return ky_fail(err, KY_ENOMEM, "an HDF5 file in memory: no memory");

    enter();
    hid_t fapl = new_access();
    H5Pset_fapl_core(fapl, 1 << 16, 0);
    if (len > 0 && H5Pset_file_image(fapl, (void *)(uintptr_t)image, len) >= 0)
        f->file = H5Fopen("kymo-image", H5F_ACC_RDONLY, fapl);
    H5Pclose(fapl);
    f->bytes = len;
    int rc = f->file < 0
                 ? ky_fail(err, KY_EFORMAT, "%zu bytes: not an HDF5 file, or a damaged one", len)
                 : find_raw(f, true, err);
    leave();
    if (rc < 0)
        ky_h5_close(f);
    else
        *ret = f;
    return rc;
}

/* No times anywhere, so that the same content gives the same bytes. */
static hid_t timeless(hid_t kind)
{
    hid_t p = H5Pcreate(kind);

    H5Pset_obj_track_times(p, 0);
    return p;
}

int ky_h5_create(const char *path, ky_h5 **ret, ky_err *err)
{
    static unsigned serial;
    ky_h5 *f = new_handle(path);

    if (f == NULL)
        return ky_fail(err, KY_ENOMEM, "%s: no memory", path);
    enter();
    if (asprintf(&f->tmp, "%s.tmp-%ld-%u", path, (long)getpid(), serial++) < 0)
        f->tmp = NULL;
    if (f->tmp != NULL) {
        hid_t fapl = new_access(), fcpl = timeless(H5P_FILE_CREATE);

        f->file = H5Fcreate(f->tmp, H5F_ACC_EXCL, fcpl, fapl);
        H5Pclose(fcpl);
        H5Pclose(fapl);
    }
    leave();
    if (f->file < 0) {
        ky_h5_close(f);
        return ky_fail(err, KY_EIO, "%s: cannot create a file there", path);
    }
    *ret = f;
    return KY_OK;
}

static void free_tables(ky_h5 *f)
{
    for (int i = 0; i < f->n_tables; i++) {
        H5Dclose(f->tables[i].set);
        free(f->tables[i].path);
    }
    f->n_tables = 0;
}

/* Close the library's part; whether all that was written reached the file. */
static bool close_file(ky_h5 *f)
{
    enter();
    free_tables(f);
    bool good = f->file >= 0 && H5Fclose(f->file) >= 0;
    f->file = H5I_INVALID_HID;
    leave();
    return good;
}

void ky_h5_close(ky_h5 *f)
{
    if (f == NULL)
        return;
    bool made = f->file >= 0 && f->tmp != NULL;
    close_file(f);
    if (made)
        unlink(f->tmp);
    free(f->tmp);
    free(f->path);
    free(f);
}

static int sync_path(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC);

    if (fd < 0)
        return -1;
    int rc = fsync(fd);
    close(fd);
    return rc;
}

/* The folder of a path; free(). */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    if (slash == NULL)
        return strdup(".");
    return slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
}

int ky_h5_commit(ky_h5 *f, ky_err *err)
{
    int rc = KY_OK;
    char *folder = folder_of(f->path);

    if (folder == NULL)
        rc = ky_fail(err, KY_ENOMEM, "%s: no memory", f->path);
    else if (!close_file(f))
        rc = ky_fail(err, KY_EIO, "%s: cannot write all of it (disk full?)", f->path);
    /* Synced before the rename, so a crash leaves the old file or the whole new one. */
    else if (sync_path(f->tmp, O_RDONLY) != 0 || rename(f->tmp, f->path) != 0 ||
             sync_path(folder, O_RDONLY | O_DIRECTORY) != 0)
        rc = ky_fail(err, -errno, "%s: %s", f->path, strerror(errno));
    if (rc < 0)
        unlink(f->tmp);
    free(folder);
    ky_h5_close(f);
    return rc;
}

/* -- finding an object -- */

/* Open the member `name` of a group, if a plain hard link leads there. */
static hid_t open_member(hid_t group, const char *name, const char *path, ky_err *err)
{
    H5L_info_t link;

    if (H5Lget_info(group, name, &link, H5P_DEFAULT) < 0) {
        ky_fail(err, KY_ENOENT, "no '%s'", path);
        return H5I_INVALID_HID;
    }
    if (link.type != H5L_TYPE_HARD) {
        ky_fail(err, KY_EUNSUPPORTED,
                "'%s': '%s' is a soft or external link, which is not followed", path, name);
        return H5I_INVALID_HID;
    }
    hid_t id = H5Oopen(group, name, H5P_DEFAULT);
    if (id < 0)
        ky_fail(err, KY_EFORMAT, "'%s': '%s' is damaged", path, name);
    return id;
}

/* Open what an absolute path names: a group or a dataset. The error's code is in err->code. */
static hid_t open_path(ky_h5 *f, const char *path, ky_err *err)
{
    hid_t at = H5Gopen2(f->file, "/", H5P_DEFAULT);
    int depth = 0;

    if (at < 0)
        ky_fail(err, KY_EFORMAT, "the root group is damaged");
    for (const char *p = path; at >= 0;) {
        p += strspn(p, "/");
        size_t n = strcspn(p, "/");
        if (n == 0)
            break;
        char *name = strndup(p, n);
        hid_t next = H5I_INVALID_HID;

        if (name == NULL)
            ky_fail(err, KY_ENOMEM, "'%s': no memory", path);
        else if (++depth > MAX_DEPTH)
            ky_fail(err, KY_EFULL, "'%s': deeper than %d groups", path, MAX_DEPTH);
        else if (H5Iget_type(at) != H5I_GROUP)
            ky_fail(err, KY_ENOENT, "no '%s'", path);
        else
            next = open_member(at, name, path, err);
        free(name);
        H5Oclose(at);
        at = next;
        p += n;
    }
    return at;
}

static hid_t open_kind(ky_h5 *f, const char *path, H5I_type_t kind, ky_err *err)
{
    hid_t id = open_path(f, path, err);

    if (id >= 0 && H5Iget_type(id) != kind) {
        H5Oclose(id);
        ky_fail(err, KY_EFORMAT, "'%s' is not a %s", path,
                kind == H5I_DATASET ? "dataset" : "group");
        return H5I_INVALID_HID;
    }
    return id;
}

/* What opening failed with; `err` may be the caller's NULL, so the opener had one of its own. */
static int failed(const ky_h5 *f, const ky_err *own, ky_err *err)
{
    return ky_fail(err, own->code, "%s: %s", f->path, own->text);
}

bool ky_h5_exists(ky_h5 *f, const char *path)
{
    enter();
    hid_t id = open_path(f, path, NULL);
    if (id >= 0)
        H5Oclose(id);
    leave();
    return id >= 0;
}

bool ky_h5_is_group(ky_h5 *f, const char *path)
{
    enter();
    hid_t id = open_path(f, path, NULL);
    bool group = id >= 0 && H5Iget_type(id) == H5I_GROUP;
    if (id >= 0)
        H5Oclose(id);
    leave();
    return group;
}

struct member {
    char *name;
    bool is_group;
};

struct members {
    struct member *m;
    size_t n, room;
};

static herr_t add_member(hid_t group, const char *name, const H5L_info_t *link, void *arg)
{
    struct members *all = arg;
    H5O_info_t about;

    if (link->type != H5L_TYPE_HARD)
        return 0;
    if (H5Oget_info_by_name2(group, name, &about, H5O_INFO_BASIC, H5P_DEFAULT) < 0)
        return -1;
    if (all->n == MAX_MEMBERS)
        return -1;
    if (all->n == all->room) {
        size_t room = all->room * 2 + 16;
        struct member *more = realloc(all->m, room * sizeof(*more));

        if (more == NULL)
            return -1;
        all->m = more;
        all->room = room;
    }
    char *copy = strdup(name);
    if (copy == NULL)
        return -1;
    all->m[all->n++] = (struct member){ copy, about.type == H5O_TYPE_GROUP };
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct member *)a)->name, ((const struct member *)b)->name);
}

int ky_h5_list(ky_h5 *f, const char *group, int (*fn)(const char *name, bool is_group, void *arg),
               void *arg, ky_err *err)
{
    struct members all = { 0 };
    ky_err own = { 0 };
    herr_t good = -1;
    int rc = KY_OK;

    enter();
    hid_t id = open_kind(f, group, H5I_GROUP, &own);
    if (id >= 0) {
        good = H5Literate(id, H5_INDEX_NAME, H5_ITER_NATIVE, NULL, add_member, &all);
        H5Oclose(id);
    }
    leave();
    if (id < 0)
        rc = failed(f, &own, err);
    else if (good < 0)
        rc = ky_fail(err, KY_EFORMAT, "%s: group '%s' is damaged or has over %d members", f->path,
                     group, MAX_MEMBERS);
    if (all.n > 0)
        qsort(all.m, all.n, sizeof(*all.m), by_name);
    /* Outside the lock: fn may read the file. */
    for (size_t i = 0; rc == KY_OK && i < all.n; i++)
        rc = fn(all.m[i].name, all.m[i].is_group, arg);
    for (size_t i = 0; i < all.n; i++)
        free(all.m[i].name);
    free(all.m);
    return rc;
}

/* -- types and guards -- */

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

/* In a file we write. */
static hid_t file_type(enum ky_h5_type t)
{
    const hid_t types[] = {
        [KY_H5_F32] = H5T_IEEE_F32LE, [KY_H5_F64] = H5T_IEEE_F64LE, [KY_H5_I8] = H5T_STD_I8LE,
        [KY_H5_U8] = H5T_STD_U8LE,    [KY_H5_I16] = H5T_STD_I16LE,  [KY_H5_I32] = H5T_STD_I32LE,
        [KY_H5_U32] = H5T_STD_U32LE,  [KY_H5_I64] = H5T_STD_I64LE,  [KY_H5_U64] = H5T_STD_U64LE,
    };

    return types[t];
}

static enum ky_h5_type classify_integer(hid_t type)
{
    size_t size = H5Tget_size(type);
    bool sign = H5Tget_sign(type) == H5T_SGN_2;

    /* Packed bit fields would go through the library's least trodden conversions. */
    if (H5Tget_precision(type) != 8 * size || H5Tget_offset(type) != 0)
        return KY_H5_OTHER;
    switch (size) {
    case 1:
        return sign ? KY_H5_I8 : KY_H5_U8;
    case 2:
        return sign ? KY_H5_I16 : KY_H5_U32;
    case 4:
        return sign ? KY_H5_I32 : KY_H5_U32;
    case 8:
        return sign ? KY_H5_I64 : KY_H5_U64;
    default:
        return KY_H5_OTHER;
    }
}

static enum ky_h5_type classify_float(hid_t type)
{
    size_t sign = 0, exp = 0, exp_bits = 0, frac = 0, frac_bits = 0;

    if (H5Tequal(type, H5T_IEEE_F32LE) > 0 || H5Tequal(type, H5T_IEEE_F32BE) > 0)
        return KY_H5_F32;
    if (H5Tequal(type, H5T_IEEE_F64LE) > 0 || H5Tequal(type, H5T_IEEE_F64BE) > 0)
        return KY_H5_F64;
    /* numpy's float16 */
    if (H5Tget_size(type) == 2 && H5Tget_precision(type) == 16 &&
        H5Tget_fields(type, &sign, &exp, &exp_bits, &frac, &frac_bits) >= 0 && sign == 15 &&
        exp == 10 && exp_bits == 5 && frac == 0 && frac_bits == 10 && H5Tget_ebias(type) == 15)
        return KY_H5_F32;
    return KY_H5_OTHER;
}

static enum ky_h5_type classify(hid_t type)
{
    enum ky_h5_type t = KY_H5_OTHER;

    switch (H5Tget_class(type)) {
    case H5T_INTEGER:
        return classify_integer(type);
    case H5T_FLOAT:
        return classify_float(type);
    case H5T_STRING:
        return KY_H5_STR;
    case H5T_ENUM: { /* how h5py stores bool */
        hid_t base = H5Tget_super(type);

        if (base >= 0 && H5Tget_class(base) == H5T_INTEGER)
            t = classify_integer(base);
        H5Tclose(base);
        return t;
    }
    default:
        return KY_H5_OTHER;
    }
}

enum { REF = 16 }; /* bytes of a reference to variable-length text */

/* Bytes of a value in the file; the library tells that of a pointer in memory for such text. */
static size_t stored_size(hid_t type)
{
    return H5Tis_variable_str(type) > 0 ? REF : H5Tget_size(type);
}

/* Rank, dimensions and count of a dataspace. */
static int space_shape(hid_t space, ky_h5_info *ret, ky_err *err)
{
    hsize_t dims[H5S_MAX_RANK] = { 0 };
    H5S_class_t class = H5Sget_simple_extent_type(space);
    int rank = class == H5S_SIMPLE ? H5Sget_simple_extent_dims(space, dims, NULL) : 0;
    size_t count = class == H5S_NULL ? 0 : 1;

    if (class == H5S_NO_CLASS || rank < 0)
        return ky_fail(err, KY_EFORMAT, "its shape is damaged");
    if (rank > KY_H5_RANK)
        return ky_fail(err, KY_EUNSUPPORTED, "%d dimensions, at most %d are read", rank,
                       KY_H5_RANK);
    for (int i = 0; i < rank; i++) {
        if (ky_size_mul(count, (size_t)dims[i], &count) < 0)
            return ky_fail(err, KY_EFULL, "it declares more elements than there are addresses");
        ret->dims[i] = dims[i];
    }
    ret->rank = rank;
    ret->count = count;
    return KY_OK;
}

static int check_filters(hid_t dcpl, ky_err *err)
{
    int n = H5Pget_nfilters(dcpl);

    if (n < 0 || n > 4)
        return ky_fail(err, KY_EFORMAT, "%d filters", n);
    for (int i = 0; i < n; i++) {
        unsigned flags, config, values[8];
        size_t n_values = 8;
        H5Z_filter_t id =
            H5Pget_filter2(dcpl, (unsigned)i, &flags, &n_values, values, 0, NULL, &config);

        if (id != H5Z_FILTER_DEFLATE && id != H5Z_FILTER_SHUFFLE && id != H5Z_FILTER_FLETCHER32)
            return ky_fail(err, KY_EUNSUPPORTED,
                           "filter %d; only deflate, shuffle and fletcher32 are read", (int)id);
    }
    return KY_OK;
}

/* Declared sizes against what is really there, before anything is allocated for them. */
static int check_storage(const ky_h5 *f, hid_t set, hid_t dcpl, size_t count, size_t size,
                         ky_err *err)
{
    H5D_layout_t layout = H5Pget_layout(dcpl);
    uint64_t stored = H5Dget_storage_size(set), bytes = 0, chunk = size;
    hsize_t dims[KY_H5_RANK + 1] = { 0 };

    if (__builtin_mul_overflow((uint64_t)count, (uint64_t)size, &bytes) || bytes > MAX_DATASET)
        return ky_fail(err, KY_EFULL, "it declares %zu elements of %zu bytes, at most %llu GiB",
                       count, size, (unsigned long long)(MAX_DATASET >> 30));
    if (H5Pget_external_count(dcpl) != 0)
        return ky_fail(err, KY_EUNSUPPORTED, "its data is in another file, which is not followed");
    if (layout != H5D_COMPACT && layout != H5D_CONTIGUOUS && layout != H5D_CHUNKED)
        return ky_fail(err, KY_EUNSUPPORTED, "a virtual dataset, which is not followed");
    int rank = layout == H5D_CHUNKED ? H5Pget_chunk(dcpl, KY_H5_RANK, dims) : 0;
    for (int i = 0; i < rank; i++)
        if (__builtin_mul_overflow(chunk, (uint64_t)dims[i], &chunk) || chunk > MAX_CHUNK)
            return ky_fail(err, KY_EFULL, "its chunks are larger than %llu MiB",
                           (unsigned long long)(MAX_CHUNK >> 20));
    if (bytes == 0)
        return KY_OK;
    if (stored == 0 || stored > f->bytes || bytes / MAX_RATIO > stored ||
        (layout != H5D_CHUNKED && stored < bytes))
        return ky_fail(err, KY_EFULL, "it declares %llu bytes and stores %llu in a file of %llu",
                       (unsigned long long)bytes, (unsigned long long)stored,
                       (unsigned long long)f->bytes);
    return KY_OK;
}

/* All guards of a dataset that is open; *ret_type is to be closed. */
static int check_dataset(const ky_h5 *f, hid_t set, ky_h5_info *ret, hid_t *ret_type, ky_err *err)
{
    ky_h5_info info = { 0 };
    hid_t space = H5Dget_space(set), type = H5Dget_type(set), dcpl = H5Dget_create_plist(set);
    size_t size = type < 0 ? 0 : stored_size(type);
    int rc;

    if (space < 0 || type < 0 || dcpl < 0 || size == 0)
        rc = ky_fail(err, KY_EFORMAT, "its header is damaged");
    else
        rc = space_shape(space, &info, err);
    if (rc == KY_OK)
        rc = check_filters(dcpl, err);
    if (rc == KY_OK)
        rc = check_storage(f, set, dcpl, info.count, size, err);
    if (rc == KY_OK) {
        info.type = classify(type);
        *ret = info;
        *ret_type = type;
        type = H5I_INVALID_HID;
    }
    H5Sclose(space);
    H5Pclose(dcpl);
    H5Tclose(type);
    return rc;
}

/* Open a dataset and look at it: its handle, or the error's code. */
static int open_dataset(ky_h5 *f, const char *path, hid_t *ret, ky_h5_info *ret_info,
                        hid_t *ret_type, ky_err *err)
{
    ky_err own = { 0 };
    hid_t set = open_kind(f, path, H5I_DATASET, &own);

    if (set < 0)
        return failed(f, &own, err);
    int rc = check_dataset(f, set, ret_info, ret_type, &own);
    if (rc < 0) {
        H5Dclose(set);
        return ky_fail(err, rc, "%s: dataset '%s': %s", f->path, path, own.text);
    }
    *ret = set;
    return KY_OK;
}

int ky_h5_stat(ky_h5 *f, const char *dataset, ky_h5_info *ret, ky_err *err)
{
    hid_t set, type;

    enter();
    int rc = open_dataset(f, dataset, &set, ret, &type, err);
    if (rc == KY_OK) {
        H5Tclose(type);
        H5Dclose(set);
    }
    leave();
    return rc;
}

/* -- chunks: found by the library, unpacked by us -- */

/* A selection of whole rows, [first, first+n) along axis 0, of a chunked dataset. */
struct selection {
    const ky_h5 *f;
    hid_t set, dcpl, type; /* type: of a value in the file */
    hid_t memory;          /* of a value in `to`; the file's own: as stored */
    size_t size, to_size;  /* of a value, stored and in `to` */
    ky_h5raw_pipeline pipeline;
    int rank;
    hsize_t first, n, dims[KY_H5_RANK], chunk[KY_H5_RANK];
    size_t chunk_values;
    unsigned char *packed, *values; /* one chunk */
    size_t packed_room;
};

static int read_pipeline(hid_t dcpl, size_t element, ky_h5raw_pipeline *ret)
{
    *ret = (ky_h5raw_pipeline){ .n = H5Pget_nfilters(dcpl), .element = element };
    for (int i = 0; i < ret->n; i++) {
        unsigned flags, config, values[8];
        size_t n_values = 8;
        H5Z_filter_t id =
            H5Pget_filter2(dcpl, (unsigned)i, &flags, &n_values, values, 0, NULL, &config);

        ret->filter[i] = id == H5Z_FILTER_DEFLATE   ? KY_H5RAW_DEFLATE
                         : id == H5Z_FILTER_SHUFFLE ? KY_H5RAW_SHUFFLE
                                                    : KY_H5RAW_FLETCHER32;
        if (id == H5Z_FILTER_SHUFFLE && (n_values < 1 || values[0] != element))
            return KY_EFORMAT;
    }
    return KY_OK;
}

/* The part of one chunk that is selected, axis by axis. */
static void copy_box(const struct selection *s, const hsize_t *at, int axis,
                     const unsigned char *from, unsigned char *to)
{
    hsize_t first = axis == 0 ? s->first : 0, end = axis == 0 ? s->first + s->n : s->dims[axis];
    hsize_t lo = at[axis] > first ? at[axis] : first;
    hsize_t hi = at[axis] + s->chunk[axis] < end ? at[axis] + s->chunk[axis] : end;
    size_t from_step = s->to_size, to_step = s->to_size;

    for (int i = axis + 1; i < s->rank; i++) {
        from_step *= s->chunk[i];
        to_step *= s->dims[i];
    }
    from += (lo - at[axis]) * from_step;
    to += (lo - first) * to_step;
    if (axis == s->rank - 1) {
        memcpy(to, from, (hi - lo) * s->to_size);
        return;
    }
    for (; lo < hi; lo++, from += from_step, to += to_step)
        copy_box(s, at, axis + 1, from, to);
}

/* What a chunk that was never written holds. */
static void fill_chunk(struct selection *s)
{
    unsigned char value[sizeof(double)] = { 0 };
    H5D_fill_value_t kind = H5D_FILL_VALUE_DEFAULT;

    memset(s->values, 0, s->chunk_values * s->to_size);
    if (s->memory == s->type || H5Pfill_value_defined(s->dcpl, &kind) < 0 ||
        kind != H5D_FILL_VALUE_USER_DEFINED || H5Pget_fill_value(s->dcpl, s->memory, value) < 0)
        return;
    for (size_t i = 0; i < s->chunk_values; i++)
        memcpy(s->values + i * s->to_size, value, s->to_size);
}

/* The chunk that begins at `at`, as values in memory. */
static int read_chunk(struct selection *s, const hsize_t *at, ky_err *err)
{
    unsigned mask = 0;
    uint32_t again = 0;
    haddr_t address = HADDR_UNDEF;
    hsize_t stored = 0;
    size_t bytes = s->chunk_values * s->size;

    if (H5Dget_chunk_info_by_coord(s->set, at, &mask, &address, &stored) < 0)
        return ky_fail(err, KY_EFORMAT, "its index is damaged");
    if (address == HADDR_UNDEF) {
        fill_chunk(s);
        return KY_OK;
    }
    if (stored > s->packed_room || stored > s->f->bytes)
        return ky_fail(err, KY_EFORMAT, "a chunk of it is damaged");
    if (H5Dread_chunk(s->set, H5P_DEFAULT, at, &again, s->packed) < 0)
        return ky_fail(err, KY_EFORMAT, "a chunk of it is cut off");
    int rc = ky_h5raw_unpack(&s->pipeline, mask, s->packed, stored, s->values, bytes, err);
    if (rc == KY_OK && s->memory != s->type &&
        H5Tconvert(s->type, s->memory, s->chunk_values, s->values, NULL, H5P_DEFAULT) < 0)
        rc = ky_fail(err, KY_EFORMAT, "its numbers cannot be converted");
    return rc;
}

/* The next chunk's beginning, last axis fastest; false behind the last. */
static bool next_chunk(const struct selection *s, hsize_t *at)
{
    for (int i = s->rank - 1; i >= 0; i--) {
        hsize_t end = i == 0 ? s->first + s->n : s->dims[i];

        at[i] += s->chunk[i];
        if (at[i] < end)
            return true;
        at[i] = i == 0 ? s->first / s->chunk[0] * s->chunk[0] : 0;
    }
    return false;
}

/* Room for one chunk, and a bound on how many there are. */
static int prepare_chunks(struct selection *s, ky_err *err)
{
    hsize_t count = s->n / s->chunk[0] + 2, stored = H5Dget_storage_size(s->set);
    size_t largest = s->size > s->to_size ? s->size : s->to_size;

    for (int i = 1; i < s->rank; i++)
        if (__builtin_mul_overflow(count, s->dims[i] / s->chunk[i] + 1, &count))
            count = UINT64_MAX;
    s->chunk_values = 1;
    for (int i = 0; i < s->rank; i++)
        s->chunk_values *= s->chunk[i]; /* bounded by check_storage */
    if (count > stored + 1024)
        return ky_fail(err, KY_EFULL, "it has more chunks than bytes");
    size_t bytes = s->chunk_values * s->size;
    s->packed_room = bytes + bytes / 64 + 64;
    s->packed = malloc(s->packed_room);
    s->values = malloc(s->chunk_values * largest);
    return s->packed == NULL || s->values == NULL ? ky_fail(err, KY_ENOMEM, "no memory") : KY_OK;
}

/* Rows of a chunked dataset into `to`. */
static int read_chunked(const ky_h5 *f, hid_t set, hid_t dcpl, hid_t type, hid_t memory,
                        const ky_h5_info *info, uint64_t first, uint64_t n, void *to, ky_err *err)
{
    struct selection s = { .f = f,
                           .set = set,
                           .dcpl = dcpl,
                           .type = type,
                           .memory = memory,
                           .rank = info->rank,
                           .first = first,
                           .n = n };
    hsize_t at[KY_H5_RANK] = { 0 };
    int rc = KY_OK;

    s.size = stored_size(type);
    s.to_size = memory == type ? s.size : H5Tget_size(memory);
    for (int i = 0; i < info->rank; i++)
        s.dims[i] = info->dims[i];
    if (H5Pget_chunk(dcpl, KY_H5_RANK, s.chunk) != info->rank ||
        read_pipeline(dcpl, s.size, &s.pipeline) < 0)
        return ky_fail(err, KY_EFORMAT, "its header is damaged");
    rc = prepare_chunks(&s, err);
    at[0] = first / s.chunk[0] * s.chunk[0];
    for (bool more = true; rc == KY_OK && more; more = next_chunk(&s, at)) {
        rc = read_chunk(&s, at, err);
        if (rc == KY_OK)
            copy_box(&s, at, 0, s.values, to);
    }
    free(s.packed);
    free(s.values);
    return rc;
}

/* -- reading numbers -- */

/* Rows of a dataset that lies in one piece; n = its length reads a scalar too. */
static int read_piece(hid_t set, const ky_h5_info *info, hid_t memory_type, uint64_t first,
                      uint64_t n, void *buf, ky_err *err)
{
    hid_t file = H5Dget_space(set), memory = H5Scopy(file);
    hsize_t start[KY_H5_RANK] = { first }, count[KY_H5_RANK] = { n };
    herr_t good = 0;

    for (int i = 1; i < info->rank; i++)
        count[i] = info->dims[i];
    if (info->rank > 0) {
        good = H5Sselect_hyperslab(file, H5S_SELECT_SET, start, NULL, count, NULL);
        H5Sset_extent_simple(memory, info->rank, count, NULL);
    }
    if (good >= 0)
        good = H5Dread(set, memory_type, memory, file, H5P_DEFAULT, buf);
    H5Sclose(memory);
    H5Sclose(file);
    return good < 0 ? ky_fail(err, KY_EFORMAT, "its data is cut off") : KY_OK;
}

static int read_block(const ky_h5 *f, hid_t set, hid_t type, const ky_h5_info *info,
                      enum ky_h5_type as, uint64_t first, uint64_t n, void *buf, ky_err *err)
{
    hid_t dcpl = H5Dget_create_plist(set);
    int rc = H5Pget_layout(dcpl) == H5D_CHUNKED
                 ? read_chunked(f, set, dcpl, type, native_type(as), info, first, n, buf, err)
                 : read_piece(set, info, native_type(as), first, n, buf, err);

    H5Pclose(dcpl);
    return rc;
}

/* What both readers share. n = UINT64_MAX: all, which must be `count` elements. */
static int read_numbers(ky_h5 *f, const char *path, enum ky_h5_type as, uint64_t first, uint64_t n,
                        void *buf, size_t count, ky_err *err)
{
    ky_h5_info info;
    ky_err own = { 0 };
    hid_t set, type;
    bool whole = n == UINT64_MAX;
    int rc = open_dataset(f, path, &set, &info, &type, err);

    if (rc < 0)
        return rc;
    uint64_t rows = info.rank > 0 ? info.dims[0] : 1;
    if (!is_number(info.type) || !is_number(as))
        rc = ky_fail(&own, KY_EUNSUPPORTED, "it holds no plain numbers");
    else if (whole && info.count != count)
        rc = ky_fail(&own, KY_ESHAPE, "it has %zu elements, %zu are wanted", info.count, count);
    else if (!whole && (first > rows || n > rows - first))
        rc = ky_fail(&own, KY_ESHAPE, "it has %llu rows, %llu from row %llu on are wanted",
                     (unsigned long long)rows, (unsigned long long)n, (unsigned long long)first);
    else if (info.count > 0 && n > 0)
        rc = read_block(f, set, type, &info, as, first, whole ? rows : n, buf, &own);
    H5Tclose(type);
    H5Dclose(set);
    return rc < 0 ? ky_fail(err, rc, "%s: dataset '%s': %s", f->path, path, own.text) : KY_OK;
}

int ky_h5_read(ky_h5 *f, const char *dataset, enum ky_h5_type as, void *buf, size_t count,
               ky_err *err)
{
    enter();
    int rc = read_numbers(f, dataset, as, 0, UINT64_MAX, buf, count, err);
    leave();
    return rc;
}

int ky_h5_read_rows(ky_h5 *f, const char *dataset, enum ky_h5_type as, uint64_t first, uint64_t n,
                    void *buf, ky_err *err)
{
    enter();
    int rc = read_numbers(f, dataset, as, first, n, buf, 0, err);
    leave();
    return rc;
}

/* -- reading strings -- */

/* Text of a fixed field ends at its first NUL, or at the padding spaces. */
static size_t fixed_length(const char *s, size_t size, bool spaces)
{
    size_t n = strnlen(s, size);

    while (spaces && n > 0 && s[n - 1] == ' ')
        n--;
    return n;
}

/* Where strings are read from: a dataset, or an attribute of the object at `header`. */
struct text_source {
    const ky_h5 *f;
    hid_t id, type, space;
    const char *attr; /* NULL: a dataset */
    haddr_t header;
    ky_h5_info info;
};

/* The stored bytes of a dataset, its values in their own type. */
static int read_stored(const struct text_source *s, void *buf, ky_err *err)
{
    hid_t dcpl = H5Dget_create_plist(s->id);
    bool variable = H5Tis_variable_str(s->type) > 0;
    uint64_t rows = s->info.rank > 0 ? s->info.dims[0] : 1;
    haddr_t at = H5Dget_offset(s->id);
    int rc;

    if (H5Pget_layout(dcpl) == H5D_CHUNKED)
        rc = read_chunked(s->f, s->id, dcpl, s->type, s->type, &s->info, 0, rows, buf, err);
    else if (!variable)
        rc = read_piece(s->id, &s->info, s->type, 0, rows, buf, err);
    else if (at == HADDR_UNDEF || at < s->f->raw.base ||
             !ky_h5raw_get(&s->f->raw, at - s->f->raw.base, buf, s->info.count * REF))
        rc = ky_fail(err, KY_EFORMAT, "its text is cut off");
    else
        rc = KY_OK;
    H5Pclose(dcpl);
    return rc;
}

static int read_fixed(const struct text_source *s, size_t n, size_t size, const char *raw,
                      char ***ret, ky_err *err)
{
    bool spaces = H5Tget_strpad(s->type) == H5T_STR_SPACEPAD;
    const char **text = calloc(n + 1, sizeof(*text));
    size_t *len = calloc(n + 1, sizeof(*len));

    *ret = NULL;
    for (size_t i = 0; text != NULL && len != NULL && i < n; i++) {
        text[i] = raw + i * size;
        len[i] = fixed_length(text[i], size, spaces);
    }
    if (text != NULL && len != NULL)
        *ret = ky_h5raw_pack(n, text, len);
    free(text);
    free(len);
    return *ret == NULL ? ky_fail(err, KY_ENOMEM, "no memory") : KY_OK;
}

/* All strings of a source, which is not empty. */
static int read_some_texts(const struct text_source *s, char ***ret, ky_err *err)
{
    bool variable = H5Tis_variable_str(s->type) > 0;
    size_t n = s->info.count, size = stored_size(s->type), bytes = 0;
    int rc = KY_OK;

    if (n > MAX_STRINGS || ky_size_mul(n, size, &bytes) < 0 || bytes > MAX_STRING)
        return ky_fail(err, KY_EFULL, "%zu strings of %zu bytes are too many", n, size);
    void *raw = malloc(bytes);
    if (raw == NULL)
        return ky_fail(err, KY_ENOMEM, "no memory");
    if (s->attr == NULL)
        rc = read_stored(s, raw, err);
    else if (variable)
        rc = ky_h5raw_attr(&s->f->raw, s->header, s->attr, raw, bytes, err);
    else if (H5Aread(s->id, s->type, raw) < 0)
        rc = ky_fail(err, KY_EFORMAT, "its text is cut off");
    if (rc == KY_OK)
        rc = variable ? ky_h5raw_texts(&s->f->raw, raw, n, ret, err)
                      : read_fixed(s, n, size, raw, ret, err);
    free(raw);
    return rc;
}

static int read_texts(const struct text_source *s, char ***ret, ky_err *err)
{
    if (s->info.count == 0) { /* of any type: h5py writes an empty list as float64[0] */
        *ret = ky_h5raw_pack(0, NULL, NULL);
        return *ret == NULL ? ky_fail(err, KY_ENOMEM, "no memory") : KY_OK;
    }
    if (H5Tget_class(s->type) != H5T_STRING)
        return ky_fail(err, KY_EFORMAT, "it holds no text");
    return read_some_texts(s, ret, err);
}

int ky_h5_read_strs(ky_h5 *f, const char *dataset, char ***ret, size_t *ret_n, ky_err *err)
{
    ky_err own = { 0 };
    struct text_source s = { .f = f };

    enter();
    int rc = open_dataset(f, dataset, &s.id, &s.info, &s.type, err);
    if (rc == KY_OK) {
        rc = read_texts(&s, ret, &own);
        if (rc < 0)
            ky_fail(err, rc, "%s: dataset '%s': %s", f->path, dataset, own.text);
        else
            *ret_n = s.info.count;
        H5Tclose(s.type);
        H5Dclose(s.id);
    }
    leave();
    return rc;
}

/* -- attributes -- */

/* Open an attribute and look at its shape. */
static int open_attr(ky_h5 *f, const char *path, const char *name, struct text_source *ret,
                     ky_err *err)
{
    ky_err own = { 0 };
    struct text_source s = { .f = f, .attr = name };
    H5O_info_t about;
    hid_t at = open_path(f, path, &own);

    if (at < 0)
        return failed(f, &own, err);
    s.id = H5Aexists(at, name) > 0 ? H5Aopen(at, name, H5P_DEFAULT) : H5I_INVALID_HID;
    s.header = H5Oget_info(at, &about) < 0 ? HADDR_UNDEF : about.addr;
    H5Oclose(at);
    if (s.id < 0)
        return ky_fail(err, KY_ENOENT, "%s: '%s' has no readable attribute '%s'", f->path, path,
                       name);
    s.type = H5Aget_type(s.id);
    s.space = H5Aget_space(s.id);
    int rc = s.type < 0 || s.space < 0 ? ky_fail(&own, KY_EFORMAT, "its header is damaged")
                                       : space_shape(s.space, &s.info, &own);
    if (rc == KY_OK) {
        s.info.type = classify(s.type);
        *ret = s;
        return KY_OK;
    }
    H5Sclose(s.space);
    H5Tclose(s.type);
    H5Aclose(s.id);
    return ky_fail(err, rc, "%s: attribute '%s' of '%s': %s", f->path, name, path, own.text);
}

static void close_attr(struct text_source *s)
{
    H5Sclose(s->space);
    H5Tclose(s->type);
    H5Aclose(s->id);
}

bool ky_h5_has_attr(ky_h5 *f, const char *path, const char *name)
{
    enter();
    hid_t at = open_path(f, path, NULL);
    bool has = at >= 0 && H5Aexists(at, name) > 0;
    if (at >= 0)
        H5Oclose(at);
    leave();
    return has;
}

/* The strings of one attribute, under the lock. */
static int attr_texts(ky_h5 *f, const char *path, const char *name, char ***ret, size_t *ret_n,
                      ky_err *err)
{
    struct text_source s;
    ky_err own = { 0 };
    int rc = open_attr(f, path, name, &s, err);

    if (rc < 0)
        return rc;
    rc = read_texts(&s, ret, &own);
    close_attr(&s);
    if (rc < 0)
        return ky_fail(err, rc, "%s: attribute '%s' of '%s': %s", f->path, name, path, own.text);
    *ret_n = s.info.count;
    return KY_OK;
}

int ky_h5_attr_str(ky_h5 *f, const char *path, const char *name, char **ret, ky_err *err)
{
    char **all = NULL;
    size_t n = 0;

    enter();
    int rc = attr_texts(f, path, name, &all, &n, err);
    leave();
    if (rc == KY_OK && n != 1)
        rc = ky_fail(err, KY_ESHAPE, "%s: attribute '%s' of '%s' holds %zu strings, not one",
                     f->path, name, path, n);
    if (rc == KY_OK && (*ret = strdup(all[0])) == NULL)
        rc = ky_fail(err, KY_ENOMEM, "%s: no memory", f->path);
    free(all);
    return rc;
}

/* Joins two arrays into one allocation, both freed; NULL when out of memory. */
static char **join_strings(char **a, size_t na, char **b, size_t nb)
{
    const char **text = calloc(na + nb + 1, sizeof(*text));
    size_t *len = calloc(na + nb + 1, sizeof(*len));
    char **all = NULL;

    if (text != NULL && len != NULL) {
        for (size_t i = 0; i < na + nb; i++) {
            text[i] = i < na ? a[i] : b[i - na];
            len[i] = strlen(text[i]);
        }
        all = ky_h5raw_pack(na + nb, text, len);
    }
    free(text);
    free(len);
    free(a);
    free(b);
    return all;
}

/* name0, name1 ... until one is missing: how Keras splits what exceeds an object header. */
static int attr_chunks(ky_h5 *f, const char *path, const char *name, char ***ret, size_t *ret_n,
                       ky_err *err)
{
    char **all = NULL;
    size_t n = 0;
    int rc = KY_OK;

    for (int i = 0; rc == KY_OK && n <= MAX_STRINGS; i++) {
        char piece[128], **more = NULL;
        size_t n_more = 0;

        snprintf(piece, sizeof(piece), "%.100s%d", name, i);
        rc = attr_texts(f, path, piece, &more, &n_more, i == 0 ? err : NULL);
        if (rc < 0 && i > 0) {
            rc = rc == KY_ENOENT ? KY_OK
                                 : ky_fail(err, rc, "%s: attribute '%s' of '%s' is damaged",
                                           f->path, piece, path);
            break;
        }
        if (rc == KY_OK && (all = join_strings(all, n, more, n_more)) == NULL)
            rc = ky_fail(err, KY_ENOMEM, "%s: no memory", f->path);
        n += n_more;
    }
    if (rc < 0) {
        free(all);
        return rc;
    }
    *ret = all;
    *ret_n = n;
    return KY_OK;
}

int ky_h5_attr_strs(ky_h5 *f, const char *path, const char *name, char ***ret, size_t *ret_n,
                    ky_err *err)
{
    enter();
    int rc = attr_texts(f, path, name, ret, ret_n, err);
    if (rc == KY_ENOENT)
        rc = attr_chunks(f, path, name, ret, ret_n, err);
    leave();
    return rc;
}

int ky_h5_attr_num(ky_h5 *f, const char *path, const char *name, double *ret, ky_err *err)
{
    struct text_source s;
    double v = 0;

    enter();
    int rc = open_attr(f, path, name, &s, err);
    if (rc == KY_OK) {
        if (s.info.count != 1 || !is_number(s.info.type) ||
            H5Aread(s.id, H5T_NATIVE_DOUBLE, &v) < 0)
            rc = ky_fail(err, KY_EFORMAT, "%s: attribute '%s' of '%s' is not one number", f->path,
                         name, path);
        else
            *ret = v;
        close_attr(&s);
    }
    leave();
    return rc;
}

/* -- writing -- */

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
        if (good && H5Lexists(f->file, part, H5P_DEFAULT) <= 0) {
            hid_t id = H5Gcreate2(f->file, part, H5P_DEFAULT, gcpl, H5P_DEFAULT);

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
    char *parent = folder_of(path);
    hid_t id = H5I_INVALID_HID;

    if (parent != NULL && (parent[0] == '.' || make_groups(f, parent)))
        id = H5Dcreate2(f->file, path, type, space, H5P_DEFAULT, dcpl, H5P_DEFAULT);
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
    if (f->n_tables == MAX_TABLES)
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
    f->tables[f->n_tables++] = (struct table){ copy, set };
    return KY_OK;
}

/* Grow by n rows and write them; the rows are in the type's native form. */
static bool append_rows(hid_t set, const void *rows, uint64_t n)
{
    hsize_t dims[H5S_MAX_RANK], start[H5S_MAX_RANK] = { 0 }, count[H5S_MAX_RANK];
    hid_t space = H5Dget_space(set), stored = H5Dget_type(set);
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
        good = H5Dwrite(set, native_type(classify(stored)), memory, file, H5P_DEFAULT, rows) >= 0;
        H5Sclose(memory);
        H5Sclose(file);
    }
    H5Tclose(stored);
    return good;
}

int ky_h5_append(ky_h5 *f, const char *path, const void *rows, uint64_t n, ky_err *err)
{
    const struct table *t = NULL;

    for (int i = 0; i < f->n_tables; i++)
        if (strcmp(f->tables[i].path, path) == 0)
            t = &f->tables[i];
    if (t == NULL)
        return ky_fail(err, KY_EINVAL, "%s: '%s' was not made to grow", f->path, path);
    if (n == 0)
        return KY_OK;
    enter();
    bool good = append_rows(t->set, rows, n);
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
    hid_t at = open_path(f, path, NULL);
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
