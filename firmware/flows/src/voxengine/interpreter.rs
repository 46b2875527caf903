//! The JavaScript engine and its bounds. Nothing else here knows QuickJS.
//!
//! A script sees the prelude alone: it has no file, no network, no clock of its own and no
//! modules. Its memory, its stack and the time of each callback are bounded by the engine; the
//! process around it bounds what the engine could not.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use hmac::{Hmac, Mac};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use rquickjs::context::EvalOptions;
use rquickjs::prelude::Func;
use rquickjs::{
    CatchResultExt, CaughtError, Context, Ctx, Exception, Function, Object, Persistent, Runtime, Value,
};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::message::{COMMANDS_MAX, Fault, FaultKind, MESSAGE_BYTES_MAX, Script};

/// Bounds of one script.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Heap of the engine, in bytes.
    pub memory_bytes: usize,
    /// Stack of the engine, in bytes.
    pub stack_bytes: usize,
    /// CPU time for one message: all that the script does about it.
    pub callback: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { memory_bytes: 16 * 1024 * 1024, stack_bytes: 256 * 1024, callback: Duration::from_secs(1) }
    }
}

/// How much CPU time the thread has used. It is asked while the script runs.
pub type CpuClock = Box<dyn Fn() -> Duration>;

/// The parts of the prelude, in the order in which they stand on each other.
const PRELUDE: [(&str, &str); 9] = [
    ("<core.js>", include_str!("prelude/core.js")),
    ("<names.js>", include_str!("prelude/names.js")),
    ("<call.js>", include_str!("prelude/call.js")),
    ("<text.js>", include_str!("prelude/text.js")),
    ("<units.js>", include_str!("prelude/units.js")),
    ("<net.js>", include_str!("prelude/net.js")),
    ("<voxengine.js>", include_str!("prelude/voxengine.js")),
    ("<ivr.js>", include_str!("prelude/ivr.js")),
    ("<deliver.js>", include_str!("prelude/deliver.js")),
];
/// Added last: names that only refuse.
const ABSENT: (&str, &str) = ("<absent.js>", include_str!("prelude/absent.js"));

/// What script and engine share.
#[derive(Default)]
struct Shared {
    /// Commands as JSON.
    said: RefCell<Vec<String>>,
    said_bytes: Cell<usize>,
    said_too_much: Cell<bool>,
    now_ms: Cell<i64>,
    random: Cell<u64>,
    /// CPU time at which the script has had its share.
    until: Cell<Duration>,
    was_interrupted: Cell<bool>,
    /// Why promises were rejected that nobody has taken yet.
    rejected: RefCell<Vec<String>>,
}

/// Rejected promises of one callback that are told of.
const REJECTED_MAX: usize = 10;

impl Shared {
    fn say(&self, command: String) {
        let bytes = self.said_bytes.get() + command.len() + 1;
        let count = self.said.borrow().len();
        if bytes > MESSAGE_BYTES_MAX - 4_096 || count >= COMMANDS_MAX {
            self.said_too_much.set(true);
            return;
        }
        self.said_bytes.set(bytes);
        self.said.borrow_mut().push(command);
    }

    /// The next number from 0 up to 1 (SplitMix64).
    fn random(&self) -> f64 {
        let state = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.set(state);
        let mut mixed = state;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        f64::from(u32::try_from(mixed >> 32).unwrap_or(0)) / (f64::from(u32::MAX) + 1.0)
    }
}

/// One script and its engine.
pub struct Interpreter {
    // Dropped in this order: what holds values, contexts, their runtime.
    doors: Option<Doors>,
    context: Context,
    runtime: Runtime,
    shared: Rc<Shared>,
    bounds: Bounds,
    clock: Rc<CpuClock>,
    has_begun: bool,
}

/// The functions of the prelude that are called from here: one takes a message, one says when
/// the next timer is due.
type Doors = (Persistent<Function<'static>>, Persistent<Function<'static>>);

/// What may be told before it is read as what it is.
#[derive(Deserialize)]
struct Head {
    now: i64,
    t: String,
    #[serde(default)]
    scripts: Vec<Script>,
}

impl Interpreter {
    /// An engine with the prelude in it, ready for a script. `seed` decides what `Math.random`
    /// and `uuidgen` give.
    ///
    /// # Errors
    /// When the engine has not the memory for that.
    pub fn new(bounds: Bounds, seed: u64, clock: CpuClock) -> Result<Self, Fault> {
        let fault = |error: rquickjs::Error| Fault::of(FaultKind::Memory, &error.to_string());
        let runtime = Runtime::new().map_err(fault)?;
        runtime.set_memory_limit(bounds.memory_bytes);
        runtime.set_max_stack_size(bounds.stack_bytes);
        let context = Context::full(&runtime).map_err(fault)?;
        let shared = Rc::new(Shared { random: Cell::new(seed), ..Shared::default() });
        let clock = Rc::new(clock);
        let (of_handler, handler_clock) = (Rc::clone(&shared), Rc::clone(&clock));
        runtime.set_interrupt_handler(Some(Box::new(move || {
            let is_over = handler_clock() >= of_handler.until.get();
            of_handler.was_interrupted.set(of_handler.was_interrupted.get() || is_over);
            is_over
        })));
        let mut interpreter = Self { doors: None, context, runtime, shared, bounds, clock, has_begun: false };
        interpreter.wind();
        interpreter.note_rejections();
        interpreter.doors = Some(interpreter.load_prelude()?);
        Ok(interpreter)
    }

    /// A promise that is rejected and that nobody takes is logged.
    fn note_rejections(&self) {
        let shared = Rc::clone(&self.shared);
        self.runtime.set_host_promise_rejection_tracker(Some(Box::new(move |_, _, reason, is_taken| {
            if is_taken {
                shared.rejected.borrow_mut().pop();
                return;
            }
            // To read the message may run code of the script's own, which may reject more.
            let error = Exception::from_value(reason.clone()).ok();
            let said = error.map(|error| {
                let message = error.message().unwrap_or_default();
                let name = error.get::<_, Option<String>>("name").ok().flatten();
                let (file, line, _) = place(&error.stack().unwrap_or_default());
                let what = name.map_or_else(|| message.clone(), |name| format!("{name}: {message}"));
                if line == 0 { what } else { format!("{what} ({file}:{line})") }
            });
            let said = said
                .or_else(|| reason.as_string()?.to_string().ok())
                .unwrap_or_else(|| "a value that is no error".to_owned());
            let mut rejected = shared.rejected.borrow_mut();
            if rejected.len() < REJECTED_MAX {
                rejected.push(said);
            }
        })));
    }

    /// Gives the script a new share of time.
    fn wind(&self) {
        self.shared.until.set((self.clock)() + self.bounds.callback);
        self.shared.was_interrupted.set(false);
    }

    fn load_prelude(&self) -> Result<Doors, Fault> {
        self.context.with(|ctx| {
            let loaded = (|| {
                let host = self.host(&ctx)?;
                let the_box = Object::new(ctx.clone())?;
                the_box.set_prototype(None)?;
                for (name, text) in PRELUDE.into_iter().chain([ABSENT]) {
                    let part: Function = ctx.eval_with_options(text, options(name))?;
                    part.call::<_, Value>((host.clone(), the_box.clone()))?;
                }
                // Out of the script's sight: only the engine's own side holds them.
                let deliver: Function = the_box.get("deliver")?;
                let due: Function = the_box.get("due")?;
                Ok((Persistent::save(&ctx, deliver), Persistent::save(&ctx, due)))
            })();
            loaded.catch(&ctx).map_err(|error| self.fault(error))
        })
    }

    /// What the prelude stands on.
    fn host<'js>(&self, ctx: &Ctx<'js>) -> rquickjs::Result<Object<'js>> {
        let host = Object::new(ctx.clone())?;
        host.set_prototype(None)?;
        let shared = Rc::clone(&self.shared);
        host.set(
            "send",
            Func::from(move |ctx: Ctx<'js>, command: String| {
                shared.say(command);
                if shared.said_too_much.get() {
                    return Err(Exception::throw_range(&ctx, "too much is asked for at one time"));
                }
                Ok(())
            }),
        )?;
        let shared = Rc::clone(&self.shared);
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of some thousand years are exact")]
        host.set("now", Func::from(move || shared.now_ms.get() as f64))?;
        let shared = Rc::clone(&self.shared);
        host.set("random", Func::from(move || shared.random()))?;
        host.set("offset", Func::from(offset_ms))?;
        host.set("digest", Func::from(digest))?;
        Ok(host)
    }

    /// Takes one message and gives the answer. Whatever happens, there is one.
    #[must_use]
    pub fn handle(&mut self, message: &[u8]) -> Vec<u8> {
        self.wind();
        self.shared.said.borrow_mut().clear();
        self.shared.said_bytes.set(0);
        self.shared.said_too_much.set(false);
        let fault = self.told(message).err().map(Fault::shortened);
        let commands = self.shared.said.borrow();
        let due = if fault.is_some() { None } else { self.due() };
        // Written by hand, since the commands are JSON already.
        let due = due.filter(|due| due.is_finite()).map_or("null".to_owned(), |due| due.to_string());
        let fault =
            fault.and_then(|fault| serde_json::to_string(&fault).ok()).unwrap_or_else(|| "null".to_owned());
        format!(r#"{{"commands":[{}],"due":{due},"fault":{fault}}}"#, commands.join(",")).into_bytes()
    }

    fn told(&mut self, message: &[u8]) -> Result<(), Fault> {
        let text = std::str::from_utf8(message)
            .map_err(|_| Fault::of(FaultKind::Message, "a message is not text"))?;
        let head: Head =
            serde_json::from_str(text).map_err(|error| Fault::of(FaultKind::Message, &error.to_string()))?;
        self.shared.now_ms.set(head.now);
        if head.t == "begin" {
            if std::mem::replace(&mut self.has_begun, true) {
                return Err(Fault::of(FaultKind::Message, "a script begins once"));
            }
            self.deliver(&without_scripts(text)?)?;
            for script in &head.scripts {
                self.run(|ctx| {
                    ctx.eval_with_options::<Value, _>(script.text.as_str(), options(&script.name)).map(drop)
                })?;
            }
            return self.finish();
        }
        self.deliver(text)?;
        self.finish()
    }

    fn deliver(&self, text: &str) -> Result<(), Fault> {
        self.run(|ctx| {
            let (deliver, _) = self.doors.as_ref().ok_or(rquickjs::Error::Unknown)?;
            deliver.clone().restore(ctx)?.call::<_, Value>((text,)).map(drop)
        })
    }

    fn run(&self, work: impl FnOnce(&Ctx<'_>) -> rquickjs::Result<()>) -> Result<(), Fault> {
        let done = self.context.with(|ctx| work(&ctx).catch(&ctx).map_err(|error| self.fault(error)));
        match done {
            Err(fault) => Err(fault),
            Ok(()) => self.is_sound(),
        }
    }

    /// A script that catches what stops it is stopped all the same.
    fn is_sound(&self) -> Result<(), Fault> {
        if self.shared.was_interrupted.get() {
            return Err(self.overtime());
        }
        if self.shared.said_too_much.get() {
            return Err(Fault::of(FaultKind::TooMuch, "too much is asked for at one time"));
        }
        Ok(())
    }

    fn overtime(&self) -> Fault {
        let text = format!("a callback took more than {} ms", self.bounds.callback.as_millis());
        Fault::of(FaultKind::Time, &text)
    }

    /// Runs what waits for promises.
    fn finish(&self) -> Result<(), Fault> {
        loop {
            match self.runtime.execute_pending_job() {
                Ok(false) => {
                    for reason in self.shared.rejected.borrow_mut().drain(..) {
                        let text = format!("a promise was rejected, and nobody took it: {reason}");
                        self.shared.say(serde_json::json!({ "t": "log", "text": text }).to_string());
                    }
                    return self.is_sound();
                }
                Ok(true) => self.is_sound()?,
                Err(thrown) => {
                    let fault = thrown
                        .0
                        .with(|ctx| self.fault(CaughtError::from_error(&ctx, rquickjs::Error::Exception)));
                    return Err(fault);
                }
            }
        }
    }

    fn due(&self) -> Option<f64> {
        self.context.with(|ctx| {
            let (_, due) = self.doors.as_ref()?;
            due.clone().restore(&ctx).ok()?.call::<_, Option<f64>>(()).ok().flatten()
        })
    }

    fn fault(&self, error: CaughtError<'_>) -> Fault {
        if self.shared.was_interrupted.get() {
            return self.overtime();
        }
        if self.shared.said_too_much.get() {
            return Fault::of(FaultKind::TooMuch, "too much is asked for at one time");
        }
        match error {
            CaughtError::Exception(exception) => {
                let message = exception.message().unwrap_or_default();
                let name: Option<String> = exception.as_object().get("name").ok();
                let stack = exception.stack().unwrap_or_default();
                let (file, line, column) = place(&stack);
                let kind = match name.as_deref() {
                    // One that the text itself makes, by `JSON.parse` or `eval`, has callers.
                    Some("SyntaxError") if stack.trim().lines().count() == 1 => FaultKind::Syntax,
                    Some("InternalError") if message == "out of memory" => FaultKind::Memory,
                    Some(_) | None => FaultKind::Exception,
                };
                let text = name.map_or_else(|| message.clone(), |name| format!("{name}: {message}"));
                Fault { file, line, column, ..Fault::of(kind, &text) }
            }
            // The engine has no memory left even to say so.
            CaughtError::Value(value) if value.is_null() => Fault::of(FaultKind::Memory, "out of memory"),
            CaughtError::Value(value) => {
                let text = value.get::<rquickjs::Coerced<String>>().map(|text| text.0).unwrap_or_default();
                Fault::of(FaultKind::Exception, &format!("thrown: {text}"))
            }
            CaughtError::Error(error) => Fault::of(FaultKind::Exception, &error.to_string()),
        }
    }

    /// Bytes that the engine's heap holds now.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        u64::try_from(self.runtime.memory_usage().memory_used_size).unwrap_or(0)
    }
}

/// Whether texts are programs that can run one after the other in one global scope, without
/// running them.
///
/// # Errors
/// Where one is none, or declares what an earlier one has declared.
pub(super) fn syntax(scripts: &[Script], bounds: Bounds) -> Result<(), Fault> {
    // With the prelude's names, which a script may not declare anew either.
    let interpreter = Interpreter::new(bounds, 0, Box::new(|| Duration::ZERO))?;
    interpreter.context.with(|ctx| scripts.iter().try_for_each(|script| syntax_of(&ctx, script)))
}

fn syntax_of(ctx: &Ctx<'_>, script: &Script) -> Result<(), Fault> {
    /// Stands before the text, so that nothing of it runs once all of it is read and declared.
    const STOP: &str = "throw null;";
    let start = script.text.trim_start();
    let mut options = options(&script.name);
    options.strict = start.starts_with("'use strict'") || start.starts_with("\"use strict\"");
    match ctx.eval_with_options::<Value, _>(format!("{STOP}{}", script.text), options).catch(ctx) {
        Err(CaughtError::Exception(exception)) => {
            let (_, line, column) = place(&exception.stack().unwrap_or_default());
            let before = if line == 1 { u32::try_from(STOP.len()).unwrap_or(0) } else { 0 };
            let column = column.saturating_sub(before);
            let message = exception.message().unwrap_or_default();
            let file = script.name.clone();
            Err(Fault { file, line, column, ..Fault::of(FaultKind::Syntax, &message) })
        }
        Err(CaughtError::Error(error)) => Err(Fault::of(FaultKind::Memory, &error.to_string())),
        // What stands before it.
        Ok(_) | Err(CaughtError::Value(_)) => Ok(()),
    }
}

fn options(name: &str) -> EvalOptions {
    let mut options = EvalOptions::default();
    options.strict = name.starts_with('<');
    options.filename = Some(name.replace('\0', ""));
    options
}

/// Where the script was, by the first line of a stack that is not the prelude's.
fn place(stack: &str) -> (String, u32, u32) {
    for line in stack.lines() {
        let place = line.trim().trim_start_matches("at ");
        let place = match place.rsplit_once('(') {
            Some((_, inside)) => inside.trim_end_matches(')'),
            None => place,
        };
        let mut parts = place.rsplitn(3, ':');
        let (Some(column), Some(line), Some(file)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let (Ok(column), Ok(line)) = (column.parse(), line.parse()) else { continue };
        if !file.starts_with('<') {
            return (file.to_owned(), line, column);
        }
    }
    (String::new(), 0, 0)
}

/// The message without the scripts, which the engine reads and not the prelude.
fn without_scripts(text: &str) -> Result<String, Fault> {
    let fault = |error: serde_json::Error| Fault::of(FaultKind::Message, &error.to_string());
    let mut whole: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).map_err(fault)?;
    whole.remove("scripts");
    serde_json::to_string(&whole).map_err(fault)
}

/// How far the clocks of a zone are from UTC then, in milliseconds; none for an unknown zone.
fn offset_ms(zone: String, unix_ms: f64) -> Option<f64> {
    let zone = TimeZone::get(&zone).ok()?;
    #[expect(clippy::cast_possible_truncation, reason = "a time out of range is refused below")]
    let at = Timestamp::from_millisecond(unix_ms as i64).ok()?;
    Some(f64::from(zone.to_offset(at).seconds()) * 1_000.0)
}

/// A digest in hexadecimal; empty for an unknown kind.
fn digest(kind: String, key: String, text: String) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    match kind.as_str() {
        "md5" => hex(&md5::Md5::digest(text.as_bytes())),
        "sha1" => hex(&sha1::Sha1::digest(text.as_bytes())),
        "sha256" => hex(&Sha256::digest(text.as_bytes())),
        "hmac_sha256" => Hmac::<Sha256>::new_from_slice(key.as_bytes()).map_or_else(
            |_| String::new(),
            |mut mac| {
                mac.update(text.as_bytes());
                hex(&mac.finalize().into_bytes())
            },
        ),
        _ => String::new(),
    }
}
