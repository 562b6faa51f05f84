#!/usr/bin/env python3
"""Real forward clients against a running agg: every event has to come out of its files once.

Usage: forward_interop.py BIN [N]
Needs the msgpack and fluent-logger packages; openssl makes the certificate. Exits 1 when anything is missing or twice.
"""
import base64, collections, gzip, hashlib, json, os, signal, socket, ssl, struct, subprocess, sys, tempfile, time

import msgpack
from fluent import asyncsender, sender
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from ports import free_port  # noqa: E402

BIN = os.path.abspath(sys.argv[1])
N = int(sys.argv[2]) if len(sys.argv) > 2 else 2000
FAILURES = []


def check(name, condition, detail=""):
    print(("ok   " if condition else "FAIL ") + name + ("" if condition else ": " + str(detail)), flush=True)
    if not condition:
        FAILURES.append(name)


class Agg:
    def __init__(self, directory, name, text):
        self.path = os.path.join(directory, name + ".conf")
        self.log = open(os.path.join(directory, name + ".daemon"), "ab")
        with open(self.path, "w") as f:
            f.write(text)
        self.start()

    def start(self):
        self.process = subprocess.Popen([BIN, "-c", self.path], stdout=self.log, stderr=self.log)

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        self.process.wait(30)


def wait_port(port):
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit("nobody listens on %d" % port)


def events(path):
    found = collections.Counter()
    try:
        with open(path) as f:
            for line in f:
                if not line.endswith("\n"):
                    continue  # is being written
                time_text, tag, record = line.rstrip("\n").split("\t", 2)
                if not tag.startswith("fluent."):  # agg's own log
                    found[(tag, json.loads(record)["i"])] += 1
    except FileNotFoundError:
        pass
    return found


def expect(name, path, wanted, seconds=30):
    """Every (tag, i) of `wanted` once in the file, and nothing else of those tags."""
    tags = {tag for tag, _ in wanted}
    end = time.time() + seconds
    while True:
        found = {k: v for k, v in events(path).items() if k[0] in tags}
        if sum(found.values()) >= len(wanted) or time.time() > end:
            break
        time.sleep(0.1)
    missing = [k for k in wanted if k not in found]
    twice = [k for k, v in found.items() if v > 1]
    check(name, not missing and not twice and len(found) == len(wanted), "missing %d %s, twice %d %s" % (len(missing), missing[:3], len(twice), twice[:3]))


def event_time(seconds, nanoseconds):
    return msgpack.ExtType(0, struct.pack(">II", seconds, nanoseconds))


class Client:
    """The protocol by hand, for what fluent-logger does not speak."""

    def __init__(self, port, tls=None):
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
        self.unpacker = msgpack.Unpacker(raw=False, strict_map_key=False)

    def read(self):
        while True:
            try:
                return next(self.unpacker)
            except StopIteration:
                data = self.socket.recv(65536)
                if not data:
                    return None
                self.unpacker.feed(data)

    def send(self, *message):
        self.socket.sendall(msgpack.packb(list(message), use_bin_type=True))

    def handshake(self, key, username="", password="", host="client.example"):
        helo = self.read()
        nonce, auth = helo[1]["nonce"], helo[1]["auth"]
        salt = os.urandom(16).hex()
        digest = hashlib.sha512(salt.encode() + host.encode() + nonce + key.encode()).hexdigest()
        secret = hashlib.sha512(auth + username.encode() + password.encode()).hexdigest()
        self.send("PING", host, salt, digest, username, secret)
        pong = self.read()
        good = hashlib.sha512(salt.encode() + pong[3].encode() + nonce + key.encode()).hexdigest() == pong[4]
        return pong[1] and good

    def close(self):
        self.socket.close()


def packed(n, first=0):
    return b"".join(msgpack.packb([event_time(1700000000 + i, i), {"i": i}], use_bin_type=True) for i in range(first, first + n))


def output(path):
    return """<match **>
  @type file
  path %s
  append true
  <buffer []>
    @type file
    path %s.buf
    flush_mode immediate
  </buffer>
</match>
""" % (path, path)


def plain_clients(directory):
    port, path = free_port(), os.path.join(directory, "plain")
    agg = Agg(directory, "plain", "<source>\n  @type forward\n  port %d\n  bind 127.0.0.1\n</source>\n" % port + output(path))
    wait_port(port)

    for nanoseconds in (False, True):
        tag = "logger.%s" % nanoseconds
        logger = sender.FluentSender("logger", host="127.0.0.1", port=port, nanosecond_precision=nanoseconds)
        sent = [logger.emit(str(nanoseconds), {"i": i, "text": "ü" * (i % 7)}) for i in range(N)]
        logger.close()
        check("fluent-logger says it sent all (%s)" % tag, all(sent))
        expect("fluent-logger, %s" % tag, path + ".log", [(tag, i) for i in range(N)])

    logger = asyncsender.FluentSender("async", host="127.0.0.1", port=port, queue_maxsize=N + 10)
    for i in range(N):
        logger.emit("x", {"i": i})
    logger.close()
    expect("fluent-logger, asynchronous", path + ".log", [("async.x", i) for i in range(N)])

    client = Client(port)
    for mode, entries, options in [
        ("packed", packed(N), {}), ("gzip", gzip.compress(packed(N)), {"compressed": "gzip"}),
        ("members", gzip.compress(packed(N // 2)) + gzip.compress(packed(N - N // 2, N // 2)), {"compressed": "gzip"}),
    ]:
        chunk = base64.b64encode(os.urandom(16)).decode()
        client.send("hand." + mode, entries, dict(options, chunk=chunk, size=N))
        check("acknowledged: " + mode, client.read() == {"ack": chunk})
        # The acknowledgement was lost: the same again, on this and on another connection.
        client.send("hand." + mode, entries, dict(options, chunk=chunk, size=N))
        check("acknowledged again: " + mode, client.read() == {"ack": chunk})
        expect("stored once: " + mode, path + ".log", [("hand." + mode, i) for i in range(N)])
    client.send("hand.list", [[1700000000, {"i": i}] for i in range(N)], {"chunk": "any text"})
    check("acknowledged: forward mode", client.read() == {"ack": "any text"})
    expect("forward mode", path + ".log", [("hand.list", i) for i in range(N)])
    client.send("hand.fluentbit", b"".join(msgpack.packb([[event_time(1700000000, 1), {}], {"i": i}]) for i in range(10)))
    expect("entries with metadata", path + ".log", [("hand.fluentbit", i) for i in range(10)])
    client.socket.sendall(msgpack.packb(None) + msgpack.packb("noise") + msgpack.packb(["hand.after", 1700000000, {"i": 1}]))
    expect("a heartbeat and noise do no harm", path + ".log", [("hand.after", 1)])
    client.close()

    text = socket.create_connection(("127.0.0.1", port))
    text.sendall("".join(json.dumps(["json.x", 1700000000 + i, {"i": i}]) + "\n" for i in range(N)).encode())
    text.sendall(json.dumps(["json.y", [[1700000000, {"i": 1}]], {"chunk": "c1"}]).encode())
    text.settimeout(10)
    check("JSON text is acknowledged as JSON text", json.loads(text.recv(100)) == {"ack": "c1"})
    text.close()
    expect("JSON text", path + ".log", [("json.x", i) for i in range(N)])

    beat = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    beat.settimeout(10)
    beat.sendto(b"\0", ("127.0.0.1", port))
    check("UDP heartbeat is answered", beat.recv(16) == b"\0")

    # Kill it between the commit and the retry: the id has to survive.
    client = Client(port)
    chunk = base64.b64encode(os.urandom(16)).decode()
    client.send("restart.x", packed(N), {"chunk": chunk, "size": N})
    check("acknowledged before the kill", client.read() == {"ack": chunk})
    client.close()
    agg.stop(signal.SIGKILL)
    agg.start()
    wait_port(port)
    client = Client(port)
    client.send("restart.x", packed(N), {"chunk": chunk, "size": N})
    check("acknowledged after the kill", client.read() == {"ack": chunk})
    client.close()
    expect("stored once over a kill", path + ".log", [("restart.x", i) for i in range(N)])
    agg.stop()


def secured(directory):
    port, path = free_port(), os.path.join(directory, "secured")
    cert, key = os.path.join(directory, "cert.pem"), os.path.join(directory, "key.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
         "subjectAltName=DNS:localhost", "-keyout", key, "-out", cert], check=True, capture_output=True)
    agg = Agg(directory, "secured", """<source>
  @type forward
  port %d
  bind 127.0.0.1
  <transport tls>
    cert_path %s
    private_key_path %s
  </transport>
  <security>
    self_hostname server.example
    shared_key s3cret
    user_auth true
    allow_anonymous_source false
    <user>
      username u
      password p
    </user>
    <client>
      network 127.0.0.0/8
      users u
    </client>
  </security>
</source>
""" % (port, cert, key) + output(path))
    wait_port(port)
    tls = ssl.create_default_context(cafile=cert)
    client = Client(port, tls)
    check("handshake over TLS", client.handshake("s3cret", "u", "p"))
    client.send("tls.x", packed(N), {"chunk": "c"})
    check("acknowledged over TLS", client.read() == {"ack": "c"})
    client.close()
    expect("TLS", path + ".log", [("tls.x", i) for i in range(N)])
    for name, arguments in [("key", ("wrong", "u", "p")), ("password", ("s3cret", "u", "wrong")), ("user", ("s3cret", "v", "p"))]:
        client = Client(port, tls)
        check("a wrong %s is refused" % name, not client.handshake(*arguments))
        try:
            client.send("tls.bad", packed(1))
            check("and hung up on (%s)" % name, client.read() is None)
        except OSError:
            pass
        client.close()

    # agg's own output, with the same handshake and TLS.
    sink, front, file = path, free_port(), os.path.join(directory, "front")
    relay = Agg(directory, "front", """<source>
  @type forward
  port %d
  bind 127.0.0.1
</source>
<match **>
  @type forward
  require_ack_response true
  compress zstd
  keepalive true
  transport tls
  tls_cert_path %s
  <security>
    self_hostname relay.example
    shared_key s3cret
  </security>
  <server>
    host 127.0.0.1
    name localhost
    port %d
    username u
    password p
  </server>
  <buffer tag>
    @type file
    path %s
    flush_interval 0
    retry_wait 0.2
    retry_max_interval 1
  </buffer>
</match>
""" % (front, cert, port, file))
    wait_port(front)
    logger = sender.FluentSender("relay", host="127.0.0.1", port=front)
    for i in range(N):
        logger.emit("x", {"i": i})
        if i == N // 3:
            agg.stop(signal.SIGKILL)
        if i == N // 2:
            agg.start()
        if i % 50 == 0:
            time.sleep(0.01)
    logger.close()
    expect("relayed over TLS, the receiver killed meanwhile", sink + ".log", [("relay.x", i) for i in range(N)], 60)
    relay.stop()
    agg.stop()


with tempfile.TemporaryDirectory(prefix="agg-interop-") as directory:
    try:
        plain_clients(directory)
        secured(directory)
    finally:
        if FAILURES or sys.exc_info()[0]:
            for name in sorted(os.listdir(directory)):
                if name.endswith(".daemon"):
                    with open(os.path.join(directory, name), errors="replace") as f:
                        print("--- %s\n%s" % (name, "".join(f.readlines()[-20:])))
sys.exit(1 if FAILURES else 0)
