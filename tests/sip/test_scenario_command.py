"""`tipring scenario` and `tipring flow run` with scenarios: rules, names of sessions, logs; and who reaches a rule by its number."""
import json

import pytest
from box import phone, table
from test_control_api import text_key, web
from test_control_sessions import application, rule, say
from waiting import until

NOTED = """
VoxEngine.addEventListener(AppEvents.Started, () => Logger.write('begun with ' + VoxEngine.customData() + '\\nand\\x1b[31m more'));
VoxEngine.addEventListener(AppEvents.HttpRequest, (e) => {
  if (e.content === 'end') VoxEngine.terminate();
  return VoxEngine.customData();
});
"""
ANSWERS = """
VoxEngine.addEventListener(AppEvents.CallAlerting, ({ call }) => {
  Logger.write('NAME');
  call.answer();
  call.addEventListener(CallEvents.Disconnected, () => VoxEngine.terminate());
});
"""


@pytest.fixture
def ruled(tmp_path, tipring):
    """A box with an application of two rules that is reached over HTTP, too."""
    return tipring(web(), text_key(), application(), rule(tmp_path, 10, "noted", NOTED), rule(tmp_path, 11, "other", NOTED), phone("201"))


def test_a_session_of_a_rule_is_begun_by_hand_and_named_either_way(ruled):
    """Shows: a rule is chosen by number or name, a missing or wrong one is told with those that are there; the session has an address, both its names work, also after its end and a restart."""
    for arguments in ([], ["--rule", "12"], ["--rule", "none"]):
        refused = ruled.run("scenario", "start", "office", *arguments)
        assert refused.returncode == 66 and "TR-SCRIPT-RULE" in refused.stderr and "10 noted, 11 other" in refused.stderr, refused
    assert ruled.run("scenario", "ls", check=0).stdout == "0 sessions\n"
    by_name = json.loads(ruled.run("scenario", "start", "office", "--rule", "other", "--data", "a", "--json", check=0).stdout)
    plain = ruled.run("scenario", "start", "office", "--rule", "10", "--data", "b", check=0).stdout.strip()
    assert say(by_name["access_url"])[2] == "a" and by_name["secure_access_url"] is None
    sessions = json.loads(ruled.run("scenario", "ls", "--json", check=0).stdout)
    assert [(one["id"], one["flow"]) for one in sessions] == [(by_name["id"], "office"), (plain, "office")]
    assert sessions[0]["history_id"] == by_name["history_id"]
    history_id = str(by_name["history_id"])
    # What steers a terminal is not shown; a further line stands under its first.
    expected = ["begun with a", "    and?[31m more"]
    for name in (by_name["id"], history_id):
        assert ruled.run("scenario", "send", name, "x", check=0).stdout == "a\n"
        assert ruled.run("scenario", "log", name, check=0).stdout.splitlines() == expected
    ruled.run("scenario", "send", history_id, "end", check=0)
    ruled.run("scenario", "send", plain, "end", check=0)
    until(lambda: ruled.run("scenario", "ls").stdout == "0 sessions\n", what="both are over")
    assert ruled.run("scenario", "send", history_id, "x").returncode == 66
    ruled.stop()
    ruled.start()
    for name in (by_name["id"], history_id):
        assert ruled.run("scenario", "log", name, check=0).stdout.splitlines() == expected
    assert ruled.run("scenario", "log", "12345").returncode == 66


def test_a_telephone_reaches_a_rule_by_its_number(tmp_path, tipring, desk):
    """Shows: numbers that a rule lists come before telephones; what a pattern takes is asked when nothing else answers; what no rule takes is 404."""
    first, last = (ANSWERS.replace("NAME", name) for name in ("first", "last"))
    box = tipring(application(), rule(tmp_path, 10, "first", first, pattern=r"202|\*55"), rule(tmp_path, 11, "last", last, pattern="2.*"),
                  phone("201"), phone("202"), phone("203"))
    ann, tom = desk(box, "201"), desk(box, "203")

    def logged():
        [session] = json.loads(box.run("scenario", "ls", "--json", check=0).stdout)
        return box.run("scenario", "log", session["id"], check=0).stdout.split()

    for number, name in (("202", "first"), ("*55", "first"), ("2999", "last")):
        call = ann.call(box, number).authenticate()
        call.answered()
        until(lambda: logged() == [name], what=f"{number} begins rule {name}")
        call.hang_up()
        until(lambda: box.run("scenario", "ls").stdout == "0 sessions\n", what="it is over")
    call = ann.call(box, "203").authenticate()
    called = tom.expect_call()
    called.answer()
    call.answered()
    call.hang_up()
    called.hung_up()
    ann.call(box, "300").authenticate().refused(404)


def test_a_scenario_has_the_name_of_its_file(tipring, tmp_path):
    """Shows: where a scenario fails is told by the name of its file: on the box, and without one."""
    path = tmp_path / "broken.js"
    path.write_text("VoxEngine.addEventListener(AppEvents.Started, () => {\n  nothing();\n});\n")
    box = tipring(table("[[flow]]", dict(name="office", dialect="voxengine", file=str(path))))
    session = box.run("scenario", "start", "office", check=0).stdout.strip()
    until(lambda: "broken.js:2" in box.run("scenario", "log", session).stdout, what="the file and line of what was thrown")
    assert "broken.js:2" in box.run("flow", "run", str(path), "--data", "x").stdout


def test_scenarios_of_a_rule_that_cannot_share_a_scope_are_refused(tipring, tmp_path):
    """Shows: a name declared twice is told with file and line by `check`, before any session."""
    box = tipring(application(), rule(tmp_path, 10, "good", "let a = 1;\n", "let b = a;\n"))
    text = tmp_path / "good1.js"
    text.write_text("let b;\nlet a = 2;\n")
    checked = box.run("check", str(box.config_file))
    assert checked.returncode == 1 and "good1.js`:2:5:" in checked.stderr and "share one scope" in checked.stderr, checked
