"""Scorers for the learner on text; the standard library only, so that the helper process imports them fast."""

import time


def has_a(item, text):
    return float("a" in text)


def tenths(item, text):
    """A reward that says which item was asked about."""
    return item / 10


def faulty(item, text):
    """By item: raise, hang, NaN, or pay."""
    if item == 0:
        raise ValueError("no")
    if item == 1:
        time.sleep(60)
    return float("nan") if item == 2 else 1.0


def faulty_later(item, text):
    """By item, as above but for the hanging; it says what it is asked."""
    print(f"asked about {item}")
    return faulty(item, text)
