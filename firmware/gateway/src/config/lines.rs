//! The devices and the lines of the file.

use std::collections::HashMap;

use tipring_lines::analog::{AnalogSettings, PortName};
use tipring_lines::port::{DeviceSettings, PORTS};
use tipring_lines::{DRIVERS, LineSettings};
use tipring_model::settings::{RawSettings, RawValue};
use toml_edit::Table;

use super::fields::{DEVICE_FIELDS, LINE_FIELDS};
use super::read::{Group, LINES_MAX, Reader};
use super::{FlowEntry, Line};

const DEVICES_MAX: usize = 16;

impl Reader<'_> {
    /// What analog lines are plugged into; those with faults are missing.
    pub(super) fn devices(&mut self, root: &Table) -> Vec<(String, DeviceSettings)> {
        let mut names: Vec<String> = Vec::new();
        let mut devices = Vec::new();
        for table in self.tables(root, "device", DEVICES_MAX) {
            let group = self.read(table);
            let name = group.raw.text("name").unwrap_or("").to_owned();
            if names.contains(&name) {
                let what = format!("two devices are named `{name}`");
                self.value_fault(&group, "name", "TR-CFG-DUPLICATE", what, None);
            }
            if !name.is_empty() && PortName::parse(&format!("{name}/1")).is_none() {
                let what = "letters, digits, - . and _ alone".to_owned();
                self.value_fault(&group, "name", "TR-CFG-MALFORMED", what, None);
            }
            names.push(name.clone());
            let kind = group.raw.text("kind").unwrap_or("");
            let Some(driver) = PORTS.iter().find(|driver| driver.kind == kind) else {
                let known: Vec<&str> = PORTS.iter().map(|driver| driver.kind).collect();
                let help = Some(format!("known kinds: {}", known.join(" ")));
                let what = format!("no kind of device `{kind}`");
                self.value_fault(&group, "kind", "TR-CFG-CHOICE", what, help);
                continue;
            };
            let mut fields = DEVICE_FIELDS.to_vec();
            fields.extend(driver.fields.iter());
            self.check(&group, &fields);
            match (driver.parse)(&own_settings(&group, driver.fields)) {
                Ok(settings) => {
                    let mut known = devices.iter().map(|(_, other): &(String, DeviceSettings)| other);
                    if known.any(|other| other.serial_path() == settings.serial_path()) {
                        let what = "another device is at this serial port".to_owned();
                        self.value_fault(&group, "serial", "TR-CFG-DUPLICATE", what, None);
                    }
                    devices.push((name, settings));
                }
                Err(errors) => self.further_faults(&group, &errors, &fields),
            }
        }
        devices
    }

    pub(super) fn lines(
        &mut self,
        root: &Table,
        flows: &[(String, Option<FlowEntry>)],
        devices: &[(String, DeviceSettings)],
        emergency: &[String],
    ) -> Option<Vec<Line>> {
        let names_of_devices = self.device_names(root);
        let tables = self.tables(root, "line", LINES_MAX);
        let mut groups: Vec<Group> = tables.into_iter().map(|table| self.read(table)).collect();
        for group in &mut groups {
            // One trunk needs no brackets.
            if let Some(RawValue::Text(trunk)) = group.raw.get("dial_out").cloned() {
                group.raw.set("dial_out", RawValue::List(vec![trunk]));
            }
        }
        let names: Vec<String> =
            groups.iter().map(|group| group.raw.text("name").unwrap_or("").to_owned()).collect();
        let flow_names: Vec<String> = flows.iter().map(|(name, _)| name.clone()).collect();
        let mut numbers: HashMap<String, usize> = HashMap::new();
        let mut ports: HashMap<PortName, String> = HashMap::new();
        let mut lines = Some(Vec::new());
        for (at, group) in groups.iter().enumerate() {
            let name = names.get(at).cloned().unwrap_or_default();
            if names.iter().take(at).any(|other| *other == name) {
                let what = format!("two lines are named `{name}`");
                self.value_fault(group, "name", "TR-CFG-DUPLICATE", what, None);
            }
            let number = group.raw.text("number").map(str::to_owned);
            let settings = self.line(group);
            // A number of the exchange may lead to a flow, and reach the box over several lines.
            if settings.as_ref().is_none_or(|(_, settings)| settings.is_phone()) {
                self.phone_number(group, at, &mut numbers, flows);
                if number.as_ref().is_some_and(|number| emergency.contains(number)) {
                    let what = "an emergency number always leaves: nobody can call this telephone".to_owned();
                    self.odd(group, "number", what, "give it another number");
                }
            }
            if let Some((_, LineSettings::Analog(settings))) = &settings {
                if let AnalogSettings::Phone(phone) = settings
                    && let Some((number, after)) = &phone.hotline
                    && after.is_zero()
                    && !emergency.contains(&number.to_string())
                {
                    let what =
                        "emergency numbers can be dialled here only until the hotline answers".to_owned();
                    self.odd(
                        group,
                        "hotline",
                        what,
                        "write hotline_after = \"4s\", or leave it if that is meant",
                    );
                }
                self.port(group, &name, settings, (&names_of_devices, devices), &mut ports);
            }
            let flow = self.reference(group, "flow", &flow_names);
            let dial_out = self.dial_out(group, &names);
            let local_flow = self.reference(group, "local_flow", &flow_names);
            let local = local_flow.and_then(|at| flows.get(at)).and_then(|(_, flow)| flow.as_ref());
            if local.is_some_and(|flow| !flow.program.is_on_box()) {
                let what = "this flow is itself fetched from a server".to_owned();
                let help = Some("name a flow whose document is on the box (`file`)".to_owned());
                self.value_fault(group, "local_flow", "TR-CFG-REFERENCE", what, help);
            }
            let line = settings.map(|(kind, settings)| Line {
                name,
                number,
                kind,
                flow,
                local_flow,
                dial_out,
                settings,
            });
            match (line, &mut lines) {
                (Some(line), Some(lines)) => lines.push(line),
                (Some(_) | None, _) => lines = None,
            }
        }
        lines
    }

    /// A telephone's number leads to it and to nothing else.
    fn phone_number(
        &mut self,
        group: &Group,
        at: usize,
        numbers: &mut HashMap<String, usize>,
        flows: &[(String, Option<FlowEntry>)],
    ) {
        let Some(number) = group.raw.text("number") else { return };
        if numbers.insert(number.to_owned(), at).is_some() {
            let what = format!("two lines have the number {number}");
            self.value_fault(group, "number", "TR-CFG-DUPLICATE", what, None);
        }
        let of_flow = flows.iter().find(|(_, flow)| {
            flow.as_ref().is_some_and(|flow| flow.numbers.iter().any(|other| other == number))
        });
        if let Some((flow, _)) = of_flow {
            let what = format!("the number {number} belongs to the flow `{flow}` already");
            self.value_fault(group, "number", "TR-CFG-DUPLICATE", what, None);
        }
    }

    /// A port is there, and has one line.
    fn port(
        &mut self,
        group: &Group,
        name: &str,
        settings: &AnalogSettings,
        (names, devices): (&[String], &[(String, DeviceSettings)]),
        ports: &mut HashMap<PortName, String>,
    ) {
        let port = settings.port();
        if !names.contains(&port.device) {
            let what = format!("the device `{}` is not defined", port.device);
            let help = Some(format!("defined here: {}", names.join(", ")));
            self.value_fault(group, "port", "TR-CFG-REFERENCE", what, help);
        }
        if let Some((_, device)) = devices.iter().find(|(known, _)| *known == port.device) {
            let (kind, most) = (device.driver().kind, device.ports_max());
            if usize::from(port.number) > most {
                let what = format!("a {kind} has no port {}: it has {most} at most", port.number);
                self.value_fault(group, "port", "TR-CFG-RANGE", what, None);
            } else if matches!(settings, AnalogSettings::Phone(_)) && !device.has_phone_ports() {
                let what = format!("a {kind} has no port for a telephone");
                self.value_fault(group, "port", "TR-CFG-REFERENCE", what, None);
            }
        }
        if let Some(other) = ports.insert(port.clone(), name.to_owned()) {
            let what = format!("the port {port} belongs to the line `{other}` already");
            self.value_fault(group, "port", "TR-CFG-DUPLICATE", what, None);
        }
    }

    /// The trunks that a line may call out over.
    fn dial_out(&mut self, group: &Group, names: &[String]) -> Vec<usize> {
        let mut trunks = Vec::new();
        for name in group.raw.list("dial_out") {
            match names.iter().position(|known| known == name) {
                Some(at) => trunks.push(at),
                None => {
                    let help = Some(format!("defined here: {}", names.join(", ")));
                    let what = format!("`{name}` is not defined");
                    self.value_fault(group, "dial_out", "TR-CFG-REFERENCE", what, help);
                }
            }
        }
        trunks
    }

    /// Names of devices, also of those with faults.
    fn device_names(&self, root: &Table) -> Vec<String> {
        let tables = root.get("device").and_then(|item| item.as_array_of_tables());
        let named = tables.into_iter().flat_map(|tables| tables.iter());
        named.filter_map(|table| table.get("name")?.as_str()).map(str::to_owned).collect()
    }

    fn line(&mut self, group: &Group) -> Option<(&'static str, LineSettings)> {
        let kind = group.raw.text("kind").unwrap_or("");
        let Some(driver) = DRIVERS.iter().find(|driver| driver.kind == kind) else {
            let known: Vec<&str> = DRIVERS.iter().map(|driver| driver.kind).collect();
            let help = Some(format!("known kinds: {}", known.join(" ")));
            self.value_fault(group, "kind", "TR-CFG-CHOICE", format!("no kind of line `{kind}`"), help);
            return None;
        };
        let mut fields = LINE_FIELDS.to_vec();
        fields.extend(driver.fields.iter());
        let kinds_ok = self.check(group, &fields);
        match (driver.parse)(&own_settings(group, driver.fields)) {
            Ok(settings) => kinds_ok.then_some((driver.kind, settings)),
            Err(errors) => {
                self.further_faults(group, &errors, &fields);
                None
            }
        }
    }
}

/// What a driver is to read of a table.
fn own_settings(group: &Group, fields: &[tipring_model::settings::Field]) -> RawSettings {
    let mut own = RawSettings::new();
    for field in fields {
        if let Some(value) = group.raw.get(field.key) {
            own.set(field.key, value.clone());
        }
    }
    own
}
