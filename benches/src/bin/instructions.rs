//! Does the crate's cases under callgrind.

fn main() {
    tagtrail_benches::case::count_instructions(tagtrail_benches::ours::cases());
}
