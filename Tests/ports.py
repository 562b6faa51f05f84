"""Ports for the test scripts, some of which run side by side (the recorded cases take theirs from 20,000 up)."""
import random
import socket


def free_port(kind=socket.SOCK_STREAM):
    """A port of 127.0.0.1 that nobody has, below those that the kernel gives to outgoing connections (32768 and up by default): one of
    these may take a port from there between this look and its use."""
    for _ in range(1000):
        with socket.socket(socket.AF_INET, kind) as s:
            try:
                s.bind(("127.0.0.1", random.SystemRandom().randrange(12_000, 20_000)))
            except OSError:
                continue
            return s.getsockname()[1]
    raise OSError("no free port")
