//! The certificates that this system trusts, for partners whose certificate was
//! signed by a public authority.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// The variable that names another bundle, as OpenSSL has it.
const VARIABLE: &str = "SSL_CERT_FILE";
/// Where distributions keep the bundle; the first that is there counts.
const BUNDLES: &[&str] = &[
    // Debian, Ubuntu, Alpine, Arch.
    "/etc/ssl/certs/ca-certificates.crt",
    // Fedora, RHEL.
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    // SUSE.
    "/etc/ssl/ca-bundle.pem",
    "/var/lib/ca-certificates/ca-bundle.pem",
    // Alpine without its package, macOS, BSD.
    "/etc/ssl/cert.pem",
];
/// Largest bundle that is read, in bytes: real ones have 250 KiB.
const MAX_BUNDLE_BYTES: u64 = 4 * 1024 * 1024;

/// No bundle was found, or it cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NoSystemRoots {
    /// None of the usual files is there.
    #[error(
        "this system has no certificates of public authorities: install its ca-certificates \
         package, name a bundle in {VARIABLE}, or give the integration the partner's own \
         certificate (ftps.ca_certificate) or its fingerprint (ftps.certificate_pin)"
    )]
    Nowhere,
    /// The bundle cannot be read.
    #[error("the certificates of authorities in {} cannot be read", path.display())]
    Unreadable {
        /// The bundle.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Over the limit.
    #[error("the certificates of authorities in {} have more than {MAX_BUNDLE_BYTES} bytes", path.display())]
    TooLarge {
        /// The bundle.
        path: PathBuf,
    },
}

/// Certificates of authorities, and where they were found.
#[derive(Debug)]
pub struct Authorities {
    /// The bundle.
    pub path: PathBuf,
    /// Its content.
    pub pem: Vec<u8>,
}

/// Reads a bundle that an operator named.
///
/// # Errors
/// When it cannot be read.
pub fn authorities_in(path: &Path) -> Result<Authorities, NoSystemRoots> {
    let pem = read_bundle(path)?;
    let path = path.to_owned();
    Ok(Authorities { path, pem })
}

/// Reads the system's certificates.
///
/// # Errors
/// When there are none, or they cannot be read.
pub fn system_authorities() -> Result<Authorities, NoSystemRoots> {
    let named = std::env::var_os(VARIABLE).filter(|path| !path.is_empty());
    read_from(named.map(PathBuf::from), BUNDLES)
}

/// A bundle that somebody named counts alone.
fn read_from(named: Option<PathBuf>, usual: &[&str]) -> Result<Authorities, NoSystemRoots> {
    let is_named = named.is_some();
    let usual = usual.iter().filter(|_| !is_named).map(PathBuf::from);
    for path in named.into_iter().chain(usual) {
        match read_bundle(&path) {
            Err(NoSystemRoots::Unreadable { source, .. })
                if !is_named && source.kind() == std::io::ErrorKind::NotFound => {}
            read => return read.map(|pem| Authorities { path, pem }),
        }
    }
    Err(NoSystemRoots::Nowhere)
}

fn read_bundle(path: &Path) -> Result<Vec<u8>, NoSystemRoots> {
    let mut pem = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_BUNDLE_BYTES + 1).read_to_end(&mut pem))
        .map_err(|source| NoSystemRoots::Unreadable {
            path: path.to_owned(),
            source,
        })?;
    if u64::try_from(pem.len()).is_ok_and(|length| length > MAX_BUNDLE_BYTES) {
        return Err(NoSystemRoots::TooLarge {
            path: path.to_owned(),
        });
    }
    Ok(pem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bundle_that_is_there_counts_and_a_named_one_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let (absent, first, second) = (file("absent"), file("first"), file("second"));
        std::fs::write(&first, "first").unwrap();
        std::fs::write(&second, "second").unwrap();
        let usual = [absent.as_str(), &first, &second];
        let found = |named: Option<&str>, usual: &[&str]| {
            read_from(named.map(PathBuf::from), usual).map(|roots| roots.pem)
        };
        assert_eq!(found(None, &usual).unwrap(), b"first");
        assert_eq!(found(Some(&second), &usual).unwrap(), b"second");
        assert!(matches!(
            found(Some(&absent), &usual),
            Err(NoSystemRoots::Unreadable { .. })
        ));
        let nowhere = found(None, &usual[..1]).unwrap_err();
        assert!(nowhere.to_string().contains("ca-certificates"), "{nowhere}");
    }

    #[test]
    fn a_bundle_is_read_up_to_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bundle");
        let file = std::fs::File::create(&path).unwrap();
        file.set_len(MAX_BUNDLE_BYTES).unwrap();
        assert!(read_bundle(&path).is_ok());
        file.set_len(MAX_BUNDLE_BYTES + 1).unwrap();
        assert!(matches!(
            read_bundle(&path),
            Err(NoSystemRoots::TooLarge { .. })
        ));
    }
}
