"""Letters that scenarios send, by a mail server of their own choice."""
import json

import pytest

from hostile import HostileServer, never_answers
from sipp import free_port
from test_mail import leaf, mails  # noqa: F401
from test_voxengine import begin, log, scenario
from waiting import until

SENDS = """
VoxEngine.addEventListener(AppEvents.Started, async () => {
  const { server, to, options } = JSON.parse(VoxEngine.customData());
  Logger.write(JSON.stringify(await Net.sendMailAsync(server, 'box@office.example', to, 'Missed call \\u00e4', 'From 15550100', options)));
  VoxEngine.terminate();
});
"""


@pytest.fixture
def answers(tipring, tmp_path):
    """answers(port, ...): what a session is told of a letter to that port of this machine."""
    def ask(port, server="127.0.0.1", to="ann@office.example", listed=True, timeout=20, **options):
        box = tipring(scenario(tmp_path, SENDS), allow=[f"127.0.0.1:{port}"] if listed else [])
        session = begin(box, json.dumps({"server": server, "to": to, "options": {"port": port, **options}}))
        [line] = until(lambda: log(box, session), timeout, "an answer")
        box.wait_idle()
        return json.loads(line), box
    return ask


def test_a_letter_goes_to_everybody_named(answers, mails):  # noqa: F811
    """Shows: both texts; who is on bcc is in the envelope alone; the server's code."""
    mail_server = mails()
    told, _ = answers(mail_server.port, to=["ann@office.example", "bob@office.example"], html="<p>From <b>15550100</b>", cc="carl@office.example", bcc="dora@office.example")
    assert told == {"code": 250}
    letter = mail_server.wait()
    assert letter.envelope_from == "box@office.example"
    assert sorted(letter.envelope_to) == [f"{name}@office.example" for name in ("ann", "bob", "carl", "dora")]
    assert (letter["Subject"], letter["Cc"], letter["Bcc"]) == ("Missed call \u00e4", "carl@office.example", None)
    assert letter.get_body(("plain",)).get_content().strip() == "From 15550100"
    assert letter.get_body(("html",)).get_content().strip() == "<p>From <b>15550100</b>"
    assert "dora" not in letter.as_string()


def test_a_login_goes_over_tls(answers, mails, tmp_path, monkeypatch):  # noqa: F811
    """Shows: STARTTLS with a certificate that the system trusts; a wrong password is told by its code, and stands in no log."""
    (tmp_path / "tls").mkdir()
    context = leaf(tmp_path / "tls")
    mail_server = mails(context=context, account=("box", "open-sesame"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "tls" / "certificate.pem"))
    assert answers(mail_server.port, login="box", password="open-sesame")[0] == {"code": 250}
    assert mail_server.accounts[-1] == ("box", "open-sesame") and len(mail_server.letters) == 1
    told, box = answers(mail_server.port, login="box", password="wrong-sesame")
    assert told["code"] == 535 and told["error"]
    assert len(mail_server.letters) == 1 and "sesame" not in box.log()


def test_what_the_server_does_not_take_is_told(answers, mails):  # noqa: F811
    """Shows: its code and its words."""
    mail_server = mails(refuses="550 no such user")
    told, box = answers(mail_server.port)
    assert told["code"] == 550 and "no such user" in told["error"]
    until(lambda: "TR-MAIL-OF-FLOW" in box.log(), 5, box.log)
    assert not mail_server.letters


def test_a_server_of_the_office_must_be_listed(answers, mails):  # noqa: F811
    """Shows: -4 for an address that flows may not reach; nothing is sent."""
    mail_server = mails()
    assert answers(mail_server.port, listed=False)[0] == {"code": -4, "error": "TR-HOOK-SSRF"}
    assert not mail_server.letters


def test_a_server_that_is_away_or_silent_is_told(answers, _kept):
    """Shows: -4 where nobody listens, -7 for one that says nothing."""
    assert answers(free_port("127.0.0.1"))[0] == {"code": -4, "error": "TR-HOOK-UNREACH"}
    silent = _kept.add(HostileServer(never_answers))
    assert answers(silent.port, timeout=40)[0] == {"code": -7, "error": "TR-HOOK-TIMEOUT"}
