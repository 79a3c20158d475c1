"""Sign-off: a trained network classifies test samples once more, as its own netlist in ngspice."""

from netc.signoff.run import Settings, signoff
from netc.signoff.summary import Signoff

__all__ = ["Settings", "Signoff", "signoff"]
