//! The processes of the services.

use std::error::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tagtrail_querylog::Timestamp;
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::signals;

/// How long a service may take to start or to stop.
const PATIENCE: Duration = Duration::from_mins(2);

/// A service, which is killed and started again at the same address.
pub(crate) struct Process {
    pub(crate) address: SocketAddr,
    store: String,
    folder: PathBuf,
    number: usize,
    child: Child,
}

impl Process {
    pub(crate) fn start(
        store: &str,
        folder: &Path,
        number: usize,
        address: SocketAddr,
    ) -> Result<Self, Box<dyn Error>> {
        let child = spawn(store, folder, number, address)?;
        Ok(Self { address, store: store.to_owned(), folder: folder.to_owned(), number, child })
    }

    /// Kills it. Returns when.
    pub(crate) fn kill(&mut self) -> Timestamp {
        let killed = Timestamp::now();
        let _ = self.child.kill();
        let _ = self.child.wait();
        killed
    }

    /// Stops it with SIGTERM, and waits until it has written what is queued. If it does not, returns when it ended.
    pub(crate) async fn stop(&mut self) -> Result<(), Timestamp> {
        signals::send("TERM", &[self.child.id()]);
        let end = Instant::now() + PATIENCE;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(_)) => return Err(Timestamp::now()),
                Ok(None) if Instant::now() < end => sleep(Duration::from_millis(20)).await,
                _ => return Err(self.kill()),
            }
        }
    }

    pub(crate) fn start_again(&mut self) -> Result<(), Box<dyn Error>> {
        self.child = spawn(&self.store, &self.folder, self.number, self.address)?;
        Ok(())
    }

    /// Waits until it serves. It is started again if it ends, since it cannot start while the store is away.
    pub(crate) async fn serves(&mut self) -> Result<(), Box<dyn Error>> {
        let end = Instant::now() + PATIENCE;
        while TcpStream::connect(self.address).await.is_err() {
            if self.child.try_wait()?.is_some() {
                self.start_again()?;
            }
            if Instant::now() > end {
                return Err("a service does not start".into());
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Limits how large files may become, or no longer.
    pub(crate) fn limit_files(&self, bytes: Option<u64>) {
        let limit = bytes.map_or("unlimited".to_owned(), |bytes| bytes.to_string());
        let process = self.child.id().to_string();
        let _ = Command::new("prlimit")
            .args(["--pid", &process, &format!("--fsize={limit}:")])
            .stderr(Stdio::null())
            .status();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(store: &str, folder: &Path, number: usize, address: SocketAddr) -> Result<Child, Box<dyn Error>> {
    // A write over the limit of a file's size is an error, as on a full disk, and no signal.
    let child = Command::new("sh")
        .args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"])
        .arg(std::env::current_exe()?)
        .args(["service", "--store", store, "--listen", &address.to_string(), "--folder"])
        .arg(folder)
        .arg("--own")
        .arg(folder.join(format!("service{number}")))
        .args(["--number", &number.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::from(log(folder)?))
        .spawn()?;
    Ok(child)
}

fn log(folder: &Path) -> std::io::Result<std::fs::File> {
    std::fs::OpenOptions::new().create(true).append(true).open(folder.join("services.log"))
}
