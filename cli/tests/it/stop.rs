//! `tagtrail-log serve`, stopped by signals.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;

use crate::program::program;
use crate::support::audit;
use crate::support::export::TOKENS;

fn signal(child: &Child, signal: &str) {
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
}

/// Starts a server, and returns its address.
fn serve(folder: &Path, store: &[&str]) -> (Child, String) {
    fs::write(folder.join("tokens.json"), TOKENS).unwrap();
    let arguments = [&["serve", "--tokens", "tokens.json", "--listen", "127.0.0.1:0", "--store"], store].concat();
    let mut child = program(folder, &arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    (child, line.trim().strip_prefix("listening on http://").unwrap().to_owned())
}

#[test]
fn a_second_signal_ends_the_server_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (mut child, address) = serve(folder.path(), &["sqlite:audit.db"]);
    let mut stalled = TcpStream::connect(&address).unwrap();
    let head = "POST /api/v1/logs HTTP/1.1\r\nhost: x\r\nauthorization: Bearer us\r\nexpect: 100-continue\r\n\
                content-length: 9\r\n\r\n";
    stalled.write_all(head.as_bytes()).unwrap();
    // The server has the request, and waits for its body.
    let mut line = String::new();
    BufReader::new(&stalled).read_line(&mut line).unwrap();
    assert_eq!(line, "HTTP/1.1 100 Continue\r\n");
    signal(&child, "-TERM");
    while TcpStream::connect(&address).is_ok() {}
    signal(&child, "-TERM");
    assert_eq!(child.wait().unwrap().code(), Some(143));
}

/// A TCP proxy to a server. Once it is frozen, it forwards nothing, and keeps its connections.
#[derive(Default)]
struct Proxy {
    frozen: AtomicBool,
    /// Whether a client has sent something since it was frozen.
    asked: AtomicBool,
}

impl Proxy {
    /// Returns the port it listens on.
    fn start(self: &Arc<Self>, server: &str) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (proxy, server) = (Arc::clone(self), server.to_owned());
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let server = TcpStream::connect(&server).unwrap();
                let (to_client, to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let (sends, receives) = (Arc::clone(&proxy), Arc::clone(&proxy));
                thread::spawn(move || sends.forward(client, to_server, true));
                thread::spawn(move || receives.forward(server, to_client, false));
            }
        });
        port
    }

    fn forward(&self, mut from: TcpStream, mut to: TcpStream, is_client: bool) {
        let mut bytes = [0; 8_192];
        while let Ok(read @ 1..) = from.read(&mut bytes) {
            if self.frozen.load(SeqCst) {
                self.asked.fetch_or(is_client, SeqCst);
            } else if to.write_all(&bytes[..read]).is_err() {
                return;
            }
        }
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run .ci/with-postgres cargo test -- --include-ignored"]
async fn the_server_stops_if_its_store_hangs() {
    let (_, url) = audit::postgres_builder().await.expect("TAGTRAIL_TEST_POSTGRES has no URL of a server");
    let (before, rest) = url.split_once('@').unwrap();
    let (server, rest) = rest.split_once('/').unwrap();
    let proxy = Arc::new(Proxy::default());
    let url = format!("{before}@127.0.0.1:{}/{rest}", proxy.start(server));

    let folder = tempfile::tempdir().unwrap();
    let (mut child, _) = serve(folder.path(), &[&url, "--exports", "exports"]);
    proxy.frozen.store(true, SeqCst);
    // The server looks for exports that other servers have left.
    while !proxy.asked.load(SeqCst) {
        thread::yield_now();
    }
    signal(&child, "-TERM");
    assert!(child.wait().unwrap().success());
}
