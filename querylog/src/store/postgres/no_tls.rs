//! Connections without encryption, in place of `tls.rs` without the feature `postgres-tls`.

use std::error::Error;

use deadpool_postgres::{Manager, ManagerConfig, RecyclingMethod};
use tokio_postgres::config::SslMode;
use tokio_postgres::{Config, NoTls};

use crate::store::StoreError;

pub(super) fn manager(config: Config, _root: Option<&str>) -> Result<Manager, StoreError> {
    if config.get_ssl_mode() == SslMode::Require {
        return Err(StoreError::unusable("connections can only be encrypted with the feature `postgres-tls`"));
    }
    Ok(Manager::from_config(config, NoTls, ManagerConfig { recycling_method: RecyclingMethod::Fast }))
}

/// Nothing is encrypted, so there are no certificates.
pub(super) fn not_accepted(_: &(dyn Error + Send + Sync + 'static)) -> Option<&'static str> {
    None
}

#[cfg(test)]
mod tests {
    use crate::store::Postgres;

    #[tokio::test]
    async fn what_must_be_encrypted_is_an_error() {
        for mode in ["require", "verify-ca", "verify-full"] {
            let url = format!("postgres://ada:hunter2@127.0.0.1:1/audit?sslmode={mode}");
            let error = Postgres::connect(&url).await.unwrap_err().to_string();
            assert!(error.contains("the feature `postgres-tls`"), "{error}");
        }
    }
}
