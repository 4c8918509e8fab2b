#include "daemon/names.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "models/clock.h"

/* -- SipHash -- */

static uint64_t rotl(uint64_t x, int n)
{
    return x << n | x >> (64 - n);
}

static void sip_rounds(uint64_t v[4], int n)
{
    for (int i = 0; i < n; i++) {
        v[0] += v[1];
        v[2] += v[3];
        v[1] = rotl(v[1], 13) ^ v[0];
        v[3] = rotl(v[3], 16) ^ v[2];
        v[0] = rotl(v[0], 32);
        v[2] += v[1];
        v[0] += v[3];
        v[1] = rotl(v[1], 17) ^ v[2];
        v[3] = rotl(v[3], 21) ^ v[0];
        v[2] = rotl(v[2], 32);
    }
}

static void sip_word(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    sip_rounds(v, 2);
    v[0] ^= word;
}

uint64_t ky_names_siphash(const uint64_t key[2], const void *data, size_t len)
{
    uint64_t v[4] = { key[0] ^ 0x736f6d6570736575u, key[1] ^ 0x646f72616e646f6du,
                      key[0] ^ 0x6c7967656e657261u, key[1] ^ 0x7465646279746573u };
    const char *p = data;
    uint64_t word;
    size_t left = len;

    for (; left >= 8; left -= 8, p += 8) {
        memcpy(&word, p, 8);
        sip_word(v, word);
    }
    word = 0;
    memcpy(&word, p, left);
    sip_word(v, word | (uint64_t)len << 56);
    v[2] ^= 0xff;
    sip_rounds(v, 4);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* -- the table -- */

enum { NO_TEXT = UINT32_MAX };

void ky_names_draw_key(uint64_t ret[2])
{
    if (getrandom(ret, 2 * sizeof(*ret), 0) != 2 * sizeof(*ret)) {
        ret[0] = (uint64_t)ky_clock_mono_ns();
        ret[1] = (uint64_t)(uintptr_t)ret;
    }
}

void ky_names_init(ky_names *t)
{
    memset(t, 0, sizeof(*t));
    t->free = KY_NO_NAME;
    for (int i = 0; i <= KY_NAME_WORDS; i++)
        t->gone[i] = NO_TEXT;
    ky_names_draw_key(t->key);
}

void ky_names_done(ky_names *t)
{
    free(t->row);
    free(t->slot);
    free(t->text);
    memset(t, 0, sizeof(*t));
}

static uint32_t hash_of(const ky_names *t, uint16_t group, const char *text, size_t len)
{
    uint64_t key[2] = { t->key[0], t->key[1] ^ group };

    return (uint32_t)ky_names_siphash(key, text, len);
}

/* Where the search for a hash begins. */
static uint32_t home(const ky_names *t, uint32_t hash)
{
    return (uint32_t)((uint64_t)hash * t->n_slots >> 32);
}

static uint32_t after(const ky_names *t, uint32_t slot)
{
    return slot + 1 < t->n_slots ? slot + 1 : 0;
}

uint32_t ky_names_find(const ky_names *t, uint16_t group, const char *text, size_t len)
{
    uint32_t hash = hash_of(t, group, text, len);

    for (uint32_t i = home(t, hash); t->live > 0 && t->slot[i] != 0; i = after(t, i)) {
        uint32_t row = t->slot[i] - 1;
        const ky_name *n = &t->row[row];

        if (n->hash == hash && n->group == group && n->len == len &&
            memcmp(ky_names_text(t, row), text, len) == 0)
            return row;
    }
    return KY_NO_NAME;
}

static void place(ky_names *t, uint32_t row)
{
    uint32_t i = home(t, t->row[row].hash);

    while (t->slot[i] != 0)
        i = after(t, i);
    t->slot[i] = row + 1;
}

/* A quarter of the slots at least stays free. */
static int more_slots(ky_names *t)
{
    uint32_t n = t->n_slots > 0 ? t->n_slots + t->n_slots / 2 : 64;

    if ((uint64_t)t->live * 4 + 4 <= (uint64_t)t->n_slots * 3)
        return 0;
    uint32_t *slot = calloc(n, sizeof(*slot));

    if (slot == NULL)
        return -1;
    free(t->slot);
    t->slot = slot;
    t->n_slots = n;
    for (uint32_t i = 0; i < t->n; i++)
        if (t->row[i].len != KY_NAME_GONE)
            place(t, i);
    return 0;
}

/* Words are not zeroed when there are more: what is not used stays out of memory. */
static void *grown(void *p, uint32_t *cap, uint64_t need, size_t size)
{
    uint64_t n = *cap > 0 ? *cap : 64;

    while (n < need)
        n *= 2;
    void *more = n < UINT32_MAX ? realloc(p, n * size) : NULL;

    if (more != NULL)
        *cap = (uint32_t)n;
    return more;
}

static uint32_t words(size_t len)
{
    return len > 0 ? (uint32_t)(len + 3) / 4 : 1;
}

/* Room for a text; NO_TEXT: no memory. */
static uint32_t text_room(ky_names *t, size_t len)
{
    uint32_t n = words(len), at = t->gone[n];

    if (at != NO_TEXT) {
        t->gone[n] = t->text[at];
        return at;
    }
    if ((uint64_t)t->n_text + n > t->cap_text) {
        uint32_t *text = grown(t->text, &t->cap_text, (uint64_t)t->n_text + n, sizeof(*text));

        if (text == NULL)
            return NO_TEXT;
        t->text = text;
    }
    at = t->n_text;
    t->n_text += n;
    return at;
}

static uint32_t free_row(ky_names *t)
{
    uint32_t row = t->free;

    if (row != KY_NO_NAME) {
        t->free = t->row[row].at;
        return row;
    }
    if (t->n == t->cap) {
        ky_name *rows = grown(t->row, &t->cap, (uint64_t)t->n + 1, sizeof(*rows));

        if (rows == NULL)
            return KY_NO_NAME;
        t->row = rows;
    }
    return t->n++;
}

uint32_t ky_names_add(ky_names *t, uint16_t group, const char *text, size_t len)
{
    uint32_t at, row;

    if (len > 4 * KY_NAME_WORDS || more_slots(t) < 0 || (at = text_room(t, len)) == NO_TEXT ||
        (row = free_row(t)) == KY_NO_NAME)
        return KY_NO_NAME;
    memcpy(t->text + at, text, len);
    t->row[row] = (ky_name){
        .hash = hash_of(t, group, text, len), .at = at, .group = group, .len = (uint16_t)len
    };
    place(t, row);
    t->live++;
    return row;
}

/* Whether slot b lies on the way from a (inclusive) up to but not including the end, going round.
 */
static int between(uint32_t a, uint32_t b, uint32_t end)
{
    return a <= end ? a <= b && b < end : a <= b || b < end;
}

/* Closes the hole: what stood behind it and could have stood in it moves up. */
static void close_hole(ky_names *t, uint32_t hole)
{
    for (uint32_t i = after(t, hole); t->slot[i] != 0; i = after(t, i)) {
        uint32_t from = home(t, t->row[t->slot[i] - 1].hash);

        if (between(from, hole, i)) {
            t->slot[hole] = t->slot[i];
            hole = i;
        }
    }
    t->slot[hole] = 0;
}

void ky_names_remove(ky_names *t, uint32_t row)
{
    ky_name *n = &t->row[row];
    uint32_t i = home(t, n->hash);

    while (t->slot[i] != row + 1)
        i = after(t, i);
    close_hole(t, i);
    t->text[n->at] = t->gone[words(n->len)];
    t->gone[words(n->len)] = n->at;
    *n = (ky_name){ .at = t->free, .len = KY_NAME_GONE };
    t->free = row;
    t->live--;
}
