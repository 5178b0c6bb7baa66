"""What everything stands on: errors, options, contracts of shapes, files. Imports no other area."""
