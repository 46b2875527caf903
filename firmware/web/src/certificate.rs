//! The box's own certificate: made once, kept with its key, replaced by the owner if he has a
//! better one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The file of the certificate, and that of its key, which nobody but the box reads.
const CERTIFICATE: &str = "certificate.pem";
const KEY: &str = "key.pem";
/// Longest file, in bytes: a chain of a few certificates.
const FILE_BYTES_MAX: u64 = 65_536;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateFault {
    /// A file cannot be read or written.
    #[error("{path} cannot be used")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// What is in the files is no certificate with its key.
    #[error("{folder} holds no certificate with its key: {what}")]
    Unusable {
        /// Where.
        folder: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// None could be made.
    #[error("no certificate can be made")]
    Made(#[source] rcgen::Error),
}

/// Certificate and key, in PEM.
struct Pair {
    certificate: String,
    key: String,
}

/// What TLS needs: from the files in `folder`, or newly made for these names and addresses and put
/// there. A disk that takes nothing keeps nobody from TLS: then it is good until the next start,
/// and the fault is given beside it.
///
/// # Errors
/// See [`CertificateFault`].
pub fn open(
    folder: &Path,
    names: &[String],
) -> Result<(Arc<ServerConfig>, Option<CertificateFault>), CertificateFault> {
    let (pair, unkept) = match read(folder)? {
        Some(pair) => (pair, None),
        None => {
            let pair = make(names).map_err(CertificateFault::Made)?;
            let unkept = keep(folder, &pair).err();
            (pair, unkept)
        }
    };
    Ok((config(folder, &pair)?, unkept))
}

fn read(folder: &Path) -> Result<Option<Pair>, CertificateFault> {
    let text = |name: &str| {
        let path = folder.join(name);
        let is_short = |file: &fs::Metadata| file.len() <= FILE_BYTES_MAX;
        match fs::metadata(&path) {
            Ok(file) if !is_short(&file) => Err(io::ErrorKind::FileTooLarge.into()),
            Ok(_) => fs::read_to_string(&path).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
        .map_err(|source| CertificateFault::File { path, source })
    };
    match (text(CERTIFICATE)?, text(KEY)?) {
        (Some(certificate), Some(key)) => Ok(Some(Pair { certificate, key })),
        // The key is written last: without it the other was never used.
        (Some(_) | None, None) => Ok(None),
        (None, Some(_)) => {
            let what = format!("{CERTIFICATE} is missing");
            Err(CertificateFault::Unusable { folder: folder.to_owned(), what })
        }
    }
}

fn make(names: &[String]) -> Result<Pair, rcgen::Error> {
    let mut parameters = CertificateParams::new(Vec::new())?;
    for name in names {
        match (name.parse(), name.as_str().try_into()) {
            (Ok(address), _) => parameters.subject_alt_names.push(SanType::IpAddress(address)),
            (Err(_), Ok(host)) if is_host_name(name) => {
                parameters.subject_alt_names.push(SanType::DnsName(host));
            }
            // A box may be called what no host is.
            (Err(_), _) => {}
        }
    }
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, names.first().map_or("tipring", String::as_str));
    parameters.distinguished_name = subject;
    parameters.use_authority_key_identifier_extension = true;
    // A box without a clock may make it before it knows the day, and nobody renews it.
    parameters.not_before = date_time_ymd(2024, 1, 1);
    parameters.not_after = date_time_ymd(2049, 12, 31);
    let key = KeyPair::generate()?;
    let certificate = parameters.self_signed(&key)?;
    Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
}

/// RFC 1123 §2.1, as far as it matters here.
fn is_host_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
}

fn keep(folder: &Path, pair: &Pair) -> Result<(), CertificateFault> {
    let write = |name: &str, text: &str, mode: u32| {
        let path = folder.join(name);
        let draft = folder.join(format!("{name}.new"));
        let written = || {
            match fs::remove_file(&draft) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
            let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&draft)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&draft, &path)
        };
        written().map_err(|source| CertificateFault::File { path: path.clone(), source })
    };
    let folder_fault = |source| CertificateFault::File { path: folder.to_owned(), source };
    fs::create_dir_all(folder).map_err(folder_fault)?;
    write(CERTIFICATE, &pair.certificate, 0o640)?;
    write(KEY, &pair.key, 0o600)?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(folder_fault)
}

fn config(folder: &Path, pair: &Pair) -> Result<Arc<ServerConfig>, CertificateFault> {
    let unusable = |what: String| CertificateFault::Unusable { folder: folder.to_owned(), what };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pair.certificate.as_bytes()).collect();
    let chain = chain.map_err(|error| unusable(error.to_string()))?;
    let key =
        PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).map_err(|error| unusable(error.to_string()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| unusable(error.to_string()))?;
    let mut config = config;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_certificate_is_made_once_and_its_key_is_the_boxs_alone() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("web");
        let names = ["box-1".to_owned(), "192.168.1.2".to_owned()];
        assert!(open(&folder, &names).unwrap().1.is_none());
        let first = fs::read_to_string(folder.join(CERTIFICATE)).unwrap();
        assert_eq!(fs::metadata(folder.join(KEY)).unwrap().permissions().mode() & 0o777, 0o600);
        open(&folder, &names).unwrap();
        assert_eq!(fs::read_to_string(folder.join(CERTIFICATE)).unwrap(), first);
        // Cut off between the two files, it begins anew.
        fs::remove_file(folder.join(KEY)).unwrap();
        open(&folder, &names).unwrap();
        assert_ne!(fs::read_to_string(folder.join(CERTIFICATE)).unwrap(), first);
        assert!(make(&["a name with spaces \u{e4}".to_owned(), String::new()]).is_ok());
    }

    #[test]
    fn what_the_owner_has_put_there_wrongly_is_told_and_stays() {
        let root = tempfile::tempdir().unwrap();
        let (folder, other) = (root.path().join("web"), root.path().join("other"));
        open(&folder, &[]).unwrap();
        open(&other, &[]).unwrap();
        let told = |what: &str| {
            let fault = open(&folder, &[]).unwrap_err();
            assert!(matches!(fault, CertificateFault::Unusable { .. }), "{what}: {fault:?}");
        };
        fs::copy(other.join(KEY), folder.join(KEY)).unwrap();
        told("a key of another certificate");
        fs::write(folder.join(KEY), "x").unwrap();
        told("no key");
        fs::remove_file(folder.join(CERTIFICATE)).unwrap();
        told("no certificate");
        fs::write(folder.join(CERTIFICATE), vec![b'x'; 70_000]).unwrap();
        assert!(matches!(open(&folder, &[]), Err(CertificateFault::File { .. })));
    }

    #[test]
    fn a_disk_that_takes_nothing_keeps_nobody_from_tls() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("a file");
        fs::write(&folder, "").unwrap();
        // As on a system without a folder: nothing to be read there, nothing to be written.
        let fault = keep(&folder, &make(&[]).unwrap()).unwrap_err();
        assert!(matches!(fault, CertificateFault::File { .. }));
    }
}
