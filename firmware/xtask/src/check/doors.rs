//! Outside crates: some come in by one door, some not at all.

use serde_json::Value;

/// Heavy or dangerous crates, and the only members that may name them.
const DOORS: [(&str, &[&str]); 24] = [
    ("sled", &["tipring-spool"]),
    ("quick-xml", &["tipring-flows"]),
    ("audiopus", &["tipring-media"]),
    ("lettre", &["tipring-gateway"]),
    ("alsa", &["tipring-lines"]),
    ("serialport", &["tipring-lines"]),
    ("ureq", &["tipring-gateway", "tipring-spool", "tipring-update"]),
    ("rustls", &["tipring-gateway", "tipring-spool", "tipring-update", "tipring-web"]),
    ("tokio", &["tipring-lines", "tipring-gateway", "tipring-spool", "tipring-update", "tipring-web"]),
    ("axum", &["tipring-web"]),
    ("hyper", &["tipring-web"]),
    ("rcgen", &["tipring-web"]),
    ("ring", &["tipring-web"]),
    // It makes keys. Its signatures and decryptions take times that tell (RUSTSEC-2023-0071).
    ("rsa", &["tipring-gateway"]),
    ("toml_edit", &["tipring-gateway"]),
    ("tracing-subscriber", &["tipring-gateway"]),
    ("clap", &["tipring-gateway", "xtask"]),
    ("anyhow", &["tipring-gateway", "xtask"]),
    // The JavaScript engine, and what shuts its process in.
    ("rquickjs", &["tipring-flows"]),
    ("seccompiler", &["tipring-gateway"]),
    ("landlock", &["tipring-gateway"]),
    ("close_fds", &["tipring-gateway"]),
    ("libc", &["tipring-gateway"]),
    ("rtrb", &["tipring-media", "tipring-lines", "tipring-gateway"]),
];

/// Crates that nothing here may need, however deep: a second TLS, a second HTTP client (hyper
/// serves, and does no more), and what nobody maintains.
const BANNED: [&str; 14] = [
    "openssl",
    "openssl-sys",
    "native-tls",
    "hyper-rustls",
    "hyper-tls",
    "reqwest",
    "curl",
    "curl-sys",
    "async-std",
    "actix-web",
    "failure",
    "ansi_term",
    "serde_yaml",
    "pjproject-sys",
];

/// The packages of the workspace.
pub(crate) fn members(metadata: &Value) -> impl Iterator<Item = &Value> {
    let members: Vec<&str> =
        metadata["workspace_members"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    metadata["packages"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(move |package| package["id"].as_str().is_some_and(|id| members.contains(&id)))
}

/// Every package that is built for the box or its developers, on Linux.
pub(crate) fn built(metadata: &Value) -> impl Iterator<Item = &Value> {
    let nodes: Vec<&str> = metadata["resolve"]["nodes"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|node| node["id"].as_str())
        .collect();
    metadata["packages"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(move |package| package["id"].as_str().is_some_and(|id| nodes.contains(&id)))
}

/// Members that name a crate whose door they are not.
pub(crate) fn doors(metadata: &Value) -> Vec<String> {
    let mut findings = Vec::new();
    for member in members(metadata) {
        let from = member["name"].as_str().unwrap_or_default();
        for dependency in member["dependencies"].as_array().into_iter().flatten() {
            let to = dependency["name"].as_str().unwrap_or_default();
            let door = DOORS.iter().find(|(name, _)| *name == to);
            if let Some((_, doors)) = door.filter(|(_, doors)| !doors.contains(&from)) {
                findings.push(format!("{from} needs {to}, which only {} may", doors.join(" and ")));
            }
        }
    }
    findings
}

/// Banned crates that are built.
pub(crate) fn banned(metadata: &Value) -> Vec<String> {
    built(metadata)
        .filter_map(|package| package["name"].as_str())
        .filter(|name| BANNED.contains(name))
        .map(|name| format!("{name} is banned; `cargo tree --invert {name}` shows who needs it"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixture::metadata;
    use super::*;

    #[test]
    fn a_crate_by_another_door_is_named() {
        let tree = metadata(
            &[
                ("tipring-flows", &[("quick-xml", None), ("tokio", Some("dev"))]),
                ("tipring-web", &[("sled", None), ("tokio", None)]),
            ],
            &[("quick-xml", Some("MIT")), ("sled", Some("MIT"))],
        );
        assert_eq!(
            doors(&tree),
            [
                "tipring-flows needs tokio, which only tipring-lines and tipring-gateway and tipring-spool and tipring-update and tipring-web may",
                "tipring-web needs sled, which only tipring-spool may",
            ]
        );
    }

    #[test]
    fn a_banned_crate_is_found_however_deep() {
        let mut tree = metadata(&[("tipring-web", &[])], &[("serde", Some("MIT")), ("openssl", Some("MIT"))]);
        assert_eq!(banned(&tree).len(), 1);
        assert!(banned(&tree)[0].starts_with("openssl is banned"));
        // Listed for another system, but built for none of ours.
        tree["resolve"]["nodes"].as_array_mut().unwrap().retain(|node| node["id"] != "openssl");
        assert!(banned(&tree).is_empty());
    }
}
