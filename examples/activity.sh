#!/bin/bash
# Activity recognition: walking, climbing stairs, sitting, standing or lying, told by a phone at
# the waist; other persons in the test. A 1D CNN and an LSTM on the same windows.
. "$(dirname "$0")/lib.sh"
data uci_har uci_har.h5 activity "Human Activity Recognition Using Smartphones of the UCI
      repository (J. Reyes-Ortiz, D. Anguita, A. Ghio, L. Oneto, X. Parra 2012), raw signals"
train activity-cnn ">=0.89" \
    "conv1d:64x5 relu, maxpool:2, dropout:0.4, conv1d:64x5 relu, maxpool:2, dropout:0.4, gap, dense" \
    --epochs 30 --batch 32
train activity-lstm ">=0.89" "dropout:0.2, lstm:64, dropout:0.5, dense" --epochs 30 --lr 0.002 \
    --schedule cosine
finish
