//! The version, and tables with wide characters.

use std::process::Command;

use tagtrail_querylog::Timestamp;
use tagtrail_querylog::audit::AuditRecord;
use unicode_width::UnicodeWidthStr;
use uuid::Uuid;

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_tagtrail-log"))
}

#[test]
fn version_names_the_program() {
    let output = program().arg("--version").output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "tagtrail-log 0.1.0\n");
}

#[test]
fn columns_are_aligned_if_texts_have_wide_characters() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["rollup", "日次集計", "보고서/漢字", "naïve"];
    let lines: String = names
        .iter()
        .map(|name| {
            let mut record = AuditRecord::new(Uuid::now_v7(), "2026-11-22".parse::<Timestamp>().unwrap());
            record.exec_env_id = Some("env1".into());
            record.user_email = Some(format!("{name}@example.com"));
            record.udf_name = Some((*name).to_owned());
            record.stderr = Some("failed".into());
            serde_json::to_string(&record).unwrap() + "\n"
        })
        .collect();
    std::fs::write(folder.path().join("records.jsonl"), lines).unwrap();
    let run = |arguments: &[&str]| {
        let output = program().args(arguments).args(["--store", "sqlite:audit.db"]).current_dir(&folder).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    run(&["import", "records.jsonl"]);
    let table = run(&["query", "--exec-env-id", "env1", "--exec-env", "--format", "table"]);
    let columns: Vec<_> = table.lines().map(|line| line.split_once("failed").unwrap().0.width()).collect();
    assert_eq!(columns.len(), names.len());
    assert!(columns.iter().all(|column| *column == columns[0]), "{table}");
}
