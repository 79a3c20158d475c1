"""Fused C++ kernels: a program's time loop and its adjoint, generated, compiled and called."""

from netc.kernels.kernel import Kernel, build
from netc.kernels.loops import Unsupported

__all__ = ["Kernel", "Unsupported", "build"]
