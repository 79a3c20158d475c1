"""netc ir."""
