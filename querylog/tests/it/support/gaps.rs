//! A store that misses records.

use std::time::Duration;

use tagtrail_querylog::store::{Store, WriterReport};
use tagtrail_querylog::{Gap, Timestamp, Window};
use uuid::Uuid;

pub fn ago(seconds: u64) -> Timestamp {
    Timestamp::now().saturating_sub(Duration::from_secs(seconds))
}

/// Returns a time as the API writes it.
pub fn text(time: Timestamp) -> String {
    time.to_string()
}

pub struct Missing {
    /// Three requests, an hour ago; and an unknown number, half an hour ago.
    pub gaps: Vec<Gap>,
    /// Until when the service `shop` has written everything: a minute ago. 812 of its requests wait.
    pub behind: Timestamp,
    /// The id of that writer.
    pub writer: Uuid,
}

/// Puts gaps of a known and of an unknown count, and writers that are behind, on time and closed.
pub async fn put_missing(store: &dyn Store) -> Missing {
    let writer = Uuid::now_v7();
    let mut late = WriterReport::new(writer, ago(7_200));
    (late.service, late.instance) = (Some("shop".into()), Some("host-a:7".into()));
    (late.written_through, late.waiting) = (ago(60), 812);
    let mut on_time = WriterReport::new(Uuid::now_v7(), ago(7_200));
    (on_time.service, on_time.written_through) = (Some("blog".into()), Timestamp::now());
    let mut closed = late.clone();
    (closed.id, closed.closed) = (Uuid::now_v7(), true);
    for report in [&late, &on_time, &closed] {
        store.report(report).await.unwrap();
    }
    // A gap is the one of a writer whose next run says that the earlier one was not closed.
    let killed = Uuid::now_v7();
    let mut run = WriterReport::new(killed, ago(3_600));
    run.written_through = ago(1_800);
    store.report(&run).await.unwrap();
    let mut next = WriterReport::new(killed, ago(1_790));
    (next.kept_through, next.closed) = (ago(1_800), true);
    store.report(&next).await.unwrap();
    let mut unclean = store.gaps(Window::ALL, 10).await.unwrap();
    assert_eq!(unclean.len(), 1, "{unclean:?}");
    let mut known = unclean[0].clone();
    (known.from, known.to, known.count) = (ago(3_600), ago(3_580), Some(3));
    known.why = "overload: the queue was full".into();
    store.put_gap(Uuid::now_v7(), &known).await.unwrap();
    unclean.insert(0, known);
    Missing { gaps: unclean, behind: late.written_through, writer }
}
