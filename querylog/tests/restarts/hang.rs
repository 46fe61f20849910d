//! PostgreSQL is stopped by a signal, and continued: until then, it accepts connections and never responds.

use std::fs;
use std::time::Duration;

use tagtrail_querylog::audit::{AuditRecord, Questions, RecordQuery, Scan};
use tagtrail_querylog::store::StoreError;
use tagtrail_querylog::{AuditLog, Timestamp, Window};
use uuid::Uuid;

use crate::support::audit;

/// A server, all processes of which can be stopped.
struct Stopped {
    pids: Vec<i32>,
}

impl Stopped {
    async fn now(admin: &tokio_postgres::Client) -> Self {
        let row = admin.query_one("SELECT split_part(pg_read_file('postmaster.pid'), chr(10), 1)::INT", &[]).await;
        let postmaster: i32 = row.unwrap().get(0);
        signal("STOP", &[postmaster]).await;
        // It starts no others now.
        let mut pids = vec![postmaster];
        for process in fs::read_dir("/proc").unwrap() {
            let process = process.unwrap();
            let Ok(pid) = process.file_name().to_string_lossy().parse() else { continue };
            let Ok(stat) = fs::read_to_string(process.path().join("stat")) else { continue };
            let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split(' ').nth(2)?.parse::<i32>().ok());
            if parent == Some(postmaster) {
                pids.push(pid);
            }
        }
        signal("STOP", &pids).await;
        Self { pids }
    }

    async fn go_on(self) {
        signal("CONT", &self.pids).await;
    }
}

async fn signal(name: &str, pids: &[i32]) {
    let pids: Vec<_> = pids.iter().map(ToString::to_string).collect();
    crate::shell(format!("kill -{name} {}", pids.join(" "))).await;
}

fn record() -> AuditRecord {
    let mut record = AuditRecord::new(Uuid::now_v7(), Timestamp::now());
    record.exec_env_id = Some("env1".into());
    record
}

async fn all(log: &AuditLog) -> Result<Vec<AuditRecord>, StoreError> {
    let scan = Scan::new(RecordQuery::Environment, Window::ALL);
    let page = log.scoped("env1").records(&scan, 1_000).await;
    page.map(|page| page.items).map_err(StoreError::failed)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: run .ci/with-postgres cargo test -- --include-ignored"]
async fn call_fails_within_its_limit_while_the_server_hangs() {
    let (settings, url) = audit::postgres_builder().await.expect("TAGTRAIL_TEST_POSTGRES has no URL of a server");
    let _server = crate::SERVER.lock().await;
    let limit = Duration::from_millis(500);
    let settings = settings.connect_timeout(limit).acquire_timeout(limit).query_timeout(limit).write_timeout(limit);
    let log = AuditLog::new(settings.connections(3).connect().await.unwrap());
    let (admin, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let mut put: Vec<_> = (0..10).map(|_| record()).collect();
    for one in &put {
        log.put(vec![one.clone()]).await.unwrap();
    }
    let stopped = Stopped::now(&admin).await;
    // More than there are connections, so that new ones are opened meanwhile. Each call ends, or this test does not.
    for _ in 0..4 {
        let one = record();
        let failed = log.put(vec![one.clone()]).await;
        assert!(matches!(failed, Err(StoreError::Overloaded | StoreError::Failed(_))), "{failed:?}");
        put.push(one);
        assert!(all(&log).await.is_err());
    }
    let many = (0..20).map(|_| all(&log));
    assert!(futures_util::future::join_all(many).await.iter().all(Result::is_err));
    stopped.go_on().await;
    // A put that failed may have been done, or not. Putting it again is harmless.
    for one in &put {
        while let Err(error) = log.put(vec![one.clone()]).await {
            assert!(matches!(error, StoreError::Overloaded | StoreError::Failed(_)), "{error}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    let mut expected: Vec<_> = put.iter().map(|record| record.id.as_str().to_owned()).collect();
    let found = loop {
        match all(&log).await {
            Ok(found) => break found,
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    };
    let mut found: Vec<_> = found.iter().map(|record| record.id.as_str().to_owned()).collect();
    expected.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, expected, "each record once");
}
