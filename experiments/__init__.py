"""Experiments: `run` is the one entry; `<family>/<what_it_does>.py` say what is compared with what."""
