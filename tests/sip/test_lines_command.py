"""`tipring lines`: how lines stand, what happens at their ports, and trying them out without a call."""
import json
import os
import signal
import subprocess
import threading

import analog
import audio
import programs
from box import phone
from countries import country
from flow_server import Answer
from waiting import until

US = country("us")


def office(tipring, card, server):
    """A line of the exchange and a telephone at a card: (box, exchange, telephone)."""
    server.answer("/flow", Answer("<Response><Pause length='60000'/></Response>"))
    card1 = card("LP")
    box = tipring(analog.exchange_line(card1.port(1), flow="office", number="5551000"), analog.telephone(card1.port(2), "201", dial_out=["wall"]), phone("202"), devices=[card1])
    return box, card1.exchange(1), card1.telephone(2)


class Command:
    """`tipring lines ...`, running; its lines as they come."""

    def __init__(self, box, *arguments):
        self.process = subprocess.Popen([programs.tipring(), "lines", "--socket", str(box.socket_path), *arguments], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                        # A shell that runs the tests in the background has it ignored.
                                        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
        self.lines = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def finish(self, timeout=20):
        """Exit code and all that it said."""
        code = self.process.wait(timeout)
        self._thread.join(2)
        return code, "\n".join(self.lines), self.process.stderr.read()

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        self.process.wait(5)
        self._thread.join(2)
        self.process.stdout.close()
        self.process.stderr.close()


def test_lines_and_how_they_stand(tipring, card, server):
    """Shows: ls and show, for people and as JSON: port, wire, last caller, answer and end; a line that there is not."""
    box, exchange, telephone = office(tipring, card, server)
    telephone.lift()
    telephone.hears(US.dial)
    listed = {line["name"]: line for line in json.loads(box.run("lines", "ls", "--json", check=0).stdout)}
    assert (listed["wall"]["kind"], listed["wall"]["state"], listed["wall"]["port"]["port"]) == ("fxo", "up", "card1/1")
    assert listed["phone201"]["port"]["wire"] == "off-hook" and listed["wall"]["port"]["wire"] == "on-hook", listed
    shown = box.run("lines", "ls", check=0).stdout
    assert all(name in shown for name in ("wall", "phone201", "desk202", "card1/2"))
    telephone.hang_up()
    exchange.rings(US, "5550100", "Zoe")
    exchange.seized()
    exchange.ends(US)
    exchange.released()
    box.cdr()
    wall = json.loads(box.run("lines", "show", "wall", "--json", check=0).stdout)["port"]
    assert (wall["last_caller"]["number"], wall["last_caller"]["name"], wall["last_caller"]["standard"]) == ("5550100", "Zoe", "bellcore")
    assert wall["last_end"] == "busy-tone" and wall["calls_in"] == 1
    text = box.run("lines", "show", "wall", check=0).stdout
    assert "5550100" in text and "busy-tone" in text
    gone = box.run("lines", "show", "nothing")
    assert gone.returncode != 0 and "TR-CONTROL-NO-LINE" in gone.stderr


def test_what_happens_is_watched(tipring, card, server, _kept):
    """Shows: watch tells lifting, keys and the call as they happen, of one line alone if so asked, as JSON, and what was before."""
    box, exchange, telephone = office(tipring, card, server)
    watch = _kept.add(Command(box, "watch", "phone201", "--json", "--all"))
    until(lambda: watch.lines, 15, "that the line is up")
    telephone.lift()
    until(lambda: any("off hook" in line or "lifted" in line for line in watch.lines), 15, lambda: f"the lifting (told {watch.lines})")
    telephone.hears(US.dial)
    telephone.press("202")
    until(lambda: any(json.loads(line)["kind"] == "event" or "202" in line for line in watch.lines), 15, lambda: f"the call (told {watch.lines})")
    telephone.hang_up()
    assert {json.loads(line)["line"] for line in watch.lines} == {"phone201"}
    box.cdr()
    everything = _kept.add(Command(box, "watch", "--all"))
    until(lambda: any("phone201" in line for line in everything.lines), what="what happened before")


def test_a_telephone_is_rung_without_a_call(tipring, card, server):
    """Shows: ring: the bell rings so long as asked; lifted, it is over; while there is a call it is refused."""
    box, _, telephone = office(tipring, card, server)
    box.run("lines", "ring", "phone201", "--seconds", "1", check=0)
    assert telephone.device.count("ring", on=True) == 1
    telephone.expect("ring", on=False)
    assert box.cdrs() == []
    telephone.forget()
    telephone.lift()
    telephone.hears(US.dial)
    refused = box.run("lines", "ring", "phone201")
    assert refused.returncode != 0 and "TR-PORT-REFUSED" in refused.stderr
    telephone.hang_up()


def test_a_telephone_hears_a_tone_to_measure(tipring, card, server, _kept):
    """Shows: tone: 1,004 Hz at -10 dBm0 in a lifted receiver."""
    box, _, telephone = office(tipring, card, server)
    telephone.forget()
    telephone.lift()
    telephone.hears(US.dial)
    telephone.forget()
    tone = _kept.add(Command(box, "tone", "phone201", "--tone", "level"))
    heard = telephone.wait_heard(lambda pcm: audio.is_tone(pcm, (1004,)), "1004 Hz")
    # A sine of -10 dBm0, full scale being 3.14 dBm0, is 13.14 dB below a full one, whose mean power is -3 dB.
    assert abs(audio.level_dbfs(heard[-4000:]) - (-10 - 3.14 - 3.01)) < 1
    telephone.hang_up()
    tone.finish()


def test_a_line_of_the_exchange_is_measured(tipring, card, server, _kept):
    """Shows: test: it is taken, volts, dial tone and noise are measured, it is let go; a call that rings meanwhile has it."""
    box, exchange, _ = office(tipring, card, server)
    test = _kept.add(Command(box, "test", "wall", "--json"))
    exchange.seized()
    exchange.plays(US.dial)
    exchange.expect("digit", 30)
    exchange.silence()
    code, text, errors = test.finish(40)
    assert code == 0, errors
    report = json.loads(text)
    assert 0 < report["dial_tone_ms"] < 5000 and report["noise_dbm0"] < -60, report
    exchange.released()
    assert box.cdrs() == []


def test_the_last_minute_of_a_wire_is_saved(tipring, card, server, tmp_path):
    """Shows: save: what was said at the telephone is in a WAV, and what happened in a text beside it."""
    box, _, telephone = office(tipring, card, server)
    telephone.lift()
    telephone.hears(US.dial)
    words = audio.voice(1.5, seed=88)
    telephone.say(words)
    file = tmp_path / "wire.wav"
    box.run("lines", "save", "phone201", str(file), check=0)
    pcm, _ = audio.read_wav(file)
    assert audio.likeness(words[:8000], pcm) >= 0.99
    assert os.path.getsize(tmp_path / "wire.txt") > 0
    telephone.hang_up()
