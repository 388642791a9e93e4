"""Finds weight files, reads them, and loads their weights into a network."""

from __future__ import annotations

import importlib.util
import logging
import re
from argparse import Namespace
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from topwork.core.errors import InputError

_WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model")
"""Keys under which training scripts keep the weights; averaged ones first, because they score better."""
_UNSUPPORTED = re.compile(r"(?:Unsupported global: GLOBAL|global) ([\w.]+)")
_LONGEST_REASON = 200  # characters
_STRANGERS = {
    b"version https://git-lfs": "it is a pointer of Git LFS: fetch the file itself with `git lfs pull`",
    b"<!doctype": "it is a web page: the download went wrong",
    b"<html": "it is a web page: the download went wrong",
    b"\x89hdf": "it is a file of Keras or HDF5; weights of PyTorch are wanted",
}
"""Files that people give as weights by mistake, by their first bytes in lower case."""

_log = logging.getLogger(__name__)


def packaged_file(package: str, name: str) -> Path:
    """Path of a weight file in an installed package, without importing the package.

    Raises:
        InputError: the package is not installed.

    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise InputError(f"These weights come with a package: `pip install {package.replace('_', '-')}`.")
    return Path(spec.origin).parent / "models" / name


def read_state(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file or of a PyTorch checkpoint, by name; no code of the file is run.

    The content decides which of the two it is, not the name. If a checkpoint holds averaged weights and the last ones,
    the averaged weights are returned.

    Raises:
        InputError: the file is missing, damaged, or holds no tensors; the message says what it seems to be.

    """
    if not path.is_file():
        raise InputError(f"weights={path}: there is no such file.")
    try:
        state = load_file(path) if _is_safetensors(path) else _read_checkpoint(path)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"weights={path}: cannot be read as weights ({_reason(path, error)}). Give a file of tensors by name "
            "(`torch.save(model.state_dict(), FILE)`, or safetensors)."
        ) from error
    if not state:
        raise InputError(f"weights={path}: holds no tensors.")
    return state


def load_trunk(network: nn.Module, state: Mapping[str, Tensor], head_prefixes: tuple[str, ...], source: str) -> None:
    """Copy weights into a network; only the head (parameters under ``head_prefixes``) may be absent or differ in shape.

    All names may have a common prefix from a wrapper (`module.`, `model.`, `_orig_mod.module.`). Tensors without it
    belong to something else (a loss, another head) and are ignored.

    Raises:
        InputError: a tensor of the trunk is missing, unknown, of another shape, or has NaN or infinite numbers.

    """
    own = network.state_dict()
    prefix = _common_prefix(own, state)
    inside = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    if left := sorted(name for name in state if not name.startswith(prefix)):
        _log.info("%s: taken from %r; %d other tensors are left aside, first %s", source, prefix, len(left), left[0])
    fitting = {name: value for name, value in inside.items() if name in own and own[name].shape == value.shape}
    for name in sorted(own.keys() ^ fitting.keys() | inside.keys() - own.keys()):
        if name.startswith(head_prefixes) or name.endswith("num_batches_tracked"):
            continue
        raise InputError(f"{source}: does not fit this backbone, first at {name!r} ({_misfit(name, own, inside)}).")
    for name, value in fitting.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise InputError(
                f"{source}: {name!r} holds numbers that are none (NaN or infinite): that training went astray; "
                "take an earlier checkpoint."
            )
    network.load_state_dict({**own, **fitting})


def _common_prefix(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> str:
    """The prefix of the names under which most of the network's tensors are found."""
    found = Counter({"": 0})
    for name, value in state.items():
        parts = name.split(".")
        for start in range(len(parts)):
            suffix = ".".join(parts[start:])
            if suffix in own and own[suffix].shape == value.shape:
                found[name.removesuffix(suffix)] += 1
    return max(found, key=lambda prefix: (found[prefix], -len(prefix)))


def _misfit(name: str, own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> str:
    if name not in state:
        return "missing in the file"
    if name not in own:
        return "unknown to the backbone"
    return f"shape {list(state[name].shape)}, expected {list(own[name].shape)}"


def _is_safetensors(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(9)
    return len(start) == 9 and start[8:] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size


def _read_checkpoint(path: Path) -> dict[str, Tensor]:
    # weights_only: unpickles tensors, containers and the few harmless types below, nothing that could run code
    with torch.serialization.safe_globals(_harmless()), path.open("rb") as file:
        content = torch.load(file, map_location="cpu", weights_only=True)
    if not isinstance(content, Mapping):
        raise InputError(
            f"weights={path}: holds a {type(content).__name__}, not tensors by name. Save `model.state_dict()`."
        )
    for wrapper in _WRAPPERS:
        if isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}


def _harmless() -> list[Any]:
    """Types that training scripts store with the weights: their options, and scores as NumPy numbers."""
    scalar: Any = np.float64(0).__reduce__()[0]
    return [Namespace, scalar, np.dtype, *(type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8", "?"))]


def _reason(path: Path, error: Exception) -> str:
    """Why a file cannot be read: a guess of what it is."""
    with path.open("rb") as file:
        start = file.read(64).lstrip().lower()
    for beginning, what in _STRANGERS.items():
        if start.startswith(beginning):
            return what
    if not start.startswith((b"pk", b"\x80")):
        return "it is no file of PyTorch or safetensors" if start else "the file is empty"
    said = " ".join(str(error).split())
    if "TorchScript" in said:
        return "it is a TorchScript program; save `model.state_dict()` instead"
    if told := _UNSUPPORTED.search(said):
        return f"it holds a {told[1]}, which would run code when read; save `model.state_dict()` alone"
    return f"{type(error).__name__}: {said[:_LONGEST_REASON]}"
