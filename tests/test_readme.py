"""The README's example runs and prints what it says."""

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import pytest

from handgrad import nn, optim

DOCS = Path(__file__).parents[1] / "docs"
README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_example_prints_what_the_readme_says():
    example = re.search(r"```python\n(import torch.*?)```\n\n```text\n(.*?)```", README, re.DOTALL)
    assert example is not None
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(example[1], {})
    # the last digit is left to the machine
    numbers = [[float(n) for n in re.findall(r"[\d.]+", text)] for text in (printed.getvalue(), example[2])]
    assert all(abs(a - b) <= 0.15 for a, b in zip(*numbers, strict=True)), printed.getvalue()


def test_the_lines_that_go_on_from_the_example_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    examples = re.findall(r"```python\n((?:import torch|from handgrad).*?)```", README, re.DOTALL)
    assert len(examples) == 2
    with contextlib.redirect_stdout(io.StringIO()):
        for example in examples:
            exec(example, names)
    assert (tmp_path / "layers.png").exists()


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_examples_of_a_page_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for example in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        with contextlib.redirect_stdout(io.StringIO()):
            exec(example, names)


def test_every_link_leads_somewhere():
    root = Path(__file__).parents[1]
    for page in [root / "README.md", *root.glob("docs/*.md")]:
        prose = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for link, anchor in re.findall(r"\]\(([^)#]+)(?:#([^)]+))?\)", prose):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
            assert not anchor or anchor in headings(page.parent / link), f"{page.name}: {link}#{anchor}"


def headings(page):
    """The anchors of a page, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_page_on_layers_has_all_of_them():
    """By name, or by what a name such as AvgPool2d, LPPool1d or MSELoss begins with."""
    words = set(re.findall(r"\w+", (DOCS / "layers.md").read_text(encoding="utf-8")))
    forms = {n: {n, n[:-2], re.sub(r"(Pool|Pad)[12]d$|Loss$", "", n)} for n in nn.__all__ + optim.__all__}
    assert [name for name, written in forms.items() if not written & words] == []
