"""Parameters and calling conventions of other implementations."""
