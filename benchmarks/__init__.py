"""Measurements of Chandlery on this machine, beside those of what it is compared with: `make bench`."""
