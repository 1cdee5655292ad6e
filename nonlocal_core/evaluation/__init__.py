"""Numbers from logits: scores of videos, metrics, intervals, comparisons of networks, ablations."""
