"""netc generate."""
