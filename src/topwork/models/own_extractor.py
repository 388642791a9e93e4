"""Feature extractors of the user: Python callables from pixels to vectors, named `python:MODULE:NAME`.

`MODULE` is importable, or a Python file. The callable has a ``version`` (text). It gets RGB pixels ``[h, w, 3]``
(uint8) and returns a vector ``[d]``; with ``batched = True`` it gets ``[b, h, w, 3]`` and returns ``[b, d]``.
``image_size`` is the side of its square images (224 if absent). Cached features belong to the digest of its source
files and to its version.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topwork.core.arrays import Floats
from topwork.core.digests import file_digest
from topwork.core.errors import InputError
from topwork.core.features import OWN_EXTRACTOR

_SIDE = 224  # pixels
_FORM = "write python:MODULE:NAME or python:FILE.py:NAME"

ALLOWED = "TOPWORK_EXTRACTORS"
"""Environment variable: files, joined like those of ``PATH``, that classifiers from MLflow may execute.

A file that is not where it was in training is looked for among them, by its name."""

_executed: dict[str, str] = {}  # digest of the source of each module or file that this process executed

Extractor = Callable[[NDArray[np.uint8]], Any]


def load_extractor(name: str) -> Extractor:
    """The callable of this name; a class is called without arguments to make one.

    Raises:
        InputError: there is no such callable, or it has no version.

    """
    module, attribute = _parts(name)
    loaded = _imported(name, module, source_digest(name))
    found = getattr(loaded, attribute, None)
    extractor = found() if isinstance(found, type) else found
    if not callable(extractor):
        raise InputError(f"backbone={name}: {module} has no callable {attribute}.")
    if not isinstance(getattr(extractor, "version", None), str):
        raise InputError(
            f"backbone={name}: an extractor needs a version, a text, so that its cached features can be told from "
            f'those of another version. Add `{attribute}.version = "1"`.'
        )
    return extractor  # type: ignore[no-any-return]


def image_side(extractor: Extractor) -> int:
    """Side of the square images that the extractor gets, in pixels."""
    return int(getattr(extractor, "image_size", _SIDE))


def extractor_digest(name: str) -> str:
    """Digest of the source files of the extractor, and its version."""
    return f"{source_digest(name)} version {load_extractor(name).version}"  # type: ignore[attr-defined]


def source_digest(name: str) -> str:
    """Hexadecimal SHA-256 of the extractor's source: its file, or all files in the folder of its package.

    The module is not executed.

    Raises:
        InputError: there is no such file or module.

    """
    module, _ = _parts(name)
    file = Path(module) if module.endswith(".py") else _file_of_module(name, module)
    if not file.is_file():
        raise InputError(f"backbone={name}: there is no file {file}; {_FORM}.")
    in_package = not module.endswith(".py") and (file.parent / "__init__.py").is_file()
    files = sorted(file.parent.glob("*.py")) if in_package else [file]
    digest = hashlib.sha256()
    for each in files:
        digest.update(f"{each.name} {file_digest(each)}\n".encode())
    return digest.hexdigest()


def check_same_source(name: str, digest: str) -> None:
    """Check, before it is executed, that the extractor has the source that a classifier was trained with.

    Raises:
        InputError: it has not, or it is not here.

    """
    made = digest.partition(" ")[0]
    try:
        here = source_digest(name)
    except InputError as error:
        raise InputError(
            f"The classifier needs the feature extractor {name}, which is not here. Put its source there, or name the "
            f"file where it lies: {ALLOWED}=FILE.py."
        ) from error
    if here != made:
        raise InputError(
            f"The classifier was trained with {name} in another version (SHA-256 {made[:16]}…, here {here[:16]}…): "
            "put back its source, or train the classifier again."
        )


def check_may_run(name: str) -> None:
    """Check that the extractor of a classifier that MLflow stores may be executed.

    Who can write to the store could name any file. Installed modules may run, and files that the user named: as the
    backbone of this process, or in the environment variable `ALLOWED`.

    Raises:
        InputError: it is another file.

    """
    module, _ = _parts(name)
    if module.endswith(".py") and module not in {*_executed, *_allowed()}:
        raise InputError(
            f"The classifier in MLflow needs to execute the file {module}, and what is stored there executes nothing "
            f"by itself. If you trust this file, set {ALLOWED}={module}; or train with an extractor in an installed "
            "package (python:MODULE:NAME)."
        )


def extracted(name: str, extractor: Extractor, pixels: NDArray[np.uint8]) -> Floats:
    """Vectors ``[b, d]`` (float32) of pixels ``[b, h, w, 3]``.

    Raises:
        InputError: the extractor fails, or does not return one vector per image.

    """
    batched = getattr(extractor, "batched", False)
    try:
        returned = extractor(pixels) if batched else [extractor(image) for image in pixels]
    except Exception as error:  # code of the user
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(last.filename).name}, line {last.lineno}"
        raise InputError(
            f"backbone={name}: it failed on an image ({type(error).__name__}: {error}; {place})."
        ) from error
    shapes = [np.shape(each) for each in ([returned] if batched else returned)]
    expected = f"[{len(pixels)}, d]" if batched else "[d]"
    for shape in shapes:
        if len(shape) != (2 if batched else 1) or (batched and shape[0] != len(pixels)) or shape != shapes[0]:
            what = f"an array of shape {list(shape)}" if shape else "no array (is there a `return`?)"
            raise InputError(
                f"backbone={name}: it returned {what} instead of {expected}"
                f"{'' if batched else ', with the same d for every image'}."
            )
    return np.asarray(returned, np.float32)


def check_repeatable(name: str, extractor: Extractor, side: int) -> None:
    """Check that an image has the same vector when it is asked for again, and alone.

    Raises:
        InputError: it has not; cached features would then differ from those of prediction.

    """
    pixels = np.random.default_rng(0).integers(0, 256, (3, side, side, 3), dtype=np.uint8)
    pixels[0] = 128  # an image without any contrast
    first, again = extracted(name, extractor, pixels), extracted(name, extractor, pixels)
    alone = np.concatenate([extracted(name, extractor, pixels[row : row + 1]) for row in range(len(pixels))])
    if not np.isfinite(first).all():
        raise InputError(f"backbone={name}: its vectors hold NaN or infinite numbers, for instance of a grey image.")
    for other, when in ((again, "when it is asked for again"), (alone, "alone and together with others")):
        if not np.allclose(first, other, rtol=1e-3, atol=1e-4):
            raise InputError(
                f"backbone={name}: an image has different vectors {when}. Fix its "
                "seed, or compute each image by itself."
            )


def _parts(name: str) -> tuple[str, str]:
    """Module (or file) and name of the callable."""
    module, _, attribute = name.removeprefix(OWN_EXTRACTOR).rpartition(":")
    if not module or not attribute.isidentifier():
        raise InputError(f"backbone={name}: {_FORM}.")
    if module.endswith(".py") and not Path(module).is_file():
        module = next((path for path in _allowed() if Path(path).name == Path(module).name), module)
    return module, attribute


def _allowed() -> list[str]:
    """The files of the environment variable, as absolute paths."""
    return [os.path.normpath(Path.cwd() / path) for path in os.environ.get(ALLOWED, "").split(os.pathsep) if path]


def _file_of_module(name: str, module: str) -> Path:
    try:
        found = importlib.util.find_spec(module)
    except (ImportError, ValueError) as error:
        raise InputError(f"backbone={name}: cannot import {module} ({error}); {_FORM}.") from error
    if found is None or not found.origin or not Path(found.origin).is_file():
        near = f"; perhaps python:{module}.py:…?" if Path(f"{module}.py").is_file() else f"; {_FORM}."
        raise InputError(f"backbone={name}: there is no module {module} in this environment{near}")
    return Path(found.origin)


@lru_cache(maxsize=8)
def _imported(name: str, module: str, digest: str) -> ModuleType:
    """The module; a file that has changed (another ``digest``) is executed again."""
    if not module.endswith(".py") and _executed.get(module, digest) != digest:
        raise InputError(
            f"backbone={name}: the source of {module} has changed since it was imported: start Python anew."
        )
    _executed[module] = digest
    try:
        if not module.endswith(".py"):
            return importlib.import_module(module)
        found = importlib.util.spec_from_file_location(f"topwork_extractor_{digest[:16]}", module)
        assert found is not None and found.loader is not None
        loaded = importlib.util.module_from_spec(found)
        sys.modules[loaded.__name__] = loaded  # dataclasses look their module up here
        found.loader.exec_module(loaded)
    except Exception as error:  # code of the user
        raise InputError(f"backbone={name}: cannot import {module} ({type(error).__name__}: {error}).") from error
    return loaded
