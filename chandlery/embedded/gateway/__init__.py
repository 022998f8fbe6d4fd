"""The laptop's prediction gateway: Envoy, or a small proxy where it has no wheel, over one table of routes."""
