"""netc parse."""
