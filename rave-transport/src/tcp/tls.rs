//! TLS for both roles, by rustls: certificates and keys from PEM files.

mod name;
mod stream;

pub(super) use name::name_of;
pub(super) use stream::split;

use super::file;
use rave_core::{Code, Error, Result};
use std::{fmt, path::Path, sync::Arc};
use tokio_rustls::rustls::{
    self, ClientConfig, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    server::{NoServerSessionStorage, WebPkiClientVerifier},
};

/// What a host needs for TLS: its certificate, and for mutual TLS the authority whose certificates guests must have.
#[derive(Clone)]
pub struct TlsHost {
    chain: Vec<CertificateDer<'static>>,
    key: Arc<PrivateKeyDer<'static>>,
    clients: Option<Arc<RootCertStore>>,
    config: Arc<ServerConfig>,
}

impl TlsHost {
    /// The certificate in the PEM file `certificate`, followed by those that lead to its authority, and its key in the PEM
    /// file `key`.
    ///
    /// Errors: a file cannot be read, everybody can read the key, or the two do not belong together.
    pub fn new(certificate: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Self> {
        let (certificate, key) = (certificate.as_ref(), key.as_ref());
        let chain = certificates(certificate)?;
        let private = Arc::new(private_key(key)?);
        let config = server_config(&chain, &private, None).map_err(|error| unusable_pair(certificate, key, error))?;
        Ok(Self { chain, key: private, clients: None, config })
    }

    /// Lets only guests in that have a certificate of an authority in the PEM file `ca`.
    ///
    /// Errors: the file cannot be read, or has no certificate of an authority.
    pub fn client_ca(mut self, ca: impl AsRef<Path>) -> Result<Self> {
        let ca = ca.as_ref();
        let clients = Arc::new(authorities(ca)?);
        self.config = server_config(&self.chain, &self.key, Some(clients.clone()))
            .map_err(|error| unusable(format!("the authorities in \"{}\"", ca.display()), error))?;
        self.clients = Some(clients);
        Ok(self)
    }

    /// Whether guests must have a certificate.
    pub(super) fn demands_certificates(&self) -> bool {
        self.clients.is_some()
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        self.config.clone()
    }
}

impl fmt::Debug for TlsHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsHost").field("demands_certificates", &self.demands_certificates()).finish_non_exhaustive()
    }
}

/// What a guest needs for TLS: the authority that vouches for the host, and for mutual TLS a certificate of its own.
#[derive(Clone)]
pub struct TlsGuest {
    roots: Arc<RootCertStore>,
    config: Arc<ClientConfig>,
    has_certificate: bool,
    name: Option<ServerName<'static>>,
}

impl TlsGuest {
    /// Trusts hosts whose certificate is of an authority in the PEM file `ca`, and is for the name or the IP address that
    /// is dialed.
    ///
    /// Errors: the file cannot be read, or has no certificate.
    pub fn trusting(ca: impl AsRef<Path>) -> Result<Self> {
        let ca = ca.as_ref();
        let roots = Arc::new(authorities(ca)?);
        let config = client_config(&roots, None).map_err(|error| unusable("TLS", error))?;
        Ok(Self { roots, config, has_certificate: false, name: None })
    }

    /// Proves who it is by the certificate in the PEM file `certificate` and its key in the PEM file `key`.
    ///
    /// Errors: as [`TlsHost::new`].
    pub fn certificate(mut self, certificate: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Self> {
        let (certificate, key) = (certificate.as_ref(), key.as_ref());
        let identity = (certificates(certificate)?, private_key(key)?);
        self.config =
            client_config(&self.roots, Some(identity)).map_err(|error| unusable_pair(certificate, key, error))?;
        self.has_certificate = true;
        Ok(self)
    }

    /// Expects the host's certificate to be for `name` instead of what is dialed: through a tunnel, for instance.
    ///
    /// Errors: it is neither a name of a machine nor an IP address.
    pub fn host_name(mut self, name: &str) -> Result<Self> {
        self.name = Some(server_name(name)?);
        Ok(self)
    }

    /// Whether it can prove who it is.
    pub(super) fn has_certificate(&self) -> bool {
        self.has_certificate
    }

    pub(super) fn config(&self) -> Arc<ClientConfig> {
        self.config.clone()
    }

    /// What the certificate of the host at `dialed` must be for.
    pub(super) fn expects(&self, dialed: &str) -> Result<ServerName<'static>> {
        self.name.clone().map_or_else(|| server_name(dialed), Ok)
    }
}

impl fmt::Debug for TlsGuest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsGuest").field("has_certificate", &self.has_certificate).finish_non_exhaustive()
    }
}

/// What TLS itself has to say about a failure, if it was TLS that failed and not the connection.
pub(super) fn fault(error: &std::io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// Not the one that the process may have installed: what is spoken depends on nothing else.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn server_config(
    chain: &[CertificateDer<'static>],
    key: &PrivateKeyDer<'static>,
    clients: Option<Arc<RootCertStore>>,
) -> Result<Arc<ServerConfig>, Box<dyn std::error::Error + Send + Sync>> {
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let builder = match clients {
        Some(roots) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).build()?;
            builder.with_client_cert_verifier(verifier)
        }
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain.to_vec(), key.clone_key())?;
    // A resumed session would not look at the guest's certificate again.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn client_config(roots: &Arc<RootCertStore>, identity: Option<Identity>) -> Result<Arc<ClientConfig>, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let builder = builder.with_root_certificates(roots.clone());
    Ok(Arc::new(match identity {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key)?,
        None => builder.with_no_client_auth(),
    }))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let text = file::read_public(path)?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let certificates = read.map_err(|error| unusable(format!("\"{}\" as PEM", path.display()), error))?;
    if certificates.is_empty() {
        let message = format!("\"{}\" has no certificate in PEM (-----BEGIN CERTIFICATE-----)", path.display());
        return Err(Error::new(Code::NotSupported, message));
    }
    Ok(certificates)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    let text = file::read_key(path)?;
    // The cause is left out: it might quote the file.
    PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|_| {
        let message = format!("\"{}\" has no private key in PEM, without a password", path.display());
        Error::new(Code::NotSupported, message)
    })
}

fn authorities(path: &Path) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| unusable(format!("a certificate in \"{}\"", path.display()), error))?;
    }
    Ok(roots)
}

fn server_name(text: &str) -> Result<ServerName<'static>> {
    ServerName::try_from(text.to_owned()).map_err(|error| unusable(format!("{text:?} in certificates"), error))
}

fn unusable(what: impl fmt::Display, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    // A box of an error is no error.
    Error::new(Code::NotSupported, format!("{what} cannot be used: {}", error.into()))
}

fn unusable_pair(certificate: &Path, key: &Path, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    unusable(format!("the certificate \"{}\" with the key \"{}\"", certificate.display(), key.display()), error)
}

/// What a guest is told when TLS with the host at `place` fails.
pub(super) fn explain(fault: &rustls::Error, place: &str) -> String {
    match fault {
        rustls::Error::InvalidCertificate(_) => format!("the host at {place} is not trusted: {fault}"),
        rustls::Error::AlertReceived(_) => format!(
            "the host at {place} refuses this guest: {fault}; it may demand a certificate (TlsGuest::certificate; \
             --tls-cert FILE --tls-key FILE)"
        ),
        rustls::Error::InvalidMessage(_) => format!("what listens at {place} does not speak TLS: {fault}"),
        _ => format!("TLS with the host at {place} failed: {fault}"),
    }
}
