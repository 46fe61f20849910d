//! `tagtrail-log prune`: drops the old partitions of a store.

use std::error::Error;
use std::time::Duration;

use clap::Args;
use tagtrail_querylog::Timestamp;

use crate::audit::{POSTGRES, Place, Tables, block_on};
use crate::options::moment;
use crate::out::{self, Misuse, of_option};

/// Objects of records that are put now are not swept.
const AGE: Duration = Duration::from_secs(3_600);

#[derive(Args)]
pub(crate) struct Prune {
    #[command(flatten)]
    place: Place,
    /// The time, in ISO 8601, or so long ago, such as `365d`, and not in the future: partitions with records of this
    /// time or later stay.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    before: Timestamp,
}

impl Prune {
    pub(crate) fn run(self) -> Result<(), Box<dyn Error>> {
        // A year that is mistyped would else drop what is recorded at this moment.
        if self.before > Timestamp::now() {
            return Err(Misuse::new(
                "--before: a time in the future is after the records of this moment, and would drop them: name one that is past",
            )
            .into());
        }
        block_on(async {
            let Some(store) = self.place.postgres(Tables::Existing).await? else {
                return Err(Misuse::new("--store: only PostgreSQL has partitions to prune").into());
            };
            let dropped = store.drop_before(self.before).await.map_err(|error| of_option(POSTGRES, &error))?;
            out::tell(&format!("partitions dropped: {dropped}"));
            let swept = self.place.open(Tables::Existing).await?.sweep(AGE).await?;
            out::tell(&format!("objects deleted that no record has: {swept}"));
            Ok(())
        })
    }
}
