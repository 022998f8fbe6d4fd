"""Replayed traffic: labelled rows sent to a deployment, and feedback on each answer."""
