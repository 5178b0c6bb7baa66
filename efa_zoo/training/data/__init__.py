"""Which structures a network learns from, and the batches they come in."""
