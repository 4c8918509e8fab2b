/*
 * Log-mel features of sound: energies in bands that lie as the ear has them, in double precision.
 *
 *     frame t    samples [t*hop, t*hop+fft), times w(n) = 1/2 - 1/2 cos(2 pi n/(fft-1)), Hann
 *     power      |DFT|^2 at the fft/2+1 frequencies k*rate/fft
 *     mel(f)     2595 log10(1 + f/700)                    (Young et al., The HTK Book)
 *     band b     sum of power times a triangle that rises from edge b to 1 at edge b+1 and falls to
 *                edge b+2, of bands+2 edges evenly spaced in mel (Davis and Mermelstein 1980)
 *     value      ln(band + 1e-6)
 *
 * No frame reaches over the end; sound shorter than a frame is one, filled up with silence.
 */
#ifndef KY_LOGMEL_H
#define KY_LOGMEL_H

#include <stddef.h>

typedef struct ky_logmel ky_logmel;

/** @param fft  samples of a frame, a power of two from 16. NULL: no memory. */
ky_logmel *ky_logmel_new(int bands, int fft, int hop, double rate_hz, double low_hz,
                         double high_hz);
void ky_logmel_free(ky_logmel *m);

/** Frames of n samples, at least 1. */
size_t ky_logmel_frames(const ky_logmel *m, size_t n);

/** x[n] in [-1,1] to y [frames,bands]. */
void ky_logmel_run(ky_logmel *m, const float *x, size_t n, float *y);

/** The value of silence, ln(1e-6). */
float ky_logmel_silence(void);

#endif
