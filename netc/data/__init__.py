"""Data sets by name: found locally or fetched, verified, never replaced by another or a subset in silence."""

from netc.data.dataset import Dataset
from netc.data.registry import fetch, load, names

__all__ = ["Dataset", "fetch", "load", "names"]
