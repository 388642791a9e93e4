"""A classifier as one ONNX file, from pixels to probabilities, for runtimes without Python and PyTorch."""

from __future__ import annotations

import json
import warnings
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from topwork.core.classifier import Classifier, Decision, LeastCost
from topwork.core.errors import InputError
from topwork.core.fits import CROP, PAD, SQUASH
from topwork.images.transforms import Preprocessing
from topwork.inference.onnx_answers import PIXELS, PROBABILITIES
from topwork.models.backbones import feature_function
from topwork.models.graft import network_backbone
from topwork.models.normalisation import normalised, pixel_statistics

_BY_COST = (
    "The label is the class with the least expected cost: the smallest of the probabilities times the matrix `costs` "
    "(row: true class, column: answer); the confidence is the probability of the label."
)
_BY_THRESHOLD = (
    "The label is the class `positive` if its probability is at least `threshold`, otherwise the other class; the "
    "confidence is the probability of the label."
)


class _Network(nn.Module):
    """From pixels to probabilities: normalisation, backbone, head and temperature in one graph."""

    mean: Tensor
    std: Tensor

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        key, backbone = classifier.key, network_backbone(classifier)
        self.trunk, self.neck = backbone.trunk, backbone.neck
        self._features = feature_function(backbone, key.layers, key.pool if key.pool != "own" else "average")
        how = Preprocessing(**key.preprocessing)
        for name, value in zip(("mean", "std"), pixel_statistics(how), strict=True):
            self.register_buffer(name, value)
        self._apply_head, self._of_head = classifier.head.apply, tuple(classifier.head.tensors())
        for name, tensor in classifier.head.tensors().items():
            self.register_buffer(f"head_{name}", torch.tensor(np.asarray(tensor, np.float32)))
        self.temperature = classifier.temperature

    def forward(self, pixels: Tensor) -> Tensor:
        images = normalised(pixels, self.mean, self.std)
        tensors = {name: getattr(self, f"head_{name}") for name in self._of_head}
        scores = self._apply_head(self._features(images), tensors)
        return torch.softmax(scores / self.temperature, dim=1)


def onnx_model(classifier: Classifier) -> bytes:
    """Bytes of the ONNX file; its metadata (``topwork``) give the class names and the preprocessing of images.

    Raises:
        InputError: the classifier averages over augmented views or several crops, which a graph for one image cannot
            do; its features come from Python code of the user; or torch cannot export its network.

    """
    how = Preprocessing(**classifier.key.preprocessing)
    if len(how.places) > 1:
        raise InputError("This classifier averages over several crops of an image (fit=multicrop): train with fit=pad.")
    if classifier.test_views:
        raise InputError("This classifier averages over augmented views: train it with augmentation.average=false.")
    if not classifier.key.has_layers:
        raise InputError(
            f"The features come from an extractor of your own ({classifier.key.backbone}), which is Python code and "
            "cannot be exported to ONNX. Serve the classifier with Python, or train one on a network."
        )
    import onnx

    example = torch.zeros(2, how.crop, how.crop, 3, dtype=torch.uint8)
    with warnings.catch_warnings(), TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        path = f"{folder}/model.onnx"
        try:
            torch.onnx.export(
                _Network(classifier).eval(),
                (example,),
                path,
                input_names=[PIXELS],
                output_names=[PROBABILITIES],
                dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
                dynamo=True,
                external_data=False,
                verbose=False,
            )
        except Exception as error:  # exporters raise various exceptions on unknown networks
            raise InputError(f"{classifier.key.backbone} cannot be exported ({str(error).splitlines()[0]}).") from error
        model = onnx.load(path)
    onnx.helper.set_model_props(model, {"topwork": json.dumps(_described(classifier), ensure_ascii=False)})
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


_FITTED = {
    CROP: (
        "The shorter side becomes `resize` pixels by `interpolation` with antialiasing, the longer "
        "floor(longer * resize / shorter), or `resize`, too, without `keep_aspect`. Cut `crop` x `crop` from row "
        "round((height - crop) / 2), column round((width - crop) / 2)."
    ),
    PAD: (
        "The longer side becomes `crop` pixels by `interpolation` with antialiasing, the shorter "
        "max(1, round(shorter * crop / longer)). Put this on `crop` x `crop` pixels of `colour` (RGB), from row "
        "floor((crop - height) / 2), column floor((crop - width) / 2)."
    ),
    SQUASH: "The whole image becomes `crop` x `crop` pixels by `interpolation` with antialiasing.",
}


def _how(preprocessing: Preprocessing) -> str:
    """What to do to an image before it is given to the graph, in words."""
    side = "resize" if preprocessing.fit == CROP else "crop"
    return (
        "Decode upright as EXIF says, transparency over white, RGB (a JPEG at the smallest of 1/8, 1/4, 1/2 that "
        f"keeps `{side}` pixels). In images of more than 8 bits `white` becomes 255 (without it 65535 of integers, "
        "1.0 of floating point) and 0 stays 0; of a pair the first becomes 0, the second 255. "
        f"{_FITTED[preprocessing.fit]} Mean, std are in the graph."
    )


def _answering(decision: Decision | LeastCost | None) -> dict[str, Any]:
    if decision is None:
        return {}
    if isinstance(decision, LeastCost):
        return {"answer": {"costs": decision.costs}, "how_to_answer": _BY_COST}
    return {
        "answer": {"positive": decision.positive, "threshold": decision.threshold},
        "how_to_answer": _BY_THRESHOLD,
    }


def _described(classifier: Classifier) -> dict[str, Any]:
    return {
        **_answering(classifier.decision),
        "class_names": classifier.class_names,
        "preprocessing": dict(classifier.key.preprocessing),
        "how": _how(Preprocessing(**classifier.key.preprocessing)),
        "split_digest": classifier.split_digest,
        "data_digest": classifier.data_digest,
    }
