"""A WSGI application behind the server of Python's own library, and what every such application here keeps."""
import socketserver
import threading
import time
import wsgiref.simple_server
from dataclasses import dataclass, field
from urllib.parse import parse_qsl
from wsgiref.util import request_uri

from waiting import until


@dataclass
class Seen:
    """One request as the application saw it."""
    at: float
    method: str
    path: str
    url: str                            # as it was asked for, with its query
    query: list                         # [(name, value), ...]
    body: bytes = b""
    headers: dict = field(default_factory=dict)     # names in lower case
    valid: bool = None                  # whether its signature was good; None where none is asked for

    @property
    def form(self):
        """The fields of the body: [(name, value), ...]"""
        is_form = self.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
        return parse_qsl(self.body.decode(), keep_blank_values=True) if is_form else []

    @property
    def fields(self):
        """The fields of query and body together."""
        return dict(self.query + self.form)


class Application:
    """Calls `answer(seen)`, which gives (status, content type, body); remembers every request."""

    def __init__(self):
        self.requests, self._lock = [], threading.Lock()
        self.server = None              # set while it is served

    def __call__(self, environ, start_response):
        seen = _seen(environ)
        with self._lock:
            self.requests.append(seen)
        try:
            status, kind, body = self.answer(seen)
        except Exception as error:      # what a framework does: the client is told nothing
            self.failures = [*getattr(self, "failures", []), error]
            status, kind, body = 500, "text/plain", b"internal error"
        body = body if isinstance(body, bytes) else body.encode()
        headers = [("Content-Length", str(len(body)))] + ([("Content-Type", kind)] if kind else [])
        start_response(f"{status} Because", headers)
        return [body]

    def seen(self, path):
        with self._lock:
            return [request for request in self.requests if request.path == path]

    def wait_for(self, path, count=1, timeout=5.0):
        """The `count`-th request of `path`."""
        until(lambda: len(self.seen(path)) >= count, timeout,
              lambda: f"request {count} of {path} (saw {[(r.method, r.path, r.valid) for r in self.requests]})")
        return self.seen(path)[count - 1]


def _seen(environ):
    query = environ.get("QUERY_STRING", "")
    path = environ.get("PATH_INFO", "/")
    length = int(environ.get("CONTENT_LENGTH") or 0)
    headers = {name[5:].replace("_", "-").lower(): value for name, value in environ.items() if name.startswith("HTTP_")}
    headers["content-type"] = environ.get("CONTENT_TYPE") or ""
    return Seen(time.monotonic(), environ["REQUEST_METHOD"], path, request_uri(environ), parse_qsl(query, keep_blank_values=True),
                environ["wsgi.input"].read(length) if length else b"", headers)


class _Server(socketserver.ThreadingMixIn, wsgiref.simple_server.WSGIServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_):         # a client that went away is no news
        pass


class _Quiet(wsgiref.simple_server.WSGIRequestHandler):
    def log_message(self, *_):
        pass


class WsgiServer:
    """Serves an application at a free port until it is closed."""

    def __init__(self, application, ip="127.0.0.1", port=0):
        self.application = application
        self._server = wsgiref.simple_server.make_server(ip, port, application, _Server, _Quiet)
        self.authority = "{}:{}".format(*self._server.server_address[:2])
        application.server = self
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def url(self, path):
        return f"http://{self.authority}{path}"

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        assert not getattr(self.application, "failures", []), f"the application failed: {self.application.failures}"
