"""netc lower."""
