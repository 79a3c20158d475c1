"""netc report."""
