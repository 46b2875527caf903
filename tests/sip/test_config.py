"""Configuration: every mistake is told at once, with its place; the exit code says what happened."""
import json
import re
import subprocess

import box as boxes
import programs
import pytest
from box import flow, phone, trunk


def check(path, *more, timeout=10):
    return subprocess.run([programs.tipring(), "check", str(path), *map(str, more)], capture_output=True, text=True, timeout=timeout)


def serve(path, timeout=10):
    return subprocess.run([programs.tipring(), "serve", "--config", str(path)], capture_output=True, text=True, timeout=timeout)


def places(text):
    """(line, column) of every message, as 7:3 or as line 7, column 3."""
    return {(int(a or c), int(b or d)) for a, b, c, d in re.findall(r":(\d+):(\d+)|[Ll]ine (\d+),? col(?:umn)? (\d+)", text)}


@pytest.fixture
def written(tmp_path):
    """written(text): a configuration file."""
    def write(text, name="tipring.toml"):
        path = tmp_path / name
        path.write_text(text)
        return path
    return write


@pytest.fixture
def good(tmp_path):
    (tmp_path / "data").mkdir()
    return boxes.config(tmp_path, trunk(), phone("201"), flow(url="http://127.0.0.1:9/flow"), allow=["127.0.0.1:9"])


def test_a_good_configuration_passes(written, good):
    """Shows: exit 0."""
    done = check(written(good))
    assert done.returncode == 0, done.stdout + done.stderr


MISTAKES = {
    # what is replaced -> by what; the text that marks the line the message must name
    "unknown key": ('country = "us"', 'country = "us"\ncolour = "red"', "colour"),
    "unknown table": ("[limits]", "[limit]", "[limit]"),
    "unknown country": ('country = "us"', 'country = "atlantis"', "country"),
    "unknown time zone": ('timezone = "UTC"', 'timezone = "Mars/Olympus"', "timezone"),
    "wrong type": ("calls_max = 64", 'calls_max = "many"', "calls_max"),
    "number out of range": ("calls_max = 64", "calls_max = 0", "calls_max"),
    "an address that is none": ('udp = "127.0.0.1:0"', 'udp = "127.0.0.1"', "udp ="),
    "a port range upside down": ('rtp_udp_ports = "0"', 'rtp_udp_ports = "40399-40000"', "rtp_udp_ports"),
    "unknown kind of line": ('kind = "sip-trunk"', 'kind = "sip-trank"', "sip-trank"),
    "unknown codec": ('codecs = ["PCMU", "PCMA"]\nflow', 'codecs = ["PCMU", "G.999"]\nflow', "G.999"),
    "a network that is none": ('peers = ["127.0.0.2/32", "127.16.0.0/12"]', 'peers = ["127.0.0.2/99"]', "peers"),
    "a flow that does not exist": ('flow = "office"', 'flow = "offfice"', "offfice"),
    "unknown dialect": ('dialect = "opentact"', 'dialect = "esperanto"', "esperanto"),
    "a URL that is none": ('url = "http://127.0.0.1:9/flow"', 'url = "not a url"', "not a url"),
    "a phone without a password": ('password = "opensesame"\n', "", "sip-phone"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_each_mistake_is_told_with_its_place(written, good, mistake):
    """Shows: check exits 1 and serve 64; the message names the line."""
    old, new, mark = MISTAKES[mistake]
    assert old in good, f"the good configuration has no {old!r}"
    text = good.replace(old, new, 1)
    path = written(text)
    done = check(path)
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    marked = [number for number, line in enumerate(text.split("\n"), 1) if mark in line]
    told = {line for line, _ in places(said)}
    near = set(marked) | {n - k for n in marked for k in (1, 2)} if mistake == "a phone without a password" else set(marked)
    assert told & near, f"expected a message about line {marked}:\n{said}"
    assert serve(path).returncode == 64


def test_doubts_about_documents_are_shown_with_the_configuration(written, tmp_path):
    """Shows: exit 0; keys without effect, and the warnings of a document with its own name and places, until the configuration settles them."""
    (tmp_path / "data").mkdir()
    pivot = {"module": "pivot", "data": {"voice_url": "http://192.168.1.20:8080/route"}}
    (tmp_path / "account.json").write_text(json.dumps({"callflows": [{"numbers": ["100"], "flow": pivot}]}))
    office = flow("office", None, "kazoo", file="account.json", fallback_url="https://office.example/")
    for allow, codes in (([], {"TR-CFG-NO-EFFECT", "TR-HOOK-GUARDED"}), (["192.168.1.20:8080"], {"TR-CFG-NO-EFFECT"})):
        done = check(written(boxes.config(tmp_path, trunk(), office, allow=allow)))
        assert done.returncode == 0 and f"{len(codes)} warnings" in done.stdout, done.stdout + done.stderr
        assert set(re.findall(r"warning\[([A-Z-]+)\]", done.stderr)) == codes
        assert (not allow) == ("account.json:1:" in done.stderr)


def test_a_flow_that_is_run_says_what_is_wrong_with_it(tmp_path):
    """Shows: place, path and detail of each mistake, as check does."""
    path = tmp_path / "bad.json"
    path.write_text(json.dumps({"callflows": [{"numbers": ["1", "1"], "flow": {"module": "teleport"}}]}))
    done = subprocess.run([programs.tipring(), "flow", "run", str(path)], capture_output=True, text=True, timeout=10)
    assert done.returncode == 1
    assert "callflows[0].flow.module: teleport" in done.stderr and "callflows[0].numbers[1]: 1" in done.stderr


def test_all_mistakes_are_told_at_once(written, good):
    """Shows: five mistakes, five places, in one run, by check and by serve alike."""
    text = good
    marks = []
    for mistake in ("unknown key", "number out of range", "a port range upside down", "unknown codec", "a flow that does not exist"):
        old, new, mark = MISTAKES[mistake]
        text = text.replace(old, new, 1)
        marks.append(mark)
    path = written(text)
    expected = {number for number, line in enumerate(text.split("\n"), 1) for mark in marks if mark in line}
    for done in (check(path), serve(path)):
        said = done.stdout + done.stderr
        assert expected <= {line for line, _ in places(said)}, f"expected messages about lines {sorted(expected)}:\n{said}"
        assert all(column >= 1 for _, column in places(said))


def test_a_file_that_is_no_toml(written):
    """Shows: the place of the first syntax error."""
    done = check(written('schema = 1\n[box]\nname = "unclosed\n'))
    assert done.returncode == 1
    assert any(line == 3 for line, _ in places(done.stdout + done.stderr)), done.stdout + done.stderr


@pytest.mark.parametrize("data", [b"", b"\xff\xfe\x00", b"[" * 10_000, b"a=" + b"[" * 5_000, b"schema = 99\n"], ids=["empty", "binary", "brackets", "nested", "from the future"])
def test_hopeless_files_are_refused_quickly(tmp_path, data):
    """Shows: no panic, no hang, exit 1 and 64."""
    path = tmp_path / "x.toml"
    path.write_bytes(data)
    done = check(path)
    assert done.returncode == 1, done.stdout + done.stderr
    done = serve(path)
    assert done.returncode == 64
    assert "panicked" not in done.stderr


def test_a_missing_file_and_a_wrong_command_line(tmp_path):
    """Shows: 64 (or 66) for a file that is not there, 2 for wrong usage."""
    assert check(tmp_path / "none.toml").returncode in (64, 66)
    assert serve(tmp_path / "none.toml").returncode in (64, 66)
    for arguments in ([], ["check"], ["dance"], ["serve", "--config"], ["status", "--nope"]):
        done = subprocess.run([programs.tipring(), *arguments], capture_output=True, text=True, timeout=10)
        assert done.returncode == 2, f"{arguments}: {done.returncode}"


def test_secrets_are_not_repeated(written, good):
    """Shows: a message about a line with a password does not print it."""
    path = written(good.replace('password = "opensesame"', 'password = "opensesame"\nusernam = "x"'))
    done = check(path)
    assert done.returncode == 1 and "opensesame" not in done.stdout + done.stderr


def test_flow_documents_are_checked(tmp_path):
    """Shows: a good document 0, a bad one 1 with its place, both together 1."""
    good, bad = tmp_path / "good.xml", tmp_path / "bad.xml"
    good.write_text("<Response>\n  <Say>Hello.</Say>\n  <Hangup/>\n</Response>\n")
    bad.write_text("<Response>\n  <Say>Hello.\n</Response>\n")
    assert check(good).returncode == 0
    done = check(bad)
    assert done.returncode == 1
    assert {line for line, _ in places(done.stdout + done.stderr)} & {2, 3}, done.stdout + done.stderr
    assert check(good, bad).returncode == 1


def test_a_second_daemon_on_the_same_folder_is_refused(tipring):
    """Shows: exit 75, and the first goes on."""
    box = tipring()
    assert serve(box.config_file).returncode == 75
    assert box.status()["ready"]


def test_a_port_that_is_taken(tipring, party):
    """Shows: serve says which and ends with 75 or 73; it does not run half."""
    taken = party("127.0.0.1")
    box = tipring(started=False, udp=taken.address)
    done = serve(box.config_file)
    assert done.returncode in (70, 73, 75), done.stdout + done.stderr
    assert str(taken.port) in done.stdout + done.stderr
