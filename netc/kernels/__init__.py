"""Fused C++ kernels: a program's time loop and its adjoint, generated, compiled and called."""

from netc.kernels.kernel import Kernel, build
from netc.kernels.loops import Unsupported
from netc.kernels.passes import PASSES

__all__ = ["PASSES", "Kernel", "Unsupported", "build"]
