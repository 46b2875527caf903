"""SIPp as the other end of a call: a scenario file, run against the box or waiting for it."""
import csv
import itertools
import pathlib
import re
import socket
import subprocess

import programs
from waiting import until

SCENARIOS = pathlib.Path(__file__).resolve().parent / "scenarios"
_numbers = itertools.count(1)


def free_port(ip, kind=socket.SOCK_DGRAM):
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((ip, 0))
        return probe.getsockname()[1]


class Sipp:
    """Starts at once. Media goes to `rtp` (ours); SIPp itself only signals.

    keys      [name] in the scenario
    logged    lines that the scenario wrote with <log>
    """

    def __init__(self, directory, scenario, box=None, *, ip="127.0.0.2", port=None, transport="udp", service="100", rtp=None, keys=None,
                 calls=1, rate=None, at_once=None, hold_ms=None, timeout=40, addresses=None, user=None, password=None):
        self.base = pathlib.Path(directory) / f"sipp{next(_numbers)}"
        self.ip, self.port, self.timeout, self.scenario = ip, port or free_port(ip), timeout, scenario
        self.address = f"{ip}:{self.port}"
        keys = dict(keys or {})
        if rtp is not None:
            keys.update(rtp_ip=rtp.ip, rtp_port=rtp.port)
        command = [programs.program("sipp"), "-sf", str(SCENARIOS / scenario), "-i", ip, "-p", str(self.port),
                   "-t", "u1" if transport == "udp" else "t1", "-m", str(calls), "-s", service, "-nostdin",
                   "-timeout", str(timeout), "-timeout_error", "-deadcall_wait", "0", "-timer_resol", "1", "-max_socket", "2000",
                   "-trace_err", "-error_file", f"{self.base}.err", "-trace_logs", "-log_file", f"{self.base}.log",
                   "-trace_stat", "-stf", f"{self.base}.csv", "-fd", "1", "-trace_msg", "-message_file", f"{self.base}.msg"]
        if calls > 20:
            command = [word for word in command if word not in ("-trace_msg", "-message_file", f"{self.base}.msg")]
        for name, value in keys.items():
            command += ["-key", name, str(value)]
        for option, value in (("-r", rate), ("-l", at_once), ("-d", hold_ms), ("-inf", addresses), ("-au", user), ("-ap", password)):
            if value is not None:
                command += [option, str(value)]
        if box is not None:
            host, number = (box.udp if transport == "udp" else box.tcp) if hasattr(box, "udp") else box
            command.append(f"{host}:{number}")
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=open(f"{self.base}.out", "w"),
                                        stderr=subprocess.STDOUT, cwd=directory)
        if box is None:
            until(self._listening, 5, lambda: f"SIPp listening at {self.address}\n{self.trouble()}")

    def _listening(self):
        """Whether the port is taken, read off the kernel's table."""
        assert self.process.poll() is None, f"SIPp ended early:\n{self.trouble()}"
        packed = "".join(f"{int(part):02X}" for part in reversed(self.ip.split("."))) + f":{self.port:04X}"
        return any(packed in open(table).read() for table in ("/proc/net/udp", "/proc/net/tcp"))

    def text(self, kind):
        path = pathlib.Path(f"{self.base}.{kind}")
        return path.read_text(errors="replace") if path.exists() else ""

    def trouble(self):
        return f"--- {self.scenario} errors\n{self.text('err')[-3000:]}\n--- its messages\n{self.text('msg')[-5000:]}"

    @property
    def logged(self):
        return self.text("log").splitlines()

    def wait_logged(self, pattern, timeout=8.0):
        """The first match of `pattern` in what the scenario logged."""
        def found():
            match = re.search(pattern, self.text("log"), re.M)
            if not match and self.process.poll() is not None:
                raise AssertionError(f"SIPp ended with {self.process.poll()} before it logged {pattern!r}\n{self.trouble()}")
            return match
        return until(found, timeout, lambda: f"SIPp's log line {pattern!r}\n{self.trouble()}")

    def finish(self, timeout=None):
        """Waits for the end; every call must have gone as the scenario says."""
        try:
            code = self.process.wait(timeout or self.timeout + 5)
        except subprocess.TimeoutExpired:
            self.stop()
            raise AssertionError(f"SIPp still ran after {timeout or self.timeout + 5} s\n{self.trouble()}")
        assert code == 0, f"SIPp ended with {code}\n{self.trouble()}"
        return self

    def stats(self):
        """Cumulated figures of the last line of SIPp's statistics."""
        with open(f"{self.base}.csv") as file:
            rows = list(csv.DictReader(file, delimiter=";"))
        last = rows[-1] if rows else {}
        figure = {"ok": "SuccessfulCall(C)", "failed": "FailedCall(C)", "retransmitted": "Retransmissions(C)", "created": "TotalCallCreated", "now": "CurrentCall"}
        return {name: int(float(last.get(column) or 0)) for name, column in figure.items()}

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
