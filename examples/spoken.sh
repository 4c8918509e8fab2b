#!/bin/bash
# Spoken digits: zero to nine as log-mel spectra, 64 frames of 40 bands; known speakers, new
# recordings. A 1D CNN.
. "$(dirname "$0")/lib.sh"
data fsdd fsdd_logmel.h5 spoken \
    "Free Spoken Digit Dataset (Z. Jackson and others), log-mel bands, its own split"
train spoken-cnn ">=0.95" "conv1d:96x5 relu, maxpool:2, dropout:0.4, conv1d:128x5 relu, maxpool:2, \
dropout:0.4, gmp, dropout:0.3, dense" --epochs 80 --patience 15 --batch 32
finish
