"""Weight files: where they lie, what they are called by, and how they are read."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from topwork.schemas import InputError

_WRAPPERS = ("state_dict", "model_state_dict", "model")  # keys under which training scripts keep the weights
_PREFIXES = ("module.", "_orig_mod.")  # left by DataParallel and torch.compile


def packaged_file(package: str, name: str) -> Path:
    """Path of a weight file that an installed package carries, without importing the package.

    Raises:
        InputError: the package is not installed.

    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise InputError(f"These weights come with a package: `pip install {package.replace('_', '-')}`.")
    return Path(spec.origin).parent / "models" / name


def read_state(path: Path) -> dict[str, Tensor]:
    """Tensors of a `.safetensors` file or of a PyTorch checkpoint, by name; no code of the file is run.

    Raises:
        InputError: the file is missing or holds no tensors.

    """
    if not path.is_file():
        raise InputError(f"weights={path}: there is no such file.")
    try:
        state = load_file(path) if path.suffix == ".safetensors" else _read_checkpoint(path)
    except Exception as error:
        raise InputError(f"weights={path}: cannot be read as weights ({type(error).__name__}).") from error
    if not state:
        raise InputError(f"weights={path}: holds no tensors.")
    return state


def load_trunk(network: nn.Module, state: Mapping[str, Tensor], head_prefixes: tuple[str, ...], source: str) -> None:
    """Copy weights into a network; only the head (parameters under ``head_prefixes``) may be absent or differ in shape.

    Raises:
        InputError: a tensor of the trunk is missing, unknown, or of another shape.

    """
    own = network.state_dict()
    fitting = {name: value for name, value in state.items() if name in own and own[name].shape == value.shape}
    for name in sorted(own.keys() ^ fitting.keys() | state.keys() - own.keys()):
        if name.startswith(head_prefixes) or name.endswith("num_batches_tracked"):
            continue
        raise InputError(f"{source}: does not fit this backbone, first at {name!r} ({_misfit(name, own, state)}).")
    network.load_state_dict({**own, **fitting})


def _misfit(name: str, own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> str:
    if name not in state:
        return "missing in the file"
    if name not in own:
        return "unknown to the backbone"
    return f"shape {list(state[name].shape)}, expected {list(own[name].shape)}"


def _read_checkpoint(path: Path) -> dict[str, Tensor]:
    # weights_only: unpickles tensors and containers, nothing that could run code
    content = torch.load(path, map_location="cpu", weights_only=True)
    for wrapper in _WRAPPERS:
        if isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    return {_bare(name): value for name, value in content.items() if isinstance(value, Tensor)}


def _bare(name: str) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name
