//! The machine whose power is cut: what it boots from, and QEMU.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

use super::parts::Parts;

const INIT: &str = include_str!("init.sh");
const MEMORY: &str = "256M";

const KIND_FILE: u32 = 0o100_000;
const KIND_FOLDER: u32 = 0o040_000;
const PROGRAM_MODE: u32 = 0o755;

/// Everything that the guest has beside its disk, as the kernel takes it: an archive in the
/// form that cpio calls newc.
pub(crate) fn initramfs(parts: &Parts) -> Result<Vec<u8>> {
    let read = |path: &Path| std::fs::read(path).with_context(|| path.display().to_string());
    let mut archive = Archive::default();
    archive.add("init", KIND_FILE | PROGRAM_MODE, INIT.as_bytes())?;
    archive.add("bin", KIND_FOLDER | PROGRAM_MODE, &[])?;
    archive.add("bin/busybox", KIND_FILE | PROGRAM_MODE, &read(&parts.busybox)?)?;
    archive.add("powercut_guest", KIND_FILE | PROGRAM_MODE, &read(&parts.program)?)?;
    archive.add("modules", KIND_FOLDER | PROGRAM_MODE, &[])?;
    for module in &parts.modules {
        let name = module.file_name().unwrap_or_default().to_string_lossy();
        archive.add(&format!("modules/{name}"), KIND_FILE | PROGRAM_MODE, &read(module)?)?;
    }
    archive.add("TRAILER!!!", 0, &[])?;
    Ok(archive.bytes)
}

#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    fn add(&mut self, name: &str, mode: u32, content: &[u8]) -> Result<()> {
        self.entries += 1;
        let length = u32::try_from(content.len()).context("too long for an initramfs")?;
        let name_length = u32::try_from(name.len() + 1).context("too long a name")?;
        self.bytes.extend(b"070701");
        // Number, mode, owner, group, links, time, length, four device numbers, name, checksum.
        for field in [self.entries, mode, 0, 0, 1, 0, length, 0, 0, 0, 0, name_length, 0] {
            self.bytes.extend(format!("{field:08x}").bytes());
        }
        self.bytes.extend(name.bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend(content);
        self.align();
        Ok(())
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// A running machine. Dropping it pulls the plug.
pub(crate) struct Guest {
    qemu: Child,
}

impl Guest {
    /// Starts a machine that boots `initramfs`, has its disk and its console at two sockets,
    /// and writes what its kernel and QEMU say into `log`.
    pub(crate) fn start(
        kernel: &Path,
        initramfs: &Path,
        sockets: &Sockets,
        log: &Path,
        round: usize,
    ) -> Result<Self> {
        let said = std::fs::File::create(log.with_extension("qemu")).context("the log of QEMU")?;
        let qemu = Command::new("qemu-system-aarch64")
            .args(["-machine", "virt", "-cpu", "cortex-a53", "-smp", "2", "-m", MEMORY])
            .args(["-accel", "tcg,thread=multi", "-nodefaults", "-no-user-config", "-no-reboot"])
            .args(["-display", "none", "-monitor", "none"])
            .arg("-serial")
            .arg(format!("file:{}", log.display()))
            .arg("-kernel")
            .arg(kernel)
            .arg("-initrd")
            .arg(initramfs)
            .args(["-append", &format!("console=ttyAMA0 quiet panic=-1 tipring.round={round}")])
            .arg("-drive")
            .arg(format!(
                "if=none,id=disk,format=raw,cache=writeback,file.driver=nbd,file.server.type=unix,\
                 file.server.path={}",
                sockets.disk().display()
            ))
            .args(["-device", "virtio-blk-pci,drive=disk", "-device", "virtio-serial-pci"])
            .arg("-chardev")
            .arg(format!("socket,id=console,path={}", sockets.console().display()))
            .args(["-device", "virtconsole,chardev=console"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(said)
            .spawn()
            .context("qemu-system-aarch64")?;
        Ok(Self { qemu })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

/// Where the guest finds its disk and its console: in a folder with a short name, since a
/// socket's must be.
pub(crate) struct Sockets(PathBuf);

impl Sockets {
    pub(crate) fn new() -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("tipring-powercut-{}", std::process::id()));
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        Ok(Self(folder))
    }

    pub(crate) fn disk(&self) -> PathBuf {
        self.0.join("disk")
    }

    pub(crate) fn console(&self) -> PathBuf {
        self.0.join("console")
    }

    /// Makes both anew.
    pub(crate) fn listen(&self) -> io::Result<[std::os::unix::net::UnixListener; 2]> {
        let listen = |path: PathBuf| {
            if path.exists() {
                std::fs::remove_file(&path)?;
            }
            std::os::unix::net::UnixListener::bind(path)
        };
        Ok([listen(self.disk())?, listen(self.console())?])
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        // What is left in the folder for temporary things is nobody's harm.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_has_each_file_with_its_name_mode_and_length() {
        let mut archive = Archive::default();
        archive.add("a", KIND_FOLDER | PROGRAM_MODE, &[]).unwrap();
        archive.add("a/b", KIND_FILE | PROGRAM_MODE, b"hello").unwrap();
        let none = "00000000";
        let expected = [
            "070701",
            "00000001",
            "000041ed",
            none,
            none,
            "00000001",
            none,
            none,
            none,
            none,
            none,
            none,
            "00000002",
            none,
            "a\0",
            "070701",
            "00000002",
            "000081ed",
            none,
            none,
            "00000001",
            none,
            "00000005",
            none,
            none,
            none,
            none,
            "00000004",
            none,
            "a/b\0\0\0",
            "hello\0\0\0",
        ];
        assert_eq!(String::from_utf8(archive.bytes).unwrap(), expected.concat());
    }
}
