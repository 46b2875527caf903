//! The keys of analog lines, as the document for installers lists them.

use std::fmt::Write as _;

use tipring_lines::analog::fxo::FxoSettings;
use tipring_lines::analog::fxs::FxsSettings;
use tipring_lines::port::PORTS;
use tipring_model::settings::{Field, FieldKind, Settings};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/analog/KEYS.md");

fn rows(fields: &[Field]) -> String {
    let mut rows = String::from("| key | what | value | without it |\n|---|---|---|---|\n");
    for field in fields {
        let value = match field.kind {
            FieldKind::Text { .. } => "text".to_owned(),
            FieldKind::Secret => "text that is kept secret".to_owned(),
            FieldKind::Number { min, max, unit } => format!("{min} to {max} {unit}"),
            FieldKind::Toggle => "`true`, `false`".to_owned(),
            FieldKind::Choice(choices) => {
                choices.iter().map(|choice| format!("`\"{choice}\"`")).collect::<Vec<_>>().join(", ")
            }
            FieldKind::List { entries_max } => format!("list of {entries_max} texts at most"),
            FieldKind::Time { min_ms, max_ms } => format!("time, {} to {}", time(min_ms), time(max_ms)),
        };
        let default = match field.default {
            Some(default) => format!("`{default}`"),
            None if field.required => "must be there".to_owned(),
            None => String::new(),
        };
        let Field { key, help, .. } = field;
        // Writing into a String cannot fail.
        let _ = writeln!(rows, "| `{key}` | {help} | {value} | {default} |");
    }
    rows
}

fn time(ms: u64) -> String {
    match ms {
        0 => "0s".to_owned(),
        ms if ms % 3_600_000 == 0 => format!("{}h", ms / 3_600_000),
        ms if ms % 60_000 == 0 => format!("{}m", ms / 60_000),
        ms if ms % 1_000 == 0 => format!("{}s", ms / 1_000),
        ms => format!("{ms}ms"),
    }
}

#[test]
fn the_document_lists_every_key() {
    let mut text = String::from(
        "# Keys of devices and of lines on two wires\n\nMade from the program by `UPDATE_EXPECT=1 cargo test -p tipring-lines --test keys`. Times are written as\n`800ms`, `3s`, `10m` or `4h`. Every line has `name`, `kind`, `flow`, `local_flow` and `dial_out`, too.\n",
    );
    for driver in PORTS {
        write!(text, "\n## `[[device]]` of the kind `{}`\n\n{}", driver.kind, rows(driver.fields)).unwrap();
    }
    for (kind, what, fields) in
        [("fxs", "a telephone", FxsSettings::FIELDS), ("fxo", "a line of the exchange", FxoSettings::FIELDS)]
    {
        write!(text, "\n## `[[line]]` of the kind `{kind}`: {what}\n\n{}", rows(fields)).unwrap();
    }
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(FILE, &text).unwrap();
    }
    let written = std::fs::read_to_string(FILE).unwrap_or_default();
    assert!(written == text, "{FILE} is not what the program knows: run this test with UPDATE_EXPECT=1");
}
