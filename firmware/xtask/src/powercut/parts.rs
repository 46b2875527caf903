//! What the guest is made of: a kernel, its modules, busybox and the program, all for ARM64.
//!
//! They come from Debian, whatever machine of Debian this is: a folder with the compiler, the
//! standard library for ARM64 and the kernel is made once, by mmdebstrap, from the mirror that
//! this machine's own apt uses. Each step builds beside its place and is moved there when it is
//! done, so an interrupted one is begun again.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::packages;
use crate::run;
use crate::workspace;

/// Packages of this machine.
const PACKAGES: [&str; 4] = ["qemu-system-arm", "e2fsprogs", "mmdebstrap", "debian-archive-keyring"];
/// The release that the folder is made of: its backports have a compiler that is new enough.
const RELEASE: &str = "trixie";
const BACKPORTS: &str = "trixie-backports";
/// Packages of the folder.
const INSIDE: [&str; 6] =
    ["gcc", "libc6-dev", "gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross", "kmod", "xz-utils"];
/// Those that come from the backports.
const INSIDE_NEWER: [&str; 3] = ["rustc", "libstd-rust-dev", "libstd-rust-dev:arm64"];
/// Run by mmdebstrap with the folder as its argument: fetches and unpacks a kernel and busybox,
/// neither of which could be installed there.
const FETCH: &str = include_str!("fetch.sh");
/// Modules that the guest loads; those they need come with them.
const MODULES: [&str; 2] = ["virtio_blk", "ext4"];
const TARGET: &str = "aarch64-unknown-linux-gnu";
/// The program, an example of the spool's crate.
const PROGRAM: &str = "powercut_guest";
/// What leaves the `fdatasync` out.
const TWIN: &str = "--cfg=tipring_without_fdatasync";

/// What unshare is told, so that no other program sees what this one mounts.
const ALONE: [&str; 2] = ["--mount", "--propagation=private"];

/// Files for the guest.
pub(crate) struct Parts {
    pub(crate) kernel: PathBuf,
    pub(crate) busybox: PathBuf,
    /// In the order in which they are loaded.
    pub(crate) modules: Vec<PathBuf>,
    pub(crate) program: PathBuf,
}

/// The folder of the power cuts.
pub(crate) fn folder() -> Result<PathBuf> {
    let folder = workspace::target_directory()?.join("powercut");
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    Ok(folder)
}

/// Gets or builds everything; with `twin`, the program that does not sync.
pub(crate) fn parts(twin: bool) -> Result<Parts> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "the guest is built in a Debian of its own, which takes root: sudo cargo xtask powercut"
    );
    packages::install_also(&PACKAGES)?;
    let folder = folder()?;
    let root = folder.join("root");
    if !root.is_dir() {
        make_root(&folder, &root)?;
    }
    let guest = folder.join("guest");
    if !guest.is_dir() {
        make_guest(&folder, &root, &guest)?;
    }
    let mut modules: Vec<PathBuf> =
        std::fs::read_dir(guest.join("modules"))?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    modules.sort();
    Ok(Parts {
        kernel: guest.join("vmlinuz"),
        busybox: guest.join("busybox"),
        modules,
        program: build(&folder, &root, twin)?,
    })
}

/// A folder `NAME.new` to build in, empty.
fn fresh(place: &Path) -> Result<PathBuf> {
    let fresh = place.with_extension("new");
    if fresh.exists() {
        std::fs::remove_dir_all(&fresh).with_context(|| fresh.display().to_string())?;
    }
    Ok(fresh)
}

fn make_root(folder: &Path, root: &Path) -> Result<()> {
    let fresh = fresh(root)?;
    let mirror = mirror()?;
    let newer = INSIDE_NEWER.map(|package| format!("{package}/{BACKPORTS}"));
    let packages: Vec<&str> = INSIDE.into_iter().chain(newer.iter().map(String::as_str)).collect();
    let fetch = folder.join("fetch.sh");
    std::fs::write(&fetch, FETCH)?;
    // What it mounts must be gone with it, even if it is killed: what is left is removed later.
    let mut command = Command::new("unshare");
    command
        .args(ALONE)
        .arg("mmdebstrap")
        .args(["--mode=root", "--variant=apt", "--architectures=amd64,arm64"])
        .args(["--keyring=/usr/share/keyrings", "--aptopt=APT::Install-Recommends \"false\""])
        .args(proxies()?.iter().map(|proxy| format!("--aptopt={proxy}")))
        .arg(format!("--include={}", packages.join(",")))
        .arg(format!("--customize-hook=sh {} \"$1\"", fetch.display()))
        .arg(RELEASE)
        .arg(&fresh)
        .args([RELEASE, BACKPORTS].map(|suite| format!("deb {mirror} {suite} main")));
    run::step(&mut command)?;
    Ok(std::fs::rename(fresh, root)?)
}

/// Where this machine's apt gets Debian from.
fn mirror() -> Result<String> {
    let output = Command::new("apt-get")
        .args(["indextargets", "--format", "$(ORIGIN)\t$(LABEL)\t$(REPO_URI)"])
        .output()
        .context("apt-get indextargets")?;
    mirror_of(&String::from_utf8_lossy(&output.stdout))
        .context("apt knows no mirror of Debian; if its settings name one, `apt-get update` first")
}

fn mirror_of(targets: &str) -> Option<String> {
    targets.lines().find_map(|line| line.strip_prefix("Debian\tDebian\t")).map(str::to_owned)
}

/// The proxies that this machine's apt goes through, as lines of its settings.
fn proxies() -> Result<Vec<String>> {
    let output = Command::new("apt-config").arg("dump").output().context("apt-config dump")?;
    Ok(proxies_of(&String::from_utf8_lossy(&output.stdout)))
}

fn proxies_of(settings: &str) -> Vec<String> {
    settings
        .lines()
        .filter(|line| line.starts_with("Acquire::") && line.to_ascii_lowercase().contains("::proxy"))
        .filter(|line| !line.ends_with("\"\";"))
        .map(str::to_owned)
        .collect()
}

/// Unpacks what the guest needs of the kernel and busybox.
fn make_guest(folder: &Path, root: &Path, guest: &Path) -> Result<()> {
    let fresh = fresh(guest)?;
    let modules = fresh.join("modules");
    std::fs::create_dir_all(&modules)?;
    let inside = root.join("guest");
    std::fs::copy(only(&inside.join("boot"), "vmlinuz-")?, fresh.join("vmlinuz"))?;
    std::fs::copy(inside.join("usr/bin/busybox"), fresh.join("busybox"))?;
    let version = only(&inside.join("usr/lib/modules"), "")?;
    let version = version.file_name().unwrap_or_default().to_string_lossy().into_owned();
    run::step(within(root, &[])?.args(["/usr/sbin/depmod", "-b", "/guest/usr", &version]))?;
    let mut loaded: Vec<String> = Vec::new();
    for module in MODULES {
        let output = within(root, &[])?
            .args(["/usr/sbin/modprobe", "--show-depends", "-d", "/guest/usr", "-S", &version, module])
            .output()?;
        ensure!(output.status.success(), "modprobe: {}", String::from_utf8_lossy(&output.stderr).trim());
        for path in in_order(&String::from_utf8_lossy(&output.stdout)) {
            if !loaded.contains(&path) {
                loaded.push(path);
            }
        }
    }
    for (at, path) in loaded.iter().enumerate() {
        let path = root.join(path.trim_start_matches('/'));
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = name.split('.').next().unwrap_or_default();
        let unpacked = std::fs::File::create(modules.join(format!("{at:02}-{name}.ko")))?;
        let program =
            if path.extension().is_some_and(|extension| extension == "xz") { "xzcat" } else { "cat" };
        let status = Command::new(program).arg(&path).stdout(unpacked).status()?;
        ensure!(status.success(), "{program} {}: {status}", path.display());
    }
    println!("kernel {version}, {} modules, in {}", loaded.len(), folder.display());
    Ok(std::fs::rename(fresh, guest)?)
}

/// The one file of a folder whose name begins so.
fn only(folder: &Path, begins: &str) -> Result<PathBuf> {
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut found: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    found.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(begins)));
    match found.as_slice() {
        [one] => Ok(one.clone()),
        _ => bail!("{} has {} files `{begins}*`, not one", folder.display(), found.len()),
    }
}

/// The files that modprobe would load: `insmod PATH` a line, those that others need first.
fn in_order(depends: &str) -> Vec<String> {
    depends
        .lines()
        .filter_map(|line| line.strip_prefix("insmod ")?.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

/// Builds the program with the compiler of the folder, and with this machine's cargo and what
/// it has fetched by its own settings.
fn build(folder: &Path, root: &Path, twin: bool) -> Result<PathBuf> {
    run::step(&mut run::cargo(&["fetch", "--quiet", "--locked"]))?;
    let place = folder.join(if twin { "build-twin" } else { "build" });
    std::fs::create_dir_all(&place)?;
    let tree = workspace::root();
    let cargo_home = match std::env::var_os("CARGO_HOME") {
        Some(named) => std::path::absolute(PathBuf::from(named))?,
        None => PathBuf::from(std::env::var_os("HOME").context("HOME is not set")?).join(".cargo"),
    };
    let cargo = PathBuf::from(std::env::var_os("CARGO").context("cargo did not start this program")?);
    let mut command = within(root, &[&tree, &place, &cargo_home, &cargo])?;
    let mut flags = "-Ctarget-feature=+crt-static".to_owned();
    if twin {
        flags = format!("{flags} {TWIN}");
    }
    command
        .arg(&cargo)
        .args(["build", "--offline", "--locked", "--release", "--package=tipring-spool"])
        .arg(format!("--example={PROGRAM}"))
        .arg(format!("--target={TARGET}"))
        .arg("--manifest-path")
        .arg(tree.join("Cargo.toml"))
        .env("CARGO_HOME", &cargo_home)
        .env("CARGO_TARGET_DIR", &place)
        .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", "aarch64-linux-gnu-gcc")
        .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS", flags)
        // More optimization would save the guest nothing: it waits for its disk.
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "none");
    for other in ["RUSTC", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "LD_LIBRARY_PATH", "RUSTUP_TOOLCHAIN"] {
        command.env_remove(other);
    }
    run::step(&mut command)?;
    Ok(place.join(TARGET).join("release/examples").join(PROGRAM))
}

/// Runs what is appended inside the folder, where the places named are as they are outside. What
/// is mounted for it is gone with it.
fn within(root: &Path, places: &[&Path]) -> Result<Command> {
    const MOUNT: &str = "set -e; root=$1; shift; mount -t proc proc \"$root/proc\"; \
        while [ \"$1\" != -- ]; do mount --bind \"$1\" \"$root$1\"; shift; done; shift; \
        exec chroot \"$root\" \"$@\"";
    for place in places {
        let inside = root.join(place.strip_prefix("/").unwrap_or(place));
        if place.is_dir() {
            std::fs::create_dir_all(&inside)?;
        } else {
            std::fs::create_dir_all(inside.parent().context("no folder")?)?;
            std::fs::File::options().create(true).append(true).open(&inside)?;
        }
    }
    let mut command = Command::new("unshare");
    command.args(ALONE).args(["sh", "-c", MOUNT, "within"]).arg(root).args(places);
    command.arg("--").env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_the_one_that_debian_itself_comes_from() {
        let targets = "Node\tNode\thttp://other.example/\n\
                       Debian\tDebian-Security\thttp://security.example/debian-security/\n\
                       Debian\tDebian\thttp://mirror.example/debian/\n";
        assert_eq!(mirror_of(targets).as_deref(), Some("http://mirror.example/debian/"));
        assert_eq!(mirror_of("\t\thttp://mirror.example/debian/\n"), None);
    }

    #[test]
    fn only_proxies_are_taken_over() {
        let settings = "Acquire \"\";\nAcquire::http \"\";\nAcquire::http::Proxy \"http://p.example:3128\";\n\
                        Acquire::https::Proxy \"\";\nAcquire::Languages \"\";\nDpkg::Proxy \"x\";\n";
        assert_eq!(proxies_of(settings), ["Acquire::http::Proxy \"http://p.example:3128\";"]);
    }

    #[test]
    fn modules_are_loaded_in_the_order_that_modprobe_names() {
        let depends = "builtin virtio\ninsmod /guest/a/crc16.ko.xz \ninsmod /guest/a/ext4.ko.xz x=1\n";
        assert_eq!(in_order(depends), ["/guest/a/crc16.ko.xz", "/guest/a/ext4.ko.xz"]);
    }
}
