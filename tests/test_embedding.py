"""What the table of members cannot say of Embedding: padding, a given table, and indices out of range."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from handgrad import nn, optim
from handgrad.errors import ArgumentError
from handgrad.saving import load, save
from tests.cases import close, generator

TABLE = torch.arange(12.0, dtype=torch.float64).view(4, 3)


def test_padding_gets_no_gradient() -> None:
    """As in PyTorch, and so its gradient is not the derivative, which is why no row looks it up."""
    ours, theirs = (n.Embedding(6, 3, padding_idx=2, dtype=torch.float64) for n in (nn, torch.nn))
    assert torch.equal(ours.weight.value[2], torch.zeros(3))
    ours.load_state_dict(theirs.state_dict())
    i, dy = torch.tensor([[1, 2], [2, 5]]), torch.randn(2, 2, 3, dtype=torch.float64)
    close(ours(i), theirs(i).detach())
    ours.backward(dy)
    theirs(i).backward(dy)
    close(ours.weight.grad, theirs.weight.grad)


def test_padding_of_every_replica_gets_no_gradient() -> None:
    many = nn.replicate(nn.Embedding(6, 3, padding_idx=2), seeds=[3, 4])
    many(torch.tensor([[1, 2], [2, 2]]))
    many.backward(torch.ones(2, 2, 3))
    assert many.weight.grad is not None
    assert many.weight.grad.sum(-1).tolist() == [[0, 3, 0, 0, 0, 0], [0] * 6]


def test_replicas_look_up_their_own_tables() -> None:
    many = nn.replicate(nn.Embedding(5, 2), seeds=[7, 8])
    assert torch.equal(many(torch.tensor([[4, 0], [0, 1]]))[1], many.weight.value[1, [0, 1]])
    assert torch.equal(many(torch.tensor([3, 3, 1]))[1], many.weight.value[1, [3, 3, 1]])  # shared
    assert torch.equal(many(torch.tensor([[[2]]])), many.weight.value[:, 2].view(2, 1, 1, 2))  # shared


@pytest.mark.parametrize("index", [-1, 4, 7])
@pytest.mark.parametrize("replicas", [None, 2])
def test_index_out_of_range(index: int, replicas: int | None) -> None:
    """With replicas the row of another network must not be read instead."""
    embedding = nn.Embedding(4, 3, replicas=replicas)
    with pytest.raises(IndexError, match=rf"Embedding 4→3: there is no row {index} in a table of 4"):
        embedding(torch.tensor([0, index]))


def test_frozen_table_gets_no_gradient() -> None:
    embedding = nn.Embedding.from_pretrained(TABLE)
    assert torch.equal(embedding(torch.tensor([3, 0])), TABLE[[3, 0]])
    embedding.backward(torch.ones(2, 3, dtype=torch.float64))
    assert embedding.weight.grad is None


def test_given_table_is_trained_if_not_frozen_and_comes_back_on_reset() -> None:
    embedding = nn.Embedding.from_pretrained(TABLE, freeze=False, padding_idx=1)
    embedding(torch.tensor([3, 1, 3]))
    embedding.backward(torch.ones(3, 3, dtype=torch.float64))
    assert embedding.weight.grad is not None
    assert embedding.weight.grad[:, 0].tolist() == [0, 0, 0, 2]
    embedding.weight.value.zero_()
    assert TABLE.any(), "the table given is copied"
    embedding.reset(generator(0))
    assert torch.equal(embedding.weight.value, TABLE)
    assert all(torch.equal(one, TABLE) for one in nn.replicate(embedding, seeds=[1, 2]).weight.value)


def test_padding_outside_the_table() -> None:
    with pytest.raises(ArgumentError, match="padding_idx from -4 to 3"):
        nn.Embedding.from_pretrained(TABLE, padding_idx=4)


def test_a_transposed_table_in_replicas() -> None:
    embedding = nn.replicate(nn.Embedding.from_pretrained(TABLE.T, freeze=False), seeds=[1, 2])
    close(embedding(torch.tensor([2])), TABLE.T[2].expand(2, 1, 4))
    embedding.backward(torch.ones(2, 1, 4, dtype=torch.float64))
    assert embedding.weight.grad is not None
    assert embedding.weight.grad[1].sum(1).tolist() == [0, 0, 4]


@pytest.mark.parametrize("words", [5, 3])
@pytest.mark.parametrize("first", [0, 2])
@pytest.mark.parametrize("name", ["Adam", "Adafactor", "Muon"])
def test_a_head_that_shares_the_weight_is_trained_as_in_torch(words: int, first: int, name: str) -> None:
    def tied(n: Any) -> Any:
        model = n.Sequential(n.Embedding(words, 3), n.Tanh(), n.Linear(3, words, bias=False)).double()
        model[2 - first].weight = model[first].weight
        return model

    ours, theirs = tied(nn), tied(torch.nn)
    ours.load_state_dict(theirs.state_dict())
    many = nn.replicate(ours, seeds=[1, 2])
    many.load_state_dict({key: torch.stack([value, value]) for key, value in theirs.state_dict().items()})
    i, t = torch.randint(words, (2, 10))
    optimizer = getattr(torch.optim, name)(theirs.parameters(), lr=0.1)
    for _ in range(10):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(theirs(i), t).backward()
        optimizer.step()
    for model in (ours, many):
        own = getattr(optim, name)(model.parameters(), lr=0.1)
        criterion = nn.CrossEntropyLoss(replicas=model.replicas)
        for _ in range(10):
            own.zero_grad()
            criterion(model(i), t)
            model.backward(criterion.backward())
            own.step()
        assert model[0].weight is model[2].weight
        for value in [model.state_dict()] if model is ours else [many.replica(r).state_dict() for r in (0, 1)]:
            close(value["0.weight"], theirs[0].weight.detach())
            close(value["2.weight"], theirs[0].weight.detach())


@pytest.mark.parametrize("first", [0, 1])
def test_a_shared_weight_is_saved_in_its_layout(first: int, tmp_path: Path) -> None:
    model: Any = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 5))
    model[1 - first].weight = model[first].weight
    again: Any = load(save(model, tmp_path / "model.safetensors"))
    assert again[0].weight is again[1].weight
    assert again[0].weight.transposed is model[first].weight.transposed
    assert torch.equal(again(torch.arange(5)), model(torch.arange(5)))


def test_a_fused_chain_takes_the_weight_of_an_embedding() -> None:
    parts = nn.replicate(nn.Sequential(nn.Linear(8, 9), nn.ReLU(), nn.Linear(9, 12, bias=False)).double(), [1, 2, 3])
    table = nn.Embedding(12, 9, dtype=torch.float64, replicas=3)
    head: Any = parts[2]
    head.weight = table.weight
    x, dy = torch.randn(200, 8, dtype=torch.float64), torch.randn(3, 200, 12, dtype=torch.float64)
    found = []
    for model in (parts, nn.fuse(parts)):
        model.zero_grad()
        y = model(x)
        assert (parts[0].kept is None) == (model is not parts), "one of them is a chain"
        found.append([y, model.backward(dy), *(p.grad for p in model.parameters())])
    close(found[0], found[1])
