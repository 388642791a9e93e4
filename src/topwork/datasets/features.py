"""The features of this run's images, as one safetensors file."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import numpy as np
from kedro.io import AbstractDataset

from topwork.core.errors import DamagedError, InputError
from topwork.core.features import Features
from topwork.datasets.checked import open_tensors, read_tensors, write_tensors
from topwork.datasets.feature_key import key_from_fields
from topwork.datasets.previews import JSONPreview
from topwork.datasets.remote import at_hand, exists, place

_WAY_OUT = "run `--pipelines ingestion,features,splitting`"


class FeaturesDataset(AbstractDataset[Features, Features]):
    """A file with `vectors` ``[n, d]`` and `views` ``[k, n, d]``.

    The key is in the file's header; the image ids are a tensor of UTF-8 bytes (JSON).
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._path = place(filepath)
        self.metadata = metadata

    def load(self) -> Features:
        """The features, with the key under which they were made.

        Raises:
            InputError: there are none yet, or the file is damaged.

        """
        try:
            tensors, header = read_tensors(at_hand(self._path))
        except FileNotFoundError as error:
            raise InputError(f"{self._path}: no features yet; {_WAY_OUT} first.") from error
        except DamagedError as error:
            raise InputError(f"{self._path} is damaged ({error}): {_WAY_OUT} again.") from error
        return Features(
            key=key_from_fields(header["key"]),
            requested=header["requested"],
            content=header["content"],
            image_id=tuple(json.loads(tensors["image_ids"].tobytes())),
            vectors=tensors["vectors"],
            views=tensors["views"],
        )

    def save(self, data: Features) -> None:
        """Replace the features."""
        ids = np.frombuffer(json.dumps(data.image_id).encode(), np.uint8)
        header = {"key": asdict(data.key), "requested": dict(data.requested), "content": data.content}
        write_tensors(self._path, {"vectors": data.vectors, "views": data.views, "image_ids": ids}, header)

    def preview(self) -> JSONPreview:
        """The key and the shape, for kedro-viz."""
        file, header = open_tensors(at_hand(self._path))
        return JSONPreview(json.dumps({"shape": file.get_slice("vectors").get_shape(), **header}))

    def _exists(self) -> bool:
        return exists(self._path)

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._path)}
