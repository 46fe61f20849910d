//! Opening a connection: [`Connector`].

use std::pin::pin;
use std::time::Duration;

use deadpool_postgres::Connect;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Either, select};
use tokio::task::JoinHandle;
use tokio_postgres::{CancelToken, Client, Config, Error};

use crate::store::postgres::encryption::Tls;
use crate::store::postgres::error::message;
use crate::store::postgres::limits::Limits;

/// Opens connections, each with its limits.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) tls: Tls,
    pub(super) limits: Limits,
}

impl Connect for Connector {
    fn connect(&self, config: &Config) -> BoxFuture<'_, Result<(Client, JoinHandle<()>), Error>> {
        let (tls, config, session) = (self.tls.clone(), config.clone(), self.limits.session());
        async move {
            let (client, mut connection) = config.connect(tls).await?;
            match select(pin!(client.batch_execute(&session)), &mut connection).await {
                Either::Left((result, _)) => result?,
                Either::Right((ended, result)) => {
                    ended?;
                    result.await?;
                }
            }
            let connection = tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::warn!(error = message(&error), "audit log: a connection to PostgreSQL was lost");
                }
            });
            Ok((client, connection))
        }
        .boxed()
    }
}

impl Connector {
    /// Asks the server to cancel what a connection does.
    pub(super) async fn cancel(self, token: CancelToken) {
        let cancelled = tokio::time::timeout(self.limits.connect, token.cancel_query(self.tls)).await;
        if !matches!(cancelled, Ok(Ok(()))) {
            tracing::debug!("audit log: a statement could not be cancelled; the server ends it at its own limit");
        }
    }

    /// Returns the settings of connections to a server, with the limits of the network.
    pub(super) fn limit(&self, mut config: Config) -> Config {
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(self.limits.tcp_user);
        }
        if config.get_keepalives_interval().is_none() {
            config.keepalives_idle(KEEPALIVE).keepalives_interval(KEEPALIVE / 2).keepalives_retries(3);
        }
        config
    }
}

/// After how long without traffic the system asks whether the server is still there.
const KEEPALIVE: Duration = Duration::from_secs(10);
