"""The decision of a release: counts in, verdict out. Pure: no clock, no network, no store."""
