//! Where instructions go: reads a file that callgrind wrote.

use std::collections::HashMap;

use tagtrail_benches::case::TIMES;

/// What each function, and each line, takes itself, for the work done once.
///
/// `callgrind_annotate` does not add up what is counted within one function only.
pub(crate) fn profile(part: &str) -> String {
    let mut names: HashMap<String, String> = HashMap::new();
    let (mut function, mut file) = (String::new(), String::new());
    let (mut functions, mut lines) = (HashMap::new(), HashMap::new());
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
                *functions.entry(function.clone()).or_insert(0.0) += cost;
                let short: Vec<&str> = file.rsplit('/').take(3).collect();
                let place = short.into_iter().rev().collect::<Vec<_>>().join("/");
                *lines.entry(format!("{place}:{line_number} in {function}")).or_insert(0.0) += cost;
            }
        }
    }
    format!("by function:\n{}\n\nby line, as inlined:\n{}\n", largest(functions, 25), largest(lines, 20))
}

/// The costs over one instruction, the largest first, and at most so many.
fn largest(costs: HashMap<String, f64>, most: usize) -> String {
    let mut costs: Vec<_> = costs.into_iter().map(|(name, cost)| (name, cost / f64::from(TIMES))).collect();
    costs.retain(|(_, cost)| *cost >= 1.0);
    costs.sort_by(|a, b| b.1.total_cmp(&a.1));
    let lines: Vec<String> = costs.iter().take(most).map(|(name, cost)| format!("{cost:>8.0}  {name}")).collect();
    lines.join("\n")
}
