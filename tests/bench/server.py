"""The server under test: a profile (peers/NAME/profile.json) filled in, started, watched and ended."""
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time

import figures

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "sip"))


def free_port(kind=socket.SOCK_DGRAM):
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class NotHere(Exception):
    """The profile's server is not on this machine."""


class Server:
    def __init__(self, name, lab):
        self.folder, self.lab = HERE / "peers" / name, lab
        text = (self.folder / "profile.json").read_text()
        raw = json.loads(text)
        if not os.environ.get(raw["needs"]):
            raise NotHere(f"{name}: ${raw['needs']} is not set")
        self.name, self.process, self.ready_s = raw["name"], None, None
        self.root = os.path.expandvars(raw["root"]).rstrip("/")
        base = "/bench" if self.root else str(lab)
        self.port, self.caller_port, self.callee_port, self.hook_port = free_port(), free_port(), free_port(), free_port(socket.SOCK_STREAM)
        self.words = {"CONF": f"{base}/{self.name}", "PROMPTS": f"{base}/prompts", "PORT": str(self.port), "UACPORT": str(self.caller_port),
                      "UASPORT": str(self.callee_port), "HOOKPORT": str(self.hook_port), "HOOK": f"http://127.0.0.1:{self.hook_port}/call"}
        self.profile = json.loads(self._filled(text))
        self.address = f"127.0.0.1:{self.port}"

    def _filled(self, text):
        text = re.sub(r"@([A-Z]+)@", lambda m: self.words.get(m[1], m[0]), text)
        return re.sub(r"\$\{([A-Z_]+)\}", lambda m: os.environ.get(m[1], m[0]), text)

    def on_host(self, path):
        return pathlib.Path(self.root + path)

    def number(self, flow):
        return self.profile["numbers"].get(flow)

    def version(self):
        command = (["chroot", self.root] if self.root else []) + self.profile["version"]
        done = subprocess.run(command, capture_output=True, text=True)
        return ((done.stdout + done.stderr).strip().splitlines() or [""])[0]

    def _lay_out(self, prompts):
        """Configuration and prompts, where the server will look for them."""
        target = self.on_host(self.words["CONF"])
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for path in (self.folder / "conf").iterdir():
            (target / path.name).write_text(self._filled(path.read_text()))
        for path in self.profile["mkdirs"]:
            self.on_host(path).mkdir(parents=True, exist_ok=True)
        if self.on_host(self.words["PROMPTS"]) != prompts:
            shutil.copytree(prompts, self.on_host(self.words["PROMPTS"]), dirs_exist_ok=True)
        if self.root:       # a server that looks up its own name must find it
            hosts, line = self.on_host("/etc/hosts"), f"127.0.0.1 localhost {socket.gethostname()}\n"
            if not hosts.exists() or socket.gethostname() not in hosts.read_text():
                hosts.write_text(line)

    def start(self, prompts, cpus):
        """Starts it and asks OPTIONS until it answers."""
        self._lay_out(prompts)
        command = ["taskset", "-c", cpus] + (["chroot", self.root] if self.root else []) + self.profile["start"]
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        self.output = self.lab / f"{self.name}.out"
        began = time.monotonic()
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=open(self.output, "w"), stderr=subprocess.STDOUT, cwd="/",
                                        start_new_session=True, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files)))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
            asker.bind(("127.0.0.1", 0))
            asker.settimeout(0.005)
            me, number = asker.getsockname()[1], 0
            while time.monotonic() - began < 60:
                number += 1
                text = (f"OPTIONS sip:ping@{self.address} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{me};branch=z9hG4bKb{number}\r\n"
                        f"From: <sip:b@127.0.0.1>;tag=t{number}\r\nTo: <sip:ping@127.0.0.1>\r\nCall-ID: o{number}{me}\r\nCSeq: {number} OPTIONS\r\n"
                        f"Contact: <sip:b@127.0.0.1:{me}>\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n")
                try:
                    asker.sendto(text.encode(), ("127.0.0.1", self.port))
                    if asker.recv(4000).startswith(b"SIP/2.0"):
                        self.ready_s = time.monotonic() - began
                        break
                except (socket.timeout, ConnectionError):
                    pass
                try:
                    raise RuntimeError(f"{self.name} ended with {self.process.wait(0.002)}: {self.output.read_text()[-2000:]}")
                except subprocess.TimeoutExpired:
                    pass
            else:
                raise RuntimeError(f"{self.name} never answered SIP; see {self.output}")
        self._register_callees()
        return self.ready_s

    def _register_callees(self):
        """Where bridged calls go to phones, they are registered at the callee's port."""
        if not self.profile.get("registers"):
            return
        from sip_party import SipParty
        for user, password in self.profile["registers"]:
            phone = SipParty("127.0.0.1", user=user, password=password, box=("127.0.0.1", self.port))
            phone.register(None, expires=3600, contact=f"<sip:{user}@127.0.0.1:{self.callee_port}>")
            phone.close()

    def cpu_s(self):
        return figures.cpu_s(figures.tree(self.process.pid))

    def memory(self):
        return figures.memory(figures.tree(self.process.pid))

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def stop(self):
        if self.process is None:
            return
        try:
            for chosen, wait in ((getattr(signal, "SIG" + self.profile["stop"]), 14), (signal.SIGKILL, 3)):
                for pid in figures.tree(self.process.pid) if chosen == signal.SIGKILL else [self.process.pid]:
                    try:
                        os.kill(pid, chosen)
                    except OSError:
                        pass
                try:
                    self.process.wait(wait)
                    break
                except subprocess.TimeoutExpired:
                    pass
        finally:
            self.process = None
