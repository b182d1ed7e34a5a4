"""Trainer: the training loop of one group of replicas."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor

from handgrad import checks
from handgrad.data import Batches, Inputs, Loader, fingerprint
from handgrad.errors import StateError
from handgrad.nn.averaging import AveragedModel
from handgrad.nn.loss import Loss
from handgrad.nn.module import Module
from handgrad.nn.numbers import replicas_of
from handgrad.nn.random import drawing, redraw
from handgrad.nn.utils import clip_grad_norm_, clip_grad_value_
from handgrad.optim.arithmetic import Number
from handgrad.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from handgrad.optim.optimizer import Optimizer
from handgrad.training.agreement import agree, check_names, check_same
from handgrad.training.callbacks import Callback, changing, ours, stepwise
from handgrad.training.calls import evaluating, suited
from handgrad.training.checkpoints import Checkpoints
from handgrad.training.divergence import first_layers
from handgrad.training.history import History
from handgrad.training.passes import Pass, cuts, fused, gather, passes
from handgrad.training.precision import Mixed
from handgrad.training.stopping import EarlyStopping
from handgrad.workers import Stop

Metric = Callable[[Module], Tensor]
"""A number of each replica, (R,), from the model in evaluation mode."""
Measures = Callable[[Module], Mapping[str, Tensor]]
"""Numbers of each replica by name, such as an `Evaluation` gives."""
Advance = Callable[[list[float]], None]
"""Called with the mean losses of the replicas that have just finished an epoch; NaN where there is none to tell."""


@dataclass
class Trainer:
    """Trains R replicas, or a model without replicas, on batches; all that a run needs, and how far it is.

    The model runs fused, and where that is faster in parts, see `passes.cuts`. A replica whose loss stops being finite
    has diverged: the epoch, the step and the first layer with a bad output are noted, its numbers are NaN from there
    on, and the others go on untouched. A batch of which every sample has weight 0, or is ignored, has no loss and is
    left out of the epoch's mean.

    Everything random in a run is a function of the batches' seeds and the epoch, so a run that goes on from a
    checkpoint ends bit for bit where it would have ended, on the same machine with as many threads.

    Args:
        model: the network; it is trained in place and left in training mode.
        criterion: a loss of as many replicas.
        optimizer: of the model's parameters.
        batches: the data.
        epochs: how often all data are seen.
        steps: the optimiser's steps after which training ends, in the midst of an epoch if need be; None for no end.
        metrics: what to measure of the model in evaluation mode: functions by name, or one that returns numbers by
            name, such as an `Evaluation`. "loss" is the training loss's name.
        every: measure after every so many epochs, and after the last; early stopping of "loss", which is there after
            each, may end, and have its best, at an epoch that is not measured.
        schedule: of the learning rate. OneCycleLR, CyclicLR and what is composed with them move with each of the
            optimiser's steps, others with each epoch; ReduceLROnPlateau listens to the measure that early stopping
            watches, each time it is measured, or else to the training loss.
        clip_norm: bound of the norm of each replica's gradient; one number or R.
        clip_value: bound of each element of the gradient.
        accumulate: batches whose mean gradient makes one step.
        stopping: when each replica stops, and with which weights it ends.
        average: a weight average of the model, which takes each step's weights and is measured in the model's place.
        precision: "float32", the model's own; or "bfloat16", in which it computes, while its weights stay as they are.
        callbacks: what is called on the way.
        checkpoints: where the run is saved on the way.

    Attributes:
        history: what training has given so far.
        epoch: epochs finished.

    Errors: ArgumentError before training for an option out of range, for seeds or a loss of other replicas than the
    model's, an optimiser of other parameters or a schedule of another optimiser, if a batch normalisation would meet a
    batch of one sample, if the last layer does not go with the loss, as a softmax before CrossEntropyLoss, if a
    measure is named "loss", or if early stopping watches what is not measured; DTypeError for bfloat16 of a model that
    is not of float32; ShapeError for a metric that gives another count of numbers than one for each replica.

    Example:
        >>> import torch
        >>> from handgrad import nn, optim
        >>> from handgrad.data import Batches
        >>> from handgrad.training import Trainer
        >>> model = nn.Sequential(nn.Linear(1, 1, replicas=2))
        >>> sgd, x = optim.SGD(model.parameters()), torch.ones(8, 1)
        >>> history = Trainer(model, nn.MSELoss(replicas=2), sgd, Batches(x, x, 4, seeds=[0, 1]), epochs=3).run()
        >>> history.arrays()["loss"].shape
        (3, 2)
    """

    model: Module
    criterion: Loss
    optimizer: Optimizer
    batches: Batches | Loader
    epochs: int
    steps: int | None = None
    metrics: Mapping[str, Metric] | Measures | None = None
    every: int = 1
    schedule: LRScheduler | None = None
    clip_norm: Number | None = None
    clip_value: Number | None = None
    accumulate: int = 1
    stopping: EarlyStopping | None = None
    average: AveragedModel | None = None
    precision: str = "float32"
    callbacks: Sequence[Callback] = ()
    checkpoints: Checkpoints | None = None
    history: History = field(init=False)
    epoch: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        for name in ("epochs", "every", "accumulate", *(("steps",) if self.steps is not None else ())):
            setattr(self, name, checks.positive_int(name, getattr(self, name), "Trainer"))
        checks.one_of("precision", self.precision, ("float32", "bfloat16"), "Trainer")
        agree(self)
        self.single = replicas_of(self.model) is None
        trained = {id(p) for group in self.optimizer.param_groups for p in group["params"]}
        self._parameters = list(self.model.parameters())
        self._untrained = [p for p in self._parameters if id(p) not in trained]
        self.history = History.empty(self.batches.replicas, self.epochs, ())
        self.taken, self._ending, self._apart = 0, False, ""
        if self.stopping is not None:
            self.stopping.reset()
        # what a function gives by name is known once it is called
        check_names(() if self.metrics is None else getattr(self.metrics, "names", self.metrics), self._watched)

    def stop(self) -> None:
        """Let the epoch under way be the last."""
        self._ending = True

    def run(self, stop: Stop | None = None, advance: Advance = lambda _: None) -> History:
        """Train to the end and return the history.

        Args:
            stop: ends training before the next epoch once it is set.
            advance: called with the R losses of each epoch, for a progress bar.
        """
        if self.checkpoints is not None:
            self.checkpoints.resume(self)
        self.model.train()
        self._tell("on_start")
        whole = self._passes = list[Pass]()
        try:
            fast = Mixed(self.model) if self.precision == "bfloat16" else fused(self.model)
            self._drawing = drawing(fast.working if isinstance(fast, Mixed) else self.model)
            whole = self._passes = [Pass(fast, self.criterion, self._drawing)]
            # an optimiser of one's own may put new tensors in the place of values, which no part would see
            within = ours(self.optimizer) and not isinstance(fast, Mixed)
            cut = cuts(self.model, self.criterion, self.batches, self.callbacks) if within else []
            # without autograd's book-keeping, not even its checks, an operation on a small tensor takes a sixth less
            with torch.inference_mode():
                while not (self._over() or (stop is not None and stop.is_set())):
                    if cut and (self._passes is whole or changing(self.callbacks)):
                        self._passes = passes(self.model, self.criterion, cut)
                    self._train_epoch()
                    self._close(self._measure(fast))
                    self._tell("on_epoch_end")
                    if self.checkpoints is not None:
                        self.checkpoints.save(self, last=self._over() or (stop is not None and stop.is_set()))
                    advance(self.history.loss[:, self.epoch - 1].tolist())
                if self.stopping is not None:
                    self.stopping.restore(*self._models())
        finally:
            for one in (*whole, *self._passes):
                one.model.forget()
            self._zero_grad()
            self.history.interrupted = not self._over()
            self._tell("on_end")
            if self.checkpoints is not None:
                self.checkpoints.leave(self)
        return self.history

    def _over(self) -> bool:
        return self._ended(self.epoch) or self._ending or (self.stopping is not None and self.stopping.over)

    def _ended(self, epochs: int) -> bool:
        """Whether so many epochs, and the steps taken, are all that were asked for."""
        return epochs >= self.epochs or (self.steps is not None and self.taken >= self.steps)

    def _train_epoch(self) -> None:
        start, losses, pending = time.perf_counter(), [], 0
        shared, watching = self.batches.shared, stepwise(self.callbacks)
        for parts, some in ((self._drawing, None), *((one.drawing, one.some) for one in self._passes)):
            redraw(parts, self.batches.seeds[some or slice(None)], self.epoch)
        for step, batch in enumerate(self.batches.epoch(self.epoch)):
            if self.steps is not None and self.taken >= self.steps:
                self._apart = "steps"
                break
            if not pending:
                self._zero_grad()
            given, note = suited(batch, single=self.single, shared=shared), partial(self._note, step)
            found = [one.run(given, shared, self.accumulate, note) for one in self._passes]
            losses.append(loss := found[0] if len(found) == 1 else torch.cat(found))
            pending += 1
            if pending == self.accumulate:
                self._step(1)
                pending = 0
            for callback in watching:
                callback.on_step_end(self, loss)
        if pending:
            self._step(self.accumulate / pending)
        self.history.seconds += time.perf_counter() - start
        every = torch.stack(losses)
        mean = torch.mean if every.isfinite().all() else torch.nanmean  # NaN is also the mean over no weight
        self.history.loss[:, self.epoch] = mean(every, 0)
        for (_, own), (_, viewed) in zip(self._drawing, self._passes[0].drawing):
            own.draws = viewed.draws

    def _zero_grad(self) -> None:
        """Clear every gradient, also of parameters that are not trained."""
        self.optimizer.zero_grad()
        for p in self._untrained:
            p.zero_grad()

    def _step(self, scale: float) -> None:
        """One step of the optimiser along the gradient; `scale` makes up for batches that were fewer."""
        if len(self._passes) > 1:
            gather(self._parameters, self._passes)
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        if scale != 1 and (grads := [p.grad for p in parameters if p.grad is not None]):
            torch._foreach_mul_(grads, scale)
        if self.clip_norm is not None:
            clip_grad_norm_(parameters, self.clip_norm)
        if self.clip_value is not None:
            clip_grad_value_(parameters, self.clip_value)
        self.optimizer.step()
        self.taken += 1
        if self.schedule is not None and self.schedule.counts_steps:
            self._move(self.schedule)
        if self.average is not None:
            self.average.update_parameters(self.model)

    def _measure(self, fast: Module) -> dict[str, Tensor]:
        """Measure the model if it is time, into the history."""
        epochs = self.epoch + 1
        if self.metrics is None or not (epochs % self.every == 0 or self._ended(epochs) or self._ending):
            return {}
        measured, metrics = fast if self.average is None else self.average, self.metrics
        with evaluating(measured):
            found = metrics(measured) if callable(metrics) else {name: f(measured) for name, f in metrics.items()}
        for name, value in found.items():
            self.history.note(name, self.epoch, value)
        return dict(found)

    def _close(self, found: dict[str, Tensor]) -> None:
        """Strike out the numbers of replicas that have diverged or stopped, and let the epoch count."""
        history, epoch, stopping = self.history, self.epoch, self.stopping
        gone = self._gone()
        for values in (history.loss, *history.metrics.values()) if any(gone) else ():
            values[gone, epoch] = math.nan
        watched = self._watched
        if found:
            check_names(found, watched)
        in_turn = watched == "loss" or (epoch + 1) % self.every == 0
        # a run that a callback stopped may go on, and then has not been measured here
        if (watched == "loss" or watched in found) and (in_turn or self._ended(epoch + 1)):
            value = history.loss[:, epoch] if watched == "loss" else history.metrics[watched][:, epoch]
            if stopping is not None:
                stopping.update(epoch, value, *self._models())
                history.best = [None if e < 0 else e for e in stopping.best_epoch.tolist()]
            if isinstance(self.schedule, ReduceLROnPlateau):
                self._move(self.schedule, value[0] if self.single else value)
            if not in_turn:
                self._apart = self._apart or "epochs"
        if not (self.schedule is None or self.schedule.counts_steps or isinstance(self.schedule, ReduceLROnPlateau)):
            self._move(self.schedule)
        self.epoch = history.epochs = epoch + 1

    def _gone(self) -> list[bool]:
        """Which replicas no longer count: those that have diverged, or stopped."""
        stopped = [] if self.stopping is None else self.stopping.stopped.tolist()
        return [note is not None or bool(over) for note, over in zip_longest(self.history.diverged, stopped)]

    def _move(self, schedule: LRScheduler, *measured: Any) -> None:
        with torch.inference_mode(False):  # what it sets outlives training, and may be changed in place then
            schedule.step(*measured)

    @property
    def _watched(self) -> str:
        """The measure that early stopping and ReduceLROnPlateau listen to."""
        return "loss" if self.stopping is None else self.stopping.monitor

    def _models(self) -> list[Module]:
        """What training changes: the model, and the average of its weights if there is one."""
        return [self.model, *([self.average] if self.average is not None else [])]

    def _tell(self, event: str) -> None:
        """Call the callbacks out of inference mode: a copy of the model that they keep may be trained afterwards."""
        if self.callbacks or event == "on_end":
            with torch.inference_mode(False):
                for made in (*self.optimizer.state.values(), self.history.metrics):  # which tensors do not leave
                    made |= {name: value.clone() for name, value in made.items() if isinstance(value, Tensor)}
                for callback in self.callbacks:
                    getattr(callback, event)(self)
                if event != "on_end":
                    check_same(self.model, self._parameters)

    def _note(self, step: int, one: Pass, x: Inputs, bad: list[int]) -> None:
        """Record, for each replica that counts and has a loss that is not finite, where the first bad number arose."""
        gone = self._gone()
        fresh = [r for r in bad if not gone[one.of_all(r)]]
        for r, layer in first_layers(one.model, x, fresh).items() if fresh else ():
            self.history.diverged[one.of_all(r)] = {"epoch": self.epoch, "step": step, "layer": layer}

    # State

    @property
    def _parts(self) -> dict[str, Any]:
        """What has a state of its own; the optimiser last, whose rates a callback may have set after the schedule."""
        names = ("model", "schedule", "average", "stopping", "optimizer")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    @property
    def _frozen(self) -> list[str]:
        return [name for name, p in self.model.named_parameters() if p.frozen]

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes while training, after a whole epoch."""
        return {
            "epoch": self.epoch,
            "taken": self.taken,
            "apart": self._apart,
            "frozen": self._frozen,
            "history": vars(self.history),
            **{name: dict(part.state_dict()) for name, part in self._parts.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there; `Checkpoints` has checked that it is of such a run.

        Errors: StateError, before anything is loaded, if the run has ended with fewer epochs or steps; or with more,
        but not as a longer run goes on: in the midst of an epoch, or measured out of turn.
        """
        had, limits = {"epochs": state["epoch"], "steps": state["taken"]}, {"epochs": self.epochs, "steps": self.steps}
        for name, most in limits.items():
            if most is not None and had[name] > most:
                remedy = f"Ask for at least as many {name}."
                raise StateError(f"a checkpoint of at most {most} {name}", f"{had[name]} {name}", remedy, "Trainer")
        # the midst of an epoch is the end of so many steps alone
        if (apart := state["apart"]) and not any(had[name] == limits[name] for name in {apart, "steps"}):
            remedy = "Ask for as many, or choose another folder."
            raise StateError(f"a run that ended after {had[apart]} {apart}", "a longer run", remedy, "Trainer")
        for name, part in self._parts.items():
            part.load_state_dict(state[name])
        for name, p in self.model.named_parameters():
            p.frozen = name in state["frozen"]
        self.epoch, self.taken, self._apart = state["epoch"], state["taken"], state["apart"]
        self.history = History(**state["history"]).resized(self.epochs)

    def identity(self) -> dict[str, Any]:
        """What must be the same, before it is trained, for a run to go on from a checkpoint of another.

        The number of epochs need not, where the schedule does not depend on it.
        """
        groups = [{k: v for k, v in group.items() if k != "params"} for group in self.optimizer.param_groups]
        return {
            "seeds": self.batches.seeds,
            "data": dict(zip(("samples", "first and last batch", "own", "shuffle"), self.batches.fingerprint())),
            "model": " ".join(repr(self.model).split()),
            "starting values": fingerprint(**self.model.state_dict()),
            "frozen": self._frozen,
            "measured on": getattr(self.metrics, "fingerprint", lambda: None)(),
            "criterion": [repr(self.criterion), dict(self.criterion.state_dict())],
            **{name: type(getattr(self, name)).__name__ for name in ("optimizer", "schedule")},
            "average": None if self.average is None else self.average.identity(),
            "options of the optimizer": groups,
            "options of the schedule": None if self.schedule is None else self.schedule.identity(),
            "stopping": None if self.stopping is None else self.stopping.identity(),
            "clipping": [self.clip_norm, self.clip_value],
            **{name: getattr(self, name) for name in ("accumulate", "every", "precision")},
        }


def train(
    model: Module,
    criterion: Loss,
    optimizer: Optimizer,
    batches: Batches | Loader,
    epochs: int,
    *,
    stop: Stop | None = None,
    advance: Advance = lambda _: None,
    **options: Any,
) -> History:
    """Train at once: `Trainer(model, criterion, optimizer, batches, epochs, **options).run(stop, advance)`."""
    return Trainer(model, criterion, optimizer, batches, epochs, **options).run(stop, advance)
