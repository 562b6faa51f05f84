"""A DNS server for one name, and a daemon's view of the system in which only it is asked."""
import os
import shutil
import socket
import struct
import threading


class NameServer:
    """Answers A questions with `address`; `address` may be "nxdomain", "servfail" or "silent"."""

    def __init__(self, address, host="127.53.53.53"):
        self.address, self.host = address, host
        self.questions = 0
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((host, 53))
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                question, peer = self.socket.recvfrom(2048)
            except OSError:
                return
            if len(question) < 17:
                return  # closed
            end = question.index(0, 12)
            kind = struct.unpack(">H", question[end + 1:end + 3])[0]
            address = self.address
            self.questions += kind == 1
            if address == "silent":
                continue
            code = {"nxdomain": 3, "servfail": 2}.get(address, 0)
            has = code == 0 and kind == 1
            answer = question[:2] + struct.pack(">HHHHH", 0x8180 | code, 1, 1 if has else 0, 0, 0) + question[12:end + 5]
            if has:
                answer += b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 0, 4) + socket.inet_aton(address)
            self.socket.sendto(answer, peer)

    def close(self):
        # A close alone leaves the thread in recvfrom() with the port.
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()


def can_have_namespaces():
    return os.geteuid() == 0 and shutil.which("unshare") is not None and \
        os.system("unshare -m true >/dev/null 2>&1") == 0


def with_name_server(agg, folder, host):
    """A program that runs agg with `host` as its only name server, in a mount namespace of its own."""
    resolv, hosts, path = f"{folder}/resolv.conf", f"{folder}/hosts", f"{folder}/agg-with-names"
    with open(resolv, "w") as f:
        f.write(f"nameserver {host}\noptions timeout:1 attempts:1\n")
    with open(hosts, "w") as f:
        f.write("127.0.0.1 localhost\n")
    with open(path, "w") as f:
        f.write(f'#!/bin/sh\nexec unshare -m sh -c \'mount --bind {resolv} /etc/resolv.conf && mount --bind {hosts} /etc/hosts && '
                f'exec "$0" "$@"\' {agg} "$@"\n')
    os.chmod(path, 0o755)
    return path
