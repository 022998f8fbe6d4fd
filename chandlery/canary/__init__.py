"""The canary: a release that decides itself, on statistics that stay valid at every look."""
