/* The journal: PROTOCOL.md A and L1, and files that were damaged. */
#include "tests/storage/tools.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "models/clock.h"
#include "storage/journal.h"
#include "storage/journal_file.h"

/* -- failures on demand: linked with --wrap -- */

int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
ssize_t __real_write(int fd, const void *p, size_t n);
ssize_t __wrap_write(int fd, const void *p, size_t n);

static int fdatasync_fails, syncs;   /* an errno; 0: it does not */
static size_t write_room = SIZE_MAX; /* bytes until the disk is full */

int __wrap_fdatasync(int fd)
{
    syncs++;
    if (fdatasync_fails) {
        errno = fdatasync_fails;
        return -1;
    }
    return __real_fdatasync(fd);
}

ssize_t __wrap_write(int fd, const void *p, size_t n)
{
    if (write_room == SIZE_MAX)
        return __real_write(fd, p, n);
    if (write_room == 0) {
        errno = ENOSPC;
        return -1;
    }
    n = n < write_room ? n : write_room;
    write_room -= n;
    return __real_write(fd, p, n);
}

/* -- a journal in its own directory -- */

typedef struct fixture {
    char *dir;
    ky_journal_opts opts;
    ky_journal *j;
} fixture;

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof(*f));

    f->dir = tools_dir();
    f->opts = (ky_journal_opts){ .dir = strdup(f->dir),
                                 .mode = KY_JOURNAL_SYNC,
                                 .file_bytes = 1 << 20,
                                 .config_text = "[kymod]\nlanes = 2\n" };
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;

    ky_journal_close(f->j);
    ky_clock_set(NULL, NULL);
    tools_dir_remove(f->dir);
    free((char *)f->opts.dir);
    free(f);
    return 0;
}

static void open_journal(fixture *f, uint64_t from)
{
    ky_err err = { 0 };

    assert_ok(ky_journal_open(&f->opts, from, &f->j, &err), err);
}

/* As kill -9 leaves it: what was written is in the files, nothing is sealed. */
static void abandon(fixture *f)
{
    ky_err err = { 0 };

    assert_ok(ky_journal_flush(f->j, &err), err);
    fdatasync_fails = EIO; /* so that close cannot seal */
    ky_journal_sync(f->j, NULL);
    ky_journal_close(f->j);
    fdatasync_fails = 0;
    f->j = NULL;
}

/* Sample number k: its contents follow from k. */
static ky_record *sample(int k)
{
    float x[64];
    int T = 1 + k % 5;

    for (int i = 0; i < T * 3; i++)
        x[i] = (float)(k * 100 + i);
    return tools_sample(k % 2 ? "pump-1" : "pump-22", k, T, 3, x);
}

static void append(fixture *f, int k, bool last)
{
    ky_record *r = sample(k);
    ky_err err = { 0 };

    if (!last)
        r->flags = 0;
    assert_ok(ky_journal_append(f->j, r, &err), err);
    free(r);
}

static void append_to(fixture *f, int from, int to)
{
    ky_err err = { 0 };

    for (int k = from; k < to; k++)
        append(f, k, true);
    assert_ok(ky_journal_sync(f->j, &err), err);
}

/* Counts samples and checks that each is the next one, to the byte. */
typedef struct check {
    int next, configs;
    uint64_t end;
} check;

static int check_record(const ky_record *r, void *arg, ky_err *err)
{
    check *c = arg;
    ky_record *want;

    (void)err;
    c->end = r->pos + r->size;
    if (r->type == KY_REC_CONFIG) {
        assert_int_equal(r->text_len, strlen("[kymod]\nlanes = 2\n"));
        assert_memory_equal(ky_record_text(r), "[kymod]\nlanes = 2\n", r->text_len);
        c->configs++;
        return 0;
    }
    want = sample(c->next++);
    want->pos = r->pos;
    want->crc = r->crc;
    want->flags = r->flags;
    assert_int_equal(r->size, want->size);
    assert_memory_equal(r, want, want->size);
    free(want);
    return 0;
}

static check replay(fixture *f, uint64_t from, int first)
{
    check c = { .next = first };
    ky_err err = { 0 };

    assert_ok(ky_journal_replay(f->j, from, check_record, &c, &err), err);
    return c;
}

static void reopen(fixture *f)
{
    ky_journal_close(f->j);
    open_journal(f, 0);
}

/* The only file of the directory. */
static char *only_file(fixture *f)
{
    static char path[4096];
    struct dirent *d;
    DIR *dir = opendir(f->dir);
    int n = 0;

    while ((d = readdir(dir)) != NULL)
        if (strstr(d->d_name, ".kj") != NULL) {
            snprintf(path, sizeof(path), "%s/%s", f->dir, d->d_name);
            n++;
        }
    closedir(dir);
    assert_int_equal(n, 1);
    return path;
}

static uint8_t *slurp(const char *path, size_t *ret_len)
{
    FILE *in = fopen(path, "rb");
    struct stat st;
    uint8_t *p;

    assert_non_null(in);
    fstat(fileno(in), &st);
    p = malloc((size_t)st.st_size + 1);
    *ret_len = fread(p, 1, (size_t)st.st_size, in);
    fclose(in);
    return p;
}

static void spit(const char *path, const uint8_t *p, size_t len)
{
    FILE *out;

    unlink(path);
    out = fopen(path, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(p, 1, len, out), len);
    fclose(out);
}

/* -- the facts -- */

static void records_come_back_in_order_to_the_byte(void **state)
{
    fixture *f = *state;
    check c;

    open_journal(f, 0);
    append_to(f, 0, 200);
    reopen(f);
    c = replay(f, 0, 0);
    assert_int_equal(c.next, 200);
    assert_int_equal(c.configs, 1);
    assert_int_equal(ky_journal_was(f->j)->cut_bytes, 0);
    assert_int_equal(c.end, ky_journal_end(f->j));
}

static void positions_continue_over_files_and_restarts(void **state)
{
    fixture *f = *state;
    ky_journal_file *files;
    check c;
    int n;

    f->opts.file_bytes = 4096;
    open_journal(f, 0);
    append_to(f, 0, 300);
    reopen(f);
    append_to(f, 300, 600);
    reopen(f);
    c = replay(f, 0, 0);
    assert_int_equal(c.next, 600);
    n = ky_journal_list(f->j, &files, NULL);
    assert_int_equal(n, c.configs);
    assert_true(n > 20);
    for (int i = 0; i < n; i++) {
        assert_true(files[i].sealed);
        assert_int_equal(files[i].first, i ? files[i - 1].end : 0);
    }
    free(files);
}

static void replay_begins_at_the_position_asked_for(void **state)
{
    fixture *f = *state;
    uint64_t half;

    open_journal(f, 0);
    append_to(f, 0, 50);
    half = ky_journal_end(f->j);
    append_to(f, 50, 100);
    reopen(f);
    assert_int_equal(replay(f, half, 50).next, 100);
    assert_int_equal(replay(f, ky_journal_end(f->j), 7).next, 7);
}

static void durable_follows_sync_not_append(void **state)
{
    fixture *f = *state;
    uint64_t before;

    open_journal(f, 0);
    append_to(f, 0, 1);
    before = ky_journal_durable(f->j);
    assert_int_equal(before, ky_journal_end(f->j));
    append(f, 1, true);
    assert_int_equal(ky_journal_durable(f->j), before);
    assert_true(ky_journal_end(f->j) > before);
    ky_journal_flush(f->j, NULL);
    assert_int_equal(ky_journal_durable(f->j), before);
    ky_journal_sync(f->j, NULL);
    assert_int_equal(ky_journal_durable(f->j), ky_journal_end(f->j));
}

static void one_sync_serves_a_whole_group(void **state)
{
    fixture *f = *state;
    int before;

    open_journal(f, 0);
    append_to(f, 0, 1);
    before = syncs;
    append_to(f, 1, 1000);
    assert_int_equal(syncs, before + 1);
    ky_journal_sync(f->j, NULL);
    assert_int_equal(syncs, before + 1);
}

static void a_message_without_its_last_record_is_cut(void **state)
{
    fixture *f = *state;
    uint64_t end;

    open_journal(f, 0);
    append_to(f, 0, 10);
    end = ky_journal_end(f->j);
    append(f, 10, false);
    append(f, 11, false);
    abandon(f);
    open_journal(f, 0);
    assert_int_equal(ky_journal_end(f->j), end);
    assert_true(ky_journal_was(f->j)->cut_bytes > 0);
    assert_non_null(strstr(ky_journal_was(f->j)->why, "no last record"));
    append_to(f, 10, 20);
    reopen(f);
    assert_int_equal(replay(f, 0, 0).next, 20);
}

static void closing_cuts_a_half_message_too(void **state)
{
    fixture *f = *state;

    open_journal(f, 0);
    append_to(f, 0, 10);
    append(f, 10, false);
    reopen(f);
    assert_int_equal(ky_journal_was(f->j)->cut_bytes, 0);
    assert_int_equal(replay(f, 0, 0).next, 10);
}

/* Whatever the length of the file, what is read is a prefix of what was appended. */
static void truncation_at_each_byte_leaves_a_prefix(void **state)
{
    fixture *f = *state;
    size_t len;
    uint8_t *bytes;
    char *path;
    int last = -1;

    open_journal(f, 0);
    append_to(f, 0, 6);
    abandon(f);
    path = only_file(f);
    bytes = slurp(path, &len);
    for (size_t at = 0; at <= len; at++) {
        spit(path, bytes, at);
        if (at < sizeof(ky_jheader)) {
            assert_int_equal(ky_journal_open(&f->opts, 0, &f->j, NULL), KY_ECORRUPT);
            continue;
        }
        open_journal(f, 0);
        check c = replay(f, 0, 0);
        assert_true(c.next >= last);
        last = c.next;
        ky_journal_close(f->j);
        f->j = NULL;
    }
    assert_int_equal(last, 6);
    free(bytes);
}

/* A flipped bit ends the journal before its record, whichever bit it is. */
static void a_flipped_bit_ends_the_journal_before_its_record(void **state)
{
    fixture *f = *state;
    uint64_t ends[8];
    size_t len;
    uint8_t *bytes;
    char *path;

    open_journal(f, 0);
    for (int k = 0; k < 4; k++) {
        append_to(f, k, k + 1);
        ends[k] = ky_journal_end(f->j);
    }
    abandon(f);
    path = only_file(f);
    bytes = slurp(path, &len);
    for (size_t at = sizeof(ky_jheader); at < len; at++) {
        int want = 0;

        bytes[at] ^= (uint8_t)(1u << (at * 7 % 8));
        spit(path, bytes, len);
        bytes[at] ^= (uint8_t)(1u << (at * 7 % 8));
        while (want < 4 && ends[want] <= at - sizeof(ky_jheader))
            want++;
        open_journal(f, 0);
        assert_int_equal(replay(f, 0, 0).next, want);
        assert_true(ky_journal_was(f->j)->cut_bytes > 0);
        ky_journal_close(f->j);
        f->j = NULL;
    }
    free(bytes);
}

static void a_damaged_header_is_refused_by_name(void **state)
{
    fixture *f = *state;
    size_t len;
    uint8_t *bytes;
    ky_err err;

    open_journal(f, 0);
    append_to(f, 0, 2);
    ky_journal_close(f->j);
    f->j = NULL;
    char *path = only_file(f);
    bytes = slurp(path, &len);
    for (size_t at = 0; at < sizeof(ky_jheader); at++) {
        bytes[at] ^= 0x10;
        spit(path, bytes, len);
        bytes[at] ^= 0x10;
        assert_int_equal(ky_journal_open(&f->opts, 0, &f->j, &err), KY_ECORRUPT);
        assert_non_null(strstr(err.text, ".kj"));
    }
    free(bytes);
}

/* Without the cut, filling the hole with a record of the same size would make the old one
 * behind it readable again. */
static void a_stale_record_behind_a_hole_stays_gone(void **state)
{
    fixture *f = *state;
    ky_record *third;
    size_t len;
    uint8_t *bytes;
    char *path;
    check c;

    open_journal(f, 0);
    append_to(f, 0, 3); /* sample 1 will be damaged, sample 2 is whole behind it */
    abandon(f);
    path = only_file(f);
    bytes = slurp(path, &len);
    third = sample(2);
    bytes[len - third->size - 8] ^= 1;
    free(third);
    spit(path, bytes, len);
    free(bytes);
    open_journal(f, 0);
    append_to(f, 1, 2);
    reopen(f);
    c = replay(f, 0, 0);
    assert_int_equal(c.next, 2);
}

static void a_record_of_another_file_is_no_record_here(void **state)
{
    fixture *f = *state, *g;
    void *other;
    size_t len, len2;
    uint8_t *bytes, *bytes2;
    char path[4096];

    setup(&other);
    g = other;
    open_journal(f, 0);
    append_to(f, 0, 2);
    abandon(f);
    open_journal(g, 0);
    append_to(g, 0, 2);
    abandon(g);
    snprintf(path, sizeof(path), "%s", only_file(f));
    bytes = slurp(path, &len);
    bytes2 = slurp(only_file(g), &len2);
    assert_int_equal(len, len2);
    memcpy(bytes + len - 300, bytes2 + len - 300, 300);
    spit(path, bytes, len);
    open_journal(f, 0);
    assert_true(replay(f, 0, 0).next < 2);
    free(bytes);
    free(bytes2);
    teardown(&other);
}

/* Records that pass their checksum but lie about their lengths. */
static void lengths_that_overflow_are_no_record(void **state)
{
    static const struct {
        uint32_t steps, features, body, text;
        uint16_t sender, stream;
        uint32_t filled;
    } lies[] = {
        { 1u << 31, 1u << 31, 0, 0, 0, 0, 0 },
        { 1u << 30, 1, 0, 0, 0, 0, 0 },
        { 0, 0, 0, 0, 0, 0, 0 },
        { 1, 1, 4, UINT32_MAX, 0, 0, 0 },
        { 1, 1, 4, 0, 65535, 65535, 0 },
        { 1, 1, UINT32_MAX, 0, 0, 0, 0 },
        { 1, 1, 4, UINT32_MAX - 6, 7, 0, 0 },
        { 2, 1, 8, 0, 0, 0, 2 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(lies) / sizeof(*lies); i++)
        for (uint32_t size = 0; size < 256; size++) {
            ky_record r = { .size = size,
                            .type = KY_REC_SAMPLE,
                            .steps = lies[i].steps,
                            .features = lies[i].features,
                            .filled = lies[i].filled,
                            .body_len = lies[i].body,
                            .text_len = lies[i].text,
                            .sender_len = lies[i].sender,
                            .stream_len = lies[i].stream };

            assert_false(ky_record_ok(&r));
        }
}

static void appending_a_malformed_record_is_refused(void **state)
{
    fixture *f = *state;
    ky_record *r = sample(3);

    open_journal(f, 0);
    r->steps++;
    assert_int_equal(ky_journal_append(f->j, r, NULL), KY_EINVAL);
    free(r);
    append_to(f, 0, 3);
    reopen(f);
    assert_int_equal(replay(f, 0, 0).next, 3);
}

static void a_record_larger_than_the_buffer_passes(void **state)
{
    fixture *f = *state;
    size_t n = 3 << 20;
    float *x = calloc(n, sizeof(*x));
    ky_record *r = tools_sample("big", 1, (int)n, 1, x);
    ky_err err = { 0 };
    ky_journal_file *files;

    open_journal(f, 0);
    append(f, 0, true);
    assert_ok(ky_journal_append(f->j, r, &err), err);
    append(f, 1, true);
    reopen(f);
    assert_int_equal(ky_journal_was(f->j)->cut_bytes, 0);
    assert_int_equal(ky_journal_list(f->j, &files, NULL), 2); /* the big one filled the first */
    free(files);
    free(r);
    free(x);
}

static int64_t now_us = 1000000;

static int64_t wall_us(void)
{
    return now_us;
}

static int64_t mono_ns(void)
{
    return now_us * 1000;
}

static int sealed_files(fixture *f)
{
    ky_journal_file *files;
    int n = ky_journal_list(f->j, &files, NULL), sealed = 0;

    for (int i = 0; i < n; i++)
        sealed += files[i].sealed;
    free(files);
    return sealed;
}

static void a_file_is_sealed_by_age_on_an_idle_journal_too(void **state)
{
    fixture *f = *state;

    ky_clock_set(wall_us, mono_ns);
    f->opts.file_age_us = 5000000;
    open_journal(f, 0);
    append_to(f, 0, 3);
    now_us += 4999999;
    ky_journal_sync(f->j, NULL);
    assert_int_equal(sealed_files(f), 0);
    now_us += 1;
    ky_journal_sync(f->j, NULL);
    assert_int_equal(sealed_files(f), 1);
}

static void sealing_waits_for_the_end_of_a_message(void **state)
{
    fixture *f = *state;

    open_journal(f, 0);
    append(f, 0, false);
    assert_int_equal(ky_journal_seal(f->j, NULL), KY_EAGAIN);
    append(f, 1, true);
    assert_int_equal(ky_journal_seal(f->j, NULL), KY_OK);
    assert_int_equal(ky_journal_seal(f->j, NULL), KY_OK); /* nothing left to seal */
    assert_int_equal(sealed_files(f), 1);
    append_to(f, 2, 3);
    assert_int_equal(sealed_files(f), 1);
    reopen(f);
    assert_int_equal(replay(f, 0, 0).next, 3);
}

static void a_message_is_never_split_over_files(void **state)
{
    fixture *f = *state;

    f->opts.file_bytes = 1;
    open_journal(f, 0);
    for (int k = 0; k < 9; k++)
        append(f, k, k % 3 == 2);
    ky_journal_sync(f->j, NULL);
    assert_int_equal(sealed_files(f), 3);
    reopen(f);
    assert_int_equal(replay(f, 0, 0).next, 9);
}

static void a_failed_sync_is_final(void **state)
{
    fixture *f = *state;
    uint64_t durable;
    ky_err err;

    open_journal(f, 0);
    append_to(f, 0, 5);
    durable = ky_journal_durable(f->j);
    append(f, 5, true);
    fdatasync_fails = EIO;
    assert_int_equal(ky_journal_sync(f->j, &err), -EIO);
    assert_non_null(strstr(err.text, "fdatasync"));
    fdatasync_fails = 0;
    assert_int_equal(ky_journal_sync(f->j, NULL), -EIO);
    assert_int_equal(ky_journal_durable(f->j), durable);
    ky_record *r = sample(6);
    assert_int_equal(ky_journal_append(f->j, r, NULL), -EIO);
    free(r);
}

/* The page cache may call a page clean whose write failed: only a new file is sure. */
static void the_tail_found_after_a_crash_is_written_anew(void **state)
{
    fixture *f = *state;
    struct stat before, after;

    open_journal(f, 0);
    append_to(f, 0, 5);
    abandon(f);
    stat(only_file(f), &before);
    open_journal(f, 0);
    stat(only_file(f), &after);
    assert_int_not_equal(before.st_ino, after.st_ino);
    assert_int_equal(after.st_mode & 0777, 0440);
    assert_int_equal(replay(f, 0, 0).next, 5);
    reopen(f); /* this time it was sealed */
    stat(only_file(f), &before);
    assert_int_equal(before.st_ino, after.st_ino);
}

static void a_full_disk_is_called_so_and_loses_nothing_synced(void **state)
{
    fixture *f = *state;
    ky_err err;

    open_journal(f, 0);
    append_to(f, 0, 5);
    append(f, 5, true);
    write_room = 20;
    assert_int_equal(ky_journal_sync(f->j, &err), -ENOSPC);
    assert_non_null(strstr(err.text, "No space left on device"));
    ky_journal_close(f->j);
    write_room = SIZE_MAX;
    open_journal(f, 0);
    assert_int_equal(replay(f, 0, 0).next, 5);
    assert_int_equal(ky_journal_was(f->j)->cut_bytes, 20);
}

/* Wherever in a file's beginning or in a record the disk fills, and however often. */
static void a_full_disk_is_waited_for(void **state)
{
    enum { RECORDS = 100 };
    fixture *f = *state;
    ky_err err = { 0 };
    int waits = 0, rc;

    f->opts.file_bytes = 700;
    open_journal(f, 0);
    for (int k = 0; k < RECORDS; k++) {
        ky_record *r = sample(k);

        for (size_t room = (size_t)k * 7 % 97;; room += 11) {
            write_room = room;
            if ((rc = ky_journal_append(f->j, r, &err)) != -ENOSPC)
                break;
            waits++;
        }
        assert_ok(rc, err);
        write_room = 0;
        for (; (rc = ky_journal_sync(f->j, &err)) == -ENOSPC; waits++)
            write_room = 1 + (size_t)k % 50;
        assert_ok(rc, err);
        assert_int_equal(ky_journal_durable(f->j), ky_journal_end(f->j));
        free(r);
    }
    write_room = SIZE_MAX;
    assert_true(waits > RECORDS);
    reopen(f);
    assert_int_equal(ky_journal_was(f->j)->cut_bytes, 0);
    assert_int_equal(replay(f, 0, 0).next, RECORDS);
}

static void what_found_room_is_durable(void **state)
{
    fixture *f = *state;
    uint64_t durable, whole;
    int before;

    open_journal(f, 0);
    append_to(f, 0, 5);
    durable = ky_journal_durable(f->j);
    append(f, 5, true);
    whole = ky_journal_end(f->j);
    append(f, 6, true);
    before = syncs;
    write_room = whole - durable + 20;
    assert_int_equal(ky_journal_sync(f->j, NULL), -ENOSPC);
    assert_int_equal(syncs, before + 1);
    assert_int_equal(ky_journal_durable(f->j), whole + 20);
    ky_journal_close(f->j);
    write_room = SIZE_MAX;
    open_journal(f, 0);
    assert_int_equal(replay(f, 0, 0).next, 6);
}

/* Also what stands in the file already, and what waits in memory. */
static void what_is_cut_was_never_appended(void **state)
{
    fixture *f = *state;
    ky_err err = { 0 };
    uint64_t keep;

    open_journal(f, 0);
    append_to(f, 0, 3);
    keep = ky_journal_end(f->j);
    append(f, 3, true);
    append(f, 4, true);
    write_room = 100;
    assert_int_equal(ky_journal_sync(f->j, NULL), -ENOSPC);
    write_room = 0;
    assert_ok(ky_journal_cut(f->j, keep, &err), err);
    assert_int_equal(ky_journal_end(f->j), keep);
    assert_int_equal(ky_journal_durable(f->j), keep);
    ky_journal_close(f->j); /* seals: that takes no room */
    open_journal(f, 0);
    assert_int_equal(ky_journal_was(f->j)->cut_bytes, 0);
    assert_int_equal(replay(f, 0, 0).next, 3);
    write_room = SIZE_MAX;
}

/* What the kernel did not bring to disk it may call clean: no second attempt would tell. */
static void a_sync_without_room_is_final(void **state)
{
    fixture *f = *state;
    ky_err err;

    open_journal(f, 0);
    append_to(f, 0, 5);
    append(f, 5, true);
    fdatasync_fails = ENOSPC;
    assert_int_equal(ky_journal_sync(f->j, &err), KY_EIO);
    assert_non_null(strstr(err.text, "No space left on device"));
    fdatasync_fails = 0;
    assert_int_equal(ky_journal_sync(f->j, NULL), KY_EIO);
}

static void mode_no_only_counts_positions(void **state)
{
    fixture *f = *state;

    f->opts.mode = KY_JOURNAL_NO;
    open_journal(f, 4096);
    assert_int_equal(ky_journal_end(f->j), 4096);
    append(f, 0, true);
    assert_true(ky_journal_end(f->j) > 4096);
    assert_int_equal(ky_journal_durable(f->j), ky_journal_end(f->j));
    assert_int_equal(replay(f, 0, 0).next, 0);
    assert_int_equal(rmdir(f->dir), 0); /* nothing was written there */
    assert_int_equal(mkdir(f->dir, 0700), 0);
}

/* SQLite may know a position behind a CONFIG record that no sample followed. */
static void no_position_is_given_twice(void **state)
{
    fixture *f = *state;
    size_t len, keep = sizeof(ky_jheader);
    uint8_t *bytes;
    uint64_t end;
    char *path;

    open_journal(f, 0);
    append_to(f, 0, 1);
    abandon(f);
    path = only_file(f);
    bytes = slurp(path, &len);
    keep += ((ky_record *)(void *)(bytes + keep))->size;
    spit(path, bytes, keep); /* header and CONFIG */
    free(bytes);
    open_journal(f, 0);
    end = ky_journal_end(f->j);
    assert_int_equal(end, keep - sizeof(ky_jheader));
    reopen(f);
    assert_int_equal(ky_journal_end(f->j), end);
    append_to(f, 0, 2);
    assert_int_equal(ky_journal_file_first(f->j), end);
    only_file(f); /* the empty one is gone */
    reopen(f);
    assert_int_equal(replay(f, 0, 0).next, 2);
}

static void the_first_position_is_behind_what_the_database_knows(void **state)
{
    fixture *f = *state;

    open_journal(f, 0);
    append_to(f, 0, 3);
    ky_journal_close(f->j);
    open_journal(f, 1 << 20);
    assert_int_equal(ky_journal_end(f->j), 1 << 20);
    append_to(f, 3, 6);
    reopen(f);
    assert_int_equal(replay(f, 0, 0).next, 6); /* the hole between is known to be empty */
}

static void replay_says_when_a_file_is_missing(void **state)
{
    fixture *f = *state;
    ky_journal_file *files;
    check c = { 0 };
    ky_err err;

    f->opts.file_bytes = 1;
    open_journal(f, 0);
    append_to(f, 0, 5);
    assert_int_equal(ky_journal_list(f->j, &files, NULL), 5);
    assert_int_equal(ky_journal_delete(f->j, files[4].first, NULL), KY_EBUSY);
    assert_int_equal(ky_journal_delete(f->j, 12345, NULL), KY_ENOENT);
    assert_ok(ky_journal_delete(f->j, files[0].first, &err), err);
    assert_ok(ky_journal_delete(f->j, files[2].first, &err), err);
    reopen(f);
    assert_int_equal(ky_journal_replay(f->j, 0, check_record, &c, &err), KY_ECORRUPT);
    c.next = 1;
    assert_int_equal(ky_journal_replay(f->j, files[1].first, check_record, &c, &err), KY_ECORRUPT);
    assert_non_null(strstr(err.text, "missing"));
    assert_int_equal(replay(f, files[3].first, 3).next, 5);
    free(files);
}

static void damage_in_a_sealed_file_is_corruption_not_a_tail(void **state)
{
    fixture *f = *state;
    ky_journal_file *files;
    size_t len;
    uint8_t *bytes;
    check c = { 0 };

    f->opts.file_bytes = 1;
    open_journal(f, 0);
    append_to(f, 0, 3);
    ky_journal_list(f->j, &files, NULL);
    bytes = slurp(files[1].path, &len);
    bytes[len - 1] ^= 1;
    spit(files[1].path, bytes, len);
    reopen(f);
    assert_int_equal(ky_journal_replay(f->j, 0, check_record, &c, NULL), KY_ECORRUPT);
    assert_int_equal(c.next, 1);
    assert_int_equal(ky_journal_read_file(files[1].path, check_record, &c, NULL), KY_ECORRUPT);
    bytes[len - 1] ^= 1;
    spit(files[1].path, bytes, len - 8); /* shorter than its successor says */
    free(bytes);
    reopen(f);
    c.next = 0;
    assert_int_equal(ky_journal_replay(f->j, 0, check_record, &c, NULL), KY_ECORRUPT);
    free(files);
}

static void files_are_for_owner_and_group_only(void **state)
{
    fixture *f = *state;
    char *dir = f->dir;
    struct stat st;
    char sub[4096];

    snprintf(sub, sizeof(sub), "%s/journal", dir);
    free((char *)f->opts.dir);
    f->opts.dir = strdup(sub);
    open_journal(f, 0);
    append_to(f, 0, 1);
    stat(sub, &st);
    assert_int_equal(st.st_mode & 0777 & ~0750, 0);
    f->dir = sub;
    stat(only_file(f), &st);
    f->dir = dir;
    assert_int_equal(st.st_mode & 0777 & ~0640, 0);
}

static void a_leftover_of_a_beginning_is_removed(void **state)
{
    fixture *f = *state;
    char path[4096];

    snprintf(path, sizeof(path), "%s/0000000000000000.kj.new", f->dir);
    spit(path, (const uint8_t *)"half", 4);
    open_journal(f, 0);
    assert_int_not_equal(access(path, F_OK), 0);
    append_to(f, 0, 1);
}

static void *list_often(void *arg)
{
    fixture *f = arg;

    for (int i = 0; i < 200; i++) {
        ky_journal_file *files;
        int n = ky_journal_list(f->j, &files, NULL);

        assert_true(n >= 0);
        if (n > 3) /* as the archive does it */
            ky_journal_delete(f->j, files[0].first, NULL);
        assert_true(ky_journal_durable(f->j) <= ky_journal_end(f->j));
        free(files);
    }
    return NULL;
}

static void other_threads_may_list_and_delete_meanwhile(void **state)
{
    fixture *f = *state;
    pthread_t thread;

    f->opts.file_bytes = 1000;
    open_journal(f, 0);
    pthread_create(&thread, NULL, list_often, f);
    for (int k = 0; k < 300; k++)
        append_to(f, k, k + 1);
    pthread_join(thread, NULL);
}

/* -- kill -9 -- */

static void child(fixture *f, int first, int to_parent)
{
    open_journal(f, 0);
    for (int k = first;; k++) {
        append(f, k, true);
        if (k % 3 != 2)
            continue;
        if (ky_journal_sync(f->j, NULL) != KY_OK ||
            __real_write(to_parent, &k, sizeof(k)) != sizeof(k))
            _exit(1);
    }
}

/* Kills a child that appends and acknowledges; returns the last number it acknowledged. */
static int kill_one(fixture *f, int first, int acks)
{
    int pipes[2], k, acked = first - 1;
    pid_t pid;

    assert_int_equal(pipe(pipes), 0);
    pid = fork();
    if (pid == 0) {
        close(pipes[0]);
        child(f, first, pipes[1]);
    }
    close(pipes[1]);
    while (read(pipes[0], &k, sizeof(k)) == sizeof(k)) {
        acked = k;
        if (--acks == 0)
            kill(pid, SIGKILL);
    }
    waitpid(pid, NULL, 0);
    close(pipes[0]);
    return acked;
}

static void nothing_acknowledged_is_lost_to_kill_9(void **state)
{
    fixture *f = *state;
    int next = 0;

    f->opts.file_bytes = 8000;
    for (int round = 0; round < 30; round++) {
        int acked = kill_one(f, next, 1 + round * 7 % 23);

        open_journal(f, 0);
        next = replay(f, 0, 0).next; /* also checks that they are in order, to the byte */
        assert_true(next > acked);
        ky_journal_close(f->j);
        f->j = NULL;
    }
    printf("RESULT journal_kill9 kills=30 appended=%d lost=0\n", next);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(records_come_back_in_order_to_the_byte),
        TEST(positions_continue_over_files_and_restarts),
        TEST(replay_begins_at_the_position_asked_for),
        TEST(durable_follows_sync_not_append),
        TEST(one_sync_serves_a_whole_group),
        TEST(a_message_without_its_last_record_is_cut),
        TEST(closing_cuts_a_half_message_too),
        TEST(truncation_at_each_byte_leaves_a_prefix),
        TEST(a_flipped_bit_ends_the_journal_before_its_record),
        TEST(a_damaged_header_is_refused_by_name),
        TEST(a_stale_record_behind_a_hole_stays_gone),
        TEST(a_record_of_another_file_is_no_record_here),
        TEST(lengths_that_overflow_are_no_record),
        TEST(appending_a_malformed_record_is_refused),
        TEST(a_record_larger_than_the_buffer_passes),
        TEST(a_file_is_sealed_by_age_on_an_idle_journal_too),
        TEST(sealing_waits_for_the_end_of_a_message),
        TEST(a_message_is_never_split_over_files),
        TEST(a_failed_sync_is_final),
        TEST(the_tail_found_after_a_crash_is_written_anew),
        TEST(a_full_disk_is_called_so_and_loses_nothing_synced),
        TEST(a_full_disk_is_waited_for),
        TEST(what_found_room_is_durable),
        TEST(what_is_cut_was_never_appended),
        TEST(a_sync_without_room_is_final),
        TEST(mode_no_only_counts_positions),
        TEST(no_position_is_given_twice),
        TEST(the_first_position_is_behind_what_the_database_knows),
        TEST(replay_says_when_a_file_is_missing),
        TEST(damage_in_a_sealed_file_is_corruption_not_a_tail),
        TEST(files_are_for_owner_and_group_only),
        TEST(a_leftover_of_a_beginning_is_removed),
        TEST(other_threads_may_list_and_delete_meanwhile),
        TEST(nothing_acknowledged_is_lost_to_kill_9),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
