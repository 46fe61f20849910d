//! What a service does when its log is full.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tagtrail::Sample;
use tokio::sync::Semaphore;
use tower::{Layer, ServiceExt, service_fn};

use crate::files::LineFormat;
use crate::files::memory::{Memory, SOON, log, nothing_found, open, record, settings, wait_for};
use crate::layer::open::RecordHandle;
use crate::layer::query_log_layer::QueryLogLayer;
use crate::queue::ack::AppendError;
use crate::queue::log::QueryLog;
use crate::queue::overload::Overload;

/// The statuses of requests that come one after the other while the disk is slow, and of one when it is not any more.
async fn statuses(overload: Overload) -> (Vec<u16>, u16, QueryLog, Memory) {
    let disk = Memory::default();
    let log = open(&disk, settings().overload(overload));
    let handler = service_fn(|_| async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())) });
    let service = QueryLogLayer::new(log.clone()).standalone().layer(handler);
    let send = || async {
        let request = Request::new(Full::<Bytes>::default());
        service.clone().oneshot(request).await.unwrap().status().as_u16()
    };
    disk.fail(|failures| failures.slow = true);
    let mut statuses = Vec::new();
    for _ in 0..200 {
        statuses.push(send().await);
    }
    disk.fail(|failures| failures.slow = false);
    wait_for("room", || log.overload().is_none());
    (statuses, send().await, log, disk)
}

#[tokio::test]
async fn shedding_service_responds_to_all_and_the_log_reports_what_is_missing() {
    let start = Instant::now();
    let (statuses, after, log, disk) = statuses(Overload::Shed { wait: Duration::from_millis(2) }).await;
    assert!(statuses.iter().all(|status| *status == 200) && after == 200);
    assert!(start.elapsed() >= Duration::from_millis(100), "some have waited");
    log.close_blocking(SOON).unwrap();
    let (records, gaps) = disk.lines();
    let missing: u64 = gaps.iter().map(|gap| gap.count.unwrap()).sum();
    assert!(missing > 0);
    assert_eq!(records.len() as u64 + missing, 201);
    assert_eq!(log.stats().shed, missing);
}

#[tokio::test]
async fn failing_service_responds_503_and_loses_no_record() {
    let (statuses, after, log, disk) = statuses(Overload::Fail { wait: Duration::from_millis(1) }).await;
    assert_eq!(after, 200);
    let handled = statuses.iter().filter(|status| **status == 200).count();
    assert!(statuses[..handled].iter().all(|status| *status == 200));
    assert!(statuses[handled..].iter().all(|status| *status == 503) && handled < 200);
    log.close_blocking(SOON).unwrap();
    let (records, gaps) = disk.lines();
    assert_eq!(records.len(), handled + 1);
    let rejected: u64 = gaps.iter().map(|gap| gap.count.unwrap()).sum();
    assert_eq!(rejected, 200 - handled as u64);
    assert!(gaps.iter().all(|gap| gap.why == "overload: rejected with 503"));
    let stats = log.stats();
    assert_eq!((stats.shed, stats.rejected), (0, rejected));
}

/// 50 requests at a time run until the last of them has started, and then end at once, with more output than there is room.
#[tokio::test]
async fn handled_requests_have_their_records_though_they_end_at_once() {
    let disk = Memory::default();
    let log = open(&disk, settings().format(LineFormat::WithOutput).overload(Overload::Fail { wait: Duration::ZERO }));
    let (gate, entered) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let handler = service_fn({
        let (gate, entered) = (Arc::clone(&gate), Arc::clone(&entered));
        move |request: Request<_>| {
            let (gate, entered) = (Arc::clone(&gate), Arc::clone(&entered));
            async move {
                entered.fetch_add(1, Relaxed);
                drop(gate.acquire().await.unwrap());
                let record = request.extensions().get::<RecordHandle>().unwrap();
                record.update(|notes| notes.stdout = Some("x".repeat(20_000))).unwrap();
                Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
            }
        }
    });
    let service = QueryLogLayer::new(log.clone()).standalone().layer(handler);
    disk.fail(|failures| failures.slow = true);
    let mut done = 0;
    for round in 0..5 {
        let send = || tokio::spawn(service.clone().oneshot(Request::new(Full::<Bytes>::default())));
        let requests: Vec<_> = (0..50).map(|_| send()).collect();
        let ended = || requests.iter().filter(|request| request.is_finished()).count();
        while entered.load(Relaxed) - done + ended() < 50 {
            tokio::task::yield_now().await;
        }
        gate.add_permits(1);
        let before = done;
        for request in requests {
            let status = request.await.unwrap().unwrap().status().as_u16();
            assert!(status == 200 || status == 503, "{status}");
            done += usize::from(status == 200);
        }
        gate.forget_permits(1);
        assert_eq!(entered.load(Relaxed), done, "no handler of a rejected request ran");
        assert!(round > 0 || (before + 1..50).contains(&done), "{done}");
    }
    assert_eq!((log.stats().shed, log.stats().rejected), (0, 250 - done as u64));
    disk.fail(|failures| failures.slow = false);
    log.close_blocking(SOON).unwrap();
    let (records, _) = disk.lines();
    assert_eq!(records.len(), done);
    assert!(records.iter().all(|record| record.cut == ["stdout"] || record.notes.stdout.is_some()));
}

#[tokio::test]
async fn waiting_request_continues_as_soon_as_there_is_room() {
    let disk = Memory::default();
    let log = open(&disk, settings().overload(Overload::Fail { wait: SOON }));
    let handler = service_fn(|_| async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())) });
    let service = QueryLogLayer::new(log.clone()).standalone().layer(handler);
    disk.fail(|failures| failures.slow = true);
    while log.overload().is_none() {
        drop(log.append(&record()));
    }
    let waiting: Vec<_> =
        (0..10).map(|_| tokio::spawn(service.clone().oneshot(Request::new(Full::<Bytes>::default())))).collect();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(waiting.iter().all(|task| !task.is_finished()));
    disk.fail(|failures| failures.slow = false);
    let freed = Instant::now();
    for task in waiting {
        assert_eq!(task.await.unwrap().unwrap().status(), 200);
    }
    assert!(freed.elapsed() < SOON, "not only at the end of the wait");
}

#[tokio::test]
async fn strictest_policy_of_the_full_destinations_decides() {
    let [shed, fail] = [Overload::Shed { wait: Duration::ZERO }, Overload::Fail { wait: Duration::ZERO }];
    let handler = service_fn(|_| async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())) });
    // Which of the two is full, and the status then.
    for (is_full, status) in [([true, false], 200), ([false, true], 503), ([true, true], 503), ([false, false], 200)] {
        let disks = [Memory::default(), Memory::default()];
        let log = QueryLog::start([shed, fail].into_iter().zip(&disks).map(|(overload, disk)| {
            settings().overload(overload).start_on(Box::new(disk.clone()), nothing_found()).unwrap()
        }));
        for (disk, slow) in disks.iter().zip(is_full) {
            disk.fail(|failures| failures.slow = slow);
        }
        (0..500).for_each(|_| drop(log.append(&record())));
        let verdict = is_full.iter().any(|full| *full).then_some(if is_full[1] { fail } else { shed });
        wait_for("one disk is not slow", || log.overload() == verdict);
        let service = QueryLogLayer::new(log.clone()).standalone().layer(handler);
        let response = service.oneshot(Request::new(Full::<Bytes>::default())).await.unwrap();
        assert_eq!(response.status(), status, "{is_full:?}");
        let rejected: Vec<_> = log.stats_by_destination().iter().map(|stats| stats.rejected > 0).collect();
        assert_eq!(rejected, is_full.map(|full| full && status == 503), "{is_full:?}");
        for disk in disks {
            disk.fail(|failures| failures.slow = false);
        }
    }
}

#[tokio::test]
async fn start_of_a_record_has_one_result_for_all_who_wait() {
    let disk = Memory::default();
    let log = log(&disk);
    for (sample, expected) in [(Sample::Always, Ok(())), (Sample::Never, Err(AppendError::NotSampled))] {
        let handler = service_fn(move |request: Request<_>| async move {
            let record = request.extensions().get::<RecordHandle>().unwrap().clone();
            for record in [record.clone(), record] {
                assert_eq!(record.started().await, expected);
                assert_eq!(record.started().await, expected);
            }
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        });
        let service = QueryLogLayer::new(log.clone()).standalone().sample(sample).layer(handler);
        service.oneshot(Request::new(Full::<Bytes>::default())).await.unwrap();
    }
}

/// 60 MB of headers, with a queue of 4 MiB.
#[tokio::test]
async fn caller_with_long_headers_takes_no_room_from_others() {
    let disk = Memory::default();
    let log = open(&disk, settings().queue_bytes(4 << 20).overload(Overload::Shed { wait: Duration::ZERO }));
    let handler = service_fn(|_| async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())) });
    let service = QueryLogLayer::new(log.clone()).standalone().layer(handler);
    disk.fail(|failures| failures.slow = true);
    let browser = "x".repeat(300_000);
    for user_agent in (0..200).flat_map(|_| ["short", &browser]) {
        let request = Request::builder().header("user-agent", user_agent).body(Full::<Bytes>::default()).unwrap();
        service.clone().oneshot(request).await.unwrap();
    }
    disk.fail(|failures| failures.slow = false);
    log.close_blocking(SOON).unwrap();
    assert_eq!(log.stats().shed, 0);
    let (records, gaps) = disk.lines();
    assert_eq!((records.len(), gaps.len()), (400, 0));
    assert_eq!(records.iter().filter(|record| record.cut == ["headers.user-agent"]).count(), 200);
}

/// The record ends, and nothing stays reserved, also if the handler panics too.
#[tokio::test]
async fn request_is_recorded_if_the_closure_that_decides_panics() {
    let disk = Memory::default();
    let log = open(&disk, settings().overload(Overload::Fail { wait: Duration::ZERO }));
    let handler = service_fn(|request: Request<_>| async move {
        assert!(request.uri().path() != "/panics", "on purpose");
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    });
    let layer = QueryLogLayer::new(log.clone()).standalone().sample(Sample::Never);
    let service = layer.or_if(|_| panic!("on purpose, too")).layer(handler);
    for path in ["/", "/panics"] {
        let request = Request::get(path).body(Full::<Bytes>::default()).unwrap();
        let response = tokio::spawn(service.clone().oneshot(request)).await;
        assert_eq!(response.is_ok(), path == "/");
    }
    assert_eq!(log.stats().open, 0);
    log.close_blocking(SOON).unwrap();
    let (records, gaps) = disk.lines();
    assert_eq!((records.len(), gaps), (2, vec![]));
}
