"""The YAML of `femtobarn train`: `data`, `inputs`, `method`, `training` - the objects of Python, as text."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from femtobarn import registry
from femtobarn.data.inputs import Inputs
from femtobarn.data.sample import Sample, open_sample
from femtobarn.errors import InputError, closest
from femtobarn.learn.method import Classifier
from femtobarn.learn.scorer import Scorer
from femtobarn.learn.training import Training

__all__ = ["Data", "TrainConfig", "merged", "parse"]


T = TypeVar("T")


class Data(BaseModel):
    """Files to train on; without `valid`, both come from `train` by fold (0-5 train, 6 valid).

    Attributes:
        train: files or patterns.
        valid: files or patterns of their own for validation.
        collection: collection of a ROOT file whose entries are the rows.
        tree: tree of a ROOT file.
        units: `MeV` or `GeV`, for files that do not say.
        split: by what one file gives both: `event`, its `fold` or event number, or `row`, which must not be
            asked for where several rows are of one event.
        select: half-open ranges of scalar fields, e.g. `pt: [20, 250]`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    train: str | list[str]
    valid: str | list[str] | None = None
    collection: str | None = None
    tree: str | None = None
    units: str | None = None
    split: Literal["event", "row"] = "event"
    select: dict[str, tuple[float, float]] = {}

    def samples(self) -> tuple[Sample, Sample]:
        """The training and the validation sample."""
        train = self._open(self.train)
        if self.valid is None:
            return train.split("train", by=self.split), train.split("valid", by=self.split)
        return train, self._open(self.valid)

    def _open(self, source: str | list[str]) -> Sample:
        sample = open_sample(source, collection=self.collection, tree=self.tree, units=self.units)
        return sample.select(**self.select) if self.select else sample


class TrainConfig(BaseModel):
    """What `femtobarn train` reads.

    Attributes:
        data: what is trained on.
        method: `name` of a registered method, its hyper-parameters, and `called`, what its scores are called
            if not by that name.
        inputs: None for the method's own; without features (`weight: null` alone), what differs from these.
        training: what differs from the method's own training.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: Data
    method: dict[str, Any]
    inputs: Inputs | None = None
    training: dict[str, Any] = {}

    @classmethod
    def read(cls, path: Path, changes: dict[str, Any]) -> TrainConfig:
        """Parse `path` with `changes` ("training.epochs": 3) merged in.

        Raises:
            InputError: for a missing file, broken YAML, an unknown key or a wrong type.
        """
        try:
            tree = yaml.safe_load(path.read_text())
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}") from None
        except yaml.YAMLError as error:
            raise InputError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
        if not isinstance(tree, dict):
            raise InputError(f"{path}: expected a mapping with the keys data and method")
        return parse(cls, merged(tree, changes), str(path))

    def build(self) -> tuple[Classifier | Scorer, Training]:
        """The method and the training this describes.

        Raises:
            InputError: for an unknown method, parameter or value.
        """
        parameters = dict(self.method)
        name = parameters.pop("name", None)
        if not isinstance(name, str):
            raise InputError("method: the key 'name' is missing; `femtobarn methods` lists what there is")
        kind = registry.find("methods", name)
        if not issubclass(kind, Classifier | Scorer):
            raise InputError(f"method {name}: nothing is trained on events there, its data are a spectrum")
        if "called" in parameters:
            parameters["name"] = parameters.pop("called")
        method: Classifier | Scorer = parse(kind, parameters, f"method {name}")
        return method, parse(
            Training, {**method.default_training().model_dump(), **self.training}, "training"
        )

    def inputs_of(self, method: Classifier | Scorer) -> Inputs | None:
        """The inputs as they are given; where they name no features, the method's own with what is given."""
        if self.inputs is None or self.inputs.model_fields_set & {"event", "collections"}:
            return self.inputs
        given = {name: getattr(self.inputs, name) for name in self.inputs.model_fields_set}
        return method.default_inputs().model_copy(update=given)


def merged(tree: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A copy of a nested dictionary with dotted keys replaced: `{"training.epochs": 3}`."""
    tree = dict(tree)
    for key, value in changes.items():
        head, _, rest = key.partition(".")
        if rest:
            branch = tree.get(head)
            tree[head] = merged(branch if isinstance(branch, dict) else {}, {rest: value})
        else:
            tree[head] = value
    return tree


def parse(kind: type[T], tree: Any, where: str) -> T:
    """`tree` validated as `kind`, a pydantic model or dataclass.

    Raises:
        InputError: one sentence with `where` it stands, which key, what was expected and what was given.
    """
    try:
        return TypeAdapter(kind).validate_python(tree)
    except ValidationError as error:
        first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        known = getattr(kind, "model_fields", None) or getattr(kind, "__dataclass_fields__", {})
        raise InputError(f"{where}: there is no key '{key}'{closest(key, known)}")
    if first["type"] in ("missing", "missing_argument"):
        raise InputError(f"{where}: the key '{key}' is missing")
    raise InputError(f"{where}: {key}: {first['msg'][0].lower()}{first['msg'][1:]}, not {first['input']!r}")
