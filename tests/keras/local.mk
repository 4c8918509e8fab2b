# tests/keras
