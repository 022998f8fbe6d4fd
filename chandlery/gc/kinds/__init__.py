"""Each kind of garbage: which things may go, why, and what protects those in use."""
