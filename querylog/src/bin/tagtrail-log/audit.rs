//! The audit log of the program: which store, and who asks.

use std::error::Error;

use clap::{Args, ValueEnum};
use tagtrail_querylog::AuditLog;
use tagtrail_querylog::store::{Partition, Payloads, Postgres, Sqlite};

/// Where the records are.
#[derive(Args)]
pub(crate) struct StoreArgs {
    /// The store: `sqlite:PATH`, which is made if it is not there, or the URL of a database of PostgreSQL.
    #[arg(long, value_name = "STORE")]
    store: String,
    /// Where values of 102,400 bytes and over are: a folder, or the URL of an object store. By default the folder
    /// beside the file of SQLite, of the same name with `.payloads` behind it; with PostgreSQL the database itself.
    #[arg(long, value_name = "PLACE")]
    payloads: Option<String>,
    /// With PostgreSQL, where the tables are not there yet: partitions of so long, of which old ones can be pruned.
    #[arg(long, value_enum, value_name = "SPAN")]
    partition_by: Option<PartitionBy>,
}

#[derive(Clone, Copy, ValueEnum)]
enum PartitionBy {
    Month,
    Day,
}

impl StoreArgs {
    pub(crate) fn at(store: &str, payloads: Option<String>) -> Self {
        Self { store: store.to_owned(), payloads, partition_by: None }
    }

    /// The store, where it is PostgreSQL.
    pub(crate) async fn postgres(&self) -> Result<Option<Postgres>, Box<dyn Error>> {
        if !self.store.starts_with("postgres://") && !self.store.starts_with("postgresql://") {
            return Ok(None);
        }
        let settings = Postgres::settings(&self.store);
        let settings = match self.partition_by {
            Some(PartitionBy::Month) => settings.partition_by(Partition::Month),
            Some(PartitionBy::Day) => settings.partition_by(Partition::Day),
            None => settings,
        };
        Ok(Some(settings.connect().await?))
    }

    pub(crate) async fn open(&self) -> Result<AuditLog, Box<dyn Error>> {
        if let Some(store) = self.postgres().await? {
            let log = AuditLog::new(store);
            return Ok(match &self.payloads {
                Some(place) => log.payloads(Payloads::at(place)?),
                None => log,
            });
        }
        let Some(path) = self.store.strip_prefix("sqlite:").filter(|path| !path.is_empty()) else {
            return Err("--store: no such store; sqlite:PATH is one, and postgres://USER@HOST/DATABASE".into());
        };
        if self.partition_by.is_some() {
            return Err("--partition-by: SQLite has no partitions".into());
        }
        Ok(match &self.payloads {
            Some(place) => AuditLog::new(Sqlite::open(path)?).payloads(Payloads::at(place)?),
            None => AuditLog::open(path)?,
        })
    }
}

/// Runs what is asynchronous.
pub(crate) fn block_on<T>(future: impl Future<Output = Result<T, Box<dyn Error>>>) -> Result<T, Box<dyn Error>> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(future)
}
