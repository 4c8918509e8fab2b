/* Any bytes as a journal file: never a crash, and never a record whose lengths lie. Checksums stop
 * nearly every mutation at the door, so the input is also tried with its checksums put right. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "storage/journal.h"
#include "storage/journal_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct seen {
    uint64_t next; /* position the next record must have; 0: not known yet */
    uint64_t sum;
} seen;

static uint64_t sum_of(const void *p, size_t len)
{
    const uint8_t *b = p;
    uint64_t sum = 0;

    while (len-- > 0)
        sum += *b++;
    return sum;
}

/* Touches every part of a record, as the archive and the lanes do. */
static int look(const ky_record *r, void *arg, ky_err *err)
{
    seen *s = arg;

    (void)err;
    if (!ky_record_ok(r) || (s->next != 0 && r->pos != s->next))
        abort();
    s->next = r->pos + r->size;
    s->sum +=
        sum_of(ky_record_sender(r), r->sender_len) + sum_of(ky_record_stream(r), r->stream_len);
    s->sum += sum_of(ky_record_text(r), r->text_len) + sum_of(ky_record_body(r), r->body_len);
    if (r->type == KY_REC_SAMPLE)
        s->sum += sum_of(ky_record_x(r), (size_t)r->steps * r->features * sizeof(float));
    return 0;
}

static void read_bytes(const uint8_t *data, size_t size)
{
    int fd = memfd_create("journal", MFD_CLOEXEC);
    char path[64];
    seen s = { 0 };
    ky_err err;

    if (fd < 0 || ky_write_all(fd, data, size) != KY_OK)
        abort();
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    ky_journal_read_file(path, look, &s, &err);
    close(fd);
}

/* Makes every checksum what it should be, as far as the lengths lead. */
static void put_right(uint8_t *bytes, size_t size)
{
    ky_jheader h;
    uint64_t pos;

    memcpy(&h, bytes, sizeof(h));
    ky_jheader_seal(&h);
    memcpy(bytes, &h, sizeof(h));
    pos = h.first;
    for (size_t at = sizeof(h); size - at >= sizeof(ky_record);) {
        ky_record *r = (ky_record *)(void *)(bytes + at);

        if (r->size < sizeof(*r) || r->size > size - at || r->size % 8 != 0)
            return;
        r->pos = pos;
        r->crc = ky_record_crc(h.id, r);
        pos += r->size;
        at += r->size;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy;

    read_bytes(data, size);
    if (size < sizeof(ky_jheader))
        return 0;
    copy = malloc(size);
    if (copy == NULL)
        abort();
    memcpy(copy, data, size);
    put_right(copy, size);
    read_bytes(copy, size);
    free(copy);
    return 0;
}
