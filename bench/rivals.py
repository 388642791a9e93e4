"""The rivals, each as its own documentation has it: image files to features on the CPU, in float32.

Run by their own interpreter as `python rivals.py NAME NETWORK FOLDER`; every line on standard input is answered
with the seconds that one pass over the folder took. Networks have random weights, which take as long as trained ones.
"""

from __future__ import annotations

import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from timm.data import create_dataset, create_loader, create_transform, resolve_model_data_config

TIMM_NAMES = {"efficientnet_lite0": "tf_efficientnet_lite0", "resnet50": "resnet50"}
WORKERS, BATCH = 2, 32

Pass = Callable[[list[Path]], np.ndarray]


def timm_loader(network: str, folder: Path) -> Pass:
    """timm's own data set and loader with its workers, as in its `inference.py`."""
    model = timm.create_model(TIMM_NAMES[network], num_classes=0).eval()
    config = resolve_model_data_config(model)

    def run(paths: list[Path]) -> np.ndarray:
        loader = create_loader(
            create_dataset("", str(folder)),
            batch_size=BATCH,
            use_prefetcher=False,
            num_workers=WORKERS,
            device=torch.device("cpu"),
            **{key: config[key] for key in ("input_size", "interpolation", "mean", "std", "crop_pct")},
        )
        with torch.inference_mode():
            return np.concatenate([model(images).numpy() for images, _ in loader])

    return run


def plain_loop(network: str, folder: Path) -> Pass:
    """The tutorial: open, transform, stack, run."""
    model = timm.create_model(TIMM_NAMES[network], num_classes=0).eval()
    transform = create_transform(**resolve_model_data_config(model))

    def run(paths: list[Path]) -> np.ndarray:
        found = []
        with torch.no_grad():
            for start in range(0, len(paths), BATCH):
                opened = [Image.open(path).convert("RGB") for path in paths[start : start + BATCH]]
                found.append(model(torch.stack([transform(image) for image in opened])).numpy())
        return np.concatenate(found)

    return run


def fastai(network: str, folder: Path) -> Pass:
    """`get_preds` of a learner whose body has no classes left."""
    from fastai.vision.all import CategoryBlock, DataBlock, ImageBlock, Learner, Normalize, Resize, parent_label

    model = timm.create_model(TIMM_NAMES[network], num_classes=0).eval()
    config = resolve_model_data_config(model)
    block = DataBlock(
        blocks=(ImageBlock, CategoryBlock),
        get_y=parent_label,
        item_tfms=Resize(config["input_size"][-1]),
        batch_tfms=Normalize.from_stats(config["mean"], config["std"], cuda=False),
    )

    def run(paths: list[Path]) -> np.ndarray:
        loaders = block.dataloaders(paths, bs=BATCH, num_workers=WORKERS, device=torch.device("cpu"))
        learner = Learner(loaders, model, loss_func=torch.nn.CrossEntropyLoss())
        with learner.no_bar(), learner.no_logging():
            return learner.get_preds(dl=loaders.test_dl(paths), act=torch.nn.Identity())[0].numpy()

    return run


def embetter(network: str, folder: Path) -> Pass:
    """A scikit-learn pipeline of embetter's image loader and timm encoder."""
    from embetter.vision import ImageLoader, TimmEncoder

    pipeline = make_pipeline(ImageLoader(), _without_download(TimmEncoder, network))
    return lambda paths: pipeline.fit_transform([str(path) for path in paths])


class LoopFeatures(TransformerMixin, BaseEstimator):
    """The plain loop as a scikit-learn transformer."""

    def __init__(self, network: str) -> None:
        self.network = network

    def fit(self, paths: list[str], y: None = None) -> LoopFeatures:
        """Nothing to fit."""
        return self

    def transform(self, paths: list[str]) -> np.ndarray:
        """Features ``[n, d]``."""
        return plain_loop(self.network, Path())([Path(path) for path in paths])


def cached_pipeline(network: str, folder: Path) -> Pass:
    """A scikit-learn pipeline that keeps its transformed data: the second pass is the cache's."""
    memory = tempfile.mkdtemp(prefix="rival-memory-")
    pipeline = make_pipeline(LoopFeatures(network), StandardScaler(), memory=memory)
    return lambda paths: pipeline.fit_transform([str(path) for path in paths])


RIVALS = {
    "timm + DataLoader": timm_loader,
    "plain torch loop": plain_loop,
    "fastai get_preds": fastai,
    "embetter": embetter,
    "scikit-learn with memory": cached_pipeline,
}


def _without_download(encoder: type, network: str) -> object:
    create = timm.create_model
    timm.create_model = lambda name, pretrained, **options: create(name, **options).eval()
    try:
        return encoder(name=TIMM_NAMES[network])
    finally:
        timm.create_model = create


def main() -> None:
    """Answer each line of standard input with the seconds of one pass."""
    name, network, folder = sys.argv[1:]
    warnings.simplefilter("ignore")
    answers, sys.stdout = sys.stdout, sys.stderr
    paths = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    run = RIVALS[name](network, Path(folder))
    print("ready", file=answers, flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        features = run(paths)
        print(time.perf_counter() - start, len(features), file=answers, flush=True)


if __name__ == "__main__":
    main()
