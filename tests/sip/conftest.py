"""Fixtures for tests of the whole daemon. See ../README.md."""
import shutil
import signal

import pytest

import analog
import box as boxes
import dialects
from baresip import Baresip
from flow_server import Answer, FlowServer
from rtp_party import RtpParty
from sip_party import SipParty
from servers.cgi_server import CgiServer
from servers.wsgi_server import WsgiServer
from sipp import Sipp
from stream_server import StreamServer
from waiting import until

TEST_LIMIT_S = 150          # no test hangs: a longer one says so with @pytest.mark.limit(seconds)


def pytest_configure(config):
    config.addinivalue_line("markers", "limit(seconds): how long this test may take before it is failed")
    config.addinivalue_line("markers", "load: many calls or messages; takes tens of seconds")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    mark = item.get_closest_marker("limit")
    seconds = mark.args[0] if mark else TEST_LIMIT_S

    def expired(*_):
        raise AssertionError(f"the test ran longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, expired)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows what the box logged and what came over SIP."""
    report = (yield).get_result()
    if not report.failed:
        return
    item.has_failed = True
    for box in getattr(item, "boxes", []):
        report.sections.append((f"tipring's log ({box.log_path})", box.log()[-8000:]))
    for party in getattr(item, "parties", []):
        ladder = "\n".join(f"{m.at:.3f} {m!r}" for m in party.seen[-25:])
        report.sections.append((f"received by SIP party {party.address}", ladder))


class _Kept:
    """Closes what a test opened, newest first, whatever happens."""

    def __init__(self):
        self.items = []

    def add(self, item):
        self.items.append(item)
        return item

    def close(self):
        errors = []
        for item in reversed(self.items):
            try:
                (getattr(item, "stop", None) or item.close)()
            except Exception as error:      # the others must be closed too
                errors.append(error)
        if errors:
            raise errors[0]


@pytest.fixture
def tmp_path(request, tmp_path):
    """The test's own folder. Only that of a failed test is kept: each box in it has megabytes in reserve."""
    yield tmp_path
    if not getattr(request.node, "has_failed", False):
        shutil.rmtree(tmp_path)


@pytest.fixture
def _boxes(request, tmp_path):
    """Outermost, so that the parties are gone (and have hung up) before the box is asked to end."""
    request.node.boxes = []
    yield request.node.boxes
    errors = []
    for box in request.node.boxes:
        try:
            if box.process is None or getattr(box, "ended", False):
                continue
            if getattr(request.node, "has_failed", False):
                assert not box.panic_lines(), f"panic in the log: {box.panic_lines()[:3]}"
            else:
                box.finish()
        except AssertionError as error:
            errors.append(error)
        finally:
            box.kill() if box.process else None
    if errors:
        request.node.has_failed = True
        raise errors[0]


@pytest.fixture
def _kept(request, _boxes):
    kept = _Kept()
    yield kept
    try:
        kept.close()
    except Exception:
        request.node.has_failed = True      # pytest says so only once everything is torn down
        raise


@pytest.fixture
def server(_kept):
    """The application's web server; nothing is answered but what the test scripted."""
    return _kept.add(FlowServer())


@pytest.fixture
def serve(_kept):
    """serve(application): a WSGI application of `servers`, at a free port."""
    return lambda application, **keys: _kept.add(WsgiServer(application, **keys))


@pytest.fixture
def cgi(tmp_path, _kept):
    """cgi(script, NAME=value, ...): a script that is started for each request."""
    return lambda script, **environment: _kept.add(CgiServer(script, tmp_path / "script.log", **environment))


@pytest.fixture
def desk(party):
    """desk(box, number, ...): a registered telephone; its line is in the configuration by box.phone."""
    def make(box, number, **keys):
        made = party(f"127.0.0.{int(number) % 100 + 10}", user=number, password="opensesame", **keys)
        made.register(box)
        until(lambda: box.line(f"desk{number}")["contacts"] == 1, what=f"a contact for {number}")
        return made
    return make


@pytest.fixture
def tipring(request, tmp_path, server, _boxes):
    """start(table, ..., key=value): a box with a trunk whose calls run the flow at /flow.

    Tables come from box.trunk, box.phone and box.flow; without a trunk or a flow
    among them the usual one is added. Devices of `analog` are waited for, and their lines.
    """
    def start(*tables, started=True, devices=(), **keys):
        tables = [*(device.table() for device in devices), *tables]
        if not any('kind = "sip-trunk"' in t or 'kind = "fxo"' in t for t in tables):
            tables.append(boxes.trunk())
        if not any(t.startswith("[[flow]]") for t in tables):
            tables.append(boxes.flow(url=server.url("/flow")))
        keys.setdefault("allow", [server.authority])
        directory = tmp_path / f"box{len(_boxes) + 1}"
        directory.mkdir()
        box = boxes.Box(directory, boxes.config(directory, *tables, **keys), analog.environment(directory, devices))
        _boxes.append(box)
        if started:
            box.start()
            for device in devices:
                device.wait_session()
            box.wait_lines_up()
        return box

    return start


@pytest.fixture
def card(tmp_path, _kept):
    """card(ports, name): a line card in software, L for a line of the exchange, P for a telephone."""
    return lambda *args, **keys: _kept.add(analog.Card(tmp_path, *args, **keys))


@pytest.fixture
def modem(tmp_path, _kept):
    """modem(chip, name): a voice modem in software."""
    return lambda *args, **keys: _kept.add(analog.Modem(tmp_path, *args, **keys))


@pytest.fixture
def party(request, _kept):
    """party(ip, ...): a hand-written SIP end."""
    request.node.parties = []

    def make(*args, **keys):
        made = _kept.add(SipParty(*args, **keys))
        request.node.parties.append(made)
        return made

    return make


@pytest.fixture
def provider(party):
    """The far end of the trunk: its calls are let in."""
    return party("127.0.0.2")


@pytest.fixture
def rtp(_kept):
    """rtp(ip, codec): a media end."""
    return lambda *args, **keys: _kept.add(RtpParty(*args, **keys))


@pytest.fixture
def sipp(tmp_path, _kept):
    """sipp(scenario, box, ...): SIPp, running."""
    return lambda *args, **keys: _kept.add(Sipp(tmp_path, *args, **keys))


@pytest.fixture
def baresip(_kept):
    """baresip(user, password, box, ...): a phone, running."""
    return lambda *args, **keys: _kept.add(Baresip(*args, **keys))


@pytest.fixture
def streams(_kept):
    """streams(behave): a WebSocket server."""
    return lambda *args, **keys: _kept.add(StreamServer(*args, **keys))


@pytest.fixture
def runs(tipring, server):
    """runs(document, stream servers...): a box whose flow is this document of TwiML, at /voice."""
    def start(document, *sockets, tables=(), allow=(), **keys):
        server.flow("/voice", document)
        server.answer("/status", Answer(status=204, content_type=None))
        flow = dialects.twiml(server.url("/voice"), **keys)
        return tipring(flow, *tables, allow=[server.authority, *(one.authority for one in sockets), *allow])
    return start
