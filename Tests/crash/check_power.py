#!/usr/bin/env python3
"""Checks the power cuts themselves: a daemon that was killed between a record of its journal and the change that the record is about has
not made that change, and no cut may make half of it. Exit status 1 when one does. Standard library only."""
import os
import random
import struct
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from power import Power  # noqa: E402

CONTENT = b"a chunk"


def record(kind, path, other="", inode=0, a=0):
    path, other = path.encode(), other.encode()
    body = kind.encode() + struct.pack("<QQQ", inode, a, 0) + struct.pack("<I", len(path)) + path + struct.pack("<I", len(other)) + other
    return struct.pack("<I", 4 + len(body)) + body


def attempt(seed, kind, is_done):
    """One file that was synced with its name, and then a rename or a removal that was journaled; returns the names there are after a cut."""
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(f"{folder}/buffer")
        power = Power(folder, f"{folder}/power")
        old, new = f"{folder}/buffer/b1", f"{folder}/buffer/q1"
        with open(old, "wb") as f:
            f.write(CONTENT)
        inode = os.stat(old).st_ino
        journal = record("c", old) + record("C", old, inode=inode) + record("S", "", inode=inode, a=len(CONTENT)) + record("D", f"{folder}/buffer")
        journal += record(kind, old, new if kind == "N" else "")
        if kind == "R":
            os.link(old, f"{folder}/power/i{inode}")
        if is_done and kind == "N":
            os.rename(old, new)
        elif is_done:
            os.unlink(old)
        with open(f"{folder}/power/journal", "wb") as f:
            f.write(journal)
        power.cut(random.Random(seed))
        names = sorted(os.listdir(f"{folder}/buffer"))
        for name in names:
            with open(f"{folder}/buffer/{name}", "rb") as f:
                assert f.read() == CONTENT, f"seed {seed}: {name} has other content"
        return names


def main():
    bad = 0
    for kind, is_done, allowed in [
        ("N", True, [["b1"], ["q1"]]), ("N", False, [["b1"]]), ("R", True, [["b1"], []]), ("R", False, [["b1"]]),
    ]:
        seen = [attempt(seed, kind, is_done) for seed in range(60)]
        wrong = [names for names in seen if names not in allowed]
        missing = [names for names in allowed if names not in seen]
        bad += bool(wrong or missing)
        what = {"N": "renamed", "R": "removed"}[kind]
        print(f"{'FAIL' if wrong or missing else 'ok  '} {'' if is_done else 'about to be '}{what}: {len(seen)} cuts, {len(wrong)} of them wrong {wrong[:1] or ''}")
    return 1 if bad else 0


sys.exit(main())
