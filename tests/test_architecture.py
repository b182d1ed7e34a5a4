"""The rules of the package that no single test of behaviour sees: what it may use, who may import whom, how long."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import handgrad
from handgrad import nn, optim

ROOT = Path(handgrad.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
EACH_FILE = pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(ROOT)) for path in FILES])


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


# Gradients are written by hand: what would write them, or hide them in a kernel, is not used

BANNED = re.compile(
    r"functorch\b|torch\.("
    r"nn|autograd|optim|func|ops|compile|vmap|jit|_C|_VF|_dynamo|_inductor"
    r"|\w*(batch_norm|layer_norm|group_norm|instance_norm|rms_norm|scaled_dot_product|multi_head_attention)\w*"
    r"|_?native_\w+|_?cudnn_\w+|_?miopen_\w+|\w*lstm\w*|gru(_\w+)?|rnn_\w+|quantized_\w+"
    r"|(set_)?grad_enabled|enable_grad"
    r")(\.|$)"
)
BANNED_ATTRIBUTES = {"requires_grad", "requires_grad_"}


def speaks_torch(path: Path) -> bool:
    """Whether a file is the PyTorch side of a comparison or an exchange, which needs torch.nn."""
    inside = path.relative_to(ROOT)
    return inside.as_posix() in ("experiments/torch_peer.py", "experiments/parity.py") or inside.parts[0].startswith(
        "interop"
    )


def breaches(source: str) -> list[str]:
    """What a source text uses of the banned, under whatever alias, as 'line: name'."""
    tree = ast.parse(source)
    nodes = list(ast.walk(tree))
    aliases: dict[str, str] = {}

    def path(node: ast.AST | None) -> str | None:
        """The dotted name behind an expression, such as torch.nn for `t.nn` after `import torch as t`."""
        if isinstance(node, ast.Name):
            return aliases.get(node.id)
        if isinstance(node, ast.Attribute):
            owner = path(node.value)
            return owner and f"{owner}.{node.attr}"
        if isinstance(node, ast.Call):
            return called(node)
        return None

    def called(node: ast.Call) -> str | None:
        """What getattr(torch, "nn") and import_module("torch.nn") name."""
        texts = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if function in ("getattr", "attrgetter", "hasattr") and texts and (owner := path(node.args[0])):
            return f"{owner}.{texts[0]}"
        if function in ("import_module", "__import__") and texts:
            return texts[0]
        return None

    def bindings(node: ast.AST) -> Iterator[tuple[str, str]]:
        if isinstance(node, ast.Import):
            for a in node.names:
                yield (a.asname, a.name) if a.asname else (a.name.split(".")[0],) * 2
        elif isinstance(node, ast.ImportFrom):
            for a in node.names:
                yield a.asname or a.name, f"{node.module}.{a.name}"
        elif isinstance(node, ast.Assign) and (value := path(node.value)):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    yield target.id, value

    for _ in range(3):  # a = torch; b = a.nn, in any order
        for node in nodes:
            aliases.update(bindings(node))

    found = []
    for node in nodes:
        names: list[str | None] = []
        if isinstance(node, ast.Import):
            names = [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{a.name}" for a in node.names]
        elif isinstance(node, (ast.Attribute, ast.Call)):
            names = [path(node)]
        for name in names:
            if name and (BANNED.match(name) or name == "torch.*"):
                found.append(f"{node.lineno}: {name}")  # type: ignore[attr-defined]
        mentioned = {
            ast.Attribute: lambda n: n.attr,
            ast.keyword: lambda n: n.arg,
            ast.Constant: lambda n: n.value,
        }.get(type(node))
        if mentioned and isinstance(word := mentioned(node), str) and word in BANNED_ATTRIBUTES:
            found.append(f"{node.lineno}: {word}")  # type: ignore[attr-defined]
    return found


@pytest.mark.parametrize(
    "source",
    [
        "import torch.nn",
        "import torch.nn as x",
        "import torch.nn.functional as F",
        "from torch import nn",
        "from torch import nn as anything",
        "from torch import Tensor, autograd",
        "from torch import *",
        "from torch.nn import Linear",
        "from torch.nn.functional import relu",
        "from torch.autograd import Function",
        "from torch.optim.sgd import SGD",
        "from torch.func import grad",
        "import functorch",
        "import torch\ny = torch.nn.functional.relu(x)",
        "import torch as t\ny = t.nn.Linear(2, 2)",
        "import torch\nt = torch\ny = t.optim",
        "import torch\nt = torch\nu = t\ny = u.nn",
        "import torch\ngetattr(torch, 'nn')",
        "import torch\ngetattr(torch, 'nn').functional",
        "import importlib\nimportlib.import_module('torch.nn')",
        "from importlib import import_module\nimport_module('torch.optim')",
        "__import__('torch.nn')",
        "def f():\n    from torch import nn",
        "import torch\nclass A:\n    def f(self):\n        return torch.autograd.grad(1, 2)",
        "x.requires_grad_()",
        "x.requires_grad = True",
        "import torch\ntorch.zeros(1, requires_grad=True)",
        "setattr(x, 'requires_grad', True)",
        "import torch\ntorch.batch_norm(x)",
        "import torch\ntorch.native_layer_norm(x)",
        "import torch\ntorch.native_batch_norm_backward(x)",
        "import torch\ntorch.layer_norm(x)",
        "import torch\ntorch.group_norm(x)",
        "import torch\ntorch.ops.aten.relu(x)",
        "from torch import ops",
        "import torch\ntorch._C._nn.scaled_dot_product_attention(q)",
        "import torch\ntorch.lstm(x)",
        "import torch\ntorch.gru_cell(x)",
        "import torch\ntorch.rnn_tanh(x)",
        "import torch\n@torch.compile\ndef f(): pass",
        "from torch import compile",
        "from torch import batch_norm as bn",
    ],
)
def test_checker_finds(source: str) -> None:
    assert breaches(source)


@pytest.mark.parametrize(
    "source",
    [
        "import torch\nfrom torch import Tensor\ny = torch.addmm(b, x, W).relu()",
        "import torch\ntorch._foreach_add_(a, b)\ntorch.conv2d(x, w)\ntorch.nn_ = 1",
        "from handgrad import nn, optim\nnn.Linear(2, 2)\noptim.SGD([])",
        "from handgrad.nn import functional_",
        "'''torch.nn and torch.autograd in a docstring.'''  # torch.nn in a comment",
        "import math\nclass nn:\n    pass\nnn.Linear = 1",
        "import torch\nmodule.backward(dy)\ntorch.linalg.norm(x)",
    ],
)
def test_checker_lets_pass(source: str) -> None:
    assert breaches(source) == []


@EACH_FILE
def test_gradients_are_written_by_hand(path: Path) -> None:
    if not speaks_torch(path):
        assert breaches(path.read_text(encoding="utf-8")) == []


# Imports go down only

LEVELS = [
    ["handgrad.errors"],
    ["handgrad.checks", "handgrad.seeds", "handgrad.optional", "handgrad.files", "handgrad.pages"],
    ["handgrad.grid", "handgrad.tensorfile"],
    [
        "handgrad.nn.init",
        "handgrad.nn.constants",
        "handgrad.nn.products",
        "handgrad.nn.sums",
        "handgrad.nn.borders",
        "handgrad.nn.slot",
        "handgrad.nn.state",
        "handgrad.optim.arithmetic",
    ],
    ["handgrad.nn.parameter", "handgrad.nn.numbers"],
    ["handgrad.nn.tree"],
    ["handgrad.nn.module", "handgrad.nn.steps", "handgrad.optim.optimizer"],
    [
        "handgrad.nn.loss",
        "handgrad.nn.random",
        "handgrad.nn.elementwise",
        "handgrad.nn.windows",
        "handgrad.nn.convolution",
        "handgrad.nn.cells",
        "handgrad.nn.running",
        "handgrad.nn.standardised",
    ],
    ["handgrad.nn.*", "handgrad.optim.*", "handgrad.optim.lr_scheduler.*"],
    ["handgrad.nn.container"],
    [
        "handgrad.nn.sequential",
        "handgrad.nn.parallel",
        "handgrad.nn.first",
        "handgrad.nn.replicas",
        "handgrad.nn.averaging",
        "handgrad.nn.attention",
    ],
    ["handgrad.nn.chain", "handgrad.nn.transformer"],
    ["handgrad.nn.fuse"],
    ["handgrad.optim.swa_utils"],
    ["handgrad.nn", "handgrad.optim"],
    [
        "handgrad.statistics",
        "handgrad.data",
        "handgrad.workers",
        "handgrad.scoring",
        "handgrad.architecture",
        "handgrad.takers",
    ],
    ["handgrad.metrics"],
    ["handgrad.distribution", "handgrad.training", "handgrad.training.*"],
    ["handgrad.audit"],
    ["handgrad.targets"],
    ["handgrad.results", "handgrad.recipes", "handgrad.tables", "handgrad.tables.*"],
    [
        "handgrad",
        "handgrad.testing",
        "handgrad.mini",
        "handgrad.sweeps",
        "handgrad.estimators",
        "handgrad.estimators.*",
    ],
    ["handgrad.saving", "handgrad.interop", "handgrad.interop.*"],
    ["handgrad.plots"],
    ["handgrad.history_plots"],
    ["handgrad.report", "handgrad.report.*"],
    ["handgrad.runs", "handgrad.runs.*"],
    ["handgrad.experiments", "handgrad.experiments.*"],
    ["handgrad.cli", "handgrad.cli.*"],
    ["handgrad.__main__"],
]
LEVEL = {name: number for number, names in enumerate(LEVELS) for name in names}
PACKAGES_OF_ONE_LEVEL = (
    "handgrad.experiments",
    "handgrad.interop",
    "handgrad.cli",
    "handgrad.optim.lr_scheduler",
    "handgrad.training",
    "handgrad.tables",
    "handgrad.report",
    "handgrad.runs",
    "handgrad.estimators",
)
BELOW_OPTIM = {
    "handgrad.errors",
    "handgrad.checks",
    "handgrad.nn.constants",
    "handgrad.nn.init",
    "handgrad.nn.parameter",
    "handgrad.optim.arithmetic",
    "handgrad.pages",
}
WHEN_USED = {  # imported in a function, when it is called: Module.to_torch, and what `handgrad` offers lazily
    ("handgrad.nn.module", "handgrad.interop"),
    ("handgrad", "handgrad.interop"),
    ("handgrad", "handgrad.saving"),
    ("handgrad.nn.tree", "handgrad.nn.module"),  # by type checkers alone
}
MODULES = {module_name(path): path for path in FILES}


def level(module: str) -> int | None:
    """The level of a module, or of all modules of its package."""
    return LEVEL.get(module, LEVEL.get(module.rpartition(".")[0] + ".*"))


def imports(path: Path) -> Iterator[str]:
    """The modules that a file imports, of handgrad the exact ones."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path.name}:{node.lineno}: write the full name of a relative import"
            for a in node.names:
                full = f"{node.module}.{a.name}"
                yield full if full in MODULES else str(node.module)


def allowed(source: str, target: str) -> bool:
    if (source, target) in WHEN_USED:
        return True
    if any(source.startswith(package) and target.startswith(package) for package in PACKAGES_OF_ONE_LEVEL):
        return True
    if source.startswith("handgrad.optim.") and source != "handgrad.optim.swa_utils":  # that one only names things
        return target in BELOW_OPTIM or target == "handgrad.optim.optimizer" != source
    below, above = level(target), level(source)
    return below is not None and above is not None and below < above


@pytest.mark.parametrize(
    ("source", "target", "verdict"),
    [
        ("handgrad.nn.linear", "handgrad.nn.module", True),
        ("handgrad.nn.linear", "handgrad.nn.batchnorm", False),
        ("handgrad.nn.linear", "handgrad.nn.sequential", False),
        ("handgrad.nn.linear", "handgrad.nn", False),
        ("handgrad.nn.linear", "handgrad.interop", False),
        ("handgrad.nn.module", "handgrad.interop", True),
        ("handgrad.nn.parameter", "handgrad.nn.module", False),
        ("handgrad.optim.sgd", "handgrad.optim.optimizer", True),
        ("handgrad.optim.sgd", "handgrad.nn.parameter", True),
        ("handgrad.optim.sgd", "handgrad.nn.module", False),
        ("handgrad.optim.sgd", "handgrad.optim.adam", False),
        ("handgrad.optim.optimizer", "handgrad.optim.sgd", False),
        ("handgrad.optim.lr_scheduler.curves", "handgrad.optim.lr_scheduler.schedule", True),
        ("handgrad.optim.lr_scheduler.curves", "handgrad.nn.module", False),
        ("handgrad.optim.lr_scheduler.curves", "handgrad.optim.sgd", False),
        ("handgrad.optim.swa_utils", "handgrad.nn.averaging", True),
        ("handgrad.testing", "handgrad.experiments.disk", False),
        ("handgrad.experiments.a", "handgrad.experiments.b", True),
    ],
)
def test_direction_is_judged(source: str, target: str, verdict: bool) -> None:
    assert allowed(source, target) is verdict


@EACH_FILE
def test_imports_go_down(path: Path) -> None:
    source = module_name(path)
    assert level(source) is not None, f"give {source} a level in LEVELS"
    wrong = [t for t in imports(path) if t.split(".")[0] == "handgrad" and not allowed(source, t)]
    assert wrong == [], f"{source} imports what stands beside or above it"


@EACH_FILE
def test_framework_needs_only_torch_and_the_standard_library(path: Path) -> None:
    if (level(module_name(path)) or 0) <= LEVEL["handgrad.nn"]:
        roots = {target.split(".")[0] for target in imports(path)}
        assert roots - {"handgrad", "torch"} <= sys.stdlib_module_names


def test_import_is_light() -> None:
    heavy = ["matplotlib", "scipy", "typer", "rich", "pandas", "polars", "sklearn", "safetensors", "onnx"]
    heavy += ["jinja2", "tensorboard", "handgrad.interop"]
    code = f"import sys, handgrad; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# Size and documentation


@EACH_FILE
def test_file_is_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


PUBLIC: list[tuple[str, Any]] = [
    (f"{package.__name__}.{name}", getattr(package, name)) for package in (nn, optim) for name in package.__all__
]
CLASSES = [
    (name, thing)
    for name, thing in PUBLIC
    if isinstance(thing, type) and issubclass(thing, (nn.Module, optim.Optimizer))
]


@pytest.mark.parametrize(("name", "thing"), PUBLIC, ids=[name for name, _ in PUBLIC])
def test_public_name_has_a_docstring(name: str, thing: Any) -> None:
    assert thing.__doc__ is not None
    assert len(thing.__doc__.split()) >= 3


@pytest.mark.parametrize(("name", "thing"), CLASSES, ids=[name for name, _ in CLASSES])
def test_public_class_shows_an_example(name: str, thing: Any) -> None:
    assert re.search(r"Example:\n\s+>>> ", thing.__doc__ or ""), f"{name} has no example"


def test_a_type_checker_takes_fit_for_a_function(tmp_path: Path) -> None:
    """Not for the module of that name, as it did: its types are what a user's program is checked by."""
    pytest.importorskip("mypy")
    skipped = (
        "[mypy]\nmypy_path = {}\n[mypy-torch.*,numpy.*]\nfollow_imports = skip\n[mypy-handgrad.*]\nignore_errors = 1\n"
    )
    (tmp_path / "mypy.ini").write_text(skipped.format(ROOT.parent), encoding="utf-8")
    (tmp_path / "user.py").write_text(
        "import handgrad\nimport handgrad.training\nreveal_type(handgrad.fit)\n", encoding="utf-8"
    )
    words = [sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path / "cache"), "user.py"]
    found = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False).stdout
    assert 'Revealed type is "def (model: handgrad.nn.module.Module' in found, found
