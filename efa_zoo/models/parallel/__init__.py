"""Several devices and processes: who takes part, batches dealt by molecule, atoms of one system."""
