"""Real networks on real data, each in handgrad and in torch.nn: `python -m examples`."""
