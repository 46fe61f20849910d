//! `tagtrail-log` with PostgreSQL, on the server in `TAGTRAIL_TEST_POSTGRES`.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::support::audit;
use tagtrail_querylog::audit::{AuditRecord, Questions, RecordQuery, Scan};
use tagtrail_querylog::store::Partition;
use tagtrail_querylog::{AuditLog, Timestamp, Window};
use uuid::Uuid;

#[tokio::test]
#[ignore = "needs PostgreSQL: run .ci/with-postgres cargo test -- --include-ignored"]
async fn prune_drops_old_partitions() {
    let (settings, url) = audit::postgres_builder().await.expect("TAGTRAIL_TEST_POSTGRES has no URL of a server");
    let store = settings.partition_by(Partition::Month).connect().await.unwrap();
    let audit = AuditLog::new(store);
    for time in ["2025-01-31", "2025-02-01", "2025-03-10", "2025-04-01", "1000-01-01", "9000-01-01"] {
        let mut record = AuditRecord::new(Uuid::now_v7(), time.parse::<Timestamp>().unwrap());
        record.exec_env_id = Some("env1".into());
        audit.put(vec![record]).await.unwrap();
    }
    let prune = |store: &str, before: &str| {
        let program = Command::new(env!("CARGO_BIN_EXE_tagtrail-log"))
            .args(["prune", "--store", store, "--before", before])
            .output()
            .unwrap();
        (program.status.success(), String::from_utf8(program.stderr).unwrap())
    };
    let (pruned, said) = prune(&url, "2025-03-31T23:59");
    assert!(pruned && said.contains("dropped 2 partitions"), "{said}");
    let (log, scan) = (audit.scoped("env1"), Scan::new(RecordQuery::Environment, Window::ALL));
    let left = log.records(&scan, 10).await.unwrap().items;
    let left: Vec<_> = left.iter().map(|record| record.timestamp.to_string()[..7].to_owned()).collect();
    assert_eq!(left, ["2025-03", "2025-04", "9000-01"]);
    for (store, before, why) in [
        ("sqlite:none.db", "2025-01-01", "only PostgreSQL has partitions"),
        (&*url, "last year", "expected a date or time"),
        (&*url, "8999-01-01", "--before must be in the past"),
    ] {
        let (pruned, said) = prune(store, before);
        assert!(!pruned && said.contains(why), "{said}");
    }
    let left = log.records(&scan, 10).await.unwrap().items;
    assert_eq!(left.len(), 3, "a mistyped time drops nothing");
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run .ci/with-postgres cargo test -- --include-ignored"]
async fn errors_do_not_show_the_password_of_the_store() {
    let (settings, url) = audit::postgres_builder().await.expect("TAGTRAIL_TEST_POSTGRES has no URL of a server");
    settings.connect().await.unwrap();
    let program = Command::new(env!("CARGO_BIN_EXE_tagtrail-log"))
        .args(["prune", "--store", &url, "--before", "365d"])
        .output()
        .unwrap();
    let said = String::from_utf8(program.stderr).unwrap();
    assert!(said.contains("--store postgres://...: the tables are not partitioned"), "{said}");
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run .ci/with-postgres cargo test -- --include-ignored"]
async fn queries_create_no_tables() {
    let (settings, url) = audit::postgres_builder().await.expect("TAGTRAIL_TEST_POSTGRES has no URL of a server");
    let trace = "3ec5539163441bd4957502a294a01b55";
    for question in [&["query", "--exec-env"][..], &["requests"], &["trace", trace], &["prune", "--before", "365d"]] {
        let of = if question[0] == "prune" { &[][..] } else { &["--exec-env-id", "env1"] };
        let program = Command::new(env!("CARGO_BIN_EXE_tagtrail-log"))
            .args(question)
            .args(["--store", &url])
            .args(of)
            .output()
            .unwrap();
        let said = String::from_utf8(program.stderr).unwrap();
        assert_eq!(program.status.code(), Some(1), "{said}");
        assert!(said.contains("--store postgres://...: there is no audit log in this database yet"), "{said}");
    }
    settings.partition_by(Partition::Month).connect().await.unwrap();
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run .ci/with-postgres cargo test -- --include-ignored"]
async fn serve_reports_if_it_has_no_exports() {
    let (_, url) = audit::postgres_builder().await.expect("TAGTRAIL_TEST_POSTGRES has no URL of a server");
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens.json");
    std::fs::write(&tokens, audit::TOKENS).unwrap();
    let mut server = Command::new(env!("CARGO_BIN_EXE_tagtrail-log"))
        .args(["serve", "--listen", "127.0.0.1:0", "--store", &url, "--tokens"])
        .arg(&tokens)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Its messages come before the line on standard output.
    let mut listening = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut listening).unwrap();
    server.kill().unwrap();
    let said = String::from_utf8(server.wait_with_output().unwrap().stderr).unwrap();
    assert!(listening.starts_with("listening on") && said.contains("serving no exports: set --exports"), "{said}");
}
