//! The audit log of the program: which store, and who asks.

use std::error::Error;

use clap::Args;
use tagtrail_querylog::AuditLog;
use tagtrail_querylog::store::{Payloads, Sqlite};

/// Where the records are.
#[derive(Args)]
pub(crate) struct Place {
    /// The store: `sqlite:PATH`. It is made if it is not there.
    #[arg(long, value_name = "STORE")]
    store: String,
    /// Where values of 102,400 bytes and over are: a folder, or the URL of an object store. By default the folder
    /// beside the file, of the same name with `.payloads` behind it.
    #[arg(long, value_name = "PLACE")]
    payloads: Option<String>,
}

impl Place {
    pub(crate) fn at(store: &str, payloads: Option<String>) -> Self {
        Self { store: store.to_owned(), payloads }
    }

    pub(crate) fn open(&self) -> Result<AuditLog, Box<dyn Error>> {
        let Some(path) = self.store.strip_prefix("sqlite:").filter(|path| !path.is_empty()) else {
            return Err("--store: no such store; sqlite:PATH is one".into());
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
