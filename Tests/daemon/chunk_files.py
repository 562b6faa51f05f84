"""Writes chunk files as agg seals them, without agg: see Sources/AggEngine/Buffer/Frame.swift."""
import os
import struct

TABLE = []
for n in range(256):
    for _ in range(8):
        n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
    TABLE.append(n)


def crc32c(data, crc=0):
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def frame(magic, kind, tag=b"", count=0, payload=b"", epoch=0, sequence=0):
    head = struct.pack(">IBBHIIIIQI", magic, kind, 0, len(tag), count, len(payload), len(payload), epoch, sequence, crc32c(payload, crc32c(tag)))
    return head + struct.pack(">I", crc32c(head)) + tag + payload


def event(number):
    """[time, {"n": number}] as MessagePack."""
    return b"\x92\xd7\x00" + struct.pack(">II", 1700000000, 0) + b"\x81\xa1n\xce" + struct.pack(">I", number)


def write(directory, created, tag, events, hole=0):
    """A sealed chunk with one frame, and behind it `hole` bytes that take no room on the disk. Returns its path."""
    nonce = int.from_bytes(os.urandom(8), "big")
    magic = (nonce ^ nonce >> 32) & 0xFFFFFFFF | 0x80000001
    identity = os.urandom(16)
    metadata = b"\x01" + struct.pack(">I", len(tag)) + tag + struct.pack(">H", 0)
    head = struct.pack(">IHHQ", 0x41474743, 1, 0, nonce) + identity + struct.pack(">qI", created, len(metadata))
    head += struct.pack(">I", crc32c(metadata, crc32c(head))) + metadata
    head += frame(magic, 1, tag, len(events), b"".join(event(n) for n in events), 1, 1)
    path = f"{directory}/buffer.q{identity.hex()}.agg"
    with open(path, "wb") as f:
        f.write(head)
        if hole:
            f.seek(hole, os.SEEK_CUR)
        f.write(frame(magic, 3, sequence=len(events)))
    return path
