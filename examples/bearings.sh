#!/bin/bash
# Bearing faults: which of ten conditions a bearing is in, by its vibration, 1024 samples raw. The
# 1D CNN's first kernels are wide, so that they can become filters of frequencies.
. "$(dirname "$0")/lib.sh"
data cwru cwru_load0.h5 bearings "vibration of the Bearing Data Center of Case Western Reserve
      University, drive end, 12 kHz, no load; the last 30 % of each recording to test with"
train bearings-cnn ">=0.99" "conv1d:32x64/8 relu, maxpool:2, conv1d:64x5 relu, maxpool:2, \
conv1d:64x3 relu, gap, dropout:0.3, dense" --epochs 80 --patience 15 --batch 16
finish
