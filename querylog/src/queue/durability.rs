//! How safe an acknowledged record is: [`Durability`].

/// How safe a record is when it is acknowledged, and with it how much a crash can take.
///
/// | | a killed process loses | a power cut loses |
/// | --- | --- | --- |
/// | `Buffered` | the last second, or 256 KiB | what the operating system had not written |
/// | `Flushed` | the last 2 milliseconds | what the operating system had not written |
/// | `Synced` | the last 2 milliseconds | the last 2 milliseconds, and the time of the sync that was running |
///
/// While the disk cannot be written, what waits in the queue is lost, too. Only a power cut without `Synced` takes what
/// was acknowledged. When the log is opened again, a [`Gap`](crate::Gap) says that something may be missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Durability {
    /// Records are gathered, and handed to the operating system each second, or as 256 KiB.
    Buffered,
    /// Each batch is handed to the operating system.
    #[default]
    Flushed,
    /// Each batch is on the disk (`fdatasync`), and so is the name of a new file.
    Synced,
}
