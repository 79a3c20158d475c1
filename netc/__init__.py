"""netc netc."""
