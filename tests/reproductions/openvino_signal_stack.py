"""Two OpenVINO cores, freed in the order in which they were made: the next signal ends the process (exit code 139).

Needs nothing but OpenVINO and NumPy. What it shows is told in docs/decisions/0016-signal-stack.md.
"""

import ctypes
import faulthandler
import os
import signal

import numpy as np
import openvino as ov
from openvino import opset13


class Stack(ctypes.Structure):
    """`stack_t` of sigaltstack(2)."""

    _fields_ = [("start", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]


def tell(when: str) -> None:
    """Print where this thread's stack for signals lies."""
    stack = Stack()
    ctypes.CDLL(None).sigaltstack(None, ctypes.byref(stack))
    print(f"{when:14s} {stack.start:#x}, {stack.size} bytes", flush=True)


def loaded() -> tuple[ov.Core, ov.CompiledModel]:
    """A core that has loaded the plugin for CPUs."""
    core, numbers = ov.Core(), opset13.parameter([1], np.float32)
    return core, core.compile_model(ov.Model([opset13.relu(numbers)], [numbers]), "CPU")


signal.signal(signal.SIGUSR1, lambda *_: print("handled"))
faulthandler.enable()
tell("faulthandler's")
first = loaded()
tell("first core")
second = loaded()
tell("second core")
del first
tell("first freed")
del second
tell("second freed")  # that of the first, which is unmapped
os.kill(os.getpid(), signal.SIGUSR1)
print("alive: the fault is mended")
