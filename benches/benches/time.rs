//! How long the crate's cases take.

use std::time::Duration;

use criterion::{BenchmarkId, Criterion};
use tagtrail_benches::ours::cases;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    for mut case in cases().into_iter().filter(|case| !case.work.starts_with("series-")) {
        let id = BenchmarkId::new(case.who, case.over.as_deref().unwrap_or("empty"));
        criterion.benchmark_group(&case.work).bench_function(id, |bencher| bencher.iter(|| case.run()));
    }
    criterion.final_summary();
}
