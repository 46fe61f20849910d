//! What goes wrong in a run, and when: a [`Plan`], which the seed determines.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::random::Random;

/// Where records are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StoreKind {
    Sqlite,
    Postgres,
}

/// How many services write into the store.
pub(crate) const SERVICES: usize = 2;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fault {
    /// A service is killed with SIGKILL, and started again.
    ServiceKilled,
    /// A service is stopped with SIGTERM, and started again.
    ServiceStopped,
    /// The services cannot let a file grow, as on a full disk.
    DiskFull,
    /// The folder of long values is not there.
    ObjectsAway,
    /// Another process holds the write lock of SQLite.
    SqliteLocked,
    /// PostgreSQL is stopped in its fast mode.
    PostgresStopped,
    /// PostgreSQL and all its processes are killed with SIGKILL.
    PostgresKilled,
    /// PostgreSQL and all its processes are frozen with SIGSTOP.
    PostgresFrozen,
    /// Each packet to and from PostgreSQL is late.
    PostgresSlow,
    /// Connections to PostgreSQL are cut, and new ones too.
    PostgresCut,
}

impl Fault {
    fn of_a_service() -> &'static [Self] {
        &[Self::ServiceKilled, Self::ServiceKilled, Self::ServiceKilled, Self::ServiceStopped]
    }

    fn of_a_store(store: StoreKind) -> &'static [Self] {
        match store {
            StoreKind::Sqlite => &[Self::SqliteLocked, Self::SqliteLocked, Self::DiskFull, Self::ObjectsAway],
            StoreKind::Postgres => &[
                Self::PostgresStopped,
                Self::PostgresKilled,
                Self::PostgresFrozen,
                Self::PostgresSlow,
                Self::PostgresCut,
                Self::ObjectsAway,
            ],
        }
    }

    /// Whether the store cannot be written meanwhile.
    pub(crate) fn is_of_the_store(self) -> bool {
        !matches!(self, Self::ServiceKilled | Self::ServiceStopped)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = serde_json::to_value(self).unwrap_or_default();
        f.write_str(name.as_str().unwrap_or_default())
    }
}

/// A fault at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Planned {
    /// Since the start of the run.
    pub(crate) at: Duration,
    pub(crate) lasts: Duration,
    pub(crate) fault: Fault,
    /// Which service it is about.
    pub(crate) service: usize,
}

/// What goes wrong in a run: faults of the store one after another, and beside them those of each service.
pub(crate) struct Plan(pub(crate) Vec<Vec<Planned>>);

impl Plan {
    /// Faults end before the run does.
    pub(crate) fn new(seed: u64, store: StoreKind, run: Duration) -> Self {
        let of_store = lane(Random::new(seed, 0), run, 0, Fault::of_a_store(store), |random| {
            // Most are short. Some are longer than the writer would retry.
            if random.below(8) == 0 { random.millis(10_000, 14_000) } else { random.millis(100, 4_000) }
        });
        let of_services = (0..SERVICES).map(|service| {
            let random = Random::new(seed, 1 + service as u64);
            lane(random, run, service, Fault::of_a_service(), |random| random.millis(50, 800))
        });
        Self(std::iter::once(of_store).chain(of_services).collect())
    }
}

fn lane(
    mut random: Random,
    run: Duration,
    service: usize,
    faults: &[Fault],
    lasts: impl Fn(&mut Random) -> Duration,
) -> Vec<Planned> {
    let mut planned = Vec::new();
    let mut at = random.millis(200, 2_000);
    loop {
        let fault = Planned { at, lasts: lasts(&mut random), fault: random.pick(faults), service };
        if fault.at + fault.lasts > run {
            return planned;
        }
        planned.push(fault);
        at += fault.lasts + random.millis(300, 4_000);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seed_determines_the_plan() {
        let plan = |seed| Plan::new(seed, StoreKind::Postgres, Duration::from_mins(1)).0;
        assert_eq!(plan(7), plan(7));
        assert_ne!(plan(7), plan(8));
    }

    #[test]
    fn faults_of_a_lane_do_not_overlap_and_end_in_time() {
        let run = Duration::from_mins(10);
        for store in [StoreKind::Sqlite, StoreKind::Postgres] {
            for lane in Plan::new(1, store, run).0 {
                assert!(lane.len() > 20, "{}", lane.len());
                assert!(lane.windows(2).all(|two| two[0].at + two[0].lasts < two[1].at));
                assert!(lane.iter().all(|fault| fault.at + fault.lasts <= run));
            }
        }
    }
}
