//! Does the cases of a group of peers under an allocator that counts: the group first, the work then.
//! Without arguments it prints the groups.

use peers::{GROUPS, cases};
use tagtrail_benches::case::count_allocations;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let Some(group) = arguments.next() else { return println!("{}", GROUPS.join("\n")) };
    let works: Vec<String> = arguments.collect();
    count_allocations(cases(&group), &works, |work| allocation_counter::measure(work).count_total);
}
