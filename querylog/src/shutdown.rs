//! The signals that stop a service: [`shutdown_signal`].

use std::future;
use std::io;
#[cfg(unix)]
use std::task::Poll;
use std::thread;

/// Waits for the signal to stop: Ctrl-C, or on Unix SIGTERM, which systemd, Docker and Kubernetes send.
///
/// A service that is stopped without [closing its log](crate::QueryLog::close) leaves a gap in it, so wait for both
/// signals, end what is running, and close the log:
///
/// ```no_run
/// # async fn serve(app: axum::Router, log: tagtrail_querylog::QueryLog) -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use tagtrail_querylog::shutdown_signal;
///
/// let listener = tokio::net::TcpListener::bind("0.0.0.0:8080").await?;
/// axum::serve(listener, app).with_graceful_shutdown(shutdown_signal()).await?;
/// log.close(Duration::from_secs(5)).await?;
/// # Ok(())
/// # }
/// ```
///
/// The process handles the signals itself from the first poll on, and for the rest of its life. After the first signal,
/// a second one ends the process at once, whatever it waits for, with the status that shells give it: 130 for Ctrl-C,
/// 143 for SIGTERM.
///
/// If the process cannot handle signals, this logs an error and never returns: the signals then end the process, as
/// they do by default.
///
/// # Panics
///
/// When it is polled outside a tokio runtime, or in one without its drivers (`enable_all`).
pub async fn shutdown_signal() {
    match Signals::listen() {
        Ok(mut signals) => {
            signals.next().await;
            exit_at_next(signals);
        }
        Err(error) => {
            tracing::error!(%error, "cannot wait for the signals that stop this process");
            future::pending::<()>().await;
        }
    }
}

/// Ends the process at the next signal. On a thread of its own, since those of the service may be blocked.
fn exit_at_next(mut signals: Signals) {
    let wait = move || match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => std::process::exit(runtime.block_on(signals.next())),
        Err(error) => tracing::error!(%error, "a second signal will not end this process"),
    };
    if let Err(error) = thread::Builder::new().name("shutdown-signal".to_owned()).spawn(wait) {
        tracing::error!(%error, "a second signal will not end this process");
    }
}

/// What is listened to, since it was created.
#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for a signal. Returns the exit status of a process that it ends.
    async fn next(&mut self) -> i32 {
        future::poll_fn(|cx| {
            if self.interrupt.poll_recv(cx).is_ready() {
                Poll::Ready(130)
            } else {
                self.terminate.poll_recv(cx).map(|_| 143)
            }
        })
        .await
    }
}

/// What is listened to, since it was created.
#[cfg(windows)]
struct Signals(tokio::signal::windows::CtrlC);

#[cfg(windows)]
impl Signals {
    fn listen() -> io::Result<Self> {
        tokio::signal::windows::ctrl_c().map(Self)
    }

    /// Waits for a signal. Returns the exit status of a process that it ends.
    async fn next(&mut self) -> i32 {
        self.0.recv().await;
        130
    }
}
