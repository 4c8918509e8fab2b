#!/bin/bash
# Motions: standing, walking, running or playing badminton, told by a watch's accelerometer and
# gyroscope. A 1D CNN.
. "$(dirname "$0")/lib.sh"
data basicmotions basicmotions.h5 activity \
    "BasicMotions of the UEA archive (J. Clements 2017), its own split"
train motions-cnn ">=0.95" "conv1d:32x7 relu, maxpool:2, conv1d:64x5 relu, gap, dropout:0.3, dense" \
    --epochs 150 --patience 40 --batch 8
finish
