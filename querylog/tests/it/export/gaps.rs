//! What is missing from an export is shown with its job.

use serde_json::{Value, json};
use tagtrail_querylog::client::ExportOutcome;
use tagtrail_querylog::export::ExportFiles;
use tagtrail_querylog::store::Sqlite;
use tagtrail_querylog::{AuditLog, Timestamp};

use crate::support::export::{Server, numbers, record};
use crate::support::gaps::{ago, put_missing, text};

fn range(scope: &str, start: Timestamp, end: Timestamp) -> Value {
    json!({ "region_group": scope, "time_start": text(start), "time_end": text(end) })
}

#[tokio::test]
async fn job_has_what_was_missing_when_it_was_completed() {
    let folder = tempfile::tempdir().unwrap();
    let store = Sqlite::open(folder.path().join("audit.db")).unwrap();
    let files = ExportFiles::folder(folder.path().join("exports")).unwrap();
    let server = Server::of(folder, AuditLog::new(store.clone()), files, |builder| builder).await;
    server.log.put_requests(&[record(7, ago(3_590), "us-std/shop")]).await.unwrap();
    let (start, end) = (ago(7_200), ago(3_000));

    let whole = server.export("us", &range("us-std", start, end)).await;
    assert_eq!((&whole["gaps"], &whole["behind"]), (&json!([]), &json!([])));
    let missing = put_missing(&store).await;
    let gaps: Vec<_> =
        missing.gaps.iter().map(|gap| json!({"from": text(gap.from), "to": text(gap.to), "why": gap.why})).collect();
    let behind = json!([{"service": "shop", "written_through": text(missing.behind)}]);

    let export = server.export("us", &range("us-std", start, end)).await;
    assert_eq!((&export["gaps"], &export["behind"]), (&json!([gaps[0]]), &json!([])));
    assert_eq!(numbers(&server.lines(&export).await), [7], "the lines of the file are records");
    let pending = server.ask("us", &range("us-std", start, ago(0))).await.json;
    assert!(pending.get("gaps").is_none() && pending.get("behind").is_none(), "{pending}");
    // No traffic, or no news? That differs for a range without records, too.
    let none = server.export("eu", &range("eu-std", start, ago(5))).await;
    assert_eq!((&none["state"], &none["gaps"], &none["behind"]), (&json!("DoesNotExist"), &json!(gaps), &behind));
    for secret in ["count", "waiting", "host-a"] {
        assert!(!none.to_string().contains(secret), "{none}");
    }
    // As of then.
    let id = whole["request_id"].as_str().unwrap();
    assert_eq!(server.get("us", id).await.json["gaps"], json!([]));
    let listed = server.post("us", "/logs/_list?type=query", &json!({})).await.json;
    assert!(listed["results"].as_array().unwrap().iter().all(|export| export.get("gaps").is_none()), "{listed}");

    let client = server.client("us");
    let outcome = client.export("us-std".parse().unwrap(), start, end).wait().await.unwrap();
    let ExportOutcome::Complete(file) = outcome else { panic!("no file") };
    let coverage = file.export().coverage.clone().unwrap();
    assert_eq!(serde_json::to_value(coverage).unwrap(), json!({"gaps": [gaps[0]], "behind": []}));
}
