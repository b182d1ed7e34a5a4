"""RNN, GRU, LSTM: recurrent layers over whole sequences, trained by back-propagation through time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from handgrad import checks
from handgrad.errors import ArgumentError, ShapeError
from handgrad.nn.cells import Recurrent, parts
from handgrad.nn.parameter import Generators
from handgrad.nn.random import Random
from handgrad.nn.steps import ElmanSteps, GRUSteps, LSTMSteps, Places


class RNNBase(Recurrent, Random):
    """Base of the recurrent layers: they differ in `steps`, what happens within a step."""

    rank = 3

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: torch.dtype | None = None,
        *,
        generator: Generators = None,
        replicas: int | None = None,
    ) -> None:
        self.dims = "NT" if batch_first else "TN"
        Recurrent.__init__(self, input_size, hidden_size, bias, replicas)
        self.num_layers = checks.positive_int("num_layers", num_layers, self.label)
        self.batch_first, self.dropout, self.bidirectional = batch_first, dropout, bidirectional
        self._directions = 2 if bidirectional else 1
        if isinstance(dropout, bool) or checks.at_least("dropout", dropout, 0, self.label) > 1:
            remedy = "Pass the probability that an element is zeroed."
            raise ArgumentError("dropout between 0 and 1", repr(dropout), remedy, self.label)
        for layer in range(num_layers):
            for suffix in self._suffixes(layer):
                inputs = input_size if layer == 0 else self._directions * hidden_size
                self.add_weights(suffix, inputs, device, dtype, generator)
        Random.__init__(self, generator, replicas=replicas)
        self._places: dict[tuple[str, int | None], Places] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Without memory for the next pass."""
        return {**vars(self), "_places": {}}

    def works_in(self, other: RNNBase) -> None:
        """Work in the memory of another such layer, whose passes have always ended before its own begin."""
        self._places = other._places

    def _suffixes(self, layer: int) -> list[str]:
        """How the weights of a layer end, for each direction."""
        return [f"_l{layer}", f"_l{layer}_reverse"][: self._directions]

    def reset_draws(self, generator: Generators = None) -> None:
        if self.dropout:  # without it nothing is drawn, not even seeds
            super().reset_draws(generator)

    def forward(self, input: Tensor, hx: Any = None) -> Any:
        D, L, H = self._directions, self.num_layers, self.hidden_size
        x = self.checked(input, self.weights("_l0").hh.value)
        alone = x.ndim < self.rank
        x = self._time_first(x, alone)  # (T, N, I), or (T, I)
        *lead, T, N = x.shape[:-1] if not alone else (x.shape[0], 1)
        if T == 0:
            raise ShapeError("a sequence of at least one step", "none", "Leave empty sequences out.", self.label)
        shape = (D * L, H) if alone else (*lead, D * L, N, H)
        starts = self.first_states(hx, x, shape)
        if alone:
            x, starts = x.unsqueeze(-2), [state.unsqueeze(-2) for state in starts]
        ends, kept = [], []
        for layer in range(L):
            mask = None
            if layer and self.dropout and self.training:
                mask = self.mask(x, self.dropout)
                x = x * mask
            memory = x.new_empty(*lead, T + D, N, D * H)  # the states of both directions, and what they start from
            runs = []
            for d, suffix in enumerate(self._suffixes(layer)):
                own = memory.narrow(-3, d, T + 1).narrow(-1, d * H, H)
                first = [state.select(-3, D * layer + d) for state in starts]
                places = self._places.setdefault((suffix, self.replicas), {}) if self.training else {}
                end, run = self.steps.forward(x, self.weights(suffix), first, own, -1 if d else 1, places)
                ends.append(end)
                runs.append(run)
            kept.append((mask, runs))
            x = memory.narrow(-3, 1, T)  # (T, N, D H)
        last = [torch.stack(states, -3) for states in zip(*ends)]  # (D L, N, H)
        y = self._time_first(x.squeeze(-2) if alone else x, alone)
        states = self.nested([state.squeeze(-2) if alone else state for state in last])
        return self.keep((y, states), kept, hx is not None, alone, x.shape)

    def backward(self, dy: Any) -> Any:
        return self.backward_layers(dy, True)

    def backward_parameters(self, dy: Any) -> None:
        self.backward_layers(dy, False)

    def backward_layers(self, dy: Any, inputs: bool) -> Any:
        """Back-propagate through the layers; `inputs` asks for the gradients by x and by the first states."""
        kept, given, alone, shape = self.take(dy)
        D = self._directions
        dx, dstates = parts(dy, 2)
        dends = parts(dstates, self.steps.states)
        if dx is None:
            dx = self.weights("_l0").hh.value.new_zeros(shape)
        else:
            dx = dx.unsqueeze(-2) if alone else self._time_first(dx, alone)  # (T, N, D H)
        if alone:
            dends = [None if dend is None else dend.unsqueeze(-2) for dend in dends]
        dstarts: list[list[Tensor]] = []
        for layer in reversed(range(self.num_layers)):
            mask, runs = kept[layer]
            wanted, dys = inputs or layer > 0, dx.chunk(D, -1)
            for d in reversed(range(D)):
                own = [None if dend is None else dend.select(-3, D * layer + d) for dend in dends]
                weights = self.weights(self._suffixes(layer)[d])
                part, dstart = self.steps.backward(runs[d], weights, dys[d], own, wanted)
                dstarts.append(dstart)
                dx = part if d == D - 1 else dx.add_(part) if wanted else None
            if mask is not None:
                dx.mul_(mask)
        if not inputs:
            return None
        dx = dx.squeeze(-2) if alone else self._time_first(dx, alone)
        if not given:
            return dx
        states = [torch.stack(states[::-1], -3) for states in zip(*dstarts)]  # (D L, N, H)
        return dx, self.nested([state.squeeze(-2) if alone else state for state in states])

    def _time_first(self, x: Tensor, alone: bool) -> Tensor:
        """Swap (N, T, ·) and (T, N, ·) where `batch_first` asks for it and there is a batch."""
        return x.transpose(-3, -2) if self.batch_first and not alone else x

    def extra_repr(self) -> str:
        defaults = {"num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0, "bidirectional": False}
        changed = [f"{n}={value}" for n, default in defaults.items() if (value := getattr(self, n)) != default]
        return ", ".join([f"{self.input_size}, {self.hidden_size}", *changed])


class RNN(RNNBase):
    r"""Elman network over a sequence.

    $$h_t = \tanh(x_t W_{ih} + b_{ih} + h_{t-1} W_{hh} + b_{hh})$$

    Back-propagation through time goes from the last step to the first, with $dh_t$ the loss's gradient by $h_t$
    through $y_t$ and through all later steps:

    $$da_t = (1 - h_t^2) \, dh_t, \qquad dh_{t-1} = dy_{t-1} + da_t W_{hh}^T$$

    $$dW_{ih} = \sum_t x_t^T da_t, \quad dW_{hh} = \sum_t h_{t-1}^T da_t, \quad
      db_{ih} = db_{hh} = \sum_t 1^T da_t, \quad dx_t = da_t W_{ih}^T$$

    With relu in the place of tanh, $da_t$ is $[h_t > 0] \, dh_t$. A second layer's x are the first one's h; a second
    direction has weights of its own, reads from the last step to the first, and its h stand beside those of the other.

    Shapes: x (T, N, I), the states (D L, N, H) with D directions and L layers, y (T, N, D H); with `batch_first`
    x (N, T, I) and y (N, T, D H); without a batch (T, I), (D L, H), (T, D H). With R replicas all have a leading R,
    or come without and are shared by all.

    Args:
        input_size: I.
        hidden_size: H.
        num_layers: L.
        nonlinearity: "tanh" or "relu".
        bias: False leaves both b out.
        batch_first: batch before time in x and y; states stay as they are.
        dropout: probability that an element of x is zeroed in training, in all layers but the first.
        bidirectional: D is 2.
        device, dtype: of the parameters.
        generator: source of the initial values and of dropout's masks (R of them for R replicas); torch's default one
            if None.
        replicas: None or R.

    Returns: (y, h), all states of the last layer and the last state of all. `backward` takes (dy, dh), None where
    zero, or dy alone, and gives dx, or (dx, dh_0) where forward was given an h_0.

    Errors: ShapeError for other sizes, DTypeError and DeviceError for inputs unlike the weights.

    Source: Elman 1990, Finding structure in time; Werbos 1990, Backpropagation through time.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> rnn = nn.RNN(3, 4)
        >>> y, h = rnn(torch.ones(7, 5, 3))
        >>> y.shape, h.shape
        (torch.Size([7, 5, 4]), torch.Size([1, 5, 4]))
        >>> rnn.backward((None, torch.ones_like(h))).shape  # a loss of the last state only
        torch.Size([7, 5, 3])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: torch.dtype | None = None,
        *,
        generator: Generators = None,
        replicas: int | None = None,
    ) -> None:
        self.nonlinearity = checks.one_of("nonlinearity", nonlinearity, ("tanh", "relu"), "RNN")
        self.steps = ElmanSteps(nonlinearity)
        options = (num_layers, bias, batch_first, dropout, bidirectional, device, dtype)
        super().__init__(input_size, hidden_size, *options, generator=generator, replicas=replicas)


class GRU(RNNBase):
    r"""Gated recurrent unit over a sequence.

    $$r_t, z_t = \sigma(x_t W_i + b_i + h_{t-1} W_h + b_h), \quad
      n_t = \tanh(x_t W_{in} + b_{in} + r_t (h_{t-1} W_{hn} + b_{hn})), \quad h_t = (1 - z_t) n_t + z_t h_{t-1}$$

    Back, $dr_t$, $dz_t$ and $dn_t$ are those of `GRUCell`, each a coefficient times $dh_t$, and

    $$dh_{t-1} = dy_{t-1} + z_t \, dh_t + [dr_t, dz_t, r_t dn_t] W_{hh}^T$$

    Shapes, Args, Returns, Errors: as RNN, without `nonlinearity`. The weights' columns are r, z and n side by side.

    Source: Cho et al. 2014, arXiv:1406.1078, with r applied after the product, as cuDNN and PyTorch do.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> gru = nn.GRU(3, 4, num_layers=2, bidirectional=True)
        >>> y, h = gru(torch.ones(7, 5, 3))
        >>> y.shape, h.shape
        (torch.Size([7, 5, 8]), torch.Size([4, 5, 4]))
        >>> gru.backward(torch.ones_like(y)).shape
        torch.Size([7, 5, 3])
    """

    steps = GRUSteps()


class LSTM(RNNBase):
    r"""Long short-term memory over a sequence.

    $$i_t, f_t, o_t = \sigma(\cdot), \quad g_t = \tanh(\cdot), \quad
      c_t = f_t c_{t-1} + i_t g_t, \quad h_t = o_t \tanh c_t$$

    each of its own columns of $x_t W_{ih} + b_{ih} + h_{t-1} W_{hh} + b_{hh}$, in the order i, f, g, o. Back, with
    $da_t$ = [di, df, dg, do] as in `LSTMCell`,

    $$dc_t = f_{t+1} dc_{t+1} + o_t (1 - \tanh^2 c_t) \, dh_t, \qquad dh_{t-1} = dy_{t-1} + da_t W_{hh}^T$$

    Shapes, Args: as RNN, without `nonlinearity`; the state is (h, c), each (D L, N, H).

    Returns: (y, (h, c)). `backward` takes (dy, (dh, dc)), None where zero, or dy alone, and gives dx, or
    (dx, (dh_0, dc_0)) where forward was given a state.

    Errors: as RNN; NotImplementedError for a proj_size other than 0.

    Source: Hochreiter and Schmidhuber 1997, Long short-term memory; Gers et al. 2000 for f.

    Example:
        >>> import torch
        >>> from handgrad import nn
        >>> lstm = nn.LSTM(3, 4, batch_first=True)
        >>> y, (h, c) = lstm(torch.ones(5, 7, 3), (torch.zeros(1, 5, 4), torch.zeros(1, 5, 4)))
        >>> dx, (dh, dc) = lstm.backward(torch.ones_like(y))
        >>> dx.shape, dh.shape, dc.shape
        (torch.Size([5, 7, 3]), torch.Size([1, 5, 4]), torch.Size([1, 5, 4]))
    """

    steps = LSTMSteps()
    proj_size = 0

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: torch.dtype | None = None,
        *,
        generator: Generators = None,
        replicas: int | None = None,
    ) -> None:
        if proj_size != 0:
            raise NotImplementedError(f"LSTM(proj_size={proj_size}): projections are not supported. Leave it out.")
        options = (num_layers, bias, batch_first, dropout, bidirectional, device, dtype)
        super().__init__(input_size, hidden_size, *options, generator=generator, replicas=replicas)
