//! Certificates of a test, in files: `ca.pem`, and `NAME.pem` with `NAME.key` for whom it signs.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use std::path::PathBuf;
use tempfile::TempDir;

/// What the brokers and their clients show each other.
pub(crate) struct Files(TempDir);

impl Files {
    /// Makes certificates for all of `names`.
    pub(crate) fn make(names: &[&str]) -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        let ca_key = KeyPair::generate().unwrap();
        let mut ca = CertificateParams::new(Vec::<String>::new()).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // A certificate with the name of its signer would count as signed by itself.
        ca.distinguished_name.push(DnType::CommonName, "test CA");
        files.write("ca.pem", &ca.self_signed(&ca_key).unwrap().pem());
        let ca = Issuer::new(ca, ca_key);
        for name in names {
            let key = KeyPair::generate().unwrap();
            let certificate = CertificateParams::new(vec![(*name).to_owned()]).unwrap().signed_by(&key, &ca).unwrap();
            files.write(&format!("{name}.pem"), &certificate.pem());
            files.write(&format!("{name}.key"), &key.serialize_pem());
        }
        files
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The configuration of a broker, with its port and the paths of the files in it.
    pub(crate) fn fill(&self, text: &str, port: u16) -> String {
        let path = |name| self.path(name).display().to_string();
        let text = text.replace("PORT", &port.to_string()).replace("CA", &path("ca.pem"));
        text.replace("CERT", &path("localhost.pem")).replace("KEY", &path("localhost.key"))
    }
}
