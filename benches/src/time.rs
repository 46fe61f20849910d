//! What criterion measures.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::callgrind::{Cost, net, output, target};

/// Runs the benches of the crate and of the peers, and reads the medians, in nanoseconds.
pub fn measure() -> Result<Vec<Cost>, Box<dyn Error>> {
    let results = target().with_file_name("criterion");
    if results.exists() {
        fs::remove_dir_all(&results)?;
    }
    output(Command::new("cargo").args(["bench", "--workspace", "--bench", "time"]).current_dir(env!("CARGO_MANIFEST_DIR")))?;
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

/// Finds the results under a folder: of each, its median, and what it is over.
fn read(folder: &Path, measured: &mut Vec<(Cost, String)>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.ends_with("new") {
            let json = |name: &str| -> Result<Value, Box<dyn Error>> {
                Ok(serde_json::from_str(&fs::read_to_string(path.join(name))?)?)
            };
            let (id, estimates) = (json("benchmark.json")?, json("estimates.json")?);
            let field = |name: &str| id[name].as_str().unwrap_or_default().to_owned();
            let median = estimates["median"]["point_estimate"].as_f64().ok_or("no median")?;
            let cost = Cost { work: field("group_id"), who: field("function_id"), instructions: median, allocations: 0.0 };
            measured.push((cost, field("value_str")));
        } else if path.is_dir() {
            read(&path, measured)?;
        }
    }
    Ok(())
}
