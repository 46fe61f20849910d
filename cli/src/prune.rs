//! `tagtrail-log prune`: drops old partitions of a store.

use std::error::Error;
use std::time::Duration;

use clap::Args;
use tagtrail_querylog::Timestamp;

use crate::error::{UsageError, of_store};
use crate::out::report;
use crate::runtime::block_on;
use crate::store::{POSTGRES, StoreArgs, Tables};
use crate::times::{TimeExpression, ZoneArg};

/// Younger objects are kept: their records may not be stored yet.
const MIN_OBJECT_AGE: Duration = Duration::from_secs(3_600);

#[derive(Args)]
pub(crate) struct Prune {
    #[command(flatten)]
    store: StoreArgs,
    /// Drop partitions whose records all started before this time, in the past: `2024-05-10`, `365d`, `1 year ago`
    ///
    /// It has the forms of `tagtrail-log query --since`.
    #[arg(long, value_name = "TIME")]
    before: TimeExpression,
    #[command(flatten)]
    zone: ZoneArg,
}

impl Prune {
    pub(crate) fn run(self) -> Result<(), Box<dyn Error>> {
        // A mistyped year would drop the current records.
        let before = self.zone.moment(&self.before);
        if before > Timestamp::now() {
            return Err(UsageError::new("--before must be in the past").into());
        }
        block_on(async {
            let Some(store) = self.store.postgres(Tables::Existing).await? else {
                return Err(UsageError::new("--store: only PostgreSQL has partitions to prune").into());
            };
            let dropped = store.drop_before(before).await.map_err(|error| of_store(POSTGRES, &error))?;
            report(&format!("dropped {dropped} partitions"));
            let swept = self.store.open(Tables::Existing).await?.sweep(MIN_OBJECT_AGE).await?;
            report(&format!("deleted {swept} objects without a record"));
            Ok(())
        })
    }
}
