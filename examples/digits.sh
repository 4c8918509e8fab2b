#!/bin/bash
# Handwritten digits: which one is in an image of 28 x 28 grey levels. A 2D CNN.
. "$(dirname "$0")/lib.sh"
data mnist mnist.h5 digits "MNIST (Y. LeCun, C. Cortes, C. Burges), 60000 + 10000 images"
train digits-cnn ">=0.992" "conv2d:32x3 relu, maxpool:2, conv2d:64x3 relu, maxpool:2, dropout:0.4, \
flatten, dense:128 relu, dropout:0.5, dense" --epochs 10 --lr 0.002 --schedule cosine
finish
