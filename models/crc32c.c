#include "models/kernels.h"

#include <pthread.h>
#include <string.h>

/*
 * The reflected polynomial 0x1EDC6F41 of RFC 3720, by the processor's own instruction
 * where it has one, else eight bytes at a time by tables: table[j][v] is the CRC of
 * byte v with j zero bytes behind it.
 */
static uint32_t table[8][256];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void fill_table(void)
{
    for (uint32_t v = 0; v < 256; v++) {
        uint32_t c = v;
        for (int bit = 0; bit < 8; bit++)
            c = (c >> 1) ^ (c & 1 ? 0x82f63b78u : 0);
        table[0][v] = c;
    }
    for (int j = 1; j < 8; j++)
        for (int v = 0; v < 256; v++)
            table[j][v] = (table[j - 1][v] >> 8) ^ table[0][table[j - 1][v] & 255];
}

static uint32_t crc_by_table(uint32_t c, const unsigned char *p, size_t len)
{
    pthread_once(&once, fill_table);
    for (; len >= 8; len -= 8, p += 8) {
        for (int i = 0; i < 4; i++) /* byte by byte, so any byte order will do */
            c ^= (uint32_t)p[i] << 8 * i;
        c = table[7][c & 255] ^ table[6][c >> 8 & 255] ^ table[5][c >> 16 & 255] ^
            table[4][c >> 24] ^ table[3][p[4]] ^ table[2][p[5]] ^ table[1][p[6]] ^ table[0][p[7]];
    }
    for (; len > 0; len--, p++)
        c = (c >> 8) ^ table[0][(c ^ *p) & 255];
    return c;
}

#ifdef __x86_64__
__attribute__((target("sse4.2"))) static uint32_t crc_by_sse42(uint32_t c, const unsigned char *p,
                                                               size_t len)
{
    uint64_t c64 = c, word;
    for (; len >= 8; len -= 8, p += 8) {
        memcpy(&word, p, 8);
        c64 = __builtin_ia32_crc32di(c64, word);
    }
    c = (uint32_t)c64;
    for (; len > 0; len--, p++)
        c = __builtin_ia32_crc32qi(c, *p);
    return c;
}
#endif

uint32_t ky_crc32c(uint32_t crc, const void *data, size_t len)
{
#ifdef __x86_64__
    if (__builtin_cpu_supports("sse4.2"))
        return ~crc_by_sse42(~crc, data, len);
#endif
    return ~crc_by_table(~crc, data, len);
}
