"""The work of each stage, from typed arguments to a typed result; stages never import each other."""
