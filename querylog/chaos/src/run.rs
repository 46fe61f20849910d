//! One run: requests while things go wrong, and then the verdict.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use futures_util::future::try_join_all;
use tagtrail_querylog::Window;
use tagtrail_querylog::audit::{Questions, RequestFilter, Scan};
use tokio::time::{sleep, sleep_until};

use crate::driver::Driver;
use crate::ledger::Request;
use crate::open;
use crate::oracle::{Evidence, Found, Missing, Violation, judge};
use crate::plan::{Plan, Planned, StoreKind};
use crate::results::{RunResult, Verdict};
use crate::world::World;

/// How long it may take until the store says what is missing, after everything was repaired: a writer counts as lost
/// after 30 seconds.
const PATIENCE: Duration = Duration::from_secs(75);
/// How many violations are described.
const FACTS: usize = 10;

/// What is run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) seed: u64,
    pub(crate) minutes: f64,
    pub(crate) store: StoreKind,
}

/// Runs, and judges.
pub(crate) async fn run(settings: Settings, folder: &Path) -> Result<RunResult, Box<dyn Error>> {
    let Settings { seed, minutes, store } = settings;
    let lasts = Duration::from_secs_f64(minutes * 60.0);
    let plan = Plan::new(seed, store, lasts);
    let world = World::start(store, folder).await?;
    let driver = Driver::start(seed, &world.addresses().await)?;
    let start = tokio::time::Instant::now();
    try_join_all(plan.0.iter().map(|lane| suffer(&world, lane, start))).await?;
    sleep_until(start + lasts).await;
    let sent = driver.stop().await;
    world.drain().await?;

    let mut evidence = collect(&world, sent).await?;
    let mut violations = judge(&evidence);
    if violations.iter().any(|violation| matches!(violation, Violation::Silent { .. })) {
        world.start_again().await?;
        let end = Instant::now() + PATIENCE;
        while !violations.is_empty() && Instant::now() < end {
            sleep(Duration::from_secs(3)).await;
            evidence = collect(&world, evidence.sent).await?;
            violations = judge(&evidence);
        }
        world.drain().await?;
    }
    Ok(result(settings, &plan, &evidence, &violations))
}

async fn suffer(world: &World, lane: &[Planned], start: tokio::time::Instant) -> Result<(), Box<dyn Error>> {
    for planned in lane {
        sleep_until(start + planned.at).await;
        world.suffer(*planned).await?;
    }
    Ok(())
}

async fn collect(world: &World, sent: Vec<Request>) -> Result<Evidence, Box<dyn Error>> {
    let store = world.open_store()?;
    let scoped = store.scoped(open::ENVIRONMENT);
    let mut found = Vec::new();
    let mut records = scoped.all_requests(Scan::new(RequestFilter::new(), Window::ALL), 1_000);
    while let Some(record) = records.try_next().await? {
        let number = record.request.path.rsplit('/').next().and_then(|number| number.parse().ok());
        let has_ended = record.response.outcome.is_some();
        found.push(Found { id: record.id.to_string(), number, has_ended });
    }
    let gaps = store.gaps(Window::ALL).await?;
    let gaps = gaps.into_iter().map(|gap| Missing { from: gap.from, to: gap.to, count: gap.count }).collect();
    Ok(Evidence { sent, found, gaps, kills: world.kills() })
}

fn result(settings: Settings, plan: &Plan, evidence: &Evidence, violations: &[Violation]) -> RunResult {
    let count = |values: usize| values as u64;
    let Evidence { sent, found, gaps, kills, .. } = evidence;
    let mut faults = BTreeMap::new();
    for planned in plan.0.iter().flatten() {
        *faults.entry(planned.fault.to_string()).or_default() += 1;
    }
    let mut kinds = BTreeMap::new();
    for violation in violations {
        *kinds.entry(violation.kind().to_owned()).or_default() += 1;
    }
    let there: std::collections::HashSet<_> = found.iter().filter_map(|found| found.number).collect();
    let is_missing = |(number, sent): &(usize, &Request)| sent.responded.is_some() && !there.contains(number);
    RunResult {
        seed: settings.seed,
        minutes: settings.minutes,
        store: format!("{:?}", settings.store).to_lowercase(),
        kills: count(kills.len()),
        faults,
        requests: count(sent.len()),
        responded: count(sent.iter().filter(|sent| sent.responded.is_some()).count()),
        acknowledged: count(sent.iter().filter(|sent| sent.is_acknowledged()).count()),
        found: count(found.len()),
        missing: count(sent.iter().enumerate().filter(is_missing).count()),
        unclean_gaps: count(gaps.iter().filter(|gap| gap.count.is_none()).count()),
        counted: gaps.iter().filter_map(|gap| gap.count).sum(),
        verdict: if violations.is_empty() { Verdict::Passed } else { Verdict::Failed },
        violations: kinds,
        facts: violations.iter().take(FACTS).map(|violation| describe(violation, evidence)).collect(),
    }
}

/// Says what does not hold, with the times that matter.
fn describe(violation: &Violation, evidence: &Evidence) -> String {
    let (Violation::Lost { number, .. } | Violation::Silent { number }) = violation else {
        return violation.to_string();
    };
    let Some(Request { sent, responded, service, .. }) = evidence.sent.get(*number) else {
        return violation.to_string();
    };
    let responded = responded.map_or("never".to_owned(), |time| time.to_string());
    let next = evidence.kills.iter().map(|kill| kill.at).filter(|at| at >= sent).min();
    let next = next.map_or("no kill after it".to_owned(), |at| format!("the next kill at {at}"));
    let gaps = evidence.gaps.iter().filter(|gap| gap.count.is_none() && gap.from <= *sent && *sent <= gap.to);
    let gap = gaps.map(|gap| gap.from).max();
    let gap = gap.map_or("in no gap".to_owned(), |from| format!("in a gap from {from}"));
    format!("{violation}: sent to service {service} at {sent}, responded at {responded}, {next}, {gap}")
}
