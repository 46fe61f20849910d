//! How long the peers' cases take, each group in a process of its own: without `GROUP`, this program starts them.

use std::env;
use std::process::{Command, ExitCode};
use std::time::Duration;

use criterion::{BenchmarkId, Criterion};
use peers::{GROUPS, cases};

fn main() -> ExitCode {
    let Ok(group) = env::var("GROUP") else {
        let program = env::current_exe().expect("this program");
        let run = |group: &&str| Command::new(&program).args(env::args().skip(1)).env("GROUP", group).status();
        let all = GROUPS.iter().all(|group| run(group).is_ok_and(|status| status.success()));
        return if all { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    };
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    // The bare cases are in the process of each group: its own are what it is held against.
    for mut case in cases(&group) {
        let over = case.over.clone().unwrap_or_else(|| "empty".to_owned());
        let id = BenchmarkId::new(format!("{} [{group}]", case.who), over);
        criterion.benchmark_group(&case.work).bench_function(id, |bencher| bencher.iter(|| case.run()));
    }
    criterion.final_summary();
    ExitCode::SUCCESS
}
