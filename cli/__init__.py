"""The netc command line."""
