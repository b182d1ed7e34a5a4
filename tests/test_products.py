"""Products of few columns are turned, large ones may be convolutions, sums over few places begin with the batch."""

import io
import itertools
from pathlib import Path

import pytest
import torch

from handgrad.nn import products
from handgrad.nn.sums import FEW, channel_sums

SIZES = [(m, k, n) for m, k in ((500, 25), (25, 500), (16, 256), (15, 273), (4096, 1), (1, 1)) for n in (1, 2, 15, 16)]


@pytest.mark.parametrize("replicas", [None, 1, 3])
@pytest.mark.parametrize(("m", "k", "n"), SIZES)
@pytest.mark.parametrize("turned", [False, True])
def test_products_of_every_width(m, k, n, replicas, turned):
    lead = () if replicas is None else (replicas,)
    generator = torch.Generator().manual_seed(m + n)
    a = torch.randn(*lead, m, k, generator=generator, dtype=torch.float64)
    a = a.mT.contiguous().mT if turned else a
    b, bias = (torch.randn(*lead, *s, generator=generator, dtype=torch.float64) for s in ((k, n), (n,)))
    expected = torch.einsum("...mk,...kn->...mn", a, b)
    for found, right in (
        (products.product(a, b), expected),
        (products.affine(a, b, None), expected),
        (products.affine(a, b, bias), expected + bias.unsqueeze(-2)),
    ):
        torch.testing.assert_close(found, right, rtol=1e-12, atol=1e-12)
        assert found.is_contiguous()


def test_both_ways_are_tried_above():
    """At least one size on each side of every condition, so that no way goes untested."""
    found = {products._narrow(torch.empty(m, k), torch.empty(k, n)) for m, k, n in SIZES}
    assert found == {True, False}
    assert products._narrow(torch.empty(2, 500, 25), torch.empty(2, 25, 1))
    assert not products._narrow(torch.empty(500, 25), torch.empty(25, 1))


@pytest.mark.parametrize("replicas", [None, 2])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(("m", "k", "n"), [(3, 4, 5), (1, 1, 1), (200, 150, 300)])
def test_products_as_convolutions(m, k, n, turned, replicas):
    lead = () if replicas is None else (replicas,)
    generator = torch.Generator().manual_seed(m)
    a, b, bias = (torch.randn(*lead, *s, generator=generator) for s in ((m, k), (k, n), (n,)))
    if turned:
        a, b = a.mT.contiguous().mT, b.mT.contiguous().mT
    for shift, way in itertools.product((None, bias), (products._convolved, products._convolved_turned)):
        expected = a.double() @ b.double() + (0 if shift is None else shift.unsqueeze(-2).double())
        found = way(a, b, shift)
        torch.testing.assert_close(found, expected.float(), rtol=1e-4, atol=1e-4)
        assert found.is_contiguous()


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(("m", "k", "n"), [(3, 4, 5), (1, 1, 1), (70, 33, 47), (64, 32, 48)])
def test_replicas_are_joined_in_one_convolution_and_stay_apart(m, k, n, turned):
    """Also where features are no multiple of what a kernel takes at a time."""
    generator = torch.Generator().manual_seed(m)
    a, b, bias = (torch.randn(4, *s, generator=generator) for s in ((m, k), (k, n), (n,)))
    b = b.mT.contiguous().mT if turned else b
    plain = products._joined(a, b)
    for shift, found in ((0, plain), (bias.unsqueeze(-2).double(), products._joined(a, b, bias))):
        torch.testing.assert_close(found, (a.double() @ b.double() + shift).float(), rtol=1e-4, atol=1e-4)
        assert found.is_contiguous()
    a[2, m // 2, k // 2] = torch.nan
    found = products._joined(a, b)
    assert found.isnan().nonzero().tolist() == [[2, m // 2, column] for column in range(n)]
    rest = torch.arange(4) != 2
    assert torch.equal(found[rest], plain[rest])
    b[1, 0, 0] = torch.inf
    assert (~products._joined(a, b)[1].isfinite()).nonzero()[:, 1].unique().tolist() == [0]


def test_a_nan_stays_in_its_row_of_a_convolution():
    a, b = torch.randn(200, 150), torch.randn(150, 300)
    a[7, 3] = torch.nan
    for way in (products._convolved, products._convolved_turned):
        assert way(a, b).isfinite().all(-1).logical_not().nonzero().tolist() == [[7]]


def test_which_products_are_convolutions(monkeypatch):
    """Large ones, of float32, where the processor multiplies faster so."""
    monkeypatch.setattr(products, "convolutions_are_faster", lambda: False)
    assert products._wide(torch.ones(512, 256), torch.ones(256, 256)) is None
    monkeypatch.setattr(products, "convolutions_are_faster", lambda: True)
    for M, K, N, way in [
        (512, 256, 256, products._convolved),
        (64, 1024, 1024, products._convolved_turned),
        (16, 1024, 4096, None),  # with b, the larger one, to be turned
        (64, 64, 64, None),
        (512, 256, 16, None),
        (200, 256, 256, None),  # b is to be turned
        (1280, 16, 1024, None),  # too few numbers in a for oneDNN
    ]:
        assert products._wide(torch.ones(M, K), torch.ones(K, N)) is way
    assert products._wide(torch.ones(16, 1024), torch.ones(4096, 1024).mT) is products._convolved_turned
    assert products._wide(torch.ones(200, 256), torch.ones(256, 256).mT) is products._convolved
    assert products._wide(torch.ones(512, 512), torch.ones(64, 512).mT) is products._convolved
    assert products._wide(torch.ones(512, 512).mT, torch.ones(64, 512).mT) is None  # a is to be turned
    assert products._wide(torch.ones(100, 256), torch.ones(512, 256).mT) is None  # the result is to be turned
    assert products._wide(torch.ones(512, 256).double(), torch.ones(256, 256).double()) is None
    assert products._wide(torch.ones(20, 512, 256), torch.ones(20, 256, 256)) is products._convolved


def test_which_products_of_replicas_are_one_convolution(monkeypatch):
    def way(R, M, K, N, lying=True, standing=False):
        a = torch.ones(R, M, K) if lying else torch.ones(R, K, M).mT
        return products._wide(a, torch.ones(R, N, K).mT if standing else torch.ones(R, K, N))

    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    monkeypatch.setattr(products, "convolutions_are_faster", lambda: False)
    assert way(10, 512, 64, 64) is None
    monkeypatch.setattr(products, "convolutions_are_faster", lambda: True)
    assert way(10, 512, 64, 64) is way(4, 512, 64, 64) is products._joined
    assert way(2, 512, 64, 64) is None  # one start for too few
    assert way(10, 32, 256, 256) is None  # b's numbers are to be turned
    assert way(10, 32, 256, 256, standing=True) is products._joined
    assert way(10, 512, 64, 64, lying=False) is None
    assert way(10, 512, 16, 128) is way(10, 512, 128, 16) is None  # few features
    assert way(10, 512, 256, 256) is products._convolved  # each is large enough
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert way(4, 512, 64, 64) is None
    assert way(10, 512, 64, 64) is products._joined


def test_a_product_goes_the_way_that_is_found(monkeypatch):
    monkeypatch.setattr(products, "_wide", lambda a, b: products._convolved_turned)
    monkeypatch.setattr(products, "_convolved_turned", lambda *given: given)
    a, b, bias = torch.ones(3, 4), torch.ones(4, 20), torch.ones(20)
    assert products.product(a, b) == (a, b)
    assert products.affine(a, b, bias) == (a, b, bias)


@pytest.mark.parametrize(("vendor", "capability", "faster"), [
    (b"AuthenticAMD", "AVX512", True), (b"GenuineIntel", "AVX512", False), (b"AuthenticAMD", "AVX2", False),
])  # fmt: skip
def test_on_which_processors_convolutions_are_faster(monkeypatch, vendor, capability, faster):
    text = b"processor\t: 0\nvendor_id\t: " + vendor
    monkeypatch.setattr(Path, "open", lambda *_, **__: io.BytesIO(text))
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
    assert products.convolutions_are_faster.__wrapped__() is faster


def test_convolutions_are_not_faster_where_nobody_knows_the_processor(monkeypatch):
    def missing(*_, **__):
        raise FileNotFoundError

    monkeypatch.setattr(Path, "open", missing)
    assert products.convolutions_are_faster.__wrapped__() is False


@pytest.mark.parametrize("replicas", [None, 3])
@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("places", [(), (1,), (FEW - 1,), (FEW,), (2, 2), (7, 9), (8, 8), (9, 11)])
def test_sums_over_batch_and_places(places, folded, replicas):
    """On either side of the bound, also with the replicas folded into the channels, as a convolution leaves them."""
    generator = torch.Generator().manual_seed(len(places))
    shape = (6, replicas or 1, 5, *places) if folded else (replicas or 1, 6, 5, *places)
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    x = x.transpose(0, 1) if folded else x
    expected = torch.einsum("rnc...->rc", x)
    found = channel_sums(x if replicas else x[0], len(places))
    torch.testing.assert_close(found, expected if replicas else expected[0], rtol=1e-12, atol=1e-12)
