"""Attention: what a row of the table cannot say."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from handgrad import nn, optim
from handgrad.errors import ArgumentError, ShapeError
from handgrad.testing import gradcheck
from tests.cases import close


def pair() -> tuple[nn.MultiheadAttention, torch.nn.MultiheadAttention]:
    theirs = torch.nn.MultiheadAttention(6, 2, dtype=torch.float64)
    ours = nn.MultiheadAttention(6, 2, dtype=torch.float64)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def test_a_mask_of_numbers_is_added() -> None:
    ours, theirs = pair()
    x, mask = torch.randn(4, 3, 6, dtype=torch.float64), torch.randn(4, 4, dtype=torch.float64)
    y, weights = ours(x, attn_mask=mask)
    expected, expected_weights = theirs(x, x, x, attn_mask=mask)
    close([y, weights], [expected.detach(), expected_weights.detach()])


@pytest.mark.parametrize("replicas", [None, 3])
def test_causal_attention_sees_nothing_of_later_tokens(replicas: int | None) -> None:
    attention = nn.MultiheadAttention(6, 2, batch_first=True, replicas=replicas).double()
    x = torch.randn(2, 5, 6, dtype=torch.float64)
    y, _ = attention(x, is_causal=True)
    x[:, 3:] += 1
    z, _ = attention(x, is_causal=True)
    assert torch.equal(y[..., :3, :], z[..., :3, :])
    assert not torch.allclose(y[..., 3:, :], z[..., 3:, :])


def test_the_causal_mask_is_that_of_the_arguments() -> None:
    ours, _ = pair()
    x = torch.randn(4, 3, 6, dtype=torch.float64)
    mask = torch.ones(4, 4, dtype=torch.bool).triu(1)
    close(ours(x, is_causal=True)[0], ours(x, attn_mask=mask)[0])


def test_gradients_through_the_weights_alone() -> None:
    ours, theirs = pair()
    x = torch.randn(4, 3, 6, dtype=torch.float64)
    _, weights = ours(x)
    dweights = torch.randn_like(weights)
    dx = ours.backward((torch.zeros_like(x), dweights))
    leaf = x.clone().requires_grad_()
    theirs(leaf, leaf, leaf)[1].backward(dweights)
    assert leaf.grad is not None
    close(dx, leaf.grad)


def test_masks_of_each_replica() -> None:
    attention = nn.MultiheadAttention(6, 2, replicas=3).double()
    x = torch.randn(3, 4, 2, 6, dtype=torch.float64)
    padding = torch.rand(3, 2, 4) < 0.3
    padding[..., 0] = False
    y, _ = attention(x, key_padding_mask=padding)
    for r in range(3):
        close(y[r], attention.replica(r)(x[r], key_padding_mask=padding[r])[0])


def test_dropout_is_gradchecked_with_replicas() -> None:
    attention = nn.replicate(nn.MultiheadAttention(6, 2, dropout=0.4), seeds=[1, 2])
    gradcheck(attention, torch.randn(2, 4, 3, 6))


@pytest.mark.parametrize("norm_first", [False, True])
def test_dropout_of_a_transformer_layer(norm_first: bool) -> None:
    layer = nn.TransformerEncoderLayer(6, 2, 8, dropout=0.3, norm_first=norm_first)
    gradcheck(layer, torch.randn(4, 3, 6))
    gradcheck(nn.replicate(layer, seeds=[1, 2]), torch.randn(2, 4, 3, 6))


@pytest.mark.parametrize("norm_first", [False, True])
def test_dropout_of_a_decoder_layer(norm_first: bool) -> None:
    layer = nn.TransformerDecoderLayer(6, 2, 8, dropout=0.3, norm_first=norm_first)
    gradcheck(layer, torch.randn(4, 3, 6), torch.randn(5, 3, 6))
    many = nn.replicate(layer, seeds=[1, 2])
    gradcheck(many, torch.randn(2, 4, 3, 6), torch.randn(5, 3, 6))  # a memory that the replicas share


def test_an_encoder_and_a_decoder_train_as_torchs() -> None:
    """Sequences reversed, with padding: five steps from the same weights."""

    def build(n: Any) -> list[Any]:
        torch.manual_seed(0)
        options: Any = {"dropout": 0.0, "batch_first": True, "norm_first": True}
        encoder, decoder = n.TransformerEncoderLayer(6, 2, 8, **options), n.TransformerDecoderLayer(6, 2, 8, **options)
        fast: Any = {"enable_nested_tensor": False}
        parts = [n.Embedding(7, 6), n.TransformerEncoder(encoder, 2, n.LayerNorm(6), **fast)]
        return [*parts, n.TransformerDecoder(decoder, 2, n.LayerNorm(6)), n.Linear(6, 7)]

    source = torch.randint(1, 7, (4, 5))
    source[:2, 3:] = 0
    padding, given, wanted = source == 0, source.flip(1).roll(1, 1), source.flip(1)
    mask = torch.ones(5, 5, dtype=torch.bool).triu(1)
    ours, theirs = (build(n) for n in (nn, torch.nn))
    for own, other in zip(ours, theirs):
        own.double().load_state_dict(other.double().state_dict())
    embedding, encoder, decoder, last = ours
    second = nn.Embedding(7, 6).double()  # the same matrix, for the decoder's own forward and backward
    second.weight = embedding.weight
    criterion, optimizer = nn.CrossEntropyLoss(), optim.Adam([p for part in ours for p in part.parameters()], lr=0.1)
    values = [p for part in theirs for p in part.parameters()]
    adam = torch.optim.Adam(values, lr=0.1)
    for _ in range(5):
        optimizer.zero_grad()
        memory = encoder(embedding(source), src_key_padding_mask=padding)
        decoded = decoder(second(given), memory, tgt_is_causal=True, memory_key_padding_mask=padding)
        loss = criterion(last(decoded).mT, wanted)
        dx, dm = decoder.backward(last.backward(criterion.backward().mT))
        second.backward(dx)
        embedding.backward(encoder.backward(dm))
        optimizer.step()
        adam.zero_grad()
        memory = theirs[1](theirs[0](source), src_key_padding_mask=padding)
        decoded = theirs[2](theirs[0](given), memory, tgt_mask=mask, memory_key_padding_mask=padding)
        right = torch.nn.functional.cross_entropy(theirs[3](decoded).mT, wanted)
        right.backward()
        adam.step()
        close(loss, right.detach())
    close(embedding.weight.value, theirs[0].weight.detach(), rough=1e-8)


def test_copies_in_an_encoder_draw_dropout_of_their_own() -> None:
    encoder = nn.replicate(nn.TransformerEncoder(nn.TransformerEncoderLayer(6, 2, 8), 2), seeds=[1, 2])
    drawn = [part.seeds for part in encoder.modules() if part.seeds is not None]
    assert len({seed for seeds in drawn for seed in seeds}) == 2 * len(drawn) == 16
    generator = torch.Generator().manual_seed(0)
    alone = nn.TransformerEncoder(nn.TransformerEncoderLayer(6, 2, 8, generator=generator), 2)
    drawn = [part.seeds for part in alone.modules() if part.seeds is not None]
    assert len(set(drawn)) == len(drawn) == 8


def test_a_key_alone_is_the_value_too() -> None:
    ours, theirs = pair()
    x, key = torch.randn(4, 3, 6, dtype=torch.float64), torch.randn(5, 3, 6, dtype=torch.float64)
    close(list(ours(x, key)), [part.detach() for part in theirs(x, key, key)])
    gradcheck(ours, x, key)
    with pytest.raises(ArgumentError, match="a key with the value"):
        ours(x, None, key)


def test_a_gradient_of_the_weights_alone() -> None:
    ours, theirs = pair()
    x = torch.randn(4, 3, 6, dtype=torch.float64)
    _, weights = ours(x)
    upstream = torch.randn_like(weights)
    own, given = ours.backward((None, upstream)), x.clone().requires_grad_()
    theirs(given, given, given)[1].backward(upstream)
    close(own, given.grad)


def test_a_batch_of_none() -> None:
    ours, theirs = pair()
    x = torch.zeros(4, 0, 6, dtype=torch.float64)
    assert ours(x)[0].shape == theirs(x, x, x)[0].shape
    assert ours.backward((x, None)).shape == x.shape


@pytest.mark.parametrize("shapes", [((4, 3, 6), (5, 3, 6), (7, 3, 6)), ((4, 3, 6), (5, 2, 6), (5, 2, 6))])
def test_keys_and_values_that_do_not_go_together(shapes: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(ShapeError, match="queries, keys and values that go together"):
        nn.MultiheadAttention(6, 2)(*map(torch.zeros, shapes))
