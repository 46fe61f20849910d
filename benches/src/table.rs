//! What the numbers are held against, and how they are shown.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;

use serde::Deserialize;

use crate::callgrind::Cost;

const US: &str = "tagtrail";

/// The rows of `budgets.toml`, in its order.
pub struct Budgets(Vec<(String, Budget)>);

#[derive(Deserialize)]
struct Budget {
    text: String,
    instructions: f64,
    allocations: f64,
}

impl Budgets {
    pub fn read() -> Result<Self, Box<dyn Error>> {
        let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/budgets.toml"))?;
        let rows = toml::from_str::<BTreeMap<String, Budget>>(&text)?;
        let place = |name: &str| text.find(&format!("[{name}]"));
        let mut rows: Vec<_> = rows.into_iter().collect();
        rows.sort_by_key(|(name, _)| place(name));
        Ok(Self(rows))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The names of the work.
    pub fn rows(&self) -> Vec<&str> {
        self.0.iter().map(|(name, _)| name.as_str()).chain(["map-cleared", "client-bare"]).collect()
    }

    /// What costs more than it may, in words.
    pub fn exceeded(&self, costs: &[Cost]) -> Vec<String> {
        let mut faults = Vec::new();
        for (name, budget) in &self.0 {
            let Some(ours) = ours(costs, name) else {
                faults.push(format!("{name}: nothing was counted"));
                continue;
            };
            for (what, cost, most) in [
                ("instructions", ours.instructions, budget.instructions),
                ("allocations", ours.allocations, budget.allocations),
            ] {
                if cost.round() > most {
                    faults.push(format!("{name}: {cost:.0} {what}, at most {most} are allowed"));
                }
            }
        }
        faults
    }

    /// The table, in Markdown.
    pub fn table(&self, costs: &[Cost]) -> String {
        let mut table = String::from("| work | ours | budget | best peer | ours ÷ best | others |\n| --- | --- | --- | --- | --- | --- |\n");
        for (name, budget) in &self.0 {
            let Some(ours) = ours(costs, name) else { continue };
            let mut peers: Vec<&Cost> = costs.iter().filter(|cost| cost.work == *name && cost.who != US).collect();
            peers.sort_by(|a, b| a.instructions.total_cmp(&b.instructions));
            let ratio = peers.first().map(|best| format!("{:.2}", ours.instructions / best.instructions));
            let mut peers = peers.iter().map(|peer| format!("{} {}", peer.who, pair(peer.instructions, peer.allocations)));
            let _ = writeln!(
                table,
                "| {} | {} | {} | {} | {} | {} |",
                budget.text,
                pair(ours.instructions, ours.allocations),
                pair(budget.instructions, budget.allocations),
                peers.next().unwrap_or_default(),
                ratio.unwrap_or_default(),
                peers.collect::<Vec<_>>().join(" · "),
            );
        }
        table
    }
}

fn ours<'a>(costs: &'a [Cost], work: &str) -> Option<&'a Cost> {
    costs.iter().find(|cost| cost.work == work && cost.who == US)
}

/// Instructions and allocations, as `1,234, 5`.
fn pair(instructions: f64, allocations: f64) -> String {
    format!("{}, {allocations:.0}", thousands(instructions))
}

fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let (sign, digits) = digits.strip_prefix('-').map_or(("", &*digits), |digits| ("-", digits));
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{sign}{grouped}")
}

/// What more and more input costs, in Markdown.
pub fn series(costs: &[Cost]) -> String {
    let mut table = String::from("| input | count | instructions, allocations |\n| --- | --- | --- |\n");
    for cost in costs {
        let Some((input, count)) = cost.work.strip_prefix("series-").and_then(|work| work.rsplit_once('-')) else {
            continue;
        };
        let _ = writeln!(table, "| {input} | {count} | {} |", pair(cost.instructions, cost.allocations));
    }
    table
}
