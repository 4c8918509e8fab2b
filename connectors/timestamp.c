#include "connectors/timestamp.h"

#include <stdio.h>

/* Days from 1970-01-01 to a date of the Gregorian calendar: years begin in March, so that the
 * leap day is the last of its year, and 400 of them are one era of 146097 days. */
static int64_t days_of(int64_t y, int m, int d)
{
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t year = y - era * 400;
    int64_t day = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;

    return era * 146097 + year * 365 + year / 4 - year / 100 + day - 719468;
}

static int days_in(int64_t y, int m)
{
    static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;

    return days[m - 1] + (m == 2 && leap);
}

/* Exactly n digits. */
static bool take(const char **p, const char *end, int n, int *ret)
{
    int v = 0;

    if (end - *p < n)
        return false;
    for (int i = 0; i < n; i++) {
        unsigned d = (unsigned)((*p)[i] - '0');
        if (d > 9)
            return false;
        v = v * 10 + (int)d;
    }
    *p += n;
    *ret = v;
    return true;
}

static bool take_char(const char **p, const char *end, const char *set)
{
    if (*p == end)
        return false;
    for (; *set != '\0'; set++)
        if (**p == *set) {
            (*p)++;
            return true;
        }
    return false;
}

/* Digits behind the point as microseconds, rounded at the seventh. */
static bool take_fraction(const char **p, const char *end, int64_t *ret)
{
    int64_t us = 0;
    int n = 0;

    for (; *p < end && (unsigned)(**p - '0') <= 9; (*p)++) {
        int d = **p - '0';
        if (n < 6)
            us = us * 10 + d;
        else if (n == 6)
            us += d >= 5;
        n += n < 7;
    }
    for (int i = n; i < 6; i++)
        us *= 10;
    *ret = us;
    return n > 0;
}

/* Z, or how far local time is ahead of UTC, in seconds. */
static bool take_offset(const char **p, const char *end, int64_t *ret)
{
    int h, m;

    *ret = 0;
    if (take_char(p, end, "Zz"))
        return true;
    bool behind = *p < end && **p == '-';
    if (!take_char(p, end, "+-") || !take(p, end, 2, &h) || !take_char(p, end, ":") ||
        !take(p, end, 2, &m) || h > 23 || m > 59)
        return false;
    *ret = (behind ? -1 : 1) * (h * 3600 + m * 60);
    return true;
}

bool ky_time_parse(const char *s, size_t len, int64_t *ret_us)
{
    const char *p = s, *end = s + len;
    int y, mo, d, h, mi, sec;
    int64_t us = 0, ahead;

    if (!take(&p, end, 4, &y) || !take_char(&p, end, "-") || !take(&p, end, 2, &mo) ||
        !take_char(&p, end, "-") || !take(&p, end, 2, &d) || !take_char(&p, end, "Tt ") ||
        !take(&p, end, 2, &h) || !take_char(&p, end, ":") || !take(&p, end, 2, &mi) ||
        !take_char(&p, end, ":") || !take(&p, end, 2, &sec))
        return false;
    if (take_char(&p, end, ".") && !take_fraction(&p, end, &us))
        return false;
    if (!take_offset(&p, end, &ahead) || p != end)
        return false;
    if (mo < 1 || mo > 12 || d < 1 || d > days_in(y, mo) || h > 23 || mi > 59 || sec > 60)
        return false;
    int64_t seconds = days_of(y, mo, d) * 86400 + h * 3600 + mi * 60 + sec - ahead;
    us += seconds * 1000000;
    if (us < KY_TIME_MIN_US || us > KY_TIME_MAX_US)
        return false;
    *ret_us = us;
    return true;
}

const char *ky_time_text(int64_t us, char buf[KY_TIME_TEXT])
{
    int64_t seconds = us / 1000000 - (us % 1000000 < 0);
    int fraction = (int)(us - seconds * 1000000);
    int64_t day = seconds / 86400 - (seconds % 86400 < 0);
    int rest = (int)(seconds - day * 86400);

    /* The inverse of days_of. */
    int64_t z = day + 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int doe = (int)(z - era * 146097);
    int yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int mp = (5 * doy + 2) / 153;
    int m = mp < 10 ? mp + 3 : mp - 9;
    long long y = (long long)(era * 400 + yoe + (m <= 2));

    snprintf(buf, KY_TIME_TEXT, "%04lld-%02d-%02dT%02d:%02d:%02d.%06dZ", y, m,
             doy - (153 * mp + 2) / 5 + 1, rest / 3600, rest / 60 % 60, rest % 60, fraction);
    return buf;
}
