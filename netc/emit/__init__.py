"""netc emit."""
