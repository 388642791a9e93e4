"""fastai's `vision_learner(...).fine_tune(...)` as its documentation has it, on the same weights, images and size.

Run by the rivals' interpreter as `python rival_training.py TABLE WEIGHTS SIZE EPOCHS SEED`; TABLE is a CSV with `path`,
`label`, `held_out`. After each epoch it prints a line of JSON: seconds since the start, imports not included, and
accuracy on the images held out, without the time that scoring them took.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from typing import Any

import pandas as pd
import timm
import torch
from fastai.vision.all import (
    Callback,
    ImageDataLoaders,
    Normalize,
    Resize,
    accuracy,
    aug_transforms,
    set_seed,
    vision_learner,
)


class Reporter(Callback):
    """Prints where the training is, on a clock that stands still while images held out are scored."""

    order = 60

    def __init__(self) -> None:
        self.start = time.perf_counter()

    def before_validate(self) -> None:
        """Stop the clock."""
        self.stopped = time.perf_counter()

    def after_validate(self) -> None:
        """Let it go on."""
        self.start += time.perf_counter() - self.stopped

    def after_epoch(self) -> None:
        """Print."""
        seconds = time.perf_counter() - self.start
        print(json.dumps({"seconds": seconds, "accuracy": float(self.recorder.log[-1])}), flush=True)


def main() -> None:
    """Train once."""
    warnings.simplefilter("ignore")
    table, weights, size, epochs, seed = sys.argv[1:]
    set_seed(int(seed))
    images: Any = pd.read_csv(table, dtype={"path": str, "label": str})
    loaders = ImageDataLoaders.from_df(
        images,
        path="/",
        fn_col="path",
        label_col="label",
        valid_col="held_out",
        item_tfms=Resize(int(size)),
        batch_tfms=[*aug_transforms(), Normalize.from_stats((0.5,) * 3, (0.5,) * 3, cuda=False)],
        bs=64,
        num_workers=2,
        device=torch.device("cpu"),
    )
    learner = vision_learner(loaders, "tf_efficientnet_lite0", pretrained=False, normalize=False, metrics=accuracy)
    body = learner.model[0].model
    state = torch.load(weights, map_location="cpu", weights_only=True)
    names = timm.create_model(
        "tf_efficientnet_lite0"
    ).state_dict()  # in the order of the file, which names them otherwise
    named = dict(zip(names, state.values(), strict=True))
    body.load_state_dict({name: named[name] for name in body.state_dict()})
    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(int(epochs), cbs=Reporter())


if __name__ == "__main__":
    main()
