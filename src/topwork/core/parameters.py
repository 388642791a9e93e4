"""The parameter blocks of `conf/base/parameters_<pipeline>.yml`: names, types, ranges.

Kedro builds these models from the type annotations of the nodes. The `run` command checks them before it starts work.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Set
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PositiveInt, model_validator

from topwork.core.fits import CROP, MEAN


def _checked_colour(colour: str) -> str:
    parts = colour.split("-")
    if colour != MEAN and not (len(parts) == 3 and all(part.isdecimal() and int(part) <= 255 for part in parts)):
        raise ValueError(f"{colour!r} is no colour; give mean, or red-green-blue from 0 to 255, such as 255-255-255")
    return colour


Fraction = Annotated[float, Field(gt=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Side = Annotated[int, Field(ge=16, le=2048)]
Colour = Annotated[str, AfterValidator(_checked_colour)]
Fit = Literal["crop", "pad", "squash", "multicrop", "auto"]
PERCENTILES = "percentiles"
"""Value of `white` for black and white that are measured on the data set."""
Name = Annotated[
    str, BeforeValidator(lambda value: str(value) if isinstance(value, int) else value), Field(min_length=1)
]


def _checked_white(value: Any) -> Any:
    numbers = value if isinstance(value, list | tuple) else [0, value]
    plain = all(isinstance(each, int | float) and not isinstance(each, bool) for each in numbers)
    if value is None or value == PERCENTILES or (plain and len(numbers) == 2 and numbers[0] < numbers[1] < math.inf):
        return value
    raise ValueError(f"{value!r} is no positive number, nor {PERCENTILES}, nor a pair [black, white]")


White = Annotated[
    float | tuple[float, float] | Literal["percentiles"] | None,
    BeforeValidator(_checked_white),
]
"""The value that becomes 255, a pair of those that become 0 and 255, `percentiles`, or None for that of the type."""


class Block(BaseModel):
    """A frozen block of parameters in which a misspelt key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DigitsParameters(Block):
    """Block `digits`: the worked example on scikit-learn's handwritten digits."""

    images_per_class: PositiveInt | None
    seed: int


class DifficultyParameters(Block):
    """Block `wallpaper.difficulty`: distortions of a pattern, as a camera would cause them."""

    noise: Share
    blur: Annotated[float, Field(ge=0)]
    perspective: Annotated[float, Field(ge=0, lt=0.25)]
    contrast: Share


class WallpaperParameters(Block):
    """Block `wallpaper`: the worked example on the 17 wallpaper groups."""

    images_per_group: PositiveInt
    size: Annotated[int, Field(ge=16, le=2048)]
    smallest_cell: Fraction
    largest_cell: Fraction
    difficulty: DifficultyParameters
    seed: int

    @model_validator(mode="after")
    def _in_order(self) -> WallpaperParameters:
        if self.smallest_cell > self.largest_cell:
            raise ValueError(f"smallest_cell={self.smallest_cell} is above largest_cell={self.largest_cell}")
        return self


class IngestionParameters(Block):
    """Block `ingestion`: which files are usable images."""

    max_pixels: PositiveInt
    max_bytes: PositiveInt
    white: White
    rehash: bool
    threads: PositiveInt
    groups: Name | None


class SplitParameters(Block):
    """Block `split`: which images are used for training and which are held out."""

    test_fraction: Fraction
    folds: Annotated[int, Field(ge=3, le=20)]
    split_seed: int


class DuplicateParameters(Block):
    """Block `duplicates`: which images are near-duplicates, and whether they stay together in the splits."""

    merge: bool
    backbone: Name
    image_size: Side | None
    least_cosine: Annotated[float, Field(gt=0, le=1)]
    most_bits: Annotated[int, Field(ge=0, le=64)]
    at_most: PositiveInt
    sheet_pairs: Annotated[int, Field(ge=1, le=50)]
    max_pixels: PositiveInt
    threads: PositiveInt


class ScreeningParameters(Block):
    """Block `screening`: how the features are chosen if several backbones, layers or image sizes are given."""

    images: Annotated[int, Field(ge=50)]
    significance: Annotated[float, Field(gt=0, lt=0.5)]
    keep: PositiveInt
    seed: int


class FeatureParameters(Block):
    """Block `features`: how the features of each image are computed.

    ``backbone`` and ``layers`` may name several, and ``image_size`` and ``fit`` may be ``auto``, for the screen, which
    chooses one of each; everything after it is given one.
    """

    backbone: Name
    weights: Name
    image_size: Side | Literal["auto"] | None
    fit: Fit
    fit_colour: Colour
    white: White
    seed: int
    layers: Name
    pool: Literal["average", "max", "none"]
    engine: Literal["auto", "eager", "compiled", "openvino"]
    number_format: Literal["auto", "float32", "bfloat16", "float16"]
    batch_size: PositiveInt | None
    shard_size: PositiveInt
    threads: PositiveInt | None
    max_pixels: PositiveInt

    @property
    def side(self) -> int | None:
        """The image size in pixels; None: the weights' own."""
        return _side(self.image_size)

    @property
    def fitted_by(self) -> str:
        """How an image that is not square comes into the square, as long as the screen has not chosen another way."""
        return _fit(self.fit)


class AugmentationParameters(Block):
    """Block `augmentation`: the augmented views of each image; null: the value of the preset."""

    preset: Literal["photo", "digits", "pattern", "none"]
    views: Annotated[int, Field(ge=0, le=64)]
    average: bool
    translation: Annotated[float, Field(ge=0, le=0.5)] | None
    rotation: Annotated[float, Field(ge=0, le=180)] | None
    flip: Literal["none", "horizontal", "vertical", "both"] | None
    scale: Annotated[float, Field(ge=1, le=4)] | None
    aspect: Annotated[float, Field(ge=1, le=4)] | None
    shear: Annotated[float, Field(ge=0, le=60)] | None
    crop: Annotated[float, Field(gt=0, le=1)] | None
    colour: Share | None
    blur: Annotated[float, Field(ge=0, le=0.1)] | None
    erasing: Annotated[float, Field(ge=0, le=0.5)] | None
    fill: Literal["mirror", "edge", "grey"] | None
    sheet_images: Annotated[int, Field(ge=1, le=50)]
    sheet_views: Annotated[int, Field(ge=1, le=16)]
    max_pixels: PositiveInt
    seed: int


class HeadParameters(Block):
    """Parameters of all heads: ``rejected`` is the share of images that may be rejected as none of the classes."""

    rejected: Annotated[float, Field(gt=0, lt=0.5)]


class LinearParameters(HeadParameters):
    """Blocks `svm` and `logistic`: how a linear classifier is fitted."""

    C: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1)]
    class_weight: Literal["none", "balanced", "effective"]
    max_iterations: PositiveInt
    seed: int


class EnsembleParameters(Block):
    """Block `ensemble`: ``picks`` is how often a strategy is picked, the same one again if that is best."""

    picks: Annotated[int, Field(ge=1, le=1000)]


class NetworkParameters(Block):
    """Parameters of the blocks `finetune` and `scratch`: how a network learns; null: from the number of images."""

    folds: PositiveInt
    minutes: Annotated[float, Field(gt=0)] | None
    epochs: PositiveInt | None
    batch_size: Annotated[int, Field(ge=2)]
    optimizer: Literal["adamw", "sgd"]
    learning_rate: Annotated[float, Field(gt=0)] | None
    weight_decay: Annotated[float, Field(ge=0)]
    warmup: Share
    clip: Annotated[float, Field(gt=0)] | None
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    loss: Literal["cross_entropy", "focal", "logit_adjusted"]
    class_weight: Literal["none", "balanced", "effective"]
    sampling: Literal["plain", "balanced"]
    cache: Literal["auto", "always", "never"]
    cache_views: Annotated[int, Field(ge=0, le=64)]
    cache_gigabytes: Annotated[float, Field(gt=0)]
    mixup: Annotated[float, Field(ge=0)] | None
    cutmix: Annotated[float, Field(ge=0)] | None
    ema: Annotated[float, Field(ge=0, lt=1)]
    patience: PositiveInt | None
    inner_fraction: Annotated[float, Field(gt=0, lt=0.5)]
    dropout: Annotated[float, Field(ge=0, lt=1)]
    hidden: list[PositiveInt]
    rejected: Annotated[float, Field(gt=0, lt=0.5)]
    precision: Literal["auto", "float32", "bfloat16"]
    seed: int
    threads: PositiveInt
    max_pixels: PositiveInt


class FinetuneParameters(NetworkParameters):
    """Block `finetune`: how a pretrained network is trained further."""

    head: Literal["probe", "random"]
    trainable_groups: Name
    backbone_rate: Annotated[float, Field(gt=0)] | None
    layer_decay: Annotated[float, Field(gt=0, le=1)] | None
    unfreeze_every: Annotated[int, Field(ge=0)]
    batch_norm: Literal["auto", "frozen", "all", "none"]

    @model_validator(mode="after")
    def _probe_or_layers(self) -> FinetuneParameters:
        if self.head == "probe" and self.hidden:
            raise ValueError(f"hidden={self.hidden} leaves no place for a probe; say head=random in this block too")
        return self


class OwnInput(Block):
    """A network of its own, and how images come into it; the features have other ones."""

    backbone: Name
    image_size: Side | Literal["auto"] | None
    fit: Fit
    fit_colour: Colour
    white: White

    @property
    def side(self) -> int | None:
        """The image size in pixels; None: the network's own."""
        return _side(self.image_size)

    @property
    def fitted_by(self) -> str:
        """How an image that is not square comes into the square; a crop if that is left open."""
        return _fit(self.fit)


class ScratchParameters(NetworkParameters, OwnInput):
    """Block `scratch`: the network that is trained from random weights."""


class DistilledParameters(FinetuneParameters, OwnInput):
    """Block `distilled`: the small network that learns from the best other strategy."""

    weights: Name
    teacher_share: Fraction


class LabelParameters(Block):
    """Block `labels`: how doubtful labels are shown."""

    sheet_images: Annotated[int, Field(ge=1, le=200)]
    max_pixels: PositiveInt


class ReportParameters(Block):
    """Block `report`: the report page."""

    pictures: Annotated[int, Field(ge=2, le=100)]
    max_pixels: PositiveInt


class EvaluationParameters(Block):
    """Block `evaluation`: how scores and their intervals are computed."""

    resamples: Annotated[int, Field(ge=100)]
    calibration_bins: Annotated[int, Field(ge=2, le=100)]
    slices: Name | None
    sheet_images: Annotated[int, Field(ge=1, le=200)]
    served_images: Annotated[int, Field(ge=1, le=10_000)]
    served_tolerance: Annotated[float, Field(gt=0, le=1)]
    positive: Name | None
    recall_at_least: Fraction | None
    precision_at_least: Fraction | None
    certainty: Annotated[float, Field(ge=0.5, lt=1)]
    max_pixels: PositiveInt
    seed: int

    @model_validator(mode="after")
    def _one_wish(self) -> EvaluationParameters:
        if self.recall_at_least is not None and self.precision_at_least is not None:
            raise ValueError("recall_at_least and precision_at_least are both given; one threshold keeps one of them")
        return self

    @property
    def has_wish(self) -> bool:
        """Whether a threshold is asked for."""
        return self.recall_at_least is not None or self.precision_at_least is not None


class ComparisonParameters(Block):
    """Block `comparison`: how strategies are compared, and when the champion changes."""

    metric: Name
    costs: dict[Name, dict[Name, Annotated[float, Field(ge=0)]]] | None
    errors: Annotated[float, Field(ge=0)]
    promote: Literal["always", "when_better", "never"]
    significance: Annotated[float, Field(gt=0, lt=1)]
    fewest_images: PositiveInt
    seed: int

    @model_validator(mode="after")
    def _costs_are_known(self) -> ComparisonParameters:
        if self.metric == "cost" and self.costs is None:
            raise ValueError("metric=cost needs a table of costs: comparison.costs=FILE.csv")
        return self


class PredictionParameters(Block):
    """Block `prediction`: predictions for new images."""

    top: Annotated[int, Field(ge=1, le=100)]
    sheet_images: Annotated[int, Field(ge=1, le=200)]
    explain: Annotated[int, Field(ge=0, le=50)]
    max_pixels: PositiveInt
    max_bytes: PositiveInt


class LabellingParameters(Block):
    """Block `labelling`: which images without labels to label next."""

    budget: Annotated[int, Field(ge=1, le=100_000)]
    candidates: Annotated[int, Field(ge=1, le=1_000)]
    sheet_images: Annotated[int, Field(ge=1, le=200)]
    max_pixels: PositiveInt
    seed: int


class MonitoringParameters(Block):
    """Block `monitoring`: whether new images come from the distribution that was learnt."""

    significance: Annotated[float, Field(gt=0, lt=0.5)]
    dimensions: Annotated[int, Field(ge=1, le=1_000)]
    permutations: Annotated[int, Field(ge=99, le=100_000)]
    simulations: Annotated[int, Field(ge=20, le=10_000)]
    at_most: Annotated[int, Field(ge=20, le=20_000)]
    sheet_images: Annotated[int, Field(ge=1, le=200)]
    max_pixels: PositiveInt
    seed: int


class ExportParameters(Block):
    """Block `export`: export of a classifier for other runtimes."""

    format: Literal["onnx", "onnx-int8"]
    images: Annotated[int, Field(ge=1, le=10_000)]
    tolerance: Annotated[float, Field(gt=0, le=1)]
    same_label: Annotated[float, Field(ge=0, le=1)]
    scored_images: Annotated[int, Field(ge=1, le=10_000)]
    calibration_images: Annotated[int, Field(ge=1, le=2_000)]


def _side(image_size: int | str | None) -> int | None:
    return image_size if isinstance(image_size, int) else None


def _fit(fit: str) -> str:
    return CROP if fit == "auto" else fit


BLOCKS: dict[str, type[Block]] = {
    "digits": DigitsParameters,
    "wallpaper": WallpaperParameters,
    "ingestion": IngestionParameters,
    "split": SplitParameters,
    "duplicates": DuplicateParameters,
    "augmentation": AugmentationParameters,
    "screening": ScreeningParameters,
    "features": FeatureParameters,
    "evaluation": EvaluationParameters,
    "comparison": ComparisonParameters,
    "labels": LabelParameters,
    "report": ReportParameters,
    "prediction": PredictionParameters,
    "labelling": LabellingParameters,
    "monitoring": MonitoringParameters,
    "export": ExportParameters,
}
"""The type of each parameter block by its name, without the strategies' blocks (`decisions/strategies.py`)."""


def parameter_names(block: type[Block], prefix: str) -> Iterator[str]:
    """Dotted names of all parameters of a block, including nested blocks."""
    for name, field in block.model_fields.items():
        yield f"{prefix}.{name}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, Block):
            yield from parameter_names(field.annotation, f"{prefix}.{name}")


def each_once(values: Mapping[str, Any], following: Set[str]) -> dict[str, Any]:
    """Parameters by dotted name, without those of the ``following`` ones that have the value of their main parameter.

    `value_of` finds these too.
    """
    every = dict(flattened(values))
    return {
        name: value
        for name, value in every.items()
        if name not in following or str(value) != str(every.get(_main_name(name)))
    }


def value_of(parameters: Mapping[str, Any], name: str, default: Any = None) -> Any:
    """The value of a parameter among those of `each_once`: its own, or that of the main parameter (`seed`)."""
    return parameters.get(name, parameters.get(_main_name(name), default))


def _main_name(name: str) -> str:
    return name.rpartition(".")[2]


def flattened(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Pairs of dotted name and value for nested parameters."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
