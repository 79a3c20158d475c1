"""netc data."""
