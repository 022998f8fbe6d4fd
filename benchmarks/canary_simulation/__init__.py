"""Releases decided on simulated traffic by several policies, and what came of them."""
