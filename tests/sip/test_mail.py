"""Messages in mailboxes, told by webhook and by e-mail."""
import json
import ssl
import subprocess
import time

import pytest

import programs
from box import phone
from flow_server import Answer
from mail_server import MailServer
from sipp import free_port
from test_lamps import leave_message, mailbox, office
from waiting import until

ANN = "ann@office.example"


@pytest.fixture
def mails(_kept):
    """mails(...): a mail server."""
    return lambda *args, **keys: _kept.add(MailServer(*args, **keys))


def mail(port, **keys):
    keys = {"host": "127.0.0.1", "port": port, "tls": "none", "from": "box@office.example", **keys}
    return "[mail]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())


def leaf(directory):
    """A mail server's side of TLS; its certificate is nobody's authority."""
    key, certificate = directory / "key.pem", directory / "certificate.pem"
    subprocess.run([programs.program("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                    "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE",
                    "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def stored(box):
    return json.loads((box.data / "mailboxes" / "ann" / "mailbox.json").read_text())["messages"]


def told(box):
    """Nobody is owed a letter any more."""
    return lambda: not any(message.get("mail") for message in stored(box))


def test_a_message_is_an_event_and_a_letter_with_the_recording(office, provider, server, mails):
    """Shows: caller, time, length; the owner's and the mailbox's addresses, each alone; the recording to the bit."""
    server.answer("/events", Answer(status=204, content_type=None))
    mail_server = mails()
    user = f'[[user]]\nname = "ann"\nphones = ["201"]\nmailbox = "ann"\nemail = "{ANN}"\n'
    box = office(phone("201"), mailbox(email=["front@office.example"]), user, mail(mail_server.port),
                 f'[webhooks]\nurl = {json.dumps(server.url("/events"))}\n')
    leave_message(box, provider)
    events = lambda: [json.loads(request.body) for request in server.requests if request.path == "/events"]
    event = until(lambda: next((event for event in events() if event["type"] == "voicemail.new"), None), 15, lambda: str(events()))
    message = event["data"]["message"]
    assert (event["data"]["mailbox"], event["data"]["new"], event["data"]["saved"], message["from"]) == ("ann", 1, 0, "15550100")
    assert message["length_ms"] > 1000 and message["at"].endswith("Z")

    mail_server.wait(2)
    letters = {letter.envelope_to[0]: letter for letter in mail_server.letters}
    assert set(letters) == {ANN, "front@office.example"} and all(len(letter.envelope_to) == 1 for letter in mail_server.letters)
    letter = letters[ANN]
    assert letter["To"] == ANN and letter.envelope_from == "box@office.example" and letter["Auto-Submitted"] == "auto-generated"
    assert letter["Subject"].startswith("Voicemail from 15550100 (0:0")
    assert "From: 15550100" in letter.get_body().get_content()
    [recording] = letter.iter_attachments()
    assert recording.get_content_type() == "audio/wav" and recording.get_filename().endswith(".wav")
    assert recording.get_content() == (box.data / "mailboxes" / "ann" / message["file"]).read_bytes()
    until(told(box), 5, "nothing owed")


def test_a_server_that_is_away_gets_it_later_even_from_another_run_of_the_box(office, provider, mails):
    """Shows: the letter is owed over a restart, and is sent once."""
    port = free_port("127.0.0.1")
    box = office(phone("201"), mailbox(email=[ANN]), mail(port))
    leave_message(box, provider)
    until(lambda: "TR-MAIL-LATER" in box.log(), 15, "an attempt")
    assert stored(box)[0]["mail"] == [ANN]
    box.finish()
    mail_server = mails(port)
    box.start()
    mail_server.wait()
    until(told(box), 5, "nothing owed")
    box.finish()
    box.start()
    time.sleep(1)           # long enough for a second letter
    assert len(mail_server.letters) == 1


@pytest.mark.parametrize("answer,code,owed", [("550 no such user", "TR-MAIL-REFUSED", False), ("451 try later", "TR-MAIL-LATER", True), ("530 authenticate first", "TR-MAIL-LATER", True)])
def test_what_the_server_says_decides(office, provider, mails, answer, code, owed):
    """Shows: a refusal for good ends it; what can be put right, or passes, is tried again."""
    mail_server = mails(refuses=answer)
    box = office(phone("201"), mailbox(email=[ANN]), mail(mail_server.port))
    leave_message(box, provider)
    until(lambda: code in box.log(), 15, box.log)
    until(lambda: bool(stored(box)[0].get("mail")) == owed, 5, "what is owed")
    assert len(stored(box)) == 1, "the message stays"


@pytest.mark.parametrize("tls", ["starttls", "tls"])
def test_letters_go_over_tls_with_a_password(office, provider, mails, tmp_path, monkeypatch, tls):
    """Shows: both kinds of TLS; the certificate is one that the system trusts; the password goes nowhere else."""
    (tmp_path / "tls").mkdir()
    context = leaf(tmp_path / "tls")
    mail_server = mails(context=context, at_once=tls == "tls", account=("box", "open-sesame"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "tls" / "certificate.pem"))
    box = office(phone("201"), mailbox(email=[ANN]), mail(mail_server.port, tls=tls, user="box", password="open-sesame"))
    leave_message(box, provider)
    mail_server.wait()
    assert set(mail_server.accounts) == {("box", "open-sesame")}
    assert "open-sesame" not in box.log()


def test_a_server_without_tls_or_without_a_good_certificate_learns_nothing(office, provider, mails, tmp_path, monkeypatch):
    """Shows: starttls is demanded, not tried; an unknown certificate is refused before the password."""
    (tmp_path / "tls").mkdir()
    plain, unknown = mails(), mails(context=leaf(tmp_path / "tls"), account=("box", "open-sesame"))
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    for mail_server in (plain, unknown):
        box = office(phone("201"), mailbox(email=[ANN]), mail(mail_server.port, tls="starttls", user="box", password="open-sesame"))
        leave_message(box, provider)
        until(lambda: "TR-MAIL-LATER" in box.log(), 15, box.log)
        assert not mail_server.letters and not mail_server.accounts
