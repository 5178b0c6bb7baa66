"""Named models: cards, zoo files, where they lie, and which to choose. None of it needs JAX."""
