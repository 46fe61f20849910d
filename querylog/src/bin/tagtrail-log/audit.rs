//! The audit log of the program: which store, or which server.

use std::error::Error;
use std::path::Path;

use clap::{ArgGroup, Args, ValueEnum};
use tagtrail_querylog::store::{Partition, Payloads, Postgres, Sqlite};
use tagtrail_querylog::{AuditClient, AuditLog};

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

    /// Where files of exports are by default: beside the file of `SQLite`.
    pub(crate) fn exports(&self) -> Option<String> {
        self.store.strip_prefix("sqlite:").map(|path| format!("{path}.exports"))
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

/// The environment variable that has the token.
const TOKEN: &str = "TAGTRAIL_TOKEN";

/// What is asked: a store, or a server.
#[derive(Args)]
#[command(group(ArgGroup::new("place").required(true).args(["store", "server"])))]
pub(crate) struct Source {
    /// The store to ask: `sqlite:PATH`, or the URL of a database of PostgreSQL.
    #[arg(long, value_name = "STORE", requires = "exec_env_id")]
    store: Option<String>,
    /// Where the store's long values are, if not beside it.
    #[arg(long, value_name = "PLACE", requires = "store")]
    payloads: Option<String>,
    /// The environment to ask a store about.
    #[arg(long, value_name = "ID", requires = "store")]
    exec_env_id: Option<String>,
    /// The URL of the API to ask, such as <http://127.0.0.1:8080/v1>. The token is taken from the environment variable
    /// `TAGTRAIL_TOKEN`.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
}

pub(crate) enum Opened {
    /// A store, and the environment that it is asked about.
    Store(AuditLog, String),
    Server(AuditClient),
}

impl Source {
    pub(crate) async fn open(&self) -> Result<Opened, Box<dyn Error>> {
        if let Some(server) = &self.server {
            let token = std::env::var(TOKEN).map_err(|_| format!("the environment variable {TOKEN} has no token"))?;
            return Ok(Opened::Server(AuditClient::new(server, &token)?));
        }
        let store = self.store.clone().ok_or("--store or --server is needed")?;
        if store.strip_prefix("sqlite:").is_some_and(|path| !path.is_empty() && !Path::new(path).exists()) {
            return Err("--store: there is no such file; serve and import make one".into());
        }
        let log = StoreArgs { store, payloads: self.payloads.clone(), partition_by: None }.open().await?;
        Ok(Opened::Store(log, self.exec_env_id.clone().unwrap_or_default()))
    }
}

/// Runs what is asynchronous.
pub(crate) fn block_on<T>(future: impl Future<Output = Result<T, Box<dyn Error>>>) -> Result<T, Box<dyn Error>> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(future)
}
