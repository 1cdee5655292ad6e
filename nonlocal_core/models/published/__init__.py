"""The weights of others: their files, their names, and the networks that they were trained in."""
