//! Does the crate's cases under an allocator that counts.

use tagtrail_benches::case::count_allocations;
use tagtrail_benches::ours::cases;

fn main() {
    let works: Vec<String> = std::env::args().skip(1).collect();
    count_allocations(cases(), &works, |work| allocation_counter::measure(work).count_total);
}
