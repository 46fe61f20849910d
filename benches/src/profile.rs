//! Where instructions go: reads a file that callgrind wrote.

use std::collections::HashMap;

use tagtrail_benches::case::TIMES;

/// What each function, and each line, takes itself beyond what it takes in `base`, for the work done once.
///
/// `callgrind_annotate` does not add up what is counted within one function only.
pub(crate) fn profile(part: &str, base: &str) -> String {
    let (mut of_part, of_base) = (Costs::read(part), Costs::read(base));
    of_part.take_off(&of_base);
    let (functions, lines) = (largest(of_part.functions, 25), largest(of_part.lines, 20));
    format!("by function:\n{functions}\n\nby line, as inlined:\n{lines}\n")
}

/// Instructions by the names of functions, and by those of lines.
#[derive(Default)]
struct Costs {
    functions: HashMap<String, f64>,
    lines: HashMap<String, f64>,
}

impl Costs {
    fn take_off(&mut self, base: &Self) {
        for (costs, base) in [(&mut self.functions, &base.functions), (&mut self.lines, &base.lines)] {
            for (name, cost) in base {
                *costs.entry(name.clone()).or_default() -= cost;
            }
        }
    }

    /// Reads what callgrind wrote.
    fn read(part: &str) -> Self {
        let mut costs = Self::default();
        let mut names: HashMap<String, String> = HashMap::new();
        let (mut function, mut file) = (String::new(), String::new());
        let mut is_call = false;
        let mut line_number = 0_i64;
        for line in part.lines() {
            if let Some((kind @ ("fl" | "fi" | "fe" | "fn" | "cfn" | "cfi" | "cfl"), name)) = line.split_once('=') {
                // `(id) name` the first time, `(id)` then; files and functions count their ids apart.
                let (id, text) = name.split_once(' ').unwrap_or((name, ""));
                let key = format!("{}{id}", if kind.ends_with('n') { "function" } else { "file" });
                if !text.is_empty() {
                    names.insert(key.clone(), text.to_owned());
                }
                let name = names.get(&key).cloned().unwrap_or_default();
                match kind {
                    "fn" => function = name,
                    "fl" | "fi" | "fe" => file = name,
                    _ => {}
                }
            } else if line.starts_with("calls=") {
                is_call = true;
            } else if let Some((position, cost)) = line.split_once(' ') {
                // Positions are relative to the one before: `+3`, `-3`, `*`, or a number.
                line_number = match (position, position.parse::<i64>()) {
                    ("*", _) => line_number,
                    (_, Ok(offset)) if position.starts_with(['+', '-']) => line_number + offset,
                    (_, Ok(number)) => number,
                    (_, Err(_)) => continue,
                };
                let cost = cost.parse::<f64>().unwrap_or_default();
                // The line after `calls=` is what was called, which is counted where it stands.
                if !std::mem::take(&mut is_call) {
                    *costs.functions.entry(function.clone()).or_insert(0.0) += cost;
                    let short: Vec<&str> = file.rsplit('/').take(3).collect();
                    let place = short.into_iter().rev().collect::<Vec<_>>().join("/");
                    *costs.lines.entry(format!("{place}:{line_number} in {function}")).or_insert(0.0) += cost;
                }
            }
        }
        costs
    }
}

/// Returns the largest costs of an instruction or more, the largest first.
fn largest(costs: HashMap<String, f64>, most: usize) -> String {
    let mut costs: Vec<_> = costs.into_iter().map(|(name, cost)| (name, cost / f64::from(TIMES))).collect();
    costs.retain(|(_, cost)| cost.abs() >= 1.0);
    costs.sort_by(|a, b| b.1.total_cmp(&a.1));
    let lines: Vec<String> = costs.iter().take(most).map(|(name, cost)| format!("{cost:>8.0}  {name}")).collect();
    lines.join("\n")
}
