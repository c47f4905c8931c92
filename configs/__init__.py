"""One file per paper: plain data, of which `_comparison.py` makes a config and its variants."""
