//! Documents: callflows, bundles of an account and answers of Pivot servers, checked whole
//! before anything of them runs.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::keys::{self, Data, Fault, Module, shortened};
use super::pattern::{Captures, Pattern};
use super::references;
use super::rules;
use super::stored::{KINDS, Stored};
use crate::json::{self, Json, Limits, Value};
use crate::xml::Position;
use crate::{Claim, Finding};

/// Bounds of what the configuration holds.
const LIMITS: Limits = Limits { bytes_max: DOCUMENT_BYTES_MAX, values_max: 200_000, depth_max: 300 };
/// Longest document of the configuration, in bytes.
pub(super) const DOCUMENT_BYTES_MAX: usize = 1_048_576;
/// Longest answer of a Pivot server, in bytes.
pub(super) const ANSWER_BYTES_MAX: usize = 262_144;
/// Nodes below each other.
const DEPTH_MAX: usize = 128;
/// Nodes of one document.
const NODES_MAX: usize = 4_096;
/// Findings that are told; more of them say nothing new.
const FINDINGS_MAX: usize = 100;
/// Patterns of one document: each takes memory of its own.
const PATTERNS_MAX: usize = 500;
/// Among the numbers of a callflow: it answers those that no other one answers.
const NO_MATCH: &str = "no_match";
/// Longest number of a callflow, in characters.
const NUMBER_LENGTH_MAX: usize = 36;

/// A flow, or nothing: an empty object hangs up.
pub(super) type Tree = Option<Rc<Node>>;

/// One action of a callflow.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) module: Module,
    pub(super) data: Json,
    pub(super) children: Vec<(String, Tree)>,
    /// The flow that stands in the data of a `callflow` or a serverless `pivot`.
    pub(super) inline: Tree,
    /// Where it stands, for example `flow.children.1`.
    pub(super) path: String,
    /// The callflow that it is part of; empty outside a bundle.
    pub(super) flow_id: Rc<str>,
}

impl Node {
    pub(super) const fn data(&self) -> Data<'_> {
        Data::new(self.module.keys(), Some(&self.data))
    }

    /// The child of this key, unless it is empty.
    pub(super) fn child(&self, key: &str) -> Option<&Rc<Self>> {
        self.children.iter().find(|(known, _)| known == key).and_then(|(_, child)| child.as_ref())
    }

    pub(super) fn has_child(&self, key: &str) -> bool {
        self.child(key).is_some()
    }
}

/// A stored callflow.
#[derive(Debug)]
pub(super) struct Callflow {
    pub(super) id: String,
    pub(super) numbers: Vec<String>,
    pub(super) patterns: Vec<Pattern>,
    pub(super) flow: Tree,
    /// What callers hear while somebody rings.
    pub(super) ringback: Option<String>,
}

/// What the configuration holds.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) callflows: Vec<Callflow>,
    pub(super) stored: Stored,
}

/// The callflow that answers a number.
pub(super) struct Picked<'a> {
    pub(super) callflow: &'a Callflow,
    pub(super) captures: Captures,
    /// Other callflows have the same number.
    pub(super) is_doubtful: bool,
}

impl Document {
    /// The callflow for a number: by its numbers, its patterns, or as the one for the rest.
    pub(super) fn pick(&self, number: &str) -> Option<Picked<'_>> {
        if let [only] = self.callflows.as_slice()
            && only.numbers.is_empty()
            && only.patterns.is_empty()
        {
            return Some(Picked { callflow: only, captures: Captures::default(), is_doubtful: false });
        }
        self.pick_stored(number).or_else(|| {
            let digits = number.strip_prefix('+').unwrap_or(number);
            let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            self.by_number(NO_MATCH).filter(|_| is_number)
        })
    }

    /// How one of the callflows claims a number; the one for the rest claims none.
    pub(super) fn claims(&self, number: &str) -> Option<Claim> {
        let having = |fits: &dyn Fn(&Callflow) -> bool| self.callflows.iter().any(fits);
        if number != NO_MATCH && having(&|flow| flow.numbers.iter().any(|known| known == number)) {
            return Some(Claim::Number);
        }
        having(&|flow| flow.patterns.iter().any(|pattern| pattern.is_match(number))).then_some(Claim::Pattern)
    }

    /// As [`Self::pick`], without the one for the rest.
    pub(super) fn pick_stored(&self, number: &str) -> Option<Picked<'_>> {
        if let Some(picked) = self.by_number(number) {
            return Some(picked);
        }
        let mut best: Option<Picked<'_>> = None;
        for callflow in &self.callflows {
            for captures in callflow.patterns.iter().filter_map(|pattern| pattern.captures(number)) {
                if best.as_ref().is_none_or(|best| captures.longest.len() > best.captures.longest.len()) {
                    best = Some(Picked { callflow, captures, is_doubtful: false });
                }
            }
        }
        best
    }

    fn by_number(&self, number: &str) -> Option<Picked<'_>> {
        let mut having =
            self.callflows.iter().filter(|callflow| callflow.numbers.iter().any(|known| known == number));
        let callflow = having.next()?;
        Some(Picked { callflow, captures: Captures::default(), is_doubtful: having.next().is_some() })
    }

    pub(super) fn callflow(&self, id: &str) -> Option<&Callflow> {
        self.callflows.iter().find(|callflow| callflow.id == id)
    }
}

/// What is found while a document is read.
pub(super) struct Report {
    pub(super) findings: Vec<Finding>,
    pub(super) is_fatal: bool,
    nodes: usize,
    patterns: usize,
    flow_id: Rc<str>,
}

impl Default for Report {
    fn default() -> Self {
        Self { findings: Vec::new(), is_fatal: false, nodes: 0, patterns: 0, flow_id: Rc::from("") }
    }
}

impl Report {
    fn add(&mut self, fault: Fault) {
        self.is_fatal |= fault.fatal;
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Finding {
                code: fault.code,
                fatal: fault.fatal,
                line: fault.at.line,
                column: fault.at.column,
                subject: fault.subject,
            });
        }
    }

    fn fatal(&mut self, code: &'static str, at: Position, subject: impl Into<String>) {
        self.add(Fault { code, fatal: true, at, subject: subject.into() });
    }

    fn odd(&mut self, code: &'static str, at: Position, subject: impl Into<String>) {
        self.add(Fault { code, fatal: false, at, subject: subject.into() });
    }

    /// The code of the first thing that makes the document unfit.
    pub(super) fn first_code(&self) -> &'static str {
        self.findings.iter().find(|finding| finding.fatal).map_or("TR-FLOW-JSON", |finding| finding.code)
    }
}

/// Reads a document of the configuration; none if it will not run.
pub(super) fn document(bytes: &[u8]) -> (Option<Document>, Report) {
    let mut report = Report::default();
    let document = read(bytes, &LIMITS, &mut report).map(|root| whole(&root, &mut report));
    (document.filter(|_| !report.is_fatal), report)
}

/// Reads an answer of a Pivot server: a node, or one inside `flow`.
pub(super) fn answer(bytes: &[u8]) -> Result<Rc<Node>, Report> {
    let mut report = Report::default();
    let limits = Limits { bytes_max: ANSWER_BYTES_MAX, ..LIMITS };
    let tree = read(bytes, &limits, &mut report).and_then(|root| {
        let wrapped = root.get("flow").filter(|_| root.get("module").is_none());
        node(wrapped.unwrap_or(&root), "flow", 1, &mut report)
    });
    match tree {
        Some(tree) if !report.is_fatal => Ok(tree),
        Some(_) | None => {
            report.is_fatal = true;
            Err(report)
        }
    }
}

/// Checks a document without running it.
pub(super) fn check(bytes: &[u8]) -> Vec<Finding> {
    let (document, mut report) = document(bytes);
    if let Some(document) = document {
        references::missing(&document).into_iter().for_each(|fault| report.add(fault));
    }
    counted(report.findings)
}

/// The same warning about the same thing once, with how often it is there.
fn counted(findings: Vec<Finding>) -> Vec<Finding> {
    let mut told: Vec<(Finding, usize)> = Vec::new();
    for finding in findings {
        let is_it = |known: &Finding| known.code == finding.code && known.subject == finding.subject;
        match told.iter_mut().find(|(known, _)| !finding.fatal && is_it(known)) {
            Some((_, times)) => *times += 1,
            None => told.push((finding, 1)),
        }
    }
    let with_count = told.into_iter().map(|(finding, times)| {
        let subject =
            if times > 1 { format!("{} ({times} times)", finding.subject) } else { finding.subject.clone() };
        Finding { subject, ..finding }
    });
    with_count.collect()
}

fn read(bytes: &[u8], limits: &Limits, report: &mut Report) -> Option<Json> {
    match json::parse(bytes, limits) {
        Ok(read) => {
            for (key, at) in read.doubles {
                report.odd("TR-FLOW-JSON-TWICE", at, shortened(&key));
            }
            Some(read.root)
        }
        Err(error) => {
            report.fatal(error.fault.code(), error.at, "document");
            None
        }
    }
}

fn whole(root: &Json, report: &mut Report) -> Document {
    let mut stored = Stored::default();
    let mut callflows = Vec::new();
    let is_bundle = root.get("callflows").is_some() || KINDS.iter().any(|kind| root.get(kind.name).is_some());
    if is_bundle {
        for (name, value) in root.members() {
            if name == "callflows" {
                for (n, item) in items(value, name, report).iter().enumerate() {
                    callflows.extend(callflow(item, &format!("callflows[{n}].flow"), report));
                }
            } else if let Some(kind) = KINDS.iter().find(|kind| kind.name == name) {
                for (n, item) in items(value, name, report).iter().enumerate() {
                    let path = format!("{name}[{n}]");
                    let mut faults = Vec::new();
                    if let Some(keys) = kind.keys {
                        keys::check(keys, item, &path, &mut faults);
                        // Exports hold much that concerns the platform alone.
                        faults.retain(|fault| fault.code != "TR-FLOW-KEY-UNKNOWN");
                    }
                    rules::check_stored(kind.name, item, &path, &mut faults);
                    faults.into_iter().for_each(|fault| report.add(fault));
                    match id_of(item) {
                        Some(id) => stored.add(kind.name, id, item.clone()),
                        None => report.fatal("TR-FLOW-KEY-MISSING", item.at, format!("{path}.id")),
                    }
                }
            } else {
                report.odd("TR-FLOW-KEY-UNKNOWN", value.at, shortened(name));
            }
        }
    } else if root.get("module").is_some() && root.get("flow").is_none() {
        let flow = node(root, "flow", 1, report);
        callflows.push(Callflow {
            id: String::new(),
            numbers: Vec::new(),
            patterns: Vec::new(),
            flow,
            ringback: None,
        });
    } else {
        callflows.extend(callflow(root, "flow", report));
    }
    Document { callflows, stored }
}

fn items<'a>(value: &'a Json, name: &str, report: &mut Report) -> &'a [Json] {
    if !matches!(value.value, Value::List(_)) {
        report.fatal("TR-FLOW-KEY-TYPE", value.at, format!("{name}: a list"));
    }
    value.items()
}

fn id_of(item: &Json) -> Option<&str> {
    let id = item.get("id").or_else(|| item.get("_id"))?;
    id.text().filter(|id| !id.is_empty())
}

/// Keys of a callflow that have a meaning here, or none at all.
const CALLFLOW_KEYS: [&str; 9] =
    ["id", "_id", "flow", "numbers", "patterns", "name", "featurecode", "flags", "ringback"];

fn callflow(json: &Json, path: &str, report: &mut Report) -> Option<Callflow> {
    if !json.is_object() {
        report.fatal("TR-FLOW-NODE", json.at, path.strip_suffix(".flow").unwrap_or("document"));
        return None;
    }
    // `callflows[1].` in a bundle.
    let prefix = path.strip_suffix("flow").unwrap_or("");
    for (key, value) in json.members() {
        if key == "metaflow" {
            report.fatal("TR-FLOW-MODULE-UNSUPPORTED", value.at, format!("{prefix}metaflow"));
        } else if !CALLFLOW_KEYS.contains(&key.as_str()) && !key.starts_with("pvt_") && key != "_rev" {
            report.odd("TR-FLOW-KEY-UNKNOWN", value.at, format!("{prefix}{}", shortened(key)));
        }
    }
    report.flow_id = Rc::from(id_of(json).unwrap_or(""));
    let flow = match json.get("flow") {
        Some(flow) => tree(flow, path, 1, report),
        None => {
            report.fatal("TR-FLOW-KEY-MISSING", json.at, path);
            None
        }
    };
    let numbers = texts(json, "numbers", prefix, NUMBER_LENGTH_MAX, report);
    let mut known = BTreeSet::new();
    for (n, at, number) in &numbers {
        if !known.insert(number.as_str()) {
            let subject = format!("{prefix}numbers[{n}]: {}", shortened(number));
            report.fatal("TR-FLOW-KEY-TWICE", *at, subject);
        }
    }
    let mut patterns = Vec::new();
    for (n, at, text) in &texts(json, "patterns", prefix, usize::MAX, report) {
        report.patterns += 1;
        if report.patterns > PATTERNS_MAX {
            report.fatal(
                "TR-FLOW-TREE",
                *at,
                format!("{prefix}patterns[{n}]: more than {PATTERNS_MAX} in all"),
            );
            break;
        }
        match Pattern::new(text) {
            Ok(pattern) => patterns.push(pattern),
            Err(code) => report.fatal(code, *at, format!("{prefix}patterns[{n}]: {}", shortened(text))),
        }
    }
    Some(Callflow {
        id: id_of(json).unwrap_or("").to_owned(),
        numbers: numbers.into_iter().map(|(_, _, number)| number).collect(),
        patterns,
        flow,
        ringback: json.at_path(["ringback", "early"]).and_then(Json::text).map(str::to_owned),
    })
}

fn texts(
    json: &Json,
    name: &str,
    prefix: &str,
    length_max: usize,
    report: &mut Report,
) -> Vec<(usize, Position, String)> {
    let Some(list) = json.get(name).filter(|list| list.value != Value::Null) else { return Vec::new() };
    let mut texts = Vec::new();
    let name = format!("{prefix}{name}");
    let allowed = match length_max {
        usize::MAX => "at least 1 character".to_owned(),
        most => format!("1 to {most} characters"),
    };
    for (n, item) in items(list, &name, report).iter().enumerate() {
        match item.text() {
            Some(text) if !text.is_empty() && text.chars().count() <= length_max => {
                texts.push((n, item.at, text.to_owned()));
            }
            Some(_) => report.fatal("TR-FLOW-KEY-RANGE", item.at, format!("{name}[{n}]: {allowed}")),
            None => report.fatal("TR-FLOW-KEY-TYPE", item.at, format!("{name}[{n}]: a text")),
        }
    }
    texts
}

/// A node, or an empty object, which is none.
fn tree(json: &Json, path: &str, depth: usize, report: &mut Report) -> Tree {
    if json.is_object() && json.members().is_empty() {
        return None;
    }
    node(json, path, depth, report)
}

fn node(json: &Json, path: &str, depth: usize, report: &mut Report) -> Tree {
    if !json.is_object() {
        report.fatal("TR-FLOW-NODE", json.at, path);
        return None;
    }
    report.nodes += 1;
    if depth > DEPTH_MAX || report.nodes > NODES_MAX {
        if report.nodes <= NODES_MAX.saturating_add(1) {
            report.fatal("TR-FLOW-TREE", json.at, path);
        }
        return None;
    }
    let module = module(json, path, report);
    for (key, value) in json.members() {
        if !["module", "data", "children"].contains(&key.as_str()) {
            report.odd("TR-FLOW-KEY-UNKNOWN", value.at, format!("{path}.{}", shortened(key)));
        }
    }
    let empty = Json { at: json.at, value: Value::Object(Vec::new()) };
    let data = json.get("data").filter(|data| data.value != Value::Null).unwrap_or(&empty);
    let data_path = format!("{path}.data");
    let mut inline = None;
    if !data.is_object() {
        report.fatal("TR-FLOW-KEY-TYPE", data.at, format!("{data_path}: an object"));
    } else if let Some(module) = module {
        let mut faults = Vec::new();
        keys::check(module.keys(), data, &data_path, &mut faults);
        rules::check(module, data, &data_path, &mut faults);
        faults.into_iter().for_each(|fault| report.add(fault));
        let name = if module == Module::Callflow { "flow" } else { "serverless.flow_doc" };
        let within = data.at_path(name.split('.')).filter(|flow| flow.is_object());
        if let Some(flow) = within.filter(|_| matches!(module, Module::Callflow | Module::Pivot)) {
            inline = tree(flow, &format!("{data_path}.{name}"), depth + 1, report);
        }
    }
    let mut children = Vec::new();
    if let Some(written) = json.get("children").filter(|children| children.value != Value::Null) {
        // An empty list is what some scripts make of an empty object.
        if !written.is_object() && !matches!(&written.value, Value::List(items) if items.is_empty()) {
            report.fatal("TR-FLOW-KEY-TYPE", written.at, format!("{path}.children: an object"));
        }
        for (key, child) in written.members() {
            let child = tree(child, &format!("{path}.children.{}", shortened(key)), depth + 1, report);
            children.push((key.clone(), child));
        }
    }
    Some(Rc::new(Node {
        module: module?,
        data: without_flow(data, inline.is_some()),
        children,
        inline,
        path: path.to_owned(),
        flow_id: Rc::clone(&report.flow_id),
    }))
}

/// The data of a node; a flow inside is a tree by now, and would be copied at each level.
fn without_flow(data: &Json, has_flow: bool) -> Json {
    let kept = |(key, value): &(String, Json)| match key.as_str() {
        "flow" => None,
        "serverless" => Some((key.clone(), without_flow(value, has_flow))),
        "flow_doc" if value.is_object() => None,
        _ => Some((key.clone(), value.clone())),
    };
    if !has_flow || !data.is_object() {
        return data.clone();
    }
    Json { at: data.at, value: Value::Object(data.members().iter().filter_map(kept).collect()) }
}

fn module(json: &Json, path: &str, report: &mut Report) -> Option<Module> {
    let Some(name) = json.get("module").and_then(Json::text).filter(|name| !name.is_empty()) else {
        report.fatal("TR-FLOW-MODULE-MISSING", json.at, format!("{path}.module"));
        return None;
    };
    let module = Module::of(name);
    if module.is_none() {
        let code =
            if keys::is_absent(name) { "TR-FLOW-MODULE-UNSUPPORTED" } else { "TR-FLOW-MODULE-UNKNOWN" };
        let at = json.get("module").map_or(json.at, |module| module.at);
        report.fatal(code, at, format!("{path}.module: {}", shortened(name)));
    }
    module
}
