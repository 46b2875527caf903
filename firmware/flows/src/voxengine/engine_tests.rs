//! The engine alone: what a script can see and how it is bounded.

use std::cell::Cell;
use std::time::Duration;

use serde_json::{Value, json};

use super::interpreter::{Bounds, Interpreter};

/// An engine whose clock goes on by a millisecond each time it is asked.
fn engine() -> Interpreter {
    let used = Cell::new(0);
    let clock = move || {
        used.set(used.get() + 1);
        Duration::from_millis(used.get())
    };
    let bounds = Bounds { callback: Duration::from_millis(200), ..Bounds::default() };
    Interpreter::new(bounds, 1, Box::new(clock)).unwrap()
}

fn tell(engine: &mut Interpreter, message: &Value) -> Value {
    let said = engine.handle(message.to_string().as_bytes());
    serde_json::from_slice(&said)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&said)))
}

fn begin(engine: &mut Interpreter, text: &str) -> Value {
    let scripts = json!([{ "name": "a.js", "text": text }]);
    tell(engine, &json!({ "now": 1_000, "t": "begin", "id": "s", "custom_data": "data", "scripts": scripts }))
}

/// What a script of these lines logs.
fn logged(text: &str) -> Vec<String> {
    let said = begin(&mut engine(), text);
    assert_eq!(said["fault"], Value::Null, "{said}");
    let commands = said["commands"].as_array().unwrap().iter();
    commands.filter(|one| one["t"] == "log").map(|one| one["text"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_script_runs_and_is_heard() {
    assert_eq!(logged("Logger.write('hello ' + VoxEngine.customData())"), ["hello data"]);
    assert_eq!(logged("console.log({ a: 1 }, [2], null, undefined, 3n)"), ["{\"a\":1} [2] null undefined 3"]);
}

#[test]
fn time_and_chance_are_given() {
    assert_eq!(
        logged("Logger.write([Date.now(), new Date().getTime(), new Date(5).getTime(), Math.random() < 1])"),
        ["[1000,1000,5,true]"]
    );
    assert_eq!(logged("Logger.write(uuidgen())"), logged("Logger.write(uuidgen())"));
    assert_eq!(logged("Logger.write(typeof performance + typeof Atomics)"), ["undefinedundefined"]);
}

#[test]
fn small_things_do_what_they_are_named_for() {
    for (text, value) in [
        ("base64_encode('h\u{e9}')", "\"aMOp\""),
        ("base64_decode('aMOp')", "[104,195,169]"),
        ("bytes2hex([1,255])", "\"01ff\""),
        ("hex2bytes('01fF')", "[1,255]"),
        ("bytes2str(str2bytes('h\u{e9}\u{1f600}'))", "\"h\u{e9}\u{1f600}\""),
        ("levenshtein_distance('kitten','sitting')", "3"),
        ("getLocalTime('Europe/Berlin', new Date(0)).getTime()", "3600000"),
        ("Crypto.md5('a')", "\"0cc175b9c0f1b6a831c399e269772661\""),
        ("Crypto.sha1('a')", "\"86f7e437faa5a7fce15d1ddcb9eaeaea377667b8\""),
        ("Crypto.hmac_sha256('k','a').length", "64"),
    ] {
        assert_eq!(logged(&format!("Logger.write(JSON.stringify({text}))")), [value], "{text}");
    }
}

#[test]
fn half_of_a_pair_is_told_as_one_strange_sign() {
    assert_eq!(logged("Logger.write('to \\u{1f600}!'.substring(0, 4))"), ["to \u{fffd}"]);
    let breaks = "String.prototype.toWellFormed = () => 'x'; ";
    assert_eq!(logged(&format!("{breaks}Logger.write('a\\ud800' + 'b')")), ["a\u{fffd}b"]);
}

#[test]
fn a_syntax_error_has_its_file_and_line() {
    let said = begin(&mut engine(), "let a = 1;\nlet b = ;\n");
    assert_eq!((&said["fault"]["kind"], &said["fault"]["file"]), (&json!("syntax"), &json!("a.js")));
    assert_eq!(said["fault"]["line"], 2, "{said}");
}

#[test]
fn what_is_thrown_has_its_place() {
    for text in [
        "\nfunction f() { null.x; }\nf();",
        "\n\nthrow new Error('no')",
        "\n\nJSON.parse('{')",
        "\n\nVoxEngine.createASR()",
        "\n\nASR.x",
        "\n\nPromise.resolve().then(() => { setTimeout(5) })\nthrow 1",
    ] {
        let said = begin(&mut engine(), text);
        assert_eq!(said["fault"]["kind"], "exception", "{text}: {said}");
    }
    let said = begin(&mut engine(), "\nfunction f() {\n null.x; }\nf();");
    assert_eq!((&said["fault"]["file"], &said["fault"]["line"]), (&json!("a.js"), &json!(3)));
    let said = begin(&mut engine(), "\n\nVoxEngine.createASR()");
    assert_eq!(said["fault"]["line"], 3);
    assert_eq!(said["fault"]["text"], "Error: VoxEngine.createASR is not available on this appliance");
}

#[test]
fn what_never_ends_is_ended() {
    for text in [
        "while (true) {}",
        "for (;;) { try { for (;;) {} } catch (e) {} }",
        "function f() { Promise.resolve().then(f) } f()",
        "/(a+)+$/.test('a'.repeat(40) + 'b')",
        "const p = new Proxy({}, { get: (t, k, r) => r[k] }); p.x",
        "(async () => { for (;;) await null })()",
        "let s = 'x'; for (;;) { s = [s, s].join('').slice(0, 1000) }",
        "Array.from({ length: 1e9 }, (_, i) => i).sort()",
    ] {
        let said = begin(&mut engine(), text);
        let kind = said["fault"]["kind"].as_str().unwrap_or_else(|| panic!("{text}: {said}"));
        assert!(matches!(kind, "time" | "exception" | "memory"), "{text}: {said}");
    }
}

#[test]
fn memory_has_an_end() {
    for text in [
        "'x'.repeat(1e9)",
        "let s = 'x'; for (;;) s += s",
        "const a = []; for (;;) a.push(new Array(10000).fill(1))",
        "new Uint8Array(1e9)",
        "JSON.parse('['.repeat(1e6))",
        "const m = new Map(); for (let i = 0; ; i += 1) m.set(i, 'y'.repeat(1000) + i)",
        "function f() { f() } f()",
        "let o = {}; for (let i = 0; i < 1e6; i++) o = { o }; JSON.stringify(o)",
    ] {
        let mut engine = engine();
        let said = begin(&mut engine, text);
        assert_ne!(said["fault"], Value::Null, "{text}");
        assert!(engine.memory_bytes() < 17 * 1024 * 1024, "{text}: {}", engine.memory_bytes());
        // It can still be told that it ends.
        let said = tell(&mut engine, &json!({ "now": 2_000, "t": "terminating", "system_error": true }));
        assert!(said["commands"].is_array(), "{text}");
    }
}

#[test]
fn a_script_says_no_more_than_it_may() {
    for text in [
        "for (let i = 0; i < 5000; i++) try { Logger.write(i) } catch (e) {}",
        "const s = 'x'.repeat(14000); for (;;) Logger.write(s)",
    ] {
        let said = begin(&mut engine(), text);
        assert_eq!(said["fault"]["kind"], "too_much", "{text}");
    }
}

#[test]
fn timers_are_counted_and_run_in_order() {
    let mut engine = engine();
    let said = begin(
        &mut engine,
        "for (let i = 0; i < 100; i++) setTimeout(() => Logger.write(i), 300 - i);
         try { setTimeout(() => {}, 1) } catch (e) { Logger.write(e.message) }",
    );
    assert_eq!(said["commands"][0]["text"], "more than 100 timers");
    assert_eq!(said["due"], json!(1_201));
    let said = tell(&mut engine, &json!({ "now": 1_203, "t": "tick" }));
    let order: Vec<&str> =
        said["commands"].as_array().unwrap().iter().map(|one| one["text"].as_str().unwrap()).collect();
    assert_eq!(order, ["99", "98", "97"]);
    let said = begin_fresh(
        "const t = setInterval(() => Logger.write('i'), 0); setTimeout(() => clearInterval(t), 15)",
    );
    assert_eq!(said, json!(1_010));
}

fn begin_fresh(text: &str) -> Value {
    begin(&mut engine(), text)["due"].clone()
}

#[test]
fn tricks_with_prototypes_reach_nothing() {
    for text in [
        "Object.prototype.t = 'terminate'; Array.prototype.toJSON = () => 'x'; VoxEngine.callPSTN('1', '2')",
        "VoxEngine.callPSTN = () => 1; Logger.write = null; VoxEngine.terminate.call(null)",
        "Object.defineProperty(globalThis, 'VoxEngine', { value: 1 })",
        "Object.prototype.toJSON = function () { return { t: 'log', text: 'x' } }; Logger.write('y')",
        "JSON.stringify = () => '\"'; JSON.parse = () => ({ t: 'x' }); Logger.write('y')",
        "Map.prototype.get = () => ({}); Promise.prototype.then = () => { throw 1 }; VoxEngine.callPSTN('1', '2')",
        "VoxEngine.callPSTN('1', '2').constructor.prototype.hangup = 1; new (VoxEngine.callPSTN('1', '2').constructor)({})",
        "Function.prototype.call = Function.prototype.apply = () => { throw 1 }; VoxEngine.callSIP('sip:a@b', { get callerid() { throw 2 } })",
        "new Function('return this')().constructor.constructor('return 1')()",
        "(class extends VoxEngine.callPSTN('1', '2').constructor {}); Error.prepareStackTrace = () => { for (;;) {} }; null.x",
        "import('fs')",
        "Logger.write(typeof require('x'))",
        "globalThis.__proto__ = null; Object.setPrototypeOf(Object.prototype, null)",
    ] {
        let mut engine = engine();
        let _ = begin(&mut engine, text);
        // Whatever it did to itself, the engine answers.
        let said = tell(&mut engine, &json!({ "now": 2_000, "t": "tick" }));
        assert!(said["commands"].is_array(), "{text}");
    }
    assert_eq!(logged("import('fs').catch(e => Logger.write('none'))"), ["none"]);
    assert_eq!(
        logged("Logger.write(typeof process + typeof std + typeof os + typeof scriptArgs + typeof print)"),
        ["undefined".repeat(5)]
    );
}

#[test]
fn messages_that_are_none_are_faults() {
    let mut engine = engine();
    for message in [&b""[..], b"\xff", b"{", b"{\"now\":1,\"t\":\"none\"}", b"{\"now\":1,\"t\":\"call\"}"] {
        let said: Value = serde_json::from_slice(&engine.handle(message)).unwrap();
        assert!(said["commands"].is_array());
    }
    begin(&mut engine, "1");
    assert_eq!(begin(&mut engine, "1")["fault"]["kind"], "message");
}

/// The project's own list of published names and texts.
const SURFACE: &str = include_str!("surface.txt");

#[test]
fn every_name_of_the_surface_is_there_and_what_is_absent_says_so() {
    let makes = "
        require(Modules.Recorder); require(Modules.Conference); require(Modules.IVR);
        globalThis.made = {
            call: VoxEngine.callPSTN('1', ''), player: VoxEngine.createURLPlayer('http://a.test/'),
            recorder: VoxEngine.createRecorder(), conference: VoxEngine.createConference(),
            detector: AMD.create({}), state: new IVRState('a', {}),
        };
        const check = (what, f) => { try { f(); } catch (e) { Logger.write(what + ': ' + e.message); } };
        const must = (ok) => { if (!ok) throw new Error('it is not there'); };";
    let mut script = makes.to_owned();
    let mut checked = 0;
    let (mut absent, mut missing) = (Vec::new(), Vec::new());
    for line in SURFACE.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        checked += 1;
        let (kind, rest) = line.split_once(' ').unwrap();
        let (path, text) = rest.split_once(' ').unwrap_or((rest, ""));
        let shown = json!(rest);
        script += "\n";
        script += &match kind {
            "name" => format!("check({shown}, () => must({path} !== undefined));"),
            "text" => format!("check({shown}, () => must({path} === {}));", json!(text)),
            "member" => format!("check({shown}, () => must({} in made.{path}));", json!(text)),
            "missing" => {
                missing.push(rest.to_owned());
                format!("check({shown}, () => must(typeof {path} === 'undefined'));")
            }
            "absent" => {
                absent.push(rest.to_owned());
                let call = if path.contains('(') { path.to_owned() } else { format!("{path}()") };
                format!(
                    "try {{ {call}; Logger.write({shown} + ': it is there'); }} catch (e) {{ \
                     must(e.message.endsWith('is not available on this appliance')); }}"
                )
            }
            other => panic!("{other}"),
        };
    }
    assert!(checked > 250, "{checked}");
    let mut engine = engine();
    let said = begin(&mut engine, &script);
    assert_eq!(said["fault"], Value::Null, "{}", said["fault"]);
    let wrong: Vec<&str> = said["commands"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| one["t"] == "log")
        .map(|one| one["text"].as_str().unwrap())
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    println!("not available: {}; not there: {}", absent.join(", "), missing.join(", "));
    let readme = include_str!("README.md");
    let documented = |mark: &str| -> Vec<String> {
        let part = readme.split(mark).nth(1).unwrap();
        part.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    };
    let listed: Vec<String> = absent.iter().map(|name| name.trim_end_matches(".x").to_owned()).collect();
    assert_eq!(documented("<!-- absent: compared with surface.txt by a test -->"), listed, "what throws");
    assert_eq!(
        documented("<!-- missing: compared with surface.txt by a test -->"),
        missing,
        "what is not there"
    );
}

#[test]
fn an_error_that_runs_code_when_it_is_read_is_no_harm() {
    for text in [
        "Promise.reject({ get message() { Promise.reject(new Error('inner')); return 'outer' } })",
        "const e = new Error('x'); Object.defineProperty(e, 'message', { get() { Promise.reject(e); for (;;) {} } }); Promise.reject(e)",
        "const e = new Error('x'); e.stack = '    at f (' + '\\u0007'.repeat(500) + 'z'.repeat(500) + ':1:1)'; throw e",
        "throw { toString() { for (;;) {} } }",
        "throw new Error('y'.repeat(1e6))",
    ] {
        let said = begin(&mut engine(), text);
        assert!(said["commands"].is_array(), "{text}");
        let fault = said["fault"].to_string();
        assert!(fault.len() < 3_000, "{text}: {}", fault.len());
    }
}
