#!/usr/bin/python3
"""What the process of a VoxEngine script costs, beside a process and an echo that do nothing. See ../README.md."""
import hashlib
import json
import os
import pathlib
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "sip"))
import box as boxes                 # noqa: E402
import programs                     # noqa: E402
from waiting import until           # noqa: E402

STARTS, MESSAGES, SESSIONS = 30, 3000, 32
KEY = "a key that is long enough"
SCRIPT = "VoxEngine.addEventListener(AppEvents.HttpRequest, (e) => e.content);"
BEGIN = {"now": 0, "t": "begin", "id": "1", "custom_data": "", "scripts": [{"name": "a.js", "text": SCRIPT}]}
CONTROL = {"now": 1, "t": "control", "id": 1, "method": "POST", "path": "/", "content": "x", "headers": []}


class Process:
    """A program with a socket as its standard input, as the daemon starts it."""

    def __init__(self, *command, stdout=subprocess.DEVNULL):
        self.socket, theirs = socket.socketpair()
        self.process = subprocess.Popen(command, stdin=theirs, stdout=theirs if stdout is None else stdout, env={"TZ": "UTC0"}, cwd="/")
        theirs.close()
        self.file = self.socket.makefile("rb")

    def ask(self, body):
        """A frame there, a frame back: least length first, as of the daemon."""
        self.socket.sendall(struct.pack("<I", len(body)) + body)
        return self.file.read(struct.unpack("<I", self.file.read(4))[0])

    def tell(self, message):
        answer = json.loads(self.ask(json.dumps(message).encode()))
        assert answer["fault"] is None, answer
        return answer

    def wait_idle(self):
        """Until it waits for a message: it is warm."""
        until(lambda: pathlib.Path(f"/proc/{self.process.pid}/wchan").read_text() in WAITING, 10, "a process that waits", 0.001)

    def close(self):
        self.file.close()
        self.socket.close()
        self.process.wait()


WAITING = ("unix_stream_read_generic", "unix_stream_data_wait")


def memory_kib(pid):
    """What it has written to, which is its own; and its share of all that it has."""
    fields = dict(line.split(":") for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    number = {name: int(value.split()[0]) for name, value in fields.items()}
    return number["Private_Dirty"], number["Pss"]


def timed(work):
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def middle_ms(work, count=STARTS):
    return statistics.median(timed(work) for _ in range(count)) * 1000


def alone(tipring, table):
    """One process, without a daemon."""
    def cold():
        process = Process(tipring, "script")
        process.tell(BEGIN)
        process.close()

    def warm():
        process = Process(tipring, "script")
        process.wait_idle()
        took.append(timed(lambda: process.tell(BEGIN)) * 1000)
        process.close()

    took = []
    bare = middle_ms(lambda: subprocess.run(["/bin/true"], check=True))
    table("start without a warm one, ms", middle_ms(cold), bare)
    for _ in range(STARTS):
        warm()
    table("start with a warm one, ms", statistics.median(took), bare)
    script, echo = Process(tipring, "script"), Process("/bin/cat", stdout=None)
    waiting = (script.wait_idle(), memory_kib(script.process.pid))[1]
    script.tell(BEGIN)
    body = json.dumps(CONTROL).encode()
    there_and_back, bare = (1000 * middle_ms(lambda one=one: one.ask(body), MESSAGES) for one in (script, echo))
    table("a message there and back, \u00b5s", there_and_back, bare)
    table("memory of its own, KiB", memory_kib(script.process.pid)[0], memory_kib(echo.process.pid)[0])
    table("the same of one that waits, KiB", waiting[0], memory_kib(echo.process.pid)[0])
    script.close()
    echo.close()


def together(directory, table):
    """As many sessions as there may be, begun and spoken to over HTTP by one client."""
    path = directory / "a.js"
    path.write_text(SCRIPT)
    box = boxes.Box(directory, boxes.config(
        directory, boxes.table("[web]", dict(http="127.0.0.1:0", https="off")), boxes.table("[account]", dict(id=7, name="bench", email="bench@bench.example")),
        boxes.table("[[api_key]]", dict(name="bench", sha256=hashlib.sha256(KEY.encode()).hexdigest())),
        boxes.table("[[flow]]", dict(name="bench", dialect="voxengine", numbers=["700"])),
        boxes.table("[[rule]]", dict(id=1, name="bench", flow="bench", scenarios=[str(path)]))))
    box.start()
    try:
        base = "http://" + box.status()["web"]["http"]
        start = f"{base}/platform_api/StartScenarios?account_id=7&api_key={KEY.replace(' ', '+')}&rule_id=1"

        def get(url, body=None):
            with urllib.request.urlopen(url, body, timeout=60) as answer:
                return answer.read()

        bare = middle_ms(lambda: get(f"{base}/platform_api/GetRules?account_id=7&api_key={KEY.replace(' ', '+')}"))
        urls, began = [], []

        def begin():
            urls.append(json.loads(get(start))["media_session_access_url"])
            assert get(urls[-1], b"x") == b"x"

        before = memory_kib(box.process.pid)[1]
        for _ in range(SESSIONS):
            began.append(timed(begin) * 1000)
        table("a session to its first answer, over HTTP, ms", statistics.median(began), bare)
        table(f"the slowest of {SESSIONS}, one after the other, ms", max(began), bare)
        asked = [timed(lambda url=url: get(url, b"x")) * 1000 for _ in range(10) for url in urls]
        table(f"a request to one of {SESSIONS}, ms", statistics.median(asked), bare)
        children = [int(pid) for pid in pathlib.Path(f"/proc/{box.process.pid}/task/{box.process.pid}/children").read_text().split()]
        processes = [memory_kib(pid) for pid in children if b"\0script" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()]
        table(f"all {len(processes)} processes, their share, MiB", sum(share for _, share in processes) / 1024, before / 1024)
    finally:
        box.kill()


def main():
    tipring = programs.tipring()

    def table(what, here, bare):
        print(f"{what:48} | {here:9.2f} | {bare:9.2f} | {here / bare:7.2f}", flush=True)

    print(f"{'what':48} | {'script':>9} | {'bare':>9} | {'ratio':>7}")
    alone(tipring, table)
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        together(pathlib.Path(directory), table)


if __name__ == "__main__":
    main()
