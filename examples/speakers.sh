#!/bin/bash
# Speakers: who of nine says two vowels, by 12 cepstral coefficients a step, 7 to 29 steps. An
# LSTM; what is behind the end of a row is masked.
. "$(dirname "$0")/lib.sh"
data japanesevowels japanesevowels.h5 spoken \
    "JapaneseVowels of the UEA archive (M. Kudo, J. Toyama, M. Shimbo 1999), its own split"
train speakers-lstm ">=0.95" "dropout:0.2, lstm:48, dropout:0.5, dense" --epochs 100 --patience 15 \
    --batch 16
finish
