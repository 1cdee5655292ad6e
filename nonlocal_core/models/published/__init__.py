"""Weights that other projects published: their files, their tensors' names, and the networks that they are for."""
