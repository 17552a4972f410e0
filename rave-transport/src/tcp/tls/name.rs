//! Whom a certificate is for.

use std::sync::Arc;
use tokio_rustls::rustls::pki_types::CertificateDer;
use x509_cert::{
    Certificate, TbsCertificate,
    der::Decode as _,
    ext::pkix::{SubjectAltName, name::GeneralName},
};

/// The name of the subject: its common name, else the first machine or mail address among the alternative names.
///
/// Requires: TLS has verified the certificate.
pub(crate) fn name_of(certificate: &CertificateDer<'_>) -> Option<Arc<str>> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let certificate = certificate.tbs_certificate();
    let common = certificate.subject().common_name().ok().flatten();
    let name = common.map(|name| name.value().into_owned()).or_else(|| alternative_name(certificate))?;
    (!name.is_empty()).then(|| name.into())
}

fn alternative_name(certificate: &TbsCertificate) -> Option<String> {
    let (_, SubjectAltName(names)) = certificate.get_extension::<SubjectAltName>().ok()??;
    names.iter().find_map(|name| match name {
        GeneralName::DnsName(name) | GeneralName::Rfc822Name(name) => Some(name.to_string()),
        _ => None,
    })
}
