"""One file per paper; its docstring is the paper's lab notebook."""
