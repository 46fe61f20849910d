//! A whole server under callgrind, and a client that sends it requests one after another.

use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use tagtrail_benches::inputs::Head;

use crate::callgrind::{self, Cost, target};

/// Requests that warm the server up, and requests that are counted beyond them.
const COUNTS: [u32; 2] = [200, 1200];

/// The function that serves. What runs before it, and on other threads, is not counted.
const SERVES: &str = "tagtrail_benches::server::serve";

/// The servers that `server` knows, but the bare one.
const OURS: [&str; 3] = ["tagtrail", "(tagtrail, around the whole router)", "(a layer that does nothing)"];

/// The servers that `peer-server` knows, but the bare one.
const PEERS: [&str; 6] = [
    "(tower-http TraceLayer, which propagates nothing)",
    "(tower-http request-id, one opaque id)",
    "fastrace-axum",
    "opentelemetry-instrumentation-tower",
    "axum-tracing-opentelemetry",
    "tower-otel",
];

/// What a request costs in each server, as a multiple of what it costs in the bare one.
pub(crate) fn ratios(peers: bool) -> Result<Vec<Cost>, Box<dyn Error>> {
    let mut costs = of_program("server", &OURS)?;
    if peers {
        costs.extend(of_program("peer-server", &PEERS)?);
    }
    Ok(costs)
}

/// The servers of one program, each over the bare one of that program, which was built with the same features.
fn of_program(program: &str, servers: &[&str]) -> Result<Vec<Cost>, Box<dyn Error>> {
    let bare = each(program, "bare")?;
    let ratio = |who: &&str| {
        let amount = each(program, who)? / bare;
        Ok(Cost { work: "loopback".to_owned(), who: (*who).to_owned(), amount, allocations: 0.0 })
    };
    servers.iter().map(ratio).collect()
}

/// The instructions of one request.
fn each(program: &str, who: &str) -> Result<f64, Box<dyn Error>> {
    let [few, many] = COUNTS;
    let (of_few, of_many) = (whole(program, who, few)?, whole(program, who, many)?);
    Ok((of_many - of_few) / f64::from(many - few))
}

/// Counts the instructions of a server that serves this many requests.
fn whole(program: &str, who: &str, requests: u32) -> Result<f64, Box<dyn Error>> {
    let file = target().join(format!("callgrind.{}", std::process::id()));
    let mut server = callgrind::valgrind(&file)
        .arg(format!("--toggle-collect={SERVES}"))
        .arg(target().join(program))
        .arg(who)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut port = String::new();
    BufReader::new(server.stdout.take().ok_or("the server prints nothing")?).read_line(&mut port)?;
    send(port.trim().parse()?, server.id(), requests)?;
    drop(server.stdin.take());
    server.wait()?;
    let written = fs::read_to_string(&file)?;
    fs::remove_file(&file)?;
    callgrind::totals(&written).pop().ok_or_else(|| "callgrind counted nothing".into())
}

/// Sends requests over one connection, with all headers present, each when the server sleeps: on a busy machine it would
/// find some of them without having waited, and count less.
fn send(port: u16, server: u32, requests: u32) -> Result<(), Box<dyn Error>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    let mut request = b"GET / HTTP/1.1\r\n".to_vec();
    for (name, value) in &Head::present().map() {
        request.extend_from_slice(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    request.extend_from_slice(b"\r\n");
    let mut response = [0; 4096];
    for _ in 0..requests {
        while !sleeps(server)? {
            thread::sleep(Duration::from_micros(100));
        }
        stream.write_all(&request)?;
        // The response is small, and sent at once.
        let length = stream.read(&mut response)?;
        let response = &response[..length];
        if !(response.starts_with(b"HTTP/1.1 200 OK\r\n") && response.ends_with(b"\r\n\r\nok")) {
            return Err(format!("unexpected response: {}", String::from_utf8_lossy(response)).into());
        }
    }
    Ok(())
}

/// Whether the main thread of a process waits for something.
fn sleeps(process: u32) -> Result<bool, Box<dyn Error>> {
    let status = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The state stands after the name, which is in brackets.
    Ok(status.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with('S')))
}
