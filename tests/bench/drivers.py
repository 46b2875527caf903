"""What drives and measures a server: prompts, the web server, SIPp, and the RTP sink (tools/rtptool.c)."""
import asyncio
import csv
import itertools
import json
import pathlib
import re
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
CALLEE_MEDIA_IP = "127.200.0.1"
_numbers = itertools.count(1)


def needed(name, package):
    path = shutil.which(name)
    if not path:
        sys.exit(f"{name} is not installed: apt-get install {package}")
    return path


# ------------------------------------------------------------------ prompts


def prompts(folder):
    """p10 and p1: 10 s and 1 s at 8 kHz, as WAV and as raw µ-law."""
    sys.path.insert(0, str(HERE.parent / "sip"))
    import audio
    folder.mkdir(parents=True, exist_ok=True)
    for name, seconds in (("p10", 10), ("p1", 1)):
        pcm = audio.voice(seconds, seed=seconds)
        audio.write_wav(folder / f"{name}.wav", pcm)
        for ending in ("ulaw", "PCMU"):
            (folder / f"{name}.{ending}").write_bytes(audio.encode(pcm))
    return folder


def addresses(path):
    """One media address for each call: 127.16.0.1, 127.16.0.2, ..."""
    path.write_text("SEQUENTIAL\n" + "".join(f"127.{16 + (i >> 16)}.{i >> 8 & 255}.{i & 255};\n" for i in range(1, 30_000)))
    return path


# ------------------------------------------------------------------ RTP


def rtptool(lab):
    source, tool = HERE / "tools" / "rtptool.c", lab / "rtptool"
    if not tool.exists() or tool.stat().st_mtime < source.stat().st_mtime:
        subprocess.run([needed("cc", "gcc"), "-O2", "-o", str(tool), str(source), "-lm"], check=True)
    return str(tool)


class Sink:
    """Receives, times and sends RTP; see the head of rtptool.c for its commands."""

    def __init__(self, lab, cpus):
        self.lab = lab
        self.process = subprocess.Popen(["taskset", "-c", cpus, rtptool(lab), "sink", "0"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self.port, self.pid = int(self.process.stdout.readline().split()[1]), self.process.pid

    def tell(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()

    def figures(self):
        path = self.lab / "figures.json"
        self.tell(f"dump {path}")
        return json.loads(path.read_text())

    def first_arrivals(self):
        """Nanoseconds of the first packet, by media address."""
        path = self.lab / "first.txt"
        self.tell(f"first {path}")
        found = {}
        for line in path.read_text().splitlines():
            address, ns = line.split()
            found[address] = min(int(ns), found.get(address, 1 << 62))
        return found

    def stop(self):
        self.process.kill()
        self.process.wait()


# ------------------------------------------------------------------ SIP


class Sipp:
    def __init__(self, lab, cpus, scenario, port, sink, remote=None, calls=None, rate=None, period_ms=1000, at_once=None, number=None, keys=(), hold_ms=None, timeout=120):
        self.base = lab / f"sipp{next(_numbers)}"
        command = ["taskset", "-c", cpus, needed("sipp", "sip-tester"), "-sf", str(HERE / "scenarios" / scenario), "-i", "127.0.0.1", "-p", str(port), "-nostdin",
                   "-trace_stat", "-stf", f"{self.base}.csv", "-fd", "1", "-key", "rtpport", str(sink.port), "-key", "bip", CALLEE_MEDIA_IP, "-timeout", str(timeout),
                   "-deadcall_wait", "0", "-max_socket", "1000", "-trace_err", "-error_file", f"{self.base}.err", "-timer_resol", "1",
                   "-trace_logs", "-log_file", f"{self.base}.log"]
        for option, value in (("-m", calls), ("-r", rate), ("-l", at_once), ("-s", number), ("-d", hold_ms)):
            if value is not None:
                command += [option, str(value)]
        if rate:
            command += ["-rp", str(period_ms)]
        if remote:
            command += ["-inf", str(addresses(lab / "addresses.csv")), remote]
        for key, value in keys:
            command += ["-key", key, str(value)]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=open(f"{self.base}.out", "w"), stderr=subprocess.STDOUT, cwd=lab)
        self.pid = self.process.pid

    def wait(self, seconds):
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.stop()

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def stats(self):
        try:
            with open(f"{self.base}.csv") as file:
                last = list(csv.DictReader(file, delimiter=";"))[-1]
        except (OSError, IndexError):
            return {"ok": 0, "failed": -1, "repeated": 0, "now": 0}
        figure = lambda name: int(float(last.get(name) or 0))
        return {"ok": figure("SuccessfulCall(C)"), "failed": figure("FailedCall(C)"), "repeated": figure("Retransmissions(C)"), "now": figure("CurrentCall")}

    def logged(self):
        path = pathlib.Path(f"{self.base}.log")
        return path.read_text().splitlines() if path.exists() else []


# ------------------------------------------------------------------ the web


def serve_web(port, kind, body, folder):
    """HTTP/1.1: /*.wav are the prompts, everything else gets the same answer."""
    def answer(content, kind):
        return f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\nCache-Control: max-age=3600\r\n\r\n".encode() + content

    instructions = answer(body.encode(), kind)
    files = {b"/" + path.name.encode(): answer(path.read_bytes(), "audio/wav") for path in pathlib.Path(folder).glob("*.wav")}

    class Connection(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport, self.buffer = transport, b""

        def data_received(self, data):
            self.buffer += data
            while True:
                head, gap, rest = self.buffer.partition(b"\r\n\r\n")
                if not gap:
                    return
                length = re.search(rb"content-length: *(\d+)", head.lower())
                size = int(length[1]) if length else 0
                if len(rest) < size:
                    return
                self.buffer = rest[size:]
                target = head.split(b" ", 2)[1].partition(b"?")[0]
                self.transport.write(files.get(target, instructions))

    async def main():
        server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", port, backlog=4096)
        print("ready", flush=True)
        await server.serve_forever()

    asyncio.run(main())


class Web:
    def __init__(self, server, folder, cpus):
        reply = server.profile["hook_reply"]
        command = ["taskset", "-c", cpus, sys.executable, str(HERE / "drivers.py"), str(server.hook_port), reply["type"], reply["body"], str(folder)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.pid = self.process.pid
        assert self.process.stdout.readline().strip() == "ready"

    def alive(self):
        return self.process.poll() is None

    def stop(self):
        self.process.kill()
        self.process.wait()


if __name__ == "__main__":
    serve_web(int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4])
