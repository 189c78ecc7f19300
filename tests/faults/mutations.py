"""Damage done to bytes by a rule and a seed: flipped bits, lost and strange bytes, JSON whose values are of another kind."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from copy import deepcopy
from random import Random
from typing import Any, Final

TOKENS: Final = (
    b"\x00", b"\xff", b"\xed\xa0\x80", b"\xe2\x80\xae", b"\xc2\x9b", b"\x1b[2J", b"\xef\xbb\xbf", b"\r", b"\n", b"\t",
    b"[", b"]", b"{", b"}", b'"', b"'", b":", b": ", b",", b"- ", b"&a ", b"*a", b"<<: ", b"? ", b"|", b">", b"#", b"%", b"@",
    b"!!int x", b"!!float x", b"!!bool x", b"!!binary xx", b"!!timestamp x", b"!!set {a}", b"!!python/name:os.system ",
    b"null", b"true", b"NaN", b"Infinity", b"1e999", b"-1", b"0", b"9" * 40, b"9" * 5000, b"12:30:45", b"2026-99-99", b".inf",
    b"\\ud800", b"\\u0000", b"${A}", b"[" * 3000, b'{"a":' * 3000,
)  # fmt: skip
"""What decoders stumble over."""
VALUES: Final[tuple[Any, ...]] = (
    -1, 0, 1.5, 1e308, 2**31, 2**63 - 1, 2**63, 2**64, 10**30, True, None, "", "x", "\x1b[31m", "\u202e", "\x9b", "é" * 50,
    "a" * 70_000, "../../etc/passwd", "\x00", "\ud800", [], {}, [[]], [0] * 2000, [2**62] * 100, {"a": {"b": 1}}, ["x"], "NaN",
)  # fmt: skip
"""What may stand where something else belongs."""


def mutations(samples: Sequence[bytes], seed: int, count: int, *, values: bool = True) -> Iterator[bytes]:
    """So many damaged copies of the samples, the same for the same seed; also such that are sound JSON of other `values`, where a
    sample is JSON."""
    random = Random(seed)
    trees = [_tree(sample) if values else None for sample in samples]
    for _ in range(count):
        which = random.randrange(len(samples))
        if trees[which] is not None and random.random() < 0.5:
            yield _other_values(random, trees[which])
        else:
            yield damaged(random, samples[which])


def damaged(random: Random, sample: bytes) -> bytes:
    """`sample` with one to some thirty wounds."""
    found = bytearray(sample)
    for _ in range(random.choice((1, 1, 1, 2, 5, 30))):
        at, way = random.randrange(len(found) + 1), random.randrange(8)
        if way <= 1 and found:
            found[at % len(found)] ^= 1 << random.randrange(8)
        elif way == 2:
            del found[at : at + random.randint(1, 200)]
        elif way == 3:
            found[at:at] = random.choice(TOKENS)
        elif way == 4:
            found[at : at + random.randint(1, 12)] = random.choice(TOKENS)
        elif way == 5:
            found[at:at] = random.randbytes(random.randint(1, 50))
        elif way == 6:
            begin = random.randrange(len(found) + 1)
            found[at:at] = found[begin : begin + random.randint(1, 60)]
        else:
            del found[at + random.randint(0, 400) :]
    return random.randbytes(random.randint(0, 400)) if random.random() < 0.02 else bytes(found)


def _tree(sample: bytes) -> bytes | None:
    """`sample`, where it is JSON or lines of it."""
    try:
        for line in sample.splitlines():
            json.loads(line)
    except ValueError:
        try:
            json.loads(sample)
        except ValueError:
            return None
        return json.dumps(json.loads(sample)).encode()
    return sample or None


def _other_values(random: Random, sample: bytes | None) -> bytes:
    """JSON as sound as `sample`, with some values that are of another kind, are missing, or are too many."""
    assert sample is not None
    lines = sample.splitlines()
    at = random.randrange(len(lines))
    tree: Any = [json.loads(lines[at])]
    for _ in range(random.choice((1, 1, 2, 4))):
        _change(random, tree)
    lines[at] = json.dumps(tree[0], ensure_ascii=random.random() < 0.5).encode("utf-8", "surrogatepass")
    return b"\n".join(lines) + (b"\n" if sample.endswith(b"\n") else b"")


def _change(random: Random, tree: list[Any]) -> None:
    place: Any = tree
    while True:
        keys = list(range(len(place)) if isinstance(place, list) else place)
        if not keys:
            return
        key = random.choice(keys)
        if isinstance(place[key], list | dict) and place[key] and random.random() < 0.8:
            place = place[key]
            continue
        way = random.randrange(6)
        if way <= 3:
            place[key] = deepcopy(random.choice(VALUES))
        elif way == 4 and place is not tree:
            del place[key]
        elif isinstance(place, dict):
            place[random.choice(("", "x", "\x1b[2J", "\u202e", "a" * 5000))] = deepcopy(place[key])
        else:
            place.extend([place[key]] * random.choice((1, 100)))
        return
