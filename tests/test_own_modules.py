"""Classes of one's own, derived from handgrad's: training, saving and checking use their formulas."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

import handgrad
from handgrad import nn, optim
from handgrad.audit import Run, audit_replica
from handgrad.data import Batches
from handgrad.testing import gradcheck
from handgrad.training import train
from tests.cases import close


class Tripled(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        return 3 * super().forward(x)

    def backward(self, dy: Tensor) -> Tensor:
        return super().backward(3 * dy)


class Twice:
    """For any layer, as a mixin before it."""

    def forward(self, x: Tensor) -> Any:
        return 2 * super().forward(x)  # type: ignore[misc]

    def backward(self, dy: Tensor) -> Any:
        return super().backward(2 * dy)  # type: ignore[misc]


class Doubled(Twice, nn.Linear):
    pass


class Convolved(Twice, nn.Conv1d):
    pass


class Gated(nn.Residual):
    def __init__(self, F: int) -> None:
        super().__init__(nn.Linear(F, F))
        self.F, self.gate = F, nn.Linear(F, F)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.gate(x))

    def backward(self, dy: Tensor) -> Tensor:
        dx: Tensor = self.gate.backward(super().backward(dy))
        return dx


def parts() -> list[nn.Module]:
    torch.manual_seed(0)
    return [nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 2)]


def test_a_sequential_with_a_forward_of_its_own_is_not_fused() -> None:
    x = torch.randn(600, 3)
    model = Tripled(*parts())
    assert nn.fuse(model) is model
    history = train(model, nn.MSELoss(), optim.SGD(model.parameters(), 0.0), Batches(x, x[:, :2], 600, [0]), 1)
    expected = (3 * nn.Sequential(*parts())(x) - x[:, :2]).square().mean()
    close(history.loss[0, 0].float(), expected, torch.float32)


def test_the_audit_runs_a_sequential_with_a_forward_of_its_own() -> None:
    x = torch.randn(32, 3)

    def run(model: nn.Sequential) -> Run:
        model = nn.replicate(model, [7])
        optimizer = optim.SGD(model.parameters(), 0.1)
        return Run(model, nn.MSELoss(replicas=1), optimizer, Batches(x, x[:, :2], 16, [7]), 0)

    assert audit_replica(run(Tripled(*parts())), run(Tripled(*parts())), epochs=1) is None
    found = audit_replica(run(Tripled(*parts())), run(nn.Sequential(*parts())), epochs=1)
    assert found is not None
    assert found.where == "output of model (Tripled)"


@pytest.mark.parametrize(
    ("layer", "shape"),
    [(lambda: Doubled(3, 4), (5, 3)), (lambda: Convolved(3, 4, 2), (5, 3, 6)), (lambda: Tripled(*parts()), (5, 3))],
)
def test_the_first_layers_parameters_get_what_its_backward_gives(layer: Any, shape: tuple[int, ...]) -> None:
    x, model = torch.randn(shape, dtype=torch.float64), nn.Sequential(layer().double())
    grads = []
    for backward in (model.backward, model.backward_parameters):
        model.zero_grad()
        backward(torch.ones_like(model(x)))
        grads.append([p.grad for p in model.parameters()])
    close(grads[0], grads[1])
    gradcheck(model, x)


def test_modules_that_are_a_containers_attributes_belong_to_it(tmp_path: Any) -> None:
    model, x = Gated(3), torch.randn(4, 3)
    assert list(model.state_dict()) == ["0.weight", "0.bias", "gate.weight", "gate.bias"]
    assert len(list(gradcheck(model, x).checked)) == 5
    assert len(nn.replicate(model, [1, 2])(x)) == 2
    handgrad.save(model, tmp_path / "gated.safetensors")
    again = handgrad.load(tmp_path / "gated.safetensors", classes=[Gated])
    close(again(x), model(x))


class Forgetful(nn.Module):
    def __init__(self) -> None:  # without super().__init__()
        self.linear = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear(x)
        return self.keep(2 * y)

    def backward(self, dy: Tensor) -> Tensor:
        self.take(dy)
        dx: Tensor = self.linear.backward(2 * dy)
        return dx


def test_a_constructor_may_leave_out_the_bases() -> None:
    x = torch.randn(20, 3)
    assert repr(Forgetful()).startswith("Forgetful(\n  (linear): Linear(")
    gradcheck(Forgetful(), x)
    model = nn.replicate(Forgetful(), [1, 2])
    history = handgrad.fit(model, nn.MSELoss(replicas=2), optim.SGD(model.parameters(), 0.1), (x, x[:, :2]), epochs=5)
    assert bool((history.loss[-1] < history.loss[0]).all())


class Unrolled(nn.Module):
    """A cell gone through once for each step, by objects that share its parameters."""

    def __init__(self, cell: nn.LSTMCell, T: int) -> None:
        super().__init__()
        shared = {id(p): p for p in cell.parameters()}
        self.cells = nn.ModuleList([cell, *(copy.deepcopy(cell, dict(shared)) for _ in range(T - 1))])

    def forward(self, x: Tensor) -> Tensor:  # (T, N, I)
        state: Any = None
        for cell, step in zip(self.cells, x.unbind(-3)):
            state = cell(step, state)
        h: Tensor = state[0]
        return h

    def backward(self, dh: Tensor) -> Tensor:
        dx, dstate = [], (dh, None)
        for cell in reversed(list(self.cells)):
            part = cell.backward(dstate)
            step, dstate = part if isinstance(part, tuple) else (part, dstate)
            dx.append(step)
        return torch.stack(dx[::-1], -3)


def test_a_cell_in_a_loop_shares_its_parameters() -> None:
    x, dh = torch.randn(4, 2, 3, dtype=torch.float64), torch.randn(2, 5, dtype=torch.float64)
    cell = nn.LSTMCell(3, 5, dtype=torch.float64)
    lstm: Any = torch.nn.LSTM(3, 5, dtype=torch.float64)
    lstm.load_state_dict({f"{name}_l0": value for name, value in cell.state_dict().items()})
    model = Unrolled(cell, 4)
    gradcheck(model, x)
    model.zero_grad()
    close(model(x), lstm(x)[0][-1].detach())
    model.backward(dh)
    lstm(x)[0][-1].backward(dh)
    assert len(list(model.parameters())) == 4
    for p in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        grad = getattr(cell, p).grad
        close(grad.mT if grad.ndim == 2 else grad, getattr(lstm, f"{p}_l0").grad)
    many = nn.replicate(model, [1, 2])
    assert len(list(many.parameters())) == 4
    gradcheck(many, x.expand(2, 4, 2, 3).clone())
