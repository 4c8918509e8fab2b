# tests/kafka
