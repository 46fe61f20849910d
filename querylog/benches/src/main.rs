//! What the query log costs, and how much it takes: `cargo run --release`, in this folder.
//!
//! The files are in the folder that is the first argument, else in the current one: give one on the disk that is to be
//! measured. All writers get the same bytes in the same run.

use std::convert::Infallible;
use std::env;
use std::error::Error;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use rustix::time::{ClockId, clock_gettime};
use tagtrail::{Admit, InboundLayer, Sample, Tags, Trail};
use tagtrail_querylog::{Durability, LogFiles, Outcome, QueryLogLayer, Record};
use tower::{Layer, Service, service_fn};
use tracing_appender::non_blocking::NonBlockingBuilder;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The shortest record with two tags has 705 bytes: members that have nothing are null.
const LINE: usize = 720;
const LONG: Duration = Duration::from_secs(60);

fn main() -> Result<()> {
    let root = env::args().nth(1).map_or_else(env::current_dir, |path| Ok(path.into()))?;
    let record = record_of_line_length();
    println!("files in {}, lines of {LINE} bytes", root.display());
    layer(&root)?;
    parts(&root, &record)?;
    hand_over_while_the_disk_is_slow(&root, &record)?;
    memory(&root, &record)?;
    throughput(&root, &record)
}

/// A record whose line has this many bytes.
fn record_of_line_length() -> Record {
    let tags = Tags::from_pairs([("project", "blog"), ("env", "prod")]).unwrap_or_else(|_| Tags::empty());
    let mut record = Record::new(&Trail::start(Sample::Always).with_tags(tags), "");
    record.end(Duration::from_micros(1_234), Outcome::Complete);
    record.response.status = Some(200);
    while record.to_string().len() + 1 < LINE {
        record.request.path.push('p');
    }
    assert_eq!(record.to_string().len() + 1, LINE);
    record
}

/// CPU time of this thread.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

fn process_cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

async fn hello<B>(_: Request<B>) -> std::result::Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::new(Bytes::from_static(b"hello"))))
}

/// The CPU time that a request costs with the layer, over that without it.
fn layer(root: &Path) -> Result<()> {
    const REQUESTS: u32 = 100_000;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _entered = runtime.enter();
    let folder = tempfile::tempdir_in(root)?;
    let log = LogFiles::new(folder.path()).queue_bytes(256 << 20).open()?;

    println!("\nCPU time of a request, in the thread that handles it (in the process), the best of 5 times {REQUESTS}");
    let plain = best(|| requests(&mut service_fn(hello), REQUESTS));
    let mut inbound = InboundLayer::new(Admit::Continue).layer(service_fn(hello));
    let traced = best(|| requests(&mut inbound, REQUESTS));
    let mut both = QueryLogLayer::new(log.clone()).with_inbound(Admit::Continue).layer(service_fn(hello));
    let logged = best(|| requests(&mut both, REQUESTS));
    show("a service", plain, (Duration::ZERO, Duration::ZERO), REQUESTS);
    show("+ InboundLayer", traced, plain, REQUESTS);
    show("+ QueryLogLayer, hand-over included", logged, traced, REQUESTS);
    log.close_blocking(LONG)?;
    assert_eq!(log.stats().written, u64::from(REQUESTS) * 5);
    Ok(())
}

fn show(what: &str, (thread, process): (Duration, Duration), over: (Duration, Duration), requests: u32) {
    let each = |time: Duration, over: Duration| time.saturating_sub(over) / requests;
    println!("{what:38} {:>10.2?} ({:.2?})", each(thread, over.0), each(process, over.1));
}

fn best(mut run: impl FnMut() -> (Duration, Duration)) -> (Duration, Duration) {
    (0..5).map(|_| run()).min().unwrap_or_default()
}

fn requests<S, B>(service: &mut S, count: u32) -> (Duration, Duration)
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>, Error = Infallible>,
    B: Body,
{
    let mut cx = Context::from_waker(Waker::noop());
    let begin = (cpu(), process_cpu());
    for _ in 0..count {
        let request = Request::get("http://localhost/posts/7")
            .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
            .header("tracestate", "a=1,b=2,c=3")
            .header("x-fauna-tags", "project=blog,env=prod,job=nightly,team=web,run=7")
            .header("user-agent", "bench/1.0")
            .body(Full::default());
        let Ok(request) = request else { return Default::default() };
        assert!(service.poll_ready(&mut cx).is_ready());
        let mut future = pin!(service.call(request));
        let Poll::Ready(Ok(response)) = future.as_mut().poll(&mut cx) else { panic!("not ready") };
        let mut body = pin!(response.into_body());
        while let Poll::Ready(Some(_)) = body.as_mut().poll_frame(&mut cx) {}
    }
    (cpu() - begin.0, process_cpu() - begin.1)
}

/// What of it is making the line, and what is handing it over.
fn parts(root: &Path, record: &Record) -> Result<()> {
    const RECORDS: u32 = 200_000;
    let begin = cpu();
    for _ in 0..RECORDS {
        std::hint::black_box(record.to_string());
    }
    let encoded = cpu() - begin;
    let folder = tempfile::tempdir_in(root)?;
    let log = LogFiles::new(folder.path()).queue_bytes(256 << 20).open()?;
    let begin = cpu();
    for _ in 0..RECORDS {
        log.append(record);
    }
    let appended = cpu() - begin;
    log.close_blocking(LONG)?;
    println!(
        "\na record as text {:.2?}; appended, which makes it text too, {:.2?}",
        encoded / RECORDS,
        appended / RECORDS
    );
    Ok(())
}

/// How long it takes to append, while every batch is synced and something else keeps the disk busy.
fn hand_over_while_the_disk_is_slow(root: &Path, record: &Record) -> Result<()> {
    let folder = tempfile::tempdir_in(root)?;
    let log = LogFiles::new(folder.path()).durability(Durability::Synced).open()?;
    let other = folder.path().join("other");
    let stop = AtomicBool::new(false);
    let mut times = Histogram::<u64>::new(3)?;
    let mut syncs = Histogram::<u64>::new(3)?;
    thread::scope(|scope| -> Result<()> {
        let busy = scope.spawn(|| -> std::io::Result<()> {
            let mut file = File::create(&other)?;
            while !stop.load(Relaxed) {
                file.write_all(&vec![1; 4 << 20])?;
                file.sync_data()?;
                file.set_len(0)?;
            }
            Ok(())
        });
        let begin = Instant::now();
        let mut ack = None;
        while begin.elapsed() < Duration::from_secs(5) {
            // About ten thousand a second, as requests come.
            for _ in 0..10 {
                let at = Instant::now();
                ack = Some(log.append(record));
                times.record(u64::try_from(at.elapsed().as_nanos())?)?;
            }
            thread::sleep(Duration::from_millis(1));
        }
        stop.store(true, Relaxed);
        for _ in 0..20 {
            let at = Instant::now();
            let _ = ack.as_ref().map(|ack| ack.wait(LONG));
            ack = Some(log.append(record));
            let _ = ack.as_ref().map(|ack| ack.wait(LONG));
            syncs.record(u64::try_from(at.elapsed().as_micros())?)?;
        }
        busy.join().map_err(|_| "the thread panicked")??;
        Ok(())
    })?;
    log.close_blocking(LONG)?;
    let at = |quantile| Duration::from_nanos(times.value_at_quantile(quantile));
    println!(
        "\nhand-over while each batch is synced on a busy disk, {} records, shed {}",
        times.len(),
        log.stats().shed
    );
    println!("p50 {:.1?}  p99 {:.1?}  p99.9 {:.1?}  longest {:.1?}", at(0.5), at(0.99), at(0.999), at(1.0));
    println!("an acknowledgement of one record alone: median {} µs", syncs.value_at_quantile(0.5));
    Ok(())
}

/// How much memory a flood takes.
fn memory(root: &Path, record: &Record) -> Result<()> {
    const QUEUE: usize = 16 << 20;
    let folder = tempfile::tempdir_in(root)?;
    let before = resident()?;
    let log = LogFiles::new(folder.path()).durability(Durability::Synced).queue_bytes(QUEUE).open()?;
    for _ in 0..2_000_000 {
        log.append(record);
    }
    let after = resident()?;
    log.close_blocking(LONG)?;
    let counters = log.stats();
    println!(
        "\na flood of 2,000,000 records with a queue of {} MB: {} written, {} shed",
        QUEUE >> 20,
        counters.written,
        counters.shed
    );
    println!("memory before {} MB, after {} MB, most {} MB", before.0 >> 10, after.0 >> 10, resident()?.1 >> 10);
    assert_eq!(counters.written + counters.shed, 2_000_000);
    Ok(())
}

/// Kilobytes of memory that are resident now, and at most so far.
fn resident() -> Result<(u64, u64)> {
    let status = fs::read_to_string("/proc/self/status")?;
    let of =
        |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok());
    Ok((of("VmRSS:").unwrap_or_default(), of("VmHWM:").unwrap_or_default()))
}

/// Records a second, from the first to the last one written.
fn throughput(root: &Path, record: &Record) -> Result<()> {
    const RECORDS: u64 = 1_000_000;
    println!("\nrecords a second, {RECORDS} of them, and what was lost");
    let line = format!("{record}\n").into_bytes();
    for round in 1..=3 {
        println!("round {round}");
        let folder = tempfile::tempdir_in(root)?;
        let begin = Instant::now();
        let mut file = BufWriter::new(File::create(folder.path().join("plain"))?);
        for _ in 0..RECORDS {
            file.write_all(&line)?;
        }
        file.flush()?;
        rate("BufWriter, the same line", RECORDS, begin, 0);
        let begin = Instant::now();
        for _ in 0..RECORDS {
            writeln!(file, "{record}")?;
        }
        file.flush()?;
        rate("BufWriter, each record made text", RECORDS, begin, 0);
        drop(folder);
        for lossy in [true, false] {
            let folder = tempfile::tempdir_in(root)?;
            let begin = Instant::now();
            let (mut writer, guard) = NonBlockingBuilder::default()
                .lossy(lossy)
                .finish(tracing_appender::rolling::never(folder.path(), "appender"));
            for _ in 0..RECORDS {
                writer.write_all(&line)?;
            }
            drop(guard);
            let lost = writer.error_counter().dropped_lines() as u64;
            let what = if lossy { "tracing-appender, as it is by default" } else { "tracing-appender, not lossy" };
            rate(what, RECORDS - lost, begin, lost);
        }
        for (durability, threads) in [
            (Durability::Buffered, 1),
            (Durability::Buffered, 2),
            (Durability::Flushed, 1),
            (Durability::Flushed, 2),
            (Durability::Synced, 1),
            (Durability::Synced, 2),
        ] {
            let folder = tempfile::tempdir_in(root)?;
            let log = LogFiles::new(folder.path()).durability(durability);
            ours(&format!("query log, {durability:?}, {threads} threads"), log, record, RECORDS, threads)?;
        }
    }
    Ok(())
}

fn ours(what: &str, settings: LogFiles, record: &Record, records: u64, threads: u64) -> Result<()> {
    let log = settings.open()?;
    let begin = Instant::now();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                for number in 0..records / threads {
                    let ack = log.append(record);
                    // As a service that waits for room does: no more than the queue takes.
                    if number % 64 == 0 && log.stats().queued > 16_000 {
                        let _ = ack.wait(LONG);
                    }
                }
            });
        }
    });
    log.close_blocking(LONG)?;
    let counters = log.stats();
    rate(what, counters.written, begin, counters.shed + counters.failed);
    Ok(())
}

fn rate(what: &str, records: u64, begin: Instant, lost: u64) {
    let seconds = begin.elapsed().as_secs_f64();
    println!("{what:38} {:>9.0}   lost {lost}", records as f64 / seconds);
}
