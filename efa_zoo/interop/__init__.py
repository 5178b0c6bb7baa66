"""From and to other programs: the reference implementation, StableHLO. Imports `models`."""
