"""Sources of networks: embedded weights, torchvision, timm, small ones of the project, classifiers, own extractors.

A new source is a module with one class that has the methods of `Source`, and a line in `find_source`.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from topwork.core.classifier import CLASSIFIER_SPEC
from topwork.core.errors import InputError
from topwork.core.features import OWN_EXTRACTOR
from topwork.models.sources.embedded import EMBEDDED, EmbeddedSource
from topwork.models.sources.from_timm import PREFIX, TimmSource, model_name
from topwork.models.sources.from_torchvision import TorchvisionSource
from topwork.models.sources.own import OwnSource
from topwork.models.sources.regraft import RegraftSource
from topwork.models.sources.small import SMALL, SmallSource
from topwork.models.sources.source import Source, head_name

__all__ = ["EMBEDDED", "SMALL", "OwnSource", "RegraftSource", "Source", "find_source", "head_name"]


def find_source(name: str) -> Source:
    """The source of the backbone with this name.

    Raises:
        InputError: no source has it; the message gives the nearest names.
    """
    if name in EMBEDDED:
        return EmbeddedSource()
    if name in SMALL:
        return SmallSource()
    if name.startswith(OWN_EXTRACTOR):
        return OwnSource()
    if (Path(name) / CLASSIFIER_SPEC).is_file():
        return RegraftSource(Path(name), find_source)
    if name.startswith(PREFIX):
        import timm

        if not timm.is_model(model_name(name)):
            raise _unknown(name, [f"timm:{model}" for model in timm.list_models()])
        return TimmSource()
    from torchvision import models

    zoo = models.list_models(module=models)
    if name not in zoo:
        raise _unknown(name, [*EMBEDDED, *SMALL, *zoo])
    return TorchvisionSource()


def _unknown(name: str, known: Sequence[str]) -> InputError:
    if ".py:" in name:
        return InputError(f"backbone={name}: write {OWN_EXTRACTOR}{name} for a feature extractor of your own.")
    near = difflib.get_close_matches(name, known, n=3)
    hint = (
        f"perhaps {', '.join(near)}?" if near else "known are efficientnet_lite0, torchvision's names, and timm:NAME."
    )
    return InputError(f"backbone={name}: no such backbone; {hint}")
