"""An HTTP server that behaves badly on demand and remembers what it took, by Idempotency-Key."""
import gzip
import select
import socket
import threading
import time

from cut_proxy import close, reset
from node import numbers_in


class BadServer:
    """`behave(number, body)` says how the request that comes as `number`-th is answered: see `answer`."""

    def __init__(self, behave, address="127.0.0.1", port=0):
        self.behave = behave
        self.lock = threading.Lock()
        self.taken = {}      # key -> numbers, of what was taken whether it was answered or not
        self.repeated = 0    # requests whose key was taken before
        self.requests = 0
        self.open = self.most_open = 0
        self.times = []      # when each request came
        self.bodies = []     # size of each request's body
        self.stopping = False
        self.held = []
        self.address, self.port, self.listener = address, port, None
        self.listen()

    def listen(self):
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind((self.address, self.port))
        s.listen(128)
        self.port = s.getsockname()[1]
        self.listener = s
        threading.Thread(target=self.accept, args=(s,), daemon=True).start()

    def refuse(self):
        # A close alone leaves the thread in accept() listening.
        self.listener.shutdown(socket.SHUT_RDWR)
        close(self.listener)

    def accept(self, listener):
        while not self.stopping:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        try:
            connection.settimeout(60)
            while self.exchange(connection):
                pass
        except (OSError, ValueError):
            pass
        close(connection)

    def exchange(self, connection):
        data = b""
        while b"\r\n\r\n" not in data:
            more = connection.recv(65536)
            if not more:
                return False
            data += more
        head, body = data.split(b"\r\n\r\n", 1)
        fields = {}
        for line in head.split(b"\r\n")[1:]:
            name, value = line.split(b":", 1)
            fields[name.strip().lower().decode()] = value.strip().decode()
        while len(body) < int(fields.get("content-length", 0)):
            more = connection.recv(65536)
            if not more:
                return False
            body += more
        if fields.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        with self.lock:
            number = self.requests
            self.requests += 1
            self.times.append(time.monotonic())
            self.bodies.append(len(body))
            self.open += 1
            self.most_open = max(self.most_open, self.open)
        try:
            return self.answer(self.behave(number, body), connection, fields.get("idempotency-key", ""), body)
        finally:
            with self.lock:
                self.open -= 1

    def take(self, key, body):
        with self.lock:
            if key in self.taken:
                self.repeated += 1
            else:
                self.taken[key] = numbers_in(body)

    def numbers(self):
        with self.lock:
            return [n for numbers in self.taken.values() for n in numbers]

    def answer(self, how, connection, key, body):
        """How: a status, (status, headers), or a name below. True where the connection goes on."""
        if isinstance(how, int):
            how = (how, "")
        if isinstance(how, tuple):
            status, headers = how
            if status < 300:
                self.take(key, body)
            connection.sendall(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n{headers}\r\n".encode())
            return True
        if how == "hang":  # until the other side gives up
            select.select([connection], [], [], 60)
        elif how == "close":  # taken, not answered
            self.take(key, body)
        elif how == "half-close":  # taken; says that it will say nothing, and listens on
            self.take(key, body)
            connection.shutdown(socket.SHUT_WR)
            select.select([connection], [], [], 60)
        elif how == "reset-mid-answer":
            self.take(key, body)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Len")
            time.sleep(0.01)
            reset(connection)
        elif how == "cut-body":
            self.take(key, body)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        elif how == "slow":
            self.take(key, body)
            for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok":
                connection.sendall(bytes([byte]))
                time.sleep(0.01)
            return True
        elif how == "garbage":
            connection.sendall(b"\x00\xff\xfe garbage \r\n\r\n" * 20)
        elif how == "endless-header":
            connection.sendall(b"HTTP/1.1 200 OK\r\n")
            self.pour(connection, b"X-Endless: " + b"x" * 4000 + b"\r\n")
        elif how == "endless-line":
            connection.sendall(b"HTTP/1.1 200 OK\r\nX-Endless: ")
            self.pour(connection, b"x" * 4096)
        elif how == "endless-body":
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            self.pour(connection, b"1000\r\n" + b"x" * 4096 + b"\r\n")
        return False

    def pour(self, connection, block):
        """Sends without end; `poured` says how much the other side let itself be sent."""
        self.poured = 0
        while not self.stopping and self.poured < 1 << 30:
            connection.sendall(block)
            self.poured += len(block)

    def close(self):
        self.stopping = True
        self.refuse()
