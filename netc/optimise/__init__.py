"""netc optimise."""
