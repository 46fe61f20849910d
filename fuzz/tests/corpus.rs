//! Runs the targets on the rows in `seeds/`, and on the inputs that fuzzing found, in `corpus/`.

use std::fs;
use std::path::Path;

/// Runs a target on every file of its two folders, neither of which may be empty.
fn run(target: &str, body: fn(&[u8])) {
    for folder in ["seeds", "corpus"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(target);
        let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut count = 0;
        for file in files {
            let path = file.unwrap().path();
            println!("{}", path.display());
            body(&fs::read(path).unwrap());
            count += 1;
        }
        assert!(count > 0, "{} is empty", folder.display());
    }
}

#[test]
fn traceparent_holds_for_seeds_and_corpus() {
    run("traceparent", tagtrail_fuzz::traceparent);
}

#[test]
fn tracestate_holds_for_seeds_and_corpus() {
    run("tracestate", tagtrail_fuzz::tracestate);
}

#[test]
fn tags_holds_for_seeds_and_corpus() {
    run("tags", tagtrail_fuzz::tags);
}

#[test]
fn inbound_holds_for_seeds_and_corpus() {
    run("inbound", tagtrail_fuzz::inbound);
}

#[test]
fn outbound_holds_for_seeds_and_corpus() {
    run("outbound", tagtrail_fuzz::outbound);
}
