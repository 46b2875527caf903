"""The HTTP control API: who is let in, what is answered, and that it never disturbs more than itself."""
import hashlib
import http.client
import json
import os
import socket
import ssl
import stat
import subprocess
import time

import box as boxes
import programs
import pytest
from box import table
from waiting import until

KEY = "a key that is long enough"
LOGIN = f"account_id=7&api_key={KEY.replace(' ', '+')}"


def web(http="127.0.0.1:0", https="off", **keys):
    return table("[web]", dict(http=http, https=https, **keys)) + table("[account]", dict(id=7, name="office", email="box@office.example"))


def text_key():
    return table("[[api_key]]", dict(name="crm", sha256=hashlib.sha256(KEY.encode()).hexdigest()))


def made_key(directory, kind="token"):
    """What `tipring api-key create` writes for the client, and what it prints for the box."""
    path, out = directory / "before.toml", directory / f"{kind}.json"
    path.write_text(boxes.config(directory, web()))
    done = subprocess.run([programs.tipring(), "api-key", "create", "--config", str(path), "--name", kind, "--kind", kind, "--out", str(out)],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return out, done.stdout


def address(box, scheme="http"):
    host, _, port = box.status()["web"][scheme].rpartition(":")
    return host, int(port)


def ask(box, path, method="GET", body=None, headers=None):
    """Status, header fields and body."""
    connection = http.client.HTTPConnection(*address(box), timeout=20)
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    found = answer.status, dict(answer.getheaders()), answer.read()
    connection.close()
    return found


def call(box, command, query="", headers=None):
    status, _, body = ask(box, f"/platform_api/{command}?{query}", headers=headers)
    assert status == 200
    return json.loads(body)


def bearer(key, **claims):
    now = int(time.time())
    claims = {"iss": "7", "iat": now - 5, "exp": now + 24, **claims}
    jwt = programs.json_web_tokens()
    return {"Authorization": "Bearer " + jwt.encode(claims, key["private_key"], algorithm="RS256", headers={"kid": key["key_id"]})}


def test_nobody_listens_unless_told(tipring):
    """Shows: without [web] there is no HTTP."""
    box = tipring()
    assert box.status()["web"] == {"http": None, "https": None}


def test_a_command_is_taken_from_whoever_has_a_key(tmp_path, tipring):
    """Shows: text keys in a query, tokens of PyJWT; each mistake is code 100 with status 200."""
    out, printed = made_key(tmp_path)
    key = json.loads(out.read_text())
    assert stat.S_IMODE(os.stat(out).st_mode) == 0o600
    assert sorted(key) == ["account_email", "account_id", "key_id", "private_key"] and key["account_id"] == 7
    box = tipring(web(), text_key(), printed)

    def code(query="", headers=None):
        answer = call(box, "GetCallHistory", f"call_session_history_id=1&{query}", headers)
        return answer["error"]["code"] if "error" in answer else answer["total_count"]

    assert code(LOGIN) == 0
    assert code("account_name=office&" + LOGIN) == 0
    assert code(headers=bearer(key)) == 0
    now = int(time.time())
    for wrong in (bearer(key, exp=now - 100), bearer(key, iat=now + 500, exp=now + 600), bearer(key, exp=now + 4000), bearer(key, iss="8"),
                  bearer({**key, "key_id": "other"}), {"Authorization": "Bearer x"}, {"Authorization": "Basic x"}):
        assert code(LOGIN, headers=wrong) == 100, wrong
    # A forger who knows the public half signs with it, or not at all.
    jwt = programs.json_web_tokens()
    public = printed.split('"""')[1].strip()
    for forged in (jwt.encode({"iss": 7, "iat": now, "exp": now + 9}, None, algorithm="none", headers={"kid": key["key_id"]}),
                   jwt.encode({"iss": 7, "iat": now, "exp": now + 9}, hashlib.sha256(public.encode()).hexdigest(), algorithm="HS256", headers={"kid": key["key_id"]})):
        assert code(headers={"Authorization": f"Bearer {forged}"}) == 100
    for query in ("", "account_id=7", "account_id=8&api_key=x", "account_id=7&account_password=x"):
        assert code(query) == 100, query
    until(lambda: "TR-API-LOGIN" in box.log(), 3, "the refusals in the log")
    assert KEY not in box.log()


def test_a_key_of_the_other_kind_is_made_too(tmp_path, tipring):
    """Shows: `tipring api-key create --kind text`; the box keeps no more than a hash."""
    out, printed = made_key(tmp_path, "text")
    key = json.loads(out.read_text())["api_key"]
    assert key not in printed
    box = tipring(web(), printed)
    assert "error" not in call(box, "GetCallHistory", f"call_session_history_id=1&account_id=7&api_key={key}")
    again = subprocess.run([programs.tipring(), "api-key", "create", "--config", str(box.config_file), "--name", "x", "--out", str(out)],
                           capture_output=True, text=True, timeout=60)
    assert again.returncode == 73 and "TR-API-KEY-FILE" in again.stderr


@pytest.fixture
def client(tmp_path, tipring, monkeypatch):
    """client(*tables): a box with HTTPS, and the vendor's own client for it."""
    def make(*tables):
        api = programs.voximplant_client().VoximplantAPI
        out, printed = made_key(tmp_path)
        box = tipring(web(https="127.0.0.1:0"), printed, *tables)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(box.data / "web/certificate.pem"))
        return box, api(str(out), endpoint="%s:%d" % address(box, "https"))
    return make


def test_the_vendors_own_client_is_understood(client):
    """Shows: voximplant-apiclient over HTTPS with the box's certificate checked; refusals are its exceptions."""
    box, api = client()
    VoximplantException = programs.voximplant_client().VoximplantException
    with pytest.raises(VoximplantException, match="application_id"):
        api.get_rules(application_id=1)
    with pytest.raises(VoximplantException) as refused:
        api.start_scenarios(rule_id=999)
    assert refused.value.code == 104 and "rule_id" in refused.value.message
    with pytest.raises(VoximplantException, match="101: .*StartScenarios"):
        api.add_scenario(scenario_name="x")


def test_the_certificate_stays(tipring):
    """Shows: made once, its key the box's alone; TLS 1.2 and newer."""
    box = tipring(web(http="off", https="127.0.0.1:0"))
    pem = (box.data / "web/certificate.pem").read_text()
    assert stat.S_IMODE(os.stat(box.data / "web/key.pem").st_mode) == 0o600
    context = ssl.create_default_context(cadata=pem)
    with socket.create_connection(address(box, "https"), 10) as plain, context.wrap_socket(plain, server_hostname="127.0.0.1") as secure:
        assert secure.version() in ("TLSv1.2", "TLSv1.3")
    assert box.stop() == 0
    box.start()
    assert (box.data / "web/certificate.pem").read_text() == pem


def test_a_port_that_is_taken_is_said(tmp_path):
    """Shows: the start fails with TR-DAEMON-BIND, and names the address."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        box = boxes.Box(tmp_path, boxes.config(tmp_path, web(http="127.0.0.1:%d" % taken.getsockname()[1])))
        done = subprocess.run([programs.tipring(), "serve", "--config", str(box.config_file)], capture_output=True, text=True, timeout=20)
    assert done.returncode == 75 and "TR-DAEMON-BIND" in done.stderr


def test_what_is_sent_badly_harms_nobody(tipring):
    """Shows: noise, slow senders and many connections; the daemon answers the next one."""
    box = tipring(web(), text_key())
    where = address(box)
    noise = [b"\x16\x03\x01\x02\x00", b"GET\n", b"A" * 70_000, b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 500 + b"\r\n",
             b"POST /platform_api HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n", b"GET /%00%ff HTTP/1.1\r\nHost: \xff\r\n\r\n"]
    for bytes_ in noise:
        with socket.create_connection(where, 10) as connection:
            try:
                connection.sendall(bytes_)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass
            except OSError:
                pass
    # Half of a request each, and more of them than there are places.
    slow = []
    for _ in range(80):
        connection = socket.create_connection(where, 10)
        slow.append(connection)
        try:
            connection.sendall(b"GET / HTTP/1.1\r\nHost:")
        except OSError:
            pass
    assert box.status()["ready"]
    for connection in slow:
        connection.close()
    until(lambda: ask_or_none(box) == 404, 10, "a place for the next one")
    status, headers, body = ask(box, "/request/0000000000000000/00000000000000000000000000000000", "POST", "x")
    assert (status, body) == (404, ask(box, "/nowhere")[2]) and headers["x-content-type-options"] == "nosniff"
    assert ask(box, "/request/a/b", "POST", b"x" * 262_145)[0] == 413


def ask_or_none(box):
    try:
        return ask(box, "/")[0]
    except OSError:
        return None
    except http.client.HTTPException:
        return None


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_one_connection_too_many_is_told_so(tipring, scheme):
    """Shows: 429 with Retry-After where one address has all it may have, under TLS too; once they go, the next is served."""
    box = tipring(web(https="127.0.0.1:0"))
    where = address(box, scheme)
    context = ssl.create_default_context(cafile=str(box.data / "web/certificate.pem")) if scheme == "https" else None
    held = [socket.create_connection(where, 10) for _ in range(48)]

    def get():
        kind = http.client.HTTPConnection if context is None else lambda *a, **k: http.client.HTTPSConnection(*a, context=context, **k)
        connection = kind(*where, timeout=20)
        try:
            connection.request("GET", "/")
            answer = connection.getresponse()
            return answer.status, answer.headers["Retry-After"], answer.read()
        finally:
            connection.close()

    for _ in range(20):
        assert get() == (429, "1", b"too many connections at one time\n")
    for connection in held:
        connection.close()
    until(lambda: get()[0] == 404, 10, "a place")
