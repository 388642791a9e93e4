"""The schema of a classifier's `spec.json`: names, types, ranges. The file may come from an unknown source."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

_Text = Annotated[str, Field(max_length=1_000)]
_Number = Annotated[float, Field(allow_inf_nan=False)]
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Side = Annotated[int, Field(ge=1, le=8192)]  # pixels
_Byte = Annotated[int, Field(ge=0, le=255)]
_Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
_MOST_MEMBERS = 1_000
_LARGEST_LAYER = 65_536  # units of a dense layer before the head


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PreprocessingSpec(_Spec):
    """The fields of `Preprocessing`."""

    resize: _Side
    crop: _Side
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"]
    mean: tuple[_Number, _Number, _Number]
    std: tuple[_Positive, _Positive, _Positive]
    keep_aspect: bool = True
    white: _Positive | tuple[_Number, _Number] | None = None
    fit: Literal["crop", "pad", "squash", "multicrop"] = "crop"
    colour: tuple[_Byte, _Byte, _Byte] | None = None

    @model_validator(mode="after")
    def _crop_fits(self) -> Self:
        if self.crop > self.resize:
            raise ValueError(f"crop {self.crop} is larger than resize {self.resize}")
        return self

    @model_validator(mode="after")
    def _black_is_below_white(self) -> Self:
        if isinstance(self.white, tuple) and self.white[0] >= self.white[1]:
            raise ValueError(f"black {self.white[0]} is not below white {self.white[1]}")
        return self

    @model_validator(mode="after")
    def _canvas_has_a_colour(self) -> Self:
        if self.fit == "pad" and self.colour is None:
            raise ValueError("fit is pad, and there is no colour")
        return self


class KeySpec(_Spec):
    """The fields of a `FeatureKey`."""

    backbone: _Text
    weights: _Text
    preprocessing: PreprocessingSpec
    layers: Annotated[tuple[_Text, ...], Field(min_length=1, max_length=1_000)]
    pool: Literal["average", "max", "none", "own"]
    view: _Text
    engine: Literal["eager", "compiled", "openvino"]
    number_format: Literal["float32", "bfloat16", "float16"]
    decoder: _Text


class DecisionSpec(_Spec):
    """The fields of a `Decision`."""

    positive: str
    threshold: Annotated[float, Field(ge=0, le=1)]
    wish: _Text


class FileSpec(_Spec):
    """What every file has: its format, and what it was written by; ``seal`` is a checksum of the file."""

    format: _Text
    versions: dict[str, _Text]
    weights_sha256: _Digest
    seal: _Digest
    mlflow_run: _Text | None = None


class AnsweringSpec(_Spec):
    """The classes, and which of them is answered."""

    strategy: _Text
    class_names: Annotated[tuple[str, ...], Field(min_length=2)]
    training: dict[str, Any]
    decision: DecisionSpec | None = None
    costs: tuple[tuple[Annotated[float, Field(ge=0)], ...], ...] | None = None

    @model_validator(mode="after")
    def _classes_differ(self) -> Self:
        if len(set(self.class_names)) < len(self.class_names):
            raise ValueError("two classes have one name")
        return self

    @model_validator(mode="after")
    def _costs_are_of_the_classes(self) -> Self:
        if self.costs and {len(self.costs), *map(len, self.costs)} != {len(self.class_names)}:
            raise ValueError("the costs are not those of its classes")
        return self

    @model_validator(mode="after")
    def _decides_between_two(self) -> Self:
        if self.decision and (len(self.class_names) != 2 or self.decision.positive not in self.class_names):
            raise ValueError(f"the decision for {self.decision.positive!r} is not one between its classes")
        return self


class NetworkSpec(AnsweringSpec):
    """The fields of a `Classifier`."""

    temperature: _Positive
    features: KeySpec
    split_digest: _Text
    test_views: dict[str, Any]
    hidden: Annotated[tuple[Annotated[int, Field(ge=1, le=_LARGEST_LAYER)], ...], Field(max_length=16)]
    frozen: bool
    data_digest: _Text
    reject_above: _Positive | None
    head: _Text = "linear"


class ClassifierSpec(NetworkSpec, FileSpec):
    """The file of a classifier."""


class MemberSpec(NetworkSpec):
    """A member of an ensemble; its network is that of the earlier member ``network_of``, if it is the same."""

    weight: _Positive
    network_of: Annotated[int, Field(ge=0)] | None = None


class EnsembleSpec(AnsweringSpec, FileSpec):
    """The file of an ensemble."""

    members: Annotated[tuple[MemberSpec, ...], Field(min_length=1, max_length=_MOST_MEMBERS)]

    @model_validator(mode="after")
    def _members_know_the_classes(self) -> Self:
        if any(member.class_names != self.class_names for member in self.members):
            raise ValueError("a member knows other classes")
        if any((member.network_of or 0) >= max(1, place) for place, member in enumerate(self.members)):
            raise ValueError("a member shares the network of a later one")
        return self
