"""The network of the paper and the weights of the field."""
