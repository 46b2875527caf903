//! Text files that somebody named: read as far as they may be long, and no further.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// Why a file is no text that can be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TextFileError {
    /// There is none.
    #[error("does not exist")]
    Missing,
    /// A folder, a pipe or a device.
    #[error("is not a file")]
    NotAFile,
    /// The system refuses.
    #[error("cannot be read: {0}")]
    Unreadable(io::Error),
    /// It is too long.
    #[error("is longer than {bytes_max} bytes")]
    TooLong {
        /// What is allowed.
        bytes_max: u64,
    },
    /// It is not UTF-8.
    #[error("is not text in UTF-8: line {line} has a byte that does not belong there")]
    NotText {
        /// Line, from 1.
        line: usize,
    },
}

impl From<io::Error> for TextFileError {
    fn from(error: io::Error) -> Self {
        if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) {
            return Self::Missing;
        }
        Self::Unreadable(error)
    }
}

/// The bytes of a file.
///
/// # Errors
/// See [`TextFileError`].
pub(crate) fn read_bytes(path: &Path, bytes_max: u64) -> Result<Vec<u8>, TextFileError> {
    // Asked before it is opened: opening a pipe would wait for its other end.
    if !std::fs::metadata(path)?.is_file() {
        return Err(TextFileError::NotAFile);
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(TextFileError::TooLong { bytes_max });
    }
    Ok(bytes)
}

/// The text of a file.
///
/// # Errors
/// See [`TextFileError`].
pub(crate) fn read_text(path: &Path, bytes_max: u64) -> Result<String, TextFileError> {
    String::from_utf8(read_bytes(path, bytes_max)?).map_err(|error| {
        let good = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or(&[]);
        TextFileError::NotText { line: 1 + good.iter().filter(|byte| **byte == b'\n').count() }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_why_a_file_is_no_text() {
        let folder = std::env::temp_dir().join(format!("tipring-text-file-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let at = |name: &str, bytes: &[u8]| {
            let path = folder.join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        };
        let why = |path: &Path| read_text(path, 8).unwrap_err().to_string();
        assert_eq!(read_text(&at("good", "ünö".as_bytes()), 8).unwrap(), "ünö");
        assert_eq!(read_text(&at("full", b"12345678"), 8).unwrap(), "12345678");
        assert_eq!(why(&at("long", b"123456789")), "is longer than 8 bytes");
        assert!(why(&at("bytes", b"a\nb\n\xff")).contains("line 3"));
        assert_eq!(why(&folder.join("nowhere")), "does not exist");
        assert_eq!(why(&folder), "is not a file");
        assert_eq!(why(Path::new("/dev/zero")), "is not a file");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
