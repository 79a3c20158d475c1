"""Device models, as SPICE subcircuits."""
