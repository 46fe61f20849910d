//! Connections without encryption, if the feature `postgres-tls` is not enabled.

use std::error::Error;

use tokio_postgres::NoTls;
use tokio_postgres::config::SslMode;

use crate::store::StoreError;

pub(super) type Tls = NoTls;

/// Returns how connections are encrypted.
pub(super) fn tls(mode: SslMode, _root: Option<&str>) -> Result<Tls, StoreError> {
    if mode == SslMode::Require {
        return Err(StoreError::unusable("encrypted connections require the feature `postgres-tls`"));
    }
    Ok(NoTls)
}

/// Returns `None`: without encryption, there are no certificates.
pub(super) fn rejection_of(_: &(dyn Error + Send + Sync + 'static)) -> Option<&'static str> {
    None
}

#[cfg(test)]
mod tests {
    use crate::store::Postgres;

    #[tokio::test]
    async fn connect_fails_if_encryption_is_required() {
        for mode in ["require", "verify-ca", "verify-full"] {
            let url = format!("postgres://ada:hunter2@127.0.0.1:1/audit?sslmode={mode}");
            let error = Postgres::connect(&url).await.unwrap_err().to_string();
            assert!(error.contains("the feature `postgres-tls`"), "{error}");
        }
    }
}
