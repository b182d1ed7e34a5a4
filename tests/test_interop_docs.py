"""The page on exchange: its examples run in order and print what it says; and arrays go in and out without copies."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from handgrad import nn
from handgrad.errors import DTypeError
from tests.cases import network

PAGE = (Path(__file__).parents[1] / "docs" / "interop.md").read_text(encoding="utf-8")


def test_the_page_prints_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == PAGE.count("```python") == 5
    names: dict[str, Any] = {}
    for source, expected in blocks:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(source, names)
        assert printed.getvalue() == expected


def test_arrays_share_memory() -> None:
    model: Any = network().eval()
    a = np.ones((4, 3), dtype=np.float32)
    before, x = a.copy(), torch.from_numpy(a)
    y = model(x)
    model.backward(torch.ones_like(y))
    assert (a == before).all()
    out = y.numpy()
    assert out.ctypes.data == y.data_ptr()
    a *= 2  # seen by the network
    assert not np.allclose(model(x).numpy(), out)
    weight = model[0].weight
    weight.value.numpy()[:] = 0
    assert not weight.value.any()
    assert weight.grad.numpy().ctypes.data == weight.grad.data_ptr()


def test_outputs_of_training_go_out_as_arrays() -> None:
    """Under inference mode, and with autograd on, nothing asks for gradients."""
    with torch.inference_mode():
        assert network()(torch.ones(4, 3)).numpy().shape == (4, 2)
    assert nn.Linear(3, 2)(torch.ones(4, 3)).numpy().shape == (4, 2)


def test_arrays_themselves_are_refused_with_a_remedy() -> None:
    with pytest.raises(DTypeError, match=r"torch\.as_tensor"):
        network()(np.ones((4, 3)))
    with pytest.raises(DTypeError, match=r"\.to\(torch\.float32\)"):
        network()(torch.from_numpy(np.ones((4, 3))))
