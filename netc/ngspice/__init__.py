"""netc ngspice."""
