"""Few-shot classification whose labels are drawn anew for each row."""

import math
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from minidiff.data.needles import Chance
from minidiff.data.orders import check_order, item_order
from minidiff.data.protocol import (
    ALL,
    IGNORE,
    check_batch_size,
    choose,
    random_numbers,
)

_WORLD = 0  # seed of the prototypes, so that every run has the same task
_ORDER = 1  # a random stream independent of the one for the examples


class FewShotBatch(NamedTuple):
    """A batch and its layout, with I items and C classes in a row.

    inputs, targets : (B, T) int64; targets are -100 except labels
    places : (I,) positions whose target is a label, the same in every row;
        the last ``questions`` of them are the questions
    classes : (B, I) class of each item, numbered 0 to C - 1 within the row
    labels : (B, C) the label of each of the row's classes
    """

    inputs: Tensor
    targets: Tensor
    places: Tensor
    classes: Tensor
    labels: Tensor


@dataclass(frozen=True, kw_only=True)
class FewShotTask:
    """Items of several classes, each followed by its class's label.

    With 2 classes, 2 shots and 1 question a row can look like this, where
    letters are features::

        a c b L7   x y y L2   c b d L7   y z x L2   b a a -> L7

    A class is a prototype: a fixed set of features, which can be learned
    once for all rows. An item consists of ``features`` of them, drawn with
    replacement; with probability ``noise``, each is replaced by a random
    feature. Classes and labels are drawn anew for each row, so only the
    row's own examples tell which label belongs to a class. Features have the
    lower ids and labels the higher ones.

    There are ``shots`` demonstrations of each class, then questions of
    classes drawn at random. Every label is a target. ``order_seed`` changes
    only the order of the demonstrations: the row has the same examples and
    questions.
    """

    classes: int = 6  # C, as many as the coarse classes of TREC
    shots: int = 4  # demonstrations of each class
    questions: int = 1  # at the end of the row
    features: int = 3  # tokens of an item, besides its label
    order: str = "random"  # "sorted" by class, or classes "alternating"
    noise: float = 0.25  # one feature in four is random
    prototypes: int = 64  # number of classes in all; several times C
    width: int = 8  # features in a prototype
    feature_ids: int = 128  # so each id is in 4 prototypes on average
    label_ids: int = 64  # several times C
    seed: int = 0
    order_seed: int = 0

    def __post_init__(self) -> None:
        """Raise a ValueError that names the first bad field."""
        for name in ("classes", "shots", "questions", "features", "width"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"{name}: got {getattr(self, name)}, expected 1 or more"
                )
        for name in ("prototypes", "label_ids"):
            if getattr(self, name) < self.classes:
                raise ValueError(
                    f"{name}: got {getattr(self, name)}, expected at least "
                    f"classes = {self.classes}, as each has its own"
                )
        if self.feature_ids < self.width:
            raise ValueError(
                f"feature_ids: got {self.feature_ids}, expected at least "
                f"width = {self.width}"
            )
        check_order(self.order)
        if not 0 <= self.noise <= 1:
            raise ValueError(f"noise: got {self.noise}, expected 0 to 1")
        for name in ("seed", "order_seed"):
            if getattr(self, name) < 0:
                raise ValueError(
                    f"{name}: got {getattr(self, name)}, expected 0 or more"
                )

    @property
    def items(self) -> int:
        """Items in a row, I: demonstrations and questions."""
        return self.classes * self.shots + self.questions

    @property
    def length(self) -> int:
        """Tokens in a row, T."""
        return self.items * (self.features + 1)

    @property
    def vocab_size(self) -> int:
        """Number of token ids; every id is below it."""
        return self.feature_ids + self.label_ids

    @property
    def chance(self) -> Chance:
        """Result of guessing among the row's labels: ln C nats, and 1/C."""
        return Chance(math.log(self.classes), 1 / self.classes)

    def batch(
        self,
        step: int,
        batch_size: int,
        split: str = "train",
        rows: slice = ALL,
    ) -> tuple[Tensor, Tensor]:
        """Inputs and targets of one step's rows, int64 (B, T) each."""
        sample = self.sample(step, batch_size, split)
        return sample.inputs[rows], sample.targets[rows]

    def sample(
        self, step: int, batch_size: int, split: str = "train"
    ) -> FewShotBatch:
        """Return a batch, its classes and its labels.

        The validation rows are the same for every seed, so that runs can be
        compared. Validation uses the same classes as training; only the
        assignment of labels to classes is new.
        """
        check_batch_size(batch_size)
        seed = self.seed if split == "train" else 0
        random = random_numbers(seed, split, step)
        B, C = batch_size, self.classes
        chosen = choose(random, B, self.prototypes, C)
        labels = self.feature_ids + choose(random, B, self.label_ids, C)
        # Demonstration n has class n % C; the questions follow.
        shown = np.tile(np.arange(C * self.shots) % C, (B, 1))
        asked = random.integers(0, C, (B, self.questions))
        classes = np.concatenate([shown, asked], axis=1)  # (B, I)

        shape = (B, self.items, self.features)
        which = random.integers(0, self.width, shape)
        kinds = np.take_along_axis(chosen, classes, axis=1)
        features = self._world()[kinds[:, :, None], which]
        replaced = random.random(shape) < self.noise
        other = random.integers(0, self.feature_ids, shape)
        features = np.where(replaced, other, features)

        order = self._order(step, split, B)  # (B, I)
        classes = np.take_along_axis(classes, order, axis=1)
        features = np.take_along_axis(features, order[:, :, None], axis=1)
        said = np.take_along_axis(labels, classes, axis=1)
        inputs = np.concatenate([features, said[:, :, None]], axis=2)
        inputs = inputs.reshape(B, self.length)
        places = np.arange(self.items) * (self.features + 1)
        places += self.features - 1
        targets = np.full_like(inputs, IGNORE)
        targets[:, places] = said
        parts = inputs, targets, places, classes, labels
        return FewShotBatch(*(torch.from_numpy(part) for part in parts))

    def describe(self) -> dict[str, object]:
        """Describe this data as JSON values: all the fields."""
        return {"kind": "few-shot", **asdict(self)}

    def _world(self) -> np.ndarray:
        """Return the features of each prototype, (prototypes, width)."""
        random = random_numbers(_WORLD, "train", 0)
        return choose(random, self.prototypes, self.feature_ids, self.width)

    def _order(self, step: int, split: str, rows: int) -> np.ndarray:
        """Return which item stands at each place of a row, (rows, I)."""
        seed = self.seed if split == "train" else 0
        return item_order(
            random_numbers(seed, split, step, _ORDER, self.order_seed),
            self.order,
            rows=rows,
            classes=self.classes,
            shots=self.shots,
            questions=self.questions,
        )
