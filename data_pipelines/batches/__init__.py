"""Padded batches: shapes, order, NumPy and tf.data sources."""
