//! Authorities and certificates for tests, in files of a folder that goes with them.
#![allow(dead_code, reason = "each test uses a part")]

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use std::{
    fs,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// Whoever vouches for others.
pub struct Authority {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key.
pub struct Pair {
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Each has a name of its own, by which it is looked up.
        let mut params = params(&format!("authority in {}", folder.path().display()), &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { folder, issuer }
    }

    /// The file with its own certificate.
    pub fn ca(&self) -> PathBuf {
        self.join("ca.pem")
    }

    /// A place in its folder.
    pub fn join(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A certificate for a subject with this common name, if any, and these names and addresses.
    pub fn issue(&self, common_name: &str, names: &[&str]) -> Pair {
        self.sign(common_name, names, params(common_name, names))
    }

    /// The same, of a time that is over.
    pub fn issue_expired(&self, common_name: &str, names: &[&str]) -> Pair {
        let mut params = params(common_name, names);
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
        self.sign(&format!("expired-{common_name}"), names, params)
    }

    fn sign(&self, stem: &str, names: &[&str], params: CertificateParams) -> Pair {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let stem = format!("{stem}-{}", names.join("-").replace(':', "."));
        let pair = Pair { cert: self.join(&format!("{stem}.pem")), key: self.join(&format!("{stem}.key")) };
        fs::write(&pair.cert, certificate.pem()).unwrap();
        write_private(&pair.key, &key.serialize_pem());
        pair
    }
}

fn params(common_name: &str, names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    if !common_name.is_empty() {
        params.distinguished_name.push(DnType::CommonName, common_name);
    }
    params
}

/// A file that only this user can read.
pub fn write_private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    #[cfg(unix)]
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}
