"""Named models: cards, zoo files, and where they lie. Cards and lists need no JAX."""
