"""The bodies of the serving components."""
