/*
 * The drawings of a report.
 */
#ifndef KY_CHARTS_H
#define KY_CHARTS_H

#include "cli/page.h"
#include "cli/scoring.h"

/** Training and validation of a history, `key` being "loss", "accuracy" or "mae". */
void ky_chart_curves(ky_page *p, const ky_json *history, const char *key, int best_epoch);

/** Rows: true, columns: said; shaded by the share of the row. Of more than KY_CHART_CLASSES there
 *  is none. */
enum { KY_CHART_CLASSES = 200 };
void ky_chart_confusion(ky_page *p, const ky_scoring *s);

/** The share that is right against how sure the model was, and how often it was. */
void ky_chart_calibration(ky_page *p, const ky_metrics *s);

/** Answers against truths, and what is left between them, of target c. */
void ky_chart_scatter(ky_page *p, const ky_scoring *s, int c);
void ky_chart_residuals(ky_page *p, const ky_scoring *s, int c);

#endif
