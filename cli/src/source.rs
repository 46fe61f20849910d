//! Options that select what to query: a store, or a server.

use std::error::Error;
use std::path::Path;

use clap::builder::NonEmptyStringValueParser;
use clap::{ArgGroup, Args};
use tagtrail_querylog::audit::{Questions, ScopedAuditLog};
use tagtrail_querylog::client::{AuditClient, AuditClientError};

use crate::error::{UsageError, of_option};
use crate::store::{StoreArgs, Tables};

/// The environment variable that holds the token.
const TOKEN: &str = "TAGTRAIL_TOKEN";

/// A store or a server.
#[derive(Args)]
#[command(group(ArgGroup::new("source").required(true).args(["store", "server"])))]
pub(crate) struct SourceArgs {
    /// Store to query: `sqlite:PATH` or `postgres://USER@HOST/DATABASE`; requires --environment
    #[arg(long, value_name = "STORE", requires = "environment")]
    store: Option<String>,
    /// Directory or object store URL of the store's long values [default: as for `serve`]
    #[arg(long, value_name = "DIR_OR_URL", conflicts_with = "server")]
    payloads: Option<String>,
    /// Environment to query in a store; a server knows it from the token
    #[arg(
        long,
        value_name = "ID",
        visible_alias = "exec-env-id",
        conflicts_with = "server",
        value_parser = NonEmptyStringValueParser::new()
    )]
    environment: Option<String>,
    /// URL of the API to query, such as `http://127.0.0.1:8080/v1`
    ///
    /// The token is read from the environment variable `TAGTRAIL_TOKEN`.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
}

impl SourceArgs {
    pub(crate) fn is_server(&self) -> bool {
        self.server.is_some()
    }

    /// Opens the source. A store is queried on behalf of the user, if there is one.
    pub(crate) async fn open(&self, user: Option<&str>) -> Result<Box<dyn Questions>, Box<dyn Error>> {
        if let Some(server) = &self.server {
            return Ok(Box::new(client(server)?));
        }
        let store = self.store.clone().ok_or_else(|| UsageError::new("--store or --server is required"))?;
        if store.strip_prefix("sqlite:").is_some_and(|path| !path.is_empty() && !Path::new(path).exists()) {
            return Err(format!("--store {store}: no such file; to create a store, use `serve` or `import`").into());
        }
        let log = StoreArgs { store, payloads: self.payloads.clone() }.open(Tables::Existing).await?;
        let log = log.scoped(self.environment.clone().unwrap_or_default());
        Ok(Box::new(user.into_iter().fold(log, ScopedAuditLog::of_user)))
    }
}

fn client(server: &str) -> Result<AuditClient, Box<dyn Error>> {
    let token = secret(TOKEN, "token")?;
    AuditClient::new(server, &token).map_err(|error| match error {
        AuditClientError::Url => UsageError::new(format!("--server: {error}")).into(),
        AuditClientError::Token => UsageError::new(format!("{TOKEN}: {error}")).into(),
        error => of_option("--server", &error),
    })
}

/// Reads a secret from the environment, which other users of the machine cannot see.
pub(crate) fn secret(variable: &str, what: &str) -> Result<String, UsageError> {
    let secret = std::env::var(variable).ok().filter(|secret| !secret.is_empty());
    secret.ok_or_else(|| {
        UsageError::new(format!("the environment variable {variable} is not set: set it to your {what}"))
    })
}
