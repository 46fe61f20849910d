//! What criterion measures.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::callgrind::{Cost, net, output, target};

/// Runs the benches of the crate and of the peers, and reads the least that each case took, in nanoseconds.
pub(crate) fn measure() -> Result<Vec<Cost>, Box<dyn Error>> {
    let results = target().with_file_name("criterion");
    if results.exists() {
        fs::remove_dir_all(&results)?;
    }
    output(
        Command::new("cargo").args(["bench", "--workspace", "--bench", "time"]).current_dir(env!("CARGO_MANIFEST_DIR")),
    )?;
    let mut measured = Vec::new();
    read(&results, &mut measured)?;
    // Each group of peers is a process, with bare cases of its own: `who [group]`.
    let group = |cost: &Cost| cost.who.rsplit_once(" [").map(|(_, group)| group.to_owned());
    let mut groups: Vec<_> = measured.iter().map(|(cost, _)| group(cost)).collect();
    groups.sort();
    groups.dedup();
    let mut costs = Vec::new();
    for wanted in groups {
        let (of_group, rest): (Vec<_>, Vec<_>) = measured.into_iter().partition(|(cost, _)| group(cost) == wanted);
        measured = rest;
        costs.extend(net(&of_group).into_iter().map(|cost| {
            let who = cost.who.split(" [").next().unwrap_or_default().to_owned();
            Cost { who, ..cost }
        }));
    }
    Ok(costs)
}

/// Finds the results under a folder: of each, the least it took, and what it is over.
fn read(folder: &Path, measured: &mut Vec<(Cost, String)>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.ends_with("new") {
            let json = |name: &str| -> Result<Value, Box<dyn Error>> {
                Ok(serde_json::from_str(&fs::read_to_string(path.join(name))?)?)
            };
            let (id, sample) = (json("benchmark.json")?, json("sample.json")?);
            let field = |name: &str| id[name].as_str().unwrap_or_default().to_owned();
            let numbers = |name: &str| sample[name].as_array().into_iter().flatten().filter_map(Value::as_f64);
            // The least, not the median: what other programs do to the machine only adds to it.
            let each = numbers("times").zip(numbers("iters")).map(|(time, times)| time / times);
            let amount = each.fold(f64::INFINITY, f64::min);
            let cost = Cost { work: field("group_id"), who: field("function_id"), amount, allocations: 0.0 };
            measured.push((cost, field("value_str")));
        } else if path.is_dir() {
            read(&path, measured)?;
        }
    }
    Ok(())
}
