"""Everything that comes from outside, damaged in every way that generators can think of.

- `inputs` makes cases: hypothesis strategies for structures, files, cards and names.
- `judge` runs a case and says what became of it.
- `signals` kills commands while they write.
- `python tests/robustness table` counts the outcomes and writes docs/robustness.json.
- `python tests/robustness fuzz READER --seconds 3600` looks for crashes guided by coverage.
"""
