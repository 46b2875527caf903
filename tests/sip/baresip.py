"""baresip as a phone on the desk: registers, calls, answers, speaks from a file and keeps what it hears.

Its module sndfile keeps the sound; aubridge stands in for a loudspeaker.

It is told what to do over its control connection (module ctrl_tcp: netstrings of JSON).
"""
import json
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time

import audio
import programs
from sipp import free_port
from waiting import until

MODULE_FOLDERS = ("/usr/lib/baresip/modules", "/usr/local/lib/baresip/modules")
MODULES = ("g711.so", "uuid.so", "account.so", "contact.so", "menu.so", "ctrl_tcp.so", "aufile.so", "aubridge.so", "sndfile.so")
APPLICATIONS = ("account.so", "contact.so", "menu.so", "ctrl_tcp.so", "mwi.so", "presence.so")


def free_sip_port():
    """A port that is free by UDP and TCP, and so is the next, which baresip takes for TLS."""
    for _ in range(100):
        port = free_port("127.0.0.1")
        try:
            for number in (port, port + 1):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", number))
        except (OSError, OverflowError):
            continue
        return port
    raise AssertionError("no two free ports in a row")


class Baresip:
    def __init__(self, user, password, box, *, says=None, answers="manual", codecs=("PCMU",), transport="udp", more_modules=(), account="", contacts="", registers_late=False):
        """`says`: a WAV file to speak (8 kHz). `answers`: "manual" or "auto". `more_modules`, `account`, `contacts`: what it has beside the usual.

        `registers_late`: it learns of its account when it runs already. The module mwi of version 1.0 falls into an endless loop where a
        registration is accepted before the module's first millisecond is over.
        """
        # Its module sndfile cuts names of more than 127 bytes: a test's own folder is too deep.
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix=f"baresip-{user}-"))
        self.user = user
        self.port, self._control_port = free_sip_port(), free_port("127.0.0.1", socket.SOCK_STREAM)
        modules = next((folder for folder in MODULE_FOLDERS if pathlib.Path(folder, "aufile.so").exists()), None)
        if modules is None:
            raise programs.Missing("baresip's module aufile is not installed: apt-get install baresip-core")
        says = says or audio.write_wav(self.directory / "silence.wav", audio.silence(60))
        host, number = box.udp if transport == "udp" else box.tcp
        (self.directory / "config").write_text("\n".join([
            "poll_method epoll", f"sip_listen 127.0.0.1:{self.port}", "call_local_timeout 60", "call_max_calls 4",
            f"audio_path {self.directory}", "audio_player aubridge,nowhere", f"snd_path {self.directory}", f"audio_source aufile,{says}", "audio_alert aufile,/dev/null",
            "ausrc_srate 8000", "auplay_srate 8000", "ausrc_channels 1", "auplay_channels 1", "audio_txmode thread", "audio_buffer 20-160",
            "rtp_ports 20000-29999", "rtcp_mux no", "net_interface 127.0.0.1", "dns_server 127.0.0.1:9", f"module_path {modules}",
            f"ctrl_tcp_listen 127.0.0.1:{self._control_port}"] + [f"module{'_app' if m in APPLICATIONS else ''} {m}" for m in (*MODULES, *more_modules)]) + "\n")
        account = (
            f"<sip:{user}@{host}:{number};transport={transport}>;auth_user={user};auth_pass={password};answermode={answers};"
            f"audio_codecs={','.join(codecs)};regint=300;ptime=20{account}")
        (self.directory / "accounts").write_text("# none yet\n" if registers_late else account + "\n")
        (self.directory / "contacts").write_text(contacts)
        self.log_path = self.directory / "log"
        self.process = subprocess.Popen([programs.program("baresip"), "-f", str(self.directory)], stdin=subprocess.DEVNULL,
                                        stdout=open(self.log_path, "w"), stderr=subprocess.STDOUT, cwd=self.directory)
        self.events, self._arrived = [], threading.Condition()
        self._control = self._connect()
        threading.Thread(target=self._listen, daemon=True).start()
        if registers_late:
            self.command("uanew", account)

    def log(self):
        return self.log_path.read_text(errors="replace")

    def _connect(self):
        def attempt():
            assert self.process.poll() is None, f"baresip ended with {self.process.poll()}\n{self.log()}"
            try:
                return socket.create_connection(("127.0.0.1", self._control_port), 1)
            except OSError:
                return None
        return until(attempt, 10, lambda: f"baresip's control port\n{self.log()}", 0.05)

    def _listen(self):
        self._control.settimeout(None)
        buffer = b""
        while True:
            try:
                data = self._control.recv(65536)
            except OSError:
                return
            if not data:
                return
            buffer += data
            while b":" in buffer:
                size, _, rest = buffer.partition(b":")
                if len(rest) < int(size) + 1:
                    break
                event, buffer = json.loads(rest[:int(size)]), rest[int(size) + 1:]
                with self._arrived:
                    self.events.append(event)
                    self._arrived.notify_all()

    def command(self, name, parameters=""):
        text = json.dumps({"command": name, "params": parameters, "token": name}).encode()
        self._control.sendall(str(len(text)).encode() + b":" + text + b",")

    def wait_event(self, kind, timeout=10.0):
        """The next event of that type that no earlier wait has taken."""
        deadline = time.monotonic() + timeout
        with self._arrived:
            while True:
                for event in self.events:
                    if event.get("type") == kind:
                        self.events.remove(event)
                        return event
                left = deadline - time.monotonic()
                if left <= 0:
                    raise AssertionError(f"baresip {self.user}: no {kind} within {timeout:g} s; events {[e.get('type') or e for e in self.events]}\n{self.log()[-3000:]}")
                self._arrived.wait(left)

    def wait_registered(self, timeout=10.0):
        """By its log: it may have registered before its control connection was there."""
        until(lambda: re.search(r"200 OK .*\[\d+ binding", self.log()), timeout, lambda: f"baresip {self.user} registered\n{self.log()[-3000:]}")
        return self

    def dial(self, number):
        self.command("dial", number)
        return self

    def accept(self):
        self.command("accept")
        return self

    def hang_up(self):
        self.command("hangup")
        return self

    def heard_seconds(self):
        """How much it has heard in the call that is up."""
        files = sorted(self.directory.glob("dump-*-dec.wav"))
        return files[-1].stat().st_size / 2 / audio.RATE_HZ if files else 0

    def heard(self):
        """What came in during the latest call, as its module sndfile kept it; after the call's end."""
        files = sorted(self.directory.glob("dump-*-dec.wav"))
        assert files, f"baresip {self.user} kept no sound\n{self.log()[-3000:]}"
        return audio.read_wav(files[-1])[0]

    def press(self, digits):
        for digit in digits:
            self.command("sndcode", digit)

    def stop(self):
        if self.process.poll() is None:
            self.command("quit")
            try:
                self.process.wait(2)        # longer where nobody answers its last REGISTER
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._control.close()
        shutil.rmtree(self.directory, ignore_errors=True)       # a test may have stopped it already
