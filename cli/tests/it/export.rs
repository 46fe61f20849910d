//! `tagtrail-log export` and `serve`, also killed, and on a full disk.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::export::{TOKENS, at, lines, numbers, record};
use tagtrail_querylog::{AuditLog, Record};

fn program(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tagtrail-log"));
    command.current_dir(folder).env("ACCOUNT_KEY", "us").stdin(Stdio::null());
    command
}

/// A server of a store, killed when the test ends.
struct Served {
    child: Child,
    url: String,
}

impl Served {
    fn start(folder: &Path, listen: &str) -> Self {
        Self::with_stderr(folder, listen, Stdio::inherit())
    }

    /// Sends the server's messages to `errors`.
    fn with_stderr(folder: &Path, listen: &str, errors: Stdio) -> Self {
        fs::write(folder.join("tokens.json"), TOKENS).unwrap();
        let mut child = program(folder)
            .args(["serve", "--store", "sqlite:audit.db", "--tokens", "tokens.json", "--listen", listen])
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("listening on ").unwrap().to_owned();
        Self { child, url }
    }

    fn address(&self) -> String {
        self.url.strip_prefix("http://").unwrap().to_owned()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }
}

fn put(folder: &Path, records: &[Record]) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let log = AuditLog::open(folder.join("audit.db")).unwrap();
        for some in records.chunks(2_000) {
            log.put_requests(some).await.unwrap();
        }
    });
}

fn some(count: i64) -> Vec<Record> {
    (0..count).map(|number| record(number, at(number), "us-std/shop")).collect()
}

fn export(folder: &Path, url: &str, arguments: &[&str]) -> Command {
    let mut command = program(folder);
    command.args(["export", "--url", url, "--poll-every", "0.1"]).args(arguments);
    command
}

fn ended(output: &Output, code: i32, says: &str) {
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{error}");
    assert!(error.contains(says), "{error}");
}

const RANGE: [&str; 4] = ["--since", "2024-05-10", "--until", "2024-05-11"];

#[test]
fn an_export_is_a_file_or_lines_and_its_state_is_the_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    put(folder, &some(500));
    let served = Served::start(folder, "127.0.0.1:0");
    let run = |arguments: &[&str]| export(folder, &served.url, &[arguments, &RANGE].concat()).output().unwrap();

    let output = run(&["--region-group", "us-std", "--out", "logs.jsonl.gz"]);
    ended(&output, 0, "500 records");
    assert!(String::from_utf8_lossy(&output.stderr).contains(": Complete"));
    assert_eq!(numbers(&lines(&fs::read(folder.join("logs.jsonl.gz")).unwrap())), (0..500).collect::<Vec<_>>());
    let left: Vec<_> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().ends_with(".part")), "{left:?}");

    let output = run(&["--database", "us-std/shop", "--out", "-"]);
    ended(&output, 0, "500 records");
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 500);
    // The reader closes the pipe.
    let script =
        r#""$0" export --url "$1" --region-group us-std --since 2024-05-10 --until 2024-05-11 --out - | head -n 1"#;
    let (program, url) = (env!("CARGO_BIN_EXE_tagtrail-log"), &served.url);
    let mut piped = Command::new("bash");
    piped.args(["-o", "pipefail", "-c", script, program, url]).env("ACCOUNT_KEY", "us");
    let piped = piped.output().unwrap();
    assert!(piped.status.success(), "{}", String::from_utf8_lossy(&piped.stderr));
    assert_eq!(String::from_utf8_lossy(&piped.stdout).lines().count(), 1);

    ended(&run(&["--database", "us-std/none", "--out", "x"]), 3, "DoesNotExist");
    ended(&run(&["--region-group", "eu-std", "--out", "x"]), 1, "403, permission_denied");
    ended(&run(&["--region-group", "us-std/shop", "--out", "x"]), 2, "--database");
    ended(&run(&["--database", "us-std", "--out", "x"]), 2, "--region-group");
    ended(&run(&["--out", "x"]), 2, "--region-group");
    ended(&run(&["--region-group", "us-std", "--out", "no/such/folder/x"]), 1, "--out no/such/folder/x: No such file");
    // Existing files are not overwritten.
    for there in ["logs.jsonl.gz", "tokens.json", "."] {
        let output = run(&["--region-group", "us-std", "--out", there]);
        ended(&output, 1, &format!("--out {there}: already exists and will not be overwritten"));
        assert!(!String::from_utf8_lossy(&output.stderr).contains("Pending"), "before the server works");
    }
    let whole = fs::read(folder.join("logs.jsonl.gz")).unwrap();
    assert_eq!(numbers(&lines(&whole)), (0..500).collect::<Vec<_>>());
    let below = export(
        folder,
        &format!("{}/api/v1", served.url),
        &[&["--region-group=us-std", "--out=x"][..], &RANGE].concat(),
    );
    ended(&{ below }.output().unwrap(), 1, "--url must be the URL of a server with exports, without /api/v1");
    let backwards = ["--region-group", "us-std", "--since", "1h", "--until", "2h", "--out", "x"];
    ended(&export(folder, &served.url, &backwards).output().unwrap(), 2, "--since must be before --until");
    let without = export(folder, &served.url, &[&["--region-group", "us-std", "--out", "x"][..], &RANGE].concat())
        .env_remove("ACCOUNT_KEY")
        .output()
        .unwrap();
    ended(&without, 2, "the environment variable ACCOUNT_KEY is not set: set it to your account key");
    let no_url = export(folder, "127.0.0.1:9", &[&["--region-group", "us-std", "--out", "x"][..], &RANGE].concat());
    ended(&{ no_url }.output().unwrap(), 2, "--url: invalid base URL: expected an HTTP URL");
    let nobody = export(folder, &served.url, &[&["--region-group", "us-std", "--out", "x"][..], &RANGE].concat())
        .env("ACCOUNT_KEY", "nobody")
        .output()
        .unwrap();
    ended(&nobody, 1, "401, unauthorized");
    let nowhere = export(
        folder,
        "http://127.0.0.1:9",
        &["--region-group", "us-std", "--since", "1d", "--out", "x", "--patience", "0.5"],
    );
    let output = { nowhere }.output().unwrap();
    ended(&output, 1, "cannot be reached");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said.matches("retrying until --patience ends").count(), 1, "{said}");
    // A range that ends in the future.
    let later = ["--region-group", "us-std", "--since", "1d", "--until", "2199-01-01", "--out", "x"];
    ended(&export(folder, &served.url, &later).output().unwrap(), 1, "90 days");
    let now = ["--region-group", "us-std", "--since", "1s", "--patience", "0.3", "--out", "x"];
    ended(&export(folder, &served.url, &now).output().unwrap(), 6, "its state is Pending");
    assert!(!folder.join("x").exists());
}

#[test]
fn an_interrupted_export_says_how_to_continue() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let served = Served::start(folder, "127.0.0.1:0");
    // The server starts the export some seconds after the end of its range.
    let arguments = ["--region-group", "us-std", "--since", "1s", "--out", "x"];
    let mut client = export(folder, &served.url, &arguments).stderr(Stdio::piped()).spawn().unwrap();
    let mut errors = BufReader::new(client.stderr.take().unwrap());
    errors.read_line(&mut String::new()).unwrap();
    assert!(Command::new("kill").args(["-INT", &client.id().to_string()]).status().unwrap().success());
    let said: String = errors.lines().map(Result::unwrap).collect();
    assert!(said.contains("to continue, add --idempotency-token "), "{said}");
    assert_eq!(client.wait().unwrap().code(), Some(130));
}

#[test]
fn a_range_without_records_is_not_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let errors = fs::File::create(folder.join("errors")).unwrap();
    let served = Served::with_stderr(folder, "127.0.0.1:0", errors.into());
    let arguments = [&["--region-group", "us-std", "--out", "x"][..], &RANGE].concat();
    ended(&export(folder, &served.url, &arguments).output().unwrap(), 3, "DoesNotExist");
    let said = fs::read_to_string(folder.join("errors")).unwrap();
    assert!(!said.contains("WARN") && said.contains("state=DoesNotExist"), "{said}");
}

#[test]
fn control_characters_in_responses_are_escaped() {
    let folder = tempfile::tempdir().unwrap();
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", server.local_addr().unwrap());
    thread::spawn(move || {
        let export = r#"{"request_id": "\u001b[31m", "state": "Failed", "time_start": "2024-05-10T00:00:00Z",
            "time_end": "2024-05-11T00:00:00Z", "region_group": "us", "updated_at": "2024-05-11T00:00:00Z", "version": 1}"#;
        for stream in server.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            while !lines.next().unwrap().unwrap().is_empty() {}
            let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", export.len());
            stream.write_all((head + export).as_bytes()).unwrap();
        }
    });
    let output = export(folder.path(), &url, &[&["--region-group", "us", "--out", "x"][..], &RANGE].concat());
    ended(&{ output }.output().unwrap(), 4, r"export \u{1b}[31m: Failed");
}

#[test]
fn a_server_stops_if_a_request_does_not_finish() {
    let folder = tempfile::tempdir().unwrap();
    let mut served = Served::start(folder.path(), "127.0.0.1:0");
    let mut stalled = TcpStream::connect(served.address()).unwrap();
    let head = "POST /api/v1/logs HTTP/1.1\r\nhost: x\r\nauthorization: Bearer us\r\ncontent-length: 9\r\n\r\n{";
    stalled.write_all(head.as_bytes()).unwrap();
    thread::sleep(Duration::from_millis(500));
    let start = Instant::now();
    assert!(Command::new("kill").args(["-TERM", &served.child.id().to_string()]).status().unwrap().success());
    let status = loop {
        if let Some(status) = served.child.try_wait().unwrap() {
            break status;
        }
        assert!(start.elapsed() < Duration::from_secs(20));
        thread::sleep(Duration::from_millis(50));
    };
    assert!(
        status.success() && start.elapsed() > Duration::from_secs(3),
        "it waited for the request: {:?}",
        start.elapsed()
    );
}

#[test]
fn the_documented_flow_works_with_curl_and_jq() {
    let installed =
        |name: &str| Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success());
    if !["curl", "jq", "gzip"].into_iter().all(installed) {
        eprintln!("skipped: curl, jq or gzip is not installed");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), &some(50));
    let served = Served::start(folder.path(), "127.0.0.1:0");
    let script = r#"
        set -eu
        ask() { curl -sSf -m 10 -H "Authorization: Bearer $ACCOUNT_KEY" "$@"; }
        export=$(ask "$URL/api/v1/logs?type=query" -d '{"region_group": "us-std",
            "time_start": "2024-05-10T00:00:10Z", "time_end": "2024-05-10T00:00:30Z"}')
        id=$(echo "$export" | jq -r .request_id)
        for _ in $(seq 300); do
            export=$(ask "$URL/api/v1/logs/$id?type=query&regionGroup=us-std")
            case $(echo "$export" | jq -r .state) in
                Complete) break ;;
                DoesNotExist | Failed | TimedOut) echo "$export" >&2; exit 1 ;;
            esac
            sleep 0.1
        done
        curl -sSf "$(echo "$export" | jq -r .presigned_url)" | gzip -dc | jq -r .TAGS.number
    "#;
    let output =
        Command::new("sh").args(["-c", script]).env("URL", &served.url).env("ACCOUNT_KEY", "us").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let numbers = String::from_utf8(output.stdout).unwrap();
    let numbers: Vec<i64> = numbers.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(numbers, (10..30).collect::<Vec<_>>());
}

/// Each export contains exactly its range.
#[test]
fn exports_finish_if_the_server_is_killed_repeatedly() {
    const RECORDS: i64 = 20_000;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    put(folder, &some(RECORDS));
    let mut served = Served::start(folder, "127.0.0.1:0");
    let address = served.address();
    let url = served.url.clone();
    let clients: Vec<_> = (0..6)
        .map(|number| {
            let out = format!("{number}.gz");
            let arguments =
                ["--region-group", "us-std", "--since", "2024-05-10", "--until", "2024-06-10", "--out", &out];
            export(folder, &url, &arguments).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    // At different steps of the first, the second, ... export.
    for milliseconds in [150, 900] {
        thread::sleep(Duration::from_millis(milliseconds));
        drop(served);
        served = Served::start(folder, &address);
    }
    for (number, client) in clients.into_iter().enumerate() {
        let output = client.wait_with_output().unwrap();
        ended(&output, 0, &format!("{RECORDS} records"));
        let gzip = fs::read(folder.join(format!("{number}.gz"))).unwrap();
        assert_eq!(numbers(&lines(&gzip)), (0..RECORDS).collect::<Vec<_>>());
    }
}

/// A disk of two megabytes in memory.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Option<Self> {
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"]).arg(at).status();
        mounted.is_ok_and(|status| status.success()).then(|| Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn an_export_fails_on_a_full_disk_and_leaves_no_files() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let exports = folder.join("audit.db.exports");
    fs::create_dir(&exports).unwrap();
    let Some(disk) = SmallDisk::mount(&exports) else {
        eprintln!("skipped: this process may not mount a disk");
        return;
    };
    put(folder, &some(500));
    let served = Served::start(folder, "127.0.0.1:0");
    let run = |out: &str| {
        let arguments = [&["--region-group", "us-std", "--out", out][..], &RANGE].concat();
        export(folder, &served.url, &arguments).output().unwrap()
    };
    let filler = exports.join("filler");
    assert!(fs::write(&filler, vec![0; 3 << 20]).is_err(), "full");
    ended(&run("full.gz"), 4, "Failed");
    let left: Vec<_> = fs::read_dir(&exports).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(left, ["filler"]);
    fs::remove_file(&filler).unwrap();
    ended(&run("free.gz"), 0, "500 records");
    drop(served);
    drop(disk);
}
