"""ngspice beside netc: find it, give it the author's netlist, run it in a process of its own, compare."""

from netc.ngspice.bridge import Waveforms, run
from netc.ngspice.compare import NodeAgreement, compare
from netc.ngspice.locate import Installation, find_ngspice
from netc.ngspice.netlist import ngspice_text
from netc.ngspice.validate import Validation, validate

__all__ = [
    "Installation",
    "NodeAgreement",
    "Validation",
    "Waveforms",
    "compare",
    "find_ngspice",
    "ngspice_text",
    "run",
    "validate",
]
