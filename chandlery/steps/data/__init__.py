"""The bodies of the data components."""
