"""How long work says how far it is."""

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Told the stage, how many of its rows are done, and how many there are (0 while that is not known)."""


def silent(stage: str, done: int, total: int) -> None:
    """Progress for those who do not ask."""
