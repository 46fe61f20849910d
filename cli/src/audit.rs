//! The audit log of the program: which store, or which server.

use std::error::Error;
use std::path::Path;

use clap::builder::NonEmptyStringValueParser;
use clap::{ArgGroup, Args, ValueEnum};
use tagtrail_querylog::AuditLog;
use tagtrail_querylog::audit::{Questions, ScopedAuditLog};
use tagtrail_querylog::client::{AuditClient, AuditClientError};
use tagtrail_querylog::store::{Partition, Payloads, Postgres, Sqlite};

use crate::error::{UsageError, of_option};

/// What errors call a store in PostgreSQL, whose URL may have a password.
pub(crate) const POSTGRES: &str = "--store postgres://...";

/// What a file of `SQLite` starts with.
pub(crate) const SQLITE: &[u8] = b"SQLite format 3\0";

/// Where the records are.
#[derive(Args)]
pub(crate) struct StoreArgs {
    /// The store: `sqlite:PATH`, or the URL of a database of PostgreSQL, `postgres://USER@HOST/DATABASE`.
    #[arg(long, value_name = "STORE")]
    store: String,
    /// Where values of 102,400 bytes and over are: a folder, or the URL of an object store. By default the folder
    /// beside the file of SQLite, of the same name with `.payloads` after it; with PostgreSQL the database itself.
    #[arg(long, value_name = "PLACE")]
    payloads: Option<String>,
}

/// What becomes of the tables of a database if there are none.
#[derive(Clone, Copy)]
pub(crate) enum Tables {
    /// They are not created: a question is an error.
    Existing,
    /// They are created, with partitions or without.
    Made(Option<Partition>),
}

/// Where the records are, for what creates a store that is not there yet.
#[derive(Args)]
pub(crate) struct NewStoreArgs {
    #[command(flatten)]
    pub(crate) place: StoreArgs,
    /// The span of a partition, of which old ones can be pruned; with PostgreSQL, if the tables are not there yet.
    #[arg(long, value_enum, value_name = "SPAN")]
    partition_by: Option<PartitionBy>,
}

#[derive(Clone, Copy, ValueEnum)]
enum PartitionBy {
    Month,
    Day,
}

impl NewStoreArgs {
    pub(crate) async fn open(&self) -> Result<AuditLog, Box<dyn Error>> {
        let partition = self.partition_by.map(|span| match span {
            PartitionBy::Month => Partition::Month,
            PartitionBy::Day => Partition::Day,
        });
        self.place.open(Tables::Made(partition)).await
    }
}

impl StoreArgs {
    /// The store, if it is PostgreSQL.
    pub(crate) async fn postgres(&self, tables: Tables) -> Result<Option<Postgres>, Box<dyn Error>> {
        if !self.store.starts_with("postgres://") && !self.store.starts_with("postgresql://") {
            return Ok(None);
        }
        let settings = Postgres::settings(&self.store);
        let settings = match tables {
            Tables::Existing => settings.existing(),
            Tables::Made(Some(partition)) => settings.partition_by(partition),
            Tables::Made(None) => settings,
        };
        Ok(Some(settings.connect().await.map_err(|error| of_option(POSTGRES, &error))?))
    }

    /// The path of `SQLite`'s file.
    fn sqlite(&self) -> Result<&str, UsageError> {
        self.store
            .strip_prefix("sqlite:")
            .filter(|path| !path.is_empty())
            .ok_or_else(|| UsageError::new("--store: expected sqlite:PATH or postgres://USER@HOST/DATABASE"))
    }

    /// Where files of exports are by default: beside the file of `SQLite`.
    pub(crate) fn exports(&self) -> Option<String> {
        self.store.strip_prefix("sqlite:").map(|path| format!("{path}.exports"))
    }

    pub(crate) async fn open(&self, tables: Tables) -> Result<AuditLog, Box<dyn Error>> {
        let payloads = || match &self.payloads {
            Some(place) => Payloads::at(place).map(Some).map_err(|error| of_option("--payloads", &error)),
            None => Ok(None),
        };
        if let Some(store) = self.postgres(tables).await? {
            let log = AuditLog::new(store);
            return Ok(match payloads()? {
                Some(payloads) => log.payloads(payloads),
                None => log,
            });
        }
        let path = self.sqlite()?;
        if let Tables::Made(Some(_)) = tables {
            return Err(UsageError::new("--partition-by: SQLite has no partitions").into());
        }
        let settings = match tables {
            Tables::Existing => Sqlite::settings(path).existing(),
            Tables::Made(_) => Sqlite::settings(path),
        };
        let failed = |error| of_option(&format!("--store {}", self.store), &error);
        let there = payloads()?;
        let store = settings.open().map_err(failed)?;
        let beside = || Payloads::folder(format!("{path}.payloads")).map_err(failed);
        Ok(AuditLog::new(store).payloads(there.map_or_else(beside, Ok)?))
    }
}

/// The environment variable that has the token.
const TOKEN: &str = "TAGTRAIL_TOKEN";

/// What is asked: a store, or a server.
#[derive(Args)]
#[command(group(ArgGroup::new("asked").required(true).args(["store", "server"])))]
pub(crate) struct SourceArgs {
    /// The store to ask: `sqlite:PATH`, or the URL of a database of PostgreSQL. Needs --environment.
    #[arg(long, value_name = "STORE", requires = "environment")]
    store: Option<String>,
    /// Where the store's long values are, if not beside it.
    #[arg(long, value_name = "PLACE", conflicts_with = "server")]
    payloads: Option<String>,
    /// The environment to ask a store about; a server knows it by the token.
    #[arg(
        long,
        value_name = "ID",
        visible_alias = "exec-env-id",
        conflicts_with = "server",
        value_parser = NonEmptyStringValueParser::new()
    )]
    environment: Option<String>,
    /// The URL of the API to ask, such as `http://127.0.0.1:8080/v1`. The token is taken from the environment variable
    /// `TAGTRAIL_TOKEN`.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
}

impl SourceArgs {
    pub(crate) fn is_server(&self) -> bool {
        self.server.is_some()
    }

    /// Opens what is asked, a store on behalf of a user if there is one.
    pub(crate) async fn open(&self, user: Option<&str>) -> Result<Box<dyn Questions>, Box<dyn Error>> {
        if let Some(server) = &self.server {
            let token = secret(TOKEN, "token, one that the server knows")?;
            let client = AuditClient::new(server, &token).map_err(|error| match error {
                AuditClientError::Url => UsageError::new(format!("--server: {error}")).into(),
                AuditClientError::Token => UsageError::new(format!("{TOKEN}: {error}")).into(),
                error => of_option("--server", &error),
            });
            return Ok(Box::new(client?));
        }
        let store = self.store.clone().ok_or("expected --store or --server")?;
        if store.strip_prefix("sqlite:").is_some_and(|path| !path.is_empty() && !Path::new(path).exists()) {
            return Err(format!("--store {store}: there is no such file; serve and import create one").into());
        }
        let log = StoreArgs { store, payloads: self.payloads.clone() }.open(Tables::Existing).await?;
        let log = log.scoped(self.environment.clone().unwrap_or_default());
        Ok(Box::new(user.into_iter().fold(log, ScopedAuditLog::of_user)))
    }
}

/// A secret of the environment, which other users of the machine do not see.
pub(crate) fn secret(variable: &str, what: &str) -> Result<String, UsageError> {
    let secret = std::env::var(variable).ok().filter(|secret| !secret.is_empty());
    secret.ok_or_else(|| {
        UsageError::new(format!("the environment variable {variable} is not set: set it to your {what}"))
    })
}

/// Runs what is asynchronous.
pub(crate) fn block_on<T>(future: impl Future<Output = Result<T, Box<dyn Error>>>) -> Result<T, Box<dyn Error>> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(future)
}

/// Ends with Ctrl-C, or the signal by which supervisors end programs.
pub(crate) async fn interrupted() {
    #[cfg(unix)]
    if let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        return;
    }
    // Without signals, the process ends when it is killed.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
