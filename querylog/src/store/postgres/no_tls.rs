//! Connections without encryption, if the feature `postgres-tls` is not enabled.

use std::error::Error;

use deadpool_postgres::{Manager, ManagerConfig, RecyclingMethod};
use tokio_postgres::config::SslMode;
use tokio_postgres::{Config, NoTls};

use crate::store::StoreError;

/// Returns the manager of connections.
pub(super) fn manager(config: Config, _root: Option<&str>) -> Result<Manager, StoreError> {
    if config.get_ssl_mode() == SslMode::Require {
        return Err(StoreError::unusable("encrypted connections require the feature `postgres-tls`"));
    }
    Ok(Manager::from_config(config, NoTls, ManagerConfig { recycling_method: RecyclingMethod::Fast }))
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
