"""Commands that make, judge, import and export models."""
