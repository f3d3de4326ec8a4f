"""Export, import and clearance of the signals."""
