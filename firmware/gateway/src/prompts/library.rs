//! Prompts stored on the box, by name.
//!
//! The name comes from a flow. It is a file of the library's own folder or nothing:
//! no path, no link, nothing that is not a plain file.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags};

/// Longest name, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// A stored prompt, opened.
pub(super) struct Stored {
    file: File,
    /// Tells one version of the file from another.
    pub(super) stamp: Stamp,
}

/// Changes when the file does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

impl Stored {
    /// Opens the prompt `name`. Blocks.
    ///
    /// # Errors
    /// `NotFound` for anything that is no name of a plain file in `folder` that is at
    /// most `bytes_max` long; others of the file system.
    pub(super) fn open(folder: &Path, name: &str, bytes_max: u64) -> io::Result<Self> {
        if !is_name(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let folder =
            rustix::fs::open(folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let file = rustix::fs::openat2(
            &folder,
            format!("{name}.wav"),
            // A pipe must not make us wait for its other end.
            OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY,
            Mode::empty(),
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
        )?;
        let file = File::from(file);
        let meta = file.metadata()?;
        // A second name may lie outside of the library.
        if !meta.is_file() || meta.nlink() != 1 || meta.len() > bytes_max {
            return Err(io::ErrorKind::NotFound.into());
        }
        let stamp = Stamp {
            device: meta.dev(),
            inode: meta.ino(),
            length: meta.len(),
            modified: (meta.mtime(), meta.mtime_nsec()),
        };
        Ok(Self { file, stamp })
    }

    /// Reads it whole. Blocks.
    ///
    /// # Errors
    /// Any of the file system.
    pub(super) fn read(self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        // It may have grown since.
        self.file.take(self.stamp.length).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// `[a-z0-9][a-z0-9_-]{0,63}`
fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    name.len() <= NAME_BYTES_MAX
        && name.bytes().next().is_some_and(plain)
        && name.bytes().all(|byte| plain(byte) || byte == b'_' || byte == b'-')
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::super::disk::tests::Folder;
    use super::*;

    fn kind(folder: &Path, name: &str) -> Option<io::ErrorKind> {
        Stored::open(folder, name, 100).err().map(|error| error.kind())
    }

    #[test]
    fn only_plain_files_of_the_folder_are_prompts() {
        let outer = Folder::new();
        let folder = outer.0.join("library");
        fs::create_dir(&folder).unwrap();
        fs::write(outer.0.join("secret.wav"), b"secret").unwrap();
        for name in ["welcome", "a", "0-9_z", &"x".repeat(64)] {
            fs::write(folder.join(format!("{name}.wav")), b"sound").unwrap();
            assert_eq!(Stored::open(&folder, name, 100).unwrap().read().unwrap(), b"sound", "{name}");
        }
        fs::write(folder.join("long.wav"), [0; 101]).unwrap();
        fs::create_dir(folder.join("folder.wav")).unwrap();
        symlink("welcome.wav", folder.join("link.wav")).unwrap();
        symlink("../secret.wav", folder.join("out.wav")).unwrap();
        symlink("/etc/passwd", folder.join("far.wav")).unwrap();
        symlink("none.wav", folder.join("dangling.wav")).unwrap();
        fs::hard_link(outer.0.join("secret.wav"), folder.join("hard.wav")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            folder.join("pipe.wav"),
            rustix::fs::FileType::Fifo,
            Mode::RUSR,
            0,
        )
        .unwrap();
        let _socket = UnixListener::bind(folder.join("socket.wav")).unwrap();
        for name in ["long", "folder", "link", "out", "far", "dangling", "hard", "pipe", "socket", "missing"]
        {
            assert!(kind(&folder, name).is_some(), "{name}");
        }
    }

    #[test]
    fn no_spelling_leaves_the_folder() {
        let outer = Folder::new();
        let folder = outer.0.join("library");
        fs::create_dir(&folder).unwrap();
        fs::write(outer.0.join("secret.wav"), b"secret").unwrap();
        fs::write(folder.join("welcome.wav"), b"sound").unwrap();
        let mut spellings: Vec<String> = [
            "",
            ".",
            "..",
            "...",
            "-",
            "_",
            "-a",
            "_a",
            "Welcome",
            "WELCOME",
            "welcome.wav",
            "welcome.",
            "welcome ",
            " welcome",
            "welcome\0",
            "welcome\0.mp3",
            "welcome\n",
            "welcome/",
            "/welcome",
            "./welcome",
            "welcome/.",
            "x/../welcome",
            "../secret",
            "..\\secret",
            "../../etc/passwd",
            "/etc/passwd",
            "//etc/passwd",
            "....//secret",
            "..;/secret",
            "%2e%2e%2fsecret",
            "..%2fsecret",
            "%252e%252e%252fsecret",
            "..%c0%afsecret",
            "..%00/secret",
            "\u{2024}\u{2024}/secret",
            "\u{ff0e}\u{ff0e}\u{ff0f}secret",
            "\u{2025}/secret",
            "..\u{2215}secret",
            "..\u{2044}secret",
            "wélcome",
            "ｗelcome",
            "welcome\u{200b}",
            "\u{202e}emoclew",
            "~",
            "~root",
            "$HOME",
            "${HOME}",
            "`id`",
            "$(id)",
            "a;b",
            "a|b",
            "a&b",
            "a*",
            "a?",
            "[a]",
            "{a,b}",
            "a:b",
            "c:\\welcome",
            "\\\\host\\share",
            "file:///etc/passwd",
            "http://a.test/",
            "con.",
            "a\tb",
            "a\rb",
            "a'b",
            "a\"b",
            "a<b",
            "proc/self/fd/0",
            "/proc/self/root/etc/passwd",
            "/dev/stdin",
            ".hidden",
            "a.b",
            "a+b",
            "a=b",
            "a@b",
            "a#b",
            "a,b",
            "a!b",
        ]
        .map(str::to_owned)
        .to_vec();
        spellings.push("x".repeat(65));
        spellings.push("x".repeat(100_000));
        spellings.push("../".repeat(1_000) + "etc/passwd");
        for spelling in &spellings {
            assert_eq!(kind(&folder, spelling), Some(io::ErrorKind::NotFound), "{spelling:?}");
        }
        assert_eq!(kind(&folder, "welcome"), None);
    }

    #[test]
    fn a_new_version_has_a_new_stamp() {
        let folder = Folder::new();
        let stamp = || Stored::open(&folder.0, "a", 100).unwrap().stamp;
        fs::write(folder.0.join("a.wav"), b"one").unwrap();
        let first = stamp();
        assert_eq!(stamp(), first);
        fs::write(folder.0.join("a.wav"), b"three").unwrap();
        assert_ne!(stamp(), first);
    }
}
