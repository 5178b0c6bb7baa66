"""Commands that are applied to structures: what a model says about them, and moves them to."""
