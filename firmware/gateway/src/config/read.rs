//! From TOML to [`Config`].

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use tipring_flows::{DIALECTS, Finding, Program, voxengine};
use tipring_lines::sip::Networks;
use tipring_model::directory::Directory;
use tipring_model::settings::{Field, FieldError, Problem, RawSettings, RawValue};
use tipring_spool::{Pace, Secret};
use toml_edit::{Document, Item, Table, Value};

use super::fields::{BOX_FIELDS, FETCH_FIELDS, FLOW_FIELDS, LIMIT_FIELDS, SIP_FIELDS, WEBHOOK_FIELDS};
use super::report::code_of;
use super::rules;
use super::text_file::read_bytes;
use super::{Config, Fault, Fetch, FlowEntry, General, Sip, Uploads, Warnings, Webhooks};
use crate::fetch::copies::Keep;
use crate::{countries, fetch};

pub(super) const LINES_MAX: usize = 256;
const FLOWS_MAX: usize = 256;
/// A whole office in one document: callflows, menus, people.
pub(super) const DOCUMENT_BYTES_MAX: u64 = 1_048_576;

pub(super) fn config(text: &str, folder: &Path) -> Result<Config, Vec<Fault>> {
    let document = Document::parse(text).map_err(|error| {
        let span = error.span().unwrap_or(0..0);
        vec![Faults::new(text).at(&span, "TR-CFG-SYNTAX", error.message().to_owned(), None)]
    })?;
    let mut reader = Reader { faults: Faults::new(text), folder, warnings: Warnings::default() };
    let config = reader.whole(document.as_table());
    let mut faults = reader.faults.found;
    faults.sort_by_key(|fault| (fault.line, fault.column));
    match config {
        Some(config) if faults.is_empty() => Ok(config),
        Some(_) | None => Err(faults),
    }
}

/// Faults found so far, and the text that places are counted in.
struct Faults<'a> {
    text: &'a str,
    found: Vec<Fault>,
}

impl<'a> Faults<'a> {
    const fn new(text: &'a str) -> Self {
        Self { text, found: Vec::new() }
    }

    fn at(&self, span: &Range<usize>, code: &'static str, what: String, help: Option<String>) -> Fault {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        let meant = self.text.get(span.clone()).unwrap_or("").lines().next().unwrap_or("");
        Fault { code, line, column, length: meant.chars().count().max(1), what, help }
    }

    fn add(&mut self, span: &Range<usize>, code: &'static str, what: String, help: Option<String>) {
        let fault = self.at(span, code, what, help);
        self.found.push(fault);
    }
}

/// One table of the file with its values and places.
pub(super) struct Group {
    span: Range<usize>,
    pub(super) raw: RawSettings,
    keys: HashMap<String, Range<usize>>,
    values: HashMap<String, Range<usize>>,
}

impl Group {
    fn place(&self, key: &str, problem: &Problem) -> Range<usize> {
        let of_key = matches!(problem, Problem::Unknown { .. });
        let known = if of_key { self.keys.get(key) } else { self.values.get(key) };
        known.unwrap_or(&self.span).clone()
    }
}

pub(super) struct Reader<'a> {
    faults: Faults<'a>,
    folder: &'a Path,
    warnings: Warnings,
}

impl Reader<'_> {
    fn whole(&mut self, root: &Table) -> Option<Config> {
        for (key, item) in root.iter() {
            let known = [
                "schema", "box", "sip", "fetch", "webhooks", "limits", "line", "flow", "user", "group",
                "mailbox", "speech", "mail", "device", "web", "account", "api_key", "rule",
            ];
            if !known.contains(&key) {
                let span = root.key(key).and_then(toml_edit::Key::span).or(item.span()).unwrap_or(0..0);
                let near = known.iter().find(|known| tipring_model::settings::edits(known, key) <= 2);
                let what = near.map_or_else(
                    || format!("`{key}` is not known here"),
                    |near| format!("`{key}` is not known here, did you mean `{near}`?"),
                );
                self.faults.add(&span, "TR-CFG-UNKNOWN", what, None);
            }
        }
        self.schema(root);
        let general = self.general(root);
        let sip = self.sip(root);
        let fetch = self.fetch(root);
        let webhooks = self.webhooks(root);
        let mail = self.mail(root);
        let web = self.web(root, general.as_ref().map_or("tipring", |general| &general.name));
        let speech = self.speech(root);
        let limits = self.group(root, "limits", LIMIT_FIELDS);
        let calls_max = limits.raw.number("calls_max").and_then(|n| usize::try_from(n).ok()).unwrap_or(64);
        let zone = general.as_ref().map_or_else(|| "UTC".to_owned(), |general| general.timezone.clone());
        let directory = Rc::new(self.directory(root, &zone));
        let rules = self.rules(root);
        let flows = self.flows(root, &zone, &directory, &rules);
        self.rule_flows(&rules, &flows);
        let mut directory = Rc::unwrap_or_clone(directory);
        let opened = flows.iter().filter_map(|(_, flow)| flow.as_ref());
        directory.mailboxes.extend(opened.flat_map(|flow| flow.program.mailboxes()));
        let directory = Rc::new(directory);
        let devices = self.devices(root);
        self.warn_of_country(root, !devices.is_empty());
        let emergency = general.as_ref().map_or(&[][..], |general| &general.emergency_numbers);
        let lines = self.lines(root, &flows, &devices, emergency);
        let mut warnings = std::mem::take(&mut self.warnings);
        warnings.documents.retain(|(_, finding)| !is_settled(finding, &fetch.allow, &directory));
        Some(Config {
            warnings,
            general: general?,
            sip: sip?,
            fetch,
            webhooks,
            mail,
            web: web?,
            speech,
            calls_max,
            devices,
            lines: lines?,
            directory,
            flows: flows.into_iter().map(|(_, flow)| flow).collect::<Option<_>>()?,
        })
    }

    /// Wires are another thing in each country, and so are emergency numbers.
    fn warn_of_country(&mut self, root: &Table, has_devices: bool) {
        let own = root.get("box").and_then(Item::as_table);
        if !has_devices || own.is_some_and(|own| own.contains_key("country")) {
            return;
        }
        let span = own.and_then(Table::span).unwrap_or(0..0);
        let help = Some("write country = \"gb\", or wherever it is, under [box]".to_owned());
        let what = "without `country` its telephones and lines are those of the United States".to_owned();
        let fault = self.faults.at(&span, "TR-CFG-COUNTRY", what, help);
        self.warnings.file.push(fault);
    }

    fn schema(&mut self, root: &Table) {
        let item = root.get("schema");
        if item.and_then(Item::as_integer) != Some(1) {
            let span = item.and_then(Item::span).unwrap_or(0..0);
            let help = Some("write `schema = 1` as the first line".to_owned());
            self.faults.add(&span, "TR-CFG-SCHEMA", "the file must say `schema = 1`".to_owned(), help);
        }
    }

    fn general(&mut self, root: &Table) -> Option<General> {
        let group = self.group(root, "box", BOX_FIELDS);
        let code = group.raw.text("country").unwrap_or("us");
        let country = countries::find(code);
        if country.is_none() {
            let known: Vec<&str> = countries::all().iter().map(|country| country.code.as_str()).collect();
            let help = Some(format!("known countries: {}", known.join(" ")));
            self.value_fault(&group, "country", "TR-CFG-CHOICE", format!("no country `{code}`"), help);
        }
        let timezone = group.raw.text("timezone").unwrap_or("UTC").to_owned();
        if jiff::tz::TimeZone::get(&timezone).is_err() {
            let what = format!("no time zone `{timezone}`");
            self.value_fault(
                &group,
                "timezone",
                "TR-CFG-MALFORMED",
                what,
                Some("write a name such as Europe/Berlin".to_owned()),
            );
        }
        let data_dir = self.path(group.raw.text("data_dir").unwrap_or("/var/lib/tipring"));
        let country = country?;
        let listed = group.raw.list("emergency_numbers");
        Some(General {
            name: group.raw.text("name").unwrap_or("tipring").to_owned(),
            country,
            timezone,
            control_socket: group
                .raw
                .text("control_socket")
                .map_or_else(|| PathBuf::from(crate::cli::CONTROL_SOCKET), |path| self.path(path)),
            data_dir,
            emergency_numbers: if listed.is_empty() { country.emergency.clone() } else { listed.to_vec() },
            cdr_days: group.raw.number("cdr_days").and_then(|days| u16::try_from(days).ok()).unwrap_or(180),
            prompts_dir: group.raw.text("prompts_dir").map(|path| self.path(path)),
        })
    }

    fn sip(&mut self, root: &Table) -> Option<Sip> {
        let group = self.group(root, "sip", SIP_FIELDS);
        let udp = self.listen_address(&group, "udp", "0.0.0.0:5060");
        let tcp = self.listen_address(&group, "tcp", "0.0.0.0:5060");
        let ports = match group.raw.text("rtp_udp_ports").unwrap_or("16384-16511") {
            "0" => Some(None),
            text => {
                let range = text.split_once('-').and_then(|(first, last)| {
                    let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
                    (first >= 1_024 && first < last).then_some((first, last))
                });
                if range.is_none() {
                    let help =
                        Some("write two ports from 1024 up, such as \"16384-16511\", or \"0\"".to_owned());
                    let what = format!("`{text}` is not a range of ports");
                    self.value_fault(&group, "rtp_udp_ports", "TR-CFG-MALFORMED", what, help);
                }
                range.map(Some)
            }
        };
        let public = group.raw.text("public_address").map(str::parse::<IpAddr>);
        if matches!(public, Some(Err(_))) {
            self.value_fault(
                &group,
                "public_address",
                "TR-CFG-MALFORMED",
                "not an IP address".to_owned(),
                None,
            );
        }
        let phones_from = match Networks::parse(group.raw.list("phones_from")) {
            Ok(networks) => Some(networks).filter(|networks| !networks.is_empty()),
            Err(_) => {
                let what = "a list of networks such as 192.168.1.0/24 is needed".to_owned();
                self.value_fault(&group, "phones_from", "TR-CFG-MALFORMED", what, None);
                None
            }
        };
        Some(Sip {
            phones_from,
            udp: udp?,
            tcp: tcp?,
            rtp_udp_ports: ports?,
            public_address: public.and_then(Result::ok),
        })
    }

    /// Where to listen; nothing where that is off, and no answer where it is no address.
    pub(super) fn listen_address(
        &mut self,
        group: &Group,
        key: &str,
        usual: &str,
    ) -> Option<Option<SocketAddr>> {
        let text = group.raw.text(key).unwrap_or(usual);
        if text == "off" {
            return Some(None);
        }
        let parsed = text.parse().ok();
        if parsed.is_none() {
            let help = Some("write an address and a port, such as \"0.0.0.0:5060\", or \"off\"".to_owned());
            let what = format!("`{text}` is not an address with a port");
            self.value_fault(group, key, "TR-CFG-MALFORMED", what, help);
        }
        parsed.map(Some)
    }

    fn fetch(&mut self, root: &Table) -> Fetch {
        let group = self.group(root, "fetch", FETCH_FIELDS);
        let allow = group.raw.list("allow").to_vec();
        for entry in &allow {
            if fetch::AllowList::parse(std::slice::from_ref(entry)).is_err() {
                let what = format!("`{entry}` is neither host:port nor a network such as 192.168.1.0/24");
                self.value_fault(&group, "allow", "TR-CFG-MALFORMED", what, None);
            }
        }
        let patience = Duration::from_millis(group.raw.time_ms("patience").unwrap_or(3_000));
        Fetch { allow, patience, prewarm: group.raw.toggle("prewarm").unwrap_or(true) }
    }

    fn webhooks(&mut self, root: &Table) -> Webhooks {
        let group = self.group(root, "webhooks", WEBHOOK_FIELDS);
        let listed = group.raw.list("secrets");
        let secrets: Vec<Secret> = listed.iter().filter_map(|text| Secret::parse(text).ok()).collect();
        if secrets.len() < listed.len() {
            // Which one is not said: what is nearly a secret is one.
            let what = "one of these is no secret".to_owned();
            let help = Some("write `whsec_` and 24 to 64 random bytes in base64".to_owned());
            self.value_fault(&group, "secrets", "TR-CFG-MALFORMED", what, help);
        }
        let [url, upload_url] = ["url", "upload_url"].map(|key| {
            let url = group.raw.text(key).map(str::to_owned);
            if url.as_deref().is_some_and(|url| !is_web_address(url)) {
                // It is not repeated: it may hold a password.
                let help = Some("write an address such as \"https://example.com/events\"".to_owned());
                let what = "not an http or https address".to_owned();
                self.value_fault(&group, key, "TR-CFG-MALFORMED", what, help);
            }
            url
        });
        let usual = Pace::default();
        let number = |key: &str| group.raw.number(key);
        let pace = Pace {
            drain_per_s: number("drain_per_s")
                .and_then(|n| u32::try_from(n).ok())
                .unwrap_or(usual.drain_per_s),
            drain_spread: number("drain_spread_s")
                .and_then(|n| u64::try_from(n).ok())
                .map_or(usual.drain_spread, Duration::from_secs),
        };
        let kbit_s = number("upload_kbit_s").and_then(|n| u32::try_from(n).ok()).unwrap_or(1_024);
        Webhooks { secrets, url, pace, uploads: Uploads { url: upload_url, kbit_s } }
    }

    fn flows(
        &mut self,
        root: &Table,
        zone: &str,
        directory: &Rc<Directory>,
        rules: &[Group],
    ) -> Vec<(String, Option<FlowEntry>)> {
        let mut flows: Vec<(String, Option<FlowEntry>)> = Vec::new();
        let mut taken: HashMap<String, String> = HashMap::new();
        for table in self.tables(root, "flow", FLOWS_MAX) {
            let mut group = self.read(table);
            let name = group.raw.text("name").unwrap_or("").to_owned();
            if flows.iter().any(|(known, _)| *known == name) {
                let what = format!("two flows are named `{name}`");
                self.value_fault(&group, "name", "TR-CFG-DUPLICATE", what, None);
            }
            let dialect_name = group.raw.text("dialect").unwrap_or("").to_owned();
            let Some(dialect) = tipring_flows::dialect(&dialect_name) else {
                let known: Vec<&str> = DIALECTS.iter().map(|dialect| dialect.name).collect();
                let mut fields = FLOW_FIELDS.to_vec();
                // Without a dialect its own keys cannot be judged.
                fields.extend(DIALECTS.iter().flat_map(|dialect| dialect.fields));
                self.check(&group, &fields);
                if !dialect_name.is_empty() {
                    let help = match tipring_flows::reading(&dialect_name) {
                        Some((dialect, profile)) => {
                            format!("write dialect = \"{dialect}\" and profile = \"{profile}\"")
                        }
                        None => format!("known dialects: {}", known.join(" ")),
                    };
                    let help = Some(help);
                    let what = format!("no dialect `{dialect_name}`");
                    self.value_fault(&group, "dialect", "TR-CFG-CHOICE", what, help);
                }
                flows.push((name, None));
                continue;
            };
            let mut own = RawSettings::new();
            let mut lacks_document = false;
            let mut files = Vec::new();
            for (key, document) in [("file", "document"), ("fallback_file", "fallback_document")] {
                let bytes = self.document(&group, key);
                lacks_document |= bytes.is_none() && group.raw.get(key).is_some();
                if let Some(bytes) = bytes {
                    let path = self.path(group.raw.text(key).unwrap_or(""));
                    if dialect.fields.iter().all(|field| field.key != document) {
                        let what = format!("`{key}` has no effect in a flow of {}", dialect.name);
                        self.no_effect(&group, key, what);
                        continue;
                    }
                    let odd = (dialect.check)(&bytes).into_iter().filter(|found| !found.fatal);
                    self.warnings.documents.extend(odd.map(|found| (path.clone(), found)));
                    for finding in (dialect.needs_server)(&bytes) {
                        let (line, column, subject) = (finding.line, finding.column, finding.subject);
                        let what = format!("`{}`:{line}:{column}: {subject}", path.display());
                        self.value_fault(&group, key, finding.code, what, None);
                    }
                    files.push(path);
                    own.set(document, RawValue::Bytes(bytes));
                    let place = group.values.get(key).cloned().unwrap_or_else(|| group.span.clone());
                    group.values.insert(document.to_owned(), place);
                }
            }
            let mut fields = FLOW_FIELDS.to_vec();
            fields.extend(dialect.fields.iter().filter(|field| field.key != "name"));
            self.check(&group, &fields);
            for key in group.raw.keys().map(str::to_owned).collect::<Vec<_>>() {
                let of_dialect = dialect.fields.iter().any(|field| field.key == key);
                if let Some(value) = group.raw.get(&key).filter(|_| of_dialect) {
                    own.set(&key, value.clone());
                }
            }
            let file = files.first().and_then(|path| path.file_name()).and_then(|name| name.to_str());
            if let Some(file) = file.filter(|_| own.get("name").is_some()) {
                // Where a document has a name of its own, it is that of its file.
                own.set("name", RawValue::Text(file.to_owned()));
            }
            let has_zone = dialect.fields.iter().any(|field| field.key == "timezone");
            if has_zone && own.get("timezone").is_none() {
                // One that does not exist was reported where it stands.
                let zone = if jiff::tz::TimeZone::get(zone).is_ok() { zone } else { "UTC" };
                own.set("timezone", RawValue::Text(zone.to_owned()));
            }
            if lacks_document {
                // What it would miss was said.
                flows.push((name, None));
                continue;
            }
            let language = own.text("language").unwrap_or("en-US").to_owned();
            let own_rules = self.rules_of(rules, &name, &language, directory);
            let has_rules = dialect.name == voxengine::DIALECT.name
                && own_rules.as_ref().is_none_or(|rules| !rules.is_empty());
            let (program, own_rules): (Option<Rc<dyn Program>>, _) = if has_rules {
                if own.get("document").is_some() {
                    let what = "a flow has either `file` or rules".to_owned();
                    self.value_fault(&group, "file", "TR-CFG-CONFLICT", what, None);
                }
                files.extend(rules::files_of(rules, &name, |file| self.path(file)));
                (own_rules.as_deref().map(rules::program_of), own_rules.unwrap_or_default())
            } else {
                let opened = (dialect.open)(&own, directory);
                let opened = opened.map_err(|errors| self.further_faults(&group, &errors, &fields));
                (opened.ok().map(Rc::from), Vec::new())
            };
            let application_id = match group.raw.number("application_id").map(u64::try_from) {
                Some(Ok(id)) => id,
                Some(Err(_)) | None => {
                    u64::try_from(flows.iter().filter(|(_, flow)| is_application(flow.as_ref())).count() + 1)
                        .unwrap_or(u64::MAX)
                }
            };
            let is_taken = |(_, flow): &(String, Option<FlowEntry>)| {
                is_application(flow.as_ref())
                    && flow.as_ref().is_some_and(|flow| flow.application_id == application_id)
            };
            if dialect.name == voxengine::DIALECT.name && flows.iter().any(is_taken) {
                let what = format!("two flows have the application_id {application_id}");
                self.value_fault(&group, "application_id", "TR-CFG-DUPLICATE", what, None);
            }
            let numbers = group.raw.list("numbers").to_vec();
            for number in &numbers {
                if let Some(other) = taken.insert(number.clone(), name.clone()) {
                    let what = format!("the number {number} belongs to the flow `{other}` already");
                    self.value_fault(&group, "numbers", "TR-CFG-DUPLICATE", what, None);
                }
            }
            let fallback_url = group.raw.text("fallback_url").map(|url| url.trim().to_owned());
            if fallback_url.as_deref().is_some_and(|url| !is_web_address(url)) {
                let what = "not an http or https address".to_owned();
                self.value_fault(&group, "fallback_url", "TR-CFG-MALFORMED", what, None);
            }
            let keep = match group.raw.text("last_good") {
                Some("always") => Keep::Always,
                Some("never") => Keep::Never,
                Some(_) | None => Keep::Learned,
            };
            // A dialect with a fallback of its own asks it itself.
            let asks_itself = dialect.fields.iter().any(|field| field.key == "fallback_url");
            let fallback_url = fallback_url.filter(|_| !asks_itself);
            if let Some(program) = &program {
                if fallback_url.is_some() && program.is_on_box() {
                    let what = "`fallback_url` has no effect in this flow: its first document is on the box";
                    self.no_effect(&group, "fallback_url", what.to_owned());
                }
                if group.raw.text("last_good").is_some() && !program.takes_copies() {
                    let what = format!("`last_good` has no effect in a flow of {}", dialect.name);
                    self.no_effect(&group, "last_good", what);
                }
            }
            let entry = program.map(|program| FlowEntry {
                name: name.clone(),
                dialect: dialect.name,
                files,
                numbers,
                fallback_url,
                keep,
                application_id,
                rules: own_rules,
                program,
            });
            flows.push((name, entry));
        }
        flows
    }

    /// A document that a flow names, in the encoding that it says.
    fn document(&mut self, group: &Group, key: &str) -> Option<Vec<u8>> {
        let path = self.path(group.raw.text(key)?);
        read_bytes(&path, DOCUMENT_BYTES_MAX)
            .map_err(|error| {
                let what = format!("`{}` {error}", path.display());
                self.value_fault(group, key, "TR-CFG-FILE", what, None);
            })
            .ok()
    }

    /// Faults that the keys' kinds do not show; those that they do are reported
    /// already.
    pub(super) fn further_faults(&mut self, group: &Group, errors: &[FieldError], fields: &[Field]) {
        let reported = group.raw.check(fields).err().unwrap_or_default();
        let is_new = |error: &&FieldError| !reported.iter().any(|known| known.key == error.key);
        let further: Vec<FieldError> = errors.iter().filter(is_new).cloned().collect();
        self.field_faults(group, &further);
    }

    /// The position of the thing that a key names.
    pub(super) fn reference(&mut self, group: &Group, key: &str, names: &[String]) -> Option<usize> {
        let name = group.raw.text(key)?;
        let at = names.iter().position(|known| known == name);
        if at.is_none() {
            let help = Some(format!("defined here: {}", names.join(", ")));
            self.value_fault(group, key, "TR-CFG-REFERENCE", format!("`{name}` is not defined"), help);
        }
        at
    }

    // --- Tables.

    pub(super) fn group(&mut self, root: &Table, key: &str, fields: &[Field]) -> Group {
        let group = match root.get(key) {
            None => {
                Group { span: 0..0, raw: RawSettings::new(), keys: HashMap::new(), values: HashMap::new() }
            }
            Some(Item::Table(table)) => self.read(table),
            Some(other @ (Item::None | Item::Value(_) | Item::ArrayOfTables(_))) => {
                let span = other.span().unwrap_or(0..0);
                self.faults.add(&span, "TR-CFG-TYPE", format!("`{key}` must be a table: [{key}]"), None);
                return Group { span, raw: RawSettings::new(), keys: HashMap::new(), values: HashMap::new() };
            }
        };
        self.check(&group, fields);
        group
    }

    pub(super) fn tables<'t>(&mut self, root: &'t Table, key: &str, most: usize) -> Vec<&'t Table> {
        match root.get(key) {
            None => Vec::new(),
            Some(Item::ArrayOfTables(tables)) => {
                if tables.len() > most {
                    let span = tables.span().unwrap_or(0..0);
                    self.faults.add(&span, "TR-CFG-TOO-MANY", format!("more than {most} [[{key}]]"), None);
                }
                tables.iter().take(most).collect()
            }
            Some(other @ (Item::None | Item::Value(_) | Item::Table(_))) => {
                let span = other.span().unwrap_or(0..0);
                self.faults.add(&span, "TR-CFG-TYPE", format!("write [[{key}]] with two brackets"), None);
                Vec::new()
            }
        }
    }

    pub(super) fn read(&mut self, table: &Table) -> Group {
        let span = table.span().unwrap_or(0..0);
        let mut group = Group { span, raw: RawSettings::new(), keys: HashMap::new(), values: HashMap::new() };
        for (key, item) in table.iter() {
            let place = item.span().unwrap_or(0..0);
            if let Some(span) = table.key(key).and_then(toml_edit::Key::span) {
                group.keys.insert(key.to_owned(), span);
            }
            group.values.insert(key.to_owned(), place.clone());
            match item.as_value().and_then(raw_value) {
                Some(value) => group.raw.set(key, value),
                None => self.faults.add(
                    &place,
                    "TR-CFG-TYPE",
                    "a text, number, true, false or list of texts is needed".to_owned(),
                    None,
                ),
            }
        }
        group
    }

    /// Checks keys and kinds; true if nothing was wrong.
    pub(super) fn check(&mut self, group: &Group, fields: &[Field]) -> bool {
        match group.raw.check(fields) {
            Ok(()) => true,
            Err(errors) => {
                self.field_faults(group, &errors);
                false
            }
        }
    }

    fn field_faults(&mut self, group: &Group, errors: &[FieldError]) {
        for error in errors {
            let place = group.place(&error.key, &error.problem);
            let what = match &error.problem {
                // A document is named by its file.
                Problem::Missing if error.key == "document" => "`file` is needed here".to_owned(),
                Problem::Missing => format!("`{}` is needed here", error.key),
                Problem::Unknown { nearest: None } => format!("`{}` is not known here", error.key),
                Problem::Unknown { nearest: Some(near) } => {
                    format!("`{}` is not known here, did you mean `{near}`?", error.key)
                }
                Problem::WrongKind { .. }
                | Problem::TooLong { .. }
                | Problem::OutOfRange { .. }
                | Problem::NotATime
                | Problem::TimeOutOfRange { .. }
                | Problem::NotAChoice { .. }
                | Problem::TooMany { .. }
                | Problem::Malformed { .. }
                | Problem::Conflict { .. }
                | Problem::Document { .. } => error.problem.to_string(),
            };
            self.faults.add(&place, code_of(&error.problem), what, None);
        }
    }

    pub(super) fn value_fault(
        &mut self,
        group: &Group,
        key: &str,
        code: &'static str,
        what: String,
        help: Option<String>,
    ) {
        let place = group.values.get(key).unwrap_or(&group.span).clone();
        self.faults.add(&place, code, what, help);
    }

    /// Something that works and helps nobody.
    pub(super) fn odd(&mut self, group: &Group, key: &str, what: String, help: &str) {
        let place = group.values.get(key).unwrap_or(&group.span).clone();
        let fault = self.faults.at(&place, "TR-CFG-NO-EFFECT", what, Some(help.to_owned()));
        self.warnings.file.push(fault);
    }

    /// A key that is known and does nothing here.
    fn no_effect(&mut self, group: &Group, key: &str, what: String) {
        let help = "take it out; the README of the dialect says what it does instead";
        self.odd(group, key, what, help);
    }

    /// Doubts about a document.
    pub(super) fn doubts(&mut self, path: &Path, found: Vec<Finding>) {
        self.warnings.documents.extend(found.into_iter().map(|found| (path.to_owned(), found)));
    }

    pub(super) fn path(&self, text: &str) -> PathBuf {
        let path = Path::new(text);
        if path.is_absolute() { path.to_owned() } else { self.folder.join(path) }
    }
}

/// Whether clients of the control API see it.
fn is_application(flow: Option<&FlowEntry>) -> bool {
    flow.is_some_and(|flow| flow.dialect == voxengine::DIALECT.name)
}

/// True for a doubt about a document that the rest of the configuration clears up.
fn is_settled(finding: &Finding, allow: &[String], directory: &Directory) -> bool {
    match finding.code {
        "TR-HOOK-GUARDED" => tipring_flows::address::allowed_entry(&finding.subject)
            .is_some_and(|entry| fetch::AllowList::parse(allow).is_ok_and(|list| list.lists(entry))),
        "TR-FLOW-REFERENCE" => finding.subject.rsplit_once(": ").is_some_and(|(_, id)| {
            directory.user(id).is_some()
                || directory.phone(id).is_some()
                || directory.mailbox(id).is_some()
                || directory.groups.iter().any(|group| group.id == id)
        }),
        _ => false,
    }
}

fn raw_value(value: &Value) -> Option<RawValue> {
    match value {
        Value::String(text) => Some(RawValue::Text(text.value().clone())),
        Value::Integer(number) => Some(RawValue::Number(*number.value())),
        Value::Boolean(on) => Some(RawValue::Toggle(*on.value())),
        Value::Array(array) => array
            .iter()
            .map(|item| item.as_str().map(str::to_owned))
            .collect::<Option<Vec<_>>>()
            .map(RawValue::List),
        Value::Float(_) | Value::Datetime(_) | Value::InlineTable(_) => None,
    }
}

pub(super) fn is_web_address(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}
