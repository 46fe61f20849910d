//! Does the crate's cases under callgrind.

use tagtrail_benches::case::count_instructions;
use tagtrail_benches::ours::cases;

fn main() {
    let works: Vec<String> = std::env::args().skip(1).collect();
    count_instructions(cases(), &works);
}
