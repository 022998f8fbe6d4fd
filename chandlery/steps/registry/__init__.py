"""The bodies of the registry components."""
