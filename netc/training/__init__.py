"""netc training."""
