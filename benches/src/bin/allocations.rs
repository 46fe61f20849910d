//! Does the crate's cases under an allocator that counts.

fn main() {
    tagtrail_benches::case::count_allocations(tagtrail_benches::ours::cases(), |work| {
        allocation_counter::measure(work).count_total
    });
}
