#!/bin/bash
# Heartbeats: is a beat normal, or does it show an infarction? Single beats of one lead; with a
# hundred of them to learn from, dense layers with dropout do as well as convolutions.
. "$(dirname "$0")/lib.sh"
data ecg200 ecg200.h5 heartbeats "ECG200 of the UCR archive (R. Olszewski 2001), its own split"
train heartbeats-dense ">=0.88" \
    "flatten, dropout:0.1, dense:128 relu, dropout:0.2, dense:128 relu, dropout:0.3, dense" \
    --epochs 200 --patience 200 --batch 16 --l2 0.003
finish
