"""The bodies of the run components."""
