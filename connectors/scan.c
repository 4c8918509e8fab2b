#include "connectors/scan.h"

#include <stdarg.h>
#include <stdio.h>

int ky_scan_bad(ky_scan *s, const char *fmt, ...)
{
    char text[200];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    return ky_fail(s->err, KY_EREJECT, "%s: at byte %zu: %s%s", s->format,
                   (size_t)(s->p - s->begin), text,
                   s->p >= s->end ? " (the message ends here)" : "");
}
