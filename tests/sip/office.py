"""One office menu, written in four dialects, and what surrounds it: its hours, its sounds, its servers, its answering machines.

The documents lie in `flows/`. They name `http://office.example`, ring for 20 s and wait 5 s for a key; here they
get the address of the test's own server and times for which a test can wait.
"""
import datetime
import json
import pathlib
import threading
import wave
import xml.etree.ElementTree as xml
import zoneinfo
from dataclasses import dataclass

import audio
import dialects
import hearing
from box import flow, phone
from flow_server import Answer
from servers import call_interactive_script, hours
from servers.twilio_app import TwilioApp
from waiting import until

FLOWS = pathlib.Path(__file__).with_name("flows")
DIALECTS = ("opentact", "twiml", "kazoo", "call_interactive")
EXAMPLE = "http://office.example"
PROMPTS = {name: hearing.prompt(number) for number, name in enumerate(("welcome", "menu", "leave", "unavailable", "goodbye"))}
FRONT_DESK, VOICEMAIL, MESSAGE = "201", "211", "212"
RING_S, WAIT_S = 2, 2

# ------------------------------------------------------------------ hours

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
HOUR_S, DAY_S = 3600, 86400


@dataclass
class Rule:
    """Open on these days (0 is Monday) from one second of the day to before another, in this zone."""
    days: tuple
    opens_s: int
    closes_s: int
    zone: str

    def is_open(self, now):
        here = now.astimezone(zoneinfo.ZoneInfo(self.zone))
        return here.weekday() in self.days and self.opens_s <= _second(here) < self.closes_s


AS_WRITTEN = Rule((0, 1, 2, 3, 4), 9 * HOUR_S, 17 * HOUR_S, "Europe/Berlin")


def _second(here):
    return here.hour * 3600 + here.minute * 60 + here.second


def rule_that_is(state, now=None):
    """A rule by which it is now `open`, or closed: by the `hour` or by the `day`. Its zone is one in which midnight is far."""
    now = now or datetime.datetime.now(datetime.timezone.utc)
    zone = next(name for name in ("Europe/Berlin", "America/Los_Angeles") if 3 <= now.astimezone(zoneinfo.ZoneInfo(name)).hour < 21)
    here = now.astimezone(zoneinfo.ZoneInfo(zone))
    today, second = here.weekday(), _second(here)
    if state == "open":
        return Rule((today,), second - HOUR_S, second + HOUR_S, zone)
    if state == "hour":
        return Rule((today,), second + HOUR_S, second + 2 * HOUR_S, zone)
    return Rule(tuple(day for day in range(7) if day != today), 0, DAY_S, zone)


# ------------------------------------------------------------------ the documents


def opentact_document(rule=AS_WRITTEN, ring_s=20, wait_s=5, base=EXAMPLE):
    root = xml.fromstring((FLOWS / "office.opentact.xml").read_text())
    for element in root.iter():
        if element.text:
            element.text = element.text.replace(EXAMPLE, base)
    def clock(second):
        return f"{second // 3600:02}:{second % 3600 // 60:02}:{second % 60:02}"
    schedule = root.find("Schedule")
    schedule.set("dow", ",".join(DAYS[day][:3] for day in rule.days))
    schedule.set("time", f"{clock(rule.opens_s)}-{clock(rule.closes_s - 1)}")
    schedule.set("timezone", rule.zone)
    root.find(".//Dial").set("timeout", str(ring_s * 1000))
    root.find(".//Gather").set("timeout", str(wait_s * 1000))
    return xml.tostring(root, encoding="unicode")


def kazoo_document(rule=AS_WRITTEN, ring_s=20, wait_s=5):
    account = json.loads((FLOWS / "office.kazoo.json").read_text())
    [calendar], [menu] = account["temporal_rules"], account["menus"]
    calendar.update(wdays=[DAYS[day] for day in rule.days], time_window_start=rule.opens_s, time_window_stop=rule.closes_s)
    menu["timeout"] = wait_s * 1000
    for one in _nodes(account["callflows"][0]["flow"]):
        if one["module"] == "temporal_route":
            one["data"]["timezone"] = rule.zone
        elif one["module"] == "device":
            one["data"]["timeout"] = ring_s
    return account


def _nodes(one):
    yield one
    for child in one["children"].values():
        yield from _nodes(child)


def call_interactive_document(wait_s=5, base=EXAMPLE):
    document = json.loads((FLOWS / "office.call_interactive.json").read_text().replace(EXAMPLE, base))
    for context in document["contexts"]:
        context["timeout_ms"] = wait_s * 1000
    return document


# ------------------------------------------------------------------ the office


def _same(prompt, sound):
    return abs(len(prompt) - len(sound)) < audio.RATE_HZ // 10 and audio.likeness(prompt, sound) >= 0.9


class AnsweringMachine:
    """A telephone that answers, says its prompt and listens until # or the end."""

    def __init__(self, telephone, prompt):
        self.telephone, self.prompt, self.calls, self.errors = telephone, prompt, [], []
        self._open = True
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while self._open:
            try:
                call = self.telephone.expect_call(0.3)
            except AssertionError:
                continue
            try:
                self._take(call)
            except (AssertionError, OSError) as error:
                self.errors.append(error)

    def _take(self, call):
        self.calls.append(call)
        call.ring().answer()
        call.rtp.say(self.prompt)

        def over():
            gone = next((m for m in list(self.telephone.inbox) if m.method == "BYE" and m.get("call-id") == call.call_id), None)
            # Over two wires keys come as tones.
            return gone or "#" in call.rtp.events() or "#" in audio.keys(call.rtp.heard()[-audio.RATE_HZ:]) or not self._open

        until(over, 60, "the end of the message", 0.1)
        if any(m.method == "BYE" for m in list(self.telephone.inbox)):
            call.hung_up()
        elif self._open:
            call.hang_up()

    def heard(self):
        return [call.rtp.heard() for call in self.calls]

    def close(self):
        self._open = False
        self._thread.join(5)
        assert self.errors == [], f"the answering machine: {self.errors}"


class Office:
    """The menu in one dialect on a box of its own."""

    def __init__(self, dialect, box, application, machines, server, hook_path):
        self.dialect, self.box, self.application = dialect, box, application
        self.machines, self._server, self._hook_path = machines, server, hook_path

    def kept(self):
        """Every sound that was kept of callers: the box's recordings and messages, or what answering machines heard."""
        stored = []
        for path in sorted(self.box.data.rglob("*.wav")):
            try:
                stored.append(audio.read_wav(path)[0])
            except (AssertionError, EOFError, wave.Error):      # still being written
                pass
        own = [sound for sound in stored if not any(_same(prompt, sound) for prompt in PROMPTS.values())]      # the box keeps prompts, too
        return own + [sound for machine in self.machines for sound in machine.heard()]

    def wait_kept(self, words):
        """Until a kept sound holds the words."""
        until(lambda: any(audio.likeness(words, sound) >= 0.9 for sound in self.kept()), 8,
              lambda: f"the caller's words in one of {len(self.kept())} sounds", 0.2)

    def kept_nothing(self):
        return all(audio.loud_seconds(sound) == 0 for sound in self.kept())

    def told(self):
        """The webhooks that came."""
        return self.application.seen(self._hook_path) if self.dialect == "twiml" else self._server.seen(self._hook_path)

    def wait_told_the_end(self):
        until(lambda: any(map(dialects.tells_the_end, self.told())), 8, lambda: f"the webhook of the end (have {[dialects.fields(r) for r in self.told()]})")
        return next(filter(dialects.tells_the_end, self.told()))


def opened(dialect, state, *, tmp_path, tipring, server, serve, cgi, desk, kept, ring_s=RING_S, wait_s=WAIT_S, lines=(), devices=()):
    """The office in one dialect: `open`, closed by the `hour` or the `day`, or `as written`, which goes by the clock on the wall.

    `lines` are its own in place of a SIP telephone at the front desk and a trunk.
    """
    prompts = tmp_path / "prompts"
    prompts.mkdir()
    for name, sound in PROMPTS.items():
        audio.write_wav(prompts / f"{name}.wav", sound)
        server.sound(f"/sounds/{name}.wav", audio.wav_bytes(sound))
    server.answer("/ended", Answer(status=204, content_type=None))
    rule = AS_WRITTEN if state == "as written" else rule_that_is(state)
    now = {"open": hours.TUESDAY_MORNING, "as written": None}.get(state, hours.SUNDAY_MORNING)
    tables, allow, application, hook_path = list(lines) or [phone(FRONT_DESK)], [server.authority], None, "/ended"
    base = server.url("")
    if dialect == "opentact":
        path = tmp_path / "office.xml"
        path.write_text(opentact_document(rule, ring_s, wait_s, base))
        tables.append(flow(file=str(path), webhook_url=server.url("/ended")))
    elif dialect == "twiml":
        clock = (lambda: now) if now else (lambda: datetime.datetime.now(datetime.timezone.utc))
        application = TwilioApp(dialects.TOKEN, {name: audio.wav_bytes(sound) for name, sound in PROMPTS.items()}, clock, ring_s, wait_s, FRONT_DESK)
        web = serve(application)
        hook_path = "/status"
        allow.append(web.authority)
        tables.append(dialects.twiml(web.url("/voice"), status_callback=web.url(hook_path)))
    elif dialect == "kazoo":
        tables.append(dialects.kazoo_file(tmp_path / "office.json", kazoo_document(rule, ring_s, wait_s), webhook_url=server.url("/ended")))
    else:
        told = {"OFFICE_NOW": now.isoformat()} if now else {}
        application = cgi(call_interactive_script.__file__, OFFICE_RING_S=str(ring_s), OFFICE_PHONE=FRONT_DESK, OFFICE_VOICEMAIL=VOICEMAIL, **told)
        allow.append(application.authority)
        tables += [phone(VOICEMAIL), phone(MESSAGE)]
        tables.append(dialects.call_interactive_file(tmp_path / "office.json", call_interactive_document(wait_s, application.url("")), webhook_url=server.url("/ended")))
    box = tipring(*tables, allow=allow, prompts_dir=prompts, devices=devices)
    machines = []
    if dialect == "call_interactive":       # the dialect has no word for recording: an answering machine is a telephone of the office
        for number, prompt in ((VOICEMAIL, "unavailable"), (MESSAGE, "leave")):
            machines.append(kept.add(AnsweringMachine(desk(box, number), PROMPTS[prompt])))
    return Office(dialect, box, application, machines, server, hook_path)

