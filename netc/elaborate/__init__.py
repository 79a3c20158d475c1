"""netc elaborate."""
