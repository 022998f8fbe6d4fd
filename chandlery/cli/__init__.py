"""The command line, `chandlery`."""
