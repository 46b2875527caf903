"""A web server that starts a script for each request (RFC 3875), as far as one script at one address needs it."""
import http.server
import json
import os
import pathlib
import subprocess
import sys
import threading

from waiting import until

SCRIPT_S = 10


class CgiServer:
    """`environment` is what the script finds besides the variables of the RFC; it may be changed between requests."""

    def __init__(self, script, log, ip="127.0.0.1", port=0, **environment):
        self.script, self.log = pathlib.Path(script), pathlib.Path(log)
        self.environment = {"OFFICE_LOG": str(log), **environment}
        self.errors = []
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def handle_any(self):
                owner._serve(self)

            do_GET = do_POST = handle_any

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer((ip, port), Handler)
        self._server.daemon_threads = True
        self.authority = "{}:{}".format(*self._server.server_address[:2])
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def url(self, path):
        return f"http://{self.authority}{path}"

    def _serve(self, request):
        path, _, query = request.path.partition("?")
        if path != "/script":
            return request.send_error(404)
        length = int(request.headers.get("Content-Length") or 0)
        variables = {"REQUEST_METHOD": request.command, "QUERY_STRING": query, "CONTENT_LENGTH": str(length or ""), "SCRIPT_NAME": path,
                     "CONTENT_TYPE": request.headers.get("Content-Type", ""), "GATEWAY_INTERFACE": "CGI/1.1", "SERVER_PROTOCOL": "HTTP/1.1"}
        done = subprocess.run([sys.executable, str(self.script)], input=request.rfile.read(length), capture_output=True, timeout=SCRIPT_S,
                              env={**os.environ, **variables, **self.environment})
        if done.returncode:
            self.errors.append(done.stderr.decode())
            return request.send_error(500)
        head, _, body = done.stdout.replace(b"\r\n\r\n", b"\n\n", 1).partition(b"\n\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
        request.send_response(int(headers.pop("Status", "200").split()[0]))
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    # -------------------------------------------------------------- what the script wrote down

    def seen(self, step=None):
        """The requests in order: {"method", "query", "posted", "text", "type"}"""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [one for one in map(json.loads, lines) if step is None or one["query"].get("step") == step]

    def wait_for(self, step, count=1, timeout=5.0):
        until(lambda: len(self.seen(step)) >= count, timeout, lambda: f"request {count} of {step} (saw {self.seen()})")
        return self.seen(step)[count - 1]

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        assert self.errors == [], f"the script failed: {self.errors}"
