//! What writers report to a store, and the gaps that follow from it, on every store.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tagtrail_querylog::audit::AuditRecord;
use tagtrail_querylog::store::{Row, Sqlite, Store, StoreError, WriterReport, WriterState, WriterStatus};
use tagtrail_querylog::{Gap, Timestamp, Window};
use uuid::Uuid;

use crate::support::audit;

const MINUTE: i64 = 60_000_000;
const DAY: i64 = 24 * 60 * MINUTE;
const DAY_LONG: Duration = Duration::from_secs(86_400);
const WHY: [&str; 2] = [
    "unclean stop: the process ended without closing the log",
    "no more reports: the process was killed, or cannot reach the store",
];

struct Opened {
    store: Arc<dyn Store>,
    admin: Admin,
}

enum Admin {
    Sqlite(PathBuf),
    Postgres(tokio_postgres::Client),
}

impl Opened {
    async fn execute(&self, text: &str) {
        match &self.admin {
            Admin::Sqlite(path) => rusqlite::Connection::open(path).unwrap().execute_batch(text).unwrap(),
            Admin::Postgres(client) => client.batch_execute(text).await.unwrap(),
        }
    }

    /// Moves everything that writers have reported into the past.
    async fn age(&self, micros: i64) {
        self.execute(&format!("UPDATE writer SET seen = seen - {micros}")).await;
    }

    async fn gaps(&self) -> Vec<Gap> {
        let gaps = self.store.gaps(Window::ALL, usize::MAX).await.unwrap();
        assert!(gaps.iter().all(|gap| gap.count.is_none() && WHY.contains(&&*gap.why)), "{gaps:?}");
        gaps
    }

    async fn writer(&self, id: Uuid) -> WriterStatus {
        let mut writers = self.store.writers().await.unwrap();
        writers.retain(|writer| writer.id == id);
        writers.pop().expect("expected a status")
    }

    async fn state(&self, id: Uuid) -> WriterState {
        self.writer(id).await.state
    }

    async fn report(&self, report: &WriterReport) {
        self.store.report(report).await.unwrap();
    }
}

/// Opens a new store of each kind: in SQLite, and in PostgreSQL if there is a server.
async fn stores(folder: &tempfile::TempDir) -> Vec<Opened> {
    let path = folder.path().join("audit.db");
    let mut stores = vec![Opened { store: Arc::new(Sqlite::open(&path).unwrap()), admin: Admin::Sqlite(path.clone()) }];
    if let Some((settings, url)) = audit::postgres_builder().await {
        let store = Arc::new(settings.connect().await.unwrap());
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        stores.push(Opened { store, admin: Admin::Postgres(client) });
    }
    stores
}

fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

fn report(id: Uuid, started: i64) -> WriterReport {
    WriterReport::new(id, at(started))
}

fn row() -> Arc<[Row]> {
    [Row::of(AuditRecord::new(Uuid::now_v7(), at(1)), true)].into()
}

#[tokio::test]
async fn report_is_stored_and_updated_by_later_ones() {
    let folder = tempfile::tempdir().unwrap();
    for opened in stores(&folder).await {
        let before = Timestamp::now();
        let id = Uuid::now_v7();
        let mut report = report(id, 100);
        (report.service, report.instance, report.waiting) = (Some("shop".into()), Some("host-a:7".into()), 3);
        for written_through in [100, 200] {
            report.written_through = at(written_through);
            opened.report(&report).await;
            let status = opened.writer(id).await;
            assert!(status.seen >= at(before.as_micros() - MINUTE), "{status:?}");
            assert_eq!(status, WriterStatus::new(&report, status.seen));
            assert_eq!((status.state, status.waiting), (WriterState::Live, 3));
        }
        report.closed = true;
        opened.report(&report).await;
        assert_eq!(opened.state(id).await, WriterState::Closed);
        assert_eq!(opened.gaps().await, []);
        assert_eq!(opened.store.writers().await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn put_updates_the_status_of_its_run_alone() {
    let folder = tempfile::tempdir().unwrap();
    for opened in stores(&folder).await {
        let (id, other) = (Uuid::now_v7(), Uuid::now_v7());
        let mut report = report(id, 100);
        opened.store.put(row(), Some(&report)).await.unwrap();
        assert_eq!(opened.store.writers().await.unwrap(), [], "it has not reported yet");
        opened.report(&report).await;
        opened.report(&WriterReport::new(other, at(100))).await;
        opened.age(10_000_000).await;
        (report.written_through, report.waiting) = (at(300), 9);
        let seen = opened.writer(id).await.seen;
        opened.store.put(row(), Some(&report)).await.unwrap();
        let status = opened.writer(id).await;
        assert_eq!((status.written_through, status.waiting), (at(300), 9));
        assert!(status.seen > seen);
        assert_eq!(opened.writer(other).await.written_through, at(100));
        // A run that has not reported must not hide that the earlier one was not closed.
        opened.store.put(row(), Some(&WriterReport::new(id, at(400)))).await.unwrap();
        assert_eq!(opened.writer(id).await.started, at(100));
        opened.store.put(row(), None).await.unwrap();

        let runtime = tokio::runtime::Handle::current();
        (report.written_through, report.closed) = (at(500), true);
        let store = Arc::clone(&opened.store);
        tokio::task::spawn_blocking(move || store.put_blocking(&row(), Some(&report), &runtime))
            .await
            .unwrap()
            .unwrap();
        let status = opened.writer(id).await;
        assert_eq!((status.written_through, status.state), (at(500), WriterState::Closed));
    }
}

#[tokio::test]
async fn run_that_was_not_closed_leaves_a_gap_until_the_next_run() {
    let folder = tempfile::tempdir().unwrap();
    for opened in stores(&folder).await {
        // What the earlier run had written, and what its spool had kept, and the start of the gap.
        for (written_through, kept_through, from) in [(300, 200, 300), (200, 300, 300), (9_000, 0, 1_000)] {
            let id = Uuid::now_v7();
            let mut first = report(id, 100);
            first.written_through = at(written_through);
            opened.report(&first).await;
            let mut second = report(id, 1_000);
            second.kept_through = at(kept_through);
            // A report whose response was lost is sent again.
            opened.report(&second).await;
            opened.report(&second).await;
            let gaps = opened.gaps().await;
            let [gap] = &*gaps else { panic!("expected one gap: {gaps:?}") };
            assert_eq!((gap.from, gap.to), (at(from), at(1_000)));
            second.closed = true;
            opened.report(&second).await;
            opened.report(&report(id, 2_000)).await;
            assert_eq!(opened.gaps().await.len(), 1, "the second run was closed");
            assert_eq!(opened.state(id).await, WriterState::Live);
            opened.execute("DELETE FROM gap; DELETE FROM writer").await;
        }
    }
}

#[tokio::test]
async fn writer_is_lost_with_a_gap_while_it_is_silent() {
    let folder = tempfile::tempdir().unwrap();
    for opened in stores(&folder).await {
        let [silent, closed, live] = [(); 3].map(|()| Uuid::now_v7());
        let mut of_silent = report(silent, 100);
        of_silent.written_through = at(700);
        let mut of_closed = report(closed, 100);
        of_closed.closed = true;
        let of_live = report(live, 100);
        for report in [&of_silent, &of_closed, &of_live] {
            opened.report(report).await;
        }
        opened.age(MINUTE).await;
        assert_eq!(opened.state(silent).await, WriterState::Lost, "even if no other writer has reported since");
        let mut starts: Vec<_> = opened.gaps().await.iter().map(|gap| gap.from).collect();
        starts.sort_unstable();
        assert_eq!(starts, [at(100), at(700)], "of both that are silent");
        for (window, limit, expected) in [
            (Window::from(..at(700)), 9, 1),
            (Window::from(Timestamp::now().saturating_add(DAY_LONG)..), 9, 0),
            (Window::ALL, 1, 1),
        ] {
            assert_eq!(opened.store.gaps(window, limit).await.unwrap().len(), expected, "{window:?}");
        }
        for _ in 0..2 {
            opened.report(&of_live).await;
            let gaps = opened.gaps().await;
            let [gap] = &*gaps else { panic!("expected one gap: {gaps:?}") };
            assert_eq!(gap.from, at(700));
            assert!(gap.to > of_live.started);
        }
        let states = [silent, closed, live].map(|id| opened.state(id));
        let states = futures_util::future::join_all(states).await;
        assert_eq!(states, [WriterState::Lost, WriterState::Closed, WriterState::Live]);

        // It was silent, but lives.
        opened.store.put(row(), Some(&of_silent)).await.unwrap();
        opened.report(&of_silent).await;
        assert_eq!((opened.state(silent).await, opened.gaps().await), (WriterState::Live, vec![]));

        // It is lost again, and its next run replaces the gap.
        opened.age(MINUTE).await;
        opened.report(&of_live).await;
        assert_eq!(opened.gaps().await.len(), 1);
        let mut next = report(silent, 5_000);
        next.kept_through = at(2_000);
        opened.report(&next).await;
        let gaps = opened.gaps().await;
        assert_eq!(gaps.iter().map(|gap| (gap.from, gap.to)).collect::<Vec<_>>(), [(at(2_000), at(5_000))]);
        // That run may be lost, too.
        opened.age(MINUTE).await;
        opened.report(&of_live).await;
        assert_eq!(opened.gaps().await.len(), 2);
    }
}

#[tokio::test]
async fn writer_is_forgotten_30_days_after_its_end_and_its_gap_is_not() {
    let folder = tempfile::tempdir().unwrap();
    for opened in stores(&folder).await {
        let [lost, closed, live] = [(); 3].map(|()| Uuid::now_v7());
        let of_live = report(live, 100);
        opened.report(&report(lost, 100)).await;
        let mut of_closed = report(closed, 100);
        of_closed.closed = true;
        opened.report(&of_closed).await;
        opened.age(MINUTE).await;
        opened.report(&of_live).await;
        opened.age(29 * DAY).await;
        opened.report(&of_live).await;
        assert_eq!(opened.store.writers().await.unwrap().len(), 3);
        opened.age(DAY).await;
        opened.report(&of_live).await;
        let writers = opened.store.writers().await.unwrap();
        assert_eq!(writers.iter().map(|writer| writer.id).collect::<Vec<_>>(), [live]);
        // One that comes back has a new gap, if it is lost again.
        assert_eq!(opened.gaps().await.len(), 1);
        opened.report(&report(lost, 100)).await;
        opened.age(MINUTE).await;
        opened.report(&of_live).await;
        assert_eq!(opened.gaps().await.len(), 2);
        opened.report(&report(lost, 100)).await;
        assert_eq!(opened.gaps().await.len(), 1);
    }
}

#[tokio::test]
async fn gap_that_is_put_twice_under_an_id_is_stored_once() {
    let folder = tempfile::tempdir().unwrap();
    for opened in stores(&folder).await {
        opened.report(&report(Uuid::now_v7(), 100)).await;
        opened.age(MINUTE).await;
        opened.report(&report(Uuid::now_v7(), 100)).await;
        let gap = opened.gaps().await.pop().unwrap();
        for (id, expected) in [(Uuid::from_u128(1), 2), (Uuid::from_u128(1), 2), (Uuid::from_u128(2), 3)] {
            opened.store.put_gap(id, &gap).await.unwrap();
            assert_eq!(opened.gaps().await.len(), expected);
        }
    }
}

#[tokio::test]
async fn report_fails_for_good_if_the_tables_are_of_a_later_version() {
    let folder = tempfile::tempdir().unwrap();
    for opened in stores(&folder).await {
        opened
            .execute(match opened.admin {
                Admin::Sqlite(_) => "PRAGMA user_version = 1000",
                Admin::Postgres(_) => "UPDATE about SET version = 1000",
            })
            .await;
        let of_new = report(Uuid::now_v7(), 100);
        for result in [opened.store.report(&of_new).await, opened.store.put(row(), Some(&of_new)).await] {
            assert!(matches!(result, Err(StoreError::Unusable(_))), "{result:?}");
        }
        assert_eq!(opened.store.writers().await.unwrap(), []);
    }
}
