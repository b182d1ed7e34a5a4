"""Watch: how activations, gradients and updates of every layer develop in training."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from handgrad import checks
from handgrad.data import Loader
from handgrad.errors import ArgumentError
from handgrad.nn.numbers import replicas_of
from handgrad.nn.slot import mapped
from handgrad.training.anatomy import Summary, norm, summary
from handgrad.training.callbacks import Callback, TensorBoard
from handgrad.training.calls import suited
from handgrad.training.fit import samples
from handgrad.training.history import History

if TYPE_CHECKING:
    from handgrad.training.trainer import Trainer

UPDATE = "update"
WHAT = {
    "mean": ("mean of outputs", False),
    "std": ("standard deviation of outputs", False),
    "zeros": ("outputs that are 0 (%)", True),
    "dead": ("units without variation over the batch (%)", True),
    "gradient": ("gradient by outputs, root mean square", False),
    "norm": ("norm of parameters, ‖θ‖", False),
    "gradient_norm": ("norm of their gradient, ‖dθ‖", False),
    UPDATE: ("update of parameters in a step, ‖Δθ‖ / ‖θ‖", False),
}
"""What each measure is, and whether it is a share, told in percent."""


def watched(history: History) -> dict[str, dict[str, Any]]:
    """What a `Watch` has put into a history: by measure and layer NumPy arrays (E, R).

    Example:
        >>> from handgrad.training import History
        >>> history = History.empty(2, 3, ("std/0", "std/1", "validation_loss"))
        >>> {measure: list(layers) for measure, layers in watched(history).items()}
        {'std': ['0', '1']}
    """
    found: dict[str, dict[str, Any]] = {}
    for name, values in history.arrays().items():
        measure, _, layer = name.partition("/")
        if measure in WHAT and layer:
            found.setdefault(measure, {})[layer] = values
    return found


def layers_of(seen: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """All layers of what was `watched`, in the order in which they run: some, without parameters, have no updates."""
    return max(map(list, seen.values()), key=len)


class Watch(Callback):
    """Look at every layer after each epoch: a `summary` of always the same batch, into the history.

    The history then has measures named "std/0", "gradient/2.1" and so on, by epoch and replica, which plots, data
    frames, TensorBoard and checkpoints get as they get others. Training goes on as if nobody had looked; a look takes
    one forward and backward pass of a copy of the model, unfused.

    Args:
        data: (x, t), or with weights of the samples, which all replicas share; the first batch of the training data by
            default.
        measures: of those of `Layer`, such as "mean" or "zeros", and "update", ‖Δθ‖ / ‖θ‖ of a layer's parameters in
            the first step of the epoch.
        every: look after every so many epochs.

    Errors: ArgumentError for an unknown measure; when training starts, for batches that come only once, without data,
    for another watch of the same measure, and after TensorBoard, which would not write what it sees.

    Example:
        >>> import torch
        >>> from handgrad import fit, nn, optim
        >>> from handgrad.training import Watch
        >>> x = torch.linspace(-1, 1, 64).unsqueeze(1)
        >>> model = nn.replicate(nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1)), seeds=range(3))
        >>> sgd, watch = optim.SGD(model.parameters(), lr=0.1), Watch(measures=["std", "update"])
        >>> history = fit(model, nn.MSELoss(replicas=3), sgd, (x, x**2), epochs=5, metrics=[], callbacks=[watch])
        >>> list(history.metrics)
        ['std/0', 'update/0', 'std/1', 'std/2', 'update/2']
        >>> history.arrays()["std/1"].shape
        (5, 3)
    """

    def __init__(
        self, data: Any = None, measures: Sequence[str] = ("std", "dead", "gradient", UPDATE), every: int = 1
    ) -> None:
        for name in measures:
            checks.one_of("a measure", name, tuple(WHAT), "Watch")
        self.data, self.measures = data, tuple(measures)
        self.every = checks.positive_int("every", every, "Watch")
        self._before: dict[str, list[Tensor]] = {}
        self._moved: dict[str, Tensor] = {}

    def on_start(self, trainer: Trainer) -> None:
        if any(isinstance(other, TensorBoard) for other in takewhile(lambda one: one is not self, trainer.callbacks)):
            remedy = "List the watch first: callbacks are called in this order."
            raise ArgumentError("a watch before TensorBoard, which writes what it sees", "one after", remedy, "Watch")
        for other in trainer.callbacks:
            if isinstance(other, Watch) and other is not self and (both := set(other.measures) & set(self.measures)):
                remedy = "Give each measure to one of them: the history has one place for it."
                raise ArgumentError("watches of different measures", f"two of {', '.join(both)}", remedy, "Watch")
        self.batch = self._batch(trainer)
        self._replicas, named = replicas_of(trainer.model), dict(trainer.model.named_parameters())
        self._owned = {layer.name: [named[name] for name in layer.parameters] for layer in self._look(trainer).layers}
        self._mark(trainer)

    def _batch(self, trainer: Trainer) -> tuple[Any, ...]:
        if self.data is not None:
            dtype = next((p.value.dtype for p in trainer.model.parameters()), torch.float32)
            given = samples(self.data, dtype)
            if given is None:
                raise ArgumentError("data to watch with", type(self.data).__name__, "Pass (x, t).", "Watch")
            return suited(tuple(v for v in given if v is not None), single=trainer.single, shared=True)
        batches = trainer.batches
        if isinstance(batches, Loader) and isinstance(batches.loader, Iterator):
            remedy = "Pass Watch((x, t))."
            raise ArgumentError("batches that come again each epoch", "an iterator", remedy, "Watch")
        # a DataLoader, or its sampler, may draw the order from a generator of its own
        loader = getattr(batches, "loader", None)
        sources = [getattr(one, "generator", None) for one in (loader, getattr(loader, "sampler", None))]
        states = [(source, source.get_state()) for source in sources if isinstance(source, torch.Generator)]
        batch = suited(next(batches.epoch(0)), single=trainer.single, shared=batches.shared)
        for source, state in states:
            source.set_state(state)
        return tuple(mapped(Tensor.clone, batch))

    def on_step_end(self, trainer: Trainer, loss: Tensor) -> None:  # noqa: ARG002
        self._move(trainer)

    def _move(self, trainer: Trainer) -> None:
        """See what the epoch's first step has changed, once it is taken."""
        if self._before and trainer.taken > self._taken:
            for name, before in self._before.items():
                owned = self._owned[name]
                moved = norm(owned, [p.value - value for p, value in zip(owned, before)], self._replicas)
                self._moved[name] = moved / norm(owned, before, self._replicas)
            self._before = {}

    def on_epoch_end(self, trainer: Trainer) -> None:
        self._move(trainer)  # no batch ends after a step of fewer batches than are accumulated
        if trainer.epoch % self.every == 0:
            epoch = trainer.epoch - 1
            gone = trainer.history.loss[:, epoch].isnan()
            for layer in self._look(trainer).layers:
                found = layer.measures | {UPDATE: self._moved.get(layer.name)}
                for name in self.measures:
                    if (values := found[name]) is not None:
                        trainer.history.note(f"{name}/{layer.name}", epoch, values.cpu().masked_fill(gone, math.nan))
        self._mark(trainer)

    def _look(self, trainer: Trainer) -> Summary:
        x, t, *weights = self.batch
        return summary(trainer.model, x, t, trainer.criterion, weights=weights[0] if weights else None)

    def _mark(self, trainer: Trainer) -> None:
        """Keep the parameters as they are before the next step."""
        self._taken, self._moved, self._before = trainer.taken, {}, {}
        if UPDATE in self.measures:
            self._before = {name: [p.value.clone() for p in owned] for name, owned in self._owned.items() if owned}
