/*
 * What a page is drawn with: escaped text, figures, scales, axes. HTML and SVG in one file that
 * needs nothing else: no script, no font, no picture from elsewhere. Colours are classes of the
 * style, so a chart looks right in the light and in the dark.
 */
#ifndef KY_PAGE_H
#define KY_PAGE_H

#include <stdbool.h>
#include <stdio.h>

typedef struct ky_page {
    FILE *to;
    int ids; /* given so far */
} ky_page;

/* ---- text ---- */

/** Text from outside: markup becomes text, what is no character or a control becomes U+FFFD.
 *  Holds for contents and for attributes in double quotes. */
void ky_page_text(ky_page *p, const char *text);

/** The same, at most so many characters, the last of them an ellipsis where it was cut. */
void ky_page_short(ky_page *p, const char *text, int most);

/** The first characters of a page up to the contents of the body. */
void ky_page_begin(ky_page *p, const char *title);
void ky_page_end(ky_page *p);

/* ---- drawings ---- */

/* From values to the units of a drawing. */
typedef struct ky_scale {
    double lo, hi;   /* values, before the logarithm */
    double from, to; /* where they are */
    bool log;
} ky_scale;

enum { KY_MOST_TICKS = 24 };

/** Ends a scale at round values and gives the ticks between: steps of 1, 2 or 5 times a power of
 *  ten, about `want` of them, none smaller than `least` (1: whole numbers; 0: any). */
int ky_scale_round(ky_scale *s, int want, double least, double ticks[KY_MOST_TICKS]);
double ky_scale_at(const ky_scale *s, double v);

/* A drawing with axes. */
typedef struct ky_plot {
    ky_page *p;
    ky_scale x, y;
    double w, h; /* of all, in units that are pixels where there is room */
} ky_plot;

/** An <svg> with a name and a description for those who do not see it. `format` is for the
 *  description; neither may come from outside. */
void ky_svg_begin(ky_page *p, double w, double h, const char *title, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
void ky_svg_end(ky_page *p);

/** A frame for values within the scales, whose lo and hi are set: axes, ticks, grid, names.
 *  `steps` as in ky_scale_round, of x. */
void ky_plot_axes(ky_plot *plot, const char *x_name, const char *y_name, double steps);

double ky_plot_x(const ky_plot *plot, double v);
double ky_plot_y(const ky_plot *plot, double v);

#endif
