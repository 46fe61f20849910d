//! What is run, and how it is broken and repaired: [`World`].

use std::error::Error;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;
use tagtrail_querylog::{AuditLog, Timestamp};
use tokio::sync::Mutex;
use tokio::task::block_in_place;

use crate::cluster::{self, Cluster};
use crate::open;
use crate::oracle::Kill;
use crate::plan::{Fault, Planned, SERVICES, StoreKind};
use crate::process::Process;
use crate::proxy::{Proxy, Traffic};

/// How late packets are if PostgreSQL is slow.
const DELAY: Duration = Duration::from_millis(40);

/// For how long a store that is back still counts as away: until it is up, and the services have tried it again.
const RECOVERY: Duration = Duration::from_secs(4);

/// The services and their store, in a folder.
pub(crate) struct World {
    folder: PathBuf,
    store: Store,
    services: Vec<Mutex<Process>>,
    kills: std::sync::Mutex<Kills>,
}

#[derive(Default)]
struct Kills {
    all: Vec<Kill>,
    store: StoreState,
    /// Whether the spools could not be written either when the store was last away.
    is_disk_full: bool,
}

/// Whether the store is away.
#[derive(Clone, Copy, Default)]
enum StoreState {
    #[default]
    Here,
    AwaySince(Timestamp),
    /// When it went away, and came back.
    Back(Timestamp, Timestamp),
}

impl Kills {
    /// Whether the records of a service wait in memory if the store is away for long.
    fn waits_in_memory(&self, service: usize) -> bool {
        self.is_disk_full || open::has_small_spool(service)
    }
}

impl StoreState {
    /// Returns how much earlier than the kill of a service the gap may start that it leaves.
    fn reach(self, waits_in_memory: bool, killed: Timestamp) -> Duration {
        let since = |time: Timestamp| {
            let micros = killed.as_micros().saturating_sub(time.as_micros());
            Duration::from_micros(u64::try_from(micros).unwrap_or_default())
        };
        match self {
            Self::Back(_, back) if since(back) >= RECOVERY => open::REACH,
            Self::AwaySince(away) | Self::Back(away, _) if waits_in_memory => since(away) + open::REACH_WHILE_AWAY,
            Self::AwaySince(_) | Self::Back(..) => open::REACH_WHILE_AWAY,
            Self::Here => open::REACH,
        }
    }
}

enum Store {
    Sqlite(PathBuf),
    Postgres(Cluster, Proxy),
}

impl World {
    pub(crate) async fn start(kind: StoreKind, folder: &Path) -> Result<Self, Box<dyn Error>> {
        let store = match kind {
            StoreKind::Sqlite => Store::Sqlite(folder.join("audit.db")),
            StoreKind::Postgres => {
                let programs =
                    cluster::programs().ok_or("there is no PostgreSQL: install Debian's package postgresql")?;
                let own = folder.join("postgres");
                fs::create_dir(&own)?;
                let cluster = Cluster::start(programs, &own, free_address()?.port())?;
                let proxy = Proxy::start(cluster.port).await?;
                Store::Postgres(cluster, proxy)
            }
        };
        let location = store.location_of_services();
        let mut services = Vec::new();
        for number in 0..SERVICES {
            let mut service = Process::start(&location, folder, number, free_address()?)?;
            service.serves().await?;
            services.push(Mutex::new(service));
        }
        Ok(Self { folder: folder.to_owned(), store, services, kills: std::sync::Mutex::default() })
    }

    pub(crate) async fn addresses(&self) -> Vec<SocketAddr> {
        let mut addresses = Vec::new();
        for service in &self.services {
            addresses.push(service.lock().await.address);
        }
        addresses
    }

    /// Opens the store past the proxy.
    pub(crate) fn open_store(&self) -> Result<AuditLog, Box<dyn Error>> {
        let location = match &self.store {
            Store::Sqlite(path) => path.display().to_string(),
            Store::Postgres(cluster, _) => Cluster::url(cluster.port),
        };
        open::store(&location, &self.folder)
    }

    pub(crate) fn kills(&self) -> Vec<Kill> {
        self.lock_kills().all.clone()
    }

    fn lock_kills(&self) -> std::sync::MutexGuard<'_, Kills> {
        self.kills.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Lets a fault happen, for as long as it lasts.
    pub(crate) async fn suffer(&self, planned: Planned) -> Result<(), Box<dyn Error>> {
        let Planned { lasts, fault, service, .. } = planned;
        if !fault.is_of_the_store() {
            return self.restart(fault, service, lasts).await;
        }
        let away = Timestamp::now();
        {
            let mut kills = self.lock_kills();
            (kills.store, kills.is_disk_full) = (StoreState::AwaySince(away), fault == Fault::DiskFull);
        }
        self.break_store(fault, lasts).await?;
        self.lock_kills().store = StoreState::Back(away, Timestamp::now());
        Ok(())
    }

    fn note_kill(&self, service: usize, at: Timestamp) {
        let mut kills = self.lock_kills();
        let reach = kills.store.reach(kills.waits_in_memory(service), at);
        kills.all.push(Kill { at, reach });
    }

    async fn restart(&self, fault: Fault, number: usize, lasts: Duration) -> Result<(), Box<dyn Error>> {
        let mut service = self.services[number].lock().await;
        let killed = if fault == Fault::ServiceKilled { Err(service.kill()) } else { service.stop().await };
        if let Err(at) = killed {
            self.note_kill(number, at);
        }
        tokio::time::sleep(lasts).await;
        service.start_again()?;
        service.serves().await
    }

    async fn break_store(&self, fault: Fault, lasts: Duration) -> Result<(), Box<dyn Error>> {
        let pause = || tokio::time::sleep(lasts);
        match (fault, &self.store) {
            (Fault::ObjectsAway, _) => {
                let (objects, away) = (self.folder.join("objects"), self.folder.join("away"));
                fs::rename(&objects, &away)?;
                // A file in its place, so that nothing creates the folder again.
                fs::write(&objects, "")?;
                pause().await;
                fs::remove_file(&objects)?;
                fs::rename(&away, &objects)?;
            }
            (Fault::DiskFull, _) => {
                for service in &self.services {
                    service.lock().await.limit_files(Some(1 << 12));
                }
                pause().await;
                for service in &self.services {
                    service.lock().await.limit_files(None);
                }
            }
            (Fault::SqliteLocked, Store::Sqlite(path)) => {
                let other = Connection::open(path)?;
                other.busy_timeout(Duration::from_secs(20))?;
                block_in_place(|| other.execute_batch("BEGIN IMMEDIATE"))?;
                pause().await;
                other.execute_batch("ROLLBACK")?;
            }
            (fault, Store::Postgres(cluster, proxy)) => break_postgres(fault, cluster, proxy, lasts).await?,
            _ => {}
        }
        Ok(())
    }

    /// Stops the services, which write what is queued.
    pub(crate) async fn drain(&self) -> Result<(), Box<dyn Error>> {
        for (number, service) in self.services.iter().enumerate() {
            let mut service = service.lock().await;
            // It may have been killed last.
            service.serves().await?;
            if let Err(at) = service.stop().await {
                self.note_kill(number, at);
            }
        }
        Ok(())
    }

    /// Starts the services again: writers report that others are lost.
    pub(crate) async fn start_again(&self) -> Result<(), Box<dyn Error>> {
        for service in &self.services {
            let mut service = service.lock().await;
            service.start_again()?;
            service.serves().await?;
        }
        Ok(())
    }
}

async fn break_postgres(fault: Fault, cluster: &Cluster, proxy: &Proxy, lasts: Duration) -> Result<(), Box<dyn Error>> {
    let pause = || tokio::time::sleep(lasts);
    match fault {
        Fault::PostgresStopped => {
            block_in_place(|| cluster.stop());
            pause().await;
            block_in_place(|| cluster.start_again())?;
        }
        Fault::PostgresKilled => {
            cluster.kill();
            pause().await;
            block_in_place(|| cluster.start_again())?;
        }
        Fault::PostgresFrozen => {
            cluster.freeze();
            pause().await;
            cluster.thaw();
        }
        Fault::PostgresSlow | Fault::PostgresCut => {
            proxy.set(if fault == Fault::PostgresCut { Traffic::Cut } else { Traffic::Delayed(DELAY) });
            pause().await;
            proxy.set(Traffic::Forwarded);
        }
        _ => {}
    }
    Ok(())
}

impl Store {
    fn location_of_services(&self) -> String {
        match self {
            Self::Sqlite(path) => path.display().to_string(),
            Self::Postgres(_, proxy) => Cluster::url(proxy.port),
        }
    }
}

/// Returns an address that nobody listens on.
fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}
