#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <zlib.h>

#include "models/zip.h"
#include "tests/models/dir.h"

#define LENGTH(a) (sizeof(a) / sizeof(*(a)))

/* -- archives made by hand, after APPNOTE.TXT ---------------------------------------------- */

struct bytes {
    unsigned char *p;
    size_t n;
};

static void put(struct bytes *b, const void *p, size_t n)
{
    b->p = realloc(b->p, b->n + n + 1);
    memcpy(b->p + b->n, p, n);
    b->n += n;
}

static void put_number(struct bytes *b, uint64_t v, int width)
{
    for (int i = 0; i < width; i++) {
        unsigned char c = (unsigned char)(v >> 8 * i);

        put(b, &c, 1);
    }
}

/* One member; zeros mean what is honest. */
struct entry {
    const char *name, *data;
    size_t len;      /* of data; 0: strlen */
    bool deflate;    /* stored packed */
    int method;      /* what is claimed, if it is another */
    uint32_t claims; /* the declared length, if it is another */
    unsigned flags, mode;
    int same_as; /* k > 0: the bytes of entry k-1 */
};

static struct bytes packed(const struct entry *e)
{
    size_t len = e->len > 0 ? e->len : strlen(e->data);
    struct bytes b = { malloc(len + len / 100 + 100), len + len / 100 + 100 };
    z_stream z = { 0 };

    if (!e->deflate) {
        memcpy(b.p, e->data, len);
        b.n = len;
        return b;
    }
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (unsigned char *)(uintptr_t)e->data;
    z.avail_in = (uInt)len;
    z.next_out = b.p;
    z.avail_out = (uInt)b.n;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    b.n = z.total_out;
    deflateEnd(&z);
    return b;
}

/* What the local header and the table of members have in common. */
static void put_facts(struct bytes *b, const struct entry *e, size_t stored)
{
    size_t len = e->len > 0 ? e->len : strlen(e->data);
    int method = e->method != 0 ? e->method : e->deflate ? 8 : 0;

    put_number(b, 20, 2);
    put_number(b, e->flags, 2);
    put_number(b, (uint64_t)method, 2);
    put_number(b, 0x00210000, 4); /* 1980-01-01 */
    put_number(b, crc32(0, (const unsigned char *)e->data, (uInt)len), 4);
    put_number(b, stored, 4);
    put_number(b, e->claims != 0 ? e->claims : len, 4);
    put_number(b, strlen(e->name), 2);
    put_number(b, 0, 2);
}

static struct bytes archive(const struct entry *e, int n)
{
    struct bytes b = { 0 }, table = { 0 };
    size_t at[8] = { 0 };

    for (int i = 0; i < n; i++) {
        struct bytes data = packed(&e[i]);

        at[i] = e[i].same_as > 0 ? at[e[i].same_as - 1] : b.n;
        if (e[i].same_as == 0) {
            put(&b, "PK\3\4", 4);
            put_facts(&b, &e[i], data.n);
            put(&b, e[i].name, strlen(e[i].name));
            put(&b, data.p, data.n);
        }
        put(&table, "PK\1\2\24\3", 6);
        put_facts(&table, &e[i], data.n);
        put_number(&table, 0, 6); /* comment, disk, text or not */
        put_number(&table, (uint64_t)(e[i].mode != 0 ? e[i].mode : 0100644) << 16, 4);
        put_number(&table, at[i], 4);
        put(&table, e[i].name, strlen(e[i].name));
        free(data.p);
    }
    size_t start = b.n;
    put(&b, table.p, table.n);
    put(&b, "PK\5\6\0\0\0\0", 8);
    put_number(&b, (uint64_t)n, 2);
    put_number(&b, (uint64_t)n, 2);
    put_number(&b, table.n, 4);
    put_number(&b, start, 4);
    put_number(&b, 0, 2);
    free(table.p);
    return b;
}

/* Open and read "a"; the code of what fails first. */
static int read_a(const struct bytes *b, size_t max, ky_err *err)
{
    ky_zip *z = NULL;
    void *a = NULL;
    size_t n = 0;
    int rc = ky_zip_open_image(b->p, b->n, &z, err);

    if (rc == KY_OK)
        rc = ky_zip_read(z, "a", max, &a, &n, err);
    ky_zip_close(z);
    free(a);
    return rc;
}

static void assert_refused(struct bytes b, int code, const char *says)
{
    ky_err err = { 0 };
    int rc = read_a(&b, 100 << 20, &err);

    if (rc != code || strstr(err.text, says) == NULL)
        fail_msg("wanted %d '%s', got %d '%s'", code, says, rc, err.text);
    free(b.p);
}

/* -- reading ------------------------------------------------------------------------------- */

static void members_are_read_by_their_exact_names(void **state)
{
    (void)state;
    const struct entry e[] = { { .name = "a", .data = "stored" },
                               { .name = "b/c", .data = "deflated", .deflate = true } };
    struct bytes b = archive(e, 2);
    ky_zip *z = NULL;
    void *p = NULL;
    size_t n = 0;

    assert_int_equal(ky_zip_open_image(b.p, b.n, &z, NULL), KY_OK);
    assert_true(ky_zip_has(z, "a"));
    assert_false(ky_zip_has(z, "A"));
    assert_false(ky_zip_has(z, "c"));
    assert_int_equal(ky_zip_read(z, "a", 6, &p, &n, NULL), KY_OK);
    assert_int_equal(n, 6);
    assert_string_equal(p, "stored");
    free(p);
    assert_int_equal(ky_zip_read(z, "b/c", 100, &p, &n, NULL), KY_OK);
    assert_string_equal(p, "deflated");
    free(p);
    assert_int_equal(ky_zip_read(z, "a", 5, &p, &n, NULL), KY_EFULL);
    assert_int_equal(ky_zip_read(z, "A", 100, &p, &n, NULL), KY_ENOENT);
    ky_zip_close(z);
    free(b.p);
}

static void tricks_are_refused_with_the_reason(void **state)
{
    (void)state;
    static const struct {
        struct entry e[2];
        int n, code;
        const char *says;
    } cases[] = {
        { { { .name = "a", .data = "x" }, { .name = "../b", .data = "x" } },
          2,
          KY_EUNSUPPORTED,
          "'../b' points out" },
        { { { .name = "a", .data = "x" }, { .name = "b/../../c", .data = "x" } },
          2,
          KY_EUNSUPPORTED,
          "points out" },
        { { { .name = "a", .data = "x" }, { .name = "b\\..\\c", .data = "x" } },
          2,
          KY_EUNSUPPORTED,
          "points out" },
        { { { .name = "a", .data = "x" }, { .name = "/etc/passwd", .data = "x" } },
          2,
          KY_EUNSUPPORTED,
          "points out" },
        { { { .name = "a", .data = "x" }, { .name = "C:x", .data = "x" } },
          2,
          KY_EUNSUPPORTED,
          "points out" },
        { { { .name = "a", .data = "x" }, { .name = "b", .data = "/etc/passwd", .mode = 0120777 } },
          2,
          KY_EUNSUPPORTED,
          "'b' is a symbolic link" },
        { { { .name = "a", .data = "x" }, { .name = "a", .data = "y" } },
          2,
          KY_EFORMAT,
          "two members of one name" },
        { { { .name = "a", .data = "twelve bytes", .flags = 1 } },
          1,
          KY_EUNSUPPORTED,
          "encrypted" },
        { { { .name = "a", .data = "x", .method = 12 } }, 1, KY_EUNSUPPORTED, "method 12" },
        { { { .name = "a", .data = "x", .method = 93 } }, 1, KY_EUNSUPPORTED, "method 93" },
        { { { .name = "a", .data = "stored", .claims = 7 } }, 1, KY_EFORMAT, "damaged" },
        { { { .name = "a", .data = "0123456789", .deflate = true, .claims = 11 } },
          1,
          KY_EFORMAT,
          "shorter" },
        { { { .name = "a", .data = "0123456789", .deflate = true, .claims = 9 } },
          1,
          KY_EFORMAT,
          "longer" },
        { { { .name = "a", .data = "x", .claims = 200 << 20 } },
          1,
          KY_EFULL,
          "declares 209715200 bytes" },
    };

    for (size_t i = 0; i < LENGTH(cases); i++)
        assert_refused(archive(cases[i].e, cases[i].n), cases[i].code, cases[i].says);
}

static void what_holds_no_archive_is_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = { "", "PK", "PK\3\4",
                                         "PK\3\4 and nothing behind it that ends" };

    for (size_t i = 0; i < LENGTH(wrong); i++) {
        struct bytes b = { (unsigned char *)strdup(wrong[i]), strlen(wrong[i]) };

        assert_refused(b, KY_EFORMAT, "damaged or cut off");
    }
}

static void a_changed_bit_of_a_member_is_noticed(void **state)
{
    (void)state;
    const struct entry e = { .name = "a", .data = "some bytes" };
    struct bytes b = archive(&e, 1);

    b.p[30 + 1 + 3] ^= 1;
    assert_refused(b, KY_EFORMAT, "damaged");
}

/* Many members that share one packed block (Fifield 2019). */
static void members_over_each_other_are_refused(void **state)
{
    (void)state;
    char *text = calloc(1, 4001);
    memset(text, 'x', 4000);
    for (int i = 0; i < 4000; i += 3)
        text[i] = (char)('a' + i * 7919 % 26);
    struct entry e[4];
    static const char *const names[] = { "a", "b", "c", "d" };
    for (int i = 0; i < 4; i++)
        e[i] = (struct entry){ .name = names[i], .data = text, .same_as = i > 0 };
    struct bytes b = archive(e, 4);
    ky_zip *z = NULL;

    assert_int_equal(ky_zip_open_image(b.p, b.n, &z, NULL), KY_EFORMAT);
    free(b.p);
    free(text);
}

/* -- memory and time --------------------------------------------------------------------------- */

/* In a child that may take 48 MB more than it has, and two seconds of work. */
static int read_a_confined(const struct bytes *b, size_t max)
{
    int status;
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        unsigned long pages = 0;
        FILE *statm = fopen("/proc/self/statm", "r");
        ky_err err = { 0 };

        if (statm == NULL || fscanf(statm, "%lu", &pages) != 1)
            _exit(100);
        fclose(statm);
#ifndef KY_SANITIZED /* whose shadow is terabytes */
        rlim_t most = pages * (rlim_t)sysconf(_SC_PAGESIZE) + (48 << 20);
        setrlimit(RLIMIT_AS, &(struct rlimit){ most, most });
#endif
        setrlimit(RLIMIT_CPU, &(struct rlimit){ 2, 2 });
        int rc = read_a(b, max, &err);
        _exit(rc == KY_OK ? 0 : rc == KY_EFULL ? 1 : rc == KY_EFORMAT ? 2 : 3);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void a_bomb_is_refused_before_memory_is_taken(void **state)
{
    (void)state;
    size_t n = 64 << 20;
    struct entry e = { .name = "a", .data = calloc(1, n), .len = n, .deflate = true };
    struct bytes b = archive(&e, 1);

    assert_true(b.n < 100000);
    assert_int_equal(read_a_confined(&b, n), 1);
    free(b.p);
    /* The same bytes that do not say how many they become. */
    e.claims = 1000;
    b = archive(&e, 1);
    assert_int_equal(read_a_confined(&b, n), 2);
    free(b.p);
    free((void *)(uintptr_t)e.data);
}

static void claims_of_many_members_take_no_memory(void **state)
{
    (void)state;
    const struct entry e = { .name = "a", .data = "x" };
    static const uint64_t claims[] = { 5000, 1 << 30, (uint64_t)1 << 34, (uint64_t)1 << 40,
                                       UINT64_MAX };

    for (size_t i = 0; i < LENGTH(claims); i++) {
        struct bytes b = archive(&e, 1), end = { 0 };
        size_t at = b.n - 22;

        put(&end, b.p + at, 22);
        b.n = at;
        put(&b, "PK\6\6", 4); /* the long record */
        put_number(&b, 44, 8);
        put_number(&b, 45 << 16 | 45, 4);
        put_number(&b, 0, 8);
        put_number(&b, claims[i], 8);
        put_number(&b, claims[i], 8);
        put_number(&b, 47, 8);
        put_number(&b, 32, 8);
        put(&b, "PK\6\7\0\0\0\0", 8); /* where it is */
        put_number(&b, at, 8);
        put_number(&b, 1, 4);
        put(&b, end.p, 22);
        assert_int_equal(read_a_confined(&b, 100), 1);
        free(b.p);
        free(end.p);
    }
}

static void damage_anywhere_is_refused_or_harmless(void **state)
{
    (void)state;
    const struct entry e[] = { { .name = "a", .data = "the member that is read" },
                               { .name = "b", .data = "another", .deflate = true } };
    struct bytes b = archive(e, 2);

    for (size_t n = 0; n < b.n; n++) {
        struct bytes cut = { b.p, n };

        assert_true(read_a(&cut, 1000, NULL) < 0);
    }
    for (size_t bit = 0; bit < b.n * 8; bit++) {
        b.p[bit / 8] ^= (unsigned char)(1 << bit % 8);
        read_a(&b, 1000, NULL); /* must end, and touch nothing it should not */
        b.p[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
    assert_int_equal(read_a(&b, 1000, NULL), KY_OK);
    free(b.p);
}

/* -- files ---------------------------------------------------------------------------------------
 */

static int count_files(const char *path)
{
    DIR *d = opendir(path);
    int n = 0;

    assert_non_null(d);
    while (readdir(d) != NULL)
        n++;
    closedir(d);
    return n - 2;
}

static struct bytes slurp(const char *path)
{
    struct bytes b = { 0 };
    unsigned char block[4096];
    FILE *in = fopen(path, "rb");
    size_t n;

    assert_non_null(in);
    while ((n = fread(block, 1, sizeof(block), in)) > 0)
        put(&b, block, n);
    fclose(in);
    return b;
}

static void what_is_written_is_stored_and_repeats_to_the_byte(void **state)
{
    (void)state;
    const ky_zip_member m[] = { { "metadata.json", "{}", 2 }, { "a", "\0\1\2", 3 } };
    ky_zip *z = NULL;
    void *p = NULL;
    size_t n = 0;

    assert_int_equal(ky_zip_write(in_dir("one.zip"), m, 2, NULL), KY_OK);
    assert_int_equal(ky_zip_write(in_dir("two.zip"), m, 2, NULL), KY_OK);
    assert_int_equal(ky_zip_write(in_dir("two.zip"), m, 2, NULL), KY_OK); /* over it */
    assert_int_equal(count_files(dir), 2);
    struct bytes one = slurp(in_dir("one.zip")), two = slurp(in_dir("two.zip"));
    assert_int_equal(one.n, two.n);
    assert_memory_equal(one.p, two.p, one.n);
    assert_true(ky_zip_is(one.p, one.n));
    assert_int_equal(one.p[8], 0); /* method of the first member: none */
    assert_int_equal(ky_zip_open(in_dir("one.zip"), &z, NULL), KY_OK);
    assert_int_equal(ky_zip_read(z, "a", 3, &p, &n, NULL), KY_OK);
    assert_int_equal(n, 3);
    assert_memory_equal(p, "\0\1\2", 3);
    free(p);
    ky_zip_close(z);
    free(one.p);
    free(two.p);
}

static void paths_that_hold_no_archive_leave_no_descriptor_open(void **state)
{
    (void)state;
    ky_zip *z = NULL;
    int before = count_files("/proc/self/fd");
    FILE *out = fopen(in_dir("text"), "w");

    fputs("PK\3\4 is how it begins, and then it is no archive at all PK\5\6 0123456789012345", out);
    fclose(out);
    assert_int_equal(mkfifo(in_dir("pipe"), 0600), 0);
    assert_int_equal(ky_zip_open(in_dir("nothing"), &z, NULL), KY_ENOENT);
    assert_int_equal(ky_zip_open(dir, &z, NULL), KY_EINVAL);
    assert_int_equal(ky_zip_open(in_dir("pipe"), &z, NULL), KY_EINVAL);
    assert_true(ky_zip_open(in_dir("text"), &z, NULL) < 0);
    assert_int_equal(ky_zip_open(in_dir("one.zip"), &z, NULL), KY_OK);
    ky_zip_close(z);
    assert_int_equal(count_files("/proc/self/fd"), before);
    assert_true(ky_zip_write(in_dir("no/such/folder.zip"), NULL, 0, NULL) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_are_read_by_their_exact_names),
        cmocka_unit_test(tricks_are_refused_with_the_reason),
        cmocka_unit_test(what_holds_no_archive_is_refused),
        cmocka_unit_test(a_changed_bit_of_a_member_is_noticed),
        cmocka_unit_test(members_over_each_other_are_refused),
        cmocka_unit_test(a_bomb_is_refused_before_memory_is_taken),
        cmocka_unit_test(claims_of_many_members_take_no_memory),
        cmocka_unit_test(damage_anywhere_is_refused_or_harmless),
        cmocka_unit_test(what_is_written_is_stored_and_repeats_to_the_byte),
        cmocka_unit_test(paths_that_hold_no_archive_leave_no_descriptor_open),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
