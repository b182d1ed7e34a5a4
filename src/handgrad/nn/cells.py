"""RNNCell, GRUCell, LSTMCell: one step of a recurrent layer; and the base they share with the layers."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor

from handgrad import checks
from handgrad.errors import DTypeError, ShapeError
from handgrad.nn.init import Uniform
from handgrad.nn.module import Module
from handgrad.nn.parameter import Generators, Parameter
from handgrad.nn.steps import ElmanSteps, GRUSteps, LSTMSteps, Steps, Weights


class Recurrent(Module):
    """Base of the recurrent layers and cells: weights, and inputs and states that fit them."""

    steps: Steps
    rank: ClassVar[int]
    """Dimensions of an input with a batch; without replicas one fewer is an input without."""
    dims: str
    """Their letters but for the last, such as TN."""

    def __init__(self, input_size: int, hidden_size: int, bias: bool, replicas: int | None) -> None:
        self.input_size = checks.positive_int("input_size", input_size, type(self).__name__)
        self.hidden_size = checks.positive_int("hidden_size", hidden_size, type(self).__name__)
        self.bias = bias
        Module.__init__(self, replicas)  # a layer's Random comes last: it draws after the weights, as `reset` does

    @property
    def label(self) -> str:
        return f"{type(self).__name__} {self.input_size}→{self.hidden_size}"

    def add_weights(
        self, suffix: str, inputs: int, device: Any, dtype: torch.dtype | None, generator: Generators
    ) -> None:
        """Draw the weights of one layer in one direction, number for number as PyTorch does."""
        H = self.hidden_size
        G = self.steps.gates * H
        bound = Uniform(1 / math.sqrt(H))
        device = None if device is None else checks.device(device, self.label)
        shapes: dict[str, tuple[int, ...]] = {"weight_ih": (G, inputs), "weight_hh": (G, H)}
        if self.bias:
            shapes |= {"bias_ih": (G,), "bias_hh": (G,)}
        for name, shape in shapes.items():
            value = torch.empty(shape, device=device, dtype=dtype)
            new = Parameter(value, bound, generator, replicas=self.replicas, transposed=len(shape) == 2)
            setattr(self, name + suffix, new)

    def weights(self, suffix: str) -> Weights:
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        return Weights(*(getattr(self, name + suffix, None) for name in names))  # type: ignore[arg-type]

    def checked(self, x: Tensor, like: Tensor) -> Tensor:
        """The input with its leading R, or an error."""
        if type(x).__name__ == "PackedSequence":
            remedy = "Pad it with torch.nn.utils.rnn.pad_packed_sequence."
            raise DTypeError("sequences of one length in a tensor", "a PackedSequence", remedy, self.label)
        checks.like(x, like, self)
        x = self.replicated(x, self.rank)
        ranks = (self.rank - 1, self.rank) if self.replicas is None else (self.rank + 1,)
        if x.ndim not in ranks or x.shape[-1] != self.input_size:
            dims = [self.dims, "R" + self.dims] if self.replicas else [self.dims, self.dims.replace("N", "")]
            shapes = " or ".join(f"({', '.join([*letters, str(self.input_size)])})" for letters in dims)
            remedy = f"Give it {self.input_size} features in the last dimension, or build it for what comes."
            raise ShapeError(f"an input of shape {shapes}", str(tuple(x.shape)), remedy, self.label)
        return x

    def first_states(self, hx: Any, x: Tensor, shape: tuple[int, ...]) -> list[Tensor]:
        """The states before the first step, each of `shape`: those given, with their leading R, or zeros."""
        count = self.steps.states
        if hx is None:
            return [x.new_zeros(shape)] * count
        if count > 1 and not (isinstance(hx, (tuple, list)) and len(hx) == count):
            got = f"{len(hx)} of them" if isinstance(hx, (tuple, list)) else type(hx).__name__
            raise DTypeError("a state of two tensors, (h, c)", got, "Pass (h, c), or none for zeros.", self.label)
        states = []
        for state in hx if count > 1 else [hx]:
            checks.like(state, x, self, "state", "the input")
            state = self.replicated(state, self.rank)
            if state.shape != shape:
                remedy = "Give the state the batch of the input, or leave it out for zeros."
                raise ShapeError(f"a state of shape {shape}", str(tuple(state.shape)), remedy, self.label)
            states.append(state)
        return states

    def nested(self, states: list[Tensor]) -> Any:
        """h, or (h, c)."""
        return states[0] if self.steps.states == 1 else tuple(states)


def parts(tree: Any, count: int) -> list[Any]:
    """The gradients of `count` outputs from a tuple of them or the first alone: None where there is none."""
    given = tree if isinstance(tree, tuple) else (tree,)
    return [*given, *[None] * (count - len(given))]


class RNNCellBase(Recurrent):
    """Base of the cells: a cell is a layer whose sequence has one step."""

    rank, dims = 2, "N"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: torch.dtype | None = None,
        *,
        generator: Generators = None,
        replicas: int | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, replicas)
        self.add_weights("", input_size, device, dtype, generator)

    def forward(self, input: Tensor, hx: Any = None) -> Any:
        weights, H = self.weights(""), self.hidden_size
        x = self.checked(input, weights.hh.value)  # (N, I)
        starts = self.first_states(hx, x, (*x.shape[:-1], H))
        alone = x.ndim == 1
        if alone:
            x, starts = x.unsqueeze(0), [state.unsqueeze(0) for state in starts]
        memory = x.new_empty(*x.shape[:-2], 2, x.shape[-2], H)
        ends, kept = self.steps.forward(x.unsqueeze(-3), weights, starts, memory, 1, {})
        states = [end.squeeze(0) if alone else end for end in ends]
        return self.keep(self.nested(states), kept, hx is not None, states[0].shape)

    def backward(self, dy: Any) -> Any:
        kept, given, shape = self.take(dy)
        weights = self.weights("")
        dh, *dends = parts(dy, self.steps.states)
        dh = weights.hh.value.new_zeros(shape) if dh is None else dh
        if alone := len(shape) == 1:
            dh, dends = dh.unsqueeze(0), [None if d is None else d.unsqueeze(0) for d in dends]
        dx, dstarts = self.steps.backward(kept, weights, dh.unsqueeze(-3), [None, *dends], True)
        assert dx is not None
        dx, *dstarts = (d.squeeze(0) if alone else d for d in (dx.squeeze(-3), *dstarts))
        return (dx, self.nested(dstarts)) if given else dx

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else f", bias={self.bias}")


class RNNCell(RNNCellBase):
    r"""One step of an Elman network.

    $$h' = \tanh(x W_{ih} + b_{ih} + h W_{hh} + b_{hh}), \qquad da = (1 - h'^2) \, dh'$$

    $$dW_{ih} = x^T da, \quad dW_{hh} = h^T da, \quad db_{ih} = db_{hh} = 1^T da, \quad
      dx = da W_{ih}^T, \quad dh = da W_{hh}^T$$

    With relu in the place of tanh, da is [h' > 0] dh'.

    Shapes: x (N, I), h and h' (N, H); without a batch (I,) and (H,). With R replicas (R, N, ·), or (N, ·) shared.

    Args:
        input_size: I.
        hidden_size: H.
        bias: False leaves both b out.
        nonlinearity: "tanh" or "relu".
        device, dtype: of the parameters.
        generator: source of the initial values (R of them for R replicas); torch's default one if None.
        replicas: None or R.

    Returns: h'. `backward` gives dx, or (dx, dh) where forward was given an h.

    Errors: ShapeError for other sizes, DTypeError and DeviceError for inputs unlike the weights.

    Source: Elman 1990, Finding structure in time.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> cell = nn.RNNCell(3, 4)
        >>> h = cell(torch.ones(5, 3), torch.zeros(5, 4))
        >>> [d.shape for d in cell.backward(torch.ones_like(h))]
        [torch.Size([5, 3]), torch.Size([5, 4])]
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: torch.dtype | None = None,
        *,
        generator: Generators = None,
        replicas: int | None = None,
    ) -> None:
        self.nonlinearity = checks.one_of("nonlinearity", nonlinearity, ("tanh", "relu"), "RNNCell")
        self.steps = ElmanSteps(nonlinearity)
        super().__init__(input_size, hidden_size, bias, device, dtype, generator=generator, replicas=replicas)

    def extra_repr(self) -> str:
        return super().extra_repr() + ("" if self.nonlinearity == "tanh" else f", nonlinearity={self.nonlinearity}")


class GRUCell(RNNCellBase):
    r"""One step of a gated recurrent unit.

    $$r, z = \sigma(x W_{i} + b_{i} + h W_{h} + b_{h}), \quad
      n = \tanh(x W_{in} + b_{in} + r (h W_{hn} + b_{hn})), \quad h' = (1 - z) n + z h$$

    $$dn = (1 - z)(1 - n^2) \, dh', \quad dr = r (1 - r) (h W_{hn} + b_{hn}) \, dn, \quad
      dz = z (1 - z) (h - n) \, dh'$$

    each the gradient by what is inside of the gate's function. $da_i = [dr, dz, dn]$ gives dx, $dW_{ih}$ and $db_{ih}$
    as in RNNCell, $da_h = [dr, dz, r \, dn]$ gives $dW_{hh}$, $db_{hh}$ and $dh = da_h W_{hh}^T + z \, dh'$. The
    weights' columns are r, z and n side by side.

    Shapes, Args, Returns, Errors: as RNNCell, without `nonlinearity`.

    Source: Cho et al. 2014, arXiv:1406.1078, with r applied after the product, as cuDNN and PyTorch do.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> cell = nn.GRUCell(3, 4)
        >>> cell(torch.ones(5, 3)).shape, cell.backward(torch.ones(5, 4)).shape
        (torch.Size([5, 4]), torch.Size([5, 3]))
    """

    steps = GRUSteps()


class LSTMCell(RNNCellBase):
    r"""One step of a long short-term memory.

    $$i, f, o = \sigma(\cdot), \quad g = \tanh(\cdot), \quad c' = f c + i g, \quad h' = o \tanh c'$$

    each of its own columns of $x W_{ih} + b_{ih} + h W_{hh} + b_{hh}$, in the order i, f, g, o. With
    $\bar c = dc' + o (1 - \tanh^2 c') \, dh'$, and di, … the gradients by what is inside of σ and tanh,

    $$di = i(1-i) g \bar c, \quad df = f(1-f) c \bar c, \quad dg = i (1-g^2) \bar c, \quad
      do = o(1-o) \tanh c' \, dh', \quad dc = f \bar c$$

    and da = [di, df, dg, do] gives dx, dh and the weights' gradients as in RNNCell.

    Shapes, Args, Errors: as RNNCell, without `nonlinearity`; the state is (h, c), each (N, H).

    Returns: (h', c'). `backward` takes (dh', dc'), or dh' alone, and gives dx, or (dx, (dh, dc)) where forward was
    given a state.

    Source: Hochreiter and Schmidhuber 1997, Long short-term memory; Gers et al. 2000 for f.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> cell = nn.LSTMCell(3, 4)
        >>> h, c = cell(torch.ones(5, 3))
        >>> cell.backward((torch.ones_like(h), None)).shape
        torch.Size([5, 3])
    """

    steps = LSTMSteps()
