"""Runs compiled pipelines and components on this machine, resumably."""
