//! Encrypted connections, by rustls. The server is verified if the URL requires encryption.

use std::error::Error;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_platform_verifier::Verifier;
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::store::StoreError;

pub(super) type Tls = MakeRustlsConnect;

/// Returns how connections are encrypted.
pub(super) fn tls(mode: SslMode, root: Option<&str>) -> Result<Tls, StoreError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match (mode, root) {
        (SslMode::Require, Some(root)) => verifier_for(root, &provider)?,
        (SslMode::Require, None) => Arc::new(Verifier::new(Arc::clone(&provider)).map_err(StoreError::unusable)?),
        _ => Arc::new(AnyServer(Arc::clone(&provider))),
    };
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(StoreError::unusable)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(tls))
}

/// Returns a verifier that trusts servers whose certificates are signed by those in a file.
fn verifier_for(root: &str, provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, StoreError> {
    let failed = |what: &str| StoreError::unusable(format!("sslrootcert: {what}"));
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(root).map_err(|_| failed("the file cannot be read"))? {
        let certificate = certificate.map_err(|_| failed("the file is not PEM"))?;
        roots.add(certificate).map_err(|_| failed("a certificate in the file cannot be trusted"))?;
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    verifier.build().map_err(|_| failed("the file contains no certificate"))
}

/// Returns why a certificate was rejected, if that is the error.
pub(super) fn rejection_of(error: &(dyn Error + Send + Sync + 'static)) -> Option<&'static str> {
    use CertificateError as Bad;
    let rustls::Error::InvalidCertificate(bad) = error.downcast_ref()? else { return None };
    Some(match bad {
        Bad::NotValidForName | Bad::NotValidForNameContext { .. } => {
            "it is not valid for the name of the host in the URL"
        }
        Bad::Expired | Bad::ExpiredContext { .. } => "it has expired",
        Bad::NotValidYet | Bad::NotValidYetContext { .. } => "it is not valid yet",
        Bad::Revoked => "it has been revoked",
        Bad::UnknownIssuer => "its issuer is not trusted; to trust it, set sslrootcert=FILE",
        _ => "it is not signed by a trusted issuer; to trust another one, set sslrootcert=FILE",
    })
}

/// Accepts any certificate whose key the server has: for `prefer`, with which a connection need not be encrypted at
/// all.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use crate::store::{Postgres, StoreError};

    const ENCRYPTED: &str = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";

    /// Returns whether the server reports the connection as encrypted.
    async fn encrypted(url: &str) -> Result<bool, StoreError> {
        let store = Postgres::connect(url).await?;
        let rows = store.query(ENCRYPTED, Vec::new()).await?;
        Ok(rows[0].get(0))
    }

    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "needs PostgreSQL: run .ci/with-postgres cargo test -- --include-ignored"]
    async fn server_is_verified_if_encryption_is_required() {
        let [url, root] = ["TAGTRAIL_TEST_POSTGRES", "TAGTRAIL_TEST_POSTGRES_ROOT"]
            .map(|name| std::env::var(name).expect("no URL of a server, or no file of its certificate"));
        let (address, _) = url.split_once('?').unwrap();
        let name = address.replace("127.0.0.1", "localhost");
        for mode in ["require", "verify-ca", "verify-full"] {
            assert!(encrypted(&format!("{name}?sslmode={mode}&sslrootcert={root}")).await.unwrap(), "{mode}");
            for (untrusted, why) in [
                (format!("{name}?sslmode={mode}"), "sslrootcert=FILE"),
                (
                    format!("{address}?sslmode={mode}&sslrootcert={root}"),
                    "it is not valid for the name of the host in the URL",
                ),
                (format!("{name}?sslmode={mode}&sslrootcert={root}.none"), "the file cannot be read"),
                (format!("{name}?sslmode={mode}&sslrootcert=/dev/null"), "the file contains no certificate"),
            ] {
                let error = encrypted(&untrusted).await.unwrap_err().to_string();
                assert!(error.contains(why), "{untrusted}: {error}");
            }
        }
        for (mode, expected) in [("?sslmode=prefer", true), ("", true), ("?sslmode=disable", false)] {
            assert_eq!(encrypted(&format!("{address}{mode}")).await.unwrap(), expected, "{mode}");
        }
    }

    #[tokio::test]
    async fn nothing_is_sent_to_a_server_without_encryption_if_that_is_required() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 8];
            stream.read_exact(&mut request).await.unwrap();
            stream.write_all(b"N").await.unwrap();
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.unwrap();
            rest
        });
        let url = format!("postgres://ada:hunter2@127.0.0.1:{port}/audit?sslmode=require");
        assert!(Postgres::connect(&url).await.is_err());
        assert_eq!(server.await.unwrap(), b"");
    }
}
