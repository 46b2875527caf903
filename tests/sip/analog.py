"""Telephones and exchanges on two wires: a line card or a modem in software, and what a test does at its ports.

A `Simulator` is a running program that takes orders and tells events, a line of JSON each
(`firmware/testkit/src/linecard/README.md`). `Telephone` and `Exchange` are what is behind its ports.
"""
import itertools
import json
import pathlib
import subprocess
import threading
import time

import numpy as np

import audio
import caller_sound
import programs
from box import table
from waiting import until

LIMIT_S = 20            # whatever is waited for comes long before, unless it never comes
SYSTEM_ALSA = "/usr/share/alsa/alsa.conf"

# ------------------------------------------------------------------ configuration


def telephone(port, number, name=None, **keys):
    """A telephone at a phone port."""
    return table("[[line]]", dict(name=name or f"phone{number}", kind="fxs", port=port, number=number, **keys))


def exchange_line(port, name="wall", **keys):
    """A line of the exchange at a line port."""
    return table("[[line]]", dict(name=name, kind="fxo", port=port, **keys))


def environment(directory, devices):
    """What a box with these devices is started with: one ALSA configuration that has them all."""
    parts = [pathlib.Path(device.ready["alsa_config"]).read_text() for device in devices if device.ready.get("alsa_config")]
    if not parts:
        return {}
    own = [line for part in parts for line in part.splitlines() if not line.startswith("<")]
    path = pathlib.Path(directory) / "alsa.conf"
    path.write_text("\n".join([f"<{SYSTEM_ALSA}>", *own]) + "\n")
    return {"ALSA_CONFIG_PATH": str(path)}


# ------------------------------------------------------------------ the programs


def _has(event, fields):
    return all(event.get(key) == value for key, value in fields.items())


class Simulator:
    """A device in software. What it tells stays in `told`; `expect` takes from what nobody took yet."""

    kind = None             # as a [[device]] has it

    def __init__(self, directory, name, program, *arguments):
        self.directory, self.name = pathlib.Path(directory) / name, name
        self.directory.mkdir(parents=True)
        self.told, self._waiting, self._arrived, self._ended = [], [], threading.Condition(), False
        self._asks, self._files = itertools.count(1), itertools.count(1)
        self._errors = open(self.directory / "stderr", "wb")
        self.process = subprocess.Popen([programs.simulator(program), str(self.directory), *arguments], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=self._errors)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        self.ready = self.expect("ready")

    def _read(self):
        for line in self.process.stdout:
            event = json.loads(line)
            with self._arrived:
                self.told.append(event)
                self._waiting.append(event)
                self._arrived.notify_all()
        with self._arrived:
            self._ended = True
            self._arrived.notify_all()

    # -------------------------------------------------------------- orders and events

    def order(self, do, **keys):
        self.process.stdin.write((json.dumps({"do": do, **keys}) + "\n").encode())
        self.process.stdin.flush()

    def expect(self, name, timeout=LIMIT_S, **fields):
        """The first event of this name, with these fields, that nobody took; those before it stay for others."""
        deadline = time.monotonic() + timeout
        with self._arrived:
            while True:
                for event in self._waiting:
                    if event["event"] == name and _has(event, fields):
                        self._waiting.remove(event)
                        return event
                    if event["event"] == "refused" and name != "refused":
                        raise AssertionError(f"{self.name} refused an order: {event['why']}")
                left = deadline - time.monotonic()
                if left <= 0 or self._ended:
                    shown = [event for event in self.told if event["event"] not in ("underrun", "overrun", "here", "saved")][-12:]
                    raise AssertionError(f"{self.name} waited {timeout:g} s for {name} {fields or ''}; told {shown} {self._error_text()}")
                self._arrived.wait(left)

    def expect_nothing(self, name, seconds=0.7, **fields):
        """No such event may come within so long."""
        try:
            event = self.expect(name, seconds, **fields)
        except AssertionError:
            return
        raise AssertionError(f"{self.name} told {event}, expected none")

    def forget_events(self, name=None, **fields):
        """What was told until now, or such of it, is nobody's."""
        self.settled()
        with self._arrived:
            self._waiting[:] = [event for event in self._waiting if not ((name is None or event["event"] == name) and _has(event, fields))]

    def settled(self):
        """Every order before this is done; the device's sample counter."""
        number = next(self._asks)
        self.order("ask", id=number)
        return self.expect("here", id=number)["at"]

    def count(self, name, **fields):
        """How many such events were told, taken or not."""
        with self._arrived:
            return sum(1 for event in self.told if event["event"] == name and _has(event, fields))

    def _error_text(self):
        text = (self.directory / "stderr").read_text(errors="replace")
        return f"and on stderr {text!r}" if text else ""

    def file(self, pcm=None):
        """A new file's path, with this sound in it if there is one."""
        path = self.directory / f"{next(self._files)}.wav"
        if pcm is not None:
            audio.write_wav(path, pcm)
        return str(path)

    # -------------------------------------------------------------- the device

    def table(self, **keys):
        """Its [[device]]."""
        return table("[[device]]", dict(name=self.name, kind=self.kind, serial=self.ready["serial"], audio=self.ready.get("audio") or None, **keys))

    def port(self, number):
        return f"{self.name}/{number}"

    def telephone(self, number):
        return Telephone(self, number)

    def exchange(self, number=1):
        return Exchange(self, number)

    def unplug(self):
        self.order("unplug")
        self.settled()

    def plug(self):
        self.order("plug")
        self.settled()

    def close(self):
        """Pulled out for good."""
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        try:
            code = self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"{self.name} did not end with its orders") from None
        finally:
            self._thread.join(2)
            self.process.stdout.close()
            self._errors.close()
        assert code == 0, f"{self.name} ended with {code} {self._error_text()}"


class Card(Simulator):
    """A line card: a letter a port, L for a line of the exchange, P for a telephone."""

    kind = "linecard"

    def __init__(self, directory, ports, name="card1"):
        super().__init__(directory, name, "tipring-linecard-sim", ports, name)

    def wait_session(self, timeout=LIMIT_S):
        """Until the box has a session and the sound open."""
        until(lambda: self._last("session") and self._last("audio"), timeout, f"a session with sound at {self.name}")

    def _last(self, name):
        with self._arrived:
            return next((event["on"] for event in reversed(self.told) if event["event"] == name), False)


class Modem(Simulator):
    """A voice modem of a family of chips (conexant, usr, generic): one line of the exchange."""

    kind = "v253"

    def __init__(self, directory, chip="conexant", name="modem1", *options):
        super().__init__(directory, name, "tipring-modem-sim", chip, *options)
        self.chip = chip

    def wait_session(self, timeout=LIMIT_S):
        """A modem tells nothing of it: the state of its line does."""


# ------------------------------------------------------------------ who is behind a port


class Party:
    """Somebody at a port, with an ear and a mouth."""

    def __init__(self, device, port):
        self.device, self.port = device, port

    def order(self, do, **keys):
        self.device.order(do, port=self.port, **keys)

    def expect(self, name, timeout=LIMIT_S, **fields):
        return self.device.expect(name, timeout, port=self.port, **fields)

    # -------------------------------------------------------------- mouth

    def press(self, digits, **keys):
        """Keys as tones, and the silence after the last one."""
        self.device.forget_events("said", port=self.port)
        self.order("press", digits=digits, **keys)
        self.expect("said")

    def chooses(self, key, follows, times=3):
        """Presses a key, and again where nothing follows: a busy machine may have lost it. What `follows()` gives, which waits for it."""
        for _ in range(times - 1):
            self.press(key)
            try:
                return follows()
            except AssertionError:
                pass
        self.press(key)
        return follows()

    def say(self, pcm):
        """Says it and returns when it is over."""
        self.device.forget_events("said", port=self.port)
        self.start_saying(pcm)
        self.expect("said", LIMIT_S + len(pcm) / audio.RATE_HZ)

    def start_saying(self, pcm):
        self.order("say", file=self.device.file(pcm))

    def silence(self):
        self.order("silence")

    # -------------------------------------------------------------- ear

    def forget(self):
        """What was heard until now was not."""
        self.order("forget")
        self.device.settled()

    def heard(self):
        path = self.device.file()
        self.order("save", file=path)
        self.device.expect("saved", file=path)
        pcm, _ = audio.read_wav(path)
        pathlib.Path(path).unlink()
        return pcm

    def wait_heard(self, fits, what, timeout=LIMIT_S):
        """Until what was heard fits; the sound."""
        last = []

        def there():
            last[:] = [self.heard()]
            return fits(last[0])

        until(there, timeout, lambda: f"{what} at {self.device.name}/{self.port} (heard {_shown(last[0])})", 0.15)
        return last[0]

    def hears(self, tone, steps=None, timeout=LIMIT_S):
        """Until it has heard this tone of a country; of a slow one, so many steps of its cadence are enough."""
        return self.wait_heard(lambda pcm: audio.is_tone(pcm, tone.hz, tone.cadence[:steps]), f"the tone {tone}", timeout)

    def passes(self, seconds):
        """So much time of the device: for what lasts as long as somebody wants, such as ringing."""
        until_at = self.device.settled() + seconds * audio.RATE_HZ
        until(lambda: self.device.settled() >= until_at, seconds + LIMIT_S, f"{seconds:g} s at {self.device.name}", 0.1)

    def hears_silence(self, seconds=0.4, timeout=LIMIT_S):
        count = int(seconds * audio.RATE_HZ)
        return self.wait_heard(lambda pcm: len(pcm) >= count and audio.loud_seconds(pcm[-count:]) == 0, "silence", timeout)


def _shown(pcm):
    return f"{len(pcm) / audio.RATE_HZ:.1f} s, {audio.loud_seconds(pcm):.1f} s of them loud, at the end {[round(hz) for hz in audio.frequencies(pcm[-3200:])][:8] if len(pcm) > 3200 else ''}"


class Telephone(Party):
    def lift(self):
        self.order("lift")
        return self

    def hang_up(self):
        self.order("hang_up")

    def put_down_for_good(self):
        """Until the box must know that it is down: longer than any hook flash."""
        self.passes(1.2)

    def flash(self, ms):
        self.order("flash", ms=ms)

    def pulse(self, digits):
        self.order("pulse", digits=digits)

    def dials(self, country, digits, by="press"):
        """Lifts, hears dial tone, dials."""
        self.forget()
        self.lift()
        self.hears(country.dial)
        getattr(self, by)(digits)

    def rings(self, timeout=LIMIT_S):
        """Until the bell rings."""
        self.expect("ring", timeout, on=True)
        return self

    def cadence(self, steps):
        """So many steps of its bell, in ms: on, off, ...; the bell has not rung before."""
        at = [self.expect("ring", on=number % 2 == 0)["at"] for number in range(steps + 1)]
        return [(later - earlier) * 1000 // audio.RATE_HZ for earlier, later in zip(at, at[1:])]

    def shown(self, timeout=LIMIT_S):
        """Who calls, as the telephone was told."""
        return caller_sound.read(self.wait_heard(caller_sound.read, "who calls", timeout))[0]


class Exchange(Party):
    """The public network behind a line port."""

    # -------------------------------------------------------------- it calls

    def rings(self, country, number=None, name=None, standard=None, absent=None, first=None, form=None):
        """Rings as in a country and says who calls as there, or by another standard, then after the first ring.

        A modem's chip reads that by itself and tells it as text.
        """
        if isinstance(self.device, Modem):
            if number:
                self.order("caller", number=number, name=name)
            return self.order("ring", cadence=list(first or country.ring))
        starts, standard = (country.starts, country.caller_id) if standard in (None, country.caller_id) else ("first-ring", standard)
        keys = {}
        if number or absent:
            sound = caller_sound.sound(standard, number, name if standard != "dtmf" else None, absent, form=form or ROWS.get(country.code, "AC"))
            keys["between"] = self._told(country, starts, sound)
        if starts.startswith("reversal") and keys:
            self.order("reverse", on=True)
        return self.order("ring", cadence=list(first or country.ring), **keys)

    def _told(self, country, starts, sound):
        if starts in ("first-ring", "data-ring"):
            # A double ring is told of after its second burst. NTT's data ring, upon which a telephone
            # answers for the data alone, is not done: the data come in the first pause.
            bursts = 2 if len(country.ring) == 4 else 1
            return {"after": bursts, "wait_ms": max(country.waits_ms, 300), "file": self.device.file(sound)}
        alert = [caller_sound.alert()] if starts.endswith("alert-tone") else []
        whole = np.concatenate([*alert, audio.silence(country.waits_ms / 1000), sound])
        return {"after": 0, "wait_ms": country.rings_after_ms, "file": self.device.file(whole)}

    def stops_ringing(self):
        self.order("stop_ring")

    # -------------------------------------------------------------- the loop

    def seized(self, timeout=LIMIT_S):
        """Until the box takes the line: it answers, or wants to dial."""
        self.expect("loop", timeout, closed=True)
        return self

    def released(self, timeout=LIMIT_S):
        self.expect("loop", timeout, closed=False)
        return self

    @property
    def tells_reversals(self):
        """The device at this end of the line notices when the battery is reversed."""
        return not isinstance(self.device, Modem) or self.device.chip == "generic"

    def reverse(self, on):
        self.order("reverse", on=on)

    def breaks(self, ms=250):
        self.order("break", ms=ms)

    def battery(self, on):
        self.order("battery", on=on)

    def in_use(self, on):
        self.order("in_use", on=on)

    # -------------------------------------------------------------- it is called

    def plays(self, tone):
        """A tone of the country, until it is silenced."""
        self.order("tone", hz=list(tone.hz), cadence=list(tone.cadence))

    def digits(self, count, timeout=LIMIT_S):
        """So many digits as they are dialled; dial tone ends with the first."""
        dialled = ""
        for _ in range(count):
            dialled += self.expect("digit", timeout)["digit"]
            if len(dialled) == 1:
                self.silence()
        return dialled

    def takes(self, country, count):
        """Is seized, gives dial tone, tells the digits that were dialled, and takes a moment to reach somebody."""
        self.seized()
        self.plays(country.dial)
        dialled = self.digits(count)
        self.passes(0.5)
        return dialled

    def ends(self, country):
        """The far end hangs up: busy tone."""
        self.plays(country.busy)


ROWS = {"dk": "A#", "in": "DC", "tw": "DC"}      # how a row of digits that says who calls begins and ends, where it is not AC


# ------------------------------------------------------------------ clean sound


def is_heard(prompt, pcm):
    """A prompt is there, and no other: half of its twentieths of a second, clean or not quite."""
    return len(pcm) >= len(prompt) and audio.clean_share(prompt, pcm, snr_db=8) >= 0.5


def prompts_heard(prompts, pcm):
    """The names of prompts in the order in which they are there, each as often as it is."""
    found = []
    for name, sound in prompts.items():
        rest = np.array(pcm)
        while is_heard(sound, rest):
            _, start = audio.placed(sound, rest, 1)
            found.append((start, name))
            rest[max(start, 0):start + len(sound)] = 0
    return [name for _, name in sorted(found)]


def wait_prompts(party, prompts, *names, timeout=LIMIT_S):
    """Until these prompts have been heard in this order. Others between are no matter: a busy machine may have cost one of them."""
    def there(pcm):
        heard = iter(prompts_heard(prompts, pcm))
        return all(name in heard for name in names)

    party.wait_heard(there, f"the prompts {names}", timeout)


_seeds = itertools.count(4000)


def talk(speaks, hears, share=0.6, snr_db=20, times=5):
    """`speaks(pcm)` is heard as it is: `share` of its twentieths of a second have a ratio of signal to noise of `snr_db`.

    `hears()` gives all that was heard. A machine that is busy may be late: it is said again, something else each time.
    """
    best = []
    for _ in range(times):
        pcm = audio.voice(1.2, seed=next(_seeds))
        speaks(pcm)
        shares = []

        def clean():
            heard = hears()[-len(pcm) - 4 * audio.RATE_HZ:]
            shares.append(audio.clean_share(pcm, heard, snr_db) if len(heard) else 0.0)
            return shares[-1] >= share

        try:
            return until(clean, 1.2, "clean sound", 0.25)
        except AssertionError:
            best.append(f"{max(shares):.0%}")
    raise AssertionError(f"said {times} times, of which {' '.join(best)} was heard with {snr_db} dB, expected {share:.0%}")
