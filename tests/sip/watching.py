"""A telephone that subscribes to lamps: RFC 6665 written out by hand, so that a test can bend it."""
import re
import xml.etree.ElementTree as ElementTree

BODIES = {"message-summary": "application/simple-message-summary", "dialog": "application/dialog-info+xml", "presence": "application/pidf+xml"}
DIALOG_INFO = "{urn:ietf:params:xml:ns:dialog-info}"
PIDF = "{urn:ietf:params:xml:ns:pidf}"
ON_THE_PHONE = ".//{urn:ietf:params:xml:ns:pidf:rpid}on-the-phone"


class Notify:
    """One NOTIFY: what it says of the subscription, and of what is watched."""

    def __init__(self, message):
        self.message, self.body = message, message.body.decode()
        self.state = message.get("subscription-state").split(";")[0]
        self.reason = next(iter(re.findall(r"reason=(\w+)", message.get("subscription-state"))), None)

    def waiting(self):
        """(lamp is lit, new, saved)"""
        lamp = re.search(r"^Messages-Waiting: (yes|no)\r$", self.body, re.M)[1] == "yes"
        new, saved = re.search(r"^Voice-Message: (\d+)/(\d+) \(0/0\)\r$", self.body, re.M).groups()
        return lamp, int(new), int(saved)

    @property
    def xml(self):
        return ElementTree.fromstring(self.body)

    @property
    def version(self):
        return int(self.xml.get("version"))

    def dialogs(self):
        """Those that are alive."""
        return [d for d in self.xml.findall(f"{DIALOG_INFO}dialog") if d.find(f"{DIALOG_INFO}state").text != "terminated"]

    def lamp(self):
        """What a telephone would show: idle, or the state of the first dialog."""
        alive = self.dialogs()
        return alive[0].find(f"{DIALOG_INFO}state").text if alive else "idle"

    def remote(self):
        found = self.dialogs()[0].find(f"{DIALOG_INFO}remote/{DIALOG_INFO}identity")
        return None if found is None else found.text

    def presence(self):
        """open, busy or closed"""
        basic = self.xml.find(f"{PIDF}tuple/{PIDF}status/{PIDF}basic").text
        return "busy" if self.xml.find(ON_THE_PHONE) is not None else basic


class Subscription:
    """`party` watches `name` at a box; its first state is in `first`."""

    def __init__(self, party, box, name, package, expires=600, **parts):
        party.box = party.box or box.udp
        self.party, self.package, self.box = party, package, box
        self.target = f"sip:{name}@{party.box[0]}:{party.box[1]}"
        self.call_id, self.from_tag, self.to_tag, self.cseq = f"{party.token(64)}@{party.ip}", party.token(), None, 0
        self.answer = self._subscribe(expires, **parts)
        self.first = None
        if self.answer.status == 200:
            self.to_tag = self.answer.tag("to")
            self.first = self.notify()

    def _send(self, expires, extra=(), event=None):
        self.cseq += 1
        me = f"sip:{self.party.user}@{self.party.box[0]}"
        headers = [("Event", event or self.package), ("Accept", BODIES.get(self.package, "*/*"))]
        headers += [("Expires", expires)] if expires is not None else []
        text = self.party.request("SUBSCRIBE", self.target, call_id=self.call_id, cseq=self.cseq, from_uri=me, from_tag=self.from_tag,
                                  to_uri=self.target, to_tag=self.to_tag, headers=headers + list(extra))
        self.party.send(text)
        return self.party.expect(lambda m: m.status and m.cseq == (self.cseq, "SUBSCRIBE"), 5, self.call_id)

    def _subscribe(self, expires, **parts):
        answer = self._send(expires, **parts)
        if answer.status == 401:
            proof = self.party.authorization(answer, "SUBSCRIBE", self.target)
            answer = self._send(expires, [("Authorization", proof)], **parts)
        return answer

    def again(self, expires=600, **parts):
        """Goes on with it, or ends it with 0."""
        return self._send(expires, **parts)

    def notify(self, timeout=5.0, status=200):
        """The next NOTIFY, answered with `status`; None for no answer."""
        message = self.party.expect("NOTIFY", timeout, self.call_id)
        if status is not None:
            self.party.send(self.party.response(message, status), message.source)
        return Notify(message)

    def until(self, fits, timeout=8.0):
        """The first NOTIFY that fits; the others before it are answered, too."""
        while True:
            notify = self.notify(timeout)
            if fits(notify):
                return notify
