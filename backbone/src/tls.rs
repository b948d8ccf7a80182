//! Connections to a broker with TLS or without: which certificates are trusted, and who this replica is.
//!
//! The files are read anew at each dial, so that renewed certificates need no restart. They are PEM. Only what they
//! hold is trusted, nothing that the system comes with; to trust that, name its file, like
//! `/etc/ssl/certs/ca-certificates.crt`.

use crate::env::{Env, Stream};
use std::{
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    },
};

/// Largest file of certificates: the system's has 200 KB.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The files that TLS to one broker needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Certificates of those who may sign the broker's.
    pub ca_file: PathBuf,
    /// This replica's certificate, with those of its signers, and its key; if the broker asks for one.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// A file that TLS needs can't be used.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}")]
pub struct TlsError {
    path: String,
    source: io::Error,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsError`] says which file is missing or not what it should be.
    pub(crate) fn connector(&self) -> Result<TlsConnector, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&self.ca_file)? {
            roots.add(certificate).map_err(|error| wrong(&self.ca_file, error))?;
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring supports the default versions")
            .with_root_certificates(roots);
        let config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some((certificate_file, key_file)) => {
                let key = PrivateKeyDer::from_pem_slice(read(key_file)?.as_bytes());
                let key = key.map_err(|_| wrong(key_file, "it holds no private key in PEM"))?;
                let chain = certificates(certificate_file)?;
                builder.with_client_auth_cert(chain, key).map_err(|error| wrong(certificate_file, error))?
            }
        };
        Ok(TlsConnector::from(Arc::new(config)))
    }

    /// Shakes hands with `host` over `stream`.
    async fn connect(&self, host: &str, stream: Stream) -> io::Result<TlsStream<Stream>> {
        let connector = self.connector().map_err(io::Error::other)?;
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        connector.connect(name, stream).await
    }
}

/// Connects to `host`, and shakes hands if TLS is wanted.
///
/// # Errors
/// A connection that was refused or reset, a file that can't be used, or a handshake that failed.
pub async fn connect(env: &Env, host: &str, port: u16, tls: Option<&Tls>) -> io::Result<Stream> {
    wrap(tls, host, env.connect(host, port).await?).await
}

/// Puts TLS on `stream`, a connection to `host`, if it is wanted.
///
/// # Errors
/// A file that can't be used, or a handshake that failed.
async fn wrap(tls: Option<&Tls>, host: &str, stream: Stream) -> io::Result<Stream> {
    match tls {
        None => Ok(stream),
        Some(tls) => Ok(Box::new(tls.connect(host, stream).await?)),
    }
}

fn read(file: &Path) -> Result<String, TlsError> {
    let mut text = String::new();
    let read = std::fs::File::open(file).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text));
    match read {
        Ok(bytes) if bytes as u64 > FILE_BYTES_MAX => Err(wrong(file, "it is too large")),
        Ok(_) => Ok(text),
        Err(source) => Err(TlsError { path: file.display().to_string(), source }),
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(file)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err(wrong(file, "it holds no certificate in PEM")),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(wrong(file, error)),
    }
}

fn wrong(file: &Path, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> TlsError {
    TlsError { path: file.display().to_string(), source: io::Error::new(io::ErrorKind::InvalidData, source) }
}

#[cfg(test)]
mod tests;
