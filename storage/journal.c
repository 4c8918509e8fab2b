#include "storage/journal.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "models/clock.h"
#include "storage/journal_file.h"

enum { BUFFER = 1 << 20, SEALED_MODE = 0440, OPEN_MODE = 0640, NAME_LEN = 16 + 3 };

/* A file of the directory. */
typedef struct entry {
    uint64_t first, after, end;
    int64_t begun_us;
    bool empty; /* but for its CONFIG record */
} entry;

struct ky_journal {
    char *dir, *config_text;
    int dirfd;
    enum ky_journal_mode mode;
    uint64_t file_bytes;
    int64_t file_age_us;
    ky_journal_found found;
    int failed; /* a write or sync that failed for good; everything fails with it from then on */

    /* the file being written: the appending thread's */
    int fd; /* -1: none */
    ky_jheader header;
    uint8_t *buf; /* [cap] of which the first `buffered` are to be written, `written` of them are */
    size_t cap, buffered, written;
    ky_record *config;     /* CONFIG record of the next file */
    uint64_t whole;        /* position behind the last record with KY_LAST */
    uint64_t records_from; /* position behind the file's CONFIG record */

    _Atomic uint64_t end, durable, file_first;

    /* the list, oldest first; its last is the one being written while fd >= 0 */
    pthread_mutex_t lock;
    entry *files;
    int n_files, cap_files;
    bool writing; /* whether fd >= 0, for other threads */
};

/* -- names and small things -- */

static void file_name(uint64_t first, char ret[NAME_LEN + 1])
{
    snprintf(ret, NAME_LEN + 1, "%016" PRIx64 ".kj", first);
}

/* Whether a directory entry is called as one of our files is. */
static bool parse_name(const char *name, uint64_t *ret)
{
    char again[NAME_LEN + 1];

    if (strlen(name) != NAME_LEN)
        return false;
    *ret = strtoull(name, NULL, 16);
    file_name(*ret, again);
    return strcmp(again, name) == 0;
}

static int fail_errno(ky_err *err, const ky_journal *j, const char *name, const char *what)
{
    int e = errno;

    return ky_fail(err, -e, "journal '%s/%s': %s: %s", j->dir, name, what, strerror(e));
}

bool ky_journal_full(int rc)
{
    return rc == -ENOSPC || rc == -EDQUOT;
}

/* The first failure stays: the page cache no longer tells what is on disk. A sync that found no
 * room is of that kind, too. */
static int broken(ky_journal *j, int rc, const char *what, ky_err *err)
{
    j->failed = ky_journal_full(rc) ? KY_EIO : rc;
    return ky_fail(err, j->failed, "journal '%s': %s at position %" PRIu64 ": %s", j->dir, what,
                   atomic_load(&j->end), ky_strerror(rc));
}

/* What could not be written for lack of room is written later, from where it stopped. */
static int write_failed(ky_journal *j, int rc, const char *what, ky_err *err)
{
    return ky_journal_full(rc)
               ? ky_fail(err, rc, "journal '%s': %s: %s", j->dir, what, ky_strerror(rc))
               : broken(j, rc, what, err);
}

static int sync_dir(ky_journal *j, ky_err *err)
{
    return fsync(j->dirfd) == 0 ? KY_OK : fail_errno(err, j, "", "fsync of the directory");
}

/* The caller holds the lock, or is alone. */
static int list_add(ky_journal *j, entry e)
{
    if (j->n_files == j->cap_files) {
        int cap = j->cap_files ? 2 * j->cap_files : 64;
        entry *files = realloc(j->files, (size_t)cap * sizeof(*files));

        if (files == NULL)
            return KY_ENOMEM;
        j->files = files;
        j->cap_files = cap;
    }
    j->files[j->n_files++] = e;
    return KY_OK;
}

/* -- opening -- */

static int compare_entries(const void *a, const void *b)
{
    uint64_t x = ((const entry *)a)->first, y = ((const entry *)b)->first;

    return x < y ? -1 : x > y;
}

/* All files by name; a temporary file is what a crash left of a beginning and goes. */
static int list_directory(ky_journal *j, ky_err *err)
{
    DIR *dir = opendir(j->dir);
    struct dirent *d;
    int rc = KY_OK;

    if (dir == NULL)
        return fail_errno(err, j, "", "open");
    while (rc == KY_OK && (errno = 0, d = readdir(dir)) != NULL) {
        entry e = { 0 };
        size_t len = strlen(d->d_name);

        if (len > 4 && strcmp(d->d_name + len - 4, ".new") == 0)
            unlinkat(j->dirfd, d->d_name, 0);
        else if (parse_name(d->d_name, &e.first))
            rc = list_add(j, e);
    }
    if (rc == KY_OK && errno != 0)
        rc = -errno;
    closedir(dir);
    if (rc != KY_OK)
        return ky_fail(err, rc, "journal '%s': %s", j->dir, ky_strerror(rc));
    if (j->n_files > 0)
        qsort(j->files, (size_t)j->n_files, sizeof(entry), compare_entries);
    return KY_OK;
}

static int open_entry(ky_journal *j, const entry *e, int *ret_fd, uint64_t *ret_size,
                      mode_t *ret_mode, ky_err *err)
{
    char name[NAME_LEN + 1];
    struct stat st;
    int fd;

    file_name(e->first, name);
    fd = openat(j->dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return fail_errno(err, j, name, "open");
    if (fstat(fd, &st) != 0) {
        close(fd);
        return fail_errno(err, j, name, "stat");
    }
    *ret_fd = fd;
    *ret_size = (uint64_t)st.st_size;
    *ret_mode = st.st_mode & 0777;
    return KY_OK;
}

/* Header and records of a listed file, which must begin where its name says. */
static int scan_entry(ky_journal *j, entry *e, int fd, uint64_t size, uint64_t from,
                      ky_record_fn *fn, void *arg, ky_jscan *ret, ky_err *err)
{
    char name[NAME_LEN + 1];
    ky_jheader h = { 0 };
    int rc;

    file_name(e->first, name);
    rc = ky_jfile_scan(fd, name, size, from, fn, arg, &h, ret, err);
    if (rc != 0)
        return rc;
    if (h.first != e->first)
        return ky_fail(err, KY_ECORRUPT, "journal file '%s/%s' begins at position %" PRIu64, j->dir,
                       name, h.first);
    e->after = h.after;
    e->begun_us = h.begun_us;
    return KY_OK;
}

/* Header of a sealed file; its size says where it ends. */
static int learn_sealed(ky_journal *j, entry *e, ky_err *err)
{
    uint64_t size;
    ky_jscan s;
    mode_t mode;
    int fd, rc = open_entry(j, e, &fd, &size, &mode, err);

    if (rc != KY_OK)
        return rc;
    rc = scan_entry(j, e, fd, size < sizeof(ky_jheader) ? size : sizeof(ky_jheader), 0, NULL, NULL,
                    &s, err);
    close(fd);
    if (rc == KY_OK)
        e->end = e->first + size - sizeof(ky_jheader);
    return rc;
}

static int copy_bytes(int from, int to, uint64_t n)
{
    static const size_t chunk = 1 << 16;
    char *buf = malloc(chunk);
    uint64_t at = 0;
    int rc = buf == NULL ? KY_ENOMEM : KY_OK;

    while (rc == KY_OK && at < n) {
        ssize_t got = pread(from, buf, n - at < chunk ? (size_t)(n - at) : chunk, (off_t)at);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            rc = got < 0 ? -errno : KY_EIO;
        else
            rc = ky_write_all(to, buf, (size_t)got);
        at += got > 0 ? (uint64_t)got : 0;
    }
    free(buf);
    return rc;
}

/* Puts the first `size` bytes of a file in its place, sealed and on disk. Not by cutting the file
 * itself: what the page cache shows of it may never have reached the disk (PROTOCOL A2). */
static int rewrite(ky_journal *j, const entry *e, int fd, uint64_t size, ky_err *err)
{
    char name[NAME_LEN + 1], temporary[NAME_LEN + 5];
    int to, rc;

    file_name(e->first, name);
    snprintf(temporary, sizeof(temporary), "%s.new", name);
    to = openat(j->dirfd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, OPEN_MODE);
    if (to < 0)
        return fail_errno(err, j, temporary, "create");
    rc = copy_bytes(fd, to, size);
    if (rc == KY_OK && (fchmod(to, SEALED_MODE) != 0 || fsync(to) != 0))
        rc = -errno;
    if (close(to) != 0 && rc == KY_OK)
        rc = -errno;
    if (rc == KY_OK && renameat(j->dirfd, temporary, j->dirfd, name) != 0)
        rc = -errno;
    if (rc != KY_OK) {
        unlinkat(j->dirfd, temporary, 0);
        return ky_fail(err, rc, "journal '%s/%s': rewriting its tail: %s", j->dir, name,
                       ky_strerror(rc));
    }
    return sync_dir(j, err);
}

/* The newest file: where its last whole message ends is where the journal ends. */
static int learn_last(ky_journal *j, entry *e, ky_err *err)
{
    uint64_t size, keep;
    mode_t mode;
    ky_jscan s;
    int fd, rc = open_entry(j, e, &fd, &size, &mode, err);

    if (rc != KY_OK)
        return rc;
    rc = scan_entry(j, e, fd, size, 0, NULL, NULL, &s, err);
    if (rc != KY_OK)
        goto out;
    e->end = s.whole;
    e->empty = s.records <= 1;
    keep = sizeof(ky_jheader) + s.whole - e->first;
    j->found.cut_bytes = size - keep;
    if (s.whole < s.end)
        snprintf(j->found.why, sizeof(j->found.why),
                 "the message at position %" PRIu64 " has no last record", s.whole);
    else
        memcpy(j->found.why, s.why, sizeof(s.why));
    if (mode != SEALED_MODE || size != keep)
        rc = rewrite(j, e, fd, keep, err);
out:
    close(fd);
    return rc;
}

static int learn_files(ky_journal *j, ky_err *err)
{
    int rc = list_directory(j, err);

    for (int i = 0; rc == KY_OK && i < j->n_files; i++) {
        entry *e = &j->files[i];

        rc = i + 1 < j->n_files ? learn_sealed(j, e, err) : learn_last(j, e, err);
        if (rc == KY_OK && i > 0 && e[-1].end > e->first)
            rc = ky_fail(err, KY_ECORRUPT,
                         "journal '%s': the files at positions %" PRIu64 " and %" PRIu64 " overlap",
                         j->dir, e[-1].first, e->first);
    }
    if (rc == KY_OK && j->n_files > 0)
        j->found.end = j->files[j->n_files - 1].end;
    j->found.files = j->n_files;
    return rc;
}

/* The CONFIG record is the same in every file but for position and check. */
static int make_config(ky_journal *j, ky_err *err)
{
    size_t text = strlen(j->config_text), size = ky_record_size(0, 0, text, 0);

    if (size > KY_RECORD_MAX)
        return ky_fail(err, KY_EFULL, "journal: settings of %zu bytes, a record holds %d", text,
                       KY_RECORD_MAX);
    j->config = calloc(1, size);
    if (j->config == NULL)
        return ky_fail(err, KY_ENOMEM, "journal: no memory for the CONFIG record");
    j->config->size = (uint32_t)size;
    j->config->type = KY_REC_CONFIG;
    j->config->flags = KY_LAST;
    j->config->n = j->config->seq = j->config->ts_us = KY_NONE;
    j->config->text_len = (uint32_t)text;
    memcpy(j->config + 1, j->config_text, text);
    return KY_OK;
}

/* The directory's own name must be on disk before a file in it counts; who made it may not have
 * come to that. */
static int sync_parent(ky_journal *j, ky_err *err)
{
    int fd = openat(j->dirfd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = KY_OK;

    if (fd < 0 || fsync(fd) != 0)
        rc = fail_errno(err, j, "..", "fsync");
    if (fd >= 0)
        close(fd);
    return rc;
}

static int open_directory(ky_journal *j, ky_err *err)
{
    int rc;

    if (mkdir(j->dir, 0750) != 0 && errno != EEXIST)
        return fail_errno(err, j, "", "mkdir");
    j->dirfd = open(j->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (j->dirfd < 0)
        return fail_errno(err, j, "", "open");
    if ((rc = sync_parent(j, err)) != KY_OK)
        return rc;
    j->buf = malloc(j->cap = BUFFER);
    if (j->buf == NULL)
        return ky_fail(err, KY_ENOMEM, "journal '%s': no memory for its buffer", j->dir);
    return learn_files(j, err);
}

static void journal_free(ky_journal *j)
{
    if (j->fd >= 0)
        close(j->fd);
    if (j->dirfd >= 0)
        close(j->dirfd);
    pthread_mutex_destroy(&j->lock);
    free(j->files);
    free(j->config);
    free(j->buf);
    free(j->config_text);
    free(j->dir);
    free(j);
}

int ky_journal_open(const ky_journal_opts *o, uint64_t from, ky_journal **ret, ky_err *err)
{
    ky_journal *j = calloc(1, sizeof(*j));
    uint64_t begin;
    int rc = KY_OK;

    if (j == NULL)
        return ky_fail(err, KY_ENOMEM, "journal: no memory");
    j->fd = j->dirfd = -1;
    pthread_mutex_init(&j->lock, NULL);
    j->mode = o->mode;
    j->file_bytes = o->file_bytes;
    j->file_age_us = o->file_age_us;
    j->dir = strdup(o->dir ? o->dir : "");
    j->config_text = strdup(o->config_text ? o->config_text : "");
    if (j->dir == NULL || j->config_text == NULL)
        rc = ky_fail(err, KY_ENOMEM, "journal: no memory");
    if (rc == KY_OK)
        rc = make_config(j, err);
    if (rc == KY_OK && j->mode != KY_JOURNAL_NO)
        rc = open_directory(j, err);
    if (rc != KY_OK) {
        journal_free(j);
        return rc;
    }
    begin = j->found.end > from ? j->found.end : from;
    if (begin == 0 && j->mode == KY_JOURNAL_NO) /* at 0 lies no record in any mode */
        begin = j->config->size;
    j->whole = begin;
    atomic_init(&j->end, begin);
    atomic_init(&j->durable, begin);
    atomic_init(&j->file_first, begin);
    *ret = j;
    return KY_OK;
}

const ky_journal_found *ky_journal_was(const ky_journal *j)
{
    return &j->found;
}

/* -- reading -- */

static int replay_file(ky_journal *j, entry *e, uint64_t from, ky_record_fn *fn, void *arg,
                       ky_err *err)
{
    uint64_t size;
    ky_jscan s = { 0 };
    mode_t mode;
    int fd, rc = open_entry(j, e, &fd, &size, &mode, err);

    if (rc != KY_OK)
        return rc;
    rc = scan_entry(j, e, fd, size, from, fn, arg, &s, err);
    close(fd);
    if (rc == KY_OK && s.end != e->end)
        rc = ky_fail(err, KY_ECORRUPT, "journal '%s/%016" PRIx64 ".kj': %s", j->dir, e->first,
                     s.why[0] ? s.why : "it is shorter than before");
    return rc;
}

int ky_journal_replay(ky_journal *j, uint64_t from, ky_record_fn *fn, void *arg, ky_err *err)
{
    uint64_t reached = from;

    for (int i = 0; i < j->n_files; i++) {
        entry *e = &j->files[i];
        int rc;

        if (e->end <= from)
            continue;
        if (e->first > reached && e->after > reached)
            return ky_fail(err, KY_ECORRUPT,
                           "journal '%s': the records from position %" PRIu64 " to %" PRIu64
                           " are missing",
                           j->dir, reached, e->after);
        rc = replay_file(j, e, from, fn, arg, err);
        if (rc != 0)
            return rc;
        reached = e->end;
    }
    return KY_OK;
}

int ky_journal_read_file(const char *path, ky_record_fn *fn, void *arg, ky_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC), rc;
    ky_jscan s = { 0 };
    ky_jheader h;
    struct stat st;

    if (fd < 0)
        return ky_fail(err, -errno, "journal file '%s': %s", path, strerror(errno));
    if (fstat(fd, &st) != 0)
        rc = ky_fail(err, -errno, "journal file '%s': %s", path, strerror(errno));
    else
        rc = ky_jfile_scan(fd, path, (uint64_t)st.st_size, 0, fn, arg, &h, &s, err);
    if (rc == 0 && s.why[0] != '\0')
        rc = ky_fail(err, KY_ECORRUPT, "journal file '%s': %s", path, s.why);
    close(fd);
    return rc;
}

/* -- writing -- */

/* The bytes that a full disk took are in the file: the next attempt goes on behind them. */
static int flush(ky_journal *j, ky_err *err)
{
    while (j->written < j->buffered) {
        ssize_t n = write(j->fd, j->buf + j->written, j->buffered - j->written);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return write_failed(j, -errno, "write", err);
        j->written += (size_t)n;
    }
    j->buffered = j->written = 0;
    return KY_OK;
}

/* What is in the file is made durable even if not all would go in. */
static int sync_file(ky_journal *j, ky_err *err)
{
    int rc = flush(j, err);

    if (j->failed)
        return rc;
    if (fdatasync(j->fd) != 0)
        return broken(j, -errno, "fdatasync", err);
    atomic_store(&j->durable, atomic_load(&j->end) - (j->buffered - j->written));
    return rc;
}

/* Adds the file just begun. A predecessor that holds only its CONFIG record kept the journal's end
 * until now and goes. */
static int list_begun(ky_journal *j, uint64_t end)
{
    entry e = { .first = j->header.first, .after = j->header.after, .end = end };
    char name[NAME_LEN + 1];
    int rc = KY_OK;

    e.begun_us = j->header.begun_us;
    pthread_mutex_lock(&j->lock);
    if (j->n_files > 0 && j->files[j->n_files - 1].empty) {
        entry *last = &j->files[--j->n_files];

        file_name(last->first, name);
        if (last->first != e.first)
            unlinkat(j->dirfd, name, 0);
    }
    rc = list_add(j, e);
    j->writing = rc == KY_OK;
    pthread_mutex_unlock(&j->lock);
    return rc;
}

/* Where the records before the next file ended. */
static uint64_t records_end(ky_journal *j)
{
    uint64_t after = 0;

    pthread_mutex_lock(&j->lock);
    if (j->n_files > 0) {
        const entry *last = &j->files[j->n_files - 1];

        after = last->empty ? last->after : last->end;
    }
    pthread_mutex_unlock(&j->lock);
    return after;
}

/* Header and CONFIG record, on disk before the file has its name. */
static int write_beginning(ky_journal *j, const char *temporary, const char *name)
{
    uint64_t first = j->header.first;
    int rc;

    j->config->pos = first;
    j->config->arrival_us = j->header.begun_us;
    j->config->crc = ky_record_crc(j->header.id, j->config);
    rc = ky_write_all(j->fd, &j->header, sizeof(j->header));
    if (rc == KY_OK)
        rc = ky_write_all(j->fd, j->config, j->config->size);
    if (rc == KY_OK &&
        (fdatasync(j->fd) != 0 || renameat(j->dirfd, temporary, j->dirfd, name) != 0))
        rc = -errno;
    return rc;
}

/* A beginning that found no room is as if it had never been: nothing relies on it yet. */
static int create_file(ky_journal *j, const char *name, ky_err *err)
{
    char temporary[NAME_LEN + 5];
    int rc;

    snprintf(temporary, sizeof(temporary), "%s.new", name);
    j->fd = openat(j->dirfd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, OPEN_MODE);
    if (j->fd < 0)
        return write_failed(j, -errno, "create a file", err);
    rc = write_beginning(j, temporary, name);
    if (rc == KY_OK)
        return fsync(j->dirfd) == 0 ? KY_OK : broken(j, -errno, "begin a file", err);
    close(j->fd);
    j->fd = -1;
    unlinkat(j->dirfd, temporary, 0);
    return write_failed(j, rc, "begin a file", err);
}

static int begin_file(ky_journal *j, ky_err *err)
{
    uint64_t first = atomic_load(&j->end);
    char name[NAME_LEN + 1];
    int rc;

    j->header = (ky_jheader){ .first = first, .begun_us = ky_clock_wall_us() };
    j->header.after = records_end(j);
    if (getrandom(j->header.id, sizeof(j->header.id), 0) != sizeof(j->header.id))
        return broken(j, KY_EIO, "getrandom", err);
    ky_jheader_seal(&j->header);
    file_name(first, name);
    rc = create_file(j, name, err);
    if (rc != KY_OK)
        return rc;
    j->records_from = first + j->config->size;
    rc = list_begun(j, j->records_from);
    if (rc != KY_OK)
        return broken(j, rc, "begin a file", err);
    atomic_store(&j->end, j->records_from);
    atomic_store(&j->durable, j->records_from);
    atomic_store(&j->file_first, first);
    j->whole = j->records_from;
    return KY_OK;
}

/* What is in the file is whole, on disk and final. */
static int seal(ky_journal *j, ky_err *err)
{
    int rc = sync_file(j, err);

    if (rc != KY_OK)
        return rc;
    if (fchmod(j->fd, SEALED_MODE) != 0 || fsync(j->fd) != 0)
        return broken(j, -errno, "seal", err);
    close(j->fd);
    j->fd = -1;
    pthread_mutex_lock(&j->lock);
    j->files[j->n_files - 1].end = atomic_load(&j->end);
    j->writing = false;
    pthread_mutex_unlock(&j->lock);
    return KY_OK;
}

/* Whether the file should be sealed now; only where a message ends. */
static bool due(const ky_journal *j)
{
    uint64_t end = atomic_load(&j->end);

    if (j->fd < 0 || end == j->records_from || end != j->whole)
        return false;
    if (j->file_bytes > 0 && end - j->header.first + sizeof(ky_jheader) >= j->file_bytes)
        return true;
    return j->file_age_us > 0 && ky_clock_wall_us() - j->header.begun_us >= j->file_age_us;
}

/* Into the buffer, which grows once for a record that is larger. */
static int put(ky_journal *j, const ky_record *r, ky_err *err)
{
    int rc;

    if (r->size > j->cap - j->buffered && (rc = flush(j, err)) != KY_OK)
        return rc;
    if (r->size > j->cap) {
        uint8_t *buf = realloc(j->buf, r->size);

        if (buf == NULL)
            return ky_fail(err, KY_ENOMEM, "journal '%s': no memory for a record of %u bytes",
                           j->dir, r->size);
        j->buf = buf;
        j->cap = r->size;
    }
    memcpy(j->buf + j->buffered, r, r->size);
    j->buffered += r->size;
    return KY_OK;
}

int ky_journal_append(ky_journal *j, ky_record *r, ky_err *err)
{
    uint64_t end;
    int rc;

    if (j->failed)
        return ky_fail(err, j->failed, "journal '%s': it failed before", j->dir);
    if (!ky_record_ok(r))
        return ky_fail(err, KY_EINVAL,
                       "journal '%s': a record of type %u and %u bytes is malformed", j->dir,
                       r->type, r->size);
    if (j->mode != KY_JOURNAL_NO) {
        if (due(j) && (rc = seal(j, err)) != KY_OK)
            return rc;
        if (j->fd < 0 && (rc = begin_file(j, err)) != KY_OK)
            return rc;
    }
    end = atomic_load(&j->end);
    r->pos = end;
    r->crc = 0;
    if (j->mode != KY_JOURNAL_NO) {
        r->crc = ky_record_crc(j->header.id, r);
        if ((rc = put(j, r, err)) != KY_OK)
            return rc;
    }
    end += r->size;
    if (r->flags & KY_LAST)
        j->whole = end;
    atomic_store(&j->end, end);
    if (j->mode == KY_JOURNAL_NO)
        atomic_store(&j->durable, end);
    return KY_OK;
}

int ky_journal_flush(ky_journal *j, ky_err *err)
{
    if (j->failed)
        return ky_fail(err, j->failed, "journal '%s': it failed before", j->dir);
    return flush(j, err);
}

int ky_journal_sync(ky_journal *j, ky_err *err)
{
    int rc = KY_OK;

    if (j->failed)
        return ky_fail(err, j->failed, "journal '%s': it failed before", j->dir);
    if (atomic_load(&j->durable) != atomic_load(&j->end))
        rc = sync_file(j, err);
    if (rc == KY_OK && due(j))
        rc = seal(j, err);
    return rc;
}

int ky_journal_seal(ky_journal *j, ky_err *err)
{
    uint64_t end = atomic_load(&j->end);

    if (j->failed)
        return ky_fail(err, j->failed, "journal '%s': it failed before", j->dir);
    if (j->fd < 0 || end == j->records_from)
        return KY_OK;
    if (end != j->whole)
        return ky_fail(err, KY_EAGAIN, "journal '%s': a message is being written", j->dir);
    return seal(j, err);
}

static int cut(ky_journal *j, uint64_t pos, ky_err *err)
{
    if (ftruncate(j->fd, (off_t)(sizeof(ky_jheader) + pos - j->header.first)) != 0)
        return broken(j, -errno, "truncate", err);
    j->buffered = j->written = 0;
    j->whole = pos;
    atomic_store(&j->end, pos);
    return KY_OK;
}

int ky_journal_cut(ky_journal *j, uint64_t pos, ky_err *err)
{
    if (j->failed)
        return ky_fail(err, j->failed, "journal '%s': it failed before", j->dir);
    if (j->fd < 0)
        return KY_OK;
    if (pos < j->records_from)
        pos = j->records_from;
    if (atomic_load(&j->durable) > pos)
        atomic_store(&j->durable, pos);
    return cut(j, pos, err);
}

/* A half message is not acknowledged: its sender sends it again. */
static void cut_unfinished(ky_journal *j)
{
    if (atomic_load(&j->end) != j->whole && flush(j, NULL) == KY_OK)
        cut(j, j->whole, NULL);
}

void ky_journal_close(ky_journal *j)
{
    if (j == NULL)
        return;
    if (!j->failed && j->fd >= 0)
        cut_unfinished(j);
    if (!j->failed && j->fd >= 0)
        seal(j, NULL); /* on failure the next open writes the tail anew */
    journal_free(j);
}

/* -- positions and files -- */

uint64_t ky_journal_end(const ky_journal *j)
{
    return atomic_load(&j->end);
}

uint64_t ky_journal_durable(const ky_journal *j)
{
    return atomic_load(&j->durable);
}

uint64_t ky_journal_file_first(const ky_journal *j)
{
    return atomic_load(&j->file_first);
}

int ky_journal_list(ky_journal *j, ky_journal_file **ret, ky_err *err)
{
    ky_journal_file *list = NULL;
    int n = 0;

    pthread_mutex_lock(&j->lock);
    list = calloc((size_t)j->n_files + 1, sizeof(*list));
    for (; list != NULL && n < j->n_files; n++) {
        const entry *e = &j->files[n];
        char name[NAME_LEN + 1];

        list[n].sealed = !(j->writing && n == j->n_files - 1);
        list[n].first = e->first;
        list[n].end = list[n].sealed ? e->end : atomic_load(&j->end);
        list[n].begun_us = e->begun_us;
        file_name(e->first, name);
        snprintf(list[n].path, sizeof(list[n].path), "%s/%s", j->dir, name);
    }
    pthread_mutex_unlock(&j->lock);
    if (list == NULL)
        return ky_fail(err, KY_ENOMEM, "journal '%s': no memory to list its files", j->dir);
    *ret = list;
    return n;
}

int ky_journal_delete(ky_journal *j, uint64_t first, ky_err *err)
{
    char name[NAME_LEN + 1];
    int i, rc = KY_OK;

    file_name(first, name);
    pthread_mutex_lock(&j->lock);
    for (i = 0; i < j->n_files && j->files[i].first != first;)
        i++;
    if (i == j->n_files)
        rc = ky_fail(err, KY_ENOENT, "journal '%s': no file begins at position %" PRIu64, j->dir,
                     first);
    else if (i == j->n_files - 1)
        rc = ky_fail(err, KY_EBUSY, "journal '%s/%s' is the newest file", j->dir, name);
    else if (unlinkat(j->dirfd, name, 0) != 0 && errno != ENOENT)
        rc = fail_errno(err, j, name, "delete");
    /* No sync: a file that a power cut brings back lies behind every position and is only deleted
     * again. */
    if (rc == KY_OK) {
        memmove(&j->files[i], &j->files[i + 1], (size_t)(j->n_files - i - 1) * sizeof(entry));
        j->n_files--;
    }
    pthread_mutex_unlock(&j->lock);
    return rc;
}
