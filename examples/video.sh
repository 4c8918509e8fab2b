#!/bin/bash
# Video: how a digit moves, of which a single frame says nothing. A CNN on each frame with an LSTM
# over them; and the same CNN frame by frame with a mean over them, which cannot tell a motion from
# its reverse and must fail.
. "$(dirname "$0")/lib.sh"
real mnist mnist.h5 "MNIST (Y. LeCun, C. Cortes, C. Burges), whose digits are then moved"
simulate moving-digits ${real:+--digits "$real"} --train 6000
frame="td(conv2d:8x5/2 relu), td(conv2d:16x3/2 relu), td(flatten), td(dense:32 relu)"
options="--epochs 15 --batch 32 --lr 0.003 --schedule cosine"
# shellcheck disable=SC2086
train video-cnn-lstm ">=0.97" "$frame, lstm:32, dense" $options
# shellcheck disable=SC2086
train video-frames "<0.60" "$frame, td(dense:32 relu), gap, dense" $options
finish
