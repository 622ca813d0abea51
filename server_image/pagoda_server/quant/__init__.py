"""Weights and keys in fewer bytes than they were trained in: the numbers, and what a checkpoint says of them."""
