//! Counts what the cases cost, and prints the table.

mod callgrind;
mod loopback;
mod profile;
mod series;
mod table;
mod time;

use std::error::Error;
use std::process::ExitCode;

use callgrind::{Cost, Program};
use series::Series;
use table::Budgets;

const USAGE: &str = "usage: cargo run --release -- [--ours | --check | --time | --series | --profile WORK]

(nothing)       the table, with the peers
--ours          the table, without the peers
--check         fails where a budget is exceeded
--time          the table in nanoseconds, with the peers: some minutes, on an idle machine
--series        what more and more input costs; drawn in docs/cost.svg, too
--profile WORK  where the instructions of one row go";

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let budgets = Budgets::read()?;
    match arguments[..] {
        [] => print!("{}", budgets.table(&count(&budgets.rows(), true)?)),
        ["--ours"] => print!("{}", budgets.table(&count(&budgets.rows(), false)?)),
        ["--check"] => {
            let errors = budgets.exceeded(&count(&budgets.rows(), false)?);
            for error in &errors {
                eprintln!("{error}");
            }
            if errors.is_empty() {
                println!("every row of budgets.toml is kept");
            }
            return Ok(if errors.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        ["--time"] => print!("{}", budgets.table_of_times(&time::measure()?)),
        ["--series"] => {
            let costs = count(&["series-"], false)?;
            let series = Series::of(&costs);
            print!("{}", series.text());
            std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/cost.svg"), series.svg())?;
        }
        ["--profile", work] => print!("{}", Program::ours().profile(work)?),
        _ => {
            eprintln!("{USAGE}");
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What the cases cost whose work begins in one of these ways.
fn count(works: &[&str], peers: bool) -> Result<Vec<Cost>, Box<dyn Error>> {
    let mut costs = Program::ours().count(works)?;
    if peers {
        for program in Program::peers()? {
            costs.extend(program.count(works)?);
        }
    }
    if works.contains(&"loopback") {
        costs.extend(loopback::ratios(peers)?);
    }
    Ok(costs)
}
