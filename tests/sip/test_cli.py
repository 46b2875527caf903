"""The command line: what it prints and the exit codes it ends with."""
import json
import re
import subprocess

import box as boxes
import programs
import pytest


def tipring_run(*arguments, timeout=20):
    return subprocess.run([programs.tipring(), *map(str, arguments)], capture_output=True, text=True, timeout=timeout)


MENU = """<Response>
  <Gather dtmf_length="1" timeout="5000">
    <Say>Press one.</Say>
    <DTMF value="1"><Callback url="http://flow.test/one" tag="chosen"><Error><Hangup tag="no-answer"/></Error></Callback></DTMF>
    <Default><Hangup tag="other"/></Default>
    <Error><Hangup tag="nothing"/></Error>
  </Gather>
</Response>
"""


@pytest.fixture
def menu(tmp_path):
    path = tmp_path / "menu.xml"
    path.write_text(MENU)
    return path


def test_version_and_help_go_to_standard_output():
    """Shows: exit 0; the words are there."""
    for option in ("--help", "--version"):
        done = tipring_run(option)
        assert done.returncode == 0 and "tipring" in done.stdout.lower() and done.stderr == ""


@pytest.mark.parametrize("arguments", [("status",), ("status", "--json"), ("call", "ls"), ("call", "hangup", "x"), ("call", "start", "--to", "1")])
def test_without_a_daemon_it_says_so(tmp_path, arguments):
    """Shows: exit 69 and a sentence on standard error."""
    done = tipring_run(*arguments, "--socket", tmp_path / "no.sock")
    assert done.returncode == 69
    assert done.stderr.strip() and done.stdout == ""


def test_status_for_people_and_for_programs(tipring):
    """Shows: plain text names the lines; --json has what the contract lists."""
    box = tipring()
    text = box.run("status", check=0).stdout
    assert "trunk1" in text
    status = box.status()
    assert {"version", "ready", "sip", "lines", "calls", "counters"} <= set(status)
    assert {"calls_total", "calls_active", "legs_active", "rtp_sockets", "sip_transactions", "sip_dialogs", "timers", "fetches_active",
            "sip_silent_drops", "sip_malformed"} <= set(status["counters"])
    assert {"name", "kind", "state", "detail", "contacts"} <= set(status["lines"][0])


def test_malformed_messages_are_counted(tipring, provider):
    """Shows: sip_malformed rises."""
    box = tipring()
    provider.box = box.udp
    before = box.counter("sip_malformed")
    provider.send(b"OPTIONS\r\n\r\n")
    provider.ask("OPTIONS")
    assert box.counter("sip_malformed") == before + 1


def test_explain():
    """Shows: a code in words: what, why, what to do; in any case of letters; an unknown one is not found."""
    done = tipring_run("explain", "TR-CFG-UNKNOWN")
    assert done.returncode == 0 and len(done.stdout.split()) > 10
    assert tipring_run("explain", "tr-cfg-unknown").stdout == done.stdout
    assert tipring_run("explain", "no-such-code").returncode == 66


def test_explain_knows_the_codes_that_check_prints(tmp_path):
    """Shows: every code in the messages about a bad file."""
    path = tmp_path / "x.toml"
    path.write_text("schema = 2\ncolour = 'red'\n[limits]\ncalls_max = 0\n[[line]]\nname = 'a'\nkind = 'b'\n")
    said = tipring_run("check", path)
    codes = set(re.findall(r"TR-[A-Z0-9-]+", said.stdout + said.stderr))
    assert len(codes) >= 3, said.stdout + said.stderr
    for code in codes:
        assert tipring_run("explain", code).returncode == 0, code


@pytest.mark.parametrize("keys, hook, expected, unexpected", [
    ("1", "http://flow.test/one=200:<Response><Hangup tag='went'/></Response>", "went", "no-answer"),
    ("1", "http://flow.test/one=timeout", "no-answer", "went"),
    ("1", "http://flow.test/one=500:", "no-answer", "went"),
    ("7", None, "other", "nothing"),
    (None, None, "nothing", "other"),
])
def test_flow_run_walks_through_a_document(menu, keys, hook, expected, unexpected):
    """Shows: keys and answers given on the command line choose the way, without any call."""
    arguments = ["flow", "run", menu, "--from", "15550100", "--to", "100"]
    arguments += ["--keys", keys] if keys else []
    arguments += ["--hook", hook] if hook else []
    done = tipring_run(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"({expected})" in done.stdout and f"({unexpected})" not in done.stdout, done.stdout


def test_flow_run_shows_the_request_it_would_make(menu):
    """Shows: the six fields, in the plain and in the JSON form."""
    answer = "http://flow.test/one=200:<Response/>"
    plain = tipring_run("flow", "run", menu, "--from", "15550100", "--to", "100", "--keys", "1", "--hook", answer)
    assert plain.returncode == 0
    assert "state=live&from=15550100&tn=100&tag=chosen" in plain.stdout, plain.stdout
    as_json = tipring_run("flow", "run", menu, "--from", "15550100", "--to", "100", "--keys", "1", "--hook", answer, "--json")
    assert as_json.returncode == 0
    text = as_json.stdout.strip()
    try:
        json.loads(text)
    except ValueError:
        for line in text.split("\n"):
            json.loads(line)


def test_flow_run_is_the_same_every_time(menu):
    """Shows: two runs print the same."""
    runs = [tipring_run("flow", "run", menu, "--keys", "1", "--at", "2026-01-05T10:00:00Z", "--hook", "http://flow.test/one=timeout").stdout for _ in range(2)]
    assert runs[0] == runs[1] != ""


def test_flow_run_of_a_bad_or_missing_document(tmp_path):
    """Shows: 1 (or 64) for a document that is none, 64 (or 66) for one that is not there."""
    bad = tmp_path / "bad.xml"
    bad.write_text("<Response><Say></Response>")
    done = tipring_run("flow", "run", bad)
    assert done.returncode in (1, 64) and done.stderr + done.stdout
    assert tipring_run("flow", "run", tmp_path / "none.xml").returncode in (64, 66)


@pytest.mark.parametrize("option, value, said", [
    ("--hook", "foo", "URL=200:body"), ("--hook", "=200:", "URL=200:body"), ("--hook", "http://x=999:y", "URL=200:body"),
    ("--hook", "http://x=200:@nowhere", "nowhere does not exist"), ("--keys", "1x", "`x` is not a key"),
])
def test_flow_run_refuses_what_it_cannot_script(menu, option, value, said):
    """Shows: exit 2 and the mistake, instead of a run that ignores it."""
    done = tipring_run("flow", "run", menu, option, value)
    assert done.returncode == 2 and said in done.stderr


def test_check_sends_no_commands_to_the_terminal(tmp_path):
    """Shows: control characters of a broken file are not printed, and a long line is cut."""
    path = tmp_path / "escape.toml"
    path.write_text("schema = 1\n\x1b[31mx" + "y" * 5000 + "\n")
    done = tipring_run("check", path)
    assert done.returncode == 1 and "\x1b" not in done.stderr and max(map(len, done.stderr.splitlines())) < 400


def test_the_schedule_follows_the_time_given(tmp_path):
    """Shows: --at decides which block of Schedule runs."""
    path = tmp_path / "hours.xml"
    path.write_text("<Response><Schedule dow='mon,tue,wed,thu,fri' time='09:00:00-17:00:00' timezone='UTC'><Hangup tag='open'/></Schedule><Hangup tag='shut'/></Response>")
    for at, expected in (("2026-01-05T10:00:00Z", "open"), ("2026-01-05T18:00:00Z", "shut"), ("2026-01-04T10:00:00Z", "shut")):
        done = tipring_run("flow", "run", path, "--at", at)
        assert done.returncode == 0 and expected in done.stdout, f"{at}: {done.stdout}"


# ------------------------------------------------------------------ which dialect, and where a document lies


def office(tmp_path, document, dialect="twiml", **keys):
    """A configuration whose flow has `document` as its file, and the path of both."""
    path = tmp_path / "hello.xml"
    path.write_bytes(document if isinstance(document, bytes) else document.encode())
    config = tmp_path / "tipring.toml"
    config.write_text(boxes.config(tmp_path, boxes.flow("office", None, dialect, file=str(path), **keys)))
    return config, path


TWIML = '<Response><Gather numDigits="1" action="http://a.test/next"><Say>Press one.</Say></Gather></Response>'


def test_a_document_is_checked_as_the_configuration_beside_it_says(tmp_path):
    """Shows: the flow's dialect without --dialect; by its ending otherwise, and it is said which; --dialect counts most."""
    config, path = office(tmp_path, TWIML)
    done = tipring_run("check", config, path)
    assert done.returncode == 0 and "read as twiml, as the flow `office` says" in done.stdout and "warning[" not in done.stderr, done.stdout + done.stderr
    alone = tipring_run("check", path)
    assert "read as opentact, by its ending" in alone.stdout + alone.stderr
    assert "read as" not in tipring_run("check", path, "--dialect", "twiml").stdout
    run = tipring_run("flow", "run", path, "--config", config, "--keys", "1", "--hook", "http://a.test/next=200,text/xml:<Response><Hangup/></Response>")
    assert run.returncode == 0 and "POST http://a.test/next" in run.stdout and "twiml" in run.stdout, run.stdout


def test_the_name_of_a_vendor_s_reading_leads_to_its_profile(tmp_path):
    """Shows: --dialect laml and dialect = "texml" are refused with what to write instead."""
    config, path = office(tmp_path, TWIML, dialect="texml")
    assert 'profile = "texml"' in tipring_run("check", config).stderr
    done = tipring_run("check", path, "--dialect", "laml")
    assert done.returncode == 64 and '"laml"' in done.stderr and "--dialect twiml" in done.stderr


ENCODED = [("iso-8859-1", "Grüße"), ("windows-1251", "Привет")]


@pytest.mark.parametrize("encoding, words", ENCODED)
def test_encodings_are_the_same_wherever_a_document_is_read(tmp_path, encoding, words):
    """Shows: check, flow run, and a file of the configuration read what its declaration says."""
    config, path = office(tmp_path, f"<?xml version='1.0' encoding='{encoding}'?><Response><Say>{words}</Say></Response>".encode(encoding))
    assert tipring_run("check", config, path).returncode == 0
    for done in (tipring_run("flow", "run", path, "--dialect", "twiml"), tipring_run("flow", "run", path, "--config", config)):
        assert done.returncode == 0 and words in done.stdout, done.stdout + done.stderr


def test_a_file_of_the_box_has_no_relative_addresses(tmp_path):
    """Shows: refused with its place where the document is a file; fine where it comes from a server, as --base makes believe."""
    config, path = office(tmp_path, '<Response>\n<Gather numDigits="1" action="next"><Say>a</Say></Gather></Response>')
    for done in (tipring_run("check", config), tipring_run("check", config, path)):
        assert done.returncode == 1 and "TR-FLOW-RELATIVE" in done.stderr and "2:1" in done.stderr, done.stderr
    assert tipring_run("check", path, "--dialect", "twiml").returncode == 0
    run = tipring_run("flow", "run", path, "--dialect", "twiml", "--base", "http://a.test/menu/first", "--keys", "1",
                      "--hook", "http://a.test/menu/next=200,text/plain:Good bye", "-v")
    assert run.returncode == 0 and 'field    Digits=1' in run.stdout and "Good bye" in run.stdout, run.stdout + run.stderr


def test_flow_run_ends_with_1_when_the_flow_failed(tmp_path):
    """Shows: a caller who only hears that something is wrong."""
    _, path = office(tmp_path, "<Response><Redirect>http://a.test/away</Redirect></Response>")
    done = tipring_run("flow", "run", path, "--dialect", "twiml", "--hook", "http://a.test/away=500:")
    assert done.returncode == 1 and "flow_error" in done.stdout


def test_an_empty_key_of_signatures_is_refused(tmp_path):
    """Shows: auth_token = "" is no way to say that nothing is signed; methods may be written small."""
    config, _ = office(tmp_path, TWIML, auth_token="", method="get")
    done = tipring_run("check", config)
    assert done.returncode == 1 and "auth_token" in done.stderr and "method" not in done.stderr
