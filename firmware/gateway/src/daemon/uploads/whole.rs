//! Recordings that a flow wants elsewhere: sent whole, in one request, to the address that the
//! flow gave. The wish lies beside the recording until it is fulfilled, so that neither a
//! restart nor a day without a line loses it.

use std::io;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tipring_model::fetch::{Body, HttpRequest, Method};
use tipring_model::flow::Upload;

/// What lies beside a recording that is to be sent.
pub(super) const EXTENSION: &str = "send";
/// Longest file that is sent in one request, in bytes.
const BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Longest time for one try.
const TIMEOUT: Duration = Duration::from_secs(300);

/// Where a recording goes.
#[derive(Serialize, Deserialize)]
pub(super) struct Wish {
    put: bool,
    url: String,
    headers: Vec<(String, String)>,
}

impl Wish {
    /// The wish for the recording of this name.
    pub(super) fn new(name: &str, upload: Upload) -> Self {
        Self {
            put: upload.method == Method::Put,
            url: upload.url.replace("{file}", name),
            headers: upload.headers,
        }
    }

    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        std::fs::write(path, serde_json::to_vec(self)?)
    }

    pub(super) fn read(path: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&std::fs::read(path)?)?)
    }

    /// The request that sends the recording at `path`.
    pub(super) fn request(&self, path: &Path) -> io::Result<HttpRequest> {
        if std::fs::metadata(path)?.len() > BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(HttpRequest {
            method: if self.put { Method::Put } else { Method::Post },
            url: self.url.clone(),
            headers: self.headers.clone(),
            body: Some(Body { media_type: "audio/wav".to_owned(), bytes: std::fs::read(path)? }),
            timeout: TIMEOUT,
            total: Some(TIMEOUT),
            redirects_max: 3,
            body_max_bytes: 4_096,
            cuts_body: true,
            connect: None,
            moves_fields: false,
        })
    }
}
