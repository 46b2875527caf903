"""Hundreds of RTP streams at once: ../bench/tools/rtptool.c, compiled here, timed by the kernel's own stamps."""
import json
import pathlib
import subprocess

import programs

SOURCE = pathlib.Path(__file__).resolve().parents[1] / "bench" / "tools" / "rtptool.c"


class Sink:
    """One socket on every loopback address; each simulated caller has an address of its own."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        tool = self.directory / "rtptool"
        if not tool.exists():
            subprocess.run([programs.program("cc"), "-O2", "-o", str(tool), str(SOURCE), "-lm"], check=True)
        self.process = subprocess.Popen([str(tool), "sink", "0"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self.ip, self.port = "127.0.0.1", int(self.process.stdout.readline().split()[1])

    def tell(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        assert answer.startswith("ok"), f"{command}: {answer}"

    def figures(self):
        path = self.directory / "figures.json"
        self.tell(f"dump {path}")
        return json.loads(path.read_text())

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
