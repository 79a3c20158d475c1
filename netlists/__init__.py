"""Example circuits."""
