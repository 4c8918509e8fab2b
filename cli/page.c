#include "cli/page.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>

#include "cli/page_style.h"
#include "models/utf8.h"

/* ---- text ---- */

static const char *entity(int32_t c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    case '\n':
    case '\t':
        return " ";
    default:
        return c < 0 || ky_utf8_is_control(c) || (c & 0xfffe) == 0xfffe ? "\xef\xbf\xbd" : NULL;
    }
}

void ky_page_short(ky_page *p, const char *text, int most)
{
    size_t len = strlen(text);
    int n = 0;

    for (size_t i = 0; i < len; n++) {
        int32_t c;
        int bytes = ky_utf8_decode(text + i, len - i, &c);
        const char *e = entity(c);

        if (n == most - 1 && i + (size_t)bytes < len) {
            fputs("\xe2\x80\xa6", p->to);
            return;
        }
        if (e != NULL)
            fputs(e, p->to);
        else
            fwrite(text + i, 1, (size_t)bytes, p->to);
        i += (size_t)bytes;
    }
}

void ky_page_text(ky_page *p, const char *text)
{
    ky_page_short(p, text, 1 << 30);
}

void ky_page_begin(ky_page *p, const char *title)
{
    fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
          /* Nothing is fetched and nothing runs, whatever a name from outside might try. */
          "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
          "style-src 'unsafe-inline'\">\n"
          "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
          "<meta name=\"color-scheme\" content=\"light dark\">\n<title>",
          p->to);
    ky_page_text(p, title);
    fprintf(p->to, "</title>\n<style>\n%s</style>\n</head>\n<body>\n", page_style);
}

void ky_page_end(ky_page *p)
{
    fputs("</body>\n</html>\n", p->to);
}

/* ---- scales ---- */

double ky_scale_at(const ky_scale *s, double v)
{
    double share = s->log ? log(v / s->lo) / log(s->hi / s->lo) : (v - s->lo) / (s->hi - s->lo);

    return s->from + share * (s->to - s->from);
}

/* 1, 2 or 5 times a power of ten, the first that is no smaller. */
static double round_step(double v)
{
    double ten = pow(10, floor(log10(v))), part = v / ten;

    return ten * (part <= 1 ? 1 : part <= 2 ? 2 : part <= 5 ? 5 : 10);
}

/* Powers of ten, and where there are few of them 2 and 5 times those. */
static int round_log(ky_scale *s, double ticks[KY_MOST_TICKS])
{
    static const double parts[] = { 1, 2, 5 };
    double first = floor(log10(s->lo)), last = ceil(log10(s->hi));
    int decades = (int)(last - first), every = decades < 4 ? 1 : 3 * (decades / 12 + 1), n = 0;

    for (int k = 0; k <= 3 * decades + every && n < KY_MOST_TICKS; k += every) {
        double v = parts[k % 3] * pow(10, first + k / 3);

        if (n > 0 && v <= s->lo)
            n--; /* the last one below begins the scale */
        ticks[n++] = v;
        if (v >= s->hi)
            break;
    }
    s->lo = ticks[0];
    s->hi = ticks[n - 1];
    return n;
}

/* Of what is larger only nonsense could be drawn. */
static const double most = 1e290;

int ky_scale_round(ky_scale *s, int want, double least, double ticks[KY_MOST_TICKS])
{
    double step, first, size;
    int n = 0;

    s->lo = fmin(fmax(s->lo, s->log ? 1 / most : -most), most);
    s->hi = fmin(fmax(s->hi, s->lo), most);
    size = fmax(fabs(s->lo), fabs(s->hi));
    if (!(s->hi - s->lo > 1e-12 * size + 1 / most)) { /* one value: half of it to both sides */
        double wide = size > 1 / most ? size / 2 : 1;

        s->lo -= s->log ? 0 : wide;
        s->hi += wide;
    }
    if (s->log)
        return round_log(s, ticks);
    step = round_step((s->hi - s->lo) / want);
    step = step > least ? step : least;
    first = floor(s->lo / step + 1e-9);
    do
        ticks[n] = (first + n) * step;
    while (ticks[n++] < s->hi - 1e-9 * step && n < KY_MOST_TICKS);
    s->lo = ticks[0];
    s->hi = ticks[n - 1];
    return n;
}

/* ---- drawings ---- */

void ky_svg_begin(ky_page *p, double w, double h, const char *title, const char *format, ...)
{
    int id = ++p->ids;
    va_list ap;

    fprintf(p->to,
            "<svg viewBox=\"0 0 %g %g\" width=\"%g\" height=\"%g\" role=\"img\" "
            "aria-labelledby=\"t%d d%d\">\n<title id=\"t%d\">%s</title>\n<desc id=\"d%d\">",
            w, h, w, h, id, id, id, title, id);
    va_start(ap, format);
    vfprintf(p->to, format, ap);
    va_end(ap);
    fputs("</desc>\n", p->to);
}

void ky_svg_end(ky_page *p)
{
    fputs("</svg>\n", p->to);
}

double ky_plot_x(const ky_plot *plot, double v)
{
    return ky_scale_at(&plot->x, v);
}

double ky_plot_y(const ky_plot *plot, double v)
{
    return ky_scale_at(&plot->y, v);
}

void ky_plot_axes(ky_plot *plot, const char *x_name, const char *y_name, double steps)
{
    enum { LEFT = 58, RIGHT = 12, TOP = 20, BOTTOM = 40 };
    double ticks[KY_MOST_TICKS];
    FILE *to = plot->p->to;
    int n;

    plot->x.from = LEFT;
    plot->x.to = plot->w - RIGHT;
    plot->y.from = plot->h - BOTTOM;
    plot->y.to = TOP;
    n = ky_scale_round(&plot->y, 5, 0, ticks);
    for (int i = 0; i < n; i++) {
        double y = ky_plot_y(plot, ticks[i]);

        fprintf(to,
                "<path class=\"grid\" d=\"M%d %.1fH%g\"/>"
                "<text x=\"%d\" y=\"%.1f\" class=\"tick end\">%.4g</text>\n",
                LEFT, y, plot->w - RIGHT, LEFT - 6, y + 4, ticks[i]);
    }
    n = ky_scale_round(&plot->x, 6, steps, ticks);
    for (int i = 0; i < n; i++) {
        double x = ky_plot_x(plot, ticks[i]);

        fprintf(to,
                "<path class=\"axis\" d=\"M%.1f %gv4\"/>"
                "<text x=\"%.1f\" y=\"%g\" class=\"tick mid\">%.4g</text>\n",
                x, plot->h - BOTTOM, x, plot->h - BOTTOM + 17, ticks[i]);
    }
    fprintf(to,
            "<path class=\"axis\" d=\"M%d %gH%g\"/>\n"
            "<text x=\"%g\" y=\"%g\" class=\"name mid\">%s</text>\n"
            "<text transform=\"translate(13 %g) rotate(-90)\" class=\"name mid\">%s</text>\n",
            LEFT, plot->h - BOTTOM, plot->w - RIGHT, (LEFT + plot->w - RIGHT) / 2, plot->h - 5,
            x_name, (TOP + plot->h - BOTTOM) / 2, y_name);
}
