//! The audit log of the program: which store, and who asks.

use std::error::Error;

use clap::Args;
use tagtrail_querylog::AuditLog;
use tagtrail_querylog::store::{Payloads, Postgres, Sqlite};

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
}

impl StoreArgs {
    pub(crate) fn at(store: &str, payloads: Option<String>) -> Self {
        Self { store: store.to_owned(), payloads }
    }

    /// Where files of exports are by default: beside the file of `SQLite`.
    pub(crate) fn exports(&self) -> Option<String> {
        self.store.strip_prefix("sqlite:").map(|path| format!("{path}.exports"))
    }

    pub(crate) async fn open(&self) -> Result<AuditLog, Box<dyn Error>> {
        if self.store.starts_with("postgres://") || self.store.starts_with("postgresql://") {
            let log = AuditLog::new(Postgres::connect(&self.store).await?);
            return Ok(match &self.payloads {
                Some(place) => log.payloads(Payloads::at(place)?),
                None => log,
            });
        }
        let Some(path) = self.store.strip_prefix("sqlite:").filter(|path| !path.is_empty()) else {
            return Err("--store: no such store; sqlite:PATH is one, and postgres://USER@HOST/DATABASE".into());
        };
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
