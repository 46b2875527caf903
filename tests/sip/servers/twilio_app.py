"""The office menu as a customer of Twilio writes it: a WSGI application with Twilio's own library.

The library makes every document and checks the signature of every request; one that is
not signed with the office's token gets 403 and nothing else.
"""
import datetime

import programs
from servers.hours import is_open
from servers.wsgi_server import Application

TURNS = 2           # how often the menu is heard


class TwilioApp(Application):
    """`documents` hold what other paths answer: VoiceResponse or text, or a function of the request that gives one."""

    def __init__(self, auth_token, sounds=None, clock=lambda: datetime.datetime.now(datetime.timezone.utc), ring_s=20, wait_s=5, phone="201"):
        super().__init__()
        self.twiml, validator = programs.twilio_library()
        self._validator = validator(auth_token)
        self.sounds, self.clock, self.ring_s, self.wait_s, self.phone = sounds or {}, clock, ring_s, wait_s, phone
        self.documents = {}

    # -------------------------------------------------------------- serving

    def answer(self, seen):
        if seen.path.startswith("/sounds/"):
            sound = self.sounds.get(seen.path.removeprefix("/sounds/").removesuffix(".wav"))
            return (200, "audio/wav", sound) if sound else (404, "text/plain", "no such sound")
        seen.valid = self.is_signed(seen)
        if not seen.valid:
            return 403, "text/plain", "forbidden"
        steps = {"/voice": self.voice, "/menu": self.menu, "/dialled": self.dialled, "/recorded": self.recorded}
        step = self.documents.get(seen.path) or steps.get(seen.path)
        if step is None:
            return 204, None, b""       # callbacks
        document = step(seen) if callable(step) else step
        return 200, "text/xml", str(document)

    def is_signed(self, seen):
        """By Twilio's library, from the address that was asked for and the form, or the body where it is none."""
        signature = seen.headers.get("x-twilio-signature", "")
        content = seen.body.decode() if seen.body and not seen.form else _Form(seen.form)
        return self._validator.validate(seen.url, content, signature)

    # -------------------------------------------------------------- the office

    def response(self):
        return self.twiml.VoiceResponse()

    def gather(self, **attributes):
        return self.twiml.Gather(**attributes)

    def sound(self, name):
        return self.server.url(f"/sounds/{name}.wav")

    def voice(self, _seen):
        response = self.response()
        response.play(self.sound("welcome"))
        return self._ask(response, 1) if is_open(self.clock()) else self._voicemail(response)

    def menu(self, seen):
        turn, digits = int(dict(seen.query)["turn"]), dict(seen.form).get("Digits")
        response = self.response()
        if digits == "1":
            dial = self.twiml.Dial(action="/dialled", method="POST", timeout=self.ring_s)
            dial.client(self.phone)
            response.append(dial)
        elif digits == "2":
            response.play(self.sound("leave"))
            self._record(response)
        elif turn < TURNS:
            self._ask(response, turn + 1)
        else:
            response.play(self.sound("goodbye"))
            response.hangup()
        return response

    def dialled(self, seen):
        response = self.response()
        if dict(seen.form)["DialCallStatus"] == "completed":
            response.hangup()
            return response
        return self._voicemail(response)

    def recorded(self, _seen):
        response = self.response()
        response.hangup()
        return response

    def _ask(self, response, turn):
        gather = self.gather(num_digits=1, action=f"/menu?turn={turn}", method="POST", timeout=self.wait_s, finish_on_key="")
        gather.play(self.sound("menu"))
        response.append(gather)
        response.redirect(f"/menu?turn={turn}", method="POST")
        return response

    def _voicemail(self, response):
        response.play(self.sound("unavailable"))
        return self._record(response)

    def _record(self, response):
        response.record(action="/recorded", method="POST", max_length=60, timeout=10, finish_on_key="#", trim="do-not-trim",
                        recording_status_callback="/recording")
        response.hangup()
        return response


class _Form(dict):
    """The fields of a form as web frameworks give them: a name may have come more than once."""

    def __init__(self, pairs):
        super().__init__(pairs)
        self._pairs = pairs

    def getlist(self, name):
        return [value for one, value in self._pairs if one == name]
