"""The nearest known word to one that is not known, for hints; and many words in few."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that `word` most likely stands for, or None when none is near.

    Case, hyphens and underscores do not count; two swapped letters count as one slip. A third of the letters
    may be wrong, at least one and at most four, but never all.
    """
    wanted = _folded(word)
    if not wanted:
        return None
    best: tuple[int, str] | None = None
    for candidate in known:
        folded = _folded(candidate)
        shorter = min(len(wanted), len(folded))
        limit = min(4, max(1, shorter // 3), shorter - 1)
        if abs(len(wanted) - len(folded)) > limit:
            continue
        slips = distance(wanted, folded)
        if slips <= limit and (best is None or slips < best[0]):
            best = (slips, candidate)
    return best[1] if best else None


def hint_for(word: object, known: Iterable[str]) -> str:
    """A hint for an unknown word: the nearest known one, else all of them."""
    words = sorted(known)
    near = nearest(word, words) if isinstance(word, str) else None
    return f"did you mean '{near}'?" if near else f"known: {', '.join(words)}"


def some(names: Sequence[str], most: int = 6) -> str:
    """The first ones, and how many more."""
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def distance(left: str, right: str) -> int:
    """How many letters to insert, delete, replace or swap to turn one word into the other."""
    before: list[int] = []
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        older, before, row = before, row, [i]
        for j, b in enumerate(right, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b))
            if i > 1 and j > 1 and a == right[j - 2] and b == left[i - 2]:
                cost = min(cost, older[j - 2] + 1)
            row.append(cost)
    return row[-1]


def _folded(word: str) -> str:
    return word.lower().replace("-", "").replace("_", "")
