"""What the table's small images do not reach: several pieces at once, and float32's own kernels under the replicas."""

from unittest.mock import Mock

import pytest
import torch

from handgrad import nn
from handgrad.nn import convolution
from tests.cases import close, grads

OPTIONS = [{}, {"stride": 2, "padding": 1}, {"groups": 2, "bias": False}]
MEMBERS = pytest.mark.parametrize("member", ["Conv1d", "Conv2d", "ConvTranspose1d", "ConvTranspose2d"])


def both_passes(module, x):
    y = module(x)
    return [y, module.backward(torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view(y.shape))]


@MEMBERS
@pytest.mark.parametrize("options", OPTIONS, ids=["plain", "stride", "groups"])
@pytest.mark.parametrize("replicas", [None, 5])
@pytest.mark.parametrize("lead", [(), (1,), (5,)])
@pytest.mark.parametrize("size", [1, 700, 2000])
def test_pieces_of_any_size_give_the_same(member, options, replicas, lead, size, monkeypatch):
    if replicas is None and lead:
        return
    module = getattr(nn, member)(4, 6, 3, **options, replicas=replicas).double()
    x = torch.randn(*lead, 3, 4, *([7, 6] if "2d" in member else [9]), dtype=torch.float64)
    whole, dW = both_passes(module, x), grads(module)
    module.zero_grad()
    monkeypatch.setattr(convolution, "PIECE", size)
    close(both_passes(module, x), whole)
    close(grads(module), dW)


@pytest.mark.parametrize("replicas", [None, 3])
@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1},
        {"kernel_size": (3, 5), "stride": (2, 1), "padding": (1, 2), "output_padding": (1, 0)},
        {"kernel_size": 5, "stride": 3, "padding": 4, "groups": 2},
        {"kernel_size": 2, "stride": 3, "output_padding": 2, "bias": False},
        {"kernel_size": 1, "stride": (1, 2), "padding": 1},
    ],
    ids=["usual", "other sizes", "groups", "gaps", "one pixel"],
)
def test_few_channels_by_remainders_equal_the_transposed_convolution(options, replicas, monkeypatch):
    module = nn.ConvTranspose2d(6, 4, **options, replicas=replicas).double()
    x = torch.randn(*([] if replicas is None else [replicas]), 3, 6, 5, 7, dtype=torch.float64)
    remainders = Mock(wraps=module._up_by_remainders)
    monkeypatch.setattr(module, "_up_by_remainders", remainders)
    y = module(x)
    remainders.assert_called()
    monkeypatch.setattr(convolution, "SINGLE", 0)
    close(y, module(x))
    assert y.is_contiguous() == module(x).is_contiguous()


def test_few_channels_with_a_stride_and_a_dilation():
    module = nn.ConvTranspose2d(6, 4, 3, 2, dilation=2)
    x = torch.randn(3, 6, 5, 7)
    close(module(x), module.to_torch()(x).detach(), torch.float32)


@MEMBERS
@pytest.mark.parametrize("stride", [1, 2])
def test_a_kernel_of_one_pixel_as_a_convolution_equals_the_product(member, stride, monkeypatch):
    faster = Mock(return_value=True)
    for name, value in {"MUCH": 0, "CHANNELS": 0, "convolutions_are_faster": faster}.items():
        monkeypatch.setattr(convolution, name, value)
    module = getattr(nn, member)(4, 6, 1, stride)
    x = torch.randn(3, 4, *([7, 6] if "2d" in member else [9]))
    found, dW = both_passes(module, x), grads(module)
    assert faster.call_count == 2
    getattr(nn, member)(4, 6, 1, stride, groups=2)(x)
    assert faster.call_count == 2  # groups are products
    module.zero_grad()
    faster.return_value = False
    close(both_passes(module, x), found, torch.float32)
    close(grads(module), dW, torch.float32)


@MEMBERS
@pytest.mark.parametrize("channels", [1, 3, 16])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_one_replica_does_stays_in_it_in_float32(member, channels, bad):
    clean, dirty = (nn.replicate(getattr(nn, member)(channels, 8, 3, padding=1), range(3)) for _ in range(2))
    x = torch.randn(3, 7, channels, *([8, 8] if "2d" in member else [9]))
    spoiled = x.clone()
    spoiled[1] = bad
    a, b = both_passes(clean, x), both_passes(dirty, spoiled)
    for one, other in zip([*a, *grads(clean).values()], [*b, *grads(dirty).values()]):
        assert torch.equal(one[[0, 2]], other[[0, 2]])


@pytest.fixture(params=[1, 2])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("replicas", [None, 3])
@pytest.mark.parametrize("size", [(7, 6), (16, 16)], ids=["odd", "even"])
@pytest.mark.parametrize(
    "options",
    [{"padding": (2, 1)}, {"padding": (0, 3), "dilation": (2, 3)}, {"groups": 2, "padding": 1}],
    ids=["padding", "dilation", "groups"],
)
def test_channels_side_by_side_give_the_same_on_any_threads(options, size, replicas, threads, monkeypatch):
    beside = Mock(wraps=convolution._beside)
    monkeypatch.setattr(convolution, "WORK", 0)
    monkeypatch.setattr(convolution, "BLOCK", 2)
    monkeypatch.setattr(convolution, "_beside", beside)
    module = nn.Conv2d(8, 6, 3, **options, replicas=replicas).double()
    x = torch.randn(*([] if replicas is None else [replicas]), 4, 8, *size, dtype=torch.float64)
    both_passes(module, x)
    found, one = grads(module)["weight"], list[torch.Tensor]()
    for r in range(replicas or 1):
        peer = torch.nn.Conv2d(8, 6, 3, **options).double()
        peer.weight.data = module.weight.value if replicas is None else module.weight.value[r]
        y = peer(x if replicas is None else x[r])
        upstream = torch.linspace(-1, 1, y.numel() * (replicas or 1), dtype=y.dtype).view(-1, *y.shape)
        one += torch.autograd.grad(y, peer.weight, upstream[r])
    beside.assert_called()
    close(found, one[0] if replicas is None else torch.stack(one))
