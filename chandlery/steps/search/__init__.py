"""The bodies of the search components."""
