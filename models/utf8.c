#include "models/utf8.h"

int ky_utf8_decode(const char *text, size_t left, int32_t *ret)
{
    static const int32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    const unsigned char *p = (const unsigned char *)text;
    int len = p[0] < 0x80 ? 1 : p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    int32_t c = len == 1 ? p[0] : p[0] & (0x7f >> len);

    *ret = -1;
    if ((p[0] >= 0x80 && p[0] < 0xc2) || p[0] > 0xf4 || (size_t)len > left)
        return 1;
    for (int i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 1;
        c = c << 6 | (p[i] & 0x3f);
    }
    if (c < least[len] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
        return 1;
    *ret = c;
    return len;
}

bool ky_utf8_is_control(int32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x200b && c <= 0x200f) ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff;
}
