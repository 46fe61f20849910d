//! What the numbers are held against, and how they are shown.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;

use serde::Deserialize;

use crate::callgrind::Cost;

const US: &str = "tagtrail";

/// The rows of `budgets.toml`, in its order.
pub(crate) struct Budgets(Vec<(String, Budget)>);

#[derive(Deserialize)]
struct Budget {
    text: String,
    /// None: the row is shown, and held against nothing.
    instructions: Option<f64>,
    allocations: Option<f64>,
    /// For a row whose instructions are a multiple of those of something bare.
    ratio: Option<f64>,
}

impl Budget {
    /// What is counted, what it may be at most, and what it is.
    fn limits<'a>(&'a self, cost: &'a Cost) -> impl Iterator<Item = (&'static str, f64, f64)> + 'a {
        let limits = [
            ("instructions", self.instructions, cost.amount.round()),
            ("allocations", self.allocations, cost.allocations.round()),
            ("times the bare server's instructions", self.ratio, (cost.amount * 100.0).round() / 100.0),
        ];
        limits.into_iter().filter_map(|(what, most, is)| Some((what, most?, is)))
    }

    fn shown(&self) -> String {
        match (self.instructions.zip(self.allocations), self.ratio) {
            (Some((instructions, allocations)), _) => pair(instructions, allocations),
            (None, Some(ratio)) => format!("{ratio:.2}"),
            (None, None) => String::new(),
        }
    }

    fn cost(&self, cost: &Cost) -> String {
        match self.ratio {
            Some(_) => format!("{:.2}", cost.amount),
            None => pair(cost.amount, cost.allocations),
        }
    }
}

impl Budgets {
    pub(crate) fn read() -> Result<Self, Box<dyn Error>> {
        let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/budgets.toml"))?;
        let rows = toml::from_str::<BTreeMap<String, Budget>>(&text)?;
        let place = |name: &str| text.find(&format!("[{name}]"));
        let mut rows: Vec<_> = rows.into_iter().collect();
        rows.sort_by_key(|(name, _)| place(name));
        Ok(Self(rows))
    }

    /// The names of the work.
    pub(crate) fn rows(&self) -> Vec<&str> {
        self.0.iter().map(|(name, _)| name.as_str()).chain(["map-cleared", "client-bare"]).collect()
    }

    /// What costs more than it may, in words.
    pub(crate) fn exceeded(&self, costs: &[Cost]) -> Vec<String> {
        let mut errors = Vec::new();
        for (name, budget) in &self.0 {
            if budget.shown().is_empty() {
                continue;
            }
            match ours(costs, name) {
                None => errors.push(format!("{name}: nothing was counted")),
                Some(ours) => errors.extend(
                    budget
                        .limits(ours)
                        .filter(|(_, most, is)| is > most)
                        .map(|(what, most, is)| format!("{name}: {is} {what}, at most {most} are allowed")),
                ),
            }
        }
        errors
    }

    /// The table of counts, in Markdown.
    pub(crate) fn table(&self, costs: &[Cost]) -> String {
        self.rows_of(costs, |budget| Some(budget.shown()), Budget::cost)
    }

    /// The table of times, in Markdown: the amounts are nanoseconds.
    pub(crate) fn table_of_times(&self, costs: &[Cost]) -> String {
        self.rows_of(costs, |_| None, |_, cost| format!("{:.0} ns", cost.amount))
    }

    fn rows_of(
        &self,
        costs: &[Cost],
        limit: impl Fn(&Budget) -> Option<String>,
        shown: impl Fn(&Budget, &Cost) -> String,
    ) -> String {
        let mut table = String::new();
        let mut row = |cells: [Option<&str>; 6]| {
            let _ = writeln!(table, "| {} |", cells.into_iter().flatten().collect::<Vec<_>>().join(" | "));
        };
        let has_limits = self.0.first().is_some_and(|(_, budget)| limit(budget).is_some());
        let head = has_limits.then_some("budget");
        row([Some("work"), Some("ours"), head, Some("best peer"), Some("ours ÷ best"), Some("others")]);
        row([Some("---"), Some("---"), head.map(|_| "---"), Some("---"), Some("---"), Some("---")]);
        for (name, budget) in &self.0 {
            let Some(ours) = ours(costs, name) else { continue };
            let mut peers: Vec<&Cost> = costs.iter().filter(|cost| cost.work == *name && cost.who != US).collect();
            // In brackets is who does less than the work, and so is not compared with.
            let less = |cost: &Cost| cost.who.starts_with('(');
            peers.sort_by(|a, b| less(a).cmp(&less(b)).then(a.amount.total_cmp(&b.amount)));
            let best = peers.first().copied().filter(|best| !less(best));
            let peer = |peer: &Cost| format!("{} {}", peer.who, shown(budget, peer));
            let others: Vec<_> = peers.iter().skip(usize::from(best.is_some())).map(|other| peer(other)).collect();
            row([
                Some(&budget.text),
                Some(&shown(budget, ours)),
                limit(budget).as_deref(),
                Some(&best.map(peer).unwrap_or_default()),
                Some(&best.map(|best| format!("{:.2}", ours.amount / best.amount)).unwrap_or_default()),
                Some(&others.join(" · ")),
            ]);
        }
        table
    }
}

fn ours<'a>(costs: &'a [Cost], work: &str) -> Option<&'a Cost> {
    costs.iter().find(|cost| cost.work == work && cost.who == US)
}

/// Instructions and allocations, as `1,234, 5`.
pub(crate) fn pair(instructions: f64, allocations: f64) -> String {
    format!("{}, {allocations:.0}", thousands(instructions))
}

pub(crate) fn thousands(number: f64) -> String {
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
