//! `tagtrail-log prune`: drops old partitions of a store.

use std::error::Error;
use std::time::Duration;

use clap::Args;
use tagtrail_querylog::Timestamp;

use crate::error::{UsageError, of_option};
use crate::options::moment;
use crate::out::report;
use crate::runtime::block_on;
use crate::store::{POSTGRES, StoreArgs, Tables};

/// Younger objects are kept: their records may not be stored yet.
const MIN_OBJECT_AGE: Duration = Duration::from_secs(3_600);

#[derive(Args)]
pub(crate) struct Prune {
    #[command(flatten)]
    store: StoreArgs,
    /// Drop partitions whose records all started before this time: ISO 8601, or a duration ago, such as `365d`
    ///
    /// The time must be in the past.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    before: Timestamp,
}

impl Prune {
    pub(crate) fn run(self) -> Result<(), Box<dyn Error>> {
        // A mistyped year would drop the current records.
        if self.before > Timestamp::now() {
            return Err(UsageError::new("--before must be in the past").into());
        }
        block_on(async {
            let Some(store) = self.store.postgres(Tables::Existing).await? else {
                return Err(UsageError::new("--store: only PostgreSQL has partitions to prune").into());
            };
            let dropped = store.drop_before(self.before).await.map_err(|error| of_option(POSTGRES, &error))?;
            report(&format!("dropped {dropped} partitions"));
            let swept = self.store.open(Tables::Existing).await?.sweep(MIN_OBJECT_AGE).await?;
            report(&format!("deleted {swept} objects without a record"));
            Ok(())
        })
    }
}
