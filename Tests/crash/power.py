"""Cuts the power: takes back from a tree of files what a machine might not have kept, as the journal of the killed daemon tells.

Sources/AggCore/Fault/PowerJournal.swift describes the journal. Files and names that agg did not touch stay as they are: they belong to
the test. What was synced stays; of the rest all is lost, or a random part of it, page by page and name by name."""
import os
import struct

PAGE = 4096
SECTOR = 512


def records(path):
    """(kind, inode, a, b, path, other, bytes), in order; one that the kill cut off was not followed by its change."""
    try:
        data = open(path, "rb").read()
    except FileNotFoundError:
        return
    at = 0
    while at + 37 <= len(data):
        length, kind, inode, a, b, n = struct.unpack_from("<IcQQQI", data, at)
        if at + length > len(data):
            return
        name = data[at + 33:at + 33 + n].decode(errors="surrogateescape")
        m, = struct.unpack_from("<I", data, at + 33 + n)
        other = data[at + 37 + n:at + 37 + n + m].decode(errors="surrogateescape")
        yield kind.decode(), inode, a, b, name, other, data[at + 37 + n + m:at + length]
        at += length


def files_in(folder, but=None):
    """(path, lstat) of every file; another daemon may be at work in the same folder."""
    for directory, _, names in os.walk(folder):
        if but and directory.startswith(but):
            continue
        for name in names:
            try:
                yield f"{directory}/{name}", os.lstat(f"{directory}/{name}")
            except FileNotFoundError:
                pass


class Power:
    """One run of one daemon: `before` its start, `cut` after its kill."""

    def __init__(self, folder, side):
        self.folder, self.side = folder, side
        self.reset()
        self.sizes, self.names = {}, {}
        for directory, directories, _ in os.walk(folder):
            self.names[directory] = {name: "directory" for name in directories}
        for path, status in files_in(folder, side):
            self.names.setdefault(os.path.dirname(path), {})[os.path.basename(path)] = status.st_ino
            self.sizes[status.st_ino] = status.st_size

    def reset(self):
        os.makedirs(self.side, exist_ok=True)
        for name in os.listdir(self.side):
            os.unlink(f"{self.side}/{name}")

    def environment(self):
        return {"AGG_FAULT_POWER": self.side}

    def cut(self, rng):
        """Returns how many changes of names and how many bytes were taken back."""
        self.current = {directory: dict(names) for directory, names in self.names.items()}
        durable = {directory: dict(names) for directory, names in self.names.items()}
        touched, pending, undo, synced = set(), [], {}, dict(self.sizes)
        opening = None
        journal = list(records(f"{self.side}/journal"))
        # The kill may have come between a record and its change; one change at a time is made, so only the last may be missing.
        if journal and not self.is_made(journal[-1]):
            journal.pop()
        for kind, inode, a, b, path, other, data in journal:
            path, other = os.path.normpath(path), os.path.normpath(other)
            change = None
            if kind == "c":
                opening = path
            elif kind == "C":
                opening = None
                synced[inode] = 0
                change = [(path, inode)]
            elif kind in "WT":
                undo.setdefault(inode, []).append((kind, a, b, data))
            elif kind == "S":
                synced[inode] = a
                undo[inode] = []
            elif kind == "M":
                change = [(path, "directory")]
                self.current.setdefault(path, {})
                durable.setdefault(path, {})
            elif kind == "R":
                change = [(path, None)]
            elif kind == "L" and self.inode(other) is None:
                change = [(other, self.inode(path))]
            elif kind == "N":
                change = [(path, None), (other, self.inode(path))]
            elif kind == "D":
                durable[path] = dict(self.current.get(path, {}))
                pending = [c for c in pending if any(os.path.dirname(p) != path for p, _ in c)]
            if change:
                for place, value in change:
                    touched.add(place)
                    self.place(self.current, place, value)
                pending.append(change)
        if opening and os.path.lexists(opening) and os.path.basename(opening) not in self.current.get(os.path.dirname(opening), {}):
            status = os.lstat(opening)
            synced[status.st_ino] = 0
            touched.add(opening)
            pending.append([(opening, status.st_ino)])
        # Names: all that is pending is lost, or the machine had got so far, or a part of it in any order.
        keep = rng.choice(["none", "none", "prefix", "any"])
        until = rng.randrange(len(pending) + 1) if keep == "prefix" else len(pending)
        for n, change in enumerate(pending):
            if keep == "none" or n >= until or keep == "any" and rng.random() < 0.5:
                continue
            for place, value in change:
                self.place(durable, place, value)
        return self.restore_names(durable, touched), self.restore_bytes(undo, synced, rng)

    @staticmethod
    def is_made(record):
        kind, _, _, _, path, other, _ = record
        if kind in "NR":
            return not os.path.lexists(path)
        return kind not in "LM" or os.path.lexists(other or path)

    def inode(self, path):
        return self.current.get(os.path.dirname(path), {}).get(os.path.basename(path))

    @staticmethod
    def place(names, path, value):
        directory = names.setdefault(os.path.dirname(path), {})
        if value is None:
            directory.pop(os.path.basename(path), None)
        else:
            directory[os.path.basename(path)] = value

    def restore_names(self, durable, touched):
        places, changed = {}, 0
        for path, status in files_in(self.folder):
            places.setdefault(status.st_ino, path)
        held = {}
        for path in sorted(touched):
            wanted = durable.get(os.path.dirname(path), {}).get(os.path.basename(path))
            if isinstance(wanted, int) and wanted in places and wanted not in held:
                held[wanted] = f"{self.side}/h{wanted}"
                os.link(places[wanted], held[wanted])
        for path in sorted(touched, key=len):
            wanted = durable.get(os.path.dirname(path), {}).get(os.path.basename(path))
            there = os.lstat(path).st_ino if os.path.lexists(path) else None
            if isinstance(wanted, int) and self.was_moved(places.get(wanted)):
                continue
            if wanted == "directory":
                os.makedirs(path, exist_ok=True)
            elif wanted is None and there and os.path.isdir(path):
                for directory, directories, files in os.walk(path, topdown=False):
                    for name in files:
                        self.unlink(f"{directory}/{name}")
                    os.rmdir(directory)
                changed += 1
            elif wanted != there:
                if there:
                    self.unlink(path)
                # A name within a directory that is gone is gone too.
                if wanted in held and os.path.isdir(os.path.dirname(path)):
                    os.link(held[wanted], path)
                changed += 1
        for link in held.values():
            os.unlink(link)
        return changed

    def unlink(self, path):
        """Its inode stays in use until `reset`: another daemon at work must not get it while it means this file here."""
        inode = os.lstat(path).st_ino
        if not os.path.lexists(f"{self.side}/u{inode}"):
            os.link(path, f"{self.side}/u{inode}")
        os.unlink(path)

    def was_moved(self, path):
        """Under a name that agg did not give it: the test has rotated it since."""
        return path is not None and not path.startswith(self.side) and os.path.basename(path) not in self.current.get(os.path.dirname(path), {})

    def restore_bytes(self, undo, synced, rng):
        changed = 0
        for path, status in files_in(self.folder, self.side):
            inode = status.st_ino
            if not undo.get(inode):
                continue
            now = open(path, "rb").read()
            old = bytearray(now)
            for kind, a, b, data in reversed(undo[inode]):
                if kind == "W":
                    old[a:a + len(data)] = data
                else:
                    old = old[:a].ljust(a, b"\0") + data
            old = bytes(old[:synced.get(inode, 0)])
            undo[inode] = []
            if now == old:
                continue
            with open(path, "r+b") as f:
                kept = self.mix(old, now, rng)
                f.write(kept)
                f.truncate(len(kept))
            changed += max(len(now), len(old))
        return changed

    @staticmethod
    def mix(old, now, rng):
        """What a machine may have of a file: the synced content, or some of the pages (or sectors) that were written since."""
        if rng.random() < 0.5:
            return old
        size = rng.choice([len(old), len(now), rng.randrange(min(len(old), len(now)), max(len(old), len(now)) + 1)])
        unit = rng.choice([PAGE, SECTOR])
        out = bytearray(old[:size].ljust(size, b"\0"))
        for start in range(0, size, unit):
            end = min(start + unit, size)
            if now[start:end] != old[start:end] and rng.random() < 0.5:
                out[start:end] = now[start:end].ljust(end - start, b"\0")
        return bytes(out)
