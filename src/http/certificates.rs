//! Whether a connection failed for a certificate.

use std::{error::Error, io};

/// Whether rustls refused the server's certificate; that is in the sources of an error, some of them inside an
/// [`io::Error`], whose own `source` skips what it wraps.
pub fn is_about_certificate(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if matches!(error.downcast_ref(), Some(rustls::Error::InvalidCertificate(_))) {
            return true;
        }
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = wrapped.map(|error| error as &(dyn Error + 'static)).or_else(|| error.source());
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_certificate_is_found() {
        let refused = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        assert!(is_about_certificate(&io::Error::other(io::Error::other(refused))));
        assert!(!is_about_certificate(&io::Error::other(rustls::Error::HandshakeNotComplete)));
        assert!(!is_about_certificate(&io::Error::from(io::ErrorKind::ConnectionRefused)));
    }
}
