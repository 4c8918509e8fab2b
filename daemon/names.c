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

void ky_names_init(ky_names *t)
{
    memset(t, 0, sizeof(*t));
    if (getrandom(t->key, sizeof(t->key), 0) != sizeof(t->key)) {
        t->key[0] = (uint64_t)ky_clock_mono_ns();
        t->key[1] = (uint64_t)(uintptr_t)t;
    }
}

void ky_names_done(ky_names *t)
{
    for (uint32_t i = 0; i < t->n; i++)
        free(t->row[i].text);
    free(t->row);
    free(t->slot);
    memset(t, 0, sizeof(*t));
}

static uint64_t hash_of(const ky_names *t, uint16_t group, const char *text, size_t len)
{
    uint64_t key[2] = { t->key[0], t->key[1] ^ group };

    return ky_names_siphash(key, text, len);
}

static ky_name *find(const ky_names *t, uint64_t hash, uint16_t group, const char *text, size_t len)
{
    for (uint32_t i = (uint32_t)hash; t->n_slots > 0; i++) {
        uint32_t at = t->slot[i & (t->n_slots - 1)];

        if (at == 0)
            return NULL;
        ky_name *n = &t->row[at - 1];

        if (n->hash == hash && n->group == group && n->len == len &&
            memcmp(n->text, text, len) == 0)
            return n;
    }
    return NULL;
}

ky_name *ky_names_find(const ky_names *t, uint16_t group, const char *text, size_t len)
{
    return find(t, hash_of(t, group, text, len), group, text, len);
}

static void place(ky_names *t, uint32_t row)
{
    uint32_t i = (uint32_t)t->row[row].hash;

    while (t->slot[i & (t->n_slots - 1)] != 0)
        i++;
    t->slot[i & (t->n_slots - 1)] = row + 1;
}

/* Half of the slots stay free. */
static int grow(ky_names *t)
{
    uint32_t cap = t->cap ? 2 * t->cap : 64;
    ky_name *row = realloc(t->row, cap * sizeof(*row));

    if (row == NULL)
        return -1;
    t->row = row;
    uint32_t *slot = calloc(2 * (size_t)cap, sizeof(*slot));

    if (slot == NULL)
        return -1;
    free(t->slot);
    t->slot = slot;
    t->cap = cap;
    t->n_slots = 2 * cap;
    for (uint32_t i = 0; i < t->n; i++)
        place(t, i);
    return 0;
}

ky_name *ky_names_add(ky_names *t, uint16_t group, const char *text, size_t len, uint32_t value)
{
    if (t->n == t->cap && grow(t) < 0)
        return NULL;
    char *copy = malloc(len + 1);

    if (copy == NULL)
        return NULL;
    memcpy(copy, text, len);
    t->row[t->n] = (ky_name){ .hash = hash_of(t, group, text, len),
                              .text = copy,
                              .value = value,
                              .group = group,
                              .len = (uint16_t)len };
    place(t, t->n);
    return &t->row[t->n++];
}
