//! Who may see whom: ARCHITECTURE.md's picture against what cargo knows.

use serde_json::Value;

/// Crates of the box.
const PRODUCT: [&str; 8] = [
    "tipring-model",
    "tipring-media",
    "tipring-sip",
    "tipring-lines",
    "tipring-flows",
    "tipring-calls",
    "tipring-spool",
    "tipring-web",
];

/// Arrows beside those of the daemon: who, and what it sees. The testkit is not to see `media`:
/// xtask, which installs the C library that `media` needs, is built with the testkit before it.
const ARROWS: [(&str, &[&str]); 10] = [
    ("tipring-model", &[]),
    ("tipring-sip", &[]),
    ("tipring-media", &["tipring-model"]),
    ("tipring-flows", &["tipring-model"]),
    ("tipring-calls", &["tipring-model"]),
    ("tipring-spool", &["tipring-model"]),
    ("tipring-web", &["tipring-model"]),
    ("tipring-lines", &["tipring-model", "tipring-media", "tipring-sip"]),
    ("tipring-testkit", &["tipring-model", "tipring-sip"]),
    ("xtask", &["tipring-testkit"]),
];

/// Every arrow between crates of the workspace that is not in the picture.
pub(crate) fn edges(metadata: &Value) -> Vec<String> {
    let members: Vec<&Value> = super::doors::members(metadata).collect();
    let is_member = |name: &str| members.iter().any(|member| member["name"] == name);
    let mut findings = Vec::new();
    for member in &members {
        let from = member["name"].as_str().unwrap_or_default();
        for dependency in member["dependencies"].as_array().into_iter().flatten() {
            let to = dependency["name"].as_str().unwrap_or_default();
            let kind = dependency["kind"].as_str().unwrap_or("normal");
            if is_member(to) && !may_see(from, to, kind) {
                findings.push(format!("{from} -> {to} ({kind}) is no arrow of ARCHITECTURE.md"));
            }
        }
    }
    findings
}

fn may_see(from: &str, to: &str, kind: &str) -> bool {
    if kind == "dev" && to == "tipring-testkit" {
        return from != "tipring-model" && from != "tipring-sip";
    }
    if from == "tipring-gateway" {
        return PRODUCT.contains(&to);
    }
    ARROWS.iter().any(|(who, sees)| *who == from && sees.contains(&to))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::metadata;
    use super::*;

    #[test]
    fn an_arrow_that_is_not_in_the_picture_is_named() {
        let tree = metadata(
            &[
                ("tipring-model", &[]),
                ("tipring-sip", &[("tipring-model", None)]),
                (
                    "tipring-flows",
                    &[("tipring-model", None), ("tipring-testkit", Some("dev")), ("serde", None)],
                ),
                ("tipring-calls", &[("tipring-flows", Some("dev")), ("tipring-testkit", None)]),
                ("tipring-testkit", &[("tipring-sip", None)]),
                ("tipring-gateway", &[("tipring-flows", None), ("tipring-testkit", Some("dev"))]),
            ],
            &[("serde", Some("MIT"))],
        );
        assert_eq!(
            edges(&tree),
            [
                "tipring-sip -> tipring-model (normal) is no arrow of ARCHITECTURE.md",
                "tipring-calls -> tipring-flows (dev) is no arrow of ARCHITECTURE.md",
                "tipring-calls -> tipring-testkit (normal) is no arrow of ARCHITECTURE.md",
            ]
        );
    }
}
