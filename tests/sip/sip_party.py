"""One end of SIP written out by hand, so that a test can send exactly what it means to, and bend it.

A party is a socket on a loopback address. `call` makes a call, `expect_call` waits
for one; both give a Dialog with its own media socket.
"""
import hashlib
import random
import re
import socket
import threading
import time

from rtp_party import RtpParty

COMPACT = {"v": "via", "f": "from", "t": "to", "i": "call-id", "m": "contact", "l": "content-length", "c": "content-type", "k": "supported", "s": "subject"}
MEDIA_FORMATS = {"PCMU": (0, "PCMU/8000"), "PCMA": (8, "PCMA/8000"), "G722": (9, "G722/8000"), "opus": (111, "opus/48000/2")}


class Message:
    def __init__(self, raw, source=None):
        self.raw, self.source, self.at = raw, source, time.monotonic()
        head, _, self.body = raw.partition(b"\r\n\r\n")
        lines = head.decode("utf-8", "replace").split("\r\n")
        self.first, self.headers = lines[0], []
        for line in lines[1:]:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            self.headers.append((COMPACT.get(name, name), value.strip()))
        words = self.first.split(" ", 2)
        self.status = int(words[1]) if words[0] == "SIP/2.0" else None
        self.method = None if self.status else words[0]
        self.uri = None if self.status else words[1]

    def get(self, name):
        return next((v for n, v in self.headers if n == name), None)

    def all(self, name):
        return [v for n, v in self.headers if n == name]

    @property
    def cseq(self):
        number, method = self.get("cseq").split()
        return int(number), method

    def tag(self, name):
        found = re.search(r";\s*tag=([^;>\s]+)", self.get(name) or "")
        return found[1] if found else None

    @property
    def branch(self):
        return re.search(r"branch=([^;,\s]+)", self.get("via"))[1]

    @property
    def contact_uri(self):
        value = self.get("contact") or ""
        found = re.search(r"<([^>]+)>", value)
        return found[1] if found else value.split(";")[0].strip()

    def sdp(self):
        return Sdp(self.body.decode())

    def __repr__(self):
        return f"<{self.first} | CSeq {self.get('cseq')} | {self.get('call-id')}>"


class Sdp:
    def __init__(self, text):
        self.text = text
        self.lines = text.replace("\r\n", "\n").strip().split("\n")
        media = re.search(r"^m=audio (\d+) (\S+) (.*)$", text.replace("\r", ""), re.M)
        self.port, self.profile, self.formats = int(media[1]), media[2], [int(f) for f in media[3].split()]
        self.ip = re.findall(r"^c=IN IP4 (\S+)", text, re.M)[-1]
        self.names = {int(t): name for t, name in re.findall(r"^a=rtpmap:(\d+) ([^/\r\n]+)", text, re.M)}
        self.direction = next((w for w in ("sendonly", "recvonly", "inactive") if f"a={w}" in text), "sendrecv")
        self.version = int(re.search(r"^o=\S+ \S+ (\d+)", text, re.M)[1])

    @property
    def address(self):
        return self.ip, self.port

    @property
    def event_type(self):
        return next((t for t, name in self.names.items() if name.lower() == "telephone-event"), None)


def sdp(ip, port, codecs=("PCMU",), direction="sendrecv", version=1, events=True, extra=""):
    known = [MEDIA_FORMATS[c] for c in codecs] + ([(101, "telephone-event/8000")] if events else [])
    return ("v=0\r\n" f"o=- 7 {version} IN IP4 {ip}\r\n" "s=-\r\n" f"c=IN IP4 {ip}\r\n" "t=0 0\r\n"
            f"m=audio {port} RTP/AVP {' '.join(str(t) for t, _ in known)}\r\n"
            + "".join(f"a=rtpmap:{t} {name}\r\n" for t, name in known)
            + ("a=fmtp:101 0-15\r\n" if events else "") + f"a=ptime:20\r\n{extra}a={direction}\r\n")


class SipParty:
    """`box` is a Box or an (ip, port); over TCP one connection is made to it."""

    _count = 0

    def __init__(self, ip="127.0.0.2", transport="udp", user="15550100", box=None, password=None, port=0):
        self.ip, self.transport, self.user, self.password = ip, transport, user, password
        SipParty._count += 1
        self._random = random.Random(f"{ip} {transport} {user} {SipParty._count}")       # the same in every run
        self.inbox, self.seen, self.dialogs = [], [], []
        self._arrived, self._open, self._answers_options = threading.Condition(), True, True
        self._last_registration = None
        if transport == "udp":
            self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            self.socket.bind((ip, port))
            self.box = None if box is None else getattr(box, "udp", box)
        else:
            self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            self.socket.bind((ip, 0))
            self.socket.settimeout(5)
            self.box = getattr(box, "tcp", box)
            self.socket.connect(self.box)
        self.port = self.socket.getsockname()[1]
        self.address = f"{ip}:{self.port}"
        self._thread = threading.Thread(target=self._receive_udp if transport == "udp" else self._receive_tcp, daemon=True)
        self._thread.start()

    # -------------------------------------------------------------- receiving

    def _receive_udp(self):
        self.socket.settimeout(0.2)
        while self._open:
            try:
                data, source = self.socket.recvfrom(65536)
            except socket.timeout:
                continue
            except OSError:
                return
            self._arrive(data, source)

    def _receive_tcp(self):
        self.socket.settimeout(0.2)
        buffer = b""
        while self._open:
            try:
                data = self.socket.recv(65536)
            except socket.timeout:
                continue
            except OSError:
                data = b""
            if not data:
                with self._arrived:
                    self._open = False
                    self._arrived.notify_all()
                return
            buffer = (buffer + data).lstrip(b"\r\n")
            while True:
                head, gap, rest = buffer.partition(b"\r\n\r\n")
                if not gap:
                    break
                length = re.search(rb"^(?:content-length|l)\s*:\s*(\d+)", head, re.I | re.M)
                size = int(length[1]) if length else 0
                if len(rest) < size:
                    break
                self._arrive(head + gap + rest[:size], self.box)
                buffer = rest[size:].lstrip(b"\r\n")

    def _arrive(self, data, source):
        if not data.strip(b"\r\n\0 "):
            return                      # keep-alive (RFC 5626)
        message = Message(data, source)
        with self._arrived:
            repeated = self.transport == "udp" and any(m.raw == data for m in self.seen)
            self.seen.append(message)
            if message.method == "OPTIONS" and self._answers_options:
                self.send(self.response(message, 200, "OK"), source)
            elif not repeated:
                self.inbox.append(message)
            self._arrived.notify_all()

    def expect(self, what, timeout=5.0, call_id=None):
        """The next message that fits: a method, a status, a range of them, or a test."""
        def fits(message):
            if call_id and message.get("call-id") != call_id:
                return False
            if callable(what):
                return what(message)
            if isinstance(what, (range, tuple)):
                return message.status in what
            return message.status == what if isinstance(what, int) else message.method == what

        deadline = time.monotonic() + timeout
        with self._arrived:
            while True:
                for message in self.inbox:
                    if fits(message):
                        self.inbox.remove(message)
                        return message
                left = deadline - time.monotonic()
                if left <= 0 or (not self._open and self.transport == "tcp"):
                    raise AssertionError(f"{self.address} waited {timeout:g} s for {_name(what)}; got {self.seen[-6:] or 'nothing at all'}")
                self._arrived.wait(left)

    def expect_nothing(self, what=lambda message: True, seconds=0.7):
        """Nothing that fits may come within so long."""
        try:
            message = self.expect(what, seconds)
        except AssertionError:
            return
        raise AssertionError(f"{self.address} was sent {message}, expected silence")

    def count(self, what):
        """How many such messages came, repetitions included."""
        return sum(1 for m in list(self.seen) if (m.status if isinstance(what, int) else m.method) == what)

    def wait_closed(self, timeout=5.0):
        """TCP: until the box has closed the connection."""
        self._thread.join(timeout)
        assert not self._thread.is_alive(), f"{self.address}: the connection is still open after {timeout:g} s"

    # -------------------------------------------------------------- sending

    def send(self, data, to=None):
        data = data.encode() if isinstance(data, str) else data
        if self.transport == "udp":
            self.socket.sendto(data, to or self.box)
        else:
            self.socket.sendall(data)

    def token(self, bits=48):
        return f"{self._random.getrandbits(bits):x}"

    def request(self, method, uri=None, *, call_id=None, cseq=1, cseq_method=None, branch=None, from_uri=None, from_tag=None, to_uri=None,
                to_tag=None, headers=(), body="", content_type=None, max_forwards=70, without=(), version="SIP/2.0"):
        """The text of a request. `without` names usual headers to leave out, `headers` are more of them."""
        uri = uri or f"sip:{self.box[0]}:{self.box[1]}"
        body = body.encode() if isinstance(body, str) else body
        lines = [
            ("Via", f"SIP/2.0/{self.transport.upper()} {self.address};branch={branch or 'z9hG4bK' + self.token()};rport"),
            ("Max-Forwards", max_forwards),
            ("From", f"<{from_uri or f'sip:{self.user}@{self.ip}'}>;tag={from_tag or self.token()}"),
            ("To", f"<{to_uri or uri}>" + (f";tag={to_tag}" if to_tag else "")),
            ("Call-ID", call_id or f"{self.token(64)}@{self.ip}"),
            ("CSeq", f"{cseq} {cseq_method or method}"),
            ("Contact", f"<sip:{self.user}@{self.address}{';transport=tcp' if self.transport == 'tcp' else ''}>"),
        ]
        if content_type or body:
            lines.append(("Content-Type", content_type or "application/sdp"))
        lines.append(("Content-Length", len(body)))
        lines = [(name, value) for name, value in lines if name not in without]
        at = len(lines) - 1 if "Content-Length" not in without else len(lines)
        lines[at:at] = headers
        text = f"{method} {uri} {version}\r\n" + "".join(f"{n}: {v}\r\n" for n, v in lines)
        return text.encode() + b"\r\n" + body

    def response(self, request, status, reason="", *, tag=None, headers=(), body="", content_type="application/sdp"):
        body = body.encode() if isinstance(body, str) else body
        lines = [("Via", v) for v in request.all("via")] + [("Record-Route", v) for v in request.all("record-route")]
        to = request.get("to")
        lines += [("From", request.get("from")), ("To", to if ";tag=" in to or status == 100 else f"{to};tag={tag or 'party'}"),
                  ("Call-ID", request.get("call-id")), ("CSeq", request.get("cseq")), ("Contact", f"<sip:{self.user}@{self.address}>")]
        lines += list(headers) + ([("Content-Type", content_type)] if body else []) + [("Content-Length", len(body))]
        return f"SIP/2.0 {status} {reason or 'Because'}\r\n".encode() + "".join(f"{n}: {v}\r\n" for n, v in lines).encode() + b"\r\n" + body

    def ask(self, method, uri=None, *, expect=range(200, 700), timeout=5.0, **parts):
        """A request outside any call, and its final answer."""
        parts.setdefault("call_id", f"{self.token(64)}@{self.ip}")
        self.send(self.request(method, uri, **parts))
        return self.expect(lambda m: m.status in (expect if not isinstance(expect, int) else (expect,)), timeout, parts["call_id"])

    # -------------------------------------------------------------- a phone's life

    def register(self, box, expires=300, password=None, accept=("SHA-256", "MD5"), expect=200, contact=None, from_uri=None):
        """REGISTER with digest; the final answer."""
        if self.box is None:
            self.box = box.udp
        uri = f"sip:{self.box[0]}"
        me = from_uri or f"sip:{self.user}@{self.box[0]}"
        call_id, parts = f"{self.token(64)}@{self.ip}", dict(from_uri=me, to_uri=me, without=("Contact",))
        contacts = [("Contact", contact or f"<sip:{self.user}@{self.address}>"), ("Expires", expires)]
        self.send(self.request("REGISTER", uri, call_id=call_id, headers=contacts, **parts))
        answer = self.expect(range(200, 700), call_id=call_id)
        if answer.status == 401:
            proof = self.authorization(answer, "REGISTER", uri, password, accept)
            self.send(self.request("REGISTER", uri, call_id=call_id, cseq=2, headers=contacts + [("Authorization", proof)], **parts))
            answer = self.expect(range(200, 700), call_id=call_id)
        if expect is not None:
            assert answer.status == expect, f"REGISTER of {self.user}: {answer}, expected {expect}"
        return answer

    def authorization(self, challenge, method, uri, password=None, accept=("SHA-256", "MD5"), nc=1):
        """The Authorization value for the best challenge that `accept` allows (RFC 3261, section 22; RFC 8760)."""
        name = "www-authenticate" if challenge.status == 401 else "proxy-authenticate"
        offers = [dict((k.lower(), q if q else w) for k, q, w in re.findall(r'(\w+)=(?:"([^"]*)"|([^\s,]+))', value)) for value in challenge.all(name)]
        known = [o for algorithm in accept for o in offers if o.get("algorithm", "MD5").upper() == algorithm]
        assert known, f"no challenge with {accept}: {challenge.all(name)}"
        offer = known[0]
        algorithm = offer.get("algorithm", "MD5")
        digest = (lambda text: hashlib.sha256(text.encode()).hexdigest()) if algorithm.upper() == "SHA-256" else (lambda text: hashlib.md5(text.encode()).hexdigest())
        nonce = offer["nonce"]
        a1 = digest(f"{self.user}:{offer['realm']}:{password or self.password}")
        a2 = digest(f"{method}:{uri}")
        fields = f'Digest username="{self.user}", realm="{offer["realm"]}", nonce="{nonce}", uri="{uri}", algorithm={algorithm}'
        if "qop" in offer:
            cnonce, count = self.token(), f"{nc:08x}"
            proof = digest(f"{a1}:{nonce}:{count}:{cnonce}:auth:{a2}")
            fields += f', qop=auth, nc={count}, cnonce="{cnonce}", response="{proof}"'
        else:
            proof = digest(f"{a1}:{nonce}:{a2}")
            fields += f', response="{proof}"'
        return fields + (f', opaque="{offer["opaque"]}"' if "opaque" in offer else "")

    # -------------------------------------------------------------- calls

    def call(self, box, number, *, codecs=("PCMU",), rtp=None, offer=None, headers=(), events=True, user=None):
        """Sends an INVITE; the caller's end of the dialog."""
        if self.box is None or self.transport == "udp":
            self.box = getattr(box, self.transport, box)
        rtp = rtp or RtpParty(self.ip, codecs[0])
        dialog = Dialog(self, rtp, f"{self.token(64)}@{self.ip}", self.token())
        dialog.uri = dialog.target = f"sip:{number}@{self.box[0]}:{self.box[1]}"
        dialog.local = f"sip:{user or self.user}@{self.ip}"
        dialog.codecs, dialog.events_offered = codecs, events
        dialog.invite(sdp(rtp.ip, rtp.port, codecs, events=events) if offer is None else offer, headers)
        self.dialogs.append(dialog)
        return dialog

    def expect_call(self, timeout=5.0, codecs=("PCMU",), rtp=None):
        """Waits for an INVITE; the called end of the dialog."""
        invite = self.expect(lambda m: m.method == "INVITE" and m.tag("to") is None, timeout)
        rtp = rtp or RtpParty(self.ip, codecs[0])
        dialog = Dialog(self, rtp, invite.get("call-id"), self.token())
        dialog.was_called(invite, codecs)
        self.dialogs.append(dialog)
        return dialog

    def close(self):
        self._open = False
        try:                    # wakes the receiving thread
            if self.transport == "udp":
                self.socket.sendto(b"", (self.ip, self.port))
            else:
                self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._thread.join(1)
        self.socket.close()
        for dialog in self.dialogs:
            dialog.rtp.close()


class Dialog:
    """One call as this party sees it. The steps return self where the story goes on."""

    def __init__(self, party, rtp, call_id, tag):
        self.party, self.rtp, self.call_id, self.local_tag = party, rtp, call_id, tag
        self.remote_tag, self.cseq, self.branch, self.source = None, 0, None, None
        self.invite_message, self.final, self.answer_sdp = None, None, None
        self.sdp_version, self.events_offered = 1, True

    def _send(self, method, *, branch=None, cseq=None, to_tag=True, uri=None, **parts):
        text = self.party.request(method, uri or self.target, call_id=self.call_id, cseq=cseq or self.cseq, branch=branch,
                                  from_uri=self.local, from_tag=self.local_tag, to_uri=self.uri,
                                  to_tag=self.remote_tag if to_tag else None, **parts)
        self.party.send(text, self.source)
        return text

    def expect(self, what, timeout=5.0):
        return self.party.expect(what, timeout, self.call_id)

    def _answer_to(self, method, timeout=5.0):
        return self.expect(lambda m: m.status and m.status >= 200 and m.cseq == (self.cseq, method), timeout)

    # -------------------------------------------------------------- the caller's steps

    def invite(self, offer, headers=()):
        self.cseq += 1
        self.branch = "z9hG4bK" + self.party.token()
        self.invite_text = self._send("INVITE", branch=self.branch, body=offer, headers=headers)
        return self

    def authenticate(self, password=None, accept=("SHA-256", "MD5")):
        """Answers the 401 or 407 to the INVITE with credentials."""
        challenge = self.refused((401, 407))
        header = "Authorization" if challenge.status == 401 else "Proxy-Authorization"
        self.remote_tag = None
        offer = sdp(self.rtp.ip, self.rtp.port, self.codecs)
        return self.invite(offer, [(header, self.party.authorization(challenge, "INVITE", self.target, password, accept))])

    def ringing(self, timeout=5.0):
        self.expect((180, 183), timeout)
        return self

    def answered(self, timeout=8.0, ack=True):
        final = self._answer_to("INVITE", timeout)
        if not 200 <= final.status < 300:
            self._ack_refusal(final)
            raise AssertionError(f"call refused: {final}")
        self.final, self.remote_tag, self.target = final, final.tag("to"), final.contact_uri
        if final.body:
            self.answer_sdp = final.sdp()
            self.rtp.peer = self.answer_sdp.address
            self.rtp.event_type = self.answer_sdp.event_type or self.rtp.event_type
        if ack:
            self.ack()
        return self

    def ack(self, body=""):
        self._send("ACK", body=body)
        return self

    def _ack_refusal(self, final):
        """RFC 3261, section 17.1.1.3: the same branch, the tag of the answer."""
        tag, self.remote_tag = self.remote_tag, final.tag("to")
        self._send("ACK", branch=self.branch, uri=self.invite_uri())
        self.remote_tag = tag

    def invite_uri(self):
        return self.invite_text.split(b" ", 2)[1].decode()

    def refused(self, statuses=range(300, 700), timeout=8.0):
        """The final refusal, acknowledged."""
        statuses = (statuses,) if isinstance(statuses, int) else statuses
        final = self._answer_to("INVITE", timeout)
        if final.status >= 300:
            self._ack_refusal(final)
        else:
            self.remote_tag, self.target = final.tag("to"), final.contact_uri
            self.ack()
        assert final.status in statuses, f"answer {final}, expected {statuses}"
        return final

    def cancel(self):
        """CANCEL, its 200 and the 487."""
        self._send("CANCEL", branch=self.branch, to_tag=False, uri=self.invite_uri())
        answer = self.expect(lambda m: m.cseq == (self.cseq, "CANCEL"))
        assert answer.status == 200, f"CANCEL answered {answer}"
        self.refused(487)
        return self

    # -------------------------------------------------------------- the called one's steps

    def was_called(self, invite, codecs):
        self.invite_message, self.codecs, self.source = invite, codecs, invite.source
        self.remote_tag, self.target = invite.tag("from"), invite.contact_uri
        self.uri = re.search(r"<([^>]+)>", invite.get("from"))[1] if "<" in invite.get("from") else invite.get("from").split(";")[0]
        self.local = re.search(r"<([^>]+)>", invite.get("to"))[1] if "<" in invite.get("to") else invite.get("to").split(";")[0]
        if invite.body:
            self.offer = invite.sdp()
            self.rtp.peer = self.offer.address
            self.rtp.event_type = self.offer.event_type or self.rtp.event_type

    def reply(self, status, reason="", **parts):
        self.party.send(self.party.response(self.invite_message, status, reason, tag=self.local_tag, **parts), self.source)
        return self

    def ring(self):
        return self.reply(180, "Ringing")

    def answer(self, timeout=5.0):
        self.reply(200, "OK", body=sdp(self.rtp.ip, self.rtp.port, self.codecs))
        self.expect("ACK", timeout)
        return self

    def refuse(self, status=486, timeout=5.0):
        self.reply(status)
        self.expect("ACK", timeout)
        return self

    def cancelled(self, timeout=5.0):
        """The CANCEL arrives, is answered, and the INVITE is ended with 487."""
        cancel = self.expect("CANCEL", timeout)
        assert cancel.branch == self.invite_message.branch, "CANCEL has another branch than its INVITE"
        self.party.send(self.party.response(cancel, 200, "OK", tag=self.local_tag), self.source)
        self.refuse(487)
        return self

    # -------------------------------------------------------------- both

    def hang_up(self, timeout=5.0):
        self.cseq += 1
        self._send("BYE")
        answer = self._answer_to("BYE", timeout)
        assert answer.status == 200, f"BYE answered {answer}"
        return self

    def hung_up(self, timeout=10.0):
        """The BYE arrives and is answered."""
        bye = self.expect("BYE", timeout)
        self.party.send(self.party.response(bye, 200, "OK"), bye.source if self.party.transport == "udp" else None)
        self.ended_at = bye.at
        return bye

    def info(self, digit, relay=True, timeout=5.0):
        """SIP INFO with one digit, in either of the two customary bodies."""
        self.cseq += 1
        body, kind = (f"Signal={digit}\r\nDuration=160\r\n", "application/dtmf-relay") if relay else (digit, "application/dtmf")
        self._send("INFO", body=body, content_type=kind)
        answer = self._answer_to("INFO", timeout)
        assert answer.status == 200, f"INFO answered {answer}"
        return self

    def reinvite(self, direction="sendrecv", ip=None, port=None, timeout=5.0, expect=200):
        """Changes the media: "sendonly" puts the other side on hold."""
        self.sdp_version += 1
        self.invite(sdp(ip or self.rtp.ip, port or self.rtp.port, self.codecs, direction, self.sdp_version))
        final = self._answer_to("INVITE", timeout)
        if final.status == 200:
            self.answer_sdp = final.sdp()
            self.rtp.peer = self.answer_sdp.address
            self.ack()
        else:
            self._ack_refusal(final)
        assert final.status == expect, f"re-INVITE answered {final}, expected {expect}"
        return final

    def refer(self, to, headers=(), expect=202, timeout=5.0):
        """Asks the other side to call somebody else in our place (RFC 3515)."""
        answer = self.ask("REFER", timeout, headers=[("Refer-To", to), *headers])
        assert answer.status == expect, f"REFER answered {answer}, expected {expect}"
        return answer

    def told(self, status, timeout=10.0):
        """The NOTIFYs arrive and are answered, up to the one that says `status`; all that they said."""
        said = []
        while status not in said:
            notify = self.expect("NOTIFY", timeout)
            self.party.send(self.party.response(notify, 200, "OK"), notify.source if self.party.transport == "udp" else None)
            assert notify.get("event").startswith("refer") and "sipfrag" in notify.get("content-type"), notify
            said.append(int(notify.body.split()[1]))
            over = notify.get("subscription-state").startswith("terminated")
            assert over == (said[-1] >= 200), f"{said}, {notify.get('subscription-state')}"
        return said

    def named(self):
        """This dialog as a Replaces header field of the other side's names it (RFC 3891)."""
        return f"{self.call_id};to-tag={self.remote_tag};from-tag={self.local_tag}"

    def ask(self, method, timeout=5.0, **parts):
        """Another request within the dialog, and its answer."""
        self.cseq += 1
        self._send(method, **parts)
        return self._answer_to(method, timeout)


def _name(what):
    return "a certain message" if callable(what) else what
