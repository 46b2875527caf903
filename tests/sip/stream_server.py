"""WebSocket servers as customers write them: they hear a call and speak in it."""
import base64
import json
import threading
import time

import audio
import programs
from dialects import fields
from waiting import until

LIKE = 0.9          # the jitter buffer lies between; other sounds are below 0.3


class StreamServer:
    """A WebSocket server that remembers what each connection told it; `behave(connection)` is run when one has said `start`."""

    def __init__(self, behave=None, ip="127.0.0.1", refuse=None):
        serve = programs.websockets()
        self.connections, self._behave = [], behave
        self._server = serve(self._serve, ip, 0, compression=None, process_request=refuse)
        self.authority = "{}:{}".format(*self._server.socket.getsockname()[:2])
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def url(self, path="/stream"):
        return f"ws://{self.authority}{path}"

    def _serve(self, websocket):
        connection = Connection(websocket)
        self.connections.append(connection)
        connection.listen(self._behave)

    def connection(self, number=1, timeout=5.0):
        until(lambda: len(self.connections) >= number, timeout, f"WebSocket connection {number}")
        return self.connections[number - 1]

    def close(self):
        for connection in self.connections:
            connection.socket.close()
        self._server.shutdown()
        failures = [connection.failure for connection in self.connections if connection.failure]
        assert not failures, f"a server failed: {failures}"


class Connection:
    def __init__(self, websocket):
        self.socket, self.messages, self.closed, self.failure = websocket, [], threading.Event(), None
        self.path, self.request_headers = websocket.request.path, websocket.request.headers

    def listen(self, behave):
        try:
            for text in self.socket:
                message = json.loads(text)
                self.messages.append((time.monotonic(), message))
                if message["event"] == "start" and behave:
                    threading.Thread(target=self._behave, args=(behave,), daemon=True).start()
        except Exception:               # a connection that broke off is looked at by the test
            pass
        finally:
            self.closed.set()

    def _behave(self, behave):
        try:
            behave(self)
        except Exception as error:      # the box may hang up in the middle of a sentence
            if not self.closed.wait(2):
                self.failure = error

    # -------------------------------------------------------------- what it was told

    def of(self, event):
        return [message for _, message in list(self.messages) if message["event"] == event]

    def wait_for(self, event, count=1, timeout=5.0):
        until(lambda: len(self.of(event)) >= count, timeout, lambda: f"message {count} of {event!r} (told {sorted({m['event'] for _, m in self.messages})})")
        return self.of(event)[count - 1]

    def wait_closed(self, timeout=5.0):
        assert self.closed.wait(timeout), f"the connection is still open after {timeout:g} s"

    @property
    def sid(self):
        return self.wait_for("start")["streamSid"]

    def heard(self, track="inbound"):
        payload = b"".join(base64.b64decode(m["media"]["payload"]) for m in self.of("media") if m["media"]["track"] == track)
        return audio.decode(payload)

    # -------------------------------------------------------------- what it says

    def tell(self, event, **parts):
        self.socket.send(json.dumps({"event": event, "streamSid": self.sid, **parts}))

    def say(self, pcm, piece=160):
        payload = audio.encode(pcm)
        for at in range(0, len(payload), piece):
            self.tell("media", media={"payload": base64.b64encode(payload[at:at + piece]).decode()})

    def mark(self, name):
        self.tell("mark", mark={"name": name})


def told_events(server, path="/status", name="StreamEvent"):
    return [fields(request).get(name) for request in server.seen(path)]
