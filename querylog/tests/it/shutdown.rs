//! A service that is stopped by a signal: its log has all records and no gap, and a second signal ends it at once.

use std::env;
use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use tagtrail_querylog::store::Sqlite;
use tagtrail_querylog::{AuditLog, LogFiles, LogStore};
use tokio::net::{TcpListener, TcpStream};

use crate::support::common::{gaps_in, records_in};

#[allow(dead_code, reason = "the test calls what `main` calls")]
#[path = "../../examples/graceful_shutdown.rs"]
mod graceful_shutdown;

/// The service, which is a process of its own: this test, started by the others.
#[tokio::test]
async fn child() {
    let (Ok(store), Ok(folder)) = (env::var("SHUTDOWN_STORE"), env::var("SHUTDOWN_FOLDER")) else { return };
    let folder = Path::new(&folder);
    let log = match store.as_str() {
        "files" => LogFiles::new(folder).open().unwrap(),
        _ => LogStore::new(AuditLog::new(Sqlite::builder(folder.join("audit.db")).open().unwrap())).open().unwrap(),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    if graceful_shutdown::serve(listener, log).await.is_err() {
        // A main function that waits for ever, on the thread of its runtime.
        std::thread::park();
    }
}

struct Service {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    address: String,
}

impl Service {
    fn start(store: &str, folder: &Path) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "shutdown::child", "--nocapture"])
            .envs([("SHUTDOWN_STORE", store.as_ref()), ("SHUTDOWN_FOLDER", folder.as_os_str())])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines.find_map(|line| Some(line.unwrap().split_once("listening on http://")?.1.to_owned()));
        Self { child, lines, address: address.unwrap() }
    }

    async fn get(&self, path: &str) -> u16 {
        let response = reqwest::get(format!("http://{}{path}", self.address)).await.unwrap();
        let status = response.status().as_u16();
        response.bytes().await.unwrap();
        status
    }

    fn send(&self, signal: &str) {
        let kill = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(kill.success());
    }

    /// Waits until the service has noticed that it is to stop.
    async fn listens_no_more(&self) {
        while TcpStream::connect(&self.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn log_of_a_stopped_service_has_all_records_and_no_gap() {
    for signal in ["-TERM", "-INT"] {
        let folder = tempfile::tempdir().unwrap();
        let mut service = Service::start("files", folder.path());
        for id in 0..50 {
            assert_eq!(service.get(&format!("/posts/{id}")).await, 200);
        }
        service.send(signal);
        assert!(service.child.wait().unwrap().success(), "{signal}");
        assert!(service.lines.any(|line| line.unwrap() == "closed the log"), "{signal}");
        // What a process that was not stopped cleanly leaves is reported by the next one.
        LogFiles::new(folder.path()).open().unwrap().close(std::time::Duration::from_secs(20)).await.unwrap();
        assert_eq!(gaps_in(folder.path()), [], "{signal}");
        let paths: Vec<_> = records_in(folder.path()).into_iter().map(|record| record.request.path).collect();
        assert_eq!(paths, (0..50).map(|id| format!("/posts/{id}")).collect::<Vec<_>>(), "{signal}");
    }
}

#[tokio::test]
async fn second_signal_ends_a_service_whose_store_hangs() {
    for (first, second, code) in [("-TERM", "-TERM", 143), ("-TERM", "-INT", 130), ("-INT", "-TERM", 143)] {
        let folder = tempfile::tempdir().unwrap();
        let mut service = Service::start("store", folder.path());
        let other = rusqlite::Connection::open(folder.path().join("audit.db")).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        assert_eq!(service.get("/posts/1").await, 200);
        service.send(first);
        service.listens_no_more().await;
        service.send(second);
        assert_eq!(service.child.wait().unwrap().code(), Some(code), "{first} {second}");
    }
}
