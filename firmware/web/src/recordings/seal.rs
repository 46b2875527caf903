//! What makes the address of a recording impossible to guess: a keyed hash of its name.

use std::fmt::{self, Write as _};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use ring::hmac;
use subtle::ConstantTimeEq as _;

use crate::access::random_hex;

/// The file of the key, which nobody but the box reads.
const FILE: &str = "recordings.key";
/// Random bytes of the key.
const KEY_BYTES: usize = 32;
/// Bytes of a seal: as hard to guess as 160 random bits.
const SEAL_BYTES: usize = 20;

/// Makes seals, and knows its own.
#[derive(Clone)]
pub struct Seal(hmac::Key);

/// Why there is no key, or none that is kept.
#[derive(Debug, thiserror::Error)]
pub enum KeyFault {
    /// The file cannot be read or written.
    #[error("{path} cannot be used")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The file holds something else.
    #[error("{path} does not hold 64 hexadecimal digits")]
    Unusable {
        /// Which.
        path: PathBuf,
    },
    /// The system has no randomness.
    #[error("the system has no random numbers")]
    Random,
}

impl Seal {
    /// The key in `folder`, or a new one, put there. Where it cannot be kept, it is good until the
    /// next start, and the fault is given beside it.
    ///
    /// # Errors
    /// [`KeyFault::Random`].
    pub fn open(folder: &Path) -> Result<(Self, Option<KeyFault>), KeyFault> {
        let fault = match read(folder) {
            Ok(Some(key)) => return Ok((Self::new(&key), None)),
            Ok(None) => None,
            Err(fault) => Some(fault),
        };
        let key = random_hex(KEY_BYTES).ok_or(KeyFault::Random)?;
        // A file that is there and means something else stays for its owner to look at.
        let fault = match fault {
            None => keep(folder, &key).err(),
            Some(fault) => Some(fault),
        };
        Ok((Self::new(&key), fault))
    }

    fn new(key: &str) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()))
    }

    /// The seal of a name, in hexadecimal.
    #[must_use]
    pub fn of(&self, name: &str) -> String {
        let mut seal = String::with_capacity(2 * SEAL_BYTES);
        for byte in hmac::sign(&self.0, name.as_bytes()).as_ref().iter().take(SEAL_BYTES) {
            // Writing to a String cannot fail.
            let _ = write!(seal, "{byte:02x}");
        }
        seal
    }

    /// Where the recording of this name is, beneath the root of the box.
    #[must_use]
    pub fn path_of(&self, name: &str) -> String {
        format!("{}{}/{name}", super::PREFIX, self.of(name))
    }

    /// Whether the seal is that of the name. Takes as long for a wrong one as for the right one.
    #[must_use]
    pub fn is_of(&self, name: &str, seal: &str) -> bool {
        self.of(name).as_bytes().ct_eq(seal.as_bytes()).into()
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal")
    }
}

fn read(folder: &Path) -> Result<Option<String>, KeyFault> {
    let path = folder.join(FILE);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(KeyFault::File { path, source }),
    };
    let key = String::from_utf8(text).ok().map(|text| text.trim_end().to_owned());
    let is_key =
        |key: &String| key.len() == 2 * KEY_BYTES && key.bytes().all(|byte| byte.is_ascii_hexdigit());
    key.filter(is_key).map(Some).ok_or(KeyFault::Unusable { path })
}

fn keep(folder: &Path, key: &str) -> Result<(), KeyFault> {
    let path = folder.join(FILE);
    let draft = folder.join(format!("{FILE}.new"));
    let written = || {
        fs::create_dir_all(folder)?;
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        file.write_all(key.as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, &path)?;
        File::open(folder)?.sync_all()
    };
    written().map_err(|source| KeyFault::File { path: path.clone(), source })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_seal_is_of_one_name_and_one_box_over_restarts() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("web");
        let (seal, fault) = Seal::open(&folder).unwrap();
        assert!(fault.is_none());
        let text = seal.of("a-memo");
        assert_eq!(text.len(), 40);
        assert!(seal.is_of("a-memo", &text));
        for (name, wrong) in [
            ("a-memo-2", text.as_str()),
            ("a-memo", ""),
            ("a-memo", &text[..39]),
            ("a-memo", &text.to_uppercase()),
            ("a-memo", "\u{e4}"),
        ] {
            assert!(!seal.is_of(name, wrong), "{name} {wrong}");
        }
        let (again, _) = Seal::open(&folder).unwrap();
        assert_eq!(again.of("a-memo"), text);
        assert_eq!(fs::metadata(folder.join(FILE)).unwrap().permissions().mode() & 0o777, 0o600);
        let (other, _) = Seal::open(&root.path().join("other")).unwrap();
        assert_ne!(other.of("a-memo"), text);
        assert!(!format!("{seal:?}").contains(&fs::read_to_string(folder.join(FILE)).unwrap()));
    }

    #[test]
    fn a_key_that_cannot_be_kept_is_good_until_the_next_start() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("a file");
        fs::write(&file, "").unwrap();
        let (seal, fault) = Seal::open(&file).unwrap();
        assert!(matches!(fault, Some(KeyFault::File { .. })) && seal.is_of("a", &seal.of("a")));
        fs::write(root.path().join(FILE), "mine").unwrap();
        let (_, fault) = Seal::open(root.path()).unwrap();
        assert!(matches!(fault, Some(KeyFault::Unusable { .. })));
        assert_eq!(fs::read_to_string(root.path().join(FILE)).unwrap(), "mine");
    }
}
