"""What every test starts from: one thread, and a known state of torch's default generator."""

import pytest
import torch
from hypothesis import settings

settings.register_profile("handgrad", deadline=None, max_examples=20, database=None, derandomize=True)
settings.load_profile("handgrad")
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)
