//! Does the cases of a group of peers under callgrind: the group first, the work then.

use peers::cases;
use tagtrail_benches::case::count_instructions;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let group = arguments.next().unwrap_or_default();
    let works: Vec<String> = arguments.collect();
    count_instructions(cases(&group), &works);
}
