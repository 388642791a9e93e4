"""The features of this run's images, as one safetensors file."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from kedro.io import AbstractDataset
from kedro_datasets._typing import JSONPreview
from safetensors import safe_open
from safetensors.numpy import save_file

from topwork.datasets.atomic import appearing_whole
from topwork.datasets.feature_key import key_from_fields
from topwork.schemas import Features, InputError


class FeaturesDataset(AbstractDataset[Features, Features]):
    """`vectors` ``[n, d]`` and `views` ``[k, n, d]``.

    The key is in the file's header, the image ids are a tensor of UTF-8 bytes (JSON).
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._path = Path(filepath)
        self.metadata = metadata

    def load(self) -> Features:
        """The features, with the key that they were made under.

        Raises:
            InputError: there are none yet.

        """
        if not self._path.exists():
            raise InputError(f"{self._path}: no features yet; run `--pipelines ingestion,features,splitting` first.")
        with safe_open(self._path, framework="numpy") as file:
            header = json.loads(file.metadata()["features"])
            ids = json.loads(file.get_tensor("image_ids").tobytes())
            return Features(
                key=key_from_fields(header["key"]),
                requested=header["requested"],
                content=header["content"],
                image_id=tuple(ids),
                vectors=file.get_tensor("vectors"),
                views=file.get_tensor("views"),
            )

    def save(self, data: Features) -> None:
        """Replace the features."""
        ids = np.frombuffer(json.dumps(data.image_id).encode(), np.uint8)
        header = {"key": asdict(data.key), "requested": dict(data.requested), "content": data.content}
        vectors, views = np.ascontiguousarray(data.vectors), np.ascontiguousarray(data.views)
        tensors = {"vectors": vectors, "views": views, "image_ids": ids}
        with appearing_whole(self._path) as partial:
            save_file(tensors, partial, metadata={"features": json.dumps(header)})

    def preview(self) -> JSONPreview:
        """The key and the shape, for kedro-viz."""
        with safe_open(self._path, framework="numpy") as file:
            shape = file.get_slice("vectors").get_shape()
            return JSONPreview(json.dumps({"shape": shape, **json.loads(file.metadata()["features"])}))

    def _exists(self) -> bool:
        return self._path.exists()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._path)}
