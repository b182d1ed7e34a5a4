"""Recipe: a network for tabular data, and all that is needed to train replicas of it."""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from handgrad import checks, nn, optim, workers
from handgrad.data import Batches, check_rows, rowwise, split
from handgrad.errors import ArgumentError, ShapeError
from handgrad.targets import StandardisedLoss, centre, rescale
from handgrad.training import (
    Advance,
    Checkpoints,
    EarlyStopping,
    Evaluation,
    History,
    Measure,
    Trainer,
    Watch,
    train_replicas,
)
from handgrad.training.evaluation import without_loss

TASKS = ("classification", "regression")
ACTIVATIONS = ("ReLU", "LeakyReLU", "ELU", "SELU", "GELU", "SiLU", "Mish", "Tanh", "Sigmoid", "Softplus")
OPTIMIZERS = tuple(name for name in optim.__all__ if name[0].isupper() and name not in ("Optimizer", "LBFGS", "Muon"))
"""All that step without a closure and take any parameter."""
SCHEDULES = ("constant", "cosine", "onecycle", "plateau")
LOSSES = {"cross_entropy": "classification", "mse": "regression", "huber": "regression", "mae": "regression"}
FEWEST = 10
"""Validation samples without which early stopping would follow chance."""

Rows = tuple[Tensor, Tensor | None]
"""Which samples each replica is trained and validated on, (R, M) and (R, V); None for no validation."""


@dataclass(frozen=True)
class Recipe:
    r"""Options of a network for tabular data and of its training; `docs/scikit-learn.md` measures the defaults.

    The network is, with D dropout and B batch normalisation where they are asked for,

    $$x \to \text{Linear}_{I \to H_1} \to \sigma \to B \to D \to \dots \to \text{Linear}_{H_n \to O}$$

    Args:
        hidden: widths H of the hidden layers; () is a linear model.
        activation: σ, a class of `handgrad.nn`.
        batch_norm: normalise what each hidden layer gives.
        dropout: probability with which a hidden value is dropped.
        optimizer: a class of `handgrad.optim`.
        lr: of the optimiser; with a schedule the highest.
        weight_decay: of the optimiser; None takes 0.5 for AdamW, which shrinks weights by lr · 0.5 a step, and 0 for
            others, of which most mean another thing by it.
        batch_size: None takes N / 32, as a power of two from 32 to 256.
        epochs: at most.
        patience: epochs without a better validation loss after which a replica stops; it ends with its best weights.
            None trains all epochs and keeps the last weights.
        validation: fraction of the samples that each replica leaves out to watch its loss on. Where that would be
            fewer than ten samples, none are left out, and all epochs are trained.
        schedule: of the learning rate: "constant"; "cosine", down to 0; "onecycle", up for a tenth of the steps, then
            down to 0; "plateau", halved when the validation loss has not improved for a third of the patience.
        clip_norm: bound of the gradient's norm, or None.
        label_smoothing: of the cross-entropy.
        loss: "cross_entropy", or for regression "mse", "huber" or "mae"; None takes the first of the task.
        watch: look at every layer after each so many epochs, into the history (`training.Watch`); 0 for never.

    Errors: ArgumentError for an option out of its range.

    Example:
        >>> import torch
        >>> from handgrad.recipes import Recipe
        >>> x = torch.linspace(-1, 1, 200).unsqueeze(1)
        >>> model, history = Recipe(epochs=30).train(x, 100 + 50 * x**2, range(3), task="regression")
        >>> bool(((model.eval()(x) - 100 - 50 * x**2).abs().mean((1, 2)) < 3).all())
        True
        >>> Recipe(hidden=(8,)).network(4, 2)
        Sequential(
          (0): Linear(in_features=4, out_features=8, bias=True)
          (1): ReLU()
          (2): Linear(in_features=8, out_features=2, bias=True)
        )
        >>> Recipe.from_json(Recipe(hidden=(8,)).to_json()) == Recipe(hidden=(8,))
        True
    """

    hidden: tuple[int, ...] = (64, 64)
    activation: str = "ReLU"
    batch_norm: bool = False
    dropout: float = 0.0
    optimizer: str = "AdamW"
    lr: float = 0.01
    weight_decay: float | None = None
    batch_size: int | None = None
    epochs: int = 60
    patience: int | None = 20
    validation: float = 0.1
    schedule: str = "onecycle"
    clip_norm: float | None = None
    label_smoothing: float = 0.0
    loss: str | None = None
    watch: int = 0

    def __post_init__(self) -> None:
        where = "Recipe"
        if not isinstance(self.hidden, Sequence):
            raise ArgumentError("hidden to be a list of widths", repr(self.hidden), "Pass hidden=(64,), say.", where)
        object.__setattr__(self, "hidden", tuple(map(checks.own, self.hidden)))
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, checks.own(getattr(self, field.name)))
        checks.one_of("batch_norm", self.batch_norm, (True, False), where)
        for name, least in (("hidden", self.hidden), ("epochs", [self.epochs])):
            for value in least:
                checks.positive_int(name, value, where)
        for name, without in (("batch_size", None), ("patience", None), ("watch", 0)):
            if getattr(self, name) != without:
                checks.positive_int(name, getattr(self, name), where)
        for name in ("lr", "dropout", "validation", "label_smoothing"):
            checks.at_least(name, getattr(self, name), 0, where)
        for name in ("dropout", "validation", "label_smoothing"):
            if getattr(self, name) >= 1:
                raise ArgumentError(f"{name} below 1", str(getattr(self, name)), "Pass 0.1, say.", where)
        for name in ("weight_decay", "clip_norm"):
            if getattr(self, name) is not None:
                checks.at_least(name, getattr(self, name), 0, where)
        for name in ("lr", "weight_decay"):
            if math.isinf(getattr(self, name) or 0):
                raise ArgumentError(f"a finite {name}", str(getattr(self, name)), f"Pass {name}=0.01, say.", where)
        checks.one_of("activation", self.activation, ACTIVATIONS, where)
        checks.one_of("optimizer", self.optimizer, OPTIMIZERS, where)
        checks.one_of("schedule", self.schedule, SCHEDULES, where)
        checks.one_of("loss", self.loss, (None, *LOSSES), where)

    # What it makes

    def network(self, inputs: int, outputs: int) -> nn.Sequential:
        """A network without replicas from `inputs` features to `outputs` numbers."""
        # what follows a rectifier has half of its inputs off; others keep the variance with Xavier's
        rectifies = self.activation in ("ReLU", "LeakyReLU", "ELU", "GELU", "SiLU", "Mish")
        init = "kaiming_normal" if rectifies else "xavier_normal"
        parts: list[nn.Module] = []
        width = inputs
        for size in self.hidden:
            parts += [nn.Linear(width, size, init=init), getattr(nn, self.activation)()]
            parts += [nn.BatchNorm1d(size)] if self.batch_norm else []
            parts += [nn.Dropout(self.dropout)] if self.dropout else []
            width = size
        return nn.Sequential(*parts, nn.Linear(width, outputs, init="xavier_normal"))

    def criterion(self, task: str, replicas: int | None) -> nn.Loss:
        """The loss of a task.

        Errors: ArgumentError for an unknown task, or a loss of the other one.
        """
        checks.one_of("task", task, TASKS, "Recipe")
        loss = self.loss or ("cross_entropy" if task == "classification" else "mse")
        if LOSSES[loss] != task:
            fitting = " or ".join(name for name, of in LOSSES.items() if of == task)
            raise ArgumentError(f"a loss for {task}", loss, f"Choose {fitting}, or loss=None.", "Recipe")
        if loss == "cross_entropy":
            return nn.CrossEntropyLoss(label_smoothing=self.label_smoothing, replicas=replicas)
        kinds: dict[str, type[nn.Loss]] = {"mse": nn.MSELoss, "huber": nn.HuberLoss, "mae": nn.L1Loss}
        return kinds[loss](replicas=replicas)

    def optimiser(self, model: nn.Module) -> optim.Optimizer:
        """The optimiser of a model's parameters."""
        kind = getattr(optim, self.optimizer)
        decay = (0.5 if self.optimizer == "AdamW" else 0.0) if self.weight_decay is None else self.weight_decay
        options = {"lr": self.lr, "weight_decay": decay}
        known = inspect.signature(kind).parameters
        return kind(model.parameters(), **{name: value for name, value in options.items() if name in known})  # type: ignore[no-any-return]

    def batch(self, samples: int) -> int:
        """Samples in a batch, where there are so many to train on."""
        size = self.batch_size or min(max(2 ** round(math.log2(samples / 32)), 32), 256)
        return min(size, samples)

    def rows(self, t: Tensor, seeds: Sequence[int], task: str) -> Rows:
        """Which samples each replica is trained and validated on: a split by its seed, with classes in proportion."""
        if self.patience is None or round(len(t) * self.validation) < FEWEST:
            return torch.arange(len(t)).expand(len(list(seeds)), -1), None
        return split(t, self.validation, seeds, stratify=task == "classification")

    # What it does

    def train(
        self,
        x: Tensor,
        t: Tensor,
        seeds: Sequence[int],
        *,
        task: str,
        outputs: int | None = None,
        weights: Tensor | None = None,
        rows: Rows | None = None,
        measures: Mapping[str, Measure] | None = None,
        checkpoints: str | os.PathLike[str] | None = None,
        advance: Advance | None = None,
        workers_: int | None = None,
        size: int = workers.GROUP,
    ) -> tuple[nn.Sequential, History]:
        """Train R replicas over the cores; return them as one model, in training mode, with their history.

        Each replica has its own initial weights, split and order of the samples, all by its seed, and stops on its
        own. Inputs are taken as they are, and should be standardised. Targets of a regression are standardised inside,
        by the mean and standard deviation of each replica's own training rows; the model that is returned predicts in
        their own unit. The history's losses are those of standardised targets.

        Ctrl-C or SIGTERM ends training after the epochs under way; see `train_replicas`.

        Args:
            x: inputs, (N, I) that all replicas share, or (R, N, I); the network is of their dtype.
            t: class indices (N,), or numbers (N, O).
            seeds: R different ones.
            task: "classification" or "regression".
            outputs: K or O; by default the largest class index + 1, or the width of t.
            weights: of the samples, (N,), in training and validation.
            rows: which samples each replica is trained and validated on; `Recipe.rows` by default.
            measures: of outputs and targets on the validation rows, by name, as "validation_…" in the history; not
                "loss", which is there without.
            checkpoints: a folder from which an interrupted run goes on; a group of replicas has a folder in it.
            advance: called with the losses of the replicas that have just finished an epoch.
            workers_: as many as there are cores by default.
            size: replicas in a group at most. Groups share the cores.

        Errors: ArgumentError, DTypeError and ShapeError before training for data that do not fit.
        """
        seeds, own = list(seeds), x.ndim == 3
        if task == "regression" and t.ndim != 2:
            raise ArgumentError("targets (N, O)", str(tuple(t.shape)), "Write t.unsqueeze(1).", "Recipe.train")
        if weights is not None and weights.shape != t.shape[:1]:
            got, remedy = str(tuple(weights.shape)), "Give one to each sample."
            raise ShapeError(f"weights of shape ({len(t)},)", got, remedy, "Recipe.train")
        without_loss(measures or {}, "Recipe.train")
        width = outputs or (int(t.max()) + 1 if task == "classification" else t.shape[1])
        rows = self.rows(t, seeds, task) if rows is None else rows
        if own and len(x) != len(seeds):
            got, remedy = str(tuple(x.shape)), "Pass those of each seed."
            raise ShapeError(f"inputs of {len(seeds)} replicas", got, remedy, "Recipe.train")
        for given in rows:
            if given is not None:
                check_rows(given, len(t), len(seeds), "Recipe.train")
        place = {seed: r for r, seed in enumerate(seeds)}
        centres = centre(t, rows[0], weights) if task == "regression" else None

        def build(some: list[int]) -> nn.Module:
            with torch.random.fork_rng(devices=[]):  # the weights are the seeds', not the caller's
                return nn.replicate(self.network(x.shape[-1], width).to(x.dtype), some)

        def trainer(model: nn.Module, some: list[int]) -> Trainer:
            part = slice(place[some[0]], place[some[-1]] + 1)
            folder = None if checkpoints is None else Path(checkpoints) / f"replicas-{part.start}-{part.stop - 1}"
            return self._trainer(
                model,
                some,
                x[part] if own else x,
                t.expand(len(some), *t.shape).contiguous() if own else t,
                (rows[0][part], None if rows[1] is None else rows[1][part]),
                self._loss(task, centres, part),
                weights if weights is None or not own else weights.expand(len(some), -1).contiguous(),
                measures or {},
                None if folder is None else Checkpoints(folder),
            )

        model, history = train_replicas(build, trainer, seeds, workers_=workers_, size=size, advance=advance)
        assert isinstance(model, nn.Sequential)
        if centres is not None:
            rescale(model, *centres)
        return model, history

    def _loss(self, task: str, centres: tuple[Tensor, Tensor] | None, part: slice) -> nn.Loss:
        criterion = self.criterion(task, part.stop - part.start)
        return criterion if centres is None else StandardisedLoss(criterion, *(value[part] for value in centres))

    def _trainer(
        self,
        model: nn.Module,
        seeds: list[int],
        x: Tensor,
        t: Tensor,
        rows: Rows,
        criterion: nn.Loss,
        weights: Tensor | None,
        measures: Mapping[str, Measure],
        checkpoints: Checkpoints | None,
    ) -> Trainer:
        """A trainer of one group of replicas."""
        training, validation = rows
        own, count = x.ndim == 3, training.shape[1]
        options: dict[str, Any] = {"own": own, "rows": training, "weights": weights, "last": "merge"}
        batches = Batches(x, t, self.batch(count), seeds, **options)
        optimizer = self.optimiser(model)
        metrics = stopping = None
        if validation is not None:
            evaluation = Evaluation(x, t, rows=validation, own=own)
            held = None if weights is None else rowwise(weights, validation, own)
            metrics = Validation(evaluation, criterion, held, measures)
            stopping = None if self.patience is None else EarlyStopping(patience=self.patience)
        return Trainer(
            model,
            criterion,
            optimizer,
            batches,
            self.epochs,
            metrics=metrics,
            schedule=self._schedule(optimizer, len(batches)),
            clip_norm=self.clip_norm,
            stopping=stopping,
            checkpoints=checkpoints,
            callbacks=[Watch(every=self.watch)] if self.watch else [],
        )

    def _schedule(self, optimizer: optim.Optimizer, steps: int) -> optim.lr_scheduler.LRScheduler | None:
        if self.schedule == "cosine":
            return optim.lr_scheduler.CosineAnnealingLR(optimizer, self.epochs)
        if self.schedule == "onecycle":
            total = steps * self.epochs + 1  # a step is taken after the last, too
            return optim.lr_scheduler.OneCycleLR(optimizer, self.lr, total, pct_start=0.1, cycle_momentum=False)
        if self.schedule == "plateau":
            patience = max((self.patience or 30) // 3, 1)
            return optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=patience)
        return None

    # As text

    def to_json(self) -> str:
        """All options as JSON."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """The recipe that `to_json` wrote; options that are missing have their defaults.

        Errors: ArgumentError for what is no such JSON, or has options that this version does not know.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        try:
            options = json.loads(text)
        except json.JSONDecodeError as error:
            raise ArgumentError("a recipe as JSON", str(error), "Pass what to_json wrote.", "Recipe") from error
        if not isinstance(options, dict) or (unknown := [name for name in options if name not in known]):
            got = f"{', '.join(unknown)}" if isinstance(options, dict) else type(options).__name__
            remedy = "Read it with the version of handgrad that wrote it."
            raise ArgumentError(f"an object with some of {', '.join(known)}", got, remedy, "Recipe")
        return cls(**options)


class Validation:
    """The loss and measures on validation rows; unlike an `Evaluation`, with weights, and in the unit of the targets.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> from handgrad.training import Evaluation
        >>> x = torch.ones(4, 1)
        >>> Validation(Evaluation(x, x), nn.MSELoss(replicas=2), None, {})(nn.Linear(1, 1, replicas=2)).keys()
        dict_keys(['validation_loss'])
    """

    def __init__(
        self, evaluation: Evaluation, criterion: nn.Loss, weights: Tensor | None, measures: Mapping[str, Measure]
    ) -> None:
        self.evaluation, self.criterion, self.weights, self.measures = evaluation, criterion, weights, measures
        self.fingerprint = evaluation.fingerprint

    def __call__(self, model: nn.Module) -> dict[str, Tensor]:
        y, t = self.evaluation.outputs(model)
        found = {"loss": self.criterion.forward(y, t, self.weights)}
        self.criterion.forget()
        if isinstance(self.criterion, StandardisedLoss):
            y = y * self.criterion.scale + self.criterion.mean
        found |= {name: torch.as_tensor(measure(y, t)) for name, measure in self.measures.items()}
        return {f"validation_{name}": value for name, value in found.items()}
