"""The protocol between a delivery's tasks and its driver: who may send which partition, at what rate."""
