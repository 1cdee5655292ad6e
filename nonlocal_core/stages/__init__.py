"""The work of a stage, typed in and typed out; stages never import each other."""
