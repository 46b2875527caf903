//! What a dialect claims to do: every transcript stands in the `INDEX.md` of its folder, every
//! name there is a transcript or a test of the whole daemon, and the table in the dialect's README is made of the index.
//! With `UPDATE_EXPECT=1` the table is written anew.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use tipring_flows::DIALECTS;

const BEGIN: &str = "<!-- coverage: made of golden/INDEX.md by a test -->";
const END: &str = "<!-- end of coverage -->";

/// A row of an index.
struct Row<'a> {
    group: &'a str,
    name: &'a str,
    text: &'a str,
}

impl Row<'_> {
    /// The transcripts that it names.
    fn transcripts(&self) -> impl Iterator<Item = &str> {
        self.text.split('`').skip(1).step_by(2).filter(|name| name.ends_with(".txt"))
    }

    /// The tests of the whole daemon that it names.
    fn live_tests(&self) -> impl Iterator<Item = &str> {
        self.text.split('`').skip(1).step_by(2).filter(|name| name.ends_with(".py"))
    }

    /// Its name and, where it is not all done, why.
    fn entry(&self) -> String {
        let name = self.name.split_once(' ').filter(|_| self.name.starts_with('§'));
        let name = name.map_or(self.name, |(_, name)| name);
        let why = self.text.strip_prefix("partly:").or_else(|| self.text.strip_prefix("not done:"));
        // The transcripts stand behind the last semicolon.
        let why = why.map(|why| why.split("; `").next().unwrap_or(why).trim());
        why.map_or_else(|| name.to_owned(), |why| format!("{name} ({why})"))
    }
}

fn folder(dialect: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(dialect)
}

/// The rows of an index: `| §N Row | ... |` under `## Group`.
fn rows(index: &str) -> Vec<Row<'_>> {
    let mut group = "";
    let mut rows = Vec::new();
    for line in index.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            group = title;
        }
        let cells = line.strip_prefix("| ").and_then(|line| line.strip_suffix(" |"));
        let Some((name, text)) = cells.and_then(|cells| cells.split_once(" | ")) else { continue };
        if name != "Row" {
            rows.push(Row { group, name, text });
        }
    }
    rows
}

/// The table of a README.
fn table(rows: &[Row<'_>]) -> String {
    let mut table = "| Part | Done | Partly | Not done |\n|---|---|---|---|\n".to_owned();
    let mut groups: Vec<&str> = Vec::new();
    for row in rows {
        if !groups.contains(&row.group) {
            groups.push(row.group);
        }
    }
    for group in groups {
        let mut cells = [Vec::new(), Vec::new(), Vec::new()];
        for row in rows.iter().filter(|row| row.group == group) {
            let column = match row.text {
                text if text.starts_with("partly:") => 1,
                text if text.starts_with("not done:") => 2,
                _ => 0,
            };
            cells[column].push(row.entry());
        }
        let [done, partly, not_done] = cells.map(|cell| cell.join("; "));
        writeln!(table, "| {group} | {done} | {partly} | {not_done} |").unwrap();
    }
    table
}

#[test]
fn an_index_names_each_transcript_and_nothing_else() {
    for dialect in DIALECTS {
        let golden = folder(dialect.name).join("golden");
        let Ok(index) = std::fs::read_to_string(golden.join("INDEX.md")) else { continue };
        let rows = rows(&index);
        let named: BTreeSet<String> = rows.iter().flat_map(Row::transcripts).map(str::to_owned).collect();
        let there: BTreeSet<String> = std::fs::read_dir(&golden)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".txt"))
            .collect();
        let live = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/sip");
        let lost: Vec<&str> =
            rows.iter().flat_map(Row::live_tests).filter(|name| !live.join(name).is_file()).collect();
        assert!(lost.is_empty(), "{}: tests that are not there: {lost:?}", dialect.name);
        let lost: Vec<&String> = named.difference(&there).collect();
        let unnamed: Vec<&String> = there.difference(&named).collect();
        assert!(lost.is_empty(), "{}: named and not there: {lost:?}", dialect.name);
        assert!(unnamed.is_empty(), "{}: there and not named: {unnamed:?}", dialect.name);
    }
}

#[test]
fn a_readme_claims_what_its_index_shows() {
    let mut checked = 0;
    for dialect in DIALECTS {
        let Ok(index) = std::fs::read_to_string(folder(dialect.name).join("golden/INDEX.md")) else {
            continue;
        };
        let readme_path = folder(dialect.name).join("README.md");
        let readme = std::fs::read_to_string(&readme_path).unwrap();
        let Some((before, rest)) = readme.split_once(BEGIN) else { continue };
        let (now, after) = rest.split_once(END).expect("the table has an end");
        let rows = rows(&index);
        for row in &rows {
            let is_claimed = !row.text.starts_with("partly:") && !row.text.starts_with("not done:");
            let is_shown = row.transcripts().chain(row.live_tests()).next().is_some();
            assert!(!is_claimed || is_shown, "{}: {} is shown by nothing", dialect.name, row.name);
        }
        let wanted = format!("\n\n{}\n", table(&rows));
        checked += 1;
        if now == wanted {
            continue;
        }
        assert!(
            std::env::var_os("UPDATE_EXPECT").is_some(),
            "the table in {} is not that of the index; UPDATE_EXPECT=1 writes it",
            readme_path.display()
        );
        std::fs::write(&readme_path, format!("{before}{BEGIN}{wanted}{END}{after}")).unwrap();
    }
    assert!(checked > 0, "no README has the table");
}
