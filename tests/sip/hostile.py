"""Web servers that misbehave below HTTP: each connection is handed to a function of the test's."""
import socket
import ssl
import struct
import subprocess
import threading
import time

import programs

DRIP_S = 1


class HostileServer:
    """Accepts connections and lets `behave(connection, head, closing)` have each, after its request's head."""

    def __init__(self, behave, context=None):
        self.requests, self._closing, self._behave, self._context = [], threading.Event(), behave, context
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._listener.settimeout(0.1)
        self.port = self._listener.getsockname()[1]
        self.authority = f"127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, path):
        return f"{'https' if self._context else 'http'}://{self.authority}{path}"

    def _accept(self):
        while not self._closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                continue
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection:
            connection.settimeout(30)
            try:
                if self._context:
                    connection = self._context.wrap_socket(connection, server_side=True)
                head = b""
                while b"\r\n\r\n" not in head:
                    piece = connection.recv(65536)
                    if not piece:
                        return
                    head += piece
                self.requests.append((time.monotonic(), head))
                self._behave(connection, head, self._closing)
            except OSError:         # the box hung up, or the handshake failed: that is what it should do
                pass

    def close(self):
        self._closing.set()
        self._listener.close()


def never_answers(_connection, _head, closing):
    closing.wait(60)


def one_byte_a_second(connection, _head, closing):
    for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b"x" * 100:
        connection.sendall(bytes([byte]))
        if closing.wait(DRIP_S):
            return


def resets(connection, _head, _closing):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def answers(text):
    def behave(connection, _head, _closing):
        connection.sendall(text.encode())
    return behave


def hundred_mebibytes(status):
    def behave(connection, _head, _closing):
        connection.sendall(f"HTTP/1.1 {status} X\r\nContent-Length: {100 << 20}\r\n\r\n".encode())
        for _ in range(1600):
            connection.sendall(b"x" * 65536)
    return behave


def self_signed(directory):
    """A server's side of TLS with a certificate that nobody vouches for."""
    key, certificate = directory / "key.pem", directory / "certificate.pem"
    subprocess.run([programs.program("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
                    "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context
