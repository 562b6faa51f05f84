"""A TCP proxy that treats connections as a bad network does."""
import select
import socket
import struct
import threading
import time


def reset(s):
    """Closes with RST."""
    try:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except OSError:
        pass
    close(s)


def close(s):
    try:
        s.close()
    except OSError:
        pass


class CutProxy:
    """Passes bytes on between `port` and `target` as `mode` says:

    pass        everything
    refuse      nobody listens
    accept-close  connections are closed at once
    black-hole  nothing goes through, connections stay open
    half-close  the sender is told that the receiver will say no more; what the sender says still goes through
    mid-send    the next block from the sender is passed in part, then both sides are reset
    mid-ack     the receiver's next answer is passed in part, then both sides are reset
    no-ack      what the receiver answers is swallowed
    trickle     one byte at a time, both ways
    slow-ack    the receiver's answer one byte at a time
    garbage     the receiver's answer is replaced by bytes that are no MessagePack
    wrong-ack   the receiver's answer is replaced by an acknowledgement of something else
    endless-ack the receiver's answer is replaced by a string that never ends
    """

    def __init__(self, target, address="127.0.0.1", port=0):
        self.target, self.address = target, address
        self.mode = "pass"
        self.lock = threading.Lock()
        self.connections = set()
        self.accepted = self.cut_busy = self.hit = 0
        self.unanswered = {}  # bytes that the receiver has not answered, by connection
        self.listener = None
        self.port = port
        self.listen()
        self.stopping = False
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()

    def listen(self):
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind((self.address, self.port))
        s.listen(128)
        s.settimeout(0.05)
        self.port = s.getsockname()[1]
        self.listener = s

    def busy(self):
        with self.lock:
            return any(n > 0 for n in self.unanswered.values())

    def set(self, mode):
        self.hit = 0
        self.mode = mode
        with self.lock:
            pairs = list(self.connections)
        if mode in ("refuse", "rst", "accept-close"):
            if mode == "refuse":
                close(self.listener)
                self.listener = None
            for pair in pairs:
                for s in pair:
                    reset(s)
        if mode != "refuse" and self.listener is None:
            self.listen()

    def accept(self):
        while not self.stopping:
            listener = self.listener
            if listener is None:
                time.sleep(0.005)
                continue
            try:
                client, _ = listener.accept()
            except (OSError, ValueError):
                continue
            self.accepted += 1
            if self.mode in ("refuse", "rst"):
                reset(client)
            elif self.mode == "accept-close":
                self.hit += 1
                close(client)
            else:
                threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        try:
            server = socket.create_connection(self.target, timeout=5)
        except OSError:
            return reset(client)
        pair = (client, server)
        with self.lock:
            self.connections.add(pair)
        try:
            self.pump(client, server)
        except (OSError, ValueError):
            pass
        finally:
            with self.lock:
                self.connections.discard(pair)
                self.unanswered.pop(client, None)
            reset(client)
            reset(server)

    def pump(self, client, server):
        halves = set()  # directions that ended
        half_closed = False
        while len(halves) < 2 and not self.stopping:
            mode = self.mode
            if mode == "black-hole":
                self.hit += 1
                time.sleep(0.02)
                continue
            if mode == "half-close" and not half_closed:
                client.shutdown(socket.SHUT_WR)
                half_closed = True
                self.hit += 1
            readable, _, _ = select.select([s for s in (client, server) if s not in halves], [], [], 0.02)
            for source in readable:
                mode = self.mode
                if mode == "black-hole":
                    break
                other = server if source is client else client
                data = source.recv(1 if mode == "trickle" else 65536)
                if not data:
                    halves.add(source)
                    if not (other is client and half_closed):
                        other.shutdown(socket.SHUT_WR)
                    continue
                if source is client:
                    with self.lock:
                        self.unanswered[client] = self.unanswered.get(client, 0) + len(data)
                    if mode == "mid-send" and len(data) > 1:
                        server.sendall(data[:len(data) // 2])
                        self.hit += 1
                        return
                    server.sendall(data)
                else:
                    with self.lock:
                        self.unanswered[client] = 0
                    if half_closed:
                        continue
                    if not self.answer(mode, data, client):
                        return
            if mode == "trickle" and readable:
                self.hit += 1
                time.sleep(0.001)

    def answer(self, mode, data, client):
        """Passes an answer of the receiver on; false ends the connection."""
        self.hit += 1
        if mode == "mid-ack":
            client.sendall(data[:max(1, len(data) // 2)])
            time.sleep(0.01)
            return False
        if mode == "no-ack":
            return True
        if mode == "slow-ack":
            for i in range(len(data)):
                client.sendall(data[i:i + 1])
                time.sleep(0.01)
            return True
        if mode == "garbage":
            client.sendall(b"\xc1" * 64)
            return True
        if mode == "wrong-ack":
            client.sendall(b"\x81\xa3ack\xb8" + b"A" * 22 + b"==")
            return True
        if mode == "endless-ack":
            client.sendall(b"\xdb\xff\xff\xff\xff")
            while self.mode == mode:
                client.sendall(b"x" * 4096)
            return False
        client.sendall(data)
        return True

    def close(self):
        self.stopping = True
        self.set("refuse")
