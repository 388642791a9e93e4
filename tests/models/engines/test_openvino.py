"""OpenVINO in one process with everything else."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("openvino", reason="there is no OpenVINO for this platform")

MANY_ENGINES = """
import faulthandler, os, signal, threading
faulthandler.enable()  # a stack for signals, as pytest has it
import numpy as np
from openvino import Model, opset13
from topwork.models.engines.openvino import the_core

def engine():
    numbers = opset13.parameter([1], np.float32)
    return the_core().compile_model(Model([opset13.relu(numbers)], [numbers]), "CPU")

handled = []
signal.signal(signal.SIGUSR1, lambda *_: handled.append(1))
made = []
maker = threading.Thread(target=lambda: made.append(engine()))
maker.start()
maker.join()
for _ in range(3):
    first, second = engine(), engine()
    del first
    os.kill(os.getpid(), signal.SIGUSR1)
    del second
    os.kill(os.getpid(), signal.SIGUSR1)
print(len(handled))
"""


def test_signals_are_survived_whatever_engines_came_and_went() -> None:
    """With a core for each engine this ends with a segmentation fault (docs/decisions/0016-signal-stack.md)."""
    found = subprocess.run([sys.executable, "-c", MANY_ENGINES], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout.strip()) == (0, "6"), found.stderr
