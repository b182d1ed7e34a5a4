"""To torch.nn and back, for every row of the table."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor

from handgrad import nn
from handgrad.architecture import describe
from handgrad.errors import ArgumentError, DTypeError, HandgradError, UnsupportedError
from handgrad.interop import from_torch, modules, to_torch
from handgrad.optim.swa_utils import AveragedModel
from tests.cases import CASES, Case, explains, ids, leaves, network
from tests.cases.containers import Stack
from tests.test_saving import filled

ROWS = [
    case
    for case in CASES
    if not isinstance(case.ours(), Stack)
    and "batchmean" not in case.name.replace("KLDivLoss(reduction='batchmean'", "")
]
"""All but a class of the user's own, which nobody can translate, and the one reduction that torch.nn lacks."""
EACH = pytest.mark.parametrize("case", ROWS, ids=ids(ROWS))
F64 = torch.float64


def opened(module: Any) -> tuple[Any, dict[str, Any]]:
    """A module of a row as it is, and the options, such as masks, that the row always gives its forward."""
    return module, getattr(vars(module).pop("forward", None), "keywords", {})


def called(module: Any, inputs: list[Any], options: dict[str, Any]) -> Any:
    """Outputs without gradients."""
    torch.manual_seed(3)
    with torch.no_grad(), warnings.catch_warnings():  # torch.nn warns of even kernels, and of KLDivLoss's mean
        warnings.simplefilter("ignore")
        return module(*inputs, **options)


def canonical(tree: Any) -> Any:
    """A description with n in place of (n,), which torch.nn makes of it in some classes."""
    if isinstance(tree, dict):
        return {name: canonical(branch) for name, branch in tree.items()}
    if isinstance(tree, list):
        return canonical(tree[0]) if len(tree) == 1 else [canonical(branch) for branch in tree]
    return tree


@EACH
def test_to_torch_gives_the_same_outputs(case: Case) -> None:
    for mode in (True, False):
        ours, options = opened(filled(case.ours(F64)).train(mode))
        theirs = to_torch(ours)
        assert all(part.training is mode for part in theirs.modules())
        torch.testing.assert_close(theirs.state_dict(), ours.state_dict(), rtol=0, atol=0)
        for shape in case.shapes:
            inputs = case.inputs(shape, F64)
            ys = leaves(called(ours, inputs, options))
            for y, expected in zip(ys, leaves(called(theirs, inputs, options)), strict=True):
                torch.testing.assert_close(y, expected, rtol=1e-6, atol=1e-6)
        if not options and list(ours.parameters()):
            assert_same_gradients(ours, theirs, case)


def assert_same_gradients(ours: nn.Module, theirs: torch.nn.Module, case: Case) -> None:
    """Modules that torch.nn lacks have its gradients: those of the parameters agree."""
    inputs = case.inputs(case.shapes[0], F64)
    torch.manual_seed(3)
    first, expected = leaves(ours(*inputs))[0], None
    torch.manual_seed(3)
    expected = leaves(theirs(*inputs))[0]
    dy = torch.randn(first.shape, dtype=F64)
    many = isinstance(ours, nn.Parallel) and type(ours) is nn.Parallel
    ours.backward((dy, None) if many else dy)
    expected.backward(dy)
    for (name, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert (p.grad is None) == (q.grad is None), name
        if p.grad is not None:
            torch.testing.assert_close(p.grad.mT if p.transposed else p.grad, q.grad, rtol=1e-6, atol=1e-6, msg=name)


@EACH
def test_there_and_back(case: Case) -> None:
    ours, _ = opened(filled(case.ours(F64)).eval())
    back = from_torch(to_torch(ours))
    assert canonical(describe(back)) == canonical(describe(ours))
    torch.testing.assert_close(back.state_dict(), ours.state_dict(), rtol=0, atol=0)


@EACH
def test_from_torch_gives_the_same_outputs(case: Case) -> None:
    if case.peer is not None:  # the tests' own module
        return
    theirs, options = opened(case.make(torch.nn).to(F64))
    for p in theirs.parameters():
        torch.nn.init.normal_(p)
    for mode in (True, False):
        theirs.train(mode)
        ours = from_torch(theirs)
        assert all(part.training is mode for part in ours.modules())
        inputs = case.inputs(case.shapes[0], F64)
        ys = leaves(called(ours, inputs, options))
        for y, expected in zip(ys, leaves(called(theirs, inputs, options)), strict=True):
            torch.testing.assert_close(y, expected, rtol=1e-6, atol=1e-6)


def test_modules_of_torch_nn_stay_of_torch_nn() -> None:
    for case in ROWS:
        if case.peer is None:
            theirs = to_torch(opened(case.ours())[0])
            assert type(theirs) is type(case.make(torch.nn)) or isinstance(theirs, modules.MultiheadAttention)


def test_replicas() -> None:
    single = [network(torch.nn).eval() for _ in range(3)]
    ours, x = from_torch(single), torch.randn(7, 3)
    assert ours.replicas == 3
    torch.testing.assert_close(ours(x), torch.stack([one(x) for one in single]).detach())
    with pytest.raises(ArgumentError, match=r"model\.replica\(r\) with r from 0 to 2") as raised:
        ours.to_torch()
    assert explains(raised.value)
    torch.testing.assert_close(ours.replica(1).to_torch().state_dict(), single[1].state_dict(), rtol=0, atol=0)
    with pytest.raises(ArgumentError, match=r"nn\.stack"):
        from_torch([torch.nn.Linear(2, 3), torch.nn.Linear(2, 4)])
    with pytest.raises(ArgumentError, match="at least one network"):
        from_torch([])


def test_dtypes_that_differ_within_a_module() -> None:
    theirs = torch.nn.Sequential(torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 2))
    theirs[0].running_mean = torch.full((3,), 1 / 3, dtype=F64)
    theirs[1].weight.data = torch.full((2, 3), 1 / 3, dtype=F64)
    ours = from_torch(theirs)
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), rtol=0, atol=0)
    torch.testing.assert_close(to_torch(ours).state_dict(), theirs.state_dict(), rtol=0, atol=0)


def test_values_are_copies() -> None:
    theirs = torch.nn.Linear(2, 3)
    ours = from_torch(theirs)
    ours.load_state_dict({"weight": torch.zeros(3, 2), "bias": torch.zeros(3)})
    assert theirs.weight.abs().min() > 0
    back = to_torch(ours)
    assert not back.state_dict()["weight"].any()
    back.state_dict()["bias"].fill_(1)
    assert not ours.state_dict()["bias"].any()
    assert all(p.requires_grad for p in back.parameters())


def test_networks_trained_in_inference_mode_go_out() -> None:
    model = network()
    with torch.inference_mode():
        for p in model.parameters():
            p.value = p.value * 2
    theirs = to_torch(model)
    theirs(torch.randn(5, 3)).sum().backward()


@pytest.mark.parametrize(
    "layer", [nn.Linear(2, 3, init="kaiming_normal"), nn.Conv1d(2, 3, 1, init="gaussian")], ids=str
)
def test_an_initialiser_stays_here(layer: nn.Module) -> None:
    torch.testing.assert_close(to_torch(layer).state_dict(), layer.state_dict(), rtol=0, atol=0)


def test_positions_have_the_dtype_of_the_input() -> None:
    x = torch.zeros(5, 4, dtype=torch.bfloat16)
    theirs = to_torch(nn.PositionalEncoding(4))
    torch.testing.assert_close(theirs(x), nn.PositionalEncoding(4)(x))


def test_inplace_is_dropped_and_frozen_embeddings_stay_so() -> None:
    assert repr(from_torch(torch.nn.ReLU(inplace=True))) == "ReLU()"
    theirs = torch.nn.Embedding.from_pretrained(torch.eye(3))
    ours: Any = from_torch(theirs)
    assert ours.frozen
    assert not next(to_torch(ours).parameters()).requires_grad


def test_frozen_parameters_stay_so_there_and_back() -> None:
    ours = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    ours[0].freeze()
    theirs = to_torch(ours)
    assert [p.requires_grad for p in theirs.parameters()] == [False, False, True, True]
    assert [p.frozen for p in from_torch(theirs).parameters()] == [True, True, False, False]


def test_shared_parameters() -> None:
    theirs = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 3))
    theirs[1].weight = theirs[0].weight
    ours: Any = from_torch(theirs)
    assert ours[0].weight is ours[1].weight
    back: Any = to_torch(ours)
    assert back[0].weight is back[1].weight
    for V in (3, 5):
        for first in (0, 1):
            theirs = torch.nn.Sequential(torch.nn.Embedding(V, 3), torch.nn.Linear(3, V))
            theirs[1 - first].weight = theirs[first].weight
            ours = from_torch(theirs)
            assert ours[0].weight is ours[1].weight
            torch.testing.assert_close(ours(torch.arange(V)), theirs(torch.arange(V)).detach())
            back = to_torch(ours)
            assert back[0].weight is back[1].weight
            torch.testing.assert_close(back(torch.arange(V)), theirs(torch.arange(V)))


def test_parameters_shared_in_another_layout_are_refused() -> None:
    theirs = torch.nn.Sequential(torch.nn.Embedding(3, 3), torch.nn.RNNCell(3, 3))
    theirs[1].weight_hh = theirs[0].weight
    with pytest.raises(ArgumentError, match=r"1\.weight_hh in the layout of 0\.weight"):
        from_torch(theirs)


def test_shared_statistics_are_refused() -> None:
    norm = torch.nn.BatchNorm1d(3)
    with pytest.raises(UnsupportedError, match=r"in one place, got 0\.0 again as 2") as raised:
        from_torch(torch.nn.Sequential(torch.nn.Sequential(norm), torch.nn.Linear(3, 3), norm))
    assert explains(raised.value)
    plain = torch.nn.BatchNorm1d(3, affine=False, track_running_stats=False)
    assert len(from_torch(torch.nn.Sequential(plain, plain)).state_dict()) == 0


def test_transformer_options() -> None:
    theirs = torch.nn.TransformerEncoderLayer(
        6, 3, 10, 0.25, torch.nn.functional.gelu, 1e-3, True, True, bias=False
    ).eval()
    x = torch.randn(2, 4, 6)
    torch.testing.assert_close(from_torch(theirs)(x), theirs(x).detach())
    theirs.activation = torch.nn.SiLU()
    theirs.activation_relu_or_gelu = 0
    torch.testing.assert_close(from_torch(theirs)(x), theirs(x).detach())
    theirs.dropout1.p = 0.75
    back: Any = to_torch(from_torch(theirs))
    assert back.dropout1.p == 0.75
    causal: Any = nn.TransformerEncoderLayer(6, 2, 8, 0.0, is_causal=True)
    for batch_first in (True, False):
        causal = nn.TransformerEncoderLayer(6, 2, 8, 0.0, is_causal=True, batch_first=batch_first)
        torch.testing.assert_close(to_torch(causal)(x).detach(), causal(x))
        torch.testing.assert_close(to_torch(causal)(x[0]).detach(), causal(x[0]))


def test_decoders() -> None:
    theirs = torch.nn.TransformerDecoderLayer(6, 3, 10, 0.0, torch.nn.functional.gelu, 1e-3, True, True, bias=False)
    x, memory = torch.randn(2, 4, 6), torch.randn(2, 5, 6)
    stacked = torch.nn.TransformerDecoder(theirs, 2)
    torch.testing.assert_close(from_torch(stacked)(x, memory), stacked(x, memory).detach())
    causal: Any = nn.TransformerDecoderLayer(6, 2, 8, 0.0, is_causal=True, batch_first=True)
    torch.testing.assert_close(to_torch(causal)(x, memory).detach(), causal(x, memory))
    assert type(to_torch(from_torch(stacked))) is torch.nn.TransformerDecoder


def test_a_part_that_was_set_to_none_is_left_out() -> None:
    layer = torch.nn.TransformerEncoderLayer(6, 2, 8, 0.0, batch_first=True)
    theirs = torch.nn.TransformerEncoder(layer, 1, torch.nn.LayerNorm(6))
    theirs.norm = None
    x = torch.randn(2, 3, 6)
    torch.testing.assert_close(from_torch(theirs)(x), theirs(x).detach())


def relu(x: Tensor) -> Tensor:
    """The name alone does not make it PyTorch's."""
    return x * 2


def test_functions_as_activations() -> None:
    for function in (torch.relu, torch.nn.functional.relu, torch.nn.functional.gelu, relu, torch.tanh):
        theirs = nested(torch.nn.TransformerEncoderLayer(6, 2, 8, activation=function, batch_first=True))
        x = torch.randn(2, 3, 6)
        if function in (relu, torch.tanh):
            with pytest.raises(ArgumentError, match=r"model\.1\.0 .*activation"):
                from_torch(theirs)
        else:
            torch.testing.assert_close(from_torch(theirs).eval()(x), theirs.eval()(x).detach())


def test_networks_in_different_modes_are_no_replicas() -> None:
    with pytest.raises(ArgumentError, match=r"network 1: .*evaluation"):
        from_torch([torch.nn.Dropout(), torch.nn.Dropout().eval()])


def test_complex_numbers_are_refused() -> None:
    with pytest.raises(HandgradError, match="complex64"):
        from_torch(torch.nn.Linear(2, 2, dtype=torch.complex64))


# What cannot be converted


class Own(torch.nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


class Linear(torch.nn.Linear):
    """The name alone does not make it torch.nn's."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * 2


class ReLU(nn.ReLU):
    """Nor handgrad's."""


def nested(part: Any) -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Sequential(part))


def hooked(on: str = "forward") -> torch.nn.Module:
    layer: Any = torch.nn.Linear(2, 2)
    getattr(layer, f"register_{on}_hook")(lambda module, inputs, *y: inputs)
    return layer  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("convert", "match"),
    [
        (lambda: from_torch(nested(Own())), r"model\.1\.0 \(Own\): .*handgrad\.nn have it, got tests.*Own"),
        (lambda: from_torch(nested(Linear(2, 2))), r"model\.1\.0 \(Linear\): .*got tests"),
        (lambda: from_torch(nested(torch.nn.Conv3d(1, 1, 1))), r"model\.1\.0 \(Conv3d\): .*got torch"),
        (
            lambda: from_torch(nested(torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(2, 2)))),
            r"model\.1\.0",
        ),
        *(
            (lambda on=on: from_torch(nested(hooked(on))), r"model\.1\.0 \(Linear\): .*hooks")
            for on in ("forward", "forward_pre", "full_backward", "full_backward_pre")
        ),
        (lambda: to_torch(nn.Sequential(nn.Tanh(), Stack())), r"model\.1 \(Stack\): .*got tests.*Stack"),
        (lambda: from_torch("network"), "got str"),  # type: ignore[arg-type]
        (lambda: from_torch([nn.Tanh()]), "got Tanh"),  # type: ignore[list-item]
        (lambda: to_torch(torch.nn.Tanh()), "got Tanh"),  # type: ignore[arg-type]
        (lambda: to_torch(nn.Sequential(ReLU())), r"model\.0 \(ReLU\): .*got tests"),
    ],
)
def test_what_nobody_can_translate(convert: Any, match: str) -> None:
    with pytest.raises(DTypeError, match=match) as raised:
        convert()
    assert isinstance(raised.value, HandgradError)
    assert explains(raised.value)


@pytest.mark.parametrize(
    ("convert", "match"),
    [
        (lambda: from_torch(torch.nn.MultiheadAttention(4, 2, add_bias_kv=True)), "add_bias_kv"),
        (lambda: from_torch(torch.nn.MultiheadAttention(4, 2, add_zero_attn=True)), "add_zero_attn"),
        (lambda: from_torch(torch.nn.LSTM(3, 4, proj_size=2)), "proj_size"),
        (lambda: from_torch(torch.nn.Embedding(3, 4, max_norm=1.0)), "max_norm"),
        (lambda: from_torch(torch.nn.Embedding(3, 4, sparse=True)), "sparse"),
        (lambda: from_torch(torch.nn.MaxPool1d(2, return_indices=True)), "return_indices"),
        (lambda: to_torch(nn.MSELoss(reduction="batchmean")), "batchmean"),
        (lambda: to_torch(AveragedModel(nn.Tanh())), "AveragedModel"),
    ],
)
def test_options_that_one_side_lacks(convert: Any, match: str) -> None:
    with pytest.raises(NotImplementedError, match=match):
        convert()


def test_nothing_is_changed() -> None:
    theirs = nested(torch.nn.BatchNorm1d(3))
    before = copy.deepcopy(theirs.state_dict())
    state = torch.get_rng_state()
    from_torch(theirs)(torch.randn(5, 3, generator=torch.Generator()))
    torch.testing.assert_close(theirs.state_dict(), before, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), state)
