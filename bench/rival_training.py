"""The rivals that train, on the same weights, images and size, each as its own documentation has it.

Run by their own interpreter as `python rival_training.py METHOD TABLE WEIGHTS SIZE EPOCHS SEED`; TABLE is a CSV with
`path`, `label`, `held_out`. After each epoch it prints a line of JSON: seconds since the start, imports not included
and without the time that scoring took, and for each image held out, in the order of the table, if it was right.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
import timm
import torch
from fastai.vision.all import Callback, ImageDataLoaders, Normalize, Resize, aug_transforms, set_seed, vision_learner
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

NETWORK, MEAN_STD = "tf_efficientnet_lite0", ((0.5,) * 3, (0.5,) * 3)
WORKERS = 2


class Clock:
    """Stands still while images held out are scored."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    def report(self, score: Callable[[], list[bool]]) -> None:
        """Print where the training is."""
        stopped = time.perf_counter()
        line = {"seconds": stopped - self._start, "right": score()}
        print(json.dumps(line), flush=True)
        self._start += time.perf_counter() - stopped


def fastai_fine_tune(images: pd.DataFrame, weights: str, size: int, epochs: int) -> None:
    """`vision_learner(...).fine_tune(...)`: the head for one epoch, then everything."""
    loaders = ImageDataLoaders.from_df(
        images,
        path="/",
        fn_col="path",
        label_col="label",
        valid_col="held_out",
        item_tfms=Resize(size),
        batch_tfms=[*aug_transforms(), Normalize.from_stats(*MEAN_STD, cuda=False)],
        bs=64,
        num_workers=WORKERS,
        device=torch.device("cpu"),
    )
    learner = vision_learner(loaders, NETWORK, pretrained=False, normalize=False)
    body = learner.model[0].model
    named = _named(weights)
    body.load_state_dict({name: named[name] for name in body.state_dict()})
    clock = Clock()

    class Reporter(Callback):
        """fastai's own scoring of an epoch falls away, so that its clock is as fair as the others'."""

        order = 60

        def before_validate(self) -> None:
            clock.report(score)
            raise CancelValidException

    def score() -> list[bool]:
        learner.model.eval()
        right: list[bool] = []
        with torch.no_grad():
            for inputs, truth in loaders.valid:
                right += (learner.model(inputs).argmax(dim=1) == truth).tolist()
        return right

    from fastai.callback.core import CancelValidException

    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(epochs, cbs=Reporter())


class Files(Dataset[Any]):
    """Images opened one by one, as tutorials do."""

    def __init__(self, images: pd.DataFrame, transform: Any, names: list[str]) -> None:
        self._rows = list(zip(images["path"], images["label"].map(names.index), strict=True))
        self._transform = transform

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, number: int) -> tuple[Any, int]:
        path, label = self._rows[number]
        return self._transform(Image.open(path).convert("RGB")), label


def plain_loop(images: pd.DataFrame, weights: str, size: int, epochs: int) -> None:
    """A tutorial's loop: the last third of the blocks and a new head learn, Adam at 1e-3, crops and flips."""
    names = sorted(images["label"].unique())
    ending = [transforms.ToTensor(), transforms.Normalize(*MEAN_STD)]
    crop = [transforms.RandomResizedCrop(size), transforms.RandomHorizontalFlip(), *ending]
    centre = [transforms.Resize(round(size / 0.875)), transforms.CenterCrop(size), *ending]
    taught = Files(images[~images["held_out"]], transforms.Compose(crop), names)
    held_out = Files(images[images["held_out"]], transforms.Compose(centre), names)
    network = timm.create_model(NETWORK)
    network.load_state_dict(_named(weights))
    network.reset_classifier(len(names))
    for part in (network.conv_stem, network.bn1, *network.blocks[:5]):
        part.requires_grad_(False)
    learning = [value for value in network.parameters() if value.requires_grad]
    optimizer, criterion = torch.optim.Adam(learning, lr=1e-3), nn.CrossEntropyLoss()
    batches = DataLoader(taught, batch_size=32, shuffle=True, num_workers=WORKERS)
    clock = Clock()

    def score() -> list[bool]:
        network.eval()
        with torch.no_grad():
            return [right for each in DataLoader(held_out, batch_size=32) for right in _right(network, *each)]

    for _ in range(epochs):
        network.train()
        for inputs, truth in batches:
            optimizer.zero_grad()
            criterion(network(inputs), truth).backward()
            optimizer.step()
        clock.report(score)


def _right(network: nn.Module, inputs: torch.Tensor, truth: torch.Tensor) -> Iterator[bool]:
    yield from (network(inputs).argmax(dim=1) == truth).tolist()


def _named(weights: str) -> dict[str, torch.Tensor]:
    """The tensors of the file under timm's names: they come in the same order."""
    state = torch.load(weights, map_location="cpu", weights_only=True)
    return dict(zip(timm.create_model(NETWORK).state_dict(), state.values(), strict=True))


METHODS = {"fastai": fastai_fine_tune, "plain": plain_loop}


def main() -> None:
    """Train once."""
    warnings.simplefilter("ignore")
    method, table, weights, size, epochs, seed = sys.argv[1:]
    set_seed(int(seed))
    images = pd.read_csv(table, dtype={"path": str, "label": str})
    METHODS[method](images, weights, int(size), int(epochs))


if __name__ == "__main__":
    main()
