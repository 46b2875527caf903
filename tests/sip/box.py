"""One running tipring: its configuration, its start, what it says about itself, its end."""
import json
import os
import pathlib
import signal
import subprocess
import time

import programs
from waiting import until

READY_S = 10
STOP_S = 14             # calls may run on for 10 s after SIGTERM
PANIC_WORDS = ("panicked at", "stack overflow", "RUST_BACKTRACE", "AddressSanitizer")

# ------------------------------------------------------------------ configuration


def _toml(value):
    return json.dumps(value)        # strings, numbers, booleans and flat lists are the same in both


def table(head, keys):
    return "\n".join([head] + [f"{key} = {_toml(value)}" for key, value in keys.items() if value is not None]) + "\n"


def trunk(name="trunk1", host="127.0.0.2:5060", flow="office", peers=("127.0.0.2/32", "127.16.0.0/12"), codecs=("PCMU", "PCMA"), **keys):
    """A SIP trunk; calls arriving on it run `flow`."""
    return table("[[line]]", dict(name=name, kind="sip-trunk", host=host, peers=list(peers), codecs=list(codecs), flow=flow, **keys))


def phone(number, password="opensesame", name=None, codecs=("PCMU", "PCMA"), **keys):
    """A SIP phone with a number of its own."""
    return table("[[line]]", dict(name=name or f"desk{number}", kind="sip-phone", number=number, password=password, codecs=list(codecs), **keys))


def flow(name="office", url=None, dialect="opentact", **keys):
    """A flow, by default in Opentact's language and fetched from `url`. Of the other languages: `dialects`."""
    return table("[[flow]]", dict(name=name, dialect=dialect, url=url, **keys))


PHONES_FROM = ("127.0.0.1/32", "127.0.0.8/29", "127.0.0.16/28")      # where telephones are; 127.0.0.66 is not


def config(directory, *tables, calls_max=64, rtp="0", country="us", allow=(), udp="127.0.0.1:0", tcp="127.0.0.1:0", phones_from=PHONES_FROM, prewarm=False, patience=None, prompts_dir=None):
    return "\n".join([
        "schema = 1",
        table("[box]", dict(name="box-1", country=country, timezone="UTC", data_dir=str(directory / "data"),
                             control_socket=str(directory / "control.sock"), prompts_dir=prompts_dir and str(prompts_dir))),
        table("[sip]", dict(udp=udp, tcp=tcp, rtp_udp_ports=rtp, phones_from=list(phones_from))),
        table("[fetch]", dict(allow=list(allow), prewarm=prewarm, patience=patience)),
        table("[limits]", dict(calls_max=calls_max)),
        *tables])


# ------------------------------------------------------------------ the process


class Box:
    def __init__(self, directory, text, environment=None):
        self.environment = environment or {}
        self.directory = pathlib.Path(directory)
        (self.directory / "data").mkdir(parents=True, exist_ok=True)
        self.data = self.directory / "data"
        self.config_file = self.directory / "tipring.toml"
        self.config_file.write_text(text)
        self.socket_path = self.directory / "control.sock"
        self.log_path = self.directory / "tipring.log"
        self.process, self.udp, self.tcp = None, None, None
        self.calls_may_remain = False       # set by a test that leaves calls behind on purpose

    def start(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([programs.tipring(), "serve", "--config", str(self.config_file)],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.directory,
                                            env={**os.environ, "RUST_BACKTRACE": "1", **self.environment})
        deadline, status = time.monotonic() + READY_S, None
        while not (status and status.get("ready")):
            if self.process.poll() is not None:
                raise AssertionError(f"tipring ended with {self.process.returncode} before it was ready:\n{self.log()}")
            if time.monotonic() > deadline:
                raise AssertionError(f"tipring not ready within {READY_S} s; last status {status}:\n{self.log()}")
            status = self._status_or_none()
            try:
                self.process.wait(0.02)
            except subprocess.TimeoutExpired:
                pass
        self.udp, self.tcp = (_address(status["sip"].get(kind)) for kind in ("udp", "tcp"))
        return self

    def run(self, *arguments, timeout=20, check=None):
        """`tipring ARGUMENTS --socket ...`: the finished process, with text output."""
        done = subprocess.run([programs.tipring(), *arguments, "--socket", str(self.socket_path)],
                              capture_output=True, text=True, timeout=timeout, cwd=self.directory)
        if check is not None:
            assert done.returncode == check, f"tipring {' '.join(arguments)}: exit {done.returncode}, expected {check}\n{done.stdout}{done.stderr}"
        return done

    def _status_or_none(self):
        done = self.run("status", "--json")
        if done.returncode != 0:
            return None
        return json.loads(done.stdout)

    # -------------------------------------------------------------- what it says

    def status(self):
        return json.loads(self.run("status", "--json", check=0).stdout)

    def counter(self, name):
        return self.status()["counters"][name]

    def calls(self):
        return self.status()["calls"]

    def line(self, name):
        return next(line for line in self.status()["lines"] if line["name"] == name)

    def wait_lines_up(self, timeout=10.0):
        """Until every line at a device is up: at once where there is none."""
        def down():
            return [line["name"] for line in self.status()["lines"] if line["kind"] in ("fxs", "fxo") and line["state"] != "up"]

        until(lambda: not down(), timeout, lambda: f"lines that are up (down: {down()})", 0.05)

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def cdr_text(self):
        return "".join(path.read_text() for path in sorted((self.data / "cdr").glob("*.jsonl")))

    def cdrs(self):
        lines = self.cdr_text().split("\n")
        return [json.loads(line) for line in lines[:-1]]        # the last one may still be being written

    def cdr(self, number=1, timeout=5.0):
        """The `number`-th call record, waited for."""
        until(lambda: len(self.cdrs()) >= number, timeout, lambda: f"call record {number} (have {len(self.cdrs())})")
        return self.cdrs()[number - 1]

    def recordings(self):
        return sorted((self.data / "recordings").glob("*.wav")) if (self.data / "recordings").is_dir() else []

    def wait_idle(self, timeout=8.0):
        """Until no call, no leg and no media socket is left."""
        names = ("calls_active", "legs_active", "rtp_sockets")

        def left():
            counters = self.status()["counters"]
            return {name: counters.get(name, 0) for name in names if counters.get(name, 0)}

        until(lambda: not left(), timeout, lambda: f"everything released (left: {left()})", 0.05)

    # -------------------------------------------------------------- what it uses

    def memory_kb(self):
        for line in open(f"/proc/{self.process.pid}/status"):
            if line.startswith("VmRSS:"):
                return int(line.split()[1])

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    # -------------------------------------------------------------- its end

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def panic_lines(self):
        return [line for line in self.log().splitlines() if any(word in line for word in PANIC_WORDS)]

    def stop(self):
        """SIGTERM and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"tipring still ran {STOP_S} s after SIGTERM")

    def kill(self):
        if self.alive():
            self.process.kill()
            self.process.wait()

    def finish(self):
        """The end of a test: alive, nothing left over, no panic, exit code 0."""
        try:
            assert self.alive(), f"tipring died with {self.process.poll()}"
            if not self.calls_may_remain:
                self.wait_idle()
            code = self.stop()
            assert not self.panic_lines(), f"panic in the log: {self.panic_lines()[:3]}"
            assert code == 0, f"tipring ended with {code} on SIGTERM"
        finally:
            self.kill()


def _address(text):
    if not text:
        return None
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)
