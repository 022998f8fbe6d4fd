"""The bodies of the training components."""
