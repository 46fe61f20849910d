//! Options that select what to query: a store, or a server.

use std::error::Error;
use std::path::Path;

use clap::builder::NonEmptyStringValueParser;
use clap::{ArgGroup, Args};
use tagtrail::TraceId;
use tagtrail_querylog::audit::{Coverage, QueryError, QueryErrorKind, Questions, ScopedAuditLog, TraceTree};
use tagtrail_querylog::client::{AuditClient, AuditClientError};
use tagtrail_querylog::{AuditLog, Window};

use crate::error::{UsageError, of_option};
use crate::gaps::Missing;
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
    pub(crate) async fn open(&self, user: Option<&str>) -> Result<Source, Box<dyn Error>> {
        let environment = self.environment.as_deref().unwrap_or_default();
        Source::open(self.store.as_deref(), self.payloads.as_deref(), self.server.as_deref(), environment, user).await
    }
}

/// What is queried.
pub(crate) struct Source {
    pub(crate) questions: Box<dyn Questions>,
    /// The log, if this program has its store.
    log: Option<AuditLog>,
}

impl Source {
    /// Opens a store or a server, for questions that are not about an environment.
    pub(crate) async fn of_log(store: Option<&str>, server: Option<&str>) -> Result<Self, Box<dyn Error>> {
        Self::open(store, None, server, "", None).await
    }

    async fn open(
        store: Option<&str>,
        payloads: Option<&str>,
        server: Option<&str>,
        environment: &str,
        user: Option<&str>,
    ) -> Result<Self, Box<dyn Error>> {
        if let Some(server) = server {
            return Ok(Self { questions: Box::new(client(server)?), log: None });
        }
        let store = store.ok_or_else(|| UsageError::new("--store or --server is required"))?;
        if store.strip_prefix("sqlite:").is_some_and(|path| !path.is_empty() && !Path::new(path).exists()) {
            return Err(format!("--store {store}: no such file; to create a store, use `serve` or `import`").into());
        }
        let arguments = StoreArgs { store: store.to_owned(), payloads: payloads.map(str::to_owned) };
        let log = arguments.open(Tables::Existing).await?;
        let scoped = user.into_iter().fold(log.scoped(environment), ScopedAuditLog::of_user);
        Ok(Self { questions: Box::new(scoped), log: Some(log) })
    }

    /// Returns what is missing from a window. Ask this before its records.
    pub(crate) async fn missing(&self, window: Window) -> Result<Missing, QueryError> {
        if let Some(log) = &self.log {
            return Ok(Missing { coverage: Some(log.coverage(window).await?), has_counts: true });
        }
        match self.questions.coverage(window).await {
            Ok(coverage) => Ok(Missing::without_counts(Some(coverage))),
            Err(error) if error.kind() == QueryErrorKind::NotFound => Ok(Missing::without_counts(None)),
            Err(error) => Err(error),
        }
    }

    /// Returns a trace, and what is missing from it.
    pub(crate) async fn trace(&self, id: TraceId) -> Result<(TraceTree, Missing), QueryError> {
        let Some(log) = &self.log else {
            let trace = self.questions.trace(id).await?;
            let missing = Missing::without_counts(Some(trace.coverage.clone()));
            return Ok((trace, missing));
        };
        let before = log.coverage(Window::ALL).await?;
        let mut trace = self.questions.trace(id).await?;
        let window = trace.window();
        trace.coverage = Coverage::new(log.coverage(window).await?.gaps, before.within(window).behind);
        let coverage = Some(trace.coverage.clone());
        Ok((trace, Missing { coverage, has_counts: true }))
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
