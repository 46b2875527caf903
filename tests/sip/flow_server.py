"""A web server that answers with flow documents and sound, remembers every request, and can misbehave."""
import gzip
import http.server
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from urllib.parse import unquote

from waiting import until


@dataclass
class Answer:
    body: bytes = b""
    status: int = 200
    content_type: str = "application/xml"
    headers: list = field(default_factory=list)
    delay_s: float = 0              # before the first byte
    drip_s: float = 0               # one byte of the body each so many seconds
    reset: bool = False             # the connection is reset instead of an answer
    reset_after: int = None         # ... after so many bytes of the body
    length: int = None              # what Content-Length says, whatever is true
    repeat: int = 1                 # the body so many times over, without a length

    def __post_init__(self):
        if isinstance(self.body, str):
            self.body = self.body.encode()


@dataclass
class Request:
    at: float
    method: str
    path: str               # without the query
    query_text: str         # as it came
    headers: list           # (name, value) in order
    body: bytes

    @property
    def query(self):
        """The fields in the order sent, decoded: [(name, value), ...]"""
        pairs = (part.partition("=") for part in self.query_text.split("&") if part)
        return [(unquote(name), unquote(value)) for name, _, value in pairs]

    def header(self, name):
        return next((v for n, v in self.headers if n.lower() == name.lower()), None)


class FlowServer:
    def __init__(self, ip="127.0.0.1", port=0):
        self.answers, self.requests, self._lock = {}, [], threading.Lock()
        self._closing = threading.Event()
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            timeout = 30

            def handle_any(self):
                owner._serve(self)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = handle_any

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            request_queue_size = 512
            daemon_threads = True

            def handle_error(self, *_):     # a client that went away is no news
                pass

            def process_request(self, request, address):
                owner._open.add(request)
                super().process_request(request, address)

            def shutdown_request(self, request):
                owner._open.discard(request)
                super().shutdown_request(request)

        self._open = set()
        self._make = lambda address: Server(address, Handler)
        self._server = self._make((ip, port))
        self.ip, self.port = self._server.server_address
        self.authority = f"{self.ip}:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def url(self, path):
        return f"http://{self.authority}{path}"

    # -------------------------------------------------------------- what it answers

    def answer(self, path, *answers):
        """Successive requests of `path` get successive answers; the last one stays."""
        self.answers[path] = list(answers)

    def flow(self, path, *documents):
        """XML documents: what is inside <Response>, or whole documents."""
        self.answer(path, *[Answer(d if d.lstrip().startswith(("<Response", "<?xml")) else f"<Response>{d}</Response>") for d in documents])

    def sound(self, path, data, content_type="audio/wav"):
        self.answer(path, Answer(data, content_type=content_type))

    # -------------------------------------------------------------- what it saw

    def seen(self, path):
        with self._lock:
            return [r for r in self.requests if r.path == path]

    def wait_for(self, path, count=1, timeout=5.0):
        """The `count`-th request of `path`."""
        until(lambda: len(self.seen(path)) >= count, timeout,
              lambda: f"request {count} of {path} (saw {[(r.method, r.path) for r in self.requests]})")
        return self.seen(path)[count - 1]

    # -------------------------------------------------------------- being away

    def go_away(self):
        """Nothing listens at the address any more; kept connections are cut."""
        self._server.shutdown()
        self._server.server_close()
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def come_back(self):
        self._server = self._make((self.ip, self.port))
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    # -------------------------------------------------------------- serving

    def _serve(self, http_request):
        path, _, query = http_request.path.partition("?")
        length = int(http_request.headers.get("Content-Length") or 0)
        body = http_request.rfile.read(length) if length else b""
        if "chunked" in (http_request.headers.get("Transfer-Encoding") or ""):
            body = _read_chunks(http_request.rfile)
        seen = Request(time.monotonic(), http_request.command, path, query, list(http_request.headers.items()), body)
        with self._lock:
            self.requests.append(seen)
            queue = self.answers.get(path)
            answer = None if not queue else queue.pop(0) if len(queue) > 1 else queue[0]
        if answer is None:
            answer = Answer(b"not here", 404, "text/plain")
        if answer.delay_s and self._closing.wait(answer.delay_s):
            return
        if answer.reset:
            return _reset(http_request)
        http_request.send_response(answer.status)
        if answer.content_type:
            http_request.send_header("Content-Type", answer.content_type)
        for name, value in answer.headers:
            http_request.send_header(name, value)
        if answer.repeat == 1:
            http_request.send_header("Content-Length", str(len(answer.body) if answer.length is None else answer.length))
        else:
            http_request.send_header("Connection", "close")
            http_request.close_connection = True
        http_request.end_headers()
        if answer.drip_s:
            for byte in answer.body:
                http_request.wfile.write(bytes([byte]))
                http_request.wfile.flush()
                if self._closing.wait(answer.drip_s):
                    return
        elif answer.reset_after is not None:
            http_request.wfile.write(answer.body[:answer.reset_after])
            http_request.wfile.flush()
            _reset(http_request)
        else:
            for _ in range(answer.repeat):
                http_request.wfile.write(answer.body)
        if answer.length is not None and answer.length != len(answer.body):
            http_request.close_connection = True

    def close(self):
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()


def _reset(http_request):
    http_request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    http_request.close_connection = True
    http_request.connection.close()


def _read_chunks(file):
    body = b""
    while True:
        size = int(file.readline().split(b";")[0] or b"0", 16)
        body += file.read(size)
        file.readline()
        if size == 0:
            return body


def gzipped(data, level=9):
    return gzip.compress(data, level)
