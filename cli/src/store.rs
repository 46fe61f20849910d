//! Options that select a store, and opening it.

use std::error::Error;

use clap::{Args, ValueEnum};
use tagtrail_querylog::AuditLog;
use tagtrail_querylog::store::{Partition, Payloads, Postgres, Sqlite};

use crate::error::{UsageError, of_option, of_store};

/// How errors name a PostgreSQL store, whose URL may contain a password.
pub(crate) const POSTGRES: &str = "--store postgres://...";

/// The first bytes of an SQLite database.
pub(crate) const SQLITE: &[u8] = b"SQLite format 3\0";

/// A store.
#[derive(Args)]
pub(crate) struct StoreArgs {
    /// Store: `sqlite:PATH` or `postgres://USER@HOST/DATABASE`
    #[arg(long, value_name = "STORE")]
    pub(crate) store: String,
    /// Directory or object store URL for values of 102,400 bytes and more
    ///
    /// By default, those of an SQLite store are in a directory next to it, named like it with `.payloads` appended, and
    /// those of a PostgreSQL store are in the database.
    #[arg(long, value_name = "DIR_OR_URL")]
    pub(crate) payloads: Option<String>,
}

/// What to do if a database has no tables.
#[derive(Clone, Copy)]
pub(crate) enum Tables {
    /// Fail.
    Existing,
    /// Create them, with partitions or without.
    Create(Option<Partition>),
}

/// A store that is created if it does not exist.
#[derive(Args)]
pub(crate) struct NewStoreArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// Partition new PostgreSQL tables by this span, so that old partitions can be pruned
    #[arg(long, value_enum, value_name = "SPAN")]
    partition_by: Option<PartitionSpan>,
}

#[derive(Clone, Copy, ValueEnum)]
enum PartitionSpan {
    Month,
    Day,
}

impl NewStoreArgs {
    pub(crate) async fn open(&self) -> Result<AuditLog, Box<dyn Error>> {
        let partition = self.partition_by.map(|span| match span {
            PartitionSpan::Month => Partition::Month,
            PartitionSpan::Day => Partition::Day,
        });
        self.store.open(Tables::Create(partition)).await
    }

    /// Returns the default directory of export files: next to the SQLite database.
    pub(crate) fn default_exports(&self) -> Option<String> {
        self.store.store.strip_prefix("sqlite:").map(|path| format!("{path}.exports"))
    }
}

impl StoreArgs {
    pub(crate) async fn open(&self, tables: Tables) -> Result<AuditLog, Box<dyn Error>> {
        if let Some(store) = self.postgres(tables).await? {
            let log = AuditLog::new(store);
            return Ok(match self.payloads()? {
                Some(payloads) => log.payloads(payloads),
                None => log,
            });
        }
        self.sqlite(tables)
    }

    /// Connects to the store, or returns `None` if it is not PostgreSQL.
    pub(crate) async fn postgres(&self, tables: Tables) -> Result<Option<Postgres>, Box<dyn Error>> {
        if !self.store.starts_with("postgres://") && !self.store.starts_with("postgresql://") {
            return Ok(None);
        }
        let settings = Postgres::builder(&self.store);
        let settings = match tables {
            Tables::Existing => settings.existing(),
            Tables::Create(Some(partition)) => settings.partition_by(partition),
            Tables::Create(None) => settings,
        };
        Ok(Some(settings.connect().await.map_err(|error| of_store(POSTGRES, &error))?))
    }

    fn sqlite(&self, tables: Tables) -> Result<AuditLog, Box<dyn Error>> {
        let path = self
            .store
            .strip_prefix("sqlite:")
            .filter(|path| !path.is_empty())
            .ok_or_else(|| UsageError::new("--store: expected sqlite:PATH or postgres://USER@HOST/DATABASE"))?;
        let settings = match tables {
            Tables::Existing => Sqlite::builder(path).existing(),
            Tables::Create(None) => Sqlite::builder(path),
            Tables::Create(Some(_)) => return Err(UsageError::new("--partition-by: SQLite has no partitions").into()),
        };
        let of_store = |error| of_store(&format!("--store {}", self.store), &error);
        // First, so that no store is created if the option is invalid.
        let payloads = self.payloads()?;
        let store = settings.open().map_err(of_store)?;
        let payloads = match payloads {
            Some(payloads) => payloads,
            None => Payloads::folder(format!("{path}.payloads")).map_err(of_store)?,
        };
        Ok(AuditLog::new(store).payloads(payloads))
    }

    fn payloads(&self) -> Result<Option<Payloads>, Box<dyn Error>> {
        let payloads = self.payloads.as_deref().map(Payloads::at).transpose();
        payloads.map_err(|error| of_option("--payloads", &error))
    }
}
