"""A server for Kazoo's Pivot: answers with callflow JSON, checked before it leaves, or with TwiML by Twilio's library."""
import json
import re

import kazoo_documents as kazoo
import programs
from servers.wsgi_server import Application


class PivotApp(Application):
    """`documents` hold what a path answers: a node, a VoiceResponse, or a function of the request's fields that gives one."""

    def __init__(self):
        super().__init__()
        self.twiml, _ = programs.twilio_library()
        self.files = {}                 # what was uploaded: {path: bytes}
        self.documents = {
            "/pivot/route": kazoo.node("play", id="routed"),
            "/pivot/ticket": self.ticket,
            "/pivot/twiml/menu": self.menu,
            "/pivot/twiml/next": self.next,
            "/pivot/twiml/dial": self.dial,
            "/pivot/twiml/after": self.after,
        }

    def answer(self, seen):
        if seen.method == "PUT":
            self.files[seen.path] = seen.body
            return 201, None, b""
        document = self.documents.get(seen.path)
        if document is None:
            return 204, None, b""       # webhooks and records of calls
        document = document(parameters(seen)) if callable(document) else document
        if isinstance(document, dict):
            return 200, "application/json", json.dumps(kazoo.checked(document, "answer"))
        return 200, "application/xml", str(document)

    # -------------------------------------------------------------- callflows

    def ticket(self, told):
        """Known tickets are two digits long."""
        number = (told.get("Digits") or {}).get("ticket", "")
        return kazoo.node("play", id="found" if len(number) == 2 else "missing")

    # -------------------------------------------------------------- TwiML

    def menu(self, _told):
        response, gather = self.twiml.VoiceResponse(), self.twiml.Gather(num_digits=1, timeout=2, action="next")
        gather.play("menu")
        response.append(gather)
        response.play("goodbye")
        response.hangup()
        return response

    def next(self, told):
        response = self.twiml.VoiceResponse()
        response.play("found" if told.get("Digits") == "2" else "missing")
        return response

    def dial(self, _told):
        response, dial = self.twiml.VoiceResponse(), self.twiml.Dial(timeout=3, action="after")
        dial.number("555 0100")
        dial.add_child("User", "u-mara")       # a noun of Pivot's own
        response.append(dial)
        return response

    def after(self, _told):
        response = self.twiml.VoiceResponse()
        response.play("goodbye")
        return response


def parameters(seen):
    """What the box told, from query, form or JSON; `Digits[ticket]=12` becomes {"Digits": {"ticket": "12"}}."""
    if seen.headers.get("content-type", "").startswith("application/json"):
        return {**_nested(seen.query), **json.loads(seen.body)}
    return _nested(seen.query + seen.form)


def _nested(pairs):
    told = {}
    for name, value in pairs:
        first, *inner = re.findall(r"[^\[\]]+|(?<=\[)(?=\])", name)
        place = told
        for key, following in zip([first, *inner], inner):
            place = place.setdefault(key, [] if following == "" else {})
        if isinstance(place, list):
            place.append(value)
        else:
            place[[first, *inner][-1]] = value
    return told
